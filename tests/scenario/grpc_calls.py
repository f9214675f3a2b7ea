# SPDX-License-Identifier: Apache-2.0
"""gRPC through real clients and servers: unary calls and the three kinds of streams, statuses,
trailers, deadlines, and Weir's own answers as statuses of gRPC."""

import threading
from concurrent import futures

from peers import h2, wire
from peers.h2 import H2
from peers.h2_origin import H2Origin
from peers.story import Skip

try:
    import grpc
except ImportError:
    grpc = None


def identity(b):
    return b


class Service:
    """A server of gRPC without generated code."""

    def __init__(self, address):
        self.cancelled = threading.Event()
        self.metadata = {}
        self.remaining = None
        kinds = {
            "Echo": grpc.unary_unary_rpc_method_handler(self.echo, identity, identity),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail, identity, identity),
            "Slow": grpc.unary_unary_rpc_method_handler(self.slow, identity, identity),
            "Many": grpc.unary_stream_rpc_method_handler(self.many, identity, identity),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum, identity, identity),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat, identity, identity),
        }
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.S", kinds),))
        assert self.server.add_insecure_port(address), address
        self.server.start()
        self.address = address
        self.violations = []

    def echo(self, body, context):
        self.metadata = dict(context.invocation_metadata())
        self.remaining = context.time_remaining()
        context.set_trailing_metadata((("x-tail", "yes"), ("x-bin-bin", b"\x00\xff")))
        return body

    def fail(self, _, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not like this: \u00e9")

    def slow(self, _, context):
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(wire.patience() * 3)
        return b""

    def many(self, body, _):
        for i in range(int(body)):
            yield b"%d" % i

    def sum(self, messages, _):
        return b"%d" % sum(int(m) for m in messages)

    def chat(self, messages, _):
        for m in messages:
            yield b"re: " + m

    def close(self):
        self.server.stop(None)


def config(t, address, protocol="h2", **more):
    out = {"listeners": [{"address": t.address(), "h2c": True}],
           "upstreams": {"u": {"endpoints": [address], "protocol": protocol}},
           "routes": [{"name": "calls", "match": {"path": "/test.S/*"}, "to": "u"},
                      {"name": "denied", "match": {"path": "/denied"}, "reply": {"status": 403}}]}
    out.update(more)
    return out


def begin(t):
    if grpc is None:
        raise Skip("python3-grpcio is not installed")
    t.s = Service(t.address())
    t.origins.append(t.s)
    t.w = t.start(config(t, t.s.address))
    t.channel = grpc.insecure_channel(t.w.address)


def call(t, method, kind="unary_unary", channel=None):
    return getattr(channel or t.channel, kind)("/test.S/" + method, identity, identity)


def patience():
    return wire.patience() * 3


def asked(t, function):
    """A refused stream is a refusal of a door, and nothing else."""
    try:
        return function()
    except grpc.RpcError as e:
        if t.variant == "doors":
            wire.Refusals.note()
        raise AssertionError("%s: %s" % (e.code(), e.details()))


def test_unary(t):
    body = b"x" * t.bulk(300000)
    got, c = asked(t, lambda: call(t, "Echo").with_call(
        body, timeout=patience(), metadata=(("x-key", "v"), ("x-raw-bin", b"\x01\xfe"))))
    assert got == body
    tail = dict(c.trailing_metadata())
    assert tail["x-tail"] == "yes" and tail["x-bin-bin"] == b"\x00\xff", tail
    assert t.s.metadata["x-key"] == "v" and t.s.metadata["x-raw-bin"] == b"\x01\xfe"
    assert 0 < t.s.remaining < patience() + 1, "grpc-timeout did not arrive"


def test_status_and_message(t):
    try:
        call(t, "Fail")(b"", timeout=patience())
        raise AssertionError("no error")
    except grpc.RpcError as e:
        if e.code() != grpc.StatusCode.FAILED_PRECONDITION:
            wire.Refusals.note()
        assert e.code() == grpc.StatusCode.FAILED_PRECONDITION, e
        assert e.details() == "not like this: \u00e9", e.details()
    try:  # trailers-only
        call(t, "Unknown")(b"", timeout=patience())
        raise AssertionError("no error")
    except grpc.RpcError as e:
        assert e.code() in (grpc.StatusCode.UNIMPLEMENTED,) or t.variant == "doors", e


def test_server_streaming(t):
    got = asked(t, lambda: list(call(t, "Many", "unary_stream")(b"50", timeout=patience())))
    assert got == [b"%d" % i for i in range(50)], got


def test_many_small_messages(t):
    """gRPC makes room for each message that it reads: thousands of small ones are no flood."""
    n = t.bulk(8000) // 4

    def read(_):
        stream = call(t, "Many", "unary_stream")(b"%d" % n, timeout=patience())
        return asked(t, lambda: sum(1 for _ in stream))
    got = wire.in_parallel(4, read)
    assert got == [n] * 4, got


def test_client_streaming(t):
    got = asked(t, lambda: call(t, "Sum", "stream_unary")(
        iter([b"%d" % i for i in range(50)]), timeout=patience()))
    assert got == b"1225", got


def test_bidirectional(t):
    """Each message is answered before the next one is sent."""
    answered = threading.Semaphore(1)

    def ask():
        for i in range(20):
            answered.acquire()
            yield b"%d" % i

    def talk():
        got = []
        for m in call(t, "Chat", "stream_stream")(ask(), timeout=patience()):
            got.append(m)
            answered.release()
        return got
    assert asked(t, talk) == [b"re: %d" % i for i in range(20)]


def test_cancelling(t):
    t.s.cancelled.clear()
    future = call(t, "Slow").future(b"", timeout=patience())
    future.cancel()
    assert future.cancelled() or t.variant == "doors"
    assert asked(t, lambda: call(t, "Echo")(b"on", timeout=patience())) == b"on"


def test_many_calls_share_connections(t):
    futures_ = [call(t, "Echo").future(b"%d" % i, timeout=patience()) for i in range(100)]
    got = asked(t, lambda: [f.result() for f in futures_])
    assert got == [b"%d" % i for i in range(100)]


def raw_call(w, path, fields=(), body=b"\0\0\0\0\0"):
    with H2(w.address) as c:
        a = c.ask("POST", path, [("content-type", "application/grpc"), ("te", "trailers")]
                  + list(fields), body=body)
    if "memory_limit" in (a.get("grpc-message"), a.trailers.get("grpc-message")):
        wire.Refusals.note()
    return a


def test_deadline(t):
    """grpc-timeout is the limit of the exchange; the endpoint's stream is reset."""
    o = H2Origin(t.address())
    t.origins.append(o)
    w = t.start(config(t, o.address))
    o.on("/test.S/Late", lambda r: None)
    a = raw_call(w, "/test.S/Late", [("grpc-timeout", "2S")])
    assert a.status == 200 and a.get("grpc-status") == "4", a
    assert a.get("grpc-message") == "grpc_deadline_exceeded", a
    assert a.get("content-type") == "application/grpc" and not a.body, a
    assert o.await_seen("/test.S/Late")[0].await_reset() == h2.CANCEL
    assert o.seen("/test.S/Late")[0].get("grpc-timeout") == "2S"
    w.stop()


def test_own_answers(t):
    a = raw_call(t.w, "/nowhere")
    assert a.status == 200 and a.get("grpc-status") == "12", a
    assert a.get("grpc-message") == "no_route", a
    a = raw_call(t.w, "/denied")
    assert a.status == 200 and a.get("grpc-status") == "7", a
    w = t.start(config(t, t.address()))
    a = raw_call(w, "/test.S/Echo")
    assert a.get("grpc-status") == "14", a
    assert a.get("grpc-message") == "connect_refused_by_endpoint", a
    w.stop()
    with H2(t.w.address) as c:  # no call: an answer of HTTP
        a = c.ask("POST", "/nowhere", [("content-type", "application/json")], body=b"{}")
    assert a.status == 404 and a.get("grpc-status") is None, a


def test_http1_upstream(t):
    """Refused with a reason: HTTP/1.1 cannot carry it."""
    o = t.origin()
    w = t.start(config(t, o.address, protocol="h1"))
    a = raw_call(w, "/test.S/Echo")
    assert a.status == 200 and a.get("grpc-status") == "12", a
    assert a.get("grpc-message") == "grpc_needs_http2", a
    assert not o.seen("/test.S/Echo")
    w.stop()


def test_trailers_only(t):
    """The head that ends a call goes on as it is."""
    o = H2Origin(t.address())
    t.origins.append(o)
    w = t.start(config(t, o.address))
    o.on("/test.S/Only", lambda r: r.head(
        200, [("content-type", "application/grpc"), ("grpc-status", "5")], end=True))
    a = raw_call(w, "/test.S/Only")
    assert a.status == 200 and a.get("grpc-status") == "5" and a.ended, a
    assert a.get("content-length") is None, a
    w.stop()


def test_end(t):
    t.channel.close()

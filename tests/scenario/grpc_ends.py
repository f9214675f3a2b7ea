# SPDX-License-Identifier: Apache-2.0
"""gRPC calls whose answer has begun and cannot go on: a status behind whole messages, a broken
stream in the middle of one. And calls that keep silent for long, which nothing ends."""

import base64
import queue
import struct

from peers import h2, wire
from peers.h2 import H2
from peers.h2_origin import H2Origin
from peers.story import Skip

try:
    import grpc
except ImportError:
    grpc = None

NOT_IN = {"doors": "how a call ends is the matter; a refusal ends it otherwise"}
COST = 4


def message(body):
    return struct.pack(">BI", 0, len(body)) + body


def config(t, address, timeouts=None, **more):
    route = {"name": "calls", "match": {"path": "/test.S/*"}, "to": "u", "grpc_web": True}
    route.update(more)
    out = {"listeners": [{"address": t.address(), "h2c": True}],
           "upstreams": {"u": {"endpoints": [address], "protocol": "h2"}},
           "routes": [route]}
    if timeouts:  # not for the head of what shows that they hold
        out["timeouts"] = timeouts
        out["routes"].append({"name": "idle", "match": {"path": "/idle/*"}, "to": "u",
                              "timeouts": {"first_byte": "1m"}})
    return out


def begin(t):
    t.o = H2Origin(t.address())
    t.origins.append(t.o)
    t.w = t.start(config(t, t.o.address))
    t.soon = ("grpc-timeout", "1S" if wire.patience() < 40 else "2S")  # behind what comes first


def starts(*pieces, kind="application/grpc", fields=(), then=None):
    """A handler that begins an answer with these bytes, and then does what then says."""
    def handler(r):
        r.head(200, [("content-type", kind)] + list(fields))
        for p in pieces:
            r.data(p)
        if then:
            then(r)
    return handler


def resets(r):
    r.rst(h2.INTERNAL_ERROR)


def call(w, path, fields=(), kind="application/grpc"):
    """(connection, stream) of a call whose request is whole."""
    c = H2(w.address)
    s = c.request("POST", path, [("content-type", kind), ("te", "trailers")] + list(fields),
                  body=message(b"ask"))
    return c, s


def end_of(t, path, *args, **more):
    c, s = call(t.w, path, *args, **more)
    with c:
        return c.response(s)


def test_deadline_behind_messages(t):
    """The endpoint goes silent behind two messages: status 4 in trailers, its stream cancelled."""
    t.o.on("/test.S/Late", starts(message(b"one"), message(b"")))
    a = end_of(t, "/test.S/Late", [t.soon])
    assert a.status == 200 and a.body == message(b"one") + message(b""), a
    assert a.ended and a.reset is None and a.trailers.get("grpc-status") == "4", a.trailers
    assert a.trailers.get("grpc-message") == "grpc_deadline_exceeded", a.trailers
    assert t.o.seen("/test.S/Late")[0].await_reset() == h2.CANCEL
    line = t.w.line_for("/test.S/Late")
    assert line["status"] == 200 and line["reason"] == "grpc_deadline_exceeded", line


def test_deadline_while_the_client_sends(t):
    """Behind the status the client is told that the rest of its messages is not wanted."""
    t.o.on("/test.S/Chat", starts(message(b"hi")))
    with H2(t.w.address) as c:
        s = c.request("POST", "/test.S/Chat", [("content-type", "application/grpc"),
                                               t.soon], body=message(b"q"),
                      end=False)
        a = c.response(s)
        assert a.trailers.get("grpc-status") == "4" and a.ended, a
        c.until("RST_STREAM", lambda: a.reset is not None)
        assert a.reset == h2.NO_ERROR, a
        c.ping()


def test_deadline_in_a_message(t):
    """Nothing can be said behind half a message: CANCEL, which clients take for their deadline."""
    half = message(b"whole") + message(b"cut here")[:9]
    t.o.on("/test.S/Half", starts(half))
    a = end_of(t, "/test.S/Half", [t.soon])
    assert a.body == half and not a.ended and a.reset == h2.CANCEL and not a.trailers, a
    t.o.on("/test.S/Prefix", starts(message(b"whole"), b"\0\0\0"))
    a = end_of(t, "/test.S/Prefix", [t.soon])
    assert not a.ended and a.reset == h2.CANCEL, a


def test_upstream_fault_behind_messages(t):
    """Also before the first message, when the head alone has come."""
    for path, pieces in (("/test.S/None", ()), ("/test.S/Two", (message(b"a"), message(b"b")))):
        t.o.on(path, starts(*pieces))
        c, s = call(t.w, path)
        with c:
            c.until("messages", lambda: c.answers[s].body == b"".join(pieces)
                    and c.answers[s].status == 200, s)
            resets(t.o.await_seen(path)[0])
            a = c.response(s)
        assert a.body == b"".join(pieces) and a.ended and a.reset is None, a
        assert a.trailers.get("grpc-status") == "14", a.trailers
        assert a.trailers.get("grpc-message") == "upstream_stream_reset", a.trailers
        assert t.w.line_for(path)["reason"] == "upstream_stream_reset"


def test_upstream_fault_in_a_message(t):
    t.o.on("/test.S/Torn", starts(message(b"whole") + message(b"torn")[:7]))
    c, s = call(t.w, "/test.S/Torn")
    with c:
        c.until("bytes", lambda: len(c.answers[s].body) == 17, s)
        resets(t.o.await_seen("/test.S/Torn")[0])
        a = c.response(s)
    assert not a.ended and a.reset == h2.INTERNAL_ERROR and not a.trailers, a


def test_answers_that_are_no_calls(t):
    """Neither a body of another kind nor one of a known length can be ended by a status."""
    t.o.on("/test.S/Json", starts(message(b"a"), kind="application/json"))
    a = end_of(t, "/test.S/Json", [t.soon])
    assert not a.ended and a.reset == h2.CANCEL and not a.trailers, a
    t.o.on("/test.S/Long", starts(message(b"a"), fields=[("content-length", "100")]))
    w = t.start(config(t, t.o.address, grpc_web=False))
    c, s = call(w, "/test.S/Long", [t.soon])
    with c:
        a = c.response(s)
    assert not a.ended and a.reset == h2.CANCEL and not a.trailers, a
    w.stop()
    with H2(t.w.address) as c:  # no call at all
        t.o.on("/test.S/Get", starts(message(b"a")))
        s = c.request("GET", "/test.S/Get")
        c.until("bytes", lambda: c.answers[s].body == message(b"a"), s)
        resets(t.o.await_seen("/test.S/Get")[0])
        a = c.response(s)
    assert not a.ended and a.reset == h2.INTERNAL_ERROR and not a.trailers, a


def check_web(a, body, text):
    """The status is the last message of the body."""
    raw = base64.b64decode(a.body, validate=True) if text else a.body
    assert raw.startswith(body), raw
    flag, n = struct.unpack(">BI", raw[len(body):len(body) + 5])
    lines = raw[len(body) + 5:]
    assert flag == 0x80 and len(lines) == n, raw
    assert lines == b"grpc-status: 4\r\ngrpc-message: grpc_deadline_exceeded\r\n", lines


def test_grpc_web(t):
    """Over HTTP/1.1, too: the message is whole, and so is what is in it."""
    body = message(b"a browser reads this")
    t.o.on("/test.S/Web", starts(body))
    for text in (False, True):
        kind = "application/grpc-web" + ("-text" if text else "")
        ask = base64.b64encode(message(b"q")) if text else message(b"q")
        r = t.w.ask("POST", "/test.S/Web", [("Content-Type", kind), t.soon],
                    body=ask)
        assert r.status == 200 and r.complete and not r.trailers, r
        check_web(r, body, text)
        with H2(t.w.address) as c:
            a = c.ask("POST", "/test.S/Web", [("content-type", kind), t.soon],
                      body=ask)
        assert a.ended and not a.trailers, a
        check_web(a, body, text)
    t.o.on("/test.S/WebHalf", starts(body[:-1]))
    r = t.w.ask("POST", "/test.S/WebHalf", [("Content-Type", "application/grpc-web"),
                                            t.soon], body=message(b"q"))
    assert not r.complete, r


# ---- real clients -------------------------------------------------------------------------------

def channel(w):
    if grpc is None:
        raise Skip("python3-grpcio is not installed")
    return grpc.insecure_channel(w.address)


def method(ch, name, kind):
    return getattr(ch, kind)("/test.S/" + name, lambda b: b, lambda b: b)


def patience():
    return wire.patience() * 3


def test_real_client_sees_the_status(t):
    """The connection to the endpoint dies behind a message: UNAVAILABLE, with the reason."""
    with channel(t.w) as ch:
        t.o.on("/test.S/Dies", starts(message(b"last words")))
        answers = method(ch, "Dies", "unary_stream")(b"", timeout=patience())
        assert next(answers) == b"last words"
        t.o.await_seen("/test.S/Dies")[0].await_over().conn.close()
        try:
            next(answers)
            raise AssertionError("no error")
        except grpc.RpcError as e:
            assert e.code() == grpc.StatusCode.UNAVAILABLE, (e.code(), e.details())
            assert e.details() in ("upstream_truncated", "upstream_stream_reset"), e.details()


def slow_proof(t, w, path):
    """Returns when a request of HTTP was ended by the short timeouts of w, one after another: so
    much time has passed that whatever holds for a call, it is none of these."""
    t.o.on(path, lambda r: r.head(200, [("content-type", "text/plain")]).data(b"x"))
    with H2(w.address) as c:
        silent = c.request("POST", "/test.S/Silent", [("content-length", "5")], body=b"12",
                           end=False)
        a = c.response(silent)
        assert a.status == 408, a
        assert c.ask("GET", "/test.S/Silent").status == 504
        a = c.ask("GET", path)
        assert a.status == 200 and not a.ended, a
    w.await_access(lambda x: x["reason"] == "response_idle_timeout")


SHORT = {"client_body": "200ms", "first_byte": "1s", "response_idle": "200ms"}


def test_silent_streams_go_on(t):
    """Neither side says a word for longer than any timeout of messages: in a bidirectional call
    before the first word, and after it; in a server's stream before its head, and after it."""
    w = t.start(config(t, t.o.address, SHORT))
    go = {}

    def talk(r):
        go[r.path] = r

    for path in ("/test.S/Silent", "/test.S/Both", "/test.S/Server"):
        t.o.on(path, talk)
    with channel(w) as ch:
        words, done = queue.Queue(), object()
        both = method(ch, "Both", "stream_stream")(iter(words.get, done), timeout=patience())
        server = method(ch, "Server", "unary_stream")(b"", timeout=patience())
        t.o.await_seen("/test.S/Both")
        t.o.await_seen("/test.S/Server")
        slow_proof(t, w, "/idle/1")
        for answers, path in ((both, "/test.S/Both"), (server, "/test.S/Server")):
            starts(message(b"one"))(t.o.seen(path)[0])
            assert next(answers) == b"one"
        words.put(b"two")
        q = t.o.seen("/test.S/Both")[0]
        q.conn.wait("message", lambda: q.body == message(b"two"))
        slow_proof(t, w, "/idle/2")
        words.put(done)
        q.await_over()
        for answers, path in ((both, "/test.S/Both"), (server, "/test.S/Server")):
            r = t.o.seen(path)[0]
            r.data(message(b"end"))
            r.trailer([("grpc-status", "0")])
            assert list(answers) == [b"end"]
    for path in ("/test.S/Both", "/test.S/Server"):
        line = w.line_for(path)
        assert line["reason"] == "ok" and line["status"] == 200, line
    w.stop()


def test_call_idle(t):
    """timeouts.call_idle ends what both sides have left: by a status, begun or not."""
    w = t.start(config(t, t.o.address, {"call_idle": "2s"}))
    t.o.on("/test.S/Never", lambda r: None)
    t.o.on("/test.S/Once", starts(message(b"one")))
    with channel(w) as ch:
        for name in ("Never", "Once"):
            answers = method(ch, name, "unary_stream")(b"", timeout=patience())
            got = []
            try:
                for m in answers:
                    got.append(m)
                raise AssertionError("no error")
            except grpc.RpcError as e:
                assert e.code() == grpc.StatusCode.UNAVAILABLE, (e.code(), e.details())
                assert e.details() == "call_idle_timeout", e.details()
            assert got == ([] if name == "Never" else [b"one"]), got
            assert w.line_for("/test.S/" + name)["reason"] == "call_idle_timeout"
    w.stop()


def test_clients_of_http1_must_send(t):
    """call_idle is no way around client_body: HTTP/1 has no conversations."""
    w = t.start(config(t, t.o.address, SHORT))
    t.o.on("/test.S/Silent", lambda r: None)
    with w.client() as c:
        c.send("POST /test.S/Silent HTTP/1.1\r\nHost: h\r\nContent-Type: application/grpc-web\r\n"
               "Content-Length: 10\r\n\r\n123")
        r = c.response()
    assert r.get("grpc-message") == "client_body_timeout", r
    w.stop()


def test_slow_reader_gets_its_status(t):
    """What waits for the client's window goes first; the status behind it."""
    body = message(b"z" * 1500) + message(b"y" * 1500)
    t.o.on("/test.S/Big", starts(body))
    with H2(t.w.address, {h2.INITIAL_WINDOW: 1000}, auto=False) as c:
        s = c.request("POST", "/test.S/Big", [("content-type", "application/grpc"),
                                              ("grpc-timeout", "2S")], body=message(b"q"))
        c.until("the window's worth", lambda: len(c.answers[s].body) == 1000, s)
        t.o.await_seen("/test.S/Big")[0].await_reset()
        c.open_window(100000, s)
        c.open_window(100000)
        a = c.response(s)
    assert a.body == body and a.ended, a
    assert a.trailers.get("grpc-status") == "4", a.trailers

# SPDX-License-Identifier: Apache-2.0
"""Everything changes under load and nothing is lost: 64 connections ask without a pause, and 50
WebSockets, 50 streams of events and 20 of gRPC are open, while the configuration is reloaded, and
routes and weights are changed, 20 times each, and the program is replaced three times. No request
fails, no stream is cut, and when all of them have ended, descriptors and memory are what they were
before. (Sanitizers and single bytes: a quarter of the clients and streams, all of the changes.)"""

import base64
import hashlib
import json
import queue
import threading

from peers import client, crowd
from peers.origin import echo_tunnel
from peers.story import Skip
from peers.wire import await_true

try:
    import grpc
    from concurrent import futures
except ImportError:
    grpc = None

NOT_IN = {"doors": "what memory refuses fails"}
CLIENTS, WEBSOCKETS, EVENTS, CALLS = 64, 50, 50, 20
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
GROWTH = 4 << 20


# ---- the changes: each function makes its n-th and waits until it is in force -----------------


def by_reload(t, n):
    t.generation += 1
    t.w.reload(t.w.with_config(routes=routes(t.generation)),
               lambda: t.w.get("/gen").body == b"gen %d" % t.generation)


def by_route(t, n):
    route = {"name": "run", "match": "/run", "reply": {"body": "run %d" % n}}
    api(t, "PUT", "/v1/routes/run", route)
    assert t.w.get("/run").body == b"run %d" % n


def by_weights(t, n):
    api(t, "PUT", "/v1/upstreams/load/weights", {t.load[0]: 1 + n % 3, t.load[1]: 1 + n % 2})


def by_upgrade(t, n):
    code, text, err = t.run("upgrade", "--pid", str(t.w.pid))
    assert code == 0, text + err


# How often in a whole run; each kind is spread over all of it.
CHANGES = [(20, by_reload), (20, by_route), (20, by_weights), (3, by_upgrade)]


def schedule(share=1):
    """(function, n) in order: of each kind every share-th part."""
    all_ = [((n + 0.5) / (often // share), change, n)
            for often, change in CHANGES for n in range(often // share)]
    return [(change, n) for _, change, n in sorted(all_, key=lambda x: x[0])]


# ---- what is open meanwhile --------------------------------------------------------------------


class WebSocket:
    """A tunnel; what is said comes back."""

    def __init__(self, t):
        self.c = t.w.client()
        key = base64.b64encode(b"0123456789abcdef").decode()
        self.c.request("GET", "/ws", [("Connection", "Upgrade"), ("Upgrade", "websocket"),
                                      ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)])
        r = self.c.head()
        assert r.status == 101 and r.get("sec-websocket-accept") == accept(key), r

    def round(self, n):
        said = b"round %6d" % n
        self.c.send(said)
        got = self.c.stream.exactly(len(said))
        assert got == said, "a tunnel has %r for %r" % (got, said)

    def end(self):
        self.c.close()


class Events:
    """Server-sent events; the origin says one to all of them each round."""

    def __init__(self, t):
        self.c = t.w.client()
        self.c.request("GET", "/events")
        self.r = self.c.head()
        assert self.r.status == 200, self.r
        self.got = b""

    def round(self, n):
        line = b"data: %d\n\n" % n
        while line not in self.got:
            piece = next(self.r.pieces, None)
            assert piece is not None, "an event stream ended before %r" % line
            self.got = self.got[-64:] + piece

    def end(self):
        self.c.close()


class Call:
    """A stream of gRPC both ways; what is said comes back."""

    def __init__(self, channel):
        self.said = queue.Queue()
        self.answers = channel.stream_stream("/test.S/Chat", bytes, bytes)(
            iter(self.said.get, None), timeout=3600)

    def round(self, n):
        self.said.put(b"round %d" % n)
        assert next(self.answers) == b"re: round %d" % n

    def end(self):
        self.said.put(None)
        assert list(self.answers) == [] and self.answers.code() == grpc.StatusCode.OK


def accept(key):
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def websocket(conn, req):
    echo_tunnel(conn, req, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n"
                % accept(req.get("sec-websocket-key")))


class Teller:
    """An origin's answer: a stream of events that says each round's number."""

    def __init__(self):
        self.changed, self.n = threading.Condition(), 0

    def say(self, n):
        with self.changed:
            self.n = n
            self.changed.notify_all()

    def __call__(self, conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        seen = 0
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.n != seen)
                seen = self.n
            if seen < 0 or not conn.send("data: %d\n\n" % seen):
                break
        conn.close()


class Service:
    """A server of gRPC with one method."""

    def __init__(self, address):
        def chat(messages, _):
            for m in messages:
                yield b"re: " + m
        kinds = {"Chat": grpc.stream_stream_rpc_method_handler(chat, bytes, bytes)}
        self.server = grpc.server(futures.ThreadPoolExecutor(CALLS))
        self.server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.S", kinds),))
        assert self.server.add_insecure_port(address), address
        self.server.start()
        self.violations = []

    def close(self):
        self.server.stop(None)


# ---- the story ---------------------------------------------------------------------------------


def routes(n):
    return [{"name": "gen", "match": "/gen", "reply": {"body": "gen %d" % n}},
            {"name": "ws", "match": "/ws", "to": "streams"},
            {"name": "events", "match": "/events", "to": "streams"},
            {"name": "calls", "match": "/test.S/*", "to": "calls"},
            {"name": "all", "match": "/*", "to": "load"}]


def upstreams(t):
    return {"load": {"endpoints": t.load}, "streams": {"endpoints": [t.o.address]},
            "calls": {"endpoints": [t.calls], "protocol": "h2"}}


def api(t, method, path, body=None):
    with client.Client(t.w.admin) as c:
        r = c.ask(method, path, (), body and json.dumps(body).encode(), host="weir")
    assert r.status in (200, 201), (r.status, r.body)


def begin(t):
    if grpc is None:
        raise Skip("python3-grpcio is not installed")
    t.less = 4 if t.sanitized or t.variant != "plain" else 1
    t.o, t.teller = t.origin("streams"), Teller()
    t.o.on("/ws", websocket)
    t.o.on("/events", t.teller)
    t.calls, t.load = t.address(), [t.address(), t.address()]
    t.origins.append(Service(t.calls))
    t.generation = 0
    t.w = t.start({"workers": 2, "listeners": [{"address": t.address(), "h2c": True}],
                   "drain": "10m", "admin": {"address": t.unix()}, "state_dir": t.make_dir("state"),
                   "routes": routes(0), "upstreams": upstreams(t)})


def streams(t, channels):
    return ([WebSocket(t) for _ in range(WEBSOCKETS // t.less)]
            + [Events(t) for _ in range(EVENTS // t.less)]
            + [Call(channels[i % len(channels)]) for i in range(CALLS // t.less)])


def everything_changes(t, share=1):
    """Load, streams and changes from the first to the last; returns how many were answered."""
    t.teller.say(0)
    people = crowd.Process(t, CLIENTS // t.less, t.w.address, t.load)
    t.w.reload(t.w.with_config(upstreams=upstreams(t), routes=routes(t.generation)),
               lambda: t.w.get("/any").status == 200)
    alone = [("grpc.use_local_subchannel_pool", 1)]  # else all share one connection
    channels = [grpc.insecure_channel(t.w.address, alone) for _ in range(4)]
    opened = streams(t, channels)
    people.go()
    for n, (change, i) in enumerate(schedule(share), 1):
        change(t, i)
        t.teller.say(n)
        for s in opened:
            s.round(n)
        answered = people.answered()
    for s in opened:
        s.end()
    t.teller.say(-1)
    for c in channels:
        c.close()
    people.end()
    return answered


def at_rest(t):
    """(descriptors, bytes) when nobody asks any more and no link is kept."""
    api(t, "DELETE", "/v1/changes")
    t.generation += 1
    t.w.reload(t.w.with_config(upstreams={}, routes=routes(t.generation)[:1]),
               lambda: t.w.get("/gen").body == b"gen %d" % t.generation)

    def quiet():
        now = t.w.status()["workers"]
        busy = any(w["connections"] + w["exchanges"] + w["tunnels"] for w in now)
        return len(t.w.children()) == 1 and not busy
    await_true("nobody is left", quiet)
    return t.w.fds(), t.w.memory()


def test_no_loss(t):
    everything_changes(t, share=10)
    await_true("the first descriptors", lambda: at_rest(t)[0] == at_rest(t)[0])
    fds, memory = at_rest(t)
    answered = everything_changes(t)
    assert answered >= CLIENTS // t.less * len(schedule()), answered
    await_true("descriptors", lambda: at_rest(t)[0] <= fds)
    more = at_rest(t)[1] - memory
    print("%d requests, %d KiB more memory" % (answered, more >> 10))
    assert t.sanitized or more < GROWTH, "%d KiB more" % (more >> 10)
    t.w.stop()

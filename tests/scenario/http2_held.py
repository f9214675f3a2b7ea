# SPDX-License-Identifier: Apache-2.0
"""What is held for one HTTP/2 connection is bounded, whatever its streams do, and a stream that
moves is not held up by those that do not."""

import json
import threading
import time

from peers import h2, wire
from peers.h2 import H2
from peers.h2_origin import H2Origin
from peers.wire import Deadline

MIB = 1 << 20
MANY = 20
BUFFER = {"strategy": "fixed", "size": "1MiB"}  # of a route, for each of its bodies
NOT_IN = {"onebyte": "megabytes byte by byte", "doors": "what is refused is not held"}


def begin(t):
    t.go = threading.Event()
    t.body = bytes(range(256)) * (20 * MIB // 256)
    t.o = t.origin()
    t.o.on("/big", lambda conn, req: conn.reply(body=t.body))
    t.o.on("/moves", lambda conn, req: conn.reply(body=b"%d" % len(req.body())))
    t.w = start(t, t.o.address)


def start(t, address, protocol="auto", max_streams=100, stuck=None):
    upstreams = {"u": {"endpoints": [address], "protocol": protocol}}
    routes = [{"name": "all", "match": {"path": "/*"}, "to": "u", "buffer": BUFFER}]
    if stuck:
        upstreams["stuck"] = {"endpoints": [stuck], "protocol": "h2"}
        routes.append({"name": "stuck", "match": {"path": "/stuck"}, "to": "stuck"})
    return t.start({
        "listeners": [{"address": t.address(), "h2c": True, "http2": {"max_streams": max_streams}}],
        "upstreams": upstreams, "routes": routes,
        "admin": {"address": t.unix()}, "workers": 1})


def held_at_rest(w, path="/big", step="stream", many=MANY, least=0):
    """The exchanges with their held_bytes when no byte moves any more; in all never more than the
    half of 2 MiB that there is for one direction on the way. Each has at least so many of them."""
    until = time.monotonic() + wire.patience() * 3
    before, calm, most = None, 0, 0
    while calm < 5:
        list_ = json.loads(w.admin_get("/v1/exchanges?limit=1000").body)["exchanges"]
        now = sorted((x["step"], x["request_bytes"], x["response_bytes"], x["held_bytes"])
                     for x in list_ if x.get("path") == path)
        most = max(most, sum(x[3] for x in now))
        there = len(now) == many and all(x[0] == step and x[3] >= least for x in now)
        calm = calm + 1 if there and now == before else 0
        before = now
        if time.monotonic() > until:
            raise Deadline("bytes still move: %r" % now)
    assert most <= MIB, "%d bytes were held" % most
    return now


def downloads(t, w, protocol):
    """Twenty answers of 20 MiB wait for a client that keeps their windows shut. Another one on the
    same connection comes whole."""
    with H2(w.address, values={h2.INITIAL_WINDOW: 0}) as c:
        c.open_window((1 << 31) - 1 - 65535)
        stuck = [c.request(path="/big") for _ in range(MANY)]
        held_at_rest(w, least=4096)
        moving = c.request(path="/big")
        c.open_window(len(t.body), moving)
        assert c.response(moving).body == t.body, protocol
        held_at_rest(w)
        for stream in stuck[:2]:  # nor are those lost that waited
            c.open_window(len(t.body), stream)
            assert c.response(stream).body == t.body, protocol


def test_unread_downloads(t):
    downloads(t, t.w, "h1")


def test_unread_downloads_from_h2(t):
    """The same from an HTTP/2 upstream, whose one connection they share: neither does another
    client's request wait for them."""
    o = H2Origin(t.address())
    t.origins.append(o)
    o.on("/big", lambda r: r.reply(body=t.body))
    w = start(t, o.address, "h2")
    with H2(w.address, values={h2.INITIAL_WINDOW: 0}) as c:
        for _ in range(MANY):
            c.request(path="/big")
        held_at_rest(w)
        r = w.get("/big")
        assert r.status == 200 and r.body == t.body, r
        assert len(o.conns) == 1, "they did not share a connection"
    downloads(t, w, "h2")


def test_many_unread_downloads_from_h2(t):
    """As many as the client may ask for: the first windows of their streams to the upstream, too,
    are within what may be held. Each gets some of it, and in the end the whole."""
    many = 250
    o = H2Origin(t.address())
    t.origins.append(o)
    o.on("/big", lambda r: r.reply(body=t.body[:MIB]))
    w = start(t, o.address, "h2", many)
    assert w.get("/big").status == 200  # a connection with larger first windows is there already
    with H2(w.address, values={h2.INITIAL_WINDOW: 0}) as c:
        c.open_window((1 << 31) - 1 - 65535)
        c.until("SETTINGS", lambda: c.settings)
        asked = [c.request(path="/big") for _ in range(many)]
        held_at_rest(w, many=many, least=1024)
        for stream in asked[-3:]:
            c.open_window(MIB, stream)
            assert c.response(stream).body == t.body[:MIB]


def test_a_client_that_reads_nothing(t):
    """The windows are as open as they can be, when all was asked for; the socket is not read."""
    before = len(t.o.seen("/big"))
    with H2(t.w.address, values={h2.INITIAL_WINDOW: (1 << 31) - 1}) as c:
        for _ in range(MANY):
            c.request(path="/big")
        t.o.await_seen("/big", before + MANY)
        c.open_window((1 << 31) - 1 - 65535)
        held_at_rest(t.w)


class Windows:
    """What a client may send: of the connection (0) and of each stream."""

    def __init__(self, c):
        self.c, self.seen, self.left = c, 0, {0: 65535}
        c.until("SETTINGS", lambda: c.settings)
        self.first = self.usual = c.settings[h2.INITIAL_WINDOW]

    def send(self, stream, most=1 << 30):
        """What may go now; its bytes."""
        c = self.c
        more, self.first = c.settings[h2.INITIAL_WINDOW] - self.first, c.settings[h2.INITIAL_WINDOW]
        for s in self.left:
            self.left[s] += more if s else 0
        self.left.setdefault(stream, self.first)
        for s, n in c.window_frames[self.seen:]:
            self.left[s] = self.left.get(s, self.first) + n
        self.seen = len(c.window_frames)
        n = max(0, min(self.left[0], self.left[stream], 16384, most))
        if n:
            c.frame(h2.DATA, 0, stream, bytes(n))
            self.left[0] -= n
            self.left[stream] -= n
        return n

    def upload(self, path, left):
        """The stream on which so many bytes went; not its end."""
        c = self.c
        stream = c.open(c.head("POST", path), end=False)
        while left:
            n = self.send(stream, left)
            left -= n
            if not n:
                before = len(c.window_frames)
                c.until("a window", lambda: len(c.window_frames) > before)
        return stream


def stuck_uploads(t, many):
    """So many uploads to an origin that takes no byte of them. One that is read goes on beside
    them, and they, in the end."""
    t.go.clear()
    o = H2Origin(t.address(), {h2.INITIAL_WINDOW: 0})
    t.origins.append(o)

    def stuck(r):
        t.go.wait(60)
        for stream in (0, r.stream):
            r.conn.frame(h2.WINDOW, 0, stream, (1 << 24).to_bytes(4, "big"))
        r.await_over().reply(body=b"%d" % len(r.body))

    o.on("/stuck", stuck)
    w = start(t, t.o.address, stuck=o.address)
    with H2(w.address) as c:
        windows, sent, quiet = Windows(c), dict.fromkeys(range(many), 0), 0
        stuck = [c.open(c.head("POST", "/stuck"), end=False) for _ in range(many)]
        o.await_seen("/stuck", many)
        while quiet < 3:  # what was sent has been looked at, and nothing came back for it
            moved = 0
            for i, s in enumerate(stuck):
                n = windows.send(s)
                sent[i] += n
                moved += n
            quiet = 0 if moved else quiet + 1
            c.ping()
        held_at_rest(w, "/stuck", "attempt", many)
        narrow = c.settings[h2.INITIAL_WINDOW] < windows.usual
        assert narrow == (many > MANY), c.settings
        moving = windows.upload("/moves", 2 * MIB)
        for s in stuck + [moving]:
            c.frame(h2.DATA, h2.END_STREAM, s)
        assert c.response(moving).body == b"%d" % (2 * MIB)
        t.go.set()
        for i, s in enumerate(stuck):
            assert c.response(s).body == b"%d" % sent[i], c.answers[s]
        c.until("the usual window", lambda: c.settings[h2.INITIAL_WINDOW] == windows.usual)
        again = windows.upload("/moves", 2 * MIB)
        c.frame(h2.DATA, h2.END_STREAM, again)
        assert c.response(again).body == b"%d" % (2 * MIB)


def test_stuck_uploads(t):
    stuck_uploads(t, MANY)


def test_many_stuck_uploads(t):
    """More than the connection's window has room for at the first window of each: they begin with a
    smaller one, for which a part of the connection's was spared. When they are over it is as
    before."""
    stuck_uploads(t, 99)


def test_kept_bodies(t):
    """Bodies that are kept to be sent once more are bounded for a connection, too: of eight that
    the upstream refuses when it has them, three are sent again."""
    o = H2Origin(t.address())
    t.origins.append(o)

    def refuse_once(r):
        r.await_over()
        wire.await_true("all of them", lambda: len(o.seen("/kept")) >= 8)
        if o.seen("/kept").index(r) < 8:
            r.rst(h2.REFUSED_STREAM)
        else:
            r.reply(body=b"%d" % len(r.body))

    o.on("/kept", refuse_once)
    w = start(t, o.address, "h2")
    size = 40 * 1024
    with H2(w.address) as c:
        windows = Windows(c)
        asked = [windows.upload("/kept", size) for _ in range(8)]
        for stream in asked:
            c.frame(h2.DATA, h2.END_STREAM, stream)
        answers = [c.response(stream) for stream in asked]
        assert sorted(a.status for a in answers) == [200] * 3 + [503] * 5, answers
        assert {a.body for a in answers if a.status == 200} == {b"%d" % size}, answers

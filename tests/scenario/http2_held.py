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
    t.o.on("/stuck", lambda conn, req: t.go.wait(60) and conn.reply(body=b"%d" % len(req.body())))
    t.o.on("/moves", lambda conn, req: conn.reply(body=b"%d" % len(req.body())))
    t.w = start(t, t.o.address)


def start(t, address, protocol="auto"):
    return t.start({
        "listeners": [{"address": t.address(), "h2c": True}],
        "upstreams": {"u": {"endpoints": [address], "protocol": protocol}},
        "routes": [{"name": "all", "match": {"path": "/*"}, "to": "u", "buffer": BUFFER}],
        "admin": {"address": t.unix()}, "workers": 1})


def held_at_rest(w, path="/big", step="stream"):
    """The sum of held_bytes when no byte moves any more; never more than 2 MiB on the way."""
    until = time.monotonic() + wire.patience() * 3
    before, calm, most = None, 0, 0
    while calm < 5:
        list_ = json.loads(w.admin_get("/v1/exchanges?limit=1000").body)["exchanges"]
        now = sorted((x["step"], x["request_bytes"], x["response_bytes"], x["held_bytes"])
                     for x in list_ if x.get("path") == path)
        most = max(most, sum(x[3] for x in now))
        there = len(now) == MANY and all(x[0] == step for x in now)
        calm = calm + 1 if there and now == before else 0
        before = now
        if time.monotonic() > until:
            raise Deadline("bytes still move: %r" % now)
    assert most <= 2 * MIB, "%d bytes were held" % most
    return now


def downloads(t, w, protocol):
    """Twenty answers of 20 MiB wait for a client that keeps their windows shut. Another one on the
    same connection comes whole."""
    with H2(w.address, values={h2.INITIAL_WINDOW: 0}) as c:
        c.open_window((1 << 31) - 1 - 65535)
        stuck = [c.request(path="/big") for _ in range(MANY)]
        now = held_at_rest(w)
        assert all(x[3] >= 4096 for x in now), "one got nothing: %r" % now
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


def test_a_client_that_reads_nothing(t):
    """The windows are as open as they can be; the socket is not read."""
    with H2(t.w.address, values={h2.INITIAL_WINDOW: (1 << 31) - 1}) as c:
        c.open_window((1 << 31) - 1 - 65535)
        for _ in range(MANY):
            c.request(path="/big")
        held_at_rest(t.w)


class Windows:
    """What a client may send: of the connection (0) and of each stream."""

    def __init__(self, c):
        self.c, self.seen, self.left = c, 0, {0: 65535}
        c.until("SETTINGS", lambda: c.settings)

    def send(self, stream, most=1 << 30):
        """What may go now; its bytes."""
        c = self.c
        self.left.setdefault(stream, c.settings[h2.INITIAL_WINDOW])
        for s, n in c.window_frames[self.seen:]:
            self.left[s] = self.left.get(s, c.settings[h2.INITIAL_WINDOW]) + n
        self.seen = len(c.window_frames)
        n = max(0, min(self.left[0], self.left[stream], 16384, most))
        if n:
            c.frame(h2.DATA, 0, stream, bytes(n))
            self.left[0] -= n
            self.left[stream] -= n
        return n


def test_stuck_uploads(t):
    """Twenty uploads to an origin that reads none of them. One that is read goes on beside them,
    and they, in the end."""
    t.go.clear()
    with H2(t.w.address) as c:
        windows, sent, quiet = Windows(c), dict.fromkeys(range(MANY), 0), 0
        stuck = [c.open(c.head("POST", "/stuck"), end=False) for _ in range(MANY)]
        t.o.await_seen("/stuck", MANY)
        while quiet < 3:  # what was sent has been looked at, and nothing came back for it
            moved = 0
            for i, s in enumerate(stuck):
                n = windows.send(s)
                sent[i] += n
                moved += n
            quiet = 0 if moved else quiet + 1
            c.ping()
        held_at_rest(t.w, "/stuck", "attempt")
        moving, left = c.open(c.head("POST", "/moves"), end=False), 2 * MIB
        while left:
            n = windows.send(moving, left)
            left -= n
            if not n:
                before = len(c.window_frames)
                c.until("a window beside the stuck", lambda: len(c.window_frames) > before)
        for s in stuck + [moving]:
            c.frame(h2.DATA, h2.END_STREAM, s)
        assert c.response(moving).body == b"%d" % (2 * MIB)
        t.go.set()
        for i, s in enumerate(stuck):
            assert c.response(s).body == b"%d" % sent[i], c.answers[s]

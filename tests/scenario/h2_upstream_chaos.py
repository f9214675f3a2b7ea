# SPDX-License-Identifier: Apache-2.0
"""Endpoints over HTTP/2 that do everything at once: refuse, reset, say GOAWAY, hang up in the
middle and right behind an answer, change their SETTINGS; with limits that workers contend for. What
looks whole is whole and the right one, nobody waits for ever, and the server is still the same."""

import hashlib
import random
import threading

from peers import h2, wire
from peers.h2 import H2
from peers.h2_origin import H2Origin

NOT_IN = {"onebyte": "many bytes, each a system call", "doors": "nothing here must succeed"}
KINDS = ("full",) * 6 + ("trailers", "length", "length", "goaway", "last", "rst", "refuse", "close",
                         "early", "settings")
SIZES = (0, 1, 100, 1500, 40000, 200000)


def content(target):
    n = int(target.split("/")[2])
    return (hashlib.sha256(target.encode()).digest() * (n // 32 + 1))[:n]


def answer(r):
    """As /number/size/kind says; the number decides what else happens."""
    kind, body, dice = r.target.split("/")[3], content(r.target), random.Random(r.target)
    if dice.random() < 0.7:
        r.await_over()
    if r.reset is not None:
        return
    if dice.random() < 0.15:
        r.head(103, [("link", "</x>")])
    if kind in ("rst", "close"):
        r.head().data(body[:len(body) // 2])
        r.rst(dice.choice((h2.NO_ERROR, h2.INTERNAL_ERROR))) if kind == "rst" else r.conn.close()
        return
    if kind == "refuse":
        r.rst(h2.REFUSED_STREAM)
        return
    if kind == "settings":
        r.conn.settings({h2.MAX_STREAMS: dice.choice((1, 5, 50)),
                         h2.INITIAL_WINDOW: dice.choice((100, 5000, 70000))})
    fields = [("content-length", str(len(body)))] if kind == "length" else []
    r.reply(fields=fields, body=body, trailers=[("x-t", "1")] if kind == "trailers" else ())
    if kind == "early":
        r.rst(h2.NO_ERROR)
    if kind in ("goaway", "last"):
        r.conn.say_goaway(max(r.conn.requests) if kind == "goaway" else r.stream)
    if kind == "last":
        r.conn.close()


def target(dice):
    return "/%d/%d/%s" % (dice.randrange(1 << 40), dice.choice(SIZES), dice.choice(KINDS))


def is_right(path, status, body, whole):
    assert status != 200 or not whole or body == content(path), (path, len(body))
    return status == 200 and whole


def over_h1(w, dice):
    good = 0
    for _ in range(15):
        try:
            with w.client() as c:
                for _ in range(dice.randrange(1, 9)):
                    path = target(dice)
                    body = b"u" * dice.choice((1, 3000, 100000)) if dice.random() < 0.3 else None
                    c.request("POST" if body else "GET", path, body=body)
                    if dice.random() < 0.1:
                        c.reset()
                        break
                    r = c.response()
                    good += is_right(path, r.status, r.body, r.complete)
                    if not r.complete:
                        break
        except (wire.Ended, OSError):
            pass  # broken visibly
    return good


def over_h2(w, dice):
    good = 0
    for _ in range(6):
        try:
            with H2(w.address, values={h2.INITIAL_WINDOW: dice.choice((20000, 65535))}) as c:
                paths = {}
                for _ in range(dice.randrange(1, 20)):
                    path = target(dice)
                    s = c.request(path=path)
                    if dice.random() < 0.1:
                        c.rst(s)
                    else:
                        paths[s] = path
                for s, path in paths.items():
                    a = c.response(s)
                    good += is_right(path, a.status, a.body, a.ended)
        except (wire.Ended, OSError):
            pass
    return good


def chaos(t, pool, seed):
    o = H2Origin(t.address(), values={h2.MAX_STREAMS: 5})
    o.default, o.object = answer, lambda text: None  # a connection that is over gets odd frames
    t.origins.append(o)
    w = t.start({"listeners": [{"address": t.address(), "h2c": True}], "workers": 2,
                 "upstreams": {"u": {"endpoints": [o.address], "protocol": "h2", "pool": pool}},
                 "routes": [{"match": "/*", "to": "u"}]})
    server = w.server_pid()
    got = wire.in_parallel(10, lambda i: (over_h1, over_h2)[i % 2](w, random.Random(seed + i)))
    assert all(isinstance(n, int) for n in got), got
    assert sum(got) > 20, got
    o.default = lambda r: r.reply(body=b"quiet")
    wire.await_true("a good answer", lambda: w.get("/quiet").body == b"quiet")
    assert w.server_pid() == server, w.log()
    w.stop()


def test_limit(t):
    chaos(t, {"max_connections": 3}, 100)


def test_limit_and_warm_ones(t):
    chaos(t, {"max_connections": 3, "min_idle": 1, "max_requests": 5}, 200)


def test_few_idle(t):
    chaos(t, {"max_idle": 1, "idle_timeout": "50ms", "max_lifetime": "100ms"}, 300)


def test_not_kept(t):
    chaos(t, {"max_connections": 2, "keepalive": False}, 400)

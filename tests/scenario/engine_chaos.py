# SPDX-License-Identifier: Apache-2.0
"""Clients and origins that do whatever they like, by dice with a fixed seed, while the
configuration is reloaded. Afterwards nothing is left open, and whole answers were right."""

import os
import random
import socket
import struct
import threading

from peers import prometheus, wire
from peers.client import Client, make_request
from peers.wire import Ended, WrongBytes, await_true, encode_chunked

COST = 5
ACTORS = 12


def begin(t):
    t.o = t.origin()
    t.o.lenient = True
    t.o.default = misbehave
    t.rounds = 8 if t.variant == "onebyte" else 40


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def body_for(path, n):
    seed = path.encode("latin-1") + b"."
    return (seed * (n // len(seed) + 1))[:n]


def misbehave(conn, req):
    """/KIND/SIZE/N: how to answer."""
    _, kind, size, _ = req.path.split("/")
    body = body_for(req.path, int(size))
    half = len(body) // 2
    length = "Content-Length: %d\r\n" % len(body)
    if kind == "early":  # before the upload is read
        conn.reply(200, body=body)
        req.body()
        return
    if kind == "half-upload":
        req.some()
        conn.open = False
        reset(conn.sock)
        return
    if kind == "switch":
        conn.tunnel = True
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Upgrade: dice\r\n\r\n")
        conn.send(body)
        conn.stream.rest()
        conn.close()
        return
    req.body()
    if kind == "plain":
        conn.reply(200, body=body)
    elif kind == "chunked":
        conn.reply(200, body=body, chunked=True, trailers=[("X-End", "1")])
    elif kind == "interims":
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3)
        conn.reply(200, body=body)
    elif kind == "close":
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        conn.close()
    elif kind == "extra":
        # In one write: what an origin says unasked later on can be told from an answer by nobody.
        conn.send(("HTTP/1.1 200 OK\r\n%s\r\n" % length).encode() + body
                  + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
    elif kind == "cut":
        conn.send(("HTTP/1.1 200 OK\r\n%s\r\n" % length).encode() + body[:half])
        conn.close()
    elif kind == "reset":
        conn.send(("HTTP/1.1 200 OK\r\n%s\r\n" % length).encode() + body[:half])
        conn.open = False
        reset(conn.sock)
    elif kind == "silent":
        conn.close()
    elif kind == "late":
        conn.reply(200, body=body)
        conn.close()
    else:
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n")


KINDS = ("plain", "plain", "chunked", "interims", "close", "extra", "cut", "reset", "silent",
         "late", "early", "half-upload", "garbage", "switch")
SIZES = (0, 1, 1000, 17000, 70000, 400000)


def one_request(dice, kind, path, size, sizes):
    """The bytes of a request and where it may be cut."""
    if kind == "switch":
        return make_request("GET", path, [("Connection", "Upgrade"), ("Upgrade", "dice")])
    if kind not in ("early", "half-upload") and dice.random() < 0.5:
        return make_request("GET", path)
    body = body_for("/up", dice.choice(sizes[1:]) if size else 1)
    method = dice.choice(("POST", "PUT"))
    if dice.random() < 0.4:
        return make_request(method, path, [("Transfer-Encoding", "chunked")],
                            encode_chunked(body, 5000))
    return make_request(method, path, body=body)


def act(t, w, number, wrong):
    dice = random.Random(number)
    sizes = SIZES[:3] if t.variant == "onebyte" else SIZES
    for i in range(t.rounds):
        c = Client(w.address)
        try:
            for j in range(dice.randint(1, 4)):
                kind = dice.choice(KINDS)
                size = dice.choice(sizes)
                path = "/%s/%d/%d-%d-%d" % (kind, size, number, i, j)
                raw = one_request(dice, kind, path, size, sizes)
                fate = dice.random()
                if fate < 0.1:  # ends in the middle of the request
                    c.send(raw[:dice.randrange(len(raw))])
                    c.shut() if dice.random() < 0.5 else c.reset()
                    break
                sender = threading.Thread(target=c.send, args=(raw,))
                sender.start()
                if fate < 0.2:  # ends in the middle of the answer
                    if c.stream.readable(0.05):
                        c.stream.fill(size=500)
                    c.reset() if dice.random() < 0.5 else c.close()
                    sender.join()
                    break
                try:
                    r = c.response()
                finally:
                    sender.join()
                if r.status == 101:
                    c.send(b"bye")
                    c.shut()
                    got = c.ended()
                    if got != body_for(path, size):
                        wrong.append("tunnel %s: %d bytes" % (path, len(got)))
                    break
                if r.status == 200 and r.complete and r.body != body_for(path, size):
                    wrong.append("%s: %d bytes, %r" % (path, len(r.body), r.body[:50]))
                if r.status == 200 and r.complete and kind in ("cut", "reset") and size > 1:
                    wrong.append("%s: looks whole" % path)
        except (Ended, OSError, ValueError):
            pass
        except WrongBytes as e:
            wrong.append("%s: %s" % (number, e))
        except wire.Deadline as e:
            wrong.append("%s: %s" % (number, e))
        finally:
            c.close()


def run_dice(t, w, again=None):
    wrong = []
    actors = [threading.Thread(target=act, args=(t, w, n, wrong)) for n in range(ACTORS)]
    for a in actors:
        a.start()
    while any(a.is_alive() for a in actors):
        if again:
            again()
        actors[0].join(0.2)
        for a in actors:
            a.join(0.01)
    assert not wrong, "\n".join(wrong[:20])


def nothing_left(w):
    names = ("weir_tunnels_open", "weir_upstream_requests_waiting")

    def zero():
        r = w.admin_get("/metrics")
        if r.status != 200:
            return False  # there is no memory for it yet
        m = prometheus.parse(r.text)
        return all(m.value(n) == 0 for n in names) and \
            m.value("weir_exchanges_open") <= 1 and \
            m.value("weir_upstream_connections_open") == m.value("weir_upstream_connections_idle")
    await_true("no exchange, tunnel or lent connection is left", zero)


def test_dice(t):
    w = t.start({"workers": 2, "buffer": {"strategy": "adaptive"},
                 "upstreams": {"o": {"endpoints": [{"address": t.o.address}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "o"}]}, admin=True)
    run_dice(t, w)
    nothing_left(w)


def test_dice_at_the_limit(t):
    """Few connections to the origin, a small ring, reloads all the while."""
    config = {"workers": 2, "buffer": {"strategy": "fixed", "size": "16KiB"},
              "timeouts": {"pool_wait": "60s"},
              "upstreams": {"o": {"endpoints": [{"address": t.o.address}],
                                  "pool": {"max_connections": 4, "max_requests": 7}}},
              "routes": [{"match": {"path": "/*"}, "to": "o"}]}
    w = t.start(config, admin=True)
    turn = [0]

    def again():
        turn[0] += 1
        w.reload(w.with_config(limits={"interim": 20 + turn[0] % 5}))
    run_dice(t, w, again)
    nothing_left(w)


def test_dice_with_little_memory(t):
    t.not_in("onebyte", "takes long and shows no more")
    w = t.start({"workers": 1, "memory_limit": "2MiB", "buffer": {"strategy": "none"},
                 "upstreams": {"o": {"endpoints": [{"address": t.o.address}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "o"}]}, admin=True)
    run_dice(t, w)
    nothing_left(w)
    assert os.path.exists(w.access_path)

# SPDX-License-Identifier: Apache-2.0
"""Floods of every kind are answered or cut off with flat memory, and others are served."""

import random
import re
import resource
import threading

from peers import wire
from peers.wire import Deadline, Ended, WrongBytes, await_true

MIB = 1 << 20
NOT_IN = {"onebyte": "floods of megabytes byte by byte take too long",
          "doors": "refusals are what is asserted here"}


def begin(t):
    t.o = t.origin()
    t.w = t.simple()
    t.w.get("/warm")


def flood(t, first, piece, times, statuses):
    """Sends first and then piece many times; memory stays flat; the answer is one of statuses."""
    base = t.w.memory()
    with t.w.client() as c:
        c.send(first)
        try:
            for _ in range(times):
                c.sock.sendall(piece)
                if c.stream.readable(0):
                    break
        except OSError:
            pass
        if not t.sanitized:
            assert t.w.memory() < base + 4 * MIB, "%d KiB" % ((t.w.memory() - base) >> 10)
        try:
            r = c.response()
            assert r.status in statuses, r
        except Ended:
            pass
    assert t.w.get("/innocent").status == 200


def test_endless_head(t):
    flood(t, b"GET / HTTP/1.1\r\nHost: a\r\n", b"X: " + b"a" * 65000 + b"\r\n", 800, (431,))


def test_endless_field(t):
    flood(t, b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"a" * 65536, 800, (431,))


def test_endless_target(t):
    flood(t, b"GET /", b"a" * 65536, 800, (414, 431))


def test_endless_method(t):
    flood(t, b"A", b"A" * 65536, 800, (400, 414, 431, 501))


def test_endless_empty_lines(t):
    flood(t, b"", b"\r\n" * 32768, 800, (400, 431))


def test_chunk_extension_flood(t):
    """One-byte chunks with large extensions."""
    piece = (b"1;" + b"a" * 8000 + b"\r\nx\r\n") * 8
    flood(t, b"POST /ext HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", piece, 800,
          (400, 413, 431))
    assert not [q for q in t.o.seen("/ext") if q.whole]


def test_endless_trailers(t):
    flood(t, b"POST /tr HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
          b"X: " + b"a" * 8000 + b"\r\n", 4000, (400, 431))


def test_one_byte_chunks_are_served(t):
    """Small chunks alone are no attack."""
    n = 20000
    with t.w.client() as c:
        c.send(b"POST /tiny HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               + b"1\r\nx\r\n" * n + b"0\r\n\r\n")
        r = c.response()
        assert r.body == b"origin POST /tiny\n" + b"x" * n


def test_configured_limits(t):
    w = t.simple(limits={"head": "2KiB", "target": "100", "fields": 10, "response_head": "1KiB"})
    assert w.get("/ok").status == 200
    assert w.get("/" + "a" * 200).code == "target_too_long"
    assert w.get("/", [("X", "a" * 3000)]).code == "head_too_large"
    assert w.get("/", [("X%d" % i, "a") for i in range(12)]).code == "head_too_large"
    assert w.get("/", [("X%d" % i, "a") for i in range(8)]).status == 200
    t.o.on("/big-head", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2000 + b"\r\nContent-Length: 0\r\n\r\n")
    assert w.get("/big-head").code == "upstream_head_too_large"


def test_largest_limits(t):
    """What the largest limits allow is served."""
    w = t.simple(limits={"head": "1MiB", "target": "1MiB", "fields": 10000})
    n = t.bulk(900_000)
    with w.client() as c:
        for target in ("/%7e" + "a" * n, "/l?b=%41;&" + "a=1&" * (n // 4)):
            r = c.get(target)
            assert r.status == 200, (target[:20], r.status, r.code)
        r = c.get("/many", [("X-%d" % i, "y") for i in range(t.bulk(9990))])
        assert r.status == 200, (r.status, r.code)
    assert len(t.o.await_seen("/many")[-1].fields.all("x-77")) == 1


def test_many_parameters_of_one_name(t):
    """What routes ask of each of thousands of parameters takes no memory of its own."""
    routes = [{"name": "r%d" % i, "match": {"path": "/*", "query": {"v": "v%d" % i}},
               "reply": {"body": "no"}} for i in range(400)]
    w = t.start({"routes": [*routes, {"name": "last", "match": "/*", "reply": {"body": "last"}}]})
    for query, body in (("v&" * 4000, b"last"), ("v&" * 4000 + "v=%7637", b"no")):
        r = w.get("/?" + query)
        assert r.status == 200 and r.body == body, r


def test_max_connections_of_a_listener(t):
    """The limit is exact over all workers; one more is told so or closed; then it is free again."""
    w = t.simple(listeners=[{"address": t.address(), "max_connections": 5}], workers=2)
    await_true("start", lambda: w.get("/a").status == 200)

    def fill():
        held = []
        for _ in range(5):
            c = w.client()
            c.request("GET", "/held")
            held.append(c)
        try:
            if all(c.response().status == 200 for c in held):
                return held
        except Ended:
            pass
        for c in held:
            c.close()
        return None
    held = await_true("five connections", fill)
    with w.client() as c:
        c.request("GET", "/sixth")
        try:
            r = c.response()
            assert r.status == 503 and r.code == "connection_limit", r
        except Ended:
            pass
    assert not t.o.seen("/sixth")
    for c in held:
        assert c.get("/still").status == 200
        c.close()

    def free():
        try:
            return w.get("/again").status == 200
        except Ended:
            return False
    await_true("places are free again", free)


def test_few_descriptors(t):
    """200 clients with room for 64 descriptors: no spin, no crash, and recovery."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    o, other = t.origin("few"), t.origin("few")
    config = {"upstreams": {"o": {"endpoints": [{"address": o.address}, {"address": other.address}],
                                  "breaker": {"minimum_calls": 5},
                                  "health": {"type": "tcp", "interval": "20ms", "fall": 3}}},
              "workers": 1, "admin": {"address": t.address()},
              "routes": [{"match": {"path": "/*"}, "to": "o"}],
              "listeners": [{"address": t.address()}]}
    w = t.start(config, ready=False, env={})
    w.wait_ready()
    assert w.get("/a").status == 200
    server = w.server_pid()
    resource.prlimit(server, resource.RLIMIT_NOFILE, (64, 64))
    clients = []
    for _ in range(200):
        c = w.client()
        c.request("GET", "/x")
        clients.append(c)
    before = w.cpu()
    clients[0].stream.readable(0.1)
    threading.Event().wait(0.5)  # a stretch of time in which nothing happens
    assert w.cpu() - before < 0.3, "spins while it has no descriptors"
    for c in clients:
        c.close()

    def serves():
        try:
            return w.get("/b").status == 200
        except (Ended, Deadline):
            return False
    await_true("recovery", serves)
    assert w.server_pid() == server, "the server was restarted: it crashed"
    await_true("their lines", lambda: {x["reason"] for x in w.access()} >= {"ok", "no_socket"})
    assert not re.search(r"endpoint\.(down|ejected)|breaker\.open", w.log()), \
        "endpoints are blamed for what Weir lacks"


def test_garbage(t):
    """Random bytes and mutated requests: an answer or an end, never a crash or a hang."""
    rng = random.Random(20)
    good = (b"POST /fuzz HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n"
            b"Connection: keep-alive\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /fuzz HTTP/1.1\r\n"
            b"Host: b\r\n\r\n")
    alive = t.w.server_pid()
    t.o.lenient = False
    for i in range(400):
        raw = bytearray(good)
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(raw))
            kind = rng.randrange(4)
            if kind == 0:
                raw[at] = rng.randrange(256)
            elif kind == 1:
                del raw[at:at + rng.randint(1, 9)]
            elif kind == 2:
                raw[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 9)))
            else:
                raw[at:at] = rng.choice([b"\r\n", b"\r", b"\n", b"\0", b" ", b":", b"0\r\n\r\n",
                                         b"Content-Length: 3\r\n", b"chunked", b"\t", b";"])
        with t.w.client() as c:
            c.send(bytes(raw))
            c.shut()
            try:
                c.answers_until_end()
            except WrongBytes as e:
                raise AssertionError("for %r: %s" % (bytes(raw), e))
    assert t.w.server_pid() == alive, "the server crashed"
    assert t.w.get("/after-garbage").status == 200


def test_garbage_answers(t):
    """The same for answers of the origin."""
    rng = random.Random(21)
    good = (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n"
            b"0\r\nT: v\r\n\r\n")
    answers = {}

    def mutant(conn, req):
        conn.send(answers[req.query])
        conn.shut()
        conn.await_end()
        conn.close()
    t.o.on("/mutant", mutant)
    alive = t.w.server_pid()
    for i in range(300):
        raw = bytearray(good)
        for _ in range(rng.randint(1, 5)):
            at = rng.randrange(len(raw))
            if rng.random() < 0.5:
                raw[at] = rng.randrange(256)
            else:
                raw[at:at + rng.randint(0, 4)] = rng.choice([b"\r\n", b"\n", b"\0", b"", b"5\r\n"])
        answers[str(i)] = bytes(raw)
        with t.w.client() as c:
            c.request("GET", "/mutant?%d" % i)
            try:
                c.response()
            except Ended:
                pass
    assert t.w.server_pid() == alive, "the server crashed"
    assert t.w.get("/after-mutants").status == 200


def test_idle_connections_are_cheap(t):
    """Two thousand idle connections: a few hundred bytes each, and they do not disturb."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = [t.w.client() for _ in range(100)]
    for c in clients:
        assert c.get("/idle").status == 200
    base = t.w.memory()
    more = [t.w.client() for _ in range(2000)]
    assert t.w.get("/beside").status == 200
    if not t.sanitized:
        grown = t.w.memory() - base
        assert grown < 2000 * 1024 + MIB, "%d bytes each" % (grown // 2000)
    for c in clients + more:
        c.close()


def test_rapid_connections(t):
    """Two thousand short connections leave nothing behind."""
    t.w.get("/warm")
    fds = t.w.fds()
    for i in range(2000):
        wire.connect(t.w.address).close()
    await_true("descriptors are closed", lambda: t.w.fds() <= fds + 2)
    with open("/proc/%d/status" % t.w.server_pid()) as f:
        assert re.search(r"Threads:\s+\d\b", f.read())

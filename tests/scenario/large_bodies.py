# SPDX-License-Identifier: Apache-2.0
"""Large bodies byte by byte the same, spliced or copied, by length or in chunks, both ways."""

import queue
import random
import threading
import time
import zlib

from peers.wire import patience

MIB = 1 << 20
COST = 5
BLOCK = random.Random(7).randbytes(MIB + 4099)


def begin(t):
    t.o = t.origin()
    t.size = t.bulk(64 * MIB)

    def plain(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % t.size)
        for piece in stream(t.size):
            if not conn.send(piece):
                return

    def chunked(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in stream(t.size):
            if not conn.send(b"%x\r\n" % len(piece) + piece + b"\r\n"):
                return
        conn.send("0\r\nX-Sum: %d\r\n\r\n" % summed(t.size))

    def until_close(conn, req):
        conn.send("HTTP/1.1 200 OK\r\n\r\n")
        for piece in stream(t.size):
            conn.send(piece)
        conn.close()

    def sink(conn, req):
        sum_, n = 0, 0
        while True:
            piece = req.some()
            if not piece:
                break
            req.body_read = b""
            sum_, n = zlib.crc32(piece, sum_), n + len(piece)
        conn.reply(200, body=b"%d %d" % (n, sum_))
    t.o.on("/plain", plain).on("/chunked", chunked).on("/close", until_close).on("/sink", sink)
    t.w = t.simple()


def stream(size):
    """size bytes that repeat with an odd period, in pieces of a MiB at most."""
    at = 0
    while at < size:
        n = min(MIB, size - at)
        start = at % 4099
        yield BLOCK[start:start + n]
        at += n


def summed(size):
    sum_ = 0
    for piece in stream(size):
        sum_ = zlib.crc32(piece, sum_)
    return sum_


def download(t, w, path, c=None):
    c = c or w.client()
    c.request("GET", path)
    r = c.head()
    sum_, n = 0, 0
    for piece in r.pieces:
        sum_, n = zlib.crc32(piece, sum_), n + len(piece)
    assert n == t.size, "%s: %d bytes of %d" % (path, n, t.size)
    assert sum_ == summed(t.size), "%s: bytes were changed" % path
    return r, c


def test_spliced(t):
    """Twice on one connection, with a small request between: the framing stays in step."""
    _, c = download(t, t.w, "/plain")
    assert c.get("/between").body == b"origin GET /between\n"
    download(t, t.w, "/plain", c)
    assert c.get("/after").body == b"origin GET /after\n"


def test_chunked(t):
    r, c = download(t, t.w, "/chunked")
    assert r.trailers.get("x-sum") == str(summed(t.size))
    assert c.get("/after").body == b"origin GET /after\n"


def test_until_close(t):
    download(t, t.w, "/close")


def test_http_1_0_client(t):
    with t.w.client() as c:
        c.send("GET /chunked HTTP/1.0\r\n\r\n")
        r = c.head()
        sum_ = 0
        for piece in r.pieces:
            sum_ = zlib.crc32(piece, sum_)
        assert sum_ == summed(t.size)


def test_strategies(t):
    for strategy in ("none", "fixed", "adaptive"):
        w = t.simple(buffer={"strategy": strategy})
        download(t, w, "/plain")
        w.stop()


def upload(t, w, kind):
    with w.client() as c:
        if kind == "length":
            c.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % t.size)
            for piece in stream(t.size):
                c.send(piece)
        else:
            c.send("POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in stream(t.size):
                c.send(b"%x\r\n" % len(piece) + piece + b"\r\n")
            c.send("0\r\n\r\n")
        r = c.response()
        assert r.body == b"%d %d" % (t.size, summed(t.size)), (kind, r)
        assert c.get("/after").status == 200


def test_post(t):
    upload(t, t.w, "length")


def test_post_chunked(t):
    upload(t, t.w, "chunked")


ROUNDS = 300
KEPT = 0.2  # seconds for which the kernel keeps what is not whole


def turns(size, send, other):
    """The sender sends its next bytes when these have come: none are kept until others follow. On a
    busy machine some take as long for other reasons."""
    late = 0
    for i in range(ROUNDS):
        piece = BLOCK[i:i + size]
        began = time.monotonic()
        send(piece)
        assert other.exactly(size) == piece
        late += time.monotonic() - began >= KEPT
        assert late <= ROUNDS // 2, "bytes are kept back: %d rounds of %d" % (late, i + 1)


def test_pauses(t):
    """In the middle of a body whose length is known each side has what the other one sent."""
    t.not_in("doors", "who waits in turn for a connection that was refused waits for good")
    conns, over = queue.Queue(), threading.Event()

    def held(conn, req):
        conns.put(conn)
        over.wait(600)
        conn.close()
    t.o.on("/held", held)
    w = t.simple(admin={"address": t.address()})
    for size in (1, 10) if t.variant == "onebyte" else (1, 1000, 30000):
        with w.client() as c:
            c.request("GET", "/held")
            o = conns.get(timeout=patience())
            o.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
            c.head()
            turns(size, o.send, c.stream)
        with w.client() as c:
            c.send("POST /held HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (64 * MIB))
            turns(size, c.send, conns.get(timeout=patience()).stream)
    if t.variant == "plain":
        assert w.metrics().value("weir_spliced_bytes_total") > 31001 * ROUNDS
    over.set()


def test_heads_of_large_answers(t):
    """On one connection large answers behind each other: heads longer than what is read for one,
    and what comes together with a head is not kept until more follows."""
    asked, go = queue.Queue(), threading.Semaphore(0)
    size, first = (70000, 10) if t.variant == "onebyte" else (300000, 30000)

    def large(conn, req):
        conn.send(b"HTTP/1.1 200 OK\r\nX-Long: " + b"v" * int(req.query) + b"\r\nContent-Length: "
                  + b"%d\r\n\r\n" % size + BLOCK[:first])
        asked.put(req)
        if go.acquire(timeout=patience()):
            conn.send(BLOCK[first:size])
    t.o.on("/large", large)
    t.not_in("doors", "an answer that a refused charge cut leaves nobody who asks")
    lengths = [10, 1900, 2048, 5000] * (1 if t.variant == "onebyte" else 40)
    late = 0
    with t.w.client() as c:
        for n in lengths:
            began = time.monotonic()
            c.request("GET", "/large?%d" % n)
            asked.get(timeout=patience())
            r = c.head()
            got = c.stream.exactly(first)
            late += time.monotonic() - began >= KEPT
            assert late <= max(4, len(lengths) // 2), "bytes are kept back"
            go.release()
            assert got + c.stream.exactly(size - first) == BLOCK[:size]
            assert len(r.get("x-long")) == n
        assert c.get("/after").body == b"origin GET /after\n"
    assert not asked.qsize()


def test_bytes_behind_large_answers(t):
    """What comes behind a spliced answer, or where no body may be on a connection that had one, is
    nobody's."""
    size = t.bulk(300000)
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size

    def behind(conn, req):
        conn.send(large + BLOCK[:size - 10])
        conn.send(BLOCK[size - 10:size] + evil)
    t.o.on("/good", large + BLOCK[:size]).on("/behind", behind).on("/head", large + evil)
    t.o.on("/304", large.replace(b"200 OK", b"304 Not Modified") + evil)
    with t.w.client() as c:
        for method, path in (("GET", "/behind"), ("HEAD", "/head"), ("GET", "/304")):
            assert c.get("/good").body == BLOCK[:size]
            r = c.ask(method, path)
            assert r.complete and r.body == (BLOCK[:size] if path == "/behind" else b""), r
            for _ in range(3):
                assert c.get("/after").body == b"origin GET /after\n"
            conn = t.o.seen(path)[-1].conn
            assert conn.ended.wait(patience()), "kept after " + path
            assert conn.requests[-1].path == path, "used again after " + path
            assert len(conn.requests) > 1, "it had no large answer before"


def test_odd_sizes(t):
    """Lengths around every buffer's edge."""
    def odd(conn, req):
        n = int(req.query)
        conn.reply(200, body=BLOCK[:n])
    t.o.on("/odd", odd)
    sizes = [0, 1, 2, 4095, 4096, 4097]
    if t.variant != "onebyte":
        sizes += [8191, 8192, 16383, 16384, 16385, 32768, 65535, 65536, 65537, 131072, 262143,
                  262144, 262145, 1048575, 1048576, 1048577]
    with t.w.client() as c:
        for n in sizes:
            r = c.get("/odd?%d" % n)
            assert r.body == BLOCK[:n], n
            r = c.ask("POST", "/echo-odd", body=BLOCK[:n])
            assert r.body == b"origin POST /echo-odd\n" + BLOCK[:n], n


def test_parallel(t):
    """Several at once, some of which go away: the others are whole."""
    if t.variant == "onebyte":
        t.size = 2048
    wrong = []

    def get(i):
        try:
            if i % 4 == 3:
                with t.w.client() as c:
                    c.request("GET", "/plain")
                    c.read_at_least(c.head(), 1000)
                    c.reset()
            else:
                download(t, t.w, "/plain" if i % 2 else "/chunked")
        except Exception as e:
            wrong.append(repr(e))
    threads = [threading.Thread(target=get, args=(i,)) for i in range(8)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    assert not wrong, wrong

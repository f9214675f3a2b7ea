# SPDX-License-Identifier: Apache-2.0
"""A slow reader never grows Weir's memory beyond its bound, whatever the buffer strategy; every
byte arrives in the end."""

import threading
import zlib

from peers.wire import await_true

MIB = 1 << 20
READERS = 20
NOT_IN = {"onebyte": "a stalled reader needs megabytes",
          "doors": "the bound is what is tested, not its refusal"}


def begin(t):
    t.o = t.origin()
    t.body = bytes(range(256)) * (10 * MIB // 256)
    t.sent = [0]
    lock = threading.Lock()

    def big(conn, req, head="Content-Length: %d" % len(t.body), chunked=False):
        conn.send("HTTP/1.1 200 OK\r\n%s\r\n\r\n" % head)
        for at in range(0, len(t.body), 65536):
            piece = t.body[at:at + 65536]
            if not conn.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece):
                return
            with lock:
                t.sent[0] += len(piece)
        if chunked:
            conn.send("0\r\n\r\n")
    t.o.on("/big", big)
    t.o.on("/chunked", lambda c, r: big(c, r, "Transfer-Encoding: chunked", True))


def stalled(t):
    """Waits until no origin can send any more."""
    last = [-1, 0]

    def quiet():
        last[1] = last[1] + 1 if t.sent[0] == last[0] else 0
        last[0] = t.sent[0]
        return last[1] >= 30
    await_true("the origins are stalled", quiet, 30)


def slow_readers(t, path, bound, **buffer):
    w = t.simple(buffer=buffer)
    w.get("/warm")
    base = w.memory()
    t.sent[0] = 0
    clients = [w.client(receive_buffer=8192) for _ in range(READERS)]
    for c in clients:
        c.request("GET", path)
    stalled(t)
    grown = w.memory() - base
    if not t.sanitized:
        assert grown < READERS * bound + 6 * MIB, (
            "%d KiB for %d stalled readers with %s" % (grown >> 10, READERS, buffer))
    for c in clients:
        r = c.head()
        sum_, n = 0, 0
        for piece in r.pieces:
            sum_, n = zlib.crc32(piece, sum_), n + len(piece)
        assert n == len(t.body) and sum_ == zlib.crc32(t.body), "%d bytes" % n
        c.close()
    w.stop()


def test_none(t):
    slow_readers(t, "/big", 128 << 10, strategy="none")


def test_fixed(t):
    slow_readers(t, "/chunked", 256 << 10, strategy="fixed", size="64KiB")


def test_fixed_large(t):
    slow_readers(t, "/big", 512 << 10, strategy="fixed", size="256KiB")


def test_adaptive(t):
    slow_readers(t, "/chunked", 1280 << 10, strategy="adaptive")
    slow_readers(t, "/big", 1280 << 10, strategy="adaptive")


def test_slow_origin_bounds_uploads(t):
    """The same for request bodies that the origin does not read."""
    w = t.simple(buffer={"strategy": "fixed", "size": "64KiB"})
    go = threading.Event()

    def later(conn, req):
        assert go.wait(120)
        body = req.body()
        conn.reply(200, body=b"%d" % zlib.crc32(body))
    t.o.on("/upload", later)
    w.get("/warm")
    base = w.memory()
    answers = []

    def upload():
        with w.client() as c:
            answers.append(c.ask("POST", "/upload", body=t.body).body)
    threads = [threading.Thread(target=upload) for _ in range(8)]
    for th in threads:
        th.start()
    t.o.await_seen("/upload", 8)
    grown = w.memory() - base
    if not t.sanitized:
        assert grown < 8 * (512 << 10) + 6 * MIB, "%d KiB" % (grown >> 10)
    go.set()
    for th in threads:
        th.join(120)
    assert answers == [b"%d" % zlib.crc32(t.body)] * 8, answers


def test_what_waits_for_an_answer_holds_no_block(t):
    """A request that came whole, has left and may not be sent twice."""
    n, go, held = 64, threading.Event(), {}
    origins = [t.o, t.origin("two")]

    def wait(conn, req):
        body = req.body()
        assert go.wait(120)
        conn.reply(200, body=b"%d" % len(body))
    for method in ("POST", "PUT"):
        for o in origins:
            o.on("/" + method, wait)
        go.clear()
        w = t.start({"upstreams": {"o": {"endpoints": [o.address for o in origins]}},
                     "routes": [{"match": {"path": "/*"}, "to": "o"}], "workers": 1,
                     "retry": {"tries": 2, "buffer": "64KiB"}}, admin=True)

        def leased():
            return sum(v for k, v in w.metrics().items() if k[0] == "weir_memory_leased_bytes")
        before = leased()
        clients = [w.client() for _ in range(n)]
        for c in clients:
            c.request(method, "/" + method, body=b"x" * 15000)
        await_true("all wait", lambda: sum(len(o.seen("/" + method)) for o in origins) == n)
        held[method] = (leased() - before) / n
        go.set()
        for c in clients:
            assert c.response().body == b"15000"
            c.close()
        w.stop()
    assert held["PUT"] - held["POST"] > 8 * 1024, held

# SPDX-License-Identifier: Apache-2.0
"""Both directions at once: answers before the upload ends, parts passed on as they come,
half-closed clients."""

import threading

from peers import wire
from peers.wire import encode_chunked


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def test_upload_is_streamed(t):
    """Each part reaches the origin before the next is sent."""
    t.not_in("doors", "a refusal comes where the test reads something else")
    for kind in ("chunked", "length"):
        seen = []
        more = threading.Condition()

        def read(conn, req, seen=seen, more=more):
            while True:
                piece = req.some()
                with more:
                    seen.append(piece)
                    more.notify_all()
                if not piece:
                    break
            conn.reply(200, body=b"".join(seen))
        path = "/parts-" + kind
        t.o.on(path, read)
        with t.w.client() as c:
            c.send("POST %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % (
                path, "Transfer-Encoding: chunked" if kind == "chunked" else "Content-Length: 20"))
            for i in range(4):
                part = b"part%d" % i
                c.send(encode_chunked(part)[:-5] if kind == "chunked" else part)
                with more:
                    assert more.wait_for(lambda n=i: len(b"".join(seen)) >= 5 * (n + 1),
                                         wire.patience(20)), (kind, i, seen)
            c.send("0\r\n\r\n" if kind == "chunked" else "")
            assert c.response().body == b"part0part1part2part3"


def test_download_is_streamed(t):
    for strategy in ("none", "fixed", "adaptive"):
        w = t.simple(buffer={"strategy": strategy})
        step = threading.Semaphore(0)

        def tell(conn, req, step=step):
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(5):
                conn.send("5\r\npart%d\r\n" % i)
                assert step.acquire(timeout=60)
            conn.send("0\r\n\r\n")
        t.o.on("/tell", tell)
        with w.client() as c:
            c.request("GET", "/tell")
            r = c.head()
            for i in range(5):
                assert c.read_at_least(r, 5) == b"part%d" % i, strategy
                step.release()
            assert c.finish(r).complete
        w.stop()


def test_ping_pong_in_one_exchange(t):
    """Request and response bodies alternate (as a bidirectional stream does)."""
    def converse(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            piece = req.some()
            if not piece:
                break
            conn.send(b"%x\r\n%s\r\n" % (len(piece), piece.upper()))
        conn.send("0\r\n\r\n")
    t.o.on("/converse", converse)
    with t.w.client() as c:
        c.send("POST /converse HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               "4\r\nping\r\n")
        r = c.head()
        assert c.read_at_least(r, 4) == b"PING"
        for i in range(10):
            c.send("5\r\nping%d\r\n" % i)
            assert c.read_at_least(r, 5) == b"PING%d" % i
        c.send("0\r\n\r\n")
        assert c.finish(r).complete
        assert c.get("/after-converse").status == 200


def test_early_answer(t):
    """The origin answers and reads nothing more: the client gets the answer while it uploads; its
    next request is not lost in the upload, and the origin's connection is not used again."""
    t.o.on("/early", lambda conn, req: (conn.reply(413, body=b"enough"), conn.await_end(),
                                        conn.close()))
    body = b"GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n" * 400
    for _ in range(5):
        with t.w.client() as c:
            c.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
            c.send(body[:1000])
            r = c.response()
            assert r.status == 413 and r.body == b"enough" and r.complete, r
            c.send(body[1000:])
            c.send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
            assert c.response().body == b"origin GET /next\n"
    assert not t.o.seen("/smuggled"), "a part of a body was taken for a request"
    for q in t.o.seen("/early"):
        assert q.conn.ended.wait(wire.patience(20)) and q.conn.requests[-1] is q


def test_early_answer_then_rest_is_read(t):
    """An origin that answers first and reads the rest: everything stays usable."""
    def first(conn, req):
        conn.reply(200, body=b"early")
        req.body()
    t.o.on("/first", first)
    with t.w.client() as c:
        c.send("POST /first HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        r = c.response()
        assert r.body == b"early", r
        c.send("0123456789")
        c.request("GET", "/after-first")
        assert c.response().body == b"origin GET /after-first\n"


def test_early_answer_of_weir(t):
    """A reply by Weir to a request with a body: the body is no request."""
    w = t.start({"routes": [{"match": {"path": "/*"}, "reply": {"status": 403, "body": "no"}}]})
    body = b"GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n"
    with w.client() as c:
        for _ in range(3):
            c.request("POST", "/x", body=body)
            r = c.response()
            assert r.status == 403, r
            if r.fields.tokens("connection") == ["close"]:
                break
    assert all(x["path"] == "/x" for x in w.access()), w.access()


def test_half_close_allowed(t):
    w = t.simple(client_half_close="allow")
    go = threading.Event()

    def wait(conn, req):
        assert go.wait(60)
        conn.reply(200, body=b"late but here")
    t.o.on("/half", wait)
    with w.client() as c:
        c.request("GET", "/half")
        t.o.await_seen("/half")
        c.shut()
        assert not c.stream.readable(0.05)
        go.set()
        r = c.response()
        assert r.body == b"late but here" and r.complete, r
        c.must_end()


def test_half_close_in_the_middle_of_a_body(t):
    """A FIN inside a body is a broken request, allowed or not."""
    for setting in ("abort", "allow"):
        w = t.simple(client_half_close=setting)
        path = "/cut-" + setting
        with w.client() as c:
            c.send("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345" % path)
            t.o.await_seen(path)
            c.shut()
            c.answers_until_end()
        q = t.o.seen(path)[0]
        assert q.conn.ended.wait(wire.patience(20)) and not q.whole, "a cut body was completed"
        line = w.line_for(path)
        assert line["reason"] in ("client_truncated", "client_gone"), line
        w.stop()


def test_large_both_ways_at_once(t):
    """An echo of more than any buffer holds, both ways at the same time."""
    size = t.bulk(8 << 20)

    def echo(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while True:
            piece = req.some()
            if not piece:
                return
            conn.send(piece)
    t.o.on("/echo", echo)
    body = bytes(range(256)) * (size // 256)
    with t.w.client() as c:
        sender = threading.Thread(target=c.request, args=("POST", "/echo", (), body))
        sender.start()
        r = c.response()
        sender.join()
        assert r.complete and r.body == body, "echoed %d bytes" % len(r.body)

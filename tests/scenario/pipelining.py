# SPDX-License-Identifier: Apache-2.0
"""Pipelined requests are answered in order, each whole, whatever the pieces they come in."""

import threading

from peers.client import make_request
from peers.wire import encode_chunked


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def test_in_order(t):
    n = 40
    with t.w.client() as c:
        c.send(b"".join(make_request("GET", "/p%d" % i) for i in range(n)))
        for i in range(n):
            r = c.response()
            assert r.body == b"origin GET /p%d\n" % i, (i, r)


def test_slow_first(t):
    """The second request's quick answer waits for the first one's."""
    go = threading.Event()

    def wait(conn, req):
        assert go.wait(60)
        conn.reply(200, body=b"slow")
    t.o.on("/slow", wait)
    with t.w.client() as c:
        c.send(make_request("GET", "/slow") + make_request("GET", "/quick"))
        t.o.await_seen("/slow")
        assert not c.stream.readable(0.1), "the second answer overtook the first"
        go.set()
        assert c.response().body == b"slow"
        assert c.response().body == b"origin GET /quick\n"


def test_with_bodies(t):
    bodies = [b"x" * i for i in (0, 1, 100, 5000)]
    raw = b""
    for i, body in enumerate(bodies):
        raw += make_request("POST", "/len%d" % i, body=body)
        raw += make_request("POST", "/chu%d" % i, [("Transfer-Encoding", "chunked")],
                            encode_chunked(body, 700))
    with t.w.client() as c:
        c.send(raw)
        for i, body in enumerate(bodies):
            assert c.response().body == b"origin POST /len%d\n" % i + body
            assert c.response().body == b"origin POST /chu%d\n" % i + body


def test_byte_by_byte(t):
    raw = (make_request("POST", "/b1", body=b"hello") + b"\r\n" + make_request("GET", "/b2")
           + make_request("POST", "/b3", [("Transfer-Encoding", "chunked")],
                          encode_chunked(b"some chunks", 3)) + make_request("GET", "/b4"))
    with t.w.client() as c:
        c.send(raw, step=1)
        for want in (b"origin POST /b1\nhello", b"origin GET /b2\n",
                     b"origin POST /b3\nsome chunks", b"origin GET /b4\n"):
            assert c.response().body == want


def test_all_splits(t):
    """Two requests cut at every byte give the same two answers."""
    raw = make_request("POST", "/s1", body=b"ab", host="h") + make_request("GET", "/s2", host="h")
    step = 1 if t.variant == "plain" else 7
    for cut in range(1, len(raw), step):
        with t.w.client() as c:
            c.send(raw[:cut])
            c.send(raw[cut:])
            assert c.response().body == b"origin POST /s1\nab", cut
            assert c.response().body == b"origin GET /s2\n", cut


def test_close_ends_the_pipeline(t):
    with t.w.client() as c:
        c.send(make_request("GET", "/c1", [("Connection", "close")]) + make_request("GET", "/c2"))
        assert c.response().body == b"origin GET /c1\n"
        c.must_end()
    assert not t.o.seen("/c2"), "a request behind Connection: close was forwarded"


def test_error_ends_the_pipeline(t):
    with t.w.client() as c:
        c.send(make_request("GET", "/e1") + b"GET /e2 HTTP/1.1\r\n\r\n"
               + make_request("GET", "/e3"))
        assert c.response().status == 200
        assert c.response().status == 400
        c.must_end()
    assert not t.o.seen("/e3")


def test_head_and_bodyless(t):
    with t.w.client() as c:
        c.send(make_request("HEAD", "/h1") + make_request("GET", "/h2")
               + make_request("HEAD", "/h3") + make_request("OPTIONS", "*"))
        assert c.response("HEAD").body == b""
        assert c.response().body == b"origin GET /h2\n"
        assert c.response("HEAD").body == b""
        assert c.response("OPTIONS").status == 200


def test_half_close_after_pipeline(t):
    """With client_half_close: allow all answers arrive although the client said FIN."""
    w = t.simple(client_half_close="allow")
    with w.client() as c:
        c.send(b"".join(make_request("GET", "/f%d" % i) for i in range(5)))
        c.shut()
        for i in range(5):
            assert c.response().body == b"origin GET /f%d\n" % i
        c.must_end()


def test_large_pipeline(t):
    """More requests than any buffer holds: back-pressure, no loss."""
    n = 60 if t.variant == "onebyte" else 3000
    with t.w.client() as c:
        def send():
            for i in range(n):
                c.send(make_request("GET", "/l%d" % i))
        th = threading.Thread(target=send)
        th.start()
        for i in range(n):
            r = c.response()
            assert r.body == b"origin GET /l%d\n" % i, (i, r)
        th.join()


def test_large_bodies_and_heads_of_every_length(t):
    """Heads with a good deal of a body behind them, and what comes behind that."""
    raw, expected = b"", []
    sizes = (3900, 4200, 9000) + (() if t.variant == "onebyte" else (15000, 30000))
    for i, (long, n) in enumerate((x, y) for x in (1, 700, 980, 1100, 3000) for y in sizes):
        body = b"%d." % i * (n // 4)
        raw += b"\r\n" * (i % 3)
        raw += make_request("POST", "/long%d" % i, [("X-Long", "y" * long)], body)
        raw += make_request("GET", "/next%d" % i)
        expected += [("POST", "/long%d" % i, body, long), ("GET", "/next%d" % i, b"", 0)]
    with t.w.client() as c:
        threading.Thread(target=c.send, args=(raw,), daemon=True).start()
        for method, path, body, _ in expected:
            r = c.response()
            assert r.body == b"origin %s %s\n" % (method.encode(), path.encode()) + body, (path, r)
    for _, path, body, long in expected:
        q, = t.o.seen(path)
        assert q.body() == body and len(q.fields.get("x-long", "")) == long, path


def test_bad_heads_with_much_behind_them(t):
    for bad in (b"GET /bad HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                b"GET /bad HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
                b"POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 1x\r\n\r\n",
                b"GET /bad HTTP/1.1\nHost: a\n\n", b"\r\n\r\n\r\n\r\n\r\n\r\n"):
        with t.w.client() as c:
            c.send(bad + b"x" * 9000)
            assert c.response().status == 400, bad
    assert not t.o.seen("/bad")

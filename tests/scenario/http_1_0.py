# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.0 on both sides."""

import threading


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def ask(t, raw, method="GET"):
    c = t.w.client()
    c.send(raw)
    return c.response(method), c


def test_closes_by_default(t):
    r, c = ask(t, "GET /plain HTTP/1.0\r\n\r\n")
    assert r.body == b"origin GET /plain\n", r
    c.must_end()
    q = t.o.await_seen("/plain")[0]
    assert q.raw.split(b"\r\n")[0] == b"GET /plain HTTP/1.1", q.raw


def test_host_is_made(t):
    """A request without Host is forwarded with one."""
    ask(t, "GET /no-host HTTP/1.0\r\n\r\n")
    assert len(t.o.await_seen("/no-host")[0].fields.all("host")) == 1


def test_keep_alive(t):
    with t.w.client() as c:
        for i in range(3):
            c.send("GET /keep%d HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" % i)
            r = c.response()
            assert r.body == b"origin GET /keep%d\n" % i, r
            assert "keep-alive" in r.fields.tokens("connection"), r
        c.send("GET /last HTTP/1.0\r\n\r\n")
        assert c.response().body == b"origin GET /last\n"
        c.must_end()


def test_chunked_answer_is_unchunked(t):
    """A 1.0 client knows no chunks: the body ends with the connection."""
    t.o.on("/chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-Trailer: t\r\n\r\n")
    for extra in ("", "Connection: keep-alive\r\n"):
        r, c = ask(t, "GET /chunked HTTP/1.0\r\n%s\r\n" % extra)
        assert r.kind == "close" and r.body == b"hello world" and r.complete, r
        assert not r.fields.has("transfer-encoding"), r
        assert "keep-alive" not in r.fields.tokens("connection"), r


def test_no_interim_answers(t):
    t.o.on("/interim", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
           b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    r, _ = ask(t, "GET /interim HTTP/1.0\r\n\r\n")
    assert not r.interims and r.body == b"ok", r


def test_expect_is_ignored(t):
    r, _ = ask(t, "POST /expect HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    assert not r.interims and r.body == b"origin POST /expect\nok", r


def test_post(t):
    r, _ = ask(t, "POST /post HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
    assert r.body == b"origin POST /post\nhello", r


def test_post_without_length(t):
    """No length, no body (RFC 9112 6.3); bytes behind are not a second request."""
    r, c = ask(t, "POST /nolength HTTP/1.0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
    assert r.body == b"origin POST /nolength\n", r
    c.must_end()
    assert not t.o.seen("/smuggled")


def test_head(t):
    r, c = ask(t, "HEAD /head HTTP/1.0\r\n\r\n", "HEAD")
    assert r.status == 200 and r.body == b"", r
    c.must_end()


def test_unknown_length_broken(t):
    """A body that breaks must not look whole to a 1.0 client: it is ended by RST."""
    go = threading.Event()

    def broken(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n9\r\nhal")
        assert go.wait(60)
        conn.reset()
    t.o.on("/broken", broken)
    c = t.w.client()
    c.send("GET /broken HTTP/1.0\r\n\r\n")
    r = c.head()
    c.read_at_least(r, 5)
    go.set()
    c.finish(r)
    assert not r.complete, "a broken body looks whole"


def test_upstream_1_0_until_close(t):
    def old(conn, req):
        conn.send("HTTP/1.0 200 OK\r\nX-Old: yes\r\n\r\nold body")
        conn.close()
    t.o.on("/old", old)
    with t.w.client() as c:
        r = c.get("/old")
        assert r.body == b"old body" and r.complete and r.get("x-old") == "yes", r
        assert r.kind == "chunked", "a 1.1 client is told the end by chunks"
        assert c.get("/after").status == 200


def test_upstream_1_0_keep_alive(t):
    t.o.on("/old-keep", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
           b"Content-Length: 3\r\n\r\nold")
    t.o.on("/old-close", b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
    with t.w.client() as c:
        for path in ("/old-keep", "/old-close") * 3:
            r = c.get(path)
            assert r.body == b"old" and r.complete, r


def test_reply_of_weir(t):
    r, c = ask(t, "GET /%zz HTTP/1.0\r\n\r\n")
    assert r.status == 400, r
    c.must_end()

# SPDX-License-Identifier: Apache-2.0
"""Expect: 100-continue end to end, early refusals, 103 and other interim answers."""

import threading

from peers.wire import Ended, patience


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def test_continue_end_to_end(t):
    """The origin says 100; only then is the body sent."""
    t.not_in("doors", "a refusal comes where the test reads something else")
    asked = threading.Event()
    go = threading.Event()

    def want(conn, req):
        asked.set()
        assert go.wait(60)
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")
        conn.reply(200, body=b"got " + req.body())
    t.o.on("/continue", want)
    with t.w.client() as c:
        c.send("POST /continue HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Content-Length: 5\r\n\r\n")
        assert asked.wait(patience(20))
        assert not c.stream.readable(0.05), "100 before the origin asked for the body"
        go.set()
        head = c.stream.until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 100 "), head
        c.send("hello")
        assert c.response().body == b"got hello"
    q = t.o.seen("/continue")[0]
    assert q.get("expect").lower() == "100-continue", q


def test_case_insensitive(t):
    t.not_in("doors", "a refusal comes where the test reads something else")
    t.o.on("/case", lambda conn, req: (conn.send("HTTP/1.1 100 Continue\r\n\r\n"),
                                       conn.reply(200, body=req.body())))
    with t.w.client() as c:
        c.send("POST /case HTTP/1.1\r\nHost: a\r\nexpect: 100-CONTINUE\r\n"
               "Content-Length: 2\r\n\r\n")
        assert c.stream.until(b"\r\n\r\n").startswith(b"HTTP/1.1 100 ")
        c.send("ok")
        assert c.response().body == b"ok"


def test_refused_without_the_body(t):
    """A final answer instead of 100: nobody waits for the body, nothing of it is taken for a
    request, and the origin's connection is not used again."""
    t.o.on("/refuse", lambda conn, req: (conn.reply(413, body=b"too large"), conn.await_end(),
                                         conn.close()))
    for _ in range(3):
        with t.w.client() as c:
            c.send("POST /refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                   "Content-Length: 48\r\n\r\n")
            r = c.response()
            assert r.status == 413 and r.body == b"too large" and not r.interims, r
            c.send("GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n\r\n")
            c.request("GET", "/next")
            try:
                assert c.response().body == b"origin GET /next\n"
            except Ended:
                pass
    for q in t.o.seen("/refuse"):
        assert q.conn.ended.wait(patience(20)) and q.conn.requests[-1] is q, "used again"
    assert not t.o.seen("/smuggled")
    assert t.w.get("/after-refusal").body == b"origin GET /after-refusal\n"


def test_hints_are_no_invitation(t):
    """After 103 and a final answer a client that was never told to send its body is told that the
    connection ends: its next request would be read as that body."""
    t.not_in("doors", "a refusal comes where the test reads something else")
    t.o.on("/hints-refuse", lambda conn, req: (
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        conn.reply(403, body=b"no"), conn.await_end(), conn.close()))
    with t.w.client() as c:
        c.send("POST /hints-refuse HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Content-Length: 48\r\n\r\n")
        r = c.response()
        assert r.status == 403 and [i.status for i in r.interims] == [103], r
        assert "close" in r.fields.tokens("connection"), r
        c.must_end()


def test_whose_turn_it_is(t):
    """Hints alone do not make it the client's turn: who is late is the origin."""
    t.not_in("doors", "a refusal comes where the test reads something else")
    w = t.simple(timeouts={"first_byte": "300ms", "client_body": "1h"})
    t.o.on("/hints-only", lambda conn, req: (
        conn.send("HTTP/1.1 103 Early Hints\r\n\r\n"), conn.await_end(), conn.close()))
    with w.client() as c:
        c.send("POST /hints-only HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Content-Length: 48\r\n\r\n")
        r = c.response()
        assert r.status == 504 and r.code == "first_byte_timeout", r


def test_long_answer_to_an_unsent_body(t):
    """A client that was answered at once need not send its body, however long the answer takes."""
    t.not_in("doors", "a refusal comes where the test reads something else")
    w = t.simple(timeouts={"client_body": "100ms"})
    go = threading.Event()

    def slow(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        go.wait(60)
        conn.send("2\r\ncd\r\n0\r\n\r\n")
        conn.await_end()
        conn.close()
    t.o.on("/long", slow)
    with w.client() as late, w.client() as c:
        c.send("POST /long HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Content-Length: 48\r\n\r\n")
        r = c.head()
        c.read_at_least(r, 2)
        # Another client, which does owe its body, is timed out meanwhile.
        late.send("POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 48\r\n\r\n")
        assert late.response().code == "client_body_timeout"
        go.set()
        assert c.finish(r).body == b"abcd" and r.complete, r


def test_client_does_not_wait(t):
    """A client may send the body at once."""
    with t.w.client() as c:
        c.send("POST /nowait HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Content-Length: 5\r\n\r\nhello")
        assert c.response().body == b"origin POST /nowait\nhello"
        assert c.get("/nowait2").status == 200


def test_origin_reads_without_100(t):
    """An origin that never says 100 but reads: the client that waits is told to go on, or the
    final answer comes once it went on by itself."""
    t.o.on("/silent", lambda conn, req: conn.reply(200, body=req.body()))
    with t.w.client() as c:
        c.send("POST /silent HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
               "Transfer-Encoding: chunked\r\n\r\n")
        c.send("2\r\nok\r\n0\r\n\r\n")
        assert c.response().body == b"ok"


def test_unknown_expectation(t):
    """Refused, and the body that it announces is no request (0.CL desync)."""
    body = "GET /smuggled-417 HTTP/1.1\r\nHost: a\r\n\r\n"
    for i, value in enumerate(("200-ok", "100-continue, x", "x", "100-continu", "100-continue;q=1",
                               "100 continue", "y 100-continue", "100-continue\r\nExpect: x")):
        for content in ("", body):
            with t.w.client() as c:
                c.send("POST /unknown%d HTTP/1.1\r\nHost: a\r\nExpect: %s\r\n"
                       "Content-Length: %d\r\n\r\n%s" % (i, value, len(content), content))
                r = c.response()
                assert r.status == 417 and r.code == "expectation_unknown", (value, r)
        assert not t.o.seen("/unknown%d" % i)
    assert not t.o.seen("/smuggled-417")


def test_expect_without_body(t):
    r = t.w.get("/nobody", [("Expect", "100-continue")])
    assert r.status == 200, r


def test_interims_forwarded_at_once(t):
    t.not_in("doors", "a refusal comes where the test reads something else")
    go = threading.Event()

    def hints(conn, req):
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Hop: 1\r\n"
                  "Connection: X-Hop\r\n\r\n")
        assert go.wait(60)
        conn.reply(200, body=b"done")
    t.o.on("/hints", hints)
    with t.w.client() as c:
        c.request("GET", "/hints")
        head = c.stream.until(b"\r\n\r\n").decode()
        assert head.startswith("HTTP/1.1 103 ") and "</a.css>" in head, head
        assert "x-hop" not in head.lower(), "a hop-by-hop field in a 103: " + head
        go.set()
        r = c.response()
        assert r.body == b"done" and not r.fields.has("link"), r


def test_interim_then_final_kinds(t):
    """Any number of 1xx within the limit, then bodies of every framing."""
    pre = b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"
    t.o.on("/then-204", pre + b"HTTP/1.1 204 No Content\r\n\r\n")
    t.o.on("/then-304", pre + b"HTTP/1.1 304 Not Modified\r\n\r\n")
    t.o.on("/then-chunked", pre + b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"2\r\nok\r\n0\r\n\r\n")
    with t.w.client() as c:
        for path, status in (("/then-204", 204), ("/then-304", 304), ("/then-chunked", 200)):
            r = c.get(path)
            assert r.status == status and len(r.interims) == 2, r


def test_interim_flood(t):
    t.o.on("/flood", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000)
    r = t.w.get("/flood")
    assert r.status == 502 and r.code == "upstream_interim_flood", r
    assert len(r.interims) <= 20, len(r.interims)


def test_interim_limit_is_configured(t):
    w = t.simple(limits={"interim": 2})
    t.o.on("/three", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3
           + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert w.get("/three").code == "upstream_interim_flood"
    assert t.w.get("/three").status == 200


def test_100_without_expect(t):
    """An unasked 100 does no harm."""
    t.o.on("/unasked", b"HTTP/1.1 100 Continue\r\n\r\n"
           b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    with t.w.client() as c:
        assert c.get("/unasked").body == b"ok"
        assert c.get("/unasked").body == b"ok"


def test_interim_before_break(t):
    def hang_up(conn, req):
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n")
        conn.close()
    t.o.on("/hint-break", hang_up)
    r = t.w.get("/hint-break")
    assert r.status == 502, r

# SPDX-License-Identifier: Apache-2.0
"""The origin ends or resets its connection at each point: the right reply while nothing was sent,
a visibly broken message after, and the next request is served."""

import threading

from peers.wire import Ended

OK = "HTTP/1.1 200 OK\r\n"


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def broken_at(t, path, sent, how):
    """The origin sends `sent`, waits until that was read when it is a head, and breaks."""
    go = threading.Event()

    def answer(conn, req):
        req.body()
        if sent:
            conn.send(sent)
        if "\r\n\r\n" in sent and not sent.endswith("Continue\r\n\r\n"):
            go.wait(60)
        (conn.reset if how == "rst" else conn.close)()
    t.o.on(path, answer)
    return go


def test_before_any_byte(t):
    for how, codes in (("fin", ("upstream_closed",)), ("rst", ("upstream_reset",
                                                               "upstream_closed"))):
        for method, body in (("GET", None), ("POST", b"hello")):
            w = t.simple()  # a fresh connection: no retry
            path = "/b-%s-%s" % (how, method)
            broken_at(t, path, "", how)
            r = w.ask(method, path, body=body)
            assert r.status == 502 and r.code in codes, (how, method, r)
            assert len(t.o.seen(path)) == 1, "a fresh connection's request was repeated"
            w.stop()


def test_in_the_head(t):
    for i, sent in enumerate(("H", "HTTP/1.1 200", OK, OK + "Content-Length: 5\r\n",
                              "HTTP/1.1 100 Continue\r\n\r\n")):
        for how in ("fin", "rst"):
            path = "/h%d-%s" % (i, how)
            broken_at(t, path, sent, how)
            r = t.w.get(path)
            assert r.status == 502, (sent, how, r)
            assert r.code in ("upstream_truncated", "upstream_closed", "upstream_reset"), (sent, r)


def test_in_the_body(t):
    bodies = [OK + "Content-Length: 10\r\n\r\n", OK + "Content-Length: 10\r\n\r\n12345",
              OK + "Transfer-Encoding: chunked\r\n\r\n",
              OK + "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
              OK + "Transfer-Encoding: chunked\r\n\r\nff\r\n12345"]
    for i, sent in enumerate(bodies):
        for how in ("fin", "rst"):
            path = "/body%d-%s" % (i, how)
            go = broken_at(t, path, sent, how)
            with t.w.client() as c:
                c.request("GET", path)
                r = c.head()
                assert r.status == 200, r
                if "12345" in sent:
                    assert c.read_at_least(r, 5) == b"12345"
                go.set()
                c.finish(r)
                assert not r.complete, (sent, how, "looks whole")
            line = t.w.line_for(path)
            assert line["reason"] in ("upstream_truncated", "upstream_reset",
                                      "upstream_closed"), line
            assert line["status"] == 200, line


def test_what_left_is_logged(t):
    """The end comes with the head: the client still gets what there was, and the log says how
    much."""
    def answer(conn, req):
        conn.send(OK + "Content-Length: 10\r\n\r\n12345")
        conn.close()
    for path in ["/at-once%d" % i for i in range(20)]:
        t.o.on(path, answer)
        r = t.w.get(path)
        assert r.status == 200 and r.body == b"12345" and not r.complete, r
        line = t.w.line_for(path)
        assert line["reason"] == "upstream_truncated", line
        assert line["bytes_out"] == len(r.raw_head) + len(r.body), (line, r.raw_head)


def test_between_requests(t):
    """Idle connections that ended are not used: neither method ever fails."""
    with t.w.client() as c:
        for i in range(30):
            r = c.ask("POST" if i % 2 else "GET", "/between%d" % i, body=b"x" if i % 2 else None)
            assert r.status == 200, (i, r)
            conn = t.o.seen("/between%d" % i)[0].conn
            (conn.reset if i % 3 == 0 else conn.shut)()


def test_during_the_upload(t):
    """An origin that breaks in the middle of a request body: 502."""
    for how in ("fin", "rst"):
        def stop(conn, req, how=how):
            req.some()
            (conn.reset if how == "rst" else conn.close)()
        path = "/upload-" + how
        t.o.on(path, stop)
        with t.w.client() as c:
            c.send("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" % path)
            c.send(b"x" * 50000)
            r = c.response()
            assert r.status == 502 and r.complete, r
    assert t.w.get("/after-uploads").status == 200


def test_answer_then_reset_during_the_upload(t):
    """An answer that came before the break is delivered."""
    def refuse(conn, req):
        req.some()
        conn.reply(413, [("Connection", "close")], b"too large")
        conn.close()
    t.o.on("/refuse", refuse)
    got = 0
    for _ in range(10):
        with t.w.client() as c:
            c.send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n")
            c.send(b"x" * 30000)
            try:
                r = c.response()
                assert r.status in (413, 502), r
                got += r.status == 413
            except Ended:
                pass
    assert got, "the answer never arrived"


def test_refused(t):
    gone = t.origin("gone")
    w = t.simple(gone)
    assert w.get("/").status == 200
    gone.stop_listening()
    for c in gone.connections:
        c.shut()
    r = w.get("/x")
    assert r.status == 502 and r.code == "connect_refused_by_endpoint", r
    assert "Proxy-Status" not in r.raw_head.decode() or "connection_refused" in r.raw_head.decode()
    assert w.line_for("/x")["reason"] == "connect_refused_by_endpoint"


def test_fault_replies_look_the_same(t):
    """Status, reason code in the body, complete framing, nothing of the origin's."""
    broken_at(t, "/reply", "", "fin")
    w = t.simple()
    with w.client() as c:
        r = c.get("/reply")
        assert r.status == 502 and r.complete and r.kind == "length", r
        assert "upstream_closed" in r.text and r.get("date"), r
    with w.client() as c:
        r = c.ask("HEAD", "/reply")
        assert r.status == 502 and r.body == b"", r
    assert w.get("/fine").status == 200

# SPDX-License-Identifier: Apache-2.0
"""Bad backends: 502 while nothing was sent, a visibly broken message after, never an extra
answer, and a poisoned connection is never used again."""

import threading

from peers import wire
from peers.wire import WrongBytes

OK = "HTTP/1.1 200 OK\r\n"


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def answer(t, path, raw, close=True):
    """Registers raw as the answer of path; the origin closes behind it when close."""
    raw = raw.encode("latin-1") if isinstance(raw, str) else raw

    def send(conn, req):
        conn.send(raw)
        if close:
            conn.shut()
            conn.await_end()
            conn.close()
    t.o.on(path, send)


def judge(t, number, name, raw, statuses, close=True):
    """One bad answer: the next request on the same client connection must be whole."""
    path = "/bad%d" % number
    answer(t, path, raw, close)
    with t.w.client() as c:
        c.request("GET", path)
        try:
            r = c.response()
        except WrongBytes as e:
            return "%s: wrong bytes: %s" % (name, e)
        if r.status == 200 and r.complete:
            return "%s: %r became a whole answer %r" % (name, raw[:120], r)
        if r.status not in statuses and not (r.status == 200 and not r.complete
                                             and "broken" in statuses):
            return "%s: %r was answered %r" % (name, raw[:120], r)
        if r.complete and r.fields.tokens("connection") != ["close"]:
            after = c.get("/after")
            if after.body != b"origin GET /after\n":
                return "%s: the next answer is %r" % (name, after)
    conn = t.o.await_seen(path)[-1].conn
    if not conn.ended.wait(wire.patience(20)):
        return "%s: the poisoned connection stays open" % name
    if len(conn.requests) and conn.requests[-1].path != path:
        return "%s: the poisoned connection was used again for %s" % (
            name, conn.requests[-1].path)
    return None


def run_table(t, cases, statuses, start):
    wrong = []
    for i, (name, raw) in enumerate(cases):
        for j, close in enumerate((True, False)):
            bad = judge(t, start + 2 * i + j, name, raw, statuses, close)
            if bad:
                wrong.append(bad)
    assert not wrong, "%d wrong:\n%s" % (len(wrong), "\n".join(wrong))


def test_heads(t):
    heads = [("no HTTP", "hello\r\n\r\n"), ("version 2", "HTTP/2.0 200 OK\r\n\r\n"),
             ("version 0.9", "HTTP/0.9 200 OK\r\n\r\n"), ("lower case", "http/1.1 200 OK\r\n\r\n"),
             ("version text", "HTTP/1.x 200 OK\r\n\r\n"), ("no status", "HTTP/1.1\r\n\r\n"),
             ("status 20", "HTTP/1.1 20 OK\r\n\r\n"), ("status 2000", "HTTP/1.1 2000 OK\r\n\r\n"),
             ("status 099", "HTTP/1.1 099 OK\r\n\r\n"), ("status 000", "HTTP/1.1 000 OK\r\n\r\n"),
             ("status abc", "HTTP/1.1 abc OK\r\n\r\n"), ("status -20", "HTTP/1.1 -20 OK\r\n\r\n"),
             ("two spaces", "HTTP/1.1  200 OK\r\n\r\n"), ("tab", "HTTP/1.1\t200 OK\r\n\r\n"),
             ("leading space", " HTTP/1.1 200 OK\r\n\r\n"),
             ("NUL in reason", "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n"),
             ("CR in reason", "HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n"),
             ("space before colon", OK + "X : y\r\nContent-Length: 0\r\n\r\n"),
             ("length with space", OK + "Content-Length : 0\r\n\r\n"),
             ("no colon", OK + "no colon\r\nContent-Length: 0\r\n\r\n"),
             ("empty name", OK + ": y\r\nContent-Length: 0\r\n\r\n"),
             ("NUL in value", OK + "X: a\x00b\r\nContent-Length: 0\r\n\r\n"),
             ("NUL in name", OK + "X\x00: b\r\nContent-Length: 0\r\n\r\n"),
             ("CR in value", OK + "X: a\rb\r\nContent-Length: 0\r\n\r\n"),
             ("control in value", OK + "X: a\x01b\r\nContent-Length: 0\r\n\r\n"),
             ("fold", OK + "X: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
             ("first line folded", OK + " X: a\r\nContent-Length: 0\r\n\r\n"),
             ("name with space", OK + "X Y: a\r\nContent-Length: 0\r\n\r\n"),
             ("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
             ("huge field", OK + "X: " + "a" * 200000 + "\r\nContent-Length: 0\r\n\r\n"),
             ("many fields", OK + "X: a\r\n" * 3000 + "Content-Length: 0\r\n\r\n")]
    run_table(t, heads, (502,), 0)


def test_framing(t):
    cases = [("two lengths", OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
             ("equal lengths", OK + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
             ("length list", OK + "Content-Length: 5, 5\r\n\r\nhello"),
             ("length and chunked", OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
              "5\r\nhello\r\n0\r\n\r\n"),
             ("chunked and length", OK + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"
              "5\r\nhello\r\n0\r\n\r\n"),
             ("length +5", OK + "Content-Length: +5\r\n\r\nhello"),
             ("length -5", OK + "Content-Length: -5\r\n\r\nhello"),
             ("length 0x5", OK + "Content-Length: 0x5\r\n\r\nhello"),
             ("length empty", OK + "Content-Length: \r\n\r\nhello"),
             ("length text", OK + "Content-Length: five\r\n\r\nhello"),
             ("length too large", OK + "Content-Length: 18446744073709551621\r\n\r\nhello"),
             ("length with point", OK + "Content-Length: 5.0\r\n\r\nhello"),
             ("chunked twice", OK + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
             ("two codings", OK + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"
              "\r\n5\r\nhello\r\n0\r\n\r\n"),
             ("gzip, chunked", OK + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
             ("chunked, gzip", OK + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
             ("unknown coding", OK + "Transfer-Encoding: x\r\n\r\nhello"),
             ("empty coding", OK + "Transfer-Encoding:\r\n\r\nhello"),
             ("obscured chunked", OK + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n"),
             ("1.0 and chunked", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
              "5\r\nhello\r\n0\r\n\r\n")]
    run_table(t, cases, (502,), 200)


def test_unsolicited_101(t):
    run_table(t, [("101 unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                   "Upgrade: websocket\r\n\r\nhello")], (502,), 300)


def test_chunks(t):
    """The head was sent: the client must see a broken message (or 502 when both came at once)."""
    head = OK + "Transfer-Encoding: chunked\r\n\r\n"
    bodies = ["g\r\n", "5\r\nhelloX\r\n0\r\n\r\n", "5\nhello\n0\n\n", "5 \r\nhello\r\n0\r\n\r\n",
              " 5\r\nhello\r\n0\r\n\r\n", "+5\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
              "10000000000000005\r\nhello\r\n0\r\n\r\n", "5;\n\r\nhello\r\n0\r\n\r\n",
              "5;a\rb\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r0\r\n\r\n", "5\r\nhello\r\n0\n\n",
              "5\r\nhello\r\n0\r\nX : y\r\n\r\n", "5\r\nhello\r\n0\r\nX: a\x00b\r\n\r\n",
              "-5\r\nhello\r\n0\r\n\r\n", "5\r\nhello\r\n\r\n0\r\n\r\n",
              "5\r\nhello\r\n0\r\nno colon\r\n\r\n"]
    run_table(t, [("chunk %r" % b, head + b) for b in bodies], (502, "broken"), 400)


def test_cut_off(t):
    """The origin ends its connection too early."""
    cuts = [("before the status", ""), ("in the status line", "HTTP/1.1 20"),
            ("in the fields", OK + "Content-Le"), ("in a body", OK + "Content-Length: 10\r\n\r\n"
                                                  "short"),
            ("before a body", OK + "Content-Length: 10\r\n\r\n"),
            ("in a chunk", OK + "Transfer-Encoding: chunked\r\n\r\na\r\nshort"),
            ("between chunks", OK + "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n"),
            ("before the last line", OK + "Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n0\r\n"),
            ("after a 100", "HTTP/1.1 100 Continue\r\n\r\n"),
            ("after a 103", "HTTP/1.1 103 Early Hints\r\n\r\n")]
    wrong = []
    for i, (name, raw) in enumerate(cuts):
        bad = judge(t, 500 + i, name, raw, (502, "broken"))
        if bad:
            wrong.append(bad)
    assert not wrong, "\n".join(wrong)


def test_reason_codes(t):
    for i, (raw, code) in enumerate([
            ("hello\r\n\r\n", "upstream_head_invalid"),
            (OK + "X : y\r\n\r\n", "upstream_head_invalid"),
            (OK + "Content-Length: x\r\n\r\n", "upstream_framing_invalid"),
            (OK + "X: " + "a" * 200000 + "\r\n\r\n", "upstream_head_too_large"),
            ("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\n",
             "upstream_upgrade_mismatch"),
            ("HTTP/1.1 103 X\r\n\r\n" * 100, "upstream_interim_flood"),
            ("HTTP/1.1 200", "upstream_truncated")]):
        path = "/code%d" % i
        answer(t, path, raw)
        r = t.w.get(path)
        assert r.status == 502 and r.code == code, (raw[:60], r)
        line = t.w.line_for(path)
        assert line["reason"] == code and line["status"] == 502, line
    answer(t, "/code-chunk", OK + "Transfer-Encoding: chunked\r\n\r\nx\r\n")
    r = t.w.get("/code-chunk")
    assert (r.status == 502 and r.code == "upstream_chunk_invalid") or not r.complete, r
    assert t.w.line_for("/code-chunk")["reason"] == "upstream_chunk_invalid"


def test_extra_bytes(t):
    """Bytes behind a complete answer are dropped with their connection."""
    extra = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL"
    cases = [(OK + "Content-Length: 2\r\n\r\nok" + extra, b"ok"),
             (OK + "Content-Length: 2\r\n\r\nokx", b"ok"),
             (OK + "Content-Length: 0\r\n\r\n" + extra, b""),
             (OK + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + extra, b"ok"),
             (OK + "Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n", b"ok"),
             ("HTTP/1.1 204 No Content\r\n\r\nbody" + extra, b""),
             ("HTTP/1.1 304 Not Modified\r\n\r\nbody" + extra, b""),
             ("HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody" + extra, b"")]
    for i, (raw, want) in enumerate(cases):
        path = "/extra%d" % i
        answer(t, path, raw, close=False)
        with t.w.client() as c:
            r = c.get(path)
            assert r.complete and r.body == want, (raw, r)
            for _ in range(3):
                after = c.get("/after-extra")
                assert after.body == b"origin GET /after-extra\n", (raw, after)
        conn = t.o.seen(path)[-1].conn
        assert conn.ended.wait(wire.patience(20)), "kept after %r" % raw
        assert conn.requests[-1].path == path, "used again after %r" % raw


def test_body_after_head_request(t):
    answer(t, "/head-body", OK + "Content-Length: 4\r\n\r\nbody", close=False)
    with t.w.client() as c:
        c.request("HEAD", "/head-body")
        r = c.response("HEAD")
        assert r.status == 200 and r.get("content-length") == "4" and r.body == b"", r
        assert c.get("/after-head").body == b"origin GET /after-head\n"
    conn = t.o.seen("/head-body")[-1].conn
    assert conn.ended.wait(wire.patience(20)) and conn.requests[-1].path == "/head-body"


def test_late_stale_bytes(t):
    """Bytes that come while the connection is idle: it is dropped, nobody gets them."""
    t.o.on("/idle", OK.encode() + b"Content-Length: 2\r\n\r\nok")
    with t.w.client() as c:
        for _ in range(10):
            assert c.get("/idle").body == b"ok"
            conn = t.o.seen("/idle")[-1].conn
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL")
            after = c.get("/fresh")
            assert after.body == b"origin GET /fresh\n", after
            assert conn.ended.wait(wire.patience(20)), "a connection with stale bytes stays open"


def test_bodyless(t):
    """HEAD, 204 and 304 without a body keep the connection."""
    t.o.on("/304", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\nETag: \"x\"\r\n\r\n")
    t.o.on("/204", b"HTTP/1.1 204 No Content\r\n\r\n")
    t.o.on("/empty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    t.o.on("/empty-chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    with t.w.client() as c:
        for path, status in (("/304", 304), ("/204", 204), ("/empty", 200),
                             ("/empty-chunked", 200)) * 3:
            r = c.get(path)
            assert r.status == status and r.body == b"" and r.complete, r
            r = c.ask("HEAD", "/x")
            assert r.status == 200 and r.body == b"" and int(r.get("content-length")) > 0, r


def test_head_of_chunked(t):
    t.o.on("/head-chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with t.w.client() as c:
        for _ in range(3):
            r = c.ask("HEAD", "/head-chunked")
            assert r.status == 200 and r.body == b"", r
            assert c.get("/after-head-chunked").status == 200


def test_204_with_framing(t):
    """Framing fields that a 204 may not have are not passed on."""
    t.o.on("/204-length", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    r = t.w.get("/204-length")
    assert r.status in (204, 502), r


def test_204_that_announces_content(t):
    """Whoever says that content follows a 204 may send it at any time: nobody gets it."""
    for i, field in enumerate(("Content-Length: 5", "Transfer-Encoding: chunked")):
        path = "/204-content%d" % i
        t.o.on(path, ("HTTP/1.1 204 No Content\r\n" + field + "\r\n\r\n").encode())
        with t.w.client() as c:
            assert c.get(path).status == 204
            assert t.o.seen(path)[-1].conn.ended.wait(wire.patience(20)), "the connection was kept"
            assert c.get("/after-204").status == 200
            assert c.ask("HEAD", path).status == 204


def test_status_lines_good(t):
    for i, line in enumerate(("HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 299 Odd but fine",
                              "HTTP/1.0 200 OK", "HTTP/1.1 418 caf\xe9", "HTTP/1.1 599 X")):
        answer(t, "/line%d" % i, line + "\r\nContent-Length: 2\r\n\r\nok", close=False)
        r = t.w.get("/line%d" % i)
        assert r.status == int(line.split(" ")[1]) and r.body == b"ok", (line, r)


def test_until_close(t):
    """A body that ends with the connection arrives whole, and cut off when it was reset."""
    answer(t, "/until-close", OK + "\r\nall of it")
    r = t.w.get("/until-close")
    assert r.body == b"all of it" and r.complete, r

    def cut(conn, req):
        conn.send(OK + "\r\nhalf of")
        req.conn.origin.sent_half.wait(20)
        conn.reset()
    t.o.sent_half = threading.Event()
    t.o.on("/until-reset", cut)
    with t.w.client() as c:
        c.request("GET", "/until-reset")
        r = c.head()
        c.read_at_least(r, 7)
        t.o.sent_half.set()
        c.finish(r)
        assert not r.complete, r


def test_http_1_0_backend(t):
    answer(t, "/one-zero", "HTTP/1.0 200 OK\r\n\r\nold")
    r = t.w.get("/one-zero")
    assert r.body == b"old" and r.complete, r
    t.o.on("/one-zero-keep", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
           b"Content-Length: 3\r\n\r\nold")
    with t.w.client() as c:
        for _ in range(3):
            r = c.get("/one-zero-keep")
            assert r.body == b"old" and r.complete, r


def test_set_cookie2_and_odd_fields(t):
    """Fields that once crashed a proxy are only fields."""
    t.o.on("/odd", b"HTTP/1.1 200 OK\r\nSet-Cookie2: a=b\r\nSet-Cookie2: \r\nContent-Length: 2\r\n"
           b"X-Empty:\r\nWarning: 199 - \"x\"\r\nX-High: \xe9\xff\r\n\r\nok")
    r = t.w.get("/odd")
    assert r.body == b"ok" and r.fields.all("set-cookie2") == ["a=b", ""], r
    assert r.get("x-high") == "\xe9\xff" and r.get("x-empty") == "", r


def test_none_of_them_keeps_it_busy(t):
    """After all of the above the server rests: an answer that is parsed again and again would use
    a whole CPU."""
    before = t.w.cpu()
    threading.Event().wait(0.5)  # a stretch of time in which nothing happens
    assert t.w.cpu() - before < 0.3, "spins"

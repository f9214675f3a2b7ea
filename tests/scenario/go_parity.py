# SPDX-License-Identifier: Apache-2.0
"""What Go's reverseproxy_test.go pins down, as it is seen on the wire. docs/go-parity.md lists
each Go test with its test here; what is about Go's API is in the library's tests."""

import hashlib
import threading

from peers.wire import Ended, await_true, encode_chunked, patience

HOP_RESPONSE = (b"HTTP/1.1 404 Not Found\r\nTrailers: not a special header field name\r\n"
                b"Trailer: X-Trailer\r\nX-Foo: bar\r\nUpgrade: foo\r\nConnection: X-Fake-Hop\r\n"
                b"X-Fake-Hop: foo\r\nX-Multi-Value: foo\r\nX-Multi-Value: bar\r\n"
                b"Set-Cookie: flavor=chocolateChip\r\nTransfer-Encoding: chunked\r\n\r\n"
                b"10\r\nI am the backend\r\n0\r\nX-Trailer: trailer_value\r\n"
                b"X-Unannounced-Trailer: unannounced_trailer_value\r\n\r\n")


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def test_reverse_proxy(t):
    t.o.on("/basic", HOP_RESPONSE)
    r = t.w.get("/basic", [("Connection", "close, TE"), ("TE", "foo"), ("TE", "bar, trailers"),
                           ("Proxy-Connection", "should be deleted"), ("Upgrade", "foo")],
                host="some-name")
    q = t.o.await_seen("/basic")[0]
    assert not q.fields.has("transfer-encoding") and not q.fields.has("content-length"), q
    assert q.fields.has("x-forwarded-for"), q
    assert q.fields.tokens("connection") == ["te"], q
    assert q.fields.all("te") == ["trailers"], q
    assert not q.fields.has("upgrade") and not q.fields.has("proxy-connection"), q
    assert q.host == "some-name", q
    assert r.status == 404 and r.body == b"I am the backend", r
    assert r.get("x-foo") == "bar" and not r.fields.has("x-fake-hop"), r
    assert not r.fields.has("upgrade"), r
    assert r.get("trailers") == "not a special header field name", r
    assert r.fields.all("x-multi-value") == ["foo", "bar"], r
    assert r.fields.all("set-cookie") == ["flavor=chocolateChip"], r
    assert r.fields.tokens("trailer") == ["x-trailer"], r
    assert r.trailers.get("x-trailer") == "trailer_value", r.trailers
    assert r.trailers.get("x-unannounced-trailer") == "unannounced_trailer_value", r.trailers


def test_reverse_proxy_hangup(t):
    t.o.on("/hangup", lambda conn, req: conn.close())
    r = t.w.get("/hangup")
    assert r.status == 502 and r.code == "upstream_closed", r


def test_strip_headers_present_in_connection(t):
    t.o.on("/strip", b"HTTP/1.1 200 OK\r\nConnection: Upgrade, X-Fake-Connection-Token\r\n"
           b"Connection: X-Some-Conn-Header\r\nX-Some-Conn-Header: should be deleted\r\n"
           b"X-Fake-Connection-Token: should be deleted\r\nContent-Length: 2\r\n\r\nok")
    r = t.w.get("/strip", [("Connection", "Upgrade, X-Fake-Connection-Token"),
                           ("Connection", "X-Some-Conn-Header"),
                           ("X-Some-Conn-Header", "should be deleted"),
                           ("X-Fake-Connection-Token", "should be deleted")])
    q = t.o.await_seen("/strip")[0]
    for fields in (q.fields, r.fields):
        assert not fields.has("x-some-conn-header"), fields
        assert not fields.has("x-fake-connection-token"), fields
        assert not set(fields.tokens("connection")) - {"keep-alive", "close"}, fields
    assert r.body == b"ok", r


def test_strip_empty_connection(t):
    t.o.on("/empty", b"HTTP/1.1 200 OK\r\nConnection: \r\nConnection: X-Some-Conn-Header\r\n"
           b"X-Some-Conn-Header: should be deleted\r\nContent-Length: 2\r\n\r\nok")
    r = t.w.get("/empty", [("Connection", ""), ("Connection", "X-Some-Conn-Header"),
                           ("X-Some-Conn-Header", "should be deleted")])
    q = t.o.await_seen("/empty")[0]
    assert not q.fields.has("x-some-conn-header"), q
    assert not r.fields.has("x-some-conn-header") and r.body == b"ok", r


def test_x_forwarded_for(t):
    """Go appends to what any client sends; Weir only to what a trusted proxy sends."""
    w = t.simple(trusted_proxies=["127.0.0.0/8"])
    w.get("/xff", [("X-Forwarded-For", "203.0.113.9")])
    q = t.o.await_seen("/xff")[0]
    assert q.fields.tokens("x-forwarded-for") == ["203.0.113.9", "127.0.0.1"], q


def test_x_forwarded_for_omit(t):
    w = t.simple(forwarded={"x_forwarded": False, "x_real_ip": False})
    w.get("/omit", [("X-Forwarded-For", "1.2.3.4"), ("X-Real-IP", "1.2.3.4")])
    q = t.o.await_seen("/omit")[0]
    for name in ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"):
        assert not q.fields.has(name), q


def test_rewrite_strips_forwarded(t):
    forged = [("Forwarded", "for=1.2.3.4"), ("X-Forwarded-For", "1.2.3.4"),
              ("X-Forwarded-Host", "forged.example"), ("X-Forwarded-Proto", "ftp")]
    t.w.get("/forged", forged)
    q = t.o.await_seen("/forged")[0]
    assert b"1.2.3.4" not in q.raw and b"forged.example" not in q.raw and b"ftp" not in q.raw, q


def test_query(t):
    for i, (suffix, want) in enumerate((("", None), ("?us=er", "us=er"), ("?", ""),
                                        ("?a=b&c=d", "a=b&c=d"))):
        t.w.get("/query%d%s" % (i, suffix))
        q = t.o.await_seen("/query%d" % i)[0]
        assert (q.query or None) == (want or None), (suffix, q.target)


def test_flush_interval(t):
    t.o.on("/flush", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
    assert t.w.get("/flush").body == b"hi"


def test_flush_interval_headers(t):
    go = threading.Event()

    def stall(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nMyHeader: hi\r\nContent-Length: 2\r\n\r\n")
        assert go.wait(60)
        conn.send("ok")
    t.o.on("/head-first", stall)
    with t.w.client() as c:
        c.request("GET", "/head-first")
        r = c.head()
        assert r.get("myheader") == "hi", r
        go.set()
        assert c.finish(r).body == b"ok"


def test_cancellation(t):
    cancelled = threading.Event()

    def wait(conn, req):
        conn.await_end()
        cancelled.set()
        conn.close()
    t.o.on("/cancel", wait)
    c = t.w.client()
    c.request("GET", "/cancel")
    t.o.await_seen("/cancel")
    c.close()
    assert cancelled.wait(patience(20)), "the origin never saw the cancellation"


def test_nil_body(t):
    with t.w.client() as c:
        c.send("GET /nil HTTP/1.0\r\n\r\n")
        r = c.response()
    assert r.status == 200 and r.body.startswith(b"origin GET /nil"), r
    q = t.o.await_seen("/nil")[0]
    assert q.kind is None, q


def test_user_agent(t):
    t.w.get("/agent", [("User-Agent", "explicit UA")])
    assert t.o.await_seen("/agent")[0].get("user-agent") == "explicit UA"
    t.w.get("/no-agent")
    assert not t.o.await_seen("/no-agent")[0].fields.has("user-agent")


def test_post(t):
    body = bytes(range(256)) * (t.bulk(1 << 20) // 256)
    r = t.w.ask("POST", "/post", body=body)
    assert r.status == 200, r
    q = t.o.await_seen("/post")[0]
    assert q.get("content-length") == str(len(body)), q
    assert hashlib.sha256(q.body()).digest() == hashlib.sha256(body).digest()


def test_nil_body_no_framing(t):
    t.w.get("/bodyless")
    q = t.o.await_seen("/bodyless")[0]
    assert q.kind is None and not q.fields.has("content-length"), q


def test_error_handler_default(t):
    gone = t.simple(t.origin("gone"))
    t.origins[-1].stop_listening()
    r = gone.get("/")
    assert r.status == 502 and r.code == "connect_refused_by_endpoint", r


def test_copy_buffer_short_body(t):
    def short(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
        conn.close()
    t.o.on("/short", short)
    r = t.w.get("/short")
    assert r.status == 200 and not r.complete, r
    assert b"short".startswith(r.body), r
    assert t.w.line_for("/short")["reason"] == "upstream_truncated"


def test_panic_body_error(t):
    """A body that breaks in the middle of a chunked message never ends cleanly."""
    def broken(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n10\r\nhal")
        conn.reset()
    t.o.on("/broken", broken)
    r = t.w.get("/broken")
    assert r.status in (200, 502) and not (r.status == 200 and r.complete), r


def test_panic_closes_incoming_body(t):
    """The origin hangs up during large uploads, ten clients twice: nothing crashes."""
    def hang_up(conn, req):
        req.some()
        conn.reset()
    t.o.on("/abort", hang_up)
    big = b"x" * t.bulk(6 << 20)

    def upload():
        with t.w.client() as c:
            c.request("POST", "/abort", body=big)
            try:
                c.response()
            except Ended:
                pass
    for _ in range(2):
        threads = [threading.Thread(target=upload) for _ in range(10)]
        for th in threads:
            th.start()
        for th in threads:
            th.join(60)
            assert not th.is_alive(), "an upload hangs"
    assert t.w.get("/after").status == 200


def test_select_flush_interval(t):
    """Events and bodies of unknown length are passed on at once, whatever the strategy."""
    kinds = {"/sse": "Content-Type: text/event-stream\r\nContent-Length: 8",
             "/sse-parameter": "Content-Type: text/event-stream;charset=utf-8\r\n"
                               "Content-Length: 8",
             "/chunked": "Transfer-Encoding: chunked",
             "/until-close": "Connection: close"}
    for strategy in ("none", "fixed", "adaptive"):
        w = t.simple(buffer={"strategy": strategy})
        for path, fields in kinds.items():
            go = threading.Event()

            def parts(conn, req, fields=fields, go=go):
                chunked = "chunked" in fields
                conn.send("HTTP/1.1 200 OK\r\n%s\r\n\r\n" % fields)
                conn.send("4\r\none\n\r\n" if chunked else "one\n")
                assert go.wait(60)
                conn.send("4\r\ntwo\n\r\n0\r\n\r\n" if chunked else "two\n")
                if "close" in fields:
                    conn.close()
            t.o.on(path, parts)
            with w.client() as c:
                c.request("GET", path)
                r = c.head()
                assert c.read_at_least(r, 4) == b"one\n", (strategy, path)
                go.set()
                assert c.finish(r).body == b"one\ntwo\n" and r.complete, (strategy, path, r)
        w.stop()


def websocket(conn, req):
    conn.tunnel = True
    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n"
              "X-Custom: yes\r\n\r\n")
    line = conn.stream.until(b"\n")
    conn.send(b"backend got " + line)
    conn.await_end()
    conn.close()


UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket")]


def test_websocket(t):
    t.o.on("/ws", websocket)
    with t.w.client() as c:
        c.request("GET", "/ws", UPGRADE)
        r = c.head()
        assert r.status == 101 and r.get("x-custom") == "yes", r
        assert r.get("upgrade").lower() == "websocket", r
        assert r.fields.tokens("connection") == ["upgrade"], r
        c.send("Hello\n")
        assert c.stream.until(b"\n") == b"backend got Hello\n"
    q = t.o.await_seen("/ws")[0]
    assert q.get("upgrade") == "websocket" and "upgrade" in q.fields.tokens("connection"), q


def test_websocket_cancellation(t):
    t.o.on("/ws-cancel", websocket)
    c = t.w.client()
    c.request("GET", "/ws-cancel", UPGRADE)
    assert c.head().status == 101
    conn = t.o.await_seen("/ws-cancel")[0].conn
    c.close()
    assert conn.ended.wait(patience(20)), "the upgraded connection stays open"


def test_unannounced_trailer(t):
    t.o.on("/trailer", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"0\r\nX-Unannounced-Trailer: unannounced_trailer_value\r\n\r\n")
    r = t.w.get("/trailer", [("TE", "trailers"), ("Connection", "TE")])
    assert r.trailers.get("x-unannounced-trailer") == "unannounced_trailer_value", r.trailers


def test_set_url_rewrites_host(t):
    config = {"upstreams": {"origin": {"endpoints": [{"address": t.o.address}]}},
              "routes": [{"match": {"path": "/*"}, "to": "origin",
                          "rewrite": {"host": "upstream"}}]}
    w = t.start(config)
    w.get("/set-url", host="some-name")
    assert t.o.await_seen("/set-url")[0].host == t.o.address


def test_single_join_slash(t):
    routes = [{"match": {"path": "/%d/*" % i}, "to": "origin",
               "rewrite": {"strip_prefix": "/%d" % i, "add_prefix": base}}
              for i, base in enumerate(("/base", "/base/"))]
    w = t.start({"upstreams": {"origin": {"endpoints": [{"address": t.o.address}]}},
                 "routes": routes})
    for i in (0, 1):
        w.get("/%d/favicon%d.ico" % (i, i))
        t.o.await_seen("/base/favicon%d.ico" % i)


def test_join_url_path(t):
    """Escaped slashes survive the joining of paths."""
    cases = (("/a/b", "/c", "/a/b/c"), ("/a%2Fb", "/c", "/a%2Fb/c"),
             ("/a%2Fb/", "/c%2Fd", "/a%2Fb/c%2Fd"), ("/a%2Fb%2F", "/c", "/a%2Fb%2F/c"))
    routes = [{"match": {"path": "/%d/*" % i}, "to": "origin",
               "rewrite": {"strip_prefix": "/%d" % i, "add_prefix": base}}
              for i, (base, _, _) in enumerate(cases)]
    w = t.start({"upstreams": {"origin": {"endpoints": [{"address": t.o.address}]}},
                 "routes": routes})
    for i, (_, path, want) in enumerate(cases):
        before = len(t.o.seen(want))
        assert w.get("/%d%s" % (i, path)).status == 200
        t.o.await_seen(want, before + 1)


def test_1xx_not_after_final(t):
    """A late 1xx is no part of the answer that was already sent."""
    t.o.on("/late-1xx", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
           b"HTTP/1.1 103 Early Hints\r\nLink: </late.css>\r\n\r\n")
    with t.w.client() as c:
        r = c.get("/late-1xx")
        assert r.body == b"ok" and not r.interims, r
        r = c.get("/next")
        assert r.status == 200 and not r.interims, r


def test_1xx_responses(t):
    t.o.on("/hints", b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
           b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\nLink: </script.js>\r\n\r\n"
           b"HTTP/1.1 102 Processing\r\nLink: </style.css>\r\nLink: </script.js>\r\n"
           b"Link: </foo.js>\r\n\r\n"
           b"HTTP/1.1 200 OK\r\nLink: </final.css>\r\nContent-Length: 5\r\n\r\nHello")
    r = t.w.get("/hints")
    assert [i.status for i in r.interims] == [103, 103, 102], r.interims
    assert [len(i.fields.all("link")) for i in r.interims] == [1, 2, 3], r.interims
    assert r.status == 200 and r.fields.all("link") == ["</final.css>"] and r.body == b"Hello", r


def test_query_parameter_smuggling(t):
    for raw, clean in (("a=1&a=2;b=3", "a=1"), ("a=1&a=%zz&b=3", "a=1&b=3")):
        before = len(t.o.seen("/smuggle"))
        t.w.get("/smuggle?" + raw)
        q = t.o.await_seen("/smuggle", before + 1)[-1]
        assert q.query == clean, (raw, q.target)


def test_chunked_request_stays_chunked(t):
    """Nothing invents or loses the framing of a body of unknown length."""
    with t.w.client() as c:
        c.send("POST /chunked-up HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        c.send(encode_chunked(b"hello world", 3))
        assert c.response().status == 200
    q = t.o.await_seen("/chunked-up")[0]
    assert q.kind == "chunked" and q.body() == b"hello world", q
    await_true("line", lambda: t.w.access())

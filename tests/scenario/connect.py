# SPDX-License-Identifier: Apache-2.0
"""CONNECT is refused unless a route allows it; then it is a tunnel to the route's upstream."""

from peers.wire import Ended


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def test_refused_by_default(t):
    with t.w.client() as c:
        c.send("CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:80\r\n\r\n"
               "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n")
        r = c.response()
        assert r.status == 405 and r.code == "connect_refused" and r.get("allow") == "", r
        try:
            c.response()
        except Ended:
            pass
    assert not [q for q in t.o.requests if q.method == "CONNECT"]


def test_target_forms(t):
    for target in ("a.example", "/path", "http://a.example/", "*", ":80", "a.example:", "a:x"):
        with t.w.client() as c:
            c.send("CONNECT %s HTTP/1.1\r\nHost: a.example\r\n\r\n" % target)
            assert c.response().status in (400, 405), target


def allowing(t, answer):
    o = t.origin("proxy")
    o.lenient = True
    o.default = answer
    w = t.start({"upstreams": {"proxy": {"endpoints": [{"address": o.address}]}},
                 "routes": [{"match": {"methods": ["CONNECT"]}, "to": "proxy",
                             "allow_connect": True}]})
    return o, w


def test_allowed(t):
    def tunnel(conn, req):
        conn.tunnel = True
        conn.send("HTTP/1.1 200 Connection established\r\n\r\nhello ")
        conn.send(conn.stream.exactly(4))
        conn.await_end()
        conn.close()
    o, w = allowing(t, tunnel)
    with w.client() as c:
        c.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nping")
        r = c.head("CONNECT")
        assert r.status == 200 and not r.fields.has("content-length"), r
        assert not r.fields.has("transfer-encoding"), r
        assert c.stream.exactly(10) == b"hello ping"
    assert o.requests[0].method == "CONNECT" and o.requests[0].target == "a.example:443"


def test_content_is_refused(t):
    """Content of a CONNECT could be read as the tunnel's bytes, or those as content."""
    o, w = allowing(t, lambda conn, req: conn.reply(200))
    for fields, code in (("Content-Length: 5", "content_length_invalid"),
                         ("Transfer-Encoding: chunked", "transfer_encoding_invalid")):
        with w.client() as c:
            c.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n%s\r\n\r\n"
                   "0\r\n\r\n" % fields)
            r = c.response("CONNECT")
            assert r.status == 400, r
            c.must_end()
        w.await_access(lambda x, code=code: x["reason"] == code)
    assert not o.requests


def test_allowed_but_refused_upstream(t):
    """No 2xx, no tunnel: the answer is an answer, and nothing raw follows."""
    o, w = allowing(t, lambda conn, req: conn.reply(407, [("X-Why", "no")], b"denied"))
    with w.client() as c:
        c.send("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n")
        r = c.response()
        assert r.status == 407 and r.body == b"denied" and r.get("x-why") == "no", r
    assert len(o.requests) == 1

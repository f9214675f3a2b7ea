# SPDX-License-Identifier: Apache-2.0
"""Trailers both ways, without what must not be in a trailer."""

from peers.h2_origin import H2Origin
from peers.wire import WrongBytes, encode_chunked

FORBIDDEN = [("Content-Length", "5"), ("Transfer-Encoding", "chunked"), ("Host", "evil.example"),
             ("Authorization", "Basic x"), ("Proxy-Authorization", "Basic x"),
             ("Set-Cookie", "a=b"), ("Trailer", "X"), ("TE", "trailers"), ("Connection", "close"),
             ("Content-Encoding", "gzip"), ("Content-Range", "bytes 0-1/2"),
             ("Content-Type", "text/html"), ("X-Forwarded-For", "6.6.6.6"),
             ("X_Forwarded_For", "6.6.6.6"), ("X-Real-IP", "6.6.6.6"), ("Forwarded", "for=6.6.6.6"),
             ("X-Forwarded-Host", "evil"), ("Via", "1.1 evil"), ("Max-Forwards", "1"),
             ("Cache-Control", "public"), ("Upgrade", "x"), ("Keep-Alive", "x"), ("Expect", "x")]


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def test_request_trailers(t):
    with t.w.client() as c:
        c.request("POST", "/up", [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")],
                  encode_chunked(b"hello", 2, [("X-Sum", "abc"), ("X-Late", "1")]))
        assert c.response().status == 200
        assert c.get("/after-up").status == 200
    q = t.o.await_seen("/up")[0]
    assert q.body() == b"hello", q
    assert q.trailers.get("x-sum") == "abc" and q.trailers.get("x-late") == "1", q.trailers
    assert q.fields.tokens("trailer") in ([], ["x-sum"]), q


def test_response_trailers(t):
    t.o.on("/down", b"HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
           + encode_chunked(b"hello", 2, [("X-Sum", "abc"), ("X-Sum", "def"), ("X-Late", "1")]))
    with t.w.client() as c:
        for _ in range(2):
            r = c.get("/down", [("TE", "trailers"), ("Connection", "TE")])
            assert r.body == b"hello" and r.trailers.all("x-sum") == ["abc", "def"], r.trailers
            assert r.trailers.get("x-late") == "1", r.trailers


def test_named_in_connection(t):
    """What Connection names is hop-by-hop, also as a trailer (RFC 9110 7.6.1)."""
    t.o.on("/named", lambda conn, req: (req.body(), conn.send(
        b"HTTP/1.1 200 OK\r\nConnection: x-hop, X-Hop2\r\nConnection: keep-alive,X-Hop3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + encode_chunked(b"hello", 2, [
            ("X-Hop", "1"), ("X-Hop2", "1"), ("X-Sum", "abc"), ("X-HOP3", "1")]))))
    with t.w.client() as c:
        for i in range(2):
            c.request("POST", "/named", [("Transfer-Encoding", "chunked"),
                                         ("Connection", "X-Here, TE"), ("TE", "trailers")],
                      encode_chunked(b"hello", 2, [("X-HERE", "1"), ("X-There", "1")]))
            r = c.response()
            assert r.body == b"hello" and list(r.trailers) == [("X-Sum", "abc")], r.trailers
            q = t.o.await_seen("/named", i + 1)[i]
            assert list(q.trailers) == [("X-There", "1")], q.trailers
    only = encode_chunked(b"hello", 2, [("X-Here", "1")])
    r = t.w.ask("POST", "/only", [("Transfer-Encoding", "chunked"), ("Connection", "X-Here")], only)
    assert r.status == 200 and not list(t.o.await_seen("/only")[0].trailers), r


def test_forbidden_in_requests(t):
    with t.w.client() as c:
        c.request("POST", "/up-bad", [("Transfer-Encoding", "chunked")],
                  encode_chunked(b"hello", 2, FORBIDDEN + [("X-Good", "1")]))
        r = c.response()
        assert r.status == 200, r
    q = t.o.await_seen("/up-bad")[0]
    assert q.body() == b"hello" and list(q.trailers) == [("X-Good", "1")], q.trailers


def test_forbidden_in_responses(t):
    bad = [f for f in FORBIDDEN if f[0] not in ("Host", "Max-Forwards", "Expect", "Via",
                                                "X-Forwarded-For", "X_Forwarded_For", "X-Real-IP",
                                                "Forwarded", "X-Forwarded-Host")]
    t.o.on("/down-bad", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           + encode_chunked(b"hello", 2, bad + [("X-Good", "1")]))
    r = t.w.get("/down-bad")
    assert r.body == b"hello", r
    assert r.trailers.get("x-good") == "1", r.trailers
    names = {n.lower() for n, _ in r.trailers}
    assert not names & {n.lower() for n, _ in bad}, names


def test_own_names(t):
    """What the configuration says in a head, no trailer may say otherwise, in any spelling."""
    o = t.origin("own")
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}]}},
                 "request_id": {"header": "X-Corr-ID", "respond": True},
                 "routes": [{"match": {"path": "/*"}, "to": "o",
                             "retry": {"deadline_header": "X-Time-Left"},
                             "timeouts": {"exchange": "1h"},
                             "request_headers": {"set": {"X-Tenant": "mine"},
                                                 "add": {"X-Added": "mine"},
                                                 "remove": ["X-Gone"]},
                             "response_headers": {"set": {"X-Answer": "mine"},
                                                  "remove": ["X-Inside"]}}]})
    request = [("X-Tenant", "evil"), ("x_tenant", "evil"), ("X_Added", "evil"), ("X-Gone", "evil"),
               ("X-Corr-ID", "evil"), ("x_corr-id", "evil"), ("X-Time_Left", "evil"),
               ("X-Answer", "fine")]
    response = [("X-Answer", "evil"), ("x_answer", "evil"), ("X-Inside", "evil"),
                ("X_Corr_ID", "evil"), ("X-Tenant", "fine")]
    o.on("/own", lambda conn, req: (req.body(), conn.reply(body=b"hello", chunked=True,
                                                           trailers=response)))
    r = w.ask("POST", "/own", [("Transfer-Encoding", "chunked")],
              encode_chunked(b"hello", 2, request))
    assert r.body == b"hello" and list(r.trailers) == [("X-Tenant", "fine")], r.trailers
    q = o.await_seen("/own")[0]
    assert list(q.trailers) == [("X-Answer", "fine")], q.trailers


def test_grpc_like(t):
    """Trailers after an empty body."""
    t.o.on("/grpc", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"0\r\ngrpc-status: 0\r\ngrpc-message: fine\r\n\r\n")
    r = t.w.get("/grpc")
    assert r.body == b"" and r.trailers.get("grpc-status") == "0", r.trailers


def test_too_many(t):
    """An endless trailer section is refused."""
    with t.w.client() as c:
        c.send("POST /endless HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               "2\r\nok\r\n0\r\n")
        c.send("X-T: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 4000)
        r = c.response()
        assert r.status == 431 and r.code == "trailers_too_large", r
    assert not [q for q in t.o.seen("/endless") if q.whole], "completed at the origin"


def test_too_many_from_the_origin(t):
    t.o.on("/endless-down", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
           + b"X-T: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 4000)
    r = t.w.get("/endless-down")
    assert r.status == 502 or not r.complete, r


def test_merged_into_nothing(t):
    """A trailer never becomes a header field."""
    t.o.on("/merge", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"0\r\nX-Only-Trailer: 1\r\n\r\n")
    r = t.w.get("/merge")
    assert not r.fields.has("x-only-trailer") and r.trailers.has("x-only-trailer"), r


def test_memory_is_no_fault_of_the_endpoint(t):
    """Trailers that there is no memory for: it has reset no stream, and is not blamed for that."""
    o = H2Origin(t.address())
    t.origins.append(o)
    w = t.start({"upstreams": {"u": {"endpoints": [o.address], "protocol": "h2"}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]})
    for _ in range(300 if t.variant == "doors" else 1):
        with w.client() as c:
            c.request("POST", "/x", [("Transfer-Encoding", "chunked"), ("Connection", "close")],
                      encode_chunked(b"abc", None, [("X-Sum", "1")]))
            for r in c.answers_until_end():
                if r.code == "upstream_stream_reset":
                    raise WrongBytes(repr(r))
    w.stop()

# SPDX-License-Identifier: Apache-2.0
"""Hop-by-hop fields end at Weir in both directions; a client can neither strip nor forge what
Weir sets, by no spelling."""

import re

HOP = [("Keep-Alive", "timeout=5"), ("Proxy-Connection", "keep-alive"),
       ("Proxy-Authorization", "Basic eDp5"), ("Proxy-Authenticate", "Basic"),
       ("TE", "gzip"), ("HTTP2-Settings", "AAMAAABkAAQAAP__")]


def begin(t):
    t.o = t.origin()
    t.w = t.simple()


def sent(t, path, fields, **more):
    """The request as the origin saw it."""
    r = t.w.get(path, fields, **more)
    assert r.status == 200, r
    return t.o.await_seen(path)[-1]


def test_request_fields(t):
    q = sent(t, "/hop", HOP + [("X-Kept", "yes")])
    for name, _ in HOP:
        assert not q.fields.has(name), q
    assert q.get("x-kept") == "yes", q


def test_response_fields(t):
    t.o.on("/hop-back", b"HTTP/1.1 200 OK\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n"
           b"Proxy-Authenticate: Basic\r\nUpgrade: h2c\r\nConnection: X-One, keep-alive\r\n"
           b"Connection: x-two\r\nX-One: 1\r\nX-Two: 2\r\nX-Kept: yes\r\n"
           b"Content-Length: 2\r\n\r\nok")
    r = t.w.get("/hop-back")
    for name in ("keep-alive", "proxy-connection", "upgrade", "x-one", "x-two"):
        assert not r.fields.has(name), (name, r)
    assert r.get("x-kept") == "yes" and r.body == b"ok", r


def test_named_in_connection(t):
    for i, value in enumerate(("X-Drop", "x-drop", "X-DROP, close", "a, b , X-Drop", ",,X-Drop,",
                               "\tX-Drop\t", "keep-alive, X-Drop", '"x", X-Drop')):
        path = "/named%d" % i
        with t.w.client() as c:
            c.request("GET", path, [("Connection", value), ("X-Drop", "1"), ("X-Stay", "2")])
            r = c.response()
        if r.status == 400 and '"' in value:
            continue
        assert r.status == 200, (value, r)
        q = t.o.await_seen(path)[0]
        assert not q.fields.has("x-drop") and q.get("x-stay") == "2", (value, q)


def test_protected_from_connection(t):
    """Framing, Host and what Weir sets cannot be named away."""
    body = b"hello"
    names = ("Host", "Content-Length", "X-Forwarded-For", "X-Forwarded-Proto",
             "X-Forwarded-Host", "X-Real-IP", "Via", "X-Request-ID", "Transfer-Encoding", "TE",
             "Date", "Connection")
    plain = t.w.ask("POST", "/protect-plain", body=body)
    assert plain.status == 200
    base = {n.lower() for n, _ in t.o.await_seen("/protect-plain")[0].fields}
    for i, name in enumerate(names):
        path = "/protect%d" % i
        r = t.w.ask("POST", path, [("Connection", name)], body)
        assert r.status in (200, 400), (name, r)
        if r.status == 400:
            assert not t.o.seen(path), name
            continue
        q = t.o.await_seen(path)[0]
        have = {n.lower() for n, _ in q.fields}
        assert base <= have, "Connection: %s removed %r" % (name, base - have)
        assert q.host == "test.example" and q.body() == body, (name, q)


def test_authorization_named(t):
    """A field named in Connection is the client's to drop, but Authorization is not lost."""
    r = t.w.get("/auth", [("Connection", "close, Authorization"), ("Authorization", "Bearer x")])
    assert r.status in (200, 400), r
    if r.status == 200:
        q = t.o.await_seen("/auth")[0]
        assert q.get("authorization") == "Bearer x", q


def test_forged(t):
    """What a client sends under Weir's own names, or their aliases with '_', never arrives."""
    own = ["X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Forwarded"]
    for i, name in enumerate(own):
        for j, alias in enumerate({name, name.replace("-", "_"), name.upper().replace("-", "_"),
                                   name.lower(), name.replace("-", "_", 1)}):
            path = "/forge%d-%d" % (i, j)
            q = sent(t, path, [(alias, "forged.example"), ("X-Stay", "1")])
            assert b"forged.example" not in q.raw, (alias, q.raw)
            assert q.get("x-stay") == "1", q


def test_te(t):
    for i, (te, want) in enumerate((("trailers", ["trailers"]), ("gzip", []), ("trailers, gzip",
                                                                              ["trailers"]),
                                    ("gzip, Trailers", ["trailers"]), ("xtrailers", []),
                                    ("trailers;q=0.5", None), ("", []))):
        path = "/te%d" % i
        q = sent(t, path, [("TE", te), ("Connection", "TE")])
        if want is not None:
            assert q.fields.tokens("te") == want, (te, q)
        assert ("te" in q.fields.tokens("connection")) == q.fields.has("te"), q


def test_te_with_upgrade(t):
    """Each is named in Connection (RFC 9110 10.1.4, 7.8); the origin objects to all else."""
    q = sent(t, "/te-upgrade", [("Connection", "upgrade, te"), ("TE", "trailers"),
                                ("Upgrade", "x")])
    assert sorted(q.fields.tokens("connection")) == ["te", "upgrade"], q
    assert q.get("te") == "trailers" and q.get("upgrade") == "x", q


def test_upgrade_not_tunnelled(t):
    """h2c and unasked upgrades are not forwarded; the request is an ordinary one."""
    q = sent(t, "/h2c", [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                         ("HTTP2-Settings", "AAMAAABkAAQAAP__")])
    assert not q.fields.has("upgrade") and not q.fields.has("http2-settings"), q
    q = sent(t, "/upgrade-alone", [("Upgrade", "websocket")])
    assert not q.fields.has("upgrade"), q


def test_via(t):
    q = sent(t, "/via", [])
    assert re.fullmatch(r"1\.1 [!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+", q.get("via")), q
    q = sent(t, "/via-chain", [("Via", "1.0 first"), ("Via", "1.1 second")])
    members = q.fields.tokens("via")
    assert members[:2] == ["1.0 first", "1.1 second"] and len(members) == 3, q
    with t.w.client() as c:
        c.send("GET /via10 HTTP/1.0\r\n\r\n")
        assert c.response().status == 200
    assert t.o.await_seen("/via10")[0].get("via").startswith("1.0 ")


def test_via_settings(t):
    w = t.simple(via=False)
    w.get("/via-off", [("Via", "1.1 first")])
    assert t.o.await_seen("/via-off")[0].fields.all("via") == ["1.1 first"]
    w = t.simple(via_name="gate-7")
    w.get("/via-name")
    assert t.o.await_seen("/via-name")[0].get("via") == "1.1 gate-7"


def test_date(t):
    t.o.on("/no-date", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    r = t.w.get("/no-date")
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|"
                        r"Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT", r.get("date")), r
    t.o.on("/date", b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
           b"Content-Length: 0\r\n\r\n")
    assert t.w.get("/date").fields.all("date") == ["Thu, 01 Jan 1970 00:00:00 GMT"]
    r = t.w.get("/x%zz")
    assert r.status == 400 and r.fields.has("date"), r


def test_max_forwards(t):
    for i, method in enumerate(("OPTIONS", "TRACE")):
        r = t.w.ask(method, "/max0-%d" % i, [("Max-Forwards", "0")])
        assert not t.o.seen("/max0-%d" % i), "Max-Forwards: 0 was forwarded"
        assert r.status == (405 if method == "TRACE" else 200), r
        assert r.get("allow") == ("OPTIONS" if method == "TRACE" else None), r
        r = t.w.ask(method, "/max5-%d" % i, [("Max-Forwards", "5")])
        if method == "OPTIONS" or r.status == 200:
            assert t.o.await_seen("/max5-%d" % i)[0].get("max-forwards") == "4"
    t.w.get("/max-get", [("Max-Forwards", "0")])
    assert t.o.await_seen("/max-get")[0].get("max-forwards") == "0", "GET is not concerned"


def test_loop(t):
    """Who came through here again and again is stopped; other proxies in Via do not count."""
    r = t.w.get("/loop", [("Via", ", ".join(["1.1 weir"] * 9))])
    assert r.status == 508 and b"loop_detected" in r.body, r
    assert not t.o.seen("/loop"), "it went round once more"
    others = ["1.1 other", "1.1 other-weir"] * 9
    r = t.w.get("/no-loop", [("Via", ", ".join(others + ["1.1 weir"]))])
    assert r.status == 200, r


def test_options_asterisk(t):
    r = t.w.ask("OPTIONS", "*")
    assert r.status == 200, r
    q = t.o.await_seen("*")[0]
    assert q.method == "OPTIONS" and q.host == "test.example", q


def test_end_to_end_fields_survive(t):
    """Order of repeated fields, case of values, spelling of names: nothing is lost."""
    fields = [("Cookie", "a=b; c=d"), ("Accept", "text/html"), ("Accept", "*/*;q=0.1"),
              ("If-None-Match", '"x", "y"'), ("X-Empty", ""), ("X-Case", "MiXeD"),
              ("Authorization", "Basic eDp5"), ("Range", "bytes=0-5"), ("Referer", "http://r/"),
              ("X_Under", "kept"), ("Content-Type", "text/plain; x=\"a b\""), ("Expect-CT", "x"),
              ("Origin", "null"), ("Cache-Control", "no-cache"), ("X-High", "\xe9")]
    q = sent(t, "/survive", fields)
    for name in {n for n, _ in fields}:
        want = [v for n, v in fields if n == name]
        assert q.fields.all(name) == want, (name, q)


def test_connection_field_to_client(t):
    """Weir speaks for its own connection: keep-alive by default, close when asked."""
    with t.w.client() as c:
        r = c.get("/keep1")
        assert "close" not in r.fields.tokens("connection"), r
        r = c.get("/keep2", [("Connection", "close")])
        assert r.fields.tokens("connection") == ["close"], r
        c.must_end()


def test_upstream_close_is_not_passed_on(t):
    t.o.on("/close", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
    with t.w.client() as c:
        for _ in range(3):
            r = c.get("/close")
            assert r.body == b"ok" and "close" not in r.fields.tokens("connection"), r


def test_loop_of_itself(t):
    """A Weir that forwards to itself notices by its own Via."""
    address = t.address()
    w = t.start({"listeners": [{"address": address}],
                 "upstreams": {"self": {"endpoints": [{"address": address}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "self"}]})
    r = w.get("/loop")
    assert r.status == 508 and r.code == "loop_detected", r

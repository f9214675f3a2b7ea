# SPDX-License-Identifier: Apache-2.0
"""X-Forwarded-*, X-Real-IP and Forwarded, from a set of trusted proxies walked from the right;
one client address everywhere; X-Request-ID made or kept."""

import re


def begin(t):
    t.o = t.origin()
    t.plain = t.simple()
    t.trusting = t.simple(trusted_proxies=["127.0.0.0/8", "10.0.0.0/8", "2001:db8::/32"])


def seen(t, w, path, fields=(), **more):
    r = w.get(path, fields, **more)
    assert r.status == 200, r
    return t.o.await_seen(path)[-1]


def test_defaults(t):
    q = seen(t, t.plain, "/default", host="shop.example:8080")
    assert q.fields.all("x-forwarded-for") == ["127.0.0.1"], q
    assert q.get("x-forwarded-host") == "shop.example:8080", q
    assert q.get("x-forwarded-proto") == "http", q
    assert q.get("x-real-ip") == "127.0.0.1", q
    assert not q.fields.has("forwarded"), q
    assert q.host == "shop.example:8080", q


def test_untrusted_client(t):
    forged = [("X-Forwarded-For", "6.6.6.6, 7.7.7.7"), ("X-Forwarded-For", "8.8.8.8"),
              ("X-Forwarded-Host", "evil.example"), ("X-Forwarded-Proto", "https"),
              ("X-Real-IP", "9.9.9.9"), ("Forwarded", "for=6.6.6.6;host=evil.example")]
    q = seen(t, t.plain, "/untrusted", forged)
    assert q.fields.all("x-forwarded-for") == ["127.0.0.1"], q
    assert q.get("x-real-ip") == "127.0.0.1", q
    assert b"evil" not in q.raw and b"6.6.6.6" not in q.raw, q.raw
    assert t.plain.line_for("/untrusted")["client_ip"] == "127.0.0.1"


def test_trusted_chain(t):
    """The client is the rightmost address that no trusted proxy has."""
    cases = [("203.0.113.9", "203.0.113.9"), ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
             ("203.0.113.9, 10.1.2.3", "203.0.113.9"),
             ("6.6.6.6, 203.0.113.9, 10.1.2.3, 10.4.5.6", "203.0.113.9"),
             ("10.1.2.3, 10.4.5.6", "10.1.2.3"), ("2001:db8::1", "2001:db8::1"),
             ("2001:db9::7, 2001:db8::1", "2001:db9::7"), (" 203.0.113.9 ,10.0.0.1",
                                                           "203.0.113.9")]
    for i, (value, want) in enumerate(cases):
        path = "/chain%d" % i
        q = seen(t, t.trusting, path, [("X-Forwarded-For", value)])
        assert t.trusting.line_for(path)["client_ip"] == want, (value, want)
        assert q.get("x-real-ip") == want, (value, q)
        got = q.fields.tokens("x-forwarded-for")
        assert got[-1] == "127.0.0.1", (value, got)
        assert want in got, (value, got)


def test_trusted_chain_in_several_fields(t):
    q = seen(t, t.trusting, "/lines", [("X-Forwarded-For", "6.6.6.6"),
                                       ("X-Forwarded-For", "203.0.113.9"),
                                       ("X-Forwarded-For", "10.0.0.1")])
    assert t.trusting.line_for("/lines")["client_ip"] == "203.0.113.9"
    assert q.fields.tokens("x-forwarded-for")[-3:] == ["203.0.113.9", "10.0.0.1", "127.0.0.1"], q


def test_garbage_in_the_chain(t):
    """What is no address ends the walk; the last good hop is the client."""
    for i, value in enumerate(("garbage", "1.2.3", "1.2.3.4.5", "999.1.1.1", "unknown", "", ",",
                               "203.0.113.9, garbage", "<script>", "203.0.113.9:99999:1")):
        path = "/garbage%d" % i
        seen(t, t.trusting, path, [("X-Forwarded-For", value)])
        assert t.trusting.line_for(path)["client_ip"] == "127.0.0.1", value


def test_trusted_fields_cannot_be_named_away(t):
    """A client behind a trusted proxy that hands its Connection field on does not hide from the
    origin where it comes from."""
    said = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "shop.example")]
    names = "X-Forwarded-For, x-forwarded-proto, X-Forwarded-Host, X-Real-IP, X-Other"
    q = seen(t, t.trusting, "/named", said + [("X-Other", "1"), ("Connection", names)])
    assert q.fields.tokens("x-forwarded-for") == ["203.0.113.9", "127.0.0.1"], q
    assert q.get("x-forwarded-proto") == "https", q
    assert q.get("x-forwarded-host") == "shop.example", q
    assert q.get("x-real-ip") == "203.0.113.9" and not q.fields.has("x-other"), q
    assert t.trusting.line_for("/named")["client_ip"] == "203.0.113.9"


def test_trusted_host_and_proto(t):
    q = seen(t, t.trusting, "/kept", [("X-Forwarded-Host", "public.example"),
                                      ("X-Forwarded-Proto", "https"),
                                      ("X-Forwarded-For", "203.0.113.9")])
    assert q.fields.all("x-forwarded-host") == ["public.example"], q
    assert q.fields.all("x-forwarded-proto") == ["https"], q


def test_forwarded_by_choice(t):
    w = t.simple(forwarded={"forwarded": True})
    q = seen(t, w, "/forwarded", host="shop.example")
    parts = dict(p.split("=", 1) for p in q.get("forwarded").lower().split(";"))
    assert parts["for"].strip('"') == "127.0.0.1", q
    assert parts["host"].strip('"') == "shop.example" and parts["proto"] == "http", q
    q = seen(t, w, "/forwarded-forged", [("Forwarded", "for=6.6.6.6")])
    assert "6.6.6.6" not in q.get("forwarded"), q


def test_forwarded_from_trusted(t):
    w = t.simple(forwarded={"forwarded": True}, trusted_proxies=["127.0.0.1/32"])
    q = seen(t, w, "/forwarded-chain", [("Forwarded", 'for="[2001:db8::9]:4711";proto=https')])
    assert "2001:db8::9" in q.get("forwarded"), q
    assert q.fields.tokens("forwarded")[-1].startswith(("for=127.0.0.1", 'for="127.0.0.1"')), q


def test_choices(t):
    w = t.simple(forwarded={"x_forwarded": False, "x_real_ip": True})
    q = seen(t, w, "/choice1", [("X-Forwarded-For", "6.6.6.6")])
    assert not q.fields.has("x-forwarded-for") and q.get("x-real-ip") == "127.0.0.1", q
    w = t.simple(forwarded={"x_forwarded": True, "x_real_ip": False})
    q = seen(t, w, "/choice2", [("X-Real-IP", "6.6.6.6")])
    assert q.fields.has("x-forwarded-for") and not q.fields.has("x-real-ip"), q


def test_one_address_everywhere(t):
    """Log, field and trust agree for one request of each kind."""
    q = seen(t, t.trusting, "/same", [("X-Forwarded-For", "203.0.113.7")])
    line = t.trusting.line_for("/same")
    assert q.get("x-real-ip") == line["client_ip"] == "203.0.113.7", (q, line)


def test_request_id_made(t):
    w = t.simple(request_id={"header": "X-Request-ID", "respond": True})
    ids = set()
    for i in range(20):
        path = "/id%d" % i
        r = w.get(path, [("X-Request-ID", "from the client")])
        q = t.o.await_seen(path)[0]
        made = q.fields.all("x-request-id")
        assert len(made) == 1 and re.fullmatch(r"[0-9A-Za-z_.:-]{8,128}", made[0]), q
        assert r.fields.all("x-request-id") == made, r
        assert w.line_for(path)["request_id"] == made[0]
        ids.add(made[0])
    assert len(ids) == 20, "request ids repeat"


def test_request_id_of_refusals(t):
    """What is refused before a route has taken it has an id as well, in the answer and the log."""
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": t.o.address}]}},
                 "request_id": {"respond": True, "trust": "always"},
                 "routes": [{"match": {"path": "/get/*", "methods": ["GET"]}, "to": "o"},
                            {"match": {"path": "/small"}, "to": "o", "limits": {"body": "10"}},
                            {"match": {"path": "/plain/*"}, "to": "o", "slashes": "reject"}]})
    for i, (method, path, body, status) in enumerate((
            ("GET", "/none", None, 404), ("POST", "/get/x", b"", 405),
            ("POST", "/small", b"12345678901", 413), ("GET", "/plain//x", None, 400))):
        r = w.ask(method, path, [("X-Request-ID", "mine-%d" % i)], body)
        assert r.status == status and r.fields.all("x-request-id") == ["mine-%d" % i], r
        w.await_access(lambda x: x.get("request_id") == "mine-%d" % i and x["status"] == status)
    for path, fields in (("/none", ()), ("/%zz", [("X-Request-ID", "of-what-was-not-read")])):
        made = w.get(path, fields).get("x-request-id")
        if made is None and t.variant == "doors":
            continue  # without memory it has no name
        assert made and re.fullmatch(r"[0-9a-f-]{36}", made), made
        w.await_access(lambda x: x.get("request_id") == made)


def test_request_id_trusted(t):
    w = t.simple(request_id={"header": "X-Request-ID", "trust": "trusted"},
                 trusted_proxies=["127.0.0.0/8"])
    q = seen(t, w, "/id-kept", [("X-Request-ID", "abc-123_x")])
    assert q.fields.all("x-request-id") == ["abc-123_x"], q
    for i, bad in enumerate(("a" * 1000, "a b", 'a"b', "a\xe9b", "")):
        path = "/id-bad%d" % i
        q = seen(t, w, path, [("X-Request-ID", bad)])
        got = q.fields.all("x-request-id")
        assert len(got) == 1 and got[0] and got[0] != bad, (bad, q)


def test_request_id_own_header(t):
    w = t.simple(request_id={"header": "X-Trace"})
    q = seen(t, w, "/id-own")
    assert q.fields.has("x-trace"), q


def test_ipv6_client(t):
    """An IPv6 listener: the address is written as RFC 7239 and X-Forwarded-For want it."""
    import os
    import socket
    from peers.story import Skip
    port = 20000 + os.getpid() % 12000  # which no client is given
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("::1", port))
    except OSError:
        raise Skip("no IPv6 loopback")
    w = t.simple(listeners=[{"address": "[::1]:%d" % port}], forwarded={"forwarded": True})
    q = seen(t, w, "/v6", host="[::1]:%d" % port)
    assert q.get("x-forwarded-for") == "::1" and q.get("x-real-ip") == "::1", q
    assert 'for="[::1]"' in q.get("forwarded").lower(), q
    assert w.line_for("/v6")["client_ip"] == "::1"

# SPDX-License-Identifier: Apache-2.0
"""Which route a request gets, and what the route does with it. Fixed replies name the route."""


def reply(name, **match):
    return {"name": name, "match": match, "reply": {"body": name}}


def named(t, routes, **top):
    return t.start(dict({"routes": routes}, **top))


def check(w, cases):
    """cases: (route, path, more for get)."""
    wrong = []
    for case in cases:
        want, target = case[0], case[1]
        more = dict(case[2]) if len(case) > 2 else {}
        method = more.pop("method", "GET")
        r = w.ask(method, target, more.pop("fields", ()), **more)
        got = r.text if r.status == 200 else r.code
        if got != want:
            wrong.append("%s %s %s: %r, %s wanted" % (method, target, case[2:], got, want))
    assert not wrong, "\n".join(wrong)


def test_paths(t):
    w = named(t, [reply("rest", path="/*"), reply("exact", path="/a"), reply("prefix", path="/a/*"),
                  reply("longer", path="/a/b/*"), reply("longest", path="/a/b/c/*"),
                  reply("exact-deep", path="/a/b/c"), reply("root", path="/"),
                  reply("escaped", path="/x%2Fy")])
    check(w, [("root", "/"), ("exact", "/a"), ("prefix", "/a/"), ("prefix", "/a/x"),
              ("longer", "/a/b/x"), ("exact-deep", "/a/b/c"), ("longest", "/a/b/c/d"),
              ("rest", "/ab"), ("rest", "/b"), ("prefix", "/a/bc"), ("exact", "/a?x=/a/b/c"),
              ("exact", "/%61"), ("prefix", "/a/b/../c"), ("escaped", "/x%2fy"),
              ("rest", "/A"), ("exact", "/z/../a")])


def test_order_in_the_file_does_not_matter(t):
    routes = [reply("a", path="/*"), reply("b", path="/b/*"), reply("c", path="/b/c")]
    for order in ((0, 1, 2), (2, 1, 0), (1, 0, 2)):
        w = named(t, [routes[i] for i in order])
        check(w, [("a", "/x"), ("b", "/b/x"), ("c", "/b/c")])
        w.stop()


def test_no_route(t):
    w = named(t, [reply("only", path="/only")])
    r = w.get("/other")
    assert r.status == 404 and r.code == "no_route", r
    assert w.line_for("/other")["reason"] == "no_route"


def test_hosts(t):
    w = named(t, [reply("any", path="/*"), reply("exact", host="www.example.com"),
                  reply("wild", host="*.example.com"), reply("wilder", host="*.b.example.com"),
                  reply("other", host="example.com")])
    check(w, [("exact", "/", {"host": "www.example.com"}),
              ("exact", "/", {"host": "WWW.Example.COM"}),
              ("exact", "/", {"host": "www.example.com:8080"}),
              ("exact", "http://www.example.com/x", {"host": "zzz"}),
              ("wild", "/", {"host": "x.example.com"}), ("wild", "/", {"host": "b.example.com"}),
              ("wilder", "/", {"host": "a.b.example.com"}), ("other", "/", {"host": "example.com"}),
              ("any", "/", {"host": "example.org"}), ("any", "/", {"host": "xexample.com"}),
              ("any", "/", {"host": "[::1]"})])


def test_host_goes_before_path(t):
    w = named(t, [reply("deep", path="/a/b/c"), reply("host", host="h.example", path="/*")])
    check(w, [("host", "/a/b/c", {"host": "h.example"}), ("deep", "/a/b/c")])


def test_falls_through_to_any_host(t):
    w = named(t, [reply("any", path="/any"), reply("host", host="h.example", path="/host")])
    check(w, [("host", "/host", {"host": "h.example"}), ("any", "/any", {"host": "h.example"})])


def test_regexes(t):
    w = named(t, [reply("rest", path="/*"), reply("below", path="/item/*"),
                  reply("number", path_regex="/item/[0-9]+$"), reply("fixed", path="/item/7")])
    check(w, [("fixed", "/item/7"), ("number", "/item/8"), ("below", "/item/8/x"), ("rest", "/x")])
    # behind exact paths, before prefixes, in the order of the file
    w2 = named(t, [reply("number", path_regex="/item/[0-9]+$"),
                   reply("word", path_regex="/item/\\w+$"), reply("fixed", path="/item/7")])
    check(w2, [("fixed", "/item/7"), ("number", "/item/8"), ("word", "/item/abc"),
               ("no_route", "/item/a-b"), ("no_route", "/x/item/8")])


def test_regex_match_limit(t):
    w = named(t, [reply("evil", path_regex="/(a+)+$"), reply("fine", path="/fine")])
    r = w.get("/" + "a" * 5000 + "!")
    assert r.status == 500 and r.code == "match_limit", r
    assert w.get("/fine").status == 200


def test_match_limit_of_many_parameters(t):
    """Parameters of one name have one limit together: thousands of bad ones take no longer."""
    w = named(t, [{"match": {"path": "/*", "query": {"v": "~^(a+)+$"}}, "reply": {"body": "q"}},
                  {"name": "plain", "match": "/*", "reply": {"body": "plain"}}])
    bad = "v=" + "a" * 12 + "X"
    assert w.get("/?" + bad).text == "plain"
    assert w.get("/?" + "v=X&" * 1500 + "v=aa").text == "q"
    r = w.get("/?" + "&".join([bad] * 500))
    assert r.status == 500 and r.code == "match_limit", r


def test_methods(t):
    w = named(t, [reply("read", path="/x", methods=["GET"]),
                  reply("write", path="/x", methods=["POST", "PUT"])])
    check(w, [("read", "/x"), ("write", "/x", {"method": "POST", "body": b""}),
              ("write", "/x", {"method": "PUT", "body": b""})])
    r = w.ask("HEAD", "/x")
    assert r.status == 200, "GET covers HEAD: %r" % r
    r = w.ask("DELETE", "/x")
    assert r.status == 405 and r.code == "method_not_allowed", r
    assert set(r.fields.tokens("allow")) >= {"get", "post", "put"}, r


def test_headers(t):
    w = named(t, [reply("plain", path="/x"),
                  reply("exact", path="/x", headers={"X-Kind": "a"}),
                  reply("present", path="/x", headers={"X-Other": "*"}),
                  reply("regex", path="/x", headers={"X-Kind": "~b[0-9]+"}),
                  reply("both", path="/x", headers={"X-Kind": "a", "X-Other": "*"})])
    check(w, [("plain", "/x"), ("exact", "/x", {"fields": [("X-Kind", "a")]}),
              ("exact", "/x", {"fields": [("x-kind", "a")]}),
              ("plain", "/x", {"fields": [("X-Kind", "A")]}),
              ("present", "/x", {"fields": [("X-Other", "z")]}),
              ("regex", "/x", {"fields": [("X-Kind", "b17")]}),
              ("plain", "/x", {"fields": [("X-Kind", "bx")]}),
              ("both", "/x", {"fields": [("X-Kind", "a"), ("X-Other", "z")]})])


def test_queries(t):
    w = named(t, [reply("plain", path="/x"), reply("v2", path="/x", query={"version": "2"}),
                  reply("any", path="/x", query={"debug": "*"}),
                  reply("regex", path="/x", query={"id": "~[0-9]+$"})])
    check(w, [("plain", "/x"), ("v2", "/x?version=2"), ("v2", "/x?a=b&version=2"),
              ("v2", "/x?version=%32"), ("plain", "/x?version=3"), ("any", "/x?debug"),
              ("any", "/x?debug=1"), ("regex", "/x?id=17"), ("plain", "/x?id=x"),
              ("plain", "/x?version=2;y")])
    # Of several any will do, as of header fields; what is not forwarded is none of them.
    check(w, [("v2", "/x?version=3&version=2"), ("v2", "/x?version=2&version=3"),
              ("regex", "/x?id=x&id=17"), ("plain", "/x?debug;x"), ("plain", "/x?debug=1;x"),
              ("plain", "/x?version=3&version=2;y")])


def test_conditions_fall_through(t):
    w = named(t, [reply("rest", path="/*"), reply("deep", path="/a/*", methods=["POST"])])
    check(w, [("rest", "/a/x"), ("deep", "/a/x", {"method": "POST", "body": b""})])


def test_nested(t):
    w = named(t, [{"name": "api", "match": {"path": "/api/*"}, "meta": {"team": "core"},
                   "reply": {"body": "api"},
                   "routes": [reply("users", path="/api/users/*"),
                              {"name": "posts", "match": {"path": "/api/posts/*"},
                               "meta": {"kind": "posts"}, "reply": {"body": "posts"}}]},
                  {"name": "h", "match": {"host": "h.example"}, "reply": {"body": "h"},
                   "routes": [reply("h-x", path="/x")]}])
    check(w, [("api", "/api/z"), ("users", "/api/users/1"), ("posts", "/api/posts/1"),
              ("h", "/z", {"host": "h.example"}), ("h-x", "/x", {"host": "h.example"}),
              ("no_route", "/x")])


def test_nested_inherits(t):
    """Settings and the upstream of the route around it, but for what it says itself."""
    o = t.origin()
    o.on("/a/never", lambda conn, req: conn.await_end())
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}]}},
                 "routes": [{"name": "a", "match": {"path": "/a/*"}, "to": "o",
                             "timeouts": {"first_byte": "200ms"},
                             "request_headers": {"set": {"X-From": "a"}},
                             "routes": [{"name": "b", "match": {"path": "/a/never"}}]}]})
    r = w.get("/a/never")
    assert r.status == 504 and r.code == "first_byte_timeout", r
    assert o.await_seen("/a/never")[0].get("x-from") == "a"
    assert w.line_for("/a/never")["route"] == "b"


def test_meta_is_logged(t):
    w = named(t, [{"name": "m", "match": {"path": "/*"}, "meta": {"team": "core", "tier": "1"},
                   "reply": {"body": "m"}}])
    w.get("/m")
    assert w.line_for("/m")["meta"] == {"team": "core", "tier": "1"}


def test_replies(t):
    w = named(t, [{"match": {"path": "/teapot"},
                   "reply": {"status": 418, "body": "short and stout", "content_type": "text/x",
                             "headers": {"X-Pot": "yes"}}},
                  {"match": {"path": "/empty"}, "reply": {"status": 204}},
                  {"match": {"path": "/page"}, "reply": {"body": "<p>\u00e9</p>",
                                                         "content_type": "text/html"}}])
    with w.client() as c:
        r = c.get("/teapot")
        assert r.status == 418 and r.body == b"short and stout", r
        assert r.get("content-type") == "text/x" and r.get("x-pot") == "yes", r
        assert c.get("/empty").status == 204
        r = c.ask("HEAD", "/teapot")
        assert r.status == 418 and r.get("content-length") == "15" and r.body == b"", r
        assert c.get("/page").body == "<p>\u00e9</p>".encode()
        r = c.ask("POST", "/teapot", body=b"some body")
        assert r.status == 418, r


def test_redirects(t):
    w = named(t, [{"match": {"path": "/old/*"}, "redirect": {"to": "/new{path}"}},
                  {"match": {"path": "/abs"}, "redirect": {"to": "https://{host}{path}{query}",
                                                           "status": 301}},
                  {"match": {"path": "/see"}, "redirect": {"to": "http://o.example/",
                                                           "status": 303}}])
    r = w.get("/old/a?x=1")
    assert r.status == 308 and r.get("location").startswith("/new/old/a"), r
    r = w.get("/abs?x=1", host="shop.example:8080")
    assert r.status == 301, r
    assert r.get("location").startswith("https://shop.example/abs"), r
    r = w.get("/see")
    assert r.status == 303 and r.get("location") == "http://o.example/", r


def test_redirect_without_a_host(t):
    """The path never stands where the host of a Location should: HTTP/1.0 may leave it out."""
    w = named(t, [{"match": {"path": "/*"}, "redirect": {"to": "https://{host}{uri}"}},
                  {"match": {"path": "/a/*"}, "redirect": {"to": "//{authority}{path}"}},
                  {"match": {"path": "/here/*"}, "redirect": {"to": "/there{uri}"}}])
    for target in ("/evil.example/", "/a/evil.example/"):
        r = w.get(target, host=None, version="1.0")
        assert r.status == 400 and r.code == "host_invalid" and not r.fields.has("location"), r
        assert w.get(target, version="1.0").status == 308
    r = w.get("/here/x", host=None, version="1.0")
    assert r.status == 308 and r.get("location") == "/there/here/x", r
    r = w.ask("OPTIONS", "*", host="h.example")
    assert r.status == 308 and r.get("location") == "https://h.example", r


def test_redirect_cannot_be_split(t):
    w = named(t, [{"match": {"path": "/*"}, "redirect": {"to": "https://x.example{path}"}}])
    for target in ("/%0d%0aSet-Cookie:%20a=b", "/a%0ab", "//evil.example/"):
        r = w.get(target)
        assert not r.fields.has("set-cookie"), r
        assert r.get("location", "").startswith("https://x.example/"), r


def rewriting(t, **rewrite):
    o = t.origin()
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "o", "rewrite": rewrite}]})

    def ask(target, **more):
        n = len(o.requests)
        r = w.get(target, **more)
        assert r.status == 200, (target, r)
        assert len(o.requests) == n + 1
        return o.requests[-1]
    return ask, o


def test_transparent(t):
    ask, _ = rewriting(t)
    q = ask("/a//b%2Fc?x=1&y", host="Shop.Example:81")
    assert q.target == "/a//b%2Fc?x=1&y", q
    assert q.host.lower() == "shop.example:81", q


def test_host_rewrite(t):
    ask, _ = rewriting(t, host="inner.example")
    q = ask("/", host="outer.example")
    assert q.host == "inner.example" and q.get("x-forwarded-host") == "outer.example", q
    ask, o = rewriting(t, host="upstream")
    assert ask("/").host == o.address


def test_strip_and_add(t):
    ask, _ = rewriting(t, strip_prefix="/api")
    for target, want in (("/api/x", "/x"), ("/api", "/"), ("/api/", "/"), ("/apix", "/apix"),
                         ("/api/api/x", "/api/x"), ("/api//x", "//x"), ("/api?q", "/?q"),
                         ("/other", "/other")):
        assert ask(target).target == want, target
    ask, _ = rewriting(t, add_prefix="/v2")
    for target, want in (("/x", "/v2/x"), ("/", "/v2/"), ("/a?b=c", "/v2/a?b=c")):
        assert ask(target).target == want, target
    ask, _ = rewriting(t, strip_prefix="/old", add_prefix="/new/")
    assert ask("/old/x").target == "/new/x"


def test_regex_rewrite(t):
    ask, _ = rewriting(t, regex="^/u/([0-9]+)/(.*)$", replace="/user/$1/page/$2")
    assert ask("/u/17/a/b?x=1").target == "/user/17/page/a/b?x=1"
    assert ask("/v/17").target == "/v/17"


def test_header_edits(t):
    o = t.origin()
    o.on("/x", b"HTTP/1.1 200 OK\r\nX-Gone: 1\r\nX-Set: old\r\nX-Set: older\r\nX-Add: 1\r\n"
         b"Server: secret\r\nContent-Length: 2\r\n\r\nok")
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}]}},
                 "routes": [{"match": {"path": "/x"}, "to": "o", "name": "edit",
                             "request_headers": {"set": {"X-Set": "new", "X-Ip": "{client_ip}"},
                                                 "add": {"X-Add": "2"}, "remove": ["X-Gone"]},
                             "response_headers": {"set": {"X-Set": "new"}, "add": {"X-Add": "2"},
                                                  "remove": ["X-Gone", "Server"]}}]})
    r = w.get("/x", [("X-Set", "a"), ("x-set", "b"), ("X-Add", "1"), ("X-Gone", "1"),
                     ("x-gone", "2")])
    for fields in (o.await_seen("/x")[0].fields, r.fields):
        assert fields.all("x-set") == ["new"], fields
        assert fields.all("x-add") == ["1", "2"], fields
        assert not fields.has("x-gone"), fields
    assert not r.fields.has("server"), r
    assert o.seen("/x")[0].get("x-ip") == "127.0.0.1"


def test_header_edits_cannot_be_stripped_by_the_client(t):
    """What a route sets is set after the client's Connection was obeyed."""
    o = t.origin()
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "o",
                             "request_headers": {"set": {"X-Auth": "secret"}}}]})
    w.get("/x", [("Connection", "X-Auth"), ("X-Auth", "forged"), ("X_Auth", "forged")])
    q = o.await_seen("/x")[0]
    assert q.fields.all("x-auth") == ["secret"], q
    assert b"forged" not in q.raw, q.raw


def test_response_edits_on_own_replies(t):
    w = named(t, [{"match": {"path": "/*"}, "reply": {"body": "x"},
                   "response_headers": {"set": {"X-Frame-Options": "DENY"}}}])
    assert w.get("/").get("x-frame-options") == "DENY"


def test_many_routes(t):
    """Five thousand routes: each request finds its own."""
    n = 300 if t.variant == "onebyte" else 5000
    w = named(t, [reply("r%d" % i, path="/p%d/%s" % (i % 97, i) + ("/*" if i % 2 else ""))
                  for i in range(n)])
    check(w, [("r%d" % i, "/p%d/%d%s" % (i % 97, i, "/deep/er" if i % 2 else ""))
              for i in range(0, n, n // 60 + 1)])
    check(w, [("no_route", "/p1"), ("no_route", "/p0/0/x"), ("no_route", "/")])


def test_body_limit_per_route(t):
    o = t.origin()
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}]}},
                 "limits": {"body": "1KiB"},
                 "routes": [{"match": {"path": "/*"}, "to": "o"},
                            {"match": {"path": "/big"}, "to": "o", "limits": {"body": "1MiB"}}]})
    r = w.ask("POST", "/small", body=b"x" * 2000)
    assert r.status == 413 and r.code == "body_too_large", r
    assert w.ask("POST", "/big", body=b"x" * 2000).status == 200
    with w.client() as c:
        c.send("POST /chunked HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        c.send("400\r\n" + "x" * 1024 + "\r\n400\r\n" + "x" * 1024 + "\r\n0\r\n\r\n")
        r = c.response()
        assert r.status == 413 and r.code == "body_too_large", r
    assert not [q for q in o.seen("/chunked") if q.whole]

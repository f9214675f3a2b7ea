# SPDX-License-Identifier: Apache-2.0
"""One path: the string that is matched is the string that is forwarded and logged."""


def begin(t):
    t.o = t.origin()
    t.admin = t.origin("admin")
    t.w = t.start({
        "upstreams": {"origin": {"endpoints": [{"address": t.o.address}]},
                      "admin": {"endpoints": [{"address": t.admin.address}]}},
        "routes": [{"match": {"path": "/admin/*"}, "reply": {"status": 403, "body": "no"}},
                   {"match": {"path": "/merge/*"}, "to": "origin", "slashes": "merge"},
                   {"match": {"path": "/reject/*"}, "to": "origin", "slashes": "reject"},
                   {"match": {"path": "/*"}, "to": "origin"}]})


def forwarded(t, target, index=[0]):
    """The path that the origin saw for target; None when it was refused."""
    index[0] += 1
    mark = "mark%d" % index[0]
    r = t.w.get(target + ("&" if "?" in target else "?") + mark)
    if r.status != 200:
        return r.status
    with t.o.changed:
        hits = [q for q in t.o.requests if (q.query or "").endswith(mark)]
    assert len(hits) == 1, (target, hits)
    return hits[0].target[:-len(mark) - 1]


def test_normal_form(t):
    cases = [("/a/b", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/a/b/..", "/a/"),
             ("/a/b/.", "/a/b/"), ("/..", "/"), ("/../..", "/"), ("/../a", "/a"), ("/.", "/"),
             ("/a/%2e/b", "/a/b"), ("/a/%2e%2e/b", "/b"), ("/a/%2E%2e/b", "/b"),
             ("/a/.%2e/b", "/b"), ("/a/%2e./b", "/b"), ("/a/...", "/a/..."), ("/a/..b", "/a/..b"),
             ("/a/b..", "/a/b.."), ("/%61%62", "/ab"), ("/%7e", "/~"), ("/%2d%5f%2E%7E", "/-_.~"),
             ("/a%2fb", "/a%2Fb"), ("/a%2Fb", "/a%2Fb"), ("/a//b", "/a//b"), ("//a", "//a"),
             ("/a/%3a", "/a/%3A"), ("/%20", "/%20"), ("/%c3%a9", "/%C3%A9"), ("/%25", "/%25"),
             ("/%252e%252e/a", "/%252e%252e/a"), ("/a;x=1/b", "/a;x=1/b"), ("/a/..;/b", "/a/..;/b"),
             ("/a%2f..%2fb", "/a%2F..%2Fb"), ("/a/b/../../c", "/c"), ("/a/./", "/a/"),
             ("/a/../", "/"), ("/%41/%5a", "/A/Z"), ("/a:b@c!$&'()*+,=", "/a:b@c!$&'()*+,="),
             ("/%5c", "/%5C"), ("/%0a", "/%0A"), ("/%7f", "/%7F")]
    wrong = []
    for target, want in cases:
        got = forwarded(t, target)
        if got != want:
            wrong.append("%s became %r, %s wanted" % (target, got, want))
    assert not wrong, "\n".join(wrong)


def test_refused(t):
    for target in ("/%", "/%z", "/%0", "/%zz", "/%00", "/a%00b", "/a/%u002e", "/%2", "/a#b",
                   "/a\\b", "/%c0%00"):
        r = t.w.get(target)
        assert r.status == 400 and r.code == "target_invalid", (target, r)


def test_access_rule_cannot_be_walked_round(t):
    """Each spelling of a path below /admin/ meets the rule for it, or is another path for the
    origin too."""
    spellings = ["/admin/x", "/admin/./x", "/x/../admin/x", "/%61dmin/x", "/adm%69n/x",
                 "/./admin/x", "/x/%2e%2e/admin/x", "/x/.%2E/admin/x", "/admin/../admin/x",
                 "/%2e/admin/x", "/../admin/x", "/a/b/../../admin/x", "/admin/%2e/x"]
    for s in spellings:
        r = t.w.get(s)
        assert r.status == 403, (s, r)
    for s in ("//admin/x", "/admin%2fx", "/x/..%2fadmin/x", "/ADMIN/x", "/admin;/x",
              "/a/..;/admin/x",
              "/.../admin/x", "/%252e%252e/admin/x", "/x/%c0%ae%c0%ae/admin/x", "/%c0%afadmin/x",
              "/x/%5c..%5cadmin/x"):
        got = forwarded(t, s)
        assert got in (400, 403) or not got.startswith("/admin/"), (s, got)


def test_slash_policies(t):
    assert forwarded(t, "/merge//a///b") == "/merge/a/b"
    assert forwarded(t, "/merge/a%2Fb") in ("/merge/a%2Fb", "/merge/a/b")
    for target in ("/reject//a", "/reject/a%2Fb", "/reject/a%2fb"):
        r = t.w.get(target)
        assert r.status == 400 and r.code == "target_invalid", (target, r)
    assert forwarded(t, "/reject/a/b") == "/reject/a/b"


def test_log_has_the_same_path(t):
    t.w.get("/log/%61/../b%2fc")
    assert t.w.line_for("/log/b%2Fc")["status"] == 200


def test_queries_kept(t):
    for query in ("a=1", "a=1&b=2", "a", "a=", "=a", "a=b=c", "a?b", "a/b", "a=%20", "a=%2F",
                  "a+b=c+d", "a=1&a=2", "%41=%42", "a=..%2f", "a[]=1", "a=~!*()"):
        t.w.get("/q-kept?" + query)
        got = t.o.seen("/q-kept")[-1].query
        assert got == query, (query, got)


def test_queries_cleaned(t):
    """As Go's cleanQueryParams: pairs with ';' or a bad escape are dropped, the rest is encoded
    anew."""
    for query, want in (("a=1;b=2", ""), ("a=1&b=2;c=3&d=4", "a=1&d=4"), ("a=%", ""),
                        ("a=%zz&b=1", "b=1"), ("%zz=1&b=2", "b=2"), ("a=1&b=%2&c=3", "a=1&c=3"),
                        ("x=1;y&b=c", "b=c"), ("b=2&a=1&c=%", "a=1&b=2")):
        t.w.get("/q-clean?" + query)
        got = t.o.seen("/q-clean")[-1].query
        assert got != "", "a '?' without a query"
        got = got or ""
        assert sorted(got.split("&")) == sorted(want.split("&")), (query, got, want)


def test_no_query_stays_none(t):
    t.w.get("/q-none")
    assert t.o.seen("/q-none")[-1].target == "/q-none"


def test_long_segments_and_many_dots(t):
    assert forwarded(t, "/a" + "/x" * 500 + "/.." * 500 + "/end") == "/a/end"
    assert forwarded(t, "/.." * 1000 + "/end") == "/end"
    assert forwarded(t, "/" + "a" * 6000) == "/" + "a" * 6000

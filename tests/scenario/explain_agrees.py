# SPDX-License-Identifier: Apache-2.0
"""weir explain says what weir run does: for a matrix of requests the same route, the same answer or
reason code, and the same head to the upstream, field by field."""

import os
import re

from peers import client
from peers.wire import await_true

TRUSTED = "127.0.0.1"


def begin(t):
    t.o = t.origin()
    t.w = t.start({
        "response_headers": {"set": {"X-Frame-Options": "DENY"}},
        "request_id": {"respond": True}, "proxy_status": {"enabled": True},
        "trusted_proxies": [TRUSTED + "/32"],
        "upstreams": {"o": {"endpoints": [t.o.address]},
                      "named": {"endpoints": [t.o.address], "host": "inner.example"}},
        "routes": [
            {"name": "all", "match": {"path": "/*"}, "to": "o"},
            {"name": "exact", "match": {"path": "/exact"}, "to": "o",
             "request_headers": {"set": {"X-Set": "{host} {route}", "Accept": "a/b"},
                                 "add": {"X-Add": "{client_ip}"}, "remove": ["X-No", "Cookie"]}},
            {"name": "get", "match": {"path": "/get/*", "methods": ["GET"]}, "to": "named",
             "rewrite": {"strip_prefix": "/get", "add_prefix": "/v1"}},
            {"name": "regex", "match": {"path_regex": "^/u/([0-9]+)(/.*)?$"}, "to": "o",
             "rewrite": {"regex": "^/u/([0-9]+)", "replace": "/users/$1?id=$1"}},
            {"name": "api", "match": {"host": "api.example", "path": "/*"}, "to": "o", "via": False,
             "routes": [{"name": "api2",
                         "match": {"path": "/v2/*", "headers": {"X-Beta": "yes"}}}]},
            {"name": "wild", "match": {"host": "*.wild.example", "path": "/*"}, "to": "named",
             "rewrite": {"host": "w.example"}},
            {"name": "query", "match": {"path": "/q", "query": {"a": "1"}}, "to": "o"},
            {"name": "slashes", "match": {"path": "/m/*"}, "to": "o", "slashes": "merge"},
            {"name": "strict", "match": {"path": "/s/*"}, "to": "o", "slashes": "reject"},
            {"name": "old", "match": {"path": "/old/*"},
             "redirect": {"to": "https://new.example/", "status": 301},
             "response_headers": {"set": {"X-Id": "{request_id}", "X-From": "{route} {host}"}}},
            {"name": "fixed", "match": {"path": "/fixed"},
             "reply": {"status": 418, "body": "teapot", "headers": {"X-Pot": "yes"}},
             "response_headers": {"set": {"X-Late": "1"}, "remove": ["X-Pot"]}},
            {"name": "small", "match": {"path": "/small"}, "to": "o", "limits": {"body": "1KiB"}},
            {"name": "tunnel", "match": {"path": "/tunnel"}, "to": "o"},
            {"name": "connect", "match": {"host": "c.example"}, "to": "o", "allow_connect": True},
        ]})


# (method, target, host, fields)
MATRIX = [
    ("GET", "/", "a.example", []),
    ("GET", "/exact", "A.Example:80", [("X-No", "1"), ("Cookie", "a=b"), ("Accept", "c/d")]),
    ("GET", "/x/../exact", "a.example", []),
    ("GET", "/%65xact", "a.example", []),
    ("GET", "/exact/", "a.example", []),
    ("GET", "/%2e%2e/exact?x", "a.example", []),
    ("GET", "/get/thing?x=1;y=2&z=%zz", "a.example", []),
    ("PUT", "/get/thing", "a.example", []),
    ("HEAD", "/get/", "a.example", []),
    ("GET", "/get", "a.example", []),
    ("GET", "/u/42/posts", "a.example", []),
    ("GET", "/u/42?keep=1", "a.example", []),
    ("GET", "/u/x", "a.example", []),
    ("GET", "/v2/thing", "api.example", []),
    ("GET", "/v2/thing", "api.example", [("X-Beta", "yes")]),
    ("GET", "/v2/thing", "API.example.", [("x-beta", "YES")]),
    ("GET", "/", "x.wild.example", []),
    ("GET", "/", "wild.example", []),
    ("GET", "/", "a.b.wild.example", []),
    ("GET", "/q?a=1", "a.example", []),
    ("GET", "/q?a=2", "a.example", []),
    ("GET", "/q?b=1&a=1", "a.example", []),
    ("GET", "/m//a///b", "a.example", []),
    ("GET", "/s//a", "a.example", []),
    ("GET", "/s/a%2Fb", "a.example", []),
    ("GET", "/a%2Fb//c", "a.example", []),
    ("GET", "/old/page?x=1", "a.example", []),
    ("POST", "/old/page", "a.example", []),
    ("GET", "/fixed", "a.example", []),
    ("POST", "/fixed", "a.example", [("Content-Type", "application/grpc"), ("TE", "trailers")]),
    ("POST", "/s//a", "a.example", [("Content-Type", "application/grpc+proto")]),
    ("POST", "/s//a", "a.example", [("Content-Type", "application/grpc-web-text")]),
    ("OPTIONS", "*", "a.example", []),
    ("OPTIONS", "/", "a.example", [("Max-Forwards", "0")]),
    ("OPTIONS", "/", "a.example", [("Max-Forwards", "7")]),
    ("TRACE", "/", "a.example", [("Max-Forwards", "0")]),
    ("TRACE", "/", "a.example", []),
    ("CONNECT", "a.example:443", "a.example:443", []),
    ("CONNECT", "c.example:443", "c.example:443", []),
    ("BREW", "/", "a.example", []),
    ("G@T", "/", "a.example", []),
    ("GET", "/%zz", "a.example", []),
    ("GET", "/%00", "a.example", []),
    ("GET", "no-slash", "a.example", []),
    ("GET", "/a b", "a.example", []),
    ("GET", "/", "a b", []),
    ("GET", "/", "user@host", []),
    ("GET", "/", "a.example", [("Connection", "X-Drop, close"), ("X-Drop", "1"),
                               ("Keep-Alive", "5"), ("Proxy-Connection", "x")]),
    ("GET", "/", "a.example", [("TE", "trailers, gzip;q=0.5"), ("Connection", "TE")]),
    ("GET", "/", "a.example", [("X-Forwarded-For", "192.0.2.9, 198.51.100.7"),
                               ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "f.example"),
                               ("X-Real-IP", "203.0.113.1"), ("X_Forwarded_For", "6.6.6.6")]),
    ("GET", "/", "a.example", [("X-Request-ID", "mine-1"), ("Via", "1.1 other")]),
    ("GET", "/", "a.example", [("Via", ", ".join(["1.1 weir"] * 3))]),
    ("GET", "/", "a.example", [("Forwarded", "for=192.0.2.1;proto=https")]),
    ("GET", "/tunnel", "a.example", [("Connection", "Upgrade"), ("Upgrade", "websocket")]),
    ("GET", "/", "a.example", [("Expect", "100-continue")]),
    ("GET", "/", "a.example", [("Expect", "nonsense")]),
    ("GET", "/", "a.example", [("Content-Length", "5"), ("Content-Length", "6")]),
    ("GET", "/", "a.example", [("Transfer-Encoding", "gzip")]),
    ("POST", "/small", "a.example", [("Content-Length", "4000")]),
    ("GET", "/", "a.example", [("X-Long", "x" * 70000)]),
    ("GET", "/" + "x" * 20000, "a.example", []),
    ("GET", "/", "a.example", [("X-%d" % i, "1") for i in range(90)]),
]


def comparable(lines):
    """Without what differs from one request to the next."""
    return [re.sub(r"^(X-Request-ID|X-Id): [0-9a-f-]{36}$", r"\1: new", x) for x in lines]


# Of an answer: when it is made, and how it is framed.
FRAMING = ("Date", "Content-Length", "Transfer-Encoding", "Connection")


def explained(t, method, target, host, fields):
    args = [a for n, v in [("Host", host)] + fields for a in ("-H", "%s: %s" % (n, v))]
    code, out, err = t.run("explain", t.w.config_path, method, target, *args)
    said = {"code": code, "text": out + err, "route": None, "head": None, "status": 0,
            "reason": "ok", "fields": []}
    for line in out.splitlines():
        if line.startswith("route:"):
            said["route"] = line.split()[1]
    m = re.search(r"^answer: +(\d+) (.*)$((?:\n  .*)*)", out, re.M)
    if m:
        said["status"] = int(m.group(1))
        if re.match(r"[a-z_0-9]+: ", m.group(2)):
            said["reason"] = m.group(2).split(":")[0]
        said["fields"] = comparable([x.strip() for x in m.group(3).splitlines() if x.strip()])
    if "sent upstream:" in out:
        head = out[out.index("sent upstream:"):].splitlines()[1:]
        said["head"] = comparable([x[2:] for x in head if x.strip()])
    return said


def done(t, n, method, target, host, fields):
    """What Weir did with request number n."""
    before, lines = len(t.o.requests), len(t.w.access())
    with t.w.client() as c:
        c.send(client.make_request(method, target, fields, host=host))
        r = c.response(method)
        if method == "CONNECT" and r.status == 200:  # what is in the tunnel is not left unread
            c.shut()
            c.stream.rest()
    await_true("the line of request %d" % n, lambda: len(t.w.access()) > lines)
    line = t.w.access()[lines]
    head = None
    if len(t.o.requests) > before:
        head = comparable(t.o.requests[before].raw.decode("latin-1").split("\r\n")[:-2])
    return r, line, head


def test_matrix(t):
    t.not_in("doors", "which requests are refused is chance there")
    wrong = []
    for n, (method, target, host, fields) in enumerate(MATRIX):
        said = explained(t, method, target, host, fields)
        r, line, head = done(t, n, method, target, host, fields)
        what = "%s %s %s %r" % (method, target[:40], host, fields[:5])
        if (said["head"] is None) != (head is None) or (head and said["head"] != head):
            wrong.append("%s\n  said %r\n  sent %r" % (what, said["head"], head))
        if said["reason"] != line["reason"]:
            wrong.append("%s\n  said %s\n  was %s" % (what, said["text"], line))
        if head is None and said["status"] != r.status:
            wrong.append("%s\n  said %s\n  was %r" % (what, said["text"], r))
        real = comparable([("%s: %s" % (n, v)).strip() for n, v in r.fields if n not in FRAMING])
        if head is None and said["fields"] != real:
            wrong.append("%s\n  said %r\n  was %r" % (what, said["fields"], real))
        if line.get("route") not in (said["route"], "_none"):
            wrong.append("%s\n  said route %s\n  was %s" % (what, said["route"], line))
    assert not wrong, "%d of %d\n%s" % (len(wrong), len(MATRIX), "\n".join(wrong))


def test_of_a_file_whose_tests_fail(t):
    """To see why a test of the file fails is what explain is for."""
    path = os.path.join(t.make_dir("explain"), "conf.yaml")
    with open(path, "w") as f:
        f.write("upstreams: {a: '127.0.0.1:1', b: '127.0.0.1:2'}\n"
                "routes:\n  - {name: x, match: /x/*, to: a}\n  - {name: rest, to: b}\n"
                "tests: [{request: /x, expect: rest}]\n")
    assert t.run("check", path)[0] == 1
    code, out, err = t.run("explain", path, "GET", "/x")
    assert code == 0 and "  > x  " in out and not err, (code, out, err)
    with open(path, "a") as f:
        f.write("nonsense: 1\n")
    code, out, err = t.run("explain", path, "GET", "/x")
    assert code == 1 and path + ":6:1: " in err and not out, (code, out, err)


def test_of_the_file_judge_answers(t):
    """expect of a test is what a client gets, header rules included."""
    base = ("upstreams: {a: '127.0.0.1:1'}\nresponse_headers: {set: {X-Frame: DENY}}\n"
            "routes:\n"
            "  - {match: {path: /f, method: GET}, reply: {body: x, headers: {X-Pot: 'yes'}},"
            " response_headers: {set: {X-Late: '1'}, remove: [X-Pot]}}\n"
            "  - {match: {host: c}, to: a, allow_connect: true}\ntests:\n")
    path = os.path.join(t.make_dir("tests"), "conf.yaml")
    for test, wrong in (
            ("{request: /f, expect: {headers: {X-Frame: DENY, X-Late: '1', X-Pot: ''}}}", None),
            ("{request: /f, expect: {headers: {X-Pot: 'yes'}}}", "X-Pot: yes, got none"),
            ("{request: /g, expect: {status: 404, headers: {X-Frame: DENY}}}", None),
            ("{request: {url: /f, method: PUT}, expect: {headers: {Allow: 'GET, HEAD'}}}", None),
            ("{request: {url: 'c:443', method: CONNECT}, expect: {path: 'c:443'}}", None)):
        with open(path, "w") as f:
            f.write(base + "  - " + test + "\n")
        code, out, err = t.run("check", path)
        assert (code == 0) == (wrong is None) and (wrong or "") in err, (test, out, err)

# SPDX-License-Identifier: Apache-2.0
"""Hostile input at the admin address: each gets an error that says what is wrong and where, nothing
is changed, and the worker that serves clients has no part in it: its loop does not even turn."""

import json
import select

from peers import wire
from peers.client import Client, make_request
from peers.wire import await_true

NOT_IN = {"doors": "an answer must say what was wrong"}
TOKEN = "a secret of some length"
MANY = 20000
CONNECTIONS = 256  # docs/admin-api.md


def begin(t):
    path = t.make_dir("token") + "/token"
    with open(path, "w") as f:
        f.write(TOKEN + "\n")
    fixed = {"name": "fixed", "match": "/*", "reply": {"body": "file"}}
    t.w = t.start({"workers": 1, "routes": [fixed],
                   "admin": {"address": t.address(), "token_file": path}})


def ask(t, method, path, body=None, token=TOKEN, fields=()):
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    with Client(t.w.admin) as c:
        r = c.ask(method, path, [("Authorization", "Bearer " + token)] + list(fields), body)
    r.json = json.loads(r.body) if "json" in (r.get("content-type") or "") else {}
    return r


def turns(t):
    """How often the loop of the one worker has turned, by its own count."""
    name = 'weir_loop_turns_total{worker="0"} '
    lines = ask(t, "GET", "/metrics").text.splitlines()
    return int([x for x in lines if x.startswith(name)][0][len(name):])


class Untouched:
    """Within it the worker does next to nothing (timers may go off); nothing is changed."""

    def __init__(self, t, turns=20):
        self.t, self.most = t, turns

    def __enter__(self):
        self.before, self.changes = turns(self.t), ask(self.t, "GET", "/v1/changes").json

    def __exit__(self, kind, *_):
        if kind:
            return
        n = turns(self.t) - self.before
        assert n <= self.most, "the worker's loop turned %d times" % n
        assert ask(self.t, "GET", "/v1/changes").json == self.changes
        assert self.t.w.get("/x").body == b"file"


def test_malformed(t):
    """What is no JSON says where; what is no route says which part, by JSON pointer."""
    table = [
        (b"{", 400, "line 1"), (b"\xff", 400, "line 1"), (b'{"a":1,"a":2}', 400, "duplicate"),
        (b"{} x", 400, "end of file"), (b'{"match":"/a\\u0000"}', 400, "\\u0000"),
        (b'{"reply":{"status":1e999}}', 400, "overflow"), (b"[" * 100000, 400, "depth"),
        (b"null", 400, "object"), (b"[]", 400, "object"), (b'"x"', 400, "object"),
        (b"", 400, "body"), (b'{"name":7}', 400, "name"),
        (b'{"match":"/a","reply":{"status":"x"}}', 422, "/reply/status"),
        (b'{"match":"/a","replay":{}}', 422, "/replay"),
        (b'{"match":"/a","to":"nobody"}', 422, "/to"),
        (b'{"match":{"headers":{"A\\nB":"1"}},"reply":{}}', 422, "control"),
        (b'{"match":' + b"[" * 500 + b"]" * 500 + b"}", 422, "nested"),
        (b'{"routes":[' * 200 + b"]}" * 200, 422, "nested")]
    with Untouched(t):
        for body, status, says in table:
            r = ask(t, "PUT", "/v1/routes/r", body)
            assert r.status == status and r.json["status"] == status, (body[:40], r)
            told = r.json["detail"] + "".join(e.get("pointer", "") + e["detail"]
                                              for e in r.json.get("errors", ()))
            assert says in told, (body[:40], told)


def test_names(t):
    """A name that no path of the API could say, or that is given twice, is no name."""
    def route(name, **more):
        return dict({"name": name, "match": "/n/*", "reply": {"body": "x"}}, **more)

    def group(*names):
        return {"name": "g", "match": "/n/*", "routes": [route(n) for n in names]}
    with Untouched(t):
        for body, says in ((route("n" * 256), "255"), (route("a\nb"), "control"),
                           (route("_x"), "Weir's own"), (group("d", "d"), "given twice"),
                           (route(".."), "no name"), (group("."), "no name"),
                           (group("g"), "given twice")):
            r = ask(t, "POST", "/v1/routes", body)
            assert r.status == 422 and says in r.json["detail"], (body, r)
        assert ask(t, "POST", "/v1/routes", group("a", "fixed")).status == 409


def test_paths(t):
    """Odd paths and parameters."""
    with Untouched(t):
        for path, status in (("/v1/routes/%00", 400), ("/v1/routes/..%2f..%2fetc", 404),
                             ("/v1/routes/" + "y" * 100000, 414), ("/v1//routes", 404),
                             ("/v1/routes?limit=-1", 400), ("/v1/routes?offset=" + "9" * 30, 400),
                             ("/v1/routes?limit=10001", 400), ("/v1/nothing", 404),
                             ("/v1/routes?limits=1", 400), ("/v1/config?as=text&&", 200),
                             ("/v1/routes?&offset=0&=", 200), ("/v1/history?back=1", 400),
                             ("/v1/upstreams/u/endpoints/a/b/c", 404)):
            r = ask(t, "GET", path)
            assert r.status == status, (path[:60], r)
        r = ask(t, "POST", "/v1/routes?witin=r", {"name": "lost", "match": "/lost", "to": "u"})
        assert r.status == 400 and b'"witin\\" of: add a route: ?within' in r.body, r
        r = ask(t, "GET", "/v1/routes", fields=[("X", "y" * 200000)])
        assert r.status == 431, r
        r = ask(t, "PATCH", "/v1/routes")
        assert r.status == 405 and r.get("allow") == "GET, HEAD, POST", r


def test_oversized(t):
    """Refused before it is sent where its length is said, else when the limit is reached."""
    head = [("Authorization", "Bearer " + TOKEN)]
    with Untouched(t):
        with Client(t.w.admin) as c:
            c.send(make_request("PUT", "/v1/routes/r", head + [("Content-Length", "16777217")]))
            r = c.response()
            assert r.status == 413 and b"16777216" in r.body, r
        if t.variant == "onebyte":
            return
        with Client(t.w.admin) as c:
            c.send(make_request("PUT", "/v1/routes/r", head + [("Transfer-Encoding", "chunked")]))
            chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"
            for _ in range(17):
                c.send(chunk)
            r = c.response()
            assert r.status == 413 and b"16777216" in r.body, r


def test_wrong_tokens(t):
    """They are refused before anything else of the request is looked at."""
    with Untouched(t), Client(t.w.admin) as c:
        for i in range(1000):
            token = ("", TOKEN[:-1], TOKEN + "x", "x" * 5000, TOKEN[:-1] + "X")[i % 5]
            r = c.ask("PUT", "/v1/routes/r%d" % i, [("Authorization", "Bearer " + token)], b"{")
            assert r.status == 401 and b"admin.token_file" in r.body, r
            if r.fields.tokens("connection") == ["close"]:
                c.close()
                c.__init__(t.w.admin)


def test_slow_bodies(t):
    """Calls whose bodies stand still hold up nobody: neither a client nor another call."""
    start = make_request("PUT", "/v1/routes/slow", [("Authorization", "Bearer " + TOKEN),
                                                    ("Content-Length", "100")]) + b'{"match"'
    with Untouched(t):
        slow = [Client(t.w.admin).send(start) for _ in range(50)]
        slow += [Client(t.w.admin).send(start[:40]) for _ in range(50)]
        assert ask(t, "GET", "/v1/routes").status == 200
    assert t.w.get("/while-they-wait").body == b"file"
    for c in slow[:50]:
        c.send(b": 1}" + b" " * 88)
        assert c.response().status == 422
    for c in slow:
        c.close()


def test_many_connections(t):
    """Those above the limit are closed at once; descriptors are for clients."""
    with Untouched(t):
        many = [wire.connect(t.w.admin) for _ in range(CONNECTIONS + 100)]
        await_true("those above the limit are closed", lambda: closed(many) >= 100)
        assert len(many) - closed(many) >= CONNECTIONS - 10, "too many are closed"
        assert t.w.get("/meanwhile").body == b"file"
        for s in many:
            s.close()
        await_true("the admin address", lambda: answers(t))


def closed(socks):
    """How many of them the other side has ended."""
    poll = select.poll()
    for s in socks:
        poll.register(s, select.POLLIN)
    return len(poll.poll(0))


def answers(t):
    try:
        return ask(t, "GET", "/v1").status == 200
    except (wire.Ended, OSError):
        return False


def test_thousands_of_routes(t):
    """All or nothing: one that is wrong among 20,000 is pointed at, then all are taken in one go,
    for one message to the worker."""
    n = 200 if t.variant == "onebyte" else MANY
    inner = [{"name": "r%d" % i, "match": "/many/%d" % i, "reply": {"body": "%d" % i}}
             for i in range(n)]
    with Untouched(t):
        bad = inner[:-1] + [{"name": "bad", "match": "/many/x", "to": "nobody"}]
        r = ask(t, "PUT", "/v1/routes/many", {"match": "/many/*", "routes": bad})
        assert r.status == 422, r
        assert [e["pointer"] for e in r.json["errors"]] == ["/routes/%d/to" % (n - 1)], r.json
        every = [dict(x, reply={"status": 1}) for x in inner]
        r = ask(t, "PUT", "/v1/routes/many", {"match": "/many/*", "routes": every})
        assert r.status == 422 and len(r.json["errors"]) == min(n, 200), len(r.json["errors"])
        assert r.json.get("more_errors", 0) == n - len(r.json["errors"]), r.json["more_errors"]
    before = turns(t)
    assert ask(t, "PUT", "/v1/routes/many", {"match": "/many/*", "routes": inner}).status == 201
    assert turns(t) - before <= 20, "the worker is told once"
    assert t.w.get("/many/%d" % (n - 1)).body == b"%d" % (n - 1)
    assert ask(t, "DELETE", "/v1/routes/many").status == 200
    assert t.w.get("/many/1").body == b"file"
    t.w.stop()

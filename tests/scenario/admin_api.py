# SPDX-License-Identifier: Apache-2.0
"""The admin API: what it shows, changes while clients ask, and keeps; whom it refuses."""

import json
import os
import re
import select
import signal
import subprocess
import threading

from peers import client
from peers.wire import await_true

NOT_IN = {"doors": "each test goes on from what the one before it changed"}


class Api:
    def __init__(self, address, fields=()):
        self.address, self.fields = address, list(fields)

    def __call__(self, method, path, body=None, fields=()):
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        with client.Client(self.address) as c:
            r = c.ask(method, path, self.fields + list(fields), body, host="weir")
        r.json = json.loads(r.body) if r.body else None
        return r


def begin(t):
    t.o, t.p = t.origin("one"), t.origin("two")
    t.state = t.make_dir("state")
    t.w = t.start({
        "admin": {"address": t.unix(), "mode": "0600"}, "state_dir": t.state, "workers": 2,
        "upstreams": {"u": {"endpoints": [t.o.address, {"address": t.p.address, "weight": 0}],
                            "breaker": "on"}},
        "routes": [{"match": "/*", "to": "u"},
                   {"name": "fixed", "match": "/fixed", "reply": {"body": "file"}},
                   {"name": "group", "match": "/g/*", "routes": [
                       {"name": "inner", "match": "/g/a", "reply": {"body": "a"}}]}]})
    t.api = Api(t.w.admin)


def text(t, path):
    return t.w.get(path).body


def test_reads(t):
    assert oct(os.stat(t.w.admin[5:]).st_mode & 0o777) == "0o600"
    for row in t.api("GET", "/v1").json["paths"]:
        if row["method"] == "GET" and row["path"] != "/v1/events":
            path = row["path"].replace("upstreams/*", "upstreams/u")
            path = path.replace("routes/*", "routes/fixed")
            path = path.replace("endpoints/*", "endpoints/" + t.o.address)
            r = t.api("GET", path)
            assert r.status == 200 and r.get("content-type") == "application/json", (path, r)
    routes = t.api("GET", "/v1/routes?limit=2").json
    assert [r["name"] for r in routes["routes"]] == ["/*", "fixed"] and routes["next"] == 2, routes
    routes = t.api("GET", "/v1/routes?offset=2").json
    assert routes["routes"][1]["within"] == "group" and routes["total"] == 4, routes


def test_exchanges(t):
    go = threading.Event()
    t.o.on("/wait", lambda conn, req: (go.wait(60), conn.reply(200, body=b"waited")))
    with t.w.client() as c:
        c.request("GET", "/wait")
        t.o.await_seen("/wait")
        x = [x for x in t.api("GET", "/v1/exchanges").json["exchanges"] if x.get("path") == "/wait"]
        assert x[0]["step"] == "attempt" and x[0]["endpoint"] == t.o.address, x
        go.set()
        assert c.response().body == b"waited"


def test_routes(t):
    route = {"name": "new", "match": "/new", "reply": {"body": "new"}}
    r = t.api("POST", "/v1/routes", route)
    assert r.status == 201 and r.json["kept"] and text(t, "/new") == b"new", r
    assert t.api("POST", "/v1/routes", route).status == 409
    tag = t.api("GET", "/v1/routes/new").get("etag")
    route["reply"] = {"body": "newer"}
    assert t.api("PUT", "/v1/routes/new", route, [("If-Match", tag)]).status == 200
    assert text(t, "/new") == b"newer"
    assert t.api("PUT", "/v1/routes/new", route, [("If-Match", tag)]).status == 412
    assert t.api("PUT", "/v1/routes/new", route, [("If-None-Match", "*")]).status == 412
    assert t.api("POST", "/v1/routes?within=group",
                 {"name": "b", "match": "/g/b", "reply": {"body": "b"}}).status == 201
    assert text(t, "/g/b") == b"b"
    hosted = {"name": "hosted", "match": {"headers": {"X-In": "yes"}}, "routes": [
        {"name": "deep", "match": "/h/a", "reply": {"body": "deep"}}]}
    assert t.api("POST", "/v1/routes", hosted).status == 201
    assert t.api("POST", "/v1/routes?within=hosted",
                 {"name": "deeper", "match": "/h/b", "reply": {"body": "deeper"}}).status == 201
    assert text(t, "/h/b") == b"one GET /h/b\n", "what is around a new route counts"
    assert t.w.get("/h/b", [("X-In", "yes")]).body == b"deeper"
    assert t.api("DELETE", "/v1/routes/hosted").status == 200
    taken = {"name": "c", "match": "/c/*", "routes": [
        {"name": "inner", "match": "/c/a", "reply": {"body": "x"}}]}
    assert t.api("POST", "/v1/routes", taken).status == 409, "nested names count"
    assert t.api("DELETE", "/v1/routes/inner").status == 200
    assert text(t, "/g/a") == b"one GET /g/a\n" and text(t, "/g/b") == b"b"
    assert t.api("DELETE", "/v1/routes/inner").status == 404


def test_errors_have_pointers(t):
    r = t.api("PUT", "/v1/routes/fixed", {"match": {"pth": "/"}, "reply": {"status": 99}})
    assert r.status == 422 and r.get("content-type") == "application/problem+json", r
    assert [e["pointer"] for e in r.json["errors"]] == ["/match/pth", "/reply/status"], r.json
    assert "did you mean \"path\"" in r.json["detail"]
    r = t.api("PUT", "/v1/routes/fixed", {"match": "/fixed", "to": "nobody"})
    assert r.status == 422 and r.json["errors"][0]["pointer"] == "/to", r.json
    alone = r.json["errors"]
    r = t.api("POST", "/v1/routes", {"name": "pair", "match": "/fixed", "routes": [
        {"name": "in", "match": "/fixed", "to": "nobody"}]})
    assert r.status == 422, r
    assert [e["pointer"] for e in r.json["errors"]] == ["/routes/0/to"], r.json
    assert r.json["errors"][0]["detail"] == alone[0]["detail"], "judged alone as with all others"
    assert text(t, "/fixed") == b"file"


def test_endpoints(t):
    assert t.api("PUT", "/v1/upstreams/u/weights", {t.o.address: 0, t.p.address: 3}).status == 200
    assert all(text(t, "/x").startswith(b"two") for _ in range(6))
    base = "/v1/upstreams/u/endpoints/"
    assert t.api("PUT", "/v1/upstreams/u/weights", {t.o.address: 1, t.p.address: 1}).status == 200
    assert t.api("POST", base + t.p.address + "/drain").status == 200
    assert all(text(t, "/x").startswith(b"one") for _ in range(6))
    assert t.api("GET", "/v1/upstreams/u/weights").json[t.p.address] == 1
    assert t.api("POST", base + t.p.address + "/undrain").status == 200
    third = t.origin("three")
    r = t.api("POST", "/v1/upstreams/u/endpoints", {"address": third.address, "weight": 50})
    assert r.status == 201, r
    await_true("requests at the new endpoint", lambda: text(t, "/x").startswith(b"three"))
    assert t.api("DELETE", base + third.address).status == 200
    assert t.api("PATCH", "/v1/upstreams/u/weights", {"nobody:1": 1}).status == 404
    assert t.api("PATCH", "/v1/upstreams/u/weights", {t.o.address: 101}).status == 422


def test_breaker(t):
    assert t.api("PUT", "/v1/upstreams/u/breaker", {"state": "open"}).status == 200
    assert t.w.get("/x").code == "breaker_open"
    assert t.api("PUT", "/v1/upstreams/u/breaker", {"state": "auto"}).status == 200
    assert t.w.get("/x").status == 200


def test_hostile(t):
    for body in (b"{", b"[" * 5000, b"[]", b"\xff", b'{"a":1,"a":2}', b'""'):
        r = t.api("POST", "/v1/routes", body)
        assert r.status in (400, 422) and r.json["detail"], (body[:9], r)
    assert t.api("GET", "/v1/nothing").status == 404
    r = t.api("DELETE", "/v1/config")
    assert r.status == 405 and r.get("allow") == "GET, HEAD", r
    assert t.api("GET", "/v1/routes?limit=x").status == 400
    assert text(t, "/fixed") == b"file"


def test_kept(t):
    """A killed server, and a new start, know what was acknowledged."""
    before = t.api("GET", "/v1/config").json
    kill_server(t)
    assert t.api("GET", "/v1/config").json == before and text(t, "/new") == b"newer"
    t.w.reload(t.w.config)
    await_true("the reload", lambda: t.w.status()["configuration"]["reloads"] == 1)
    assert text(t, "/new") == b"newer", "SIGHUP keeps them"


def answers(t):
    try:
        return t.api("GET", "/v1").status == 200
    except Exception:
        return False


def test_broken_state_file(t):
    path = os.path.join(t.state, "changes.json")
    with open(path, "rb") as f:
        whole = f.read()
    with open(path, "wb") as f:
        f.write(whole[:-3])
    kill_server(t)
    await_true("it is said", lambda: "changes.unread" in t.w.log())
    assert text(t, "/new") in (b"one GET /new\n", b"two GET /new\n")
    assert any("refused" in n for n in os.listdir(t.state)), os.listdir(t.state)


def test_discard(t):
    t.api("PUT", "/v1/routes/fixed", {"match": "/fixed", "reply": {"body": "changed"}})
    assert text(t, "/fixed") == b"changed"
    assert "replaced" in t.api("GET", "/v1/changes").json["changes"][0]["words"]
    assert t.api("DELETE", "/v1/changes").status == 200
    assert text(t, "/fixed") == b"file" and t.api("GET", "/v1/changes").json["changes"] == []


def test_preconditions(t):
    """Every change takes If-Match; a tag of before is refused and changes nothing."""
    base, new = "/v1/upstreams/u", {"match": "/pre", "reply": {"body": "x"}}
    t.api("PUT", "/v1/routes/pre", new)
    endpoint = base + "/endpoints/" + t.p.address
    whole = "/v1/config"
    table = [("PUT", "/v1/routes/pre", new, "/v1/routes/pre"),
             ("DELETE", "/v1/routes/pre", None, "/v1/routes/pre"),
             ("PUT", endpoint, {"weight": 2}, endpoint),
             ("POST", endpoint + "/drain", None, endpoint),
             ("POST", endpoint + "/undrain", None, endpoint),
             ("PUT", base + "/weights", {t.o.address: 1}, base + "/weights"),
             ("PATCH", base + "/weights", {t.o.address: 2}, base + "/weights"),
             ("PUT", base + "/breaker", {"state": "open"}, whole),
             ("PUT", base + "/breaker", {"state": "auto"}, "/v1/changes"),
             ("POST", "/v1/reload?changes=keep", None, whole),
             ("DELETE", endpoint, None, endpoint), ("DELETE", "/v1/changes", None, whole)]
    for method, path, body, of in table:
        tag, before = t.api("GET", of).get("etag"), t.api("GET", whole)
        assert tag, of
        r = t.api(method, path, body, [("If-Match", '"0123456789abcdef"')])
        assert r.status == 412 and r.json["type"].endswith(":changed"), (method, path, r)
        now = t.api("GET", whole)
        assert now.json == before.json and now.get("etag") == before.get("etag"), (method, path)
        r = t.api(method, path, body, [("If-Match", 'W/"x", %s' % tag)])
        assert r.status == 200, (method, path, r)
        assert t.api("GET", whole).get("etag") != before.get("etag"), (method, path)
    assert t.api("POST", "/v1/rollback", None, [("If-Match", '"x"')]).status == 412


def test_file_against_changes(t):
    """A file that says other things about what was changed: asked about, kept, or dropped; a load
    that is refused for another reason drops nothing, also not from what a new start reads."""
    good = t.w.config

    def fixed(body, **more):
        first, _, *rest = good["routes"]
        other = {"name": "fixed", "match": "/fixed", "reply": {"body": body}}
        t.w.write(t.w.with_config(routes=[first, other] + rest, **more))
    t.api("PUT", "/v1/routes/fixed", {"match": "/fixed", "reply": {"body": "changed"}})
    fixed("file 2")
    code, out, said = run(t, "reload")
    assert code == 1 and "--keep" in said and "fixed" in said, said
    other = {"match": "/free", "reply": {"body": "free"}}
    t.api("PUT", "/v1/routes/free", other)
    code, out, said = run(t, "plan", t.w.config_path)
    assert code == 0 and 'route "free": added: stays in force\n' in out, (out, said)
    assert 'route "fixed": replaced: the file says otherwise' in out, out
    fixed("changed")
    assert '"fixed": replaced: the file says the same' in run(t, "plan", t.w.config_path)[1]
    fixed("file 2")
    plan = json.loads(run(t, "plan", "--json", t.w.config_path)[1])
    assert [c["becomes"] for c in plan["run_time"]] == ["asked", "kept"], plan
    t.api("DELETE", "/v1/routes/free")
    fixed("file 2", listeners=good["listeners"] + [{"address": t.o.address}])
    code, out, said = run(t, "reload", "--discard")
    assert code == 1 and t.o.address in said, said
    assert text(t, "/fixed") == b"changed"
    kill_server(t)
    assert text(t, "/fixed") == b"changed", "a refused reload dropped what was acknowledged"
    fixed("file 2")
    assert run(t, "reload", "--keep")[0] == 0 and text(t, "/fixed") == b"changed"
    fixed("file 3")
    assert run(t, "reload", "--discard")[0] == 0 and text(t, "/fixed") == b"file 3"
    assert t.api("GET", "/v1/changes").json["changes"] == []
    t.w.write(good)
    assert run(t, "reload")[0] == 0 and text(t, "/fixed") == b"file"


def run(t, *words, **more):
    p = subprocess.run([t.weir_path, *words, "--admin", t.w.admin], capture_output=True, text=True,
                       timeout=60, env={**os.environ, **t.weir_env}, **more)
    return p.returncode, p.stdout, p.stderr


READS = (["status"], ["route", "ls"], ["endpoint", "ls"], ["upstream", "ls"], ["diff"],
         ["history"], ["top", "--once"])


def test_commands_beside_a_wrong_file(t):
    """A file that is wrong by now still says where the Weir is that runs with an earlier one."""
    path = os.path.join(t.make_dir("wrong"), "weir.yaml")
    for more, code, says in (("", 0, ""), ("nonsense: 1\nworkers: many\n", 0, ""),
                             ("tests: [{request: /x, expect: nobody}]\n", 0, ""),
                             ("  : {\n", 1, path + ":2:"),
                             ("admin: {adress: x}\n", 1, '"admin" is given twice')):
        with open(path, "w") as f:
            f.write("admin: '%s'\n%s" % (t.w.admin, more))
        got, out, said = t.run("status", "--config", path)
        assert got == code and says in said and ("serving since" in out) == (code == 0), said
    with open(path, "w") as f:
        f.write("admin: {adress: x}\n")
    assert 'did you mean "address"' in t.run("status", "--config", path)[2]


def test_commands_for_scripts(t):
    """Each has --json and an exit status: 0 done, 1 refused or failed, 2 wrong usage; and says in
    words what to do."""
    for words in READS:
        code, out, said = run(t, *words, "--json")
        assert code == 0 and json.loads(out) and not said, (words, said)
        code, out, said = run(t, *words, "extra", "more")
        assert code == 2 and "extra" in said and "--help" in said, (words, said)
        code, out, said = t.run(*words, "--admin", "unix:" + t.dir + "/nobody")
        assert code == 1 and "is Weir running" in said and not out, (words, said)
        assert t.run(words[0], "--help")[1].count("--json") == 1, words
    for words, code, says in ((["route", "lss"], 2, "'lss'"), (["route", "add", "{x"], 1, "JSON"),
                              (["route", "add", '{"name": "x", "tu": "u"}'], 1, "did you mean"),
                              (["endpoint", "add", "u", "10.0.0.1"], 1, "port is missing"),
                              (["endpoint", "drain", "uu", "10.0.0.1:1"], 1, 'upstream "uu"'),
                              (["endpoint", "weight", "u", "a:1=x"], 2, "ADDRESS=WEIGHT"),
                              (["endpoint", "weight", "u", "a:1=1", "a:1=2"], 2, "twice"),
                              (["reload", "--keep", "--discard"], 2, "opposite"),
                              (["rollback", "--discard"], 2, "weir reload alone"),
                              (["statsu"], 2, "did you mean 'status'"), (["events", "x"], 2, "'x'"),
                              (["breaker", "u", "half"], 1, "open, close or auto")):
        got, out, said = run(t, *words)
        assert got == code and says in said, (words, got, said)
        lines = [x for x in said.splitlines() if x]
        assert len(set(lines)) == len(lines), "it is said twice: " + said


def test_commands(t):
    """The commands do what the API does; scripts can use their exit status."""
    route = json.dumps({"name": "cmd", "match": "/cmd", "reply": {"body": "cmd"}})
    assert run(t, "route", "add", route)[0] == 0 and text(t, "/cmd") == b"cmd"
    assert run(t, "route", "add", route)[0] == 1
    code, out, said = run(t, "route", "set", "cmd", "-", input=route.replace("reply", "rply"))
    assert code == 1 and "/rply: unknown key" in said, said
    assert "cmd" in run(t, "route", "ls")[1] and "cmd" in run(t, "diff")[1]
    assert run(t, "route", "rm", "cmd")[0] == 0 and text(t, "/cmd") != b"cmd"
    assert run(t, "route", "rm", "cmd")[0] == 1 and run(t, "route", "no")[0] == 2
    assert run(t, "endpoint", "weight", "u", t.o.address + "=1", t.p.address + "=0")[0] == 0
    assert all(text(t, "/x").startswith(b"one") for _ in range(4))
    assert run(t, "endpoint", "weight", "u", t.p.address + "=1")[0] == 0
    for wrong in (("add", "u", "127.0.0.1:1", "--weight", "heavy"), ("weight", "u", "a:1=nan")):
        code, out, said = run(t, "endpoint", *wrong)
        assert code == 2 and " is wanted" in said and wrong[-1] in said, said
    assert run(t, "endpoint", "drain", "u", t.o.address)[0] == 0
    assert all(text(t, "/x").startswith(b"two") for _ in range(4))
    assert "drained" in run(t, "endpoint", "ls", "u")[1]
    assert run(t, "endpoint", "undrain", "u", t.o.address)[0] == 0
    assert run(t, "breaker", "u", "open")[0] == 0 and t.w.get("/x").code == "breaker_open"
    assert "open" in run(t, "upstream", "ls")[1]
    assert run(t, "breaker", "u", "auto")[0] == 0 and t.w.get("/x").status == 200
    assert "serving" in run(t, "status")[1]
    assert json.loads(run(t, "upstream", "ls", "--json")[1])["total"] == 1
    top = run(t, "top", "--once")
    assert top[0] == 0 and "UPSTREAM" in top[1], top
    assert all(len(line) <= 80 for line in top[1].splitlines()), top[1]
    nobody = subprocess.run([t.weir_path, "status", "--admin", t.unix()], capture_output=True,
                            text=True, env={**os.environ, **t.weir_env})
    assert nobody.returncode == 1 and "is Weir running" in nobody.stderr, nobody


def hear(t, text, *options):
    """The first line of weir events that has the text; changes are made until there is one."""
    p = t.spawn([t.weir_path, "events", *options, "--admin", t.w.admin], stdout=subprocess.PIPE,
                env={**os.environ, **t.weir_env})
    n = 0

    def told():
        nonlocal n
        n += 1
        t.api("PUT", "/v1/routes/heard", {"match": "/heard%d" % n, "reply": {"body": "x"}})
        return select.select([p.stdout], [], [], 0.1)[0]
    await_true("an event", told)
    line = next(x for x in p.stdout if text in x)
    p.terminate()
    p.wait(60)
    p.stdout.close()
    return line


def test_events(t):
    """Who listens hears of each change, in words or as JSON."""
    words = hear(t, b"route heard").decode()
    assert re.fullmatch(r"\S+Z route +route heard: .*\n", words), words
    event = json.loads(hear(t, b"heard", "--json"))
    assert event["event"] in ("config", "route") and event["time"] and "heard" in event["text"]


def events_after(w, id_, n):
    """The first n events behind that id."""
    with client.Client(w.admin) as c:
        s = client.events(c, ("Last-Event-ID", id_))
        assert next(s) is None
        return [next(s) for _ in range(n)]


def test_events_go_on(t):
    """Last-Event-ID goes on where a client was; what it missed is said."""
    _, (first, *_), *_ = events_after(t.w, "0", 3)
    assert events_after(t.w, "0", 1)[0][1] == "gap", "an id that nobody gave"
    assert [e[0] for e in events_after(t.w, str(first), 3)] == [first + 1, first + 2, first + 3]
    for i in range(520):  # two events each
        t.api("PUT", "/v1/routes/many", {"match": "/many%d" % i, "reply": {"body": "x"}})
    gap, oldest = events_after(t.w, str(first), 2)
    assert gap[:2] == (0, "gap") and gap[2]["lost"] == oldest[0] - first - 1 > 0, (gap, oldest)
    before = oldest[0]
    kill_server(t)
    t.api("PUT", "/v1/routes/many", {"match": "/many", "reply": {"body": "x"}})
    gap, oldest = events_after(t.w, str(before + 1000), 2)
    assert gap[1] == "gap" and "lost" not in gap[2] and oldest[0] > before + 1000, (gap, oldest)
    t.api("DELETE", "/v1/routes/many")


def events_counted(w):
    return {dict(labels)["kind"]: n for (name, labels), n in w.metrics().items()
            if name == "weir_events_total"}


def test_each_change_is_told(t):
    """However many a reload has: the metrics count all, and what the stream cannot keep is said to
    be lost."""
    w = t.start({"routes": [{"match": "/*", "reply": {"body": "x"}}],
                 "admin": {"address": t.unix()}})
    before = events_counted(w)
    assert set(before) == {"config", "settings", "listener", "upstream", "endpoint", "route",
                           "state"}, before
    many = [{"name": "told%d" % i, "match": "/told%d" % i, "reply": {"body": str(i)}}
            for i in range(1200)]
    w.reload(w.with_config(routes=many), lambda: w.get("/told9").body == b"9")
    await_true("all are told", lambda: events_counted(w)["route"] >= before["route"] + 1201)
    assert events_counted(w)["route"] == before["route"] + 1201, "1,200 came and one went"
    assert events_counted(w)["config"] == before["config"] + 1
    gap, oldest, *_ = events_after(w, "0", 1000)
    assert gap[1] == "gap" and oldest[1] == "route", (gap, oldest)
    with client.Client(w.admin) as c:  # who listens already hears of all
        s = client.events(c)
        assert next(s) is None
        w.reload(w.with_config(routes=many[:9] + [{**x, "reply": {"body": "new"}}
                                                  for x in many[9:]]),
                 lambda: w.get("/told9").body == b"new")
        heard = [next(s) for _ in range(1 + 1191)]
    assert [e[1] for e in heard] == ["config"] + ["route"] * 1191, heard
    assert [e[0] for e in heard] == list(range(heard[0][0], heard[0][0] + 1192)), heard
    assert [e[2]["name"] for e in heard[1:]] == ["told%d" % i for i in range(9, 1200)], heard
    w.stop()


def test_states_from_the_first(t):
    """The state of one that came a moment ago is told, however soon it is another."""
    with client.Client(t.w.admin) as c:
        s = client.events(c)
        assert next(s) is None
        t.api("PUT", "/v1/upstreams/u/endpoints/127.0.0.1:9", {"weight": 1})
        t.api("POST", "/v1/upstreams/u/endpoints/127.0.0.1:9/drain")
        states = (e[2] for e in s if e[1] == "state" and "127.0.0.1:9" in e[2]["endpoint"])
        assert next(states)["text"] == "endpoint u/127.0.0.1:9: up -> drained"
        t.api("DELETE", "/v1/upstreams/u/endpoints/127.0.0.1:9")


def kill_server(t):
    old = t.w.server_pid()
    os.kill(old, signal.SIGKILL)
    await_true("a new server", lambda: old not in t.w.children() and answers(t))


def test_by_tcp(t):
    """By TCP the pages are as ever; the API wants a token."""
    path = os.path.join(t.make_dir("token"), "token")
    with open(path, "w") as f:
        f.write("a secret of some length\n")
    w = t.start({"routes": [{"match": "/*", "reply": {"body": "x"}}]}, admin=True)
    api = Api(w.admin)
    assert w.admin_get("/status").status == 200
    r = api("GET", "/v1/config")
    assert r.status == 403 and "token_file" in r.json["detail"], r
    w = t.start({"routes": [{"match": "/*", "reply": {"body": "x"}}], "admin": {
        "address": t.address(), "token_file": path, "open": ["healthz"]}})
    for page, status in (("/healthz", 200), ("/metrics", 401), ("/status", 401), ("/v1", 401)):
        assert w.admin_get(page).status == status, page
    for token, status in (("a secret of some length", 200), ("a secret of some lengtX", 401),
                          ("", 401), ("a secret of some length2", 401)):
        r = Api(w.admin, [("Authorization", "Bearer " + token)])("GET", "/v1/config")
        assert r.status == status, (token, r)
    code, out, said = t.run("events", "--admin", w.admin)
    assert code == 1 and "token" in said, said
    at = ("--admin", w.admin)
    for words, env in (((*at, "--token-file", path), {}), (at, {"WEIR_TOKEN_FILE": path}),
                       (("--token-file", path), {"WEIR_ADMIN": w.admin}),
                       (("--config", w.config_path), {})):
        code, out, said = t.run("route", "ls", *words, env=env)
        assert code == 0 and "(reply)" in out, (words, env, said)


def test_under_load(t):
    """Changes of routes and weights while clients ask: every answer is right."""
    stop, wrong = threading.Event(), []

    def ask():
        while not stop.is_set():
            try:
                with t.w.client() as c:
                    for _ in range(20):
                        r = c.get("/load")
                        if r.status != 200 or not r.body.endswith(b" GET /load\n"):
                            wrong.append(r)
                        if r.fields.tokens("connection") == ["close"]:
                            break
            except Exception as e:
                wrong.append(repr(e))
    threads = [threading.Thread(target=ask) for _ in range(8)]
    for th in threads:
        th.start()
    for i in range(20):
        t.api("PUT", "/v1/routes/r", {"match": "/r%d" % i, "reply": {"body": "r"}})
        t.api("PUT", "/v1/upstreams/u/weights", {t.o.address: 1 + i % 2, t.p.address: i % 3})
        running = t.api("GET", "/v1/exchanges?limit=2").json
        assert len(running["exchanges"]) <= min(2 * 2, running["total"]), running
        assert all(x["step"] and x["age_us"] >= x["step_us"] for x in running["exchanges"]), running
    stop.set()
    for th in threads:
        th.join()
    assert not wrong, "%d failed, first: %s" % (len(wrong), wrong[0])

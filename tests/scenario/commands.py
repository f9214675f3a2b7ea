# SPDX-License-Identifier: Apache-2.0
"""The command line: proxy, check, explain, schema, version, demo, and help for each."""

import json
import os
import pty
import re
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

from peers import client, wire
from peers.wire import await_true

COMMANDS = ("run", "proxy", "demo", "check", "explain", "schema", "version")


def spawn(t, *args):
    log = open(os.path.join(t.make_dir("command"), "out"), "w+b")
    p = t.spawn([t.weir_path, *args], stdout=log, stderr=log, env={**os.environ, **t.weir_env},
                cwd=t.dir)

    def text():
        with open(log.name, errors="replace") as f:
            return f.read()
    return p, text


def ends_well(p, text):
    p.send_signal(signal.SIGTERM)
    assert p.wait(wire.patience() * 2) == 0, text()


def test_help(t):
    code, out, err = t.run("--help")
    assert code == 0 and all(c in out for c in COMMANDS), out
    for command in COMMANDS:
        code, out, err = t.run(command, "--help")
        assert code == 0 and "Usage: weir %s" % command in out and not err, (command, out, err)
    code, out, err = t.run()
    assert "Usage" in out + err


def test_full_disk(t):
    """What a script could not be given is no success."""
    for words in (["--help"], ["version"], ["schema"], ["run", "--help"]):
        with open("/dev/full", "w") as full:
            p = subprocess.run([t.weir_path, *words], stdout=full, stderr=subprocess.PIPE,
                               timeout=60, env={**os.environ, **t.weir_env})
        assert p.returncode == 1 and b"not all could be written" in p.stderr, (words, p)


def test_wrong_use(t):
    for args in (["nonsense"], ["run"], ["run", "--config"], ["run", "--confg", "x"],
                 ["check"], ["check", "a", "b"], ["explain"], ["explain", "x"],
                 ["proxy", "--from", ":1"], ["proxy", "--to", "http://a", "--from"],
                 ["proxy", "--from", "x y", "--to", "http://a"],
                 ["proxy", "--from", ":8080", "--to", "ftp://a"], ["schema", "x"],
                 ["proxy", "--from", ":8080", "--to", "not a url"], ["version", "--x"],
                 ["proxy", "--from", ":0", "--to", "http://a", "--to", "http://b"],
                 ["proxy", "--from", ":0", "--from", ":0", "--to", "http://a"],
                 ["run", "--config", "a", "--config", "b"], ["run", "--config", "a", "b"]):
        code, out, err = t.run(*args)
        assert code > 0 and err, (args, code, out, err)


def test_no_such_command(t):
    """The nearest name is said, after help too; none where nothing is near."""
    for typed, meant in (("rout", "route"), ("rnu", "run"), ("chekc", "check"), ("Run", "run"),
                         ("foo", None), ("serve", None)):
        for words in ([typed], ["help", typed]):
            code, out, err = t.run(*words)
            near = "; did you mean '%s'?" % meant if meant else ""
            assert code == 2 and not out, (words, code, out)
            assert err.startswith("weir: no command '%s'%s\n" % (typed, near)), err


def test_version(t):
    code, out, _ = t.run("version")
    assert code == 0 and re.match(r"weir \d+\.\d+", out), out


def test_proxy(t):
    o = t.origin()
    address = t.address()
    p, text = spawn(t, "proxy", "--from", address, "--to", "http://" + o.address)
    client.wait_listening(address, 20, lambda: p.poll() is None)
    with client.Client(address) as c:
        r = c.get("/x?a=b", host="shop.example")
        assert r.body == b"origin GET /x?a=b\n", r
        r = c.ask("POST", "/y", body=b"hello")
        assert r.body == b"origin POST /y\nhello", r
    q = o.seen("/x")[0]
    assert q.host == "shop.example" and q.get("x-forwarded-for") == "127.0.0.1", q
    assert q.get("x-forwarded-host") == "shop.example" and q.get("x-forwarded-proto") == "http"
    ends_well(p, text)


def test_proxy_says_its_port(t):
    o = t.origin()
    p, text = spawn(t, "proxy", "--from", "127.0.0.1:0", "--to", "http://" + o.address)
    await_true("it says that it serves", lambda: "forwarding " in text())
    address = re.search(r"forwarding (127\.0\.0\.1:[1-9]\d*) to", text()).group(1)
    await_true("the log says it too", lambda: "serving on %s with" % address in text())
    with client.Client(address) as c:
        assert c.get("/x").body == b"origin GET /x\n"
    ends_well(p, text)


def test_proxy_takes_signals(t):
    """It has no file, but is reloaded and followed by a new program like any other."""
    o, address = t.origin(), t.address()
    p, text = spawn(t, "proxy", "--from", address, "--to", "http://" + o.address)
    client.wait_listening(address, 20, lambda: p.poll() is None)

    def serves():
        with client.Client(address) as c:
            return c.get("/x").body == b"origin GET /x\n"
    assert serves()
    p.send_signal(signal.SIGHUP)
    await_true("a reload", lambda: "config.loaded" in text())
    assert serves()
    p.send_signal(signal.SIGUSR2)
    await_true("a new program", lambda: "upgrade.finished" in text())
    assert serves()
    p.send_signal(signal.SIGHUP)
    await_true("a reload of it", lambda: text().count("config.loaded") == 2)
    assert serves()
    p.send_signal(signal.SIGUSR1)
    assert not re.search("server.ended|panic|upgrade.failed", text()), text()
    ends_well(p, text)


def test_proxy_host_rewrite_and_base(t):
    o = t.origin()
    address = t.address()
    p, text = spawn(t, "proxy", "--from", address, "--to", "http://%s/base" % o.address,
                    "--host-rewrite")
    client.wait_listening(address, 20, lambda: p.poll() is None)
    with client.Client(address) as c:
        assert c.get("/x", host="shop.example").status == 200
    q = o.await_seen("/base/x")[0]
    assert q.host == o.address, q
    ends_well(p, text)


def test_proxy_query_of_the_url(t):
    """The static query of the URL goes before the client's (Go's TestReverseProxyQuery)."""
    o = t.origin()
    address = t.address()
    p, text = spawn(t, "proxy", "--from", address, "--to", "http://%s/?sta=tic" % o.address)
    client.wait_listening(address, 20, lambda: p.poll() is None)
    with client.Client(address) as c:
        c.get("/q?us=er")
        c.get("/p")
    assert o.await_seen("/q")[0].query == "sta=tic&us=er", o.seen("/q")
    assert o.await_seen("/p")[0].query == "sta=tic", o.seen("/p")
    ends_well(p, text)


CONFIG = """\
listeners: [{address: "127.0.0.1:8080"}]
upstreams:
  a: {endpoints: [{address: "127.0.0.1:1"}]}
  b: {endpoints: [{address: "127.0.0.1:2"}]}
routes:
  - {name: api, match: {path: /api/*, methods: [GET]}, to: a,
     request_headers: {set: {X-Api: '1'}}, rewrite: {strip_prefix: /api}}
  - {name: host, match: {host: h.example}, to: a}
  - {name: rest, match: {path: /*}, to: b}
"""


def explain(t, *args):
    path = os.path.join(t.dir, "explain.yaml")
    with open(path, "w") as f:
        f.write(CONFIG)
    return t.run("explain", path, *args)


def test_explain(t):
    code, out, _ = explain(t, "GET", "http://x.example/api/users?y=1", "-H", "X-Test: 1",
                           "-H", "Connection: X-Drop", "-H", "X-Drop: 1")
    assert code == 0, out
    assert re.search(r"route: +api", out) and re.search(r"upstream: +a", out), out
    assert "GET /users?y=1 HTTP/1.1" in out and "X-Api: 1" in out and "X-Test: 1" in out, out
    assert "X-Drop" not in out and "Host: x.example" in out, out
    for name in ("api", "host", "rest"):
        assert name in out, "route %s is not mentioned:\n%s" % (name, out)


def test_explain_why_not(t):
    code, out, _ = explain(t, "POST", "http://x.example/api/users")
    assert re.search(r"route: +rest", out), out
    assert "method" in [x for x in out.splitlines() if "api" in x][0].lower(), out
    code, out, err = explain(t, "GET", "http://x.example/%zz")
    assert code > 0 and "escape" in out + err, out + err


def test_explain_agrees_with_run(t):
    """The head that explain shows is the head that run sends."""
    o = t.origin()
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}]}},
                 "routes": [{"name": "r", "match": {"path": "/*"}, "to": "o",
                             "request_headers": {"set": {"X-Set": "{host}"}, "remove": ["X-No"]},
                             "rewrite": {"add_prefix": "/v1"}}]})
    fields = [("X-No", "1"), ("TE", "trailers"), ("Connection", "TE"), ("Accept", "*/*")]
    w.get("/a/../b?x=1;y", fields, host="h.example")
    q = o.await_seen("/v1/b")[0]
    args = [a for n, v in fields for a in ("-H", "%s: %s" % (n, v))]
    code, out, err = t.run("explain", w.config_path, "GET", "http://h.example/a/../b?x=1;y", *args)
    assert code == 0, err
    shown = [x.strip() for x in out[out.index("sent upstream:"):].splitlines()[1:] if x.strip()]
    real = q.raw.decode("latin-1").split("\r\n")[:-2]

    def comparable(lines):
        return sorted(x for x in lines if not x.startswith("X-Request-ID"))
    assert comparable(shown) == comparable(real), (shown, real)


def test_schema(t):
    code, out, _ = t.run("schema")
    assert code == 0
    schema = json.loads(out)
    text = json.dumps(schema)
    for key in ("listeners", "upstreams", "routes", "timeouts", "max_connections", "weight",
                "path_regex", "access_log", "request_headers"):
        assert '"%s"' % key in text, "schema lacks " + key


def test_schema_example_is_valid(t):
    """What the program prints as an example passes its own check."""
    code, out, _ = t.run("schema", "--format", "example")
    assert code == 0
    path = os.path.join(t.dir, "example.yaml")
    with open(path, "w") as f:
        f.write(out)
    code, said, err = t.run("check", path)
    assert code == 0, said + err


def test_demo(t):
    """Three origins behind Weir on one printed URL, and a page that shows where requests went."""
    t.not_in("doors", "the demo's own answers may be refused")
    p, text = spawn(t, "demo")
    await_true("the demo prints a URL", lambda: re.search(r"http://\S+:\d+", text()), 30)
    url = re.search(r"http://(\S+:\d+)", text()).group(1)
    client.wait_listening(url, 20, lambda: p.poll() is None)
    with client.Client(url) as c:
        r = c.get("/", host=url)
        assert r.status == 200 and "html" in r.get("content-type"), r
        assert b"<" in r.body and r.complete
        assert b'fetch("/work/"' in r.body, "the page asks for something else"

    def work(n):
        with client.Client(url) as c:
            r = c.get("/work/%d" % n, host=url)
        return r.get("x-origin"), r.status if r.complete else "broken off"
    with ThreadPoolExecutor(12) as crowd:
        seen = list(crowd.map(work, range(48)))
    assert {o for o, _ in seen} == {"alpha", "bravo", "charlie"}, seen
    assert {s for o, s in seen if o != "charlie"} == {200}, seen
    assert {s for o, s in seen if o == "charlie"} == {200, 503, "broken off"}, seen
    ends_well(p, text)


ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
COMPLETION = os.path.join(ROOT, "packaging", "weir.bash-completion")


def completions(*words, cwd=None, env=None):
    """What bash would offer for the last of words."""
    script = ('. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _weir; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "--norc", "-c", script, COMPLETION, *words], cwd=cwd, text=True,
                          env={**os.environ, **(env or {})}, capture_output=True, timeout=60,
                          check=True)
    assert not done.stderr, done.stderr
    return set(done.stdout.split("\n")) - {""}


def options_of(t, command):
    """The options that --help tells of."""
    out = t.run(command, "--help")[1]
    lines = "\n".join(re.findall(r"^  (-.*)", out, re.M))
    return set(re.findall(r"(?:^|, )(-H|--[a-z-]+)", lines, re.M)) | {"--help"}


def commands_of(t):
    """Every command that there is."""
    names = re.findall(r"^  ([a-z]+) ", t.run("--help")[1], re.M)
    assert set(COMMANDS) < set(names), names
    return names


def test_bash_completion(t):
    """Commands, their options and their arguments are completed."""
    assert set(commands_of(t)) | {"help", "--help", "--version"} == completions("weir", "")
    assert completions("weir", "ex") == {"explain"}
    for command in commands_of(t):
        assert completions("weir", command, "-") == options_of(t, command), command
        assert completions("weir", "help", command[:3]) >= {command}
    d = t.make_dir("completion")
    os.mkdir(os.path.join(d, "more"))
    for name in ("a.yaml", "b.yml", "c.txt"):
        open(os.path.join(d, name), "w").close()
    for words in (["check"], ["explain"], ["run", "--config"], ["run", "--config", "="]):
        assert completions("weir", *words, "", cwd=d) == {"a.yaml", "b.yml", "more"}, words
    assert "GET" in completions("weir", "explain", "a.yaml", "")
    assert "root" in completions("weir", "run", "--user", "ro")
    formats = re.search(r"--format FORMAT +(.*)", t.run("schema", "--help")[1], re.S).group(1)
    assert completions("weir", "schema", "--format", "") == set(re.findall(
        r"\b(?!JSON|Schema|the|default)\w+", formats)), formats


def test_bash_completion_of_names(t):
    """Routes and upstreams of a running Weir are completed, but no name that a shell would run."""
    t.not_in("doors", "a completion says nothing of what was refused")
    o = t.origin()
    w = t.start({"upstreams": {"shop": {"endpoints": [o.address]}}, "admin": {"address": t.unix()},
                 "routes": [{"name": "cart", "match": {"path": "/cart"}, "to": "shop"},
                            {"name": "$(echo${IFS}run)", "match": {"path": "/x"}, "to": "shop"},
                            {"name": "rest", "to": "shop"}]})
    routes, upstreams = {"cart", "rest"}, {"shop"}
    for words, names in ((("route", "rm"), routes), (("route", "set"), routes),
                         (("route", "add", "{}", "--within"), routes), (("route", "add"), set()),
                         (("endpoint", "drain"), upstreams), (("breaker",), upstreams)):
        for env, found in ((w.admin, names), (t.unix(), set())):
            assert completions(t.weir_path, *words, "", env={"WEIR_ADMIN": env}) == found, words
    w.stop()


def test_bash_completion_at_a_prompt(t):
    """The same by the TAB key."""
    d = t.make_dir("prompt")
    open(os.path.join(d, "only.yaml"), "w").close()
    terminal, inner = pty.openpty()
    t.spawn(["bash", "--norc", "-i"], stdin=inner, stdout=inner, stderr=inner, cwd=d,
            env={**os.environ, "TERM": "dumb", "PS1": "> "})
    os.close(inner)
    os.write(terminal, b". %s; weir() { printf '[%%s]' \"$@\"; }\n" % COMPLETION.encode())
    os.write(terminal, b"weir che\to\t\n")
    said = b""

    def done():
        nonlocal said
        said += os.read(terminal, 4096)
        return b"[check][only.yaml]" in said
    os.set_blocking(terminal, True)
    await_true("the completed command runs", done)
    os.write(terminal, b"exit\n")
    os.close(terminal)


def test_manual(t):
    """weir(1) has every command, option and format."""
    with open(os.path.join(ROOT, "docs", "man", "weir.1")) as f:
        text = re.sub(r"\\f[BIRP]|\\", "", f.read())
    for command in commands_of(t):
        assert re.search(r"^\.SS (.*, )?%s(,|$)" % command, text, re.M), command
        for option in options_of(t, command) - {"--help"}:
            assert option in text, "weir(1) lacks %s of %s" % (option, command)
    for word in completions("weir", "schema", "--format", "") - {"json"}:
        assert re.search(r"\b%s\b" % word, text), word


def test_occupied_address(t):
    """A listening address in use is said, with exit status not 0."""
    o = t.origin()
    path = os.path.join(t.dir, "occupied.yaml")
    with open(path, "w") as f:
        f.write("listeners: [{address: '%s'}]\nroutes: [{match: {path: /*}, reply: {body: x}}]\n"
                % o.address)
    code, out, err = t.run("run", "--config", path)
    assert code > 0 and o.address in out + err, (code, out, err)


def test_a_server_that_hangs(t):
    """Commands do not wait for it for ever, and say what is wrong."""
    t.not_in("doors", "the server's answer may be refused")
    w = t.start({"admin": {"address": t.unix()}, "routes": [{"match": "/*", "reply": {}}]})
    server = w.server_pid()
    os.kill(server, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor() as both:
            def ask(args):
                return t.run(*args, "--admin", w.admin, timeout=60)
            for code, out, err in both.map(ask, (["status"], ["top", "--once"])):
                assert code == 1 and "no answer within" in err and w.admin in err, (code, out, err)
    finally:
        os.kill(server, signal.SIGCONT)
    assert t.run("status", "--admin", w.admin)[0] == 0
    w.stop()

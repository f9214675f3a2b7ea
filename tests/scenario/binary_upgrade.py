# SPDX-License-Identifier: Apache-2.0
"""A new program in place of the running one: weir upgrade and SIGUSR2."""

import json
import os
import resource
import shutil
import signal
import subprocess
import threading

from peers import client, tls, weir, wire
from peers.h2 import H2
from peers.origin import echo_tunnel
from peers.wire import await_true, over

NOT_IN = {"doors": "it is about processes, not about memory"}
COST = 4


def begin(t):
    t.o = t.origin()
    t.real = t.weir_path


def start(t, config=None, **more):
    """A Weir from a program file of its own, which can be replaced."""
    t.weir_path = os.path.join(t.make_dir("bin"), "weir")
    shutil.copy(t.real, t.weir_path)
    w = t.simple(**more) if config is None else t.start(config)
    w.program, t.weir_path = t.weir_path, t.real
    return w


def replace(w, text):
    """Another program at its path: a script."""
    with open(w.program + ".new", "w") as f:
        f.write(text)
    os.chmod(w.program + ".new", 0o755)
    os.rename(w.program + ".new", w.program)


def upgrade(t, w, *args):
    return t.run("upgrade", "--pid", str(w.pid), *args)


def served_by_another(w, old):
    await_true("another server", lambda: w.children() and old not in w.children())


def test_by_command(t):
    w = start(t)
    assert w.get("/before").status == 200
    old = w.server_pid()
    code, text, err = upgrade(t, w)
    assert code == 0 and "serves" in text, (code, text, err)
    assert w.process.poll() is None
    assert w.get("/after").status == 200
    served_by_another(w, old)
    w.stop()


def test_by_signal(t):
    w = start(t)
    assert w.get("/before").status == 200
    old = w.server_pid()
    os.kill(w.pid, signal.SIGUSR2)
    served_by_another(w, old)
    assert w.get("/after").status == 200
    assert "upgrade.done" in w.log()
    w.stop()


def test_idle_client_loses_nothing(t):
    """An idle connection of the old server is good for one more request, and is told so."""
    w = start(t)
    idle = [w.client() for _ in range(20)]
    for c in idle:
        assert c.get("/one").status == 200
    assert upgrade(t, w)[0] == 0
    assert w.get("/new").status == 200
    replace(w, "#!/bin/sh\nexec sleep 600\n")  # a second goes by, and their server stays
    assert upgrade(t, w, "--within", "1")[0] == 1
    for c in idle:
        r = c.ask("POST", "/two", body=b"body")
        assert r.status == 200 and r.fields.tokens("connection") == ["close"], r
        c.must_end()
    await_true("the old server's end", lambda: len(w.children()) == 1)
    w.stop()


def test_an_answer_that_has_begun(t):
    """Its client was not told that it is the last one: it may ask once more, and is told then."""
    w = start(t)
    go = threading.Event()

    def halves(conn, req):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        go.wait(60)
        conn.send(b"half")
    t.o.on("/halves", halves)
    assert w.get("/before").status == 200
    clients = [w.client() for _ in range(8)]
    heads = []
    for c in clients:
        c.request("GET", "/halves")
        heads.append(c.head())
    assert upgrade(t, w)[0] == 0
    assert w.get("/new").status == 200
    go.set()
    for c, r in zip(clients, heads):
        assert c.finish(r).body == b"halfhalf" and not r.get("connection"), r
    for c in clients:
        r = c.ask("POST", "/more", body=b"body")
        assert r.status == 200 and r.fields.tokens("connection") == ["close"], r
        c.must_end()
    await_true("the old server's end", lambda: len(w.children()) == 1)
    w.stop()


def test_http2_goes_on(t):
    """A client of HTTP/2 gets GOAWAY; its stream ends whole."""
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address]}},
                  "listeners": [{"address": t.address(), "h2c": True}]})
    go = threading.Event()
    t.o.on("/held", lambda conn, req: (go.wait(60), conn.reply(body=b"held")))
    with H2(w.address) as c:
        held = c.request(path="/held")
        t.o.await_seen("/held")
        assert upgrade(t, w)[0] == 0
        c.await_goaway()
        go.set()
        assert c.response(held).body == b"held"
    w.stop()


def test_tunnels_go_on(t):
    """Twice in a row; each old server lives until its tunnel ends."""
    t.o.on("/tunnel", echo_tunnel)
    w = start(t)
    tunnels = []
    for n in range(3):
        c = w.client()
        c.request("GET", "/tunnel", [("Connection", "upgrade"), ("Upgrade", "x")])
        assert c.head().status == 101
        tunnels.append(c)
        if n < 2:
            assert upgrade(t, w)[0] == 0
    assert len(w.children()) == 3, w.children()
    for i, c in enumerate(tunnels):
        c.send("still %d" % i)
        assert c.stream.exactly(7) == b"still %d" % i
        c.close()
    await_true("the old servers' end", lambda: len(w.children()) == 1)
    w.stop()


def still_serves(t, w, old):
    assert w.get("/still").status == 200
    await_true("the old server alone", lambda: w.children() == [old])


def test_bad_programs(t):
    """One that fails, one that hangs, one that is none, one that is not there."""
    w = start(t)
    assert w.get("/before").status == 200
    old = w.server_pid()
    bad = [("#!/bin/sh\necho 'it is broken' >&2; exit 1\n", "exited with status 1", ()),
           ("#!/bin/sh\nexec sleep 600\n", "not ready within 3 s", ("--within", "3")),
           ("no program at all", "Exec format error", ())]
    for text, words, more in bad:
        replace(w, text)
        code, out, err = upgrade(t, w, *more)
        assert code == 1 and words in err and "serves on" in err and not out, (code, out, err)
        still_serves(t, w, old)
    for path, words in (("/nonexistent/weir", "No such file"), ("/tmp", "not a regular file"),
                        (w.config_path, "chmod")):
        code, _, err = upgrade(t, w, "--binary", path)
        assert code == 1 and words in err and path in err, err
    code, _, err = t.run("upgrade", "--pid-file", w.config_path)
    assert code == 1 and "does not hold the id of a process" in err, err
    assert "upgrade.failed" in w.log()
    code, _, err = upgrade(t, w, "--binary", t.real)
    assert code == 0, err
    assert w.get("/after").status == 200
    w.stop()


def test_refuses_the_configuration(t):
    """What the new program cannot use it refuses in words; changes are possible again."""
    d = t.make_dir("logs")
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address]}}, "admin": {"address": t.unix()},
                  "access_log": os.path.join(d, "access.log")})
    assert w.get("/before").status == 200
    old = w.server_pid()
    shutil.rmtree(d)
    code, _, err = upgrade(t, w)
    assert code == 1 and "access.log" in err, err
    still_serves(t, w, old)
    await_true("changes again", lambda: put_route(w, "after").status == 201)
    os.mkdir(d)
    assert upgrade(t, w)[0] == 0
    w.stop()


def put_route(w, name):
    with client.Client(w.admin) as c:
        body = json.dumps({"match": "/" + name, "reply": {"body": name}}).encode()
        return c.ask("PUT", "/v1/routes/" + name, (), body, host="weir")


def add_route(w, name, status=201):
    r = put_route(w, name)
    assert r.status == status, r


def test_changes_are_kept(t):
    """What was changed at run time holds, with and without a directory to keep it in."""
    for more in ({}, {"state_dir": t.make_dir("state")}):
        w = start(t, dict({"upstreams": {"o": {"endpoints": [t.o.address]}},
                           "admin": {"address": t.unix()}}, **more))
        assert w.get("/before").status == 200
        add_route(w, "kept")
        assert upgrade(t, w)[0] == 0
        assert w.get("/kept").body == b"kept"
        add_route(w, "more")
        assert upgrade(t, w)[0] == 0
        assert w.get("/kept").body == b"kept" and w.get("/more").body == b"more"
        assert w.status()["supervisor"] == w.pid
        w.stop()


def hang(t, w):
    """An upgrade that is under way, with a program that never gets ready: its process."""
    assert w.get("/before").status == 200
    replace(w, "#!/bin/sh\nexec sleep 600\n")
    p = t.spawn([t.real, "upgrade", "--pid", str(w.pid), "--within", "600"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    await_true("the next server", lambda: len(w.children()) == 2)
    return p


def failed(p, words):
    out, err = p.communicate(timeout=wire.patience())
    assert p.returncode == 1 and words in err, (out, err)


def test_under_way(t):
    """A second one is refused, nothing can be changed, a stop ends all."""
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address]}}, "admin": {"address": t.unix()}})
    p = hang(t, w)
    code, _, err = upgrade(t, w)
    assert code == 1 and "another upgrade is under way" in err, err
    add_route(w, "refused", 503)
    assert w.get("/meanwhile").status == 200
    w.terminate()
    failed(p, "being stopped")
    assert w.wait() == 0
    w.stop()


def test_stopped_meanwhile(t):
    """What is under way ends whole, also in a server that itself followed another."""
    w = start(t)
    assert w.get("/before").status == 200
    assert upgrade(t, w)[0] == 0
    go = threading.Event()
    t.o.on("/held", lambda conn, req: (go.wait(60), conn.reply(body=b"held")))
    with w.client() as c:
        c.request("GET", "/held")
        t.o.await_seen("/held")
        await_true("the first server's end", lambda: len(w.children()) == 1)
        p = hang(t, w)
        w.terminate()
        failed(p, "being stopped")
        go.set()
        assert c.response().body == b"held"
    assert w.wait() == 0
    w.stop()


def test_server_killed_meanwhile(t):
    w = start(t)
    p = hang(t, w)
    os.kill(w.server_pid(), signal.SIGKILL)
    failed(p, "ended meanwhile")
    assert w.get("/after").status == 200
    w.stop()


def test_supervisor_killed_meanwhile(t):
    w = start(t)
    p = hang(t, w)
    left = w.children()
    os.kill(w.pid, signal.SIGKILL)
    w.expect_exit = -signal.SIGKILL
    w.process.wait()
    failed(p, "ended before it said")
    await_true("nobody is left", lambda: all(over(pid) for pid in left))
    w.stop()


def test_killed_afterwards(t):
    """The new server is followed by another of the new program; an old one that is killed takes
    nothing but its own with it."""
    t.o.on("/tunnel", echo_tunnel)
    w = start(t)
    c = w.client()
    c.request("GET", "/tunnel", [("Connection", "upgrade"), ("Upgrade", "x")])
    assert c.head().status == 101
    old = w.server_pid()
    shutil.copy(t.real, w.program + ".new")
    os.rename(w.program + ".new", w.program)
    assert upgrade(t, w)[0] == 0
    new = [p for p in w.children() if p != old][0]
    os.kill(new, signal.SIGKILL)
    await_true("another server", lambda: len(w.children()) == 2 and new not in w.children())
    assert w.get("/again").status == 200
    for pid in [w.pid] + [p for p in w.children() if p != old]:
        assert os.stat("/proc/%d/exe" % pid).st_ino == os.stat(w.program).st_ino
    os.kill(old, signal.SIGKILL)
    c.must_end()
    await_true("one server", lambda: len(w.children()) == 1)
    assert w.get("/last").status == 200
    w.stop()


def test_stop_with_an_old_one(t):
    """SIGTERM does not wait for idle clients of the server before."""
    w = start(t)
    c = w.client()
    assert c.get("/one").status == 200
    assert upgrade(t, w)[0] == 0
    w.terminate()
    c.must_end()
    assert w.wait() == 0
    w.stop()


def test_health_is_inherited(t):
    """What checks found holds from the first request on, long before they look again."""
    down = t.address()
    health = {"type": "tcp", "interval": "1h", "fast_interval": "10ms", "fall": 1, "jitter": 0,
              "timeout": "10s"}
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address, down],
                                      "health": dict(health, interval="20ms")}}, "admin": {
                                          "address": t.unix()}, "retry": {"tries": 1}})

    def states():
        return {e["address"]: e["state"] for e in w.status()["upstreams"][0]["endpoints"]}
    await_true("it is down", lambda: states()[down] == "down")
    w.reload(w.with_config(upstreams={"o": {"endpoints": [t.o.address, down], "health": health}}))
    await_true("the reload", lambda: "interval" in w.log())
    assert states()[down] == "down"
    assert upgrade(t, w)[0] == 0
    assert states() == {t.o.address: "up", down: "down"}, states()
    for i in range(10):
        assert w.get("/%d" % i).status == 200
    w.stop()


def test_an_open_breaker_stays_open(t):
    """Of an upstream, a route and an endpoint: no request reaches the broken service, also after
    the second upgrade; once its time is over, probes close it."""
    for scope in ("upstream", "route", "endpoint"):
        breaker = {"scope": scope, "minimum_calls": 5, "open": "600s", "probes": 2}
        w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address], "ejection": False,
                                          "breaker": breaker}}, "admin": {"address": t.unix()}})
        path = "/broken-" + scope
        t.o.on(path, lambda conn, req: conn.reply(500))
        assert [w.get(path).status for _ in range(6)] == [500] * 5 + [503]
        for _ in range(2):
            assert upgrade(t, w)[0] == 0
            r = w.get(path)
            assert r.status == 503 and len(t.o.seen(path)) == 5, (scope, r)
        assert "had opened it" in w.log()
        w.stop()


def test_a_half_open_breaker_goes_on(t):
    """Its probes are of the new program, and a closed breaker is closed."""
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address], "ejection": False, "breaker": {
        "minimum_calls": 5, "open": "10ms", "probes": 100}}}, "admin": {"address": t.unix()}})
    bad = threading.Event()
    bad.set()
    t.o.on("/half", lambda conn, req: conn.reply(500 if bad.is_set() else 200))
    for _ in range(5):
        assert w.get("/half").status == 500
    await_true("a probe", lambda: w.get("/half").status == 500)

    def state():
        return w.status()["upstreams"][0]["breaker"]["state"]
    assert state() == "half_open"
    assert upgrade(t, w)[0] == 0
    assert state() == "open"
    bad.clear()
    await_true("it closes", lambda: w.get("/half").status == 200 and state() == "closed")
    assert upgrade(t, w)[0] == 0
    assert state() == "closed"
    w.stop()


def test_response_times_are_inherited(t):
    """The slow endpoint is not tried first because nobody knows it. It is slower by far than a busy
    machine makes the other, and than what is forgotten of it during an upgrade."""
    slow = t.origin("slow")
    slow.on("/time", lambda conn, req: (threading.Event().wait(1.5), conn.reply(200)))
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address, slow.address],
                                      "balance": "ewma"}}, "admin": {"address": t.unix()}})
    await_true("both are known", lambda: w.get("/time").status == 200 and slow.seen("/time") and
               t.o.seen("/time"))
    asked = len(slow.seen("/time"))
    assert upgrade(t, w)[0] == 0
    assert [w.get("/time").status for _ in range(12)] == [200] * 12
    assert len(slow.seen("/time")) == asked
    w.stop()


def resume(t, w, version, *args):
    """What openssl s_client says of a connection that closes after a request."""
    p = subprocess.run([t.needs("openssl"), "s_client", "-connect", w.address, "-servername",
                        "localhost", "-" + version, "-ign_eof", *args],
                       input=b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       timeout=wire.patience() * 3)
    out = p.stdout.decode("latin-1")
    assert "HTTP/1.1 200" in out, out
    return out


def test_tls_sessions_are_resumed(t):
    """By clients of the program before, and of the one before that."""
    site = tls.authority(t).sign("site", ["localhost"])
    one = {"address": t.address(), "tls": {"certificates": [site.conf()]}}
    w = start(t, weir.one_origin(t.o.address, listeners=[one], admin={"address": t.unix()}))
    files = {v: os.path.join(t.dir, v) for v in ("tls1_2", "tls1_3")}
    for version, path in files.items():
        assert "New, " in resume(t, w, version, "-sess_out", path)
    for _ in range(2):
        assert upgrade(t, w)[0] == 0
        for version, path in files.items():
            out = resume(t, w, version, "-sess_in", path)
            assert "Reused, " in out, out
    w.stop()


def test_events_go_on(t):
    """Who watches with weir events goes on watching the process that follows."""
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address]}}, "admin": {"address": t.unix()}})
    watch = t.spawn([t.weir_path, "events", "--json", "--admin", w.admin], stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE, env={**os.environ, **t.weir_env})
    told, said = [], []
    threads = [threading.Thread(target=lambda f=f, l=l: l.extend(iter(f.readline, b"")))
               for f, l in ((watch.stdout, told), (watch.stderr, said))]
    for th in threads:
        th.start()

    def changed(name):
        """That a route of that name was added is told, once it is heard that one was."""
        n = 0

        def heard():
            nonlocal n
            n += 1
            t.run("route", "add", json.dumps({"name": "%s%d" % (name, n), "match": "/%s%d" % (
                name, n), "reply": {}}), "--admin", w.admin)
            return any(name in x.decode() for x in told)
        await_true("an event of " + name, heard)
    changed("before")
    assert upgrade(t, w)[0] == 0
    changed("upgraded")
    await_true("the new server alone", lambda: len(w.children()) == 1)
    old = w.server_pid()
    os.kill(old, signal.SIGKILL)
    served_by_another(w, old)
    changed("restarted")
    assert not said, said
    w.stop()
    assert watch.wait(60) == 1
    for th in threads:
        th.join()
    assert b"nobody answers any more" in b"".join(said), said
    watch.stdout.close()
    watch.stderr.close()


def mode_of(address):
    return oct(os.stat(address[5:]).st_mode & 0o777)


def test_the_admin_address_moves(t):
    """What a reload cannot change, an upgrade does: the new address is served, the old one ends."""
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address]}}, "admin": {"address": t.unix()}})
    before, after = w.admin, t.unix()
    w.reload(w.with_config(admin={"address": after, "mode": "0620"}),
             lambda: "config.restart_needed" in w.log())
    assert upgrade(t, w)[0] == 0
    client.wait_listening(after, 30)
    assert mode_of(after) == "0o620"
    assert w.status()["supervisor"] == w.pid
    await_true("the old file's end", lambda: not os.path.exists(before[5:]))
    w.reload(w.with_config(admin={"address": after, "mode": "0640"}),
             lambda: w.log().count("config.restart_needed") == 2)
    assert mode_of(after) == "0o620"
    assert upgrade(t, w)[0] == 0
    assert mode_of(after) == "0o640"
    w.stop()


def test_the_pid_file_stays(t):
    """What a start alone may choose outlives an upgrade; a file that another configuration names is
    left alone."""
    before, after = (os.path.join(t.dir, name) for name in ("before.pid", "after.pid"))
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address]}}, "pid_file": before,
                  "admin": {"address": t.unix()}})
    with open(after, "w") as f:
        f.write("of somebody else")
    w.reload(w.with_config(pid_file=after, user="nobody"),
             lambda: "config.restart_needed" in w.log())
    assert upgrade(t, w)[0] == 0
    await_true("the new server alone", lambda: len(w.children()) == 1)
    assert os.stat("/proc/%d" % w.server_pid()).st_uid == os.getuid()
    assert "server.user" not in w.log(), "an upgrade took another user"
    old = w.server_pid()
    code, out, err = t.run("upgrade", "--pid-file", before)
    assert code == 0 and "serves" in out, (out, err)
    served_by_another(w, old)
    w.stop()
    assert not os.path.exists(before)
    with open(after) as f:
        assert f.read() == "of somebody else"


def test_no_descriptor_is_left(t):
    """What was changed at run time cannot be handed on: no upgrade, and nothing is lost."""
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address]}}, "admin": {"address": t.unix()}})
    add_route(w, "kept")
    old, limits = w.server_pid(), resource.prlimit(w.server_pid(), resource.RLIMIT_NOFILE)
    resource.prlimit(old, resource.RLIMIT_NOFILE, (3, limits[1]))
    code, _, err = upgrade(t, w)
    assert code == 1 and "descriptor" in err, (code, err)
    resource.prlimit(old, resource.RLIMIT_NOFILE, limits)
    still_serves(t, w, old)
    assert upgrade(t, w)[0] == 0
    assert w.get("/kept").body == b"kept"
    w.stop()


def test_another_number_of_workers(t):
    """Each worker accepts, and no socket is left without one."""
    w = start(t, {"upstreams": {"o": {"endpoints": [t.o.address]}}, "workers": 2,
                  "admin": {"address": t.unix()}})
    for done, n in enumerate((4, 1, 3)):
        w.reload(w.with_config(workers=n),
                 lambda done=done: w.log().count("config.restart_needed") > done)
        assert upgrade(t, w)[0] == 0
        await_true("%d workers" % n, lambda n=n: len(w.status()["workers"]) in (n, n + 1))
        for i in range(30):
            assert w.get("/%d" % i).status == 200
    w.stop()

# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: a new configuration without one failed request, a bad one refused, tunnels that go on."""

import json
import os
import re
import signal
import threading
import time

from peers import client, wire
from peers.origin import echo_tunnel
from peers.wire import await_true


def generation(n, **more):
    """A route that tells which configuration is in force."""
    return dict({"name": "gen", "match": {"path": "/gen"}, "reply": {"body": "gen %d" % n}}, **more)


def config(w, t, n, **top):
    base = {"listeners": w.config["listeners"] if w else [{"address": t.address()}],
            "workers": 2, "upstreams": {"o": {"endpoints": [{"address": t.o.address}]}},
            "routes": [generation(n), {"name": "all", "match": {"path": "/*"}, "to": "o"}]}
    if w:
        base["access_log"] = w.config["access_log"]
        if "admin" in w.config:
            base["admin"] = w.config["admin"]
    base.update(top)
    return base


def begin(t):
    t.o = t.origin()
    t.w = t.start(config(None, t, 0), admin=True)
    t.n = 0


def test_routes_that_nothing_reaches(t):
    """They are told by check, at a start and at a load, and are no reason to refuse the file."""
    def routes(*names):
        return [{"name": n, "match": {"path": "/twice", "headers": h}, "reply": {"body": n}}
                for n, h in zip(names, ({"A": "1", "B": "2"}, {"b": "2", "a": "1"}))] + [
            {"match": "/n/*", "to": "o", "routes": [{"match": "/n/x", "reply": {"body": "x"}}]}]

    def said(name, first):
        return 'warning: route \\"%s\\" is never used: route \\"%s\\" at line ' % (name, first)

    w = t.start({**config(None, t, 0), "routes": routes("one", "two"),
                 "admin": {"address": t.unix()}})
    code, out, err = t.run("check", w.config_path)
    assert code == 0 and out.endswith(", 1 warning\n"), (out, err)
    lines = err.splitlines()
    assert len(lines) == 1 and re.match(
        re.escape(w.config_path) + r':\d+:\d+: warning: route "two" is never used: route "one" at '
        r"line \d+ has the same match", lines[0]), err
    await_true("the warning", lambda: said("two", "one") in w.log())
    assert w.log().count("config.warning") == 1, w.log()
    fields = (("A", "1"), ("B", "2"))
    assert w.get("/twice", fields).body == b"one"
    w.reload(w.with_config(routes=routes("three", "four")),
             lambda: said("four", "three") in w.log())
    await_true("the load", lambda: w.get("/twice", fields).body == b"three")
    with client.Client(w.admin) as c:  # changes something else, so says nothing of it again
        r = c.ask("POST", "/v1/upstreams/o/endpoints", (), b'{"address": "127.0.0.1:9"}',
                  host="weir")
    assert r.status == 201, r
    assert w.log().count("config.warning") == 2, w.log()
    w.reload(w.with_config(routes=routes("five")),
             lambda: w.get("/twice", fields).body == b"five")
    w.stop()
    assert w.log().count("config.warning") == 2, w.log()


def test_warnings_where_one_asks(t):
    """plan, reload and the API's answer repeat them."""
    t.not_in("doors", "the admin API may be refused memory")
    w = t.start({**config(None, t, 0), "admin": {"address": t.unix()}})

    def routes(*names):
        return [{"name": n, "match": "/twice", "reply": {"body": n}} for n in names]
    path = os.path.join(t.make_dir("plan"), "next.yaml")
    with open(path, "w") as f:
        json.dump(w.with_config(routes=routes("six", "seven")), f)
    asked = ("--admin", w.admin)
    code, out, err = t.run("plan", *asked, path)
    assert code == 0 and "route six: added" in out, (out, err)
    assert err.startswith(path + ":") and 'warning: route "seven" is never used' in err, err
    told = json.loads(t.run("plan", "--json", *asked, path)[1])["warnings"]
    assert [x + "\n" for x in told] == [err], told
    with open(w.config_path, "w") as f:
        json.dump(w.with_config(routes=routes("six", "seven")), f)
    code, out, err = t.run("reload", *asked)
    assert code == 0 and "in use: generation" in out, (out, err)
    assert err.startswith(w.config_path + ":") and 'route "seven" is never used' in err, err
    assert len(err.splitlines()) == 1 and w.log().count("config.warning") == 1, err
    told = json.loads(t.run("reload", "--json", *asked)[1])["warnings"]
    assert [x + "\n" for x in told] == [err], told
    with open(w.config_path, "w") as f:
        json.dump(w.with_config(routes=routes("six")), f)
    with client.Client(w.admin) as c:
        r = c.ask("POST", "/v1/reload", host="weir")
    assert r.status == 200 and b'"warnings":[]' in r.body, r
    code, _, err = t.run("route", "rm", "six", *asked)  # is no reload
    assert code == 0, err
    assert w.metrics().value("weir_config_reloads_total", result="taken") == 3


def reload(t, **top):
    t.n += 1
    want = b"gen %d" % t.n
    t.w.reload(config(t.w, t, t.n, **top), lambda: t.w.get("/gen").body == want, everywhere=True)


def test_takes_effect(t):
    assert t.w.get("/gen").body == b"gen 0"
    reload(t)
    reload(t)


def test_under_load(t):
    """Reloads while clients ask, twenty and as many more as fall into their requests: every answer
    is right."""
    stop = threading.Event()
    wrong, done = [], [0]

    def ask(i):
        n = 0
        while not stop.is_set():
            try:
                with t.w.client() as c:
                    for _ in range(20):
                        r = c.ask("POST", "/load%d-%d" % (i, n), body=b"body")
                        if r.body != b"origin POST /load%d-%d\nbody" % (i, n):
                            wrong.append(r)
                        n += 1
                        if r.fields.tokens("connection") == ["close"]:
                            break
            except Exception as e:
                wrong.append(repr(e))
            done[0] += 1
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for th in threads:
        th.start()
    for n in range(5000):
        if n >= 20 and done[0] > 4:
            break
        reload(t)
    stop.set()
    for th in threads:
        th.join()
    assert not wrong, "%d failed, first: %s" % (len(wrong), wrong[0])
    assert done[0] > 4


def test_bad_file_is_refused(t):
    reload(t)  # where a door ended the test before this one, its last reload may still be due
    before = t.w.get("/gen").body
    for text in ("routes: [", "wrokers: 1\n", "", "routes: [{match: {path: /*}, to: nobody}]\n"):
        said = len(t.w.log())
        with open(t.w.config_path, "w") as f:
            f.write(text)
        os.kill(t.w.pid, signal.SIGHUP)
        if text:
            await_true("the refusal is logged",
                       lambda: "config.refused" in t.w.log()[said:])
        assert t.w.get("/gen").body == before, text
        assert t.w.get("/still").status == 200
    with open(t.w.config_path, "w") as f:
        f.write("workers: x\nlisteners: 5\n")
    said = len(t.w.log())
    os.kill(t.w.pid, signal.SIGHUP)
    await_true("all errors are logged", lambda: "weir.yaml:1:" in t.w.log()[said:]
               and "weir.yaml:2:" in t.w.log()[said:])
    os.unlink(t.w.config_path)
    said = len(t.w.log())
    os.kill(t.w.pid, signal.SIGHUP)
    await_true("the refusal is logged", lambda: "config.refused" in t.w.log()[said:])
    assert t.w.get("/gen").body == before
    reload(t)


def test_every_error_of_a_bad_file(t):
    """A refusal says all errors, one a line, however many there are."""
    said = len(t.w.log())
    t.w.write("routes:\n" + "".join("  - {match: /%d, too: nobody}\n" % i for i in range(80)))
    os.kill(t.w.pid, signal.SIGHUP)
    wanted = ["weir.yaml:%d:" % line for line in range(2, 82)]

    def refusals():  # the log may still tell how many lines of earlier loads it left out
        all_ = [json.loads(x) for x in t.w.log()[said:].splitlines()]
        return [x for x in all_ if x["event"] == "config.refused"]
    await_true("all errors are logged", lambda: all(
        any(w in x["text"] for x in refusals()) for w in wanted))
    assert not any("\n" in x["text"] for x in refusals()), refusals()
    assert t.w.get("/still").status == 200


def test_log_form(t):
    """log.format and log.level change by a reload, and back to their defaults."""
    w = t.start({"routes": [generation(0)]})
    for n, (log, form) in enumerate((({"format": "human"}, r"^\S+Z info +config\.loaded: "),
                                     ({}, r'"event":"config\.loaded"'), ({"level": "error"}, None),
                                     ({"level": "info"}, r'"event":"config\.loaded"')), 1):
        said = len(w.log())
        w.reload(w.with_config(routes=[generation(n)], log=log),
                 lambda n=n: w.get("/gen").body == b"gen %d" % n)
        if form:
            await_true("a line of that form", lambda f=form, s=said: re.search(
                f, w.log()[s:], re.M))
    w.stop()


def test_nobody_reads_the_log(t):
    """Weir's own log on a pipe that nobody reads stalls nothing."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    path = os.path.join(t.make_dir("stalled"), "weir.yaml")
    address = t.address()

    def write(body):
        with open(path, "w") as f:
            f.write("listeners: ['%s']\nroutes: [{match: /*, reply: {body: %s}}]\n"
                    % (address, body))
    write("one")
    p = t.spawn([t.weir_path, "run", "--config", path], stdout=writer, stderr=writer,
                env={**os.environ, **t.weir_env})
    client.wait_listening(address, 20, lambda: p.poll() is None)
    for body in ("two", "three"):
        write(body)
        p.send_signal(signal.SIGHUP)

        def answer():
            with client.Client(address) as c:
                return c.get("/").body.decode()
        await_true("the reload", lambda b=body: answer() == b)
    p.send_signal(signal.SIGTERM)
    assert p.wait(wire.patience() * 2) == 0
    os.close(reader)
    os.close(writer)


def test_failing_test_in_the_file(t):
    reload(t)  # as above
    before = t.w.get("/gen").body
    said = len(t.w.log())
    t.w.reload(dict(config(t.w, t, 99), tests=[{
        "request": {"method": "GET", "url": "http://a/x"}, "expect": {"route": "gen"}}]))
    await_true("the refusal is logged", lambda: "config.refused" in t.w.log()[said:])
    assert t.w.get("/gen").body == before
    reload(t)


def test_restart_needed(t):
    """It is said at each load while the file differs from the start, and then no more."""
    address = t.address()
    w = t.start({"listeners": [{"address": address, "backlog": 100}], "workers": 1,
                 "upstreams": {"o": t.o.address}, "routes": [generation(0)]}, admin=True)

    def load(n, said, **more):
        before = len(w.log())
        w.reload(w.with_config(routes=[generation(n)], **more),
                 lambda: w.get("/gen").body == b"gen %d" % n)
        await_true("the log", lambda: "config.changed" in w.log()[before:])
        log = w.log()[before:]
        words = re.findall(r"cannot change ([^:]*):", log)
        assert words == ([said] if said else []), (n, log)
    backlog = {"listeners": [{"address": address, "backlog": 200}]}
    load(1, "")
    load(2, "workers", workers=2)
    load(3, "workers", workers=2)
    load(4, "workers, listeners[].backlog", workers=2, **backlog)
    load(5, "listeners[].backlog", workers=1, **backlog)
    load(6, "", listeners=[{"address": address, "backlog": 100}])
    # A server that is started after a crash is told of the start, too.
    load(7, "workers", workers=2)
    old = w.server_pid()
    os.kill(old, signal.SIGKILL)
    await_true("another server", lambda: w.children() and w.server_pid() != old)
    await_true("it serves", lambda: w.get("/gen").body == b"gen 7")
    load(8, "workers", workers=2)
    load(9, "", workers=1)


def test_tunnel_survives(t):
    t.o.on("/tunnel", echo_tunnel)
    with t.w.client() as c:
        c.request("GET", "/tunnel", [("Connection", "upgrade"), ("Upgrade", "x")])
        assert c.head().status == 101
        for i in range(5):
            reload(t)
            c.send("still here %d" % i)
            assert c.stream.exactly(12) == b"still here %d" % i


def test_running_exchange_keeps_its_configuration(t):
    """A request that waits for its answer during a reload gets the answer."""
    go = threading.Event()
    t.o.on("/wait", lambda conn, req: (go.wait(60), conn.reply(200, body=b"waited")))
    reload(t, routes=[generation(t.n + 1), {"match": {"path": "/*"}, "to": "o",
                                            "response_headers": {"set": {"X-Old": "1"}}}])
    with t.w.client() as c:
        c.request("GET", "/wait")
        t.o.await_seen("/wait")
        reload(t)
        reload(t)
        go.set()
        r = c.response()
        assert r.body == b"waited" and r.get("x-old") == "1", r
        assert not c.get("/next").fields.has("x-old"), "the next one has the new configuration"


def test_removed_upstream(t):
    """The idle links of an upstream that is gone are closed; a running exchange finishes."""
    other = t.origin("other")
    go = threading.Event()
    other.on("/other/wait", lambda conn, req: (go.wait(60), conn.reply(200, body=b"late")))
    two = {"o": {"endpoints": [{"address": t.o.address}]},
           "other": {"endpoints": [{"address": other.address}]}}
    t.n += 1
    t.w.reload(config(t.w, t, t.n, upstreams=two, routes=[
        generation(t.n), {"match": {"path": "/other/*"}, "to": "other"},
        {"match": {"path": "/*"}, "to": "o"}]),
        lambda: t.w.get("/other/a").body.startswith(b"other"), everywhere=True)
    with t.w.client() as c:
        c.request("GET", "/other/wait")
        other.await_seen("/other/wait")
        reload(t)
        assert t.w.get("/other/b").body.startswith(b"origin")
        go.set()
        assert c.response().body == b"late"
    for conn in other.connections:
        assert conn.ended.wait(wire.patience(20)), "a link to a removed upstream stays open"


def test_pool_is_kept(t):
    """An upstream that did not change keeps its links."""
    t.w.get("/warm")
    before = len(t.o.connections)
    for _ in range(5):
        reload(t)
        t.w.get("/after-reload")
    assert len(t.o.connections) <= before + 2, "reloads throw the links away"


def test_listener_added_and_removed(t):
    extra = t.address()
    listeners = t.w.config["listeners"]
    t.n += 1
    t.w.reload(config(t.w, t, t.n, listeners=listeners + [{"address": extra}]),
               lambda: t.w.get("/gen").body == b"gen %d" % t.n, everywhere=True)
    client.wait_listening(extra, 20)
    with client.Client(extra) as c:
        assert c.get("/gen").body == b"gen %d" % t.n
    reload(t, listeners=listeners)

    def refused():
        try:
            wire.connect(extra).close()
            return False
        except OSError:
            return True
    await_true("the removed listener is closed", refused)


def test_weights_and_limits_change(t):
    other = t.origin("heavy")
    up = {"o": {"endpoints": [{"address": t.o.address, "weight": 0},
                              {"address": other.address, "weight": 1}]}}
    reload(t, upstreams=up)
    assert all(t.w.get("/x").body.startswith(b"heavy") for _ in range(6))
    reload(t)
    assert all(t.w.get("/x").body.startswith(b"origin") for _ in range(6))


def test_many_reloads_leave_nothing(t):
    """Memory and descriptors after sixty reloads are those of before."""
    for _ in range(5):
        reload(t)
    fds, memory = t.w.fds(), t.w.memory()
    for _ in range(60):
        reload(t)
    await_true("descriptors", lambda: t.w.fds() <= fds + 4)
    if not t.sanitized:
        assert t.w.memory() < memory + (4 << 20), "%d KiB more" % ((t.w.memory() - memory) >> 10)


def test_signals_in_a_row(t):
    """Many SIGHUPs at once end in the last file."""
    t.n += 1
    before = t.w.generation()
    t.w.write(config(t.w, t, t.n))
    for _ in range(30):
        os.kill(t.w.pid, signal.SIGHUP)
    await_true("the last file", lambda: t.w.get("/gen").body == b"gen %d" % t.n)
    await_true("all workers have it", lambda: t.w.generation() > before)
    began = time.monotonic()
    while time.monotonic() - began < 0.3:
        assert t.w.get("/gen").body == b"gen %d" % t.n

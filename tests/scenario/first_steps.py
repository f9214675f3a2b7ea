# SPDX-License-Identifier: Apache-2.0
"""A new user's first files and words: the smallest configuration and every part of it, logs for a
terminal and for a machine, and the figures that an operator looks at first."""

import itertools
import json
import os
import pty
import re
import signal

import yaml

from peers import client, prometheus, wire
from peers.wire import await_true

PARTS = ("workers", "listeners", "routes", "admin", "access_log")


def smallest(t, origin):
    return {"workers": 1, "listeners": [{"address": t.address()}],
            "upstreams": {"origin": {"endpoints": [{"address": origin, "weight": 1}]}},
            "routes": [{"match": {"path": "/*"}, "to": "origin"}],
            "admin": {"address": t.address()},
            "access_log": {"path": os.path.join(t.dir, "first.log")}}


def test_every_part_may_be_left_out(t):
    for variant in ("onebyte", "doors"):
        t.not_in(variant, "a command is the same in each variant")
    whole = smallest(t, "127.0.0.1:9000")
    path = os.path.join(t.dir, "part.yaml")
    for n in range(len(PARTS) + 1):
        for left_out in itertools.combinations(PARTS, n):
            part = {k: v for k, v in whole.items() if k not in left_out}
            for endpoint in ({"address": "127.0.0.1:9000", "weight": 1},
                             {"address": "127.0.0.1:9000"}, "127.0.0.1:9000"):
                part["upstreams"] = {"origin": {"endpoints": [endpoint]}}
                with open(path, "w") as f:
                    yaml.safe_dump(part, f)
                code, out, err = t.run("check", path)
                assert code == 0, (left_out, endpoint, out + err)


def test_parts_serve(t):
    """The whole and the least, as the page of the issue and the manual have them."""
    o = t.origin()
    whole = smallest(t, o.address)
    for left_out in ((), ("workers", "routes"), ("admin",), ("access_log", "admin", "routes")):
        w = t.start({k: v for k, v in whole.items() if k not in left_out},
                    admin="admin" not in left_out)
        assert w.get("/x").body == b"origin GET /x\n", left_out
        w.stop()


def on_a_terminal(t, *args):
    """Starts Weir with its standard error on a terminal; a function that gives its text."""
    terminal, inner = pty.openpty()
    p = t.spawn([t.weir_path, *args], stderr=inner, stdout=inner,
                env={**os.environ, **t.weir_env})
    os.close(inner)
    said = []

    def text():
        os.set_blocking(terminal, False)
        try:
            said.append(os.read(terminal, 65536).decode())
        except (BlockingIOError, OSError):
            pass
        return "".join(said)
    return p, text


def test_log_on_a_terminal(t):
    path, address = os.path.join(t.dir, "terminal.yaml"), t.address()
    with open(path, "w") as f:
        f.write("listeners: ['%s']\nroutes: [{match: /*, reply: {body: x}}]\n" % address)
    p, text = on_a_terminal(t, "run", "--config", path)
    client.wait_listening(address, 20, lambda: p.poll() is None)
    with open(path, "w") as f:
        f.write("rowtes: []\nworkers: many\n")
    p.send_signal(signal.SIGHUP)
    await_true("the refusal", lambda: "workers: " in text())
    for line in (r"info  server\.started: serving on " + re.escape(address),
                 r"error config\.refused: \S+terminal.yaml is refused",
                 r'error config\.refused: \S+terminal.yaml:1:1: unknown key "rowtes" .*"routes"\?',
                 r"error config\.refused: \S+terminal.yaml:2:10: workers: "):
        assert re.search(r"^\d{4}-\d\d-\d\dT[\d:.]+Z " + line, text(), re.M), text()
    p.send_signal(signal.SIGTERM)
    assert p.wait(wire.patience()) == 0


def test_log_for_a_machine(t):
    w = t.start({"routes": [{"match": {"path": "/*"}, "reply": {"body": "x"}}]})
    w.stop()
    lines = [json.loads(x) for x in w.log().splitlines()]
    assert {"server.started", "supervisor.stopping"} <= {x["event"] for x in lines}, lines
    for x in lines:
        assert set(x) == {"time", "level", "event", "text"}, x
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", x["time"]), x


NAMES = ('plain', 'quo"te', 'back\\slash', 'na\u00efve', 'curly}', 'a,b="c"', '{x}')


def test_names_in_figures(t):
    """Names of routes and upstreams are escaped in /metrics, /status and the access log."""
    t.not_in("doors", "which requests are answered is chance there")
    o = t.origin()
    w = t.start({"upstreams": {n: {"endpoints": [o.address]} for n in NAMES},
                 "routes": [{"name": n, "match": {"path": "/%d" % i}, "to": n}
                            for i, n in enumerate(NAMES)]}, admin=True)
    for i, name in enumerate(NAMES):
        w.get("/%d" % i)
        x = w.line_for("/%d" % i)
        assert x["route"] == name and x["upstream"] == name, x

    def escaped(name):
        return name.replace("\\", "\\\\").replace('"', '\\"')

    def counted():
        m = prometheus.parse(w.admin_get("/metrics").body.decode("utf-8"))
        return all(m.value("weir_requests_total", route=escaped(n)) == 1 and
                   m.value("weir_upstream_requests_total", upstream=escaped(n)) == 1
                   for n in NAMES)
    await_true("all are counted", counted)
    status = json.loads(w.admin_get("/status").body)
    assert sorted(u["name"] for u in status["upstreams"]) == sorted(NAMES), status


def test_status(t):
    """What /status says is so."""
    o = t.origin()
    w = t.start({"workers": 2, "upstreams": {"o": {"endpoints": [
        {"address": o.address, "weight": 3}, {"address": t.address(), "weight": 0}]}},
        "routes": [{"name": "r", "match": {"path": "/*"}, "to": "o"}]}, admin=True)
    with w.client() as c:
        for _ in range(4):
            assert c.get("/x").status == 200
        def status_now():
            return json.loads(w.admin_get("/status").body)

        def connections():
            return sum(x["connections"] for x in status_now()["workers"])
        await_true("the link is idle again", lambda: status_now()["upstreams"][0]["endpoints"][0]
                   ["connections"]["idle"] == 1)
        status = status_now()
        _, version, _ = t.run("version")
        assert "weir " + status["version"] == version.strip(), status
        assert status["state"] == "serving" and status["listeners"] == [w.address], status
        assert status["configuration"]["generation"] == 1, status
        assert status["configuration"]["routes"] == 1 and len(status["workers"]) == 2, status
        await_true("one client", lambda: connections() == 1)
        first, second = status["upstreams"][0]["endpoints"]
        assert first["address"] == o.address and first["weight"] == 3, first
        assert first["requests"] == 4 and first["connections"]["opened"] == 1, first
        assert first["connections"]["reused"] == 3 and first["connections"]["idle"] == 1, first
        assert second["weight"] == 0 and second["requests"] == 0, second
    m = w.metrics()
    for name, labels in (("weir_loop_turns_total", {"worker": "0"}), ("process_max_fds", {}),
                         ("weir_loop_busy_seconds_total", {"worker": "1"}),
                         ("weir_memory_limit_bytes", {}), ("process_cpu_seconds_total", {}),
                         ("weir_upstream_connections_idle", {"upstream": "o"})):
        assert m.value(name, **labels) > 0, name
    assert m.has("weir_loop_lag_max_seconds", worker="main")
    await_true("it is gone", lambda: connections() == 0)
    clients = [w.client() for _ in range(20)]
    for c in clients:
        assert c.get("/y").status == 200
    fds = w.metrics().value("process_open_fds")
    for c in clients:
        c.close()
    await_true("theirs are closed", lambda: w.metrics().value("process_open_fds") <= fds - 20)

# SPDX-License-Identifier: Apache-2.0
"""Active checks: origins that stop, answer errors, hang or flap are found without a request of a
client, and come back by themselves."""

import copy
import os
import signal
import socket
import subprocess
import sys
import threading

from peers import client, wire

FAST = {"interval": "50ms", "timeout": "2s"}  # none is that slow, however busy the machine is
SILENT = dict(FAST, timeout="500ms")  # where it is the time that fails


def start(t, n, health, ready=True, **more):
    origins = [t.origin("o%d" % i) for i in range(n)]
    config = {"upstreams": {"u": {"endpoints": [o.address for o in origins], "ejection": False,
                                  "health": dict(FAST, **health),
                                  "balance": {"slow_start": "off", "panic_threshold": 0}}},
              "routes": [{"match": {"path": "/*"}, "to": "u"}]}
    config.update(more)
    return origins, t.start(config, admin=True)


def states(w):
    return [e["state"] for e in w.status()["upstreams"][0]["endpoints"]]


def await_states(w, *want):
    wire.await_true("states %r" % (want,), lambda: states(w) == list(want))


def test_http_down_and_up(t):
    origins, w = start(t, 2, {"path": "/healthz"})
    bad = threading.Event()
    origins[0].on("/healthz", lambda conn, req: conn.reply(500 if bad.is_set() else 200))
    origins[0].await_seen("/healthz", 2)
    assert states(w) == ["up", "up"]
    bad.set()
    await_states(w, "down", "up")
    line = [x for x in w.log().splitlines() if "endpoint.down" in x][0]
    assert origins[0].address in line and "/healthz was answered with 500" in line, line
    assert {w.get("/").get("x-origin") for _ in range(6)} == {"o1"}
    bad.clear()
    await_states(w, "up", "up")
    wire.await_true("requests at it again", lambda: w.get("/").get("x-origin") == "o0")
    m = w.admin_get("/metrics").text
    assert 'weir_health_checks_total{upstream="u",endpoint="%s",result="passed"}' \
        % origins[0].address in m, m
    assert all("/healthz" not in x["path"] for x in w.access()), "checks are not in the access log"


def test_each_state_is_told(t):
    """However short it was."""
    origins, w = start(t, 1, {"path": "/healthz", "interval": "10ms", "timeout": "60s", "rise": 1,
                           "fall": 1}, admin={"address": t.unix()})
    n = 0

    def alternate(conn, req):
        nonlocal n
        n += 1
        conn.reply(500 if n % 2 and n < 40 else 200)
    with client.Client(w.admin) as c:
        told = client.events(c)
        assert next(told) is None
        origins[0].on("/healthz", alternate)
        texts = (e[2]["text"].split(": ")[1] for e in told if e[1] == "state")
        for i in range(40):
            assert next(texts) == ("down -> up" if i % 2 else "up -> down"), i
    wire.await_true("more checks", lambda: n >= 50)
    counted = {dict(labels)["kind"]: v for (name, labels), v in w.metrics().items()
               if name == "weir_events_total"}
    assert counted["state"] == 40, counted


def test_http_request(t):
    """Method, host and statuses are as configured; nobody's features touch them."""
    origins, w = start(t, 1, {"path": "/h", "method": "HEAD", "host": "shop.test",
                              "statuses": [204]})
    origins[0].on("/h", lambda conn, req: conn.reply(204))
    req = origins[0].await_seen("/h", 1)
    req = origins[0].seen("/h")[0]
    assert req.method == "HEAD" and req.host == "shop.test", req
    assert req.get("user-agent") == "weir-health-check" and req.get("via") is None, req
    await_states(w, "up")


def test_refused_and_back(t):
    for kind in ("tcp", "http"):
        origins, w = start(t, 2, {"type": kind})
        origins[0].stop_listening()
        for c in list(origins[0].connections):
            c.shut()
        await_states(w, "down", "up")
        assert "connect_refused_by_endpoint" in w.log()
        origins[0].listen()
        await_states(w, "up", "up")
        w.stop()


def test_hanging(t):
    """Accepts and never answers: the timeout makes it a failure."""
    origins, w = start(t, 2, dict(SILENT, path="/hang"))
    go = threading.Event()
    origins[0].on("/hang", lambda conn, req: (go.wait(60), conn.reply(200)))
    await_states(w, "down", "up")
    go.set()
    await_states(w, "up", "up")


def test_flapping_does_not_change_the_state(t):
    """Every second check fails: fall 3 is never reached, nothing is logged."""
    origins, w = start(t, 1, {"path": "/flap"})
    lock, n = threading.Lock(), [0]

    def answer(conn, req):
        with lock:
            n[0] += 1
            bad = n[0] % 2
        conn.reply(500 if bad else 200)
    origins[0].on("/flap", answer)
    origins[0].await_seen("/flap", 12)
    assert states(w) == ["up"] and w.log().count("endpoint.down") <= 1, w.log()


def test_stopped_process(t):
    """SIGSTOP: the kernel still accepts, the check's request is never answered; SIGCONT."""
    address = t.address()
    host, port = address.rsplit(":", 1)
    p = t.spawn([sys.executable, "-c", SERVER, host, port], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)

    def listens():
        with socket.socket() as s:
            return s.connect_ex((host, int(port))) == 0
    wire.await_true("the origin listens", listens)
    other = t.origin("o1")
    w = t.start({"upstreams": {"u": {"endpoints": [address, other.address], "health": SILENT,
                                     "ejection": False, "balance": {"slow_start": "off"}}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]}, admin=True)
    os.kill(p.pid, signal.SIGSTOP)
    await_states(w, "down", "up")
    assert all(w.get("/").status == 200 for _ in range(6))
    os.kill(p.pid, signal.SIGCONT)
    await_states(w, "up", "up")
    p.kill()
    await_states(w, "down", "up")


SERVER = """
import http.server, sys
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
http.server.ThreadingHTTPServer((sys.argv[1], int(sys.argv[2])), H).serve_forever()
"""


def test_gate(t):
    """No request before the first check has passed."""
    origins = [t.origin("o%d" % i) for i in range(2)]
    go = threading.Event()
    origins[0].on("/ready", lambda conn, req: conn.reply(200 if go.is_set() else 503))
    w = t.start({"upstreams": {"u": {"endpoints": [o.address for o in origins],
                                     "health": dict(FAST, path="/ready", gate=True),
                                     "balance": {"slow_start": "off", "panic_threshold": 0}}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]}, admin=True)
    await_states(w, "down", "up")
    assert {w.get("/").get("x-origin") for _ in range(6)} == {"o1"}
    go.set()
    await_states(w, "up", "up")


def test_drain_by_404(t):
    origins, w = start(t, 2, {"path": "/h", "drain_404": True})
    gone = threading.Event()
    origins[0].on("/h", lambda conn, req: conn.reply(404 if gone.is_set() else 200))
    gone.set()
    wire.await_true("no more requests at o0",
                    lambda: {w.get("/").get("x-origin") for _ in range(4)} == {"o1"})
    assert "endpoint.down" not in w.log()
    gone.clear()
    wire.await_true("requests at o0 again", lambda: w.get("/").get("x-origin") == "o0")


def test_a_mark_does_not_outlive_its_checks(t):
    origins, w = start(t, 2, {"path": "/h"})
    origins[0].on("/h", lambda conn, req: conn.reply(500))
    await_states(w, "down", "up")
    config = copy.deepcopy(w.config)
    del config["upstreams"]["u"]["health"]
    w.reload(config)
    await_states(w, "up", "up")
    assert "no longer checked" in w.log()


def test_all_down(t):
    """Below the panic threshold all are asked; with 0 there is nobody."""
    origins, w = start(t, 1, {"path": "/h"})
    origins[0].on("/h", lambda conn, req: conn.reply(500))
    await_states(w, "down")
    assert w.get("/").code == "no_endpoint"
    config = copy.deepcopy(w.config)
    config["upstreams"]["u"]["balance"]["panic_threshold"] = 50
    w.reload(config, lambda: w.get("/").status == 200)


def test_once_a_process(t):
    """Three workers, one check: all of them know at once."""
    o = t.origin()
    w = t.start({"workers": 3,
                 "upstreams": {"u": {"endpoints": [o.address],
                                     "health": {"path": "/ready", "interval": "30s",
                                                "gate": True},
                                     "balance": {"panic_threshold": 0}}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]}, admin=True)
    wire.await_true("the first check", lambda: states(w) == ["up"])
    assert {w.get("/").status for _ in range(40)} == {200}
    assert len(o.seen("/ready")) == 1


def test_a_passed_check_ends_an_ejection(t):
    """Its answers had it left out for minutes; a check that passes brings it back at once."""
    origins = [t.origin("o%d" % i) for i in range(2)]
    well = threading.Event()
    w = t.start({"upstreams": {"u": {"endpoints": [o.address for o in origins],
                                     "ejection": {"consecutive": 3, "duration": "5m"},
                                     "health": dict(FAST, path="/ready", fall=1000, rise=1)}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]}, admin=True)
    origins[0].on("/ready", lambda conn, req: conn.reply(200 if well.is_set() else 500))
    origins[0].on("/", lambda conn, req: conn.reply(200 if well.is_set() else 503,
                                                    [("X-Origin", "o0")]))
    origins[0].await_seen("/ready", 1)
    wire.await_true("ejection", lambda: w.get("/") and states(w) == ["ejected", "up"])
    well.set()
    wire.await_true("its return", lambda: states(w) == ["up", "up"])
    line = [x for x in w.log().splitlines() if "endpoint.returned" in x][0]
    assert origins[0].address in line and "a check passed" in line, line
    wire.await_true("requests at it", lambda: w.get("/").get("x-origin") == "o0")


def test_first_checks_are_spread(t):
    """Forty endpoints are not asked in one moment: another one, which is asked ten times a second,
    was asked several times between the first and the last of them."""
    order, lock = [], threading.Lock()

    def seen(conn, req):
        with lock:
            order.append(conn.origin.name)
        conn.reply(200)
    clock = t.origin("clock").on("/h", seen)
    many = [t.origin("e%d" % i).on("/h", seen) for i in range(40)]
    t.start({"upstreams": {"clock": {"endpoints": [clock.address],
                                     "health": {"path": "/h", "interval": "100ms"}},
                           "many": {"endpoints": [o.address for o in many],
                                    "health": {"path": "/h", "interval": "3s"}}},
             "routes": [{"match": {"path": "/*"}, "to": "many"}]})
    wire.await_true("all are asked", lambda: len(set(order)) == 41)
    at = [i for i, name in enumerate(order) if name != "clock"]
    assert order[at[0]:at[-1]].count("clock") >= 5, order

# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker: opens when calls fail, answers at once, probes, closes; by upstream,
endpoint and route."""

import threading

from peers import wire


def start(t, n, breaker, routes=None, **more):
    origins = [t.origin("o%d" % i) for i in range(n)]
    breaker = dict({"minimum_calls": 5, "open": "300ms", "probes": 2}, **breaker)
    config = {"upstreams": {"u": {"endpoints": [o.address for o in origins], "ejection": False,
                                  "breaker": breaker}},
              "routes": routes or [{"match": {"path": "/*"}, "to": "u"}]}
    config.update(more)
    return origins, t.start(config, admin=True)


def test_opens_probes_and_closes(t):
    origins, w = start(t, 1, {"open": "3s"})  # longer than what is looked at while it is open
    bad = threading.Event()
    bad.set()
    origins[0].on("/", lambda conn, req: conn.reply(500 if bad.is_set() else 200))
    for _ in range(5):
        assert w.get("/").status == 500
    r = w.get("/")
    assert r.status == 503 and r.code == "breaker_open", r
    assert int(r.get("retry-after")) >= 1, r
    assert len(origins[0].seen("/")) == 5
    line = [x for x in w.log().splitlines() if "breaker.open" in x][0]
    assert "upstream u" in line and "of 5 calls" in line and "5 failed" in line, line
    assert w.status()["upstreams"][0]["breaker"]["state"] == "open"
    bad.clear()
    wire.await_true("a probe passes", lambda: w.get("/").status == 200)
    wire.await_true("the breaker closes", lambda: w.get("/").status == 200 and
                    "breaker.closed" in w.log())
    assert all(w.get("/").status == 200 for _ in range(10))
    m = w.admin_get("/metrics").text
    assert 'weir_breaker_state{breaker="upstream u"} 0' in m, m
    assert 'weir_breaker_opened_total{breaker="upstream u"} 1' in m, m


def test_stays_open_while_probes_fail(t):
    origins, w = start(t, 1, {})
    origins[0].on("/", lambda conn, req: conn.reply(500))
    for _ in range(5):
        assert w.get("/").status == 500
    wire.await_true("probes", lambda: w.get("/").status in (500, 503) and
                    len(origins[0].seen("/")) >= 7)
    wire.await_true("opened again", lambda: w.get("/").status == 503 and "again" in w.log())


def test_connections_and_slow_answers_count(t):
    origins, w = start(t, 1, {"open": "30s"})
    origins[0].stop_listening()
    codes = [w.get("/").code for _ in range(6)]
    assert codes == ["connect_refused_by_endpoint"] * 5 + ["breaker_open"], codes
    w.stop()
    origins, w = start(t, 1, {"slow_over": "1ms", "slow_rate": 100, "open": "30s"})
    origins[0].on("/", lambda conn, req: (threading.Event().wait(0.02), conn.reply(200)))
    assert [w.get("/").status for _ in range(6)] == [200] * 5 + [503]


def test_clients_that_leave_do_not_count(t):
    origins, w = start(t, 1, {})
    go = threading.Event()
    origins[0].on("/wait", lambda conn, req: (go.wait(60), conn.reply(200)))
    for i in range(8):
        with w.client() as c:
            c.request("GET", "/wait")
            origins[0].await_seen("/wait", i + 1)
    w.await_access(lambda x: x["reason"] == "client_gone", 8)
    go.set()
    assert w.get("/").status == 200


def test_by_endpoint(t):
    """The bad endpoint's breaker opens and it is left out; the other one serves."""
    origins, w = start(t, 2, {"scope": "endpoint", "open": "30s"})
    origins[0].on("/", lambda conn, req: conn.reply(500))
    got = [w.get("/").status for _ in range(40)]
    assert got.count(500) == 5 and got[-20:] == [200] * 20, got
    origins[1].on("/", lambda conn, req: conn.reply(500))
    wire.await_true("both are open", lambda: w.get("/").code == "breaker_open")


def test_by_route(t):
    origins, w = start(t, 1, {"scope": "route", "open": "30s"}, routes=[
        {"name": "a", "match": {"path": "/a/*"}, "to": "u"},
        {"name": "b", "match": {"path": "/b/*"}, "to": "u"}])
    origins[0].on("/a/", lambda conn, req: conn.reply(500))
    assert [w.get("/a/").status for _ in range(6)] == [500] * 5 + [503]
    assert [w.get("/b/").status for _ in range(6)] == [200] * 6
    assert 'weir_breaker_state{breaker="upstream u, route a"} 2' in w.admin_get("/metrics").text


def test_window_shows_errors_and_timeouts(t):
    """The shares that fallbacks act upon, in /status and /metrics."""
    origins, w = start(t, 1, {"minimum_calls": 1000, "window": "10m"},
                       timeouts={"first_byte": "2s"}, retry=False)
    go = threading.Event()
    origins[0].on("/500", lambda conn, req: conn.reply(500))
    origins[0].on("/late", lambda conn, req: (go.wait(60), conn.reply(200)))
    for path in ("/", "/", "/500", "/500", "/500", "/late"):
        w.get(path)
    want = {"calls": 6, "failed": 4, "slow": 0, "timeouts": 1, "errors": 3}
    got = w.status()["upstreams"][0]["breaker"]
    assert got == dict(want, state="closed"), got
    m = w.metrics()
    assert want == {k: m.value("weir_breaker_window", breaker="upstream u", kind=k) for k in want}
    go.set()


def test_outlives_a_reload(t):
    origins, w = start(t, 1, {"open": "30s"})
    origins[0].on("/", lambda conn, req: conn.reply(500))
    for _ in range(5):
        w.get("/")
    assert w.get("/").code == "breaker_open"
    w.reload(w.with_config(timeouts={"first_byte": "7s"}), lambda: "generation 2" in w.log())
    assert w.get("/").code == "breaker_open"

# SPDX-License-Identifier: Apache-2.0
"""Passive health: origins that die, answer errors or break are left out, and come back."""

from collections import Counter

from peers import wire


def start(t, n, ejection=None, retry=None, **more):
    origins = [t.origin("o%d" % i) for i in range(n)]
    u = {"endpoints": [o.address for o in origins]}
    if ejection is not None:
        u["ejection"] = ejection
    config = {"upstreams": {"u": u}, "routes": [{"match": {"path": "/*"}, "to": "u"}]}
    if retry is not None:
        config["retry"] = retry
    config.update(more)
    return origins, t.start(config, admin=True)


def state(w, i):
    return w.status()["upstreams"][0]["endpoints"][i]


def die(origin):
    origin.stop_listening()
    for c in list(origin.connections):
        c.shut()


def test_a_dead_origin_is_left_out(t):
    """Nobody sees the death; the log, /status and /metrics say it."""
    origins, w = start(t, 3)
    for i in range(6):
        assert w.get("/%d" % i).status == 200
    die(origins[0])
    for i in range(60):
        r = w.get("/later%d" % i)
        assert r.status == 200 and r.get("x-origin") != "o0", r
    wire.await_true("ejection in the log", lambda: "endpoint.ejected" in w.log())
    line = [x for x in w.log().splitlines() if "endpoint.ejected" in x][0]
    assert origins[0].address in line and "5 failures in a row" in line, line
    assert "connect_refused_by_endpoint" in line, line
    assert state(w, 0)["state"] == "ejected" and state(w, 1)["state"] == "up"
    m = w.admin_get("/metrics").text
    assert 'weir_upstream_ejections_total{upstream="u",endpoint="%s",' \
           'reason="consecutive_failures"} 1' % origins[0].address in m, m
    assert 'weir_upstream_failures_total{upstream="u",endpoint="%s",kind="connect"} 5' \
        % origins[0].address in m, m
    assert 'weir_upstream_endpoint_ejected{upstream="u",endpoint="%s"} 1' \
        % origins[0].address in m, m


def test_it_comes_back(t):
    origins, w = start(t, 2, {"consecutive": 2, "duration": "500ms"})
    die(origins[0])
    for _ in range(6):
        assert w.get("/").status == 200
    wire.await_true("ejection", lambda: "endpoint.ejected" in w.log())
    origins[0].listen()
    wire.await_true("return in the log", lambda: "endpoint.returned" in w.log())
    wire.await_true("requests at it again", lambda: w.get("/").get("x-origin") == "o0")
    assert state(w, 0)["state"] == "up" and 0 < float(state(w, 0)["share"]) <= 1


def test_flapping(t):
    """An origin that dies and comes back again and again: no GET fails, whether it is left out at
    the time or not."""
    origins, w = start(t, 2, {"consecutive": 2, "duration": "200ms"})
    for i in range(8):
        die(origins[0])
        for k in range(5):
            r = w.get("/dead%d-%d" % (i, k))
            assert r.status == 200 and r.get("x-origin") == "o1", r
        origins[0].listen()
        wire.await_true("its return", lambda: w.get("/").get("x-origin") == "o0")
    lines = w.await_access(lambda x: x["path"].startswith("/dead"), 40)
    assert all(x["reason"] == "ok" for x in lines), lines
    wire.await_true("as many returns as ejections", lambda: w.log().count(
        "endpoint.ejected") == w.log().count("endpoint.returned") > 0)


def test_errors_eject(t):
    """502, 503 and 504 count; 500 is the application's own affair."""
    for status, counts in ((502, True), (503, True), (504, True), (500, False)):
        origins, w = start(t, 2)
        origins[0].on("/", lambda conn, req, s=status: conn.reply(s, [("X-Origin", "o0")]))
        got = Counter(w.get("/").status for _ in range(30))
        assert got[status] == (5 if counts else 15), (status, got)
        assert ("endpoint.ejected" in w.log()) == counts
        w.stop()


def test_resets_and_garbage_eject(t):
    for answer in (lambda conn, req: conn.reset(), lambda conn, req: conn.send(b"moo\r\n\r\n")):
        origins, w = start(t, 2, retry=False)
        origins[0].on("/", answer)
        got = Counter(w.get("/").status for _ in range(30))
        assert got == {200: 25, 502: 5}, got
        w.stop()


def test_the_last_one_stays(t):
    """A single origin is asked whatever it answers; of two, never both are left out."""
    origins, w = start(t, 1)
    origins[0].on("/", lambda conn, req: conn.reply(503))
    assert [w.get("/").status for _ in range(20)] == [503] * 20
    assert w.get("/other").status == 200
    w.stop()
    origins, w = start(t, 2)
    for o in origins:
        o.on("/", lambda conn, req: conn.reply(503))
    assert [w.get("/").status for _ in range(30)] == [503] * 30
    states = [state(w, i)["state"] for i in range(2)]
    assert sorted(states) == ["ejected", "up"], states


def test_off(t):
    origins, w = start(t, 2, False)
    origins[0].on("/", lambda conn, req: conn.reply(503))
    assert Counter(w.get("/").status for _ in range(40)) == {200: 20, 503: 20}

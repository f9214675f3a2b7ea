# SPDX-License-Identifier: Apache-2.0
"""What only a network of one's own can show: an origin that is cut off without a word, packets that
are lost, names that come to mean other addresses."""

import threading

from peers import network, wire
from peers.network import FAR

COST = 3
NOT_IN = {"doors": "refused memory would explain every failure here"}
PORT = 9000


def begin(t):
    t.net = network.isolate(t)
    t.names = network.Names(t)
    t.far = t.net.away(lambda: t.origin("far", "%s:%d" % (FAR, PORT)))
    t.near = t.origin("near")


def start(t, endpoints, **more):
    upstream = {"endpoints": endpoints, "pool": {"connect_timeout": "1s"}}
    upstream.update(more.pop("upstream", {}))
    return t.start({"upstreams": {"u": upstream}, "routes": [{"match": {"path": "/*"}, "to": "u"}],
                    "timeouts": {"first_byte": "2s", "response_idle": "2s",
                                 "upstream_send": "2s"}, **more},
                   admin=True)


def test_cut_off_alone(t):
    """Kept connection: the request is sent, silence; new connection: packets vanish. 504 both
    times, with the reason. After the wire is mended it is served again."""
    kept = ["first_byte_timeout"]
    if t.variant == "onebyte":
        kept.append("upstream_send_timeout")  # so many packets fill the socket's buffer
    w = start(t, [t.far.address], retry=False)
    assert w.get("/warm").status == 200
    t.net.cut()
    try:
        r = w.ask("POST", "/kept", body=b"x")
        assert r.status == 504 and r.code in kept, r
        r = w.get("/new")
        assert r.status == 504 and r.code == "connect_timeout", r
    finally:
        t.net.mend()
    wire.await_true("service after the cut", lambda: w.get("/again").status == 200)
    assert w.line_for("/kept")["reason"] in kept
    assert w.line_for("/new")["reason"] == "connect_timeout"


def test_one_of_two_cut_off(t):
    """Nobody who asks by GET sees it; the log says why it was left out; it comes back."""
    w = start(t, [t.far.address, t.near.address],
              upstream={"ejection": {"consecutive": 3, "duration": "500ms"}})
    for i in range(4):
        assert w.get("/warm%d" % i).status == 200
    t.net.cut()
    try:
        for i in range(30):
            r = w.get("/cut%d" % i)
            assert r.status == 200 and r.get("x-origin") == "near", r
        wire.await_true("ejection", lambda: "endpoint.ejected" in w.log())
        line = [x for x in w.log().splitlines() if "endpoint.ejected" in x][0]
        assert t.far.address in line and "3 failures in a row" in line and "_timeout" in line, line
        w.await_access(lambda x: x["attempts"] == 2)  # something was tried again
    finally:
        t.net.mend()
    wire.await_true("requests at it again", lambda: w.get("/").get("x-origin") == "far")


def test_cut_in_the_middle_of_an_answer(t):
    """The client's answer breaks visibly, and nobody else is asked for the rest."""
    w = start(t, [t.far.address, t.near.address])
    part = "HTTP/1.1 200 OK\r\nX-Origin: far\r\nContent-Length: 10\r\n\r\n12345"
    over = threading.Event()  # the end of the connection is lost on the way
    t.far.on("/part", lambda conn, req: (conn.send(part), over.wait(60), conn.close()))
    with w.client() as c:
        c.request("GET", "/part")
        r = c.head()
        while r.get("x-origin") != "far":  # it was the other's turn
            c.finish(r)
            c.request("GET", "/part")
            r = c.head()
        assert c.read_at_least(r, 5) == b"12345"
        t.net.cut()
        try:
            c.finish(r)
            assert not r.complete, "looks whole"
        finally:
            t.net.mend()
            over.set()
    line = w.await_access(lambda x: x["path"] == "/part" and x["reason"] != "ok")[-1]
    assert line["reason"] == "response_idle_timeout" and line["attempts"] == 1, line


def test_a_check_sees_the_cut(t):
    """With health checks the endpoint is down before a request has to find out."""
    w = start(t, [t.far.address, t.near.address],
              upstream={"health": {"path": "/", "interval": "200ms", "timeout": "2s", "fall": 2,
                                   "rise": 1}, "ejection": False})
    def state():
        return w.status()["upstreams"][0]["endpoints"][0]["state"]
    assert state() == "up"
    t.net.cut()
    try:
        wire.await_true("down", lambda: state() == "down")
        for i in range(10):
            assert w.get("/down%d" % i).get("x-origin") == "near"
        assert all(x["attempts"] == 1 for x in w.await_access(
            lambda x: x["path"].startswith("/down"), 10))
        assert "endpoint.down" in w.log() and "timeout" in w.log()
    finally:
        t.net.mend()
    wire.await_true("up", lambda: state() == "up")


def test_loss(t):
    """Answers that come through a line that loses packets are whole, and fail nobody."""
    t.not_in("onebyte", "a queue does not overflow byte by byte")
    w = start(t, [t.far.address], timeouts={"first_byte": "60s", "response_idle": "60s"})
    body = bytes(range(256)) * 4096
    t.far.on("/big", lambda conn, req: conn.reply(200, body=body))
    t.net.lossy()
    before = t.net.lost()
    for _ in range(5):
        r = w.get("/big")
        assert r.status == 200 and r.complete and r.body == body, r
    assert t.net.lost() > before, "nothing was lost"
    assert all(x["reason"] == "ok" for x in w.await_access(lambda x: x["path"] == "/big", 5))


def test_a_name_comes_to_mean_another_address(t):
    """At its TTL it is asked again: requests go to the new address, and connections to the old one
    are left though it would go on answering. While the name is unknown, or its server is silent,
    the last good address is kept."""
    first = t.origin("first", "127.77.0.1:%d" % PORT)
    t.origin("second", "127.77.0.2:%d" % PORT)
    t.names.answers["app.test"] = ["127.77.0.1"]
    w = start(t, ["app.test:%d" % PORT])
    wire.await_true("the first address", lambda: w.get("/a").get("x-origin") == "first")
    t.names.answers["app.test"] = ["127.77.0.2"]
    wire.await_true("the second address", lambda: w.get("/b").get("x-origin") == "second")
    wire.await_true("the end of the old connections",
                    lambda: not any(c.thread.is_alive() for c in first.connections))
    moved = [n for (name, labels), n in w.metrics().items()
             if name == "weir_upstream_connections_evicted_total" and ("reason", "moved") in labels]
    assert sum(moved) >= 1, moved
    for wrong in ("gone", "silent"):
        t.names.answers["app.test"] = []
        t.names.silent = wrong == "silent"
        asked = t.names.asked
        wire.await_true("questions after it", lambda: t.names.asked > asked + 3)
        r = w.get("/" + wrong)
        assert r.status == 200 and r.get("x-origin") == "second", r
    t.names.silent = False


def test_a_name_that_appears(t):
    """503 with a reason until it does."""
    t.names.answers.pop("late.test", None)
    host, port = t.near.address.rsplit(":", 1)
    w = start(t, ["late.test:" + port])
    r = w.get("/early")
    assert r.status == 503 and r.code == "resolve_failed", r
    assert w.line_for("/early")["reason"] == "resolve_failed"
    t.names.answers["late.test"] = [host]
    wire.await_true("the name", lambda: w.get("/late").status == 200)

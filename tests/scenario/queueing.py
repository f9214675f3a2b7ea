# SPDX-License-Identifier: Apache-2.0
"""max_active and max_pending: never more requests at the origins than allowed, over all workers, on
HTTP/1 and on HTTP/2; one queue, first come first served; who leaves it leaves nothing behind."""

import os
import threading

import yaml

from peers import wire
from peers.h2 import H2
from peers.h2_origin import H2Origin
from peers.wire import await_true, in_parallel


class Crowd:
    """Handlers that count how many of them run at a time."""

    def __init__(self):
        self.lock, self.now, self.most, self.served = threading.Lock(), 0, 0, 0
        self.gate = threading.Event()

    def enter(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self):
        with self.lock:
            self.now -= 1
            self.served += 1


def h1_crowd(t, crowd, name="h1"):
    """Everything that is asked of it is counted while it lasts."""
    o = t.origin(name)

    def serve(conn, req):
        crowd.enter()
        if req.path.startswith("/hold"):
            crowd.gate.wait(wire.patience(60))
        crowd.leave()
        conn.reply(200, body=b"%s" % req.path.encode())
    o.default = serve
    return o


def h2_crowd(t, crowd):
    o = H2Origin(t.address())
    t.origins.append(o)

    def serve(r):
        crowd.enter()
        if r.path.startswith("/hold"):
            crowd.gate.wait(wire.patience(60))
        crowd.leave()
        r.reply(body=r.path.encode())
    o.default = serve
    return o


def limited(t, addresses, workers=1, endpoint=None, pool_wait="60s", listeners=None, **upstream):
    u = dict({"endpoints": [dict({"address": a}, **(endpoint or {})) for a in addresses]},
             **upstream)
    config = {"workers": workers, "timeouts": {"pool_wait": pool_wait}, "upstreams": {"u": u},
              "routes": [{"name": "all", "match": {"path": "/*"}, "to": "u"}]}
    if listeners:
        config["listeners"] = listeners
    return t.start(config, admin=True)


def pending(w):
    return w.metrics().value("weir_upstream_pending")


def active(w):
    return w.metrics().value("weir_upstream_active")


def everybody_is_served(t, w, crowd, most, clients=24, each=15):
    def ask(i):
        for j in range(each):
            with w.client() as c:
                r = c.get("/c%d-%d" % (i, j))
                assert r.status == 200 and r.body == b"/c%d-%d" % (i, j), r
    for result in in_parallel(clients, ask):
        assert result is None, repr(result)
    assert crowd.most <= most, "%d requests at the origins at a time" % crowd.most
    assert crowd.served == clients * each
    await_true("all have left", lambda: active(w) == 0 and pending(w) == 0)
    w.stop()


def test_exact_over_workers(t):
    crowd = Crowd()
    o = h1_crowd(t, crowd)
    everybody_is_served(t, limited(t, [o.address], 3, max_active=3), crowd, 3)


def test_exact_over_workers_on_h2(t):
    """Many could share a connection; three workers have one each."""
    crowd = Crowd()
    o = h2_crowd(t, crowd)
    everybody_is_served(t, limited(t, [o.address], 3, max_active=3, protocol="h2"), crowd, 3)


def test_exact_at_endpoints(t):
    """Two at each of two endpoints, whatever the policy; and three in all."""
    for policy in ("round_robin", "least_active", "random", {"policy": "hash", "on": "path"}):
        both = Crowd()
        crowds = [Crowd(), Crowd()]
        origins = []
        for i, own in enumerate(crowds):
            o = t.origin("e%d" % i)

            def serve(conn, req, own=own):
                own.enter()
                both.enter()
                both.leave()
                own.leave()
                conn.reply(200, body=req.path.encode())
            o.default = serve
            origins.append(o)
        w = limited(t, [o.address for o in origins], 2, {"max_active": 2}, max_active=3,
                    balance=policy)
        everybody_is_served(t, w, both, 3, 16, 10)
        assert max(c.most for c in crowds) <= 2, [c.most for c in crowds]
        assert min(c.served for c in crowds) > 0, policy


def test_fifo(t):
    """With three workers, turns come in the order in which the requests did."""
    crowd = Crowd()
    o = h1_crowd(t, crowd)
    w = limited(t, [o.address], 3, max_active=1)
    first = w.client()
    first.request("GET", "/hold")
    o.await_seen("/hold")
    queue = []
    for i in range(12):
        c = w.client()
        c.request("GET", "/wait%d" % i)
        queue.append(c)
        await_true("request %d waits" % i, lambda n=i: pending(w) == n + 1)
    crowd.gate.set()
    for c in [first] + queue:
        assert c.response().status == 200
        c.close()
    order = [q.path for q in o.requests if q.path.startswith("/wait")]
    assert order == ["/wait%d" % i for i in range(12)], order
    assert crowd.most == 1
    assert w.metrics().value("weir_upstream_pending_total") == 12


def test_max_pending(t):
    """One more than may wait is told so at once, and when to come again."""
    crowd = Crowd()
    o = h1_crowd(t, crowd)
    w = limited(t, [o.address], 1, max_active=1, max_pending=2)
    clients = [w.client() for _ in range(3)]
    clients[0].request("GET", "/hold")
    o.await_seen("/hold")
    for i in (1, 2):
        clients[i].request("GET", "/w%d" % i)
        await_true("waits", lambda n=i: pending(w) == n)
    r = w.get("/too-many")
    assert r.status == 503 and r.code == "queue_full" and r.get("retry-after") == "1", r
    assert w.metrics().value("weir_upstream_queue_full_total") == 1
    assert w.status()["upstreams"][0]["pending"] == 2
    crowd.gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()
    assert not o.seen("/too-many")


def test_who_waits_leaves_in_time(t):
    """At timeouts.pool_wait 503 queue_timeout; a client that goes away leaves no ghost: the next
    one has its turn at once."""
    crowd = Crowd()
    o = h1_crowd(t, crowd)
    w = limited(t, [o.address], 3, pool_wait="300ms", max_active=1)
    with w.client() as first:
        first.request("GET", "/hold")
        o.await_seen("/hold")
        r = w.get("/late")
        assert r.status == 503 and r.code == "queue_timeout", r
        await_true("it left", lambda: pending(w) == 0)
        crowd.gate.set()
        assert first.response().status == 200
    await_true("its turn is given back", lambda: active(w) == 0)  # by another worker, maybe
    assert w.get("/next").status == 200
    assert not o.seen("/late")
    w.stop()

    crowd.gate.clear()
    w = limited(t, [o.address], 3, max_active=1)
    with w.client() as first:
        first.request("GET", "/hold2")
        o.await_seen("/hold2")
        for i in range(5):
            c = w.client()
            c.request("GET", "/ghost%d" % i)
            await_true("waits", lambda n=i: pending(w) == 1)
            c.close()
            await_true("is gone", lambda: pending(w) == 0)
        crowd.gate.set()
        assert first.response().status == 200
    assert w.get("/after").status == 200
    assert not [q for q in o.requests if q.path.startswith("/ghost")]


def test_h2_streams_wait_and_leave(t):
    """Streams of one client wait in the same queue; one that is reset there leaves it."""
    crowd = Crowd()
    o = h2_crowd(t, crowd)
    w = limited(t, [o.address], 1, max_active=1, protocol="h2",
                listeners=[{"address": t.address(), "h2c": True}])
    with H2(w.address) as c:
        first = c.request("GET", "/hold")
        o.await_seen("/hold")
        streams = [c.request("GET", "/s%d" % i) for i in range(3)]
        await_true("all wait", lambda: pending(w) == 3)
        c.rst(streams[1])
        await_true("one has left", lambda: pending(w) == 2)
        crowd.gate.set()
        for s in (first, streams[0], streams[2]):
            assert c.response(s).status == 200
    assert [len(o.seen("/s%d" % i)) for i in range(3)] == [1, 0, 1]
    assert crowd.most == 1
    await_true("all have left", lambda: active(w) == 0 and pending(w) == 0)


def test_whole_deadline_while_waiting(t):
    """timeouts.exchange holds in the queue, too."""
    crowd = Crowd()
    o = h1_crowd(t, crowd)
    w = t.start({"workers": 1, "timeouts": {"pool_wait": "60s", "exchange": "400ms"},
                 "upstreams": {"u": {"endpoints": [o.address], "max_active": 1}},
                 "routes": [{"match": {"path": "/hold"}, "to": "u",
                             "timeouts": {"exchange": "60s"}},
                            {"match": {"path": "/*"}, "to": "u"}]}, admin=True)
    with w.client() as first:
        first.request("GET", "/hold")
        o.await_seen("/hold")
        r = w.get("/late")
        assert r.status == 504 and r.code == "exchange_timeout", r
        crowd.gate.set()


def test_another_endpoint_is_asked_when_one_is_full(t):
    """Requests go where there is room, and wait only when all are full."""
    crowd = Crowd()
    a, b = h1_crowd(t, crowd, "a"), h1_crowd(t, crowd, "b")
    w = limited(t, [a.address, b.address], 2, {"max_active": 1})
    clients = [w.client() for _ in range(3)]
    for i in (0, 1):
        clients[i].request("GET", "/hold%d" % i)
        await_true("is there", lambda n=i: len(a.requests) + len(b.requests) == n + 1)
    assert len(a.requests) == len(b.requests) == 1
    clients[2].request("GET", "/third")
    await_true("waits", lambda: pending(w) == 1)
    crowd.gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()


def test_sticky_waits_for_its_own(t):
    """With max_pending of the endpoint a client's requests wait for it; one more goes elsewhere."""
    crowd = Crowd()
    a, b = h1_crowd(t, crowd, "a"), h1_crowd(t, crowd, "b")
    w = limited(t, [a.address, b.address], 2, {"max_active": 1, "max_pending": 1},
                balance={"sticky": "at"})
    r = w.get("/first")
    cookie = [("Cookie", r.get("set-cookie").split(";")[0])]
    mine, other = (a, b) if a.seen("/first") else (b, a)
    clients = [w.client() for _ in range(2)]
    clients[0].request("GET", "/hold", cookie)
    mine.await_seen("/hold")
    clients[1].request("GET", "/waits", cookie)
    await_true("waits", lambda: pending(w) == 1)
    assert w.get("/elsewhere", cookie).status == 200
    assert w.get("/anyone").status == 200
    assert other.seen("/elsewhere") and other.seen("/anyone")
    crowd.gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()
    assert mine.seen("/waits")


def test_retry_has_a_turn_of_its_own(t):
    """A broken attempt gives its turn back; the next one goes before those that had none."""
    bad = t.origin("bad")
    bad.default = lambda conn, req: conn.reset()
    crowd = Crowd()
    good = h1_crowd(t, crowd, "good")
    w = limited(t, [bad.address, good.address], 2, max_active=1, ejection=False)
    for result in in_parallel(8, lambda i: [w.get("/r%d-%d" % (i, j)).status for j in range(5)]):
        assert result == [200] * 5, result
    await_true("all have left", lambda: active(w) == 0 and pending(w) == 0)
    assert crowd.most == 1


def one_asks_and_two_wait(t):
    crowd = Crowd()
    o = h1_crowd(t, crowd)
    w = limited(t, [o.address], 2, max_active=1)
    clients = [w.client() for _ in range(3)]
    for i, c in enumerate(clients):
        c.request("GET", "/hold%d" % i)
        if i == 0:
            o.await_seen("/hold0")
        await_true("waits", lambda n=i: pending(w) == n)
    return crowd, o, w, clients


def test_reload_changes_the_limit(t):
    """A raised limit reaches those that wait; a lowered one those that come."""
    crowd, o, w, clients = one_asks_and_two_wait(t)
    upstreams = {"u": {"endpoints": [o.address], "max_active": 3}}
    w.reload(w.with_config(upstreams=upstreams), lambda: pending(w) == 0 and crowd.now == 3)
    crowd.gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()


def test_limit_set_while_requests_run(t):
    """What began before there was a limit counts: the next one waits for it."""
    crowd = Crowd()
    o = h1_crowd(t, crowd)
    w = limited(t, [o.address])
    clients = [w.client() for _ in range(3)]
    for i, c in enumerate(clients[:2]):
        c.request("GET", "/hold%d" % i)
        o.await_seen("/hold%d" % i)
    upstreams = {"u": {"endpoints": [o.address], "max_active": 2}}
    routes = w.config["routes"] + [{"match": "/new", "reply": {"body": "new"}}]
    w.reload(w.with_config(upstreams=upstreams, routes=routes), lambda: w.get("/new").text == "new")
    clients[2].request("GET", "/hold2")
    await_true("the third waits", lambda: pending(w) == 1)
    assert not o.seen("/hold2")
    crowd.gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()


def test_graceful_stop_serves_the_queue(t):
    crowd, o, w, clients = one_asks_and_two_wait(t)
    w.terminate()
    await_true("it stops", lambda: "supervisor.stopping" in w.log())
    crowd.gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()
    assert w.wait() == 0


def test_churn(t):
    """Three workers, clients that leave in the queue and in the middle, answers that break:
    nothing is lost, nothing is left."""
    crowd = Crowd()
    o = t.origin("churn")
    turn = [0]

    def serve(conn, req):
        crowd.enter()
        with crowd.lock:
            turn[0] += 1
            n = turn[0]
        crowd.leave()
        if n % 7 == 0:
            conn.reset()
        else:
            conn.reply(200, body=b"x" * (n % 5) * 1000)
    o.default = serve
    w = limited(t, [o.address], 3, max_active=2)

    def ask(i):
        for j in range(15):
            with w.client() as c:
                c.request("GET" if j % 2 else "DELETE", "/c%d-%d" % (i, j))
                if (i + j) % 4 == 0:
                    continue  # gone at once
                r = c.response()
                assert r.status in (200, 502), r
    for result in in_parallel(16, ask):
        assert result is None or isinstance(result, wire.Ended), repr(result)
    await_true("all have left", lambda: active(w) == 0 and pending(w) == 0)
    assert w.get("/after").status in (200, 502)


def test_wrong_settings(t):
    for upstream, word in (({"max_active": -1}, "max_active"),
                           ({"max_pending": "x"}, "max_pending"),
                           ({"endpoints": [{"address": "127.0.0.1:9", "max_active": 1.5}]},
                            "max_active")):
        path = os.path.join(t.make_dir("conf"), "weir.yaml")
        with open(path, "w") as f:
            yaml.safe_dump({"upstreams": {"u": dict({"endpoints": ["127.0.0.1:9"]}, **upstream)}},
                           f)
        code, out, err = t.run("check", path)
        assert code != 0 and word in out + err, (upstream, out, err)

# SPDX-License-Identifier: Apache-2.0
"""The policies of balance: load, response time and keys decide; cookies keep; backups wait."""

import copy
import os
import threading
import time
from collections import Counter

import yaml
from peers import wire


def start(t, n, balance, endpoints=None, workers=1, **more):
    """n origins that say who they are; returns (origins, weir)."""
    origins = [t.origin("o%d" % i) for i in range(n)]
    rows = [dict({"address": o.address}, **(endpoints or {}).get(i, {}))
            for i, o in enumerate(origins)]
    config = {"workers": workers,
              "upstreams": {"u": {"endpoints": rows, "balance": balance}},
              "routes": [{"match": {"path": "/*"}, "to": "u"}]}
    config.update(more)
    return origins, t.start(config)


def names(w, n, fields=(), target="/"):
    out = []
    with w.client() as c:
        for _ in range(n):
            r = c.get(target, fields)
            assert r.status == 200, r
            out.append(r.get("x-origin"))
    return out


def weigh(w, weights):
    """Other weights by a reload; returns when they are in use."""
    config = copy.deepcopy(w.config)
    for i, weight in weights.items():
        config["upstreams"]["u"]["endpoints"][i]["weight"] = weight
    w.reload(config, lambda: "generation 2" in w.log())


def stuck(origin):
    """From now on the origin's answers to /stuck wait for the returned event."""
    go = threading.Event()

    def answer(conn, req):
        go.wait(60)
        conn.reply(200, [("X-Origin", origin.name)])
    origin.on("/stuck", answer)
    return go


def test_least_active_avoids_the_busy(t):
    """With one request stuck at an origin, two endpoints: all others go to the second."""
    origins, w = start(t, 2, "least_active")
    gates = [stuck(o) for o in origins]
    with w.client() as c:
        c.request("GET", "/stuck")
        wire.await_true("request at an origin",
                        lambda: sum(len(o.seen("/stuck")) for o in origins) == 1)
        busy = next(o for o in origins if o.seen("/stuck"))
        got = Counter(names(w, 20))
        assert got == {o.name: 20 for o in origins if o is not busy}, got
        for g in gates:
            g.set()
        assert c.response("GET").status == 200


def test_ewma_avoids_the_slow(t):
    """An origin that answered slowly once gets nothing while the other is quick."""
    origins, w = start(t, 2, "ewma")

    def slow(conn, req):
        time.sleep(1)
        conn.reply(200, [("X-Origin", "o0")])
    origins[0].on("/slow", slow)

    def avoided():
        """On a busy machine o1 may for once have been slower yet."""
        n = len(origins[0].seen("/slow"))
        while len(origins[0].seen("/slow")) == n:
            assert w.get("/slow").status == 200
        # Until o1 has answered it is thought to be as slow.
        wire.await_true("o1 is known", lambda: w.get("/").status == 200 and origins[1].requests)
        return Counter(names(w, 30))["o1"] >= 28  # a draw by lot comes to that once in a million
    assert any(avoided() for _ in range(3)), "the slow one is asked"


def test_random_reaches_all(t):
    _, w = start(t, 3, "random")
    got = Counter(names(w, 300))
    assert set(got) == {"o0", "o1", "o2"} and min(got.values()) > 50, got


def test_hash_by_header(t):
    for algorithm in ("ring", "maglev"):
        origins, w = start(t, 4, {"policy": "hash", "on": "header:X-User", "algorithm": algorithm})
        owner = {}
        for user in range(100):  # of so many none has nobody
            got = set(names(w, 3, [("X-User", "u%d" % user)]))
            assert len(got) == 1, got
            owner[user] = got.pop()
        assert set(owner.values()) == {o.name for o in origins}, owner
        w.stop()


def test_hash_keys(t):
    """Cookie, parameter and path each decide alone; a request without the key is answered too."""
    for on, fields, target in (
            ("cookie:sid", lambda i: [("Cookie", "a=1; sid=k%d; b=2" % i)], lambda i: "/"),
            ("query:id", lambda i: (), lambda i: "/?x=1&id=k%d" % i),
            ("path", lambda i: (), lambda i: "/p%d" % i)):
        _, w = start(t, 3, {"policy": "hash", "on": on})
        seen = set()
        for i in range(60):  # of so many none has nothing
            got = set(names(w, 2, fields(i), target(i)))
            assert len(got) == 1, (on, got)
            seen |= got
        assert len(seen) == 3, (on, seen)
        names(w, 3)
        w.stop()


def test_hash_moves_only_the_lost(t):
    """Weight 0 for one of four: its users move, no other."""
    origins, w = start(t, 4, {"policy": "hash", "on": "header:X-User"})

    def owners():
        return {u: names(w, 1, [("X-User", "u%d" % u)])[0] for u in range(60)}
    before = owners()
    weigh(w, {2: 0})
    after = owners()
    for user, name in before.items():
        if name == "o2":
            assert after[user] != "o2", after
        else:
            assert after[user] == name, (user, name, after[user])


def test_sticky_cookie(t):
    """The cookie keeps a client at its endpoint, also at weight 0; a foreign one is replaced."""
    origins, w = start(t, 3, {"policy": "round_robin", "sticky": "stay"})
    first = w.get("/")
    cookie = first.get("set-cookie").split(";")[0]
    assert cookie.startswith("stay=") and "HttpOnly" in first.get("set-cookie"), first
    for _ in range(6):
        r = w.get("/", [("Cookie", cookie)])
        assert r.get("x-origin") == first.get("x-origin") and not r.get("set-cookie"), r
    other = w.get("/", [("Cookie", "stay=0123456789abcdef")])
    assert other.status == 200 and other.get("set-cookie"), other
    weigh(w, {int(first.get("x-origin")[1]): 0})
    assert w.get("/", [("Cookie", cookie)]).get("x-origin") == first.get("x-origin")
    assert first.get("x-origin") not in names(w, 6)


def test_backups_wait(t):
    """Level 1 gets nothing while the primaries serve, all when they have weight 0."""
    _, w = start(t, 3, "round_robin", {2: {"level": 1}})
    assert set(names(w, 20)) == {"o0", "o1"}
    weigh(w, {0: 0, 1: 0})
    assert set(names(w, 6)) == {"o2"}


def test_own_zone_first(t):
    _, w = start(t, 3, {"zone": "here"}, {0: {"zone": "there"}, 1: {"zone": "here"},
                                          2: {"zone": "here"}})
    assert set(names(w, 12)) == {"o1", "o2"}


def test_reported_weight(t):
    """An origin that asks for 0 % gets no more requests; the header does not reach clients."""
    origins, w = start(t, 2, {"policy": "round_robin", "weight_header": "Endpoint-Weight"})
    origins[0].on("/load", lambda conn, req: conn.reply(
        200, [("X-Origin", "o0"), ("Endpoint-Weight", "0%")]))
    for _ in range(2):
        r = w.get("/load")
        assert r.status == 200 and r.get("endpoint-weight") is None, r
    wire.await_true("all requests at o1", lambda: set(names(w, 4)) == {"o1"})


def test_wrong_balance(t):
    """Messages say what is allowed."""
    for balance, words in (({"policy": "hash", "on": "moon"}, ["client_ip", "header:NAME"]),
                           ({"policy": "hash", "bounded_load": 0.5}, ["below 1"]),
                           ({"policy": "ewma", "feedback": True}, ["feedback"]),
                           ("roundrobin", ["round_robin"])):
        config = {"listeners": [{"address": t.address()}],
                  "upstreams": {"u": {"endpoints": ["127.0.0.1:9"], "balance": balance}}}
        path = os.path.join(t.make_dir("conf"), "weir.yaml")
        with open(path, "w") as f:
            yaml.safe_dump(config, f)
        code, out, err = t.run("check", path)
        assert code != 0 and all(word in out + err for word in words), (balance, out, err)

# SPDX-License-Identifier: Apache-2.0
"""Smooth weighted round robin: the spread over the endpoints is exact."""

from collections import Counter



def spread(t, weights, n, workers=1, balance=None):
    """Starts origins with these weights; returns who answered n requests, in order."""
    origins = [t.origin("o%d" % i) for i in range(len(weights))]
    upstream = {"endpoints": [{"address": o.address, "weight": w}
                              for o, w in zip(origins, weights)]}
    if balance:
        upstream["balance"] = balance
    w = t.start({"workers": workers, "upstreams": {"u": upstream},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]})
    names = []
    with w.client() as c:
        for i in range(n):
            r = c.get("/%d" % i)
            assert r.status == 200, r
            names.append(r.get("x-origin"))
    return names, origins, w


def test_equal(t):
    names, _, _ = spread(t, [1, 1, 1], 30)
    assert Counter(names) == {"o0": 10, "o1": 10, "o2": 10}, names
    for i in range(0, 30, 3):
        assert len(set(names[i:i + 3])) == 3, "a round leaves nobody out: %r" % names


def test_weights(t):
    names, _, _ = spread(t, [5, 1, 1], 70)
    assert Counter(names) == {"o0": 50, "o1": 10, "o2": 10}, Counter(names)
    for i in range(0, 70, 7):
        assert Counter(names[i:i + 7]) == {"o0": 5, "o1": 1, "o2": 1}, names
    longest = max(len(x) for x in "".join("a" if n == "o0" else " " for n in names).split())
    assert longest < 5, "not smooth: %r" % names


def test_zero_gets_nothing(t):
    names, _, _ = spread(t, [1, 0, 1], 20)
    assert Counter(names) == {"o0": 10, "o2": 10}, Counter(names)


def test_named_balance(t):
    names, _, _ = spread(t, [1, 2], 30, balance="round_robin")
    assert Counter(names) == {"o0": 10, "o1": 20}, Counter(names)


def test_small_weights(t):
    names, _, _ = spread(t, [0.1, 0.2, 0.3], 60)
    assert Counter(names) == {"o0": 10, "o1": 20, "o2": 30}, Counter(names)


def test_many_endpoints(t):
    names, _, _ = spread(t, [1] * 20, 60)
    assert set(Counter(names).values()) == {3}, Counter(names)


def test_log_names_the_endpoint(t):
    names, origins, w = spread(t, [1, 1], 6)
    lines = w.await_access(lambda x: True, 6)
    by_path = {x["path"]: x for x in lines}
    for i, name in enumerate(names):
        line = by_path["/%d" % i]
        assert line["endpoint"] == origins[int(name[1])].address and line["upstream"] == "u", line


def test_all_zero(t):
    o = t.origin()
    w = t.start({"upstreams": {"u": {"endpoints": [{"address": o.address, "weight": 0}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]})
    r = w.get("/")
    assert r.status == 503 and r.code == "no_endpoint", r


def test_one_refuses(t):
    """An endpoint that refuses connections: nothing was sent, so the other one is asked."""
    names, origins, w = spread(t, [1, 1], 4)
    origins[0].stop_listening()
    for c in origins[0].connections:
        c.shut()
    answers = [w.get("/later%d" % i) for i in range(20)]
    good = [r for r in answers if r.status == 200]
    assert len(good) >= 10 and all(r.get("x-origin") == "o1" for r in good), answers
    for r in answers:
        assert r.status == 200 or r.code == "connect_refused_by_endpoint", r

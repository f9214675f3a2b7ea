# SPDX-License-Identifier: Apache-2.0
"""Endpoints by name: an unresolvable one never stops the start nor hurts the others."""

import os

from peers.wire import await_true


def named(t, *endpoints, **top):
    return t.start(dict({"upstreams": {"u": {"endpoints": [{"address": a} for a in endpoints]}},
                         "routes": [{"match": {"path": "/*"}, "to": "u"},
                                    {"match": {"path": "/fixed"}, "reply": {"body": "fixed"}}]},
                        **top))


def begin(t):
    """An origin on every address that localhost may mean."""
    t.port = 20000 + os.getpid() % 12000  # which no client is given
    t.o = t.origin("v4", "127.0.0.1:%d" % t.port)
    try:
        t.o6 = t.origin("v6", "[::1]:%d" % t.port)
    except OSError:
        t.o6 = None


def test_localhost(t):
    w = named(t, "localhost:%d" % t.port)
    await_true("the name is resolved", lambda: w.get("/a").status == 200)
    for i in range(10):
        r = w.get("/b%d" % i)
        assert r.status == 200, r
    assert w.line_for("/b9")["endpoint"] == "localhost:%d" % t.port


def test_addresses_of_both_kinds(t):
    addresses = ["127.0.0.1:%d" % t.port] + (["[::1]:%d" % t.port] if t.o6 else [])
    w = named(t, *addresses)
    names = {w.get("/x%d" % i).get("x-origin") for i in range(6)}
    assert names == ({"v4", "v6"} if t.o6 else {"v4"}), names


def test_unresolvable_name(t):
    """Weir starts, serves its other routes, and says 503 with a reason."""
    w = named(t, "no-such-host.invalid:80", timeouts={"pool_wait": "2s"})
    assert w.get("/fixed").body == b"fixed"
    r = w.get("/x")
    assert r.status == 503 and r.code in ("resolve_failed", "no_endpoint"), r
    assert w.line_for("/x")["reason"] == r.code
    w.stop()


def test_unresolvable_beside_a_good_one(t):
    w = named(t, "no-such-host.invalid:80", "127.0.0.1:%d" % t.port, admin={"address": t.address()})

    def settled():
        return all(w.get("/y%d" % i).status == 200 for i in range(10))
    await_true("the good endpoint gets everything", settled, 30)
    await_true("the metrics say so", lambda: w.metrics().value(
        "weir_upstream_endpoint_up", endpoint="no-such-host.invalid:80") == 0)
    assert w.metrics().value("weir_upstream_endpoint_up") == 1


def test_odd_names(t):
    for name in ("a" * 300 + ".example:80", "-bad-.example:80", "x..y:80", "a_b.invalid:80"):
        code, out, err = t.run("version")
        assert code == 0
        w = t.start({"upstreams": {"u": {"endpoints": [{"address": name}]}},
                     "routes": [{"match": {"path": "/fixed"}, "reply": {"body": "fixed"}},
                                {"match": {"path": "/*"}, "to": "u"}]}, ready=False)
        try:
            w.wait_ready()
        except AssertionError:
            assert w.process.wait(20) == 1 and "weir.yaml:" in w.log(), w.log()
            w.expect_exit = 1
            w.stop()
            continue
        assert w.get("/fixed").body == b"fixed"
        w.stop()

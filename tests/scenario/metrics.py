# SPDX-License-Identifier: Apache-2.0
"""/metrics, /healthz and /status: syntax that promtool accepts, and figures that are right."""

import json
import re
import subprocess

from peers import client
from peers.wire import await_true


def begin(t):
    t.o = t.origin()
    t.o.on("/missing", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    t.o.on("/gone", lambda conn, req: conn.close())
    t.w = t.start({"workers": 2, "upstreams": {"origin": {"endpoints": [
        {"address": t.o.address}]}},
        "routes": [{"name": "api", "match": {"path": "/*"}, "to": "origin"},
                   {"name": "fixed", "match": {"path": "/fixed"}, "reply": {"body": "x"}}]},
        admin=True)


def figures(t, check, w=None):
    """The metrics (of w, else of t.w) when check(m) is true: workers publish as they go."""
    last = [None]

    def ready():
        last[0] = (w or t.w).metrics()
        return check(last[0])
    await_true("figures", ready)
    return last[0]


def test_requests(t):
    for _ in range(7):
        t.w.get("/x")
    for _ in range(3):
        t.w.ask("POST", "/x", body=b"hello")
    t.w.get("/missing")
    for _ in range(2):
        t.w.get("/fixed")
    m = figures(t, lambda m: m.value("weir_requests_total") >= 13 and
                m.value("weir_request_duration_seconds_count", route="api") >= 11 and
                m.value("weir_upstream_requests_total", upstream="origin") >= 11)
    assert m.value("weir_requests_total", route="api", method="GET") == 8, m
    assert m.value("weir_requests_total", route="api", method="POST") == 3
    assert m.value("weir_requests_total", route="fixed") == 2
    assert m.value("weir_requests_total") == 13
    assert m.value("weir_request_duration_seconds_count", route="api") == 11
    assert m.value("weir_request_duration_seconds_sum", route="api") > 0
    assert m.value("weir_upstream_requests_total", upstream="origin") == 11
    status = {dict(labels).get("status") or dict(labels).get("code")
              for (name, labels) in m if name == "weir_requests_total"}
    assert {"2", "4"} <= {s[0] for s in status}, status


def test_faults(t):
    t.w.get("/gone")
    with t.w.client() as c:
        c.send("GET / HTTP/1.1\r\nHost: a b\r\n\r\n")
        c.response()

    m = figures(t, lambda m: m.value("weir_faults_total", reason="host_invalid") and
                m.value("weir_faults_total", reason="upstream_closed"))
    assert m.value("weir_faults_total", reason="host_invalid") == 1, m


def test_connections_and_bytes(t):
    clients = [t.w.client() for _ in range(5)]
    for c in clients:
        assert c.get("/open").status == 200
    m = figures(t, lambda m: m.value("weir_client_connections_open") >= 5 and
                m.value("weir_client_connections_total") >= 5)
    for c in clients:
        c.close()
    figures(t, lambda m: m.value("weir_client_connections_open") == 0)
    before = m.value("weir_bytes_total")
    t.w.ask("POST", "/bytes", body=b"x" * 10000)
    figures(t, lambda m: m.value("weir_bytes_total") >= before + 20000)
    figures(t, lambda m: m.value("weir_exchanges_open") == 0)


def test_only_clients_count(t):
    """Scrapes and failing health checks are no requests of clients: nobody is woken by them."""
    t.not_in("doors", "memory may be refused to requests")
    dead = t.address()
    w = t.start({"upstreams": {"o": t.o.address, "dead": {
        "endpoints": [dead], "health": {"path": "/h", "interval": "100ms"}}},
        "routes": [{"match": "/*", "to": "o"}, {"match": "/dead", "to": "dead"}]}, admin=True)
    for i in range(3):
        assert w.get("/x").status == 200
    figures(t, lambda m: m.value("weir_health_checks_total", result="failed") >= 3, w)
    assert w.admin_get("/nothing").status == 404
    m = figures(t, lambda m: m.value("weir_exchanges_total") >= 3 and
                m.value("weir_requests_total") >= 3 and m.value("weir_exchanges_open") == 0 and
                m.value("weir_client_connections_open") == 0, w)
    assert m.value("weir_exchanges_total") == 3 and m.value("weir_requests_total") == 3
    assert m.value("weir_faults_total") == 0
    assert m.value("weir_bytes_total", side="client") == m.value("weir_route_bytes_total")


def test_faults_from_zero(t):
    """A series that begins with its first faults is one of which rate() sees none."""
    t.not_in("doors", "memory may be refused to requests")
    m = t.start({"upstreams": {"o": t.o.address}}, admin=True).metrics()
    reasons = {dict(labels)["reason"] for name, labels in m if name == "weir_faults_total"}
    listed = re.findall(r"^\| `(\w+)` \|", t.run("schema", "--format", "faults")[1], re.M)
    assert reasons == set(listed) and m.value("weir_faults_total") == 0, reasons ^ set(listed)


def test_process_figures(t):
    m = t.w.metrics()
    for name in ("process_resident_memory_bytes", "process_open_fds"):
        assert m.has(name) and m.value(name) > 0, sorted(m.names())
    assert m.has("weir_build_info"), sorted(m.names())
    assert any("lag" in n for n in m.names()), "no figure for loop lag"


def test_promtool(t):
    promtool = t.needs("promtool")
    t.w.get("/x")
    r = t.w.admin_get("/metrics")
    assert r.get("content-type").startswith("text/plain"), r
    done = subprocess.run([promtool, "check", "metrics"], input=r.body, capture_output=True,
                          timeout=60)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    assert not done.stderr.strip() and not done.stdout.strip(), done.stderr + done.stdout


def test_series_on_first_use(t):
    """A route that was never asked has no series."""
    w = t.start({"routes": [{"name": "used", "match": {"path": "/a"}, "reply": {"body": "x"}},
                            {"name": "unused", "match": {"path": "/b"}, "reply": {"body": "x"}}]},
                admin=True)
    w.get("/a")
    await_true("series", lambda: w.metrics().has("weir_requests_total", route="used"))
    assert not w.metrics().has("weir_requests_total", route="unused")


def test_thousand_routes(t):
    """After a thousand routes the rest is summed in _other."""
    n = 40 if t.variant == "onebyte" else 1100
    w = t.start({"routes": [{"name": "r%04d" % i, "match": {"path": "/%d" % i},
                             "reply": {"body": "x"}} for i in range(n)]}, admin=True)
    with w.client() as c:
        for i in range(n):
            assert c.get("/%d" % i).status == 200
    await_true("all counted", lambda: w.metrics().value("weir_requests_total") == n)
    m = w.metrics()
    routes = {dict(labels)["route"] for (name, labels) in m if name == "weir_requests_total"}
    assert len(routes) <= 1001, len(routes)
    if n > 1000:
        assert m.value("weir_requests_total", route="_other") == n - len(routes) + 1


def counted_routes(w):
    return {dict(labels)["route"] for name, labels in w.metrics()
            if name == "weir_requests_total"}


def test_places_of_routes_that_went(t):
    """When all places are taken, routes that come get those of routes that went, and count from
    nothing; a route that stays keeps its figures. By a reload, and by one change at run time."""
    if t.variant == "onebyte":
        return

    def routes(*names):
        return [{"name": n, "match": {"path": "/" + n}, "reply": {"body": n}} for n in names]
    first = ["a%03d" % i for i in range(998)]
    w = t.start({"routes": routes("stays", *first), "workers": 2, "admin": {"address": t.unix()}})

    def ask(*names):
        with w.client() as c:
            for n in names:
                assert c.get("/" + n).text == n

    def count(name):
        m = w.metrics()
        found = m.has("weir_requests_total", route=name)
        return m.value("weir_requests_total", route=name) if found else 0
    ask("stays", *first)
    await_true("every place is taken", lambda: w.metrics().value("weir_requests_total") == 999)
    w.reload(w.with_config(routes=routes("stays", "b1", "b2")),
             probe=lambda: w.get("/b1").status == 200, everywhere=True)
    # As soon as nobody has the old configuration any more.
    await_true("the old ones are gone", lambda: not counted_routes(w).intersection(first))
    ask("stays", "b2", "b2")
    await_true("counted", lambda: (count("stays"), count("b2")) == (2, 2))

    more = ["c%03d" % i for i in range(998)]
    w.reload(w.with_config(routes=routes("stays", *more)),
             probe=lambda: w.get("/" + more[-1]).status == 200, everywhere=True)
    # The last one has the place of b2 as soon as that is free: all are taken.
    await_true("every place is taken again", lambda: (
        ask(*more), counted_routes(w).issuperset(more))[1])
    code, out, said = t.run("route", "rm", "c007", "--admin", w.admin)
    assert code == 0, said
    await_true("its series is gone", lambda: "c007" not in counted_routes(w))
    code, out, said = t.run("route", "add", json.dumps(routes("c007")[0]), "--admin", w.admin)
    assert code == 0, said
    await_true("it is back", lambda: w.get("/c007").status == 200)
    await_true("counted anew", lambda: count("c007") == 1)
    ask("c007", "stays")
    await_true("counted", lambda: (count("c007"), count("stays")) == (2, 3))


def test_places_when_they_are_short(t):
    """It does not matter when the routes went that had the places, nor that a route which stays
    found none before: within a second there is one."""
    if t.variant == "onebyte":
        return

    def routes(*names):
        return [{"name": n, "match": {"path": "/" + n}, "reply": {"body": n}} for n in names]

    def ask(*names):
        with w.client() as c:
            for n in names:
                assert c.get("/" + n).text == n

    def await_places(*wanted):
        await_true("places", lambda: (ask(*wanted), counted_routes(w).issuperset(wanted))[1])
    a, b = (["%s%03d" % (x, i) for i in range(600)] for x in "ab")
    w = t.start({"routes": routes(*a), "admin": {"address": t.unix()}})
    ask(*a)
    w.reload(w.with_config(routes=routes(*b)), probe=lambda: w.get("/b001").status == 200)
    ask(*b)
    await_places(*b)
    assert "a000" not in counted_routes(w)

    c = ["c%03d" % i for i in range(399)]
    w.reload(w.with_config(routes=routes(*b, *c, "late")),
             probe=lambda: w.get("/c000").status == 200)
    ask(*c, "late")
    await_true("no place for the last", lambda: counted_routes(w) - {"_none"} == {
        "_other", *b, *c})
    w.reload(w.with_config(routes=routes(*b, "late")), probe=lambda: w.get("/c000").status == 404)
    await_places("late")


def test_only_used_routes_count(t):
    """The last routes of many have series of their own when few were asked; over a reload too."""
    n = 1500

    def routes(status):
        return [{"name": "r%04d" % i, "match": {"path": "/%d" % i}, "reply": {"status": status}}
                for i in range(n)]
    w = t.start({"routes": routes(200), "workers": 2}, admin=True)
    for i in range(n - 20, n):
        assert w.get("/%d" % i).status == 200
    w.reload(w.with_config(routes=routes(201)), probe=lambda: w.get("/0").status == 201,
             everywhere=True)
    for i in range(n - 20, n):
        assert w.get("/%d" % i).status == 201
    await_true("all counted, by route", lambda: all(
        w.metrics().value("weir_requests_total", route="r%04d" % i) == 2
        for i in range(n - 20, n)))
    assert not w.metrics().has("weir_requests_total", route="_other")


def test_healthz_and_status(t):
    r = t.w.admin_get("/healthz")
    assert r.status == 200, r
    r = t.w.admin_get("/status")
    assert r.status == 200 and "json" in r.get("content-type"), r
    json.loads(r.body)
    assert t.o.address in r.text, r.text
    assert t.w.admin_get("/nothing").status == 404
    with client.Client(t.w.admin) as c:
        assert c.ask("POST", "/metrics", body=b"").status == 405


def test_admin_is_off_by_default(t):
    w = t.simple()
    for path in ("/metrics", "/healthz", "/status"):
        r = w.get(path)
        assert r.body.startswith(b"origin GET"), "the admin pages are on the public listener"


def test_admin_on_a_unix_socket(t):
    address = t.unix()
    t.start({"routes": [{"match": {"path": "/*"}, "reply": {"body": "x"}}],
             "admin": {"address": address}})
    with client.Client(address) as c:
        assert c.get("/healthz").status == 200


def test_scrapes_under_load(t):
    """Each scrape is well-formed and counters never go back."""
    last = 0
    for i in range(10):
        t.w.get("/load%d" % i)
        now = t.w.metrics().value("weir_requests_total")
        assert now >= last
        last = now

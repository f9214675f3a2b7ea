# SPDX-License-Identifier: Apache-2.0
"""The links to the origin: reused, limited exactly, queued in order, evicted, retried once when
that is safe."""

import select
import socket
import threading

from peers import wire
from peers.wire import Ended, await_true, in_parallel


def begin(t):
    t.o = t.origin()
    t.hangs = t.origin("hangs")


def pooled(t, o, workers=1, top=None, **pool):
    return t.start(dict({"workers": workers,
                         "upstreams": {"u": {"endpoints": [{"address": o.address}],
                                             "pool": pool}},
                         "routes": [{"match": {"path": "/*"}, "to": "u"}]}, **(top or {})),
                   admin=True)


def test_reuse(t):
    o = t.origin("reuse")
    w = pooled(t, o)
    with w.client() as c:
        for i in range(50):
            assert c.get("/r%d" % i).status == 200
    for i in range(50):
        assert w.get("/s%d" % i).status == 200
    assert len(o.connections) == 1, "%d connections for 100 requests" % len(o.connections)
    lines = w.await_access(lambda x: True, 100)
    assert [x["reused"] for x in lines].count(False) == 1, "reused: false is logged once"


def test_reuse_after_every_framing(t):
    """Whatever way an answer ends in order, its connection carries the next request."""
    answers = [("GET", "Content-Length: 5\r\n\r\nhello"), ("GET", "Content-Length: 0\r\n\r\n"),
               ("GET", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
               ("GET", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
               ("GET", "Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n"),
               ("HEAD", "Content-Length: 1000\r\n\r\n"), ("HEAD", "\r\n"),
               ("HEAD", "Transfer-Encoding: chunked\r\n\r\n"),
               ("POST", "Content-Length: 70000\r\n\r\n" + "x" * 70000)]
    o = t.origin("framings")
    w = pooled(t, o, 1)
    raws = [(m, "HTTP/1.1 200 OK\r\n" + rest) for m, rest in answers]
    raws += [("GET", "HTTP/1.1 204 No Content\r\n\r\n"), ("GET", "HTTP/1.1 304 X\r\n\r\n"),
             ("GET", "HTTP/1.1 304 X\r\nContent-Length: 1000\r\n\r\n"),
             ("GET", "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
             ("GET", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx")]
    for _ in range(2):
        for i, (method, raw) in enumerate(raws):
            o.on("/f%d" % i, raw.encode())
            r = w.ask(method, "/f%d" % i)
            assert r.complete and r.status < 400, (raw[:60], r)
            assert len(o.connections) == 1, "not reused after %r" % raws[i - 1][1][:80]


def test_max_connections_is_exact(t):
    """Sixty clients, two workers, three links: never a fourth, and everybody is served."""
    o = t.origin("three")
    w = pooled(t, o, 2, {"timeouts": {"pool_wait": "60s"}}, max_connections=3)
    active, most, lock = [0], [0], threading.Lock()

    def slow(conn, req):
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        conn.stream.readable(0.005)
        with lock:
            active[0] -= 1
        conn.reply(200, body=req.path.encode())
    o.default = slow

    def ask(i):
        with w.client() as c:
            return [c.get("/x%d-%d" % (i, j)).body for j in range(5)]
    got = in_parallel(60, ask)
    for i, bodies in enumerate(got):
        assert bodies == [b"/x%d-%d" % (i, j) for j in range(5)], (i, bodies)
    assert most[0] <= 3, "%d requests at once" % most[0]
    assert len(o.connections) == 3, "%d connections were opened" % len(o.connections)


class Counted:
    """A listening socket that counts how many of its connections are open at a time. It looks at
    each accept: what Weir closed before it connected anew has then ended here, too. Answers are
    good and bad by turns."""

    ANSWERS = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"] * 4 + [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort", b""]

    def __init__(self, address):
        self.address = address
        host, port = address.split(":")
        self.listener = socket.create_server((host, int(port)), backlog=512)
        self.lock, self.open, self.most, self.turn = threading.Lock(), set(), 0, 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                self.open = {c for c in self.open if c.fileno() >= 0 and not ended(c)} | {s}
                self.most = max(self.most, len(self.open))
            threading.Thread(target=self.serve, args=(s,), daemon=True).start()

    def serve(self, s):
        try:
            stream = wire.Stream(s)
            while stream.until(b"\r\n\r\n"):
                with self.lock:
                    self.turn += 1
                    answer = self.ANSWERS[self.turn % len(self.ANSWERS)]
                s.sendall(answer)
                if b"ok" not in answer or b"close" in answer:
                    break
        except (OSError, Ended, wire.Deadline, ValueError):
            pass
        with self.lock:
            self.open.discard(s)
            s.close()


def ended(s):
    """The other side has closed s."""
    look = select.poll()
    look.register(s, select.POLLRDHUP)
    return bool(look.poll(0))


def test_max_connections_is_exact_under_churn(t):
    """Three workers, clients that leave, links that break, are evicted or age: never a fifth."""
    o = Counted(t.address())
    w = pooled(t, o, 3, {"timeouts": {"pool_wait": "60s"}}, max_connections=4, max_idle=2,
               min_idle=1, max_requests=7, max_lifetime="1s")

    def ask(i):
        for j in range(12):
            with w.client() as c:
                c.request("GET" if j % 2 else "DELETE", "/c%d-%d" % (i, j))
                if (i + j) % 5 == 0:
                    continue  # gone at once
                r = c.response()
                assert r.status in (200, 502), r
    for result in in_parallel(24, ask):
        assert result is None or isinstance(result, Ended), repr(result)
    assert o.most <= 4, "%d connections were open at a time" % o.most
    assert o.turn > 100
    await_true("every link but the idle ones is closed", lambda: w.metrics().value(
        "weir_upstream_connections_open") <= 2)
    o.listener.close()


def waiting(w):
    return w.metrics().value("weir_upstream_requests_waiting")


def test_limit_is_lowered(t):
    """A limit that a reload lowers, or sets, holds for connections that are there already: idle
    ones are closed at once, others when their requests are over."""
    o = t.origin("lowered")
    gate = threading.Event()
    now, most, lock = [0], [0], threading.Lock()

    def hold(conn, req):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        assert gate.wait(60)
        with lock:
            now[0] -= 1
        conn.reply(200)
    o.default = hold
    w = pooled(t, o, workers=2)

    def open_now():
        return w.status()["upstreams"][0]["endpoints"][0]["connections"]["open"]

    def limit(n, **top):
        before = w.status()["configuration"]["generation"]
        upstreams = {"u": {"endpoints": [{"address": o.address}],
                           "pool": {"max_connections": n}}}
        w.reload(w.with_config(upstreams=upstreams, **top),
                 lambda: w.status()["configuration"]["generation"] > before)

    def ask(n):
        clients = [w.client() for _ in range(n)]
        for c in clients:
            c.request("GET", "/held")
        return clients

    def finish(clients):
        gate.set()
        assert [c.response().status for c in clients] == [200] * len(clients)
        for c in clients:
            c.close()
        gate.clear()
    clients = ask(8)
    await_true("eight in service", lambda: now[0] == 8)
    finish(clients)
    assert open_now() == 8
    limit(3)
    await_true("idle ones closed", lambda: open_now() <= 3)
    most[0] = 0
    clients = ask(6)
    await_true("three in service", lambda: now[0] == 3)
    limit(1)
    finish(clients)
    assert most[0] <= 3, most
    await_true("one is left", lambda: open_now() <= 1)
    most[0] = 0
    finish(ask(4))
    assert most[0] == 1, most


def test_waiting_is_fifo(t):
    """With two workers, those that wait for a link get it in the order in which they came."""
    o = t.origin("fifo")
    w = pooled(t, o, 2, {"timeouts": {"pool_wait": "60s"}}, max_connections=1)
    gate = threading.Event()
    o.on("/hold", lambda conn, req: (gate.wait(60), conn.reply(200, body=b"held")))
    with w.client() as first:
        first.request("GET", "/hold")
        o.await_seen("/hold")
        queue = []
        for i in range(12):
            c = w.client()
            c.request("GET", "/wait%d" % i)
            queue.append(c)
            await_true("request %d waits" % i, lambda n=i: waiting(w) == n + 1)
        gate.set()
        assert first.response().body == b"held"
        for i, c in enumerate(queue):
            assert c.response().body == b"fifo GET /wait%d\n" % i
            c.close()
    order = [q.path for q in o.requests if q.path.startswith("/wait")]
    assert order == ["/wait%d" % i for i in range(12)], order
    assert waiting(w) == 0


def test_max_waiting(t):
    o = t.origin("queue")
    w = pooled(t, o, 1, {"timeouts": {"pool_wait": "60s"}}, max_connections=1, max_waiting=2)
    gate = threading.Event()
    o.on("/hold", lambda conn, req: (gate.wait(60), conn.reply(200, body=b"held")))
    clients = [w.client() for _ in range(3)]
    clients[0].request("GET", "/hold")
    o.await_seen("/hold")
    for i in (1, 2):
        clients[i].request("GET", "/w%d" % i)
        await_true("waits", lambda n=i: waiting(w) == n)
    r = w.get("/too-many")
    assert r.status == 503 and r.code == "pool_full", r
    gate.set()
    for c in clients:
        assert c.response().status == 200
        c.close()


def test_idle_timeout(t):
    o = t.origin("idle")
    w = pooled(t, o, idle_timeout="200ms")
    assert w.get("/a").status == 200
    assert o.connections[0].ended.wait(wire.patience(20)), "the idle link stays open"
    assert w.get("/b").status == 200
    assert len(o.connections) == 2
    assert w.metrics().value("weir_upstream_connections_evicted_total", reason="idle_timeout") >= 1


def test_max_idle(t):
    o = t.origin("idle1")
    w = pooled(t, o, max_idle=1)
    both = threading.Barrier(4)
    o.on("/meet", lambda conn, req: (both.wait(wire.watching()), conn.reply(200, body=b"met")))
    got = in_parallel(4, lambda i: w.get("/meet").body)
    assert got == [b"met"] * 4, got
    await_true("three links are closed",
               lambda: sum(c.ended.is_set() for c in o.connections) == 3)


def test_max_requests(t):
    o = t.origin("two")
    w = pooled(t, o, max_requests=2)
    with w.client() as c:
        for i in range(10):
            assert c.get("/m%d" % i).status == 200
    assert [len(c.requests) for c in o.connections] == [2] * 5


def test_max_lifetime(t):
    o = t.origin("old")
    w = pooled(t, o, max_lifetime="300ms")
    def another():
        assert w.get("/a").status == 200
        return len(o.connections) > 1
    await_true("another link is used", another)
    assert o.connections[0].ended.wait(wire.patience(20)), "the old link stays open"


def test_no_keepalive(t):
    o = t.origin("once")
    w = pooled(t, o, keepalive=False)
    with w.client() as c:
        for i in range(5):
            assert c.get("/k%d" % i).status == 200
    assert [len(c.requests) for c in o.connections] == [1] * 5


def test_min_idle(t):
    """Links are opened ahead of traffic and replaced when one is lost."""
    o = t.origin("warm")
    w = pooled(t, o, min_idle=3)
    o.await_connections(3)
    o.connections[0].close()
    o.await_connections(4)
    assert w.get("/a").status == 200
    assert w.line_for("/a")["reused"] in (True, False)


def test_endpoint_setting_wins(t):
    a, b = t.origin("a"), t.origin("b")
    w = t.start({"upstreams": {"u": {
        "endpoints": [{"address": a.address, "pool": {"max_requests": 1}},
                      {"address": b.address}], "pool": {"max_requests": 0}}},
        "routes": [{"match": {"path": "/*"}, "to": "u"}]})
    for i in range(12):
        assert w.get("/e%d" % i).status == 200
    assert all(len(c.requests) == 1 for c in a.connections) and len(a.connections) == 6
    assert len(b.connections) == 1


def hang_up_on_second(o):
    """The origin reads a second request on a connection and ends it without an answer."""
    def serve(conn, req):
        req.body()
        if len(conn.requests) > 1:
            conn.close()
        else:
            conn.reply(200)
    o.default = serve


def test_stale_link_is_retried_for_idempotent(t):
    for method in ("GET", "HEAD", "OPTIONS", "DELETE"):
        o = t.origin("stale")
        hang_up_on_second(o)
        w = pooled(t, o)
        assert w.ask(method, "/first").status == 200
        r = w.ask(method, "/again")
        assert r.status == 200, (method, r)
        assert len(o.seen("/again")) == 2 and len(o.connections) == 2, method
        assert w.line_for("/again")["attempts"] == 2
        w.stop()


def test_stale_link_that_was_opened_ahead(t):
    """A connection of min_idle may be as stale as one that has served: GET is asked again, on a
    fresh one; POST is not."""
    for method, status in (("GET", 200), ("POST", 502)):
        o = t.origin("ahead")
        w = pooled(t, o, min_idle=1)

        def serve(conn, req, o=o):  # whichever is asked first is the stale one
            req.body()
            conn.close() if len(o.requests) == 1 else conn.reply(200)
        o.default = serve
        await_true("an idle link",
                   lambda: w.status()["upstreams"][0]["endpoints"][0]["connections"]["idle"] == 1)
        r = w.ask(method, "/ahead", body=None if method == "GET" else b"x")
        assert r.status == status, (method, r)
        seen = o.seen("/ahead")
        assert len(seen) == (2 if status == 200 else 1), seen
        assert len({q.conn for q in seen}) == len(seen), "asked again on the stale one"
        line = w.line_for("/ahead")
        assert line["attempts"] == (2 if status == 200 else 1), line
        w.stop()


def test_stale_link_and_a_large_body(t):
    """What is above retry.buffer is not sent again, and the log says so."""
    o = t.origin("stale")
    hang_up_on_second(o)
    w = pooled(t, o, top={"retry": {"buffer": "1KiB"}})
    assert w.get("/first").status == 200
    r = w.ask("PUT", "/large", body=b"x" * 5000)
    assert r.status == 502, r
    line = w.line_for("/large")
    assert line["attempts"] == 1 and line["retry_refused"] == "body", line


def test_stale_link_is_not_retried_for_post(t):
    o = t.origin("stale")
    hang_up_on_second(o)
    w = pooled(t, o)
    assert w.ask("POST", "/first", body=b"x").status == 200
    r = w.ask("POST", "/again", body=b"x")
    assert r.status == 502 and r.code in ("upstream_closed", "upstream_reset"), r
    assert len(o.seen("/again")) == 1, "a sent POST was sent twice"
    assert w.line_for("/again")["attempts"] == 1


def test_stale_link_and_methods_that_count_as_idempotent(t):
    """What the route lets be repeated is, on a fresh connection of the only endpoint."""
    key = [("Idempotency-Key", "k")]
    for retry, fields, status in (({"any_method": True}, (), 200),
                                  ({"idempotency_key": True}, key, 200),
                                  ({"idempotency_key": True}, (), 502), ({}, key, 502)):
        o = t.origin("stale")
        hang_up_on_second(o)
        w = pooled(t, o, top={"retry": retry})
        assert w.get("/first").status == 200
        r = w.ask("POST", "/again", fields, b"x")
        assert r.status == status, (retry, fields, r)
        assert len(o.seen("/again")) == (2 if status == 200 else 1), (retry, fields)
        w.stop()


def test_one_retry_only(t):
    o = t.origin("never")
    o.on("/ok", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    o.default = lambda conn, req: conn.close()
    w = pooled(t, o)
    assert w.get("/ok").status == 200
    r = w.get("/x")
    assert r.status == 502, r
    assert len(o.seen("/x")) == 2, "%d times" % len(o.seen("/x"))


def test_no_retry_after_a_byte(t):
    """A broken answer is not asked for again."""
    o = t.origin("byte")

    def serve(conn, req):
        if len(conn.requests) > 1:
            conn.send("HTTP/1.1 20")
            conn.close()
        else:
            conn.reply(200)
    o.default = serve
    w = pooled(t, o)
    assert w.get("/first").status == 200
    r = w.get("/again")
    assert r.status == 502 and r.code == "upstream_truncated", r
    assert len(o.seen("/again")) == 1


def test_retry_off(t):
    o = t.origin("off")
    hang_up_on_second(o)
    w = pooled(t, o, 1, {"retry": False})
    assert w.get("/first").status == 200
    assert w.get("/again").status == 502
    assert len(o.seen("/again")) == 1


def test_closed_while_idle_is_noticed(t):
    """The origin ends an idle connection: even a POST right after it never fails."""
    for probe in ("none", "peek"):
        o = t.origin("closing")
        w = pooled(t, o, probe=probe)
        with w.client() as c:
            for i in range(40):
                r = c.ask("POST", "/p%d" % i, body=b"hello")
                assert r.status == 200, (probe, i, r)
                o.seen("/p%d" % i)[0].conn.shut()
        assert len(o.requests) == 40
        w.stop()


def test_probe_head(t):
    o = t.origin("probed")
    w = pooled(t, o, probe="head", probe_path="/health", probe_after="3s")
    assert w.get("/a").status == 200
    q = o.await_seen("/health")[0]
    assert q.method == "HEAD" and q.conn is o.connections[0], q
    await_true("the probe is answered",
               lambda: w.metrics().value("weir_upstream_connections_idle") == 1)
    assert w.get("/b").status == 200
    # On a slow machine the next probe may be under way, for which nobody waits.
    assert len(o.connections) == 1 or len(o.seen("/health")) > 1, "it stays when it answered"


def test_probe_head_fails(t):
    o = t.origin("bad-probe")
    o.on("/health", lambda conn, req: conn.close())
    w = pooled(t, o, probe="head", probe_path="/health", probe_after="200ms")
    assert w.get("/a").status == 200
    o.await_seen("/health")
    assert w.get("/b").status == 200
    await_true("the probe's eviction is counted", lambda: w.metrics().value(
        "weir_upstream_connections_evicted_total", reason="probe_failed") >= 1)


def test_figures(t):
    o = t.origin("figures")
    w = pooled(t, o)
    with w.client() as c:
        for i in range(10):
            assert c.get("/f%d" % i).status == 200
    m = w.metrics()
    assert m.value("weir_upstream_requests_total", upstream="u") == 10, m
    assert m.value("weir_upstream_connections_opened_total", upstream="u") == 1
    assert m.value("weir_upstream_connections_reused_total", upstream="u") == 9
    assert m.value("weir_upstream_connections_open", upstream="u") == 1


def test_evictions_by_reason(t):
    """Why a link left is counted under one name, whatever the way it left."""
    o = t.origin("evicting")
    head = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    o.on("/close", (head + "Connection: close\r\n\r\nok").encode())
    o.on("/extra", (head + "\r\nok and more").encode())
    o.on("/short", lambda conn, req: (conn.send(head + "\r\no"), conn.close()))

    def evicts(w, path, reason, shut=False):
        """Asks until it is counted: some of the reasons are seen when the link is wanted again.
        shut: the origin ends each link that is kept."""
        def counted():
            w.get(path)
            for q in o.seen(path)[-1:] if shut else ():
                q.conn.shut()
            return w.metrics().value("weir_upstream_connections_evicted_total", reason=reason) >= 1
        await_true("an eviction by %s" % reason, counted)
    w = pooled(t, o)
    evicts(w, "/close", "not_kept")
    evicts(w, "/extra", "stale_bytes")
    evicts(w, "/short", "error")
    evicts(w, "/kept", "closed_by_endpoint", shut=True)
    for reason, pool in (("max_requests", {"max_requests": 1}), ("surplus", {"max_idle": 0}),
                         ("max_lifetime", {"max_lifetime": "1ms"})):
        evicts(pooled(t, o, **pool), "/" + reason, reason)
    w = pooled(t, o, idle_timeout="100ms")
    w.get("/idle")
    await_true("an eviction by idle_timeout", lambda: w.metrics().value(
        "weir_upstream_connections_evicted_total", reason="idle_timeout") == 1)


def test_waits_are_counted(t):
    o = t.origin("waited")
    w = pooled(t, o, 1, {"timeouts": {"pool_wait": "60s"}}, max_connections=1)
    go = threading.Event()
    o.on("/hold", lambda conn, req: (go.wait(60), conn.reply(200)))
    with w.client() as first, w.client() as second:
        first.request("GET", "/hold")
        o.await_seen("/hold")
        second.request("GET", "/waits")
        await_true("it waits", lambda: waiting(w) == 1)
        go.set()
        assert first.response().status == second.response().status == 200
    assert w.metrics().value("weir_upstream_waits_total") == 1


def test_two_workers_share_the_limit(t):
    """At the limit a worker gets the idle link of another one."""
    o = t.origin("shared")
    w = pooled(t, o, 2, {"timeouts": {"pool_wait": "60s"}}, max_connections=1)
    for i in range(60):  # connections of clients are spread over both workers
        assert w.get("/s%d" % i).status == 200, i
    assert len(o.connections) == 1, len(o.connections)


def test_broken_clients_do_not_use_up_the_limit(t):
    o = t.origin("limit")
    w = pooled(t, o, 2, {"timeouts": {"pool_wait": "60s"}}, max_connections=2)
    o.on("/wait", lambda conn, req: (conn.await_end(), conn.close()))
    for _ in range(40):
        c = w.client()
        c.request("GET", "/wait")
        c.reset()
    try:
        assert in_parallel(8, lambda i: w.get("/ok").status) == [200] * 8
    except Ended:
        raise AssertionError("links are lost to clients that went away")

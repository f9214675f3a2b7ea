# SPDX-License-Identifier: Apache-2.0
"""How an HTTP/2 connection ends: idle, by reload, by a graceful stop in two steps, by limits of
time."""

import threading

from peers import h2, wire
from peers.h2 import NO_ERROR, H2


def begin(t):
    t.o = t.origin()


def listener(t):
    return [{"address": t.address(), "h2c": True}]


def test_idle_ends(t):
    w = t.simple(listeners=listener(t), timeouts={"keepalive": "500ms"})
    with H2(w.address) as c:
        assert c.ask(path="/one").status == 200
        assert c.await_end() == NO_ERROR


def test_pings_do_not_keep_it(t):
    w = t.simple(listeners=listener(t), timeouts={"keepalive": "1s"})
    with H2(w.address) as c:
        done = threading.Event()

        def pings():
            while not done.wait(0.05):
                c.frame(h2.PING, 0, 0, bytes(8))
        sender = threading.Thread(target=pings, daemon=True)
        sender.start()
        code = c.await_end()
        done.set()
        sender.join()
        assert code == NO_ERROR, c.goaway


def test_reload_keeps_connections(t):
    w = t.simple(listeners=listener(t))
    go = threading.Event()
    t.o.on("/held", lambda conn, req: (go.wait(60), conn.reply(body=b"held")))
    with H2(w.address) as c:
        held = c.request(path="/held")
        t.o.await_seen("/held")
        routes = [{"match": {"path": "/new"}, "reply": {"body": "new"}},
                  {"match": {"path": "/*"}, "to": "origin"}]

        def probe():
            with H2(w.address) as other:
                return other.ask(path="/new").body == b"new"
        w.reload(w.with_config(routes=routes), probe)
        assert c.ask(path="/new").body == b"new"
        go.set()
        assert c.response(held).body == b"held" and not c.goaway


def test_graceful_stop(t):
    """GOAWAY first without a limit, then with the last stream; streams finish, new ones too."""
    w = t.simple(listeners=listener(t))
    go = threading.Event()
    t.o.on("/slow", lambda conn, req: (go.wait(60), conn.reply(body=b"slow")))
    with H2(w.address) as c, H2(w.address) as idle:
        assert idle.ask(path="/idle").status == 200
        slow = c.request(path="/slow")
        t.o.await_seen("/slow")
        w.terminate()
        assert c.await_goaway() == NO_ERROR and c.goaway[0] == 0x7fffffff, c.goaway
        late = c.request(path="/late")  # was on its way
        assert c.response(late).status == 200
        assert idle.await_end() == NO_ERROR
        c.until("the second GOAWAY", lambda: c.notices == 2)
        assert c.goaway == (late, NO_ERROR), c.goaway
        go.set()
        assert c.response(slow).body == b"slow"
        c.await_end()
    assert w.wait() == 0


def test_stop_with_a_limit(t):
    w = t.simple(listeners=listener(t), drain="500ms")
    t.o.on("/never", lambda conn, req: (conn.await_end(), conn.close()))
    with H2(w.address) as c:
        c.request(path="/never")
        t.o.await_seen("/never")
        w.terminate()
        c.await_end()
    assert w.wait() == 0
    assert w.line_for("/never")["reason"] == "shutdown"


def test_client_body_times_out(t):
    w = t.simple(listeners=listener(t), timeouts={"client_body": "500ms"})
    with H2(w.address) as c:
        stream = c.request("POST", "/body", end=False)
        c.data(stream, b"part")
        r = c.response(stream)
        assert r.status == 408 or r.reset is not None, r
        assert c.ask(path="/next").status == 200
    assert w.line_for("/body")["reason"] == "client_body_timeout"


def test_limits_of_routes(t):
    """What holds for HTTP/1 holds here: body size, time to the first byte, the whole exchange."""
    routes = [{"match": {"path": "/small"}, "to": "origin", "limits": {"body": 10}},
              {"match": {"path": "/first"}, "to": "origin", "timeouts": {"first_byte": "300ms"}},
              {"match": {"path": "/*"}, "to": "origin"}]
    w = t.simple(listeners=listener(t), routes=routes)
    t.o.on("/first", lambda conn, req: (conn.await_end(), conn.close()))
    with H2(w.address) as c:
        assert c.ask("POST", "/small", body=b"x" * 11, fields=[("content-length", "11")]
                     ).status == 413
        stream = c.request("POST", "/small", end=False)
        c.data(stream, b"x" * 11, end=True)
        r = c.response(stream)
        assert r.status == 413 or r.reset is not None, r
        assert c.ask(path="/first").status == 504
        assert c.ask(path="/ok").status == 200


def test_min_rate(t):
    """A reader slower than min_rate.response, while bytes wait for it."""
    w = t.simple(listeners=listener(t), min_rate={"response": "10KiB/s", "grace": "500ms"})
    t.o.on("/slow-reader", lambda conn, req: conn.reply(body=b"x" * 100000))
    with H2(w.address, values={h2.INITIAL_WINDOW: 100}, auto=False) as c:
        r = c.response(c.request(path="/slow-reader"))
        assert r.reset is not None and not r.ended, r
        assert w.line_for("/slow-reader")["reason"] == "client_slow_reader"


def test_priority_update_before_the_request(t):
    """What a frame said of a stream that is not open yet holds, when the head says nothing."""
    w = t.simple(listeners=listener(t))
    n = 60000
    t.o.on("/p", lambda conn, req: conn.reply(body=b"x" * n))
    with H2(w.address, values={h2.INITIAL_WINDOW: 1 << 20}, auto=False) as c:
        c.frame(h2.PRIORITY_UPDATE, 0, 0, (3).to_bytes(4, "big") + b"u=0")
        ids = [c.request(path="/p") for _ in range(2)]
        assert ids == [1, 3]
        c.ping()
        c.open_window(4 * n)
        for i in ids:
            assert c.response(i).ended


def test_metrics_and_log(t):
    w = t.simple(listeners=listener(t), admin={"address": t.address()})
    with H2(w.address) as c:
        for _ in range(3):
            assert c.ask(path="/counted").status == 200
        wire.await_true("three requests are counted", lambda: sum(
            v for (n, labels), v in w.metrics().items()
            if n == "weir_requests_total" and ("status", "200") in labels) >= 3)
    lines = w.await_access(lambda x: x.get("path") == "/counted", 3)
    assert all(x["protocol"] == "HTTP/2" for x in lines), lines


def test_max_connections_and_memory(t):
    """A listener's limit counts HTTP/2 connections; a client beyond it is closed."""
    w = t.simple(listeners=[{"address": t.address(), "h2c": True, "max_connections": 1}])
    c = wire.await_true("that the probe of the start is gone", lambda: asked(w))
    with c, H2(w.address) as other:
        assert other.await_end() is None


def asked(w):
    """A connection that was answered; None: it was closed."""
    c = H2(w.address)
    try:
        if c.ask(path="/in").status == 200:
            return c
    except wire.Ended:
        pass
    c.sock.close()
    return None

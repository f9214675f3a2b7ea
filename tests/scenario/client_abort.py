# SPDX-License-Identifier: Apache-2.0
"""A client that goes away cancels the upstream side at once, wherever the exchange is."""

import threading

from peers.wire import await_true, patience


def begin(t):
    t.o = t.origin()
    t.w = t.simple()
    t.o.on("/wait", lambda conn, req: (conn.await_end(), conn.close()))


def cancelled(t, path, leave, start=None):
    """Starts a request, leaves, and waits until the origin's connection ended."""
    before = len(t.o.seen(path))
    c = t.w.client()
    if start:
        start(c)
    else:
        c.request("GET", path)
    q = t.o.await_seen(path, before + 1)[-1]
    leave(c)
    assert q.conn.ended.wait(patience(20)), "the upstream side goes on"
    return q


def test_fin_while_waiting(t):
    cancelled(t, "/wait", lambda c: c.close())
    assert t.w.line_for("/wait")["reason"] == "client_gone"


def test_half_close_while_waiting(t):
    cancelled(t, "/wait", lambda c: c.shut())


def test_rst_while_waiting(t):
    cancelled(t, "/wait", lambda c: c.reset())


def test_rst_while_half_closed_clients_are_allowed(t):
    """A reset is no half-close."""
    w = t.simple(client_half_close="allow")
    before = len(t.o.seen("/wait"))
    c = w.client()
    c.request("GET", "/wait")
    q = t.o.await_seen("/wait", before + 1)[-1]
    c.shut()
    assert not q.conn.stream.readable(0.05)
    c.reset()
    assert q.conn.ended.wait(patience(20)), "the upstream side goes on"
    assert w.line_for("/wait")["reason"] == "client_gone"


def test_during_upload(t):
    def read(conn, req):
        try:
            req.body()
        finally:
            conn.close()
    t.o.on("/upload", read)
    for leave in (lambda c: c.close(), lambda c: c.reset(), lambda c: c.shut()):
        for head in ("Content-Length: 100\r\n\r\n12345",
                     "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"):
            q = cancelled(t, "/upload", leave, lambda c, head=head: c.send(
                "POST /upload HTTP/1.1\r\nHost: a\r\n" + head))
            assert not q.whole, "a cut upload was completed"


def test_during_download(t):
    def endless(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while conn.send(b"1000\r\n" + b"x" * 4096 + b"\r\n"):
            pass
        conn.close()
    t.o.on("/endless", endless)

    def start(c):
        c.request("GET", "/endless")
        c.read_at_least(c.head(), 1000)
    for leave in (lambda c: c.close(), lambda c: c.reset()):
        cancelled(t, "/endless", leave, start)
    line = t.w.line_for("/endless")
    assert line["reason"] == "client_gone" and line["status"] == 200, line


def test_in_a_stalled_download(t):
    """Nothing flows in either direction when the client leaves."""
    def stall(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        conn.await_end()
        conn.close()
    t.o.on("/stall", stall)

    def start(c):
        c.request("GET", "/stall")
        c.read_at_least(c.head(), 5)
    for leave in (lambda c: c.close(), lambda c: c.reset()):
        cancelled(t, "/stall", leave, start)


def test_while_waiting_for_a_connection(t):
    """A client in the queue of the pool goes away: its place is freed, it reaches no origin."""
    w = t.start({"upstreams": {"one": {"endpoints": [{"address": t.o.address}],
                                       "pool": {"max_connections": 1}}},
                 "timeouts": {"pool_wait": "60s"},
                 "routes": [{"match": {"path": "/*"}, "to": "one"}]})
    go = threading.Event()
    t.o.on("/hold", lambda conn, req: (go.wait(60), conn.reply(200, body=b"held")))
    with w.client() as first:
        first.request("GET", "/hold")
        t.o.await_seen("/hold")
        queued = [w.client() for _ in range(10)]
        for c in queued:
            c.request("GET", "/queued")
        for c in queued:
            c.close()
        w.await_access(lambda x: x.get("path") == "/queued" and x["reason"] == "client_gone", 10)
        go.set()
        assert first.response().body == b"held"
    assert w.get("/after").status == 200
    assert not t.o.seen("/queued")


def fill(c):
    """Sends until it is full all the way to the origin, which reads nothing."""
    c.sock.settimeout(1)
    try:
        c.sock.sendall(bytes(64 << 20))
    except OSError:
        pass


def test_while_an_upload_waits(t):
    """Half of a body was sent, and nobody reads on: the request waits for a connection, or for an
    origin that takes no more of it."""
    w = t.start({"upstreams": {"one": {"endpoints": [{"address": t.o.address}],
                                       "pool": {"max_connections": 1}}},
                 "timeouts": {"pool_wait": "60s"},
                 "routes": [{"match": {"path": "/*"}, "to": "one"}]})
    go = threading.Event()
    t.o.on("/stuck", lambda conn, req: go.wait(60))
    head = "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n"
    with w.client() as first:
        first.send(head % "/stuck")
        t.o.await_seen("/stuck")
        for leave in ("close", "shut", "reset"):
            with w.client() as c:
                c.send(head % ("/half-" + leave) + "half")
                getattr(c, leave)()
                assert w.line_for("/half-" + leave)["reason"] == "client_gone"
        if t.variant == "plain":
            fill(first)
            first.reset()
            assert w.line_for("/stuck")["reason"] == "client_gone"
    go.set()


def test_while_an_answered_upload_waits(t):
    """The origin has begun to answer, and takes no more of the body."""
    t.not_in("onebyte", "a stalled origin needs megabytes")
    go = threading.Event()
    t.o.on("/deaf", lambda conn, req: (
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"), go.wait(60)))
    with t.w.client() as c:
        c.send("POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")
        c.read_at_least(c.head(), 5)
        fill(c)
        c.reset()
        assert t.w.line_for("/deaf")["reason"] == "client_gone"
    go.set()


def test_pipelined_client_leaves(t):
    """The second request of a client that left is not sent."""
    before = len(t.o.seen("/wait"))
    with t.w.client() as c:
        c.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /never-sent HTTP/1.1\r\nHost: a\r\n\r\n")
        q = t.o.await_seen("/wait", before + 1)[-1]
        c.reset()
    assert q.conn.ended.wait(patience(20))
    assert t.w.get("/ping").status == 200
    assert not t.o.seen("/never-sent")


def test_aborted_link_is_not_reused(t):
    """The late answer to a cancelled request is nobody's."""
    go = threading.Event()

    def late(conn, req):
        assert go.wait(60)
        conn.reply(200, body=b"too late")
    t.o.on("/late", late)
    c = t.w.client()
    c.request("GET", "/late")
    t.o.await_seen("/late")
    c.close()
    t.w.line_for("/late")
    go.set()
    with t.w.client() as c:
        for i in range(20):
            assert c.get("/next%d" % i).body == b"origin GET /next%d\n" % i


def test_nothing_leaks(t):
    """Three hundred aborted exchanges leave no descriptor behind. Connections that were opened for
    them and sent nothing are kept as any idle ones are: one of them here."""
    w = t.start({"upstreams": {"one": {"endpoints": [{"address": t.o.address}],
                                       "pool": {"max_idle": 1}}},
                 "routes": [{"match": {"path": "/*"}, "to": "one"}]})
    w.get("/warm")
    base = w.fds()
    for i in range(300):
        c = w.client()
        c.request("GET", "/wait" if i % 2 else "/endless")
        (c.reset if i % 3 else c.close)()
    await_true("descriptors of aborted exchanges are closed", lambda: w.fds() <= base + 2)
    assert w.get("/after-all").status == 200

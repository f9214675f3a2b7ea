# SPDX-License-Identifier: Apache-2.0
"""Each timeout by its effect and reason code. Times are small; none is asserted."""

import socket
import threading
import time

from peers import wire
from peers.h2 import H2
from peers.wire import Ended, await_true

COST = 4


def begin(t):
    t.o = t.origin()
    t.hold = threading.Event()
    t.o.on("/never", lambda conn, req: conn.await_end())


def timed(t, **timeouts):
    return t.simple(timeouts=timeouts)


def test_client_head(t):
    w = timed(t, client_head="300ms")
    for raw in ("G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: a\r\nX: "):
        with w.client() as c:
            c.send(raw)
            r = c.response()
            assert r.status == 408 and r.code == "client_head_timeout", r
            c.must_end()
    w.await_access(lambda x: x["reason"] == "client_head_timeout" and x["status"] == 408, 3)


def test_client_head_is_absolute(t):
    """A byte now and then does not extend it."""
    w = timed(t, client_head="500ms")
    with w.client() as c:
        c.send("GET / HTTP/1.1\r\nHost: a\r\n")
        for _ in range(2000):
            if c.stream.readable(0.02):
                break
            c.send("X: y\r\n")
        assert c.response().code == "client_head_timeout"


def test_keepalive(t):
    w = t.simple(timeouts={"keepalive": "1s"}, admin={"address": t.address()})
    with w.client() as c:
        assert c.get("/a").status == 200
        c.must_end()
    with w.client() as c:  # and one that never sends a byte
        c.ended()
    await_true("the idle timeouts are counted", lambda: w.metrics().value(
        "weir_faults_total", reason="client_idle_timeout") >= 2)


def test_client_body(t):
    w = timed(t, client_body="1s")
    with w.client() as c:
        c.send("POST /stalled HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
        r = c.response()
        assert r.status == 408 and r.code == "client_body_timeout", r
        c.must_end()
    q = t.o.await_seen("/stalled")[0]
    assert q.conn.ended.wait(wire.patience(20)) and not q.whole
    assert w.line_for("/stalled")["reason"] == "client_body_timeout"


def test_client_send(t):
    t.not_in("onebyte", "a stalled reader needs megabytes")
    w = timed(t, client_send="500ms")
    big = b"x" * (16 << 20)
    t.o.on("/big", lambda conn, req: conn.reply(200, body=big))
    c = w.client(receive_buffer=4096)
    c.request("GET", "/big")
    line = w.line_for("/big")
    assert line["reason"] == "client_send_timeout", line
    assert t.o.seen("/big")[0].conn.ended.wait(wire.patience(20))
    r = c.head()
    assert not c.finish(r).complete
    c.close()


def test_connect(t):
    """A listening socket whose queue is full accepts nobody."""
    full = t.origin("full", accept=False, backlog=0)
    fillers = []
    host, port = full.address.split(":")
    for _ in range(8):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((host, int(port)))
        fillers.append(s)
    w = t.start({"upstreams": {"full": {"endpoints": [{"address": full.address}],
                                        "pool": {"connect_timeout": "300ms"}}},
                 "routes": [{"match": {"path": "/*"}, "to": "full"}]})
    r = w.get("/full")
    assert r.status == 504 and r.code == "connect_timeout", r
    assert w.line_for("/full")["reason"] == "connect_timeout"
    for s in fillers:
        s.close()


def test_pool_wait(t):
    w = t.start({"timeouts": {"pool_wait": "300ms"},
                 "upstreams": {"one": {"endpoints": [{"address": t.o.address}],
                                       "pool": {"max_connections": 1}}},
                 "routes": [{"match": {"path": "/*"}, "to": "one"}]})
    go = threading.Event()
    t.o.on("/hold", lambda conn, req: (go.wait(60), conn.reply(200, body=b"held")))
    with w.client() as c:
        c.request("GET", "/hold")
        t.o.await_seen("/hold")
        r = w.get("/waits")
        assert r.status == 503 and r.code == "pool_timeout", r
        go.set()
        assert c.response().body == b"held"
    assert w.get("/free").status == 200


def test_first_byte(t):
    w = timed(t, first_byte="300ms")
    r = w.get("/never")
    assert r.status == 504 and r.code == "first_byte_timeout", r
    assert t.o.await_seen("/never")[-1].conn.ended.wait(wire.patience(20))
    assert w.line_for("/never")["reason"] == "first_byte_timeout"
    r = w.ask("POST", "/never", body=b"x" * 1000)
    assert r.status == 504 and r.code == "first_byte_timeout", r


def test_half_a_head(t):
    w = timed(t, first_byte="300ms", response_idle="300ms")
    t.o.on("/half-head", lambda conn, req: (conn.send("HTTP/1.1 200 OK\r\nX: "),
                                            conn.await_end()))
    r = w.get("/half-head")
    assert r.status == 504 and r.code in ("first_byte_timeout", "response_idle_timeout"), r


def test_response_idle(t):
    w = timed(t, response_idle="300ms")
    t.o.on("/idle", lambda conn, req: (conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12"),
                                       conn.await_end()))
    t.o.on("/idle-chunked", lambda conn, req: (conn.send(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n12\r\n"), conn.await_end()))
    for path in ("/idle", "/idle-chunked"):
        r = w.get(path)
        assert r.status == 200 and r.body == b"12" and not r.complete, r
        assert w.line_for(path)["reason"] == "response_idle_timeout"
        assert t.o.seen(path)[-1].conn.ended.wait(wire.patience(20))


def test_response_idle_is_the_origins(t):
    """That the client sends on meanwhile does not extend it, however the body goes."""
    w = t.simple(timeouts={"response_idle": "1s"})
    for length in (100, 100000000):
        path = "/held%d" % length

        def held(conn, req):
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nbegun" % req.path[5:])
            conn.await_end()
        t.o.on(path, held)
        with w.client() as c:
            c.request("GET", path)
            r = c.head()
            c.read_at_least(r, 5)
            sent = 0
            while not c.stream.readable(0.3) and sent < 20:
                c.send("x")  # of its next request
                sent += 1
            assert sent < 20, "it is never over"
        assert w.line_for(path)["reason"] == "response_idle_timeout"


def test_upstream_send(t):
    t.not_in("onebyte", "a stalled origin needs megabytes")
    w = timed(t, upstream_send="500ms")
    t.o.on("/stuffed", lambda conn, req: t.hold.wait(60))
    with w.client() as c:
        def send():
            try:
                c.send("POST /stuffed HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n")
                c.send(b"x" * (32 << 20))
            except (wire.Deadline, OSError):
                pass
        th = threading.Thread(target=send, daemon=True)
        th.start()
        try:
            r = c.response()
            assert r.status == 504 and r.code == "upstream_send_timeout", r
        except Ended:
            pass  # the answer may be lost to a client that was still sending
        assert w.line_for("/stuffed")["reason"] == "upstream_send_timeout"
    t.hold.set()
    th.join()


def test_exchange(t):
    w = timed(t, exchange="1500ms")
    r = w.get("/never")
    assert r.status == 504 and r.code == "exchange_timeout", r

    def drip(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while conn.send("1\r\nx\r\n") and not conn.ended.is_set():
            if conn.stream.readable(0.02):
                break
        conn.close()
    t.o.on("/drip", drip)
    r = w.get("/drip")
    assert r.status == 200 and not r.complete, r
    assert w.line_for("/drip")["reason"] == "exchange_timeout"


def test_route_setting_wins(t):
    w = t.start({"timeouts": {"first_byte": "60s"},
                 "upstreams": {"o": {"endpoints": [{"address": t.o.address}]}},
                 "routes": [{"match": {"path": "/never"}, "to": "o",
                             "timeouts": {"first_byte": "200ms"}},
                            {"match": {"path": "/*"}, "to": "o"}]})
    assert w.get("/never").code == "first_byte_timeout"
    assert w.get("/other").status == 200


def test_min_rate_request(t):
    w = t.simple(min_rate={"request": "100KiB/s", "grace": "300ms"})
    with w.client() as c:
        c.send("POST /slow-sender HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(3000):
            if c.stream.readable(0.01):
                break
            c.send("x")
        r = c.response()
        assert r.status == 408 and r.code == "client_slow_sender", r
    assert w.line_for("/slow-sender")["reason"] == "client_slow_sender"


def test_min_rate_response(t):
    t.not_in("onebyte", "a slow reader needs megabytes")
    w = t.simple(min_rate={"response": "10MiB/s", "grace": "300ms"})
    big = b"x" * (16 << 20)
    t.o.on("/big", lambda conn, req: conn.reply(200, body=big))
    c = w.client(receive_buffer=4096)
    c.request("GET", "/big")

    def logged():
        if not c.stream.eof:
            c.stream.fill(size=512)
        return [x for x in w.access() if x["path"] == "/big"]
    lines = await_true("the slow reader is cut off", logged)
    assert lines[0]["reason"] == "client_slow_reader", lines
    c.close()


RECEIVES = 1 << 18  # a few segments of loopback: less is told of in leaps


def test_steady_readers(t):
    """Who takes a little all the time is not cut off, though the kernel, which holds megabytes for
    a reader, takes nothing meanwhile: neither a client nor an origin."""
    t.not_in("onebyte", "a slow reader needs megabytes")
    t.not_in("doors", "a stalled exchange is what gives way for want of memory")
    t.o = t.origin()
    w = t.simple(listeners=[{"address": t.address(), "h2c": True}],
                 timeouts={"client_send": "1500ms", "upstream_send": "1500ms"},
                 min_rate={"response": "1KiB/s", "grace": "1500ms"})
    size = 16 << 20
    began, read_on = threading.Event(), threading.Event()

    def big(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size >> 16):
            conn.send(bytes(65536))

    def sink(conn, req):
        began.set()
        assert read_on.wait(60)
        sip(conn.stream)
        conn.reply(body=b"%d" % len(req.body()))

    def sip(stream):
        """Reads 400 KB a second: it takes 2 s until a third of what the kernel holds has left. Who
        is held up by a busy machine makes up for it: what is told in leaps is told in time."""
        began, taken = time.monotonic(), 0
        while taken < 1600000:
            if taken > 400000 * (time.monotonic() - began):
                time.sleep(0.01)
                continue
            got = stream.sock.recv(4096)
            assert got, "the connection ended"
            stream.buf += got
            taken += len(got)
    t.o.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVES)
    t.o.on("/steady", big).on("/sink", sink)
    with w.client(receive_buffer=RECEIVES) as c:
        c.request("GET", "/steady")
        r = c.head()
        sip(c.stream)
        assert sum(len(p) for p in r.pieces) == size
    # With credit for all of it: the socket is what is slow. It leaves before the end.
    with H2(w.address, {4: size}, receive_buffer=RECEIVES) as c:
        c.open_window(size)
        stream = c.request(path="/steady")
        c.until("the answer begins", lambda: c.answers[stream].status)
        sip(c.stream)
    with w.client() as c:
        c.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        sender = threading.Thread(target=c.send, args=(bytes(size),), daemon=True)
        sender.start()
        assert began.wait(60)
        read_on.set()
        sender.join(120)
        r = c.response()
        assert r.status == 200 and r.body == b"%d" % size, r
    reasons = [x["reason"] for x in w.await_access(lambda x: True, 3)]
    assert sorted(reasons) == ["client_gone", "ok", "ok"], w.access()


def test_min_rate_is_fair(t):
    """A slow origin is not its client's fault, nor a slow origin's reader."""
    w = t.simple(min_rate={"response": "1MiB/s", "request": "1MiB/s", "grace": "300ms"})

    def drip(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(20):
            conn.send("x")
            conn.stream.readable(0.04)
    t.o.on("/drip-fair", drip)
    r = w.get("/drip-fair")
    assert r.complete and r.body == b"x" * 20, r

    def think(conn, req):
        conn.stream.readable(0.8)
        conn.reply(200, body=req.body()[:2])
    t.o.on("/think", think)
    r = w.ask("POST", "/think", body=b"hello")
    assert r.body == b"he", r


def test_innocent_beside_slow(t):
    """While two hundred connections send their heads byte by byte, another is served."""
    w = timed(t, client_head="10s")
    slow = [w.client() for _ in range(200)]
    for c in slow:
        c.send("GET / HT")
    for i in range(20):
        assert w.get("/innocent%d" % i).status == 200
    for c in slow:
        c.close()

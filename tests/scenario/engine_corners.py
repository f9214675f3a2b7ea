# SPDX-License-Identifier: Apache-2.0
"""Corners of the engine: deadlines that must not fire early, slow senders, ends of tunnels,
uploads that were given up, late interim answers."""

import socket
import threading

from peers.client import make_request
from peers.wire import Ended, await_true


def begin(t):
    t.o = t.origin()


def test_pause_then_event(t):
    """A quiet stream that speaks again after longer than client_send is not a slow reader."""
    w = t.simple(timeouts={"client_send": "500ms"})

    def events(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n2\r\na\n\r\n")
        for _ in range(3):
            conn.stream.readable(0.7)
            conn.send("2\r\nb\n\r\n")
        conn.send("0\r\n\r\n")
    t.o.on("/events", events)
    r = w.get("/events")
    assert r.complete and r.body == b"a\nb\nb\nb\n", r
    assert w.line_for("/events")["reason"] == "ok"


def test_pause_then_upload(t):
    """The same for an upload: the origin is not slow because the client paused."""
    w = t.simple(timeouts={"upstream_send": "500ms"})
    with w.client() as c:
        c.send("POST /paused HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\na")
        for _ in range(3):
            c.stream.readable(0.7)
            c.send("b")
        r = c.response()
        assert r.status == 200 and r.body.endswith(b"abbb"), r


def test_late_continue(t):
    """A client that waited for 100 longer than client_body still has client_body to send."""
    w = t.simple(timeouts={"client_body": "1500ms"})

    def late(conn, req):
        conn.stream.readable(2.0)
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")
        conn.reply(200, body=req.body())
    t.o.on("/late", late)
    with w.client() as c:
        c.send("POST /late HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
               "Expect: 100-continue\r\n\r\n")
        c.stream.until(b"100 Continue\r\n\r\n")
        c.send("ok")
        r = c.response()
        assert r.status == 200 and r.body == b"ok", r


def test_trickle_is_slow(t):
    """Bytes that come one by one do not hide a slow sender."""
    w = t.simple(min_rate={"request": "100KiB/s", "grace": "500ms"})
    with w.client() as c:
        c.send("POST /trickle HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
        for _ in range(60):
            if c.stream.readable(0.1):
                break
            c.send("x")
        r = c.response()
        assert r.status == 408 and r.code == "client_slow_sender", r


def test_tunnel_end_loses_nothing(t):
    """An origin that ended its side first still gets every byte of the client's."""
    n = t.bulk(4 << 20)
    w = t.simple()
    got = [b""]
    ready = threading.Event()

    def tunnel(conn, req):
        conn.tunnel = True
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  "Upgrade: echo\r\n\r\n")
        conn.sock.shutdown(socket.SHUT_WR)
        ready.wait(60)
        got[0] = conn.stream.rest()
        conn.close()
    t.o.on("/tunnel", tunnel)
    with w.client() as c:
        c.request("GET", "/tunnel", [("Connection", "Upgrade"), ("Upgrade", "echo")])
        assert c.head().status == 101
        assert c.ended() == b""
        c.sock.settimeout(60)
        th = threading.Thread(target=lambda: (c.sock.sendall(b"z" * n), c.shut()))
        th.start()
        c.stream.readable(0.3)
        ready.set()
        th.join()
        w.line_for("/tunnel")
    assert t.o.connections[-1].ended.wait(60)
    assert len(got[0]) == n, "%d of %d bytes came" % (len(got[0]), n)


def test_pipelined_bytes_in(t):
    """Each request counts its own bytes, also when both came in one read."""
    w = t.simple()
    first, second = make_request("GET", "/one"), make_request("POST", "/two", body=b"12345")
    with w.client() as c:
        c.send(first + second)
        assert c.response().status == 200
        assert c.response().status == 200
    assert w.line_for("/one")["bytes_in"] == len(first)
    assert w.line_for("/two")["bytes_in"] == len(second)


def test_body_limit_behind_early_head(t):
    """An upload that passes limits.body after the answer began is ended at once."""
    w = t.simple(limits={"body": "1KiB"})
    begun = threading.Event()

    def early(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        begun.set()
        conn.await_end()
    t.o.on("/early", early)
    with w.client() as c:
        c.send("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        r = c.head()
        c.read_at_least(r, 1)
        c.send(b"800\r\n" + b"x" * 2048 + b"\r\n")
        line = w.line_for("/early")
        assert line["reason"] == "body_too_large", line
        assert not c.finish(r).complete


def test_http_0_9_at_once(t):
    w = t.simple()
    with w.client() as c:
        c.send("GET /\r\n")
        assert c.response().status == 400


def test_name_never_resolved(t):
    w = t.start({"upstreams": {"u": {"endpoints": [{"address": "no-such-name.invalid:80"}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]})
    for i in range(3):
        r = w.get("/n%d" % i)
        assert r.status == 503 and r.code == "resolve_failed", r


def test_refused_at_the_door(t):
    """More heads at once than memory_limit allows: 503 for some, and nobody breaks."""
    w = t.simple(memory_limit="1MiB")
    clients = []
    for i in range(150):
        c = w.client()
        c.send("GET /half%d HTTP/1.1\r\nHost: a\r\n" % i)
        clients.append(c)
    await_true("some are refused", lambda: any(c.stream.readable(0.01) for c in clients))
    for c in clients:
        c.close()

    def served():
        try:
            return w.get("/after").status == 200
        except (Ended, OSError):
            return False  # no memory for the connection yet
    await_true("then others are served", served)


def test_retry_keeps_the_body(t):
    """A body that was partly taken off the client by splice is not sent again with a hole."""
    n = t.bulk(1 << 20)
    body = bytes(i % 251 for i in range(n))
    w = t.simple()

    def echo(conn, req):
        got = req.body()
        conn.reply(200, body=b"same" if got == body else b"hole %d" % len(got))
    t.o.on("/put", echo)
    for i in range(10):
        assert w.get("/warm").status == 200
        old = t.o.connections[-1]
        with w.client() as c:
            c.send("PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % n)
            t.o.await_seen("/put", i + 1)
            c.send(body)
            r = c.response()
            assert r.status == 200 and r.body == b"same", r
        del old


def test_trickle_of_chunks_is_slow(t):
    """The same where splice is not used: each byte is queued when the clock is looked at."""
    w = t.simple(min_rate={"request": "100KiB/s", "grace": "500ms"})
    with w.client() as c:
        c.send("POST /trickle2 HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n")
        for _ in range(60):
            if c.stream.readable(0.1):
                break
            c.send("x")
        r = c.response()
        assert r.status == 408 and r.code == "client_slow_sender", r


def test_reset_while_idle_is_no_request(t):
    """A reset of an idle connection is not logged as an exchange."""
    w = t.simple()
    for i in range(5):
        c = w.client()
        assert c.get("/kept%d" % i).status == 200
        c.reset()
    for i in range(5):  # and of one that never asked
        c = w.client()
        c.reset()
    assert w.get("/last").status == 200
    w.line_for("/last")
    odd = [x for x in w.access() if x["reason"] != "ok"]
    assert not odd, odd


def test_client_goes_on_after_faults_of_others(t):
    """A well-formed request that fails for reasons of others ends no connection of the client's:
    behind a load balancer an outage would close all of them. Its body is dropped, not parsed."""
    gone, bad = t.origin("gone"), t.origin("bad")
    gone.stop_listening()
    bad.default = lambda conn, req: (req.body(), conn.send("nonsense\r\n\r\n"))
    bad.on("/silent", lambda conn, req: (req.body(), conn.await_end()))
    bad.on("/bad/hangs-up", lambda conn, req: conn.close())
    good = t.origin("good")
    w = t.start({"upstreams": {"gone": {"endpoints": [{"address": gone.address}]},
                               "bad": {"endpoints": [{"address": bad.address}]},
                               "good": {"endpoints": [{"address": good.address}]},
                               "nobody": {"endpoints": [{"address": gone.address,
                                                         "weight": 0}]}},
                 "routes": [{"match": {"path": "/gone"}, "to": "gone"},
                            {"match": {"path": "/nobody"}, "to": "nobody"},
                            {"match": {"path": "/get", "methods": ["PUT"]}, "to": "good"},
                            {"match": {"path": "/good"}, "to": "good"},
                            {"match": {"path": "/silent"}, "to": "bad",
                             "timeouts": {"first_byte": "200ms"}},
                            {"match": {"path": "/bad/*"}, "to": "bad"}]})
    cases = (("/gone", 502), ("/nobody", 503), ("/get", 405), ("/none", 404), ("/bad/x", 502),
             ("/silent", 504), ("/bad/hangs-up", 502))
    decoy = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    with w.client() as c:
        for path, status in cases:
            for body in (None, decoy, decoy * 100):
                r = c.ask("GET" if body is None else "POST", path, body=body)
                if r.status == 503 and status != 503:  # a door was shut
                    return
                assert r.status == status and not r.fields.has("connection"), (path, r)
            r = c.get("/good")
            assert r.body == b"good GET /good\n", (path, r)
    assert [q.path for q in good.requests] == ["/good"] * len(cases), good.requests


def test_client_ends_after_its_own_faults(t):
    """What is left of a request that was not understood is never taken for another one."""
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": t.o.address}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "o", "limits": {"body": "1KiB"}}]})
    for raw in ("GET /\x01 HTTP/1.1\r\nHost: a\r\n\r\n",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + "x" * 2000,
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
                "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n",
                "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"):
        with w.client() as c:
            c.send(raw + "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n")
            r = c.response()
            assert r.fields.tokens("connection") == ["close"], (raw[:60], r)
            c.must_end()
    assert not t.o.seen("/behind")

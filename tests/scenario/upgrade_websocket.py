# SPDX-License-Identifier: Apache-2.0
"""Upgrade tunnels: only after a 101 that agrees, byte-exact, with half-close, idle timeout and
WebSocket spoken by a real client and server."""

import asyncio
import hashlib
import os
import threading

from peers.origin import echo_tunnel
from peers.wire import await_true, patience

UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
SWITCH = ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
          "X-From: origin\r\n\r\n")


def begin(t):
    t.o = t.origin()
    t.w = t.simple()
    t.o.on("/echo", echo)


def echo(conn, req):
    echo_tunnel(conn, req, SWITCH)


def upgraded(t, path, w=None, extra=b""):
    c = (w or t.w).client()
    from peers.client import make_request
    c.send(make_request("GET", path, UPGRADE) + extra)
    r = c.head()
    assert r.status == 101, r
    return c


def test_byte_exact(t):
    c = upgraded(t, "/echo")
    data = os.urandom(t.bulk(3 << 20))
    sender = threading.Thread(target=c.send, args=(data,))
    sender.start()
    got = c.stream.exactly(len(data))
    sender.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest(), "the tunnel changed bytes"
    c.close()


def test_all_byte_values_one_by_one(t):
    c = upgraded(t, "/echo")
    for i in range(256):
        c.send(bytes([i]))
        assert c.stream.exactly(1) == bytes([i])
    c.close()


def test_bytes_with_the_handshake(t):
    """What follows the request head at once belongs to the tunnel, likewise behind the 101."""
    def greet(conn, req):
        conn.tunnel = True
        conn.send(SWITCH + "hello from the origin")
        conn.send(b"got " + conn.stream.exactly(5))
        conn.await_end()
        conn.close()
    t.o.on("/greet", greet)
    c = upgraded(t, "/greet", extra=b"early")
    assert c.stream.exactly(30) == b"hello from the origingot early"
    c.close()


def test_no_tunnel_without_101(t):
    """A 200 to an upgrade request: what follows is the next request, and is parsed as one."""
    t.o.on("/refused", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
    for extra in (b"", b"GET /after-refusal HTTP/1.1\r\nHost: a\r\n\r\n"):
        with t.w.client() as c:
            c.request("GET", "/refused", UPGRADE)
            r = c.response()
            assert r.status == 200 and r.body == b"no" and not r.fields.has("upgrade"), r
            if extra:
                c.send(extra)
                assert c.response().body == b"origin GET /after-refusal\n"
    q = t.o.seen("/after-refusal")[0]
    assert q.get("x-forwarded-for") == "127.0.0.1", "sent without being parsed"


def test_smuggling_behind_refused_upgrade(t):
    """Bytes behind a refused upgrade are never passed on raw, whatever was asked for and however
    it was refused."""
    from peers.client import make_request
    foo = [("Connection", "Upgrade"), ("Upgrade", "foo")]
    wrong_version = UPGRADE + [("Sec-WebSocket-Version", "777")]
    for i, (fields, status) in enumerate([(f, s) for f in (UPGRADE, foo, wrong_version)
                                          for s in (200, 403, 426)]):
        t.o.on("/refused2-%d" % i, b"HTTP/1.1 %d Refused\r\nContent-Length: 2\r\n\r\nno" % status)
        with t.w.client() as c:
            c.send(make_request("GET", "/refused2-%d" % i, fields)
                   + b"GET /secret HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n")
            assert c.response().status == status, (fields, status)
            assert c.response().body == b"origin GET /secret\n"
    for q in t.o.await_seen("/secret", 9):
        assert q.get("x-forwarded-for") == "127.0.0.1", "passed on raw"


def test_type_must_agree(t):
    for i, got in enumerate(("h2c", "foo", "websocket, foo", "", "web socket")):
        t.o.on("/other%d" % i, ("HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n"
                                % got).encode())
        with t.w.client() as c:
            c.request("GET", "/other%d" % i, UPGRADE)
            r = c.response()
            assert r.status == 502 and r.code in ("upstream_upgrade_mismatch",
                                                  "upstream_head_invalid"), (got, r)
    t.o.on("/none", b"HTTP/1.1 101 X\r\n\r\n")
    with t.w.client() as c:
        c.request("GET", "/none", UPGRADE)
        assert c.response().status == 502


def test_type_case(t):
    def shout(conn, req):
        conn.tunnel = True
        conn.send(SWITCH.replace("websocket", "WebSocket"))
        conn.await_end()
        conn.close()
    t.o.on("/shout", shout)
    upgraded(t, "/shout").close()


def test_odd_requests_for_upgrade(t):
    """Upgrade without Connection, on HTTP/1.0 or malformed is no upgrade."""
    cases = ["GET /no1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
             "GET /no2 HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
             "GET /no3 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
             "GET /no4 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: \r\n\r\n",
             "GET /no5 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: a b\r\n\r\n",
             "GET /no6 HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: caf\xe9\r\n\r\n"]
    for i, raw in enumerate(cases):
        with t.w.client() as c:
            c.send(raw)
            r = c.response()
            assert r.status in (200, 400), (raw, r)
        for q in t.o.seen("/no%d" % (i + 1)):
            assert not q.fields.has("upgrade"), q


def test_response_fields_arrive(t):
    c = t.w.client()
    c.request("GET", "/echo", UPGRADE)
    r = c.head()
    assert r.get("x-from") == "origin" and r.get("upgrade").lower() == "websocket", r
    assert "upgrade" in r.fields.tokens("connection"), r
    c.close()


def test_half_close(t):
    """A FIN of one side is passed on; the other side may go on sending."""
    def last_words(conn, req):
        conn.tunnel = True
        conn.send(SWITCH)
        got = conn.await_end()
        conn.send(b"after your FIN: " + got)
        conn.close()
    t.o.on("/half", last_words)
    c = upgraded(t, "/half")
    c.send("bye")
    c.shut()
    assert c.ended() == b"after your FIN: bye"

    def origin_first(conn, req):
        conn.tunnel = True
        conn.send(SWITCH + "origin is done")
        conn.shut()
        t.words = conn.await_end()
        conn.close()
    t.words = None
    t.o.on("/half2", origin_first)
    c = upgraded(t, "/half2")
    assert c.ended() == b"origin is done"
    c.send("client goes on")
    c.shut()
    await_true("what the client said", lambda: t.words is not None)
    assert t.words == b"client goes on", t.words
    c.close()


def test_reset_is_passed_on(t):
    c = upgraded(t, "/echo")
    conn = t.o.seen("/echo")[-1].conn
    c.reset()
    assert conn.ended.wait(patience(20)), "the origin's side stays open after RST"
    t.o.on("/rst", lambda conn, req: (conn.send(SWITCH), conn.stream.fill(), conn.reset()))
    c = upgraded(t, "/rst")
    c.send("x")
    c.ended()


def test_idle_timeout(t):
    w = t.simple(timeouts={"tunnel_idle": "2s"})
    c = upgraded(t, "/echo", w)
    c.send("x")
    assert c.stream.exactly(1) == b"x"
    assert c.ended() == b""
    line = w.line_for("/echo")
    assert line["reason"] == "tunnel_idle_timeout" and line["status"] == 101, line


def test_log_counts_bytes(t):
    w = t.simple()
    c = upgraded(t, "/echo", w)
    c.send(b"z" * 5000)
    c.stream.exactly(5000)
    c.close()
    line = w.line_for("/echo")
    assert line["status"] == 101, line
    assert line["bytes_in"] >= 5000 and line["bytes_out"] >= 5000, line


def test_websockets_library(t):
    """A WebSocket client and server of their own talk through Weir."""
    try:
        import websockets
    except ImportError:
        from peers.story import Skip
        raise Skip("python3-websockets is not installed")
    t.not_in("onebyte", "three megabytes byte by byte take too long")
    t.not_in("doors", "the library gives up on a refused handshake")
    address = t.address()
    w = t.simple(type("O", (), {"address": address}))
    host, port = address.rsplit(":", 1)
    big = os.urandom(1 << 20)

    async def serve(ws, *_):
        async for message in ws:
            await ws.send(message)

    async def talk(i):
        async with websockets.connect("ws://%s/chat?n=%d" % (w.address, i), max_size=None) as ws:
            for message in ("hello", "", "é" * 1000, big, b"\0\xff" * 10):
                await ws.send(message)
                assert await ws.recv() == message
            await ws.ping()

    async def both():
        async with websockets.serve(serve, host, int(port), max_size=None):
            await asyncio.gather(*(talk(i) for i in range(8)))
    asyncio.run(asyncio.wait_for(both(), 60))
    assert len(w.await_access(lambda x: x["status"] == 101, 8)) == 8

# SPDX-License-Identifier: Apache-2.0
"""WebSocket over HTTP/2 (RFC 8441): an extended CONNECT becomes an HTTP/1.1 upgrade upstream."""

import base64
import hashlib
import os

from peers import h2, wire
from peers.h2 import H2
from peers.origin import echo_tunnel

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def switch(req, accept=None):
    """The origin's 101."""
    key = req.get("sec-websocket-key").encode()
    accept = accept or base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()
    return ("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: chat\r\n\r\n" % accept)


def begin(t):
    t.o = t.origin()
    t.w = t.simple(listeners=[{"address": t.address(), "h2c": True}])
    t.o.on("/echo", echo)
    t.o.on("/both", echo)


def echo(conn, req):
    echo_tunnel(conn, req, switch(req))


def connect(c, path="/echo", protocol="websocket", extra=()):
    """An extended CONNECT, when the server has said that it may be sent."""
    c.until("SETTINGS", lambda: c.settings)
    assert c.settings.get(h2.CONNECT) == 1, c.settings
    fields = [(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"),
              (":path", path), (":authority", "ws.example"), ("sec-websocket-version", "13"),
              ("sec-websocket-protocol", "chat"), ("origin", "http://ws.example")]
    stream = c.open(fields + list(extra), end=False)
    c.until("a response", lambda: c.answers[stream].status is not None, stream)
    return stream


def test_handshake(t):
    with H2(t.w.address) as c:
        stream = connect(c)
        a = c.answers[stream]
        assert a.status == 200 and a.get("sec-websocket-protocol") == "chat", a
        assert not a.fields.has("sec-websocket-accept"), a
        q = t.o.await_seen("/echo")[-1]
        assert q.method == "GET" and q.get("upgrade") == "websocket", q
        assert q.get("sec-websocket-version") == "13" and q.host == "ws.example", q
        key = base64.b64decode(q.get("sec-websocket-key"), validate=True)
        assert len(key) == 16, q
        assert not q.fields.has("content-length") and not q.fields.has("transfer-encoding"), q


def test_bytes_both_ways(t):
    body = os.urandom(t.bulk(100000))
    with H2(t.w.address) as c:
        stream = connect(c, "/both")
        at = 0
        while at < len(body):
            piece = body[at:at + 5000]
            c.data(stream, piece)
            at += len(piece)
            c.until("the echo", lambda: len(c.answers[stream].body) >= at, stream)
        assert c.answers[stream].body == body
        c.data(stream, b"", end=True)  # passed on as a half-close
        c.response(stream)
        assert c.answers[stream].ended, c.answers[stream]
    line = t.w.line_for("/both")
    assert line["reason"] == "ok" and line["status"] == 101, line


def test_refused(t):
    """An upstream that does not switch answers like any other."""
    t.o.on("/no", lambda conn, req: conn.reply(403, body=b"no"))
    with H2(t.w.address) as c:
        stream = connect(c, "/no")
        r = c.response(stream)
        assert r.status == 403 and r.body == b"no", r
        assert c.ask(path="/on").status == 200


def test_wrong_accept(t):
    """Only a server that knows WebSocket can answer the key: the client is not asked to believe."""
    def wrong(conn, req):
        conn.send(switch(req, "AAAAAAAAAAAAAAAAAAAAAAAAAAA="))
        conn.await_end()
        conn.close()
    t.o.on("/wrong", wrong)
    with H2(t.w.address) as c:
        r = c.response(connect(c, "/wrong"))
        assert r.status == 502, r


def test_origin_ends(t):
    def bye(conn, req):
        conn.tunnel = True
        conn.send(switch(req) + "bye")
        conn.close()
    t.o.on("/bye", bye)
    with H2(t.w.address) as c:
        stream = connect(c, "/bye")
        c.until("the end", lambda: c.answers[stream].over)
        assert c.answers[stream].body == b"bye" and c.answers[stream].ended, c.answers[stream]


def test_client_resets(t):
    with H2(t.w.address) as c:
        stream = connect(c)
        q = t.o.await_seen("/echo")[-1]
        c.rst(stream)
        assert q.conn.ended.wait(wire.patience()), "the upstream side goes on"
        assert c.ask(path="/after").status == 200


def test_malformed(t):
    """What an extended CONNECT must have, and where :protocol may not be."""
    whole = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
             (":path", "/echo"), (":authority", "ws.example")]
    with H2(t.w.address) as c:
        for missing in (":scheme", ":path", ":authority"):
            r = c.response(c.open([f for f in whole if f[0] != missing], end=False))
            assert r.reset == h2.PROTOCOL_ERROR, (missing, r)
        r = c.response(c.open([(":method", "GET")] + whole[1:]))
        assert r.reset == h2.PROTOCOL_ERROR, r
        r = c.response(c.open(whole + [("content-length", "3")], end=False))
        assert r.reset == h2.PROTOCOL_ERROR, r


def test_plain_connect_is_refused(t):
    with H2(t.w.address) as c:
        r = c.response(c.open([(":method", "CONNECT"), (":authority", "ws.example:80")],
                              end=False))
        assert r.status == 405, r
    assert not [q for q in t.o.requests if q.method == "CONNECT"]


def test_other_protocols(t):
    """Nothing but websocket is bridged, h2c least of all."""
    with H2(t.w.address) as c:
        for protocol in ("h2c", "connect-udp", "webtransport"):
            r = c.response(connect(c, "/other", protocol))
            assert r.status == 501, r
    assert not t.o.seen("/other")

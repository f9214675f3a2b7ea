# SPDX-License-Identifier: Apache-2.0
"""Faults that no other story brings about by name: each by a peer that does exactly what its text
says."""

import struct

from peers import h2, tls, wire
from peers.h2 import DATA, H2, PING, WINDOW, frame
from peers.h2_origin import H2Origin

NOT_IN = {"doors": "which fault it is, is the matter",
          "onebyte": "floods of a byte a system call prove nothing new"}


def begin(t):
    t.o = t.origin()
    t.w = t.simple(listeners=[{"address": t.address(), "h2c": True, "http2": {"max_streams": 1}}],
                   admin={"address": t.address()})
    t.o.on("/wait", lambda conn, req: (req.body(), conn.await_end(), conn.close()))


def counted(t, reason):
    return sum(v for (name, labels), v in t.w.metrics().items()
               if name == "weir_faults_total" and ("reason", reason) in labels)


def test_stream_error(t):
    """A WINDOW_UPDATE that overflows the stream's window (RFC 9113 6.9.1) ends the stream alone."""
    with H2(t.w.address) as c:
        s = c.request("GET", "/wait")
        t.o.await_seen("/wait")
        c.frame(WINDOW, 0, s, struct.pack(">I", 0x7fffffff))
        a = c.response(s)
        assert a.reset == h2.FLOW_CONTROL_ERROR, a
        c.ping()
    assert t.w.line_for("/wait")["reason"] == "h2_stream_error"


def test_protocol_error(t):
    """DATA on stream 0 (RFC 9113 6.1) ends the connection."""
    before, seen = counted(t, "h2_protocol_error"), len(t.o.seen("/wait"))
    for open_ in (False, True):
        with H2(t.w.address) as c:
            if open_:
                c.request("GET", "/wait")
                t.o.await_seen("/wait", seen + 1)
            c.frame(DATA, 0, 0, b"x")
            assert c.await_end() == h2.PROTOCOL_ERROR
        before += 1
        wire.await_true("counted", lambda: counted(t, "h2_protocol_error") >= before)
        assert counted(t, "h2_protocol_error") == before


def test_stream_flood(t):
    """Streams beyond max_streams, again and again; none of them is reset by the client."""
    before, seen = counted(t, "h2_stream_flood"), len(t.o.seen("/wait"))
    with H2(t.w.address) as c:
        c.until("SETTINGS", lambda: c.settings is not None and c.acked)
        held = c.request("GET", "/wait")
        t.o.await_seen("/wait", seen + 1)
        refused = 0
        while c.goaway is None and refused < 20000:
            wave = [c.request("GET", "/more") for _ in range(50)]
            c.until("refusals", lambda: c.goaway is not None
                    or all(c.answers[s].over for s in wave))
            refused += len(wave)
        assert c.goaway is not None and c.goaway[1] == h2.ENHANCE_YOUR_CALM, (refused, c.goaway)
        assert held
    wire.await_true("counted", lambda: counted(t, "h2_stream_flood") > before)
    assert counted(t, "h2_stream_flood") == before + 1, "with its stream, and not once more"


def test_upstream_flood(t):
    """An endpoint that answers a request with PINGs only."""
    o = H2Origin(t.address())
    t.origins.append(o)
    o.on("/pings", lambda r: [r.conn.send(frame(PING, 0, 0, bytes(8)) * 1000) for _ in range(40)])
    w = t.start({"listeners": [{"address": t.address()}],
                 "upstreams": {"u": {"endpoints": [o.address], "protocol": "h2"}},
                 "routes": [{"match": "/*", "to": "u"}]})
    assert w.get("/pings").status == 502
    assert w.line_for("/pings")["reason"] == "upstream_h2_flood"
    w.stop()


def test_upstream_certificate_of_no_server(t):
    """A certificate that is good for clients alone."""
    ca = tls.authority(t)
    cert = ca.sign("wrong", [t.host], client=True)
    o = tls.Origin(t.address(), cert)
    t.origins.append(o)
    w = t.start({"listeners": [{"address": t.address()}],
                 "upstreams": {"u": {"endpoints": [o.address], "tls": {"ca": ca.cert}}},
                 "routes": [{"match": "/*", "to": "u"}]})
    assert w.get("/x").status == 502
    assert w.line_for("/x")["reason"] == "upstream_certificate_invalid"
    w.stop()


def test_tunnel_reset(t):
    """An endpoint that resets a tunnel that it had granted."""
    def break_off(conn, req):
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        conn.stream.exactly(4)
        conn.reset()
    t.o.on("/tunnel", break_off)
    with t.w.client() as c:
        c.send("GET /tunnel HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        assert c.stream.until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
        c.send("ping")
        try:
            c.stream.exactly(1)
            raise AssertionError("a byte came")
        except wire.Ended:
            pass
    assert t.w.line_for("/tunnel")["reason"] == "tunnel_reset"



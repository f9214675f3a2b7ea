# SPDX-License-Identifier: Apache-2.0
"""gRPC-Web by hand-made clients: binary and text, over HTTP/1.1 and HTTP/2, bridged to gRPC."""

import base64
import struct

from peers import wire
from peers.h2 import H2
from peers.h2_origin import H2Origin


def message(body, flag=0):
    return struct.pack(">BI", flag, len(body)) + body


def frames(raw):
    """[(flag, bytes)] of a body."""
    out = []
    while raw:
        flag, n = struct.unpack(">BI", raw[:5])
        assert len(raw) >= 5 + n, "a frame is cut short: %r" % raw
        out.append((flag, raw[5:5 + n]))
        raw = raw[5 + n:]
    return out


def begin(t):
    t.o = H2Origin(t.address())
    t.origins.append(t.o)
    t.w = t.start({
        "listeners": [{"address": t.address(), "h2c": True}],
        "upstreams": {"u": {"endpoints": [t.o.address], "protocol": "h2"}},
        "routes": [{"name": "preflight", "match": {"path": "/s/*", "methods": ["OPTIONS"]},
                    "reply": {"status": 204}},
                   {"name": "web", "match": {"path": "/s/*"}, "to": "u", "grpc_web": True},
                   {"name": "plain", "match": {"path": "/plain/*"}, "to": "u"}]})

    def echo(r):
        r.await_over()
        if r.reset is not None:
            return
        r.head(200, [("content-type", "application/grpc+proto")])
        for i in range(0, len(r.body), 1000):
            r.data(r.body[i:i + 1000])
        r.trailer([("grpc-status", "0"), ("grpc-message", "fine"), ("x-more", "1")])
    t.o.on("/s/Echo", echo)


def ask(t, body, kind="application/grpc-web+proto", path="/s/Echo"):
    r = t.w.ask("POST", path, [("Content-Type", kind), ("X-Grpc-Web", "1")], body=body)
    if r.get("grpc-message") == "memory_limit" or not r.complete or refused_in(r.body):
        wire.Refusals.note()
    return r


def refused_in(body):
    """The last message says that a door refused the rest."""
    text = base64.b64decode(body) if body[:1].isalpha() and len(body) % 4 == 0 else body
    return b"memory_limit" in text


def check_trailers(frame):
    flag, text = frame
    assert flag == 0x80, frame
    lines = text.decode().split("\r\n")
    assert sorted(lines) == ["", "grpc-message: fine", "grpc-status: 0", "x-more: 1"], lines


def test_binary(t):
    body = message(b"m" * t.bulk(50000))
    r = ask(t, body)
    assert r.status == 200 and r.get("content-type") == "application/grpc-web+proto", r
    got = frames(r.body)
    assert len(got) == 2 and got[0] == (0, body[5:]), got
    check_trailers(got[1])
    q = t.o.seen("/s/Echo")[-1]
    assert q.get("content-type") == "application/grpc+proto" and q.get("te") == "trailers", q.fields
    assert q.body == body and not r.trailers, r.trailers


def test_text(t):
    """All remainders of three, and a body that comes as several padded pieces."""
    for n in (0, 1, 2, 3, t.bulk(20000), t.bulk(20000) + 1):
        body = message(b"t" * n)
        r = ask(t, base64.b64encode(body), "application/grpc-web-text+proto")
        assert r.status == 200, r
        assert r.get("content-type") == "application/grpc-web-text+proto", r
        got = frames(base64.b64decode(r.body, validate=True))
        assert len(got) == 2 and got[0] == (0, b"t" * n), (n, got)
        check_trailers(got[1])
        assert t.o.seen("/s/Echo")[-1].body == body
    one, two = message(b"a"), message(b"bcd")
    r = ask(t, base64.b64encode(one) + base64.b64encode(two), "application/grpc-web-text")
    assert t.o.seen("/s/Echo")[-1].body == one + two
    assert t.o.seen("/s/Echo")[-1].get("content-type") == "application/grpc"
    assert len(frames(base64.b64decode(r.body))) == 3


def test_over_h2(t):
    body = message(b"over h2")
    with H2(t.w.address) as c:
        a = c.ask("POST", "/s/Echo", [("content-type", "application/grpc-web")], body=body)
    got = frames(a.body)
    assert a.status == 200 and got[0] == (0, b"over h2"), a
    check_trailers(got[1])
    assert not a.trailers


def test_trailers_only(t):
    t.o.on("/s/Only", lambda r: r.head(200, [("content-type", "application/grpc"),
                                             ("grpc-status", "5")], end=True))
    r = ask(t, message(b""), path="/s/Only")
    assert r.status == 200 and r.get("grpc-status") == "5" and not r.body, r
    assert r.get("content-type") == "application/grpc-web", r


def test_bad_base64(t):
    r = ask(t, b"AAAA****AAAA", "application/grpc-web-text")
    assert r.status == 200 and r.get("grpc-status") == "13", r
    assert r.get("grpc-message") == "grpc_web_body_invalid", r


def test_own_answers(t):
    r = ask(t, message(b""), path="/nowhere")
    assert r.status == 200 and r.get("grpc-status") == "12", r
    assert r.get("content-type") == "application/grpc-web+proto", r


def test_other_requests_pass(t):
    """What is no gRPC-Web request is not touched; without grpc_web nothing is."""
    t.o.on("/s/Json", lambda r: r.await_over().reply(200, [("content-type", "application/json")],
                                                     b'{"a":1}', [("x-t", "1")]))
    r = t.w.ask("POST", "/s/Json", [("Content-Type", "application/json")], body=b"{}")
    assert r.body == b'{"a":1}' and r.trailers.get("x-t") == "1", r
    assert t.w.ask("OPTIONS", "/s/Echo").status == 204
    r = ask(t, message(b"raw"), path="/plain/x")
    assert r.body == b"origin POST /plain/x\n" + message(b"raw"), r
    assert t.o.seen("/plain/x")[0].get("content-type") == "application/grpc-web+proto"

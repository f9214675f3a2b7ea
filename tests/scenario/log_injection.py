# SPDX-License-Identifier: Apache-2.0
"""Nothing that a peer sends can forge, break or colour a log line, a metric or a header."""

import json


def begin(t):
    t.o = t.origin()
    t.w = t.start(
        {"upstreams": {"origin": {"endpoints": [{"address": t.o.address}]}},
         "routes": [{"match": {"path": "/*"}, "to": "origin"}]}, admin=True)


EVIL = ['"', '\\', '","status":999,"x":"', "</script>", "\t", "\x80\xff", "caf\xe9",
        "{{7*7}}", "%0d%0aforged: 1", "'; drop table--", "\\n{\"time\":\"forged\"}", "\\u0000",
        "a" * 3000]


def test_fields(t):
    n = 0
    for evil in EVIL:
        path = "/field%d" % n
        n += 1
        r = t.w.get(path, [("User-Agent", evil), ("Referer", evil), ("X-Request-ID", evil)])
        assert r.status in (200, 400), (evil, r)
        x = t.w.line_for(path) if r.status == 200 else None
        if x:
            assert x["status"] == 200 and x["path"] == path and "forged" not in x, x
            if len(evil) < 1000 and evil.isascii():
                assert x["user_agent"] == x["referrer"] == evil.strip(" \t"), x


def test_paths(t):
    for i, evil in enumerate(('/%22,%22status%22:999', "/%0a%0dforged", "/%1b[31mred", "/%5c%22",
                              "/%e2%80%ae", "/'\"", "/%ff%fe")):
        r = t.w.get(evil + "?" + str(i))
        assert r.status in (200, 400), (evil, r)
    t.w.get("/paths-done")
    t.w.line_for("/paths-done")
    lines = t.w.access()
    assert all(x["status"] in (200, 400) for x in lines), lines


def test_raw_lines_are_clean(t):
    """Printable ASCII or valid UTF-8, one object a line, no control bytes."""
    for raw in (b"GET /x\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n", b"\x1b[31m\x07\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b]0;x\x07\r\n\r\n",
                b"GET / HTTP/1.1\r\nHost: \"a\r\n\r\n", b"G\"T / HTTP/1.1\r\nHost: a\r\n\r\n"):
        with t.w.client() as c:
            c.send(raw)
            c.answers_until_end()
    with t.w.client() as c:
        c.get("/high", [("User-Agent", "\x80\x81\xfe\xff")])
    t.w.line_for("/high")
    with open(t.w.access_path, "rb") as f:
        text = f.read()
    for line in text.splitlines():
        json.loads(line.decode("utf-8"))
        assert not any(b < 32 or b == 127 for b in line), line
    assert not any(b < 32 and b != 10 or b == 127 for b in t.w.log().encode("latin-1", "replace"))


def test_origin_cannot_forge(t):
    t.o.on("/reason", b"HTTP/1.1 200 \x80\"evil\"\r\nX-A: \"}\\n\r\nContent-Length: 0\r\n\r\n")
    t.w.get("/reason")
    assert t.w.line_for("/reason")["status"] == 200


def test_metrics_labels(t):
    """Methods and hosts of clients make no series of their own."""
    for method in ("GET\"", "X" * 50, "A{b}", "lower"):
        with t.w.client() as c:
            c.send("%s /m HTTP/1.1\r\nHost: a\r\n\r\n" % method)
            c.response()
    m = t.w.metrics()
    methods = {dict(labels).get("method") for (name, labels) in m if name == "weir_requests_total"}
    assert not methods & {"X" * 50, "lower", "A{b}"}, methods


def test_replies_do_not_echo(t):
    """A fault's reply holds nothing of the request."""
    for raw in (b"GET /<script>alert(1)</script> HTTP/1.1\r\nHost: a\r\nX : <script>\r\n\r\n",
                b"GET /%zz<script> HTTP/1.1\r\nHost: a\r\n\r\n"):
        with t.w.client() as c:
            c.send(raw)
            for r in c.answers_until_end():
                assert b"script" not in r.body and b"script" not in r.raw_head, r

# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 clients: every stream is an exchange like any other. Real clients, then a raw one."""

import subprocess

from peers import h2, wire
from peers.h2 import H2


def begin(t):
    t.o = t.origin()
    t.w = t.simple(listeners=[{"address": t.address(), "h2c": True}, {"address": t.address()}])
    t.old = t.w.config["listeners"][1]["address"]


def curl(t, *args, path="/", **more):
    done = subprocess.run([t.needs("curl"), "-sS", "--http2-prior-knowledge", *args,
                           "http://%s%s" % (t.w.address, path)], capture_output=True,
                          timeout=wire.patience() * 2, **more)
    if done.returncode or b"memory_limit" in done.stdout:
        wire.Refusals.note()
    assert done.returncode == 0, done
    return done.stdout


def test_curl_get(t):
    out = curl(t, "-w", "%{http_version} %{http_code}", path="/curl")
    assert out == b"origin GET /curl\n2 200", out
    line = t.w.line_for("/curl")
    assert line["protocol"] == "HTTP/2" and line["reason"] == "ok", line


def test_curl_post(t):
    body = b"0123456789" * (t.bulk(1000000) // 10)
    out = curl(t, "--data-binary", "@-", path="/post", input=body)
    assert out == b"origin POST /post\n" + body, len(out)


def test_http1_beside_it(t):
    """Whoever does not begin with the preface is spoken to in HTTP/1.1, split as it may be."""
    assert t.w.get("/one").body == b"origin GET /one\n"
    with t.w.client() as c:
        c.send("P")
        c.send("R")
        c.send("OPFIND /pr HTTP/1.1\r\nHost: h\r\n\r\n")
        assert c.response().body == b"origin PROPFIND /pr\n"


def test_only_where_allowed(t):
    with t.w.client(1) as c:
        c.send(h2.PREFACE + h2.frame(h2.SETTINGS))
        assert c.response().status == 505
    with H2(t.w.address) as c:
        assert c.ask(path="/allowed").body == b"origin GET /allowed\n"


def test_upgrade_is_never_honoured(t):
    """Upgrade: h2c is not answered with 101, and not passed on."""
    r = t.w.get("/up", [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"),
                        ("HTTP2-Settings", "AAMAAABkAAQAoAAAAAIAAAAA")])
    assert r.status == 200 and r.body == b"origin GET /up\n"
    seen = t.o.await_seen("/up")[-1]
    assert not seen.fields.has("upgrade") and not seen.fields.has("http2-settings")


def test_preface_byte_by_byte(t):
    with H2(t.w.address, greet=False) as c:
        c.send(h2.PREFACE + h2.frame(h2.SETTINGS), step=1)
        assert c.ask(path="/slowly").body == b"origin GET /slowly\n"


def test_many_streams(t):
    with H2(t.w.address) as c:
        ids = [c.request(path="/m%d" % i) for i in range(50)]
        for i, stream in enumerate(ids):
            assert c.response(stream).body == b"origin GET /m%d\n" % i

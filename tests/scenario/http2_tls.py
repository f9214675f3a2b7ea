# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 over TLS, chosen by ALPN: real clients, large bodies both ways, many streams."""

import hashlib
import os
import subprocess

from peers import tls, weir, wire


def begin(t):
    t.o = t.origin()
    t.ca = tls.authority(t)
    t.site = t.ca.sign("site", ["localhost", "site.example"])
    t.w = t.start(weir.one_origin(t.o.address, listeners=[
        {"address": t.address(), "tls": {"certificates": [t.site.conf()]}}]))
    t.body = os.urandom(t.bulk(2 << 20))
    t.o.on("/large", lambda conn, req: conn.reply(body=t.body))


def curl(t, path, *args, **more):
    port = t.w.address.split(":")[1]
    done = subprocess.run([t.needs("curl"), "-sS", "--cacert", t.ca.cert, "--http2", "--resolve",
                           "localhost:%s:%s" % (port, t.host), *args,
                           "https://localhost:%s%s" % (port, path)],
                          capture_output=True, timeout=wire.patience() * 3, **more)
    if done.returncode or b"memory_limit" in done.stdout[:200]:
        wire.Refusals.note()
    assert done.returncode == 0, done
    return done.stdout


def same(got, want):
    assert hashlib.sha256(got).digest() == hashlib.sha256(want).digest(), len(got)


def test_h2c_is_for_clear_text(t):
    path = os.path.join(t.dir, "both.yaml")
    with open(path, "w") as f:
        f.write("listeners:\n  - {address: 127.0.0.1:1, h2c: true, tls: {certificates: [%s]}}\n"
                "upstreams: {o: {endpoints: [127.0.0.1:2]}}\n" % t.site.conf())
    code, out, err = t.run("check", path)
    assert code == 1 and "both.yaml:2" in out + err and "ALPN" in out + err, (code, out, err)


def test_download(t):
    same(curl(t, "/large"), t.body)
    assert t.w.line_for("/large")["protocol"] == "HTTP/2"


def test_upload(t):
    same(curl(t, "/up", "--data-binary", "@-", input=t.body), b"origin POST /up\n" + t.body)


def test_several_at_once(t):
    port = t.w.address.split(":")[1]
    urls = ["https://localhost:%s/%s" % (port, p) for p in ("large", "a", "large", "b")]
    args = [x for url in urls for x in ("-o", os.path.join(t.dir, "out%d" % urls.index(url)), url)]
    done = subprocess.run([t.needs("curl"), "-sS", "--cacert", t.ca.cert, "--http2", "--parallel",
                           "--resolve", "localhost:%s:%s" % (port, t.host), *args],
                          capture_output=True, timeout=wire.patience() * 3)
    if done.returncode:
        wire.Refusals.note()
    assert done.returncode == 0, done
    with open(os.path.join(t.dir, "out0"), "rb") as f:
        got = f.read()
        if b"memory_limit" in got[:200]:
            wire.Refusals.note()
        same(got, t.body)


def test_h2load(t):
    n = 1000 if t.variant == "plain" else 100
    done = subprocess.run([t.needs("h2load"), "-n", str(n), "-c", "4", "-m", "16",
                           "https://%s/load" % t.w.address], capture_output=True, text=True,
                          timeout=wire.patience() * 6)
    if t.variant == "doors":
        return
    assert "%d succeeded, 0 failed" % n in done.stdout, done.stdout
    assert "Application protocol: h2" in done.stdout, done.stdout

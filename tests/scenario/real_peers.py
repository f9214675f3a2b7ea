# SPDX-License-Identifier: Apache-2.0
"""nginx and HAProxy behind Weir and in front of it, and curl as a client."""

import hashlib
import os
import subprocess

from peers import client
from peers.programs import haproxy, nginx

NOT_IN = {"onebyte": "real programs on both sides, byte by byte, take too long",
          "doors": "real programs hide what was refused"}


def exercise(address, prefix=b"origin"):
    """Requests of each kind over one connection and over several."""
    with client.Client(address) as c:
        for i in range(20):
            r = c.get("/g%d" % i)
            assert r.body == prefix + b" GET /g%d\n" % i, r
        for size in (0, 1, 1000, 100000, 3000000):
            body = os.urandom(size)
            r = c.ask("POST", "/p", body=body)
            assert hashlib.sha256(r.body[len(prefix) + 9:]).digest() == hashlib.sha256(
                body).digest(), size
        r = c.ask("HEAD", "/h")
        assert r.status == 200 and r.body == b"", r
    for i in range(10):
        with client.Client(address) as c:
            assert c.get("/s%d" % i, [("Connection", "close")]).status == 200


def test_nginx_behind(t):
    listen = t.address()
    folder = nginx(t, "server { listen %s; root ROOT; location /hello { return 200 'hello'; } }"
                   .replace("ROOT", t.dir) % listen, listen)
    big = os.urandom(5 << 20)
    with open(os.path.join(t.dir, "big"), "wb") as f:
        f.write(big)
    w = t.simple(type("O", (), {"address": listen}))
    with w.client() as c:
        for _ in range(20):
            assert c.get("/hello").body == b"hello"
            assert c.get("/missing").status == 404
            r = c.get("/big")
            assert hashlib.sha256(r.body).digest() == hashlib.sha256(big).digest()
        r = c.get("/big", [("Range", "bytes=1000-1999")])
        assert r.status == 206 and r.body == big[1000:2000], r.status
        etag = r.get("etag")
        assert c.get("/big", [("If-None-Match", etag)]).status == 304
        assert c.get("/hello").body == b"hello"
    assert folder


def test_haproxy_behind(t):
    o = t.origin()
    o.lenient = True
    listen = t.address()
    haproxy(t, listen, o.address)
    exercise(t.simple(type("O", (), {"address": listen})).address)


def test_nginx_in_front(t):
    o = t.origin()
    w = t.simple(o)
    listen = t.address()
    nginx(t, "upstream w { server %s; keepalive 8; } server { listen %s; location / { proxy_pass "
          "http://w; proxy_http_version 1.1; proxy_set_header Connection ''; } }"
          % (w.address, listen), listen)
    exercise(listen)


def test_nginx_behind_over_h2(t):
    """It ends each connection after a number of requests, by GOAWAY and FIN right behind the last
    answers: that is no failure of any request."""
    h2load, listen = t.needs("h2load"), t.address()
    nginx(t, "keepalive_requests 100; server { listen %s http2; location / { return 200 '%s'; } }"
          % (listen, "n" * 1000), listen)
    w = t.start({"listeners": [{"address": t.address(), "h2c": True}],
                 "upstreams": {"nginx": {"endpoints": [listen], "protocol": "h2"}},
                 "routes": [{"match": "/*", "to": "nginx"}]})
    done = subprocess.run([h2load, "-n", "2000", "-c", "4", "-m", "10", "http://%s/" % w.address],
                          capture_output=True, text=True, timeout=60)
    assert "2000 succeeded, 0 failed, 0 errored" in done.stdout, done.stdout + done.stderr


def test_haproxy_in_front(t):
    o = t.origin()
    w = t.simple(o)
    listen = t.address()
    haproxy(t, listen, w.address)
    exercise(listen)


def test_haproxy_in_front_over_h2(t):
    """It says https in clear text, whatever its client said; as a trusted proxy it may."""
    o = t.origin()
    w = t.simple(o, listeners=[{"address": t.address(), "h2c": True}],
                 trusted_proxies=["127.0.0.0/8"])
    listen = t.address()
    haproxy(t, listen, w.address + " proto h2")
    exercise(listen)


def test_weir_behind_weir(t):
    o = t.origin()
    inner = t.simple(o, trusted_proxies=["127.0.0.0/8"])
    outer = t.simple(type("O", (), {"address": inner.address}))
    exercise(outer.address)
    q = o.seen("/g0")[0]
    assert len(q.fields.tokens("via")) == 2, q
    assert q.fields.tokens("x-forwarded-for") == ["127.0.0.1", "127.0.0.1"], q


def curl(t, *args, data=None):
    program = t.needs("curl")
    done = subprocess.run([program, "-sS", "-m", "60", *args], input=data, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(t):
    o = t.origin()
    o.on("/trailer", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
         b"0\r\nX-T: 1\r\n\r\n")
    w = t.simple(o)
    url = "http://" + w.address
    assert curl(t, url + "/a", url + "/b") == b"origin GET /a\norigin GET /b\n"
    big = os.urandom(2 << 20)
    path = os.path.join(t.dir, "upload")
    with open(path, "wb") as f:
        f.write(big)
    got = curl(t, "-T", path, "-H", "Transfer-Encoding: chunked", url + "/up")
    assert got == b"origin PUT /up\n" + big
    got = curl(t, "-X", "POST", "--data-binary", "@" + path, "-H", "Expect: 100-continue",
               url + "/post")
    assert got == b"origin POST /post\n" + big
    assert curl(t, "--http1.0", url + "/ten") == b"origin GET /ten\n"
    assert curl(t, url + "/trailer") == b"hello"
    assert b"HTTP/1.1 200" in curl(t, "-I", url + "/head")
    assert curl(t, "--path-as-is", url + "/a/../b") == b"origin GET /b\n"
    assert curl(t, "-G", "-d", "a=b%20c", url + "/q") == b"origin GET /q?a=b%20c\n"

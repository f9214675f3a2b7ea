# SPDX-License-Identifier: Apache-2.0
"""TLS to upstreams: who is trusted, what is said when it is not, sessions and kept connections."""

import base64
import hashlib
import json
import os
import ssl
import threading
import time

from cryptography.hazmat.primitives import serialization

from peers import client, tls, weir, wire


def begin(t):
    t.ca = tls.authority(t)
    t.site = t.ca.sign("site", ["localhost", "app.internal", t.host])
    t.o = secure(t, t.site)
    t.w = to(t, t.o)


def secure(t, cert, **more):
    o = tls.Origin(t.address(), cert, **more)
    t.origins.append(o)
    return o


def to(t, *origins, admin=False, top=None, pool=None, **settings):
    """A Weir that speaks TLS to these origins."""
    settings.setdefault("ca", t.ca.cert)
    u = weir.upstream(*[o.address for o in origins], **(pool or {}))
    u["tls"] = settings
    config = {"upstreams": {"origin": u}, "routes": [{"match": "/*", "to": "origin"}]}
    return t.start(dict(config, **(top or {})), admin=admin)


def refused(t, o, code, **settings):
    """The request fails for that reason, in the answer, in the log and as Proxy-Status has it."""
    w = to(t, o, **settings)
    r = w.get("/refused")
    assert r.status in (502, 504) and r.code == code, (code, r)
    assert w.line_for("/refused")["reason"] == code
    return w


def test_verified_by_name(t):
    r = t.w.get("/a")
    assert r.body == b"origin GET /a\n", r
    r = to(t, t.o, sni="app.internal").get("/b")
    assert r.body == b"origin GET /b\n", r
    r = to(t, t.o, sni="app.internal.").get("/c")
    assert r.body == b"origin GET /c\n", r


def test_name_is_asked_for(t):
    names = []
    o = secure(t, t.site)
    o.context.sni_callback = lambda sock, name, context: names.append(name)
    assert to(t, o, sni="app.internal").get("/").status == 200
    assert to(t, o).get("/").status == 200  # an address is no name (RFC 6066 3)
    assert names == ["app.internal", None], names


def test_bodies_both_ways(t):
    for size in (0, 1, 16384, 100000, t.bulk(3000000)):
        body = os.urandom(size)
        r = t.w.ask("POST", "/body", body=body)
        want = hashlib.sha256(b"origin POST /body\n" + body).digest()
        assert hashlib.sha256(r.body).digest() == want, size


def test_what_is_wrong_with_the_certificate(t):
    def shows(*args, **more):
        return secure(t, t.ca.sign(*args, **more))
    refused(t, shows("old", [t.host], days=-1, start=-9), "upstream_certificate_expired")
    refused(t, shows("soon", [t.host], start=3), "upstream_certificate_not_yet_valid")
    refused(t, shows("other", ["other.example"]), "upstream_certificate_name_mismatch")
    refused(t, t.o, "upstream_certificate_name_mismatch", sni="other.example")
    stranger = tls.authority(t, "stranger")
    refused(t, secure(t, stranger.sign("site", [t.host])), "upstream_certificate_unknown_ca")
    refused(t, secure(t, tls.make(t.make_dir("self"), "self", [t.host])),
            "upstream_certificate_unknown_ca")
    bad = t.ca.sign("revoked", [t.host])
    w = refused(t, secure(t, bad), "upstream_certificate_revoked", crl=t.ca.crl([bad]))
    assert "certificate revoked" in w.log(), w.log()
    refused(t, t.o, "upstream_certificate_pin_mismatch", pin_sha256=["A" * 43 + "="])


def test_verify_less(t):
    o = secure(t, t.ca.sign("other", ["other.example"]))
    assert to(t, o, verify="ca").get("/").status == 200
    stranger = secure(t, tls.make(t.make_dir("self"), "self", ["x.example"]))
    w = t.start({"upstreams": {"o": dict(weir.upstream(stranger.address), tls={"verify": "off"})},
                 "routes": [{"match": "/*", "to": "o"}]})
    assert w.get("/").status == 200


def test_pin(t):
    der = t.site.private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pin = base64.b64encode(hashlib.sha256(der).digest()).decode()
    assert to(t, t.o, pin_sha256=["A" * 43 + "=", pin]).get("/").status == 200


def test_what_no_peer_could_ever_show(t):
    """A pin or a name that is misspelt is told before it fails every request."""
    path = t.make_dir("misspelt") + "/weir.yaml"
    for key, value, said in (
            ("pin_sha256", ["abc"], "a pin is the base64 of 32 bytes"),
            ("pin_sha256", ["sha256//" + "A" * 43 + "="], "a pin is the base64 of 32 bytes"),
            ("pin_sha256", ["A" * 42 + "=="], "a pin is the base64 of 32 bytes"),
            ("pin_sha256", ["0123456789abcdef" * 4], "a pin is the base64 of 32 bytes"),
            ("sni", "https://x.example", "sni is a host name"), ("sni", "a b", "sni is a host"),
            ("sni", "x.example:443", "sni is a host name"), ("sni", "*.example", "sni is a host"),
            ("sni", "x.example", None), ("sni", "127.0.0.1", None), ("sni", "::1", None)):
        with open(path, "w") as f:
            json.dump({"upstreams": {"o": dict(weir.upstream("127.0.0.1:1"), tls={key: value})},
                       "routes": [{"match": "/*", "to": "o"}]}, f)
        code, _, err = t.run("check", path)
        assert (code == 0) if said is None else (code == 1 and said in err), (key, value, err)


def test_not_tls(t):
    def speaks_http(conn):
        """Reads to the end: closing over unread bytes would reset the connection."""
        conn.stream.some()
        conn.send(b"HTTP/1.1 400 Bad\r\n\r\n")
        conn.stream.rest()
    plain = t.origin("plain", raw=speaks_http)
    refused(t, plain, "upstream_tls_failed")

    def closes_behind_the_hello(conn):
        conn.stream.exactly(int.from_bytes(conn.stream.exactly(5)[3:], "big"))
    closes = t.origin("closes", raw=closes_behind_the_hello)
    refused(t, closes, "upstream_tls_closed")


def test_versions(t):
    old = secure(t, t.site, high=ssl.TLSVersion.TLSv1_2)
    assert to(t, old).get("/").status == 200
    refused(t, old, "upstream_tls_alert", min_version="1.3")


def test_stalled_handshake(t):
    stalls = t.origin("stalls", raw=lambda conn: conn.await_end())
    began = time.monotonic()
    w = refused(t, stalls, "upstream_tls_timeout", handshake_timeout="200ms")
    assert time.monotonic() - began > 0.15
    assert w.line_for("/refused")["status"] == 504


def test_another_endpoint_is_tried(t):
    bad = secure(t, t.ca.sign("other", ["other.example"]), name="bad")
    w = to(t, bad, t.o)
    for i in range(6):
        assert w.get("/r%d" % i).body == b"origin GET /r%d\n" % i


def test_own_certificate(t):
    own = t.ca.sign("weir", ["weir.internal"], client=True)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        asks = secure(t, t.site, ca=t.ca, low=version, high=version)
        assert to(t, asks, cert=own.cert, key=own.key).get("/").status == 200
        if t.variant != "onebyte":  # there a write may fail before the alert is read
            refused(t, asks, "upstream_tls_alert")


def test_kept_connections(t):
    """Tickets that come behind an answer are taken, and the connection stays."""
    o = secure(t, t.site, low=ssl.TLSVersion.TLSv1_3)
    w = to(t, o)
    for i in range(10):
        method = "POST" if i % 2 else "GET"  # not idempotent: looks at the socket first
        assert w.ask(method, "/k", body=b"x" if i % 2 else None).status == 200
    assert len(o.connections) == 1, len(o.connections)


def test_sessions_are_resumed(t):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        o = secure(t, t.site, low=version, high=version)
        reused = []
        o.default = lambda conn, req, reused=reused: (
            reused.append(conn.sock.session_reused), conn.reply(200, [("Connection", "close")]),
            conn.close())
        w = to(t, o)
        for _ in range(4):
            assert w.get("/").status == 200
        assert reused == [False, True, True, True], (version, reused)


def test_stale_bytes_evict(t):
    o = secure(t, t.site)
    later = threading.Event()

    def answer(conn, req):
        conn.reply(200)
        later.wait(wire.patience())
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        conn.await_end()
    o.on("/1", answer)
    w = to(t, o, admin=True)
    assert w.get("/1").status == 200
    later.set()
    wire.await_true("eviction", lambda: any(
        v for (n, labels), v in w.metrics().items()
        if "evict" in n and ("reason", "stale_bytes") in labels))
    assert w.get("/2").body == b"origin GET /2\n"
    assert len(o.connections) == 2


def test_closed_links_are_noticed(t):
    o = secure(t, t.site)

    def answer(conn, req):
        conn.reply(200)
        if len(o.requests) % 2:
            conn.sock.unwrap()
        conn.close()
    o.on("/1", answer)
    w = to(t, o)
    for i in range(6):
        assert w.get("/1").status == 200


def end_of(t, path, notify):
    """An answer that ends with the connection."""
    def answer(conn, req):
        conn.send(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000)
        if notify:
            try:
                conn.sock.unwrap()
            except OSError:
                pass
        conn.close()
    t.o.on(path, answer)
    with t.w.client() as c:
        c.request("GET", path)
        return c.response()


def test_truncation_is_seen(t):
    r = end_of(t, "/whole", True)
    assert r.complete and len(r.body) == 1000, r
    r = end_of(t, "/cut", False)
    assert not r.complete, r
    assert t.w.line_for("/cut")["reason"] == "upstream_truncated"


def test_tunnel(t):
    def switch(conn, req):
        conn.tunnel = True
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                  b"Upgrade: echo\r\n\r\n")
        while True:
            piece = conn.stream.some()
            if not piece:
                return
            conn.send(piece)
    t.o.on("/tunnel", switch)
    with t.w.client() as c:
        c.request("GET", "/tunnel", [("Connection", "Upgrade"), ("Upgrade", "echo")])
        assert c.head().status == 101
        for size in (1, 100, t.bulk(200000)):
            data = os.urandom(size)
            c.send(data)
            assert c.stream.exactly(size) == data


def test_probes(t):
    o = secure(t, t.site)
    seen = []
    o.default = lambda conn, req: (seen.append((req.method, req.path)), conn.reply(200))
    w = to(t, o, pool={"probe": "head", "probe_after": "200ms", "probe_path": "/probe"})
    assert w.get("/1").status == 200
    wire.await_true("a probe", lambda: ("HEAD", "/probe") in seen)
    assert len(o.connections) == 1


def test_reload(t):
    """Other settings: links made under the old ones carry nothing more."""
    o = secure(t, t.site)
    w = to(t, o, verify="ca")
    assert w.get("/1").status == 200
    config = w.with_config()
    config["upstreams"]["origin"]["tls"] = {"ca": t.ca.cert, "sni": "app.internal"}
    w.reload(config, lambda: "config.loaded" in w.log())
    assert w.get("/2").status == 200
    assert len(o.connections) == 2
    config["upstreams"]["origin"]["tls"] = {"ca": t.ca.cert, "sni": "wrong.internal"}
    w.reload(config, lambda: w.get("/3").code == "upstream_certificate_name_mismatch")


def test_changed_authority_file(t):
    other = tls.authority(t, "other")
    o = secure(t, other.sign("site", [t.host]))
    mine = t.make_dir("mine")
    path = os.path.join(mine, "ca.pem")

    def write(text):
        with open(path + ".new", "wb") as f:
            f.write(text)
        os.rename(path + ".new", path)
    write(t.ca.pem())
    w = to(t, o, ca=path)
    assert w.get("/").code == "upstream_certificate_unknown_ca"
    write(other.pem())
    wire.await_true("the new authority", lambda: w.get("/").status == 200)
    write(b"rubbish")
    wire.await_true("a refusal", lambda: "tls.refused" in w.log())
    assert w.get("/").status == 200


def test_bad_files(t):
    path = os.path.join(t.make_dir("conf"), "w.yaml")
    with open(path, "w") as f:
        f.write("upstreams:\n  o:\n    endpoints: [127.0.0.1:1]\n    tls:\n      ca: /nowhere.pem\n"
                "routes: [{match: /*, to: o}]\n")
    code, _, err = t.run("check", path)
    assert code == 1 and "w.yaml:5:11: " in err, err


def test_proxy_command(t):
    address = t.address()
    argv = [t.weir_path, "proxy", "--from", address, "--to", "https://%s" % t.o.address,
            "--workers", "1"]
    env = dict(os.environ, SSL_CERT_FILE=t.ca.cert, **t.weir_env)
    p = t.spawn(argv, env=env)
    client.wait_listening(address, 20, lambda: p.poll() is None)
    with client.Client(address) as c:
        assert c.get("/one").body == b"origin GET /one\n"

# SPDX-License-Identifier: Apache-2.0
"""HTTPS on a listener: curl, openssl and Python as clients; versions, names, resumption, bad files,
plain HTTP by mistake."""

import hashlib
import os
import socket
import ssl
import subprocess

from peers import client, tls, weir, wire


def begin(t):
    t.o = t.origin()
    t.ca = tls.authority(t)
    t.site = t.ca.sign("site", ["localhost", "site.example", "*.wild.example"])
    t.rsa = t.ca.sign("site-rsa", ["localhost", "site.example"], kind="rsa")
    t.other = t.ca.sign("other", ["other.example"])
    t.w = https(t, [t.site.conf(), t.rsa.conf(), t.other.conf()], admin=True)


def https(t, certificates, admin=False, **settings):
    listener = {"address": t.address(), "tls": dict({"certificates": certificates}, **settings)}
    return t.start(weir.one_origin(t.o.address, listeners=[listener]), admin=admin)


def ask(t, target="/", fields=(), body=None, method="GET", w=None, **more):
    with tls.Client((w or t.w).address, ca=t.ca, **more) as c:
        return c.ask(method, target, fields, body)


def fault(t, name, w=None):
    """How often a fault was counted."""
    return sum(v for (n, labels), v in (w or t.w).metrics().items()
               if n == "weir_faults_total" and ("reason", name) in labels)


def await_fault(t, name, before, w=None):
    wire.await_true("fault " + name, lambda: fault(t, name, w) > before)


def test_curl(t):
    t.not_in("doors", "a real program hides what was refused")
    r = subprocess.run([t.needs("curl"), "-sS", "--cacert", t.ca.cert, "--resolve",
                        "localhost:%s:%s" % (t.w.address.split(":")[1], t.host),
                        "https://localhost:%s/curl" % t.w.address.split(":")[1]],
                       capture_output=True, timeout=wire.patience())
    assert r.stdout == b"origin GET /curl\n", r
    seen = t.o.await_seen("/curl")[0]
    assert seen.get("X-Forwarded-Proto") == "https", seen


def test_curl_http2(t):
    t.not_in("doors", "a real program hides what was refused")
    port = t.w.address.split(":")[1]
    r = subprocess.run([t.needs("curl"), "-sS", "--cacert", t.ca.cert, "--http2", "--resolve",
                        "localhost:%s:%s" % (port, t.host), "-w", "%{http_version}",
                        "https://localhost:%s/two" % port],
                       capture_output=True, timeout=wire.patience())
    assert r.stdout == b"origin GET /two\n2", r
    assert t.o.await_seen("/two")[0].get("X-Forwarded-Proto") == "https"


def test_bodies_both_ways(t):
    for size in (0, 1, 16384, 16385, t.bulk(100000), t.bulk(3000000)):
        body = os.urandom(size)
        r = ask(t, "/body", body=body, method="POST")
        want = hashlib.sha256(b"origin POST /body\n" + body).digest()
        assert hashlib.sha256(r.body).digest() == want, (size, r, len(r.body))


def test_kept_alive_and_pipelined(t):
    with tls.Client(t.w.address, ca=t.ca) as c:
        for i in range(20):
            assert c.get("/k%d" % i).body == b"origin GET /k%d\n" % i
        c.send(b"".join(client.make_request("GET", "/p%d" % i) for i in range(20)))
        for i in range(20):
            assert c.response().body == b"origin GET /p%d\n" % i


def test_byte_by_byte(t):
    with tls.Client(t.w.address, ca=t.ca) as c:
        c.send(client.make_request("POST", "/slow", body=b"x" * 50), step=1)
        assert c.response().body == b"origin POST /slow\n" + b"x" * 50


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
    with tls.Client(t.w.address, ca=t.ca) as c:
        c.request("GET", "/tunnel", [("Connection", "Upgrade"), ("Upgrade", "echo")])
        assert c.head().status == 101
        for size in (1, 100, t.bulk(200000)):
            data = os.urandom(size)
            c.send(data)
            assert c.stream.exactly(size) == data


def test_slow_reader(t):
    """An answer that the client takes in small bites arrives whole, and is not piled up here."""
    size = t.bulk(4000000)
    body = os.urandom(size)
    t.o.on("/big", lambda conn, req: conn.reply(200, body=body))
    with tls.Client(t.w.address, ca=t.ca) as c:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        c.request("GET", "/big")
        r = c.head()
        got = hashlib.sha256()
        left = size
        while left:
            piece = c.stream.some(4096)
            assert piece, left
            got.update(piece)
            left -= len(piece)
        assert r.status == 200 and got.digest() == hashlib.sha256(body).digest()


def test_behind_a_balancer(t):
    """The PROXY header comes in the clear, before the handshake."""
    listener = {"address": t.address(), "proxy_protocol": "require",
                "tls": {"certificates": [t.site.conf()]}}
    w = t.start(weir.one_origin(t.o.address, listeners=[listener]))
    sock = wire.connect(w.address)
    sock.sendall(b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 443\r\n")
    try:
        with tls.context(ca=t.ca).wrap_socket(sock, server_hostname="localhost") as s:
            s.sendall(client.make_request("GET", "/proxied", [("Connection", "close")]))
            answer = wire.Stream(s).rest()
    except OSError:
        wire.Refusals.note()
        raise
    if answer.startswith(b"HTTP/1.1 503 "):
        wire.Refusals.note()
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    assert t.o.await_seen("/proxied")[0].get("X-Forwarded-For") == "192.0.2.9"


def test_versions(t):
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        with tls.Client(t.w.address, ca=t.ca, low=version, high=version) as c:
            assert c.sock.version() == name
            assert c.get("/v").status == 200
    before = fault(t, "tls_nothing_in_common")
    old = subprocess.run([t.needs("openssl"), "s_client", "-connect", t.w.address, "-tls1_1",
                          "-cipher", "ALL:@SECLEVEL=0"], stdin=subprocess.DEVNULL,
                         capture_output=True, timeout=wire.patience())
    assert b"Cipher is (NONE)" in old.stdout, old
    await_fault(t, "tls_nothing_in_common", before)


def test_modern_policy(t):
    w = https(t, [t.site.conf()], policy="modern")
    assert ask(t, w=w).status == 200
    tls.refused(w.address, ca=t.ca, high=ssl.TLSVersion.TLSv1_2)


def test_certificate_by_name(t):
    def shown(sni):
        with tls.Client(t.w.address, sni=sni) as c:
            assert c.get("/n").status == 200
            return c.peer().serial_number
    assert shown("other.example") == t.other.x509.serial_number
    assert shown("OTHER.example") == t.other.x509.serial_number
    for name in ("site.example", "a.wild.example", "unknown.example", None):
        assert shown(name) == t.site.x509.serial_number, name


def test_rsa_beside_ecdsa(t):
    def shown(ciphers):
        c = tls.context(ca=t.ca, high=ssl.TLSVersion.TLSv1_2)
        c.set_ciphers(ciphers)
        with tls.Client(t.w.address, with_context=c) as one:
            assert one.get("/r").status == 200
            return one.peer().serial_number
    assert shown("ECDHE-RSA-AES128-GCM-SHA256") == t.rsa.x509.serial_number
    assert shown("ECDHE-ECDSA-AES128-GCM-SHA256") == t.site.x509.serial_number


def test_strict_sni(t):
    w = https(t, [t.site.conf()], strict_sni=True, admin=True)
    assert ask(t, w=w).status == 200
    before = fault(t, "tls_name_unknown", w)
    for name in ("unknown.example", None):
        assert "UNRECOGNIZED_NAME" in tls.refused(w.address, sni=name).upper().replace(" ", "_")
    await_fault(t, "tls_name_unknown", before + 1, w)


def test_alpn(t):
    with tls.Client(t.w.address, ca=t.ca, alpn=["http/1.1"]) as c:
        assert c.sock.selected_alpn_protocol() == "http/1.1"
        assert c.get("/a").status == 200
    why = tls.refused(t.w.address, ca=t.ca, alpn=["spdy/1"])
    assert "no application protocol" in why.replace("_", " ").lower(), why


def test_resumption(t):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = tls.context(ca=t.ca, low=version, high=version)
        with tls.Client(t.w.address, with_context=c) as one:
            assert one.get("/1").status == 200
            assert not one.sock.session_reused
            session = one.sock.session
        with tls.Client(t.w.address, with_context=c, session=session) as two:
            assert two.get("/2").status == 200
            assert two.sock.session_reused, version
            again = two.sock.session
        if version == ssl.TLSVersion.TLSv1_3:
            assert again.id != session.id, "a ticket is used once, and needs a successor"
        with tls.Client(t.w.address, with_context=c, session=again) as three:
            assert three.get("/3").status == 200
            assert three.sock.session_reused, version


def test_a_session_is_of_one_name(t):
    c = tls.context(high=ssl.TLSVersion.TLSv1_2)
    with tls.Client(t.w.address, sni="site.example", with_context=c) as one:
        assert one.get("/1").status == 200
        session = one.sock.session
    with tls.Client(t.w.address, sni="other.example", with_context=c, session=session) as two:
        assert two.get("/2").status == 200
        assert not two.sock.session_reused


def test_renegotiation_is_off(t):
    t.not_in("doors", "a real program hides what was refused")
    p = subprocess.run([t.needs("openssl"), "s_client", "-connect", t.w.address, "-tls1_2"],
                       input=b"R\n", capture_output=True, timeout=wire.patience())
    assert b"RENEGOTIATING" in p.stdout + p.stderr, p  # it was tried
    assert b"no renegotiation" in p.stderr, p


def test_plain_http_is_told(t):
    t.not_in("onebyte", "the answer is one write at most")
    before = fault(t, "tls_plain_http")
    with t.w.client() as c:
        r = c.get("/")
        assert r.status == 400 and b"tls_plain_http" in r.body, r
        c.must_end()
    await_fault(t, "tls_plain_http", before)


def test_garbage(t):
    before = fault(t, "tls_handshake_failed")
    with t.w.client() as c:
        c.send(b"\x80\x2e\x01\x00\x02 no tls at all" * 10)
        assert c.stream.rest()[:1] in (b"", b"\x15")  # an alert at most
    await_fault(t, "tls_handshake_failed", before)


def test_end_in_the_handshake(t):
    before = fault(t, "tls_handshake_aborted")
    with t.w.client() as c:
        c.send(b"\x16\x03\x01\x02\x00\x01")
        c.shut()
        c.must_end()
    await_fault(t, "tls_handshake_aborted", before)


def test_stalled_handshake(t):
    listener = {"address": t.address(), "tls": {"certificates": [t.site.conf()]}}
    w = t.start(weir.one_origin(t.o.address, listeners=[listener],
                                timeouts={"handshake": "300ms"}), admin=True)
    with w.client() as c:
        c.send(b"\x16\x03\x01\x02\x00\x01")
        c.must_end()
    await_fault(t, "tls_handshake_timeout", 0, w)


def test_stop_in_the_handshake(t):
    """Who is in the middle of it is served once; nobody who stalls there holds up the end."""
    listener = {"address": t.address(), "tls": {"certificates": [t.site.conf()]}}
    w = t.start(weir.one_origin(t.o.address, listeners=[listener, {"address": t.address()}],
                                timeouts={"handshake": "5s"}), admin=True)
    assert ask(t, w=w).status == 200
    with w.client() as stalls, w.client() as goes_on, w.client(1) as idle:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        o = tls.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        step(o, o.do_handshake)
        hello = outgoing.read()
        stalls.send(hello[:100])
        goes_on.send(hello)
        incoming.write(goes_on.stream.some())
        wire.await_true("both", lambda: w.metrics()[("weir_tls_handshakes_open",
                                                     frozenset())] == 2)
        assert idle.get("/").status == 200
        w.terminate()
        idle.must_end()  # the worker drains
        while step(o, o.do_handshake) is False:
            incoming.write(goes_on.stream.some())
        o.write(client.make_request("GET", "/last"))
        goes_on.send(outgoing.read())
        answer = b""
        while b"\r\n\r\n" not in answer:
            got = step(o, lambda: o.read(10000))
            if got is False:
                incoming.write(goes_on.stream.some())
            else:
                answer += got
        assert answer.startswith(b"HTTP/1.1 200 ") and b"Connection: close" in answer, answer
        w.stop()


def step(o, what):
    """What a non-blocking call gives; False: it wants more bytes."""
    try:
        return what() or None
    except ssl.SSLWantReadError:
        return False


def test_close_notify(t):
    """An answer that ends with the connection ends whole: the client's library checks it."""
    t.o.on("/close", lambda conn, req: (conn.send(b"HTTP/1.0 200 OK\r\n\r\nto the end"),
                                        conn.close()))
    with tls.Client(t.w.address, ca=t.ca) as c:
        c.send(client.make_request("GET", "/close", version="1.0"))
        raw = b""
        while True:
            piece = c.sock.recv(1000)
            if not piece:
                break
            raw += piece
        assert wire.Refusals.look(raw).endswith(b"to the end"), raw


def test_a_broken_answer_has_no_close_notify(t):
    """To HTTP/1.0 the end of the connection is the end of the answer."""
    t.o.on("/cut", lambda conn, req: (conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                                                b"\r\n4\r\ncut!\r\n"), conn.close()))
    with tls.Client(t.w.address, ca=t.ca) as c:
        c.send(client.make_request("GET", "/cut", version="1.0"))
        wire.Refusals.look(c.stream.rest())
        assert c.stream.was_reset


def test_bad_files(t):
    """Each with its place."""
    def said(**one):
        path = os.path.join(t.make_dir("conf"), "w.yaml")
        text = ("listeners:\n  - address: 127.0.0.1:1\n    tls:\n      certificates:\n"
                "        - cert: %s\n          key: %s\n" % (one["cert"], one["key"]))
        text += one.get("more", "")
        text += "upstreams: {o: {endpoints: [127.0.0.1:1]}}\nroutes: [{match: /*, to: o}]\n"
        with open(path, "w") as f:
            f.write(text)
        code, _, err = t.run("check", path)
        assert code == 1, (code, err)
        return err
    good = dict(cert=t.site.cert, key=t.site.key)
    assert "w.yaml:5:17: " in said(cert="/nowhere.pem", key=t.site.key)
    err = said(cert=t.site.cert, key=t.other.key)
    assert "w.yaml:6:16: " in err and "is not that of the certificate" in err, err
    old = t.ca.sign("old", ["old.example"], days=-1, start=-10)
    assert "expired on" in said(cert=old.cert, key=old.key)
    soon = t.ca.sign("soon", ["soon.example"], start=2)
    assert "not valid before" in said(cert=soon.cert, key=soon.key)
    middle = t.ca.sign("middle", ca=True)
    leaf = middle.sign("leaf", ["leaf.example"])
    with open(leaf.cert, "wb") as f:
        f.write(leaf.x509.public_bytes(tls.PEM) + t.site.pem() + middle.pem())
    assert "out of order" in said(cert=leaf.cert, key=leaf.key)
    err = said(more="      ciphers: NONSENSE\n", **good)
    assert "w.yaml:7:16: " in err and "ciphers" in err, err
    err = said(more="      groups: P-999\n", **good)
    assert "w.yaml:7:15: " in err, err
    err = said(more="      policy: modern\n      ciphers: ECDHE\n", **good)
    assert "TLS 1.2" in err, err


def test_sslscan(t):
    """Every finding of the default policy: exactly these protocols, ciphers and groups."""
    t.not_in("onebyte", "a scanner of many handshakes, byte by byte, takes too long")
    t.not_in("doors", "a real program hides what was refused")
    r = subprocess.run([t.needs("sslscan"), "--no-colour", "--show-certificate", t.w.address],
                       capture_output=True, text=True, timeout=wire.patience() * 6)
    lines = r.stdout.splitlines()
    protocols = dict(x.split() for x in lines if x.endswith(("enabled", "disabled"))
                     and x.startswith(("SSLv", "TLSv")))
    assert protocols == {"SSLv2": "disabled", "SSLv3": "disabled", "TLSv1.0": "disabled",
                         "TLSv1.1": "disabled", "TLSv1.2": "enabled",
                         "TLSv1.3": "enabled"}, r.stdout
    ciphers = {x.split()[4] for x in lines if x.startswith(("Accepted", "Preferred"))}
    ecdhe = {"ECDHE-%s-%s" % (key, cipher) for key in ("ECDSA", "RSA") for cipher in (
        "AES256-GCM-SHA384", "CHACHA20-POLY1305", "AES128-GCM-SHA256")}
    assert ciphers == ecdhe | {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384",
                               "TLS_CHACHA20_POLY1305_SHA256"}, r.stdout
    groups = {x.split()[3] for x in lines if x.startswith("TLSv1") and x.split()[2:3] == ["bits"]}
    assert groups - {"X25519MLKEM768"} == {"x25519", "secp256r1", "secp384r1"}, r.stdout
    for word in ("renegotiation not supported", "Server supports TLS Fallback SCSV",
                 "TLSv1.2 not vulnerable to heartbleed", "TLSv1.3 not vulnerable to heartbleed",
                 "Signature Algorithm: ecdsa-with-SHA256", "ECC Key Strength:    128"):
        assert word in r.stdout, (word, r.stdout)
    assert "Compression enabled" not in r.stdout, r.stdout

# SPDX-License-Identifier: Apache-2.0
"""Certificates, keys, tickets and OCSP responses that change while Weir serves; HSTS; the way from
http to https."""

import os
import re
import signal
import ssl
import subprocess

from peers import tls, weir, wire

NOT_IN = {"doors": "what is awaited comes once; a refusal would hide it"}
COST = 4


def begin(t):
    t.o = t.origin()
    t.ca = tls.authority(t)
    t.site = t.ca.sign("site", ["localhost"])


def start(t, certificates=None, listener=None, top=None, **settings):
    one = dict({"address": t.address(),
                "tls": dict({"certificates": certificates or [t.site.conf()]}, **settings)},
               **(listener or {}))
    w = t.start(weir.one_origin(t.o.address, listeners=[one], **(top or {})), admin=True)
    shown(w)  # it serves, with the files as they are now
    return w


def shown(w, sni="localhost"):
    with tls.Client(w.address, sni=sni) as c:
        assert c.get("/").status == 200
        return c.peer().serial_number


def plain_status(w):
    """What a plain request is answered; None: it is not."""
    try:
        return w.get("/").status
    except (wire.Ended, OSError):
        return None


def await_shown(w, cert, sni="localhost"):
    wire.await_true("the certificate", lambda: shown(w, sni) == cert.x509.serial_number)


def figure(w, name, **labels):
    want = set(labels.items())
    found = [v for (n, have), v in w.metrics().items() if n == name and want <= set(have)]
    return found[0] if found else None


def test_renewed(t):
    """A renewed pair is shown to new connections; those that are there go on."""
    cert = t.ca.sign("renewed", ["localhost"])
    w = start(t, [cert.conf()])
    with tls.Client(w.address) as kept:
        assert kept.get("/1").status == 200
        fresh = t.ca.sign("fresh", ["localhost"])
        cert.write(fresh.pem(), fresh.key_pem())
        await_shown(w, fresh)
        assert kept.get("/2").status == 200
    wire.await_true("the load is counted", lambda: figure(
        w, "weir_tls_file_loads_total", result="loaded") >= 1)


def test_broken_is_refused(t):
    cert = t.ca.sign("fine", ["localhost"])
    w = start(t, [cert.conf()])
    other = t.ca.sign("other", ["localhost"])
    old = t.ca.sign("old", ["localhost"], days=-1, start=-9)
    for pem, key, why in ((other.pem(), None, "is not that of the certificate"),
                          (old.pem(), old.key_pem(), "expired on"),
                          (b"rubbish", None, "no certificate")):
        cert.write(pem, key)
        wire.await_true(why, lambda why=why: why in w.log())
        assert shown(w) == cert.x509.serial_number
    assert figure(w, "weir_tls_file_loads_total", result="refused") >= 3
    cert.write(other.pem(), other.key_pem())
    await_shown(w, other)


def test_untimely_at_start(t):
    """A start and a restart after a crash serve what has expired; it replaces nothing good."""
    old = t.ca.sign("past", ["past.example"], days=-1, start=-9)
    early = t.ca.sign("early", ["early.example"], days=9, start=2)
    ocsp = os.path.join(t.make_dir("ocsp"), "past.ocsp")
    with open(ocsp, "wb") as f:
        f.write(t.ca.ocsp(old, start=-9, days=-2))
    # its issuer is in the chain, to be looked for in the response
    old.write(old.pem() + t.ca.x509.public_bytes(tls.PEM))
    w = t.start(weir.one_origin(
        t.o.address, tests=[{"request": "/", "expect": "all"}],
        routes=[{"name": "all", "match": "/*", "to": "origin"}],
        listeners=[{"address": t.address(), "tls": {
            "certificates": [old.conf(ocsp=ocsp), early.conf()]}}]), admin=True)
    assert shown(w, "past.example") == old.x509.serial_number
    assert shown(w, "early.example") == early.x509.serial_number
    for why in ("%s\" expired on" % old.cert, "%s\" is not valid before" % early.cert,
                "%s\" cannot be stapled: it has expired" % ocsp):
        assert [x for x in w.log().splitlines() if why in x.replace("\\", "") and
                "tls.expires" in x and "error" in x.lower()], (why, w.log())
    assert figure(w, "weir_tls_certificate_expiry_seconds", file=old.cert) < 0
    os.kill(w.server_pid(), signal.SIGKILL)
    assert shown(w, "past.example") == old.x509.serial_number
    code, _, err = t.run("check", w.config_path)
    assert code == 1 and "expired on" in err and "not valid before" in err, err
    # a reload that leaves TLS alone is none of its business; one that puts it to new use is
    w.reload(dict(w.config, log={"level": "debug"}), lambda: "config.loaded" in w.log())
    good = w.config
    settings = {"certificates": [early.conf(), old.conf()]}
    w.reload(dict(good, listeners=[{"address": w.address, "tls": settings}]),
             lambda: "config.refused" in w.log())
    assert shown(w, "past.example") == old.x509.serial_number


def test_one_broken_pair_does_not_hold_up_another(t):
    a = t.ca.sign("a", ["a.example"])
    b = t.ca.sign("b", ["b.example"])
    w = start(t, [a.conf(), b.conf()])
    assert shown(w) == a.x509.serial_number
    a.write(b"rubbish")
    wire.await_true("a refusal", lambda: "tls.refused" in w.log())
    fresh = t.ca.sign("fresh-b", ["b.example"])
    b.write(fresh.pem(), fresh.key_pem())
    await_shown(w, fresh, "b.example")
    assert shown(w, "a.example") == a.x509.serial_number


def test_reload_takes_changed_files(t):
    cert = t.ca.sign("again", ["localhost"])
    w = start(t, [cert.conf()])
    fresh = t.ca.sign("again-fresh", ["localhost"])
    cert.write(fresh.pem(), fresh.key_pem())
    w.reload(w.config, lambda: shown(w) == fresh.x509.serial_number)


def test_reload_changes_listeners(t):
    """TLS comes and goes by reload; connections that are there keep what they began with."""
    w = start(t)
    with tls.Client(w.address) as kept:
        assert kept.get("/1").status == 200
        plain = [{"address": w.address}]
        w.reload(dict(w.config, listeners=plain),
                 lambda: plain_status(w) == 200)
        assert kept.get("/kept").status == 200
        assert t.o.await_seen("/kept")[0].get("X-Forwarded-Proto") == "https"
    with w.client() as kept:
        assert kept.get("/1").status == 200
        w.reload(dict(w.config, listeners=[{"address": w.address, "tls": {
            "certificates": [t.site.conf()]}}]),
            lambda: plain_status(w) != 200)
        assert shown(w) == t.site.x509.serial_number
        assert kept.get("/plain").status == 200
        assert t.o.await_seen("/plain")[0].get("X-Forwarded-Proto") == "http"


def test_days_left(t):
    soon = t.ca.sign("soon", ["soon.example"], days=5.5)
    w = start(t, [t.site.conf(), soon.conf()])
    assert shown(w) == t.site.x509.serial_number  # it serves
    days = {c: figure(w, "weir_tls_certificate_expiry_seconds", file=c.cert) // 86400
            for c in (soon, t.site)}
    assert days[soon] == 5 and days[t.site] in (29, 30), days
    wire.await_true("a warning", lambda: re.search(r"%s expires in 5 days" % soon.cert, w.log()))
    assert t.site.cert not in w.log()


def test_promtool(t):
    """It accepts the series of TLS, too."""
    promtool = t.needs("promtool")
    w = start(t)
    page = w.admin_get("/metrics").body
    assert b"weir_tls_certificate_expiry_seconds{" in page
    done = subprocess.run([promtool, "check", "metrics"], input=page, capture_output=True,
                          timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr


def session_of(w, c):
    with tls.Client(w.address, with_context=c) as one:
        assert one.get("/").status == 200
        return one.sock.session


def resumed(w, c, session):
    with tls.Client(w.address, with_context=c, session=session) as one:
        assert one.get("/").status == 200
        return one.sock.session_reused


def test_tickets_of_several_machines(t):
    folder = t.make_dir("keys")
    paths = [os.path.join(folder, n) for n in ("new", "old")]
    for p in paths:
        with open(p, "wb") as f:
            f.write(os.urandom(80))
    a = start(t, session_tickets={"keys": paths})
    b = start(t, session_tickets={"keys": paths[::-1]})
    stranger = start(t)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = tls.context(low=version, high=version)
        session = session_of(a, c)
        assert resumed(b, c, session), version
        assert not resumed(stranger, c, session)
    c = tls.context(high=ssl.TLSVersion.TLSv1_2)
    session = session_of(a, c)
    for p in paths:
        with open(p + ".new", "wb") as f:
            f.write(os.urandom(80))
        os.rename(p + ".new", p)
    wire.await_true("other keys", lambda: not resumed(a, c, session))


def test_tickets_rotate(t):
    """Keys made here: tickets of the two before the present one are still taken."""
    w = start(t, session_tickets={"rotate": "2s", "lifetime": "1h"})
    c = tls.context(high=ssl.TLSVersion.TLSv1_2)
    session = session_of(w, c)
    assert resumed(w, c, session)
    wire.await_true("an end of its key", lambda: not resumed(w, c, session))


def test_no_resumption(t):
    w = start(t, session_tickets=False)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = tls.context(low=version, high=version)
        assert not resumed(w, c, session_of(w, c))


def test_sessions_in_memory(t):
    w = start(t, session_tickets=False, session_cache=100)
    c = tls.context(high=ssl.TLSVersion.TLSv1_2)
    assert resumed(w, c, session_of(w, c))


def stapled(t, w, sni="localhost"):
    r = subprocess.run([t.needs("openssl"), "s_client", "-connect", w.address, "-servername", sni,
                        "-status"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       errors="replace", timeout=wire.patience())
    return "OCSP Response Status: successful" in r.stdout


def test_ocsp(t):
    t.not_in("doors", "a real program hides what was refused")
    path = os.path.join(t.make_dir("ocsp"), "site.ocsp")

    def write(der):
        with open(path + ".new", "wb") as f:
            f.write(der)
        os.rename(path + ".new", path)
    write(t.ca.ocsp(t.site))
    # its issuer is in the chain, to be looked for in the response
    with open(t.site.cert, "wb") as f:
        f.write(t.site.x509.public_bytes(tls.PEM) + t.ca.x509.public_bytes(tls.PEM))
    w = start(t, [t.site.conf(ocsp=path)])
    assert stapled(t, w)
    assert not stapled(t, start(t))
    write(t.ca.ocsp(t.site, good=False))
    wire.await_true("a refusal", lambda: "certificate is not good" in w.log())
    assert stapled(t, w)  # the good one, as long as it is valid


def test_hsts(t):
    w = start(t, hsts={"max_age": "8760h", "include_subdomains": True})
    t.o.on("/own", lambda conn, req: conn.reply(
        200, [("Strict-Transport-Security", "max-age=1")]))
    with tls.Client(w.address) as c:
        for path in ("/", "/own"):
            r = c.get(path)
            assert r.fields.all("Strict-Transport-Security") == [
                "max-age=31536000; includeSubDomains"], r
        r = c.get("/", [("Expect", "nonsense")])  # an answer of Weir itself
        assert r.status == 417 and r.get("Strict-Transport-Security"), r
    plain = t.simple()
    assert not plain.get("/").get("Strict-Transport-Security")


def test_to_https(t):
    listeners = [{"address": t.address(), "redirect_https": 443},
                 {"address": t.address(), "redirect_https": 8443},
                 {"address": t.address(), "tls": {"certificates": [t.site.conf()]}}]
    w = t.start(weir.one_origin(t.o.address, listeners=listeners))
    with w.client() as c:
        r = c.ask("POST", "/a%20b?x=1&y", host="Example.com:8080", body=b"abc")
        assert r.status == 308 and r.get("Location") == "https://example.com/a%20b?x=1&y", r
        assert c.get("/", host="[::1]").get("Location") == "https://[::1]/"
        r = c.get("/.well-known/acme-challenge/token")
        assert r.body == b"origin GET /.well-known/acme-challenge/token\n", r
        r = c.get("/.well-known/acme-challenge/../../secret")
        assert r.get("Location") == "https://test.example/secret", r
    with w.client(1) as c:
        assert c.get("/x").get("Location") == "https://test.example:8443/x"
    with tls.Client(listeners[2]["address"]) as c:
        assert c.get("/x").body == b"origin GET /x\n"


def test_handshakes_of_one_source(t):
    w = start(t, handshakes_per_source=3, top={"timeouts": {"handshake": "2m"}})
    assert shown(w) == t.site.x509.serial_number  # whoever looked whether it listens is gone
    wire.await_true("no handshake", lambda: figure(w, "weir_tls_handshakes_open") == 0)
    held = [w.client() for _ in range(3)]
    wire.await_true("handshakes", lambda: figure(w, "weir_tls_handshakes_open") == 3)
    with w.client() as c:
        c.must_end()
    assert figure(w, "weir_faults_total", reason="tls_handshake_limit") == 1
    held.pop().close()
    wire.await_true("room", lambda: figure(w, "weir_tls_handshakes_open") == 2)
    assert shown(w) == t.site.x509.serial_number
    for c in held:
        c.close()


def test_a_flood_of_handshakes_starves_nobody(t):
    """While handshakes wait, who is served already is answered first: an order, not a time."""
    w = start(t, listener={"name": "public"})
    hello = hello_bytes(t)
    with tls.Client(w.address) as served:
        assert served.get("/").status == 200
        os.kill(w.server_pid(), 19)  # all of it lies there when Weir wakes up
        flood = []
        try:
            for _ in range(t.bulk(100) and 100):
                c = w.client()
                c.sock.sendall(hello)
                flood.append(c)
            served.request("GET", "/first")
        finally:
            os.kill(w.server_pid(), 18)
        assert served.response().status == 200
        wire.await_true("handshakes that were left to do", lambda: figure(
            w, "weir_tls_handshakes_open") > 0)
    for c in flood:
        c.close()


def hello_bytes(t):
    """A ClientHello, as OpenSSL makes it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    o = tls.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        o.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()

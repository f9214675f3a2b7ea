# SPDX-License-Identifier: Apache-2.0
"""Clients that prove who they are: who comes in, what upstreams are told, what cannot be forged,
and that a proof for one name is none for another."""

import base64
import json
import ssl

from peers import client, tls, weir, wire
from peers.h2 import H2

FORGED = [("X-Client-Cert", ":Zm9yZ2Vk:"), ("X-Client-DN", "CN=root"), ("X-Client-SAN", "DNS:root"),
          ("Client-Cert", ":Zm9yZ2Vk:"), ("Client-Cert-Chain", ":Zm9yZ2Vk:"),
          ("X_Client_Cert", "x"), ("x_client-dn", "CN=root"), ("X-Client_SAN", "x"),
          ("client_cert", "x")]


def begin(t):
    t.o = t.origin()
    t.ca = tls.authority(t)
    t.clients = tls.authority(t, "clients")
    t.site = t.ca.sign("site", ["localhost", "open.example", "closed.example", "*.wild.example"])
    t.alice = t.clients.sign("alice", ["alice.internal", "spiffe://example.org/ns/shop/alice"],
                             cn="Alice", client=True)
    t.bob = t.clients.sign("bob", ["bob.internal"], cn="Bob", client=True)
    t.mail = t.clients.sign("carol", ["carol@example.org"], cn="Carol", client=True)
    t.bare = t.clients.sign("dave", [], cn="Dave", client=True)


def start(t, certificates=None, top=None, **settings):
    listener = {"address": t.address(),
                "tls": dict({"certificates": certificates or [t.site.conf()]}, **settings)}
    config = weir.one_origin(t.o.address, listeners=[listener],
                             client_certificate={"cert": True, "dn": True, "san": True})
    return t.start(dict(config, **(top or {})), admin=True)


def auth(t, mode="require", **more):
    return dict({"mode": mode, "ca": t.clients.cert}, **more)


def ask(w, path="/", cert=None, sni="localhost", host="localhost", fields=(), **more):
    with tls.Client(w.address, sni=sni, cert=cert, **more) as c:
        return c.get(path, fields, host=host)


def seen(t, path):
    return t.o.await_seen(path)[-1]


def test_required(t):
    t.not_in("onebyte", "an alert that does not leave at once is not waited for")
    w = start(t, client_auth=auth(t))
    assert ask(w, "/a", t.alice).status == 200
    why = tls.refused(w.address)
    assert "certificate required" in why.replace("_", " ").lower(), why
    stranger = t.ca.sign("stranger", ["x"], client=True)
    why = tls.refused(w.address, cert=stranger)
    assert "unknown ca" in why.replace("_", " ").lower(), why
    for code in ("client_certificate_missing", "client_certificate_invalid"):
        wire.await_true(code, lambda code=code: any(
            v for (n, labels), v in w.metrics().items()
            if n == "weir_faults_total" and ("reason", code) in labels))


def test_expired_and_revoked(t):
    t.not_in("onebyte", "an alert that does not leave at once is not waited for")
    old = t.clients.sign("old", ["old"], client=True, days=-1, start=-9)
    w = start(t, client_auth=auth(t, crl=t.clients.crl([t.bob])))
    assert ask(w, "/a", t.alice).status == 200
    assert "expired" in tls.refused(w.address, cert=old).lower()
    assert "revoked" in tls.refused(w.address, cert=t.bob).lower()


def test_verify_depth(t):
    """So many certificates may be between a client's and the authority's; one more is refused."""
    t.not_in("onebyte", "an alert that does not leave at once is not waited for")
    middle = t.clients.sign("middle", ca=True)
    lower = middle.sign("lower", ca=True)
    near, far = (ca.sign(n, [n], client=True) for ca, n in ((middle, "near"), (lower, "far")))
    for depth, good, bad in ((0, [t.alice], [near, far]), (1, [t.alice, near], [far]),
                             (None, [t.alice, near, far], [])):
        w = start(t, client_auth=auth(t, **({} if depth is None else {"verify_depth": depth})))
        for cert in good:
            assert ask(w, "/depth", cert).status == 200, (depth, cert.cert)
        for cert in bad:
            assert "alert" in tls.refused(w.address, cert=cert).lower(), (depth, cert.cert)


def test_requested(t):
    w = start(t, client_auth=auth(t, "request"))
    assert ask(w, "/none", None, fields=FORGED).status == 200
    told = seen(t, "/none")
    assert not [n for n, _ in told.fields if "client" in n.lower()], told
    assert "identity" not in w.line_for("/none")
    assert ask(w, "/some", t.alice).status == 200
    assert w.line_for("/some")["identity"] == "spiffe://example.org/ns/shop/alice"


def test_what_upstreams_are_told(t):
    w = start(t, client_auth=auth(t))
    assert ask(w, "/told", t.alice, fields=FORGED).status == 200
    told = seen(t, "/told")
    names = [n for n, _ in told.fields if "client" in n.lower()]
    assert sorted(names) == ["X-Client-Cert", "X-Client-DN", "X-Client-SAN"], told
    value = told.get("X-Client-Cert")
    assert value[0] == value[-1] == ":"
    der = t.alice.x509.public_bytes(tls.serialization.Encoding.DER)
    assert base64.b64decode(value[1:-1], validate=True) == der
    assert told.get("X-Client-DN") == "CN=Alice,O=Weir tests", told
    assert told.get("X-Client-SAN") == ("DNS:alice.internal, "
                                        "URI:spiffe://example.org/ns/shop/alice"), told


def test_identities(t):
    w = start(t, client_auth=auth(t), top={"request_headers": {"set": {"X-Who": "{identity}"}}})
    for cert, who in ((t.alice, "spiffe://example.org/ns/shop/alice"), (t.bob, "bob.internal"),
                      (t.mail, "carol@example.org"), (t.bare, "Dave")):
        assert ask(w, "/who", cert).status == 200
        assert seen(t, "/who").get("X-Who") == who
        w.await_access(lambda x, who=who: x.get("identity") == who)


def test_forged_without_tls(t):
    """Where nobody is asked for a certificate, nobody says that there was one."""
    w = t.simple(client_certificate={"dn": True})
    assert w.get("/plain", FORGED).status == 200
    assert not [n for n, _ in seen(t, "/plain").fields if "client" in n.lower()]
    with w.client() as c:
        c.send(b"POST /trailers HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
               b"X-Client-DN: CN=root\r\nX-Good: yes\r\n\r\n")
        assert c.response().status == 200
    req = seen(t, "/trailers")
    assert not req.trailers.has("X-Client-DN") and req.trailers.has("X-Good"), req.trailers


def told_of_clients(fields):
    return sorted(n.lower() for n, _ in fields if "client" in n.lower())


def h2(t, w, sni, cert=None):
    return H2(w.address, tls=tls.context(cert=cert, alpn=("h2",)), sni=sni)


def test_forged_by_http2(t):
    """In the head and behind the body, by who has a certificate and by who has none."""
    w = start(t, client_auth=auth(t, "request"))
    forged = [(n.lower(), v) for n, v in FORGED]
    for path, cert, want in (("/none", None, []),
                             ("/some", t.alice, ["x-client-cert", "x-client-dn", "x-client-san"])):
        with h2(t, w, "localhost", cert) as c:
            s = c.open(c.head("POST", path, forged, authority="localhost", scheme="https"), False)
            c.data(s, b"body")
            c.open(forged + [("x-good", "yes")], True, s)
            assert c.response(s).status == 200
        req = seen(t, path)
        assert told_of_clients(req.fields) == want, req
        assert not told_of_clients(req.trailers) and req.trailers.has("X-Good"), req.trailers
        if cert:
            assert req.get("X-Client-DN") == "CN=Alice,O=Weir tests", req


def test_forged_where_nobody_is_asked(t):
    """TLS without client_auth, by either protocol; a Connection option makes no difference."""
    w = start(t)
    assert ask(w, "/off", t.alice, fields=FORGED + [("Connection", "x-client-dn")]).status == 200
    assert not told_of_clients(seen(t, "/off").fields)
    with h2(t, w, "localhost", t.alice) as c:
        s = c.request(path="/off2", fields=[(n.lower(), v) for n, v in FORGED],
                      authority="localhost", scheme="https")
        assert c.response(s).status == 200
    assert not told_of_clients(seen(t, "/off2").fields)


def test_a_connection_option_hides_nothing(t):
    """A client cannot have its identity struck out as a field of its connection."""
    w = start(t, client_auth=auth(t))
    named = [("Connection", "X-Client-DN, X-Client-Cert, X-Client-SAN")]
    assert ask(w, "/named", t.alice, fields=named).status == 200
    want = ["x-client-cert", "x-client-dn", "x-client-san"]
    assert told_of_clients(seen(t, "/named").fields) == want


def test_allowed(t):
    def only(cert, status, **allow):
        w = start(t, client_auth=auth(t, allow=allow))
        r = ask(w, "/x", cert)
        assert r.status == status, (allow, r)
        if status == 403:
            assert r.code == "client_certificate_denied", r
            assert w.line_for("/x")["identity"]
    only(t.alice, 200, san=["alice.internal"])
    only(t.bob, 403, san=["alice.internal"])
    only(t.bob, 200, san=["*.internal"])
    only(t.mail, 200, san=["carol@example.org"])
    only(t.alice, 200, cn=["Bob", "Alice"])
    only(t.alice, 403, cn=["Bob"])
    only(t.alice, 200, spiffe=["spiffe://example.org/ns/shop/*"])
    only(t.alice, 403, spiffe=["spiffe://example.org/ns/shopping/*"])
    only(t.bob, 403, spiffe=["spiffe://example.org/ns/shop/*"])
    only(t.alice, 200, issuer=["clients"])
    only(t.alice, 200, issuer=["CN=clients,O=Weir tests"])
    only(t.alice, 403, issuer=["ca"])
    only(t.alice, 403, san=["alice.internal"], cn=["Bob"])  # each kind must match


def test_per_name(t):
    w = start(t, sni={"closed.example": {"client_auth": auth(t)},
                      "*.wild.example": {"client_auth": auth(t)}})
    assert ask(w, "/open", sni="open.example", host="open.example").status == 200
    assert ask(w, "/in", t.alice, sni="closed.example", host="closed.example").status == 200
    assert ask(w, "/in", t.alice, sni="closed.example", host="closed.example.").status == 200
    for sni in ("closed.example", "a.wild.example", "a.b.wild.example", "A.B.C.wild.example"):
        tls.refused(w.address, sni=sni)


def test_a_wildcard_is_that_of_routes(t):
    """What a route of *.wild.example takes, a rule of that name protects; the longest holds."""
    w = start(t, sni={"*.wild.example": {"client_auth": auth(t)},
                      "*.open.wild.example": {"client_auth": {"mode": "off"}}})
    for host in ("a.wild.example", "a.b.wild.example", "A.B.C.wild.example.:443",
                 "open.wild.example"):
        r = ask(w, "/deep", sni="localhost", host=host)
        assert r.status == 421 and r.code == "misdirected", (host, r)
        assert ask(w, "/in", t.alice, sni=host.split(":")[0].rstrip("."), host=host).status == 200
    for n in (240, 255, 300, 3000):
        r = ask(w, "/deep", sni="localhost", host="a" * n + ".wild.example")
        assert r.status in (400, 421), (n, r)
    assert not t.o.seen("/deep")
    assert ask(w, "/in", sni="a.b.open.wild.example", host="a.b.open.wild.example").status == 200
    assert ask(w, "/in", sni="wild.example", host="wild.example").status == 200


def test_names_that_nobody_asks_for(t):
    """A rule that would never hold is no rule: the configuration is refused."""
    for name in ("https://closed.example", "closed.example:443", "*", "*.*.x", "a*.x", "a b", ".x",
                 "[::1]", "x..y"):
        for tls_part in ({"certificates": [t.site.conf()], "sni": {name: {"client_auth": auth(t)}}},
                         {"certificates": [t.site.conf(names=[name])]}):
            path = t.make_dir("names") + "/weir.yaml"
            with open(path, "w") as f:
                json.dump(dict(weir.one_origin(t.o.address), listeners=[
                    {"address": t.address(), "tls": tls_part}]), f)
            code, _, said = t.run("check", path)
            assert code == 1 and '"%s" is no host name' % name in said, (name, said)
            assert "weir.yaml:1:" in said, said
    names = {n: {"client_auth": auth(t)} for n in ("closed.example", "Closed.example.", "*.x", "x")}
    with open(path, "w") as f:
        json.dump(dict(weir.one_origin(t.o.address), listeners=[
            {"address": t.address(), "tls": {"certificates": [t.site.conf()], "sni": names}}]), f)
    code, _, said = t.run("check", path)
    assert code == 1 and said.count("given twice") == 1 and "Closed.example." in said, said
    del names["closed.example"]
    w = start(t, sni=names)  # a dot at the end and capitals are no other name
    tls.refused(w.address, sni="closed.example")


def test_a_proof_is_for_one_name(t):
    w = start(t, sni={"closed.example": {"client_auth": auth(t)},
                      "*.wild.example": {"client_auth": auth(t)}})
    for sni, host, cert in (("open.example", "closed.example", None),
                            ("open.example", "CLOSED.example:443", None),
                            ("open.example", "closed.example.", None),
                            (None, "closed.example", None),
                            ("closed.example", "open.example", t.alice),
                            ("closed.example", "a.wild.example", t.alice),
                            ("a.wild.example", "b.wild.example", t.alice)):
        r = ask(w, "/elsewhere", cert, sni=sni, host=host)
        assert r.status == 421 and r.code == "misdirected", (sni, host, r)
    assert not t.o.seen("/elsewhere")
    with tls.Client(w.address, sni="open.example") as c:  # and on a kept connection
        assert c.get("/ok", host="open.example").status == 200
        assert c.get("/x", host="closed.example").status == 421
    r = ask(w, "/x", sni="open.example", host="closed.example", fields=[])
    assert r.status == 421
    with tls.Client(w.address, sni="open.example") as c:  # the target's host counts
        c.send(b"GET https://closed.example/x HTTP/1.1\r\nHost: open.example\r\n\r\n")
        assert c.response().status == 421


def test_streams_of_one_connection(t):
    """A browser puts requests for several names of one certificate on one HTTP/2 connection: each
    stream is judged by its own :authority, and the others go on."""
    w = start(t, sni={"closed.example": {"client_auth": auth(t)}})
    for sni, cert, good, bad in (("open.example", None, "open.example", "closed.example"),
                                 ("closed.example", t.alice, "closed.example", "open.example")):
        with h2(t, w, sni, cert) as c:
            for path, name, status in (("/own", good, 200), ("/elsewhere", bad, 421),
                                       ("/elsewhere", bad.upper() + ".:443", 421),
                                       ("/own", good, 200)):
                s = c.request(path=path, authority=name, scheme="https")
                assert c.response(s).status == status, (sni, name)
    assert not t.o.seen("/elsewhere")


def test_a_session_proves_nothing_elsewhere(t):
    """CVE-2025-23419: a session begun where nothing is asked, or by others' rules, is not resumed
    where a certificate is."""
    w = start(t, sni={"closed.example": {"client_auth": auth(t)}})
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = tls.context(low=version, high=version)
        with tls.Client(w.address, sni="open.example", with_context=c) as one:
            assert one.get("/", host="open.example").status == 200
            session = one.sock.session
        tls.refused(w.address, sni="closed.example", with_context=c, session=session)
        with tls.Client(w.address, sni="open.example", with_context=c, session=session) as two:
            assert two.get("/", host="open.example").status == 200
            assert two.sock.session_reused


def test_a_resumed_session_keeps_its_identity(t):
    w = start(t, client_auth=auth(t))
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        c = tls.context(cert=t.alice, low=version, high=version)
        with tls.Client(w.address, with_context=c) as one:
            assert one.get("/first", host="localhost").status == 200
            session = one.sock.session
        with tls.Client(w.address, with_context=c, session=session) as two:
            assert two.get("/again", host="localhost").status == 200
            assert two.sock.session_reused, version
        assert seen(t, "/again").get("X-Client-DN") == "CN=Alice,O=Weir tests"
        assert w.line_for("/again")["identity"] == "spiffe://example.org/ns/shop/alice"


def test_changed_rules_end_sessions(t):
    t.not_in("onebyte", "an alert that does not leave at once is not waited for")
    """A new list of revoked certificates holds for who would resume, too."""
    w = start(t, client_auth=auth(t, crl=t.clients.crl()))
    c = tls.context(cert=t.bob, high=ssl.TLSVersion.TLSv1_2)
    with tls.Client(w.address, with_context=c) as one:
        assert one.get("/", host="localhost").status == 200
        session = one.sock.session
    t.clients.crl([t.bob])
    wire.await_true("the list in use", lambda: "tls.loaded" in w.log())
    assert "revoked" in tls.refused(w.address, with_context=c, session=session).lower()


def test_changed_rules_end_connections(t):
    """Who was let in without a certificate, or by one that is revoked now, is not served on by a
    connection that stays open: by a reload, and by a changed file."""
    w = start(t)
    address = w.address
    strict = [{"address": address, "tls": {"certificates": [t.site.conf()],
                                           "client_auth": auth(t, crl=t.clients.crl())}}]
    with tls.Client(address) as one, h2(t, w, "localhost") as two:
        assert one.get("/a", host="localhost").status == 200
        s = two.request(path="/a", authority="localhost", scheme="https")
        assert two.response(s).status == 200
        w.reload(w.with_config(listeners=strict))
        last = []

        def asked():
            last[:] = [one.get("/a", host="localhost")]
            return last[0].status == 421
        wire.await_true("the rules in use", asked)
        assert last[0].get("connection") == "close", last
        assert one.stream.rest() == b""
        s = two.request(path="/strict", authority="localhost", scheme="https")
        assert two.response(s).status == 421
        two.until("GOAWAY", lambda: two.goaway)
    assert not t.o.seen("/strict")
    with tls.Client(address, cert=t.bob) as bob, tls.Client(address, cert=t.alice) as alice:
        assert bob.get("/b", host="localhost").status == 200
        assert alice.get("/b", host="localhost").status == 200
        w.reload(w.with_config(access_log={"path": t.dir + "/other.log"}), lambda: (
            w.log().count("config.loaded") == 2))
        assert bob.get("/b", host="localhost").status == 200, "what did not change goes on"
        t.clients.crl([t.bob])
        wire.await_true("the list in use", lambda: "tls.loaded" in w.log())
        assert bob.get("/revoked", host="localhost").status == 421
        assert alice.get("/again", host="localhost").status == 421, "she proves herself again"
    assert ask(w, "/again", t.alice).status == 200
    assert not t.o.seen("/revoked")


def test_needs_an_authority(t):
    code, _, err = t.run("check", write(t, "client_auth: {mode: require}"))
    assert code == 1 and "mode needs ca" in err, err
    code, _, err = t.run("check", write(t, "client_auth: {mode: require, ca: /nowhere.pem}"))
    assert code == 1 and "w.yaml:5:40: " in err, err


def write(t, line):
    path = t.make_dir("conf") + "/w.yaml"
    with open(path, "w") as f:
        f.write("listeners:\n  - address: 127.0.0.1:1\n    tls:\n      certificates: "
                "[{cert: %s, key: %s}]\n      %s\n" % (t.site.cert, t.site.key, line)
                + "upstreams: {o: {endpoints: [127.0.0.1:1]}}\nroutes: [{match: /*, to: o}]\n")
    return path


__all__ = ["client"]

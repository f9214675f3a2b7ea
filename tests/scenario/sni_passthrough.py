# SPDX-License-Identifier: Apache-2.0
"""Connections that are passed through by the name that their client asks for: TLS from end to end,
not a byte of it changed."""

import hashlib
import os
import signal
import ssl
import struct
import subprocess
import threading

import yaml

from peers import client
from peers import proxy_header as ph
from peers import tls, wire
from peers.programs import nginx

REAL = {"onebyte": "real programs, byte by byte, take too long",
        "doors": "real programs hide what was refused"}
# A client that closes before it has read all of the server's tickets resets its connection.
ALERT = b"\x15\3\1\0\2\2"  # the record of a fatal alert, without its description
CLOSED = ("ok", "client_gone")


def begin(t):
    t.ca = tls.authority(t)
    t.names = ("one.example", "two.example", "deep.wild.example", "plain.example")
    t.cert = t.ca.sign("server", t.names + ("*.wild.example", "weir.example", "h2.example"))
    t.mine = t.ca.sign("client", ("client.example",), client=True)
    t.one = tls.Origin(t.address(), t.cert, "one", ca=t.ca)
    t.two = tls.Origin(t.address(), t.cert, "two")
    t.origins += [t.one, t.two]


def config(t, routes, upstreams=None, listener=None, **more):
    ups = {"one": {"endpoints": [{"address": t.one.address}]},
           "two": {"endpoints": [{"address": t.two.address}]}}
    ups.update(upstreams or {})
    listener = dict({"address": t.address(), "mode": "passthrough"}, **(listener or {}))
    return dict({"upstreams": ups, "routes": routes, "listeners": [listener]}, **more)


def to(name, upstream, **more):
    return dict({"match": dict({"sni": name} if name else {}, **more.pop("match", {})),
                 "to": upstream, "passthrough": True}, **more)


def hello(sni="one.example", alpn=(), high=None):
    """A ClientHello's bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    c = tls.context(alpn=alpn, high=high).wrap_bio(incoming, outgoing, server_hostname=sni)
    try:
        c.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def in_records(raw, size):
    """The same hello in records of size bytes."""
    message = raw[5:]
    return b"".join(b"\x16\3\1" + struct.pack("!H", len(message[i:i + size])) + message[i:i + size]
                    for i in range(0, len(message), size))


def rest(c):
    """All that comes; an alert that tells of an internal error counts as a refusal."""
    got = c.stream.rest()
    if got == ALERT + b"\x50":
        wire.Refusals.note()
    return got


def refused(w, sent, reason, alert=None, shut=False, step=None):
    """What was sent is answered by that alert or nothing, and the log says why."""
    before = len([x for x in w.access() if x["reason"] == reason])
    with w.client() as c:
        c.send(sent, step)
        if shut:
            c.shut()
        got = rest(c)
        want = b"" if alert is None else ALERT + bytes([alert])
        if want and not got:
            wire.Refusals.note()
        assert got == want, (reason, got)
    return w.await_access(lambda x: x["reason"] == reason, before + 1)[-1]


def test_mutual_tls(t):
    """The client and the endpoint see each other's certificates; Weir sees names alone."""
    w = t.start(config(t, [to("one.example", "one"), to("two.example", "two"),
                           to("*.wild.example", "two")]))
    context = tls.context(t.ca, t.mine)
    t.one.on("/who", lambda conn, req: conn.reply(
        200, [], str(conn.sock.getpeercert()["subjectAltName"]).encode()))
    with tls.Client(w.address, "one.example", context) as c:
        assert b"client.example" in c.get("/who").body
        assert c.get("/a").body == b"one GET /a\n"
        body = os.urandom(t.bulk(300000))
        r = c.ask("POST", "/b", body=body)
        assert r.body == b"one POST /b\n" + body
    assert "served" not in tls.refused(w.address, sni="one.example", ca=t.ca), "no certificate"
    for name in ("two.example", "deep.wild.example", "TWO.example", "two.example."):
        trust = None if name.endswith(".") else t.ca  # ssl compares names with their dots
        with tls.Client(w.address, name, tls.context(trust)) as c:
            assert c.get("/t").body == b"two GET /t\n"
    line = w.await_access(lambda x: x.get("sni") == "one.example" and
                          x["bytes_out"] > len(body))[0]
    assert line["reason"] in CLOSED, line
    assert line["upstream"] == "one" and line["endpoint"] == t.one.address, line
    assert line["status"] == 0 and line["protocol"] == "tls" and "method" not in line, line
    assert line["bytes_in"] > len(body) and line["bytes_out"] > len(body), line


def test_large_both_ways(t):
    """By splice, with both directions full at once, and half-closed."""
    n = t.bulk(20000000)

    def echo(conn):
        while True:
            got = conn.stream.some()
            if not got:
                break
            conn.send(got)
        conn.shut()
    o = t.origin("echo", raw=echo)
    w = t.start(config(t, [to("one.example", "echo")],
                       {"echo": {"endpoints": [{"address": o.address}]}}), admin=True)
    data = hello() + os.urandom(n)
    with w.client() as c:
        sender = threading.Thread(target=lambda: (c.send(data), c.shut()))
        sender.start()
        got = c.stream.rest()
        sender.join()
    assert len(got) == len(data) and hashlib.sha256(got).digest() == hashlib.sha256(data).digest()
    line = w.await_access(lambda x: x.get("sni") == "one.example")[-1]
    assert line["reason"] == "ok" and line["bytes_in"] == line["bytes_out"] == len(data), line
    figures = {name: v for (name, labels), v in w.metrics().items() if not labels}
    assert w.metrics().value("weir_upstream_connections_evicted_total", reason="not_kept") == 1
    assert figures["weir_tunnels_open"] == 0 and figures["weir_tunnels_total"] == 1
    if t.variant == "plain":
        assert figures["weir_spliced_bytes_total"] > n, figures["weir_spliced_bytes_total"]


def test_half_close(t):
    """Each side may end first; the other goes on."""
    def late(conn):
        conn.stream.exactly(len(hello()))
        conn.shut()
        assert conn.stream.rest() == b"more"
        conn.origin.late = True
        conn.close()
    o = t.origin("late", raw=late)
    w = t.start(config(t, [to(None, "late")], {"late": {"endpoints": [{"address": o.address}]}}))
    with w.client() as c:
        c.send(hello())
        assert rest(c) == b""
        c.send(b"more")
        c.shut()
        wire.await_true("the endpoint read on", lambda: getattr(o, "late", False))
    w.await_access(lambda x: x["reason"] == "ok")


def test_half_close_while_waiting(t):
    """A client that has said all that it will is served when its turn has come."""
    t.not_in("doors", "who waits in turn for a connection that was refused waits for good")
    turns = []

    def echo(conn):
        turns.append(conn)
        conn.send(conn.stream.rest())
        conn.shut()
    o = t.origin("turns", raw=echo)
    w = t.start(config(t, [to(None, "turns")],
                       {"turns": {"endpoints": [{"address": o.address}],
                                  "pool": {"max_connections": 1}}},
                       timeouts={"pool_wait": "60s"}), admin=True)
    with w.client() as first, w.client() as second:
        first.send(hello())
        wire.await_true("it has the connection", lambda: turns)
        second.send(hello() + b"more")
        second.shut()
        wire.await_true("it waits, and its end was seen", lambda: w.metrics().value(
            "weir_upstream_requests_waiting") == 1)
        first.shut()
        assert rest(first) and rest(second).endswith(b"more")
    w.await_access(lambda x: x["reason"] == "ok")


def test_fragments(t):
    """A hello in segments of a byte, and in records of any size."""
    w = t.start(config(t, [to("one.example", "echo"), to("two.example", "two")],
                       {"echo": {"endpoints": [{"address": greeter(t).address}]}}))
    raw = hello()
    for record in (16384, 100, 5, 1):
        sent = in_records(raw, record)
        for step in (1, 1000, None):
            if step == 1 and len(sent) > 2000:
                continue
            with w.client() as c:
                c.send(sent, step)
                assert c.stream.exactly(len(sent)) == sent, (record, step)
    bio_client(t, w, "two.example", 1)


def greeter(t):
    """An origin that sends back what comes."""
    def echo(conn):
        while conn.send(conn.stream.some() or b"") and not conn.stream.eof:
            pass
    return t.origin("echo", raw=echo)


def bio_client(t, w, name, step):
    """A whole TLS exchange in segments of step bytes."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    s = tls.context(t.ca).wrap_bio(incoming, outgoing, server_hostname=name)
    with w.client() as c:
        def pump(do):
            while True:
                try:
                    result = do()
                    c.send(outgoing.read(), step)
                    return result
                except ssl.SSLWantReadError:
                    c.send(outgoing.read(), step)
                    incoming.write(c.stream.some())
        pump(s.do_handshake)
        s.write(b"GET /bio HTTP/1.1\r\nHost: two.example\r\n\r\n")
        c.send(outgoing.read(), step)
        got = b""
        while b"two GET /bio" not in got:
            got += pump(lambda: s.read(1000))


def test_alpn_chooses(t):
    w = t.start(config(t, [to("h2.example", "one", match={"alpn": ["h2", "mqtt"]}),
                           to("h2.example", "two")]))
    for alpn, name in ((("h2", "http/1.1"), "one"), (("http/1.1",), "two"), ((), "two"),
                       (("x", "mqtt"), "one")):
        context = tls.context(t.ca, t.mine, alpn=alpn)
        with tls.Client(w.address, "h2.example", context) as c:
            assert c.get("/alpn").body == b"%s GET /alpn\n" % name.encode()


def test_refusals(t):
    w = t.start(config(t, [to("one.example", "one")], timeouts={"client_head": "10s"}))
    line = refused(w, hello("other.example"), "sni_unknown", 112)
    assert line["sni"] == "other.example" and line["route"] == "_none", line
    refused(w, hello("sub.one.example"), "sni_unknown", 112)
    refused(w, hello(None), "sni_missing", 109)
    refused(w, b"GET / HTTP/1.1\r\nHost: one.example\r\n\r\n", "not_tls")
    refused(w, b"\x80\x2e\x01\x03\x01", "not_tls")
    refused(w, b"\x00", "not_tls")
    refused(w, b"\x16\x03\x01\x00\x04\x02\x00\x00\x00", "client_hello_invalid", 50)
    for other in b"/\0:":
        refused(w, hello().replace(b"one.example", b"one%cexample" % other),
                "client_hello_invalid", 50)
    refused(w, hello("192.0.2.1"), "sni_missing", 109)  # ssl never names an address
    refused(w, hello()[:60], "client_hello_invalid", 50, shut=True)
    big = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + b"\3\3" + bytes(70000)
    refused(w, big, "client_hello_too_large", 50)
    many = in_records(b"\x16\3\1\0\0\1\0\x1f\xff" + bytes(8191), 1)
    refused(w, many, "client_hello_too_large", 50)
    with w.client() as c:  # comes and goes, as health checks do
        c.shut()
        assert c.stream.rest() == b""
    assert not [x for x in w.access() if x["reason"] == "ok"]


def test_slow_hello(t):
    t.not_in("doors", "what is refused for memory leaves no line")
    w = t.start(config(t, [to("one.example", "one")], timeouts={"client_head": "300ms"}))
    refused(w, b"", "client_hello_timeout")
    refused(w, hello()[:100], "client_hello_timeout")


def test_refused_endpoint(t):
    """The next endpoint is tried; when there is none the client is told by an alert."""
    gone = t.address()
    w = t.start(config(t, [to("two.example", "some"), to("one.example", "none")],
                       {"some": {"endpoints": [{"address": gone}, {"address": t.two.address}]},
                        "none": {"endpoints": [{"address": gone}]}}))
    for _ in range(4):
        with tls.Client(w.address, "two.example", tls.context(t.ca)) as c:
            assert c.get("/second").status == 200
    lines = w.await_access(lambda x: x.get("upstream") == "some" and x["reason"] in CLOSED, 4)
    assert 2 in {x["attempts"] for x in lines}, lines
    line = refused(w, hello(), "connect_refused_by_endpoint", 80)
    assert line["endpoint"] == gone, line


def test_shared_upstream(t):
    """A connection that has carried requests is not given to a tunnel."""
    def either(conn):
        if conn.stream.exactly(1) == b"\x16":
            conn.send(b"tunnel")
            conn.stream.rest()
            return
        conn.stream.buf = b"G" + conn.stream.buf
        while conn.open and conn.origin.serve_one(conn):
            pass
    o = t.origin("both", raw=either)
    w = t.start({"upstreams": {"both": {"endpoints": [o.address]}},
                 "routes": [to("one.example", "both"), {"match": "/*", "to": "both"}],
                 "listeners": [{"address": t.address(), "mode": "passthrough"},
                               {"address": t.address()}]})
    with w.client(1) as c:
        assert c.get("/request").status == 200
        with w.client() as other:
            other.send(hello())
            assert other.stream.exactly(6) == b"tunnel"
        assert c.get("/again").status == 200
    assert len(o.connections) >= 2


def test_breaker(t):
    """A tunnel tells the breaker when it begins, not when it ends: probes are not held up."""
    t.not_in("doors", "what is refused for memory opens no breaker")
    address = t.address()
    w = t.start(config(t, [to("one.example", "late")],
                       {"late": {"endpoints": [address], "ejection": False,
                                 "breaker": {"minimum_calls": 3, "open": "1s", "probes": 2}}}))
    for _ in range(3):
        refused(w, hello(), "connect_refused_by_endpoint", 80)

    def refuses():
        """It may have been time for a probe, after which the breaker is open again."""
        with w.client() as c:
            c.send(hello())
            assert rest(c) == ALERT + b"\x50"
        return [x for x in w.access() if x["reason"] == "breaker_open"]
    wire.await_true("the breaker is open", refuses)

    def echo(conn):
        conn.send(conn.stream.some())
        conn.stream.rest()
    t.origin("late", address, raw=echo)
    held = []

    def passes():
        c = w.client()
        held.append(c)
        c.send(hello())
        return c.stream.exactly(1) == hello()[:1]
    for _ in range(4):
        wire.await_true("a connection that is let through", passes)
    wire.await_true("the breaker closes", lambda: "breaker.closed" in w.log())
    for c in held:
        c.close()


def test_broken_endpoint(t):
    """An endpoint that resets its connection: the client's breaks too."""
    def broken(conn):
        conn.stream.exactly(100)
        conn.send(b"some")
        conn.reset()
    o = t.origin("broken", raw=broken)
    w = t.start(config(t, [to(None, "broken")],
                       {"broken": {"endpoints": [{"address": o.address}]}}))
    with w.client() as c:
        c.send(hello())
        rest(c)
        assert c.stream.was_reset or t.variant == "doors"
    w.await_access(lambda x: x["reason"] not in ("ok", "memory_limit"))


def test_idle(t):
    w = t.start(config(t, [to("two.example", "two", timeouts={"tunnel_idle": "3s"})]))
    with tls.Client(w.address, "two.example", tls.context(t.ca)) as c:
        assert c.get("/idle").status == 200
        wire.await_true("the end of an idle tunnel", lambda: not c.stream.fill())
    w.await_access(lambda x: x["reason"] == "tunnel_idle_timeout")


def test_reload_and_stop(t):
    """A tunnel outlives its route; a stop waits for it."""
    w = t.start(config(t, [to("two.example", "two")], drain="60s"))
    with tls.Client(w.address, "two.example", tls.context(t.ca)) as c:
        assert c.get("/before").status == 200

        def moved():
            with w.client() as other:
                other.send(hello("two.example"))
                other.shut()
                return other.stream.rest()[-1:] == bytes([112])
        w.reload(w.with_config(routes=[to("other.example", "one")]), moved)
        assert c.get("/after").status == 200
        os.kill(w.pid, signal.SIGTERM)
        wire.await_true("new connections are refused", lambda: client.nobody_listens(w.address))
        assert c.get("/while").status == 200
    w.wait()
    lines = [x for x in w.access() if x.get("sni") == "two.example"]
    assert lines[-1]["reason"] in CLOSED, lines


def test_stop_at_the_limit(t):
    """A stop waits for a tunnel as long as it may, and no longer."""
    w = t.start(config(t, [to("two.example", "two")], drain="300ms"))
    with tls.Client(w.address, "two.example", tls.context(t.ca)) as c:
        assert c.get("/before").status == 200
        os.kill(w.pid, signal.SIGTERM)
        wire.await_true("the end of the drain", lambda: not c.stream.fill())
        w.wait()
    lines = [x for x in w.access() if x.get("sni") == "two.example"]
    assert lines[-1]["reason"] == "shutdown", lines


def test_stop_before_the_hello(t):
    """A stop ends at once who has said nothing, and serves who has begun to."""
    w = t.start(config(t, [to(None, "echo")],
                       {"echo": {"endpoints": [{"address": greeter(t).address}]}}, drain="60s"))
    raw = hello()
    with w.client() as silent, w.client() as begun, w.client() as other:
        begun.send(raw[:50])
        other.send(raw)
        assert other.stream.exactly(len(raw)) == raw
        os.kill(w.pid, signal.SIGTERM)
        assert silent.stream.rest() == b""
        begun.send(raw[50:])
        assert begun.stream.exactly(len(raw)) == raw
        other.send(b"more")
        assert other.stream.exactly(4) == b"more"
    w.wait()


def test_proxy_protocol(t):
    """The endpoint learns whose connection it is, and by which name; from a balancer, too."""
    def with_header(conn):
        conn.header = ph.read(conn.stream)
        conn.send(conn.stream.some())
        conn.origin.changed_header = conn.header
    o = t.origin("announced", raw=with_header)
    for rules in ({}, {"proxy_protocol": {"mode": "require"}}):
        w = t.start(config(t, [to("one.example", "announced")],
                           {"announced": {"endpoints": [{"address": o.address}],
                                          "proxy_protocol": "v2"}}, rules))
        with w.client() as c:
            source = c.sock.getsockname()
            if rules:
                source = ("192.0.2.5", 5)
                c.send(ph.v2(*source))
            c.send(hello())
            first = c.stream.exactly(1)
            if first == ALERT[:1]:
                wire.Refusals.note()
            assert first == b"\x16"
        h = o.connections[-1].header
        assert h.source == source and h.tlvs[ph.AUTHORITY] == b"one.example", h.tlvs
        if rules:
            refused(w, hello(), "proxy_protocol_missing")
        w.stop()


def test_mixed(t):
    """One listener that passes some names on and answers for the others itself."""
    o = t.origin("mine")
    w = t.start(config(t, [to("two.example", "two"), {"match": {"path": "/*"}, "to": "mine"},
                           {"match": {"sni": "weir.example", "path": "/only"}, "to": "mine",
                            "rewrite": {"add_prefix": "/named"}}],
                       {"mine": {"endpoints": [{"address": o.address}]}},
                       {"tls": {"certificates": [t.cert.conf()]}}))
    context = tls.context(t.ca)
    for _ in range(2):
        with tls.Client(w.address, "two.example", context) as c:
            assert c.get("/passed").body == b"two GET /passed\n"
        with tls.Client(w.address, "weir.example", context) as c:
            assert c.get("/ended").body == b"mine GET /ended\n"
            assert c.get("/only").body == b"mine GET /named/only\n"
        with tls.Client(w.address, "WEIR.example.", tls.context()) as c:  # the same name
            assert c.get("/only").body == b"mine GET /named/only\n"
        with tls.Client(w.address, "plain.example", context) as c:
            assert c.get("/only").body == b"mine GET /only\n"
            r = c.get("/for-two", host="two.example")
            assert r.status == 421 and r.code == "misdirected", r
        with tls.Client(w.address, None, tls.context()) as c:
            assert c.get("/no-name").body == b"mine GET /no-name\n"
    assert w.line_for("/ended")["protocol"] == "HTTP/1.1"
    assert not [x for x in w.access() if x["reason"].startswith("sni")]


def test_wrong_configuration(t):
    cases = {
        "match has conditions on requests": [to("a.example", "one", match={"path": "/x"})],
        "it needs": [{"match": {"sni": "a.example"}, "passthrough": True,
                      "redirect": {"to": "/x"}}],
        "keys about requests": [to("a.example", "one", response_headers={"set": {"A": "b"}})],
        "rewrite changes requests": [to("a.example", "one", rewrite={"strip_prefix": "/a"})],
        "match.alpn is of passthrough": [to("a.example", "one"),
                                         {"match": {"alpn": ["h2"]}, "to": "one"}],
        "no route takes any": [{"match": {"path": "/*"}, "to": "one"}],
        "upstream cannot have tls": [to("a.example", "secure")],
        "cannot have tls or protocol": [to("a.example", "h2")],
        "sni is a host name": [to("a.example:443", "one")],
        "give": [{"match": {"sni": "a.example"}, "passthrough": True}],
    }
    for text, routes in cases.items():
        path = os.path.join(t.dir, "wrong.yaml")
        with open(path, "w") as f:
            yaml.safe_dump(config(t, routes, {"secure": {"endpoints": ["127.0.0.1:9"],
                                                         "tls": {}},
                                              "h2": {"endpoints": ["127.0.0.1:9"],
                                                     "protocol": "h2"}}), f)
        code, out, err = t.run("check", path)
        assert code != 0 and text in out + err, (text, out + err)
    for text, listener in (("no listener has mode: passthrough", {"mode": "http"}),
                           ("h2c and redirect_https have no effect", {"h2c": True})):
        with open(path, "w") as f:
            yaml.safe_dump(config(t, [to("a.example", "one")], listener=listener), f)
        code, out, err = t.run("check", path)
        assert code != 0 and text in out + err, out + err


def test_real_programs(t):
    """curl and openssl s_client to nginx, which asks for their certificates."""
    for variant, reason in REAL.items():
        t.not_in(variant, reason)
    listen = t.address()
    nginx(t, "server { listen %s ssl; ssl_certificate %s; ssl_certificate_key %s; "
          "ssl_client_certificate %s; ssl_verify_client on; location / { return 200 "
          "'$ssl_client_s_dn $ssl_server_name'; } }" % (listen, t.cert.cert, t.cert.key, t.ca.cert),
          listen)
    w = t.start(config(t, [to("one.example", "nginx")],
                       {"nginx": {"endpoints": [{"address": listen}]}}))
    host, port = w.address.rsplit(":", 1)
    done = subprocess.run([t.needs("curl"), "-sS", "-m", "60", "--cacert", t.ca.cert, "--cert",
                           t.mine.cert, "--key", t.mine.key, "--resolve",
                           "one.example:%s:%s" % (port, host), "https://one.example:%s/" % port],
                          capture_output=True, text=True)
    assert "CN=client" in done.stdout and "one.example" in done.stdout, done
    done = subprocess.run([t.needs("openssl"), "s_client", "-connect", w.address, "-servername",
                           "one.example", "-CAfile", t.ca.cert, "-verify_return_error", "-cert",
                           t.mine.cert, "-key", t.mine.key, "-quiet"],
                          input="GET / HTTP/1.0\r\n\r\n", capture_output=True, text=True)
    assert "CN=client" in done.stdout, done
    done = subprocess.run([t.needs("openssl"), "s_client", "-connect", w.address, "-servername",
                           "other.example"], input="", capture_output=True, text=True)
    assert "unrecognized name" in done.stderr, done.stderr
    done = subprocess.run([t.needs("openssl"), "s_client", "-connect", w.address, "-noservername"],
                          input="", capture_output=True, text=True)
    assert "missing extension" in done.stderr, done.stderr

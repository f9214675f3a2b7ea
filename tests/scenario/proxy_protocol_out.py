# SPDX-License-Identifier: Apache-2.0
"""Weir tells the endpoint whose connection it is: PROXY protocol, both versions."""

from peers import client, tls, wire
from peers import proxy_header as ph
from peers.h2_origin import H2Origin
from peers.programs import haproxy, nginx

GET = "GET %s HTTP/1.1\r\nHost: test.example\r\n\r\n"


def begin(t, version="v2", pool=None, listener=None, **more):
    o = t.origin(raw=ph.serve)
    up = {"endpoints": [{"address": o.address}], "proxy_protocol": version}
    if pool:
        up["pool"] = pool
    listener = dict({"address": t.address()}, **(listener or {}))
    w = t.start({"upstreams": {"o": up}, "routes": [{"match": {"path": "/*"}, "to": "o"}],
                 "listeners": [listener], **more})
    return o, w


def header_of(o, path):
    """The header of the connection on which path was asked for."""
    return o.await_seen(path)[-1].conn.header


def test_both_versions(t):
    for version in ("v1", "v2"):
        o, w = begin(t, version)
        with w.client() as c:
            mine = c.sock.getsockname()
            assert c.get("/a").status == 200
        h = header_of(o, "/a")
        assert h.source == mine, (h.source, mine)
        assert "%s:%d" % h.destination == w.address, h.destination
        assert h.raw.startswith(b"PROXY TCP4 " if version == "v1" else ph.SIGNATURE)
        if version == "v2":
            assert set(h.tlvs) == {ph.CRC32C}


def test_one_client_a_connection(t):
    """A connection that announced a client is kept for that client alone."""
    o, w = begin(t)
    with w.client() as a, w.client() as b:
        for i in range(3):
            assert a.get("/a%d" % i).status == 200
            assert b.get("/b%d" % i).status == 200
        assert len(o.connections) == 2
        sources = {o.seen("/%s%d" % (n, i))[0].conn.header.source for n in "ab" for i in range(3)}
        assert sources == {a.sock.getsockname(), b.sock.getsockname()}
        for n, c in (("a", a), ("b", b)):
            for i in range(3):
                assert header_of(o, "/%s%d" % (n, i)).source == c.sock.getsockname()
    with w.client() as c:
        assert c.get("/c").status == 200
        assert header_of(o, "/c").source == c.sock.getsockname()
    assert len(o.connections) == 3


def test_limits_of_the_pool(t):
    """At max_connections the idle connection of another client makes room; at max_idle too."""
    o, w = begin(t, pool={"max_connections": 1})
    with w.client() as a, w.client() as b:
        for i in range(4):
            for n, c in (("a", a), ("b", b)):
                assert c.get("/%s%d" % (n, i)).status == 200
                assert header_of(o, "/%s%d" % (n, i)).source == c.sock.getsockname()


def test_waiting_at_the_limit(t):
    """Requests that wait for the one connection get one of their own, in turn."""
    import threading
    o, w = begin(t, pool={"max_connections": 1})
    gate = threading.Event()

    def slow(conn, req):
        gate.wait(wire.patience())
        conn.reply(200, [], b"slow")
    o.on("/slow", slow)
    with w.client() as a, w.client() as b, w.client() as c:
        a.request("GET", "/slow")
        o.await_seen("/slow")
        b.request("GET", "/b")
        c.request("GET", "/c")
        gate.set()
        for one in (a, b, c):
            assert one.response().status == 200
        for path, one in (("/b", b), ("/c", c)):
            assert header_of(o, path).source == one.sock.getsockname()


def test_several_workers(t):
    """At a limit that is exact over all workers nobody is given another client's connection."""
    import threading
    o, w = begin(t, pool={"max_connections": 2, "max_waiting": 100}, workers=3,
                 timeouts={"pool_wait": "60s"})
    wrong = []

    def client_of_its_own(n):
        try:
            with w.client() as c:
                for i in range(5):
                    path = "/w%d-%d" % (n, i)
                    status = c.get(path).status
                    source = header_of(o, path).source
                    if status != 200 or source != c.sock.getsockname():
                        wrong.append((path, status, source))
        except Exception as e:  # told to the test, which is another thread
            wrong.append(e)
    threads = [threading.Thread(target=client_of_its_own, args=(n,)) for n in range(8)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    if t.variant == "doors" and wrong:
        wire.Refusals.note()
    assert not wrong, wrong[:5]


def test_trusted_proxies(t):
    """What is announced is client_ip, as in the log; its port is known of the peer itself only."""
    o, w = begin(t, trusted_proxies=["127.0.0.0/8"])
    with w.client() as c:
        assert c.get("/x", [("X-Forwarded-For", "203.0.113.9")]).status == 200
        assert header_of(o, "/x").source == ("203.0.113.9", 0)
        assert c.get("/y", [("X-Forwarded-For", "2001:db8::9")]).status == 200
        assert header_of(o, "/y").source == ("2001:db8::9", 0)
        assert c.get("/z").status == 200
        assert header_of(o, "/z").source == c.sock.getsockname()
    assert len(o.connections) == 3


def test_passed_on(t):
    """What a balancer's header told is told on, TLVs too."""
    rules = {"proxy_protocol": {"mode": "require"}}
    tlvs = (ph.tlv(ph.AUTHORITY, b"shop.example") + ph.tlv(ph.ALPN, b"h2") +
            ph.tlv(ph.UNIQUE_ID, b"\x00\xffid") + ph.ssl(b"TLSv1.3"))
    for version in ("v1", "v2"):
        o, w = begin(t, version, listener=rules)
        with w.client() as c:
            c.send(ph.v2("192.0.2.8", 999, "192.0.2.200", 8443, tlvs))
            c.send(GET % "/p")
            assert c.response().status == 200
        h = header_of(o, "/p")
        assert h.source == ("192.0.2.8", 999) and h.destination == ("192.0.2.200", 8443)
        if version == "v2":
            assert h.tlvs[ph.AUTHORITY] == b"shop.example" and h.tlvs[ph.ALPN] == b"h2"
            assert h.tlvs[ph.UNIQUE_ID] == b"\x00\xffid"
            assert ph.tlv(ph.SSL, h.tlvs[ph.SSL]) == ph.ssl(b"TLSv1.3")
        with w.client() as c:
            c.send(ph.local() + (GET % "/l").encode())
            mine = c.sock.getsockname()
            assert c.response().status == 200
        assert header_of(o, "/l").source == mine


def test_unix(t):
    """A client on a unix socket has no address: the header speaks for Weir alone. An endpoint on
    one gets it as any other."""
    address = t.unix()
    for version in ("v1", "v2"):
        o = t.origin(address=t.unix(), raw=ph.serve)
        w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}],
                                         "proxy_protocol": version}},
                     "listeners": [{"address": address}, {"address": t.address()}]})
        with client.Client(address) as c:
            assert c.get("/unix").status == 200
        assert header_of(o, "/unix").source is None
        with w.client(1) as c:
            assert c.get("/tcp").status == 200
            assert header_of(o, "/tcp").source == c.sock.getsockname()
        w.stop()


class SecureOrigin(tls.Origin):
    """An origin over TLS whose connections begin with a header in clear."""

    def serve(self, conn):
        try:
            conn.sock.settimeout(wire.patience())
            conn.header = ph.read(ph.Unbuffered(conn.sock))
        except OSError:
            conn.ended.set()
            conn.close()
            return
        super().serve(conn)


def test_tls(t):
    """The header comes before the TLS of either side, and tells of the client's."""
    ca = tls.authority(t)
    cert = ca.sign("both", ("front.example", "back.example"))
    o = SecureOrigin(t.address(), cert)
    t.origins.append(o)
    for version in ("v1", "v2"):
        w = t.start({"upstreams": {"o": {"endpoints": [{"address": o.address}],
                                         "proxy_protocol": version,
                                         "tls": {"ca": ca.cert, "sni": "back.example"}}},
                     "listeners": [{"address": t.address(), "proxy_protocol": "require",
                                    "tls": {"certificates": [cert.conf()]}}]})
        sock = wire.connect(w.address)
        sock.sendall(ph.v2("192.0.2.77", 77))
        c = client.Client.__new__(client.Client)
        try:
            c.sock = tls.context(ca).wrap_socket(sock, server_hostname="front.example")
        except OSError:
            wire.Refusals.note()
            raise
        c.stream = wire.Stream(c.sock)
        with c:
            for i in range(2):
                assert c.get("/%s-%d" % (version, i)).status == 200
        h = header_of(o, "/%s-1" % version)
        assert h.source == ("192.0.2.77", 77)
        if version == "v2":
            assert h.tlvs[ph.AUTHORITY] == b"front.example"
            assert h.tlvs[ph.SSL][:5] == b"\1\0\0\0\1" and b"TLSv1.3" in h.tlvs[ph.SSL]
        w.stop()


class AnnouncedH2Origin(H2Origin):
    """An HTTP/2 origin whose connections begin with a header."""

    def __init__(self, address):
        self.headers = {}  # by file descriptor
        super().__init__(address)

    def begin(self, sock):
        try:
            sock.settimeout(wire.patience())
            header = ph.read(ph.Unbuffered(sock))
        except OSError:
            sock.close()
            return
        with self.lock:
            self.headers[sock.fileno()] = header
        super().begin(sock)

    def header_of(self, path):
        return self.headers[self.await_seen(path)[0].conn.sock.fileno()]


def test_http2(t):
    """Streams of several clients never share a connection that announced one of them."""
    o = AnnouncedH2Origin(t.address())
    t.origins.append(o)
    w = t.start({"upstreams": {"o": {"endpoints": [o.address], "protocol": "h2",
                                     "proxy_protocol": "v2"}}})
    with w.client() as a, w.client() as b:
        for i in range(3):
            for n, c in (("a", a), ("b", b)):
                assert c.get("/%s%d" % (n, i)).status == 200
                assert o.header_of("/%s%d" % (n, i)).source == c.sock.getsockname()
    assert len(o.conns) == 2 or t.variant == "doors", len(o.conns)


def checked(t, address, version, **health):
    """A Weir that checks address, which is not asked before a check has passed."""
    return t.start({"routes": [{"match": "/*", "to": "o"}], "upstreams": {"o": {
        "endpoints": [address], "proxy_protocol": version, "ejection": False,
        "balance": {"panic_threshold": 0},
        "health": dict({"interval": "50ms", "timeout": "2s", "gate": True}, **health),
    }}}, admin=True)


def state(w):
    return w.status()["upstreams"][0]["endpoints"][0]["state"]


def test_health_checks(t):
    """Checks speak for Weir alone, by the header that the endpoint wants of everybody."""
    for version, raw in (("v1", b"PROXY UNKNOWN\r\n"), ("v2", ph.SIGNATURE + b"\x20")):
        for kind in ("http", "tcp"):
            headers = []

            def serve(conn, headers=headers):
                conn.header = ph.read(conn.stream)
                headers.append(conn.header)
                while conn.open and conn.origin.serve_one(conn):
                    pass
            o = t.origin(raw=serve)
            w = checked(t, o.address, version, type=kind, path="/healthz")
            wire.await_true("checks", lambda h=headers: h)
            wire.await_true("a check that passed", lambda w=w: state(w) == "up")
            assert all(h.raw.startswith(raw) and h.source is None for h in headers), headers
            with w.client() as c:
                assert c.get("/client").status == 200
                assert header_of(o, "/client").source == c.sock.getsockname()
            w.stop()


def test_health_checks_without(t):
    """proxy_protocol: false: the bare checks fail where a header is wanted, and pass elsewhere."""
    o = t.origin()
    w = checked(t, o.address, "v2", path="/healthz", proxy_protocol=False)
    o.await_seen("/healthz", 2)
    wire.await_true("a check that passed", lambda: state(w) == "up")
    w.stop()
    firsts = []
    o = t.origin(raw=lambda conn: firsts.append(conn.stream.exactly(6)) or conn.close())
    w = checked(t, o.address, "v2", path="/healthz", proxy_protocol=False)
    wire.await_true("checks", lambda: len(firsts) >= 2)
    assert set(firsts) == {b"GET /h"} and state(w) == "down", firsts


def test_refused_endpoint(t):
    """The next endpoint gets the header; a dead kept connection is retried with it."""
    o, w = begin(t)
    o2 = t.origin("two", raw=ph.serve)
    gone = t.address()
    w2 = t.start({"upstreams": {"o": {"endpoints": [{"address": gone}, {"address": o2.address}],
                                      "proxy_protocol": "v2"}}})
    with w2.client() as c:
        for i in range(4):
            assert c.get("/r%d" % i).status == 200
            assert header_of(o2, "/r%d" % i).source == c.sock.getsockname()
    with w.client() as c:
        assert c.get("/first").status == 200
        o.connections[0].close()
        assert c.get("/second").status == 200
        assert header_of(o, "/second").source == c.sock.getsockname()


def test_reload(t):
    """Connections of the old kind are not used for the new."""
    o = t.origin()
    w = t.simple(o)
    o2 = t.origin("two", raw=ph.serve)

    def config(version, where):
        return w.with_config(upstreams={"origin": {"endpoints": [{"address": where.address}],
                                                   "proxy_protocol": version}})
    with w.client() as c:
        assert c.get("/plain").body.startswith(b"origin")
        w.reload(config("v2", o2), lambda: c.get("/new").body.startswith(b"two"))
        assert header_of(o2, "/new").source == c.sock.getsockname()
        w.reload(config("v1", o2), lambda: c.get("/v1").status == 200 and
                 header_of(o2, "/v1").raw.startswith(b"PROXY "))
        w.reload(config("off", o), lambda: c.get("/off").body.startswith(b"origin"))


def test_wrong_configuration(t):
    path = t.dir + "/wrong.yaml"
    with open(path, "w") as f:
        f.write("upstreams:\n  o: {endpoints: ['127.0.0.1:9'], proxy_protocol: v2, "
                "pool: {min_idle: 2}}\n")
    code, out, err = t.run("check", path)
    assert code != 0 and "min_idle is of no use with proxy_protocol" in out + err, out + err


REAL = {"onebyte": "real programs behind, byte by byte, take too long",
        "doors": "real programs hide what was refused"}


def test_haproxy_behind(t):
    """accept-proxy; HAProxy tells its own origin whom it heard of."""
    for variant, reason in REAL.items():
        t.not_in(variant, reason)
    for version in ("v1", "v2"):
        o = t.origin()
        o.lenient = True
        listen = t.address()
        haproxy(t, listen + " accept-proxy", o.address, "    option forwardfor\n")
        w = t.start({"upstreams": {"h": {"endpoints": [{"address": listen}],
                                         "proxy_protocol": version}},
                     "trusted_proxies": ["127.0.0.0/8"]})
        with w.client() as c:
            for i in range(3):
                r = c.get("/h%d" % i, [("X-Forwarded-For", "203.0.113.77")])
                assert r.status == 200, r
        assert "203.0.113.77" in o.await_seen("/h0")[0].fields.all("x-forwarded-for")[-1]


def test_nginx_is_checked(t):
    for variant, reason in REAL.items():
        t.not_in(variant, reason)
    listen = t.address()
    nginx(t, "server { listen %s proxy_protocol; location / { return 200 good; } }" % listen,
          listen)
    for version in ("v1", "v2"):
        w = checked(t, listen, version)
        wire.await_true("a check that passed", lambda w=w: state(w) == "up")
        w.stop()
    w = checked(t, listen, "v2", proxy_protocol=False)
    wire.await_true("checks that failed", lambda: w.metrics().get(
        ("weir_health_checks_total", frozenset({("upstream", "o"), ("endpoint", listen),
                                                ("result", "failed")})), 0) > 1)
    assert state(w) == "down"


def test_nginx_behind(t):
    for variant, reason in REAL.items():
        t.not_in(variant, reason)
    listen = t.address()
    nginx(t, "server { listen %s proxy_protocol; location / { return 200 "
          "'$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr'; } }"
          % listen, listen)
    for version in ("v1", "v2"):
        w = t.start({"upstreams": {"n": {"endpoints": [{"address": listen}],
                                         "proxy_protocol": version}}})
        with w.client() as c:
            for i in range(3):
                words = c.get("/n%d" % i).text.split()
                assert words[:2] == [str(x) for x in c.sock.getsockname()], words
                assert words[2] == w.address.split(":")[0], words

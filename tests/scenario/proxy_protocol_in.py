# SPDX-License-Identifier: Apache-2.0
"""A balancer in front of Weir says whose connection it is: PROXY protocol, both versions."""

import socket
import subprocess

from peers import client, tls, wire
from peers import proxy_header as ph
from peers.programs import haproxy, nginx

GET = b"GET %s HTTP/1.1\r\nHost: test.example\r\n\r\n"


def begin(t, mode="require", **more):
    """A Weir whose listener requires headers, and its origin."""
    rules = mode if isinstance(mode, dict) else {"mode": mode}
    o = t.origin()
    w = t.simple(o, listeners=[{"address": t.address(), "proxy_protocol": rules}], **more)
    return o, w


def told(o, path):
    """X-Forwarded-For as the origin saw it."""
    return o.await_seen(path)[0].get("x-forwarded-for")


def ask(w, header, path, step=None):
    with w.client() as c:
        c.send(header + GET % path.encode(), step)
        return c.response()


def refused(t, w, sent, reason, shut=False):
    """sent is answered by a close, without a byte; the log says why."""
    before = len([x for x in w.access() if x["reason"] == reason])
    with w.client() as c:
        c.send(sent)
        if shut:
            c.shut()
        assert c.stream.rest() == b"", sent
    w.await_access(lambda x: x["reason"] == reason, before + 1)


def test_both_versions(t):
    o, w = begin(t)
    cases = {
        "/v1": ph.v1("192.0.2.1", 1000),
        "/v1-6": ph.v1("2001:db8::1", 1000, "::1", family="TCP6"),
        "/v2": ph.v2("192.0.2.2", 2000),
        "/v2-6": ph.v2("2001:db8::2", 2000, "::1"),
        "/v2-sum": ph.v2("192.0.2.3", 2000, checksum=True),
    }
    for path, header in cases.items():
        assert ask(w, header, path).status == 200
    assert told(o, "/v1") == "192.0.2.1"
    assert told(o, "/v1-6") == "2001:db8::1"
    assert told(o, "/v2") == "192.0.2.2"
    assert told(o, "/v2-6") == "2001:db8::2"
    assert told(o, "/v2-sum") == "192.0.2.3"
    line = w.line_for("/v2")
    assert line["client_ip"] == "192.0.2.2" and line["destination"] == "198.51.100.2:443", line
    assert w.line_for("/v2-6")["destination"] == "[::1]:443"


def test_in_pieces(t):
    """A header in any segments, requests in the same ones, and several of them."""
    o, w = begin(t)
    for i, header in enumerate((ph.v1(), ph.v2(), ph.v2(tlvs=ph.tlv(4, b"x" * 400)))):
        for step in (1, 7, None):
            path = "/p%d-%s" % (i, step)
            assert ask(w, header, path, step).status == 200
            assert told(o, path) == "192.0.2.7"
    with w.client() as c:
        c.send(ph.v2() + GET % b"/a" + GET % b"/b")
        assert c.response().body == b"origin GET /a\n"
        assert c.response().body == b"origin GET /b\n"
        assert c.get("/c").body == b"origin GET /c\n"
    assert told(o, "/c") == "192.0.2.7", "the header counts for the whole connection"


def test_end_behind_header(t):
    """A client that ends its side with or behind the header is no hang."""
    o, w = begin(t)
    with w.client() as c:
        c.send(ph.v2())
        c.shut()
        assert c.stream.rest() == b"" or t.variant == "doors"
    with w.client() as c:
        c.send(ph.v2() + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert c.response().status == 200
    refused(t, w, ph.v2()[:20], "proxy_protocol_invalid", shut=True)
    with w.client() as c:  # a bare connect, as health checks make it
        c.shut()
        assert c.stream.rest() == b""


def test_tlvs(t):
    o, w = begin(t)
    tlvs = (ph.tlv(ph.AUTHORITY, b"shop.example") + ph.tlv(ph.ALPN, b"http/1.1") +
            ph.tlv(ph.UNIQUE_ID, b"id \"7\"\n") + ph.tlv(0xea, b"\1vpce") + ph.ssl(b"TLSv1.3"))
    assert ask(w, ph.v2(tlvs=tlvs, checksum=True), "/tlvs").status == 200
    assert o.seen("/tlvs")[0].get("x-forwarded-proto") == "https"
    assert ask(w, ph.v2(tlvs=ph.ssl(b"", client=0)), "/no-tls").status == 200
    assert o.await_seen("/no-tls")[0].get("x-forwarded-proto") == "http"
    line = w.line_for("/tlvs")
    assert line["proxy_authority"] == "shop.example", line
    assert line["proxy_unique_id"] == "id \"7\"\n", line


def test_speaks_for_itself(t):
    """LOCAL, UNKNOWN and what is not TCP: the connection's own ends count."""
    o, w = begin(t)
    cases = {"/local": ph.local(), "/unknown": b"PROXY UNKNOWN\r\n",
             "/rest": b"PROXY UNKNOWN some words\r\n",
             "/unspec": ph.SIGNATURE + b"\x21\0\0\0",
             "/told": ph.v2(command=0x20)}
    for path, header in cases.items():
        assert ask(w, header, path).status == 200
        assert told(o, path) == "127.0.0.1"
        assert "destination" not in w.line_for(path)


def test_refusals(t):
    o, w = begin(t, admin={"address": t.address()})
    refused(t, w, GET % b"/", "proxy_protocol_missing")
    refused(t, w, b"\x16\x03\x01\x02\x00\x01", "proxy_protocol_missing")
    for bad in (b"PROXY TCP4 1.2.3.4\r\n", ph.v1("300.1.1.1"), ph.v1() [:-2] + b"\n",
                b"PROXY TCP4 " + b"1" * 200, ph.v2(command=0x31), ph.v2(checksum=False),
                ph.v2(tlvs=b"\4\0\7abc"), ph.v2(tlvs=ph.tlv(2, b"a") * 2),
                ph.SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),  # addresses cut short
                ph.SIGNATURE + b"\x21\x11\xff\xff" + bytes(12),  # longer than any
                ph.SIGNATURE + b"\x20\0\xff\xff"):
        refused(t, w, bad + GET % b"/", "proxy_protocol_invalid")
    assert not o.connections, "nothing of these may reach an origin"
    figures = w.metrics()
    missing = [v for (name, labels), v in figures.items() if name == "weir_faults_total" and
               ("reason", "proxy_protocol_missing") in labels]
    assert missing == [2], missing


def test_timeout(t):
    t.not_in("doors", "what is refused for memory leaves no line")
    o, w = begin(t, {"mode": "require", "timeout": "1s"})
    for part in (b"", ph.v2()[:14]):
        with w.client() as c:
            c.send(part)
            assert c.stream.rest() == b""
    w.await_access(lambda x: x["reason"] == "proxy_protocol_timeout", 2)
    with w.client() as c:  # the time is the header's alone
        c.send(ph.v2())
        assert not c.stream.readable(1.2)
        assert c.get("/").status == 200


def test_time_of_what_follows(t):
    """The header's time is over with the header: a handshake without a limit has none."""
    t.not_in("doors", "what is refused for memory ends before any time")
    ca = tls.authority(t)
    cert = ca.sign("server", ("test.example",))
    o = t.origin()
    w = t.simple(o, timeouts={"handshake": "off"}, listeners=[
        {"address": t.address(), "proxy_protocol": {"mode": "require", "timeout": "1s"},
         "tls": {"certificates": [cert.conf()]}}])
    with w.client() as c:
        c.send(ph.v2())
        assert not c.stream.readable(1.2)
        try:
            c.sock = tls.context(ca).wrap_socket(c.sock, server_hostname="test.example")
        except OSError:
            wire.Refusals.note()
            raise
        c.stream = wire.Stream(c.sock)
        assert c.get("/late").status == 200


def test_by_source(t):
    """from: only these must send one; what others send is HTTP, and theirs alone."""
    o, w = begin(t, {"mode": "require", "from": ["127.0.0.9/32"]})

    def from_address(source, sent, path):
        host, port = w.address.rsplit(":", 1)
        c = client.Client.__new__(client.Client)
        c.sock = socket.create_connection((host, int(port)), wire.patience(), (source, 0))
        c.stream = wire.Stream(c.sock)
        with c:
            c.send(sent + GET % path)
            return c.response().status if sent or source == "127.0.0.1" else c.stream.rest()
    assert from_address("127.0.0.9", ph.v2("192.0.2.9"), b"/listed") == 200
    assert told(o, "/listed") == "192.0.2.9"
    assert from_address("127.0.0.1", b"", b"/other") == 200
    assert told(o, "/other") == "127.0.0.1"
    assert from_address("127.0.0.1", ph.v1("192.0.2.9"), b"/forged") == 400
    assert from_address("127.0.0.1", ph.v2("192.0.2.9"), b"/forged") == 400
    assert not o.seen("/forged")
    assert from_address("127.0.0.9", b"", b"/none") == b""
    w.await_access(lambda x: x["reason"] == "proxy_protocol_missing")


def test_trust(t):
    """The announced source is the peer: it must be trusted for its forwarding fields to count."""
    o, w = begin(t, trusted_proxies=["192.0.2.0/24"])
    request = b"GET %s HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.5\r\n\r\n"
    for source, path, client_ip in (("192.0.2.1", "/trusted", "203.0.113.5"),
                                    ("198.51.100.1", "/other", "198.51.100.1")):
        with w.client() as c:
            c.send(ph.v2(source) + request % path.encode())
            assert c.response().status == 200
        assert w.line_for(path)["client_ip"] == client_ip


def test_unix_and_reload(t):
    """On a unix socket; a reload changes what is required of new connections only."""
    o = t.origin()
    address = t.unix()
    rules = {"address": address, "proxy_protocol": {"mode": "require", "from": ["unix"]}}
    w = t.simple(o, listeners=[rules])
    with client.Client(address) as c:
        c.send(ph.v2("192.0.2.4") + GET % b"/unix")
        assert c.response().status == 200
        assert told(o, "/unix") == "192.0.2.4"

        def plain():
            with client.Client(address) as other:
                try:
                    return other.get("/plain").status == 200
                except wire.Ended:
                    return False
        assert not plain()
        w.reload(w.with_config(listeners=[{"address": address}]), plain)
        assert c.get("/kept").status == 200
    assert told(o, "/kept") == "192.0.2.4"


def test_wrong_configuration(t):
    o = t.origin()
    path = t.dir + "/wrong.yaml"
    with open(path, "w") as f:
        f.write("listeners:\n"
                "  - address: 127.0.0.1:1\n"
                "    proxy_protocol: {from: [10.0.0.0/8]}\n"
                "  - address: 127.0.0.1:2\n"
                "    proxy_protocol: {mode: require, from: [10.0.0.1/8]}\n"
                "upstreams: {o: {endpoints: [%s]}}\n" % o.address)
    code, out, err = t.run("check", path)
    assert code != 0
    assert "mode: require" in out + err and "10.0.0.1/8" in out + err, out + err


REAL = {"onebyte": "real programs in front, byte by byte, take too long",
        "doors": "real programs hide what was refused"}


def test_haproxy_in_front(t):
    for variant, reason in REAL.items():
        t.not_in(variant, reason)
    for i, how in enumerate(("send-proxy", "send-proxy-v2",
                             "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority")):
        o, w = begin(t)
        listen = t.address()
        haproxy(t, listen, "%s %s" % (w.address, how), "    unique-id-format u-%[rand(1000)]\n")
        with client.Client(listen) as c:
            for j in range(3):
                assert c.get("/h%d-%d" % (i, j)).status == 200
            mine = c.sock.getsockname()[0]
        line = w.line_for("/h%d-0" % i)
        assert line["client_ip"] == mine and line["destination"] == listen, line
        if "unique-id" in how:
            assert line["proxy_unique_id"].startswith("u-"), line


def test_curl_in_front(t):
    """Of HTTP/1.1, of HTTP/2 without and with TLS: the header comes first."""
    for variant, reason in REAL.items():
        t.not_in(variant, reason)
    ca = tls.authority(t)
    cert = ca.sign("server", ("test.example",))
    o = t.origin()
    rules = {"mode": "require"}
    w = t.simple(o, listeners=[
        {"address": t.address(), "proxy_protocol": rules, "h2c": True},
        {"address": t.address(), "proxy_protocol": rules,
         "tls": {"certificates": [cert.conf()]}}])
    plain, secure = (x["address"] for x in w.config["listeners"])
    host, port = secure.rsplit(":", 1)
    for i, args in enumerate((["http://%s/" % plain], ["--http2-prior-knowledge",
                                                       "http://%s/" % plain],
                              ["--cacert", ca.cert, "--http1.1", "--resolve",
                               "test.example:%s:%s" % (port, host),
                               "https://test.example:%s/" % port],
                              ["--cacert", ca.cert, "--http2", "--resolve",
                               "test.example:%s:%s" % (port, host),
                               "https://test.example:%s/" % port])):
        args[-1] += "c%d" % i
        done = subprocess.run([t.needs("curl"), "-sS", "-m", "60", "--haproxy-protocol", "-w",
                               "%{http_version}", *args], capture_output=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout == b"origin GET /c%d\n%s" % (i, (b"1.1", b"2")[i % 2]), done.stdout
        assert w.line_for("/c%d" % i)["destination"] in (plain, secure)


def test_nginx_in_front(t):
    for variant, reason in REAL.items():
        t.not_in(variant, reason)
    o, w = begin(t)
    listen = t.address()
    nginx(t, "", listen, "server { listen %s; proxy_protocol on; proxy_pass %s; }"
          % (listen, w.address))
    with client.Client(listen) as c:
        assert c.get("/n").status == 200
        mine = c.sock.getsockname()[0]
    line = w.line_for("/n")
    assert line["client_ip"] == mine and line["destination"] == listen, line

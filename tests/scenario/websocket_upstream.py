# SPDX-License-Identifier: Apache-2.0
"""WebSockets to an endpoint that speaks HTTP/2 but takes none there (its SETTINGS lack
ENABLE_CONNECT_PROTOCOL): over a connection of HTTP/1.1 that is made for them, or refused."""

import asyncio
import os

from peers import tls
from peers.h2 import H2
from peers.programs import nginx
from peers.story import Skip
from peers.wire import await_true

SERVER = """server { listen %s ssl http2; ssl_certificate %s; ssl_certificate_key %s;
  location /http { return 200 "$server_protocol"; }
  location / { proxy_pass http://%s; proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; } }"""


def begin(t):
    t.not_in("doors", "the library gives up on a refused handshake")
    t.not_in("onebyte", "OpenSSL and a megabyte byte by byte")
    t.ca = tls.authority(t)
    cert = t.ca.sign("site", ["localhost", t.host])
    t.nginx, t.to = t.address(), t.address()
    nginx(t, SERVER % (t.nginx, cert.cert, cert.key, t.to), t.nginx)
    t.w = start(t, t.nginx, "auto")


def start(t, endpoint, protocol):
    return t.start({
        "listeners": [{"address": t.address(), "h2c": True}],
        "upstreams": {"u": {"endpoints": [endpoint], "protocol": protocol,
                            "tls": {"ca": t.ca.cert}}},
        "routes": [{"name": "all", "match": {"path": "/*"}, "to": "u"}],
        "admin": {"address": t.address()}, "workers": 1}, admin=True)


def test_by_http1_beside_http2(t):
    """Real clients and a real server talk while ordinary requests go over HTTP/2 to the same
    endpoint."""
    try:
        import websockets
    except ImportError:
        raise Skip("python3-websockets is not installed")
    host, port = t.to.rsplit(":", 1)
    big = os.urandom(1 << 20)

    async def serve(ws, *_):
        async for message in ws:
            await ws.send(message)

    async def talk(i):
        url = "ws://%s/chat?n=%d" % (t.w.address, i)
        async with websockets.connect(url, max_size=None) as ws:
            for message in ("hello", big, b"\\0\\xff" * 10):
                await ws.send(message)
                assert await ws.recv() == message
                r = await asyncio.to_thread(t.w.get, "/http")
                assert r.body == b"HTTP/2.0", r

    async def both():
        async with websockets.serve(serve, host, int(port), max_size=None):
            await asyncio.gather(*(talk(i) for i in range(4)))
    assert t.w.get("/http").body == b"HTTP/2.0"  # so that there is a link that will not do
    asyncio.run(asyncio.wait_for(both(), 60))
    lines = t.w.await_access(lambda x: x["status"] == 101, 4)
    assert all("upstream_protocol" not in x for x in lines), lines
    await_true("one link for the rest", lambda: (
        t.w.metrics().value("weir_upstream_http2_connections", upstream="u") == 1))


def test_from_a_client_of_http2(t):
    """An extended CONNECT becomes an upgrade. 200 to that is no WebSocket, and must not look like
    one, as it would to this client (RFC 8441 5)."""
    with H2(t.w.address) as c:
        c.until("SETTINGS", lambda: c.settings)
        s = c.open([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                    (":authority", "h"), (":path", "/http/by-h2"),
                    ("sec-websocket-version", "13")], False)
        c.until("an answer", lambda: c.answers[s].status is not None, s)
        assert c.answers[s].status == 502, c.answers[s]
        assert "upstream_upgrade_mismatch" in c.response(s).text, c.answers[s]
    assert "upstream_protocol" not in t.w.line_for("/http/by-h2")


def test_h2_alone_says_why(t):
    """protocol: h2 leaves no other way."""
    ask = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"),
           ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")]
    w = start(t, t.nginx, "h2")
    r = w.get("/chat", ask)
    assert r.status == 502 and r.code == "upstream_no_websocket", r
    assert w.get("/http").body == b"HTTP/2.0"
    w.stop()

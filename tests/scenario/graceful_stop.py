# SPDX-License-Identifier: Apache-2.0
"""SIGTERM: no new connections, running exchanges end, Connection: close, exit 0 within a limit."""

import json
import os
import threading

from peers import client, wire
from peers.wire import await_true


def begin(t):
    t.o = t.origin()


def test_idle(t):
    w = t.simple()
    w.get("/a")
    w.stop()
    assert w.process.returncode == 0


def test_idle_connections_are_closed(t):
    w = t.simple()
    clients = [w.client() for _ in range(20)]
    for c in clients:
        assert c.get("/a").status == 200
    w.terminate()
    for c in clients:
        c.must_end()
    assert w.wait() == 0


def test_running_exchanges_finish(t):
    """A hundred requests in progress: each is answered whole, with Connection: close."""
    w = t.simple()
    gate = threading.Event()
    t.o.on("/slow", lambda conn, req: (gate.wait(60), conn.reply(200, body=b"slow answer")))
    clients = [w.client() for _ in range(100)]
    for c in clients:
        c.request("GET", "/slow")
    t.o.await_seen("/slow", 100)
    w.terminate()
    await_true("new connections are refused", lambda: client.nobody_listens(w.address))
    assert w.process.poll() is None, "did not wait for running exchanges"
    gate.set()
    for c in clients:
        r = c.response()
        assert r.body == b"slow answer" and r.complete, r
        assert r.fields.tokens("connection") == ["close"], r
        c.must_end()
    assert w.wait() == 0


def test_admin_page_meanwhile(t):
    """It says that Weir is stopping until it has ended, on a unix socket as by TCP."""
    for address in (t.address(), t.unix()):
        w = t.simple(admin={"address": address})
        gate = threading.Event()
        t.o.on("/held", lambda conn, req: (gate.wait(60), conn.reply(200, body=b"held")))
        c = w.client()
        c.request("GET", "/held")
        t.o.await_seen("/held")
        w.terminate()
        await_true("new connections are refused", lambda: client.nobody_listens(w.address))
        r = w.admin_get("/healthz")
        assert r.status == 503 and r.body == b"draining\n", (address, r)
        assert b'"state":"draining"' in w.admin_get("/status").body, address
        if address.startswith("unix:"):  # by TCP a token is needed
            with open(w.config_path, "w") as f:
                json.dump(w.with_config(listeners=[t.address()]), f)
            code, _, said = t.run("reload", "--admin", address)
            assert code == 1 and "Weir is being stopped and opens no address" in said, said
        gate.set()
        assert c.response().body == b"held"
        assert w.wait() == 0
        assert not os.path.exists(address.replace("unix:", "")), "the socket's file is left behind"
        t.o.requests.clear()


def test_download_finishes(t):
    w = t.simple()
    gate = threading.Event()

    def parts(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert gate.wait(60)
        conn.send("4\r\nlast\r\n0\r\n\r\n")
    t.o.on("/parts", parts)
    with w.client() as c:
        c.request("GET", "/parts")
        r = c.head()
        assert c.read_at_least(r, 5) == b"first"
        w.terminate()
        await_true("refused", lambda: client.nobody_listens(w.address))
        gate.set()
        assert c.finish(r).body == b"firstlast" and r.complete, r
    assert w.wait() == 0


def test_not_told_yet(t):
    """Clients whose answer had begun before the stop were not told that it is the last one: they
    may ask once more at once, and are told then."""
    w = t.simple()
    gates = [threading.Event() for _ in range(4)]

    def halves(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
        assert gates[int(req.query)].wait(60)
        conn.send("half")
    t.o.on("/halves", halves)
    clients = [w.client() for _ in range(4)]
    heads = []
    for i, c in enumerate(clients):
        c.request("GET", "/halves?%d" % i)
        heads.append(c.head())
    w.terminate()
    await_true("refused", lambda: client.nobody_listens(w.address))
    for c, r, gate in zip(clients[:3], heads, gates):
        gate.set()
        assert c.finish(r).body == b"halfhalf" and not r.get("connection"), r
        r = c.ask("POST", "/more", body=b"body")
        assert r.status == 200 and r.fields.tokens("connection") == ["close"], r
        c.must_end()
    gates[3].set()
    assert clients[3].finish(heads[3]).body == b"halfhalf"
    clients[3].must_end()  # it asks nothing, and is not waited for long
    assert w.wait() == 0


def test_upload_finishes(t):
    w = t.simple()
    with w.client() as c:
        c.send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
        t.o.await_seen("/upload")
        w.terminate()
        await_true("refused", lambda: client.nobody_listens(w.address))
        c.send("56789")
        r = c.response()
        assert r.body == b"origin POST /upload\n0123456789", r
    assert w.wait() == 0


def test_limit(t):
    """What does not end within drain is ended."""
    w = t.simple(drain="300ms")
    t.o.on("/never", lambda conn, req: conn.await_end())
    c = w.client()
    c.request("GET", "/never")
    conn = t.o.await_seen("/never")[0].conn
    w.terminate()
    for r in c.answers_until_end():
        assert r.status == 503 and r.code == "shutdown", r
    assert conn.ended.wait(wire.patience(20))
    assert w.wait() == 0
    assert w.line_for("/never")["reason"] == "shutdown"


def test_tunnel_at_the_limit(t):
    w = t.simple(drain="300ms")

    def tunnel(conn, req):
        conn.tunnel = True
        conn.send("HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        conn.await_end()
        conn.close()
    t.o.on("/tunnel", tunnel)
    c = w.client()
    c.request("GET", "/tunnel", [("Connection", "upgrade"), ("Upgrade", "x")])
    assert c.head().status == 101
    w.terminate()
    c.ended()
    assert w.wait() == 0


def test_twice(t):
    """A second SIGTERM does no harm."""
    w = t.simple()
    w.get("/a")
    w.terminate()
    w.terminate()
    assert w.wait() == 0


def test_sigint(t):
    import signal
    w = t.simple()
    w.get("/a")
    w.process.send_signal(signal.SIGINT)
    assert w.wait() == 0


def test_at_once_after_the_start(t):
    for _ in range(5):
        w = t.simple()
        w.stop()


def test_log_is_complete(t):
    """Lines of the last exchanges are written before the end."""
    w = t.simple()
    with w.client() as c:
        for i in range(100):
            assert c.get("/x%d" % i).status == 200
    w.stop()
    assert len(w.access()) == 100, len(w.access())

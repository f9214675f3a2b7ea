# SPDX-License-Identifier: Apache-2.0
"""Unix sockets on both sides."""

import os

from peers import client
from peers.wire import await_true


def test_upstream(t):
    o = t.origin("unix", t.unix())
    w = t.simple(o)
    with w.client() as c:
        for i in range(5):
            assert c.get("/u%d" % i).body == b"unix GET /u%d\n" % i
        r = c.ask("POST", "/u", body=b"x" * 20000)
        assert r.body == b"unix POST /u\n" + b"x" * 20000
    assert len(o.connections) == 1
    assert w.line_for("/u0")["endpoint"] == o.address
    o.stop_listening()
    o.connections[0].shut()
    r = w.get("/gone")
    assert r.status == 502, r


def test_missing_socket(t):
    w = t.start({"upstreams": {"u": {"endpoints": [{"address": t.unix()}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]})
    r = w.get("/")
    assert r.status == 502 and r.code in ("connect_failed", "connect_refused_by_endpoint"), r


def test_listener(t):
    o = t.origin()
    address = t.unix()
    w = t.simple(o, listeners=[{"address": address}])
    with client.Client(address) as c:
        for i in range(3):
            assert c.get("/l%d" % i).body == b"origin GET /l%d\n" % i
    q = o.seen("/l0")[0]
    assert q.fields.has("x-forwarded-proto"), q
    w.stop()
    assert not os.path.exists(address[5:]), "the socket file stays behind"


def test_stale_socket_file(t):
    """A socket file that a killed process left behind does not stop the start."""
    import signal
    o = t.origin()
    address = t.unix()
    w = t.simple(o, listeners=[{"address": address}])
    with client.Client(address) as c:
        assert c.get("/").status == 200
    os.kill(w.pid, signal.SIGKILL)
    w.expect_exit = -signal.SIGKILL
    w.process.wait()

    def free():
        try:
            client.Client(address).close()
            return False
        except OSError:
            return True
    await_true("the old server ended", free)
    assert os.path.exists(address[5:])
    w2 = t.simple(o, listeners=[{"address": address}])
    with client.Client(address) as c:
        assert c.get("/again").status == 200
    w2.stop()


def test_several_listeners(t):
    o = t.origin()
    tcp, unix = t.address(), t.unix()
    w = t.simple(o, listeners=[{"address": tcp}, {"address": unix}, {"address": t.address()}])
    for i in range(3):
        with w.client(i) as c:
            assert c.get("/several").status == 200


def test_rewritten_host(t):
    """A unix endpoint has no host name: the upstream's own is sent."""
    o = t.origin("unix", t.unix())
    w = t.start({"upstreams": {"u": {"endpoints": [{"address": o.address}],
                                     "host": "inner.example"}},
                 "routes": [{"match": {"path": "/*"}, "to": "u",
                             "rewrite": {"host": "upstream"}}]})
    assert w.get("/h").status == 200
    assert o.seen("/h")[0].host == "inner.example"

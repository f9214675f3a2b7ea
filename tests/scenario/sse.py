# SPDX-License-Identifier: Apache-2.0
"""Server-sent events: each is passed on at once, to many readers, until either side leaves."""

import threading

from peers.wire import await_true, patience


def begin(t):
    t.o = t.origin()

    def events(conn, req):
        conn.step = threading.Semaphore(0)
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Cache-Control: no-cache\r\n"
                  "%s\r\n" % ("Transfer-Encoding: chunked\r\n" if "chunked" in req.path else
                              "Connection: close\r\n"))
        i = 0
        while not conn.stream.readable(0.01):
            if conn.step.acquire(timeout=0.02):
                event = b"data: event %d\n\n" % i
                i += 1
                if "chunked" in req.path:
                    event = b"%x\r\n%s\r\n" % (len(event), event)
                conn.send(event)
        conn.close()
    t.o.on("/chunked", events).on("/close", events)


def test_each_event_at_once(t):
    for strategy in ("none", "fixed", "adaptive"):
        w = t.simple(buffer={"strategy": strategy})
        for path in ("/chunked", "/close"):
            with w.client() as c:
                c.request("GET", path, [("Accept", "text/event-stream")])
                r = c.head()
                assert r.get("content-type") == "text/event-stream", r
                for i in range(5):
                    t.o.seen(path)[-1].conn.step.release()
                    want = b"data: event %d\n\n" % i
                    assert c.read_at_least(r, len(want)) == want, (strategy, path)
        w.stop()


def test_reader_leaves(t):
    w = t.simple()
    for path in ("/chunked", "/close"):
        c = w.client()
        c.request("GET", path)
        c.head()
        conn = t.o.seen(path)[-1].conn
        c.close()
        assert conn.ended.wait(patience(20)), "the origin's stream goes on"


def test_many_readers(t):
    """A hundred open streams, and ordinary requests beside them."""
    o = t.origin("many")
    gate = threading.Event()

    def one_event(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                  "Transfer-Encoding: chunked\r\n\r\n")
        gate.wait(60)
        conn.send("8\r\ndata: x\n\r\n0\r\n\r\n")
    o.on("/stream", one_event)
    w = t.simple(o)
    clients = [w.client() for _ in range(100)]
    heads = []
    for c in clients:
        c.request("GET", "/stream")
    for c in clients:
        heads.append(c.head())
    assert w.get("/beside").status == 200
    gate.set()
    for c, r in zip(clients, heads):
        assert c.finish(r).body == b"data: x\n", r
        c.close()
    await_true("all are logged", lambda: len(w.access()) >= 101)


def test_not_ended_by_idle_when_configured(t):
    """A route may let its streams be silent for as long as they like: longer than another's, which
    is ended."""
    t.not_in("doors", "a stream that is refused ends, too")
    w = t.start({"upstreams": {"o": {"endpoints": [{"address": t.o.address}]}},
                 "timeouts": {"response_idle": "500ms"},
                 "routes": [{"match": {"path": "/close"}, "to": "o"},
                            {"match": {"path": "/chunked"}, "to": "o",
                             "timeouts": {"response_idle": "off"}}]})
    with w.client() as c, w.client() as other:
        c.request("GET", "/chunked")
        r = c.head()
        other.request("GET", "/close")
        assert not other.response().complete
        assert w.line_for("/close")["reason"] == "response_idle_timeout"
        t.o.seen("/chunked")[-1].conn.step.release()
        assert c.read_at_least(r, 5).startswith(b"data:")

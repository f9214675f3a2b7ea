# SPDX-License-Identifier: Apache-2.0
"""Reloads, route changes and weight changes under load: no request fails, no stream is cut."""

import json
import threading

from peers import client
from peers.origin import echo_tunnel
from peers.wire import await_true

ROUNDS = 20


def config(t, n):
    return {"routes": [{"name": "gen", "match": {"path": "/gen"}, "reply": {"body": "gen %d" % n}},
                       {"name": "all", "match": {"path": "/*"}, "to": "o"}]}


def events(conn, req):
    """An SSE stream that says something whenever the story does."""
    story = conn.origin.story_state
    conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    seen = 0
    while True:
        with story["said"]:
            story["said"].wait_for(lambda: story["n"] > seen or story["over"])
            if story["over"]:
                break
            seen = story["n"]
        conn.send("data: %d\n\n" % seen)
    conn.close()


def load(t, stop, wrong, done, i):
    n = 0
    while not stop.is_set():
        try:
            with t.w.client() as c:
                for _ in range(20):
                    r = c.ask("POST", "/load%d-%d" % (i, n), body=b"body")
                    if not r.body.endswith(b" POST /load%d-%d\nbody" % (i, n)):
                        wrong.append(repr(r))
                    n += 1
                    done[i] += 1
                    if r.fields.tokens("connection") == ["close"]:
                        break
        except Exception as e:
            wrong.append(repr(e))


def unchunked(raw):
    """The body in the whole chunks of raw (RFC 9112 7.1)."""
    body = b""
    while b"\r\n" in raw:
        size, rest = raw.split(b"\r\n", 1)
        n = int(size, 16)
        if len(rest) < n + 2:
            break
        body, raw = body + rest[:n], rest[n + 2:]
    return body


def api(t, method, path, body):
    with client.Client(t.w.admin) as c:
        r = c.ask(method, path, [("Content-Type", "application/json")],
                  body=json.dumps(body).encode(), host="weir")
    assert r.status in (200, 201), (r.status, r.body)


def test_no_loss(t):
    t.not_in("doors", "what memory refuses fails")
    t.o, t.p = t.origin("one"), t.origin("two")
    state = {"said": threading.Condition(), "n": 0, "over": False}
    for o in (t.o, t.p):
        o.story_state = state
        o.on("/tunnel", echo_tunnel)
        o.on("/events", events)
    up = {"o": {"endpoints": [{"address": t.o.address}, {"address": t.p.address}]}}
    t.w = t.start(dict(config(t, 0), workers=2, upstreams=up, admin={"address": t.unix()}))
    streams = 4 if t.sanitized else 20
    tunnels = [t.w.client().__enter__() for _ in range(streams)]
    sse = [t.w.client().__enter__() for _ in range(streams)]
    for c in tunnels:
        c.request("GET", "/tunnel", [("Connection", "upgrade"), ("Upgrade", "x")])
        assert c.head().status == 101
    for c in sse:
        c.request("GET", "/events")
        assert c.head().status == 200
    stop, wrong, done = threading.Event(), [], [0] * 8
    threads = [threading.Thread(target=load, args=(t, stop, wrong, done, i)) for i in range(8)]
    for th in threads:
        th.start()
    for n in range(1, ROUNDS + 1):
        t.w.reload(t.w.with_config(**config(t, n)),
                   lambda n=n: t.w.get("/gen").body == b"gen %d" % n)
        api(t, "PUT", "/v1/routes/run", {"name": "run", "match": "/run",
                                         "reply": {"body": "run %d" % n}})
        assert t.w.get("/run").body == b"run %d" % n
        api(t, "PUT", "/v1/upstreams/o/weights", {t.o.address: 1 + n % 3, t.p.address: 1 + n % 2})
        with state["said"]:
            state["n"] = n
            state["said"].notify_all()
        for c in tunnels:
            c.send("round %2d" % n)
            assert c.stream.exactly(8) == b"round %2d" % n
    await_true("every client was answered", lambda: all(done))
    stop.set()
    for th in threads:
        th.join()
    assert not wrong, "%d of %d failed, first: %s" % (len(wrong), sum(done), wrong[0])
    for c in sse:
        text = b""
        while b"data: %d\n" % ROUNDS not in unchunked(text):
            piece = c.stream.some()
            assert piece, "an event stream was cut after %r" % text
            text += piece
    with state["said"]:
        state["over"] = True
        state["said"].notify_all()
    for c in tunnels + sse:
        c.__exit__(None, None, None)
    t.w.stop()

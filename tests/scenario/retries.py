# SPDX-License-Identifier: Apache-2.0
"""A failed attempt is followed by one elsewhere where that is safe, within a budget, or it is said
why not."""

import email.utils
import os
import threading
import time

import yaml
from peers import wire


def start(t, n, retry=None, **more):
    origins = [t.origin("o%d" % i) for i in range(n)]
    config = {"upstreams": {"u": {"endpoints": [o.address for o in origins], "ejection": False}},
              "routes": [{"match": {"path": "/*"}, "to": "u"}]}
    if retry is not None:
        config["retry"] = retry
    config.update(more)
    return origins, t.start(config, admin=True)


def bad_first(origins, path, answer):
    """The first origin that is asked for path answers badly, all others well."""
    lock, seen = threading.Lock(), []

    def choose(conn, req):
        with lock:
            seen.append(conn.origin.name)
            first = len(seen) == 1
        if first:
            answer(conn, req)
        else:
            body = req.body()
            conn.reply(200, [("X-Origin", conn.origin.name)], body)
    for o in origins:
        o.on(path, choose)
    return seen


def test_reset_before_the_answer(t):
    origins, w = start(t, 3)
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        path = "/%s" % method
        seen = bad_first(origins, path, lambda conn, req: conn.reset())
        r = w.ask(method, path, body=b"twice" if method == "PUT" else None)
        assert r.status == 200, (method, r, seen)
        assert len(seen) == 2, seen
        if method == "PUT":
            assert r.body == b"twice", r
    assert w.line_for("/GET")["attempts"] == 2


def test_another_endpoint_is_asked(t):
    """Fresh connections that break: never the same endpoint twice."""
    origins, w = start(t, 3)
    for o in origins:
        o.on("/", lambda conn, req: conn.reset())
    assert w.get("/").status == 502
    assert [len(o.seen("/")) for o in origins] == [1, 1, 1]


def test_post_is_not_repeated(t):
    origins, w = start(t, 3)
    seen = bad_first(origins, "/post", lambda conn, req: conn.reset())
    r = w.ask("POST", "/post", body=b"once")
    assert r.status == 502 and r.code == "upstream_reset" and len(seen) == 1, (r, seen)


def test_post_with_a_key_where_the_route_says_so(t):
    origins, w = start(t, 3, {"idempotency_key": True})
    seen = bad_first(origins, "/a", lambda conn, req: conn.reset())
    r = w.ask("POST", "/a", [("Idempotency-Key", "k1")], body=b"once")
    assert r.status == 200 and r.body == b"once" and len(seen) == 2, r
    seen = bad_first(origins, "/b", lambda conn, req: conn.reset())
    assert w.ask("POST", "/b", body=b"once").status == 502 and len(seen) == 1


def test_bodies_that_fill_a_block(t):
    """What may be sent again is kept until the answer begins, what may not is not sent twice."""
    retry = {"idempotency_key": True, "buffer": "64KiB", "budget_least": 100}
    origins, w = start(t, 3, retry)
    for n in (3000, 4096, 12000, 16000, 40000)[:2 if t.variant == "onebyte" else None]:
        body = bytes(i % 251 for i in range(n))
        for method, fields, again in (("PUT", [], True), ("POST", [], False),
                                      ("POST", [("Idempotency-Key", "k")], True)):
            path = "/%s-%d-%s" % (method, n, again)
            seen = bad_first(origins, path, lambda conn, req: (req.body(), conn.reset()))
            for _ in range(4):  # links are reused: the body of a stale one would be sent anew
                assert w.get("/warm").status == 200
            r = w.ask(method, path, fields, body)
            assert len(seen) == 1 + again, (path, r, seen)
            if again:
                assert r.status == 200 and r.body == body, (path, r)
            else:
                assert r.status == 502 and r.code == "upstream_reset", (path, r)


def test_connection_refused_any_method(t):
    origins, w = start(t, 3)
    origins[0].stop_listening()
    origins[1].stop_listening()
    for i in range(6):
        r = w.ask("POST", "/%d" % i, body=b"x" * 100)
        assert r.status == 200 and r.get("x-origin") == "o2", r


def test_silence(t):
    """per_try ends an attempt at an origin that accepts and never answers; another one answers."""
    origins, w = start(t, 2, {"per_try": "2s"})
    go = threading.Event()
    seen = bad_first(origins, "/", lambda conn, req: go.wait(60))
    assert w.get("/").status == 200 and len(seen) == 2, seen
    seen = bad_first(origins, "/post", lambda conn, req: go.wait(60))
    r = w.ask("POST", "/post", body=b"x")
    assert r.status == 504 and r.code == "try_timeout", r
    go.set()


def test_statuses(t):
    origins, w = start(t, 3, {"statuses": [503], "tries": 2})
    seen = bad_first(origins, "/", lambda conn, req: conn.reply(503))
    assert w.get("/").status == 200 and len(seen) == 2
    for o in origins:
        o.on("/all", lambda conn, req: conn.reply(503, body=b"no"))
    r = w.get("/all")
    assert r.status == 503 and r.body == b"no", "the last answer goes to the client: %r" % r
    assert sum(len(o.seen("/all")) for o in origins) == 2
    seen = bad_first(origins, "/502", lambda conn, req: conn.reply(502))
    assert w.get("/502").status == 502


def test_retry_after(t):
    """A short one is waited for, a long one goes to the client."""
    origins, w = start(t, 2, {"statuses": [503], "max_wait": "2s"})
    seen = bad_first(origins, "/1", lambda conn, req: conn.reply(503, [("Retry-After", "1")]))
    assert w.get("/1").status == 200 and len(seen) == 2
    line = w.line_for("/1")
    assert line["duration_us"] >= 1000000, line
    then = email.utils.formatdate(time.time() + 1.999, usegmt=True)  # between one second and two
    seen = bad_first(origins, "/date", lambda conn, req: conn.reply(503, [("Retry-After", then)]))
    assert w.get("/date").status == 200 and len(seen) == 2
    assert time.time() >= email.utils.parsedate_to_datetime(then).timestamp(), "not waited for"
    late = email.utils.formatdate(time.time() + 100, usegmt=True)
    seen = bad_first(origins, "/late", lambda conn, req: conn.reply(503, [("Retry-After", late)]))
    r = w.get("/late")
    assert r.status == 503 and r.get("retry-after") == late and len(seen) == 1, r
    seen = bad_first(origins, "/9", lambda conn, req: conn.reply(503, [("Retry-After", "9")]))
    r = w.get("/9")
    assert r.status == 503 and r.get("retry-after") == "9" and len(seen) == 1, r


def test_large_body_is_given_up_and_said(t):
    """What is above retry.buffer cannot be sent again: 502, and the log says why."""
    origins, w = start(t, 2, {"buffer": "1KiB"})

    def read_then_reset(conn, req):
        req.body()
        conn.reset()
    bad_first(origins, "/big", read_then_reset)
    r = w.ask("PUT", "/big", body=b"x" * 5000)
    assert r.status == 502 and r.code in ("upstream_reset", "upstream_closed"), r
    assert w.line_for("/big")["retry_refused"] == "body"
    assert 'weir_retries_refused_total{reason="body"} 1' in w.admin_get("/metrics").text
    bad_first(origins, "/small", read_then_reset)
    r = w.ask("PUT", "/small", body=b"x" * 500)
    assert r.status == 200 and r.body == b"x" * 500, r
    assert "retry_refused" not in w.line_for("/small")


def test_budget(t):
    """20 requests in progress whose first attempts all break: 3 are tried again, the others get
    the fault, and the log says why."""
    origins, w = start(t, 2, {"budget": 0, "budget_least": 3, "backoff": "0ms",
                              "max_backoff": "0ms"})
    gate, stay = threading.Event(), threading.Event()
    lock, asked = threading.Lock(), {}

    def answer(conn, req):
        with lock:
            first = asked.setdefault(req.path, 0) == 0
            asked[req.path] += 1
        if first:
            gate.wait(60)
            conn.reset()
        else:
            stay.wait(60)
            conn.reply(200)
    clients = []
    for i in range(20):
        for o in origins:
            o.on("/%d" % i, answer)
        c = w.client()
        c.request("GET", "/%d" % i)
        clients.append(c)
    wire.await_true("all requests at the origins", lambda: len(asked) == 20)
    gate.set()

    def refused():
        m = w.admin_get("/metrics").text
        return 'weir_retries_refused_total{reason="budget"} 17' in m
    wire.await_true("17 retries refused", refused)
    stay.set()
    got = sorted(c.response("GET").status for c in clients)
    assert got == [200] * 3 + [502] * 17, got
    assert len(w.await_access(lambda x: x.get("retry_refused") == "budget", 17)) >= 17


def test_off(t):
    origins, w = start(t, 2, False)
    bad_first(origins, "/", lambda conn, req: conn.reset())
    assert w.get("/").status == 502


def test_nothing_after_the_answer_began(t):
    """The client has half of an answer: it must look broken, and no other origin is asked."""
    origins, w = start(t, 2)

    def half(conn, req):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        conn.close()
    seen = bad_first(origins, "/", half)
    r = w.get("/")
    assert not r.complete and r.body == b"half" and len(seen) == 1, (r, seen)


def test_deadline_is_passed_on(t):
    origins, w = start(t, 1, {"deadline_header": "X-Timeout-Ms"}, timeouts={"exchange": "5s"})
    assert w.get("/d").status == 200
    left = int(origins[0].seen("/d")[0].get("x-timeout-ms"))
    assert 0 < left <= 5000, left


def test_deadline_is_ours_alone(t):
    """No client says how much time is left, however it spells the name."""
    origins, w = start(t, 1, {"deadline_header": "X-Time-Left"})
    w.get("/no-end", [("X-Time-Left", "999999"), ("x_time-left", "999999")])
    q = origins[0].await_seen("/no-end")[0]
    assert not any(n.lower().replace("_", "-") == "x-time-left" for n, _ in q.fields), q
    origins, w = start(t, 1, {"deadline_header": "X-Time-Left"}, timeouts={"exchange": "30s"})
    w.get("/left", [("X-Time-Left", "999999"), ("x_time-left", "999999")])
    names = [(n, v) for n, v in origins[0].await_seen("/left")[0].fields
             if n.lower().replace("_", "-") == "x-time-left"]
    assert len(names) == 1 and 0 < int(names[0][1]) <= 30000, names


def test_wrong_settings(t):
    for retry, words in (({"statuses": [200]}, "400 to 599"), ({"tries": 0}, "1 to 8"),
                         ({"deadline_header": "a b"}, "name of a header"),
                         ({"deadline_header": "Content-Length"}, "message framing"),
                         ({"deadline_header": "te"}, "belongs to one connection")):
        path = os.path.join(t.make_dir("conf"), "weir.yaml")
        with open(path, "w") as f:
            yaml.safe_dump({"retry": retry, "upstreams": {"u": {"endpoints": ["127.0.0.1:9"]}}}, f)
        code, out, err = t.run("check", path)
        assert code != 0 and words in out + err, (retry, out, err)

# SPDX-License-Identifier: Apache-2.0
"""The operating system refuses one call, for want of descriptors or memory. Weir says so, goes on,
and serves as before."""

import errno

from peers import wire
from peers.h2 import H2

NEEDS_HOOKS = True
NOT_IN = {"onebyte": "it is about one call", "doors": "it is about one call"}
COST = 3

LARGE = 1 << 20
BODY = bytes(range(256)) * 1024


def begin(t):
    t.o = t.origin()
    t.o.on("/large", lambda conn, req: conn.reply(body=bytes(LARGE)))
    t.o.on("/echo", lambda conn, req: conn.reply(body=req.body()))
    t.reasons = set()


def serve(t, call, n, error, ready=True):
    """A Weir of which the n-th such call fails."""
    return t.start({
        "listeners": [{"address": t.address(), "h2c": True}],
        "upstreams": {"u": {"endpoints": [t.o.address]}},
        "routes": [{"name": "all", "match": {"path": "/*"}, "to": "u",
                    "retry": {"enabled": False}}],
        "workers": 1}, ready=ready, env={"WEIR_CALL_FAIL": "%s:%d:%d" % (call, n, error)})


def good(r, body=None):
    """Whether it was answered well; not wrongly, whatever happened."""
    assert r.status in (200, 500, 502, 503), r
    whole = r.complete and r.status == 200
    assert body is None or not whole or r.body == body, r
    return whole


def over_h2(w):
    with H2(w.address) as c:
        return c.ask(path="/plain").status == 200


CHECKS = (
    lambda w: good(w.get("/plain")),
    lambda w: good(w.get("/large"), bytes(LARGE)),
    lambda w: good(w.ask("POST", "/echo", body=BODY), BODY),
    over_h2,
)


def one(w, check):
    try:
        return check(w)
    except (wire.Ended, OSError):
        return False


def each(t, call, errors, times):
    """How many requests failed in all: no more than one for each call that did."""
    failures = 0
    for i, n in enumerate(times):
        w = serve(t, call, n, errors[i % len(errors)])
        server = w.server_pid()
        failed = sum(not one(w, check) for check in CHECKS * 3)
        assert failed <= 1, "%s %d: %d requests failed" % (call, n, failed)
        failures += failed
        assert w.server_pid() == server, "%s %d: the server was started anew" % (call, n)
        w.stop()
        t.reasons |= {x["reason"] for x in w.access() if x.get("reason")}
    return failures


def test_accept(t):
    assert each(t, "accept", (errno.EMFILE, errno.ECONNABORTED, errno.ENOBUFS), range(1, 5)) == 0, \
        "a connection waits until it can be taken"


def test_socket(t):
    assert each(t, "socket", (errno.EMFILE, errno.ENOBUFS), (1, 1)) == 2
    assert "no_socket" in t.reasons, t.reasons


def test_connect(t):
    assert each(t, "connect", (errno.EADDRNOTAVAIL, errno.ENOBUFS), (1, 1)) == 2
    assert "connect_failed" in t.reasons, t.reasons


def test_epoll_ctl(t):
    """What cannot be watched is given up: a client's connection is closed, of an upstream's the
    request is told. A listener is tried again."""
    assert each(t, "epoll_ctl", (errno.ENOMEM, errno.ENOSPC), range(3, 8)) >= 1
    assert "system_error" in t.reasons, t.reasons
    for n in (1, 2):  # without its signals or its orders the server cannot be led
        w = serve(t, "epoll_ctl", n, errno.ENOMEM, ready=False)
        assert w.wait() != 0
        w.stopped = True
        assert "server.failed" in w.log() and "Sanitizer" not in w.log(), w.log()


def test_pipe(t):
    assert each(t, "pipe", (errno.EMFILE, errno.ENFILE), (1, 2)) == 0, "it copies instead"


def test_splice(t):
    each(t, "splice", (errno.ENOMEM, errno.ENOBUFS), range(1, 5))


def test_send(t):
    """A connection on which nothing can be sent is over; of the upstream's the request is told."""
    assert each(t, "send", (errno.ENOBUFS, errno.ENOMEM), range(1, 13)) >= 1
    assert "upstream_write_failed" in t.reasons, t.reasons


def test_send_on_an_ended_link(t):
    """Nothing of a large request left on a kept connection that had ended: what was read of its
    body is all there still, and it goes out on a fresh one."""
    for method in ("PUT", "POST"):
        w = t.start({
            "upstreams": {"u": {"endpoints": [t.o.address]}},
            "routes": [{"name": "all", "match": {"path": "/*"}, "to": "u",
                        "buffer": {"strategy": "fixed", "size": "1MiB"}}],
            "workers": 1}, env={"WEIR_CALL_FAIL": "send:3:%d" % errno.EPIPE})
        with w.client() as c:
            assert c.get("/warm").status == 200  # the first two calls
            assert good(c.ask(method, "/echo", body=BODY), BODY)
        line = w.line_for("/echo")
        assert line["attempts"] == 2, line
        w.stop()

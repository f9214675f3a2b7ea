# SPDX-License-Identifier: Apache-2.0
"""What a reload takes it gives back: after 1,000 of them the server's heap holds what it held
after ten, but for digits. Resident memory is the bench's, not asserted here."""

from contextlib import ExitStack

from peers import client
from peers.story import Skip
from peers.wire import await_true

NOT_IN = {"doors": "an answer must say what was taken", "onebyte": "the same bytes more slowly"}
SLACK = 8192  # bytes: digits in what is kept; a piece of heap a reload would be 32,000


def config(t, n):
    """One route is another each time, which the server says of it, too."""
    routes = [{"name": "r%d" % i, "match": "/r%d/*" % i, "to": "u"} for i in range(50)]
    routes.append({"name": "gone%d" % (n % 2), "match": "/gone", "reply": {"body": "gone"}})
    return {"admin": t.admin, "workers": 2, "state_dir": t.state if t.kept else "",
            "routes": routes,
            "upstreams": {"u": {"endpoints": [t.o.address],
                                "balance": ["random", "round_robin"][n % 2]}}}


def heap(t):
    return t.w.metrics()[("weir_heap_bytes", frozenset())]


def reload(t, n):
    t.w.write(t.w.with_config(**config(t, n)))
    with client.Client(t.w.admin) as c:
        r = c.ask("POST", "/v1/reload", [], None, host="weir")
    assert r.status == 200 and b"gone%d" % (n % 2) in r.body, r


def fill_pools(t):
    """The end of one connection may fall into the life of the next, for which pools then grow."""
    with ExitStack() as stack:
        for _ in range(8):
            c = stack.enter_context(client.Client(t.w.admin))
            c.request("GET", "/v1/events", host="weir")
            assert c.head().status == 200
        heap(t)


def grow(t, kept, times):
    """Heap memory after ten reloads and after more. What malloc keeps for a thread at hand would
    count as in use."""
    if t.sanitized:
        raise Skip("a sanitizer's malloc does not count")
    t.o = t.origin("one")
    t.kept, t.state = kept, t.make_dir("state")
    t.admin = {"address": t.unix()}
    t.w = t.start(config(t, 0), env={"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"})
    fill_pools(t)
    for n in range(1, times + 1):
        reload(t, n)
        if n == 10:
            at = heap(t)
    assert at > 100000, at
    # Files of the history may still be on their way.
    await_true("what the reloads took given back", lambda: heap(t) <= at + SLACK)


def test_a_thousand_reloads(t):
    grow(t, False, 1000)


def test_with_files(t):
    """The texts before are in files."""
    grow(t, True, 200)

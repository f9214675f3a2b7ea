# SPDX-License-Identifier: Apache-2.0
"""A DNS server that answers badly: what was good stays in use, what is good again is used, and it
is not asked more often because it says so."""

import struct
import time

from peers import client, dns, wire
from peers.dns import A, CNAME, NXDOMAIN, TRUNCATED

NEEDS_HOOKS = True
NOT_IN = {"onebyte": "it is about messages of the resolver's own library",
          "doors": "what is refused is not asked"}
COST = 5
HUGE = 0xffffffff


def loop_of_names(q):
    """The first record's name points to itself."""
    at = 12 + len(q.question)
    return q.answer([dns.record(A, b"\x7f\0\0\1", 0, struct.pack(">H", 0xc000 | at))])


def chain(q, n):
    """CNAME after CNAME; none has an address."""
    names = [dns.labels(q.name)] + [dns.labels("c%d.test" % i) for i in range(n)]
    return q.answer([dns.record(CNAME, b, 0, a) for a, b in zip(names, names[1:])])


def circle(q):
    a, b = dns.labels(q.name), dns.labels("other.test")
    return q.answer([dns.record(CNAME, b, 0, a), dns.record(CNAME, a, 0, b)])


def begin(t):
    """Two origins on one port; the name means the one that `t.means` says."""
    t.first = t.origin("first", t.address())
    port = t.first.address.rsplit(":", 1)[1]
    net, a, rest = t.host.split(".", 2)
    t.second_ip = "%s.%d.%s" % (net, int(a) + 64, rest)
    t.second = t.origin("second", "%s:%s" % (t.second_ip, port))
    t.means, t.ttl, t.mode = t.host, 0, None
    t.dns_name = "name.test:" + port
    t.dns = dns.Dns(t.host, lambda q: answers(t, q))
    t.origins.append(t.dns)
    t.w = t.start({"listeners": [{"address": t.address()}],
                   "upstreams": {"u": {"endpoints": [t.dns_name],
                                       "pool": {"max_requests": 1}}},
                   "routes": [{"match": {"path": "/*"}, "to": "u"}], "workers": 1,
                   "admin": {"address": t.unix()}},
                  env={"WEIR_DNS": t.dns.address})
    wire.await_true("the first origin", lambda: served_by(t) == "first")


def answers(t, q):
    if q.kind != A:
        return [q.answer()]
    if t.mode:
        return t.mode(q)
    return [q.answer([dns.a(t.means, t.ttl)])]


def served_by(t):
    r = t.w.get("/x")
    return r.get("x-origin") if r.status == 200 else None


def asked(t):
    return sum(q.kind == A for q in t.dns.asked)


def bad(t, *mode):
    """In each of these modes the last good address stays; behind it the next good one is taken."""
    for m in mode:
        t.mode = m
        before = asked(t)
        wire.await_true("questions", lambda: asked(t) >= before + 2, 20)
        assert served_by(t) == ("first" if t.means == t.host else "second")
        t.means = t.second_ip if t.means == t.host else t.host
        t.mode = None
        name = "first" if t.means == t.host else "second"
        wire.await_true("what is good again", lambda: served_by(t) == name, 60)


def test_malformed(t):
    bad(t, lambda q: [loop_of_names(q)],
        lambda q: [q.answer([dns.a("192.0.2.1")])[:-2]],  # cut in its address
        lambda q: [q.answer([dns.a("192.0.2.1")], n=1000)],
        lambda q: [b"\0" * 5], lambda q: [q.message])


def test_no_address(t):
    bad(t, lambda q: [q.answer(code=NXDOMAIN)], lambda q: [q.answer(code=2)],
        lambda q: [q.answer()], lambda q: [circle(q)], lambda q: [chain(q, 60)])


def test_truncated_and_never_whole(t):
    bad(t, lambda q: [] if q.tcp else [q.answer(flags=TRUNCATED)])


def test_forged(t):
    """A message with another number, or for another name, is no answer; what comes behind it is."""
    def forged(q):
        other = dns.Question(q.message.replace(b"\4name", b"\4evil"), q.tcp)
        return [q.answer([dns.a("192.0.2.1", HUGE)], id_=q.id ^ 1),
                other.answer([dns.a("192.0.2.1", HUGE)]), q.answer([dns.a(t.means)])]
    t.mode = forged
    before = asked(t)
    wire.await_true("questions", lambda: asked(t) >= before + 3, 30)
    for _ in range(5):
        assert served_by(t) == ("first" if t.means == t.host else "second")
    t.mode = None


def test_thousands_of_addresses(t):
    """By TCP, as they do not fit; a part of them is used, and the next answer."""
    many = ["127.77.%d.%d" % (i >> 8, i & 255) for i in range(4000)]

    def flood(q):
        return [q.answer([dns.a(x) for x in many]) if q.tcp else q.answer(flags=TRUNCATED)]
    t.mode = flood
    before = sum(q.tcp for q in t.dns.asked)
    wire.await_true("questions by TCP", lambda: sum(q.tcp for q in t.dns.asked) >= before + 2, 20)
    assert t.w.get("/x").status in (200, 502, 503)
    t.mode = None
    wire.await_true("what is good again",
                    lambda: served_by(t) == ("first" if t.means == t.host else "second"), 60)


def test_moves_are_told(t):
    """Other addresses of a name are a change of its endpoint."""
    port = t.dns_name.split(":")[1]
    with client.Client(t.w.admin) as c:
        told = client.events(c)
        assert next(told) is None
        was, t.means = t.means, t.second_ip if t.means == t.host else t.host
        moved = next(e[2] for e in told if e[1] == "endpoint" and "addresses" in e[2]["text"]
                     and e[2]["text"].endswith("-> [%s:%s]" % (t.means, port)))
    assert moved["name"] == "u/" + t.dns_name, moved
    assert moved["text"] == "endpoint u/%s: changed: addresses [%s:%s] -> [%s:%s]" % (
        t.dns_name, was, port, t.means, port), moved


def test_no_time_to_live(t):
    """An answer that may be kept for no second is kept for one; one that has all bits set in its
    time, which RFC 2181 8 counts as none, too."""
    for t.ttl in (0, HUGE):
        wire.await_true("an answer", lambda n=asked(t): asked(t) > n, 20)
        before, since = asked(t), time.monotonic()
        wire.await_true("three more", lambda: asked(t) >= before + 3, 30)
        assert asked(t) - before <= time.monotonic() - since + 2
    t.ttl = 0

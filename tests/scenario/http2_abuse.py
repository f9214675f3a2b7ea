# SPDX-License-Identifier: Apache-2.0
"""Abuse of HTTP/2: each kind has a budget for a connection, then GOAWAY with ENHANCE_YOUR_CALM and
a reason code of its own, while other clients are served and memory stays where it was."""

import struct
import threading

from peers import h2, wire
from peers.h2 import (CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM,
                      FRAME_SIZE_ERROR, H2, HEADERS, PING, PRIORITY, PRIORITY_UPDATE,
                      PROTOCOL_ERROR, REFUSED_STREAM, RST, SETTINGS, STREAM_CLOSED, WINDOW, frame)

NOT_IN = {"onebyte": "floods of a byte a system call prove nothing new"}
COST = 3
MIB = 1 << 20


def begin(t):
    t.o = t.origin()
    t.w = t.simple(listeners=[{"address": t.address(), "h2c": True}],
                   admin={"address": t.address()}, timeouts={"client_send": "1s",
                                                             "client_head": "3s"})
    t.o.on("/wait", lambda conn, req: (req.body(), conn.await_end(), conn.close()))
    with H2(t.w.address) as c:  # what is made once is made before memory is measured
        c.ask(path="/warm")
    t.before = t.w.memory()


STREAMS = "h2_stream_flood"  # what resets look like to a server that is slower than they come


def faults(t, *reasons):
    return sum(v for (name, labels), v in t.w.metrics().items()
               if name == "weir_faults_total" and any(("reason", r) in labels for r in reasons))


def innocent(t):
    """Another client is served."""
    with H2(t.w.address) as c:
        r = c.ask(path="/innocent")
        assert r.body == b"origin GET /innocent\n", r


def flood(t, reason, send, *or_reasons):
    """send(c) goes on until the server ends it; then the reason is counted."""
    before = faults(t, reason, *or_reasons)
    with H2(t.w.address) as c:
        done = threading.Event()

        # Else our answer to its SETTINGS may come between the frames of the flood.
        c.until("SETTINGS", lambda: c.settings is not None and c.acked)

        def work():
            send(c)
            done.set()
        sender = threading.Thread(target=work, daemon=True)
        sender.start()
        code = c.await_end()
        innocent(t)
        assert code == ENHANCE_YOUR_CALM, (reason, c.goaway)
        assert done.wait(wire.patience())
    wire.await_true(reason, lambda: faults(t, reason, *or_reasons) > before)
    if not t.sanitized:
        grown = t.w.memory() - t.before
        assert grown < 8 * MIB, "%s: %d bytes more" % (reason, grown)


def repeat(*frames, n=20000):
    """Many times the same frames, in large writes."""
    one = b"".join(frames)

    def send(c):
        for _ in range(n // 100):
            c.send(one * 100)
    return send


def on_stream(*frames, n=20000):
    """The same on stream 1, opened by a request that the origin does not answer."""
    def send(c):
        c.request("POST", "/wait", end=False)
        repeat(*frames, n=n)(c)
    return send


def test_rapid_reset(t):
    """CVE-2023-44487: the upstream work of every stream is cancelled too."""
    def send(c):
        block = c.encode(c.head(path="/wait"))
        for i in range(0, 20000, 100):
            for k in range(i, i + 100):
                c.answers.setdefault(2 * k + 1, h2.Answer())
            c.send(b"".join(frame(HEADERS, 5, 2 * k + 1, block)
                            + frame(RST, 0, 2 * k + 1, struct.pack(">I", h2.CANCEL))
                            for k in range(i, i + 100)))
    flood(t, "h2_rapid_reset", send, STREAMS)
    assert len(t.o.seen("/wait")) < 1000, len(t.o.seen("/wait"))
    for q in t.o.seen("/wait"):
        assert q.conn.ended.wait(wire.patience(20)), "the upstream side goes on"


def test_made_reset(t):
    """CVE-2025-8671: resets that the client makes the server send."""
    def send(c):
        block = c.encode(c.head("POST", "/wait"))
        for i in range(0, 20000, 100):
            for k in range(i, i + 100):
                c.answers.setdefault(2 * k + 1, h2.Answer())
            c.send(b"".join(frame(HEADERS, 4, 2 * k + 1, block)
                            + frame(WINDOW, 0, 2 * k + 1, struct.pack(">I", 0x7fffffff))
                            for k in range(i, i + 100)))
    flood(t, "h2_made_reset", send, STREAMS)


def test_made_reset_by_other_ways(t):
    """The same by each other frame that is an error of one stream: the budget is the same, or the
    connection ends at once with that error; nothing of it goes on at the origin."""
    window = struct.pack(">I", 0)
    ways = {"WINDOW_UPDATE of 0": ((), 4, lambda s, block: frame(WINDOW, 0, s, window)),
            "DATA behind END_STREAM": ((), 5, lambda s, block: frame(DATA, 0, s, b"x")),
            "HEADERS behind END_STREAM": ((), 5, lambda s, block: frame(HEADERS, 5, s, block)),
            "more than content-length": ((("content-length", "1"),), 4,
                                         lambda s, block: frame(DATA, 0, s, b"xx")),
            "PRIORITY of 4 bytes": ((), 4, lambda s, block: frame(PRIORITY, 0, s, bytes(4)))}
    for way, (fields, flags, error) in ways.items():
        seen, before = len(t.o.seen("/wait")), faults(t, "h2_made_reset", STREAMS)
        with H2(t.w.address) as c:
            c.until("SETTINGS", lambda: c.settings is not None and c.acked)
            block = c.encode(c.head("POST", "/wait", fields))
            for i in range(0, 20000, 100):
                streams = range(2 * i + 1, 2 * i + 201, 2)
                for s in streams:
                    c.answers.setdefault(s, h2.Answer())
                c.send(b"".join(frame(HEADERS, flags, s, block) + error(s, block)
                                for s in streams))
                if c.stream.readable(0) and not c.step():
                    break
            code = c.await_end()
            assert code in (ENHANCE_YOUR_CALM, PROTOCOL_ERROR, STREAM_CLOSED, FRAME_SIZE_ERROR), (
                way, c.goaway)
            innocent(t)
        if code == ENHANCE_YOUR_CALM:
            wire.await_true(way, lambda: faults(t, "h2_made_reset", STREAMS) > before)
        new = t.o.seen("/wait")[seen:]
        assert len(new) < 1000, (way, len(new))
        for q in new:
            assert q.conn.ended.wait(wire.patience(20)), (way, "the upstream side goes on")


def test_malformed_requests(t):
    """Malformed heads are resets that the client made."""
    def send(c):
        block = c.encode([(":method", "GET"), ("Upper", "x")])
        for i in range(0, 20000, 100):
            for k in range(i, i + 100):
                c.answers.setdefault(2 * k + 1, h2.Answer())
            c.send(b"".join(frame(HEADERS, 5, 2 * k + 1, block) for k in range(i, i + 100)))
    flood(t, "h2_made_reset", send, STREAMS)


def test_continuation_flood(t):
    """CVE-2024-27316 and its kin: without END_HEADERS, with bytes and without."""
    for payload in (b"", b"\x00\x01a\x01b"):
        def send(c, payload=payload):
            c.frame(HEADERS, 0, 1, c.encode(c.head()))
            repeat(frame(CONTINUATION, 0, 1, payload), n=1000)(c)
        flood(t, "h2_continuation_flood", send)


def test_hpack_bomb(t):
    """CVE-2016-6581: one large entry, named often."""
    def send(c):
        block = c.encode(c.head(fields=[("x-bomb", "b" * 3900)]))
        c.answers[1] = h2.Answer()
        c.frame(HEADERS, END_HEADERS | END_STREAM, 1, block + b"\xbe" * 12000)
    flood(t, "h2_header_bomb", send)


def test_crumb_bomb(t):
    """CVE-2026-49975: thousands of empty crumbs; each is a field."""
    def send(c):
        c.frame(SETTINGS, 0, 0, h2.settings({h2.INITIAL_WINDOW: 0}))
        block = c.encode(c.head(fields=[("cookie", "")]))
        c.answers[1] = h2.Answer()
        c.frame(HEADERS, END_HEADERS | END_STREAM, 1, block + b"\xbe" * 4000)
    flood(t, "h2_header_bomb", send)
    with H2(t.w.address) as c:
        block = c.encode(c.head(fields=[("cookie", "")]))
        c.answers[1] = h2.Answer()
        c.frame(HEADERS, END_HEADERS | END_STREAM, 1, block + b"\xbe" * 110)
        assert c.response(1).status == 431, c.answers[1]


def test_settings_flood(t):
    flood(t, "h2_settings_flood", repeat(frame(SETTINGS)))
    wire.await_true("a line of the log", lambda: "http2.ended" in t.w.log()
                    and "h2_settings_flood" in t.w.log())


def test_ping_flood(t):
    flood(t, "h2_ping_flood", repeat(frame(PING, 0, 0, bytes(8))))


def test_ping_flood_unread(t):
    """The same by a client that reads nothing: what waits for it is bounded."""
    before = faults(t, "h2_ping_flood")
    with H2(t.w.address) as c:
        repeat(frame(PING, 0, 0, bytes(8)))(c)
        wire.await_true("the fault", lambda: faults(t, "h2_ping_flood") > before)
        innocent(t)


def test_empty_data_flood(t):
    flood(t, "h2_empty_data_flood", on_stream(frame(DATA, 0, 1)))


def test_priority_flood(t):
    flood(t, "h2_priority_flood", repeat(frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1))))
    flood(t, "h2_priority_flood",
          on_stream(frame(PRIORITY_UPDATE, 0, 0, struct.pack(">I", 1) + b"u=1")))


def test_window_update_flood(t):
    flood(t, "h2_window_update_flood", repeat(frame(WINDOW, 0, 0, struct.pack(">I", 1))))


def test_window_of_one_byte(t):
    """An answer asked for byte by byte."""
    t.o.on("/bytes", lambda conn, req: conn.reply(body=b"x" * 200000))

    def send(c):
        c.frame(SETTINGS, 0, 0, h2.settings({h2.INITIAL_WINDOW: 0}))
        c.request(path="/bytes")
        repeat(frame(WINDOW, 0, 1, struct.pack(">I", 1)))(c)
    flood(t, "h2_window_update_flood", send)


def test_window_updates_for_small_messages(t):
    """A stream of small messages, as of gRPC or events: who makes room for each of them, on stream
    and connection, is no attacker."""
    t.not_in("doors", "an answer may be refused")
    n, taken = 1500, threading.Semaphore(0)

    def trickle(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(n):
            conn.send(b"2\r\nhi\r\n")
            taken.acquire(timeout=wire.patience())
        conn.send(b"0\r\n\r\n")
    t.o.on("/trickle", trickle)
    with H2(t.w.address) as c:  # answers each DATA frame by two WINDOW_UPDATE
        s = c.request(path="/trickle")
        a, seen = c.answers[s], 0
        while not a.over and c.step():
            for _ in range(len(a.body) // 2 - seen):
                seen += 1
                taken.release()
        assert a.ended and a.body == b"hi" * n and not c.goaway, (len(a.body), c.goaway)


def test_unknown_frame_flood(t):
    flood(t, "h2_unknown_frame_flood", repeat(frame(0xee, 0, 0, b"x")))


def test_shut_windows(t):
    """Answers held by a window of 0 end by client_send; many of them end the connection."""
    before = faults(t, "h2_window_stall")
    with H2(t.w.address, values={h2.INITIAL_WINDOW: 0}, auto=False) as c:
        stream = c.request(path="/held")
        r = c.response(stream)
        assert r.reset == h2.CANCEL and r.status == 200, r
        assert t.w.line_for("/held")["reason"] == "client_send_timeout"
    t.not_in("doors", "how many answers are held, not refused, is chance there")
    t.o.on("/big", lambda conn, req: conn.reply(body=b"x" * MIB))
    with H2(t.w.address, values={h2.INITIAL_WINDOW: 0}, auto=False) as c:
        for _ in range(40):
            c.request(path="/big")
        innocent(t)
        assert c.await_end() == ENHANCE_YOUR_CALM, c.goaway
    wire.await_true("the fault", lambda: faults(t, "h2_window_stall") > before)


def test_streams_beyond_the_limit(t):
    """2,000 slow streams: 100 are taken, the others refused; the connection lives."""
    with H2(t.w.address) as c:
        c.until("SETTINGS", lambda: c.settings)
        assert c.settings[h2.MAX_STREAMS] == 100, c.settings
        ids = [c.request(path="/wait") for _ in range(2000)]
        c.until("refusals", lambda: sum(not c.answers[i].over for i in ids) <= 100)
        assert {c.answers[i].reset for i in ids} == {REFUSED_STREAM, None}
        assert sum(c.answers[i].reset is None for i in ids) == 100
        innocent(t)
        open_ = [i for i in ids if c.answers[i].reset is None]
        for i in open_:
            c.rst(i)
        # They count until their exchanges are over: meanwhile a client is refused, and asks again.
        wire.await_true("room", lambda: c.ask(path="/alive").status == 200)


def test_heads_never_completed(t):
    """client_head holds for a header block in pieces, absolute."""
    before = faults(t, "client_head_timeout")
    for raw in (h2.PREFACE[:10], h2.PREFACE,
                h2.PREFACE + frame(SETTINGS) + frame(HEADERS, 0, 1, b"\x82")):
        with H2(t.w.address, greet=False, auto=False) as c:
            c.send(raw)
            c.await_end()
    wire.await_true("the faults", lambda: faults(t, "client_head_timeout") >= before + 3)


def test_unread_answers(t):
    """A client that reads nothing at all: its answers are bounded, and given up in time."""
    body = b"x" * MIB
    t.o.on("/large", lambda conn, req: conn.reply(body=body))
    with H2(t.w.address, values={h2.INITIAL_WINDOW: 1 << 24}, auto=False) as c:
        c.open_window(1 << 30)
        for _ in range(30):
            c.request(path="/large")
        t.o.await_seen("/large")  # no more requests are read once answers wait
        innocent(t)
        if not t.sanitized:
            assert t.w.memory() - t.before < 60 * MIB
        wire.await_true("all given up", lambda: len(
            [x for x in t.w.access() if x.get("path") == "/large"]) >= len(t.o.seen("/large")),
                        timeout=60)


def test_bombs_on_refused_streams(t):
    """A head that is refused is decoded all the same, and not without end."""
    def send(c):
        for _ in range(101):
            c.request(path="/wait")
        block = c.encode(c.head(fields=[("x-bomb", "b" * 3900)]))
        for _ in range(5):
            c.answers[c.next_id] = h2.Answer()
            c.frame(HEADERS, END_HEADERS | END_STREAM, c.next_id, block + b"\xbe" * 12000)
            c.next_id += 2
    flood(t, "h2_header_bomb", send)

# SPDX-License-Identifier: Apache-2.0
"""The cases of h2spec, one row each: what is sent on a fresh connection, and what RFC 9113 (numbers
with "hpack": RFC 7541) wants to come of it. Stricter than h2spec: a closed connection alone is no
answer where the RFC names an error code."""

import re
import struct

from peers import h2, wire
from peers.h2 import (CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM,
                      FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, H2, HEADERS, INITIAL_WINDOW,
                      MAX_FRAME, PADDED, PING, PRIORITY, PRIORITY_FLAG, PROTOCOL_ERROR, PUSH,
                      REFUSED_STREAM, RST, SETTINGS, STREAM_CLOSED, WINDOW, frame, settings)

LIMIT = 5  # max_streams of the listener


def begin(t):
    t.o = t.origin()
    t.o.on("/wait", lambda conn, req: (req.body(), conn.await_end(), conn.close()))
    t.w = t.simple(listeners=[{"address": t.address(), "h2c": True,
                               "http2": {"max_streams": LIMIT}}])


# ---- what is sent ----

def block(c, fields=(), method="GET", path="/"):
    return c.encode(c.head(method, path, fields))


def headers(c, payload=None, flags=END_HEADERS | END_STREAM, stream=1, fields=(), method="GET",
            path="/"):
    """HEADERS of a whole request, or as told."""
    c.answers.setdefault(stream, h2.Answer())
    c.frame(HEADERS, flags, stream, block(c, fields, method, path) if payload is None else payload)


def waiting(c, end=True):
    """A request that the origin does not answer."""
    headers(c, flags=END_HEADERS | (END_STREAM if end else 0), path="/wait")


def post(c, fields=(), path="/"):
    """A request without its body."""
    headers(c, flags=END_HEADERS, fields=fields, method="POST", path=path)


def answered(c):
    """A request and its whole answer: the stream is closed."""
    headers(c)
    c.response(1)


def literal(raw):
    """A request the field block of which ends in these bytes."""
    return lambda c: headers(c, block(c) + raw)


def leading(raw):
    """A request the field block of which begins with these bytes."""
    return lambda c: headers(c, raw + block(c))


def raw(*frames):
    return lambda c: c.send(b"".join(frames))


def priority(stream, depends, weight=15, exclusive=False):
    return frame(PRIORITY, 0, stream, struct.pack(">IB", depends | exclusive << 31, weight))


def cut(c, rest, flags=0, method="GET"):
    """HEADERS without END_HEADERS, then frames."""
    b = block(c, method=method)
    c.answers.setdefault(1, h2.Answer())
    c.send(frame(HEADERS, flags, 1, b[:5]) + rest(b))


def more(c):
    return c.encode([("x-more", "1")])


def after(first, *frames):
    """A function, then frames."""
    return lambda c: (first(c), c.send(b"".join(frames)))


def pseudo(change, method="GET"):
    """A request the list of fields of which was changed."""
    def send(c):
        fields = c.head(method, "/malformed", [("x-first", "1")])
        headers(c, c.encode(change(fields)))
    return send


def without(name):
    return pseudo(lambda f: [x for x in f if x[0] != name])


def added(*fields):
    return pseudo(lambda f: f + list(fields))


def doubled(i):
    return pseudo(lambda f: f[:i + 1] + f[i:])


def trailers(fields, flags):
    """A POST with DATA, then this section."""
    def send(c):
        post(c)
        c.data(1, b"test")
        c.frame(HEADERS, flags, 1, c.encode(fields))
    return send


def too_many(c):
    for i in range(LIMIT + 3):
        headers(c, stream=1 + 2 * i, path="/wait")


def descending(c):
    headers(c, stream=5)
    headers(c, stream=3)


def priority_field(c):
    """HEADERS with the priority of old."""
    headers(c, struct.pack(">IB", 0, 255) + block(c), END_HEADERS | END_STREAM | PRIORITY_FLAG)


def padded(c):
    headers(c, b"\x05" + block(c) + bytes(5), END_HEADERS | END_STREAM | PADDED)


def bad_padding(c):
    b = block(c)
    headers(c, bytes([len(b) + 2]) + b, END_HEADERS | END_STREAM | PADDED)


def big_head(c):
    headers(c, block(c, [("x%d" % i, "v" * 4000) for i in range(5)]))


def self_dependent(c):
    headers(c, struct.pack(">IB", 1, 255) + block(c), END_HEADERS | END_STREAM | PRIORITY_FLAG)


def window(size):
    """Our window for each stream."""
    return lambda c: c.frame(SETTINGS, 0, 0, settings({INITIAL_WINDOW: size}))


def both(*steps):
    return lambda c: [step(c) for step in steps]


# ---- what comes of it ----

def answer(c):
    """A response head."""
    c.until("a response", lambda: c.answers[1].status is not None, 1)
    assert c.answers[1].status == 200, c.answers[1]


def pong(c):
    c.ping()


def pong_or_end(c):
    """Both are right; nothing is answered with an error."""
    c.frame(PING, 0, 0, b"87654321")
    try:
        c.until("PING answer", lambda: bool(c.pongs))
    except wire.Ended:
        pass
    assert not c.goaway or c.goaway[1] == 0, c.goaway


def refused(c):
    """A stream was not taken for want of memory: what else is sent on it means nothing."""
    few = len(c.answers) <= LIMIT  # else that is what it was about
    return any(a.status == 503 or (few and a.reset == REFUSED_STREAM) for a in c.answers.values())


def give_up_when_refused(c):
    if refused(c):
        raise wire.Ended("a stream was refused")


def connection(*codes):
    """GOAWAY with one of the codes, then the end."""
    def check(c):
        while c.step():
            give_up_when_refused(c)
        code = c.goaway[1] if c.goaway else None
        assert code in codes, "GOAWAY %r, wanted %r" % (c.goaway, codes)
    return check


def stream(*codes):
    """RST_STREAM of stream 1 (or the last) with one of the codes, or GOAWAY with one."""
    def check(c):
        def seen():
            return [a.reset for a in c.answers.values() if a.reset is not None]
        c.answers.setdefault(1, h2.Answer())
        c.until("an error", lambda: c.goaway or seen() or refused(c))
        give_up_when_refused(c)
        got = [c.goaway[1]] if c.goaway else seen()
        assert all(code in codes for code in got), "%r, wanted %r" % (got, codes)
    return check


def refused_head(c):
    """A stream error, or the reply that 8.1.1 allows before it: 400, of an unknown scheme 421."""
    c.until("a refusal", lambda: c.goaway or c.answers[1].reset is not None or c.answers[1].status)
    got = c.goaway[1] if c.goaway else c.answers[1].reset
    assert got in (PROTOCOL_ERROR, REFUSED_STREAM) or c.answers[1].status in (400, 421, 503), (
        c.goaway, c.answers[1])


def one_byte(c):
    """A body in pieces of a window of one byte."""
    c.until("DATA", lambda: c.answers[1].body, 1)
    assert len(c.answers[1].body) == 1, c.answers[1]


def acknowledged(c):
    c.until("SETTINGS acknowledgement", lambda: c.acked >= 2)


def first_settings(c):
    got = c.read_frame()
    assert got[0] == SETTINGS and not got[1] & 1, got


def windows_adjusted(c):
    """Nothing with a window of 0, then as much as the new one allows."""
    headers(c)
    c.until("a head", lambda: c.answers[1].status, 1)
    assert not c.answers[1].body
    c.frame(SETTINGS, 0, 0, settings({INITIAL_WINDOW: 1}))
    one_byte(c)


def window_negative(c):
    headers(c)
    c.until("DATA", lambda: len(c.answers[1].body) >= 3, 1)  # in frames of any size
    n = len(c.answers[1].body)
    assert n == 3, c.answers[1]
    before = c.acked
    c.frame(SETTINGS, 0, 0, settings({INITIAL_WINDOW: 2}))
    c.until("acknowledgement", lambda: c.acked > before)
    c.open_window(2, 1)
    c.until("a byte more", lambda: len(c.answers[1].body) > n, 1)
    assert len(c.answers[1].body) == n + 1, c.answers[1]


NOTHING = raw()
UNKNOWN = frame(22, 0, 0, bytes(8))
AUTO = dict(auto=True)
MANUAL = dict(auto=False)
PROTOCOL = connection(PROTOCOL_ERROR)
COMPRESSION = connection(COMPRESSION_ERROR)
SIZE = connection(FRAME_SIZE_ERROR)
MALFORMED = stream(PROTOCOL_ERROR)

CASES = [
    # generic
    ("generic/1", "preface", NOTHING, pong),
    ("generic/2", "PRIORITY on an idle stream", raw(priority(1, 0)), pong),
    ("generic/2", "WINDOW_UPDATE on a half-closed stream",
     both(window(0), headers, lambda c: c.open_window(1, 1)), one_byte, MANUAL),
    ("generic/2", "PRIORITY on a half-closed stream",
     both(window(0), after(headers, priority(1, 0)), lambda c: c.open_window(1, 1)), one_byte,
     MANUAL),
    ("generic/2", "RST_STREAM on a half-closed stream",
     after(waiting, frame(RST, 0, 1, struct.pack(">I", CANCEL))), pong_or_end),
    ("generic/2", "PRIORITY on a closed stream", after(answered, priority(1, 0)), pong),
    ("generic/3.1", "DATA", lambda c: (post(c), c.data(1, b"test", True)), answer),
    ("generic/3.1", "several DATA",
     lambda c: (post(c), c.data(1, b"test"), c.data(1, b"test", True)), answer),
    ("generic/3.1", "DATA with padding",
     lambda c: (post(c), c.frame(DATA, END_STREAM | PADDED, 1, b"\x05test" + bytes(5))), answer),
    ("generic/3.2", "HEADERS", headers, answer),
    ("generic/3.2", "HEADERS with padding", padded, answer),
    ("generic/3.2", "HEADERS with priority", priority_field, answer),
    ("generic/3.3", "PRIORITY, weight 1", both(raw(priority(1, 0, 0)), headers), answer),
    ("generic/3.3", "PRIORITY, weight 256", both(raw(priority(1, 0, 255)), headers), answer),
    ("generic/3.3", "PRIORITY with a dependency", both(raw(priority(3, 1)), headers), answer),
    ("generic/3.3", "PRIORITY, exclusive", both(raw(priority(1, 0, 15, True)), headers), answer),
    ("generic/3.3", "PRIORITY for a higher idle stream first",
     both(raw(priority(3, 0)), headers), answer),
    ("generic/3.4", "RST_STREAM",
     after(lambda c: waiting(c, False), frame(RST, 0, 1, struct.pack(">I", CANCEL))),
     pong_or_end),
    ("generic/3.5", "SETTINGS with all parameters",
     lambda c: c.frame(SETTINGS, 0, 0, settings({1: 4096, 2: 0, 3: 100, 4: 65535, 5: 16384,
                                                 6: 1 << 20})), acknowledged),
    ("generic/3.7", "PING", NOTHING, pong),
    ("generic/3.8", "GOAWAY", raw(frame(GOAWAY, 0, 0, bytes(8) + b"bye")), pong_or_end),
    ("generic/3.9", "WINDOW_UPDATE on the connection", lambda c: c.open_window(1), pong),
    ("generic/3.9", "WINDOW_UPDATE on a stream",
     both(headers, lambda c: c.open_window(1, 1)), answer),
    ("generic/3.10", "CONTINUATION",
     lambda c: cut(c, lambda b: frame(CONTINUATION, END_HEADERS, 1, b[5:]), END_STREAM), answer),
    ("generic/3.10", "several CONTINUATION",
     lambda c: cut(c, lambda b: frame(CONTINUATION, 0, 1, b[5:10])
                   + frame(CONTINUATION, END_HEADERS, 1, b[10:]), END_STREAM), answer),
    ("generic/4", "GET", headers, answer),
    ("generic/4", "HEAD", lambda c: headers(c, method="HEAD"), answer),
    ("generic/4", "POST", lambda c: (post(c), c.data(1, b"test", True)), answer),
    ("generic/4", "POST with trailers",
     lambda c: (post(c, [("trailer", "x-test")]), c.data(1, b"test"),
                c.frame(HEADERS, END_HEADERS | END_STREAM, 1, c.encode([("x-test", "ok")]))),
     answer),
    ("generic/5", "indexed field",
     lambda c: headers(c, block(c, [("user-agent", "h2")]) + b"\xbe"), answer),
    ("generic/5", "literal with indexing, indexed name", literal(b"\x7a\x02h2"), answer),
    ("generic/5", "literal with indexing, indexed name, Huffman",
     literal(b"\x7a\x84\x9c\x48\xac\xa4"), answer),
    ("generic/5", "literal with indexing, new name", literal(b"\x40\x06x-test\x02h2"), answer),
    ("generic/5", "literal with indexing, new name, Huffman",
     literal(b"\x40\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4"), answer),
    ("generic/5", "literal without indexing, indexed name", literal(b"\x0f\x2b\x02h2"), answer),
    ("generic/5", "literal without indexing, indexed name, Huffman",
     literal(b"\x0f\x2b\x84\x9c\x48\xac\xa4"), answer),
    ("generic/5", "literal without indexing, new name", literal(b"\x00\x06x-test\x02h2"), answer),
    ("generic/5", "literal without indexing, new name, Huffman",
     literal(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4"), answer),
    ("generic/5", "literal never indexed, indexed name", literal(b"\x1f\x2b\x02h2"), answer),
    ("generic/5", "literal never indexed, indexed name, Huffman",
     literal(b"\x1f\x2b\x84\x9c\x48\xac\xa4"), answer),
    ("generic/5", "literal never indexed, new name", literal(b"\x10\x06x-test\x02h2"), answer),
    ("generic/5", "literal never indexed, new name, Huffman",
     literal(b"\x10\x85\xf2\xb2\x4a\x84\xff\x84\x9c\x48\xac\xa4"), answer),
    ("generic/5", "dynamic table size update", leading(b"\x30"), answer),
    ("generic/5", "two dynamic table size updates", leading(b"\x20\x30"), answer),

    # http2
    ("3.4", "the server's first frame is SETTINGS", NOTHING, first_settings),
    ("4.1", "unknown type", raw(UNKNOWN), pong),
    ("4.1", "undefined flags", raw(frame(PING, 0x16, 0, bytes(8))), pong),
    ("4.1", "reserved bit", raw(frame(PING, 0x16, 1 << 31, bytes(8))), pong),
    ("4.2", "DATA of 2^14 bytes", lambda c: (post(c), c.data(1, b"x" * 16384, True)), answer),
    ("4.2", "DATA larger than MAX_FRAME_SIZE",
     lambda c: (post(c, path="/wait"), c.frame(DATA, END_STREAM, 1, b"x" * 16385)),
     stream(FRAME_SIZE_ERROR)),
    ("4.2", "HEADERS larger than MAX_FRAME_SIZE", big_head, SIZE),
    ("4.3", "a block that ends inside a field", raw(frame(HEADERS, 5, 1, b"\x40")), COMPRESSION),
    ("4.3", "PRIORITY inside a block",
     lambda c: cut(c, lambda b: priority(1, 0) + frame(CONTINUATION, END_HEADERS, 1, b[5:])),
     PROTOCOL),
    ("4.3", "HEADERS of another stream inside a block",
     lambda c: cut(c, lambda b: frame(HEADERS, END_HEADERS | END_STREAM, 3, b)), PROTOCOL),
    ("5.1", "idle: DATA", raw(frame(DATA, END_STREAM, 1, b"test")), PROTOCOL),
    ("5.1", "idle: RST_STREAM", raw(frame(RST, 0, 1, struct.pack(">I", CANCEL))), PROTOCOL),
    ("5.1", "idle: WINDOW_UPDATE", lambda c: c.open_window(100, 1), PROTOCOL),
    ("5.1", "idle: CONTINUATION", lambda c: c.frame(CONTINUATION, END_HEADERS, 1, block(c)),
     PROTOCOL),
    ("5.1", "half closed: DATA", after(waiting, frame(DATA, END_STREAM, 1, b"test")),
     stream(STREAM_CLOSED)),
    ("5.1", "half closed: HEADERS", both(waiting, headers), stream(STREAM_CLOSED)),
    ("5.1", "half closed: CONTINUATION",
     both(waiting, lambda c: c.frame(CONTINUATION, END_HEADERS, 1, block(c))),
     stream(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1", "reset: DATA",
     lambda c: (waiting(c, False), c.rst(1), c.frame(DATA, END_STREAM, 1, b"test")),
     stream(STREAM_CLOSED)),
    ("5.1", "reset: HEADERS", lambda c: (waiting(c, False), c.rst(1), headers(c)),
     stream(STREAM_CLOSED)),
    ("5.1", "reset: CONTINUATION",
     lambda c: (waiting(c, False), c.rst(1), c.frame(CONTINUATION, END_HEADERS, 1, more(c))),
     stream(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1", "closed: DATA", after(answered, frame(DATA, END_STREAM, 1, b"test")),
     stream(STREAM_CLOSED)),
    ("5.1", "closed: HEADERS", both(answered, headers), connection(STREAM_CLOSED)),
    ("5.1", "closed: CONTINUATION",
     both(answered, lambda c: c.frame(CONTINUATION, END_HEADERS, 1, more(c))),
     connection(STREAM_CLOSED, PROTOCOL_ERROR)),
    ("5.1.1", "an even number", lambda c: headers(c, stream=2), PROTOCOL),
    ("5.1.1", "a number smaller than the last", descending, connection(PROTOCOL_ERROR,
                                                                       STREAM_CLOSED)),
    ("5.1.2", "more streams than allowed", too_many, stream(REFUSED_STREAM)),
    ("5.3.1", "HEADERS that depends on itself", self_dependent, MALFORMED),
    # The one case that is judged wrong: h2spec wants an error, after RFC 7540 5.3.1. RFC 9113 says
    # in 5.3.2: "This update to HTTP/2 deprecates the priority signaling defined in RFC 7540
    # [RFC7540]. The bulk of the text related to priority signals is not included in this
    # document." What 6.3 kept for PRIORITY are two errors: stream 0, and a length other than 5.
    ("5.3.2", "PRIORITY that depends on itself", raw(priority(1, 1)), pong),
    ("5.4.1", "an invalid PING: GOAWAY and the end", raw(frame(PING, 0, 3, bytes(8))), PROTOCOL),
    ("5.5", "an unknown frame", raw(UNKNOWN), pong),
    ("5.5", "an unknown frame inside a block",
     lambda c: cut(c, lambda b: UNKNOWN + frame(CONTINUATION, END_HEADERS, 1, b[5:])), PROTOCOL),
    ("6.1", "DATA on stream 0", raw(frame(DATA, END_STREAM, 0, b"test")), PROTOCOL),
    ("6.1", "DATA on a stream that is not open",
     after(waiting, frame(DATA, END_STREAM, 1, b"test")), stream(STREAM_CLOSED)),
    ("6.1", "DATA with more padding than payload",
     lambda c: (post(c, [("content-length", "4")]), c.frame(DATA, 9, 1, b"\x06Test")), PROTOCOL),
    ("6.2", "HEADERS without END_HEADERS, then PRIORITY",
     lambda c: cut(c, lambda b: priority(1, 0)), PROTOCOL),
    ("6.2", "HEADERS of another stream inside HEADERS",
     lambda c: cut(c, lambda b: frame(HEADERS, END_HEADERS | END_STREAM, 3, b)), PROTOCOL),
    ("6.2", "HEADERS on stream 0", lambda c: c.frame(HEADERS, 5, 0, block(c)), PROTOCOL),
    ("6.2", "HEADERS with more padding than payload", bad_padding, PROTOCOL),
    ("6.3", "PRIORITY on stream 0", raw(priority(0, 1)), PROTOCOL),
    ("6.3", "PRIORITY of 4 bytes", after(waiting, frame(PRIORITY, 0, 1, bytes(4))),
     stream(FRAME_SIZE_ERROR)),
    ("6.4", "RST_STREAM on stream 0", raw(frame(RST, 0, 0, bytes(4))), PROTOCOL),
    ("6.4", "RST_STREAM on an idle stream", raw(frame(RST, 0, 1, bytes(4))), PROTOCOL),
    ("6.4", "RST_STREAM of 3 bytes", after(waiting, frame(RST, 0, 1, bytes(3))), SIZE),
    ("6.5", "SETTINGS acknowledgement with payload", raw(frame(SETTINGS, 1, 0, b"\0")), SIZE),
    ("6.5", "SETTINGS on a stream", raw(frame(SETTINGS, 0, 1, settings({3: 100}))), PROTOCOL),
    ("6.5", "SETTINGS of 3 bytes", raw(frame(SETTINGS, 0, 0, bytes(3))), SIZE),
    ("6.5.2", "ENABLE_PUSH 2", raw(frame(SETTINGS, 0, 0, settings({2: 2}))), PROTOCOL),
    ("6.5.2", "INITIAL_WINDOW_SIZE 2^31", raw(frame(SETTINGS, 0, 0, settings({4: 1 << 31}))),
     connection(FLOW_CONTROL_ERROR)),
    ("6.5.2", "MAX_FRAME_SIZE below 2^14",
     raw(frame(SETTINGS, 0, 0, settings({MAX_FRAME: 16383}))), PROTOCOL),
    ("6.5.2", "MAX_FRAME_SIZE above 2^24 - 1",
     raw(frame(SETTINGS, 0, 0, settings({MAX_FRAME: 1 << 24}))), PROTOCOL),
    ("6.5.2", "an unknown parameter", raw(frame(SETTINGS, 0, 0, settings({0xff: 1}))), pong),
    ("6.5.3", "the last of several values counts",
     lambda c: (c.frame(SETTINGS, 0, 0, settings({4: 100}) + settings({4: 1})), headers(c)),
     one_byte, MANUAL),
    ("6.5.3", "SETTINGS is acknowledged", raw(frame(SETTINGS, 0, 0, settings({2: 0}))),
     acknowledged),
    ("6.7", "PING is answered with its payload", NOTHING, pong),
    ("6.7", "PING acknowledgement is not answered", raw(frame(PING, 1, 0, b"unwanted")),
     lambda c: (c.ping(), must_equal(c.pongs, [b"12345678"]))),
    ("6.7", "PING on a stream", raw(frame(PING, 0, 1, bytes(8))), PROTOCOL),
    ("6.7", "PING of 6 bytes", raw(frame(PING, 0, 0, bytes(6))), SIZE),
    ("6.8", "GOAWAY on a stream", raw(frame(GOAWAY, 0, 1, bytes(8))), PROTOCOL),
    ("6.9", "WINDOW_UPDATE of 0", lambda c: c.open_window(0), PROTOCOL),
    ("6.9", "WINDOW_UPDATE of 0 on a stream",
     lambda c: (waiting(c, False), c.open_window(0, 1)), MALFORMED),
    ("6.9", "WINDOW_UPDATE of 3 bytes", raw(frame(WINDOW, 0, 0, b"\0\0\1")), SIZE),
    ("6.9.1", "a window of one byte", both(window(1), headers), one_byte, MANUAL),
    ("6.9.1", "the connection's window above 2^31 - 1",
     both(lambda c: c.open_window(0x7fffffff), lambda c: c.open_window(0x7fffffff)),
     connection(FLOW_CONTROL_ERROR)),
    ("6.9.1", "a stream's window above 2^31 - 1",
     both(lambda c: waiting(c, False), lambda c: c.open_window(0x7fffffff, 1),
          lambda c: c.open_window(0x7fffffff, 1)), stream(FLOW_CONTROL_ERROR)),
    ("6.9.2", "INITIAL_WINDOW_SIZE changes open windows", window(0), windows_adjusted, MANUAL),
    ("6.9.2", "a window that becomes negative", window(3), window_negative, MANUAL),
    ("6.9.2", "INITIAL_WINDOW_SIZE above the maximum",
     raw(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 1 << 31))), connection(FLOW_CONTROL_ERROR)),
    ("6.10", "several CONTINUATION",
     lambda c: cut(c, lambda b: frame(CONTINUATION, 0, 1, b[5:])
                   + frame(CONTINUATION, 0, 1, more(c))
                   + frame(CONTINUATION, END_HEADERS, 1, more(c)), END_STREAM), answer),
    ("6.10", "CONTINUATION, then DATA",
     lambda c: cut(c, lambda b: frame(CONTINUATION, 0, 1, b[5:])
                   + frame(DATA, END_STREAM, 1, b"test"), method="POST"), PROTOCOL),
    ("6.10", "CONTINUATION on stream 0",
     lambda c: cut(c, lambda b: frame(CONTINUATION, END_HEADERS, 0, b[5:]), END_STREAM), PROTOCOL),
    ("6.10", "CONTINUATION behind END_HEADERS",
     both(waiting, lambda c: c.frame(CONTINUATION, END_HEADERS, 1, more(c))), PROTOCOL),
    ("6.10", "CONTINUATION behind a CONTINUATION with END_HEADERS",
     lambda c: cut(c, lambda b: frame(CONTINUATION, END_HEADERS, 1, b[5:])
                   + frame(CONTINUATION, END_HEADERS, 1, more(c)), END_STREAM), PROTOCOL),
    ("6.10", "CONTINUATION behind DATA",
     lambda c: cut(c, lambda b: frame(DATA, END_STREAM, 1, b"test")
                   + frame(CONTINUATION, 0, 1, b[5:]), method="POST"), PROTOCOL),
    ("7", "GOAWAY with an unknown code",
     raw(frame(GOAWAY, 0, 0, struct.pack(">II", 0, 0xff))), pong_or_end),
    ("7", "RST_STREAM with an unknown code",
     lambda c: (post(c, path="/wait"), c.rst(1, 0xff)), pong_or_end),
    ("8.1", "a second HEADERS without END_STREAM", trailers([("x-test", "ok")], END_HEADERS),
     MALFORMED),
    ("8.1.1", "content-length smaller than DATA",
     lambda c: (post(c, [("content-length", "1")]), c.data(1, b"test", True)), MALFORMED),
    ("8.1.1", "content-length smaller than the sum of DATA",
     lambda c: (post(c, [("content-length", "1")]), c.data(1, b"test"), c.data(1, b"test", True)),
     MALFORMED),
    ("8.1.1", "content-length larger than DATA",
     lambda c: (post(c, [("content-length", "9")]), c.data(1, b"test", True)), MALFORMED),
    ("8.1.1", "content-length twice",
     added(("content-length", "0"), ("content-length", "0")), refused_head),
    ("8.1.1", "content-length with a sign", added(("content-length", "+0")), refused_head),
    ("8.1.1", "content-length as a list", added(("content-length", "0, 0")), refused_head),
    ("8.1.1", "content-length without digits", added(("content-length", "")), refused_head),
    ("8.1.1", "content-length above 2^64",
     added(("content-length", "18446744073709551616")), refused_head),
    ("8.1.1", "content-length without DATA", added(("content-length", "9")), MALFORMED),
    ("8.2.1", "upper case in a name", added(("X-TEST", "ok")), MALFORMED),
    ("8.2.1", "an empty name", added(("", "ok")), MALFORMED),
    ("8.2.1", "a space in a name", added(("x test", "ok")), MALFORMED),
    ("8.2.1", "a colon in a name", added(("x:test", "ok")), MALFORMED),
    ("8.2.1", "NUL in a value", added(("x-test", "o\0k")), MALFORMED),
    ("8.2.1", "CR in a value", added(("x-test", "o\rk")), MALFORMED),
    ("8.2.1", "LF in a value", added(("x-test", "o\nk: v")), MALFORMED),
    ("8.2.1", "white space before a value", added(("x-test", " ok")), MALFORMED),
    ("8.2.1", "white space behind a value", added(("x-test", "ok\t")), MALFORMED),
    ("8.2.2", "connection", added(("connection", "keep-alive")), MALFORMED),
    ("8.2.2", "proxy-connection", added(("proxy-connection", "keep-alive")), MALFORMED),
    ("8.2.2", "keep-alive", added(("keep-alive", "timeout=1")), MALFORMED),
    ("8.2.2", "transfer-encoding", added(("transfer-encoding", "chunked")), MALFORMED),
    ("8.2.2", "upgrade", added(("upgrade", "h2c")), MALFORMED),
    ("8.2.2", "te other than trailers", added(("te", "trailers, deflate")), MALFORMED),
    ("8.3", "an unknown pseudo-header field",
     pseudo(lambda f: f[:4] + [(":test", "ok")] + f[4:]), MALFORMED),
    ("8.3", "a response's pseudo-header field",
     pseudo(lambda f: f[:4] + [(":status", "200")] + f[4:]), MALFORMED),
    ("8.3", "a pseudo-header field in trailers",
     trailers([(":method", "GET")], END_HEADERS | END_STREAM), MALFORMED),
    ("8.3", "a pseudo-header field behind a field", pseudo(lambda f: f[:3] + f[4:] + f[3:4]),
     MALFORMED),
    ("8.3.1", "empty :path", pseudo(lambda f: f[:3] + [(":path", "")]), MALFORMED),
    ("8.3.1", "no :method", without(":method"), MALFORMED),
    ("8.3.1", "no :scheme", without(":scheme"), MALFORMED),
    ("8.3.1", "no :path", without(":path"), MALFORMED),
    ("8.3.1", ":method twice", doubled(0), MALFORMED),
    ("8.3.1", ":scheme twice", doubled(1), MALFORMED),
    ("8.3.1", ":authority twice", doubled(2), MALFORMED),
    ("8.3.1", ":path twice", doubled(3), MALFORMED),
    ("8.3.1", "an absolute URL in :path",
     pseudo(lambda f: f[:3] + [(":path", "http://other.example/")]), MALFORMED),
    ("8.3.1", "LF in :path", pseudo(lambda f: f[:3] + [(":path", "/\nx: y")]), MALFORMED),
    ("8.3.1", "a space in :method", pseudo(lambda f: [(":method", "GET /x")] + f[1:]), MALFORMED),
    ("8.3.1", ":authority and another Host", added(("host", "other.example")), MALFORMED),
    ("8.4", "PUSH_PROMISE of a client",
     lambda c: (waiting(c, False), c.frame(PUSH, END_HEADERS, 1, bytes([0, 0, 0, 2]) + block(c))),
     PROTOCOL),

    # hpack
    ("hpack/2.3.3", "an index beyond the tables", literal(b"\xc6"), COMPRESSION),
    ("hpack/2.3.3", "a name's index beyond the tables", literal(b"\x7f\x07\x00"), COMPRESSION),
    ("hpack/4.2", "a size update at the end of a block", literal(b"\x21"), COMPRESSION),
    ("hpack/5.2", "Huffman padding of more than 7 bits",
     literal(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"), COMPRESSION),
    ("hpack/5.2", "Huffman padding of zeros",
     literal(b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90"), COMPRESSION),
    ("hpack/5.2", "Huffman with EOS",
     literal(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f"), COMPRESSION),
    ("hpack/6.1", "index 0", literal(b"\x80"), COMPRESSION),
    ("hpack/6.3", "a size update above HEADER_TABLE_SIZE", leading(b"\x3f\xe1\xff\x03"),
     COMPRESSION),
]


def must_equal(got, want):
    assert got == want, (got, want)


def run(t, section, title, send, check, how=AUTO):
    with H2(t.w.address, **how) as c:
        try:
            send(c)
            check(c)
        except Exception as e:
            for a in c.answers.values():  # which is no word of a stream that was not answered
                assert a.status or a.reset != h2.NO_ERROR, (section, title)
            if t.variant == "doors" and not isinstance(e, (wire.Deadline, wire.WrongBytes)):
                return
            raise type(e)("%s %s: %s" % (section, title, e))


def section_test(rows):
    def test(t):
        for row in rows:
            run(t, *row)
    return test


for one in sorted({row[0] for row in CASES}):
    name = "test_" + re.sub(r"\W", "_", one)
    globals()[name] = section_test([row for row in CASES if row[0] == one])


def test_invalid_preface(t):
    """3.4: what does not begin with the preface is HTTP/1.1 here, and answered as such."""
    with H2(t.w.address, greet=False) as c:
        c.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
        first = c.stream.until(b"\r\n")
        assert first.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 503 ")), first
    with H2(t.w.address, greet=False) as c:
        c.send(h2.PREFACE + frame(PING, 0, 0, bytes(8)))  # a preface without SETTINGS
        assert c.await_end() == PROTOCOL_ERROR


def test_injection(t):
    """8.2.1 and 8.3.1: what would end a line, a word or a name of HTTP/1.1 is in no field."""
    line = "\r\nx-injected: 1\r\n\r\nGET /smuggled HTTP/1.1\r\n"
    bad = [":method", ":scheme", ":authority", ":path", "name"]
    for where in bad:
        for evil in ("\r", "\n", "\0", " ", "\x7f", "\t", line):
            head = [(n, v + evil + "x" if n == where else v)
                    for n, v in [(":method", "GET"), (":scheme", "http"),
                                 (":authority", "a.example"), (":path", "/malformed")]]
            if where == "name":
                head.append(("x" + evil + "x", "v"))
            run(t, "8.2.1", "%r in %s" % (evil, where),
                lambda c, head=head: headers(c, c.encode(head)), refused_head)


def test_nothing_reached_the_origin(t):
    """None of the malformed heads above was forwarded, nor a part of one."""
    with H2(t.w.address) as c:
        c.ask(path="/last")  # what was sent before is at the origin
    for q in t.o.requests:
        assert q.path not in ("/malformed", "/smuggled") and q.host != "other.example", q.raw
        assert not q.fields.has("x-injected") and not q.fields.has("x"), q.raw

# SPDX-License-Identifier: Apache-2.0
"""A raw HTTP/2 client: says what it is told to, wrong or right, and reads what Weir frames
strictly. Field sections go through python3-hpack; everything else is bytes."""

import socket
import struct
import time

import hpack

from . import wire
from .client import Client
from .wire import Deadline, Ended, Fields, Refusals, WrongBytes

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
PRIORITY_UPDATE = 16
END_STREAM, END_HEADERS, PADDED, PRIORITY_FLAG, ACK = 1, 4, 8, 32, 1
(NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR, SETTINGS_TIMEOUT, STREAM_CLOSED,
 FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR, CONNECT_ERROR, ENHANCE_YOUR_CALM,
 INADEQUATE_SECURITY, HTTP_1_1_REQUIRED) = range(14)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_LIST, CONNECT = (
    1, 2, 3, 4, 5, 6, 8)


def frame(kind, flags=0, stream=0, payload=b""):
    """The bytes of one frame."""
    return (struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream)
            + payload)


def settings(values):
    return b"".join(struct.pack(">HI", k, v) for k, v in values.items())


class Answer:
    """What came on one stream."""

    def __init__(self):
        self.status = None
        self.fields = Fields()
        self.interims = []
        self.trailers = Fields()
        self.parts = []  # of the body
        self.ended = False
        self.reset = None  # error code of RST_STREAM

    @property
    def body(self):
        self.parts = [b"".join(self.parts)]
        return self.parts[0]

    @property
    def over(self):
        return self.ended or self.reset is not None

    def get(self, name, default=None):
        return self.fields.get(name, default)

    @property
    def text(self):
        return self.body.decode("latin-1")

    def __repr__(self):
        return "<%s %s %r%s reset=%s>" % (self.status, self.fields, self.body[:200],
                                          "" if self.ended else " UNENDED", self.reset)


class H2:
    """One connection. auto: acknowledges and opens windows by itself. tls: a context that offers
    h2, for a connection over TLS to the name sni."""

    def __init__(self, address, values=None, greet=True, auto=True, tls=None, sni=None,
                 receive_buffer=None):
        self.sock = Client(address, receive_buffer).sock
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.sock.settimeout(wire.patience())
            try:
                self.sock = tls.wrap_socket(self.sock, server_hostname=sni)
            except OSError:
                Refusals.note()
                raise
        self.stream = wire.Stream(self.sock)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.decoder.max_header_list_size = 1 << 24
        self.auto = auto
        self.answers = {}
        self.settings = None
        self.acked = 0  # SETTINGS of ours that were acknowledged
        self.pongs = []
        self.goaway = None  # (last stream, error code)
        self.notices = 0    # GOAWAY frames
        self.ended = False
        self.next_id = 1
        self.block = None   # (stream, flags, bytes) of HEADERS that CONTINUATION goes on
        self.window_frames = []
        self.taken = 0      # bytes of bodies
        if greet:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings(values or {})))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    # ---- sending ----

    def send(self, raw, step=None):
        """A peer that closed is not an error here."""
        self.sock.settimeout(wire.patience() * 3)
        try:
            if step is None:
                self.sock.sendall(raw)
            else:
                for i in range(0, len(raw), step):
                    self.sock.sendall(raw[i:i + step])
        except (socket.timeout, TimeoutError):
            raise Deadline("the peer takes no more bytes")
        except OSError:
            Refusals.note()
        return self

    def frame(self, kind, flags=0, stream=0, payload=b""):
        return self.send(frame(kind, flags, stream, payload))

    def encode(self, fields):
        return self.encoder.encode(fields, huffman=False)

    def head(self, method="GET", path="/", fields=(), authority="test.example", scheme="http"):
        return [(":method", method), (":scheme", scheme), (":authority", authority),
                (":path", path)] + list(fields)

    def open(self, fields, end=True, stream=None):
        """Sends HEADERS as they are; the number of the stream."""
        if stream is None:
            stream = self.next_id
            self.next_id += 2
        self.answers.setdefault(stream, Answer())
        self.frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, self.encode(fields))
        return stream

    def request(self, method="GET", path="/", fields=(), body=None, end=True, **more):
        """A request; with a body the whole of it, as far as the first window goes."""
        stream = self.open(self.head(method, path, fields, **more), end and body is None)
        if body is not None:
            self.data(stream, body, end)
        return stream

    def data(self, stream, body, end=False, size=16384):
        if not body:
            self.frame(DATA, END_STREAM if end else 0, stream)
        for i in range(0, len(body), size):
            last = i + size >= len(body)
            self.frame(DATA, END_STREAM if end and last else 0, stream, body[i:i + size])

    def rst(self, stream, code=CANCEL):
        return self.frame(RST, 0, stream, struct.pack(">I", code))

    def open_window(self, n, stream=0):
        return self.frame(WINDOW, 0, stream, struct.pack(">I", n))

    # ---- receiving ----

    def read_frame(self):
        """(kind, flags, stream, payload), or None at the end of the connection."""
        if not self.stream.buf and not self.stream.fill():
            self.ended = True
            return None
        try:
            front = self.stream.exactly(9)
            n = int.from_bytes(front[:3], "big")
            kind, flags, stream = front[3], front[4], int.from_bytes(front[5:9], "big")
            if n > 16384:
                raise WrongBytes("a frame of %d bytes" % n)
            return kind, flags, stream & 0x7fffffff, self.stream.exactly(n)
        except Ended:
            self.ended = True
            return None

    def step(self):
        """Reads and takes in one frame; False at the end of the connection."""
        got = self.read_frame()
        if got is None:
            return False
        kind, flags, stream, payload = got
        if self.block and kind != CONTINUATION:
            raise WrongBytes("frame %d inside a header block" % kind)
        if kind == SETTINGS and flags & ACK:
            self.acked += 1
        elif kind == SETTINGS:
            self.settings = {k: v for k, v in struct.iter_unpack(">HI", payload)}
            if self.auto:
                self.frame(SETTINGS, ACK)
        elif kind == PING:
            self.take_ping(flags, payload)
        elif kind == GOAWAY:
            last, code = struct.unpack(">II", payload[:8])
            self.goaway = (last & 0x7fffffff, code)
            self.notices += 1
            if code != NO_ERROR:
                Refusals.note()
        elif kind == WINDOW:
            self.window_frames.append((stream, int.from_bytes(payload, "big")))
        elif kind == HEADERS:
            self.take_head(stream, flags, payload)
        elif kind == CONTINUATION:
            stream, first, before = self.block
            self.take_head(stream, first | flags & END_HEADERS, before + payload)
        elif kind == DATA:
            self.take_data(self.answer(stream), stream, flags, payload)
        elif kind == RST:
            self.answer(stream).reset = int.from_bytes(payload, "big")
            Refusals.note()
        elif kind in (PUSH, PRIORITY):
            raise WrongBytes("a server sent frame %d" % kind)
        return True

    def answer(self, stream):
        if stream not in self.answers:
            raise WrongBytes("a frame on stream %d, which was never opened" % stream)
        return self.answers[stream]

    def take_ping(self, flags, payload):
        if flags & ACK:
            self.pongs.append(payload)
        elif self.auto:
            self.frame(PING, ACK, 0, payload)

    def take_data(self, a, stream, flags, payload):
        if a.status is None or a.over:
            raise WrongBytes("DATA before the head or behind the end")
        if flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        a.parts.append(payload)
        self.taken += len(payload)
        a.ended = bool(flags & END_STREAM)
        if self.auto and payload:
            self.open_window(len(payload))
            if not a.ended:
                self.open_window(len(payload), stream)

    def take_head(self, stream, flags, payload):
        if not flags & END_HEADERS:
            self.block = (stream, flags, payload)
            return
        self.block = None
        a = self.answer(stream)
        if a.over:
            raise WrongBytes("HEADERS behind the end of stream %d" % stream)
        fields = Fields((str(n), str(v)) for n, v in
                        ((x[0], x[1]) for x in self.decoder.decode(payload)))
        for name, value in fields:
            if name != name.lower() or any(c in value for c in "\r\n\0"):
                raise WrongBytes("field %r: %r" % (name, value))
            if name in ("connection", "transfer-encoding", "upgrade", "keep-alive",
                        "proxy-connection", "http2-settings"):
                raise WrongBytes("connection-specific field %r" % name)
        a.ended = bool(flags & END_STREAM)
        if a.status is not None:
            a.trailers = fields
            if not a.ended or any(n.startswith(":") for n, _ in fields):
                raise WrongBytes("odd trailers %r" % fields)
            return
        if fields[0][0] != ":status" or len([1 for n, _ in fields if n.startswith(":")]) != 1:
            raise WrongBytes("odd response head %r" % fields)
        status = int(fields[0][1])
        if 100 <= status < 200:
            a.interims.append((status, Fields(fields[1:])))
            if a.ended or status == 101:
                raise WrongBytes("odd interim answer %d" % status)
            return
        a.status, a.fields = status, Fields(fields[1:])
        if status == 503:
            Refusals.note()

    def until(self, what, check, *streams):
        """Reads until check() is true. Ended when the connection or all of streams end before. The
        deadline is renewed while bodies come."""
        until, taken = time.monotonic() + wire.patience() * 3, self.taken
        while not check():
            if self.taken > taken:
                until, taken = time.monotonic() + wire.patience() * 3, self.taken
            if streams and all(self.answers[s].over for s in streams):
                raise Ended("streams %r ended before %s" % (streams, what))
            if time.monotonic() > until:
                raise Deadline("no %s; goaway %r, answers %r" % (what, self.goaway, self.answers))
            if not self.step():
                Refusals.note()
                raise Ended("connection ended before %s; goaway %r" % (what, self.goaway),
                            self.stream.was_reset)

    def response(self, stream):
        """The whole answer: its end or its reset."""
        a = self.answers[stream]
        self.until("end of stream %d" % stream, lambda: a.over)
        return a

    def ask(self, *args, **more):
        return self.response(self.request(*args, **more))

    def ping(self, payload=b"12345678"):
        """Returns when everything that was sent before was read by the server."""
        n = len(self.pongs)
        self.frame(PING, 0, 0, payload)
        self.until("PING answer", lambda: len(self.pongs) > n)

    def await_goaway(self):
        """The error code of GOAWAY."""
        self.until("GOAWAY", lambda: self.goaway is not None)
        return self.goaway[1]

    def await_end(self):
        """Reads until the connection ends; the error code of the last GOAWAY, or None."""
        until = time.monotonic() + wire.patience() * 3
        while self.step():
            if time.monotonic() > until:
                raise Deadline("the connection does not end; goaway %r" % (self.goaway,))
        if not self.goaway:
            Refusals.note()
        return self.goaway[1] if self.goaway else None

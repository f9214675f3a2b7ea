# SPDX-License-Identifier: Apache-2.0
"""A scripted HTTP/2 origin with prior knowledge: objects to whatever is not strict HTTP/2 from a
client, and answers as each test says, badly when asked to. Field sections go through
python3-hpack; everything else is bytes."""

import socket
import ssl
import struct
import threading

import hpack

from . import h2, wire
from .h2 import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING,
                 PREFACE, RST, SETTINGS, WINDOW, frame)
from .wire import Ended, Fields

FORBIDDEN = ("connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection",
             "http2-settings", "host")


class Request:
    """One stream that Weir opened."""

    def __init__(self, conn, stream, fields):
        self.conn, self.stream = conn, stream
        self.pseudo = {n: v for n, v in fields if n.startswith(":")}
        self.fields = Fields([(n, v) for n, v in fields if not n.startswith(":")])
        self.method, self.target = self.pseudo.get(":method"), self.pseudo.get(":path", "")
        self.body = b""
        self.trailers = Fields()
        self.ended = False
        self.answered = False
        self.reset = None

    @property
    def path(self):
        return self.target.split("?", 1)[0]

    def get(self, name, default=None):
        return self.fields.get(name, default)

    # ---- answers ----

    def head(self, status=200, fields=(), end=False):
        self.conn.head(self.stream, [(":status", str(status))] + list(fields), end)
        return self

    def data(self, body, end=False):
        self.conn.data(self.stream, body, end)
        return self

    def trailer(self, fields):
        self.conn.head(self.stream, list(fields), True)

    def reply(self, status=200, fields=(), body=b"", trailers=()):
        self.head(status, fields, end=not body and not trailers)
        if body or trailers:
            self.data(body, end=not trailers)
        if trailers:
            self.trailer(trailers)

    def rst(self, code):
        self.answered = True
        self.conn.frame(RST, 0, self.stream, struct.pack(">I", code))

    def await_over(self):
        """Until Weir ended or reset its side."""
        self.conn.wait("end of stream %d" % self.stream,
                       lambda: self.ended or self.reset is not None)
        return self

    def await_reset(self):
        self.conn.wait("RST_STREAM on %d" % self.stream, lambda: self.reset is not None)
        return self.reset


class Conn:
    """One connection that Weir opened. Handlers run in threads of their own."""

    def __init__(self, origin, sock, number):
        self.origin, self.sock, self.number = origin, sock, number
        self.stream = wire.Stream(sock)
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.requests = {}
        self.changed = threading.Condition()
        self.writing = threading.Lock()
        self.windows = {0: 65535}
        self.initial = 65535
        self.pings, self.pongs = [], []
        self.silent = False  # answers no PING
        self.goaway = None
        self.over = False
        self.block = None
        self.most_open = 0
        self.acked = 0

    # ---- sending ----

    def send(self, raw):
        self.sock.settimeout(wire.patience() * 3)
        try:
            self.sock.sendall(raw)
        except OSError:
            self.end()

    def frame(self, kind, flags=0, stream=0, payload=b""):
        with self.writing:
            self.send(frame(kind, flags, stream, payload))

    def response(self, r, fields, end=False):
        """The bytes of a field section of r's answer."""
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), r.stream,
                     self.encoder.encode(fields, huffman=False))

    def head(self, stream, fields, end=False):
        self.requests[stream].answered |= end
        with self.writing:
            self.send(self.response(self.requests[stream], fields, end))

    def data(self, stream, body, end=False):
        """Sends as the windows allow; gives up when the stream or the connection is over."""
        if not body:
            self.requests[stream].answered |= end
            self.frame(DATA, END_STREAM if end else 0, stream)
        while body:
            def room():
                return min(self.windows[0], self.windows.get(stream, self.initial), 16384)
            self.wait("window", lambda: room() > 0 or self.over
                      or self.requests[stream].reset is not None)
            with self.changed:
                n = min(room(), len(body))
                if n <= 0:
                    return
                self.windows[0] -= n
                self.windows[stream] = self.windows.get(stream, self.initial) - n
            piece, body = body[:n], body[n:]
            self.requests[stream].answered |= end and not body
            self.frame(DATA, END_STREAM if end and not body else 0, stream, piece)

    def say_goaway(self, last, code=h2.NO_ERROR):
        self.frame(GOAWAY, 0, 0, struct.pack(">II", last, code))

    def settings(self, values):
        self.frame(SETTINGS, 0, 0, h2.settings(values))

    def end(self):
        with self.changed:
            self.over = True
            self.changed.notify_all()

    def close(self):
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        self.end()

    def wait(self, what, check):
        with self.changed:
            if not self.changed.wait_for(check, wire.patience() * 3):
                raise wire.Deadline("no %s" % what)

    # ---- receiving ----

    def exactly(self, n):
        """n bytes, however long they take: a connection may be idle."""
        while True:
            try:
                return self.stream.exactly(n)
            except wire.Deadline:
                if self.over:
                    raise Ended("over")

    def run(self):
        try:
            if self.exactly(len(PREFACE)) != PREFACE:
                self.origin.object("no preface")
            self.frame(SETTINGS, 0, 0, h2.settings(self.origin.values))
            while True:
                front = self.exactly(9)
                payload = self.exactly(int.from_bytes(front[:3], "big"))
                self.take(front[3], front[4], int.from_bytes(front[5:9], "big"), payload)
                with self.changed:
                    self.changed.notify_all()
        except (Ended, OSError, ValueError):
            pass
        finally:
            self.end()

    def take(self, kind, flags, stream, payload):
        if self.block and kind != CONTINUATION:
            self.origin.object("frame %d inside a header block" % kind)
        if kind == SETTINGS and flags & ACK:
            self.acked += 1
        elif kind == SETTINGS:
            for k, v in struct.iter_unpack(">HI", payload):
                if k == h2.INITIAL_WINDOW:
                    self.initial = v
                if k == h2.ENABLE_PUSH and v:
                    self.origin.object("push is enabled")
            self.frame(SETTINGS, ACK)
        elif kind == PING and flags & ACK:
            self.pongs.append(payload)
        elif kind == PING:
            self.pings.append(payload)
            if not self.silent:
                self.frame(PING, ACK, 0, payload)
        elif kind == GOAWAY:
            self.goaway = struct.unpack(">II", payload[:8])[1]
        elif kind == WINDOW:
            with self.changed:
                before = self.windows.get(stream, 65535 if stream == 0 else self.initial)
                self.windows[stream] = before + int.from_bytes(payload, "big")
        elif kind == HEADERS:
            self.take_head(stream, flags, payload)
        elif kind == CONTINUATION:
            stream, first, before = self.block
            self.take_head(stream, first | flags & END_HEADERS, before + payload)
        elif kind == DATA:
            self.take_data(self.requests[stream], flags, payload)
        elif kind == RST:
            self.requests[stream].reset = int.from_bytes(payload, "big")
        else:
            self.origin.object("frame of kind %d from a client" % kind)

    def take_data(self, r, flags, payload):
        if r.ended:
            self.origin.object("DATA behind the end of %s" % r.target)
        n = len(payload)
        if flags & PADDED:
            payload = payload[1:len(payload) - payload[0]]
        r.body += payload
        r.ended = bool(flags & END_STREAM)
        if n and not self.origin.starve:
            self.frame(WINDOW, 0, 0, struct.pack(">I", n))
            if not r.ended:
                self.frame(WINDOW, 0, r.stream, struct.pack(">I", n))

    def take_head(self, stream, flags, payload):
        if not flags & END_HEADERS:
            self.block = (stream, flags, payload)
            return
        self.block = None
        fields = [(str(x[0]), str(x[1])) for x in self.decoder.decode(payload)]
        for name, value in fields:
            if name != name.lower() or name in FORBIDDEN or any(c in value for c in "\r\n\0"):
                self.origin.object("field %r: %r" % (name, value))
            if name == "te" and value != "trailers":
                self.origin.object("te: %r" % value)
        if stream in self.requests:
            r = self.requests[stream]
            r.trailers, r.ended = Fields(fields), True
            if not flags & END_STREAM:
                self.origin.object("trailers that do not end the stream")
            return
        if stream % 2 == 0 or (self.requests and stream < max(self.requests)):
            self.origin.object("stream %d" % stream)
        r = Request(self, stream, fields)
        r.ended = bool(flags & END_STREAM)
        with self.changed:
            self.requests[stream] = r
        open_now = sum(1 for q in self.requests.values() if not q.answered and q.reset is None)
        self.most_open = max(self.most_open, open_now)
        self.origin.came(r)


def answer(r):
    r.await_over()
    if r.reset is None:
        text = "origin %s %s\n" % (r.method, r.target)
        r.reply(body=text.encode() + r.body, trailers=list(r.trailers))


class H2Origin:
    """Answers `origin METHOD TARGET` and the body, unless on() says otherwise."""

    def __init__(self, address, values=None, tls=None):
        self.address = address
        self.values = values or {}
        self.tls = tls
        self.starve = False  # opens no window
        self.handlers = {}
        self.default = answer  # of what has no handler
        self.violations = []
        self.log = []
        self.conns = []
        self.lock = threading.Lock()
        host, port = address.rsplit(":", 1)
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((host, int(port)))
        self.sock.listen(256)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self.begin, args=(sock,), daemon=True).start()

    def begin(self, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            try:
                sock = self.tls.wrap_socket(sock, server_side=True)
            except (ssl.SSLError, OSError):
                return
        with self.lock:
            conn = Conn(self, sock, len(self.conns))
            self.conns.append(conn)
        conn.run()

    def object(self, text):
        self.violations.append("h2 origin: " + text)

    def on(self, path, handler):
        """handler(request) runs when the head came, in a thread of its own."""
        self.handlers[path] = handler

    def came(self, r):
        with self.lock:
            self.log.append(r)
        threading.Thread(target=self.serve, args=(r,), daemon=True).start()

    def serve(self, r):
        try:
            self.handlers.get(r.path, self.default)(r)
        except (wire.Deadline, OSError, KeyError):
            pass

    def seen(self, path):
        with self.lock:
            return [r for r in self.log if r.path == path]

    def await_seen(self, path, n=1):
        wire.await_true("%d requests for %s" % (n, path), lambda: len(self.seen(path)) >= n)
        return self.seen(path)

    def live(self):
        return [c for c in self.conns if not c.over]

    def close(self):
        self.sock.close()
        for c in self.conns:
            c.close()

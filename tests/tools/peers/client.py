# SPDX-License-Identifier: Apache-2.0
"""A raw HTTP/1.x client: sends what it is told, byte by byte if need be, and reads answers
strictly."""

import json
import re
import socket
import struct
import time

from . import wire
from .wire import Ended, Fields, Refusals, WrongBytes


class Response:
    """One final answer. complete: its framing says that nothing is missing."""

    def __init__(self, status, reason, fields):
        self.status, self.reason, self.fields = status, reason, fields
        self.interims = []
        self.trailers = Fields()
        self.body = b""
        self.complete = False
        self.kind = None
        self.pieces = None
        self.raw_head = b""

    def get(self, name, default=None):
        return self.fields.get(name, default)

    @property
    def text(self):
        return self.body.decode("latin-1")

    @property
    def code(self):
        """The reason code of a reply that Weir made for a fault."""
        m = re.search(r"(?:^|: )([a-z0-9_]+)\s*$", self.text)
        return m.group(1) if m else None

    def __repr__(self):
        return "<%d %s %r%s>" % (self.status, self.fields, self.body[:200],
                                 "" if self.complete else " BROKEN")


def make_request(method, target, fields=(), body=None, host="test.example", version="1.1"):
    """The bytes of a well-formed request; Host and Content-Length are added when missing."""
    fields = list(fields)
    names = {n.lower() for n, _ in fields}
    if host is not None and "host" not in names:
        fields.insert(0, ("Host", host))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    head = "%s %s HTTP/%s\r\n" % (method, target, version)
    head += "".join("%s: %s\r\n" % f for f in fields) + "\r\n"
    return head.encode("latin-1") + (body or b"")


def noted(pieces):
    """The same pieces; a break among them counts as a refusal."""
    try:
        yield from pieces
    except Ended:
        Refusals.note()
        raise


class Client:
    """One client connection."""

    def __init__(self, address, receive_buffer=None):
        self.address = address
        if receive_buffer:
            host, port = address.rsplit(":", 1)
            self.sock = socket.socket()
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            self.sock.settimeout(wire.patience())
            self.sock.connect((host, int(port)))
        else:
            self.sock = wire.connect(address)
        self.stream = wire.Stream(self.sock)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- sending ----

    def send(self, text, step=None):
        """Sends all bytes; step: that many at a time. A peer that closed is not an error here."""
        bytes_ = text.encode("latin-1") if isinstance(text, str) else text
        self.sock.settimeout(wire.patience() * 3)
        try:
            if step is None:
                self.sock.sendall(bytes_)
            else:
                for i in range(0, len(bytes_), step):
                    self.sock.sendall(bytes_[i:i + step])
        except (socket.timeout, TimeoutError):
            raise wire.Deadline("the peer takes no more bytes")
        except OSError:
            Refusals.note()
        return self

    def request(self, method="GET", target="/", fields=(), body=None, **more):
        return self.send(make_request(method, target, fields, body, **more))

    def shut(self):
        """FIN: nothing more will be sent."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    # ---- receiving ----

    def head(self, method="GET"):
        """Reads interim heads and the final head; the body follows in .pieces."""
        interims = []
        while True:
            raw = self.stream.until(b"\r\n\r\n")
            lines = wire.split_head(raw)
            m = wire.STATUS_LINE.fullmatch(lines[0])
            if not m:
                raise WrongBytes("status line %r" % lines[0])
            r = Response(int(m.group(1)), m.group(2), wire.parse_fields(lines[1:]))
            r.raw_head = raw
            if 100 <= r.status < 200 and r.status != 101:
                if r.fields.has("content-length") or r.fields.has("transfer-encoding"):
                    raise WrongBytes("framing fields in a %d" % r.status)
                interims.append(r)
                continue
            break
        r.interims = interims
        if r.status == 503 or (r.status >= 400 and r.get("content-length") == "0"):
            Refusals.note()  # no memory for the exchange, or for the text of its reply
        self.decide(r, method)
        r.pieces = noted(r.pieces)
        return r

    def decide(self, r, method):
        kind, n = wire.body_kind(r.fields)
        if r.status in (101, 204) and kind:
            raise WrongBytes("a %d with framing fields" % r.status)
        if method == "HEAD" or r.status in (101, 204, 304) or (
                method == "CONNECT" and r.status < 300):
            r.kind, r.pieces = "none", iter(())
        elif kind == "chunked":
            r.kind, r.pieces = "chunked", wire.chunked_pieces(self.stream, r.trailers)
        elif kind == "length":
            r.kind, r.pieces = "length", wire.length_pieces(self.stream, n)
        else:
            r.kind, r.pieces = "close", wire.close_pieces(self.stream)

    def finish(self, r):
        """Reads the rest of r's body."""
        parts = [r.body]
        try:
            for piece in r.pieces:
                parts.append(piece)
            r.complete = True
        except Ended:
            pass
        r.body = b"".join(parts)
        return r

    def response(self, method="GET"):
        """The next final answer with its whole body."""
        return self.finish(self.head(method))

    def ask(self, method="GET", target="/", fields=(), body=None, **more):
        """Request and answer."""
        self.request(method, target, fields, body, **more)
        return self.response(method)

    def get(self, target="/", fields=(), **more):
        return self.ask("GET", target, fields, **more)

    def read_at_least(self, r, n):
        """Decoded body bytes of r as they come, at least n."""
        got = b""
        while len(got) < n:
            piece = next(r.pieces, None)
            if piece is None:
                raise AssertionError("the body ended after %r, %d bytes wanted" % (got, n))
            got += piece
        r.body += got
        return got

    def ended(self):
        """Waits until Weir ends the connection; returns what came before the end."""
        return self.stream.rest()

    def must_end(self):
        """The connection ends without another byte."""
        extra = self.ended()
        if extra:
            raise WrongBytes("bytes before the end of the connection: %r" % extra[:300])

    def answers_until_end(self, methods=()):
        """All answers until the connection ends: for tables of raw requests."""
        out = []
        methods = list(methods)
        while True:
            if not self.stream.buf and not self.stream.fill():
                if not out:
                    Refusals.note()
                return out
            method = methods.pop(0) if methods else "GET"
            try:
                out.append(self.response(method))
            except Ended:
                return out


def exchange(address, raw, shut=False, method="GET"):
    """Sends raw bytes on a connection of its own and returns the answers until its end, or the
    first answer when the connection is kept."""
    with Client(address) as c:
        c.send(raw)
        if shut:
            c.shut()
        r = c.response(method)
        return r, c


def wait_listening(address, timeout=20.0, alive=None):
    """Until a connection is accepted."""
    until = time.monotonic() + wire.patience(timeout)
    while True:
        try:
            wire.connect(address).close()
            return
        except OSError as e:
            if alive and not alive():
                raise AssertionError("the process ended before it listened on " + address)
            if time.monotonic() > until:
                raise wire.Deadline("nobody listens on %s: %s" % (address, e))
            time.sleep(0.01)


def nobody_listens(address):
    """A connection is not accepted."""
    try:
        wire.connect(address).close()
        return False
    except OSError:
        return True


def events(c, *fields):
    """What the admin API's stream tells c, as (id, event, data); first None, when it has begun."""
    c.request("GET", "/v1/events", fields, host="weir")
    r, text = c.head(), b""
    while True:
        text += next(r.pieces)
        *whole, text = text.split(b"\n\n")
        for one in whole:
            f = dict(x.split(": ", 1) for x in one.decode().splitlines() if x[0] != ":")
            yield (int(f.get("id", 0)), f["event"], json.loads(f["data"])) if f else None

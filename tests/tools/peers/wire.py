# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on the wire, read as strictly as a suspicious peer could: what Weir writes must have
one meaning only. Heads are str (latin-1), bodies are bytes. Every wait has a deadline."""

import re
import select
import socket
import ssl
import threading
import time

PATIENCE = 20.0  # seconds that any one wait may take; the runner raises it for slow builds


def watching(seconds=None):
    """How long an event is waited for."""
    return 2.0 if Refusals.expected else patience(seconds)


def patience(seconds=None):
    return PATIENCE if seconds is None else max(seconds, PATIENCE)


class Deadline(Exception):
    """A peer neither answered nor closed: a hang."""


class WrongBytes(Exception):
    """Bytes came that may not come: a wrong body, a malformed message."""


class Ended(Exception):
    """The connection ended where a message was due. reset: by RST."""

    def __init__(self, text, reset=False):
        super().__init__(text)
        self.reset = reset


class Unseen(AssertionError):
    """An event did not come, such as a request at the origin."""


class Refusals:
    """Counts what a client was denied: 503, broken messages, closed connections. expected: they
    are what the variant is about, and an event that they prevent is not waited for long."""

    count = 0
    expected = False

    @classmethod
    def note(cls):
        cls.count += 1

    @classmethod
    def look(cls, raw):
        """Notes it when raw bytes, which no client took apart, are such an answer."""
        if raw.startswith(b"HTTP/1.1 503 "):
            cls.note()
        return raw


TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
FIELD = re.compile(r"(%s):[ \t]*((?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*"
                   r"[\x21-\x7e\x80-\xff])?)?)[ \t]*" % TOKEN)
REQUEST_LINE = re.compile(r"(%s) ([\x21\x22\x24-\x7e]+) HTTP/1\.1" % TOKEN)
STATUS_LINE = re.compile(r"HTTP/1\.1 ([1-9][0-9][0-9]) ([\t\x20-\x7e\x80-\xff]*)")
HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)"
                  r"(?::[0-9]+)?")


class Fields(list):
    """Header fields in order, as (name, value)."""

    def all(self, name):
        return [v for n, v in self if n.lower() == name.lower()]

    def get(self, name, default=None):
        values = self.all(name)
        return values[0] if values else default

    def has(self, name):
        return bool(self.all(name))

    def tokens(self, name):
        """The members of a comma list, lower-case."""
        joined = ",".join(self.all(name))
        return [m.strip().lower() for m in joined.split(",") if m.strip()]


def parse_fields(lines):
    """Field lines without CRLF, strictly."""
    fields = Fields()
    for line in lines:
        m = FIELD.fullmatch(line)
        if not m:
            raise WrongBytes("malformed field line %r" % line)
        fields.append((m.group(1), m.group(2)))
    return fields


def split_head(raw):
    """Head bytes including the empty line, as lines; any bare CR or LF is an error."""
    text = raw.decode("latin-1")
    if not text.endswith("\r\n\r\n"):
        raise WrongBytes("head does not end in an empty line: %r" % text[-80:])
    lines = text[:-4].split("\r\n")
    for line in lines:
        if "\r" in line or "\n" in line or "\0" in line:
            raise WrongBytes("bare CR, LF or NUL in %r" % line)
    return lines


def body_kind(fields):
    """("chunked", None), ("length", n) or (None, 0); contradictions are errors."""
    lengths, codings = fields.all("content-length"), fields.all("transfer-encoding")
    if len(lengths) > 1 or len(codings) > 1 or (lengths and codings):
        raise WrongBytes("contradictory framing: %r %r" % (lengths, codings))
    if codings:
        if codings[0].lower() != "chunked":
            raise WrongBytes("Transfer-Encoding %r" % codings[0])
        return "chunked", None
    if lengths:
        if not re.fullmatch("[0-9]{1,19}", lengths[0]):
            raise WrongBytes("Content-Length %r" % lengths[0])
        return "length", int(lengths[0])
    return None, 0


class Stream:
    """A socket with a read buffer and deadlines. limit: seconds that a wait may take where nobody
    says another time; None: as long as any."""

    def __init__(self, sock, limit=None):
        self.sock, self.limit = sock, limit
        self.buf = b""
        self.eof = False
        self.was_reset = False
        self.total = 0

    def fill(self, timeout=None, size=262144):
        """Reads once. False at the end (FIN or RST)."""
        if self.eof:
            return False
        until = time.monotonic() + (self.limit or patience() if timeout is None else timeout)
        while True:
            left = until - time.monotonic()
            if left <= 0:
                raise Deadline("no byte and no end within the deadline; buffered %r"
                               % self.buf[-200:])
            try:
                self.sock.settimeout(left)
                got = self.sock.recv(size)
            except (socket.timeout, TimeoutError):
                continue
            except OSError:
                self.eof = self.was_reset = True
                return False
            break
        if not got:
            self.eof = True
            return False
        self.buf += got
        self.total += len(got)
        return True

    def until(self, marker, limit=1 << 20):
        """Bytes up to and including marker."""
        start = 0
        while True:
            at = self.buf.find(marker, start)
            if at >= 0:
                at += len(marker)
                out, self.buf = self.buf[:at], self.buf[at:]
                return out
            if len(self.buf) > limit:
                raise WrongBytes("no %r within %d bytes" % (marker, limit))
            start = max(0, len(self.buf) - len(marker))
            if not self.fill():
                Refusals.note()
                raise Ended("connection ended; unfinished %r" % self.buf[-200:], self.was_reset)

    def exactly(self, n):
        while len(self.buf) < n:
            if not self.fill():
                Refusals.note()
                raise Ended("connection ended with %d of %d bytes" % (len(self.buf), n),
                            self.was_reset)
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def some(self, limit=None):
        """What is there, at least a byte; b"" at the end."""
        if not self.buf and not self.fill():
            return b""
        n = len(self.buf) if limit is None else min(limit, len(self.buf))
        out, self.buf = self.buf[:n], self.buf[n:]
        return out

    def rest(self):
        """Everything until the connection ends."""
        while self.fill():
            pass
        out, self.buf = self.buf, b""
        return Refusals.look(out)

    def readable(self, seconds):
        """True when bytes or an end come within seconds: to show that nothing comes. What a door
        sends instead is noted."""
        if self.buf or self.eof:
            return True
        if not select.select([self.sock], [], [], seconds)[0]:
            return False
        if Refusals.expected and not isinstance(self.sock, ssl.SSLSocket):
            try:
                first = self.sock.recv(64, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except OSError:
                first = b""
            Refusals.look(first or b"HTTP/1.1 503 ")
        return True


def length_pieces(stream, n):
    while n:
        piece = stream.some(n)
        if not piece:
            raise Ended("body ended with %d bytes missing" % n, stream.was_reset)
        n -= len(piece)
        yield piece


def chunked_pieces(stream, trailers, extensions=False):
    """Decodes strictly; trailer fields are appended to trailers."""
    while True:
        line = stream.until(b"\r\n", 4096)[:-2]
        if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
            raise WrongBytes("chunk size line %r" % line)
        size = int(line, 16)
        if size == 0:
            break
        yield from length_pieces(stream, size)
        if stream.exactly(2) != b"\r\n":
            raise WrongBytes("chunk does not end in CRLF")
    lines = []
    while True:
        line = stream.until(b"\r\n", 65536)[:-2]
        if not line:
            break
        lines.append(line.decode("latin-1"))
    trailers.extend(parse_fields(lines))


def close_pieces(stream):
    while True:
        piece = stream.some()
        if not piece:
            if stream.was_reset:
                raise Ended("body ended by RST", True)
            return
        yield piece


def encode_chunked(body, size=None, trailers=()):
    """A body in chunks of size bytes."""
    size = size or max(1, len(body))
    out = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + size]), body[i:i + size])
                   for i in range(0, len(body), size))
    tail = "".join("%s: %s\r\n" % f for f in trailers)
    return out + b"0\r\n" + tail.encode("latin-1") + b"\r\n"


def connect(address, timeout=None):
    """A connected socket to "host:port" or "unix:/path"."""
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(patience(timeout))
        s.connect(address[5:])
        return s
    host, port = address.rsplit(":", 1)
    s = socket.create_connection((host.strip("[]"), int(port)), patience(timeout))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def over(pid):
    """The process has ended, whoever is to hear of it."""
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def await_true(what, check, timeout=None, pause=0.01):
    """Calls check until it is true; an event that never comes is a failure of the test."""
    until = time.monotonic() + watching(timeout)
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > until:
            raise Unseen("not seen within the deadline: " + what)
        time.sleep(pause)


def in_parallel(n, ask):
    """Calls ask(i) on n threads; returns the results in order."""
    out = [None] * n

    def go(i):
        try:
            out[i] = ask(i)
        except Exception as e:
            out[i] = e
    threads = [threading.Thread(target=go, args=(i,)) for i in range(n)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    return out

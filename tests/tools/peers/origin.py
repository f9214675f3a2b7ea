# SPDX-License-Identifier: Apache-2.0
"""A scripted origin: records every request with its exact bytes, objects to whatever is not
strict HTTP/1.1 without hop-by-hop fields, and answers as each test says, badly when asked to."""

import re
import socket
import struct
import threading

from . import wire
from .wire import Ended, Fields, WrongBytes

HOP = ("keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization",
       "http2-settings")
CONNECTION_TOKENS = {"te", "upgrade", "close", "keep-alive"}


class Request:
    """One request as it came. body() reads the body when it was not read yet."""

    def __init__(self, conn, raw, method, target, fields):
        self.conn, self.raw, self.method, self.target = conn, raw, method, target
        self.fields = fields
        self.trailers = Fields()
        self.kind, self.length = wire.body_kind(fields)
        self.body_read = b""
        self.whole = self.kind is None or self.length == 0
        self.broken = False
        if self.kind == "chunked":
            self.pieces = wire.chunked_pieces(conn.stream, self.trailers)
        else:
            self.pieces = wire.length_pieces(conn.stream, self.length)

    @property
    def path(self):
        return self.target.split("?", 1)[0]

    @property
    def query(self):
        return self.target.split("?", 1)[1] if "?" in self.target else None

    @property
    def host(self):
        return self.fields.get("host")

    def get(self, name, default=None):
        return self.fields.get(name, default)

    def body(self):
        """The whole body; a broken one raises Ended."""
        if not self.whole:
            parts = [self.body_read]
            try:
                parts.extend(self.pieces)
            except Ended:
                self.broken = True
                raise
            finally:
                self.body_read = b"".join(parts)
            self.whole = True
        return self.body_read

    def some(self):
        """The next bytes of the body, b"" at its end."""
        piece = next(self.pieces, b"")
        self.body_read += piece
        if not piece:
            self.whole = True
        return piece

    def __repr__(self):
        return "<%s %s %s>" % (self.method, self.target, self.fields)


class Conn:
    """One connection that Weir opened."""

    def __init__(self, origin, sock, number):
        self.origin, self.sock, self.number = origin, sock, number
        # What it waits for may be due when a test is over; that a body does not come is its
        # client's to say.
        self.stream = wire.Stream(sock, origin.idle)
        self.requests = []
        self.open = True
        self.tunnel = False
        self.early = False  # the answer began before the body was read: the next request may follow
        self.ended = threading.Event()  # the other side ended or broke
        self.thread = None  # that serves it

    def send(self, raw):
        """Writes; False when the other side is gone. What nobody takes waits longer than any reader
        that has to wait for its turn, and then ends with the connection: not as if it went on."""
        if isinstance(raw, str):
            raw = raw.encode("latin-1")
        if self.requests and not self.requests[-1].whole and not raw.startswith(b"HTTP/1.1 1"):
            self.early = True
        self.sock.settimeout(wire.patience() * 12)
        try:
            self.sock.sendall(raw)
            return True
        except (socket.timeout, TimeoutError):
            self.origin.violate("nobody takes what is sent (connection %d)" % self.number)
            self.close()
            self.ended.set()
            return False
        except OSError:
            self.ended.set()
            return False

    def reply(self, status=200, fields=(), body=b"", chunked=False, reason="OK", trailers=()):
        """A well-formed answer."""
        head = "HTTP/1.1 %d %s\r\n" % (status, reason)
        head += "".join("%s: %s\r\n" % f for f in fields)
        if chunked:
            head += "Transfer-Encoding: chunked\r\n\r\n"
            return self.send(head.encode("latin-1")
                             + wire.encode_chunked(body, 4096, trailers))
        if status not in (204, 304):
            head += "Content-Length: %d\r\n" % len(body)
        return self.send(head.encode("latin-1") + b"\r\n" + body)

    def close(self):
        self.open = False
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()

    def shut(self):
        """FIN only; nothing where the connection has ended already."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        self.open = False
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if self.thread is not threading.current_thread():
                self.sock.shutdown(socket.SHUT_RD)  # the kernel sends RST when no read is left
        except OSError:
            pass
        self.sock.close()
        if self.thread is not threading.current_thread():
            self.ended.wait(wire.patience())

    def await_end(self, timeout=None):
        """Blocks until the other side ends the connection; returns the bytes that came first."""
        got = b""
        while True:
            piece = self.stream.some()
            if not piece:
                self.ended.set()
                return got
            got += piece

    def next_request(self):
        """Reads one head; None when the connection ended between requests."""
        try:
            while not self.stream.buf:
                if not self.stream.fill(timeout=self.origin.idle):
                    return None
            raw = self.stream.until(b"\r\n\r\n")
        except (Ended, wire.Deadline):
            if self.stream.buf:
                self.origin.cut_heads.append(self.stream.buf)
            return None
        except OSError:
            return None
        lines = wire.split_head(raw)
        m = wire.REQUEST_LINE.fullmatch(lines[0])
        if not m:
            raise WrongBytes("request line %r" % lines[0])
        return Request(self, raw, m.group(1), m.group(2), wire.parse_fields(lines[1:]))


def object_to(req):
    """What is wrong with a request that a proxy forwarded; None when nothing is."""
    f = req.fields
    if len(f.all("host")) != 1 or not wire.HOST.fullmatch(f.get("host")):
        return "Host %r" % f.all("host")
    for name in HOP:
        if f.has(name):
            return "hop-by-hop field %s" % name
    odd = set(f.tokens("connection")) - CONNECTION_TOKENS
    if odd:
        return "Connection names %r" % odd
    if f.has("te") and (f.tokens("te") != ["trailers"] or "te" not in f.tokens("connection")):
        return "TE %r with Connection %r" % (f.all("te"), f.all("connection"))
    if f.has("upgrade") != ("upgrade" in f.tokens("connection")):
        return "Upgrade %r with Connection %r" % (f.all("upgrade"), f.all("connection"))
    if req.target == "*":
        return None if req.method == "OPTIONS" else "target * with " + req.method
    if req.method == "CONNECT":
        return None
    if not req.target.startswith("/"):
        return "target %r" % req.target
    if re.search(r"%(?![0-9A-Fa-f]{2})|%00", req.path) or "\\" in req.path:
        return "bad escape in path %r" % req.path
    for part in req.path.split("/"):
        if part.lower().replace("%2e", ".") in (".", ".."):
            return "dot segment in path %r" % req.path
    return None


class Origin:
    """Listens at once; one thread a connection. on(path, answer): answer is bytes (sent as they
    are) or a function (conn, request) that writes itself."""

    def __init__(self, address, name="origin", idle=120.0, backlog=512, accept=True, raw=None):
        self.address, self.name, self.idle = address, name, idle
        self.answers = {}
        self.default = default_answer
        self.requests, self.connections = [], []
        self.violations, self.cut_heads = [], []
        self.lenient = False  # True: do not object (a test that is about odd requests)
        self.raw = raw  # function (conn): takes over each connection
        self.changed = threading.Condition()
        self.accepting = accept
        self.listener = None
        self.listen(backlog)

    # ---- set-up ----

    def listen(self, backlog=512):
        if self.address.startswith("unix:"):
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(self.address[5:])
        else:
            host, port = self.address.rsplit(":", 1)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.listener = socket.socket(family)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((host.strip("[]"), int(port)))
        self.listener.listen(backlog)
        if self.accepting:
            threading.Thread(target=self.accept_loop, args=(self.listener,), daemon=True).start()

    def on(self, path, answer):
        self.answers[path] = answer
        return self

    def stop_listening(self):
        """Refuses new connections; open ones go on."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def close(self):
        self.stop_listening()
        for c in list(self.connections):
            c.close()

    # ---- what was seen ----

    def seen(self, path):
        with self.changed:
            return [r for r in self.requests if r.path == path]

    def await_seen(self, path, n=1):
        """Requests to path, when there are n."""
        with self.changed:
            ok = self.changed.wait_for(
                lambda: len([r for r in self.requests if r.path == path]) >= n, wire.watching())
        seen = self.seen(path)
        if not ok:
            raise wire.Unseen("origin saw %d requests to %s, %d wanted" % (len(seen), path, n))
        return seen

    def await_connections(self, n):
        with self.changed:
            if not self.changed.wait_for(lambda: len(self.connections) >= n, wire.watching()):
                raise wire.Unseen("origin saw %d connections, %d wanted"
                                     % (len(self.connections), n))
        return self.connections

    # ---- serving ----

    def accept_loop(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            if sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                conn = Conn(self, sock, len(self.connections))
                self.connections.append(conn)
                self.changed.notify_all()
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        conn.thread = threading.current_thread()
        try:
            if self.raw:
                self.raw(conn)
            else:
                while conn.open and self.serve_one(conn):
                    pass
        except WrongBytes as e:
            self.violate("%s (connection %d)" % (e, conn.number))
        except (Ended, OSError, ValueError):
            pass
        except wire.Deadline as e:
            self.violate("origin waited in vain: %s" % e)
        finally:
            conn.ended.set()
            if conn.open:
                conn.close()
            with self.changed:
                self.changed.notify_all()

    def serve_one(self, conn):
        req = conn.next_request()
        if req is None:
            return False
        wrong = object_to(req)
        if wrong:
            self.violate("%s in %r" % (wrong, req.raw))
        conn.early = False
        with self.changed:
            conn.requests.append(req)
            self.requests.append(req)
            self.changed.notify_all()
        answer = self.answers.get(req.path, self.default)
        if isinstance(answer, bytes):
            req.body()
            conn.send(answer)
            return True
        answer(conn, req)
        if not conn.open:
            return False
        req.body()
        if conn.stream.buf and not (conn.tunnel or conn.early):
            self.violate("bytes behind a request: %r" % conn.stream.buf[:200])
        return True

    def violate(self, text):
        if not self.lenient:
            self.violations.append("%s: %s" % (self.name, text))


def default_answer(conn, req):
    """Names the origin, repeats method, target and body."""
    body = req.body()
    text = "%s %s %s\n" % (conn.origin.name, req.method, req.target)
    if req.method == "HEAD":
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nX-Origin: %s\r\n\r\n"
                  % (len(text), conn.origin.name))
    else:
        conn.reply(200, [("X-Origin", conn.origin.name)], text.encode("latin-1") + body)


def echo_tunnel(conn, req, switch="HTTP/1.1 101 Switching Protocols\r\n"
                                  "Connection: upgrade\r\nUpgrade: x\r\n\r\n"):
    """Changes protocols and sends back what comes, until it ends."""
    conn.tunnel = True
    conn.send(switch)
    while True:
        piece = conn.stream.some()
        if not piece:
            break
        conn.send(piece)
    conn.close()

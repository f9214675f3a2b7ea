# SPDX-License-Identifier: Apache-2.0
"""A DNS server that answers as a test says, well or badly: UDP and TCP on one port, in threads."""

import socket
import struct
import threading

A, AAAA, CNAME = 1, 28, 5
NXDOMAIN = 3
TRUNCATED = 0x0200


def name_of(message, at=12):
    labels = []
    while message[at]:
        labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
        at += 1 + message[at]
    return ".".join(labels), at + 5


def labels(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\0"


def record(kind, value, ttl=0, name=b"\xc0\x0c"):
    return name + struct.pack(">HHIH", kind, 1, ttl, len(value)) + value


def a(address, ttl=0, name=b"\xc0\x0c"):
    return record(A, socket.inet_aton(address), ttl, name)


class Question:
    def __init__(self, message, tcp):
        self.message, self.tcp = message, tcp
        self.id = struct.unpack(">H", message[:2])[0]
        self.name, end = name_of(message)
        self.kind = struct.unpack(">H", message[end - 4:end - 2])[0]
        self.question = message[12:end]

    def answer(self, records=(), code=0, flags=0, id_=None, n=None):
        head = struct.pack(">HHHHHH", self.id if id_ is None else id_, 0x8180 | flags | code, 1,
                           len(records) if n is None else n, 0, 0)
        return head + self.question + b"".join(records)


def sockets(host):
    """TCP and UDP on one port: one that is free for TCP may be taken for UDP."""
    for _ in range(100):
        tcp, udp = socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        tcp.bind((host, 0))
        try:
            udp.bind(tcp.getsockname())
            return tcp, udp
        except OSError:
            tcp.close()
            udp.close()
    raise OSError("no port is free for both on " + host)


class Dns:
    """answers(question) gives the messages to send back, in order."""

    def __init__(self, host, answers):
        self.answers = answers
        self.asked, self.violations = [], []
        self.tcp, self.udp = sockets(host)
        self.tcp.listen(16)
        self.address = "%s:%d" % self.udp.getsockname()
        for run in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=run, daemon=True).start()

    def take(self, message, tcp):
        q = Question(message, tcp)
        self.asked.append(q)
        return self.answers(q)

    def serve_udp(self):
        while True:
            try:
                message, peer = self.udp.recvfrom(4096)
                for m in self.take(message, False):
                    self.udp.sendto(m, peer)
            except (OSError, IndexError, struct.error):
                if self.udp.fileno() < 0:
                    return

    def serve_tcp(self):
        while True:
            try:
                sock, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_one, args=(sock,), daemon=True).start()

    def serve_one(self, sock):
        with sock:
            try:
                while True:
                    n = struct.unpack(">H", sock.recv(2, socket.MSG_WAITALL))[0]
                    for m in self.take(sock.recv(n, socket.MSG_WAITALL), True):
                        sock.sendall(struct.pack(">H", len(m)) + m)
            except (OSError, IndexError, struct.error):
                pass

    def close(self):
        self.udp.close()
        self.tcp.close()

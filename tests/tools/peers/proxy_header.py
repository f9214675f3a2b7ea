# SPDX-License-Identifier: Apache-2.0
"""PROXY protocol headers as bytes, well-formed and not, and back (version 2 only)."""

import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ALPN, AUTHORITY, CRC32C, UNIQUE_ID, SSL = 1, 2, 3, 5, 0x20


def crc32c(data):
    c = 0xffffffff
    for byte in data:
        c ^= byte
        for _ in range(8):
            c = c >> 1 ^ (0x82f63b78 if c & 1 else 0)
    return c ^ 0xffffffff


def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def ssl(version, client=1, verify=0):
    return tlv(SSL, struct.pack("!BI", client, verify) + tlv(0x21, version))


def v1(source="192.0.2.7", port=4711, destination="198.51.100.2", to_port=443, family="TCP4"):
    return ("PROXY %s %s %s %d %d\r\n" % (family, source, destination, port, to_port)).encode()


def v2(source="192.0.2.7", port=4711, destination="198.51.100.2", to_port=443, tlvs=b"",
       command=0x21, checksum=None):
    """checksum: True for a right one, False for a wrong one."""
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    body = (socket.inet_pton(family, source) + socket.inet_pton(family, destination) +
            struct.pack("!HH", port, to_port) + tlvs)
    if checksum is not None:
        body += tlv(CRC32C, b"\0\0\0\0")
    raw = SIGNATURE + struct.pack("!BBH", command, 0x21 if ":" in source else 0x11,
                                  len(body)) + body
    if checksum is None:
        return raw
    return raw[:-4] + struct.pack("!I", crc32c(raw) ^ (not checksum))


def local():
    return SIGNATURE + b"\x20\0\0\0"


class Header:
    """A header as it was read: source and destination are (address, port), None where it tells
    nothing; tlvs: {kind: value}."""

    def __init__(self, raw):
        self.raw = raw
        self.source = self.destination = None
        self.tlvs = {}
        if raw.startswith(b"PROXY "):
            words = raw.decode().split()
            if words[1] != "UNKNOWN":
                self.source = (words[2], int(words[4]))
                self.destination = (words[3], int(words[5]))
            return
        command, family, n = struct.unpack("!BBH", raw[12:16])
        assert command in (0x20, 0x21) and len(raw) == 16 + n, raw
        if command == 0x20:
            return
        size, kind = (4, socket.AF_INET) if family == 0x11 else (16, socket.AF_INET6)
        at = 16 + 2 * size + 4
        ports = struct.unpack("!HH", raw[at - 4:at])
        self.source = (socket.inet_ntop(kind, raw[16:16 + size]), ports[0])
        self.destination = (socket.inet_ntop(kind, raw[16 + size:16 + 2 * size]), ports[1])
        while at < len(raw):
            kind, n = struct.unpack("!BH", raw[at:at + 3])
            assert kind not in self.tlvs and at + 3 + n <= len(raw), raw
            self.tlvs[kind] = raw[at + 3:at + 3 + n]
            if kind == CRC32C:
                zeroed = raw[:at + 3] + b"\0\0\0\0" + raw[at + 7:]
                assert struct.unpack("!I", self.tlvs[kind])[0] == crc32c(zeroed), raw
            at += 3 + n


class Unbuffered:
    """A socket read without a byte too many: what is behind the header is TLS."""

    def __init__(self, sock):
        self.sock = sock

    def exactly(self, n):
        got = b""
        while len(got) < n:
            piece = self.sock.recv(n - len(got))
            if not piece:
                raise OSError("ended in a header")
            got += piece
        return got

    def until(self, marker, _limit):
        got = b""
        while not got.endswith(marker):
            got += self.exactly(1)
        return got


def read(stream):
    """The header in front of a wire.Stream (or Unbuffered)."""
    first = stream.exactly(6)
    if first == b"PROXY ":
        return Header(first + stream.until(b"\r\n", 107))
    raw = first + stream.exactly(10)
    assert raw.startswith(SIGNATURE), raw
    return Header(raw + stream.exactly(struct.unpack("!H", raw[14:16])[0]))


def serve(conn):
    """For Origin(raw=...): each connection begins with a header; it is conn.header."""
    conn.header = read(conn.stream)
    while conn.open and conn.origin.serve_one(conn):
        pass

# SPDX-License-Identifier: Apache-2.0
"""Many clients on one selectors loop, and the origins that they get to, in a process of their own,
so that what a story does meanwhile is not slowed down by them. As a program:

    python3 -m peers.crowd CLIENTS ADDRESS ORIGIN...

listens on each ORIGIN (an address; as strict as every origin) and says "ready". From the first byte
on stdin on CLIENTS connections to ADDRESS ask without a pause. For each further byte a line of JSON
is printed when every client was answered once more: {"answered", "wrong"}. The end of stdin ends
it; then the last line has what the origins object to."""

import collections
import json
import os
import re
import selectors
import subprocess
import sys

from . import wire
from .client import make_request
from .origin import Origin, default_answer

EACH = 20  # requests on a connection, then a new one
LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.I)


class Asker:
    """One client: a request, its answer, the next one."""

    def __init__(self, crowd, number):
        self.crowd, self.number = crowd, number
        self.asked = 0
        self.answered_round = 0
        self.sock = None

    def connect(self):
        self.sock = wire.connect(self.crowd.address)
        self.left = EACH
        self.crowd.selector.register(self.sock, selectors.EVENT_READ, self)
        self.ask()

    def leave(self):
        self.crowd.selector.unregister(self.sock)
        self.sock.close()

    def ask(self):
        self.asked += 1
        self.left -= 1
        self.round = self.crowd.round
        self.path = "/load%d-%d" % (self.number, self.asked)
        self.got = b""
        self.sock.sendall(make_request("POST", self.path, body=b"body"))

    def again(self):
        self.leave()
        self.connect()

    def wrong(self, why):
        self.crowd.wrong.append("%s: %s" % (self.path, why))
        self.again()

    def readable(self):
        try:
            piece = self.sock.recv(65536)
        except OSError as e:
            return self.wrong(repr(e))
        self.got += piece
        if not piece:
            return self.wrong("the connection ended after %r" % self.got)
        head, end, body = self.got.partition(b"\r\n\r\n")
        length = LENGTH.search(head + b"\r\n")
        if not end or (length and len(body) < int(length.group(1))):
            return None
        want = b" POST %s\nbody" % self.path.encode()
        if not head.startswith(b"HTTP/1.1 200 ") or not body.endswith(want):
            return self.wrong("%r" % self.got)
        self.answered_round = self.round
        self.crowd.answered += 1
        if self.left == 0 or b"\r\nconnection: close" in head.lower():
            return self.again()
        return self.ask()


class Crowd:
    def __init__(self, n, address):
        self.address, self.round, self.answered, self.wrong = address, 0, 0, []
        self.selector = selectors.DefaultSelector()
        self.askers = [Asker(self, i) for i in range(n)]

    def run(self):
        """Until stdin ends."""
        self.selector.register(sys.stdin.fileno(), selectors.EVENT_READ, None)
        for a in self.askers:
            a.connect()
        told = 0
        while True:
            ready = self.selector.select(wire.patience() * 3)
            if not ready:
                self.wrong.append("nobody was answered any more")
                self.round = told = told + 1
                self.tell()
            for key, _ in ready:
                if key.data:
                    key.data.readable()
                elif not os.read(key.fd, 1):
                    return
                else:
                    self.round += 1
            if told < self.round <= min(a.answered_round for a in self.askers):
                told = self.round
                self.tell()

    def tell(self):
        print(json.dumps({"answered": self.answered, "wrong": self.wrong}), flush=True)


def serve(address, name):
    """An origin that remembers no request."""
    def answer(conn, req):
        conn.requests.clear()
        default_answer(conn, req)
    o = Origin(address, name)
    o.requests = collections.deque(maxlen=0)
    o.default = answer
    return o


class Process:
    """The same, seen from a story, which ends it."""

    def __init__(self, story, n, address, origins):
        tools = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
        self.p = story.spawn(
            [sys.executable, "-m", "peers.crowd", str(n), address, *origins], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": tools, "PYTHONDONTWRITEBYTECODE": "1"})
        assert self.p.stdout.readline() == "ready\n", "the origins do not listen"

    def go(self):
        """The clients begin; returns when each was answered."""
        self.p.stdin.write(".")
        return self.answered()

    def answered(self):
        """Waits until every client was answered once more; how many answers there were so far. An
        answer that was wrong, or did not come, is an error."""
        self.p.stdin.write(".")
        self.p.stdin.flush()
        said = json.loads(self.p.stdout.readline() or '{"wrong": ["the clients died"]}')
        assert not said["wrong"], "%d wrong, the first: %s" % (len(said["wrong"]), said["wrong"][0])
        return said["answered"]

    def end(self):
        self.p.stdin.close()
        left = json.loads(self.p.stdout.read())
        self.p.stdout.close()
        assert self.p.wait(wire.patience()) == 0
        assert not left, left[0]


def main(n, address, *origins):
    strict = [serve(a, "origin%d" % i) for i, a in enumerate(origins)]
    print("ready", flush=True)
    if os.read(sys.stdin.fileno(), 1):
        Crowd(int(n), address).run()
    print(json.dumps([v for o in strict for v in o.violations]), flush=True)
    os._exit(0)  # the origins' threads read on


if __name__ == "__main__":
    main(*sys.argv[1:])

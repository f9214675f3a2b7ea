# SPDX-License-Identifier: Apache-2.0
"""A network of a story's own: its process and all it starts later move to fresh namespaces, where
another one hangs on a wire that can be cut, and where names are resolved by a server of the
story's. Call isolate() first, before there are threads."""

import ctypes
import faulthandler
import os
import socket
import struct
import subprocess
import threading

from .story import Skip

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x20000, 0x10000000, 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
NEAR, FAR = "10.99.0.1", "10.99.0.2"


def unshare(flags):
    if LIBC.unshare(flags) != 0:
        raise Skip("this kernel forbids namespaces of one's own: unshare: "
                   + os.strerror(ctypes.get_errno()))


def be_root():
    """In a user namespace, which only a process of one thread may make."""
    uid, gid = os.getuid(), os.getgid()
    faulthandler.cancel_dump_traceback_later()  # it is a thread
    unshare(CLONE_NEWUSER)
    for path, text in (("setgroups", "deny"), ("uid_map", "0 %d 1" % uid),
                       ("gid_map", "0 %d 1" % gid)):
        with open("/proc/self/" + path, "w") as f:
            f.write(text)


def mac_in(text):
    return text.split("link/ether ")[1].split()[0]


class Network:
    """Here, and far away behind the wire."""

    def __init__(self, t):
        self.ip = t.needs("ip")
        self.tc = t.needs("tc")
        if os.getuid() != 0:
            be_root()
        unshare(CLONE_NEWNS | CLONE_NEWNET)
        self.here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.run("mount", "--make-rprivate", "/")
        self.command("link set lo up")
        unshare(CLONE_NEWNET)
        self.far = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.command("link set lo up")
        self.command("link add far type veth peer name near")
        self.command("link set near netns /proc/%d/fd/%d" % (os.getpid(), self.here))
        self.command("addr add %s/24 dev far" % FAR)
        self.command("link set far up")
        self.enter(self.here)
        self.command("addr add %s/24 dev near" % NEAR)
        self.command("link set near up")
        # Who is cut off is not known to be: without it, the kernel would say "no route" instead.
        self.beyond("neigh replace %s lladdr %s dev far nud permanent"
                    % (NEAR, mac_in(self.command("-o link show near"))))
        self.command("neigh replace %s lladdr %s dev near nud permanent"
                     % (FAR, mac_in(self.beyond("-o link show far"))))

    @staticmethod
    def run(*argv):
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Skip("%s: %s" % (" ".join(argv), done.stderr.strip()))
        return done.stdout

    def command(self, text):
        return self.run(self.ip, *text.split())

    @staticmethod
    def enter(namespace):
        if LIBC.setns(namespace, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def away(self, act):
        """act(), done beyond the wire: sockets that it makes stay there."""
        self.enter(self.far)
        try:
            return act()
        finally:
            self.enter(self.here)

    def beyond(self, text):
        return self.away(lambda: self.command(text))

    def cut(self):
        """Nothing passes any more, and nobody is told."""
        self.beyond("link set far down")

    def mend(self):
        self.beyond("link set far up")

    def lossy(self):
        """What comes from afar passes a queue of some packets; what does not fit is lost."""
        queue = "qdisc replace dev far root tbf rate 40mbit burst 8kb limit 12kb"
        self.away(lambda: self.run(self.tc, *queue.split()))

    def lost(self):
        """Packets that were lost so far."""
        text = self.away(lambda: self.run(self.tc, "-s", "qdisc", "show", "dev", "far"))
        return int(text.split("dropped ")[1].split(",")[0])


def isolate(t):
    """The story's network; skips where there can be none."""
    return Network(t)


class Names:
    """A name server for A records: answers maps names to lists of addresses; a name without any
    does not exist; silent: it does not answer at all."""

    def __init__(self, t, address="127.0.0.53", ttl=1):
        self.answers, self.ttl, self.silent, self.asked = {}, ttl, False, 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 53))
        path = os.path.join(t.make_dir("names"), "resolv.conf")
        with open(path, "w") as f:
            f.write("nameserver %s\noptions timeout:1 attempts:1\n" % address)
        Network.run("mount", "--bind", path, "/etc/resolv.conf")
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            query, peer = self.socket.recvfrom(4096)
            self.asked += 1
            if not self.silent:
                self.socket.sendto(self.reply(query), peer)

    def reply(self, query):
        """RFC 1035 4.1; only the first question is looked at."""
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind, = struct.unpack(">H", query[at + 1:at + 3])
        known = self.answers.get(".".join(labels).lower())
        found = known or [] if kind == 1 else []
        head = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(found), 0, 0)
        return head + query[12:at + 5] + b"".join(
            struct.pack(">HHHIH", 0xc00c, 1, 1, self.ttl, 4) + socket.inet_aton(a) for a in found)

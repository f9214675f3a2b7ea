# SPDX-License-Identifier: Apache-2.0
"""Listening sockets that the service manager lends: used by address, kept over a stop and an
upgrade, left alone where no listener has them."""

import os
import socket
import stat

from peers import client
from peers.wire import await_true

NOT_IN = {"doors": "it is about processes, not about memory"}
WRAPPER = """#!/usr/bin/python3
# As systemd does it: the descriptors from 3 on, and the id of the process.
import os, sys
lent = [os.dup2(fd, 200 + i) for i, fd in enumerate(%r)]
for i, fd in enumerate(lent):
    os.dup2(fd, 3 + i)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(lent)), LISTEN_FDNAMES=%r)
os.execv(%r, [%r] + sys.argv[1:])
"""


def begin(t):
    t.o = t.origin()
    t.real = t.weir_path


def lend(address):
    """A socket as the service manager makes it: blocking, listening."""
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.bind(address[5:])
    else:
        host, port = address.rsplit(":", 1)
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((host, int(port)))
    s.listen(64)
    s.set_inheritable(True)
    return s


def start(t, lent, names, **config):
    """A Weir that is lent these sockets."""
    path = os.path.join(t.make_dir("bin"), "weir")
    with open(path, "w") as f:
        f.write(WRAPPER % ([s.fileno() for s in lent], names, t.real, t.real))
    os.chmod(path, stat.S_IRWXU)
    t.weir_path = path
    try:
        return t.start(dict({"upstreams": {"o": {"endpoints": [t.o.address]}}}, **config),
                       pass_fds=[s.fileno() for s in lent])
    finally:
        t.weir_path = t.real


def test_by_address(t):
    """Inet and unix; what is not lent is opened as ever; all workers accept."""
    inet, path, own = t.address(), t.unix(), t.address()
    lent = [lend(inet), lend(path)]
    w = start(t, lent, "web:local", workers=3,
              listeners=[{"address": a} for a in (own, path, inet)])
    for which in range(3):
        for i in range(10):
            with w.client(which) as c:
                assert c.get("/%d" % i).status == 200
    assert w.log().count("listener.lent") == 2
    w.stop()
    assert os.path.exists(path[5:]), "a file that was lent is not Weir's to remove"
    waiting = client.Client(inet)
    waiting.request("GET", "/queued")
    again = start(t, lent, "web:local", listeners=[{"address": inet}, {"address": path}])
    assert waiting.response().status == 200, "who connects between two Weirs waits"
    again.stop()


def test_kept_by_an_upgrade(t):
    address = t.address()
    lent = [lend(address)]
    w = start(t, lent, "web", listeners=[{"address": address}])
    assert w.get("/before").status == 200
    old = w.server_pid()
    code, text, err = t.run("upgrade", "--pid", str(w.pid))
    assert code == 0, text + err
    await_true("the old server's end", lambda: old not in w.children())
    assert w.get("/after").status == 200
    w.stop()


def test_not_wanted(t):
    """A socket that no listener has is named in the log, and Weir serves."""
    strange, address = t.address(), t.address()
    w = start(t, [lend(strange)], "strange", listeners=[{"address": address}])
    assert w.get("/a").status == 200
    assert "strange: %s" % strange in w.log() and "listener.not_wanted" in w.log()
    w.stop()


def test_of_another_process(t):
    """LISTEN_PID names another process: nothing is taken."""
    w = t.start({"upstreams": {"o": {"endpoints": [t.o.address]}}},
                env={"LISTEN_PID": "1", "LISTEN_FDS": "5"})
    assert w.get("/a").status == 200
    assert "listener." not in w.log()
    w.stop()

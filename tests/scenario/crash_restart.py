# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the server process: the supervisor starts a new one; listening sockets never close."""

import os
import re
import signal
import threading

from peers import wire
from peers.wire import Ended, await_true

NOT_IN = {"doors": "a killed process reports nothing"}


def begin(t):
    t.o = t.origin()


def kill_server(w):
    old = w.server_pid()
    os.kill(old, signal.SIGKILL)
    return old


def test_next_connection_is_served(t):
    w = t.simple()
    assert w.get("/before").status == 200
    for i in range(3):
        old = kill_server(w)
        r = w.get("/after%d" % i)
        assert r.status == 200, r
        assert w.server_pid() != old
    w.stop()


def test_a_loop_of_crashes_is_slowed_down(t):
    """The next server starts at once, also after the fifth kill -9; then it takes its time."""
    w = t.simple()
    assert w.get("/before").status == 200
    pauses = []
    while not any(pauses) and len(pauses) < 30:  # a server that lived long starts a new count
        old = kill_server(w)
        assert w.get("/loop%d" % len(pauses)).status == 200
        assert w.server_pid() != old
        pauses = [int(ms) for ms in re.findall(r"a new one starts in (\d+) ms", w.log())]
    assert pauses[:5] == [0] * 5 and any(pauses), pauses
    w.stop()


def test_never_refused(t):
    """Connections made during the crash wait in the listening socket, none is refused."""
    w = t.simple()
    w.get("/before")
    stop = threading.Event()
    refused, served = [], [0]

    def knock():
        while not stop.is_set():
            try:
                s = wire.connect(w.address)
            except OSError as e:
                refused.append(e)
                return
            s.close()
            served[0] += 1
    threads = [threading.Thread(target=knock) for _ in range(3)]
    for th in threads:
        th.start()
    for i in range(4):
        old = kill_server(w)
        await_true("another server", lambda o=old: o not in w.children() and w.children())
        assert w.get("/knock%d" % i).status == 200
    stop.set()
    for th in threads:
        th.join()
    assert not refused, refused[0]
    assert served[0] > 10


def test_queued_connection_is_served(t):
    """A connection that was made while no server ran is answered by the next one."""
    w = t.simple()
    w.get("/before")
    supervisor = w.pid
    server = w.server_pid()
    os.kill(server, signal.SIGSTOP)
    with w.client() as c:
        c.request("GET", "/queued")
        os.kill(server, signal.SIGKILL)
        try:
            r = c.response()
            assert r.status == 200, r
        except Ended:
            pass  # it was accepted by the server that was killed
    assert w.get("/next").status == 200
    assert w.pid == supervisor and w.process.poll() is None


def test_clients_of_the_killed_server_see_it(t):
    """No hang: connections of the killed server end."""
    w = t.simple()
    t.o.on("/never", lambda conn, req: conn.await_end())
    c = w.client()
    c.request("GET", "/never")
    t.o.await_seen("/never")
    kill_server(w)
    c.ended()
    assert w.get("/again").status == 200


def test_reload_and_stop_after_a_crash(t):
    w = t.start({"routes": [{"match": {"path": "/*"}, "reply": {"body": "one"}}]})
    assert w.get("/").body == b"one"
    kill_server(w)
    assert w.get("/").body == b"one"
    w.reload(w.with_config(routes=[{"match": {"path": "/*"}, "reply": {"body": "two"}}]),
             lambda: w.get("/").body == b"two")
    kill_server(w)
    assert w.get("/").body == b"two", "the new server has the newest configuration"
    w.stop()


def test_supervisor_takes_the_server_along(t):
    """kill -9 of the supervisor leaves no server behind."""
    w = t.simple()
    w.get("/a")
    server = w.server_pid()
    os.kill(w.pid, signal.SIGKILL)
    w.expect_exit = -signal.SIGKILL
    w.process.wait()

    def gone():
        try:
            with open("/proc/%d/stat" % server) as f:
                return f.read().rsplit(")", 1)[1].split()[0] == "Z"
        except FileNotFoundError:
            return True
    await_true("the server ends with its supervisor", gone)
    w.stop()


def test_fault_is_logged(t):
    w = t.simple()
    w.get("/a")
    kill_server(w)
    assert w.get("/b").status == 200
    await_true("the crash is logged", lambda: "server.ended" in w.log())

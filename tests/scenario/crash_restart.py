# SPDX-License-Identifier: Apache-2.0
"""kill -9 of the server process: the supervisor starts a new one; listening sockets never close."""

import os
import re
import signal
import threading

from peers import client, wire
from peers.wire import Ended, await_true, over

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


def kill_supervisor(w):
    """kill -9; the server's process id."""
    server = w.server_pid()
    os.kill(w.pid, signal.SIGKILL)
    assert w.process.wait() == -signal.SIGKILL
    return server


def test_supervisor_takes_the_server_along(t):
    """kill -9 of the supervisor leaves no server behind."""
    w = t.simple()
    w.get("/a")
    server = kill_supervisor(w)
    w.expect_exit = -signal.SIGKILL
    await_true("the server ends with its supervisor", lambda: over(server))
    w.stop()


def test_told_twice_to_stop(t):
    """The server of a killed supervisor is told by a signal and by the channel's end, at any moment
    of its own end; one that is idle ends at once."""
    for _ in range(5 if t.variant == "onebyte" else 15):
        w = t.simple()
        w.get("/a")
        server = kill_supervisor(w)
        w.expect_exit = -signal.SIGKILL
        await_true("the server ends", lambda s=server: over(s))
        w.stop()


def test_supervisor_killed_under_way(t):
    """The server of a supervisor that was killed finishes what is under way, while a new Weir has
    its addresses already."""
    w = t.simple(admin={"address": t.unix()}, drain="30s")
    go = threading.Event()
    t.o.on("/wait", lambda conn, req: (go.wait(60), conn.reply(200, body=b"waited")))
    with w.client() as c:
        c.request("GET", "/wait")
        t.o.await_seen("/wait")
        old = kill_supervisor(w)
        for address in (w.address, w.admin):
            await_true("the old server takes no more", lambda a=address: client.nobody_listens(a))
        w.launch()
        w.wait_ready()
        assert w.get("/new").status == 200 and w.server_pid() != old
        assert not over(old), "it was not waited for"
        go.set()
        assert c.response().body == b"waited"
    await_true("the old server ends", lambda: over(old))
    w.stop()


def test_server_killed_under_load(t):
    """A request is answered whole and right, or its connection breaks; the next one is answered."""
    w = t.simple(workers=2)
    stop, wrong, good = threading.Event(), [], [0] * 8

    def ask(i):
        while not stop.is_set():
            try:
                with w.client() as c:
                    for n in range(20):
                        r = c.ask("POST", "/load%d-%d" % (i, n), body=b"body")
                        if r.complete and not r.body.endswith(b"/load%d-%d\nbody" % (i, n)):
                            wrong.append(r)
                        good[i] += r.complete
            except (Ended, OSError):
                pass
            except Exception as e:
                wrong.append(repr(e))
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for th in threads:
        th.start()
    await_true("everybody is served", lambda: all(good))
    for _ in range(4):
        kill_server(w)
        before = list(good)
        await_true("everybody is served again", lambda b=before: all(
            now > then for now, then in zip(good, b)))
    stop.set()
    for th in threads:
        th.join()
    assert not wrong, wrong[0]
    w.stop()


def test_fault_is_logged(t):
    w = t.simple()
    w.get("/a")
    kill_server(w)
    assert w.get("/b").status == 200
    await_true("the crash is logged", lambda: "server.ended" in w.log())

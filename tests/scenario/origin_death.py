# SPDX-License-Identifier: Apache-2.0
"""Load while one origin of three is killed and brought back, again and again: no GET whose answer
had not begun fails; one whose answer had begun breaks visibly, and is counted apart. Origins that
are stopped and go on."""

import os
import signal
import subprocess
import sys
import threading

from peers import client, wire

COST = 5
NOT_IN = {"doors": "requests are refused on purpose there"}

ORIGIN = """
import socket, sys, threading, time
def serve(c):
    data = b""
    while True:
        while b"\\r\\n\\r\\n" not in data:
            more = c.recv(65536)
            if not more:
                return
            data += more
        head, data = data.split(b"\\r\\n\\r\\n", 1)
        whole = b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok"
        if head.startswith(b"GET /slow"):
            c.sendall(whole[:-1])
            time.sleep(0.05)
            c.sendall(whole[-1:])
        else:
            c.sendall(whole)
s = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=512)
while True:
    c, _ = s.accept()
    threading.Thread(target=serve, args=(c,), daemon=True).start()
"""


def run(t, address):
    host, port = address.rsplit(":", 1)
    p = t.spawn([sys.executable, "-c", ORIGIN, host, port], stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL)
    client.wait_listening(address, 30, lambda: p.poll() is None)
    return p


def head_of(c, path):
    c.request("GET", path)
    return c.head()


def test_one_of_three_killed_again_and_again(t):
    n, rounds = (64, 10) if t.variant == "plain" else (8, 2)
    addresses = [t.address() for _ in range(3)]
    processes = [run(t, a) for a in addresses]
    w = t.start({"workers": 2,
                 "upstreams": {"u": {"endpoints": addresses, "balance": {"slow_start": "1s"},
                                     "ejection": {"duration": "1s"}}},
                 "routes": [{"match": {"path": "/*"}, "to": "u"}]}, admin=True)
    over, bad, good, broken = threading.Event(), [], [0] * n, [0] * n

    def live(c, i):
        """Until the connection ends in the middle of an answer, as it must when its origin dies."""
        while not over.is_set():
            try:
                r = c.finish(head_of(c, "/slow" if i % 2 and n == 64 else "/quick"))
            except wire.Ended as e:
                bad.append(e)  # not a byte of an answer
                return
            if r.status != 200 or (r.complete and r.body != b"ok"):
                bad.append(r)
            if not r.complete:
                broken[i] += 1
                return
            good[i] += 1

    def load(i):
        while not over.is_set():
            with w.client() as c:
                live(c, i)
    threads = [threading.Thread(target=load, args=(i,)) for i in range(n)]
    for x in threads:
        x.start()
    def served(what):
        """Every client got two answers more: no request lives through two deaths."""
        before = list(good)
        wire.await_true(what, lambda: all(g > b + 1 for g, b in zip(good, before)))
    for k in range(rounds):
        served("load")
        processes[k % 3].kill()
        processes[k % 3].wait()
        served("load over the death")
        processes[k % 3] = run(t, addresses[k % 3])
    over.set()
    for x in threads:
        x.join(wire.patience(30))
    assert not bad, "%d of %d failed: %r" % (
        len(bad), sum(good), [x for x in w.access() if x["status"] != 200][:3])
    assert all(good), good

    def counted():
        m = w.metrics()
        return sum(m.value("weir_faults_total", reason=x) for x in (
            "upstream_truncated", "upstream_reset"))
    wire.await_true("%d answers that broke, counted" % sum(broken),
                    lambda: counted() == sum(broken))
    assert sum(broken) > 0 or n < 64, "no answer had begun at any death"
    return "%d requests, %d deaths, none failed, %d answers broke" % (
        sum(good), rounds, sum(broken))


def test_one_of_three_stopped(t):
    """SIGSTOP: the kernel goes on to accept, nobody answers. A GET is tried elsewhere after
    per_try; the log says why the endpoint was left out. POST fails with the reason, and is not
    repeated. After SIGCONT it takes requests again."""
    addresses = [t.address() for _ in range(3)]
    processes = [run(t, a) for a in addresses]
    w = t.start({"upstreams": {"u": {"endpoints": addresses, "balance": {"slow_start": "0s"},
                                     "ejection": {"consecutive": 2, "duration": "1s"}},
                               "alone": {"endpoints": addresses[:1]}},
                 "routes": [{"match": {"path": "/alone"}, "to": "alone",
                             "timeouts": {"first_byte": "1s"}},
                            {"match": {"path": "/*"}, "to": "u", "retry": {"per_try": "2s"}}]},
                admin=True)
    for i in range(6):
        assert w.get("/warm%d" % i).status == 200
    processes[0].send_signal(signal.SIGSTOP)
    wire.await_true("all its threads stopped", lambda: os.waitid(
        os.P_PID, processes[0].pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT))
    try:
        for i in range(20):
            assert w.get("/stopped%d" % i).status == 200
        r = w.ask("POST", "/alone", body=b"x")
        assert r.status == 504 and r.code == "first_byte_timeout", r
        line = w.line_for("/alone")
        assert line["reason"] == "first_byte_timeout" and line["attempts"] == 1, line
        wire.await_true("ejection", lambda: "endpoint.ejected" in w.log())
        line = [x for x in w.log().splitlines() if "endpoint.ejected" in x][0]
        assert addresses[0] in line and "_timeout (consecutive_failures)" in line, line
        lines = w.await_access(lambda x: x["path"].startswith("/stopped"), 20)
        assert any(x["attempts"] == 2 for x in lines), "nothing was tried again"
        assert all(x["reason"] == "ok" for x in lines), lines
    finally:
        processes[0].send_signal(signal.SIGCONT)
    wire.await_true("requests at it again", lambda: w.get("/").status == 200 and any(
        x["path"] == "/" and x["endpoint"] == addresses[0] for x in w.access()))

# SPDX-License-Identifier: Apache-2.0
"""memory_limit: the first door answers 503, the second holds back; both open again."""

import threading
import zlib

from peers import prometheus
from peers.wire import Deadline, Ended, await_true

MIB = 1 << 20
NOT_IN = {"onebyte": "stalled readers need megabytes", "doors": "its limit is another one"}


def begin(t):
    t.o = t.origin()
    t.body = bytes(range(256)) * (2 * MIB // 256)
    t.o.on("/big", lambda conn, req: conn.reply(200, body=t.body, chunked=True))


def recovers(w):
    """Somebody is served again, and of what was before nothing is left."""
    def served():
        try:
            r = w.get("/after").status == 200 and w.admin_get("/metrics")
        except Ended:
            return False
        return r and r.status == 200 and prometheus.parse(r.text).value("weir_exchanges_open") == 0
    await_true("recovery", served)


def test_limit_and_recovery(t):
    """Readers that stall take what there is; others are told 503 memory_limit, or wait and are
    served; when the readers go, everything is as before."""
    w = t.simple(memory_limit="4MiB", buffer={"strategy": "fixed", "size": "256KiB"},
                 admin={"address": t.address()})
    base = w.memory()
    readers = []
    refused = 0
    for _ in range(80):
        c = w.client(receive_buffer=4096)
        c.request("GET", "/big")
        readers.append(c)
    for i in range(40):
        try:
            r = w.get("/small%d" % i)
        except Ended:
            continue
        assert r.status in (200, 503), r
        if r.status == 503:
            assert r.code in ("memory_limit", "memory_stall"), r
            refused += 1
            break
    if not t.sanitized:
        assert w.memory() < base + 12 * MIB, "%d KiB" % ((w.memory() - base) >> 10)
    w.await_access(lambda x: x["reason"] in ("memory_limit", "memory_stall"), 1)
    for c in readers:
        c.close()
    recovers(w)
    for i in range(20):
        assert w.get("/after%d" % i).status == 200


def test_nobody_hangs(t):
    """Under a small limit every reader ends: whole, refused or visibly broken."""
    w = t.simple(memory_limit="2MiB", buffer={"strategy": "fixed", "size": "128KiB"},
                 admin={"address": t.address()})
    results = []

    def read():
        try:
            with w.client() as c:
                r = c.get("/big")
                if r.status == 200 and r.complete:
                    ok = zlib.crc32(r.body) == zlib.crc32(t.body)
                    results.append("whole" if ok else "WRONG BYTES")
                elif r.status == 200:
                    results.append("broken")
                else:
                    results.append(r.code)
        except Ended:
            results.append("closed")
        except Deadline:
            results.append("HANG")
    threads = [threading.Thread(target=read) for _ in range(60)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    assert len(results) == 60 and "HANG" not in results and "WRONG BYTES" not in results, results
    assert results.count("whole") >= 1, results
    assert set(results) <= {"whole", "broken", "closed", "memory_limit", "memory_stall"}, results
    recovers(w)


def test_uploads(t):
    """The same for uploads into an origin that does not read."""
    w = t.simple(memory_limit="2MiB", buffer={"strategy": "fixed", "size": "128KiB"},
                 admin={"address": t.address()})
    go = threading.Event()
    t.o.on("/sink", lambda conn, req: (go.wait(60), conn.reply(200, body=b"%d" % zlib.crc32(
        req.body()))))
    results = []

    def send():
        try:
            with w.client() as c:
                r = c.ask("POST", "/sink", body=t.body)
                results.append(r.body if r.status == 200 else r.code)
        except Ended:
            results.append("closed")
        except Deadline:
            results.append("HANG")
    threads = [threading.Thread(target=send) for _ in range(20)]
    for th in threads:
        th.start()
    t.o.await_seen("/sink", 1)
    go.set()
    for th in threads:
        th.join()
    good = b"%d" % zlib.crc32(t.body)
    assert len(results) == 20, results  # a thread that broke tells nothing
    assert set(results) <= {good, "closed", "memory_limit", "memory_stall"}, set(results)
    recovers(w)

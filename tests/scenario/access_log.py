# SPDX-License-Identifier: Apache-2.0
"""The access log: one JSON line an exchange, complete, escaped, reopened on SIGUSR1."""

import json
import os
import re
import signal

from peers.wire import await_true


def begin(t):
    t.o = t.origin("origin")
    t.w = t.simple()


def test_fields(t):
    t.o.on("/line", lambda conn, req: conn.reply(201, body=req.body() + b"!"))
    r = t.w.ask("POST", "/line?a=b", [("User-Agent", "agent/1"), ("Referer", "http://r.example/x")],
                b"hello", host="shop.example:8080")
    assert r.status == 201
    x = t.w.line_for("/line")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", x["time"]), x
    want = {"client_ip": "127.0.0.1", "method": "POST", "host": "shop.example:8080",
            "path": "/line", "query": "a=b", "upstream": "origin", "endpoint": t.o.address,
            "attempts": 1, "status": 201, "reason": "ok", "protocol": "HTTP/1.1",
            "referrer": "http://r.example/x", "user_agent": "agent/1", "reused": False}
    for key, value in want.items():
        assert x.get(key) == value, (key, x)
    assert x["route"], x
    assert x["bytes_in"] >= 5 and x["bytes_out"] >= 6, x
    assert x["duration_us"] >= 0 and isinstance(x["steps"], dict), x
    assert all(isinstance(v, int) and v >= 0 for v in x["steps"].values()), x
    assert x["request_id"] == t.o.seen("/line")[0].get("x-request-id"), x


def test_version_that_was_not_read(t):
    """There is no HTTP/0.0: a line says no protocol where the request had none."""
    w = t.simple()  # where nothing of another test ends meanwhile
    for n, (line, said) in enumerate((("GET /v HTTP/x.y", None), ("GET /v HTTP/1", None),
                                      ("GET /v HTTP/3.0", None), ("GET /v HTTP/1.7", "HTTP/1.7"))):
        with w.client() as c:
            c.send(line + "\r\nHost: a\r\n\r\n")
            c.response()
        x = w.await_access(lambda x: True, n + 1)[n]
        assert x.get("protocol") == said, (line, x)


def test_steps_add_up(t):
    t.o.on("/steps", lambda conn, req: (conn.stream.readable(0.05), conn.reply(200)))
    t.w.get("/steps")
    x = t.w.line_for("/steps")
    assert sum(x["steps"].values()) <= x["duration_us"] * 1.01 + 1000, x
    assert max(x["steps"].values()) >= 20000, "the origin's time is in no step: %r" % x


def test_reused(t):
    with t.w.client() as c:
        c.get("/reused0")
        c.get("/reused1")
    assert t.w.line_for("/reused1")["reused"] is True


def test_one_line_each(t):
    """Every request has exactly one line, whatever became of it."""
    t.o.on("/gone", lambda conn, req: conn.close())
    with t.w.client() as c:
        for i in range(20):
            c.get("/one%d" % i)
    t.w.get("/gone")
    with t.w.client() as c:
        c.send("GET /one-bad HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n")
        c.response()
    t.w.get("/one-last")
    t.w.line_for("/one-last")
    lines = [x.get("path") for x in t.w.access()]
    for i in range(20):
        assert lines.count("/one%d" % i) == 1, lines
    assert lines.count("/gone") == 1
    assert len([x for x in t.w.access() if x["reason"] == "field_invalid"]) == 1


def test_idle_connections_are_not_logged(t):
    w = t.simple()  # where nothing of another test ends meanwhile
    w.get("/idle-begin")
    w.line_for("/idle-begin")
    before = len(w.access())
    for _ in range(5):
        w.client().close()
    w.get("/idle-mark")
    w.line_for("/idle-mark")
    assert len(w.access()) == before + 1


def test_reopen(t):
    """SIGUSR1 after a rename: old lines stay in the old file, new ones go to a new one."""
    w = t.simple()
    w.get("/before")
    w.line_for("/before")
    old = w.access_path + ".1"
    os.rename(w.access_path, old)
    os.kill(w.pid, signal.SIGUSR1)
    await_true("the file is there again", lambda: os.path.exists(w.access_path))
    w.get("/after")
    w.line_for("/after")
    with open(old) as f:
        text = f.read()
    assert "/before" in text and "/after" not in text, text
    assert not [x for x in w.access() if x["path"] == "/before"]


def test_reopen_under_load(t):
    """No line is lost or cut while the file is turned."""
    w = t.simple()
    n = 0
    files = [w.access_path]
    with w.client() as c:
        for turn in range(5):
            for _ in range(40):
                assert c.get("/t%d" % n).status == 200
                n += 1
            old = "%s.%d" % (w.access_path, turn)
            os.rename(w.access_path, old)
            files.append(old)
            os.kill(w.pid, signal.SIGUSR1)
            await_true("reopened", lambda: os.path.exists(w.access_path))

    def all_lines():
        paths = []
        for name in files:
            with open(name) as f:
                paths += [json.loads(line)["path"] for line in f.read().splitlines()]
        return sorted(paths) == sorted("/t%d" % i for i in range(n))
    await_true("every line once", all_lines)


def test_stdout_and_off(t):
    w = t.simple(access_log={"path": "stdout"})
    w.get("/to-stdout")
    await_true("the line on stdout", lambda: '"path":"/to-stdout"' in w.log())
    w = t.simple(access_log="off")
    assert w.get("/nowhere").status == 200
    assert not os.path.exists(w.access_path)


def test_full_disk_does_not_hurt(t):
    """A log that cannot be written costs lines, not requests."""
    if not os.path.exists("/dev/full"):
        from peers.story import Skip
        raise Skip("no /dev/full")
    w = t.simple(access_log={"path": "/dev/full"})
    with w.client() as c:
        for i in range(200):
            assert c.get("/full%d" % i).status == 200
    await_true("the log says so", lambda: "line_writer.failed" in w.log())
    assert "/dev/full: No space left on device" in w.log()


def test_nobody_reads_the_log(t):
    """A FIFO without a reader costs lines, which are counted, and no request; a reader that comes
    gets whole lines. SIGUSR1 and a stop are heard meanwhile."""
    t.not_in("onebyte", "a ring of lines is many single bytes")
    path = os.path.join(t.dir, "fifo")
    os.mkfifo(path)
    w = t.simple(access_log={"path": path}, admin={"address": t.address()})

    def dropped():
        return w.metrics().value("weir_access_log_dropped_lines_total")
    asked = 0
    with w.client() as c:
        while not (asked % 100 == 0 and dropped()):
            assert c.get("/blocked?" + "x" * 4000).status == 200
            asked += 1
            assert asked < 5000
    os.kill(w.pid, signal.SIGUSR1)
    assert w.get("/after").status == 200
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    text = b""

    def written():
        nonlocal text
        try:
            text += os.read(reader, 1 << 20)
        except BlockingIOError:
            pass
        lines = text.split(b"\n")[:-1]
        return len(lines) == asked + 1 - dropped() and [json.loads(x) for x in lines]
    await_true("every line that was not dropped", written)
    os.close(reader)
    w.stop()


def test_query_can_be_left_out(t):
    w = t.simple()
    w.stop()
    w = t.start({"upstreams": {"origin": {"endpoints": [{"address": t.o.address}]}},
                 "routes": [{"match": {"path": "/*"}, "to": "origin"}],
                 "access_log": {"path": os.path.join(t.dir, "secret.log"), "query": False}})
    w.access_path = os.path.join(t.dir, "secret.log")
    w.get("/secret?token=abc")
    x = w.line_for("/secret")
    assert "abc" not in repr(x), x

# SPDX-License-Identifier: Apache-2.0
"""The state file: a slow disk holds up nothing but the answers that wait for it; SIGKILL at every
point of writing it, and nothing is lost that was acknowledged."""

import json
import os
import queue
import signal
import subprocess
import threading

from peers import client, story
from peers.wire import await_true

NOT_IN = {"doors": "an answer must say what was taken", "onebyte": "it is the file that is cut"}
TOOL = os.path.join(os.path.dirname(__file__), "../tools/kill_in_write.c")


def put(w, name, body):
    """True: acknowledged; False: the connection broke."""
    route = json.dumps({"match": "/" + name, "reply": {"body": body}}).encode()
    try:
        with client.Client(w.admin) as c:
            return c.ask("PUT", "/v1/routes/" + name, (), route, host="weir").status in (200, 201)
    except Exception:
        return False


def got(w, name):
    try:
        return w.get("/" + name).body.decode()
    except Exception:
        return None


def start(t, variable):
    """Weir with the tool in it, and the file that the variable names."""
    if t.sanitized:
        raise story.Skip("a sanitizer must be loaded first")
    d = t.make_dir("state")
    library, order = os.path.join(d, "kill.so"), os.path.join(d, "order")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, TOOL, "-ldl"],
                   check=True)
    return t.start({"admin": {"address": t.unix()}, "state_dir": d,
                    "routes": [{"match": "/*", "reply": {"status": 404, "body": "none"}}]},
                   env={"LD_PRELOAD": library, variable: order}), order


def test_a_slow_disk(t):
    w, order = start(t, "HOLD_SYNC")
    assert put(w, "before", "before")  # it has begun: what it writes at its start is written
    with open(order, "w"):
        pass
    answers = queue.Queue()
    names = ["first", "second", "third"]
    for name in names:
        threading.Thread(target=lambda n=name: answers.put((n, put(w, n, n))), daemon=True).start()
    with client.Client(w.admin) as gone:  # nobody waits for this one's answer
        gone.send(b"DELETE /v1/routes/nobody HTTP/1.1\r\nHost: weir\r\n\r\n")
    # The main thread serves meanwhile, and nothing is acknowledged or in use.
    for _ in range(20):
        with client.Client(w.admin) as c:
            assert c.ask("GET", "/healthz", host="weir").status == 200
            assert len(json.loads(c.ask("GET", "/v1/changes", host="weir").body)["changes"]) == 1
    assert answers.empty()
    assert [got(w, n) for n in names] == ["none"] * 3
    os.unlink(order)
    assert sorted(answers.get(timeout=20) for _ in names) == [(n, True) for n in sorted(names)]
    assert [got(w, n) for n in names] == names
    server = w.server_pid()
    os.kill(server, signal.SIGKILL)
    await_true("another server", lambda: w.children() and w.server_pid() != server)
    await_true("its answers", lambda: [got(w, n) for n in names] == names)


def test_killed_anywhere(t):
    w, order = start(t, "KILL_ORDER")
    kills = 0
    for n in range(64):
        assert put(w, "keep", "kept %d" % n)
        with open(order + ".new", "w") as f:
            f.write("%d" % n)
        os.rename(order + ".new", order)
        server = w.server_pid()
        good = put(w, "risky", "risky %d" % n)
        if good and os.path.exists(order):
            break  # there are no more points than that
        kills += 1
        await_true("another server", lambda: w.children() and w.server_pid() != server)
        await_true("its answer", lambda: got(w, "keep") == "kept %d" % n)
        allowed = ["risky %d" % n] + ([] if good else ["risky %d" % (n - 1), "none"])
        assert got(w, "risky") in allowed, (n, good, got(w, "risky"))
        assert "changes.unread" not in w.log(), "a broken file was found"
    assert kills >= 8, kills

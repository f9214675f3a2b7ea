# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every point of writing the state file: nothing is lost that was acknowledged."""

import json
import os
import subprocess

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


def test_killed_anywhere(t):
    if t.sanitized:
        raise story.Skip("a sanitizer must be loaded first")
    d = t.make_dir("state")
    library, order = os.path.join(d, "kill.so"), os.path.join(d, "order")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, TOOL, "-ldl"],
                   check=True)
    w = t.start({"admin": {"address": t.unix()}, "state_dir": d,
                 "routes": [{"match": "/*", "reply": {"status": 404, "body": "none"}}]},
                env={"LD_PRELOAD": library, "KILL_ORDER": order})
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

# SPDX-License-Identifier: Apache-2.0
"""One Weir to a state_dir: the second is refused and told who is there, whatever the first has been
through; nobody is in the way of a restart."""

import os
import re
import signal
import threading

from peers.wire import await_true

NOT_IN = {"doors": "it is about processes, not about memory"}


def begin(t):
    t.state = t.make_dir("state")


def config(t):
    return {"admin": {"address": t.unix()}, "state_dir": t.state, "workers": 1,
            "routes": [{"match": "/*", "reply": {"body": "here"}}]}


def refused(t, holder):
    """Another Weir, on addresses of its own, is not started beside the process holder."""
    path = os.path.join(t.make_dir("second"), "weir.yaml")
    with open(path, "w") as f:
        f.write("listeners: ['%s']\nstate_dir: %s\nroutes: [{match: /*, reply: {body: two}}]\n"
                % (t.address(), t.state))
    code, out, err = t.run("run", "--config", path)
    assert code == 1 and "state_dir: %s: another Weir (" % t.state in err, (code, out, err)
    said = re.search(r"another Weir \((?:process (\d+)|a process)\)", err)
    assert said and said.group(1) in (str(holder), None), err


def test_the_second_is_refused(t):
    w = t.start(config(t))
    refused(t, w.pid)
    assert w.get("/").body == b"here"
    old = w.server_pid()
    os.kill(old, signal.SIGKILL)
    await_true("another server", lambda: w.children() and w.server_pid() != old)
    assert w.get("/").body == b"here"
    refused(t, w.pid)
    code, _, err = t.run("upgrade", "--pid", str(w.pid))
    assert code == 0, err
    refused(t, w.pid)
    assert w.get("/").body == b"here"
    w.stop()
    w = t.start(config(t))
    assert w.get("/").body == b"here"
    w.stop()


def test_a_killed_supervisor_leaves_no_lock(t):
    """Its server may still finish what it had: it holds nothing that the next Weir needs."""
    o, gate = t.origin(), threading.Event()
    o.on("/slow", lambda conn, req: (gate.wait(60), conn.reply(200, body=b"slow")))
    first = t.start({**config(t), "upstreams": {"o": {"endpoints": [o.address]}},
                     "routes": [{"match": "/*", "to": "o"}]})
    with first.client() as c:
        c.request("GET", "/slow")
        o.await_seen("/slow")
        first.stopped = True  # by the harness no more
        first.process.kill()
        first.process.wait()
        second = t.start(config(t))
        assert second.get("/").body == b"here"
        gate.set()
        assert c.response().body == b"slow", "the server of the first is there no more"
        second.stop()

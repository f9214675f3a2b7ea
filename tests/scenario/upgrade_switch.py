# SPDX-License-Identifier: Apache-2.0
"""The narrow moments of an upgrade: a supervisor that cannot become the new program; deaths between
the old server's last and the new one's first connection; how long the old server may take."""

import json
import os
import shutil
import signal
import subprocess
import threading

from peers import wire
from peers.origin import echo_tunnel
from peers.wire import await_true, over

NOT_IN = {"doors": "it is about processes, not about memory"}


def begin(t):
    t.o = t.origin()
    t.real = t.weir_path


def start(t, **more):
    """A Weir from a program file of its own, which can be replaced."""
    t.weir_path = os.path.join(t.make_dir("bin"), "weir")
    shutil.copy(t.real, t.weir_path)
    w = t.simple(**dict({"admin": {"address": t.unix()}}, **more))
    w.program, t.weir_path = t.weir_path, t.real
    assert w.get("/before").status == 200
    return w


def replace(w, text):
    """Another program at its path: a script."""
    with open(w.program + ".new", "w") as f:
        f.write("#!/bin/sh\n" + text)
    os.chmod(w.program + ".new", 0o755)
    os.rename(w.program + ".new", w.program)


def restore(t, w):
    shutil.copy(t.real, w.program + ".new")
    os.rename(w.program + ".new", w.program)


def upgrade(t, w, *args):
    return t.run("upgrade", "--pid", str(w.pid), *args)


def tunnel(w):
    c = w.client()
    c.request("GET", "/tunnel", [("Connection", "upgrade"), ("Upgrade", "x")])
    assert c.head().status == 101
    return c


def test_the_supervisor_cannot_become_it(t):
    """Its server serves, and the command says what is not as it should be; with a good program it
    can be done again."""
    t.o.on("/tunnel", echo_tunnel)
    w = start(t)
    c = tunnel(w)
    replace(w, 'rm -f "$0"; exec %s "$@"\n' % t.real)
    old = w.server_pid()
    code, text, err = upgrade(t, w)
    assert code == 0 and "the supervisor is still the old program" in text, (code, text, err)
    assert "No such file" in text and "upgrade again" in text, text
    assert w.get("/after").status == 200 and w.status()["supervisor"] == w.pid
    new = [p for p in w.children() if p != old][0]
    # What it holds it still has: signals, the door, the channels of both servers.
    w.reload(w.with_config(routes=[{"match": "/*", "to": "origin", "name": "renamed"}]),
             lambda: "config.loaded" in w.log())
    c.send("still there")
    assert c.stream.exactly(11) == b"still there"
    os.kill(new, signal.SIGKILL)
    await_true("another server", lambda: new not in w.children() and len(w.children()) == 2)
    assert w.get("/again").status == 200
    code, _, err = upgrade(t, w)
    assert code == 1 and "No such file" in err, err
    restore(t, w)
    assert upgrade(t, w)[0] == 0
    assert w.get("/last").status == 200
    c.close()
    await_true("the old servers' end", lambda: len(w.children()) == 1)
    w.stop()


class Switching:
    """An upgrade at the moment when the new server is ready and the old one, which is stopped, has
    not heard yet that it is to let go."""

    def __init__(self, t, w, within="600"):
        self.t, self.w = t, w
        self.old = w.server_pid()
        gate = os.path.join(t.make_dir("gate"), "open")
        replace(w, "while [ ! -e %s ]; do sleep 0.02; done\nexec %s \"$@\"\n" % (gate, t.real))
        self.command = t.spawn([t.real, "upgrade", "--pid", str(w.pid), "--within", within],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        await_true("the next server", lambda: len(w.children()) == 2)
        os.kill(self.old, signal.SIGSTOP)
        with open(gate, "w"):
            pass
        await_true("it is ready", lambda: "upgrade.ready" in w.log())
        self.new = [p for p in w.children() if p != self.old][0]

    def end(self, code, words):
        out, err = self.command.communicate(timeout=wire.patience())
        assert self.command.returncode == code and words in out + err, (out, err)


def test_the_old_server_dies_in_the_switch(t):
    w = start(t)
    s = Switching(t, w)
    os.kill(s.old, signal.SIGKILL)
    s.end(0, "serves")
    assert w.get("/after").status == 200
    await_true("one server", lambda: w.children() == [s.new])
    w.stop()


def test_the_new_server_dies_in_the_switch(t):
    """The old one has been told to let go, and does: another of the old program follows."""
    w = start(t)
    s = Switching(t, w)
    os.kill(s.new, signal.SIGKILL)
    s.end(1, "while it took over")
    os.kill(s.old, signal.SIGCONT)
    assert w.get("/after").status == 200
    await_true("one server", lambda: len(w.children()) == 1 and s.old not in w.children())
    restore(t, w)
    assert upgrade(t, w)[0] == 0 and w.get("/last").status == 200
    w.stop()


def test_the_supervisor_dies_in_the_switch(t):
    """Nobody is left behind, and Weir can be started again."""
    go = threading.Event()
    t.o.on("/held", lambda conn, req: (go.wait(60), conn.reply(body=b"held")))
    w = start(t)
    with w.client() as c:
        c.request("GET", "/held")
        t.o.await_seen("/held")
        s = Switching(t, w)
        os.kill(w.pid, signal.SIGKILL)
        w.expect_exit = -signal.SIGKILL
        w.process.wait()
        s.end(1, "ended before it said")
        await_true("the new server ends", lambda: over(s.new))
        os.kill(s.old, signal.SIGCONT)
        go.set()
        assert c.response().body == b"held"
    await_true("the old server ends", lambda: over(s.old))
    restore(t, w)
    w.expect_exit = 0
    t.weir_path = w.program
    w.launch()
    t.weir_path = t.real
    w.wait_ready()
    assert w.get("/after").status == 200
    w.stop()


def test_an_old_server_that_hangs(t):
    """It is given the time that the operator chose; then the new one serves without its word."""
    w = start(t)
    s = Switching(t, w, within="%d" % (2 + wire.patience() / 8))  # the new one is ready by then
    s.end(0, "serves")
    assert w.get("/after").status == 200
    os.kill(s.old, signal.SIGCONT)
    await_true("it ends", lambda: s.old not in w.children())
    w.stop()


def test_stopped_in_the_switch(t):
    w = start(t)
    s = Switching(t, w)
    w.terminate()
    s.end(1, "being stopped")
    os.kill(s.old, signal.SIGCONT)
    assert w.wait() == 0
    assert over(s.old) and over(s.new)
    w.stop()


def test_a_limit_of_its_own(t):
    """What the old server still has ends after upgrade_drain, not after drain."""
    t.o.on("/tunnel", echo_tunnel)
    w = start(t, drain="600s", upgrade_drain="1s")
    c = tunnel(w)
    old = w.server_pid()
    assert upgrade(t, w)[0] == 0
    await_true("it is told", lambda: "exchanges may finish within 1 s" in w.log())
    c.must_end()
    await_true("the old server's end", lambda: old not in w.children())
    assert "server.stuck" not in w.log()
    w.stop()


def test_a_stop_does_not_wait_for_the_longer_limit(t):
    """SIGTERM gives an old server drain, whatever it was given before."""
    t.o.on("/tunnel", echo_tunnel)
    w = start(t, drain="1s", upgrade_drain="2h")
    c = tunnel(w)
    assert upgrade(t, w)[0] == 0
    await_true("it is told", lambda: "exchanges may finish within 7200 s" in w.log())
    c.send("still")
    assert c.stream.exactly(5) == b"still"
    w.terminate()
    c.must_end()
    assert w.wait() == 0
    assert "server.stuck" not in w.log() and "while stopping" not in w.log(), w.log()
    w.stop()


def test_the_admin_page_of_a_stop(t):
    """Its file goes with the server that serves it: while a server of the program before goes on,
    another Weir may put its own there, which stays."""
    address = t.unix()
    t.o.on("/tunnel", echo_tunnel)
    w = start(t, admin={"address": address}, upgrade_drain="600s", drain="600s")
    c = tunnel(w)
    assert upgrade(t, w)[0] == 0
    w.terminate()
    path = address.replace("unix:", "")
    await_true("the file is gone", lambda: not os.path.exists(path))
    assert w.process.poll() is None, "it waits for the tunnel"
    with open(path, "w"):
        pass
    c.close()
    assert w.wait() == 0
    assert os.path.exists(path), "the file of another was removed"


def test_a_reload_changes_what_a_stop_may_take(t):
    """The supervisor, which ends who takes longer, knows of it."""
    w = start(t, drain="1s")
    w.reload(w.with_config(drain="120s"), lambda: "config.loaded" in w.log())
    w.terminate()
    assert w.wait() == 0
    assert "stopping: exchanges may finish within 120 s" in w.log(), w.log()
    w.stop()


def test_json(t):
    w = start(t)
    code, text, err = upgrade(t, w, "--json")
    v = json.loads(text)
    assert code == 0 and not err and v["upgraded"] is True and v["supervisor"] == w.pid, (text, err)
    replace(w, "echo broken >&2; exit 3\n")
    code, text, err = upgrade(t, w, "--json")
    v = json.loads(text)
    assert code == 1 and v["upgraded"] is False and "exited with status 3" in v["detail"], text
    w.stop()


def answers(t, w, words):
    """The configuration with another answer and one more listener."""
    return w.with_config(routes=[{"match": "/*", "reply": {"body": words}}],
                         listeners=w.config["listeners"][:1] + [{"address": t.address()}])


def test_a_reload_at_the_same_moment(t):
    """By signal or by command: what was taken is in force in the new program."""
    w = start(t, state_dir=t.make_dir("state"))
    for n in range(12):
        w.write(answers(t, w, "answer %d" % n))
        if n % 3 == 2:
            p = t.spawn([t.real, "reload", "--admin", w.admin], stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE, text=True)
        else:
            p = None
            os.kill(w.pid, signal.SIGHUP)
        code, text, err = upgrade(t, w)
        assert code == 0, (text, err)
        if p:
            out, err = p.communicate(timeout=wire.patience())
            taken = p.returncode == 0
            assert taken or "try again" in err or "ended" in err, (out, err)
        if not p or taken:
            await_true("answer %d" % n, lambda n=n: w.get("/").body == b"answer %d" % n)
    await_true("one server", lambda: len(w.children()) == 1)
    w.stop()

# SPDX-License-Identifier: Apache-2.0
"""A new program in place of the running one: weir upgrade and SIGUSR2."""

import os
import shutil
import signal

from peers.wire import await_true

NOT_IN = {"doors": "it is about processes, not about memory"}


def begin(t):
    t.o = t.origin()
    t.real = t.weir_path


def start(t, config=None, **more):
    """A Weir from a program file of its own, which can be replaced."""
    t.weir_path = os.path.join(t.make_dir("bin"), "weir")
    shutil.copy(t.real, t.weir_path)
    w = t.simple(**more) if config is None else t.start(config)
    w.program, t.weir_path = t.weir_path, t.real
    return w


def replace(w, text):
    """Another program at its path: a script."""
    with open(w.program + ".new", "w") as f:
        f.write(text)
    os.chmod(w.program + ".new", 0o755)
    os.rename(w.program + ".new", w.program)


def upgrade(t, w, *args):
    return t.run("upgrade", "--pid", str(w.pid), *args)


def served_by_another(w, old):
    await_true("another server", lambda: w.children() and old not in w.children())


def test_by_command(t):
    w = start(t)
    assert w.get("/before").status == 200
    old = w.server_pid()
    code, text, err = upgrade(t, w)
    assert code == 0 and "serves" in text, (code, text, err)
    assert w.process.poll() is None
    assert w.get("/after").status == 200
    served_by_another(w, old)
    w.stop()


def test_by_signal(t):
    w = start(t)
    assert w.get("/before").status == 200
    old = w.server_pid()
    os.kill(w.pid, signal.SIGUSR2)
    served_by_another(w, old)
    assert w.get("/after").status == 200
    assert "upgrade.done" in w.log()
    w.stop()

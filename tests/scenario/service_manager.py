# SPDX-License-Identifier: Apache-2.0
"""What a service manager sees: sd_notify's words, the pid file, who Weir runs as, exit statuses."""

import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

from peers import client, wire
from peers.wire import await_true

NOT_IN = {"doors": "it is about processes, not about memory"}


class Manager:
    """Listens where systemd would."""

    def __init__(self, t):
        self.path = os.path.join(t.make_dir("manager"), "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(wire.patience(None))

    def next(self):
        """The next message as {name: value}."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n"))

    def close(self):
        self.socket.close()
        os.unlink(self.path)


def begin(t):
    t.o = t.origin()


def config(t, **more):
    return dict({"upstreams": {"o": {"endpoints": [{"address": t.o.address}]}}}, **more)


def test_notify(t):
    manager = Manager(t)
    admin = t.unix()
    w = t.start(config(t, admin={"address": admin}), env={"NOTIFY_SOCKET": manager.path})
    ready = manager.next()
    assert ready["READY"] == "1" and int(ready["MAINPID"]) == w.pid, ready

    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    os.kill(w.pid, signal.SIGHUP)
    reloading = manager.next()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert reloading["RELOADING"] == "1", reloading
    assert before <= int(reloading["MONOTONIC_USEC"]) <= after, (before, reloading, after)
    again = manager.next()
    assert again["READY"] == "1" and again["STATUS"] == "serving", again

    with open(w.config_path) as f:
        good = f.read()
    w.write("nonsense: [")
    os.kill(w.pid, signal.SIGHUP)
    assert manager.next()["RELOADING"] == "1"
    refused = manager.next()
    assert refused["READY"] == "1", "a refused reload is over, too"
    assert refused["STATUS"] == "serving; the last reload was refused, see the log", refused
    route = json.dumps({"name": "one", "match": "/one", "reply": {"body": "x"}})
    assert t.run("route", "add", route, "--admin", admin)[0] == 0  # no load: it stays so
    w.write(good)
    code, _, said = t.run("reload", "--keep", "--admin", admin)
    assert code == 0, said
    assert manager.next() == {"STATUS": "serving"}

    os.kill(w.server_pid(), signal.SIGKILL)
    assert "restarting" in manager.next()["STATUS"]
    assert manager.next()["READY"] == "1"
    assert w.get("/after").status == 200, "the configuration that was good last"
    w.stop()
    assert manager.next()["STOPPING"] == "1"
    manager.close()


def test_reload_while_stopping(t):
    """Nobody is told of a reload that nobody would end."""
    manager, go = Manager(t), threading.Event()
    t.o.on("/held", lambda conn, req: go.wait(60) and conn.reply(200, body=b"done"))
    w = t.start(config(t), env={"NOTIFY_SOCKET": manager.path})
    assert manager.next()["READY"] == "1"
    with w.client() as c:
        c.request("GET", "/held")
        t.o.await_seen("/held")
        os.kill(w.pid, signal.SIGTERM)
        assert manager.next()["STOPPING"] == "1"
        os.kill(w.pid, signal.SIGHUP)
        go.set()
        assert c.response().body == b"done"
    w.stop()
    manager.socket.setblocking(False)
    try:
        raise AssertionError(manager.next())
    except BlockingIOError:
        manager.close()


def test_reload_while_no_server_runs(t):
    """A reload that is asked for between two servers is not lost."""
    w = t.start(config(t, routes=[{"match": {"path": "/*"}, "reply": {"body": "one"}}]))
    assert w.get("/").body == b"one"
    for _ in range(3):  # the next start waits a little
        old = w.server_pid()
        os.kill(old, signal.SIGKILL)
        await_true("the end of the server", lambda o=old: o not in w.children())
        if not w.children():
            break
    w.reload(config(t, listeners=w.config["listeners"],
                    routes=[{"match": {"path": "/*"}, "reply": {"body": "two"}}]),
             lambda: w.get("/").body == b"two")
    w.stop()


def test_storm(t):
    """The supervisor never waits for a server that is busy: SIGHUPs and SIGUSR1s by the hundred are
    one more reload, told ready once, and a stop is heard."""
    manager = Manager(t)
    routes = [{"match": {"path": "/*"}, "reply": {"body": "one"}}]
    w = t.start(config(t, routes=routes), env={"NOTIFY_SOCKET": manager.path})
    assert manager.next()["READY"] == "1"
    server = w.server_pid()
    os.kill(server, signal.SIGSTOP)
    for _ in range(600):
        os.kill(w.pid, signal.SIGHUP)
        assert manager.next()["RELOADING"] == "1"
        os.kill(w.pid, signal.SIGUSR1)
    w.write(w.with_config(routes=[{"match": {"path": "/*"}, "reply": {"body": "two"}}]))
    os.kill(w.pid, signal.SIGHUP)
    assert manager.next()["RELOADING"] == "1"
    os.kill(server, signal.SIGCONT)
    assert manager.next()["READY"] == "1"
    assert w.get("/").body == b"two"

    os.kill(server, signal.SIGSTOP)
    os.kill(w.pid, signal.SIGTERM)
    assert manager.next()["STOPPING"] == "1"
    os.kill(w.pid, signal.SIGTERM)  # asked twice: at once
    assert w.process.wait(wire.patience()) == 0
    manager.close()


def test_stop_with_a_full_channel(t):
    """A stop reaches a server whose orders have no room."""
    manager = Manager(t)
    w = t.start(config(t), env={"NOTIFY_SOCKET": manager.path})
    assert manager.next()["READY"] == "1"
    server = w.server_pid()
    os.kill(server, signal.SIGSTOP)
    for _ in range(600):
        os.kill(w.pid, signal.SIGUSR1)
        os.kill(w.pid, signal.SIGHUP)  # its word shows that the one before was taken
        assert manager.next()["RELOADING"] == "1"
    os.kill(w.pid, signal.SIGTERM)
    assert manager.next()["STOPPING"] == "1"
    os.kill(server, signal.SIGCONT)
    assert w.process.wait(wire.patience()) == 0
    manager.close()


def test_pid_file_of_a_failed_start(t):
    path = os.path.join(t.dir, "failed.pid")
    file = os.path.join(t.dir, "failed.yaml")
    with open(file, "w") as f:
        f.write("upstreams: {o: 127.0.0.1:1}\nlisteners: ['%s']\naccess_log: /nonexistent/a/log\n"
                % t.address())
    code, _, text = t.run("run", "--config", file, "--pid-file", path)
    assert code == 1 and "/nonexistent/a/log" in text, text
    assert not os.path.exists(path)


def test_pid_file(t):
    path = os.path.join(t.dir, "weir.pid")
    w = t.start(config(t, pid_file=path))

    def written():
        if not os.path.exists(path):
            return False
        with open(path) as f:
            return f.read() == "%d\n" % w.pid
    wire.await_true("the pid file", written)
    w.stop()
    assert not os.path.exists(path)


def test_pid_file_of_another(t):
    """A second Weir takes no pid file that the first holds, whatever that has been through; who was
    killed holds none."""
    path = os.path.join(t.dir, "shared.pid")
    w = t.start(config(t, pid_file=path))

    def refused():
        file = os.path.join(t.make_dir("second"), "weir.yaml")
        with open(file, "w") as f:
            f.write("listeners: ['%s']\npid_file: %s\nroutes: [{match: /*, reply: 200}]\n"
                    % (t.address(), path))
        code, out, err = t.run("run", "--config", file)
        assert code == 1 and "another Weir (process %d)" % w.pid in err, (code, out, err)
        with open(path) as f:
            assert f.read() == "%d\n" % w.pid

    refused()
    assert w.get("/").status == 200  # who is killed before it served is not started again
    old = w.server_pid()
    os.kill(old, signal.SIGKILL)
    await_true("another server", lambda: w.children() and w.server_pid() != old)
    refused()
    code, _, err = t.run("upgrade", "--pid-file", path)
    assert code == 0, err
    refused()
    assert w.get("/").status == 200
    w.stopped = True  # by the harness no more
    w.process.kill()
    w.process.wait()
    assert os.path.exists(path)
    w = t.start(config(t, pid_file=path))
    refused()
    w.stop()
    assert not os.path.exists(path)


def test_user(t):
    if os.geteuid() != 0:
        return
    w = t.start(config(t, user="nobody", access_log={"path": "off"}))
    assert w.get("/").status == 200
    with open("/proc/%d/status" % w.server_pid()) as f:
        ids = re.search(r"Uid:\s+(.*)", f.read()).group(1).split()
    assert set(ids) == {str(pwd.getpwnam("nobody").pw_uid)}, ids
    os.kill(w.pid, signal.SIGHUP)
    assert w.get("/").status == 200
    w.stop()


def test_taken_address(t):
    """A second Weir on the same address is refused, though SO_REUSEPORT would let it in."""
    w = t.simple()
    assert w.get("/").status == 200
    code, _, text = t.run("run", "--config", w.config_path)
    assert code == 1 and "another process listens there" in text, text
    code, _, text = t.run("proxy", "--from", w.address, "--to", "http://127.0.0.1:1")
    assert code == 1 and "another process listens there" in text, text
    w.stop()


def test_unix_listener(t):
    """Several workers share one unix socket; its file goes with Weir."""
    address = t.unix()
    w = t.start(config(t, workers=3, listeners=[{"address": address}]))
    for i in range(10):
        assert w.get("/%d" % i).status == 200
    os.kill(w.server_pid(), signal.SIGKILL)
    assert w.get("/after").status == 200
    w.stop()
    assert not os.path.exists(address[5:])


PACKAGING = os.path.join(os.path.dirname(__file__), "../../packaging")


def analyze(t, *args):
    """What systemd-analyze says of the units, which name this program."""
    d = t.make_dir("units")
    for name in ("weir.service", "weir.socket"):
        with open(os.path.join(PACKAGING, name)) as f:
            text = f.read().replace("/usr/local/bin/weir", t.weir_path)
        with open(os.path.join(d, name), "w") as f:
            f.write(text)
    p = subprocess.run([t.needs("systemd-analyze"), *args, d + "/weir.service"], timeout=60,
                       text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return p.returncode, p.stdout


def test_the_units_are_good(t):
    """systemd finds no fault in them, and what is exposed is what docs/systemd.md says."""
    code, text = analyze(t, "verify", "--man=no")
    assert code == 0 and not text.strip(), text
    code, text = analyze(t, "security", "--offline=true", "--no-pager")
    level = re.search(r"Overall exposure level for weir.service: ([0-9.]+)", text)
    assert code == 0 and level, text
    with open(os.path.join(PACKAGING, "../docs/systemd.md")) as f:
        told = re.search(r"exposure level is ([0-9.]+)", f.read()).group(1)
    assert float(level.group(1)) <= float(told), text


def test_systemd_socket_activate(t):
    """systemd's own program lends the socket; Weir begins with the first connection, says so, and
    keeps the socket over an upgrade."""
    activate = t.needs("systemd-socket-activate")
    manager, d, address = Manager(t), t.make_dir("activated"), t.address()
    file, log = os.path.join(d, "weir.yaml"), os.path.join(d, "log")
    with open(file, "w") as f:
        json.dump(config(t, listeners=[{"address": address}], workers=1), f)
    program = os.path.join(d, "weir")
    shutil.copy(t.weir_path, program)
    with open(log, "w") as f:
        p = t.spawn([activate, "-l", address, "-E", "NOTIFY_SOCKET=" + manager.path, program, "run",
                     "--config", file], stderr=f, stdout=f)
    client.wait_listening(address, 30, lambda: p.poll() is None)
    for n in range(2):
        with client.Client(address) as c:
            assert c.get("/%d" % n).status == 200
        ready = manager.next()
        while "READY" not in ready:
            ready = manager.next()
        assert int(ready.get("MAINPID", p.pid)) == p.pid, ready
        if n == 0:
            code, text, err = t.run("upgrade", "--pid", str(p.pid))
            assert code == 0, (text, err)
    with open(log) as f:
        assert "listener.lent" in f.read()
    p.terminate()
    assert p.wait(30) == 0
    manager.close()


def test_wrong_usage(t):
    for args in (["run"], ["run", "--nonsense"], ["proxy", "--from", ":1"], ["nonsense"],
                 ["demo", "--port", "x"], ["proxy", "--from", ":1", "--to", "ftp://x"], []):
        code, _, text = t.run(*args)
        assert code == 2 and text, (args, code, text)
    for command in ("run", "proxy", "demo", "check", "explain", "schema", "version"):
        code, text, _ = t.run(command, "--help")
        assert code == 0 and text.startswith("Usage: weir " + command), text
    code, text, _ = t.run("version")
    assert code == 0 and re.fullmatch(r"weir \d+\.\d+\.\d+\n", text), text
    code, _, text = t.run("run", "--config", "/nonexistent.yaml")
    assert code == 1 and "/nonexistent.yaml" in text, text


def server_of(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
        return int((f.read().split() or "0")[0])


def bare(t, before):
    """A Weir whose process does this before it becomes Weir."""
    path, address = os.path.join(t.dir, "bare.yaml"), t.address()
    with open(path, "w") as f:
        f.write("listeners: ['%s']\naccess_log: stdout\n"
                "routes: [{match: /*, reply: {body: x}}]\n" % address)
    p = t.spawn([t.weir_path, "run", "--config", path], env={**os.environ, **t.weir_env},
                preexec_fn=before)
    client.wait_listening(address, 20, lambda: p.poll() is None)
    assert serves(address)
    return p, address


def serves(address):
    with client.Client(address) as c:
        return c.get("/x").body == b"x"


def test_without_standard_descriptors(t):
    """No socket takes the place of standard output or error, where it would be sent the log."""
    p, address = bare(t, lambda: os.closerange(0, 3))
    for pid in (p.pid, server_of(p.pid)):
        at = [os.readlink("/proc/%d/fd/%d" % (pid, fd)) for fd in range(3)]
        assert at == ["/dev/null"] * 3, (pid, at)
    assert serves(address)
    p.send_signal(signal.SIGTERM)
    assert p.wait(wire.patience()) == 0


def test_ignored_signals(t):
    """What the parent left ignored is seen all the same, the end of a child above all."""
    def ignore():
        for s in ("CHLD", "HUP", "INT", "PIPE", "TERM", "USR1", "USR2"):
            signal.signal(getattr(signal, "SIG" + s), signal.SIG_IGN)
    p, address = bare(t, ignore)
    server = server_of(p.pid)
    os.kill(server, signal.SIGKILL)
    await_true("another server", lambda: server_of(p.pid) not in (0, server))
    assert serves(address)
    p.send_signal(signal.SIGTERM)
    assert p.wait(wire.patience()) == 0

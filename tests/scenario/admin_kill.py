# SPDX-License-Identifier: Apache-2.0
"""What is written to state_dir: a slow disk holds up nothing but the answers that wait for it; a
broken one is answered as what it is; SIGKILL at every point of writing, and nothing is lost that
was acknowledged."""

import json
import os
import pwd
import queue
import signal
import subprocess
import threading

from peers import client
from peers.wire import await_true, patience

NOT_IN = {"doors": "an answer must say what was taken", "onebyte": "it is the file that is cut"}
TOOL = os.path.join(os.path.dirname(__file__), "../tools/kill_in_write.c")


def ask_put(w, name, body):
    """The answer to a new route."""
    route = json.dumps({"match": "/" + name, "reply": {"body": body}}).encode()
    with client.Client(w.admin) as c:
        return c.ask("PUT", "/v1/routes/" + name, (), route, host="weir")


def put(w, name, body):
    """True: acknowledged; False: the connection broke."""
    try:
        return ask_put(w, name, body).status in (200, 201)
    except Exception:
        return False


def got(w, name):
    try:
        return w.get("/" + name).body.decode()
    except Exception:
        return None


def start(t, variable):
    """Weir with the tool in it, and the file that the variable names."""
    d = t.make_dir("state")
    library, order = os.path.join(d, "kill.so"), os.path.join(d, "order")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, TOOL, "-ldl"],
                   check=True)
    return t.start({"admin": {"address": t.unix()}, "state_dir": d,
                    "routes": [{"match": "/*", "reply": {"status": 404, "body": "none"}}]},
                   env={"LD_PRELOAD": library, variable: order,
                        "ASAN_OPTIONS": "detect_leaks=1:verify_asan_link_order=0"}), order


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
    taken = sorted(answers.get(timeout=patience(20)) for _ in names)
    assert taken == [(n, True) for n in sorted(names)], taken
    assert [got(w, n) for n in names] == names
    server = w.server_pid()
    os.kill(server, signal.SIGKILL)
    await_true("another server", lambda: w.children() and w.server_pid() != server)
    await_true("its answers", lambda: [got(w, n) for n in names] == names)


def healthy(w):
    with client.Client(w.admin) as c:
        return c.ask("GET", "/healthz", host="weir").status == 200


def write(path, word=""):
    with open(path + ".new", "w") as f:
        f.write(word)
    os.rename(path + ".new", path)


def crash(w):
    """Another server, with what the disk has."""
    server = w.server_pid()
    os.kill(server, signal.SIGKILL)
    await_true("another server", lambda: w.children() and w.server_pid() != server)


def kept(w):
    """The files of state_dir."""
    return os.listdir(w.config["state_dir"])


def with_route(w, name, body):
    """The configuration with one more route in the file."""
    return w.with_config(routes=w.config["routes"] + [
        {"name": name, "match": "/" + name, "reply": {"body": body}}])


def test_a_reload_does_not_wait_for_the_disk(t):
    """What was in use is kept as a file in time; it can be gone back to meanwhile."""
    w, order = start(t, "HOLD_SYNC")
    await_true("the first is kept", lambda: "config-00000001.yaml" in kept(w))
    write(order)
    for n in range(3):
        w.write(with_route(w, "file", "file %d" % n))
        os.kill(w.pid, signal.SIGHUP)
        await_true("the reload", lambda n=n: got(w, "file") == "file %d" % n)
        assert healthy(w)
    code, _, err = t.run("rollback", "--admin", w.admin, "2")
    assert code == 0 and got(w, "file") == "file 0", err
    assert healthy(w)
    assert "config-00000002.yaml" not in kept(w)
    os.unlink(order)
    await_true("all are kept", lambda: "config-00000005.yaml" in kept(w))
    code, text, err = t.run("history", "--admin", w.admin)
    assert code == 0 and text.count("\n") >= 5, (text, err)
    code, _, err = t.run("rollback", "--admin", w.admin, "1")
    assert code == 0 and got(w, "file") == "file 2", err


def reload(t, w, *args):
    return t.spawn([t.weir_path, "reload", "--admin", w.admin, *args],
                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def overridden(t, variable):
    """A Weir whose route "changed" the file has come to say other things about."""
    w, order = start(t, variable)
    assert put(w, "changed", "by the API")
    w.write(with_route(w, "changed", "by the file"))
    return w, order


def test_a_load_that_changes_the_changes(t):
    """It waits for the disk; nothing else does; what comes meanwhile has its turn after it."""
    w, order = overridden(t, "HOLD_SYNC")
    write(order)
    p = reload(t, w, "--discard")
    await_true("it is being kept", lambda: "changes.json.new" in kept(w))
    other = reload(t, w, "--keep")
    answers = queue.Queue()
    threading.Thread(target=lambda: answers.put(put(w, "later", "later")), daemon=True).start()
    for _ in range(20):
        assert healthy(w) and got(w, "changed") == "by the API"
    assert p.poll() is None and other.poll() is None and answers.empty()
    os.unlink(order)
    for one in (p, other):
        out, err = one.communicate(timeout=patience(20))
        assert one.returncode == 0, (out, err)
    assert answers.get(timeout=patience(20))
    assert (got(w, "changed"), got(w, "later")) == ("by the file", "later")
    crash(w)
    await_true("its answers", lambda: (got(w, "changed"), got(w, "later")) == (
        "by the file", "later"))


def test_an_upgrade_waits_for_what_is_being_kept(t):
    w, order = start(t, "HOLD_SYNC")
    assert put(w, "before", "before")
    write(order)
    answers = queue.Queue()
    threading.Thread(target=lambda: answers.put(put(w, "held", "held")), daemon=True).start()
    await_true("it is being kept", lambda: "changes.json.new" in kept(w))
    p = t.spawn([t.weir_path, "upgrade", "--pid", str(w.pid)], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True)
    await_true("the upgrade has begun", lambda: "upgrade.begun" in w.log())
    late = queue.Queue()
    threading.Thread(target=lambda: late.put(put(w, "late", "late")), daemon=True).start()
    assert healthy(w) and p.poll() is None
    os.unlink(order)
    out, err = p.communicate(timeout=patience(20))
    assert p.returncode == 0 and answers.get(timeout=patience(20)), (out, err)
    assert (got(w, "before"), got(w, "held")) == ("before", "held")
    taken = late.get(timeout=patience(20))
    assert got(w, "late") == ("late" if taken else "none")


def test_a_stop_while_a_load_waits(t):
    w, order = overridden(t, "HOLD_SYNC")
    write(order)
    p = reload(t, w, "--discard")
    await_true("it is being kept", lambda: "changes.json.new" in kept(w))
    w.terminate()
    os.unlink(order)
    p.communicate(timeout=patience(20))
    assert w.wait() == 0


def test_a_disk_that_fails(t):
    """Before the new file has the name nothing was changed; after that it is in force, and the
    answer says that nobody knows whether it is safe."""
    w, order = start(t, "FAIL_DISK")
    assert put(w, "before", "before")
    for kind in ("file", "rename"):
        write(order, kind)
        r = ask_put(w, "refused", kind)
        assert r.status == 507 and "Input/output error" in r.text, r.text
        assert "nothing was changed" in r.text and got(w, "refused") == "none", r.text
        crash(w)
        await_true("its answers", lambda: (got(w, "before"), got(w, "refused")) == (
            "before", "none"))
    write(order, "directory")
    r = ask_put(w, "unsure", "unsure")
    assert r.status == 503 and "in force" in r.text and "power failure" in r.text, r.text
    assert got(w, "unsure") == "unsure" and "changes.unsure" in w.log()
    crash(w)
    await_true("the same", lambda: got(w, "unsure") == "unsure")
    os.unlink(order)
    assert put(w, "last", "last")
    w.stop()
    w.stopped = False
    w.launch()
    w.wait_ready()
    assert [got(w, n) for n in ("before", "refused", "unsure", "last")] == [
        "before", "none", "unsure", "last"]


def test_a_load_on_a_disk_that_fails(t):
    w, order = overridden(t, "FAIL_DISK")
    write(order, "rename")
    code, out, err = t.run("reload", "--admin", w.admin, "--discard")
    assert code == 1 and "nothing was changed" in err and not out, (code, out, err)
    assert got(w, "changed") == "by the API"
    write(order, "directory")
    code, out, err = t.run("reload", "--admin", w.admin, "--discard")
    assert code == 1 and "in force" in err, (code, out, err)
    assert got(w, "changed") == "by the file"
    os.unlink(order)
    code, _, err = t.run("reload", "--admin", w.admin)
    assert code == 0 and got(w, "changed") == "by the file", err


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


def test_a_directory_that_cannot_be_written(t):
    """It serves and says so: a change is refused, a reload is taken, and what was kept before stays
    in force, over a crash and a start too."""
    d = t.make_dir("state")
    more = {}
    if os.geteuid() == 0:  # whom modes do not stop: the server becomes somebody else
        other = pwd.getpwnam("nobody")
        os.chown(d, other.pw_uid, other.pw_gid)
        os.chmod(t.dir, 0o711)
        more = {"user": other.pw_name}
    base = {"admin": {"address": t.unix()}, "state_dir": d, "access_log": "off", **more}
    w = t.start(dict(base, routes=[{"name": "r", "match": "/*", "reply": {"body": "one"}}]))
    assert put(w, "before", "before")

    os.chmod(d, 0o555)
    r = ask_put(w, "refused", "refused")
    assert r.status == 507 and "Permission denied" in r.text, r.text
    w.reload(dict(w.config, routes=[{"name": "r", "match": "/*", "reply": {"body": "two"}}]))
    await_true("the reload", lambda: got(w, "refused") == "two")
    assert got(w, "before") == "before"
    await_true("its line", lambda: "history.write" in w.log())
    history = t.run("history", "--admin", w.admin)[1]
    assert len(history.splitlines()) == 2, history
    crash(w)
    await_true("its answers", lambda: (got(w, "before"), got(w, "x")) == ("before", "two"))
    w.stop()

    w.stopped = False
    w.launch()
    w.wait_ready()
    assert got(w, "before") == "before" and "history.directory" in w.log()
    assert ask_put(w, "refused", "refused").status == 507
    os.chmod(d, 0o755)
    assert put(w, "after", "after") and got(w, "after") == "after"


def test_a_file_that_cannot_be_read(t):
    """It is moved aside: the next change does not write over what it holds."""
    d = t.make_dir("state")
    w = t.start({"admin": {"address": t.unix()}, "state_dir": d,
                 "routes": [{"match": "/*", "reply": {"body": "x"}}]})
    assert put(w, "before", "before")
    w.stop()
    state = os.path.join(d, "changes.json")
    os.chmod(state, 0)
    if os.geteuid() == 0:  # whom no mode keeps out
        os.unlink(state)
        os.mkdir(state)
    w.stopped = False
    w.launch()
    w.wait_ready()
    await_true("its answer", lambda: got(w, "before") == "x")
    assert "changes.unread" in w.log()
    assert put(w, "after", "after")
    aside = [f for f in os.listdir(d) if f.startswith("changes.json.refused-")]
    assert len(aside) == 1, os.listdir(d)

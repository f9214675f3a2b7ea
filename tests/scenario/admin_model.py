# SPDX-License-Identifier: Apache-2.0
"""Random changes, good and bad, by the API, the file, commands and signals, against a model of what
routes where; the same after the server was killed. The seed is printed."""

import json
import os
import random
import signal
import subprocess

from peers import client
from peers.wire import await_true

NOT_IN = {"doors": "an answer must say what was taken"}
NAMES = ["r%d" % i for i in range(6)]


class Model:
    """The file's routes and what was changed on top: name -> body; None: removed."""

    def __init__(self):
        self.file, self.top = {}, {}

    def routes(self):
        both = {**self.file, **self.top}
        return {n: b for n, b in both.items() if b is not None}

    def set(self, name, body):
        if body is None and name not in self.file:
            self.top.pop(name, None)
        elif self.file.get(name) == body:
            self.top.pop(name, None)
        else:
            self.top[name] = body

    def load(self, file):
        """A signal keeps what was changed; what changes nothing any more is forgotten."""
        self.file = file
        self.top = {n: b for n, b in self.top.items()
                    if (b is not None and file.get(n) != b) or (b is None and n in file)}


def config(t, file):
    routes = [{"name": n, "match": "/" + n, "reply": {"body": b}} for n, b in file.items()]
    return dict(t.base, routes=routes + [
        {"name": "rest", "match": "/*", "reply": {"status": 404, "body": "none"}}])


def begin(t):
    t.base = {"admin": {"address": t.unix()}, "state_dir": t.make_dir("state")}
    t.w = t.start(config(t, {}))
    t.base = {k: v for k, v in t.w.config.items() if k != "routes"}
    t.seed = int(os.environ.get("WEIR_SEED") or random.randrange(1 << 30))
    print("seed %d" % t.seed)


def ask(t, method, path, body=None):
    with client.Client(t.w.admin) as c:
        r = c.ask(method, path, (), body and json.dumps(body).encode(), host="weir")
    return r


def check(t, m, what):
    want = m.routes()
    for n in NAMES:
        r = t.w.get("/" + n)
        assert (r.body.decode(), r.status) == (
            (want[n], 200) if n in want else ("none", 404)), (t.seed, what, n, r, want)


def by_api(t, m, rng):
    name, body = rng.choice(NAMES), "body %d" % rng.randrange(4)
    kind = rng.randrange(4)
    have = name in m.routes()
    route = {"name": name, "match": "/" + name, "reply": {"body": body}}
    if kind == 0:
        assert ask(t, "DELETE", "/v1/routes/" + name).status == (200 if have else 404)
        m.set(name, None) if have else None
    elif kind == 1:
        assert ask(t, "POST", "/v1/routes", route).status == (409 if have else 201)
        m.set(name, m.routes()[name] if have else body)
    elif kind == 2:
        assert ask(t, "PUT", "/v1/routes/" + name, route).status == (200 if have else 201)
        m.set(name, body)
    else:
        route["match"] = {"path": "no slash"}
        assert ask(t, "PUT", "/v1/routes/" + name, route).status == 422
    return "api %d %s" % (kind, name)


def by_command(t, m, rng):
    name, body = rng.choice(NAMES), "body %d" % rng.randrange(4)
    bad = rng.random() < 0.3
    route = {"match": "/" + name, "to" if bad else "reply": "nobody" if bad else {"body": body}}
    p = subprocess.run([t.weir_path, "route", "set", name, "-", "--admin", t.w.admin], text=True,
                       input=json.dumps(route), capture_output=True, timeout=60,
                       env={**os.environ, **t.weir_env})
    assert p.returncode == (1 if bad else 0), p
    if not bad:
        m.set(name, body)
    return "command %s" % name


def by_file(t, m, rng):
    file = {n: "body %d" % rng.randrange(4) for n in NAMES if rng.random() < 0.5}
    before = t.w.status()["configuration"]
    bad = rng.random() < 0.3
    t.w.write("routes: [" if bad else config(t, file))
    os.kill(t.w.pid, signal.SIGHUP)
    key = "refused" if bad else "reloads"
    await_true("the reload", lambda: t.w.status()["configuration"][key] > before[key])
    if not bad:
        m.load(file)
    return "file"


def by_kill(t, m, rng):
    os.kill(t.w.server_pid(), signal.SIGKILL)

    def back():
        try:
            return ask(t, "GET", "/v1").status == 200
        except Exception:
            return False
    await_true("another server", back)
    return "kill"


def test_random_changes(t):
    rng, m = random.Random(t.seed), Model()
    for i in range(80):
        kill = i % 20 == 19
        how = by_kill if kill else rng.choice([by_api, by_api, by_api, by_command, by_file])
        check(t, m, "%d: %s" % (i, how(t, m, rng)))
        if not kill:
            kept = {c["change"].get("route") for c in json.loads(
                ask(t, "GET", "/v1/changes").body)["changes"]}
            assert kept == set(m.top), (t.seed, i, how, kept, m.top)

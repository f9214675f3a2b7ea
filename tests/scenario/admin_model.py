# SPDX-License-Identifier: Apache-2.0
"""Random changes, good and bad, through all doors (the file with a signal, with weir reload, kept
and discarded; the API; commands; rollback; kills and restarts), against a model of what routes
where. After each of them the proxy routes as the model says. The seed is printed; WEIR_SEED sets
it."""

import json
import os
import random
import signal

from peers import client
from peers.wire import await_true, over

NOT_IN = {"doors": "an answer must say what was taken"}
NAMES = ["r%d" % i for i in range(5)]
STEPS = 300


class Refused(Exception):
    """What Weir must refuse, whole."""


# ---- the model -----------------------------------------------------------------------------------


class Item:
    """What was changed of one route or endpoint, beside what the file said of it then (was). set:
    the body of a route, the weight of an endpoint that was added or replaced."""

    def __init__(self, was, set=None, removed=False, weight=None, drained=False):
        self.was, self.set, self.removed = was, set, removed
        self.weight, self.drained = weight, drained

    def over(self, n):
        """The same over a file that says n of it (None: nothing); None: nothing is left of it."""
        if n is None and self.set is None:
            return None
        i = Item(n, self.set, self.removed and n is not None, self.weight, self.drained)
        if i.set == n:
            i.set = None
        if i.set is None and i.weight == n:
            i.weight = None
        return i if i.removed or i.drained or (i.set, i.weight) != (None, None) else None

    def conflicts(self, n):
        lost = n is None and not self.removed
        return n != self.was and (self.over(n) is not None or lost)


class Model:
    """The file in use, that on the disk, those before; and what was changed on top. A file is
    (routes: name -> body, endpoints: address -> weight)."""

    def __init__(self, file):
        self.file = self.disk = file
        self.history = [file]
        self.top = ({}, {})  # name -> Item, address -> Item

    def routes(self):
        out = dict(self.file[0])
        for name, i in self.top[0].items():
            out[name] = i.set
        return {n: b for n, b in out.items() if b is not None}

    def endpoints(self, top=None, file=None):
        """address -> (weight, drained)"""
        out = {a: (w, False) for a, w in (file or self.file)[1].items()}
        for a, i in (top or self.top)[1].items():
            w = i.weight if i.weight is not None else i.set if i.set is not None else i.was
            out[a] = None if i.removed else (w, i.drained)
        return {a: w for a, w in out.items() if w}

    def live(self):
        """The addresses that get requests."""
        return {a for a, (w, drained) in self.endpoints().items() if w and not drained}

    def put(self, kind, key, item):
        """One item more, or None: it is as the file says."""
        if item:
            item = item.over(self.file[kind].get(key))
        self.top[kind].pop(key, None)
        if item:
            self.top[kind][key] = item

    def set(self, kind, key, value):
        self.put(kind, key, Item(self.file[kind].get(key), set=value))

    def remove(self, kind, key):
        """False: not the last endpoint."""
        if kind == 1 and set(self.endpoints()) == {key}:
            return False
        self.put(kind, key, Item(self.file[kind].get(key), removed=True))
        return True

    def tune(self, address, **what):
        """Another weight, or drained or not, of an endpoint that there is."""
        i = self.top[1].get(address) or Item(self.file[1].get(address))
        self.put(1, address, Item(i.was, i.set, i.removed, what.get("weight", i.weight),
                                  what.get("drained", i.drained)))

    def load(self, file, mode="keep"):
        conflict = [[k for k, i in self.top[n].items() if i.conflicts(file[n].get(k))]
                    for n in (0, 1)]
        if mode == "ask" and conflict != [[], []]:
            raise Refused
        top = tuple({k: i.over(file[n].get(k)) for k, i in self.top[n].items()
                     if i.over(file[n].get(k)) and not (mode == "discard" and k in conflict[n])}
                    for n in (0, 1))
        if not self.endpoints(top, file):
            raise Refused
        self.top, self.file = top, file
        if json.dumps(self.history[0]) != json.dumps(file):  # another order is another text
            self.history.insert(0, file)

    def rollback(self, back):
        if back >= len(self.history):
            raise Refused
        self.load(self.history[back])


# ---- what a step does ----------------------------------------------------------------------


def config(t, file):
    routes, endpoints = file
    return dict(t.base, upstreams={"u": {"endpoints": [
        {"address": a, "weight": w} for a, w in endpoints.items()]}},
        routes=[{"name": n, "match": "/" + n, "reply": {"body": b}} for n, b in routes.items()]
        + [{"name": "rest", "match": "/*", "to": "u"}])


def ask(t, method, path, body=None, fields=()):
    with client.Client(t.w.admin) as c:
        return c.ask(method, path, fields, None if body is None else json.dumps(body).encode(),
                     host="weir")


def weir(t, good, *words):
    code, out, err = t.run(*words, "--admin", t.w.admin)
    assert code == (0 if good else 1), (words, code, out, err)
    assert good or err, words


def route(name, body):
    return {"name": name, "match": "/" + name, "reply": {"body": body}}


def by_route_api(t, m, rng):
    name, body = rng.choice(NAMES), "body %d" % rng.randrange(4)
    kind, have, path = rng.randrange(6), name in m.routes(), "/v1/routes/" + name
    if kind == 0:
        assert ask(t, "DELETE", path).status == (200 if have else 404)
        return m.remove(0, name) if have else None
    if kind == 1:
        assert ask(t, "POST", "/v1/routes", route(name, body)).status == (409 if have else 201)
        return None if have else m.set(0, name, body)
    if kind == 2:
        bad = rng.choice([{"match": {"path": "no slash"}}, {"mtch": "/x"}, {"to": "nobody"}])
        assert ask(t, "PUT", path, dict(route(name, body), **bad)).status == 422
        return None
    fields, status = [], 200 if have else 201
    if kind == 3:  # somebody else was faster, or there is nothing
        fields, status = [("If-Match", '"0123456789abcdef"')], 412
    elif kind == 4:
        fields, status = [("If-None-Match", "*")], 412 if have else 201
    elif have:
        fields = [("If-Match", ask(t, "GET", path).get("etag"))]
    assert ask(t, "PUT", path, route(name, body), fields).status == status
    return m.set(0, name, body) if status < 300 else None


def by_route_command(t, m, rng):
    name, body = rng.choice(NAMES), "body %d" % rng.randrange(4)
    kind, have = rng.randrange(4), name in m.routes()
    if kind == 0:
        weir(t, have, "route", "rm", name)
        return m.remove(0, name) if have else None
    if kind == 1:
        weir(t, not have, "route", "add", json.dumps(route(name, body)))
        return None if have else m.set(0, name, body)
    if kind == 2:
        return weir(t, False, "route", "set", name, '{"match": "/x", "to": "nobody"}')
    weir(t, True, "route", "set", name, json.dumps(route(name, body)))
    return m.set(0, name, body)


def by_endpoint_api(t, m, rng):
    address, weight = rng.choice(t.addresses), rng.randrange(4)
    have, base = address in m.endpoints(), "/v1/upstreams/u/endpoints"
    kind = rng.choice(["add", "put", "remove", "drain", "undrain", "weights", "patch", "bad"])
    body = {"address": address, "weight": weight}
    if kind == "add":
        assert ask(t, "POST", base, body).status == (409 if have else 201)
        return None if have else m.set(1, address, weight)
    if kind == "put":
        assert ask(t, "PUT", base + "/" + address, body).status == (200 if have else 201)
        return m.set(1, address, weight)
    if kind == "bad":
        bad = rng.choice([{"weight": 101}, {"weigth": 1}, {"address": "10.0.0.1:80"}])
        status = 400 if "address" in bad else 422
        assert ask(t, "PUT", base + "/" + address, dict(body, **bad)).status == status
        return None
    if kind in ("weights", "patch"):
        other = rng.choice(t.addresses)
        known = have and other in m.endpoints()
        r = ask(t, "PUT" if kind == "weights" else "PATCH", "/v1/upstreams/u/weights",
                {address: weight, other: 1})
        assert r.status == (200 if known else 404), r
        for a in m.endpoints() if known else ():
            new = 1 if a == other else weight if a == address else None
            if new is not None or kind == "weights":
                m.tune(a, weight=new)
        return None
    path = base + "/" + address
    if kind == "remove":
        status = 404 if not have else 200 if m.remove(1, address) else 422
        assert ask(t, "DELETE", path).status == status
        return None
    assert ask(t, "POST", path + "/" + kind).status == (200 if have else 404)
    return m.tune(address, drained=kind == "drain") if have else None


def by_endpoint_command(t, m, rng):
    address, weight = rng.choice(t.addresses), rng.randrange(4)
    have = address in m.endpoints()
    kind = rng.choice(["add", "rm", "drain", "undrain", "weight"])
    if kind == "weight":
        weir(t, have, "endpoint", "weight", "u", "%s=%d" % (address, weight))
        return m.tune(address, weight=weight) if have else None
    if kind == "add":
        weir(t, not have, "endpoint", "add", "u", address, "--weight", str(weight))
        return None if have else m.set(1, address, weight)
    if kind == "rm":
        return weir(t, have and m.remove(1, address), "endpoint", "rm", "u", address)
    weir(t, have, "endpoint", kind, "u", address)
    return m.tune(address, drained=kind == "drain") if have else None


def some_file(t, rng):
    n = rng.randrange(1, len(t.addresses) + 1)
    return ({n: "body %d" % rng.randrange(4) for n in NAMES if rng.random() < 0.5},
            {a: rng.randrange(1, 4) for a in rng.sample(t.addresses, n)})


def loaded(load, *args):
    """Whether the model takes it."""
    try:
        load(*args)
    except Refused:
        return False
    return True


def by_signal(t, m, rng):
    before = t.w.status()["configuration"]
    file = None if rng.random() < 0.3 else some_file(t, rng)
    bad = rng.choice(["routes: [", "routes: [{match: /*, to: nobody}]\n", "workers: x\n"])
    t.w.write(config(t, file) if file else bad)
    os.kill(t.w.pid, signal.SIGHUP)
    good = file and loaded(m.load, file)
    key = "reloads" if good else "refused"
    await_true("the reload", lambda: t.w.status()["configuration"][key] > before[key])
    m.disk = file or m.disk
    t.w.write(config(t, m.disk))


def by_reload(t, m, rng):
    mode, file = rng.choice(["ask", "keep", "discard"]), some_file(t, rng)
    if rng.random() < 0.3:
        file = m.file
    t.w.write(config(t, file))
    m.disk = file
    good = loaded(m.load, file, mode)
    if rng.random() < 0.5:
        r = ask(t, "POST", "/v1/reload?changes=" + mode)
        assert r.status == (200 if good else 422), r
    else:
        weir(t, good, "reload", *([] if mode == "ask" else ["--" + mode]))


def by_rollback(t, m, rng):
    back = rng.randrange(1, 6)
    good = loaded(m.rollback, back)
    if rng.random() < 0.5:
        r = ask(t, "POST", "/v1/rollback?back=%d" % back)
        assert r.status == (200 if good else 422), r
    else:
        weir(t, good, "rollback", str(back))


def by_discard(t, m, rng):
    assert ask(t, "DELETE", "/v1/changes").status == 200
    m.top = ({}, {})


def by_reopen(t, m, rng):
    os.kill(t.w.pid, signal.SIGUSR1)


def by_server_kill(t, m, rng):
    """The new server has the configuration that was in use, whatever the file says."""
    old = t.w.server_pid()
    os.kill(old, signal.SIGKILL)
    await_true("another server", lambda: old not in t.w.children() and answers(t))


def by_restart(t, m, rng):
    """Stopped, or the supervisor is killed, which takes the server along; then started again."""
    kill = rng.random() < 0.5
    server = t.w.server_pid()
    os.kill(t.w.pid, signal.SIGKILL if kill else signal.SIGTERM)
    assert t.w.wait(60) == (-signal.SIGKILL if kill else 0)
    await_true("the end of the server", lambda: over(server))
    t.w.launch()
    t.w.wait_ready()
    await_true("the admin API", lambda: answers(t))
    if not loaded(m.load, m.disk):
        m.top = ({}, {})  # moved aside: nothing comes of them on this file
        m.load(m.disk)


def answers(t):
    try:
        return ask(t, "GET", "/v1").status == 200
    except Exception:
        return False


# ---- checking ------------------------------------------------------------------------------------


def check(t, m):
    routes, live = m.routes(), m.live()
    with t.w.client() as c:
        for n in NAMES:
            r = c.get("/" + n)
            want = {routes[n].encode()} if n in routes else (
                {b"%s GET /%s\n" % (t.names[a], n.encode()) for a in live})
            assert r.body in want if want else r.status == 503, (n, r, want)
        seen = set()
        for _ in range(3 * sum(w for w, _ in m.endpoints().values()) if live else 0):
            seen.add(c.get("/rest").body.split()[0])
    assert seen == {t.names[a] for a in live}, (seen, live)
    weights = {a: w for a, (w, _) in m.endpoints().items()}
    assert json.loads(ask(t, "GET", "/v1/upstreams/u/weights").body) == weights
    kept = json.loads(ask(t, "GET", "/v1/changes").body)["changes"]
    top = {**m.top[0], **m.top[1]}
    assert {c["change"].get("route") or c["change"]["endpoint"] for c in kept} == set(top), (
        kept, {k: vars(i) for k, i in top.items()})


DOORS = [(8, by_route_api), (3, by_route_command), (8, by_endpoint_api), (3, by_endpoint_command),
         (4, by_signal), (4, by_reload), (3, by_rollback), (1, by_discard), (1, by_reopen),
         (1, by_server_kill), (1, by_restart)]


def begin(t):
    t.seed = int(os.environ.get("WEIR_SEED") or random.randrange(1 << 30))
    print("seed %d" % t.seed)
    origins = [t.origin("o%d" % i) for i in range(4)]
    t.addresses = [o.address for o in origins]
    t.names = {o.address: o.name.encode() for o in origins}
    state = t.make_dir("state")
    t.base = {"admin": {"address": t.unix()}, "listeners": [{"address": t.address()}],
              "state_dir": state, "access_log": {"path": state + "/access.log"}, "workers": 1}
    t.first = ({}, {t.addresses[0]: 1})
    t.w = t.start(config(t, t.first))


def test_random_changes(t):
    rng, m = random.Random(t.seed), Model(t.first)
    deck = [door for often, door in DOORS for _ in range(often)]
    for i in range(STEPS // (3 if t.sanitized else 1)):
        door = rng.choice(deck)
        try:
            door(t, m, rng)
            check(t, m)
        except Exception as e:
            raise AssertionError("seed %d, step %d, %s: %r" % (t.seed, i, door.__name__, e)) from e

# SPDX-License-Identifier: Apache-2.0
"""A reload changes what differs and nothing else: what stays keeps its connections and figures."""

import json
import os
import re
import signal
import socket
import subprocess
import threading

from peers import client
from peers.h2 import H2
from peers.origin import echo_tunnel
from peers.wire import await_true


def routes(n, more=()):
    return [{"name": "gen", "match": {"path": "/gen"}, "reply": {"body": "gen %d" % n}},
            {"name": "all", "match": {"path": "/*"}, "to": "o"}] + list(more)


def endpoints(t, *addresses, **more):
    return {"o": dict({"endpoints": [{"address": a} for a in addresses],
                       "balance": "round_robin"}, **more)}


def begin(t):
    t.o, t.p = t.origin("one"), t.origin("two")
    t.n = 0
    t.state = t.make_dir("state")
    t.w = t.start({"workers": 1, "state_dir": t.state, "drain": "20s", "routes": routes(0),
                   "upstreams": endpoints(t, t.o.address, t.p.address)}, admin=True)


def change(t, **top):
    """The configuration with other top-level keys, by SIGHUP."""
    t.n += 1
    t.w.reload(t.w.with_config(**dict({"routes": routes(t.n)}, **top)),
               lambda: t.w.get("/gen").body == b"gen %d" % t.n)


def said(t, since, event):
    return [x["text"] for x in map(json.loads, t.w.log()[since:].splitlines())
            if x["event"] == event]


def endpoint(t, address):
    return [e for u in t.w.status()["upstreams"] for e in u["endpoints"]
            if e["address"] == address][0]


def test_words(t):
    """The log says what changed, thing by thing."""
    since = len(t.w.log())
    change(t, timeouts={"first_byte": "2m"})
    await_true("the words", lambda: len(said(t, since, "config.changed")) >= 2)
    lines = said(t, since, "config.changed")
    assert "settings: changed: timeouts.first_byte 1m -> 2m" in lines, lines
    assert any(x.startswith("route gen: changed: reply.body") for x in lines), lines
    assert not any(x.startswith("route all") for x in lines), "what is inherited is told once"


def test_other_endpoints_keep_theirs(t):
    """One endpoint changes: the other keeps its links, its counts and its place."""
    for _ in range(4):
        t.w.get("/warm")
    links, before = len(t.o.connections), endpoint(t, t.o.address)
    u = endpoints(t, t.o.address, t.p.address)
    u["o"]["endpoints"][1]["weight"] = 3
    change(t, upstreams=u)
    for _ in range(8):
        t.w.get("/after")
    after = endpoint(t, t.o.address)
    assert after["requests"] > before["requests"], (before, after)
    assert after["connections"]["opened"] == before["connections"]["opened"], (before, after)
    assert len(t.o.connections) == links, "links were thrown away"
    change(t, upstreams=endpoints(t, t.o.address, t.p.address))


def test_marks_stay(t):
    """A health mark and a failure count outlive a change of another endpoint."""
    down = t.address()
    change(t, upstreams=endpoints(t, t.o.address, down, health={"interval": "100ms",
                                                               "type": "tcp"}))
    await_true("the mark", lambda: endpoint(t, down)["state"] == "down")
    u = endpoints(t, t.o.address, t.p.address, down,
                  health={"interval": "100ms", "type": "tcp"})
    change(t, upstreams=u)
    assert endpoint(t, down)["state"] == "down"
    change(t, upstreams=endpoints(t, t.o.address, t.p.address))


def test_a_taken_port_changes_nothing(t):
    """A failure at any point leaves the old one whole: here a port that somebody has."""
    change(t)  # where a door ended the test before this one, its last reload may still be due
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    taken.listen(1)
    free, since = t.address(), len(t.w.log())
    t.n += 1
    good = t.w.config
    t.w.reload(t.w.with_config(
        routes=routes(t.n), listeners=good["listeners"] + [
            {"address": free}, {"address": "127.0.0.1:%d" % taken.getsockname()[1]}]))
    await_true("the refusal", lambda: said(t, since, "config.refused"))
    t.w.config = good
    assert t.w.get("/gen").body == b"gen %d" % (t.n - 1)
    await_true("the end of what the refused one listened on", lambda: client.nobody_listens(free))
    taken.close()
    change(t)


def test_a_broken_certificate_changes_nothing(t):
    since, good = len(t.w.log()), t.w.config
    path = os.path.join(t.make_dir("cert"), "x.pem")
    with open(path, "w") as f:
        f.write("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    t.w.reload(t.w.with_config(listeners=good["listeners"] + [
        {"address": t.address(), "tls": {"certificates": [{"cert": path, "key": path}]}}]))
    await_true("the refusal", lambda: said(t, since, "config.refused"))
    t.w.config = good
    assert t.w.get("/still").status == 200
    change(t)


def test_watch(t):
    """With watch the file is loaded when it changes, renamed over or written in place."""
    change(t, watch=True)
    for how in ("rename", "write", "rename"):
        t.n += 1
        config = t.w.with_config(routes=routes(t.n))
        if how == "rename":
            path, t.w.config_path = t.w.config_path, t.w.config_path + ".swp"
            t.w.write(config)
            t.w.config_path = path
            os.rename(path + ".swp", path)
        else:
            t.w.write(config)
        await_true("the change is seen", lambda: t.w.get("/gen").body == b"gen %d" % t.n)
    since, good = len(t.w.log()), t.w.config
    t.w.write("routes: [")
    await_true("the refusal", lambda: said(t, since, "config.refused"))
    t.w.write(dict(good, routes=routes(t.n)))
    change(t, watch=False)
    refused = [x for x in said(t, since, "config.refused") if "is refused" in x]
    assert len(refused) == 1, "a bad file is refused once: %s" % refused


def test_history_is_kept(t):
    """The last configurations lie in state_dir, one file each, the newest twenty."""
    for _ in range(22):
        change(t)
    def kept():
        return sorted(f for f in os.listdir(t.state) if re.fullmatch(r"config-\d+\.yaml", f))

    def newest():
        with open(os.path.join(t.state, kept()[-1])) as f:
            return f.read()
    await_true("the newest", lambda: "gen %d" % t.n in newest())
    await_true("twenty", lambda: len(kept()) == 20)
    assert " signal" in newest().splitlines()[0], newest()[:200]
    before = kept()[-1]
    os.kill(t.w.server_pid(), signal.SIGKILL)
    await_true("a new server", lambda: t.w.get("/gen").body == b"gen %d" % t.n)
    change(t)
    await_true("numbers go on after a crash", lambda: kept()[-1] > before)


def weir(t, *words):
    p = subprocess.run([t.weir_path, *words], capture_output=True, text=True, timeout=60,
                       env={**os.environ, **t.weir_env})
    return p.returncode, p.stdout, p.stderr


def test_commands(t):
    """reload waits and says what changed, plan says it before, rollback goes back."""
    t.not_in("doors", "the admin API's own answers may be refused")
    other = t.unix()
    w = t.start({"workers": 1, "admin": {"address": other}, "routes": routes(0)[:1]})
    ask = ("--admin", other)
    w.write(w.with_config(routes=routes(1)[:1]))
    words = 'route gen: changed: reply.body "gen 0" -> "gen 1"\n'
    code, out, err = weir(t, "plan", w.config_path)
    assert (code, out) == (0, words) and w.get("/gen").body == b"gen 0", (code, out, err)
    code, out, err = weir(t, "reload", *ask)
    assert code == 0 and out.startswith(words) and w.get("/gen").body == b"gen 1", (out, err)
    assert weir(t, "plan", w.config_path) == (0, "nothing differs\n", "")
    w.write("routes: [\n")
    code, out, err = weir(t, "reload", *ask)
    assert code == 1 and "weir.yaml:2" in err and "the old one stays" in err, (code, out, err)
    assert w.get("/gen").body == b"gen 1" and weir(t, "plan", w.config_path)[0] == 1
    code, out, err = weir(t, "rollback", *ask)
    assert code == 0 and w.get("/gen").body == b"gen 0", (code, out, err)
    assert weir(t, "rollback", "--json", *ask)[0] == 0 and w.get("/gen").body == b"gen 1"
    code, out, err = weir(t, "history", *ask)
    assert code == 0 and len(out.splitlines()) == 4 and "in use" in out.splitlines()[0], out
    code, out, err = weir(t, "rollback", "9", *ask)
    assert code == 1 and "earlier configurations" in err, err
    for wrong in (("plan",), ("rollback", "0"), ("rollback", "x"), ("reload", "x"),
                  ("history", "x")):
        assert weir(t, *wrong)[0] == 2, wrong
    a, b = w.config_path + ".a", w.config_path + ".b"
    for path, n in ((a, "x"), (b, "y")):
        with open(path, "w") as f:
            f.write("routes: [{name: r, match: /r, reply: {body: %s}}]\n" % n)
    assert weir(t, "plan", a, b)[1] == 'route r: changed: reply.body x -> y\n'
    w.write(w.config)
    w.stop()


def tunnel(t, path):
    c = t.w.client().__enter__()
    c.request("GET", path, [("Connection", "upgrade"), ("Upgrade", "x")])
    assert c.head().status == 101
    lives(c)
    return c


def lives(c):
    c.send("ping")
    assert c.stream.exactly(4) == b"ping"


def test_tunnels_of_a_removed_route(t):
    """They end when drain is over; those of a route that stays, or came back in time, do not."""
    for path in ("/gone/t", "/back/t", "/t"):
        t.o.on(path, echo_tunnel)
    u = endpoints(t, t.o.address)
    two = [{"name": n, "match": {"path": "/%s/*" % n}, "to": "o"} for n in ("gone", "back")]
    change(t, upstreams=u, routes=routes(t.n + 1, two))
    gone, back, stays = tunnel(t, "/gone/t"), tunnel(t, "/back/t"), tunnel(t, "/t")
    change(t, upstreams=u, drain="5s")
    for c in (gone, back, stays):
        lives(c)
    change(t, upstreams=u, drain="5s", routes=routes(t.n + 1, two[1:]))
    assert not gone.stream.some(), "the tunnel of the removed route ends"
    for c in (back, stays):
        lives(c)
        c.__exit__(None, None, None)
    assert t.w.line_for("/gone/t")["reason"] == "shutdown"
    change(t, drain="20s", upstreams=endpoints(t, t.o.address, t.p.address))


def test_connections_of_a_removed_listener(t):
    """A kept one is told with its next answer; one that asks nothing is closed after drain."""
    extra, good = t.address(), t.w.config["listeners"]
    change(t, listeners=good + [{"address": extra}], drain="5s")
    client.wait_listening(extra, 20)
    with client.Client(extra) as asks, client.Client(extra) as idle:
        assert asks.get("/gen").status == 200 and idle.get("/gen").status == 200
        change(t, listeners=good)
        r = asks.get("/gen")
        assert r.status == 200 and r.fields.tokens("connection") == ["close"], r
        assert not idle.stream.some(), "an idle connection ends"
    change(t, listeners=good, drain="20s")


def test_streams_of_a_removed_listener(t):
    """GOAWAY comes at once; the stream that is open gets its answer, then the connection ends."""
    go = threading.Event()
    t.o.on("/late", lambda conn, req: (go.wait(60), conn.reply(200, body=b"late")))
    extra, good = t.address(), t.w.config["listeners"]
    u = endpoints(t, t.o.address)
    change(t, listeners=good + [{"address": extra, "h2c": True}], upstreams=u)
    client.wait_listening(extra, 20)
    with H2(extra) as c:
        assert c.ask("GET", "/gen").status == 200
        s = c.request("GET", "/late")
        t.o.await_seen("/late")
        change(t, listeners=good, upstreams=u)
        c.await_goaway()
        go.set()
        a = c.response(s)
        assert (a.status, a.body) == (200, b"late"), a
        c.await_end()
    change(t, listeners=good, upstreams=endpoints(t, t.o.address, t.p.address))

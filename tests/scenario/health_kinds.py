# SPDX-License-Identifier: Apache-2.0
"""What a health check may ask: statuses and bodies, over TLS and HTTP/2 too; gRPC's health service;
a program. Each kind sees an endpoint go and come back, and says why."""

import os
import subprocess
import sys
import threading
from concurrent import futures

import yaml
from peers import client, tls, wire
from peers.h2_origin import H2Origin

try:
    import grpc
except ImportError:
    grpc = None

FAST = {"interval": "50ms", "timeout": "2s", "slow": "off"}
COST = 4


def start(t, addresses, health, upstream=None, **more):
    u = {"endpoints": list(addresses), "ejection": False, "health": dict(FAST, **health),
         "balance": {"slow_start": "off", "panic_threshold": 0}}
    u.update(upstream or {})
    config = {"upstreams": {"u": u}, "routes": [{"match": {"path": "/*"}, "to": "u"}]}
    config.update(more)
    return t.start(config, admin=True)


def endpoints(w):
    return w.status()["upstreams"][0]["endpoints"]


def states(w):
    return [e["state"] for e in endpoints(w)]


def await_states(w, *want):
    wire.await_true("states %r" % (want,), lambda: states(w) == list(want))


def event(w, name, n=1):
    """The newest line of an event, when there are n."""
    lines = []

    def enough():
        lines[:] = [x for x in w.log().splitlines() if name in x]
        return len(lines) >= n
    wire.await_true("%d x %s in the log" % (n, name), enough)
    return lines[-1]


# ---- http ----


def test_statuses_in_ranges(t):
    o = t.origin()
    status = [204]
    o.on("/h", lambda conn, req: conn.reply(status[0]))
    w = start(t, [o.address], {"path": "/h", "statuses": ["200-204", 404]})
    o.await_seen("/h", 2)
    for bad, good in ((205, 200), (301, 404), (403, 203)):
        status[0] = bad
        await_states(w, "down")
        status[0] = good
        await_states(w, "up")
    assert "was answered with 403" in event(w, "endpoint.down", 3)


def test_body(t):
    """The pattern is looked for in the first body_bytes; what makes it run long is a failure."""
    o = t.origin()
    body = [b"x" * 3000 + b' "ready":  true']
    o.on("/h", lambda conn, req: conn.reply(200, body=body[0]))
    w = start(t, [o.address], {"path": "/h", "body": '"ready": *true', "body_bytes": "4KiB"})
    wire.await_true("checks", lambda: endpoints(w)[0]["health"]["passed"] > 2)
    await_states(w, "up")
    body[0] = b'{"ready": false}'
    await_states(w, "down")
    assert "its body does not match health.body" in event(w, "endpoint.down")
    body[0] = b'"ready":true'
    await_states(w, "up")
    body[0] = b"x" * 4090 + b'"ready":true'  # its end is beyond what is looked at
    await_states(w, "down")
    w.stop()
    body[0] = b"a" * 30 + b"!"
    w = start(t, [o.address], {"path": "/h", "body": "^(a+)+$"})
    await_states(w, "down")
    assert "too many steps" in event(w, "endpoint.down")


def test_over_tls(t):
    """The certificate is verified in checks as in requests."""
    ca = tls.authority(t)
    o = tls.Origin(t.address(), ca.sign("site", ["localhost", t.host]))
    t.origins.append(o)
    bad = threading.Event()
    o.on("/h", lambda conn, req: conn.reply(500 if bad.is_set() else 200))
    w = start(t, [o.address], {"path": "/h"}, {"tls": {"ca": ca.cert}})
    o.await_seen("/h", 2)
    await_states(w, "up")
    bad.set()
    await_states(w, "down")
    bad.clear()
    await_states(w, "up")
    w.stop()
    other = tls.authority(t, "other")
    w = start(t, [o.address], {"path": "/h"}, {"tls": {"ca": other.cert}})
    await_states(w, "down")
    assert "certificate" in event(w, "endpoint.down")


def test_over_http2(t):
    """By prior knowledge; the body is looked at there too."""
    o = H2Origin(t.address())
    t.origins.append(o)
    bad = threading.Event()
    o.on("/h", lambda r: r.reply(503 if bad.is_set() else 200, body=b"fine"))
    w = start(t, [o.address], {"path": "/h", "body": "^fine$"}, {"protocol": "h2"})
    o.await_seen("/h", 3)
    await_states(w, "up")
    assert len(o.conns) == 1 or t.variant == "doors", "checks share a connection"
    bad.set()
    await_states(w, "down")
    assert "was answered with 503" in event(w, "endpoint.down")
    bad.clear()
    await_states(w, "up")


def test_over_http2_and_tls(t):
    """A real server, agreed upon by ALPN."""
    t.needs("nghttpd")
    ca = tls.authority(t)
    site = ca.sign("site", ["localhost", t.host])
    folder = t.make_dir("www")
    with open(os.path.join(folder, "h"), "w") as f:
        f.write("fine")
    host, port = t.address().rsplit(":", 1)
    p = t.spawn(["nghttpd", "-d", folder, "-a", host, port, site.key, site.cert],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    client.wait_listening("%s:%s" % (host, port), 30, lambda: p.poll() is None)
    settings = {"tls": {"ca": ca.cert}, "protocol": "h2"}
    w = start(t, ["%s:%s" % (host, port)], {"path": "/h", "body": "^fine$"}, settings)
    wire.await_true("checks", lambda: endpoints(w)[0]["health"]["passed"] > 2)
    await_states(w, "up")
    w = start(t, ["%s:%s" % (host, port)], {"path": "/none"}, settings)
    await_states(w, "down")
    assert "was answered with 404" in event(w, "endpoint.down")


def test_weight_in_the_answer_of_a_check(t):
    """An endpoint may say by its checks how much it wants."""
    origins = [t.origin("o%d" % i) for i in range(2)]
    weight = ["0%"]
    origins[0].on("/h", lambda conn, req: conn.reply(200, [("Endpoint-Weight", weight[0])]))
    w = start(t, [o.address for o in origins], {"path": "/h"},
              {"balance": {"weight_header": "Endpoint-Weight", "slow_start": "off"}})
    await_states(w, "drained", "up")
    assert event(w, "endpoint.drained") and "endpoint.down" not in w.log()
    assert {w.get("/").get("x-origin") for _ in range(4)} == {"o1"}
    weight[0] = "100%"
    await_states(w, "up", "up")
    assert event(w, "endpoint.undrained")
    changes = 'weir_upstream_endpoint_changes_total{upstream="u",endpoint="%s",state="drained"} 1'
    wire.await_true("the change is counted", lambda: (
        changes % origins[0].address in w.admin_get("/metrics").text))


# ---- grpc ----


class HealthService:
    """A real gRPC server with grpc.health.v1, whose messages are made by hand. Statuses by service
    name: a number of ServingStatus, or a grpc.StatusCode."""

    def __init__(self, t, statuses, credentials=None, implements=True):
        self.statuses = statuses
        self.asked = []
        self.server = grpc.server(futures.ThreadPoolExecutor(4))
        if implements:
            kinds = {"Check": grpc.unary_unary_rpc_method_handler(self.check)}
            self.server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler("grpc.health.v1.Health", kinds),))
        self.address = t.address()
        if credentials:
            assert self.server.add_secure_port(self.address, credentials)
        else:
            assert self.server.add_insecure_port(self.address)
        self.server.start()
        self.violations = []
        t.origins.append(self)

    def check(self, body, context):
        assert body == b"" or body[:1] == b"\x0a" and body[1] == len(body) - 2, body
        service = body[2:].decode()
        self.asked.append(service)
        status = self.statuses.get(service, grpc.StatusCode.NOT_FOUND)
        if isinstance(status, int):
            return b"\x08" + bytes([status]) if status else b""
        context.abort(status, "no")

    def close(self):
        self.server.stop(None)


def needs_grpc(t):
    if grpc is None:
        from peers.story import Skip
        raise Skip("python3-grpcio is not installed")


def test_grpc(t):
    needs_grpc(t)
    s = HealthService(t, {"shop.Cart": 1, "": 2})
    w = start(t, [s.address], {"type": "grpc", "service": "shop.Cart"}, {"protocol": "h2"})
    wire.await_true("checks", lambda: len(s.asked) > 2)
    await_states(w, "up")
    assert set(s.asked) == {"shop.Cart"}, s.asked
    n = 0
    for bad, words in ((2, "says NOT_SERVING of service shop.Cart"),
                       (3, "says SERVICE_UNKNOWN"), (0, "says UNKNOWN"), (7, "a status that is"),
                       (grpc.StatusCode.NOT_FOUND, "grpc-status 5 (NOT_FOUND"),
                       (grpc.StatusCode.UNAVAILABLE, "grpc-status 14")):
        s.statuses["shop.Cart"] = bad
        await_states(w, "down")
        n += 1
        assert words in event(w, "endpoint.down", n), (words, event(w, "endpoint.down", n))
        s.statuses["shop.Cart"] = 1
        await_states(w, "up")
    w.stop()
    w = start(t, [s.address], {"type": "grpc"}, {"protocol": "h2"})
    await_states(w, "down")
    assert "NOT_SERVING of the server" in event(w, "endpoint.down")
    w.stop()
    plain = HealthService(t, {}, implements=False)
    w = start(t, [plain.address], {"type": "grpc"}, {"protocol": "h2"})
    await_states(w, "down")
    assert "grpc-status 12 (UNIMPLEMENTED" in event(w, "endpoint.down")


def test_grpc_over_tls(t):
    needs_grpc(t)
    ca = tls.authority(t)
    site = ca.sign("site", ["localhost", t.host])
    with open(site.key, "rb") as key, open(site.cert, "rb") as cert:
        credentials = grpc.ssl_server_credentials([(key.read(), cert.read())])
    s = HealthService(t, {"": 1}, credentials)
    w = start(t, [s.address], {"type": "grpc"}, {"tls": {"ca": ca.cert}})
    wire.await_true("checks", lambda: len(s.asked) > 2)
    await_states(w, "up")
    s.statuses[""] = 2
    await_states(w, "down")


def test_grpc_answers_that_are_none(t):
    """Garbled messages, no trailers, HTTP errors: failures that say what came."""
    o = H2Origin(t.address())
    t.origins.append(o)
    path = "/grpc.health.v1.Health/Check"
    answer = [None]

    def reply(status=200, body=b"\0\0\0\0\2\x08\1", trailers=(("grpc-status", "0"),), fields=()):
        answer[0] = lambda r: r.reply(status, [("content-type", "application/grpc")] + list(fields),
                                      body, list(trailers))
    o.on(path, lambda r: (r.await_over(), answer[0](r)))
    reply()
    w = start(t, [o.address], {"type": "grpc"}, {"protocol": "h2"})
    r = o.await_seen(path, 2)[0]
    assert r.body == b"\0\0\0\0\0" and r.get("te") == "trailers", r.fields
    await_states(w, "up")
    n = 0
    for more, words in (({"body": b"moo"}, "no answer of a health service"),
                        ({"body": b"\0\0\0\0\2\x08\1" * 100}, "no answer of a health service"),
                        ({"trailers": ()}, "grpc-status -1"),
                        ({"status": 503, "trailers": ()}, "HTTP status 503"),
                        ({"body": b"", "trailers": (), "fields": [("grpc-status", "12")]},
                         "grpc-status 12")):
        reply(**more)
        await_states(w, "down")
        n += 1
        assert words in event(w, "endpoint.down", n), event(w, "endpoint.down", n)
        reply()
        await_states(w, "up")


# ---- script ----

SCRIPT = """#!%s
import os, sys, time
folder = os.path.dirname(sys.argv[0])
with open(os.path.join(folder, "mode")) as f:
    mode = f.read()
seen = (sys.argv[1:], dict(os.environ), sorted(os.listdir("/proc/self/fd")),
        os.getpgrp() == os.getpid(), os.getcwd())
with open(os.path.join(folder, "seen.%%d" %% os.getpid()), "w") as f:
    f.write(repr(seen))
os.rename(f.name, os.path.join(folder, "seen"))
print("it is", mode)
if mode == "hangs":
    if os.fork() == 0:
        with open(os.path.join(folder, "child"), "w") as f:
            f.write(str(os.getpid()))
    sys.stdout.flush()
    time.sleep(1000)
if mode == "crashes":
    os.kill(os.getpid(), 9)
sys.exit({"good": 0, "bad": 3}[mode])
"""

QUICK = """#!/bin/sh
read -r mode < "${0%/*}/mode"
[ "$mode" = hangs ] && exec sleep 1000
exit 0
"""


class Script:
    """A check's program, told by a file what to do."""

    def __init__(self, t):
        self.dir = t.make_dir("script")
        os.chmod(self.dir, 0o777)
        self.path = os.path.join(self.dir, "check")
        with open(self.path, "w") as f:
            f.write(SCRIPT % sys.executable)
        os.chmod(self.path, 0o755)
        self.be("good")

    def be(self, mode):
        path = os.path.join(self.dir, "mode")
        with open(path + ".new", "w") as f:
            f.write(mode)
        os.rename(path + ".new", path)

    def read(self, name):
        path = os.path.join(self.dir, name)
        wire.await_true("the script ran", lambda: os.path.exists(path) and os.path.getsize(path))
        with open(path) as f:
            return f.read()


def children(w):
    """Processes below the server, zombies too."""
    out = []
    server = w.server_pid()
    for pid in os.listdir("/proc"):
        try:
            with open("/proc/%s/stat" % pid) as f:
                if int(f.read().rsplit(")", 1)[1].split()[1]) == server:
                    out.append(int(pid))
        except (OSError, ValueError):
            pass
    return out


def test_script(t):
    """Status 0 passes; the endpoint is in its environment, Weir's secrets are not; what it wrote is
    in the log and on /status; a group that hangs is killed whole."""
    s, o = Script(t), t.origin()
    w = t.start({"upstreams": {"u": {
        "endpoints": [o.address], "ejection": False,
        "health": dict(FAST, type="script", command=[s.path, "two words", "$HOME;exit 1"],
                       environment={"LEVEL": "3"}, fall=2, timeout="20s"),
        "balance": {"slow_start": "off", "panic_threshold": 0}}},
        "routes": [{"match": {"path": "/*"}, "to": "u"}]}, admin=True, env={"SECRET": "token"})
    arguments, env, fds, own_group, folder = eval(s.read("seen"))
    host, port = o.address.rsplit(":", 1)
    assert arguments == ["two words", "$HOME;exit 1"] and own_group and folder == "/", arguments
    assert "SECRET" not in env and env["LEVEL"] == "3" and env["WEIR_ENDPOINT"] == o.address, env
    assert (env["WEIR_UPSTREAM"], env["WEIR_HOST"], env["WEIR_PORT"], env["WEIR_STATE"]) \
        == ("u", host, port, "up"), env
    assert set(fds) <= {"0", "1", "2", "3"}, fds  # 3 is that of the listing itself
    await_states(w, "up")
    n = 0
    for mode, words in (("bad", "exited with status 3; it wrote: it is bad"),
                        ("crashes", "was ended by signal 9")):
        s.be(mode)
        await_states(w, "down")
        n += 1
        assert words in event(w, "endpoint.down", n), event(w, "endpoint.down", n)
        health = endpoints(w)[0]["health"]
        assert health["evidence"] and health["failed"] >= 2, health
        if mode == "bad":
            assert health["output"] == "it is bad\n", health
            wire.await_true("it knows the state",
                            lambda: eval(s.read("seen"))[1]["WEIR_STATE"] == "down")
        s.be("good")
        await_states(w, "up")
    m = w.metrics()
    label = frozenset({("upstream", "u"), ("endpoint", o.address)})
    assert m[("weir_health_check_cpu_seconds_total", label)] > 0
    assert m[("weir_health_check_seconds_total", label)] > 0
    assert ("weir_health_check_lag_seconds", label) in m
    wire.await_true("no zombies", lambda: len(children(w)) <= 1)


def test_script_that_hangs(t):
    s, o = Script(t), t.origin()
    s.be("hangs")
    w = start(t, [o.address], {"type": "script", "command": [s.path], "timeout": "4s",
                               "fall": 1})
    await_states(w, "down")
    line = event(w, "endpoint.down")
    assert "was killed after 4000 ms, its timeout; it wrote: it is hangs" in line, line
    grandchild = int(s.read("child"))
    wire.await_true("its child is gone too", lambda: wire.over(grandchild))
    s.be("good")
    await_states(w, "up")
    s.be("hangs")
    os.unlink(os.path.join(s.dir, "child"))
    grandchild = int(s.read("child"))
    w.stop()  # a script that runs does not outlive its Weir
    wire.await_true("its child is gone too", lambda: wire.over(grandchild))


def test_scripts_take_turns(t):
    """Forty endpoints whose scripts hang: never more than eight run at once, and none is left."""
    s = Script(t)
    with open(s.path, "w") as f:  # one that is quick where many are begun, however busy it is
        f.write(QUICK)
    s.be("hangs")
    w = start(t, [t.address() for _ in range(40)],
              {"type": "script", "command": [s.path], "timeout": "1s", "fall": 1})
    most = 0

    def all_down():
        nonlocal most
        most = max(most, sum(not wire.over(p) for p in children(w)))
        return states(w) == ["down"] * 40
    wire.await_true("all are down", all_down, 60)
    assert 2 <= most <= 8, most
    fds = w.fds()
    s.be("good")
    wire.await_true("all are up", lambda: states(w) == ["up"] * 40, 60)
    wire.await_true("no descriptor is left", lambda: w.fds() <= fds + 30)


def test_connections_end_while_scripts_begin(t):
    """A script holds all connections for a moment, those too that Weir closes meanwhile: nobody is
    told of these any more."""
    w = start(t, [t.address() for _ in range(20)],
              {"type": "script", "command": ["/bin/true"], "timeout": "5s"})
    server = w.server_pid()
    for _ in range(60):
        clients = [w.client() for _ in range(20)]
        for c in clients:
            c.request("GET", "/", [("Connection", "close")])
        for c in clients:  # late bytes and ends, which a connection that is gone would be told of
            c.send(b"more")
            c.close()
    assert w.get("/").status in (502, 503) and w.server_pid() == server


def test_a_script_that_cannot_run_says_nothing(t):
    """No program: the endpoint keeps its state, until the mark is too old."""
    s, o = Script(t), t.origin("o0")
    s.be("bad")
    w = start(t, [o.address], {"type": "script", "command": [s.path], "expires": "1s",
                               "timeout": "1s" if t.variant == "plain" else "5s"})
    await_states(w, "down")
    os.rename(s.path, s.path + ".away")
    assert "No such file or directory" in event(w, "health.script")
    await_states(w, "up")
    assert "no check of it could be made for 1 s" in event(w, "endpoint.up")
    assert w.get("/").status == 200
    assert endpoints(w)[0]["health"]["unmade"] > 0
    os.rename(s.path + ".away", s.path)
    await_states(w, "down")


# ---- what the checks themselves are like ----


def test_slow_checks_are_warned_of(t):
    """A health path that takes as long as a database call: said once, with figures, and once more
    when it is over."""
    o = t.origin()
    pause = [0.3]
    o.on("/h", lambda conn, req: (threading.Event().wait(pause[0]), conn.reply(200)))
    w = start(t, [o.address], {"path": "/h", "slow": "100ms"})
    w.get("/")
    line = event(w, "health.slow")
    assert o.address in line and "more than 100 ms" in line and "database" in line, line
    assert endpoints(w)[0]["health"]["slow"] is True and states(w) == ["up"]
    name = 'weir_health_warnings_total{upstream="u",endpoint="%s",kind="slow"} 1' % o.address
    assert name in w.admin_get("/metrics").text
    if t.variant == "plain" and not t.sanitized:
        pause[0] = 0
        assert "no longer slow" in event(w, "health.settled")
        wire.await_true("it is settled", lambda: endpoints(w)[0]["health"]["slow"] is False)
    log = w.log()  # more than once only if it was slow, by chance, when it had settled
    assert log.count("health.slow") <= log.count("health.settled") + 1, log


def test_flapping_checks_are_warned_of(t):
    o = t.origin()
    lock, n, calm = threading.Lock(), [0], threading.Event()

    def answer(conn, req):
        with lock:
            n[0] += 1
            bad = n[0] % 2 and not calm.is_set()
        conn.reply(500 if bad else 200)
    o.on("/h", answer)
    w = start(t, [o.address], {"path": "/h"})
    line = event(w, "health.flapping")
    assert o.address in line and "changed" in line and "health.fall" in line, line
    assert endpoints(w)[0]["health"]["flapping"] is True
    name = 'weir_health_warnings_total{upstream="u",endpoint="%s",kind="flapping"} 1' % o.address
    assert name in w.admin_get("/metrics").text
    calm.set()
    assert "no longer flapping" in event(w, "health.settled")


def test_checks_go_on_over_reloads(t):
    """What two checks of four have found is not forgotten when something else changes: there are
    too few bad ones behind it, also if one of the five is lost by the reload."""
    o, other = t.origin("o0"), t.origin("o1")
    bad = [5]

    def answer(conn, req):
        bad[0] -= 1
        conn.reply(500 if bad[0] >= 0 else 200)
    o.on("/h", answer)
    w = start(t, [o.address, other.address], {"path": "/h", "interval": "500ms", "fall": 4})

    def against():
        health = endpoints(w)[0].get("health", {})
        return health.get("against_in_row", 0)
    wire.await_true("two checks failed", lambda: against() >= 2 or "endpoint.down" in w.log())
    w.reload(w.with_config(timeouts={"first_byte": "7s"}), lambda: "generation 2" in w.log())
    assert against() >= 2 or event(w, "endpoint.down")
    assert o.address in event(w, "endpoint.down") and states(w)[1] == "up"


def test_wrong_settings(t):
    for health, words in (({"type": "script"}, "wants command"),
                          ({"command": ["/bin/true"]}, "type script alone"),
                          ({"type": "script", "command": ["/bin/true"],
                            "environment": {"WEIR_HOST": "x"}}, "WEIR_"),
                          ({"type": "grpc"}, "protocol: h2"), ({"service": "x"}, "grpc alone"),
                          ({"statuses": ["299-200"]}, "200-299"), ({"statuses": [700]}, "200 to"),
                          ({"body": "("}, "pattern"), ({"body": "x", "method": "HEAD"}, "HEAD"),
                          ({"type": "ping"}, "script")):
        path = os.path.join(t.make_dir("conf"), "weir.yaml")
        with open(path, "w") as f:
            yaml.safe_dump({"listeners": [{"address": t.address()}],
                            "upstreams": {"u": {"endpoints": ["127.0.0.1:9"], "health": health}}},
                           f)
        code, out, err = t.run("check", path)
        assert code != 0 and words in out + err, (health, out, err)

# SPDX-License-Identifier: Apache-2.0
"""The proxies that are measured: how each is configured, started, reloaded."""

import os
import shutil
import signal

from harness import BENCH_DIR, BenchError, free_port


def fill(template, path, values):
    """Writes a configuration from a template of this directory; @name@ becomes values[name]."""
    with open(os.path.join(BENCH_DIR, template), encoding="utf-8") as stream:
        text = stream.read()
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    # Written aside and renamed, so that a reload never reads half a file.
    with open(path + ".new", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.replace(path + ".new", path)


class Subject:
    """One proxy. `kind` is how results name it; `wrapper` goes in front of its command line."""

    kind = ""

    logs = False
    tls = False  # the client side speaks TLS, HTTP/2 by ALPN; /fixed is answered by the proxy
    h2_origin = False  # the origin speaks HTTP/2 without TLS
    grpc = False  # the same, and the requests are gRPC
    balance = ""  # how origins are chosen, in the subject's own words; "": as it does by itself
    width = 1  # how many of the bench's origins it uses

    def __init__(self, bench, routes=1):
        self.bench = bench
        self.routes = routes
        self.generation = 0
        self.port = free_port()
        self.listen = f"127.0.0.1:{self.port}"
        self.admin = f"127.0.0.1:{free_port()}"
        self.dir = os.path.join(bench.dir, f"{self.kind.replace(' ', '-')}-{self.port}")
        self.origins = bench.origins[:self.width]
        self.program = None

    @staticmethod
    def missing(_bench):
        """Why this subject cannot be measured here, or None."""
        return None

    def argv(self, _single):
        raise NotImplementedError

    def configure(self):
        """Writes the configuration, a little different in each generation."""

    def start(self, wrapper=(), env=None, seconds=30.0):
        """Starts it; with a wrapper (valgrind, strace) as one process where it can be one."""
        os.makedirs(self.dir, exist_ok=True)
        os.chmod(self.dir, 0o777)
        self.configure()
        argv = list(wrapper) + self.argv(bool(wrapper))
        self.program = self.bench.start(argv, env=env)
        self.program.wait_port(self.port, seconds)
        return self

    def stop(self):
        if self.program is not None:
            self.bench.stop(self.program)
            self.program = None

    def reload(self):
        """Makes it read a changed configuration."""
        self.generation += 1
        self.configure()
        self.order_reload()

    def order_reload(self):
        os.kill(self.program.main_pid(), self.reload_signal)

    reload_signal = signal.SIGHUP

    def load(self, **options):
        return self.bench.load(self.port, **options)


class Relay(Subject):
    """The blind TCP relay: the floor."""

    kind = "relay"

    def argv(self, _single):
        return [self.bench.tool("relay"), "--listen", self.listen, "--to", self.origins[0]]


class RelayAgain(Relay):
    """The same once more: what differs from Relay is noise."""

    kind = "relay again"


class SpliceRelay(Relay):
    kind = "splice relay"

    def argv(self, single):
        return super().argv(single) + ["--splice"]


class TlsAccept(Subject):
    """OpenSSL and nothing else: the floor of TLS."""

    kind = "OpenSSL"
    tls = True

    def argv(self, _single):
        return [self.bench.tool("tls_accept"), "--listen", self.listen, "--cert",
                self.bench.certificate, "--key", self.bench.key]


class Nginx(Subject):
    kind = "nginx"

    @staticmethod
    def missing(_bench):
        return None if shutil.which("nginx", path=SEARCH) else "nginx is not installed"

    def configure(self):
        log = f"{self.dir}/access.log combined buffer=64k flush=1s" if self.logs else "off"
        edge = ""
        if self.tls:
            edge = (f"ssl_certificate {self.bench.certificate}; "
                    f"ssl_certificate_key {self.bench.key}; ssl_protocols TLSv1.2 TLSv1.3; "
                    'http2_max_concurrent_streams 128; location = /fixed { return 200 "ok\\n"; }')
        if self.generation:
            edge += f" location = /generation-{self.generation} {{ return 204; }}"
        if self.routes > 1:
            edge += "".join(f"\nlocation /r{number:06d}/ {{ proxy_pass http://origin; }}"
                            for number in range(self.routes))
        fill("nginx.conf", f"{self.dir}/nginx.conf",
             {"dir": self.dir, "listen": self.listen, "access_log": log, "edge": edge,
              "balance": f"{self.balance};" if self.balance else "",
              "servers": " ".join(f"server {origin};" for origin in self.origins),
              "listen_options": " ssl http2" if self.tls else "",
              "pass": "grpc_pass grpc://origin;" if self.grpc else "proxy_pass http://origin;"})

    def argv(self, single):
        directives = "daemon off;" + (" master_process off;" if single else "")
        return [shutil.which("nginx", path=SEARCH), "-p", self.dir, "-e", f"{self.dir}/error.log",
                "-c", f"{self.dir}/nginx.conf", "-g", directives]


class NginxLog(Nginx):
    kind = "nginx with log"
    logs = True


class NginxTls(Nginx):
    kind = "nginx with TLS"
    tls = True


class NginxGrpc(NginxTls):
    kind = "nginx with gRPC"
    grpc = True


class HAProxy(Subject):
    kind = "HAProxy"
    reload_signal = signal.SIGUSR2

    @staticmethod
    def missing(_bench):
        return None if shutil.which("haproxy", path=SEARCH) else "HAProxy is not installed"

    def configure(self):
        routes = ""
        if self.routes > 1:
            with open(f"{self.dir}/routes.map", "w", encoding="utf-8") as stream:
                for number in range(self.routes):
                    stream.write(f"/r{number:06d}/ origin\n")
            routes = f"use_backend %[path,map_beg({self.dir}/routes.map)]"
        if self.generation:
            routes = f"http-request return status 204 if {{ path /generation-{self.generation} }}" \
                     f"\n    {routes}"
        options = edge = ""
        if self.tls:
            options = f" ssl crt {self.bench.certificate} alpn h2,http/1.1"
            edge = "http-request return status 200 content-type text/plain string ok " \
                   "if { path /fixed }"
        fill("haproxy.conf", f"{self.dir}/haproxy.conf",
             {"dir": self.dir, "listen": self.listen, "routes": routes,
              "listen_options": options, "edge": edge,
              "balance": self.balance or "roundrobin",
              "servers": "\n    ".join(f"server s{i} {origin}" + " proto h2" * self.h2_origin
                                       for i, origin in enumerate(self.origins))})

    def argv(self, single):
        return [shutil.which("haproxy", path=SEARCH), "-db" if single else "-W", "-f",
                f"{self.dir}/haproxy.conf"]


class HAProxyTls(HAProxy):
    kind = "HAProxy with TLS"
    tls = True


class HAProxyH2(HAProxyTls):
    kind = "HAProxy with HTTP/2"
    h2_origin = True


class Weir(Subject):
    kind = "Weir"
    guarded = False
    socket = ""  # of the admin API, where there is one

    @staticmethod
    def missing(bench):
        return None if os.access(bench.weir, os.X_OK) else f"{bench.weir} does not exist"

    def configure(self):
        rows = []
        for number in range(self.routes if self.routes > 1 else 0):
            path = f"/r{number:06d}/" + ("*" if number % 2 else "x")
            rows.append(f"  - name: r{number:06d}\n    match: {{path: {path}}}\n    to: origin\n")
        if self.generation:
            rows.append(f"  - match: {{path: /generation-{self.generation}}}\n"
                        "    reply: {status: 204}\n")
        if self.routes == 1:
            rows.append("  - match: {path: /*}\n    to: origin\n")
        options = ""
        if self.tls:
            options = f"\n    tls: {{certificates: [{{cert: {self.bench.certificate}, " \
                      f"key: {self.bench.key}}}]}}"
            rows.append('  - match: /fixed\n    reply: {body: "ok\\n"}\n')
        admin = f"admin:\n  address: {self.admin}" if self.logs else ""
        if self.socket:
            self.socket = f"{self.dir}/admin.sock"
            admin = f"admin:\n  address: unix:{self.socket}"
        fill("weir.yaml", f"{self.dir}/weir.yaml",
             {"listen": self.listen, "endpoints": ", ".join(self.origins),
              "routes": "".join(rows),
              "admin": admin, "access_log": f"{self.dir}/access.log" if self.logs else "off",
              "listen_options": options,
              # As many connections are kept as nginx.conf keeps: the rows have up to 512 requests
              # in progress, and by default HAProxy keeps all of theirs.
              "upstream_options": "\n    pool: {max_idle: 1024}"
                                  + ("\n    protocol: h2" if self.h2_origin else "")
                                  + (f"\n    balance: {self.balance}" if self.balance else "")
                                  + ("\n    health: {path: /}\n    breaker: true"
                                     if self.guarded else "")})

    def argv(self, _single):
        return [self.bench.weir, "run", "--config", f"{self.dir}/weir.yaml"]


class WeirGuarded(Weir):
    """Three endpoints, with what is on by default, health checks and a circuit breaker."""

    kind = "Weir with guards"
    width = 3
    guarded = True


class WeirAdmin(Weir):
    """With the admin API on a socket."""

    kind = "Weir with admin"
    socket = "admin.sock"


class WeirLog(Weir):
    """With the access log written and the metrics served."""

    kind = "Weir with log"
    logs = True


class WeirTls(Weir):
    kind = "Weir with TLS"
    tls = True


class WeirH2(WeirTls):
    kind = "Weir with HTTP/2"
    h2_origin = True


def balancing(base, name, balance):
    """The subject, choosing among its origins in that way."""
    kind = f"{base.kind} with {name}"
    members = {"kind": kind, "balance": balance, "width": 3}
    return type(kind.title().replace(" ", ""), (base,), members)


BALANCING = [
    balancing(Nginx, "round robin", ""),
    balancing(Nginx, "least_conn", "least_conn"),
    *(balancing(HAProxy, name, name) for name in ("roundrobin", "leastconn", "random")),
    *(balancing(Weir, name, name) for name in ("round_robin", "least_active", "ewma", "random")),
    balancing(Weir, "hash", "{policy: hash, on: client_ip}"),
]
SEARCH = "/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", "")
KINDS = {c.kind: c for c in (Relay, RelayAgain, SpliceRelay, TlsAccept, Nginx, NginxLog, NginxTls,
                             NginxGrpc, HAProxy, HAProxyTls, HAProxyH2, Weir, WeirAdmin, WeirLog,
                             WeirTls, WeirH2, WeirGuarded, *BALANCING)}


def available(bench, kinds):
    """The kinds that can be measured here, in order."""
    for kind in kinds:
        if kind not in KINDS:
            raise BenchError(f"no such subject: {kind}; there are {', '.join(KINDS)}")
    return [kind for kind in kinds if KINDS[kind].missing(bench) is None]


def make(bench, kind, **options):
    return KINDS[kind](bench, **options)

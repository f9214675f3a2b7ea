# SPDX-License-Identifier: Apache-2.0
"""Weir as a process: its configuration, logs, figures and end."""

import json
import os
import re
import signal
import subprocess
import time

import yaml

from . import client, wire

REPORT = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|UndefinedBehavior|"
                    r"runtime error:|weir: panic at|broken invariant|DEADLYSIGNAL|dumped core")


def one_origin(address, **more):
    """Everything goes to one origin."""
    config = {
        "upstreams": {"origin": {"endpoints": [{"address": address}]}},
        "routes": [{"match": {"path": "/*"}, "to": "origin"}],
    }
    config.update(more)
    return config


def upstream(*addresses, **pool):
    """An upstream of these addresses; keywords are pool settings."""
    u = {"endpoints": [{"address": a} for a in addresses]}
    if pool:
        u["pool"] = pool
    return u


class Weir:
    """One running Weir. Listeners and the access log are added to config when missing."""

    def __init__(self, story, config, ready=True, env=None, listeners=1, admin=False,
                 pass_fds=()):
        self.story, self.pass_fds = story, pass_fds
        self.dir = story.make_dir("weir")
        self.config_path = os.path.join(self.dir, "weir.yaml")
        self.log_path = os.path.join(self.dir, "stderr")
        self.access_path = os.path.join(self.dir, "access.log")
        self.stopped = False
        self.expect_exit = 0
        if isinstance(config, dict):
            config = dict(config)
            config.setdefault("workers", 1)
            if "listeners" not in config:
                config["listeners"] = [{"address": story.address()} for _ in range(listeners)]
            config.setdefault("access_log", {"path": self.access_path})
            if admin:
                config.setdefault("admin", {"address": story.address()})
        self.config = config
        self.write(config)
        self.settings = {**os.environ, **story.weir_env, **(env or {})}
        self.launch()
        if ready:
            self.wait_ready()

    def launch(self):
        """The process; again, after one has ended."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [self.story.weir_path, "run", "--config", self.config_path],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.settings, cwd=self.dir,
                pass_fds=self.pass_fds)
        self.pid = self.process.pid

    # ---- configuration ----

    def write(self, config):
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        with open(self.config_path, "w") as f:
            f.write(text)

    def with_config(self, **changes):
        """The present configuration with other top-level keys."""
        return dict(self.config, **changes)

    def reload(self, config, probe=None, everywhere=False):
        """Writes config and sends SIGHUP; waits until probe() is true; everywhere: and until the
        admin address tells that all workers have what the one has that was probed."""
        before = self.generation() if everywhere else 0
        self.write(config)
        if isinstance(config, dict):
            self.config = config
        os.kill(self.pid, signal.SIGHUP)
        if probe:
            wire.await_true("effect of the reload", probe)
        if everywhere:
            wire.await_true("a new generation", lambda: self.generation() > before)

    def generation(self):
        return self.status()["configuration"]["generation"]

    @property
    def address(self):
        return self.config["listeners"][0]["address"]

    @property
    def admin(self):
        return self.config["admin"]["address"]

    def wait_ready(self):
        for entry in self.config["listeners"]:
            client.wait_listening(entry["address"], 30, lambda: self.process.poll() is None)
        if "admin" in self.config:
            client.wait_listening(self.admin, 30, lambda: self.process.poll() is None)

    # ---- asking ----

    def client(self, which=0, **more):
        return client.Client(self.config["listeners"][which]["address"], **more)

    def ask(self, method="GET", target="/", fields=(), body=None, **more):
        """One request on a connection of its own."""
        with self.client() as c:
            return c.ask(method, target, fields, body, **more)

    def get(self, target="/", fields=(), **more):
        return self.ask("GET", target, fields, **more)

    def admin_get(self, target):
        with client.Client(self.admin) as c:
            return c.get(target, host="localhost")

    def metrics(self):
        """{(name, frozenset of labels): value}"""
        from . import prometheus
        r = self.admin_get("/metrics")
        assert r.status == 200, r
        return prometheus.parse(r.text)

    def status(self):
        """What /status shows."""
        r = self.admin_get("/status")
        assert r.status == 200, r
        return json.loads(r.text)

    # ---- watching ----

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def access(self):
        """The access log's lines as they are complete; each must be JSON."""
        try:
            with open(self.access_path, errors="surrogateescape") as f:
                text = f.read()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in text.split("\n")[:-1]]

    def await_access(self, check, n=1):
        """Log lines for which check is true, when there are n."""
        lines = []

        def enough():
            lines[:] = [x for x in self.access() if check(x)]
            return len(lines) >= n
        wire.await_true("access log lines", enough)
        return lines

    def line_for(self, path):
        """The (last) access log line of a path."""
        return self.await_access(lambda x: x.get("path") == path)[-1]

    def children(self):
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as f:
            return [int(p) for p in f.read().split()]

    def server_pid(self):
        """The process that serves: the supervisor's child."""
        return wire.await_true("a server process", self.children)[0]

    def memory(self):
        """Resident bytes of the server process."""
        with open("/proc/%d/status" % self.server_pid()) as f:
            return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1)) * 1024

    def cpu(self):
        """Seconds of CPU that the server process has used."""
        with open("/proc/%d/stat" % self.server_pid()) as f:
            parts = f.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def fds(self):
        return len(os.listdir("/proc/%d/fd" % self.server_pid()))

    # ---- the end ----

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout=None):
        try:
            return self.process.wait(wire.patience(timeout) * 2)
        except subprocess.TimeoutExpired:
            raise wire.Deadline("Weir did not end after SIGTERM")

    def stop(self):
        """SIGTERM; the process must exit 0 and have reported nothing."""
        if self.stopped:
            return
        self.stopped = True
        began = time.monotonic()
        if self.process.poll() is None:
            self.terminate()
        try:
            code = self.wait(40)
        except wire.Deadline:
            self.process.kill()
            self.process.wait()
            raise
        report = REPORT.search(self.log())
        assert not report, "Weir's log reports: " + report.group(0)
        assert code == self.expect_exit, (
            "Weir exited %r after SIGTERM, %d wanted (after %.1f s)"
            % (code, self.expect_exit, time.monotonic() - began))

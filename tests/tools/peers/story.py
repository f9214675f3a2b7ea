# SPDX-License-Identifier: Apache-2.0
"""What a story gets: addresses, directories, origins and Weirs that are ended with it. One story
is one process; its functions test_* run in the order in which they stand in the file."""

import os
import shutil
import subprocess
import tempfile
import threading
import time
import traceback

from . import client, origin, weir, wire

SLOW = 4  # how much longer a wait may take in slow builds and variants


class Skip(Exception):
    """This test cannot run here; says why."""


def is_sanitized(path):
    with open(path, "rb") as f:
        text = f.read()
    return b"__asan_init" in text or b"__tsan_init" in text


class Story:
    """The tests of one file."""

    def __init__(self, weir_path, variant="plain", mem_fail=0):
        self.weir_path = weir_path
        self.variant = variant
        self.sanitized = is_sanitized(weir_path)
        self.weir_env = {
            "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:allocator_may_return_null=1",
            "UBSAN_OPTIONS": "print_stacktrace=1",
            "TSAN_OPTIONS": "halt_on_error=0:second_deadlock_stack=1",
        }
        if variant == "onebyte":
            self.weir_env["WEIR_IO_MAX"] = "1"
        if variant == "doors":
            self.weir_env["WEIR_MEM_FAIL"] = str(mem_fail)
            wire.Refusals.expected = True
        if self.sanitized or variant != "plain":
            wire.PATIENCE = 10.0 * SLOW
        self.dir = tempfile.mkdtemp(prefix="weir-story-")
        self.weirs, self.origins, self.processes = [], [], []
        self.broken = []  # threads that an exception ended
        threading.excepthook = self.thread_broke
        self.ports = 0
        self.dirs = 0
        pid = os.getpid()
        # A loopback address of our own: listening sockets of parallel stories never meet.
        self.host = "127.%d.%d.%d" % (64 + (pid >> 16) % 128, pid >> 8 & 255, pid & 255)

    # ---- things to use ----

    def address(self):
        """An address that nobody listens on."""
        self.ports += 1
        return "%s:%d" % (self.host, 20000 + self.ports)

    def unix(self):
        """The path of a unix socket that does not exist yet, as an address."""
        self.ports += 1
        return "unix:%s/socket%d" % (self.dir, self.ports)

    def make_dir(self, name):
        self.dirs += 1
        path = os.path.join(self.dir, "%s%d" % (name, self.dirs))
        os.mkdir(path)
        return path

    def origin(self, name="origin", address=None, **more):
        o = origin.Origin(address or self.address(), name, **more)
        self.origins.append(o)
        return o

    def start(self, config, **more):
        w = weir.Weir(self, config, **more)
        self.weirs.append(w)
        return w

    def simple(self, o=None, **more):
        """A Weir that sends everything to o; keywords are top-level configuration."""
        return self.start(weir.one_origin((o or self.o).address, **more))

    def run(self, *args, timeout=None, env=None, cwd=None):
        """One of Weir's commands to its end: (exit code, stdout, stderr)."""
        done = subprocess.run([self.weir_path, *args], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=wire.patience(timeout),
                              env={**os.environ, **(env or {})}, cwd=cwd or self.dir)
        return done.returncode, done.stdout, done.stderr

    def spawn(self, argv, **more):
        """Another program, ended with the story."""
        more.setdefault("stdin", subprocess.DEVNULL)
        p = subprocess.Popen(argv, **more)
        self.processes.append(p)
        return p

    def needs(self, program):
        """The path of a program; skips the test when it is not installed."""
        path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
        if not path:
            raise Skip("%s is not installed" % program)
        return path

    def bulk(self, n, least=2048):
        """A size for big bodies: n, less where each byte is a system call."""
        return min(n, 8192) if self.variant == "onebyte" else n

    def not_in(self, variant, reason):
        if self.variant == variant:
            raise Skip(reason)

    # ---- the end ----

    def thread_broke(self, what):
        """An origin's handler or a client: its test may see a hang, or nothing at all."""
        if issubclass(what.exc_type, OSError):  # a test may close what its thread still uses
            return
        if self.variant != "doors":  # where what is refused breaks those who ask
            self.broken.append("%s broke:\n%s" % (what.thread.name, "".join(
                traceback.format_exception(what.exc_type, what.exc_value, what.exc_traceback, -6))))

    def finish(self):
        """Ends everything; returns what was wrong."""
        wrong, self.broken = self.broken, []
        for w in self.weirs:
            try:
                w.stop()
            except (AssertionError, wire.Deadline) as e:
                wrong.append(str(e))
        for p in self.processes:
            if p.poll() is None:
                p.terminate()
                try:
                    p.wait(5)
                except subprocess.TimeoutExpired:
                    p.kill()
                    p.wait()
        for o in self.origins:
            o.close()
            wrong.extend(o.violations)
        return wrong

    def evidence(self):
        """Logs and configurations, for a failure."""
        out = []
        for w in self.weirs:
            for path in (w.config_path, w.log_path, w.access_path):
                if os.path.exists(path):
                    with open(path, errors="replace") as f:
                        text = f.read()
                    out.append("---- %s\n%s" % (os.path.basename(path), text[-6000:]))
        return "\n".join(out)


def excused(story, before, error):
    """Whether a failing door explains a failed test: something was refused, nothing was wrong. A
    line of the access log that says so may still be on its way."""
    if story.variant != "doors" or isinstance(error, (wire.Deadline, wire.WrongBytes)):
        return False
    if isinstance(error, wire.Unseen):
        return True
    try:
        return wire.await_true("a refusal", lambda: refusals(story) > before)
    except wire.Unseen:
        return False


def refusals(story):
    """What was refused so far: as clients saw it, and as the access logs tell."""
    lines = 0
    for w in story.weirs:
        if story.variant == "doors" and os.path.exists(w.access_path):
            with open(w.access_path, errors="replace") as f:
                lines += f.read().count('"reason":"memory_')
    return wire.Refusals.count + lines


def run_test(story, function):
    """("ok" | "skip" | "failed", text)"""
    before = refusals(story)
    try:
        function(story)
    except Skip as e:
        return "skip", str(e)
    except Exception as e:
        if excused(story, before, e):
            return "ok", "refused by a door"
        return "failed", traceback.format_exc(limit=-6)
    return "ok", ""


def run_story(story, module, say, only=None):
    """Runs the tests of module; say(name, result, text, seconds) is told of each."""
    bad = False
    tests = [(n, f) for n, f in vars(module).items() if n.startswith("test_") and callable(f)
             and (only is None or only in n)]
    try:
        if hasattr(module, "begin"):
            result, text = run_test(story, module.begin)
            if result != "ok":
                bad = True
                say("begin", result, text, 0.0)
                tests = []
        for name, function in tests:
            began = time.monotonic()
            result, text = run_test(story, function)
            bad = bad or result == "failed"
            say(name, result, text, time.monotonic() - began)
        began = time.monotonic()
        wrong = story.finish()
        if wrong:
            bad = True
        say("end", "failed" if wrong else "ok", "\n".join(wrong[:20]),
            time.monotonic() - began)
    finally:
        evidence = story.evidence() if bad else ""
        shutil.rmtree(story.dir, ignore_errors=True)
    return evidence


__all__ = ["Story", "Skip", "run_story", "client"]

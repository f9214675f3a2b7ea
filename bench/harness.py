# SPDX-License-Identifier: Apache-2.0
"""Programs under measurement: started, pinned, read from /proc, stopped by pid."""

import contextlib
import ctypes
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

BENCH_DIR = os.path.dirname(os.path.abspath(__file__))
ROOT_DIR = os.path.dirname(BENCH_DIR)
PR_SET_PDEATHSIG = 1
F_GETPIPE_SZ = 1032
GRPC_MESSAGE = b"\0\0\0\0\x40" + b"x" * 64  # one message of 64 bytes, not compressed
LIBC = ctypes.CDLL(None, use_errno=True)


class BenchError(Exception):
    """Something that the bench needs did not work; the text says what."""


def cores():
    """(core for the proxy, core for load and origin); the same one when there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[1], allowed[0]) if len(allowed) > 1 else (allowed[0], allowed[0])


def free_port():
    """A port of 127.0.0.1 below the ephemeral range that nobody listens on now."""
    for port in PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise BenchError("no free port")


# Each run starts elsewhere and gives no port twice.
PORTS = iter(range(20000 + os.getpid() % 100 * 100, 32000))


def read_text(path):
    """The text of a file of /proc, empty when its process is gone."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


def process_tree(pid):
    """The pid and all its descendants."""
    found = [pid]
    for one in found:
        for task in list_dir(f"/proc/{one}/task"):
            found += [int(c) for c in read_text(f"/proc/{one}/task/{task}/children").split()]
    return found


def start_time(pid):
    """When the process started, in ticks since boot; tells a pid from its later re-use."""
    words = read_text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return words[19] if len(words) > 19 and words[0] != "Z" else None


def alive(tree):
    """The pids of (pid, start time) pairs that still are the same process."""
    return [pid for pid, started in tree if started and start_time(pid) == started]


def list_dir(path):
    try:
        return os.listdir(path)
    except OSError:
        return []


def cpu_ns(pid):
    """CPU time, user and kernel, of all threads of the process tree, in ns."""
    total = 0
    for one in process_tree(pid):
        for task in list_dir(f"/proc/{one}/task"):
            words = read_text(f"/proc/{one}/task/{task}/schedstat").split()
            total += int(words[0]) if words else 0
    return total


def pipe_bytes(pid, seen):
    """The capacity of the pipes that a process holds and that `seen` has not counted yet."""
    total = 0
    for fd in list_dir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        try:
            name = os.readlink(path)
            if not name.startswith("pipe:") or name in seen:
                continue
            seen.add(name)
            own = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            total += fcntl.fcntl(own, F_GETPIPE_SZ)
            os.close(own)
        except OSError:
            continue
    return total


def memory_bytes(pid):
    """Proportional set size of the tree, plus the pipes that it asked the kernel for."""
    total, seen = 0, set()
    for one in process_tree(pid):
        for line in read_text(f"/proc/{one}/smaps_rollup").splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
        total += pipe_bytes(one, seen)
    return total


class Program:
    """One started program. Ends with stop(), and with its parent in any case."""

    def __init__(self, argv, core, log, **options):
        def prepare():
            os.sched_setaffinity(0, {core})
            LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

        self.argv = argv
        self.log = log
        with open(log, "ab") as output:
            options.setdefault("stdout", output)
            self.popen = subprocess.Popen(argv, stderr=output, preexec_fn=prepare,
                                          start_new_session=True, **options)
        self.pid = self.popen.pid

    def wait_port(self, port, seconds=10.0):
        """Returns when something listens on the port; an error when the program ends first."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.popen.poll() is not None:
                break
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.02)
        self.stop()
        said = read_text(self.log)[-2000:]
        raise BenchError(f"{self.argv[0]} does not listen on {port}:\n{said}")

    def main_pid(self):
        """The measured program's pid: the child where argv[0] is strace."""
        if os.path.basename(self.argv[0]) == "strace":
            children = process_tree(self.pid)[1:]
            return children[0] if children else self.pid
        return self.pid

    def stop(self, seconds=10.0):
        """SIGTERM to the program, SIGKILL to what is left of its tree after some seconds."""
        tree = [(pid, start_time(pid)) for pid in process_tree(self.pid)]
        if self.popen.poll() is None:
            os.kill(self.main_pid(), signal.SIGTERM)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        deadline = time.monotonic() + 3
        while alive(tree) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in alive(tree):
            os.kill(pid, signal.SIGKILL)


class Bench:
    """A run of the bench: directories, cores, the origin, everything that was started."""

    def __init__(self, weir):
        self.weir = os.path.abspath(weir)
        self.build = os.path.dirname(self.weir)
        self.proxy_core, self.load_core = cores()
        self.dir = tempfile.mkdtemp(prefix="weir-bench-")
        os.chmod(self.dir, 0o777)
        self.programs = []
        self.started = 0
        self.compile()
        self.certificate = os.path.join(self.dir, "bench.pem")
        self.key = self.certificate + ".key"
        self.make_certificate()
        os.sched_setaffinity(0, {self.load_core})
        self.origins = []
        self.start_origin()

    def start_origin(self, *options, addresses=1):
        """Starts an origin for the subjects that start after it."""
        ports = [free_port() for _ in range(addresses)]
        self.origins = [f"127.0.0.1:{port}" for port in ports]
        listen = ",".join(self.origins)
        program = self.start([self.tool("origin"), "--listen", listen, *options], self.load_core)
        program.wait_port(ports[-1])
        return program

    @contextlib.contextmanager
    def several_origins(self, *options, addresses=1):
        """One origin for each list of options, for the subjects that start meanwhile."""
        before, found, programs = self.origins, [], []
        for each in options:
            programs.append(self.start_origin(*each, addresses=addresses))
            found += self.origins
        self.origins = found
        yield
        for program in programs:
            self.stop(program)
        self.origins = before

    def spinning_origin(self, addresses=1):
        """An origin that never sleeps: on a virtual machine waking another core costs more than
        a request does, and that is not the proxy's doing."""
        return self.several_origins(["--spin"], addresses=addresses)

    @contextlib.contextmanager
    def h2_origin(self):
        """An origin of HTTP/2 without TLS: /1k, and /unary.grpc with a status behind it."""
        before, port = self.origins, free_port()
        files = os.path.join(self.dir, "files")
        os.makedirs(files, exist_ok=True)
        for name, content in (("1k", b"x" * 1024), ("unary.grpc", GRPC_MESSAGE),
                              ("mime.types", b"application/grpc grpc\n")):
            with open(os.path.join(files, name), "wb") as stream:
                stream.write(content)
        program = self.start(["nghttpd", "--no-tls", "-d", files, "-m", "1000", "--trailer",
                              "grpc-status: 0", "--mime-types-file",
                              os.path.join(files, "mime.types"), str(port)], self.load_core)
        program.wait_port(port)
        self.origins = [f"127.0.0.1:{port}"]
        yield
        self.stop(program)
        self.origins = before

    def compile(self, *what):
        """Builds the bench's own programs beside Weir; quiet unless it fails."""
        done = subprocess.run(["make", "-s", "-C", BENCH_DIR, f"BUILD={self.build}", *what],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False)
        if done.returncode != 0:
            raise BenchError(f"cannot build the bench's programs:\n{done.stdout}")

    def make_certificate(self):
        """An ECDSA P-256 certificate for bench.example, its key beside it where HAProxy looks."""
        argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.key, "-out",
                self.certificate, "-days", "2", "-subj", "/CN=bench.example",
                "-addext", "subjectAltName=DNS:bench.example"]
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                  text=True, check=False)
        except OSError as error:
            raise BenchError(f"cannot run openssl: {error}") from error
        if done.returncode != 0:
            raise BenchError(f"openssl made no certificate:\n{done.stdout}")
        os.chmod(self.key, 0o644)  # of no worth; proxies drop their privileges

    def tool(self, name):
        return os.path.join(self.build, "bench", name)

    def start(self, argv, core=None, **options):
        """Starts a program, on the proxy's core unless told otherwise, and remembers it."""
        self.started += 1
        log = os.path.join(self.dir, f"{self.started}.log")
        program = Program(argv, self.proxy_core if core is None else core, log, **options)
        self.programs.append(program)
        return program

    def load(self, port, **options):
        """Runs the load generator to its end: load(port, seconds=2, new_connection=True)."""
        program = self.load_start(port, **options)
        return self.load_result(program)

    def h2load(self, port, seconds, arguments, path):
        """Runs h2load over TLS for so long; the same figures as load()."""
        argv = ["h2load", "-D", f"{seconds * 1000:.0f}ms",
                *(a.replace("@dir@", self.dir) for a in arguments),
                f"https://127.0.0.1:{port}{path}"]
        program = self.start(argv, self.load_core, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE)
        text = program.popen.stdout.read().decode()
        program.popen.stdout.close()
        program.popen.wait()
        self.programs.remove(program)
        counted = re.search(r"requests: .* (\d+) done, (\d+) succeeded, (\d+) failed", text)
        if not counted:
            raise BenchError(f"h2load says nothing of its requests:\n{text[-1000:]}")
        done, good, failed = (int(n) for n in counted.groups())
        return {"done": good, "requests": done, "errors": failed, "failed": text[-800:],
                "seconds": seconds}

    def load_start(self, port, tool="load", **options):
        argv = [self.tool(tool), "--to", f"127.0.0.1:{port}"]
        for name, value in options.items():
            name = "--" + name.replace("_", "-")
            if value is True:
                argv.append(name)
            elif value is not None and value is not False:
                argv += [name, str(value)]
        return self.start(argv, self.load_core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def load_result(self, program):
        """The line of JSON that a load prints; the load goes on where it holds connections."""
        line = program.popen.stdout.readline()
        if not line:
            program.popen.wait()
            raise BenchError(f"the load ended early: {read_text(program.log)}")
        result = json.loads(line)
        if "--hold" not in program.argv:
            program.popen.stdin.close()
            program.popen.stdout.close()
            program.popen.wait()
            self.programs.remove(program)
        return result

    def release(self, program):
        """Ends a load that holds its connections."""
        program.popen.stdin.close()
        program.popen.stdout.close()
        program.popen.wait()
        self.programs.remove(program)

    def stop(self, program):
        program.stop()
        self.programs.remove(program)

    def close(self):
        """Stops everything that still runs and removes the directory."""
        for program in reversed(self.programs):
            program.stop()
        self.programs = []
        shutil.rmtree(self.dir, ignore_errors=True)

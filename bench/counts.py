# SPDX-License-Identifier: Apache-2.0
"""What repeats exactly: instructions, system calls and heap allocations a request.

Instructions and system calls are the difference between a run of n and a run of 2 n requests at
concurrency one, so that the start and the end of the program cancel out.
"""

import glob
import json
import mmap
import os
import struct
import subprocess

from harness import BENCH_DIR, BenchError
from subjects import make

POLICIES = ("round_robin", "least_active", "ewma", "random", "hash")
PICK_SIZES = (3, 100, 10000)  # endpoints
PICK_GROWTH = 1.5  # what the most of them may cost, in terms of the fewest
GUARDS_SHARE = 1.03  # what a request may cost with health checks and a breaker, beside without


def budgets():
    """The rows of budgets.json: a kind of request, and what it may cost Weir."""
    with open(os.path.join(BENCH_DIR, "budgets.json"), encoding="utf-8") as stream:
        return json.load(stream)


def stepped(run, n):
    """What n more requests cost, by counter name: run(n) and run(2 n) answer {name: count}."""
    one, two = run(n), run(2 * n)
    return {name: (two.get(name, 0) - one.get(name, 0)) / n for name in sorted({*one, *two})}


def checked(result):
    if result["errors"] or result["done"] != result["requests"]:
        raise BenchError(f"requests failed under measurement: {result}")
    return result


def callgrind_total(path):
    """All that was counted in a file of callgrind's."""
    with open(path, encoding="utf-8") as stream:
        return sum(int(line.split()[1]) for line in stream if line.startswith("totals:"))


def thread_instructions(bench, kind, n=1000, **load):
    """Userland instructions a request by number of the thread, by callgrind."""

    def run(count):
        subject = make(bench, kind)
        out = os.path.join(subject.dir, "callgrind")
        subject.start(("valgrind", "-q", "--tool=callgrind", "--trace-children=yes", "--vgdb=no",
                       "--separate-threads=yes", f"--callgrind-out-file={out}.%p"), seconds=60)
        checked(subject.load(connections=1, requests=count, **load))
        subject.stop()
        totals = {}
        for path in glob.glob(out + ".*-*"):
            thread = path.rpartition("-")[2]
            totals[thread] = totals.get(thread, 0) + callgrind_total(path)
        if not any(totals.values()):
            raise BenchError(f"callgrind wrote no totals for {kind}")
        return totals

    return stepped(run, n)


def instructions(bench, kind, n=1000, **load):
    """Userland instructions a request, all threads together.

    A first one that does not serve works by the clock: it does the more, the slower the machine
    is, and nothing for a request.
    """
    threads = thread_instructions(bench, kind, n, **load)
    serves = max(threads, key=threads.get)
    return sum(threads[thread] for thread in threads if thread != "01" or serves == "01")


def guards(bench, n=1000):
    """What guards cost: (with beside without, instructions without, with) of the worker.

    The worker's alone: health checks are the main thread's, and come by the clock.
    """
    with bench.several_origins([], addresses=3):
        plain, guarded = (max(thread_instructions(bench, kind, n, head="host").values())
                          for kind in ("Weir", "Weir with guards"))
    return guarded / plain, plain, guarded


def picks(bench, policy, endpoints, n=20000):
    """Instructions of one choice among so many endpoints, by callgrind."""
    out = os.path.join(bench.dir, "picks")
    argv = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out}",
            "--toggle-collect=run_picks", bench.tool("balance_pick"), policy, str(endpoints),
            str(n)]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        raise BenchError(f"cannot count picks of {policy}:\n{done.stdout[-1000:]}")
    return callgrind_total(out) / n


def parse_strace(text):
    """{system call: count} from the table of strace -c."""
    counts = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
            counts[words[-1]] = counts.get(words[-1], 0) + int(words[3])
    return counts


def system_calls(bench, kind, n=5000, **load):
    """System calls a request by name, as {name: calls}."""

    def run(count):
        subject = make(bench, kind)
        out = os.path.join(bench.dir, f"strace-{subject.port}")
        subject.start(("strace", "-f", "-c", "-o", out))
        checked(subject.load(connections=1, requests=count, **load))
        subject.stop()
        with open(out, encoding="utf-8") as stream:
            counts = parse_strace(stream.read())
        if not counts:
            raise BenchError(f"strace counted nothing for {kind}")
        return counts

    return {name: calls for name, calls in stepped(run, n).items() if abs(calls) >= 0.005}


def allocations(bench, kind, n=5000, **load):
    """Heap allocations during n requests, after as many to warm up."""
    path = os.path.join(bench.dir, "malloc-count")
    with open(path, "wb") as stream:
        stream.write(b"\0" * mmap.PAGESIZE)
    os.chmod(path, 0o666)
    env = {**os.environ, "LD_PRELOAD": bench.tool("malloc_count.so"), "MALLOC_COUNT_FILE": path}
    subject = make(bench, kind).start(env=env)
    marks = []
    for _ in range(2):
        checked(subject.load(connections=4, requests=n, **load))
        with open(path, "rb") as stream:
            marks.append(struct.unpack("Q", stream.read(8))[0])
    subject.stop()
    if marks[0] == 0:
        raise BenchError(f"{kind} made no allocation at all: the counter was not loaded")
    return marks[1] - marks[0]

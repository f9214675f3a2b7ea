# SPDX-License-Identifier: Apache-2.0
"""The rows of the bench's table: what is measured, beside whom, against which target."""

import statistics
import time

import counts
from changes import ChangesRow
from harness import BenchError, cpu_ns, memory_bytes
from subjects import BALANCING, available, make

PEERS = ["relay", "nginx", "HAProxy", "Weir"]
SLICE_SECONDS = 0.4  # the subjects of a round take turns of about this length


class Line:
    """One line of the table. `cells` maps a column (one of PEERS) to its text."""

    def __init__(self, title, cells, target="", verdict=""):
        self.title = title
        self.cells = cells
        self.target = target
        self.verdict = verdict


class Settings:
    """How long to measure: rounds, seconds a run, and the sizes of the counted runs."""

    def __init__(self, rounds, seconds, quick, kinds):
        self.rounds = rounds
        self.seconds = seconds
        self.quick = quick
        self.kinds = kinds

    def pick(self, bench, wanted):
        """The subjects of a row that are there and were not excluded."""
        kinds = [k for k in wanted if self.kinds is None or k.split(" with ")[0] in self.kinds
                 or k.startswith("relay") and "relay" in self.kinds]
        return available(bench, kinds)


def column_of(kind):
    """Where a subject's figures stand; floors share the first column."""
    return next((c for c in PEERS if c in kind), PEERS[0])


def verdict_of(measured, limit):
    return "reached" if measured <= limit else "not reached"


# ---- CPU a request ---------------------------------------------------------------------------

class CpuRow:
    """CPU a request beside peers: interleaved rounds, fixed rate and saturated."""

    def __init__(self, title, kinds, limits, origins=1, **load):
        self.title = title
        self.kinds = kinds
        self.limits = limits  # [(baseline kind, factor)] for the row's last Weir
        self.origins = origins
        self.load = {"connections": 32, "spin": True, **load}

    def one_run(self, subject, seconds, rate):
        """(CPU in us, requests, seconds) of one run."""
        before = cpu_ns(subject.program.pid)
        result = subject.load(seconds=seconds, rate=rate, **self.load)
        spent = cpu_ns(subject.program.pid) - before
        if result["errors"] or not result["done"]:
            raise BenchError(f"{subject.kind}: requests failed: {result['failed']}")
        return spent / 1000.0, result["done"], result["seconds"]

    def one_round(self, subjects, seconds, rate):
        """[(us a request, requests a second)] of the subjects, which take turns in short slices.

        Each slice starts with another subject, so that none always follows the same one.
        """
        sums = [(0.0, 0, 0.0)] * len(subjects)
        slices = max(1, round(seconds / SLICE_SECONDS))
        for turn in range(slices):
            for i in range(len(subjects)):
                at = (turn + i) % len(subjects)
                run = self.one_run(subjects[at], seconds / slices, rate)
                sums[at] = tuple(a + b for a, b in zip(sums[at], run))
        return [(us / done, done / took) for us, done, took in sums]

    def fixed_rate(self, subjects, seconds):
        """70 % of the slowest subject's maximum; warms all of them up on the way."""
        for subject in subjects:
            self.one_run(subject, SLICE_SECONDS, None)
        slowest = min(rate for _, rate in self.one_round(subjects, seconds, None))
        return max(1, int(slowest * 0.7))

    def measure(self, bench, settings):
        """{mode: {kind: [(us, rate) a round]}} and the fixed rate."""
        subjects = [make(bench, kind).start() for kind in settings.pick(bench, self.kinds)]
        samples = {mode: {s.kind: [] for s in subjects} for mode in ("fixed", "saturated")}
        wanted = self.fixed_rate(subjects, settings.seconds)
        for _ in range(settings.rounds):
            for mode, rate in (("fixed", wanted), ("saturated", None)):
                for subject, run in zip(subjects,
                                        self.one_round(subjects, settings.seconds, rate)):
                    samples[mode][subject.kind].append(run)
        for subject in subjects:
            subject.stop()
        return samples, wanted

    def ratios(self, samples, kind, baseline):
        """The rounds' ratios of CPU a request."""
        return [a[0] / b[0] for a, b in zip(samples[kind], samples[baseline])]

    def cell(self, runs, kind, column):
        us = statistics.median(r[0] for r in runs)
        rate = statistics.median(r[1] for r in runs)
        text = f"{us:.1f} us" if us < 100 else f"{us:.0f} us"
        note = kind[len(column):].strip() if kind.startswith(column) else kind
        return text + (f" ({note})" if note else ""), rate

    def line(self, mode, samples, title):
        cells = {}
        for kind, runs in samples.items():
            column = column_of(kind)
            if kind != "relay again":
                text, rate = self.cell(runs, kind, column)
                text += f", {rate / 1000:.1f} k/s" if mode == "saturated" else ""
                cells[column] = f"{cells[column]}; {text}" if column in cells else text
        target = ", ".join(f"<= {factor:.2f} x {base}" for base, factor in self.limits)
        return Line(title, cells, target, self.verdict(samples))

    def verdict(self, samples):
        weir = next((k for k in reversed(samples) if k.startswith("Weir")), None)
        texts, good = [], True
        for base, factor in self.limits:
            if weir and base in samples:
                ratio = statistics.median(self.ratios(samples, weir, base))
                good = good and ratio <= factor
                texts.append(f"{ratio:.2f} x {base}")
        if not texts:
            return "not measured"
        return ", ".join(texts) + (": reached" if good else ": not reached")

    def control(self, samples, title):
        """The A/A line: the relay against itself."""
        ratios = sorted(self.ratios(samples, "relay again", "relay"))
        text = f"{statistics.median(ratios):.2f} x relay ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        return Line(f"{title}, A/A control: the relay beside itself", {"relay": text})

    def run(self, bench, settings):
        with bench.spinning_origin(self.origins):
            samples, rate = self.measure(bench, settings)
        lines = [self.line("fixed", samples["fixed"], f"CPU, {self.title}, at {rate:,}/s"),
                 self.line("saturated", samples["saturated"], f"CPU, {self.title}, saturated")]
        if "relay again" in samples["fixed"] and "relay" in samples["fixed"]:
            lines += [self.control(samples[mode], f"CPU, {self.title}, {mode}")
                      for mode in ("fixed", "saturated")]
        return lines


class EdgeRow(CpuRow):
    """CPU a request or handshake where the client speaks TLS; saturated only, by other loads.

    h2load takes more of its core than the proxies of theirs, so a fixed rate says nothing more.
    """

    def __init__(self, title, kinds, limits, h2_origin=False, **load):
        super().__init__(title, kinds, limits)
        self.load = load
        self.h2_origin = h2_origin

    def one_run(self, subject, seconds, _rate):
        before = cpu_ns(subject.program.pid)
        if "arguments" in self.load:
            result = subject.bench.h2load(subject.port, seconds, **self.load)
        else:
            result = subject.load(seconds=seconds, **self.load)
        spent = cpu_ns(subject.program.pid) - before
        if result["errors"] or not result["done"]:
            raise BenchError(f"{subject.kind}: requests failed: {result['failed']}")
        return spent / 1000.0, result["done"], result["seconds"]

    def run(self, bench, settings):
        samples = {}
        with bench.h2_origin() if self.h2_origin else bench.spinning_origin():
            subjects = [make(bench, kind).start() for kind in settings.pick(bench, self.kinds)]
            for subject in subjects:
                self.one_run(subject, SLICE_SECONDS, None)
                samples[subject.kind] = []
            for _ in range(settings.rounds):
                for subject, run in zip(subjects,
                                        self.one_round(subjects, settings.seconds, None)):
                    samples[subject.kind].append(run)
            for subject in subjects:
                subject.stop()
        return [self.line("saturated", samples, f"CPU, {self.title}")]


class RoutesRow(CpuRow):
    """What a route table of 1, 1,000 and 100,000 exact and prefix routes costs a request."""

    SIZES = (1, 1000, 100000)
    LIMIT = 1.05

    def __init__(self):
        super().__init__("routes", [], [], path="/r%06u/x")

    def one_run(self, subject, seconds, rate):
        self.load["numbers"] = 1000 if subject.routes == 1000 else max(self.SIZES)
        return super().one_run(subject, seconds, rate)

    def measure_kind(self, bench, settings, kind):
        """{routes: [us a round]}, interleaved, at one rate for all."""
        subjects = [make(bench, kind, routes=size).start(seconds=120) for size in self.SIZES]
        rate = self.fixed_rate(subjects, settings.seconds)
        samples = {size: [] for size in self.SIZES}
        for _ in range(settings.rounds):
            for subject, run in zip(subjects, self.one_round(subjects, settings.seconds, rate)):
                samples[subject.routes].append(run[0])
        for subject in subjects:
            subject.stop()
        return samples

    def run(self, bench, settings):
        lines = {size: Line(f"CPU, route table of {size:,}", {}) for size in self.SIZES}
        for kind in settings.pick(bench, ["HAProxy", "Weir"]):
            with bench.spinning_origin():
                samples = self.measure_kind(bench, settings, kind)
            for size in self.SIZES:
                lines[size].cells[kind] = f"{statistics.median(samples[size]):.1f} us"
                if kind == "Weir" and size > 1:
                    pairs = zip(samples[size], samples[1])
                    ratio = statistics.median(a / b for a, b in pairs)
                    lines[size].verdict = f"{ratio:.2f} x 1 route: {verdict_of(ratio, self.LIMIT)}"
        last = lines[max(self.SIZES)]
        last.verdict = last.verdict or "not measured"
        last.target = f"<= {self.LIMIT:.2f} x 1 route"
        return list(lines.values())


# ---- what repeats exactly --------------------------------------------------------------------

class CountRow:
    """Userland instructions and system calls a request at concurrency one, for one budget."""

    def __init__(self, budget):
        self.budget = budget
        logs = budget["subject"] == "Weir with log"
        self.kinds = ["nginx with log", "Weir with log"] if logs else PEERS

    def run(self, bench, settings):
        lines = []
        goals = {"instructions": self.budget["target"], "system calls": self.budget["system calls"]}
        for what, limit in goals.items():
            line = Line(f"{what.capitalize()}, {self.budget['name']}", {}, f"<= {limit:,}",
                        "not measured")
            for kind in settings.pick(bench, self.kinds):
                column = column_of(kind)
                line.cells[column], count = self.count(bench, kind, what, settings.quick)
                if column == "Weir":
                    line.verdict = verdict_of(round(count, 1), limit)
            lines.append(line)
        return lines

    def count(self, bench, kind, what, quick):
        """(the cell's text, the count)."""
        if what == "instructions":
            count = counts.instructions(bench, kind, 500 if quick else 2000, **self.budget["load"])
            return f"{count:,.0f}", count
        by_name = counts.system_calls(bench, kind, 1000 if quick else 5000, **self.budget["load"])
        return f"{sum(by_name.values()):.1f}", sum(by_name.values())


# ---- memory ----------------------------------------------------------------------------------

def settled_memory(pid, seconds=5.0):
    """The memory of a tree once two readings a quarter of a second apart are equal."""
    deadline = time.monotonic() + seconds
    last, now = None, memory_bytes(pid)
    while now != last and time.monotonic() < deadline:
        time.sleep(0.25)
        last, now = now, memory_bytes(pid)
    return now


class IdleRow:
    """Bytes that an idle connection costs, after one request on each of 8,000."""

    CONNECTIONS = 8000
    LIMIT = 256

    def one(self, bench, kind):
        subject = make(bench, kind).start()
        subject.load(connections=32, requests=5000)
        before = settled_memory(subject.program.pid)
        holder = bench.load_start(subject.port, connections=self.CONNECTIONS, in_flight=16,
                                  requests=self.CONNECTIONS, hold=True)
        result = bench.load_result(holder)
        if result["errors"]:
            raise BenchError(f"{kind}: connections failed: {result['failed']}")
        after = settled_memory(subject.program.pid)
        bench.release(holder)
        subject.stop()
        return (after - before) / self.CONNECTIONS

    def run(self, bench, settings):
        line = Line(f"Memory of an idle connection, {self.CONNECTIONS:,} of them, pipes counted",
                    {}, f"<= {self.LIMIT} bytes", "not measured")
        times = 1 if settings.quick else 3
        for kind in settings.pick(bench, PEERS):
            each = statistics.median(self.one(bench, kind) for _ in range(times))
            line.cells[kind] = f"{each:,.0f} bytes"
            if kind == "Weir":
                line.verdict = verdict_of(each, self.LIMIT)
        return [line]


class IdleTlsRow(IdleRow):
    """The same for TLS, beside OpenSSL's own object for a connection."""

    CONNECTIONS = 2000
    LIMIT = 512
    KINDS = ["OpenSSL", "nginx with TLS", "HAProxy with TLS", "Weir with TLS"]

    def one(self, bench, kind):
        subject = make(bench, kind).start()
        subject.load(tool="tls_load", requests=200)
        before = settled_memory(subject.program.pid)
        holder = bench.load_start(subject.port, tool="tls_load", requests=self.CONNECTIONS,
                                  hold=True)
        result = bench.load_result(holder)
        if result["errors"]:
            raise BenchError(f"{kind}: connections failed: {result['failed']}")
        after = settled_memory(subject.program.pid)
        bench.release(holder)
        subject.stop()
        return (after - before) / self.CONNECTIONS

    def run(self, bench, settings):
        line = Line(f"Memory of an idle TLS connection, {self.CONNECTIONS:,} of them", {},
                    f"<= OpenSSL + {self.LIMIT} bytes", "not measured")
        found = {}
        for kind in settings.pick(bench, self.KINDS):
            found[kind] = self.one(bench, kind)
            note = " (OpenSSL)" if kind == "OpenSSL" else ""
            line.cells[column_of(kind)] = f"{found[kind]:,.0f} bytes{note}"
        if "OpenSSL" in found and "Weir with TLS" in found:
            more = found["Weir with TLS"] - found["OpenSSL"]
            line.verdict = f"OpenSSL + {more:,.0f}: {verdict_of(more, self.LIMIT)}"
        return [line]


class ReadersRow:
    """Memory while 1,000 readers take 10 MiB each at 10 KiB/s."""

    READERS = 1000

    def one(self, bench, kind, seconds):
        subject = make(bench, kind).start()
        subject.load(connections=32, requests=5000)
        before = settled_memory(subject.program.pid)
        load = bench.load_start(subject.port, connections=self.READERS, path="/size/10m",
                                read_rate="10k", seconds=seconds)
        most = before
        while load.popen.poll() is None:
            most = max(most, memory_bytes(subject.program.pid))
            time.sleep(0.25)
        result = bench.load_result(load)
        if result["errors"]:
            raise BenchError(f"{kind}: readers failed: {result['failed']}")
        subject.stop()
        return most - before

    def run(self, bench, settings):
        line = Line(f"Memory with {self.READERS:,} readers at 10 KiB/s of 10 MiB each", {})
        for kind in settings.pick(bench, ["relay", "splice relay", "nginx", "HAProxy", "Weir"]):
            used = self.one(bench, kind, 5 if settings.quick else 15)
            column = column_of(kind)
            text = f"{used / 2**20:.1f} MiB" + (" (splice)" if kind == "splice relay" else "")
            cells = line.cells
            cells[column] = f"{cells[column]}; {text}" if column in cells else text
        return [line]


# ---- reloads ---------------------------------------------------------------------------------

class ReloadRow:
    """Requests that fail while the configuration is reloaded 20 times under load."""

    RELOADS = 20

    def one(self, bench, kind, pause):
        subject = make(bench, kind).start()
        seconds = self.RELOADS * pause + 2
        loads = [bench.load_start(subject.port, seconds=seconds, rate=2000, connections=64),
                 bench.load_start(subject.port, seconds=seconds, rate=300, connections=32,
                                  new_connection=True)]
        for _ in range(self.RELOADS):
            time.sleep(pause)
            subject.reload()
        results = [bench.load_result(load) for load in loads]
        subject.stop()
        return sum(r["errors"] for r in results), sum(r["requests"] for r in results)

    def run(self, bench, settings):
        line = Line(f"Requests failed during {self.RELOADS} reloads under load", {}, "0",
                    "not measured")
        for kind in settings.pick(bench, ["nginx", "HAProxy", "Weir"]):
            failed, total = self.one(bench, kind, 0.3 if settings.quick else 0.5)
            line.cells[kind] = f"{failed} of {total:,}"
            if kind == "Weir":
                line.verdict = verdict_of(failed, 0)
        return [line]


# ---- choosing among endpoints ----------------------------------------------------------------

class TailRow:
    """Latency at a fixed rate while one of three origins answers ten times slower."""

    FAST_MS, SLOW_MS, RATE = 4, 40, 1000
    PERCENTILES = ("p99", "p99.9")

    def one(self, subject, seconds):
        """The latencies in ms, after a second to find out who is slow."""
        load = {"rate": self.RATE, "connections": 512}
        subject.load(seconds=1, **load)
        result = subject.load(seconds=seconds, **load)
        if result["errors"] or not result["done"]:
            raise BenchError(f"{subject.kind}: requests failed: {result['failed']}")
        return [result["latency_us"][p] / 1000 for p in self.PERCENTILES]

    def measure(self, bench, settings):
        """{kind: [median of the rounds, by percentile]}"""
        subjects = [make(bench, kind).start()
                    for kind in settings.pick(bench, [c.kind for c in BALANCING])]
        samples = {s.kind: [] for s in subjects}
        for _ in range(min(settings.rounds, 3)):
            for subject in subjects:
                samples[subject.kind].append(self.one(subject, 4 * settings.seconds))
        for subject in subjects:
            subject.stop()
        return {kind: [statistics.median(values) for values in zip(*rounds)]
                for kind, rounds in samples.items()}

    def verdict(self, found):
        """Of the first percentile."""
        own, turns = found.get("Weir with ewma"), found.get("Weir with round_robin")
        peers = [v[0] for kind, v in found.items() if not kind.startswith("Weir")]
        if not own or not turns or not peers:
            return "not measured"
        good = own[0] <= turns[0] / 2 and own[0] <= min(peers)
        return (f"ewma: {own[0] / turns[0]:.2f} x round_robin, {own[0] / min(peers):.2f} x the "
                "best peer: " + ("reached" if good else "not reached"))

    def run(self, bench, settings):
        fast, slow = (["--all-slow", "--slow-ms", str(ms)] for ms in (self.FAST_MS, self.SLOW_MS))
        with bench.several_origins(fast, fast, slow):
            found = self.measure(bench, settings)
        lines = []
        for at, name in enumerate(self.PERCENTILES):
            line = Line(f"{name}, one of three origins 10 x slower ({self.FAST_MS} and "
                        f"{self.SLOW_MS} ms), at {self.RATE:,}/s", {})
            for kind, values in found.items():
                column = column_of(kind)
                text = f"{values[at]:.1f} ms ({kind[len(column):].strip()})"
                line.cells[column] = "; ".join(filter(None, [line.cells.get(column), text]))
            lines.append(line)
        lines[0].target = "ewma: <= 0.50 x round_robin, <= 1.00 x the best peer"
        lines[0].verdict = self.verdict(found)
        return lines


class GuardsRow(CpuRow):
    """What defaults, health checks and a breaker cost a request, in CPU and in instructions."""

    def __init__(self):
        super().__init__("1 KiB, three endpoints, health checks, a breaker",
                         ["Weir", "Weir with guards"], [("Weir", counts.GUARDS_SHARE)], origins=3)

    def run(self, bench, settings):
        lines = super().run(bench, settings)
        share, plain, guarded = counts.guards(bench, 500 if settings.quick else 2000)
        cells = {"Weir": f"{plain:,.0f}; {guarded:,.0f} (with guards)"}
        lines.append(Line(f"Instructions of a worker, {self.title}", cells,
                          f"<= {counts.GUARDS_SHARE:.2f} x Weir",
                          f"{share:.3f} x Weir: {verdict_of(share, counts.GUARDS_SHARE)}"))
        return lines


class PickRow:
    """Instructions that choosing an endpoint costs, by policy and number of endpoints."""

    def run(self, bench, _settings):
        bench.compile("balance_pick")
        lines = []
        for policy in counts.POLICIES:
            each = [counts.picks(bench, policy, n) for n in counts.PICK_SIZES]
            sizes = ", ".join(f"{n:,}" for n in counts.PICK_SIZES)
            line = Line(f"Instructions to choose one of {sizes} endpoints, {policy}",
                        {"Weir": ", ".join(f"{count:,.0f}" for count in each)})
            line.target = f"<= {counts.PICK_GROWTH:.2f} x the first"
            growth = each[-1] / each[0]
            line.verdict = f"{growth:.2f} x: {verdict_of(growth, counts.PICK_GROWTH)}"
            lines.append(line)
        return lines


TLS_PEERS = ["nginx with TLS", "HAProxy with TLS", "Weir with TLS"]
GRPC_LOAD = ["-c", "16", "-m", "32", "-d", "@dir@/files/unary.grpc", "-H",
             "content-type: application/grpc", "-H", "te: trailers"]
ROWS = {
    "1k": CpuRow("1 KiB kept-alive", ["relay", "relay again", "nginx", "HAProxy", "Weir"],
                 [("relay", 1.10), ("nginx", 0.92)]),
    "log": CpuRow("1 KiB, access log and metrics on",
                  ["relay", "nginx", "nginx with log", "HAProxy", "Weir with log"],
                  [("nginx", 1.0)]),
    "1m": CpuRow("1 MiB", ["relay", "splice relay", "nginx", "HAProxy", "Weir"],
                 [("splice relay", 1.15)], path="/size/1m"),
    "post": CpuRow("16 KiB POST", PEERS, [("relay", 1.15)], body="16k"),
    "new": CpuRow("new connection a request", PEERS, [("nginx", 0.9)], new_connection=True),
    **{budget["row"]: CountRow(budget) for budget in counts.budgets()},
    "idle": IdleRow(),
    "readers": ReadersRow(),
    "routes": RoutesRow(),
    "reload": ReloadRow(),
    "changes": ChangesRow(),
    "tls": EdgeRow("1 KiB over TLS kept-alive", TLS_PEERS, [("nginx with TLS", 0.9)],
                   arguments=["--h1", "-c", "32"], path="/"),
    "handshake": EdgeRow("full handshake (ECDSA P-256) and one answer", ["OpenSSL", *TLS_PEERS],
                         [("OpenSSL", 1.05), ("HAProxy with TLS", 1.0)], tool="tls_load"),
    "resumed": EdgeRow("resumed handshake and one answer", ["OpenSSL", *TLS_PEERS],
                       [("HAProxy with TLS", 1.0)], tool="tls_load", resume=True),
    "h2": EdgeRow("1 KiB over HTTP/2, 16 connections of 32 streams", TLS_PEERS,
                  [("nginx with TLS", 0.8)], arguments=["-c", "16", "-m", "32"], path="/"),
    "h2-h2": EdgeRow("1 KiB, HTTP/2 on both sides", ["HAProxy with HTTP/2", "Weir with HTTP/2"],
                     [("HAProxy with HTTP/2", 1.0)], h2_origin=True,
                     arguments=["-c", "16", "-m", "32"], path="/1k"),
    "grpc": EdgeRow("gRPC unary, 64 bytes each way",
                    ["nginx with gRPC", "HAProxy with HTTP/2", "Weir with HTTP/2"],
                    [("nginx with gRPC", 0.8)], h2_origin=True, arguments=GRPC_LOAD,
                    path="/unary.grpc"),
    "idle-tls": IdleTlsRow(),
    "guards": GuardsRow(),
    "tail": TailRow(),
    "pick": PickRow(),
}

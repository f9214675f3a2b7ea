# SPDX-License-Identifier: Apache-2.0
"""What a changed configuration costs: a reload, and one route changed at run time, by the number of
routes; the longest turn of a worker meanwhile, and memory before and after."""

import http.client
import json
import re
import socket
import statistics
import time

from harness import BenchError, memory_bytes
from subjects import make

ROUTES = [10, 10_000, 100_000]
RELOAD_MS = {10_000: 100.0}  # most a reload may take
CHANGE_MS = {100_000: 1.0}  # most that one route's change may take
TURN_MS = 5.0
SETTLE = 0.5  # seconds between reloads
RELOADS_GROWTH = 1.02  # memory after many reloads beside that after ten
TRIMMED = 2.5  # seconds after which Weir has given free pages of the last load back


class Admin(http.client.HTTPConnection):
    """The admin API, by its socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=120)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, target, body=None):
        """The answer's text."""
        self.request(method, target, json.dumps(body) if body else None)
        answer = self.getresponse()
        text = answer.read().decode()
        if answer.status >= 300:
            raise BenchError(f"{method} {target}: {answer.status} {text[:200]}")
        return text


def milliseconds(began):
    return (time.perf_counter() - began) * 1000.0


def await_generation(subject, seconds=60.0):
    """Waits until a new connection is answered by the present configuration."""
    request = (f"GET /generation-{subject.generation} HTTP/1.1\r\nHost: bench\r\n"
               "Connection: close\r\n\r\n").encode()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.create_connection(("127.0.0.1", subject.port), timeout=seconds) as peer:
            peer.sendall(request)
            if peer.recv(64).startswith(b"HTTP/1.1 204"):
                return
    raise BenchError(f"{subject.kind}: the new configuration does not answer")


def reload_ms(subject):
    """From the order to the first answer by the new configuration; writing the file not counted."""
    subject.generation += 1
    subject.configure()
    began = time.perf_counter()
    subject.order_reload()
    await_generation(subject)
    return milliseconds(began)


def change_ms(admin, number, routes):
    """One route of the file replaced, one added, the added one removed; each asked and answered."""
    at = number * 61_803 % routes
    name, body = f"r{at:06d}", {"match": {"path": f"/r{at:06d}/*"}, "reply": {"status": 204}}
    times = []
    for method, target, sent in (("PUT", f"/v1/routes/{name}", body),
                                 ("POST", "/v1/routes", {"name": "new", **body}),
                                 ("DELETE", "/v1/routes/new", None)):
        body["reply"]["status"] = 200 + number % 2
        began = time.perf_counter()
        admin.ask(method, target, sent)
        times.append(milliseconds(began))
    return times


def longest_turn_ms(admin):
    """Of the worker, since its start, as Weir counts it."""
    found = re.search(r'weir_loop_lag_max_seconds\{worker="0"\} (\S+)',
                      admin.ask("GET", "/metrics"))
    return float(found.group(1)) * 1000.0


def both(times):
    return f"{statistics.median(times):.2f} ms (max {max(times):.2f})"


def mib(n, digits=1):
    return f"{n / 2**20:.{digits}f} MiB"


class ChangesRow:
    """Reloads beside nginx and HAProxy; changes of one route; memory."""

    def verdict(self, measured, limit):
        return "" if limit is None else "reached" if measured <= limit else "not reached"

    def line(self, title, cells, measured, limit):
        from rows import Line
        target = f"< {limit:g} ms" if limit else ""
        return Line(title, cells, target, self.verdict(measured, limit))

    def reloads(self, bench, kind, routes, count):
        subject = make(bench, kind, routes=routes).start(seconds=60.0)
        times = []
        for _ in range(count):
            time.sleep(SETTLE)  # an order that meets a reload in progress is lost (HAProxy)
            times.append(reload_ms(subject))
        subject.stop()
        return times

    def weir(self, bench, routes, count):
        """Lines about Weir alone."""
        subject = make(bench, "Weir with admin", routes=routes).start(seconds=60.0)
        admin = Admin(subject.socket)
        admin.ask("GET", "/v1")  # the port is open before the configuration is read
        time.sleep(TRIMMED)
        before = memory_bytes(subject.program.pid)
        first = change_ms(admin, 0, routes)[0]
        times = [ms for i in range(1, count) for ms in change_ms(admin, i, routes)]
        turn = longest_turn_ms(admin)
        time.sleep(TRIMMED)
        after = memory_bytes(subject.program.pid)
        subject.stop()
        name = f"{routes:,} routes"
        limit = CHANGE_MS.get(routes)
        return [
            self.line(f"One route changed among {name}", {"Weir": both(times)},
                      statistics.median(times), limit),
            self.line(f"The first change after a load, {name}", {"Weir": f"{first:.1f} ms"}, 0,
                      None),
            self.line(f"Longest worker turn while one of {name} changes",
                      {"Weir": f"{turn:.2f} ms"}, turn, TURN_MS),
            self.line(f"Memory before and after {len(times) + 1} changes, {name}",
                      {"Weir": f"{mib(before)}, {mib(after)}"}, 0, None),
        ]

    def memory(self, bench, count):
        """Reloads one after the other, of two configurations in turn."""
        from rows import Line
        subject = make(bench, "Weir with admin", routes=100).start()
        admin, sizes = Admin(subject.socket), {}
        for number in range(1, count + 1):
            subject.generation = 1 + number % 2
            subject.configure()
            admin.ask("POST", "/v1/reload")
            if number in (10, count):
                time.sleep(TRIMMED)
                sizes[number] = memory_bytes(subject.program.pid)
        turn = longest_turn_ms(admin)
        subject.stop()
        growth = sizes[count] / sizes[10]
        return [
            Line(f"Memory after 10 and after {count:,} reloads, 100 routes",
                 {"Weir": f"{mib(sizes[10], 2)}, {mib(sizes[count], 2)}"}, f"<= {RELOADS_GROWTH} x",
                 f"{growth:.3f} x: {self.verdict(growth, RELOADS_GROWTH)}"),
            self.line(f"Longest worker turn in {count:,} reloads", {"Weir": f"{turn:.2f} ms"}, turn,
                      TURN_MS),
        ]

    def run(self, bench, settings):
        lines = []
        for routes in ROUTES:
            cells = {}
            limit, weir = RELOAD_MS.get(routes), 0.0
            for kind in settings.pick(bench, ["nginx", "HAProxy", "Weir"]):
                times = self.reloads(bench, kind, routes, 3 if settings.quick else 10)
                cells[kind] = both(times)
                weir = statistics.median(times)
            lines.append(self.line(f"Reload of {routes:,} routes until it answers", cells, weir,
                                   limit if "Weir" in cells else None))
            if settings.pick(bench, ["Weir with admin"]):
                lines += self.weir(bench, routes, 30 if settings.quick else 300)
        if settings.pick(bench, ["Weir with admin"]):
            lines += self.memory(bench, 1000)
        return lines

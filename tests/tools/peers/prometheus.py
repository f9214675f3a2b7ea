# SPDX-License-Identifier: Apache-2.0
"""Reads the Prometheus text format (0.0.4) and objects to what promtool would object to."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(r"(%s)(?:\{(.*)\})? (\S+)" % NAME)
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)')


class Figures(dict):
    """{(name, frozenset of (label, value)): number}"""

    def __init__(self):
        super().__init__()
        self.types = {}

    def value(self, name, **labels):
        """The sum of all samples of that name that carry these labels."""
        wanted = set(labels.items())
        return sum(v for (n, have), v in self.items() if n == name and wanted <= have)

    def has(self, name, **labels):
        wanted = set(labels.items())
        return any(n == name and wanted <= have for (n, have) in self)

    def names(self):
        return {n for n, _ in self}


def family(name, types):
    """The metric family of a sample: histograms have three kinds of samples."""
    for tail in ("_bucket", "_sum", "_count"):
        base = name[:-len(tail)] if name.endswith(tail) else None
        if base and types.get(base) in ("histogram", "summary"):
            return base
    return name


def parse(text):
    assert text.endswith("\n"), "the page must end in a line feed"
    figures = Figures()
    helped, done, current = set(), set(), None
    for line in text.split("\n")[:-1]:
        if not line:
            continue
        if line.startswith("#"):
            word, name, rest = re.fullmatch(r"# (HELP|TYPE) (%s) (.*)" % NAME, line).groups()
            if word == "HELP":
                assert name not in helped, "HELP twice: " + name
                helped.add(name)
            else:
                assert name not in figures.types, "TYPE twice: " + name
                assert rest in ("counter", "gauge", "histogram", "summary", "untyped"), line
                figures.types[name] = rest
            continue
        m = SAMPLE.fullmatch(line)
        assert m, "not a sample: %r" % line
        name, labels, value = m.groups()
        base = family(name, figures.types)
        assert base in figures.types, "sample without TYPE: " + line
        assert base in helped, "sample without HELP: " + line
        if base != current:
            assert base not in done, "samples of %s are not together" % base
            done.add(base)
            current = base
        pairs = []
        rest = labels or ""
        while rest:
            lm = LABEL.match(rest)
            assert lm, "bad labels: %r" % line
            pairs.append((lm.group(1), lm.group(2)))
            rest = rest[lm.end():]
        key = (name, frozenset(pairs))
        assert len({n for n, _ in pairs}) == len(pairs), "label twice: " + line
        assert key not in figures, "sample twice: " + line
        figures[key] = float(value)
        if figures.types[base] == "counter":
            assert name.endswith("_total"), "a counter's name ends in _total: " + name
    check_histograms(figures)
    return figures


def check_histograms(figures):
    """Buckets are cumulative and end in +Inf, which equals _count."""
    series = {}
    for (name, labels), value in figures.items():
        if name.endswith("_bucket") and figures.types.get(name[:-7]) == "histogram":
            edge = dict(labels)["le"]
            rest = frozenset(p for p in labels if p[0] != "le")
            series.setdefault((name[:-7], rest), []).append((float(edge), value))
    for (base, labels), buckets in series.items():
        buckets.sort()
        counts = [c for _, c in buckets]
        assert counts == sorted(counts), "buckets of %s are not cumulative" % base
        assert buckets[-1][0] == float("inf"), "no +Inf bucket in %s" % base
        assert figures[(base + "_count", labels)] == buckets[-1][1], base
        assert (base + "_sum", labels) in figures, base

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Prove that every rule of scripts/check catches a violation, at the right line, and that clean
code passes. Each case is a small tree of files, checked by the real program."""

import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
REPO = os.path.dirname(os.path.dirname(HERE))
CHECK = os.path.join(REPO, "scripts", "check")
LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n"
PARAGRAPH = ("/* thing: what it is, in one paragraph of words. Owned by the worker that made it.\n"
             " * Its thread only. It never blocks. */\n")


def header(body):
    return LICENCE + PARAGRAPH + body


def source(body):
    return LICENCE + body


def function(lines):
    return "int f(void)\n{\n" + lines + "    return 0;\n}\n"


CLEAN = {
    "src/base/thing.h": header(
        "#ifndef WEIR_THING_H\n#define WEIR_THING_H\n\n/* Answers 1. */\nint thing(void);\n"
        "/* Twice n. */\nstatic inline int twice(int n)\n{\n    return 2 * n;\n}\n\n#endif\n"),
    "src/base/thing.c": source(
        '#include "base/thing.h"\n\nint thing(void)\n{\n    int n = 0;\n\n'
        "    for (int i = 0; i < 3; i++)\n        if (i)\n            while (n < 1)\n"
        "                if (i > 1)\n                    n++;\n    if (n < 0)\n        goto out;\n"
        "    switch (n) {\n    case 1:\n        break;\n    default:\n        goto out;\n    }\n"
        "out:\n    return n;\n}\n"),
    "src/http/h1.c": source('#include "http/h1.h"\n\n#include "base/thing.h"\n\n'
                            '/* free() malloc() are only words here: "goto" */\n'
                            'static const char *const names[] = {"strcpy(", "malloc("};\n\n'
                            "int h1(struct h1 *h)\n{\n    h->free(names[0]);\n    return 0;\n}\n"),
    "src/http/h1.h": header("#ifndef WEIR_H1_H\n#define WEIR_H1_H\n\n#define H1_MAX 3\n\n"
                            "struct h1 {\n    void (*free)(const char *);\n};\n\n"
                            "/* Calls free. */\nint h1(struct h1 *h);\n\n#endif\n"),
}

# rule, file, line where it must be reported, content (or a function that makes the tree)
CASES = [
    ("floors", "src/base/a.c", 2, source('#include "http/h1.h"\n')),
    ("floors", "src/http/a.c", 2, source("#include <weir.h>\n")),
    ("floors", "src/http/a.c", 2, source('#include "h1.h"\n')),
    ("floors", "src/base/a.c", 2, source('#include "base/thing.c"\n')),
    ("features-apart", "src/features/b.c", 2, source('#include "features/a.h"\n')),
    ("sans-io", "src/http/a.c", 2, source("#include <unistd.h>\n")),
    ("sans-io", "src/proxy/a.c", 4, source("int f(void)\n{\n    return errno;\n}\n")),
    ("conditionals", "src/proxy/a.c", 2, source("#ifdef __linux__\n#endif\n")),
    ("conditionals", "src/proxy/a.c", 3, source("int x;\n#if 0\n#endif\n")),
    ("file-length", "src/base/a.c", 801, source("\n" * 800)),
    ("file-length", "src/base/a.h", 201, header("\n" * 200)),
    ("function-length", "src/base/a.c", 2, source(function("    g();\n" * 77))),
    ("function-length", "src/base/thing.c", 1, source(
        "".join(function("    g();\n" * 43).replace("f(", f"f{i}(") for i in range(12)))),
    ("nesting", "src/base/a.c", 2, source(function(
        "    if (a)\n        for (;;)\n            while (b)\n                if (c)\n"
        "                    if (d)\n                        e();\n"))),
    ("nesting", "src/base/a.c", 2, source(function(
        "    list_each(n, l) {\n        do {\n            switch (c) {\n            case 1: {\n"
        "                if (c) {\n                } else if (d) {\n"
        "                    if (e) {\n                    }\n                }\n            }\n"
        "            }\n        } while (a);\n    }\n"))),
    ("parameters", "src/base/a.c", 2, source(
        "int f(int a, int b, int c, int d, int e, int g, void (*h)(int, int))\n{\n}\n")),
    ("line-length", "src/base/a.c", 2, source("/* " + "x" * 96 + " */\n")),
    ("line-length", "scripts/a.py", 2, "# SPDX-License-Identifier: Apache-2.0\n#" + "x" * 100),
    ("exchange-bools", "src/proxy/exchange.c", 2, source(
        "struct exchange {\n    bool a, b, c, d;\n" + "    bool e;\n" * 5 + "};\n")),
    ("banned", "src/base/a.c", 4, source("int f(void)\n{\n    strcpy(a, b);\n}\n")),
    ("banned", "tests/tools/a.c", 4, source("int f(void)\n{\n    x = atoi (b);\n}\n")),
    ("raw-memory", "src/net/a.c", 4, source("int f(void)\n{\n    free(a);\n}\n")),
    ("goto", "src/base/a.c", 5, source("int f(void)\n{\nagain:\n    goto again;\n}\n")),
    ("goto", "src/base/a.c", 6, source(
        "int f(void)\n{\n    goto a;\na:\nb:\n    return 0;\n}\n")),
    ("licence-line", "src/base/a.c", 1, "int x(void);\n"),
    ("licence-line", "scripts/a", 2, "#!/bin/sh\ntrue\n"),
    ("header-paragraph", "src/base/a.h", 2, LICENCE + "/* short */\n"),
    ("header-paragraph", "src/base/a.h", 2, LICENCE + "#include <stddef.h>\n" + PARAGRAPH),
    ("prototype-comment", "src/base/a.h", 5, header("\nint a(void);\n")),
    ("prototype-comment", "src/base/a.h", 6, header(
        "/* One. */\nint a(void);\nint b(int *p,\n      int q);\n")),
    ("prototype-comment", "src/base/a.h", 5, header(
        "int x; /* not of b */\nstatic inline int b(void)\n{\n    return 1;\n}\n")),
    ("unfinished", "src/base/a.c", 2, source("/* TO" + "DO later */\n")),
    ("unfinished", "scripts/a", 3, "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n# a st"
     + "ub\n"),
    ("words", "src/base/a.c", 2, source("/* the down" + "stream side */\n")),
    ("words", "src/base/a.c", 2, source("struct pool_manager;\n")),
    ("machine-paths", "README.md", 1, "see /ro" + "ot/weir\n"),
    ("format", "src/base/a.c", 2, source("int  f( void );\n")),
    ("documented", "src/base/fault_table.h", 4, header('FAULT(LOST, "lost_way", 1)\n')),
    ("documented", "src/proxy/phase.h", 5, header("struct f {\n    enum h (*on_pick)(int);\n};\n")),
    ("allow-list", "scripts/check.allow", 1, "limit 0\nfile-length src/base/thing.c\n"),
    ("allow-list", "scripts/check.allow", 2, "limit 1\nfile-length src/base/thing.c\n"),
    ("allow-list", "scripts/check.allow", 1, "limit 1\n"),
]


class Run:
    """One checked tree: what was printed and the exit code."""

    def __init__(self, files, prepare=None, arguments=()):
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as stream:
                    stream.write(text)
            if prepare:
                prepare(root)
            done = subprocess.run([sys.executable, CHECK, "--root", root, *arguments], text=True,
                                  capture_output=True, check=False)
            self.code = done.returncode
            self.output = done.stdout + done.stderr


def with_format(files):
    with open(os.path.join(REPO, ".clang-format"), encoding="utf-8") as stream:
        return {**CLEAN, ".clang-format": stream.read(), **files}


def compile_objects(root):
    for path in ("src/base/thing.c", "src/base/state.c"):
        made = os.path.join(root, "build/obj", path[:-2] + ".o")
        os.makedirs(os.path.dirname(made), exist_ok=True)
        subprocess.run(["gcc", "-fPIC", "-c", "-I", os.path.join(root, "src"), "-o", made,
                        os.path.join(root, path)], check=True)


def make_docs(root):
    """A program and a page maker whose page differs from the one in docs/."""
    for path, text in (("build/weir", "#!/bin/sh\n"), ("scripts/docs", (
            "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\nmkdir -p $2/docs\n"
            "printf 'one\\nnew\\n' > $2/docs/config.md\n"))):
        full = os.path.join(root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(full, 0o755)


class Tally:
    """Counts, and shows what went wrong."""

    def __init__(self):
        self.passed = self.failed = 0

    def note(self, name, good, shown=""):
        if good:
            self.passed += 1
        else:
            self.failed += 1
            print(f"not ok {name}\n{shown}")


def main():
    tally = Tally()
    clean = Run(with_format({}))
    tally.note("clean code passes", clean.code == 0 and " 0 failed" in clean.output, clean.output)

    proven = set()
    for rule, path, line, text in CASES:
        run = Run(with_format({path: text}), arguments=["--only", rule]
                  if rule != "allow-list" else [])
        wanted = f"{path}:{line}: {rule}: "
        proven.add(rule)
        tally.note(f"{rule} in {path}:{line}", run.code == 1 and wanted in run.output, run.output)

    state = source("int open_doors;\nstatic _Thread_local int *me;\nint *f(void);\n"
                   "int *f(void)\n{\n    static int calls;\n    calls++;\n"
                   '    static const char *const names[] = {"a"};\n'
                   "    return names[0] ? me : &calls;\n}\n")
    run = Run(with_format({"src/base/state.c": state}), compile_objects, ["--only", "globals"])
    for name, line in (("open_doors", 2), ("me", 3), ("calls", 7)):
        tally.note(f"globals finds {name}",
                   f"src/base/state.c:{line}: globals: {name} " in run.output, run.output)
    tally.note("globals leaves const tables", "names" not in run.output, run.output)
    allow = "limit 3\nglobals open_doors\nglobals me\nglobals calls\n"
    run = Run(with_format({"src/base/state.c": state, "scripts/check.allow": allow}),
              compile_objects, ["--only", "globals"])
    tally.note("the allow list excuses", run.code == 0, run.output)
    proven.add("globals")

    run = Run(with_format({"docs/config.md": "one\nold\n"}), make_docs, ["--only", "docs-in-sync"])
    tally.note("docs-in-sync", "docs/config.md:2: docs-in-sync: " in run.output, run.output)
    run = Run(with_format({"docs/config.md": "one\nnew\n"}), make_docs, ["--only", "docs-in-sync"])
    tally.note("docs in sync", run.code == 0, run.output)
    proven.add("docs-in-sync")

    listed = subprocess.run([sys.executable, CHECK, "--list"], text=True, capture_output=True,
                            check=True).stdout
    for line in listed.splitlines():
        rule = line.split()[0]
        tally.note(f"{rule} is proven here", rule in proven)

    print(f"{tally.passed} passed, {tally.failed} failed")
    return 1 if tally.failed or not tally.passed else 0


if __name__ == "__main__":
    sys.exit(main())

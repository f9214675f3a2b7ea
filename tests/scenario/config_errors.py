# SPDX-License-Identifier: Apache-2.0
"""Every error of a configuration in one run: file, line, column, what is wrong, nearest name."""

import os

BAD = """\
workers: many
listners:
  - address: 127.0.0.1:8080
upstreams:
  origin:
    endpoints:
      - address: nonsense
        wieght: 1
    pool: {max_idel: 5, idle_timeout: 30parsecs}
routes:
  - match: {path: no-slash}
    to: orign
  - match: {path_regex: "("}
    to: origin
"""


def check(t, text, name="conf.yaml"):
    path = os.path.join(t.make_dir("conf"), name)
    with open(path, "w") as f:
        f.write(text)
    code, out, err = t.run("check", path)
    return code, out + err, path


def test_all_at_once(t):
    code, text, path = check(t, BAD)
    assert code != 0
    for line, words in ((1, ["many"]), (2, ["listners", "listeners"]), (7, ["nonsense"]),
                        (8, ["wieght", "weight"]), (9, ["max_idel", "max_idle"]),
                        (9, ["30parsecs"]), (11, ["/"]), (12, ["orign", "origin"]), (13, ["("])):
        hits = [x for x in text.splitlines() if x.startswith("%s:%d:" % (path, line))
                and all(w in x for w in words)]
        assert hits, "no message for line %d %r in\n%s" % (line, words, text)


def test_files_too(t):
    """A slip elsewhere hides no missing certificate; what is wrong itself is not looked into."""
    code, text, path = check(t, "workers: many\nlisteners:\n"
                             "  - {address: ':1', tls: {certificates: "
                             "[{cert: /no/a, key: /no/b}]}}\n"
                             "  - {address: ':2', tls: {certificates: [{key: /no/c}]}}\n"
                             "  - {address: ':3', tls: {}}\n"
                             "upstreams:\n  o: {endpoints: [127.0.0.1:9], tls: {ca: /no/d}}\n"
                             "  p: {endpoints: [127.0.0.1:9], tls: {ca: /no/e, verify: never}}\n"
                             "routes: [{to: o}]\n")
    said = [x[len(path) + 1:].split(" ")[0] for x in text.splitlines()]
    assert code == 1 and said == ["1:10:", "3:49:", "3:61:", "4:42:", "5:26:", "7:43:",
                                  "8:58:"], text


def test_columns(t):
    _, text, path = check(t, "workers: 1\nroutes:\n  - match: {path: /*}\n    too: x\n")
    assert "%s:4:5:" % path in text, text


def test_run_refuses(t):
    path = os.path.join(t.make_dir("conf"), "bad.yaml")
    with open(path, "w") as f:
        f.write(BAD)
    code, out, err = t.run("run", "--config", path)
    assert code != 0, out + err
    assert "%s:2:1:" % path in out + err and "%s:13:" % path in out + err, out + err


def test_each_kind(t):
    base = "listeners: [{address: '127.0.0.1:8080'}]\n"
    cases = {
        "workers: -1\n": "workers", "workers: 1.5\n": "workers",
        "timeouts: {client_head: 5}\n": "client_head", "timeouts: {client_head: -5s}\n": "",
        "limits: {head: 1TiBB}\n": "head", "buffer: {strategy: fixde}\n": "fixed",
        "slashes: mrege\n": "merge", "memory_limit: lots\n": "memory_limit",
        "trusted_proxies: [300.0.0.0/8]\n": "300.0.0.0", "trusted_proxies: [10.0.0.0/33]\n": "33",
        "via: perhaps\n": "via", "retry: 7\n": "retry: \"7\" is not true or false",
        "upstreams: {o: {endpoints: []}}\n": "endpoints", "upstreams: []\n": "upstreams",
        "upstreams: {o: {endpoints: [{weight: 1}]}}\n": "address",
        "upstreams: {o: {endpoints: ['127.0.0.1:1'], host: a b}}\n": "neither a host name",
        "upstreams: {o: {endpoints: ['127.0.0.1:1'], host: 'h/x'}}\n": "neither a host name",
        "routes: [{match: {path: /*}}]\n": "", "routes: 7\n": "routes",
        "routes: [{match: {path: /*}, to: nobody}]\n": "nobody",
        "routes: [{match: {path: /*}, reply: {status: 99}}]\n": "status",
        "routes: [{match: {path: /*}, redirect: {to: /x, status: 200}}]\n": "status",
        "routes: [{match: {path: /*}, reply: {status: 304, body: x}}]\n": "no body",
        "routes: [{match: {path: /*}, reply: {status: 205, body: x}}]\n": "no body",
        "routes: [{match: {path: /*, path_regex: a}, reply: {body: x}}]\n": "path",
        "routes: [{match: {path: '/a*b'}, reply: {body: x}}]\n": "path",
        "routes: [{match: {path: /*}, reply: {body: x}, request_headers: "
        "{set: {'Bad Name': x}}}]\n": "Bad Name",
        "routes: [{match: {path: /*}, reply: {body: x}, request_headers: "
        "{set: {Content-Length: '5'}}}]\n": "Content-Length",
        "routes: [{match: {path: /*}, reply: {body: x}, response_headers: "
        "{set: {X: \"a\\nb\"}}}]\n": "X",
        "listeners: [{address: nowhere}]\n": "nowhere", "listeners: [{address: ':99999'}]\n": "",
        "listeners: [{address: ':1', tls: {certificates: [{cert: '', key: ''}]}}]\n"
        "upstreams: {o: '127.0.0.1:1'}\n": "cert and key are files: one of the names is empty",
        "listeners: [{}]\n": "address", "admin: {address: x}\n": "x",
        "access_log: false\n": "access_log.path is stdout, off, or a file",
        "access_log: stdot\n": "access_log.path is stdout, off, or a file",
        "access_log: ''\n": "access_log.path is empty",
        "workers: 1\nworkers: 2\n": "workers", "unknown_key: 1\n": "unknown_key",
        "routes: [\n": "", "a: b: c\n": "", "\t- x\n": "", "- a\n- b\n": "",
        "routes: [{match: {methods: [get post]}, reply: {body: x}}]\n": "method",
    }
    wrong = []
    for text, word in cases.items():
        code, said, path = check(t, text if "listeners" in text else base + text)
        if code == 0:
            wrong.append("accepted: " + text)
        elif path not in said:
            wrong.append("no file name for %r in %r" % (text, said))
        elif word not in said:
            wrong.append("%r is not named for %r in %r" % (word, text, said))
        elif code < 0:
            wrong.append("crashed on %r: %d" % (text, code))
    assert not wrong, "\n".join(wrong)


NESTED = ("upstreams: {o: 127.0.0.1:1}\nroutes:\n"
          "  - {match: /%%61/*, to: o, routes: [{match: {%s}}]}\n")
SLIPS = (
    # text, place, words of the message
    ("listeners:\n  - address: [::]:8080\n", "2:15", ["needs quotes", '"[::1]:8080"']),
    ("listeners:\n  - [::1]:8080\n", "2:6", ["needs quotes", '"[::1]:8080"']),
    ("admin: {address: [::1]:8080}\n", "1:19", ["needs quotes", '"[::1]:8080"']),
    ("upstreams: {o: [[::1]:9000]}\n", "1:17", ["begins with *, { or [", "needs quotes"]),
    ("upstreams:\n  o: 127.0.0.1:1\n    pool: {}\n", "3:9", ["indented too far"]),
    ("upstreams: {o: 127.0.0.256:9000}\n", "1:16", ["neither an IP address nor a host name"]),
    ("upstreams: {o: '127.0.0.1:1,127.0.0.1:2'}\n", "1:16", ["more than one address", "list"]),
    ("upstreams: {o: 127.0.0.1:1 127.0.0.1:2}\n", "1:16", ["more than one address", "list"]),
    ("routes: [{match: {host: .example.com}, redirect: /x}]\n", "1:25", ["*.example.com"]),
    ("routes: [{redirect: 301}]\n", "1:21", ["is a number", "{to: URL, status: 301}"]),
    ("routes: [{reply: {code: 200}}]\n", "1:19", ['unknown key "code" in reply; allowed: status']),
    ("upstreams: {o: 127.0.0.1:1}\nroutes:\n  - {match: /%2F, to: o, "
     "routes: [{match: {path_regex: /%2F.*}}]}\n", "3:56", ['the one path "/%2F"', "/*"]),
    ('{"%s": 1}\n' % ("x" * 2000), "1:2004", ["did not find expected"]),
    ("routes: [{to: \"a\\e[31m\\nb\"}]\n", "1:15", ['unknown upstream "a?[31m?b"']),
    ("upstreams: {o: {endpoints: 127.0.0.1:1, health: {type: script, command: [[1, 2], -q],\n"
     "environment: {A: [x]}}}}\n", "1:74", ["command must be a single value, not a list"]),
    (NESTED % "path: /a/../b", "3:52", ['"/a/../b" does not lie under "/%61/*"']),
    (NESTED.replace("%%61", "a") % "path_regex: /a/?b", "3:56", ["without a quantifier"]),
    (NESTED.replace("%%61", "a") % "path_regex: '/a/{0}b'", "3:56", ["without a quantifier"]),
)


def test_slips(t):
    """What is usual elsewhere or quickly mistyped is told in words that lead to what is meant."""
    wrong = []
    for text, place, words in SLIPS:
        code, said, path = check(t, text)
        line = [x for x in said.splitlines() if x.startswith("%s:%s: " % (path, place))]
        if code != 1 or not line or not all(w in line[0] for w in words):
            wrong.append("%r\n  %s %s" % (text, code, said))
    assert not wrong, "\n".join(wrong)


def test_good_files(t):
    for inner in ("path: /a/x", "path: '/a/x/../%%62'", "path: /%%61/*"):
        code, said, _ = check(t, NESTED % inner.replace("%%", "%"))
        assert code == 0, (inner, said)
    minimal = ("upstreams:\n  origin:\n    endpoints:\n      - address: 127.0.0.1:9000\nroutes:\n"
               "  - match: {path: /*}\n    to: origin\nlisteners:\n"
               "  - address: 127.0.0.1:8080\n")
    full = (minimal + "workers: 1\nadmin:\n  address: 127.0.0.1:9901\naccess_log:\n  path: off\n"
            "timeouts: {client_head: 10s, keepalive: 1m30s}\nlimits: {head: 64KiB}\n")
    for text in (minimal, full, "# empty but for a comment\n" + minimal,
                 minimal + "admin: off\n"):
        code, said, _ = check(t, text)
        assert code == 0, said


def test_tests_in_the_file(t):
    """tests: of the configuration run at check and before every load."""
    base = ("listeners: [{address: '127.0.0.1:8080'}]\n"
            "upstreams: {a: {endpoints: [{address: '127.0.0.1:1'}]},"
            " b: {endpoints: [{address: '127.0.0.1:2'}]}}\n"
            "routes:\n  - {name: api, match: {path: /api/*}, to: a,"
            " request_headers: {set: {X-Api: '1'}}}\n"
            "  - {name: rest, match: {path: /*}, to: b}\ntests:\n")
    good = ("  - request: {method: GET, url: 'http://x/api/y'}\n"
            "    expect: {route: api, upstream: a, headers: {X-Api: '1'}}\n")
    bad = ("  - request: {method: GET, url: 'http://x/api/y'}\n"
           "    expect: {route: rest}\n")
    code, said, _ = check(t, base + good)
    assert code == 0, said
    code, said, path = check(t, base + good + bad)
    assert code != 0 and "rest" in said and "api" in said, said
    assert "not run" not in said, said
    code, out, err = t.run("run", "--config", path)
    assert code != 0, "started although a test of the file fails: " + out + err
    code, said, _ = check(t, "workers: many\n" + base + good + bad)
    assert code == 1 and said.endswith("\n2 tests were not run: the file has errors\n"), said


def test_tests_of_connections(t):
    """A test asks which passthrough route takes a connection; what it cannot say is a mistake."""
    base = ("listeners: [{address: '127.0.0.1:8443', mode: passthrough}]\n"
            "upstreams: {a: ['127.0.0.1:1'], b: ['127.0.0.1:2']}\n"
            "routes:\n  - {name: h2, match: {sni: db.example, alpn: [h2]}, to: a,"
            " passthrough: true}\n"
            "  - {name: any, match: {sni: db.example}, to: b, passthrough: true}\ntests:\n")
    for test, wrong in (
            ("{request: 'tls://DB.example', expect: any}", None),
            ("{request: {url: 'tls://db.example', alpn: 'http/1.1,h2'},"
             " expect: {route: h2, upstream: a}}", None),
            ("{request: 'tls://other.example', expect: none}", None),
            ("{request: 'tls://', expect: none}", None),
            ("{request: 'tls://db.example', expect: h2}", "expected route h2, got any"),
            ("{request: 'tls://db.example', expect: none}", "expected route none, got any"),
            ("{request: 'tls://a b', expect: none}", "no host name"),
            ("{request: {url: 'tls://db.example', alpn: ','}, expect: h2}", "alpn"),
            ("{request: {url: /x, alpn: h2}, expect: h2}", "tls://NAME"),
            ("{request: 'tls://db.example', expect: {status: 404}}", "no header fields, status"),
            ("{request: {url: 'tls://db.example', headers: {A: b}}, expect: any}",
             "no header fields, status")):
        code, said, _ = check(t, base + "  - " + test + "\n")
        assert (code == 0) == (wrong is None) and (wrong is None or wrong in said), (test, said)


def test_missing_file(t):
    code, out, err = t.run("check", "/nonexistent/weir.yaml")
    assert code != 0 and "/nonexistent/weir.yaml" in out + err, out + err


def test_odd_bytes(t):
    """Garbage is refused, never a crash."""
    for i, raw in enumerate((b"\0\0\0", b"\xff\xfe\xfd", b"{" * 5000, b"[" * 5000, b"a: &x [*x]\n",
                             b"a: !!binary x\n", b"? " * 1000, b"%YAML 9.9\n---\n", b"---\n---\n",
                             b"x" * 100000, b"routes: *nothing\n", b"\xef\xbb\xbf",
                             b"\xef\xbb\xbfworkers: x\n")):
        path = os.path.join(t.make_dir("odd"), "odd%d.yaml" % i)
        with open(path, "wb") as f:
            f.write(raw)
        code, out, err = t.run("check", path)
        assert code > 0 or raw == b"---\n---\n", (raw[:20], code, out, err)


def test_files_of_other_editors(t):
    """The mark of UTF-8 and lines that end in CRLF are as good; positions are those of the text."""
    good = "upstreams: {origin: 127.0.0.1:9000}\n"
    for text in ("\ufeff" + good, good.replace("\n", "\r\n"), "\ufeff\r\n" + good):
        code, said, _ = check(t, text)
        assert code == 0, said
    code, said, path = check(t, "\ufeffupstrems: {origin: 127.0.0.1:9000}\n")
    assert code == 1 and path + ":1:1: unknown key" in said, said


def test_too_large_a_file(t):
    """It says how large one may be."""
    path = os.path.join(t.make_dir("conf"), "large.yaml")
    with open(path, "wb") as f:
        f.truncate(70 << 20)
    code, out, err = t.run("check", path)
    assert code == 1 and path in err and "67108864 bytes" in err, (code, out, err)

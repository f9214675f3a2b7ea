# SPDX-License-Identifier: Apache-2.0
"""Several hundred raw requests: nothing that two parsers could read in two ways reaches the
origin, and what RFC 9112 allows is served. Each bad request is followed by a smuggled one."""

import queue
import threading

from peers.wire import Deadline, WrongBytes, await_true

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: evil.example\r\n\r\n"
TOKEN = set(b"!#$%&'*+-.^_`|~0123456789"
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
THREADS = 8


def begin(t):
    t.o = t.origin()
    t.w = t.simple(timeouts={"client_body": "60s"})


class Case:
    """raw bytes and the statuses that are right. good: it must be served, and paths are the
    targets that the origin sees."""

    def __init__(self, name, raw, statuses=(400,), good=False, check=None):
        self.name = name
        self.raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        self.statuses, self.good, self.check = statuses, good, check


def post(*fields, body="", line="POST /p HTTP/1.1", host="Host: a.example"):
    lines = [line] + ([host] if host else []) + list(fields)
    return "\r\n".join(lines) + "\r\n\r\n" + body


def get(*fields, **more):
    return post(*fields, line=more.pop("line", "GET /g HTTP/1.1"), **more)


def first_answer(t, case, second):
    """What one connection answers to the case; second: after a good request."""
    with t.w.client() as c:
        if second:
            c.request("GET", "/before")
            r = c.response()
            if r.status != 200:
                raise AssertionError("the request before was answered %r" % r)
        c.send(case.raw + (b"" if case.good else SMUGGLED))
        answers = []
        if case.good:
            answers.append(c.response("HEAD" if case.raw.startswith(b"HEAD") else "GET"))
        else:
            answers = c.answers_until_end()
        return answers


def judge(t, case, second):
    """None, or what is wrong."""
    try:
        answers = first_answer(t, case, second)
    except Deadline:
        return "neither answered nor closed"
    except WrongBytes as e:
        return "wrong bytes: %s" % e
    if not answers:
        return "closed without an answer"
    if len(answers) > 1:
        return "%d answers: %r" % (len(answers), answers)
    if answers[0].status not in case.statuses:
        return "answered %d %s" % (answers[0].status, answers[0].code)
    return None


def run_table(t, cases, modes=(False, True)):
    """Judges all cases on several threads and says everything that is wrong."""
    before = len(t.o.seen("/smuggled"))
    work = queue.Queue()
    for case in cases:
        for second in modes:
            work.put((case, second))
    wrong = []

    def go():
        while len(wrong) < 30:
            try:
                case, second = work.get_nowait()
            except queue.Empty:
                return
            try:
                bad = judge(t, case, second)
            except Exception as e:
                bad = repr(e)
            if bad:
                wrong.append("%s%s: %r: wanted %s, %s" % (
                    case.name, " (second)" if second else "", case.raw[:300], case.statuses, bad))
    threads = [threading.Thread(target=go) for _ in range(THREADS)]
    for th in threads:
        th.start()
    for th in threads:
        th.join()
    smuggled = t.o.seen("/smuggled")
    if len(smuggled) > before:
        wrong.append("a smuggled request reached the origin: %r" % smuggled[-1].raw)
    assert not wrong, "%d wrong:\n%s" % (len(wrong), "\n".join(sorted(wrong)))


def unfinished(t, path):
    """No request to path was completed at the origin."""
    done = [r for r in t.o.seen(path) if r.kind and r.whole]
    assert not done, "a broken body was completed: %r %r" % (done[0].raw, done[0].body_read)


# ---- framing ----


def test_transfer_encoding_values(t):
    bad = ["chunked, chunked", "chunked,chunked", "chunked, identity", "identity, chunked",
           "identity", "gzip", "x", "xchunked", "chunkedx", "chunke", "chunked;", "chunked;q=1",
           '"chunked"', "'chunked'", "chunked,", ",chunked", ", chunked", "chunked, ,", "",
           "chunked chunked", "chunked\tx", "chunked x", "cow", "chunk", "chun ked", "chunked-x",
           "x-chunked", "chunked/1", "chunked:", ":chunked", "=chunked", "chunked\x80",
           "\xa0chunked", "chunked\xa0", "c\xe7hunked", "deflate", "compress, deflate", "br",
           "tRANSFER-encoding: chunked", "trailers", "false", "0", "chunked\\", "(x)chunked",
           "[chunked]", "{chunked}", "<chunked>", "chunked!", "chunked.", "*", "chunked*",
           "chunk-ed", "CHUNKED, CHUNKED", "chunked ,", "chunked ;x", "%63hunked", "chunked=",
           "chunked,gzip"]
    run_table(t, [Case("TE " + repr(v), post("Transfer-Encoding: " + v,
                                             body="0\r\n\r\n"), (400, 501)) for v in bad])


def test_transfer_encoding_coding_before_chunked(t):
    run_table(t, [Case("TE " + v, post("Transfer-Encoding: " + v, body="0\r\n\r\n"), (501,))
                  for v in ("gzip, chunked", "deflate,chunked", "x-foo, chunked",
                            "gzip, br, chunked")])


def test_transfer_encoding_controls(t):
    """Each control byte before, after and within the word."""
    cases = []
    for byte in list(range(0, 9)) + [11, 12] + list(range(14, 32)) + [127]:
        for form in ("%schunked", "chunked%s", "chun%sked"):
            cases.append(Case("TE with byte %d" % byte, post(
                "Transfer-Encoding: " + form % chr(byte), body="0\r\n\r\n"), (400, 501)))
    run_table(t, cases, (False,))


def test_transfer_encoding_names(t):
    bad = ["Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: "
           "chunked", "\tTransfer-Encoding: chunked", "Transfer-Encoding\x00: chunked",
           "Transfer Encoding: chunked", "Transfer-Encoding\x0b: chunked",
           "Transfer-Encoding\xa0: chunked", "Transfer\x00-Encoding: chunked",
           "\x00Transfer-Encoding: chunked", "Transfer-Encoding", "Transfer-Encoding chunked",
           "Transfer-Encoding;: chunked", "(Transfer-Encoding: chunked", "Transfer-Encoding:\r\n "
           "chunked", "Transfer-Encoding:\r\n\tchunked", "Transfer-Encoding:\n chunked",
           "Transfer-Encoding: x\r\n chunked", "X: y\rTransfer-Encoding: chunked",
           "X: y\nTransfer-Encoding: chunked", "X: y\r\r\nTransfer-Encoding: chunked",
           "Transfer-Encoding: chunked\r", "\xffTransfer-Encoding: chunked"]
    cases = [Case("name " + repr(line), post("Content-Length: 5", line, body="0\r\n\r\n"))
             for line in bad]
    cases += [Case("name " + repr(line) + " alone", post(line, body="0\r\n\r\n"), (400, 501))
              for line in bad]
    run_table(t, cases)


def test_transfer_encoding_repeated(t):
    pairs = [("chunked", "chunked"), ("chunked", "identity"), ("identity", "chunked"),
             ("chunked", "x"), ("x", "chunked"), ("", "chunked"), ("chunked", "")]
    run_table(t, [Case("TE twice %r" % (p,), post(*("Transfer-Encoding: " + v for v in p),
                                                  body="0\r\n\r\n"), (400, 501)) for p in pairs])


def test_length_and_transfer_encoding(t):
    cl, te = "Content-Length: 5", "Transfer-Encoding: chunked"
    cases = [Case("CL then TE", post(cl, te, body="0\r\n\r\n")),
             Case("TE then CL", post(te, cl, body="0\r\n\r\n")),
             Case("TE, X, CL", post(te, "X: y", cl, body="0\r\n\r\n")),
             Case("CL 0 and TE", post("Content-Length: 0", te, body="0\r\n\r\n")),
             Case("CL, TE, case", post("cOnTeNt-LeNgTh: 5", "tRANSFER-eNCODING: cHUNKED",
                                       body="0\r\n\r\n")),
             Case("GET with both", get(cl, te, body="0\r\n\r\n")),
             Case("CL and TE gzip", post(cl, "Transfer-Encoding: gzip", body="0\r\n\r\n"),
                  (400, 501)),
             Case("CL and empty TE", post(cl, "Transfer-Encoding:", body="0\r\n\r\n")),
             Case("1.0 CL and TE", post(cl, te, body="0\r\n\r\n", line="POST /p HTTP/1.0")),
             Case("1.0 and TE", post(te, body="0\r\n\r\n", line="POST /p HTTP/1.0")),
             Case("1.0 keep-alive and TE", post(te, "Connection: keep-alive", body="0\r\n\r\n",
                                                line="POST /p HTTP/1.0")),
             Case("Connection: Content-Length with both", post("Connection: Content-Length", cl,
                                                               te, body="0\r\n\r\n"))]
    run_table(t, cases)


def test_content_length_values(t):
    bad = ["+5", "-5", "-0", "+0", "0x5", "0X5", "5,5", "5, 5", "5,6", "5,", ",5", "", " ", "5 5",
           "5;", "5; x", "5.0", "5e0", "1e1", "five", '"5"', "'5'", "5\t5", "5_0", "5a", "a5",
           "$5", "5L", "\xb2", "18446744073709551616", "18446744073709551621",
           "9223372036854775808", "99999999999999999999999999", "0b1", "0o5", "(5)", "5-5", "%35",
           "\xa05", "5\xa0", "#5", "*", "5/5", "=5", "5=", "Infinity", "NaN", "null",
           "4294967296x", "5\\", "1" * 100]
    cases = [Case("CL " + repr(v), post("Content-Length: " + v, body="hello"), (400, 413))
             for v in bad]
    for byte in list(range(0, 9)) + [11, 12] + list(range(14, 32)) + [127]:
        for form in ("%s5", "5%s", "5%s5"):
            cases.append(Case("CL with byte %d" % byte, post(
                "Content-Length: " + form % chr(byte), body="hello")))
    run_table(t, cases, (False,))


def test_content_length_repeated(t):
    pairs = [("5", "5"), ("5", "6"), ("0", "5"), ("5", "0"), ("", "5"), ("5", ""), ("5", "x")]
    cases = [Case("CL twice %r" % (p,), post(*("Content-Length: " + v for v in p), body="hello"))
             for p in pairs]
    cases += [Case("GET, CL twice", get("Content-Length: 0", "Content-Length: 0")),
              Case("CL name with space", post("Content-Length : 5", body="hello")),
              Case("CL name folded", post("Content-Length:\r\n 5", body="hello")),
              Case("CL value folded", post("Content-Length: 5\r\n 5", body="hello"))]
    run_table(t, cases)


# ---- chunks ----

CHUNK_BAD = [
    "g\r\n", "\r\n", "0x5\r\nhello\r\n", "+5\r\nhello\r\n", "-1\r\n", " 5\r\nhello\r\n",
    "\t5\r\nhello\r\n", "5 \r\nhello\r\n", "5\t\r\nhello\r\n", "5\nhello\r\n", "5\rhello\r\n",
    "5\r\rhello\r\n", "5\n\rhello\r\n", "5 5\r\nhello\r\n", "5,\r\nhello\r\n", "5.0\r\nhello\r\n",
    "FFFFFFFFFFFFFFFFF\r\nhello\r\n", "10000000000000005\r\nhello\r\n",
    "fffffffffffffffffffffffffffffffffff5\r\nhello\r\n", "5h\r\nhello\r\n", "h\r\n",
    "5\x00\r\nhello\r\n", "\x005\r\nhello\r\n", "5\xa0\r\nhello\r\n", "5\x0b\r\nhello\r\n",
    "5;\n\r\nhello\r\n", "5;a\nhello\r\n", "5;a\rb\r\nhello\r\n", "5;a\nb\r\nhello\r\n",
    "5;a\x00\r\nhello\r\n", '5;a="\n"\r\nhello\r\n', "5;a\x01=b\r\nhello\r\n",
    "5;a=b\x7f\r\nhello\r\n", '5;a="unclosed\r\nhello\r\n', "5\r\nhelloX\r\n", "5\r\nhello\n",
    "5\r\nhello\r0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhello\r\r\n", "5\r\nhello\n\r",
    "5\r\nhello\x00\r\n", "5:\r\nhello\r\n", "5=x\r\nhello\r\n", "\n5\r\nhello\r\n",
    "\r\n5\r\nhello\r\n", "5\r\nhell\r\n0\r\n\r\n", "zero\r\n", "0x0\r\n\r\n", "-0\r\n\r\n",
    "'5'\r\nhello\r\n", "%35\r\nhello\r\n", "#5\r\nhello\r\n"]
LAST_BAD = ["0\n\n", "0\r\n\n", "0\n\r\n", "0\r\r\n\r\n", "0 \r\n\r\n", "0\r\nX : y\r\n\r\n",
            "0\r\n folded: x\r\n\r\n", "0\r\nX: y\n\r\n", "0\r\nX: y\r\n\tz\r\n\r\n",
            "0\r\n: y\r\n\r\n", "0\r\nX: a\x00b\r\n\r\n", "0\r\nX: a\rb\r\n\r\n",
            "0\r\nno colon\r\n\r\n", "0\r\nX(: y\r\n\r\n", "0\r\nX: y\r\n\n",
            "0\r\nX\x00: y\r\n\r\n",
            "0;\n\r\n\r\n"]


def test_chunks_bad(t):
    head = post("Transfer-Encoding: chunked", line="POST /chunk-bad HTTP/1.1")
    cases = [Case("chunk %r" % c, head + c + "0\r\n\r\n") for c in CHUNK_BAD]
    cases += [Case("second chunk %r" % c, head + "3\r\nabc\r\n" + c + "0\r\n\r\n")
              for c in CHUNK_BAD]
    cases += [Case("last %r" % c, head + "3\r\nabc\r\n" + c) for c in LAST_BAD]
    run_table(t, cases, (False,))
    unfinished(t, "/chunk-bad")


def test_chunks_good(t):
    bodies = [("plain", "5\r\nhello\r\n0\r\n\r\n", "hello"),
              ("upper and lower hex", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
               "01234567890123456789"),
              ("leading zeros", "0005\r\nhello\r\n000\r\n\r\n", "hello"),
              ("extension name", "5;a\r\nhello\r\n0\r\n\r\n", "hello"),
              ("extension value", "5;a=b\r\nhello\r\n0\r\n\r\n", "hello"),
              ("two extensions", "5;a=b;c=d\r\nhello\r\n0\r\n\r\n", "hello"),
              ("quoted extension", '5;a="x y;z"\r\nhello\r\n0\r\n\r\n', "hello"),
              ("quoted pair", '5;a="q\\"uote"\r\nhello\r\n0\r\n\r\n', "hello"),
              ("white space", "5 ; a = b\r\nhello\r\n0\r\n\r\n", "hello"),
              ("extension on the last chunk", "5\r\nhello\r\n0;x=y\r\n\r\n", "hello"),
              ("CR LF as content", "2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
              ("chunk as content", "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
              ("trailer", "5\r\nhello\r\n0\r\nX-T: v\r\n\r\n", "hello"),
              ("empty", "0\r\n\r\n", "")]
    cases = []
    for i, (name, raw, _) in enumerate(bodies):
        for te in ("chunked", "Chunked", "CHUNKED", " chunked ", "\tchunked\t"):
            cases.append(Case(name, post("Transfer-Encoding:" + te, body=raw,
                                         line="POST /chunk-good%d HTTP/1.1" % i), (200,), True))
    run_table(t, cases, (False,))
    for i, (name, raw, want) in enumerate(bodies):
        for q in t.o.await_seen("/chunk-good%d" % i, 5):
            assert q.body() == want.encode(), (name, q.body())
            assert b";" not in q.raw, q.raw


# ---- lines and fields ----


def test_request_lines_bad(t):
    bad = ["GET  /g HTTP/1.1", "GET /g  HTTP/1.1", " GET /g HTTP/1.1", "\tGET /g HTTP/1.1",
           "GET\t/g HTTP/1.1", "GET /g\tHTTP/1.1", "GET /g HTTP/1.1 ", "GET /g HTTP/1.1\t",
           "GET /g", "GET", "GET /g ", "GET HTTP/1.1", "GET  HTTP/1.1", "/g HTTP/1.1",
           "GET /g http/1.1", "GET /g HTTP/1.10", "GET /g HTTP/01.1", "GET /g HTTP/1",
           "GET /g HTTP/1.", "GET /g HTTP/.1",
           "GET /g HTTP/11.1", "GET /g HTTP/1.1x", "GET /g HTTP 1.1", "GET /g HTTP/1,1",
           "GET /g HTTP/+1.1", "GET /g HTTPS/1.1", "GET /g HTTP/1.x", "GET /g HTTP/a.1",
           "GET /g XTTP/1.1", "GET /g FOO", "GET /g HTTP/1.1 HTTP/1.1", "GET /a b HTTP/1.1",
           "G@T /g HTTP/1.1", "G(T /g HTTP/1.1", "G,T /g HTTP/1.1", "G/T /g HTTP/1.1",
           "G:T /g HTTP/1.1", "G\x00T /g HTTP/1.1", "G\xc9T /g HTTP/1.1", '"GET" /g HTTP/1.1',
           "G{T /g HTTP/1.1", "GET\x0b/g HTTP/1.1", "GET\x0c/g HTTP/1.1", "GET\xa0/g HTTP/1.1",
           "GET g HTTP/1.1", "GET ../g HTTP/1.1", "GET ?x HTTP/1.1", "GET * HTTP/1.1",
           "POST * HTTP/1.1", "GET a.example:80 HTTP/1.1", "GET /g#frag HTTP/1.1",
           "GET # HTTP/1.1", "GET http: HTTP/1.1", "GET http:/g HTTP/1.1",
           "GET http:///g HTTP/1.1", "GET http://a.example#x/g HTTP/1.1",
           "GET http://user@a.example/g HTTP/1.1", "GET http://a.example:x/g HTTP/1.1",
           "GET http://a.example:99999/g HTTP/1.1", "GET http://a b/g HTTP/1.1",
           "GET http://[::1/g HTTP/1.1", "OPTIONS http:// HTTP/1.1", "\x00", "\xff\xfe\xfd",
           "GET //[ HTTP/1.1\x00", "GET /g\x00 HTTP/1.1", "GET \\g HTTP/1.1",
           "GET /g\rHTTP/1.1", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
    cases = [Case("line %r" % line, get(line=line)) for line in bad]
    # These two may end before the smuggled request makes sense of anything.
    cases.append(Case("0.9", "GET /g\r\n"))
    cases.append(Case("0.9 bare LF", "GET /g\n"))
    cases.append(Case("h2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 505)))
    run_table(t, cases)


def test_versions(t):
    cases = [Case("version " + v, get(line="GET /g HTTP/" + v), (505,))
             for v in ("2.0", "3.0", "9.9", "2.1")]
    cases.append(Case("version 0.9", get(line="GET /g HTTP/0.9"), (400, 505)))
    cases.append(Case("version 1.2", get(line="GET /g HTTP/1.2"), (200,), True))
    run_table(t, cases)


def test_connect_refused(t):
    run_table(t, [Case("CONNECT " + v, get(line="CONNECT %s HTTP/1.1" % v,
                                           host="Host: " + v), (405, 400))
                  for v in ("a.example:80", "a.example", "/g", "127.0.0.1:22", "*",
                            "http://a.example/")])


def test_targets_bad(t):
    cases = []
    for byte in list(range(0, 9)) + [11, 12] + list(range(14, 32)) + list(range(127, 256)):
        cases.append(Case("target with byte %d" % byte,
                          get(line="GET /a%sb HTTP/1.1" % chr(byte))))
        if byte < 32 or byte == 127:
            cases.append(Case("query with byte %d" % byte,
                              get(line="GET /a?b%sc HTTP/1.1" % chr(byte))))
    for path in ("/%", "/%0", "/%zz", "/%0g", "/%%", "/a%", "/a%2", "/%00", "/a%00b", "/%u0041",
                 "/a/%", "/%-1", "/% 0", "/%2", "/.%", "/%2e%"):
        cases.append(Case("path " + path, get(line="GET %s HTTP/1.1" % path)))
    run_table(t, cases, (False,))


def test_field_names(t):
    """Every byte that is no token character spoils a field name."""
    cases = []
    for byte in range(256):
        if byte in TOKEN or byte in b":\r\n":
            continue
        cases.append(Case("name with byte %d" % byte, get("X%sY: v" % chr(byte))))
        cases.append(Case("name ending in byte %d" % byte, get("XY%s: v" % chr(byte))))
        cases.append(Case("name beginning with byte %d" % byte, get("%sXY: v" % chr(byte))))
    run_table(t, cases, (False,))


def test_field_lines_bad(t):
    lines = [": v", ":", " : v", "no colon", "X : y", "X\t: y", "X: a\r\n b", "X: a\r\n\tb",
             "X: a\r\n ", "X:\r\n b", " X: y", "\tX: y", "X: a\nY: b", "X: a\rY: b", "X: a\r\r",
             "X: \x00", "\x00: x", "X: y\x00", "X", "X Y: z", "\xa0X: y", "\x0bX: y", "\x0c: y",
             "X: y\r\n:z", "\xef\xbb\xbfX: y", "X: a\n b", "X: a\n"]
    cases = [Case("line %r" % line, get(line)) for line in lines]
    cases += [Case("line %r at the end" % line, get("A: b", line)) for line in lines]
    cases += [Case("line %r before Host" % line, get(line, "Host: a.example", host=None))
              for line in lines]
    for byte in list(range(0, 9)) + [11, 12] + list(range(14, 32)) + [127]:
        cases.append(Case("value with byte %d" % byte, get("X: a%sb" % chr(byte))))
        cases.append(Case("value ending in byte %d" % byte, get("X: ab%s" % chr(byte))))
    cases += [Case("bare LF after the request line",
                   "GET /g HTTP/1.1\nHost: a.example\r\n\r\n"),
              Case("bare LF after Host", "GET /g HTTP/1.1\r\nHost: a.example\n\r\n"),
              Case("bare LF at the end", "GET /g HTTP/1.1\r\nHost: a.example\r\n\n"),
              Case("only LF", "GET /g HTTP/1.1\nHost: a.example\n\n"),
              Case("CR CR LF", "GET /g HTTP/1.1\r\r\nHost: a.example\r\n\r\n"),
              Case("LF CR", "GET /g HTTP/1.1\n\rHost: a.example\n\r\n\r"),
              Case("fold after the request line",
                   "GET /g HTTP/1.1\r\n X: y\r\nHost: a.example\r\n\r\n"),
              Case("blank fold", "GET /g HTTP/1.1\r\nHost: a.example\r\n \r\nX: y\r\n\r\n")]
    run_table(t, cases)


def test_hosts_bad(t):
    values = ["", " ", "a b", "a/b", "a@b", "a:b", "a:-1", "a:99999", "a:80:80", "[::1", "::1",
              "[::1]x", "a,b", "a\tb", "http://a", "a?b", "a#b", "a\\b", "a<b", 'a"b', "[gggg]",
              "[]", "a:8 0", "a%zz", "a%00b", "a\xe9b", "a|b", "a^b", "a{b", "a`b", ":80",
              "[::1]:x",
              "user:pass@a", "a:80/", "[", "]", "a]b", "a%", "%", "a:+80"]
    cases = [Case("Host %r" % v, get(host="Host: " + v)) for v in values]
    cases += [Case("no Host", get(host=None)),
              Case("two Hosts", get("Host: b.example")),
              Case("the same Host twice", get("Host: a.example")),
              Case("Host with a space before the colon", get("Host : b.example")),
              Case("empty and good Host", get("Host:")),
              Case("Host folded", "GET /g HTTP/1.1\r\nHost:\r\n a.example\r\n\r\n"),
              Case("absolute form, no Host", get(line="GET http://a.example/g HTTP/1.1",
                                                 host=None)),
              Case("absolute form, two Hosts", get("Host: a.example",
                                                   line="GET http://a.example/g HTTP/1.1")),
              Case("absolute form, bad Host", get(line="GET http://a.example/g HTTP/1.1",
                                                  host="Host: a b")),
              Case("1.0, bad Host", get(line="GET /g HTTP/1.0", host="Host: a b")),
              Case("1.0, two Hosts", get("Host: b", line="GET /g HTTP/1.0"))]
    run_table(t, cases)


def test_schemes(t):
    run_table(t, [Case("scheme " + s, get(line="GET %s://a.example/g HTTP/1.1" % s), (400, 421))
                  for s in ("ftp", "https", "ws", "file", "gopher", "x")])


def test_oversized(t):
    cases = [Case("long field", get("X: " + "a" * 65536), (431,)),
             Case("long name", get("X" * 65536 + ": a"), (431,)),
             Case("many fields", get(*["X-%d: y" % i for i in range(2000)]), (431,)),
             Case("long head of short fields", get(*["X: " + "a" * 1000] * 90), (431,)),
             Case("many options", get("Connection: " + "x, " * 100 + "x"), (431,)),
             Case("many options in two fields", get(*["Connection: " + "x, " * 50 + "x"] * 2),
                  (431,)),
             Case("long target", get(line="GET /%s HTTP/1.1" % ("a" * 9000)), (414,)),
             Case("very long target", get(line="GET /%s HTTP/1.1" % ("a" * 60000)), (414, 431)),
             Case("long query", get(line="GET /?%s HTTP/1.1" % ("a" * 9000)), (414,)),
             Case("long method", get(line="%s / HTTP/1.1" % ("A" * 60000)),
                  (400, 414, 431, 501))]
    run_table(t, cases)


# ---- what must be served ----


def test_good(t):
    cases = [Case("GET", get()), Case("GET with length", get("Content-Length: 5", body="hello")),
             Case("POST", post("Content-Length: 5", body="hello")),
             Case("POST, length 0", post("Content-Length: 0")),
             Case("POST without framing", post()),
             Case("DELETE with body", get("Content-Length: 2", line="DELETE /g HTTP/1.1",
                                          body="ab")),
             Case("HEAD", get(line="HEAD /g HTTP/1.1")),
             Case("own method", get(line="M-SEARCH+x /g HTTP/1.1")),
             Case("lower-case method", get(line="get /g HTTP/1.1")),
             Case("OPTIONS *", get(line="OPTIONS * HTTP/1.1")),
             Case("OPTIONS /", get(line="OPTIONS /g HTTP/1.1")),
             Case("empty lines before", "\r\n\r\n" + get()),
             Case("no space after the colon", get("X:y")),
             Case("much space around a value", get("X: \t y \t ")),
             Case("empty value", get("X:")),
             Case("a hundred options", get(*["Connection: " + "x, " * 49 + "x"] * 2)),
             Case("obs-text", get("X: caf\xe9 \xff")),
             Case("tab in a value", get("X: a\tb")),
             Case("all token characters", get("!#$%&'*+-.^_`|~09azAZ: v")),
             Case("Host with a port", get(host="Host: a.example:8080")),
             Case("Host IPv6", get(host="Host: [::1]:8080")),
             Case("Host with underscore", get(host="Host: a_b.example")),
             Case("Host upper case", get(host="HOST: A.EXAMPLE")),
             Case("Host with a dot at the end", get(host="Host: a.example.")),
             Case("absolute form", get(line="GET http://a.example/g HTTP/1.1")),
             Case("absolute form, other case", get(line="GET HTTP://A.example/g HTTP/1.1")),
             Case("absolute form without path", get(line="GET http://a.example HTTP/1.1")),
             Case("absolute form, query only", get(line="GET http://a.example?x=y HTTP/1.1")),
             Case("1.0 without Host", get(line="GET /g HTTP/1.0", host=None)),
             Case("99 fields", get(*["X-%d: y" % i for i in range(98)])),
             Case("long but allowed", get("X: " + "a" * 20000)),
             Case("long target", get(line="GET /%s HTTP/1.1" % ("a" * 7000))),
             Case("bad escape in the query", get(line="GET /g?%zz HTTP/1.1")),
             Case("query with a question mark", get(line="GET /g?a?b HTTP/1.1")),
             Case("lower-case length name", post("content-length: 5", body="hello")),
             Case("length with white space", post("Content-Length: \t5 \t", body="hello"))]
    for c in cases:
        c.good, c.statuses = True, (200,)
    run_table(t, cases)


def test_absolute_form_replaces_host(t):
    r = t.w.get("http://real.example:81/abs?x=1", host="ignored.example")
    assert r.status == 200, r
    q = t.o.await_seen("/abs")[0]
    assert q.host == "real.example:81" and q.query == "x=1", q
    assert b"ignored.example" not in q.raw, q.raw


def test_error_close_lingers(t):
    """The answer to a bad request arrives although the client goes on sending."""
    for _ in range(20):
        with t.w.client() as c:
            c.send(b"POST /p HTTP/1.1\r\nHost: a b\r\nContent-Length: 60000\r\n\r\n")
            c.send(b"x" * 60000)
            r = c.response()
            assert r.status == 400 and r.complete, r
            assert r.fields.tokens("connection") == ["close"], r


def test_error_close_ends(t):
    """Lingering has an end, whether the client is silent, trickles or floods."""
    w = t.simple(admin={"address": t.address()})
    silent, trickling, flooding = w.client(), w.client(), w.client()
    for c in (silent, trickling, flooding):
        c.send("POST /p HTTP/1.1\r\nHost: a b\r\nContent-Length: 100000000\r\n\r\n")
        assert c.response().status == 400
        assert c.stream.some() == b""  # our side is shut at once
    flooding.send(b"x" * 4000000)

    def gone():
        try:
            trickling.sock.send(b"x")
        except OSError:
            pass
        return w.metrics().value("weir_client_connections_open") == 0
    await_true("the connections are closed", gone)
    for c in (silent, trickling, flooding):
        c.close()


def test_reason_codes(t):
    """The reason code of the fault is in the reply and in the log."""
    for i, (raw, code) in enumerate([
            (get("Host: b"), "host_invalid"),
            (post("Content-Length: x"), "content_length_invalid"),
            (post("Content-Length: 1", "Transfer-Encoding: chunked"),
             "content_length_with_transfer_encoding"),
            (post("Transfer-Encoding: x"), "transfer_encoding_invalid"),
            (post("Transfer-Encoding: gzip, chunked"), "transfer_coding_unsupported"),
            (get("X : y"), "field_invalid"), (get(line="GET /g#x HTTP/1.1"), "target_invalid"),
            (get(line="GET /g HTTP/2.0"), "version_unsupported"),
            (get(line="GET /g http/1.1"), "version_invalid"),
            (get(line="GET /g h HTTP/1.1"), "request_line_invalid"),
            (get(line="GET https://a.example/g HTTP/1.1"), "misdirected"),
            (post("Transfer-Encoding: chunked", body="x\r\n"), "chunk_invalid"),
            (get(line="G(T /g HTTP/1.1"), "method_invalid"),
            (get("X: a\nY: b"), "line_end_invalid"),
            (get("X: " + "a" * 65536), "head_too_large"),
            (get(line="GET /%s HTTP/1.1" % ("a" * 9000)), "target_too_long")]):
        with t.w.client() as c:
            c.send(raw)
            r = c.response()
            assert r.code == code or (code == "transfer_encoding_invalid"
                                      and r.code == "transfer_coding_unsupported"), (raw, r)
            t.w.await_access(lambda x, c=r.code: x["reason"] == c)


def test_nothing_reached_the_origin(t):
    """Of all of the above, no smuggled request and no bad path was ever forwarded."""
    for q in t.o.requests:
        assert q.path != "/smuggled", q.raw
        assert q.host != "evil.example", q.raw

# SPDX-License-Identifier: Apache-2.0
"""Messages over HTTP/2: bodies both ways with flow control, trailers, interim answers, cookies,
lengths that must agree, hosts, and what an upstream that breaks looks like."""

import hashlib
import os
import threading

from peers import h2, wire
from peers.h2 import END_HEADERS, END_STREAM, H2, HEADERS
from peers.wire import Ended, encode_chunked


def begin(t):
    t.o = t.origin()
    t.w = t.simple(listeners=[{"address": t.address(), "h2c": True}],
                   timeouts={"client_body": "30s"})


def client(t, **more):
    return H2(t.w.address, **more)


def upload(c, stream, body, end=True):
    """Sends as the windows allow (the server's first window is the smaller one)."""
    allowed = {0: 65535, stream: c.settings[h2.INITIAL_WINDOW]}
    at = seen = 0
    while at < len(body):
        for s, n in c.window_frames[seen:]:
            if s in allowed:
                allowed[s] += n
        seen = len(c.window_frames)
        n = min(allowed[0], allowed[stream], 16384, len(body) - at)
        if n:
            at += n
            c.frame(h2.DATA, END_STREAM if end and at == len(body) else 0, stream,
                    body[at - n:at])
            allowed[0] -= n
            allowed[stream] -= n
        else:
            c.until("a window", lambda: len(c.window_frames) > seen or c.answers[stream].over)
            assert not c.answers[stream].over, c.answers[stream]


def test_head_says_what_came(t):
    with client(t) as c:
        r = c.ask("GET", "/path?q=1", [("user-agent", "peer"), ("x-two", "a"), ("x-two", "b")])
        assert r.status == 200 and r.body == b"origin GET /path?q=1\n", r
    q = t.o.await_seen("/path")[-1]
    assert q.host == "test.example" and q.fields.all("x-two") == ["a", "b"], q
    assert q.get("via") == "2.0 weir", q
    line = t.w.line_for("/path")
    assert line["protocol"] == "HTTP/2" and line["status"] == 200, line


def test_head_method(t):
    with client(t) as c:
        r = c.ask("HEAD", "/head")
        assert r.status == 200 and r.body == b"" and int(r.get("content-length")) > 0, r


def test_large_download(t):
    body = os.urandom(t.bulk(3 << 20))
    t.o.on("/large", lambda conn, req: conn.reply(body=body))
    t.o.on("/chunked", lambda conn, req: conn.reply(body=body, chunked=True))
    with client(t) as c:
        ids = [c.request(path=p) for p in ("/large", "/chunked", "/large")]
        for i in ids:
            r = c.response(i)
            assert hashlib.sha256(r.body).digest() == hashlib.sha256(body).digest(), len(r.body)
        assert c.answers[ids[0]].get("content-length") == str(len(body))
        assert c.answers[ids[1]].get("content-length") is None


def test_large_upload(t):
    """The stream's window is 32 KiB at first and grows as the origin takes what comes."""
    body = os.urandom(t.bulk(1 << 20))
    with client(t) as c:
        c.until("SETTINGS", lambda: c.settings)
        assert c.settings[h2.INITIAL_WINDOW] == 32768, c.settings
        for fields in ([("content-length", str(len(body)))], []):
            stream = c.request("POST", "/up", fields, end=False)
            upload(c, stream, body)
            r = c.response(stream)
            assert r.status == 200 and r.body.endswith(body[-100:]), r.status
    seen = t.o.await_seen("/up", 2)
    assert [q.kind for q in seen] == ["length", "chunked"], seen


def test_window_is_withheld(t):
    """An origin that does not read: the client may send its window and no more."""
    go = threading.Event()

    def late(conn, req):
        assert go.wait(60)
        conn.reply(body=b"%d" % len(req.body()))
    t.o.on("/late", late)
    with client(t) as c:
        c.until("SETTINGS", lambda: c.settings)
        stream = c.request("POST", "/late", end=False)
        c.data(stream, b"x" * 32768)
        c.ping()
        go.set()
        c.data(stream, b"", end=True)
        assert c.response(stream).body == b"32768"


def test_request_trailers(t):
    with client(t) as c:
        stream = c.request("POST", "/trail", [("trailer", "x-sum")], end=False)
        c.data(stream, b"hello")
        c.frame(HEADERS, END_HEADERS | END_STREAM, stream,
                c.encode([("x-sum", "abc"), ("content-length", "5"), ("x-late", "1")]))
        assert c.response(stream).status == 200
    q = t.o.await_seen("/trail")[-1]
    assert q.body() == b"hello" and list(q.trailers) == [("x-sum", "abc"), ("x-late", "1")], (
        q.trailers)


def test_trailer_limits(t):
    """Trailers have the limits of a head; the origin never sees the end of such a request."""
    t.o.on("/long-trail", reading)
    for fields in ([("x-%d" % i, "1") for i in range(150)],
                   [("x-%d" % i, "v" * 4000) for i in range(9)]):
        with client(t) as c:
            stream = c.request("POST", "/long-trail", end=False)
            c.data(stream, b"hello")
            b = c.encode(fields)
            pieces = [b[i:i + 16384] for i in range(0, len(b), 16384)]
            for i, piece in enumerate(pieces):
                c.frame(h2.CONTINUATION if i else HEADERS,
                        (0 if i else END_STREAM) | (END_HEADERS if piece is pieces[-1] else 0),
                        stream, piece)
            r = c.response(stream)
            assert r.status in (400, 431) or r.reset == h2.PROTOCOL_ERROR, r
            assert c.ask(path="/after-trail").status == 200
    for q in t.o.seen("/long-trail"):
        assert q.conn.ended.wait(wire.patience(20)) and not q.whole, q


def test_response_trailers(t):
    t.o.on("/down", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           + encode_chunked(b"hello", 2, [("X-Sum", "abc"), ("Connection", "x")]))
    t.o.on("/empty", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
           + encode_chunked(b"", 2, [("X-Sum", "abc")]))
    with client(t) as c:
        for path, body in (("/down", b"hello"), ("/empty", b"")):
            r = c.ask(path=path)
            assert r.body == body and list(r.trailers) == [("x-sum", "abc")], (r, r.trailers)


def test_interim_answers(t):
    def hints(conn, req):
        conn.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
        conn.send("HTTP/1.1 100 Continue\r\n\r\n")
        conn.reply(body=b"%d" % len(req.body()))
    t.o.on("/hints", hints)
    with client(t) as c:
        stream = c.request("POST", "/hints", [("expect", "100-continue")], end=False)
        c.until("100", lambda: len(c.answers[stream].interims) == 2, stream)
        assert [s for s, _ in c.answers[stream].interims] == [103, 100]
        assert c.answers[stream].interims[0][1].get("link") == "</a.css>"
        c.data(stream, b"body", end=True)
        assert c.response(stream).body == b"4"


def test_cookies_are_joined(t):
    with client(t) as c:
        c.ask(path="/crumbs", fields=[("cookie", "a=1"), ("x-between", "1"), ("cookie", "b=2"),
                                      ("cookie", "c=3")])
    q = t.o.await_seen("/crumbs")[-1]
    assert q.fields.all("cookie") == ["a=1; b=2; c=3"], q


def test_connection_fields_of_the_origin(t):
    """What an origin says of its own connection never reaches a stream (the client objects)."""
    t.o.on("/hop", b"HTTP/1.1 200 OK\r\nConnection: keep-alive, x-mine\r\nKeep-Alive: timeout=5\r\n"
           b"X-Mine: 1\r\nX-Yours: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    with client(t) as c:
        r = c.ask(path="/hop")
        assert r.get("x-yours") == "2" and not r.fields.has("x-mine"), r


def test_hosts(t):
    rows = [
        ([(":authority", "Name.Example:80")], "name.example:80"),
        ([(":authority", "a.example"), ("host", "a.example")], "a.example"),
        ([("host", "b.example")], "b.example"),
    ]
    with client(t) as c:
        for i, (fields, host) in enumerate(rows):
            path = "/host%d" % i
            head = [(":method", "GET"), (":scheme", "http"), (":path", path)]
            head += [f for f in fields if f[0][0] == ":"] + [f for f in fields if f[0][0] != ":"]
            assert c.response(c.open(head)).status == 200, fields
            assert t.o.await_seen(path)[-1].host == host
        for fields, status in (([], 400), ([(":authority", "u@h")], 400),
                               ([(":authority", "a b")], 400)):
            head = [(":method", "GET"), (":scheme", "http"), (":path", "/bad-host")] + fields
            assert c.response(c.open(head)).status == status, fields
        assert c.ask(path="/x", scheme="https").status == 421
    assert not t.o.seen("/bad-host")


def test_scheme_of_a_proxy_in_front(t):
    """HAProxy and Envoy say https on clear connections behind them. What a trusted proxy says
    there is its own business; X-Forwarded-Proto is where it tells of the client."""
    for trusted, status in (([], 421), (["127.0.0.0/8"], 200)):
        w = t.simple(listeners=[{"address": t.address(), "h2c": True}], trusted_proxies=trusted)
        with H2(w.address) as c:
            path = "/front%d" % status
            assert c.ask(path=path, scheme="https").status == status, trusted
            assert c.ask(path=path, scheme="HTTP").status == 200
            assert c.ask(path=path, scheme="ftp").status == 421
            assert c.ask(path=path, scheme="https", authority="a b").status == 400
            s = c.request("POST", path, [("content-length", "5")], b"four", scheme="https")
            assert c.response(s).reset == h2.PROTOCOL_ERROR or status == 421, c.answers[s]
            if status == 200:
                fields = [("x-forwarded-proto", "https")]
                assert c.ask(path="/told", fields=fields, scheme="https").status == 200
                assert t.o.await_seen("/told")[-1].get("x-forwarded-proto") == "https"
        assert t.o.await_seen(path)[-1].get("x-forwarded-proto") == "http"
        w.stop()


def test_targets_as_in_http1(t):
    """One path, normalised by the same code."""
    with client(t) as c:
        for path, status in (("/a/../b", 200), ("/%zz", 400), ("/a%00", 400), ("/x#f", 400),
                             ("/" + "a" * 9000, 414)):
            r = c.ask(path=path)
            assert r.status == status, (path, r)
        r = c.ask("OPTIONS", "*")
        assert r.status == 200, r
    assert t.o.await_seen("/b")


def test_head_limits(t):
    with client(t) as c:
        assert c.ask(path="/f", fields=[("x-%d" % i, "1") for i in range(150)]).status == 431
        big = [("x-%d" % i, "v" * 4000) for i in range(9)]
        stream = c.next_id
        c.next_id += 2
        c.answers[stream] = h2.Answer()
        b = c.encode(c.head(path="/g", fields=big))
        c.frame(HEADERS, END_STREAM, stream, b[:16384])
        c.frame(h2.CONTINUATION, 0, stream, b[16384:32768])
        c.frame(h2.CONTINUATION, END_HEADERS, stream, b[32768:])
        assert c.response(stream).status == 431
        assert c.ask(path="/after").status == 200


def length_case(t, c, path, fields, pieces, first):
    """A body that does not agree with its Content-Length: a stream error, no excess byte sent."""
    stream = c.request("POST", path, fields, end=False)
    if first:
        c.data(stream, first)
        t.o.await_seen(path)
        c.ping()
    for i, piece in enumerate(pieces):
        c.data(stream, piece, end=i == len(pieces) - 1)
    r = c.response(stream)
    assert r.reset == h2.PROTOCOL_ERROR and r.status is None, (path, r)
    assert t.w.line_for(path)["reason"] == "h2_length_mismatch"
    for q in t.o.seen(path):
        assert q.conn.ended.wait(wire.patience(20)), "the upstream connection lives on"
        assert not q.whole and len(q.body_read) <= int(fields[0][1]), q.body_read


def test_lengths_must_agree(t):
    t.o.on("/short", reading)
    t.o.on("/long", reading)
    with client(t) as c:
        length_case(t, c, "/short", [("content-length", "10")], [b"123"], b"45")
        length_case(t, c, "/long", [("content-length", "5")], [b"123456"], b"12")
        assert c.ask(path="/still").status == 200


def reading(conn, req):
    try:
        req.body()
    except Ended:
        pass
    conn.close()


def test_reset_cancels_at_once(t):
    t.o.on("/cancel", lambda conn, req: (conn.await_end(), conn.close()))
    with client(t) as c:
        stream = c.request(path="/cancel")
        q = t.o.await_seen("/cancel")[-1]
        c.rst(stream)
        assert q.conn.ended.wait(wire.patience(20)), "the upstream side goes on"
        assert c.ask(path="/next").status == 200
    assert t.w.line_for("/cancel")["reason"] == "client_gone"


def test_end_of_connection_cancels_all(t):
    t.o.on("/gone", lambda conn, req: (conn.await_end(), conn.close()))
    with client(t) as c:
        for _ in range(5):
            c.request(path="/gone")
        seen = t.o.await_seen("/gone", 5)
    for q in seen:
        assert q.conn.ended.wait(wire.patience(20)), "the upstream side goes on"


def test_upstream_breaks(t):
    """A part never looks like a whole."""
    def cut_length(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789")
        conn.close()

    def cut_chunked(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n")
        conn.reset()
    t.o.on("/cut-length", cut_length)
    t.o.on("/cut-chunked", cut_chunked)
    with client(t) as c:
        for path in ("/cut-length", "/cut-chunked"):
            r = c.ask(path=path)
            assert r.reset == h2.INTERNAL_ERROR and not r.ended, (path, r)
        t.o.on("/nothing", lambda conn, req: conn.close())
        assert c.ask("POST", "/nothing", body=b"x").status == 502
        assert c.ask(path="/whole").status == 200


def test_answer_before_the_body(t):
    """The rest of a request that is answered already is not wanted: RST_STREAM(NO_ERROR)."""
    def early(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nearly")
        conn.close()
    t.o.on("/early", early)
    with client(t) as c:
        stream = c.request("POST", "/early", end=False)
        c.response(stream)
        c.until("the reset", lambda: c.answers[stream].reset is not None)
        assert c.answers[stream].reset == h2.NO_ERROR and c.answers[stream].body == b"early"
        assert c.ask(path="/after-early").status == 200


def test_answer_before_the_body_is_read(t):
    """The body came whole, the origin did not look at it: nothing is wrong with the stream."""
    def unread(conn, req):
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        conn.await_end()
        conn.close()
    t.o.on("/unread", unread)
    with client(t) as c:
        for i in range(5):
            stream = c.request("POST", "/unread", end=False)
            t.o.await_seen("/unread", i + 1)
            c.data(stream, b"x" * 20000, end=True)
            r = c.response(stream)
            assert r.ended and r.body == b"ok", r
        assert c.ask(path="/after-unread").status == 200
    for line in t.w.await_access(lambda x: x.get("path") == "/unread", 5):
        assert line["reason"] == "ok", line


def test_resets_among_answers(t):
    """A client that gives up some of what it asks for is no attacker."""
    t.o.on("/given-up", lambda conn, req: (conn.await_end(), conn.close()))
    with client(t) as c:
        for i in range(300):
            stream = c.request(path="/given-up")
            assert c.ask(path="/kept").status == 200
            c.rst(stream)
        assert c.ask(path="/fine").status == 200


def test_padding_and_small_frames(t):
    with client(t) as c:
        stream = c.request("POST", "/pieces", end=False)
        for i in range(40):
            c.frame(h2.DATA, h2.PADDED, stream, b"\x03" + b"%02d" % i + bytes(3))
        c.data(stream, b"", end=True)
        want = b"".join(b"%02d" % i for i in range(40))
        assert c.response(stream).body == b"origin POST /pieces\n" + want


def test_priorities(t):
    """With one window for all: the urgent answer first, whatever came first (RFC 9218)."""
    n = t.bulk(60000)
    for name in ("/bulk", "/urgent"):
        t.o.on(name, lambda conn, req: conn.reply(body=b"x" * n))
    with client(t, values={h2.INITIAL_WINDOW: 1 << 20}, auto=False) as c:
        c.until("SETTINGS", lambda: c.settings)
        c.frame(h2.SETTINGS, h2.ACK)
        c.ask(path="/warm")
        used = len(c.answers[1].body)
        hold = c.request(path="/bulk", fields=[("priority", "u=5")])
        c.response(hold) if n + used < 65535 else c.until("data", lambda: c.answers[hold].body,
                                                          hold)
        late = c.request(path="/bulk", fields=[("priority", "u=7")])
        urgent = c.request(path="/urgent", fields=[("priority", "u=0")])
        t.o.await_seen("/urgent")
        c.until("heads", lambda: all(a.status or a.over for a in map(c.answer, (late, urgent))))
        had = len(c.answers[urgent].body), len(c.answers[late].body)
        c.open_window(n)
        c.until("the urgent one", lambda: len(c.answers[urgent].body) > had[0]
                or c.answers[urgent].over)
        c.open_window(2 * n)
        assert c.response(urgent).ended and c.response(late).ended


def test_incremental_streams_share(t):
    """Incremental answers of one urgency take turns."""
    n = t.bulk(200000)
    t.o.on("/inc", lambda conn, req: conn.reply(body=b"x" * n))

    def least():
        """What the other one has when one has ended."""
        with client(t, values={h2.INITIAL_WINDOW: 1 << 20}, auto=False) as c:
            ids = [c.request(path="/inc", fields=[("priority", "i")]) for _ in range(2)]
            c.until("heads", lambda: all(a.status or a.over for a in map(c.answer, ids)))
            if t.variant == "doors" and any(c.answers[i].reset is not None for i in ids):
                return 0  # refused, and the other one waits for a window
            c.open_window(4 * n)
            c.until("one end", lambda: any(c.answers[i].ended for i in ids), *ids)
            return min(len(c.answers[i].body) for i in ids)
    any_size = n < 65536 or t.variant == "doors"  # where one may wait for memory
    # An origin may be held up in the middle of its answer, though not again and again.
    assert any(least() > n // 4 or any_size for _ in range(5)), "one waits for all of the other"


def test_http2_peers(t):
    """Real clients: nghttp downloads and uploads."""
    import subprocess
    nghttp = t.needs("nghttp")
    path = os.path.join(t.dir, "body")
    with open(path, "wb") as f:
        f.write(b"y" * t.bulk(300000))
    done = subprocess.run([nghttp, "-d", path, "http://%s/nghttp" % t.w.address],
                          capture_output=True, timeout=wire.patience() * 3)
    if done.returncode or not done.stdout.startswith(b"origin POST /nghttp\n"):
        wire.Refusals.note()
    assert done.stdout == b"origin POST /nghttp\n" + b"y" * t.bulk(300000), done.stderr


def test_h2load(t):
    import subprocess
    h2load = t.needs("h2load")
    n = 2000 if t.variant == "plain" else 200
    done = subprocess.run([h2load, "-n", str(n), "-c", "8", "-m", "16",
                           "http://%s/load" % t.w.address], capture_output=True, text=True,
                          timeout=wire.patience() * 6)
    if t.variant == "doors":
        return
    assert "%d succeeded, 0 failed" % n in done.stdout, done.stdout

# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 to upstreams: requests share connections, and what goes wrong with one stream stays
there; what an endpoint did not process is asked again, whatever the method."""

import ssl
import struct
import threading

from peers import h2, tls, wire
from peers.h2 import H2
from peers.h2_origin import H2Origin

COST = 4


def h2_origin(t, **more):
    o = H2Origin(t.address(), **more)
    t.origins.append(o)
    return o


def config(t, o, protocol="h2", http2=None, pool=None, timeouts=None, **more):
    out = {"listeners": [{"address": t.address(), "h2c": True}],
           "upstreams": {"u": {"endpoints": [o.address], "protocol": protocol,
                               "http2": http2 or {}, "pool": pool or {}}},
           "routes": [{"name": "all", "match": {"path": "/*"}, "to": "u"}],
           "workers": 1}
    if timeouts:
        out["timeouts"] = timeouts
    out.update(more)
    return out


def begin(t):
    t.o = h2_origin(t)
    t.w = t.start(config(t, t.o))


def together(n, work):
    """Runs work(i) n times at the same time; the answers in order."""
    out, errors = [None] * n, []

    def one(i):
        try:
            out[i] = work(i)
        except Exception as e:
            errors.append(e)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for x in threads:
        x.start()
    for x in threads:
        x.join()
    if errors:
        raise errors[0]
    return out


def meet(barrier, r):
    """Answers when all are there, or will never be: one was refused."""
    try:
        barrier.wait(wire.patience() / 2)  # before the clients lose theirs
        r.reply(body=b"ok")
    except threading.BrokenBarrierError:
        r.reply(500)


def opened(t, o, n, why="connections were opened"):
    """So many connections; memory that is refused between two requests ends one, and is no fault of
    either."""
    assert len(o.conns) == n or (t.variant == "doors" and len(o.conns) > n), (len(o.conns), why)


def test_get(t):
    r = t.w.get("/one?a=b", [("X-Mixed-Case", "v")])
    assert r.status == 200 and r.body == b"origin GET /one?a=b\n", r
    q = t.o.seen("/one")[0]
    assert q.pseudo == {":method": "GET", ":scheme": "http", ":path": "/one?a=b",
                        ":authority": q.pseudo[":authority"]}, q.pseudo
    assert q.get("x-mixed-case") == "v" and q.get("via") and not q.get("host"), q.fields


def test_post_and_trailers(t):
    body = b"x" * t.bulk(300000)
    r = t.w.ask("POST", "/post", body=body)
    assert r.status == 200 and r.body == b"origin POST /post\n" + body, len(r.body)
    assert t.o.seen("/post")[0].get("content-length") == str(len(body))
    with t.w.client() as c:
        c.send("POST /tr HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\n"
               "Connection: TE\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        r = c.response()
    assert r.body == b"origin POST /tr\nabc" and r.trailers.get("x-sum") == "1", r
    assert t.o.seen("/tr")[0].get("te") == "trailers"


def test_h2_to_h2(t):
    body = b"y" * t.bulk(200000)
    with H2(t.w.address) as c:
        s = c.open(c.head("POST", "/both"), False)
        c.until("SETTINGS", lambda: c.settings is not None)
        for i in range(0, len(body), 16384):
            def room(sent=i):
                return (c.settings.get(h2.INITIAL_WINDOW, 65535) - sent
                        + sum(n for to, n in c.window_frames if to == s))
            c.until("window", lambda: room() >= 16384, s)
            c.data(s, body[i:i + 16384])
        c.open([("x-end", "yes")], True, s)
        a = c.response(s)
        assert a.status == 200 and a.body == b"origin POST /both\n" + body, (a.status, len(a.body))
        assert a.trailers.get("x-end") == "yes", a.trailers


def test_head_and_bodyless(t):
    t.o.on("/head", lambda r: r.reply(200, [("content-length", "7")]))
    t.o.on("/204", lambda r: r.reply(204))
    t.o.on("/304", lambda r: r.reply(304, [("content-length", "9")]))
    t.o.on("/empty", lambda r: r.head(200).data(b"", end=True))
    r = t.w.ask("HEAD", "/head")
    assert r.status == 200 and r.get("content-length") == "7" and not r.body, r
    assert t.w.get("/204").status == 204
    assert t.w.get("/304").status == 304
    r = t.w.get("/empty")
    assert r.status == 200 and r.body == b"", r


def test_interim(t):
    def hints(r):
        r.head(103, [("link", "</a>")]).head(103, [("link", "</b>")])
        r.reply(body=b"done")
    t.o.on("/hints", hints)
    with t.w.client() as c:
        c.send("GET /hints HTTP/1.1\r\nHost: h\r\n\r\n")
        r = c.response()
    assert len(r.interims) == 2 and r.status == 200 and r.body == b"done", r


def test_one_connection_for_many(t):
    """Requests at the same time share one connection; it opens once."""
    o = h2_origin(t)
    w = t.start(config(t, o))
    everyone = threading.Barrier(20)

    o.on("/share", lambda r: meet(everyone, r))
    answers = together(20, lambda i: w.get("/share"))
    assert all(a.body == b"ok" for a in answers), answers
    opened(t, o, 1)
    assert t.variant == "doors" or o.conns[0].most_open == 20, o.conns[0].most_open
    w.stop()


def test_new_connection_when_full(t):
    for values, http2 in (({h2.MAX_STREAMS: 2}, {}), ({}, {"max_streams": 2})):
        o = h2_origin(t, values=values)
        w = t.start(config(t, o, http2=http2))
        assert w.get("/first").status == 200
        everyone = threading.Barrier(6)

        o.on("/six", lambda r, all_=everyone: meet(all_, r))
        answers = together(6, lambda i: w.get("/six"))
        assert all(a.body == b"ok" for a in answers), answers
        assert all(c.most_open <= 2 for c in o.conns) and len(o.conns) >= 3, len(o.conns)
        w.stop()


def test_max_connections_is_exact(t):
    o = h2_origin(t)
    w = t.start(config(t, o, http2={"max_streams": 2}, pool={"max_connections": 1}))
    go = threading.Event()

    def held(r):
        go.wait(wire.patience() * 3)
        r.reply(body=b"ok")
    o.on("/held", held)
    out = []
    asking = threading.Thread(target=lambda: out.extend(together(5, lambda i: w.get("/held"))))
    asking.start()
    o.await_seen("/held", 2)
    assert len(o.seen("/held")) == 2
    go.set()
    asking.join()
    assert [a.body for a in out] == [b"ok"] * 5, out
    opened(t, o, 1)
    assert o.conns[0].most_open <= 2, o.conns[0].most_open
    w.stop()


def test_bad_answers(t):
    """Each is 502, and the connection goes on serving others."""
    bad = {
        "/upper": [(":status", "200"), ("X-Upper", "1")],
        "/nostatus": [("x-a", "1")],
        "/status": [(":status", "2000")],
        "/101": [(":status", "101")],
        "/twice": [(":status", "200"), (":status", "200")],
        "/late": [(":status", "200"), ("a", "b"), (":status", "200")],
        "/request": [(":status", "200"), (":path", "/")],
        "/conn": [(":status", "200"), ("connection", "close")],
        "/te": [(":status", "200"), ("transfer-encoding", "chunked")],
        "/lf": [(":status", "200"), ("x", "a\nb")],
        "/lengths": [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
        "/length": [(":status", "200"), ("content-length", "+1")],
        "/endlen": [(":status", "200"), ("content-length", "5")],
    }
    for path, fields in bad.items():
        t.o.on(path, lambda r, f=fields: r.conn.head(r.stream, f, True))
    assert t.w.get("/before").status == 200
    before = len(t.o.conns)
    for path in bad:
        r = t.w.get(path)
        assert r.status == 502, (path, r)
        assert r.code in ("upstream_head_invalid", "upstream_framing_invalid"), (path, r)
    assert t.w.get("/after").status == 200
    opened(t, t.o, before, "a stream's error ended the connection")


def test_bad_bodies(t):
    def too_much(r):
        r.head(200, [("content-length", "3")]).data(b"abcdef", end=True)

    def too_little(r):
        r.head(200, [("content-length", "9")]).data(b"abc", end=True)

    def mid(r):
        r.head(200, [("content-length", "9")]).data(b"abc")
        r.rst(h2.INTERNAL_ERROR)

    def body_to_head(r):
        r.head(200).data(b"abc", end=True)
    for path, handler in (("/much", too_much), ("/little", too_little), ("/mid", mid)):
        t.o.on(path, handler)
        r = t.w.get(path)
        assert r.status == 502 or not r.complete, (path, r)
        line = t.w.line_for(path)
        assert line["reason"] in ("upstream_framing_invalid", "upstream_stream_reset"), line
    t.o.on("/bodyhead", body_to_head)
    t.w.ask("HEAD", "/bodyhead")
    assert t.w.get("/after2").status == 200


def test_reset_before_the_head(t):
    t.o.on("/rst", lambda r: r.rst(h2.INTERNAL_ERROR))
    r = t.w.get("/rst")
    assert r.status == 502 and r.code == "upstream_stream_reset", r
    assert len(t.o.seen("/rst")) == 1


def test_refused_stream_is_asked_again(t):
    """Not processed, so even a POST is asked again, body and all."""
    def refuse_once(r):
        if len(t.o.seen("/refused")) == 1:
            r.await_over()
            r.rst(h2.REFUSED_STREAM)
        else:
            r.await_over()
            r.reply(body=b"second " + r.body)
    t.o.on("/refused", refuse_once)
    r = t.w.ask("POST", "/refused", body=b"once")
    assert r.body == b"second once", r
    assert len(t.o.seen("/refused")) == 2
    t.o.on("/always", lambda r: r.rst(h2.REFUSED_STREAM))
    r = t.w.get("/always")
    assert r.status == 503 and r.code == "upstream_stream_refused", r
    assert len(t.o.seen("/always")) == 4


def test_refused_twice_another_is_asked(t):
    """Once more there, as after any GOAWAY; an endpoint that goes on refusing has no room."""
    full, other = h2_origin(t), h2_origin(t)
    c = config(t, full)
    c["upstreams"]["u"]["endpoints"] = [full.address, other.address]
    w = t.start(c)
    full.on("/full", lambda r: r.rst(h2.REFUSED_STREAM))
    for _ in range(2):
        r = w.ask("POST", "/full", body=b"kept")
        assert r.status == 200 and r.body == b"origin POST /full\nkept", r
    assert len(full.seen("/full")) in (2, 4) and len(other.seen("/full")) == 2
    w.stop()


def test_goaway(t):
    """Streams that it leaves out are asked again on another connection, the others finish."""
    o = h2_origin(t)
    w = t.start(config(t, o))
    go = threading.Event()

    def first(r):
        go.wait(wire.patience() * 3)
        r.reply(body=b"finished")

    def second(r):
        if r.conn.number == 0:
            r.conn.say_goaway(r.stream - 2)
        else:
            r.await_over()
            r.reply(body=b"elsewhere " + r.body)
    o.on("/first", first)
    o.on("/second", second)
    out = []
    asking = threading.Thread(target=lambda: out.append(w.get("/first")))
    asking.start()
    o.await_seen("/first")
    r = w.ask("POST", "/second", body=b"once")
    assert r.body == b"elsewhere once", r
    opened(t, o, 2)
    go.set()
    asking.join()
    assert out[0].body == b"finished", out
    wire.await_true("end of the old connection", lambda: o.conns[0].over)
    assert w.get("/third").status == 200
    opened(t, o, 2)
    w.stop()


def last_words(conn, streams, how):
    """Answers to streams and the end of the connection behind them, in one piece."""
    out = h2.frame(h2.GOAWAY, 0, 0, struct.pack(">II", streams[-1].stream, 0))
    for r in streams:
        r.answered = True
        fields = [(":status", "200"), ("x-stream", str(r.stream))]
        if how == "trailers":
            out += conn.response(r, fields) + h2.frame(h2.DATA, 0, r.stream, b"b" * 1500)
            out += conn.response(r, [("x-last", "1")], end=True)
        elif how == "body":
            out += conn.response(r, fields) + h2.frame(h2.DATA, 1, r.stream, b"b" * 1500)
        else:
            out += conn.response(r, fields, end=True)
    with conn.writing:
        conn.send(out)
    conn.close()


def test_the_end_behind_answers(t):
    """What nginx does after keepalive_requests: GOAWAY, the last answers and FIN at once. An
    answer that came whole is whole, however soon the connection ends; the streams behind it are
    asked again."""
    t.not_in("doors", "the others would wait for one that is refused")
    for how in ("body", "empty", "trailers"):
        o = h2_origin(t)
        w = t.start(config(t, o))
        assert w.get("/first").status == 200
        there = threading.Semaphore(0)

        def last(r, how=how, there=there):
            if r.conn.number:
                r.reply(body=b"again")
                return
            r.await_over()  # what is left unread makes a reset of the end
            there.release()
            if r.stream == 3:  # the first of them answers for all
                for _ in range(6):
                    there.acquire(timeout=wire.patience())
                streams = [q for n, q in sorted(r.conn.requests.items()) if n > 1]
                last_words(r.conn, streams[:4], how)
        o.on("/last", last)
        answers = together(6, lambda i: w.ask("POST", "/last", body=b"x" if i % 2 else None))
        again = [r for r in answers if r.body == b"again"]
        assert len(again) == 2, answers
        for r in answers:
            assert r.status == 200 and r.complete, (how, r)
            assert r in again or len(r.body) == (0 if how == "empty" else 1500), (how, r)
            assert r in again or how != "trailers" or r.trailers.get("x-last") == "1", r
        w.stop()


def test_goaway_while_idle(t):
    o = h2_origin(t)
    w = t.start(config(t, o))
    assert w.get("/a").status == 200
    o.conns[0].say_goaway(1)
    wire.await_true("end of the old connection", lambda: o.conns[0].over)
    assert w.ask("POST", "/b", body=b"x").status == 200
    opened(t, o, 2)
    w.stop()


def test_connection_breaks(t):
    """All its streams fail; the idempotent ones on a connection that had served are asked again."""
    o = h2_origin(t)
    w = t.start(config(t, o))
    assert w.get("/a").status == 200

    def cut(r):
        if r.conn.number == 0:
            r.conn.close()
        else:
            r.reply(body=b"again")
    o.on("/cut", cut)
    assert w.get("/cut").body == b"again"
    o2 = h2_origin(t)
    w2 = t.start(config(t, o2))
    o2.on("/cut", lambda r: r.await_over().conn.close())
    r = w2.ask("POST", "/cut", body=b"x")
    assert r.status == 502 and r.code == "upstream_closed", r
    assert len(o2.seen("/cut")) == 1

    def half(r):
        r.head(200, [("content-length", "9")]).data(b"abc")
        r.conn.close()
    o2.on("/half", half)
    r = w2.get("/half")
    assert r.status == 502 or not r.complete, r
    assert w2.line_for("/half")["reason"] == "upstream_truncated"
    w.stop()
    w2.stop()


def test_who_is_blamed_for_a_broken_connection(t):
    """An idle connection may end at any time, and nobody is blamed. One that breaks while it is in
    use is its endpoint's failure for each of its requests: breaker and ejection see them."""
    t.not_in("doors", "the others would wait for one that is refused")
    o = h2_origin(t)
    w = t.start(config(t, o), admin=True)

    def blamed():
        return w.metrics().value("weir_upstream_failures_total", upstream="u", kind="reset")
    assert w.get("/a").status == 200
    o.on("/stale", lambda r: r.conn.close() if r.conn.number == 0 else r.reply(body=b"again"))
    assert w.get("/stale").body == b"again"  # as if it had ended before the request came
    assert blamed() == 0
    together_now = threading.Barrier(4)

    def crash(r):
        if together_now.wait(wire.patience()) == 0:
            r.head(200)
            r.conn.close()
    o.on("/crash", crash)
    w.get("/a")
    got = together(4, lambda i: w.ask("POST", "/crash", body=b"x"))
    assert sum(r.status == 502 for r in got) >= 3, got
    assert all(x["reason"] in ("upstream_closed", "upstream_truncated", "upstream_reset")
               for x in w.await_access(lambda x: x["path"] == "/crash", 4))
    wire.await_true("each is blamed", lambda: blamed() >= 4)
    assert blamed() == 4, blamed()
    w.stop()


def test_broken_frames(t):
    """A connection error ends the connection with GOAWAY and a reason, and only that one."""
    def junk(r):
        r.conn.frame(h2.DATA, 0, 0, b"on stream 0")
    t.o.on("/junk", junk)
    r = t.w.get("/junk")
    assert r.status == 502 and r.code == "upstream_h2_protocol", r
    t.o.on("/pack", lambda r: r.conn.frame(h2.HEADERS, h2.END_HEADERS, r.stream, b"\xff\xff\xff"))
    r = t.w.get("/pack")
    assert r.status == 502 and r.code == "upstream_h2_protocol", r
    t.o.on("/push", lambda r: r.conn.frame(h2.PUSH, h2.END_HEADERS, r.stream,
                                           bytes([0, 0, 0, 2]) + b"\x82\x87\x84\x41\x01a"))
    r = t.w.get("/push")
    assert r.status == 502 and r.code == "upstream_h2_protocol", r
    assert t.w.get("/well").status == 200


def test_http1_endpoint(t):
    """protocol: h2 to what speaks HTTP/1.1: a reason that says so."""
    o = t.origin()
    t.origins.remove(o)  # it objects to what it gets, and rightly
    w = t.start(config(t, o))
    r = w.get("/x")
    assert r.status == 502 and r.code in ("upstream_h2_protocol", "upstream_closed"), r
    w.stop()
    o.close()


def test_client_leaves(t):
    """RST_STREAM CANCEL upstream; the connection lives on."""
    def endless(r):
        r.head(200)
        r.data(b"z" * (1 << 22))
    t.o.on("/endless", endless)
    n = len(t.o.conns)
    with t.w.client() as c:
        c.send("GET /endless HTTP/1.1\r\nHost: h\r\n\r\n")
        c.head()
    r = t.o.await_seen("/endless")[0]
    assert r.await_reset() == h2.CANCEL
    assert t.w.get("/alive").status == 200
    opened(t, t.o, n)


def test_slow_reader_holds_nobody_up(t):
    """A client that does not read fills its own stream's window, not the connection's."""
    big = b"w" * (1 << 23)
    t.o.on("/slow", lambda r: r.reply(body=big))
    slow = [t.w.client() for _ in range(12)]
    for c in slow:
        c.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
    t.o.await_seen("/slow", 12)
    body = b"q" * t.bulk(1000000)
    t.o.on("/fast", lambda r: r.reply(body=body))
    assert t.w.get("/fast").body == body
    for c in slow:
        c.close()


def test_window_starvation(t):
    """An endpoint that opens no window: the upload waits, and ends by upstream_send."""
    o = h2_origin(t)
    o.starve = True
    w = t.start(config(t, o, timeouts={"upstream_send": "300ms"}, http2={"ping_timeout": "10s"}))
    o.on("/up", lambda r: r.await_over())
    r = w.ask("POST", "/up", body=b"u" * 200000)
    assert r.status == 504 and r.code == "upstream_send_timeout", r
    assert o.await_seen("/up")[0].await_reset() == h2.CANCEL
    assert len(o.seen("/up")[0].body) <= 65535
    w.stop()


def test_settings_change(t):
    """A smaller window and fewer streams from the middle on."""
    def change(r):
        r.conn.settings({h2.INITIAL_WINDOW: 100, h2.MAX_STREAMS: 1})
        r.await_over()
        r.reply(body=r.body)
    o = h2_origin(t)
    w = t.start(config(t, o))
    o.on("/change", change)
    body = b"v" * t.bulk(100000)
    assert w.ask("POST", "/change", body=body).body == body
    assert w.get("/next").status == 200
    w.stop()


def test_no_stream_allowed(t):
    """Nothing is sent on it: another endpoint is asked; it is used once it allows one."""
    never, later = h2_origin(t, values={h2.MAX_STREAMS: 0}), h2_origin(t)
    w = t.start(config(t, never, pool={"connect_timeout": "300ms"}))
    r = w.ask("POST", "/never", body=b"x")
    assert r.status == 504 and r.code == "connect_timeout", r
    w.stop()
    c = config(t, never, pool={"connect_timeout": "2s"})
    c["upstreams"]["u"]["endpoints"].append(later.address)
    w = t.start(c)
    for i in range(2):
        assert w.ask("POST", "/either%d" % i, body=b"x").status == 200
    w.stop()
    o = h2_origin(t, values={h2.MAX_STREAMS: 0})
    w = t.start(config(t, o, pool={"connect_timeout": "60s"}))
    with w.client() as client:
        client.request("GET", "/waits")
        wire.await_true("its SETTINGS are heard", lambda: o.conns and o.conns[0].acked)
        assert not o.seen("/waits")
        o.conns[0].settings({h2.MAX_STREAMS: 1})
        assert client.response().status == 200
    o.on("/last", lambda r: (r.conn.settings({h2.MAX_STREAMS: 0}), r.reply(200)))
    assert w.get("/last").status == 200
    o.values = {}
    assert w.get("/next").status == 200
    assert len(o.conns) == 2, "a connection that allows no stream is kept"
    w.stop()


def test_ping_finds_the_dead(t):
    o = h2_origin(t)
    w = t.start(config(t, o, http2={"ping_interval": "100ms", "ping_timeout": "2s"}))

    def dead(r):
        r.conn.silent = True
    o.on("/dead", dead)
    r = w.ask("POST", "/dead", body=b"x")
    assert r.status == 504 and r.code == "upstream_ping_timeout", r
    assert o.conns[0].pings
    assert w.get("/next").status == 200
    opened(t, o, 2)
    w.stop()


def test_a_timeout_asks_for_life(t):
    """After a request timed out, a PING tells whether the connection can still be used."""
    o = h2_origin(t)

    def impatient(ping_timeout):
        c = config(t, o, http2={"ping_timeout": ping_timeout})
        c["routes"].append({"match": "/late", "to": "u", "timeouts": {"first_byte": "300ms"}})
        return t.start(c)
    w = impatient("1m")
    o.on("/late", lambda r: None)
    assert w.get("/late").code == "first_byte_timeout"
    wire.await_true("PING", lambda: o.conns[0].pings)
    assert w.get("/on").status == 200
    opened(t, o, 1)
    w.stop()
    w, before = impatient("1s"), len(o.conns)
    o.on("/late", lambda r: setattr(r.conn, "silent", True))
    assert w.get("/late").code == "first_byte_timeout"
    wire.await_true("end of the dead connection", lambda: o.conns[before].over)
    assert w.get("/on").status == 200
    opened(t, o, before + 2)
    w.stop()


def test_a_retried_timeout_asks_for_life(t):
    """Also when another endpoint answers instead: the dead connection is lent to nobody again."""
    silent, other = h2_origin(t), h2_origin(t)
    c = config(t, silent, timeouts={"first_byte": "200ms"}, http2={"ping_timeout": "200ms"})
    c["upstreams"]["u"]["endpoints"] = [silent.address, other.address]
    for retry in ({"per_try": "off"}, {"per_try": "100ms"}):
        c["retry"] = retry
        w = t.start(dict(c, listeners=[{"address": t.address(), "h2c": True}]))
        dead = []

        def late(r):
            r.conn.silent = True
            dead.append(r.conn)
        silent.on("/late", late)
        wire.await_true("a retried timeout", lambda: w.get("/late").status == 200 and dead)
        wire.await_true("end of the dead connection", lambda: dead[0].over)
        w.stop()


def test_idle_timeout_and_lifetime(t):
    o = h2_origin(t)
    w = t.start(config(t, o, pool={"idle_timeout": "200ms"}))
    assert w.get("/a").status == 200
    wire.await_true("end of the idle connection", lambda: o.conns[0].over)
    if t.variant != "onebyte":  # it goes out as far as the kernel takes it at once
        assert o.conns[0].goaway == h2.NO_ERROR, o.conns[0].goaway
    w.stop()
    o = h2_origin(t)
    w = t.start(config(t, o, pool={"max_requests": 2}))
    for i in range(4):
        assert w.get("/%d" % i).status == 200
    opened(t, o, 2)
    w.stop()


def test_min_idle(t):
    o = h2_origin(t)
    w = t.start(config(t, o, pool={"min_idle": 2}))
    wire.await_true("two warm connections", lambda: len(o.live()) == 2)
    assert w.get("/a").status == 200
    w.stop()


class SlowToGreet(H2Origin):
    """Its connections open one after another, slower than it answers."""

    greeting = threading.Lock()

    def begin(self, sock):
        with self.greeting:
            threading.Event().wait(0.01)
        super().begin(sock)


def test_a_connection_that_nobody_waits_for_any_more(t):
    """Whoever had it opened was served by another one meanwhile, and a worker that is at the limit
    wants its place: it is closed, and that is all."""
    o = SlowToGreet(t.address(), values={h2.MAX_STREAMS: 1})
    t.origins.append(o)
    w = t.start(config(t, o, pool={"max_connections": 3}, workers=2))
    server = w.server_pid()

    def ask(i):
        with w.client() as c:
            return [c.get("/%d-%d" % (i, n)).status for n in range(3 + i % 3)]
    for _ in range(6):
        for got in together(12, ask):
            assert set(got) == {200}, got
        for c in [c for c in o.live() if c.acked]:  # they are opened anew
            c.say_goaway(max(c.requests, default=0))
    assert w.server_pid() == server, w.log()
    w.stop()


def test_alpn(t):
    """auto takes HTTP/2 where the endpoint agrees to it, else HTTP/1.1; h2 insists."""
    ca = tls.authority(t)
    cert = ca.sign("site", ["localhost", t.host])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert.cert, cert.key)
    server.set_alpn_protocols(["h2", "http/1.1"])
    both = H2Origin(t.address(), tls=server)
    t.origins.append(both)
    old = tls.Origin(t.address(), cert)
    t.origins.append(old)

    def to(o, protocol):
        new = config(t, o, protocol)
        new["upstreams"]["u"]["tls"] = {"ca": ca.cert}
        return t.start(new)
    for protocol in ("auto", "h2"):
        w = to(both, protocol)
        assert w.get("/by-" + protocol).body == b"origin GET /by-%s\n" % protocol.encode()
        assert both.seen("/by-" + protocol)[0].pseudo[":scheme"] == "https"
        assert w.line_for("/by-" + protocol)["upstream_protocol"] == "HTTP/2"
        w.stop()
    w = to(old, "auto")
    assert w.get("/old").body == b"origin GET /old\n"
    assert "upstream_protocol" not in w.line_for("/old")
    w.stop()
    w = to(old, "h2")
    r = w.get("/insist")
    assert r.status == 502 and r.code == "upstream_no_h2", r
    w.stop()


def test_two_workers_and_a_limit(t):
    """max_connections is exact over all workers; their turns come."""
    o = h2_origin(t)
    w = t.start(config(t, o, pool={"max_connections": 1}, workers=2))

    def alone(r):
        """Another connection may still be on its way out, but no more than that."""
        wire.await_true("only one connection", lambda: len(o.live()) == 1)
        r.reply(body=b"ok")
    o.on("/turn", alone)

    def many(_):
        for i in range(10):
            assert w.get("/turn").status == 200
    together(8, many)
    w.stop()


def test_status_and_metrics(t):
    o = h2_origin(t)
    w = t.start(config(t, o), admin=True)
    assert w.get("/a").status == 200
    m = w.admin_get("/metrics").text
    assert 'weir_upstream_http2_connections{upstream="u"' in m, m
    wire.await_true("one connection without a request", lambda: (
        '"http2":1},"streams":0' in w.admin_get("/status").text))
    o.conns[0].say_goaway(1)
    wire.await_true("end of the old connection", lambda: o.conns[0].over)
    wire.await_true("GOAWAY in the metrics", lambda: (
        "weir_upstream_goaways_total 1" in w.admin_get("/metrics").text))
    w.stop()


def test_websocket(t):
    """An upgrade becomes an extended CONNECT where the endpoint takes it (RFC 8441)."""
    def echo(r):
        r.head(200)
        n = 0
        while True:
            r.conn.wait("bytes", lambda n=n: len(r.body) > n or r.ended or r.reset is not None)
            piece = r.body[n:]
            if piece:
                r.data(piece)
                n += len(piece)
            elif r.ended:
                r.data(b"", end=True)
                return
            else:
                return
    o = h2_origin(t, values={h2.CONNECT: 1})
    w = t.start(config(t, o))
    o.on("/ws", echo)
    o.on("/no", lambda r: r.reply(403, body=b"no"))
    ask = ("GET %s HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
           "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
    with w.client() as c:
        c.send(ask % "/ws")
        head = c.stream.until(b"\r\n\r\n").decode()
        if head.startswith("HTTP/1.1 503 "):
            wire.Refusals.note()
        assert head.startswith("HTTP/1.1 101 "), head
        assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head and "Upgrade: websocket" in head, head
        for text in (b"hello", b"again"):
            c.send(text.decode())
            assert c.stream.exactly(5) == text
        c.shut()
        assert c.stream.rest() == b""
    q = o.seen("/ws")[0]
    assert q.pseudo[":method"] == "CONNECT" and q.pseudo[":protocol"] == "websocket", q.pseudo
    assert not q.get("sec-websocket-key") and q.get("sec-websocket-version") == "13", q.fields
    with w.client() as c:
        c.send(ask % "/no")
        r = c.response()
        assert r.status == 403 and r.body == b"no", r
    with H2(w.address) as c:
        s = c.open([(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                    (":authority", "h"), (":path", "/ws"), ("sec-websocket-version", "13")], False)
        c.data(s, b"by h2")
        a = c.answers[s]
        c.until("echo", lambda: a.body == b"by h2", s)
        assert a.status == 200 and a.get("sec-websocket-accept") is None, a
        c.data(s, b"", True)
        assert c.response(s).ended
    opened(t, o, 1)
    w.stop()


def test_reload_changes_the_protocol(t):
    """The connections of the old protocol are not used any more."""
    o = h2_origin(t)
    w = t.start(config(t, o))
    assert w.get("/a").status == 200
    o1 = t.origin()
    new = w.with_config()
    new["upstreams"] = {"u": {"endpoints": [o1.address], "protocol": "h1"}}
    w.reload(new, probe=lambda: w.get("/b").body == b"origin GET /b\n" and o1.seen("/b"))
    wire.await_true("end of the old connection", lambda: o.conns[0].over)
    w.stop()

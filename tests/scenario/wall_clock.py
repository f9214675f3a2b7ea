# SPDX-License-Identifier: Apache-2.0
"""The wall clock jumps by days, on and back. What is told of the time follows; what is measured
does not notice."""

import email.utils
import os
import threading
import time

from peers import wire

NEEDS_HOOKS = True
NOT_IN = {"onebyte": "it is about clocks", "doors": "it is about clocks"}
DAY = 86400


def begin(t):
    t.go = threading.Event()
    t.wrong = os.path.join(t.dir, "wall")
    jump(t, 0)
    t.o = t.origin()
    t.o.on("/slow", lambda conn, req: t.go.wait(60) and conn.reply(body=b"slow"))
    t.o.on("/never", lambda conn, req: conn.await_end())
    t.w = t.start({
        "listeners": [{"address": t.address()}],
        "upstreams": {"u": {"endpoints": [t.o.address], "health": {"path": "/", "interval": "1s"}}},
        "routes": [{"match": {"path": "/*"}, "to": "u"},
                   {"match": {"path": "/never"}, "to": "u", "retry": {"enabled": False},
                    "timeouts": {"first_byte": "300ms"}}],
        "workers": 1}, env={"WEIR_WALL": t.wrong})


def jump(t, seconds):
    with open(t.wrong + ".new", "w") as f:
        f.write("%d" % seconds)
    os.rename(t.wrong + ".new", t.wrong)


def days_off(r):
    return round((email.utils.parsedate_to_datetime(r.get("date")).timestamp() - time.time()) / DAY)


def shown(days):
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + days * DAY))


def after(t, days):
    """With a request on its way and a connection that is idle, both from before."""
    t.go.clear()
    answers = []
    n = len(t.o.seen("/slow"))
    slow = threading.Thread(target=lambda: answers.append(t.w.get("/slow")))
    with t.w.client() as c:
        c.ask("GET", "/")
        slow.start()
        t.o.await_seen("/slow", n + 1)
        jump(t, days * DAY)
        wire.await_true("the other day", lambda: days_off(t.w.get("/none", host="x")) == days)
        t.go.set()
        slow.join(wire.patience() * 3)
        assert answers and answers[0].body == b"slow", answers
        assert c.ask("GET", "/").status == 200, "the idle connection"
    days_shown = {shown(days)}
    r = t.w.get("/never")
    assert r.status == 504, "a limit of 300 ms: %r" % r
    days_shown.add(shown(days))
    t.w.await_access(lambda x: x["path"] == "/never" and x["time"][:10] in days_shown)
    assert all(x["duration_us"] < 600 * 1000000 for x in t.w.access()), t.w.access()


def test_on(t):
    after(t, 40)


def test_back(t):
    after(t, -40)


def test_and_right_again(t):
    after(t, 0)

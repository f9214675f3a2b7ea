# SPDX-License-Identifier: Apache-2.0
"""One origin of the soak, a process of its own so that it can be killed and stopped:
origin.py h1|h2 ADDRESS. A line on stdin is how it behaves from now on: well, slow, reset, cut,
garbage, silent, error, sick (the health check alone fails), refuse (h1)."""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
sys.dont_write_bytecode = True

from peers import wire  # noqa: E402
from peers import h2 as h2_frames  # noqa: E402
from peers.h2_origin import H2Origin  # noqa: E402
from peers.origin import Origin  # noqa: E402

SLOW = 0.15
mode = ["well"]


def body_for(path, size):
    seed = path.encode() + b"."
    return (seed * (size // len(seed) + 1))[:size]


def wanted(path):
    """/NAME/SIZE/...: the body that is asked for."""
    parts = path.split("/")
    return body_for(path, int(parts[2])) if len(parts) > 2 and parts[2].isdigit() else b"ok"


def h1(conn, req):
    if req.path == "/healthz":
        conn.reply(500 if mode[0] in ("sick", "error") else 200)
        return
    if req.fields.has("upgrade"):
        echo(conn)
        return
    body = wanted(req.path)
    if mode[0] == "reset":
        conn.reset()
        return
    req.body()
    length = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    if mode[0] == "slow":
        conn.send(length + body[:len(body) // 2])
        time.sleep(SLOW)
        conn.send(body[len(body) // 2:])
    elif mode[0] == "cut":
        conn.send(length + body[:len(body) // 2])
        conn.close()
    elif mode[0] == "garbage":
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n\0\r\n")
        conn.close()
    elif mode[0] == "silent":
        conn.await_end()
    elif mode[0] == "error":
        conn.reply(503)
    else:
        conn.reply(200, body=body, chunked=len(body) % 2 == 1)


def echo(conn):
    conn.tunnel = True
    conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
              "Upgrade: websocket\r\n\r\n")
    while mode[0] != "reset":
        piece = conn.stream.some()
        if not piece:
            break
        conn.send(piece)
    conn.close()


def h2(r):
    if r.path == "/healthz":
        r.reply(500 if mode[0] in ("sick", "error") else 200)
        return
    body = wanted(r.path)
    if mode[0] in ("reset", "cut"):
        r.rst(h2_frames.INTERNAL_ERROR)
        return
    r.await_over()
    if mode[0] == "garbage":
        r.conn.close()
    elif mode[0] == "silent":
        r.await_reset()
    elif mode[0] == "error":
        r.reply(503)
    elif r.reset is None:
        if mode[0] == "slow":
            time.sleep(SLOW)
        r.reply(body=body)


def main():
    wire.PATIENCE = 30.0
    kind, address = sys.argv[1:]
    o = Origin(address, "soak") if kind == "h1" else H2Origin(address)
    o.default = h1 if kind == "h1" else h2
    o.lenient = True  # clients break off in the middle of what is passed on
    for line in sys.stdin:
        was, mode[0] = mode[0], line.strip()
        if kind == "h1" and (was == "refuse") != (mode[0] == "refuse"):
            o.stop_listening() if mode[0] == "refuse" else o.listen()
    os._exit(0)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""Early data (0-RTT): requests that come before the handshake is over, by openssl s_client; each
session brings some once."""

import os
import socket
import subprocess
import threading

from peers import tls, weir, wire

NOT_IN = {"doors": "a refused session is one that cannot be resumed"}
GET = "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n"


def begin(t):
    t.openssl = t.needs("openssl")
    t.o = t.origin()
    t.ca = tls.authority(t)
    t.site = t.ca.sign("site", ["localhost"])
    t.dir_ = t.make_dir("sessions")
    t.w = start(t, early_data=True)


def start(t, **settings):
    one = {"address": t.address(), "tls": dict({"certificates": [t.site.conf()]}, **settings)}
    return t.start(weir.one_origin(t.o.address, listeners=[one]), admin=True)


def s_client(t, w, *args, send=b""):
    """All that openssl s_client says."""
    p = subprocess.run([t.openssl, "s_client", "-connect", w.address, "-servername", "localhost",
                        "-tls1_3", "-ign_eof", *args], input=send, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=wire.patience() * 3)
    return p.stdout.decode("latin-1")


def session(t, w, name):
    """A file with a session that a first request brought."""
    path = os.path.join(t.dir_, name)
    out = s_client(t, w, "-sess_out", path, send=(GET % ("/first", "")).encode())
    assert "HTTP/1.1 200" in out, out
    return path


def early(t, w, path, request):
    """Resumes that session with request as early data, and asks for something else afterwards, for
    which a connection whose early data was refused is still there."""
    file = os.path.join(t.dir_, "request")
    with open(file, "wb") as f:
        f.write(request.encode())
    return s_client(t, w, "-sess_in", path, "-early_data", file,
                    send=(GET % ("/after", "")).encode())


def test_get(t):
    """It goes on with Early-Data: 1, whatever the client says of that itself, and is answered."""
    for i, own in enumerate(("", "Early-Data: 0\r\nEarly-Data: 1\r\n")):
        path = session(t, t.w, "get%d" % i)
        out = early(t, t.w, path, GET % ("/early%d" % i, own))
        assert "Early data was accepted" in out and "HTTP/1.1 200" in out, out
        q = t.o.await_seen("/early%d" % i)[-1]
        assert q.fields.all("early-data") == ["1"], q
        assert t.w.line_for("/early%d" % i)["early_data"] is True
    assert not t.o.seen("/first")[-1].get("early-data")
    assert "early_data" not in t.w.line_for("/first")
    assert t.w.metrics().value("weir_tls_early_requests_total") >= 2


def test_unsafe(t):
    """425, and nothing reaches an upstream."""
    path = session(t, t.w, "post")
    out = early(t, t.w, path, "POST /unsafe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
                "Connection: close\r\n\r\nhi")
    assert "Early data was accepted" in out and "HTTP/1.1 425 Too Early" in out, out
    assert "too_early" in out, out
    assert t.w.line_for("/unsafe")["reason"] == "too_early"
    assert not t.o.seen("/unsafe")


def test_no_replay(t):
    """A session brings early data once: the second time it is a full handshake, and not read."""
    path = session(t, t.w, "twice")
    again = path + ".copy"
    with open(path, "rb") as a, open(again, "wb") as b:
        b.write(a.read())
    assert "Early data was accepted" in early(t, t.w, path, GET % ("/once", ""))
    t.o.await_seen("/once")
    out = early(t, t.w, again, GET % ("/once", ""))
    assert "Early data was rejected" in out and "New, TLSv1.3" in out and "200 OK" in out, out
    assert len(t.o.seen("/once")) == 1


def test_too_early_of_the_upstream(t):
    t.o.on("/later", lambda conn, req: conn.reply(425, reason="Too Early", body=b"later"))
    out = early(t, t.w, session(t, t.w, "later"), GET % ("/later", ""))
    assert "HTTP/1.1 425" in out and "later" in out, out


def test_off(t):
    """Without early_data nothing offers it; with certificates of clients nothing takes it."""
    w = start(t)
    path = session(t, w, "off")
    shown = subprocess.run([t.openssl, "sess_id", "-in", path, "-noout", "-text"],
                           capture_output=True, text=True).stdout
    assert "Max Early Data: 0" in shown, shown
    w = start(t, early_data=True, client_auth={"mode": "request", "ca": t.ca.cert})
    out = early(t, w, session(t, w, "auth"), GET % ("/auth", ""))
    assert "Early data was rejected" in out and "200 OK" in out, out
    assert not t.o.seen("/auth")


class Relay:
    """One connection to Weir, of which the client gets nothing before release is set: so it cannot
    finish the handshake."""

    def __init__(self, address, to):
        self.address, self.to, self.release = address, to, threading.Event()
        host, port = address.rsplit(":", 1)
        self.listener = socket.create_server((host, int(port)))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        client, _ = self.listener.accept()
        server = wire.connect(self.to)
        threading.Thread(target=copy, args=(client, server), daemon=True).start()
        self.release.wait(wire.patience() * 3)
        copy(server, client)


def copy(source, sink):
    try:
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_answered_before_the_handshake_is_over(t):
    """Which is what early data is for: the client has not even seen Weir's ServerHello."""
    path = session(t, t.w, "half")
    relay = Relay(t.address(), t.w.address)
    file = os.path.join(t.dir_, "half-request")
    with open(file, "wb") as f:
        f.write((GET % ("/half", "")).encode())
    p = subprocess.Popen([t.openssl, "s_client", "-connect", relay.address, "-servername",
                          "localhost", "-tls1_3", "-ign_eof", "-sess_in", path, "-early_data",
                          file], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT)
    try:
        assert t.o.await_seen("/half")[-1].get("early-data") == "1"
        line = t.w.line_for("/half")
        assert line["status"] == 200 and line["reason"] == "ok", line
    finally:
        relay.release.set()
        out = p.communicate(timeout=wire.patience() * 3)[0].decode("latin-1")
    assert "HTTP/1.1 200" in out, out

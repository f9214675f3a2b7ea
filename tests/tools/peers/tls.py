# SPDX-License-Identifier: Apache-2.0
"""Certificates made on the spot, and clients and origins that speak TLS."""

import datetime
import ipaddress
import os
import socket
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import client, origin, wire

PEM = serialization.Encoding.PEM
DAY = datetime.timedelta(days=1)


def now():
    return datetime.datetime.utcnow()


def san(name):
    """A name in a certificate: host, IP address, URI or e-mail address."""
    if "://" in name:
        return x509.UniformResourceIdentifier(name)
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Cert:
    """A certificate with its key, as files."""

    def __init__(self, folder, name, cert, key, chain):
        self.x509, self.private, self.chain = cert, key, chain
        self.cert = os.path.join(folder, name + ".pem")
        self.key = os.path.join(folder, name + ".key")
        self.write()

    def pem(self):
        return b"".join(c.public_bytes(PEM) for c in [self.x509] + self.chain)

    def key_pem(self):
        return self.private.private_bytes(PEM, serialization.PrivateFormat.PKCS8,
                                          serialization.NoEncryption())

    def write(self, cert=None, key=None):
        """Writes the files, or those of another certificate in their place, each at once."""
        for path, text in ((self.cert, cert or self.pem()), (self.key, key or self.key_pem())):
            with open(path + ".new", "wb") as f:
                f.write(text)
            os.rename(path + ".new", path)

    def conf(self, **more):
        return dict({"cert": self.cert, "key": self.key}, **more)


class Authority(Cert):
    """Signs certificates and lists of revoked ones."""

    def sign(self, name, names=(), kind="ec", cn=None, days=30, start=-1, ca=False, client=False):
        return make(self.folder, name, names, kind, cn, days, start, ca, self, client)

    def crl(self, revoked=()):
        """The path of a list that revokes these."""
        b = x509.CertificateRevocationListBuilder().issuer_name(self.x509.subject)
        b = b.last_update(now() - DAY).next_update(now() + 30 * DAY)
        for c in revoked:
            b = b.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(c.x509.serial_number)
                .revocation_date(now() - DAY).build())
        path = self.cert[:-4] + ".crl"
        with open(path + ".new", "wb") as f:
            f.write(b.sign(self.private, hashes.SHA256()).public_bytes(PEM))
        os.rename(path + ".new", path)
        return path

    def ocsp(self, cert, good=True, start=-1, days=7):
        """An OCSP response about a certificate, DER."""
        from cryptography.x509 import ocsp
        status = ocsp.OCSPCertStatus.GOOD if good else ocsp.OCSPCertStatus.REVOKED
        b = ocsp.OCSPResponseBuilder().add_response(
            cert=cert.x509, issuer=self.x509, algorithm=hashes.SHA1(), cert_status=status,
            this_update=now() + start * DAY, next_update=now() + days * DAY,
            revocation_time=None if good else now() - DAY, revocation_reason=None)
        b = b.responder_id(ocsp.OCSPResponderEncoding.HASH, self.x509)
        return b.sign(self.private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def make(folder, name, names=(), kind="ec", cn=None, days=30, start=-1, ca=False, issuer=None,
         client=False):
    """A certificate signed by issuer, or by itself. days and start count from now."""
    key = (ec.generate_private_key(ec.SECP256R1()) if kind == "ec"
           else rsa.generate_private_key(65537, 2048))
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Weir tests"),
                         x509.NameAttribute(NameOID.COMMON_NAME, cn or name)])
    b = x509.CertificateBuilder().subject_name(subject).public_key(key.public_key())
    b = b.issuer_name(issuer.x509.subject if issuer else subject)
    b = b.serial_number(x509.random_serial_number())
    b = b.not_valid_before(now() + start * DAY).not_valid_after(now() + days * DAY)
    b = b.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if names:
        b = b.add_extension(x509.SubjectAlternativeName([san(n) for n in names]), False)
    if not ca:
        use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        b = b.add_extension(x509.ExtendedKeyUsage([use]), False)
    cert = b.sign(issuer.private if issuer else key, hashes.SHA256())
    chain = [issuer.x509] + issuer.chain if issuer and issuer.issuer else []
    made = (Authority if ca else Cert)(folder, name, cert, key, chain)
    made.folder, made.issuer = folder, issuer
    return made


def authority(t, name="ca"):
    return make(t.make_dir("ca"), name, ca=True)


def context(ca=None, cert=None, alpn=(), low=None, high=None):
    """A client's context; ca None: nothing is verified."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_REQUIRED if ca else ssl.CERT_NONE
    if ca:
        c.load_verify_locations(ca.cert)
        c.check_hostname = True
    if cert:
        c.load_cert_chain(cert.cert, cert.key)
    if alpn:
        c.set_alpn_protocols(list(alpn))
    c.minimum_version = low or ssl.TLSVersion.TLSv1_2
    c.maximum_version = high or ssl.TLSVersion.TLSv1_3
    return c


class Client(client.Client):
    """A client over TLS. sni: the name asked for; None: none."""

    def __init__(self, address, sni="localhost", with_context=None, session=None, **more):
        super().__init__(address)
        c = with_context or context(**more)
        self.sock.settimeout(wire.patience())
        try:
            self.sock = c.wrap_socket(self.sock, server_hostname=sni, session=session,
                                      suppress_ragged_eofs=False)
        except (OSError, ValueError):
            wire.Refusals.note()
            self.sock.close()
            raise
        self.stream = wire.Stream(self.sock)

    def peer(self):
        """The certificate that was shown."""
        return x509.load_der_x509_certificate(self.sock.getpeercert(True))


def refused(address, **more):
    """The error with which a handshake (TLS 1.3: or the first read) ends."""
    try:
        with Client(address, **more) as c:
            c.sock.settimeout(wire.patience())
            c.sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = c.sock.recv(1000)
            if got:
                raise AssertionError("served: %r" % wire.Refusals.look(got))
            why = "closed"
    except TimeoutError:
        raise wire.Deadline("neither refused nor served: " + address)
    except OSError as e:
        why = str(e)
    if "alert" not in why.lower():
        wire.Refusals.note()  # a door says nothing
    return why


class Origin(origin.Origin):
    """An origin over TLS. cert: what it shows; ca: whose clients it takes."""

    def __init__(self, address, cert, name="origin", ca=None, low=None, high=None, alpn=(), **more):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert.cert, cert.key)
        self.context.minimum_version = low or ssl.TLSVersion.TLSv1_2
        self.context.maximum_version = high or ssl.TLSVersion.TLSv1_3
        if alpn:
            self.context.set_alpn_protocols(list(alpn))
        if ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(ca.cert)
        self.failed = []  # why handshakes failed
        super().__init__(address, name, **more)

    def serve(self, conn):
        try:
            conn.sock.settimeout(wire.patience() * 3)
            conn.sock = self.context.wrap_socket(conn.sock, server_side=True,
                                                 do_handshake_on_connect=False,
                                                 suppress_ragged_eofs=False)
            conn.sock.do_handshake()
            conn.stream = wire.Stream(conn.sock, self.idle)
        except OSError as e:
            with self.changed:
                self.failed.append(str(e))
                self.changed.notify_all()
            self.hear_out(conn)
            conn.ended.set()
            conn.close()
            return
        super().serve(conn)

    def hear_out(self, conn):
        """Takes what still comes: closing over unread bytes would reset the connection, and what
        the alert says with it."""
        try:
            conn.sock.settimeout(wire.patience())
            while socket.socket.recv(conn.sock, 65536):
                pass
        except OSError:
            pass

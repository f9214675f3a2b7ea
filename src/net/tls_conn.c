/* SPDX-License-Identifier: Apache-2.0 */
/* tls_conn.c: a connection that speaks TLS: OpenSSL over a BIO of our own. Invariants:
 * 1. The BIO alone calls recv and send, and keeps may_read and may_write as conn.h says: after a
 *    short read nothing is read again before an event says so.
 * 2. more is true while OpenSSL may hold bytes that a read would give; a read that gives none
 *    clears it, so nobody waits for an event that will not come, and nobody spins.
 * 3. The end of the socket is kept from OpenSSL (fin): what an end without close_notify means is
 *    decided here: a truncation (RFC 8446 6.1).
 * 4. OpenSSL's queue of errors is empty outside of these functions. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/panic.h"
#include "base/test_hooks.h"
#include "net/tls_inside.h"

#define RECORD 16384 /* most plain bytes of a TLS record */

/* ---- the BIO ------------------------------------------------------------------------------- */

static int wire_read(BIO *b, char *to, int max)
{
    struct tls *t = BIO_get_data(b);
    struct conn *c = t->conn;
    BIO_clear_retry_flags(b);
    if (t->fin || (!c->may_read && !c->hup && !c->unread)) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t want = test_io_limit((size_t) max);
    ssize_t got;
    do {
        got = syscall(SYS_recvfrom, c->watch.fd, to, want, 0, NULL, NULL);
    } while (__builtin_expect(got < 0 && errno == EINTR, 0));
    if (got > 0) {
        if ((size_t) got < want && !c->hup)
            c->may_read = false;
        return (int) got;
    }
    if (got < 0 && errno == EAGAIN) {
        c->may_read = false;
    } else {
        t->fin = true;
        if (got < 0) {
            c->broken = true;
            c->unread = false;
            c->reset = errno == ECONNRESET || errno == EPIPE;
        }
    }
    BIO_set_retry_read(b);
    return -1;
}

static int wire_write(BIO *b, const char *from, int n)
{
    struct tls *t = BIO_get_data(b);
    struct conn *c = t->conn;
    BIO_clear_retry_flags(b);
    if (c->broken)
        return -1;
    if (!c->may_write) {
        BIO_set_retry_write(b);
        return -1;
    }
    size_t want = test_io_limit((size_t) n);
    ssize_t sent;
    do {
        sent = syscall(SYS_sendto, c->watch.fd, from, want, MSG_NOSIGNAL, NULL, 0);
    } while (__builtin_expect(sent < 0 && errno == EINTR, 0));
    if (sent >= 0) {
        if ((size_t) sent < want)
            conn_filled(c);
        return (int) sent;
    }
    if (errno == EAGAIN) {
        conn_filled(c);
        BIO_set_retry_write(b);
        return -1;
    }
    c->unread |= !c->broken;
    c->broken = true;
    c->reset = errno == ECONNRESET || errno == EPIPE;
    return -1;
}

static long wire_ctrl(BIO *b, int what, long number, void *p)
{
    (void) b, (void) number, (void) p;
    return what == BIO_CTRL_FLUSH || what == BIO_CTRL_PUSH || what == BIO_CTRL_POP;
}

BIO_METHOD *tls_wire_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK | 127, "weir");
    must(m && BIO_meth_set_read(m, wire_read) && BIO_meth_set_write(m, wire_write) &&
         BIO_meth_set_ctrl(m, wire_ctrl));
    return m;
}

/* ---- birth and end ------------------------------------------------------------------------- */

struct tls *tls_new(SSL_CTX *ctx, const BIO_METHOD *wire)
{
    struct tls *t = mem_new(sizeof *t);
    BIO *b = BIO_new(wire);
    t->why = "";
    t->ssl = SSL_new(ctx);
    if (!b || !t->ssl) {
        BIO_free(b);
        SSL_free(t->ssl);
        mem_free(t);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(b, t);
    BIO_set_init(b, 1);
    SSL_set_bio(t->ssl, b, b);
    return t;
}

void tls_transport_free(void *transport)
{
    struct tls *t = transport;
    if (!t)
        return;
    /* Clients that go without close_notify are no reason to forget their sessions. */
    if (t->done)
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(t->ssl);
    if (t->set) {
        struct tls_server *server = t->set->server;
        tls_set_unref(t->set);
        tls_server_unref(server);
    }
    tls_client_unref(t->client);
    mem_free(t->peer);
    mem_free((void *) t->host.p);
    mem_free(t);
}

/* Every call begins with this: struct conn may have moved. */
static inline struct tls *enter(const struct conn *c)
{
    struct tls *t = c->transport;
    t->conn = (struct conn *) (uintptr_t) c;
    if (__builtin_expect(ERR_peek_error() != 0, 0))
        ERR_clear_error(); /* somebody else's */
    return t;
}

/* What is left behind a call that gave nothing: waiting, the end, or a break. */
static enum io nothing(struct tls *t, int result)
{
    struct conn *c = t->conn;
    int error = SSL_get_error(t->ssl, result);
    t->more = false;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        if (!t->fin || error == SSL_ERROR_WANT_WRITE) {
            c->last_short = true;
            return IO_AGAIN;
        }
        if (!c->broken)
            t->why = "the connection ended without close_notify";
        c->broken = true;
        return IO_ERR;
    }
    if (error == SSL_ERROR_ZERO_RETURN)
        return IO_EOF;
    t->alerted = ERR_GET_REASON(ERR_peek_error()) >= SSL_AD_REASON_OFFSET;
    if (!c->broken)
        t->why = tls_reason();
    ERR_clear_error();
    c->broken = true;
    c->unread = false;
    return IO_ERR;
}

static enum io handshake_done(struct tls *t, enum fault *fault);

/* A read while the handshake goes on. False: that is over now, and a read is as ever. */
static bool read_early(struct tls *t, void *to, size_t max, size_t *n, enum io *io)
{
    struct conn *c = t->conn;
    int result;
    enum fault fault;
    *io = tls_early_read(t, to, max, n, &result);
    if (*io == IO_OK) {
        t->more = true;
        c->last_short = false;
    } else if (*io != IO_EOF) {
        *io = nothing(t, result);
    } else if (handshake_done(t, &fault) != IO_OK) {
        c->broken = true;
        *io = IO_ERR;
    } else {
        return false;
    }
    return true;
}

static enum io tls_read(struct conn *c, void *to, size_t max, size_t *n)
{
    struct tls *t = enter(c);
    enum io early;
    if (__builtin_expect(t->early, 0) && read_early(t, to, max, n, &early))
        return early;
    int r = SSL_read_ex(t->ssl, to, max, n);
    if (__builtin_expect(r <= 0, 0))
        return nothing(t, r);
    t->more = SSL_has_pending(t->ssl);
    c->last_short = !c->may_read && !t->more;
    return IO_OK;
}

/* What is left behind a write that wrote nothing. When it is the socket that broke, what came
 * before may still be read. */
static enum io unwritten(struct tls *t, int result)
{
    struct conn *c = t->conn;
    int error = SSL_get_error(t->ssl, result);
    if (error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ)
        return IO_AGAIN;
    if (!c->broken) {
        t->why = tls_reason();
        c->broken = true;
    }
    ERR_clear_error();
    return IO_ERR;
}

/* Up to a record's worth of bytes in one piece: as they are, or copied together into room. */
static size_t gather(const struct iovec **iov, int *n_iov, size_t *at, char *room,
                     const char **piece)
{
    const struct iovec *v = *iov;
    size_t n = v->iov_len - *at;
    if (n >= RECORD || *n_iov == 1) {
        *piece = (const char *) v->iov_base + *at;
        n = n < RECORD ? n : RECORD;
        *at += n;
    } else {
        n = 0;
        *piece = room;
        for (; *n_iov > 0 && n < RECORD; (*n_iov)--, v++, *at = 0) {
            size_t part = v->iov_len - *at;
            bool whole = part <= RECORD - n;
            part = whole ? part : RECORD - n;
            memcpy(room + n, (const char *) v->iov_base + *at, part);
            n += part;
            if (!whole) {
                *at += part;
                break;
            }
        }
        *iov = v;
        return n;
    }
    if (*at == v->iov_len) {
        *at = 0;
        (*n_iov)--;
        *iov = v + 1;
    }
    return n;
}

/* A record that did not leave whole is tried again by the next call, whose bytes begin with the
 * same ones: they were not counted as written. */
static enum io tls_writev(struct conn *c, const struct iovec *iov, int n_iov, size_t *n)
{
    struct tls *t = enter(c);
    char room[RECORD];
    size_t at = 0;
    while (n_iov > 0 && c->may_write) {
        const char *piece;
        size_t took = gather(&iov, &n_iov, &at, room, &piece), sent = 0;
        if (took == 0)
            continue;
        int r = t->early ? SSL_write_early_data(t->ssl, piece, took, &sent)
                         : SSL_write_ex(t->ssl, piece, took, &sent);
        if (r <= 0) {
            enum io io = unwritten(t, r);
            return *n && io == IO_AGAIN ? IO_OK : io;
        }
        *n += sent;
        if (sent < took)
            break;
    }
    return *n ? IO_OK : IO_AGAIN;
}

static bool tls_pending(const struct conn *c)
{
    return ((const struct tls *) c->transport)->more;
}

/* Tickets and key updates are taken; a byte for the owner, or an end, is left where it is. */
static bool tls_quiet(struct conn *c)
{
    struct tls *t = enter(c);
    char byte;
    size_t n;
    c->may_read = true;
    enum io early;
    if (t->early && read_early(t, &t->first, 1, &n, &early)) {
        t->held = early == IO_OK;
        return early == IO_AGAIN;
    }
    int r = SSL_peek_ex(t->ssl, &byte, 1, &n);
    if (r > 0) {
        t->more = true;
        return false;
    }
    return nothing(t, r) == IO_AGAIN;
}

static void tls_shutdown_write(struct conn *c)
{
    struct tls *t = enter(c);
    if (t->done && !c->broken && SSL_shutdown(t->ssl) < 0)
        ERR_clear_error();
    (void) shutdown(c->watch.fd, SHUT_WR);
}

static void tls_close(struct conn *c)
{
    struct tls *t = enter(c);
    if (t->done && !c->broken && !c->write_shut && SSL_shutdown(t->ssl) < 0)
        ERR_clear_error();
    c->transport = NULL;
    tls_transport_free(t);
}

/* ---- handshake ----------------------------------------------------------------------------- */

/* The handshake is over: who is there. */
static enum io handshake_done(struct tls *t, enum fault *fault)
{
    X509 *x = SSL_get0_peer_certificate(t->ssl);
    t->done = true;
    t->more = SSL_has_pending(t->ssl);
    if (t->client && x && !tls_client_pinned(t->client, x)) {
        t->why = "its public key is none of pin_sha256";
        *fault = FAULT_UP_CERT_PIN;
        return IO_ERR;
    }
    if (!x || !t->set || t->auth->conf->mode == TLS_AUTH_OFF)
        return IO_OK;
    /* A session that is resumed was verified when it began; since then time has passed. */
    if (SSL_session_reused(t->ssl) && X509_cmp_current_time(X509_get0_notAfter(x)) <= 0) {
        t->why = "the client's certificate of the resumed session has expired";
        *fault = FAULT_CLIENT_CERT_INVALID;
        return IO_ERR;
    }
    t->peer = tls_peer_new(x, &t->auth->conf->allow);
    return IO_OK;
}

static enum io tls_do_handshake(struct conn *c, enum fault *fault)
{
    struct tls *t = enter(c);
    enum io early = t->early ? tls_early_begin(t) : IO_EOF;
    t->more = early == IO_OK;
    if (early == IO_OK)
        return IO_OK;
    int r = early == IO_EOF ? SSL_do_handshake(t->ssl) : 0;
    if (r == 1)
        return handshake_done(t, fault);
    int error = SSL_get_error(t->ssl, r);
    bool waits = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
    if (waits && !t->fin)
        return IO_AGAIN;
    *fault = tls_handshake_fault(t, error);
    ERR_clear_error();
    c->broken = true;
    return IO_ERR;
}

/* ---- what is known ------------------------------------------------------------------------- */

static struct str tls_alpn(const struct conn *c)
{
    const unsigned char *p;
    unsigned n;
    SSL_get0_alpn_selected(((const struct tls *) c->transport)->ssl, &p, &n);
    return str_of((const char *) p, n);
}

bool conn_tls_info(const struct conn *c, struct tls_info *out)
{
    *out = (struct tls_info){0};
    if (c->ops != &conn_tls || !c->transport)
        return false;
    const struct tls *t = c->transport;
    const struct tls_peer *p = t->peer;
    out->version = str_c(SSL_get_version(t->ssl));
    out->cipher = str_c(SSL_get_cipher_name(t->ssl));
    out->sni = str_c(SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name));
    out->alpn = tls_alpn(c);
    out->resumed = SSL_session_reused(t->ssl) == 1;
    if (!p)
        return true;
    out->verified = true;
    out->denied = p->denied;
    out->identity = p->identity;
    out->subject = p->subject;
    out->issuer = p->issuer;
    out->san = p->san;
    out->sha256 = p->sha256;
    out->der = p->der;
    return true;
}

bool conn_tls_asks(const struct conn *c)
{
    const struct tls *t = c->ops == &conn_tls ? c->transport : NULL;
    return t && t->set && (t->set->asks);
}

bool conn_tls_serves(const struct conn *c, struct str host)
{
    if (c->ops != &conn_tls || !c->transport)
        return true;
    const struct tls *t = c->transport;
    if (!t->set)
        return true;
    const struct tls_auth *wanted = tls_set_auth(t->set, host);
    if (wanted->conf->mode == TLS_AUTH_OFF && t->auth->conf->mode == TLS_AUTH_OFF)
        return true;
    struct str sni = str_c(SSL_get_servername(t->ssl, TLSEXT_NAMETYPE_host_name));
    return wanted == t->auth && (sni.n == 0 || str_ieq(tls_name(sni), tls_name(host)));
}

bool conn_tls_early(const struct conn *c)
{
    const struct tls *t = c->ops == &conn_tls ? c->transport : NULL;
    return t && t->early;
}

bool conn_tls_alerted(const struct conn *c)
{
    const struct tls *t = c->ops == &conn_tls ? c->transport : NULL;
    return t && t->alerted;
}

void conn_tls_strip(struct conn *c)
{
    tls_transport_free(c->transport);
    c->transport = NULL;
    c->ops = &conn_plain;
    c->broken = false;
}

const char *conn_tls_why(const struct conn *c)
{
    const struct tls *t = c->ops == &conn_tls ? c->transport : NULL;
    return t ? t->why : "";
}

const struct conn_ops conn_tls = {
    .name = "tls",
    .read = tls_read,
    .writev = tls_writev,
    .pending = tls_pending,
    .handshake = tls_do_handshake,
    .alpn = tls_alpn,
    .quiet = tls_quiet,
    .shutdown_write = tls_shutdown_write,
    .close = tls_close,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* tls_inside: what the files of TLS share: tls_conn.c (one connection), tls_server.c (names and
 * policies of a listener), tls_client.c (links); what these are made of is in tls_parts.h. Files
 * net/tls*.c alone see OpenSSL. Never for others. */
#ifndef WEIR_NET_TLS_INSIDE_H
#define WEIR_NET_TLS_INSIDE_H

#include "base/map.h"
#include "net/tls_parts.h"

/* ---- servers (tls_server.c) ---- */

struct tls_host { /* certificates shown together */
    SSL_CTX *ctx;
    struct tls_cert *certs[TLS_KEY_KINDS]; /* by kind; NULL: none */
};

/* What is in use at a time; never changed, so connections need no lock. */
struct tls_set {
    _Atomic uint32_t refs;
    struct tls_server *server; /* outlives it: connections hold both */
    struct tls_host *hosts;    /* the first is the default */
    size_t n_hosts;
    struct map by_name;      /* name or *.name -> struct tls_host */
    struct tls_auth *auth;   /* the listener's */
    uint32_t round;          /* the server's when this was made */
    bool asks;               /* one of these asks for certificates */
    struct map auth_by_name; /* name or *.name -> struct tls_auth */
};

struct tls_server {
    struct tls_watched watched;  /* first */
    struct tls_server_conf conf; /* with all it points to in room */
    void *room;
    pthread_mutex_t lock; /* of set, while it is exchanged */
    struct tls_set *set;
    _Atomic uint32_t round; /* how often auths were loaded anew */
    struct tls_tickets tickets;
    struct tls_cert **certs; /* in use, by place in conf; main thread */
    struct tls_auth *
        *auths; /* the listener's, then by place in conf.sni; NULL: as the listener's */
    BIO_METHOD *wire;
    EVP_CIPHER *aes;        /* of tickets */
    struct tls_file *files; /* three a certificate, two an auth, then the tickets' */
    size_t n_files;
    unsigned char alpn[256]; /* as ALPN has it on the wire */
    unsigned n_alpn;
};

/* One reference less, the last frees; NULL is allowed. */
void tls_set_unref(struct tls_set *s);
/* Without the dot at the end by which DNS may say that a name is whole. */
static inline struct str tls_name(struct str name)
{
    bool dot = name.n > 1 && name.p[name.n - 1] == '.';
    return str_of(name.p, name.n - dot);
}
/* The policy for a name. */
const struct tls_auth *tls_set_auth(const struct tls_set *s, struct str name);

/* ---- links (tls_client.c) ---- */

struct tls_client {
    struct tls_watched watched; /* first */
    struct tls_client_conf conf;
    void *room;
    BIO_METHOD *wire;
    pthread_mutex_t lock;     /* of what follows */
    SSL_CTX *ctx;             /* in use */
    struct map sessions;      /* host -> SSL_SESSION */
    struct tls_file files[4]; /* ca, crl, cert, key */
};

/* The pin fits; without pins always. */
bool tls_client_pinned(const struct tls_client *c, X509 *x);

/* ---- one connection (tls_conn.c) ---- */

/* Where early data stands (RFC 8446 2.3), on a listener that takes it. */
enum tls_early {
    TLS_EARLY_NONE, /* there is none, or it is over with the handshake */
    TLS_EARLY_ASK,  /* the handshake has not begun: there may be some */
    TLS_EARLY_OPEN, /* it is being read */
    TLS_EARLY_READ, /* all of it was read; the handshake goes on */
};

struct tls {
    SSL *ssl;
    struct conn *conn;           /* of the call in progress */
    struct tls_set *set;         /* clients' side: one reference, and one of its server */
    const struct tls_auth *auth; /* of set: what holds for the name that was asked for */
    struct tls_client *client;   /* upstreams' side: one reference */
    struct tls_peer *peer;       /* owned; NULL: no certificate */
    struct str host;             /* upstreams' side, owned */
    const char *why;             /* static text */
    uint8_t early;               /* enum tls_early */
    char first;                  /* the next byte of early data, when held */
    bool held : 1;
    bool done : 1;    /* the handshake is over */
    bool more : 1;    /* OpenSSL may have bytes that a read would give */
    bool fin : 1;     /* the socket ended */
    bool alerted : 1; /* the peer broke it by an alert */
    bool refused : 1; /* by us: the name is not served */
};

/* How OpenSSL reads and writes the socket; outlives every connection that uses it. For
 * BIO_meth_free. */
BIO_METHOD *tls_wire_new(void);
/* A transport on ctx. NULL: no memory. */
struct tls *tls_new(SSL_CTX *ctx, const BIO_METHOD *wire);
/* The connection of an SSL, in callbacks. By its BIO: application data would cost each connection
 * two more allocations. */
static inline struct tls *tls_of(const SSL *ssl)
{
    return BIO_get_data(SSL_get_rbio(ssl));
}
/* ---- early data (tls_early.c) ---- */

/* Has ctx's listener take it, each session once. */
void tls_early_allow(SSL_CTX *ctx, const struct tls_server_conf *c);
/* The first step of a handshake that may bring some: IO_OK: it did, and the connection may be read;
 * IO_EOF: it does not; IO_AGAIN, IO_ERR: as SSL_get_error(ssl, 0) says. */
enum io tls_early_begin(struct tls *t);
/* Reads early data. IO_OK: *n bytes; IO_EOF: all of it was read, and the handshake is over;
 * else *result is what SSL_get_error wants. */
enum io tls_early_read(struct tls *t, void *to, size_t max, size_t *n, int *result);

/* Why a handshake failed. */
enum fault tls_handshake_fault(struct tls *t, int error);

#endif

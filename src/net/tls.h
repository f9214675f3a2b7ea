/* SPDX-License-Identifier: Apache-2.0 */
/* tls: TLS 1.2 and 1.3 on either side of a connection: conn_tls is the transport, a tls_server what
 * a listener shows to clients, a tls_client what an upstream's links use. Servers and clients are
 * counted, made by the main thread and read by any; their files are watched by a tls_store, which
 * puts changed ones to use for new connections and never touches those that are there. A
 * connection's state belongs to its loop's thread. Knows no HTTP. */
#ifndef WEIR_NET_TLS_H
#define WEIR_NET_TLS_H

#include "base/arena.h"
#include "net/conn.h"
#include "net/tls_conf.h"

struct tls_store;
struct tls_server;
struct tls_client;

extern const struct conn_ops conn_tls;

/* What a connection that is being made is charged for, in bytes: OpenSSL's objects and buffers in
 * the middle of a handshake, and what of them stays. */
#define TLS_BYTES_OPENING (48u * 1024)
#define TLS_BYTES_OPEN (15u * 1024)

/* Who hears what is wrong with a file. at: the text of the configuration that names it. */
struct tls_errors {
    void (*say)(void *arg, struct str at, const char *text);
    /* Hears of what is out of its time (a certificate of one's own, an OCSP response), which is
     * then no error. NULL: it is one. */
    void (*untimely)(void *arg, struct str at, const char *text);
    void *arg;
    unsigned n; /* errors so far */
};

/* ---- what outlives configurations ----------------------------------------------------------- */

/* Finds servers and clients of equal settings again and watches their files. One a process or
 * library instance. */
struct tls_store *tls_store_new(void);
/* Frees; no server or client may be left. */
void tls_store_free(struct tls_store *s);
/* Looks whether files changed since the last call, and loads those that did and have come to rest.
 * What is broken is logged and the old one stays. Rotates ticket keys. Main thread, about once a
 * second. now: now; wall: seconds since 1970. */
void tls_store_look(struct tls_store *s, usec_t now, int64_t wall);

/* A certificate in use, for figures. */
struct tls_cert_figures {
    struct str file, name; /* of the certificate; its first name */
    int64_t not_after;     /* seconds since 1970 */
};
/* Calls fn for each certificate in use, once a file. Any thread. */
void tls_store_each_cert(struct tls_store *s,
                         void (*fn)(void *arg, const struct tls_cert_figures *c), void *arg);
/* The keys of session tickets that a listener made for itself: what another process needs to resume
 * the sessions of its clients. Secret. */
#define TLS_KEYS_MADE 3 /* the one that encrypts and the two before it */
#define TLS_KEY_BYTES 80
struct tls_made_keys {
    uint64_t content, certs; /* stable hashes of the settings; of the certificates' names alone */
    usec_t next;             /* when another one is due */
    unsigned n;
    unsigned char bytes[TLS_KEYS_MADE * TLS_KEY_BYTES]; /* the one that encrypts first */
};
/* Calls fn for each server that makes its own keys, and forgets the copy. Main thread. */
void tls_store_each_keys(struct tls_store *s, void (*fn)(void *arg, struct tls_made_keys *k),
                         void *arg);
/* Gives servers that make their own the keys, out of n, of one of the same settings, else of the
 * same certificates. Main thread, before they serve. */
void tls_store_take_keys(struct tls_store *s, const struct tls_made_keys *v, size_t n);

/* Files that changed but could not be used, and those that were put to use. Any thread. */
void tls_store_loads(struct tls_store *s, uint64_t *good, uint64_t *bad);

/* ---- listeners ------------------------------------------------------------------------------ */

/* One reference to the server of these settings, new when the store (may be NULL) has none. NULL:
 * e was told. Main thread. */
struct tls_server *tls_server_new(struct tls_store *s, const struct tls_server_conf *conf,
                                  struct tls_errors *e);
/* One more reference; any thread. */
struct tls_server *tls_server_ref(struct tls_server *s);
/* One less, the last frees; NULL is allowed; any thread. */
void tls_server_unref(struct tls_server *s);
/* The settings that it was made from. */
const struct tls_server_conf *tls_server_settings(const struct tls_server *s);
/* The transport of a connection that a client opened: for conn.transport. NULL: no memory. */
void *tls_accept(struct tls_server *s);

/* ---- upstreams ------------------------------------------------------------------------------ */

/* As tls_server_new. */
struct tls_client *tls_client_new(struct tls_store *s, const struct tls_client_conf *conf,
                                  struct tls_errors *e);
/* One more reference; any thread. */
struct tls_client *tls_client_ref(struct tls_client *c);
/* One less, the last frees; NULL is allowed; any thread. */
void tls_client_unref(struct tls_client *c);
/* The settings that it was made from. */
const struct tls_client_conf *tls_client_settings(const struct tls_client *c);
/* The transport of a connection to an endpoint of that host (a name, or an IP address as text;
 * empty: neither). h1_only: offers http/1.1 alone by ALPN, whatever the settings say. NULL: no
 * memory. */
void *tls_connect(struct tls_client *c, struct str host, bool h1_only);

/* ---- one connection ------------------------------------------------------------------------- */

/* Frees a transport that no conn took. */
void tls_transport_free(void *transport);
/* What is known of it, as views that live as long as it does. */
struct tls_info {
    struct str version, cipher; /* "TLSv1.3", "TLS_AES_128_GCM_SHA256" */
    struct str sni;             /* named by the client; empty: none */
    struct str alpn;
    bool resumed;
    bool verified;       /* the peer has a certificate that was verified; else the rest is empty */
    bool denied;         /* it is not among those allowed */
    struct str identity; /* SPIFFE id, else first DNS name or e-mail, else common name, else DN */
    struct str subject;  /* RFC 4514 */
    struct str issuer;   /* RFC 4514 */
    struct str san;      /* "DNS:a.example, URI:spiffe://..." */
    struct str sha256;   /* of the certificate, hex */
    struct str der;      /* the certificate */
};
/* Fills *out; false: c is no TLS connection. */
bool conn_tls_info(const struct conn *c, struct tls_info *out);
/* c came to a listener that asks clients for certificates, for some name at least. */
bool conn_tls_asks(const struct conn *c);
/* A request for host (lower case, no port) may come over c, to a listener that asks for
 * certificates: the name under which c was made has the same say about them. */
bool conn_tls_serves(const struct conn *c, struct str host);
/* s asks clients for other certificates for host than c was made under: its settings, authorities
 * or lists of revoked ones changed since. */
bool conn_tls_outdated(const struct conn *c, struct tls_server *s, struct str host);
/* What was read of c came before its handshake was over, and could be a replay (RFC 8446 8). Such a
 * connection may be read and written; the handshake goes on as it is read. */
bool conn_tls_early(const struct conn *c);
/* The peer ended c by a fatal alert: it refused a certificate after the handshake, say. */
bool conn_tls_alerted(const struct conn *c);
/* After a failed handshake: c is a plain connection from now on, not broken; what came is lost. */
void conn_tls_strip(struct conn *c);
/* What went wrong in words, when a handshake failed or a connection broke; never NULL. */
const char *conn_tls_why(const struct conn *c);

/* The program only, before anything else uses OpenSSL: its memory comes from base/. */
void tls_use_base_memory(void);

#endif

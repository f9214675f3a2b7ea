/* SPDX-License-Identifier: Apache-2.0 */
/* tls_parts: what servers and clients of TLS are made of: watched files, the store (tls_store.c),
 * one certificate with its key (tls_cert.c), clients' certificates (tls_auth.c), keys of tickets
 * (tls_ticket.c). Made by the main thread, never changed afterwards (but the store and the keys,
 * which have locks). Never for other files than net/tls*.c. */
#ifndef WEIR_NET_TLS_PARTS_H
#define WEIR_NET_TLS_PARTS_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/list.h"
#include "base/mem.h"
#include "net/tls.h"

#define TLS_FILE_MAX (4u * 1024 * 1024)

/* ---- files (tls_store.c) ---- */

/* One watched file: what it was like when it was last looked at and last used. */
struct tls_file {
    const char *path;    /* owned, NUL-terminated */
    uint64_t used, seen; /* stamps; 0: not there */
};

/* A file of that name (empty: none), its present stamp taken as used. */
void tls_file_init(struct tls_file *f, struct str path);
/* Frees the name. */
void tls_file_fini(struct tls_file *f);
/* Looks again: true when it is another one than the one in use, and the same as at the last look.
 * It counts as used from now on. */
bool tls_file_changed(struct tls_file *f);
/* Reads a PEM or DER file; NULL: e was told, pointing at the text that named it. For BIO_free and
 * mem_free(*bytes). */
BIO *tls_file_open(struct str path, char **bytes, struct tls_errors *e);
/* Says something about a file. */
void tls_say(struct tls_errors *e, struct str at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Keeps the first of what is said: for tls_errors.say. text is for mem_free. */
struct tls_heard {
    char *text;
};
/* See struct tls_heard. */
void tls_hear(void *arg, struct str at, const char *text);
/* The reason of the oldest error of this thread in words; clears all. */
const char *tls_reason(void);

/* What the store has of servers and clients alike. */
struct tls_watched {
    struct list_node node;   /* of the store, under its lock */
    struct tls_store *store; /* NULL: not watched */
    uint64_t content;        /* stable hash of the settings */
    bool is_server;
    _Atomic uint32_t refs; /* reaches 0 under the store's lock only */
    void (*look)(struct tls_watched *w, usec_t now);
};
/* One of that content, with one more reference; NULL: none. */
struct tls_watched *tls_store_find(struct tls_store *s, bool is_server, uint64_t content);
/* Adds w, with one reference. */
void tls_store_add(struct tls_store *s, struct tls_watched *w);
/* One reference less; true: it was the last and w is out of the store. */
bool tls_store_drop(struct tls_watched *w);
/* Counts a load for the figures, and logs it: what was loaded, or why not. */
void tls_store_loaded(struct tls_store *s, const char *file, const char *why);

/* ---- one certificate (tls_cert.c) ---- */

enum { TLS_KEY_RSA, TLS_KEY_EC, TLS_KEY_OTHER, TLS_KEY_KINDS };

struct tls_cert {
    _Atomic uint32_t refs;
    X509 *leaf;
    STACK_OF(X509) * chain;
    EVP_PKEY *key;
    int kind;          /* TLS_KEY_* */
    struct str *names; /* lower case, owned */
    size_t n_names;
    int64_t not_after; /* seconds since 1970 */
    int64_t ocsp_until;
    unsigned char *ocsp; /* DER; NULL: none */
    size_t n_ocsp;
};

/* Loads and checks: the key fits, it is valid now (or e hears of what is untimely), the chain is in
 * order. NULL: e was told. */
struct tls_cert *tls_cert_load(const struct tls_cert_conf *conf, struct tls_errors *e);
/* One more reference; any thread. */
struct tls_cert *tls_cert_ref(struct tls_cert *c);
/* One less, the last frees; NULL is allowed. */
void tls_cert_unref(struct tls_cert *c);
/* Gives it to ctx. */
bool tls_cert_use(const struct tls_cert *c, SSL_CTX *ctx);
/* Seconds since 1970. */
int64_t tls_time(const ASN1_TIME *t);
/* The names in a certificate: DNS names, or else the common name; lower case. */
void tls_cert_names(X509 *x, struct str **names, size_t *n);

/* ---- clients' certificates (tls_auth.c) ---- */

struct tls_auth {
    _Atomic uint32_t refs;
    const struct tls_auth_conf *conf; /* of the server: lives as long */
    X509_STORE *store;
    STACK_OF(X509_NAME) * names;
    unsigned char id[32]; /* of the settings and the files' bytes: what sessions are bound to */
};

/* Loads the authorities of conf. NULL: e was told. */
struct tls_auth *tls_auth_load(const struct tls_auth_conf *conf, struct tls_errors *e);
/* One more reference; any thread. */
struct tls_auth *tls_auth_ref(struct tls_auth *a);
/* One less, the last frees; NULL is allowed. */
void tls_auth_unref(struct tls_auth *a);
/* The authorities (and lists of revoked certificates, when given) that a peer is verified by; ca
 * empty: the system's. NULL: e was told. */
X509_STORE *tls_load_store(struct str ca, struct str crl, struct tls_errors *e);

/* Who the peer is. */
struct tls_peer {
    struct str identity, subject, issuer, san, sha256, der; /* in one block with the struct */
    bool denied;
};
/* Of a certificate that was verified, judged by those rules. For mem_free. */
struct tls_peer *tls_peer_new(X509 *x, const struct tls_allow_conf *allow);

/* ---- tickets (tls_ticket.c) ---- */

#define TLS_TICKET_KEYS 16

struct tls_ticket_key {
    unsigned char name[16], hmac[32], aes[32];
};

struct tls_tickets {
    pthread_mutex_t lock;
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
    unsigned n;
    usec_t next; /* when the next key is due */
};

/* Reads the files, or makes the first key. False: e was told. */
bool tls_tickets_init(struct tls_tickets *t, const struct tls_ticket_conf *conf,
                      struct tls_errors *e);
/* Forgets the keys. */
void tls_tickets_fini(struct tls_tickets *t);
/* A new first key when one is due. */
void tls_tickets_rotate(struct tls_tickets *t, const struct tls_ticket_conf *conf, usec_t now);
/* The keys that were made here into k; false: those of files are used, or none. */
bool tls_tickets_left(struct tls_tickets *t, const struct tls_ticket_conf *conf,
                      struct tls_made_keys *k);
/* Goes on with those of another process. */
void tls_tickets_follow(struct tls_tickets *t, const struct tls_made_keys *k);
/* Reads the files again; false: e was told, nothing changed. */
bool tls_tickets_load(struct tls_tickets *t, const struct tls_ticket_conf *conf,
                      struct tls_errors *e);
/* For SSL_CTX_set_tlsext_ticket_key_evp_cb. */
int tls_ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                        EVP_MAC_CTX *mac, int encrypt);

#endif

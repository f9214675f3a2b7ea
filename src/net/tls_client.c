/* SPDX-License-Identifier: Apache-2.0 */
/* tls_client.c: how links to the endpoints of an upstream speak TLS. Invariants:
 * 1. ctx and sessions are read and exchanged under lock; a connection holds its context by
 *    OpenSSL's own count.
 * 2. Sessions are kept by host, and none outlives the files that it was verified by. */
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "net/addr.h"
#include "net/tls_inside.h"

#define SESSIONS_MAX 1024

/* ---- sessions ------------------------------------------------------------------------------ */

/* Keeps a session for the next connection to that host; takes it. One of another context was
 * verified by files that are no longer in use. */
static void keep_session(struct tls_client *c, const SSL_CTX *ctx, struct str host,
                         SSL_SESSION *session)
{
    SSL_SESSION *old = session;
    pthread_mutex_lock(&c->lock);
    if (ctx == c->ctx && (c->sessions.n < SESSIONS_MAX || map_get(&c->sessions, host)))
        old = map_set(&c->sessions, host, session);
    pthread_mutex_unlock(&c->lock);
    SSL_SESSION_free(old);
}

static void forget_sessions(struct map *m)
{
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(m, &at, &key, &value))
        SSL_SESSION_free(value);
    map_fini(m);
    *m = (struct map){0};
}

static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls *t = tls_of(ssl);
    if (!t->client || !t->host.n)
        return 0;
    keep_session(t->client, SSL_get_SSL_CTX(ssl), t->host, session);
    return 1;
}

/* ---- verifying ----------------------------------------------------------------------------- */

bool tls_client_pinned(const struct tls_client *c, X509 *x)
{
    const struct str *pins = c->conf.pin.items;
    unsigned char *der = NULL, digest[32], text[64];
    if (c->conf.pin.n == 0)
        return true;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
    bool good = n > 0 && EVP_Digest(der, (size_t) n, digest, NULL, EVP_sha256(), NULL) == 1;
    OPENSSL_free(der);
    if (!good)
        return false;
    n = EVP_EncodeBlock(text, digest, sizeof digest);
    for (size_t i = 0; i < c->conf.pin.n; i++)
        if (str_eq(pins[i], str_of((char *) text, (size_t) n)))
            return true;
    return false;
}

/* The name to ask for and to verify. */
static bool name_peer(SSL *ssl, const struct tls_client_conf *c, struct str host)
{
    struct ip ip;
    char name[256];
    if (host.n == 0 || host.n >= sizeof name)
        return host.n == 0 && c->verify != TLS_VERIFY_FULL;
    memcpy(name, host.p, host.n);
    name[host.n - (host.p[host.n - 1] == '.')] = '\0'; /* a final dot is of DNS, not of the name */
    name[host.n] = '\0';
    bool literal = ip_parse(host, &ip);
    if (!literal && SSL_set_tlsext_host_name(ssl, name) != 1)
        return false;
    if (c->verify != TLS_VERIFY_FULL)
        return true;
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1
                   : SSL_set1_host(ssl, name) == 1;
}

/* ---- the context --------------------------------------------------------------------------- */

static bool use_own(SSL_CTX *ctx, const struct tls_client_conf *c, struct tls_errors *e)
{
    if (c->cert.n == 0)
        return true;
    const struct tls_cert_conf own = {.cert = c->cert, .key = c->key};
    struct tls_cert *cert = tls_cert_load(&own, e);
    bool good = cert && tls_cert_use(cert, ctx);
    if (cert && !good)
        tls_say(e, c->cert, "OpenSSL does not take the certificate: %s", tls_reason());
    tls_cert_unref(cert);
    return good;
}

static bool set_alpn(SSL_CTX *ctx, const struct tls_client_conf *c)
{
    const struct str *names = c->alpn.items;
    unsigned char wire[256];
    unsigned n = 0;
    for (size_t i = 0; i < c->alpn.n; i++) {
        if (names[i].n == 0 || names[i].n + 1 + n > sizeof wire)
            return false;
        wire[n++] = (unsigned char) names[i].n;
        memcpy(wire + n, names[i].p, names[i].n);
        n += (unsigned) names[i].n;
    }
    return n == 0 || SSL_CTX_set_alpn_protos(ctx, wire, n) == 0;
}

/* NULL: e was told. */
static SSL_CTX *context_new(const struct tls_client_conf *c, struct tls_errors *e)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    must(ctx);
    bool new = c->min_version == TLS_VERSION_13;
    SSL_CTX_set_min_proto_version(ctx, new ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(ctx, on_session);
    bool good = use_own(ctx, c, e);
    if (!set_alpn(ctx, c)) {
        tls_say(e, STR(""), "alpn: the names are empty or too long");
        good = false;
    }
    if (c->verify == TLS_VERIFY_OFF) {
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    } else {
        X509_STORE *store = tls_load_store(c->ca, c->crl, e);
        good &= store != NULL;
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
        if (store)
            SSL_CTX_set_cert_store(ctx, store);
    }
    if (good)
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* ---- clients ------------------------------------------------------------------------------- */

static void look(struct tls_watched *w, usec_t now)
{
    struct tls_client *c = (struct tls_client *) (void *) w;
    bool changed = false;
    (void) now;
    for (size_t i = 0; i < 4; i++)
        changed |= tls_file_changed(&c->files[i]);
    if (!changed)
        return;
    struct tls_heard h = {0};
    struct tls_errors e = {.say = tls_hear, .arg = &h};
    SSL_CTX *fresh = context_new(&c->conf, &e), *old = fresh;
    char *file = mem_strdup(c->conf.cert.n ? c->conf.cert : c->conf.ca);
    if (fresh) {
        pthread_mutex_lock(&c->lock);
        old = c->ctx;
        c->ctx = fresh;
        struct map sessions = c->sessions;
        c->sessions = (struct map){0};
        pthread_mutex_unlock(&c->lock);
        forget_sessions(&sessions);
    }
    SSL_CTX_free(old);
    tls_store_loaded(c->watched.store, file, fresh ? NULL : h.text);
    mem_free(h.text);
    mem_free(file);
}

static void client_free(struct tls_client *c)
{
    forget_sessions(&c->sessions);
    SSL_CTX_free(c->ctx);
    for (size_t i = 0; i < 4; i++)
        tls_file_fini(&c->files[i]);
    BIO_meth_free(c->wire);
    pthread_mutex_destroy(&c->lock);
    mem_free(c->room);
    mem_free(c);
}

struct tls_client *tls_client_new(struct tls_store *store, const struct tls_client_conf *conf,
                                  struct tls_errors *e)
{
    uint64_t content = schema_hash(&tls_client_schema, conf, 0);
    struct tls_watched *known = tls_store_find(store, false, content);
    if (known) {
        look(known, clock_now());
        return (struct tls_client *) (void *) known;
    }
    struct tls_client *c = mem_new(sizeof *c);
    c->room = mem_new(schema_copy_size(&tls_client_schema, conf) + 1);
    schema_copy(&tls_client_schema, &c->conf, conf, c->room);
    must(pthread_mutex_init(&c->lock, NULL) == 0);
    c->wire = tls_wire_new();
    tls_file_init(&c->files[0], c->conf.ca);
    tls_file_init(&c->files[1], c->conf.crl);
    tls_file_init(&c->files[2], c->conf.cert);
    tls_file_init(&c->files[3], c->conf.key);
    c->watched.content = content;
    c->watched.look = look;
    c->ctx = context_new(&c->conf, e);
    if (!c->ctx) {
        client_free(c);
        return NULL;
    }
    tls_store_add(store, &c->watched);
    return c;
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
    atomic_fetch_add(&c->watched.refs, 1);
    return c;
}

void tls_client_unref(struct tls_client *c)
{
    if (c && tls_store_drop(&c->watched))
        client_free(c);
}

const struct tls_client_conf *tls_client_settings(const struct tls_client *c)
{
    return &c->conf;
}

static bool offer_h1(SSL *ssl)
{
    static const unsigned char alpn[] = "\x08http/1.1";
    return SSL_set_alpn_protos(ssl, alpn, sizeof alpn - 1) == 0; /* 0: it did */
}

void *tls_connect(struct tls_client *c, struct str host, bool h1_only)
{
    if (c->conf.sni.n)
        host = c->conf.sni;
    pthread_mutex_lock(&c->lock);
    SSL_CTX *ctx = c->ctx;
    SSL_CTX_up_ref(ctx);
    SSL_SESSION *session = map_get(&c->sessions, host);
    if (session)
        SSL_SESSION_up_ref(session);
    pthread_mutex_unlock(&c->lock);
    struct tls *t = tls_new(ctx, c->wire);
    if (t) {
        t->client = tls_client_ref(c);
        t->host = mem_str(host);
        SSL_set_connect_state(t->ssl);
        if (session)
            SSL_set_session(t->ssl, session);
        if (!name_peer(t->ssl, &c->conf, host) || (h1_only && !offer_h1(t->ssl))) {
            tls_transport_free(t);
            t = NULL;
        }
    }
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    ERR_clear_error();
    return t;
}

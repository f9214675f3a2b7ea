/* SPDX-License-Identifier: Apache-2.0 */
/* tls_server.c: what a listener shows to clients: certificates by name, policies, tickets.
 * Invariants:
 * 1. A tls_set never changes; connections hold the one that they began with, and its server.
 * 2. set is exchanged under lock by the main thread, which alone touches certs, auths and files.
 * 3. A session is bound to the name that was asked for and to the policy for clients' certificates
 *    that held for it (session id context), so it resumes nowhere else (CVE-2025-23419). */
#include <openssl/err.h>
#include <openssl/rand.h>

#include "net/client_hello.h"
#include "net/tls_inside.h"

/* Mozilla's guideline 5.8, intermediate: forward secrecy and AEAD only, the client chooses. */
#define CIPHERS                                                                                    \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define CIPHERSUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define GROUPS "X25519:prime256v1:secp384r1"

/* ---- callbacks ----------------------------------------------------------------------------- */

/* The host name that a hello asks for, in h; empty: for none, or for what is no host name. */
static struct str hello_name(SSL *ssl, struct client_hello *h)
{
    const unsigned char *p;
    size_t n;
    h->sni_n = 0;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) ||
        !client_hello_server_name(str_of((const char *) p, n), h))
        return STR("");
    return str_of(h->sni, h->sni_n);
}

/* By name: exact, else "*" in place of labels in front, the fewest: of one at most, as certificates
 * have it, or of any number, as rules about hosts have it. */
static void *by_name(const struct map *m, struct str name, bool any)
{
    if (m->n == 0 || name.n == 0)
        return NULL;
    void *found = map_get(m, name);
    ptrdiff_t dot = str_find(name, '.');
    for (bool more = true; more && !found && dot >= 0; dot = str_find(name, '.')) {
        char wild[257];
        name = str_sub(name, (size_t) dot, name.n);
        wild[0] = '*';
        if (name.n < sizeof wild) { /* a host of a request may be longer than any name */
            memcpy(wild + 1, name.p, name.n);
            found = map_get(m, str_of(wild, name.n + 1));
        }
        name = str_sub(name, 1, name.n);
        more = any;
    }
    return found;
}

const struct tls_auth *tls_set_auth(const struct tls_set *s, struct str name)
{
    const struct tls_auth *a = by_name(&s->auth_by_name, tls_name(name), true);
    return a ? a : s->auth;
}

/* What sessions of this connection may be resumed by. */
static void bind_sessions(SSL *ssl, const struct tls_auth *auth, struct str name)
{
    unsigned char id[32];
    char text[32 + 256];
    memcpy(text, auth->id, 32);
    memcpy(text + 32, name.p, name.n);
    must(EVP_Digest(text, 32 + name.n, id, NULL, EVP_sha256(), NULL));
    SSL_set_session_id_context(ssl, id, sizeof id);
}

static bool ask_certificate(SSL *ssl, const struct tls_auth *auth)
{
    int mode = SSL_VERIFY_PEER;
    if (auth->conf->mode == TLS_AUTH_REQUIRE)
        mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_set_verify(ssl, mode, NULL);
    SSL_set_verify_depth(ssl, (int) auth->conf->verify_depth);
    STACK_OF(X509_NAME) *names = SSL_dup_CA_list(auth->names);
    if (!names || !SSL_set1_verify_cert_store(ssl, auth->store))
        return false;
    SSL_set0_CA_list(ssl, names);
    return true;
}

/* Before anything else of the handshake, resumption too: which certificate, which policy. */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    (void) arg;
    struct tls *t = tls_of(ssl);
    struct tls_set *set = t->set;
    struct client_hello hello;
    struct str name = hello_name(ssl, &hello);
    struct tls_host *host = by_name(&set->by_name, name, false);
    if (!host && set->server->conf.strict_sni) {
        t->refused = true;
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    }
    *alert = SSL_AD_INTERNAL_ERROR;
    if (host && host != &set->hosts[0] && !SSL_set_SSL_CTX(ssl, host->ctx))
        return SSL_CLIENT_HELLO_ERROR;
    t->auth = tls_set_auth(set, name);
    if (t->auth->conf->mode != TLS_AUTH_OFF && !ask_certificate(ssl, t->auth))
        return SSL_CLIENT_HELLO_ERROR;
    bind_sessions(ssl, t->auth, name);
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* The name was taken into account above: only says so to the client. */
static int on_name(SSL *ssl, int *alert, void *arg)
{
    (void) ssl, (void) alert, (void) arg;
    return SSL_TLSEXT_ERR_OK;
}

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *n_out,
                   const unsigned char *in, unsigned n_in, void *arg)
{
    (void) arg;
    const struct tls_server *s = tls_of(ssl)->set->server;
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, n_out, s->alpn, s->n_alpn, in, n_in) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL; /* no_application_protocol (RFC 7301 3.2) */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int on_status(SSL *ssl, void *arg)
{
    (void) arg;
    const struct tls_set *set = tls_of(ssl)->set;
    const X509 *shown = SSL_get_certificate(ssl);
    for (size_t i = 0; i < set->n_hosts; i++) {
        for (int kind = 0; kind < TLS_KEY_KINDS; kind++) {
            const struct tls_cert *c = set->hosts[i].certs[kind];
            if (!c || c->leaf != shown || !c->ocsp || c->ocsp_until <= clock_wall() / 1000000)
                continue;
            unsigned char *copy = OPENSSL_memdup(c->ocsp, c->n_ocsp);
            if (!copy)
                return SSL_TLSEXT_ERR_NOACK;
            SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long) c->n_ocsp);
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* ---- settings of a context ----------------------------------------------------------------- */

static int version_number(int version, int otherwise)
{
    return version == TLS_VERSION_12   ? TLS1_2_VERSION
           : version == TLS_VERSION_13 ? TLS1_3_VERSION
                                       : otherwise;
}

/* One of the lists of names that OpenSSL reads; text NULL-terminated by a copy. */
static bool set_list(SSL_CTX *ctx, int (*set)(SSL_CTX *, const char *), struct str given,
                     const char *otherwise)
{
    char *text = mem_strdup(given.n ? given : str_c(otherwise));
    bool good = set(ctx, text) == 1;
    mem_free(text);
    return good;
}

static int set_groups(SSL_CTX *ctx, const char *list)
{
    return (int) SSL_CTX_set1_groups_list(ctx, list);
}

/* The post-quantum hybrid first, where this OpenSSL has it (3.5). */
static bool set_default_groups(SSL_CTX *ctx)
{
    return set_groups(ctx, "X25519MLKEM768:" GROUPS) == 1 || set_groups(ctx, GROUPS) == 1;
}

static bool set_lists(SSL_CTX *ctx, const struct tls_server_conf *c, struct tls_errors *e)
{
    unsigned before = e->n;
    if (!set_list(ctx, SSL_CTX_set_cipher_list, c->ciphers, CIPHERS))
        tls_say(e, c->ciphers, "ciphers: OpenSSL knows none of \"%.*s\"", STR_ARG(c->ciphers));
    if (!set_list(ctx, SSL_CTX_set_ciphersuites, c->ciphersuites, CIPHERSUITES))
        tls_say(e, c->ciphersuites, "ciphersuites: OpenSSL does not know all of \"%.*s\"",
                STR_ARG(c->ciphersuites));
    if (c->groups.n ? !set_list(ctx, set_groups, c->groups, "") : !set_default_groups(ctx))
        tls_say(e, c->groups, "groups: OpenSSL does not know all of \"%.*s\"", STR_ARG(c->groups));
    ERR_clear_error();
    return e->n == before;
}

static void set_sessions(SSL_CTX *ctx, const struct tls_server_conf *c)
{
    SSL_CTX_set_num_tickets(ctx, 1); /* each one costs; a client has few connections */
    SSL_CTX_set_timeout(ctx, (long) (c->session_tickets.lifetime / USEC_PER_SEC));
    SSL_CTX_set_session_cache_mode(ctx,
                                   c->session_cache ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);
    if (c->session_cache)
        SSL_CTX_sess_set_cache_size(ctx, c->session_cache);
    if (c->session_tickets.enabled) {
        SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tls_ticket_callback);
    } else {
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ctx, c->session_cache ? 1 : 0);
    }
    if (c->early_data)
        tls_early_allow(ctx, c);
}

/* A context with everything but certificates. NULL: e was told. */
static SSL_CTX *context_new(const struct tls_server *s, struct tls_errors *e)
{
    const struct tls_server_conf *c = &s->conf;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    must(ctx);
    int low = c->policy == TLS_MODERN ? TLS1_3_VERSION : TLS1_2_VERSION;
    SSL_CTX_set_min_proto_version(ctx, version_number(c->min_version, low));
    SSL_CTX_set_max_proto_version(ctx, version_number(c->max_version, TLS1_3_VERSION));
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
    SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    SSL_CTX_set_tlsext_status_cb(ctx, on_status);
    set_sessions(ctx, c);
    if (set_lists(ctx, c, e))
        return ctx;
    SSL_CTX_free(ctx);
    return NULL;
}

/* ---- sets ---------------------------------------------------------------------------------- */

static void set_free(struct tls_set *s)
{
    for (size_t i = 0; i < s->n_hosts; i++) {
        SSL_CTX_free(s->hosts[i].ctx);
        for (int kind = 0; kind < TLS_KEY_KINDS; kind++)
            tls_cert_unref(s->hosts[i].certs[kind]);
    }
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&s->auth_by_name, &at, &key, &value))
        tls_auth_unref(value);
    tls_auth_unref(s->auth);
    map_fini(&s->by_name);
    map_fini(&s->auth_by_name);
    mem_free(s->hosts);
    mem_free(s);
}

void tls_set_unref(struct tls_set *s)
{
    if (s && atomic_fetch_sub(&s->refs, 1) == 1)
        set_free(s);
}

/* The host that shows exactly these certificates, made when there is none. NULL: e was told. */
static struct tls_host *host_of(struct tls_set *set, struct tls_cert *const *certs,
                                struct tls_errors *e)
{
    for (size_t i = 0; i < set->n_hosts; i++)
        if (memcmp(set->hosts[i].certs, certs, sizeof set->hosts[i].certs) == 0)
            return &set->hosts[i];
    struct tls_host *h = &set->hosts[set->n_hosts];
    h->ctx = context_new(set->server, e);
    if (!h->ctx)
        return NULL;
    set->n_hosts++;
    bool good = true;
    for (int kind = 0; kind < TLS_KEY_KINDS; kind++) {
        if (!certs[kind])
            continue;
        h->certs[kind] = tls_cert_ref(certs[kind]);
        good = good && tls_cert_use(certs[kind], h->ctx);
    }
    if (good)
        return h;
    tls_say(e, STR(""), "OpenSSL does not take a certificate: %s", tls_reason());
    return NULL;
}

/* The certificates that are for that name, one a kind of key; says it when there are two. */
static bool certs_of(const struct tls_server *s, struct str name, struct tls_cert **out,
                     struct tls_errors *e)
{
    static const char *const kinds[] = {"RSA", "ECDSA", "Ed25519 or other"};
    const struct tls_cert_conf *conf = s->conf.certificates.items;
    bool good = true;
    memset(out, 0, TLS_KEY_KINDS * sizeof *out);
    for (size_t i = 0; i < s->conf.certificates.n; i++) {
        struct tls_cert *c = s->certs[i];
        for (size_t j = 0; j < c->n_names; j++) {
            if (!str_eq(c->names[j], name) || out[c->kind] == c)
                continue;
            if (out[c->kind]) {
                tls_say(e, conf[i].cert,
                        "there is a second %s certificate for %.*s; give one of "
                        "them other names",
                        kinds[c->kind], STR_ARG(name));
                good = false;
            } else {
                out[c->kind] = c;
            }
        }
    }
    return good;
}

static bool add_names(struct tls_set *set, const struct tls_cert *c, struct tls_errors *e)
{
    struct tls_cert *certs[TLS_KEY_KINDS];
    for (size_t i = 0; i < c->n_names; i++) {
        if (map_get(&set->by_name, c->names[i]))
            continue;
        struct tls_host *h =
            certs_of(set->server, c->names[i], certs, e) ? host_of(set, certs, e) : NULL;
        if (!h)
            return false;
        map_set(&set->by_name, c->names[i], h);
    }
    return true;
}

/* Of a certificate without names, too, there is a default. */
static bool add_default(struct tls_set *set, struct tls_errors *e)
{
    struct tls_cert *certs[TLS_KEY_KINDS] = {NULL}, *first = set->server->certs[0];
    if (first->n_names > 0)
        return certs_of(set->server, first->names[0], certs, e) && host_of(set, certs, e);
    certs[first->kind] = first;
    return host_of(set, certs, e) != NULL;
}

static void add_auths(struct tls_set *set)
{
    const struct tls_server *s = set->server;
    set->auth = tls_auth_ref(s->auths[0]);
    set->asks = set->auth->conf->mode != TLS_AUTH_OFF;
    for (size_t i = 0; i < s->conf.sni.n; i++) {
        struct str name = tls_name(s->conf.sni.names[i]);
        char low[256];
        if (!s->auths[i + 1] || name.n > sizeof low)
            continue;
        for (size_t j = 0; j < name.n; j++)
            low[j] = str_lower(name.p[j]);
        set->asks |= s->auths[i + 1]->conf->mode != TLS_AUTH_OFF;
        tls_auth_unref(
            map_set(&set->auth_by_name, str_of(low, name.n), tls_auth_ref(s->auths[i + 1])));
    }
}

/* What the files in use add up to. NULL: e was told. */
static struct tls_set *set_new(struct tls_server *s, struct tls_errors *e)
{
    struct tls_set *set = mem_new(sizeof *set);
    size_t names = 1;
    atomic_store(&set->refs, 1);
    set->server = s;
    set->round = atomic_load_explicit(&s->round, memory_order_relaxed);
    for (size_t i = 0; i < s->conf.certificates.n; i++)
        names += s->certs[i]->n_names;
    set->hosts = mem_new(names * sizeof *set->hosts);
    add_auths(set);
    bool good = add_default(set, e);
    for (size_t i = 0; i < s->conf.certificates.n && good; i++)
        good = add_names(set, s->certs[i], e);
    if (good)
        return set;
    set_free(set);
    return NULL;
}

static void set_put(struct tls_server *s, struct tls_set *set)
{
    pthread_mutex_lock(&s->lock);
    struct tls_set *old = s->set;
    s->set = set;
    pthread_mutex_unlock(&s->lock);
    tls_set_unref(old);
}

static struct tls_set *set_get(struct tls_server *s)
{
    pthread_mutex_lock(&s->lock);
    struct tls_set *set = s->set;
    atomic_fetch_add(&set->refs, 1);
    pthread_mutex_unlock(&s->lock);
    return set;
}

/* ---- servers ------------------------------------------------------------------------------- */

static void server_free(struct tls_server *s)
{
    tls_set_unref(s->set);
    for (size_t i = 0; s->certs && i < s->conf.certificates.n; i++)
        tls_cert_unref(s->certs[i]);
    for (size_t i = 0; s->auths && i <= s->conf.sni.n; i++)
        tls_auth_unref(s->auths[i]);
    for (size_t i = 0; i < s->n_files; i++)
        tls_file_fini(&s->files[i]);
    tls_tickets_fini(&s->tickets);
    EVP_CIPHER_free(s->aes);
    BIO_meth_free(s->wire);
    pthread_mutex_destroy(&s->lock);
    mem_free(s->certs);
    mem_free(s->auths);
    mem_free(s->files);
    mem_free(s->room);
    mem_free(s);
}

static bool make_alpn(struct tls_server *s, struct tls_errors *e)
{
    static const struct str spoken[] = {{"h2", 2}, {"http/1.1", 8}};
    const struct str *given = s->conf.alpn.n ? s->conf.alpn.items : spoken;
    size_t n = s->conf.alpn.n ? s->conf.alpn.n : sizeof spoken / sizeof spoken[0];
    for (size_t i = 0; i < n; i++) {
        bool known = false;
        for (size_t j = 0; j < sizeof spoken / sizeof spoken[0]; j++)
            known |= str_eq(given[i], spoken[j]);
        if (!known) {
            tls_say(e, given[i], "alpn: \"%.*s\" is not spoken here; there are h2 and http/1.1",
                    STR_ARG(given[i]));
            return false;
        }
        s->alpn[s->n_alpn++] = (unsigned char) given[i].n;
        memcpy(s->alpn + s->n_alpn, given[i].p, given[i].n);
        s->n_alpn += (unsigned) given[i].n;
    }
    return true;
}

static const struct tls_auth_conf *auth_conf(const struct tls_server *s, size_t i)
{
    const struct tls_sni_conf *sni = s->conf.sni.items;
    if (i == 0)
        return &s->conf.client_auth;
    return sni[i - 1].client_auth_given ? &sni[i - 1].client_auth : NULL;
}

/* The files to watch, in the order in which look() goes over them. */
static void list_files(struct tls_server *s)
{
    const struct tls_cert_conf *c = s->conf.certificates.items;
    const struct str *keys = s->conf.session_tickets.keys.items;
    size_t n =
        s->conf.certificates.n * 3 + (s->conf.sni.n + 1) * 2 + s->conf.session_tickets.keys.n;
    s->files = mem_new(n * sizeof *s->files);
    for (size_t i = 0; i < s->conf.certificates.n; i++) {
        tls_file_init(&s->files[s->n_files++], c[i].cert);
        tls_file_init(&s->files[s->n_files++], c[i].key);
        tls_file_init(&s->files[s->n_files++], c[i].ocsp);
    }
    for (size_t i = 0; i <= s->conf.sni.n; i++) {
        const struct tls_auth_conf *a = auth_conf(s, i);
        tls_file_init(&s->files[s->n_files++], a ? a->ca : STR(""));
        tls_file_init(&s->files[s->n_files++], a ? a->crl : STR(""));
    }
    for (size_t i = 0; i < s->conf.session_tickets.keys.n; i++)
        tls_file_init(&s->files[s->n_files++], keys[i]);
}

static bool load_all(struct tls_server *s, struct tls_errors *e)
{
    const struct tls_cert_conf *c = s->conf.certificates.items;
    bool good = make_alpn(s, e);
    good &= tls_tickets_init(&s->tickets, &s->conf.session_tickets, e);
    s->certs = mem_new(s->conf.certificates.n * sizeof(struct tls_cert *));
    s->auths = mem_new((s->conf.sni.n + 1) * sizeof(struct tls_auth *));
    for (size_t i = 0; i < s->conf.certificates.n; i++) {
        s->certs[i] = tls_cert_load(&c[i], e);
        good &= s->certs[i] != NULL;
    }
    for (size_t i = 0; i <= s->conf.sni.n; i++) {
        const struct tls_auth_conf *a = auth_conf(s, i);
        s->auths[i] = a ? tls_auth_load(a, e) : NULL;
        good &= !a || s->auths[i];
    }
    if (good)
        s->set = set_new(s, e);
    return good && s->set;
}

/* ---- changed files ------------------------------------------------------------------------- */

/* Under lock: figures are read by any thread. */
static void put_cert(struct tls_server *s, size_t i, struct tls_cert *c)
{
    pthread_mutex_lock(&s->lock);
    s->certs[i] = c;
    pthread_mutex_unlock(&s->lock);
}

/* Puts a changed one in the place of *now, if all of it together still makes sense. */
static void reload_cert(struct tls_server *s, size_t i)
{
    const struct tls_cert_conf *c = s->conf.certificates.items;
    struct tls_heard h = {0};
    struct tls_errors e = {.say = tls_hear, .arg = &h};
    char *file = mem_strdup(c[i].cert);
    struct tls_cert *fresh = tls_cert_load(&c[i], &e), *old = s->certs[i];
    struct tls_set *set = NULL;
    if (fresh) {
        put_cert(s, i, fresh);
        set = set_new(s, &e);
        if (set)
            set_put(s, set);
        else
            put_cert(s, i, old);
    }
    tls_cert_unref(set ? old : fresh);
    tls_store_loaded(s->watched.store, file, set ? NULL : h.text);
    mem_free(h.text);
    mem_free(file);
}

static void reload_auth(struct tls_server *s, size_t i)
{
    const struct tls_auth_conf *conf = auth_conf(s, i);
    struct tls_heard h = {0};
    struct tls_errors e = {.say = tls_hear, .arg = &h};
    char *file = mem_strdup(conf->ca);
    struct tls_auth *fresh = tls_auth_load(conf, &e), *old = s->auths[i];
    struct tls_set *set = NULL;
    if (fresh) {
        s->auths[i] = fresh;
        set = set_new(s, &e);
        if (set) {
            set->round++;
            set_put(s, set);
            atomic_fetch_add_explicit(&s->round, 1, memory_order_relaxed);
        } else {
            s->auths[i] = old;
        }
    }
    tls_auth_unref(set ? old : fresh);
    tls_store_loaded(s->watched.store, file, set ? NULL : h.text);
    mem_free(h.text);
    mem_free(file);
}

static void reload_tickets(struct tls_server *s)
{
    struct tls_heard h = {0};
    struct tls_errors e = {.say = tls_hear, .arg = &h};
    const struct str *keys = s->conf.session_tickets.keys.items;
    char *file = mem_strdup(keys[0]);
    bool good = tls_tickets_load(&s->tickets, &s->conf.session_tickets, &e);
    tls_store_loaded(s->watched.store, file, good ? NULL : h.text);
    mem_free(h.text);
    mem_free(file);
}

/* Any of the n files changed; all of them are looked at. */
static bool any_changed(struct tls_file *f, size_t n)
{
    bool changed = false;
    for (size_t i = 0; i < n; i++)
        changed |= tls_file_changed(&f[i]);
    return changed;
}

static void look(struct tls_watched *w, usec_t now)
{
    struct tls_server *s = (struct tls_server *) (void *) w;
    struct tls_file *f = s->files;
    for (size_t i = 0; i < s->conf.certificates.n; i++, f += 3)
        if (any_changed(f, 3))
            reload_cert(s, i);
    for (size_t i = 0; i <= s->conf.sni.n; i++, f += 2)
        if (s->auths[i] && any_changed(f, 2))
            reload_auth(s, i);
    if (any_changed(f, s->conf.session_tickets.keys.n))
        reload_tickets(s);
    tls_tickets_rotate(&s->tickets, &s->conf.session_tickets, now);
}

/* ---- the calls of others ------------------------------------------------------------------- */

struct tls_server *tls_server_new(struct tls_store *store, const struct tls_server_conf *conf,
                                  struct tls_errors *e)
{
    uint64_t content = schema_hash(&tls_server_schema, conf, 0);
    struct tls_watched *known = tls_store_find(store, true, content);
    if (known) {
        look(known, clock_now());
        return (struct tls_server *) (void *) known;
    }
    struct tls_server *s = mem_new(sizeof *s);
    s->room = mem_new(schema_copy_size(&tls_server_schema, conf) + 1);
    schema_copy(&tls_server_schema, &s->conf, conf, s->room);
    must(pthread_mutex_init(&s->lock, NULL) == 0);
    s->wire = tls_wire_new();
    s->aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    must(s->aes);
    s->watched.content = content;
    s->watched.is_server = true;
    s->watched.look = look;
    list_files(s);
    if (!load_all(s, e)) {
        server_free(s);
        return NULL;
    }
    tls_store_add(store, &s->watched);
    return s;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
    atomic_fetch_add(&s->watched.refs, 1);
    return s;
}

void tls_server_unref(struct tls_server *s)
{
    if (s && tls_store_drop(&s->watched))
        server_free(s);
}

const struct tls_server_conf *tls_server_settings(const struct tls_server *s)
{
    return &s->conf;
}

void *tls_accept(struct tls_server *s)
{
    struct tls_set *set = set_get(s);
    struct tls *t = tls_new(set->hosts[0].ctx, s->wire);
    if (!t) {
        tls_set_unref(set);
        return NULL;
    }
    t->set = set;
    t->auth = set->auth;
    t->early = s->conf.early_data ? TLS_EARLY_ASK : TLS_EARLY_NONE;
    tls_server_ref(s);
    SSL_set_accept_state(t->ssl);
    return t;
}

bool conn_tls_outdated(const struct conn *c, struct tls_server *s, struct str host)
{
    const struct tls *t = c->ops == &conn_tls ? c->transport : NULL;
    if (!t || !t->set ||
        (t->set->server == s &&
         t->set->round == atomic_load_explicit(&s->round, memory_order_relaxed)))
        return false;
    struct tls_set *now = set_get(s);
    const struct tls_auth *wanted = tls_set_auth(now, host), *had = t->auth;
    bool off = wanted->conf->mode == TLS_AUTH_OFF && had->conf->mode == TLS_AUTH_OFF;
    bool changed = !off && memcmp(wanted->id, had->id, sizeof had->id) != 0;
    tls_set_unref(now);
    return changed;
}

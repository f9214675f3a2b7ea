/* SPDX-License-Identifier: Apache-2.0 */
/* tls_auth.c: whom to trust, and who a peer is. What it makes never changes. */
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "base/file_io.h"
#include "net/addr.h"
#include "net/tls_inside.h"

/* ---- authorities --------------------------------------------------------------------------- */

static bool add_authorities(X509_STORE *store, struct str path, struct tls_errors *e)
{
    char *bytes;
    int n = 0;
    X509 *x;
    BIO *b = tls_file_open(path, &bytes, e);
    if (!b)
        return false;
    while ((x = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL))) {
        n += X509_STORE_add_cert(store, x);
        X509_free(x);
    }
    if (n == 0)
        tls_say(e, path, "\"%.*s\" holds no certificate of an authority in PEM", STR_ARG(path));
    BIO_free(b);
    mem_free(bytes);
    ERR_clear_error();
    return n > 0;
}

static bool add_revoked(X509_STORE *store, struct str path, struct tls_errors *e)
{
    char *bytes;
    int n = 0;
    X509_CRL *list;
    BIO *b = tls_file_open(path, &bytes, e);
    if (!b)
        return false;
    while ((list = PEM_read_bio_X509_CRL(b, NULL, NULL, NULL))) {
        n += X509_STORE_add_crl(store, list);
        X509_CRL_free(list);
    }
    if (n == 0)
        tls_say(e, path, "\"%.*s\" holds no revocation list in PEM", STR_ARG(path));
    BIO_free(b);
    mem_free(bytes);
    ERR_clear_error();
    return n > 0;
}

X509_STORE *tls_load_store(struct str ca, struct str crl, struct tls_errors *e)
{
    X509_STORE *store = X509_STORE_new();
    must(store);
    bool good = ca.n ? add_authorities(store, ca, e) : X509_STORE_set_default_paths(store) == 1;
    if (good && crl.n) {
        good = add_revoked(store, crl, e);
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
    }
    if (good)
        return store;
    X509_STORE_free(store);
    return NULL;
}

/* ---- policies ------------------------------------------------------------------------------ */

static void hash_file(EVP_MD_CTX *md, struct str path)
{
    size_t n = 0;
    char *why = NULL, *name = mem_strdup(path), *bytes = NULL;
    if (path.n)
        bytes = file_read(name, TLS_FILE_MAX, &n, &why);
    EVP_DigestUpdate(md, &n, sizeof n);
    if (bytes)
        EVP_DigestUpdate(md, bytes, n);
    mem_free(bytes);
    mem_free(why);
    mem_free(name);
}

/* Sessions are bound to this: whoever was let in by other rules proves himself anew. */
static void make_id(struct tls_auth *a)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    uint64_t rules = schema_hash(&tls_auth_schema, a->conf, 0);
    must(md && EVP_DigestInit_ex(md, EVP_sha256(), NULL));
    EVP_DigestUpdate(md, &rules, sizeof rules);
    hash_file(md, a->conf->ca);
    hash_file(md, a->conf->crl);
    EVP_DigestFinal_ex(md, a->id, NULL);
    EVP_MD_CTX_free(md);
    ERR_clear_error();
}

struct tls_auth *tls_auth_load(const struct tls_auth_conf *conf, struct tls_errors *e)
{
    struct tls_auth *a = mem_new(sizeof *a);
    a->conf = conf;
    atomic_store(&a->refs, 1);
    if (conf->mode != TLS_AUTH_OFF) {
        a->store = tls_load_store(conf->ca, conf->crl, e);
        a->names = a->store ? sk_X509_NAME_new_null() : NULL;
        STACK_OF(X509_OBJECT) *all = a->store ? X509_STORE_get0_objects(a->store) : NULL;
        for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
            X509 *x = X509_OBJECT_get0_X509(sk_X509_OBJECT_value(all, i));
            if (x)
                sk_X509_NAME_push(a->names, X509_NAME_dup(X509_get_subject_name(x)));
        }
        if (!a->store) {
            tls_auth_unref(a);
            return NULL;
        }
    }
    make_id(a);
    return a;
}

struct tls_auth *tls_auth_ref(struct tls_auth *a)
{
    atomic_fetch_add(&a->refs, 1);
    return a;
}

void tls_auth_unref(struct tls_auth *a)
{
    if (!a || atomic_fetch_sub(&a->refs, 1) != 1)
        return;
    X509_STORE_free(a->store);
    sk_X509_NAME_pop_free(a->names, X509_NAME_free);
    mem_free(a);
}

/* ---- the peer ------------------------------------------------------------------------------ */

/* What the certificate says, while it is being read. */
struct facts {
    char *subject, *issuer, *cn, *issuer_cn; /* mem_free */
    struct str *san;                         /* "DNS:name"; owned */
    size_t n_san;
};

static char *print_name(X509_NAME *name)
{
    BIO *b = BIO_new(BIO_s_mem());
    char *p;
    must(b);
    X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253);
    long n = BIO_get_mem_data(b, &p);
    char *text = mem_strdup(str_of(p, n > 0 ? (size_t) n : 0));
    BIO_free(b);
    return text;
}

static char *common_name(X509_NAME *name)
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    unsigned char *utf8 = NULL;
    if (at < 0)
        return mem_strdup(STR(""));
    int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    bool good = n > 0 && !memchr(utf8, 0, (size_t) n);
    char *text = mem_strdup(str_of((char *) utf8, good ? (size_t) n : 0));
    OPENSSL_free(utf8);
    return text;
}

static void add_san(struct facts *f, const char *kind, struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char) value.p[i] < ' ' || (unsigned char) value.p[i] >= 0x7f)
            return; /* IA5 without controls, or it is no name (RFC 5280 4.2.1.6) */
    f->san = mem_resize(f->san, (f->n_san + 1) * sizeof *f->san);
    f->san[f->n_san++] = str_c(mem_printf("%s:%.*s", kind, STR_ARG(value)));
}

static struct str ia5(const ASN1_STRING *s)
{
    return str_of((const char *) ASN1_STRING_get0_data(s), (size_t) ASN1_STRING_length(s));
}

static void add_ip(struct facts *f, const ASN1_OCTET_STRING *s)
{
    struct str raw = ia5(s);
    struct ip ip = {.b = {[10] = 0xff, [11] = 0xff}};
    char text[46];
    if (raw.n != 4 && raw.n != 16)
        return;
    memcpy(ip.b + 16 - raw.n, raw.p, raw.n);
    add_san(f, "IP", str_of(text, ip_print(ip, text)));
}

static void read_facts(X509 *x, struct facts *f)
{
    f->subject = print_name(X509_get_subject_name(x));
    f->issuer = print_name(X509_get_issuer_name(x));
    f->cn = common_name(X509_get_subject_name(x));
    f->issuer_cn = common_name(X509_get_issuer_name(x));
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        if (g->type == GEN_DNS)
            add_san(f, "DNS", ia5(g->d.dNSName));
        else if (g->type == GEN_EMAIL)
            add_san(f, "email", ia5(g->d.rfc822Name));
        else if (g->type == GEN_URI)
            add_san(f, "URI", ia5(g->d.uniformResourceIdentifier));
        else if (g->type == GEN_IPADD)
            add_ip(f, g->d.iPAddress);
    }
    GENERAL_NAMES_free(all);
}

static void free_facts(struct facts *f)
{
    for (size_t i = 0; i < f->n_san; i++)
        mem_free((void *) f->san[i].p);
    mem_free(f->san);
    mem_free(f->subject);
    mem_free(f->issuer);
    mem_free(f->cn);
    mem_free(f->issuer_cn);
}

/* The part of a SAN behind its kind, when it is of that kind. */
static bool san_is(struct str san, struct str kind, struct str *value)
{
    if (!str_starts(san, kind))
        return false;
    *value = str_sub(san, kind.n, san.n);
    return true;
}

static struct str first_san(const struct facts *f, struct str kind)
{
    struct str value = {0};
    for (size_t i = 0; i < f->n_san && !value.n; i++)
        (void) san_is(f->san[i], kind, &value);
    return value;
}

/* The SPIFFE id: the one URI of that scheme (X509-SVID 2). */
static struct str spiffe_id(const struct facts *f)
{
    struct str id = {0}, value;
    for (size_t i = 0; i < f->n_san; i++) {
        if (!san_is(f->san[i], STR("URI:"), &value))
            continue;
        if (id.n || !str_starts(value, STR("spiffe://")))
            return (struct str){0};
        id = value;
    }
    return id;
}

/* "*.example.com" stands for one label. */
static bool wildcard_fits(struct str wanted, struct str name)
{
    if (!str_starts(wanted, STR("*.")))
        return false;
    ptrdiff_t dot = str_find(name, '.');
    return dot > 0 && str_ieq(str_sub(name, (size_t) dot, name.n), str_sub(wanted, 1, wanted.n));
}

static bool san_allowed(const struct facts *f, struct str wanted)
{
    for (size_t i = 0; i < f->n_san; i++) {
        ptrdiff_t colon = str_find(f->san[i], ':');
        struct str value = str_sub(f->san[i], (size_t) colon + 1, f->san[i].n);
        bool name = str_starts(f->san[i], STR("DNS:"));
        if (name ? str_ieq(value, wanted) || wildcard_fits(wanted, value) : str_eq(value, wanted))
            return true;
    }
    return false;
}

static bool spiffe_allowed(struct str id, struct str wanted)
{
    if (id.n == 0)
        return false;
    if (str_ends(wanted, STR("/*")))
        return str_starts(id, str_sub(wanted, 0, wanted.n - 1));
    return str_eq(id, wanted);
}

enum rule { RULE_SAN, RULE_CN, RULE_SPIFFE, RULE_ISSUER };

static bool one_fits(const struct schema_list *list, enum rule rule, const struct facts *f)
{
    const struct str *wanted = list->items;
    struct str id = spiffe_id(f);
    bool fits = list->n == 0;
    for (size_t i = 0; i < list->n && !fits; i++) {
        if (rule == RULE_SAN)
            fits = san_allowed(f, wanted[i]);
        else if (rule == RULE_CN)
            fits = str_eq(str_c(f->cn), wanted[i]);
        else if (rule == RULE_SPIFFE)
            fits = spiffe_allowed(id, wanted[i]);
        else
            fits = str_eq(str_c(f->issuer), wanted[i]) || str_eq(str_c(f->issuer_cn), wanted[i]);
    }
    return fits;
}

static struct str identity_of(const struct facts *f)
{
    struct str id = spiffe_id(f);
    if (!id.n)
        id = first_san(f, STR("DNS:"));
    if (!id.n)
        id = first_san(f, STR("email:"));
    if (!id.n)
        id = str_c(f->cn);
    return id.n ? id : str_c(f->subject);
}

static bool has_any(struct str s, const char *bytes)
{
    for (size_t i = 0; i < s.n; i++)
        if (strchr(bytes, s.p[i]))
            return true;
    return false;
}

/* "DNS:a, URI:b"; one that would read like two is put in quotes. */
static char *joined_san(const struct facts *f)
{
    size_t size = 1, n = 0;
    for (size_t i = 0; i < f->n_san; i++)
        size += 2 * f->san[i].n + 4;
    char *text = mem_new(size);
    for (size_t i = 0; i < f->n_san; i++) {
        struct str s = f->san[i];
        bool quoted = has_any(s, ", \"\\");
        if (i > 0) {
            text[n++] = ',';
            text[n++] = ' ';
        }
        if (quoted)
            text[n++] = '"';
        for (size_t j = 0; j < s.n; j++) {
            if (s.p[j] == '"' || s.p[j] == '\\')
                text[n++] = '\\';
            text[n++] = s.p[j];
        }
        if (quoted)
            text[n++] = '"';
    }
    return text;
}

static char *sha256_hex(X509 *x)
{
    unsigned char digest[32];
    unsigned n = sizeof digest;
    char *text = mem_new(2 * sizeof digest + 1);
    must(X509_digest(x, EVP_sha256(), digest, &n));
    for (unsigned i = 0; i < n; i++) {
        text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    return text;
}

static struct str put(char **at, struct str s)
{
    struct str copy = str_of(*at, s.n);
    memcpy(*at, s.p, s.n);
    *at += s.n;
    return copy;
}

struct tls_peer *tls_peer_new(X509 *x, const struct tls_allow_conf *allow)
{
    struct facts f = {0};
    unsigned char *der = NULL;
    int n_der = i2d_X509(x, &der);
    must(n_der > 0);
    read_facts(x, &f);
    char *san = joined_san(&f), *hex = sha256_hex(x);
    const struct str texts[] = {identity_of(&f), str_c(f.subject),
                                str_c(f.issuer), str_c(san),
                                str_c(hex),      str_of((char *) der, (size_t) n_der)};
    size_t size = sizeof(struct tls_peer);
    for (size_t i = 0; i < 6; i++)
        size += texts[i].n;
    struct tls_peer *p = mem_new(size);
    char *at = (char *) (p + 1);
    p->identity = put(&at, texts[0]);
    p->subject = put(&at, texts[1]);
    p->issuer = put(&at, texts[2]);
    p->san = put(&at, texts[3]);
    p->sha256 = put(&at, texts[4]);
    p->der = put(&at, texts[5]);
    p->denied =
        !(one_fits(&allow->san, RULE_SAN, &f) && one_fits(&allow->cn, RULE_CN, &f) &&
          one_fits(&allow->spiffe, RULE_SPIFFE, &f) && one_fits(&allow->issuer, RULE_ISSUER, &f));
    mem_free(san);
    mem_free(hex);
    OPENSSL_free(der);
    free_facts(&f);
    return p;
}

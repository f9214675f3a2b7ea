/* SPDX-License-Identifier: Apache-2.0 */
/* tls_cert.c: one certificate with its key, its intermediates and its OCSP response, as the files
 * have them. A struct tls_cert never changes once it is loaded. */
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <time.h>

#include "base/file_io.h"
#include "net/tls_inside.h"

BIO *tls_file_open(struct str path, char **bytes, struct tls_errors *e)
{
    size_t n;
    char *why = NULL, *name = mem_strdup(path);
    *bytes = file_read(name, TLS_FILE_MAX, &n, &why);
    mem_free(name);
    if (!*bytes) {
        tls_say(e, path, "%s", path.n ? why : "cert and key are files: one of the names is empty");
        mem_free(why);
        return NULL;
    }
    BIO *b = BIO_new_mem_buf(*bytes, (int) n);
    must(b);
    return b;
}

static void close_file(BIO *b, char *bytes)
{
    BIO_free(b);
    mem_free(bytes);
    ERR_clear_error();
}

int64_t tls_time(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) ? (int64_t) timegm(&tm) : 0;
}

/* ---- names --------------------------------------------------------------------------------- */

static void add_name(struct str **names, size_t *n, const unsigned char *p, int len)
{
    if (len <= 0 || len > 255 || memchr(p, 0, (size_t) len))
        return;
    char *low = mem_strdup(str_of((const char *) p, (size_t) len));
    for (int i = 0; i < len; i++)
        low[i] = str_lower(low[i]);
    *names = mem_resize(*names, (*n + 1) * sizeof **names);
    (*names)[(*n)++] = str_of(low, (size_t) len);
}

void tls_cert_names(X509 *x, struct str **names, size_t *n)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    *names = NULL;
    *n = 0;
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        if (g->type == GEN_DNS)
            add_name(names, n, ASN1_STRING_get0_data(g->d.dNSName),
                     ASN1_STRING_length(g->d.dNSName));
    }
    GENERAL_NAMES_free(all);
    if (*n > 0)
        return;
    X509_NAME *subject = X509_get_subject_name(x);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (at >= 0) {
        const ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));
        add_name(names, n, ASN1_STRING_get0_data(cn), ASN1_STRING_length(cn));
    }
}

/* ---- loading ------------------------------------------------------------------------------- */

static bool load_chain(struct tls_cert *c, struct str path, struct tls_errors *e)
{
    char *bytes;
    BIO *b = tls_file_open(path, &bytes, e);
    if (!b)
        return false;
    X509 *x;
    c->leaf = PEM_read_bio_X509_AUX(b, NULL, NULL, NULL);
    while (c->leaf && (x = PEM_read_bio_X509(b, NULL, NULL, NULL)))
        must(sk_X509_push(c->chain, x));
    unsigned long last = ERR_peek_last_error();
    bool good = c->leaf && (!last || (ERR_GET_LIB(last) == ERR_LIB_PEM &&
                                      ERR_GET_REASON(last) == PEM_R_NO_START_LINE));
    if (!good)
        tls_say(e, path, "\"%.*s\" holds %s (%s); it must be PEM, beginning with the certificate",
                STR_ARG(path), c->leaf ? "a broken certificate" : "no certificate",
                last ? ERR_reason_error_string(last) : "empty");
    close_file(b, bytes);
    return good;
}

/* A key is never asked for by a prompt. */
static int no_password(char *to, int max, int writing, void *arg)
{
    (void) to, (void) max, (void) writing;
    *(bool *) arg = true;
    return -1;
}

static bool load_key(struct tls_cert *c, struct str path, struct tls_errors *e)
{
    char *bytes;
    bool locked = false;
    BIO *b = tls_file_open(path, &bytes, e);
    if (!b)
        return false;
    c->key = PEM_read_bio_PrivateKey(b, NULL, no_password, &locked);
    if (!c->key)
        tls_say(e, path, "\"%.*s\" holds no private key that can be used: %s", STR_ARG(path),
                locked ? "it is encrypted; store it without a password" : tls_reason());
    OPENSSL_cleanse(bytes, strlen(bytes));
    close_file(b, bytes);
    return c->key != NULL;
}

/* True: it is good enough, where what is untimely is. */
static bool untimely(struct tls_errors *e, struct str path, const char *text)
{
    if (e->untimely)
        e->untimely(e->arg, path, text);
    else
        tls_say(e, path, "%s", text);
    return e->untimely != NULL;
}

static bool check_times(const struct tls_cert *c, struct str path, struct tls_errors *e)
{
    char day[32], text[512];
    clock_iso8601(c->not_after * 1000000, day);
    if (X509_cmp_current_time(X509_get0_notAfter(c->leaf)) <= 0) {
        snprintf(text, sizeof text, "the certificate in \"%.*s\" expired on %.10s; renew it",
                 STR_ARG(path), day);
        return untimely(e, path, text);
    }
    clock_iso8601(tls_time(X509_get0_notBefore(c->leaf)) * 1000000, day);
    if (X509_cmp_current_time(X509_get0_notBefore(c->leaf)) > 0) {
        snprintf(text, sizeof text,
                 "the certificate in \"%.*s\" is not valid before %.19s; is the clock right?",
                 STR_ARG(path), day);
        return untimely(e, path, text);
    }
    return true;
}

/* Each certificate was issued by the next one. */
static bool check_order(const struct tls_cert *c, struct str path, struct tls_errors *e)
{
    X509 *x = c->leaf;
    for (int i = 0; i < sk_X509_num(c->chain); i++) {
        X509 *issuer = sk_X509_value(c->chain, i);
        if (X509_check_issued(issuer, x) != X509_V_OK) {
            tls_say(e, path,
                    "the chain in \"%.*s\" is out of order: certificate %d is not the issuer of "
                    "certificate %d; put the certificate first, then each one's issuer",
                    STR_ARG(path), i + 2, i + 1);
            return false;
        }
        x = issuer;
    }
    return true;
}

static int kind_of(EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
    case EVP_PKEY_RSA_PSS:
        return TLS_KEY_RSA;
    case EVP_PKEY_EC:
        return TLS_KEY_EC;
    default:
        return TLS_KEY_OTHER;
    }
}

static void take_names(struct tls_cert *c, const struct tls_cert_conf *conf)
{
    const struct str *given = conf->names.items;
    for (size_t i = 0; i < conf->names.n; i++)
        add_name(&c->names, &c->n_names, (const unsigned char *) given[i].p,
                 (int) tls_name(given[i]).n);
    if (c->n_names == 0)
        tls_cert_names(c->leaf, &c->names, &c->n_names);
}

/* ---- OCSP ---------------------------------------------------------------------------------- */

/* How long a response speaks well of a certificate; 0: it does not, *why says so. */
static int64_t ocsp_until(OCSP_RESPONSE *r, struct tls_cert *c, const char **why)
{
    int status, at = -1;
    ASN1_GENERALIZEDTIME *this_update, *next_update = NULL;
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(r);
    int64_t until = 0;
    X509 *issuer = sk_X509_num(c->chain) > 0 ? sk_X509_value(c->chain, 0) : c->leaf;
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, c->leaf, issuer);
    if (basic && id)
        at = OCSP_resp_find(basic, id, -1);
    OCSP_SINGLERESP *one = at >= 0 ? OCSP_resp_get0(basic, at) : NULL;
    if (!basic || OCSP_response_status(r) != OCSP_RESPONSE_STATUS_SUCCESSFUL) {
        *why = "the authority did not answer";
    } else if (!one) {
        *why = "it is about another certificate";
    } else {
        status = OCSP_single_get0_status(one, NULL, NULL, &this_update, &next_update);
        until = next_update ? tls_time(next_update) : INT64_MAX;
        if (status != V_OCSP_CERTSTATUS_GOOD)
            *why = "it says that the certificate is not good";
    }
    OCSP_CERTID_free(id);
    OCSP_BASICRESP_free(basic);
    return *why ? 0 : until;
}

static bool load_ocsp(struct tls_cert *c, struct str path, struct tls_errors *e)
{
    char *bytes, text[512];
    const char *why = NULL;
    bool good = true;
    BIO *b = tls_file_open(path, &bytes, e);
    if (!b)
        return false;
    OCSP_RESPONSE *r = d2i_OCSP_RESPONSE_bio(b, NULL);
    if (!r)
        why = "it is no OCSP response in DER";
    else
        c->ocsp_until = ocsp_until(r, c, &why);
    if (why) {
        tls_say(e, path, "\"%.*s\" cannot be stapled: %s", STR_ARG(path), why);
    } else if (c->ocsp_until <= clock_wall() / 1000000) {
        snprintf(text, sizeof text, "\"%.*s\" cannot be stapled: it has expired", STR_ARG(path));
        good = untimely(e, path, text);
    } else {
        int n = i2d_OCSP_RESPONSE(r, NULL);
        unsigned char *to = c->ocsp = mem_new((size_t) n + 1);
        c->n_ocsp = (size_t) i2d_OCSP_RESPONSE(r, &to);
    }
    OCSP_RESPONSE_free(r);
    close_file(b, bytes);
    return good && !why;
}

/* ---- the whole ----------------------------------------------------------------------------- */

struct tls_cert *tls_cert_load(const struct tls_cert_conf *conf, struct tls_errors *e)
{
    struct tls_cert *c = mem_new(sizeof *c);
    atomic_store(&c->refs, 1);
    c->chain = sk_X509_new_null();
    must(c->chain);
    bool good = load_chain(c, conf->cert, e);
    good &= load_key(c, conf->key, e);
    if (good && X509_check_private_key(c->leaf, c->key) != 1) {
        tls_say(e, conf->key, "the key in \"%.*s\" is not that of the certificate in \"%.*s\"",
                STR_ARG(conf->key), STR_ARG(conf->cert));
        good = false;
    }
    if (good) {
        c->not_after = tls_time(X509_get0_notAfter(c->leaf));
        c->kind = kind_of(c->key);
        take_names(c, conf);
        good = check_order(c, conf->cert, e);
        good = check_times(c, conf->cert, e) && good;
    }
    if (good && conf->ocsp.n)
        good = load_ocsp(c, conf->ocsp, e);
    ERR_clear_error();
    if (good)
        return c;
    tls_cert_unref(c);
    return NULL;
}

struct tls_cert *tls_cert_ref(struct tls_cert *c)
{
    atomic_fetch_add(&c->refs, 1);
    return c;
}

void tls_cert_unref(struct tls_cert *c)
{
    if (!c || atomic_fetch_sub(&c->refs, 1) != 1)
        return;
    X509_free(c->leaf);
    sk_X509_pop_free(c->chain, X509_free);
    EVP_PKEY_free(c->key);
    for (size_t i = 0; i < c->n_names; i++)
        mem_free((void *) c->names[i].p);
    mem_free(c->names);
    mem_free(c->ocsp);
    mem_free(c);
}

bool tls_cert_use(const struct tls_cert *c, SSL_CTX *ctx)
{
    return SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, c->chain, 1) == 1;
}

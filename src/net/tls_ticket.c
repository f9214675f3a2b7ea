/* SPDX-License-Identifier: Apache-2.0 */
/* tls_ticket.c: the keys that session tickets are encrypted with: made here and rotated, or read
 * from files that several machines share. Invariants:
 * 1. keys[0] encrypts, all n decrypt; 1 <= n once initialised.
 * 2. The keys are read and changed under lock; a handshake copies the one that it needs. */
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "base/file_io.h"
#include "net/tls_inside.h"

_Static_assert(sizeof(struct tls_ticket_key) == TLS_KEY_BYTES, "as the files have it");

static bool read_key(struct str path, struct tls_ticket_key *key, struct tls_errors *e)
{
    size_t n;
    char *why = NULL, *name = mem_strdup(path);
    char *bytes = file_read(name, 4096, &n, &why);
    bool good = bytes && n == sizeof *key;
    if (!bytes)
        tls_say(e, path, "%s", why);
    else if (!good)
        tls_say(e, path, "\"%.*s\" has %zu bytes; a ticket key has 80 (openssl rand 80)",
                STR_ARG(path), n);
    else
        memcpy(key, bytes, n);
    if (bytes)
        OPENSSL_cleanse(bytes, n);
    mem_free(bytes);
    mem_free(why);
    mem_free(name);
    return good;
}

bool tls_tickets_load(struct tls_tickets *t, const struct tls_ticket_conf *conf,
                      struct tls_errors *e)
{
    struct tls_ticket_key keys[TLS_TICKET_KEYS];
    const struct str *paths = conf->keys.items;
    bool good = true;
    for (size_t i = 0; i < conf->keys.n; i++)
        good &= read_key(paths[i], &keys[i], e);
    if (good) {
        pthread_mutex_lock(&t->lock);
        memcpy(t->keys, keys, conf->keys.n * sizeof keys[0]);
        t->n = (unsigned) conf->keys.n;
        pthread_mutex_unlock(&t->lock);
    }
    OPENSSL_cleanse(keys, sizeof keys);
    return good;
}

void tls_tickets_rotate(struct tls_tickets *t, const struct tls_ticket_conf *conf, usec_t now)
{
    if (conf->keys.n || now < t->next)
        return;
    struct tls_ticket_key fresh;
    must(RAND_bytes((unsigned char *) &fresh, sizeof fresh) == 1);
    pthread_mutex_lock(&t->lock);
    memmove(&t->keys[1], &t->keys[0], (TLS_KEYS_MADE - 1) * sizeof fresh);
    t->keys[0] = fresh;
    t->n += t->n < TLS_KEYS_MADE;
    pthread_mutex_unlock(&t->lock);
    OPENSSL_cleanse(&fresh, sizeof fresh);
    t->next = now + conf->rotate;
}

bool tls_tickets_init(struct tls_tickets *t, const struct tls_ticket_conf *conf,
                      struct tls_errors *e)
{
    must(pthread_mutex_init(&t->lock, NULL) == 0);
    if (conf->keys.n)
        return tls_tickets_load(t, conf, e);
    tls_tickets_rotate(t, conf, clock_now());
    return true;
}

void tls_tickets_fini(struct tls_tickets *t)
{
    OPENSSL_cleanse(t->keys, sizeof t->keys);
    pthread_mutex_destroy(&t->lock);
}

bool tls_tickets_left(struct tls_tickets *t, const struct tls_ticket_conf *conf,
                      struct tls_made_keys *k)
{
    if (!conf->enabled || conf->keys.n)
        return false;
    pthread_mutex_lock(&t->lock);
    k->n = t->n;
    memcpy(k->bytes, t->keys, t->n * sizeof t->keys[0]);
    pthread_mutex_unlock(&t->lock);
    k->next = t->next;
    return true;
}

void tls_tickets_follow(struct tls_tickets *t, const struct tls_made_keys *k)
{
    if (k->n == 0 || k->n > TLS_KEYS_MADE)
        return;
    pthread_mutex_lock(&t->lock);
    t->n = k->n;
    memcpy(t->keys, k->bytes, k->n * sizeof t->keys[0]);
    pthread_mutex_unlock(&t->lock);
    t->next = k->next;
}

/* The key of that name (encrypt: the first); -1: none. */
static int copy_key(struct tls_tickets *t, const unsigned char *name, bool encrypt,
                    struct tls_ticket_key *out)
{
    int at = -1;
    pthread_mutex_lock(&t->lock);
    for (unsigned i = 0; i < t->n && at < 0; i++)
        if (encrypt || memcmp(t->keys[i].name, name, sizeof t->keys[i].name) == 0)
            at = (int) i;
    if (at >= 0)
        *out = t->keys[at];
    pthread_mutex_unlock(&t->lock);
    return at;
}

int tls_ticket_callback(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                        EVP_MAC_CTX *mac, int encrypt)
{
    struct tls_server *server = tls_of(ssl)->set->server;
    struct tls_ticket_key key;
    int at = copy_key(&server->tickets, name, encrypt, &key);
    if (at < 0)
        return 0;
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.hmac, sizeof key.hmac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    bool good = EVP_MAC_CTX_set_params(mac, params) == 1;
    if (encrypt) {
        memcpy(name, key.name, sizeof key.name);
        good = good && RAND_bytes(iv, 16) == 1 &&
               EVP_EncryptInit_ex(cipher, server->aes, NULL, key.aes, iv) == 1;
    } else {
        good = good && EVP_DecryptInit_ex(cipher, server->aes, NULL, key.aes, iv) == 1;
    }
    OPENSSL_cleanse(&key, sizeof key);
    if (!good)
        return -1;
    /* 2: the client gets a new one, of the present key. In TLS 1.3 always: a client uses each
     * ticket once (RFC 8446 C.4), and would have none for its next connection. */
    return at > 0 || SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1;
}

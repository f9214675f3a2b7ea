/* SPDX-License-Identifier: Apache-2.0 */
/* tls_early.c: what clients send before the handshake is over (0-RTT, RFC 8446 2.3), and how it is
 * kept from being replayed. Invariants:
 * 1. A session that may bring early data is in memory, in the cache of the listener's first
 *    context, and is taken out when it is resumed: what is sent again finds none, and is not read
 *    (RFC 8446 8.1). That is OpenSSL's doing, as long as SSL_OP_NO_ANTI_REPLAY is not set.
 * 2. Nothing is read early under a policy for clients' certificates.
 * 3. held: first was read from OpenSSL and by nobody else. */
#include "net/tls_inside.h"

#define EARLY_BYTES 16384u /* of one connection: requests without bodies */
#define SESSIONS 20480     /* kept where session_cache says nothing */

static int on_early(SSL *ssl, void *arg)
{
    (void) arg;
    return tls_of(ssl)->auth->conf->mode == TLS_AUTH_OFF;
}

void tls_early_allow(SSL_CTX *ctx, const struct tls_server_conf *c)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ctx, c->session_cache ? c->session_cache : SESSIONS);
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_max_early_data(ctx, EARLY_BYTES);
    SSL_CTX_set_recv_max_early_data(ctx, EARLY_BYTES);
    SSL_CTX_set_allow_early_data_cb(ctx, on_early, NULL);
}

enum io tls_early_begin(struct tls *t)
{
    size_t n = 0;
    switch (SSL_read_early_data(t->ssl, &t->first, 1, &n)) {
    case SSL_READ_EARLY_DATA_SUCCESS:
        t->early = TLS_EARLY_OPEN;
        t->held = n > 0;
        return IO_OK;
    case SSL_READ_EARLY_DATA_FINISH:
        t->early = TLS_EARLY_NONE;
        return IO_EOF;
    default:
        return SSL_get_error(t->ssl, 0) == SSL_ERROR_WANT_READ ? IO_AGAIN : IO_ERR;
    }
}

enum io tls_early_read(struct tls *t, void *to, size_t max, size_t *n, int *result)
{
    *result = 0;
    if (t->held) {
        *(char *) to = t->first;
        t->held = false;
        *n = 1;
        return IO_OK;
    }
    if (t->early == TLS_EARLY_OPEN) {
        int got = SSL_read_early_data(t->ssl, to, max, n);
        if (got == SSL_READ_EARLY_DATA_SUCCESS)
            return *n ? IO_OK : IO_AGAIN;
        if (got == SSL_READ_EARLY_DATA_ERROR)
            return IO_ERR;
        t->early = TLS_EARLY_READ;
    }
    *result = SSL_do_handshake(t->ssl);
    if (*result != 1)
        return IO_ERR;
    t->early = TLS_EARLY_NONE;
    return IO_EOF;
}

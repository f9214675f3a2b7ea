/* SPDX-License-Identifier: Apache-2.0 */
/* passthrough: see passthrough.h. Invariants:
 * 1. Both legs are raw from birth: what they read and write is what the peers sent.
 * 2. The one thing that Weir says by itself is an alert, before any byte of an endpoint. */
#include "proxy/passthrough.h"

#include "proxy/driver.h"
#include "proxy/leg_h1.h"

/* A head for the matcher: the name asked for stands in the host's place. */
static struct head head_of(const struct client_hello *h)
{
    struct str sni = str_of(h->sni, h->sni_n);
    return (struct head){.host = sni, .sni = sni, .alpn = str_of(h->alpn, h->alpn_n)};
}

static struct route *find(const struct snapshot *s, const struct head *head)
{
    struct arena none; /* nothing that these rules ask for takes memory */
    struct str allow;
    enum fault f;
    if (!s->passes)
        return NULL;
    arena_init(&none, NULL, 0);
    struct route *r = router_match(s->passes, head, &none, &f, &allow).route;
    arena_fini(&none);
    return r;
}

struct route *passthrough_route(const struct snapshot *s, const struct client_hello *h)
{
    struct head head = head_of(h);
    return find(s, &head);
}

__attribute__((noinline)) bool passthrough_takes(const struct snapshot *s, struct str host)
{
    struct head head = {.host = host};
    return find(s, &head) != NULL;
}

/* Keeps what the hello says for as long as x lives. */
static bool note_hello(struct exchange *x, const struct client_hello *h)
{
    *x->in = head_of(h);
    x->in->sni = arena_str(&x->arena, x->in->sni);
    x->in->alpn = arena_str(&x->arena, x->in->alpn);
    x->in->host = x->in->authority = x->in->sni;
    return x->in->sni.p && x->in->alpn.p;
}

void passthrough_open(struct session *s, struct route *r, const struct client_hello *hello,
                      enum fault f)
{
    struct worker *w = s->worker;
    struct exchange *x = w->snapshot ? exchange_of(s) : NULL;
    if (x) {
        x->timer = &s->timer;
        x->client = leg_h1_client(x, s);
    }
    if (!x || !x->client) {
        counter_add(&w->stats->faults[x || w->snapshot ? FAULT_MEMORY : f], 1);
        if (x)
            exchange_discard(x);
        session_close(s, true);
        return;
    }
    x->kind = EXCHANGE_CONNECTION;
    x->forced_route = r;
    x->client->ops->tunnel(x->client);
    session_busy(s, x);
    if (hello && !note_hello(x, hello))
        f = FAULT_MEMORY;
    x->in->body = BODY_TUNNEL;
    if (f != FAULT_OK)
        exchange_fail(x, f);
    exchange_wake(x);
}

/* What a TLS client is told; 0: nothing. */
static uint8_t alert_for(enum fault f)
{
    switch (f) {
    case FAULT_SNI_UNKNOWN:
        return TLS_ALERT_UNRECOGNIZED_NAME;
    case FAULT_SNI_MISSING:
        return TLS_ALERT_MISSING_EXTENSION;
    case FAULT_HELLO_INVALID:
    case FAULT_HELLO_LARGE:
        return TLS_ALERT_DECODE_ERROR;
    case FAULT_PROXY_MISSING:
    case FAULT_PROXY_INVALID:
    case FAULT_PROXY_TIMEOUT:
    case FAULT_NOT_TLS:
    case FAULT_HELLO_TIMEOUT:
    case FAULT_CLIENT_GONE:
    case FAULT_CLIENT_TRUNCATED:
        return 0;
    default:
        return TLS_ALERT_INTERNAL_ERROR;
    }
}

void passthrough_refuse(struct exchange *x, enum fault f)
{
    char alert[TLS_ALERT_BYTES];
    struct buf_pool *bp = &x->worker->buffers;
    struct chain bytes = {0};
    uint8_t description = alert_for(f);
    if (!description || x->step == STEP_TUNNEL || x->client->bytes_out)
        return;
    tls_alert_write(description, alert);
    if (chain_copy(&bytes, bp, str_of(alert, sizeof(alert))) &&
        x->client->ops->write_block(x->client, &bytes) == FAULT_OK)
        return;
    chain_clear(&bytes, bp);
}

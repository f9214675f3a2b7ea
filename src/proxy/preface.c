/* SPDX-License-Identifier: Apache-2.0 */
/* preface: see preface.h. Invariants:
 * 1. Nothing is taken from the socket but a whole PROXY header.
 * 2. What a header announces takes effect only when all of it was understood; peer_ip is then its
 *    source, for the trust in forwarding fields too. */
#include "proxy/preface.h"

#include "proxy/driver.h"
#include "proxy/listener.h"
#include "proxy/passthrough.h"

/* Ends a session for a reason that the log tells. */
static void refuse(struct session *s, enum fault f)
{
    if (s->passthrough)
        passthrough_open(s, NULL, NULL, f);
    else
        session_refuse(s, f);
}

/* The listener requires a header of this peer. */
static bool header_due(const struct session *s)
{
    const struct listener_spec *l = s->listener->now;
    if (!l || l->conf.proxy_protocol.mode == PROXY_PROTOCOL_OFF)
        return false;
    if (l->conf.proxy_protocol.from.n == 0)
        return true;
    if (s->peer_unix)
        return l->proxies_unix;
    for (uint32_t i = 0; i < l->n_proxies; i++) {
        if (cidr_has(&l->proxies[i], s->peer_ip))
            return true;
    }
    return false;
}

static void await(struct session *s, enum preface what, usec_t limit)
{
    struct loop *loop = s->worker->loop;
    s->state = SESSION_PREFACE;
    s->preface = (uint8_t) what;
    s->begun = false;
    if (limit)
        timer_set(loop, &s->timer, loop_now(loop) + limit);
    else
        timer_idle(&s->timer);
}

static void await_hello(struct session *s)
{
    const struct snapshot *now = s->worker->snapshot;
    await(s, PREFACE_HELLO, now ? now->settings.timeouts.client_head : 0);
}

bool preface_begin(struct session *s)
{
    const struct listener_spec *l = s->listener->now;
    s->passthrough = l && l->conf.mode == LISTENER_PASSTHROUGH;
    if (header_due(s))
        await(s, PREFACE_HEADER, l->conf.proxy_protocol.timeout);
    else if (s->passthrough)
        await_hello(s);
    else
        return false;
    return true;
}

/* Moves a text of a header into the bytes that are kept. */
static void keep(struct str *text, char **at)
{
    if (!text->n)
        return;
    memcpy(*at, text->p, text->n);
    text->p = *at;
    *at += text->n;
}

/* Notes what the header says. False: memory. */
static bool announce(struct session *s, const struct proxy_header *h)
{
    size_t texts = h->authority.n + h->alpn.n + h->unique_id.n + h->ssl.version.n + h->ssl.cn.n +
                   h->ssl.cipher.n;
    size_t size = sizeof(struct announced) + texts;
    if (!mem_charge(&s->worker->account, size))
        return false;
    struct announced *a = mem_new(size);
    char *at = a->bytes;
    a->size = size;
    a->header = *h;
    keep(&a->header.authority, &at);
    keep(&a->header.alpn, &at);
    keep(&a->header.unique_id, &at);
    keep(&a->header.ssl.version, &at);
    keep(&a->header.ssl.cn, &at);
    keep(&a->header.ssl.cipher, &at);
    s->announced = a;
    s->peer_ip = h->source;
    s->peer_port = h->source_port;
    s->peer_unix = false;
    return true;
}

void preface_forget(struct session *s)
{
    if (!s->announced)
        return;
    mem_credit(&s->worker->account, s->announced->size);
    mem_free(s->announced);
    s->announced = NULL;
}

static void look_at_hello(struct session *s);

/* A whole header lies in front of what waits bytes are. */
static void header_came(struct session *s, const struct proxy_header *h, size_t used, size_t waits)
{
    if (h->told && !announce(s, h)) {
        refuse(s, FAULT_MEMORY);
        return;
    }
    if (!conn_skip(&s->conn, used)) {
        session_close(s, true);
        return;
    }
    if (!s->listener->now || (waits == used && s->conn.hup)) {
        /* Its listener is gone; or nothing was asked, and no event will say so again. */
        session_close(s, false);
    } else if (s->passthrough) {
        await_hello(s);
        if (waits > used)
            look_at_hello(s);
    } else {
        session_greeted(s, waits > used);
    }
}

/* The bytes that wait; false: there are none, or the connection is over. */
static bool look(struct session *s, char *bytes, size_t max, struct str *seen)
{
    size_t n;
    enum io io = conn_peek(&s->conn, bytes, max, &n);
    if (io == IO_EOF || io == IO_ERR)
        session_close(s, false); /* it came and went, as health checks do */
    s->begun |= n > 0;
    *seen = str_of(bytes, n);
    return io == IO_OK;
}

static void look_at_header(struct session *s)
{
    char bytes[PROXY_HEADER_MAX + 1]; /* one more: to see that something is behind it */
    struct proxy_header h;
    struct str seen;
    size_t used;
    if (!look(s, bytes, sizeof(bytes), &seen))
        return;
    switch (proxy_parse(seen, &h, &used)) {
    case PROXY_WHOLE:
        header_came(s, &h, used, seen.n);
        return;
    case PROXY_MISSING:
        refuse(s, FAULT_PROXY_MISSING);
        return;
    case PROXY_INVALID:
        refuse(s, FAULT_PROXY_INVALID);
        return;
    case PROXY_MORE:
        if (s->conn.hup)
            refuse(s, FAULT_PROXY_INVALID); /* no more will come */
        return;
    }
}

/* The hello is not for an endpoint, and still in the socket: Weir answers it where the listener
 * terminates TLS. Else it is refused with f. */
static void not_passed(struct session *s, const struct client_hello *h, enum fault f)
{
    if (s->listener->now && s->listener->now->tls && conn_skip(&s->conn, 0))
        session_greeted(s, true);
    else
        passthrough_open(s, NULL, h, f);
}

/* The hello is whole and still in the socket. */
static void hello_came(struct session *s, const struct client_hello *h)
{
    const struct snapshot *now = s->worker->snapshot;
    struct route *r = now ? passthrough_route(now, h) : NULL;
    if (!r)
        not_passed(s, h, h->sni_n ? FAULT_SNI_UNKNOWN : FAULT_SNI_MISSING);
    else if (conn_skip(&s->conn, 0))
        passthrough_open(s, r, h, FAULT_OK);
    else
        session_close(s, true);
}

static void look_at_hello(struct session *s)
{
    char bytes[CLIENT_HELLO_MAX];
    struct client_hello h;
    struct str seen;
    if (!look(s, bytes, sizeof(bytes), &seen))
        return;
    switch (client_hello_parse(seen, &h)) {
    case HELLO_WHOLE:
        hello_came(s, &h);
        return;
    case HELLO_NOT_TLS:
        not_passed(s, NULL, FAULT_NOT_TLS);
        return;
    case HELLO_INVALID:
        not_passed(s, NULL, FAULT_HELLO_INVALID);
        return;
    case HELLO_TOO_LARGE:
        not_passed(s, NULL, FAULT_HELLO_LARGE);
        return;
    case HELLO_MORE:
        if (s->conn.hup)
            not_passed(s, NULL, FAULT_HELLO_INVALID); /* no more will come */
        return;
    }
}

void preface_event(struct session *s)
{
    if (s->preface == PREFACE_HEADER)
        look_at_header(s);
    else
        look_at_hello(s);
}

void preface_timeout(struct session *s)
{
    if (s->preface == PREFACE_HEADER)
        refuse(s, FAULT_PROXY_TIMEOUT);
    else
        refuse(s, FAULT_HELLO_TIMEOUT);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* handshake.c: see handshake.h. Invariants:
 * 1. SESSION_HANDSHAKE: s->handshake is there; it is in worker->handshakes exactly while a step of
 *    it is due.
 * 2. Each one that is counted for its source is given back by handshake_end, once. */
#include "proxy/handshake.h"

#include "base/log.h"
#include "base/panic.h"
#include "proxy/listener.h"
#include "proxy/source_limit.h"

struct handshake {
    struct list_node node; /* worker->handshakes while a step is due */
    struct session *session;
    bool counted; /* for its source */
};

_Static_assert(sizeof(struct handshake) <= HANDSHAKE_BYTES, "as the worker's pool has them");

/* How messages name a client. */
static const char *peer_text(const struct session *s, char text[64])
{
    if (s->peer_unix)
        return "a unix socket";
    text[ip_print(s->peer_ip, text)] = '\0';
    return text;
}

static void due(struct handshake *h)
{
    struct worker *w = h->session->worker;
    if (list_linked(&h->node))
        return;
    list_push_back(&w->handshakes, &h->node);
    loop_queue_last(w->loop, &w->handshake_task);
}

bool handshake_begin(struct session *s, const struct tls_server_conf *conf)
{
    struct worker *w = s->worker;
    uint64_t max = s->peer_unix ? 0 : (uint64_t) conf->handshakes_per_source;
    struct handshake *h = pool_get(&w->handshake_pool);
    if (!h) {
        counter_add(&w->stats->faults[FAULT_MEMORY], 1);
        return false;
    }
    *h = (struct handshake){.session = s};
    s->handshake = h;
    s->state = SESSION_HANDSHAKE;
    counter_add(&w->stats->handshakes_open, 1);
    if (max && !source_limit_take(w->handshake_limit, s->peer_ip, max)) {
        counter_add(&w->stats->faults[FAULT_TLS_SOURCE_LIMIT], 1);
        return false;
    }
    h->counted = max > 0;
    usec_t limit = w->snapshot ? w->snapshot->settings.timeouts.handshake : 0;
    if (limit)
        timer_set(w->loop, &s->timer, loop_now(w->loop) + limit);
    else
        timer_idle(&s->timer); /* of what came before */
    return true;
}

void handshake_event(struct session *s)
{
    due(s->handshake);
}

void handshake_end(struct session *s)
{
    struct handshake *h = s->handshake;
    struct worker *w = s->worker;
    if (!h)
        return;
    s->handshake = NULL;
    list_remove(&h->node);
    if (h->counted)
        source_limit_put(w->handshake_limit, s->peer_ip);
    counter_sub(&w->stats->handshakes_open, 1);
    pool_put(&w->handshake_pool, h);
}

/* A person with a browser put http:// before this address: say so in what it speaks. */
static bool answer_plain(struct session *s)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n"
                               "Content-Length: 16\r\nConnection: close\r\n\r\n"
                               "tls_plain_http\r\n";
    struct iovec iov = {(void *) (uintptr_t) text, sizeof text - 1};
    size_t n;
    return conn_writev(&s->conn, &iov, 1, &n) == IO_OK;
}

static void failed(struct session *s, enum fault f)
{
    char peer[64];
    counter_add(&s->worker->stats->faults[f], 1);
    log_debug("tls.handshake", "%s on %.*s: %s: %s", peer_text(s, peer),
              STR_ARG(s->listener->address), fault_name(f), conn_tls_why(&s->conn));
    handshake_end(s);
    if (f == FAULT_TLS_TIMEOUT || f == FAULT_TLS_ABORTED) {
        session_close(s, false);
        return;
    }
    /* What the client still sends is drained, so that no reset overtakes the alert. */
    conn_tls_strip(&s->conn);
    s->state = SESSION_BUSY;
    if (f != FAULT_TLS_PLAIN_HTTP || answer_plain(s))
        session_resume(s, false);
    else
        session_close(s, true);
}

void handshake_timeout(struct session *s)
{
    failed(s, FAULT_TLS_TIMEOUT);
}

static void step(struct session *s)
{
    enum fault f = FAULT_TLS_FAILED;
    struct stats *stats = s->worker->stats;
    switch (conn_handshake(&s->conn, &f)) {
    case IO_OK:
        break;
    case IO_AGAIN:
        return; /* an event will say when */
    case IO_EOF:
    case IO_ERR:
        failed(s, f);
        return;
    }
    struct tls_info info;
    if (conn_tls_info(&s->conn, &info))
        counter_add(info.resumed ? &stats->handshakes_resumed : &stats->handshakes_full, 1);
    handshake_end(s);
    session_ready(s);
}

void handshake_run(struct task *t)
{
    struct worker *w = list_entry(t, struct worker, handshake_task);
    struct list_node *node;
    for (int i = 0; i < HANDSHAKE_STEPS && (node = list_pop_front(&w->handshakes)); i++)
        step(list_entry(node, struct handshake, node)->session);
    if (!list_empty(&w->handshakes))
        loop_queue_last(w->loop, t);
}

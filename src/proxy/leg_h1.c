/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h1: the table, birth, events and the end of an HTTP/1.1 leg. Reading is in leg_h1_read.c,
 * writing in leg_h1_write.c. Invariants:
 * 1. conn is NULL exactly after close; then neither session nor link is touched again.
 * 2. Unread bytes are in [in_at, in->fill) or still in the kernel; never elsewhere.
 * 3. A leg that wrote half a message, or did not read one to its end, never gives its
 *    connection back. */
#include "proxy/leg_h1.h"

#include "base/panic.h"
#include "proxy/driver.h"

static size_t queued(const struct leg *l)
{
    return ((const struct leg_h1 *) l)->out.bytes;
}

static uint64_t arrived(struct leg *l)
{
    const struct leg_h1 *h = (struct leg_h1 *) l;
    return l->bytes_out - (h->conn ? conn_under_way(h->conn) : 0);
}

static void flush(struct leg *l, bool more)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    loop_unqueue(&h->flush);
    if (more && h->conn)
        h->conn->more = MSG_MORE;
    leg_h1_flush(&h->flush);
    if (more && h->conn)
        h->conn->more = 0;
}

static void half_close(struct leg *l)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    h->shut = true;
    if (h->conn && !h->out.bytes && !h->conn->write_shut)
        conn_shutdown_write(h->conn);
}

static void tunnel(struct leg *l)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    if (h->session && h->reading == H1_DONE && h->in)
        l->bytes_in += h->in->fill - h->in_at; /* not of another request after all */
    h->reading = h->writing = H1_TUNNEL;
}

static bool gone(const struct leg *l, bool half)
{
    const struct conn *c = ((const struct leg_h1 *) l)->conn;
    return !c || (half ? c->hup || c->eof || c->broken : c->lost || c->broken);
}

/* What was to be written to the client has left, to its end. */
static bool client_whole(const struct leg_h1 *h)
{
    return (h->writing == H1_DONE || h->writing == H1_TUNNEL) && !h->out.bytes;
}

/* A client's connection that serves no other request: its session ends. */
RARE static void end_client(struct leg_h1 *h)
{
    struct session *s = h->session;
    bool whole = client_whole(h);
    bool unread = h->reading != H1_DONE || (h->in && h->in_at < h->in->fill) || h->conn->may_read;
    block_unref(h->in);
    h->in = NULL;
    const struct exchange *x = h->leg.x;
    bool cut = x->kind == EXCHANGE_CONNECTION && x->fault != FAULT_OK && x->attempt &&
               x->attempt->connected;
    if (h->conn->broken || h->out.bytes || h->writing == H1_CLOSE || cut)
        session_close(s, true); /* a message that ends with the connection is broken by a reset */
    else if (whole && !unread)
        session_close(s, false);
    else
        session_resume(s, false);
}

/* A client's connection: given back to its session. */
static void close_client(struct leg_h1 *h, bool keep)
{
    struct session *s = h->session;
    bool untouched = h->reading == H1_HEAD && h->writing == H1_HEAD && !h->leg.bytes_in;
    if (!keep || (!untouched && !(client_whole(h) && h->reading == H1_DONE && !h->said_close))) {
        end_client(h);
        return;
    }
    struct block *in = h->in;
    h->in = NULL;
    if (in && h->in_at < in->fill) {
        s->in = in;
        s->in_at = h->in_at;
    } else {
        block_unref(in);
    }
    session_resume(s, true);
}

/* An upstream's connection: back to its pool, or evicted. */
static void close_upstream(struct leg_h1 *h, bool keep, enum evict_reason why)
{
    bool leftover = h->surplus || (h->in && h->in_at < h->in->fill);
    bool whole = h->reading == H1_DONE && !h->out.bytes &&
                 (h->writing == H1_DONE || h->writing == H1_TUNNEL);
    block_unref(h->in);
    h->in = NULL;
    if (keep && whole && !leftover && !gone(&h->leg, true))
        pool_release(h->link);
    else
        pool_evict(h->link, leftover ? EVICT_READABLE : why, !whole);
}

static void close_leg(struct leg *l, bool keep, enum evict_reason why)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    if (!h->conn)
        return;
    loop_unqueue(&h->flush);
    if (h->out.bytes && !h->conn->broken)
        leg_h1_flush(&h->flush); /* best effort: what is queued may still leave */
    bool all = !h->out.bytes;
    if (h->session)
        close_client(h, keep && all);
    else
        close_upstream(h, keep && all, why);
    if (!all)
        chain_clear(&h->out, &h->worker->buffers);
    h->conn = NULL;
}

static struct conn *splice_source(struct leg *l, uint64_t *raw)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    if (!h->conn || l->copy_only || (h->in && h->in_at < h->in->fill))
        return NULL;
    if (h->reading == H1_LENGTH)
        *raw = h->read_left;
    else if (h->reading == H1_CLOSE || h->reading == H1_TUNNEL)
        *raw = UINT64_MAX;
    else
        return NULL;
    return h->conn;
}

static struct conn *splice_sink(struct leg *l)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    if (!h->conn || l->copy_only || h->out.bytes)
        return NULL;
    if (h->writing != H1_LENGTH && h->writing != H1_CLOSE && h->writing != H1_TUNNEL)
        return NULL;
    return h->conn;
}

static void spliced(struct leg *l, bool reading, size_t n)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    usec_t now = loop_now(h->worker->loop);
    if (reading) {
        l->bytes_in += n;
        l->last_in = now;
        if (h->link)
            h->link->spliced = h->link->large = true;
        if (h->reading == H1_LENGTH && (h->read_left -= n) == 0)
            h->reading = H1_DONE;
        return;
    }
    l->bytes_out += n;
    l->last_out = now;
    if (h->writing == H1_LENGTH) {
        must(n <= h->write_left);
        h->write_left -= n;
    }
}

static const struct leg_ops leg_h1_ops = {
    .name = "h1",
    .read_head = leg_h1_read_head,
    .read_block = leg_h1_read_block,
    .write_interim = leg_h1_write_interim,
    .write_head = leg_h1_write_head,
    .write_block = leg_h1_write_block,
    .write_end = leg_h1_write_end,
    .queued = queued,
    .arrived = arrived,
    .flush = flush,
    .tunnel = tunnel,
    .half_close = half_close,
    .gone = gone,
    .close = close_leg,
    .splice_source = splice_source,
    .splice_sink = splice_sink,
    .spliced = spliced,
};

static struct leg_h1 *leg_new(struct exchange *x, struct conn *conn)
{
    struct leg_h1 *h = arena_alloc(&x->arena, sizeof(*h));
    if (!h)
        return NULL;
    memset(h, 0, offsetof(struct leg_h1, conn));
    h->leg.ops = &leg_h1_ops;
    h->leg.x = x;
    h->leg.last_in = h->leg.last_out = x->now;
    h->worker = x->worker;
    h->conn = conn;
    h->leg.copy_only = !conn->ops->splice;
    h->flush.run = leg_h1_flush;
    return h;
}

struct leg *leg_h1_client(struct exchange *x, struct session *s)
{
    struct leg_h1 *h = leg_new(x, &s->conn);
    if (!h)
        return NULL;
    h->session = s;
    h->limits = &x->snapshot->request_limits;
    h->in = s->in;
    h->in_at = s->in_at;
    if (h->in)
        h->leg.bytes_in = h->in->fill - h->in_at;
    s->in = NULL;
    return &h->leg;
}

void leg_h1_event(struct leg *l, unsigned events)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    if ((events & EV_WRITE) && h->out.bytes)
        loop_queue_late(h->worker->loop, &h->flush);
    if ((events & (EV_READ | EV_HUP)) || (l->want_drain && !h->out.bytes))
        exchange_wake(l->x);
}

static void link_event(struct link *link, unsigned events)
{
    leg_h1_event(link->borrower, events);
}

struct leg *leg_h1_upstream(struct exchange *x, struct link *link)
{
    struct leg_h1 *h = leg_new(x, &link->conn);
    if (!h)
        return NULL;
    h->link = link;
    h->head_apart = link->large;
    link->large = false;
    h->limits = &x->plan->settings->response_limits;
    h->peer_method = x->in->method_id;
    link->borrower = &h->leg;
    link->on_event = link_event;
    return &h->leg;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h2: the table, birth, what the connection tells, and the end of a stream's leg. Reading is
 * in leg_h2_read.c, writing in leg_h2_write.c. Invariants:
 * 1. c is NULL exactly after close; then nghttp2 does not know the leg any more.
 * 2. uncredited counts what came and is still in `in` or on its way to the other side; it falls
 *    only as credit is given (leg_h2_taken), or when the stream ends (leg_h2_forgive).
 * 3. A stream that ends before both messages are whole is reset, with a code that says why. */
#include "proxy/leg_h2.h"

#include "base/panic.h"
#include "proxy/driver.h"
#include "proxy/h2_link.h"

static size_t queued(const struct leg *l)
{
    const struct leg_h2 *h = (const struct leg_h2 *) l;
    if (leg_h2_is_shut(h))
        return 0; /* nobody will take it */
    bool unsent = h->unsent_heads || (h->writing == H2_DONE && !h->end_sent);
    return h->out.bytes + unsent; /* a frame that is still to be made counts as a byte */
}

/* What the connection's peer takes is counted for a stream while the stream could send more: one
 * whose peer gives it no credit does not live of others. */
static uint64_t arrived(struct leg *l)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    if (leg_h2_is_shut(h))
        return l->bytes_out + h->arrivals;
    uint64_t seen = h2_conn_arrived(h->c);
    if (nghttp2_session_get_stream_remote_window_size(h->c->ng, h->id) > 0)
        h->arrivals += seen - h->arrivals_seen;
    h->arrivals_seen = seen;
    return l->bytes_out + h->arrivals;
}

static void tunnel(struct leg *l)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    h->reading = H2_TUNNEL;
    if (h->writing == H2_OFFER)
        h->writing = H2_TUNNEL;
}

static void half_close(struct leg *l)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    if (h->writing == H2_TUNNEL && leg_h2_write_end(l, NULL) != FAULT_OK)
        leg_h2_break(h, FAULT_MEMORY);
}

static bool gone(const struct leg *l, bool half)
{
    (void) half; /* an ended request is no abort here: that is a reset of the stream */
    const struct leg_h2 *h = (const struct leg_h2 *) l;
    return !h->c || h->reading == H2_BROKEN || (h->closed && !h->end_sent);
}

/* What the peer is told of a stream that ends early (RFC 9113 7). */
static uint32_t reset_code(const struct leg_h2 *h)
{
    enum fault f = h->leg.x->fault;
    if (h->link)
        return h->leg.fault == FAULT_UP_HEAD || h->leg.fault == FAULT_UP_FRAMING
                   ? NGHTTP2_PROTOCOL_ERROR
                   : NGHTTP2_CANCEL;
    bool silent = h->writing == H2_HEAD;
    if (f == FAULT_MEMORY && silent && !h->leg.x->n_attempts)
        return NGHTTP2_REFUSED_STREAM; /* nothing was done: it may be asked again (RFC 9113 8.7) */
    if ((f == FAULT_OK && !silent) || h->end_sent)
        return NGHTTP2_NO_ERROR; /* the answer is whole; the rest of the request is not wanted */
    if (f == FAULT_GRPC_DEADLINE)
        return NGHTTP2_CANCEL; /* by which clients know their deadline (gRPC over HTTP/2) */
    if (f == FAULT_H2_MALFORMED || f == FAULT_H2_LENGTH || f == FAULT_H2_STREAM)
        return NGHTTP2_PROTOCOL_ERROR;
    return fault_row(f)->side == FAULT_SIDE_CLIENT ? NGHTTP2_CANCEL : NGHTTP2_INTERNAL_ERROR;
}

/* A window that its owner keeps shut is not without cost: there is a budget for it. */
static void count_end(struct leg_h2 *h, enum fault f)
{
    struct h2_conn *c = h->c;
    if (f == FAULT_H2_MALFORMED || f == FAULT_H2_LENGTH)
        (void) h2_conn_charge(c, H2_RESET_CAUSED);
    else if ((f == FAULT_CLIENT_SEND_TIMEOUT || f == FAULT_CLIENT_SLOW_READ) && h->out.bytes)
        (void) h2_conn_charge(c, H2_STALL);
}

/* It was the endpoint that kept us waiting: is its connection still there? */
static bool timed_out(enum fault f)
{
    return f == FAULT_UP_HEAD_TIMEOUT || f == FAULT_UP_BODY_TIMEOUT || f == FAULT_UP_SEND_TIMEOUT ||
           f == FAULT_TRY_TIMEOUT || f == FAULT_EXCHANGE_TIMEOUT || f == FAULT_CALL_IDLE;
}

static void close_leg(struct leg *l, bool keep, enum evict_reason why)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    struct h2_conn *c = h->c;
    (void) keep;
    (void) why;
    if (!c)
        return;
    timer_stop(&h->timer);
    if (!c->dead) {
        bool whole = h->end_sent && h->ended;
        if (h->id && !h->closed && !whole)
            (void) nghttp2_submit_rst_stream(c->ng, NGHTTP2_FLAG_NONE, h->id, reset_code(h));
        if (h->id && !h->closed)
            (void) nghttp2_session_set_stream_user_data(c->ng, h->id, NULL);
        leg_h2_forgive(h);
        count_end(h, l->x->fault);
    }
    chain_clear(&h->in, &c->worker->buffers);
    chain_clear(&h->out, &c->worker->buffers);
    h->coming = 0;
    leg_h2_recount(h);
    (void) leg_h2_keep(l, 0);
    list_remove(&h->node);
    c->n_streams--;
    h->c = NULL;
    loop_queue_late(c->worker->loop, &c->flush); /* also when dead: it may have been the last */
    if (!h->link)
        return;
    if (timed_out(l->x->attempt->fault)) /* the exchange may go on, at another endpoint */
        h2_link_suspect(h->link);
    pool_release(h->link);
}

static const struct leg_ops leg_h2_ops = {
    .name = "h2",
    .read_head = leg_h2_read_head,
    .read_block = leg_h2_read_block,
    .write_interim = leg_h2_write_interim,
    .write_head = leg_h2_write_head,
    .write_block = leg_h2_write_block,
    .write_end = leg_h2_write_end,
    .queued = queued,
    .arrived = arrived,
    .tunnel = tunnel,
    .half_close = half_close,
    .gone = gone,
    .close = close_leg,
    .taken = leg_h2_taken,
    .share = leg_h2_share,
    .keep = leg_h2_keep,
};

static const struct leg_ops leg_h2_up_ops = {
    .name = "h2",
    .read_head = leg_h2_up_read_head,
    .read_block = leg_h2_read_block,
    .write_interim = leg_h2_write_interim,
    .write_head = leg_h2_up_write_head,
    .write_block = leg_h2_write_block,
    .write_end = leg_h2_write_end,
    .queued = queued,
    .arrived = arrived,
    .tunnel = tunnel,
    .half_close = half_close,
    .gone = gone,
    .close = close_leg,
    .taken = leg_h2_taken,
};

static void leg_timer(struct timer *t)
{
    exchange_wake(list_entry(t, struct leg_h2, timer)->leg.x);
}

static struct leg_h2 *leg_new(struct exchange *x, struct h2_conn *c, const struct leg_ops *ops)
{
    struct leg_h2 *h = arena_zalloc(&x->arena, sizeof(*h));
    if (!h)
        return NULL;
    h->leg.ops = ops;
    h->leg.x = x;
    h->leg.last_in = h->leg.last_out = loop_now(c->worker->loop);
    h->leg.copy_only = true;
    h->c = c;
    h->window = c->stream_bytes;
    h->left = LENGTH_NONE;
    timer_init(&h->timer, leg_timer);
    list_push_back(&c->streams, &h->node);
    c->n_streams++;
    return h;
}

struct leg_h2 *leg_h2_client(struct exchange *x, struct h2_conn *c, int32_t id)
{
    struct leg_h2 *h = leg_new(x, c, &leg_h2_ops);
    if (!h)
        return NULL;
    h->id = id;
    x->client = &h->leg;
    x->timer = &h->timer;
    return h;
}

struct leg *leg_h2_upstream(struct exchange *x, struct link *link)
{
    struct h2_conn *c = h2_link_conn(link);
    if (c->stream_bytes > c->worker->first_window)
        h2_conn_first_window(c, c->worker->first_window);
    struct leg_h2 *h = leg_new(x, c, &leg_h2_up_ops);
    if (!h)
        return NULL;
    h->link = link;
    h->leg.ahead = h->window;
    return &h->leg;
}

/* What an endpoint did; what it did behind its head cuts its answer short. */
static enum fault blame(const struct leg_h2 *h, enum fault f)
{
    enum fault up = h2_conn_blame(h->c, f);
    return up == FAULT_UP_CLOSED && h->head_read ? FAULT_UP_TRUNCATED : up;
}

void leg_h2_break(struct leg_h2 *h, enum fault f)
{
    if (!h->c)
        return;
    if (h->reading != H2_BROKEN) {
        h->leg.fault = h->link ? blame(h, f) : f;
        h->reading = H2_BROKEN;
    }
    if (!h->link) /* an endpoint's failure is the attempt's to judge */
        exchange_fail(h->leg.x, h->leg.fault);
    exchange_wake(h->leg.x);
}

void leg_h2_framed(struct leg_h2 *h, uint8_t type, uint8_t flags, size_t n)
{
    struct leg *l = &h->leg;
    l->bytes_out += n + 9;
    l->last_out = loop_now(h->c->worker->loop);
    if (type == NGHTTP2_HEADERS && h->unsent_heads)
        h->unsent_heads--;
    if (flags & NGHTTP2_FLAG_END_STREAM)
        h->end_sent = true;
    leg_h2_recount(h);
    if (l->want_drain && queued(l) <= l->low) {
        l->want_drain = false;
        exchange_wake(l->x);
    }
}

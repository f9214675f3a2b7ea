/* SPDX-License-Identifier: Apache-2.0 */
/* fetch: see fetch.h. The client of its exchange is leg_fetch: a leg with no connection, whose
 * head and body are given at the start and whose answers are calls of the owner. Invariants:
 * 1. on_end is called once, from close, unless fetch_cancel came first; then the struct is freed
 *    with the exchange.
 * 2. No owner's call runs from inside fetch_start. */
#include "proxy/fetch.h"

#include "base/panic.h"
#include "http/url.h"
#include "proxy/driver.h"

struct fetch {
    struct leg leg; /* first: the client side of x */
    struct exchange *x;
    struct worker *worker;
    struct timer timer;                /* the exchange's deadlines */
    struct timer limit;                /* when the whole must be over */
    const struct fetch_events *events; /* NULL: cancelled */
    void *arg;
    struct route *route;
    enum io (*produce)(void *arg, struct chain *out); /* more of body; NULL: that is all */
    struct chain body;                                /* of the request, not yet read by the pump */
    struct chain inbox; /* of the response, not yet taken by the owner */
    bool ended;
    bool held;   /* produce waits: for fetch_continue alone, not for whatever wakes x */
    bool paused; /* so does on_body, which left bytes */
    bool over;   /* its time is: what the owner does not take at once is dropped */
};

static struct fetch *fetch_of(const struct leg *l)
{
    return (struct fetch *) (uintptr_t) l;
}

static enum io fetch_read_head(struct leg *l, struct head *h)
{
    (void) h; /* filled by fetch_start */
    (void) l;
    return IO_OK;
}

/* False: the owner gives up. */
static bool ask_more(struct fetch *f)
{
    enum io io = f->produce(f->arg, &f->body);
    if (io == IO_EOF)
        f->produce = NULL;
    f->held = io == IO_AGAIN;
    if (io == IO_ERR)
        f->leg.fault = FAULT_CLIENT_GONE;
    f->leg.last_in = loop_now(f->worker->loop);
    return io != IO_ERR;
}

static enum io fetch_read_block(struct leg *l, struct chain *into, size_t max)
{
    struct fetch *f = fetch_of(l);
    if (!f->body.bytes && f->produce && f->events && !f->held && !ask_more(f))
        return IO_ERR;
    if (!f->body.bytes)
        return f->produce ? IO_AGAIN : IO_EOF;
    return chain_move(into, &f->body, max, &f->worker->buffers) ? IO_OK : IO_AGAIN;
}

static enum fault fetch_write_interim(struct leg *l, const struct head *h)
{
    (void) l;
    (void) h;
    return FAULT_OK;
}

static enum fault fetch_write_head(struct leg *l, const struct head *h)
{
    struct fetch *f = fetch_of(l);
    if (f->events && f->events->on_head)
        f->events->on_head(f->arg, h);
    return FAULT_OK;
}

/* What the owner leaves in the inbox counts as queued: that is the back-pressure. */
static void deliver(struct fetch *f)
{
    if (!f->events || !f->events->on_body)
        chain_clear(&f->inbox, &f->worker->buffers);
    else if (f->inbox.bytes && !f->paused) {
        f->events->on_body(f->arg, &f->inbox);
        f->paused = f->inbox.bytes > 0;
    }
    if (f->over)
        chain_clear(&f->inbox, &f->worker->buffers);
    if (f->leg.want_drain && f->inbox.bytes <= f->leg.low) {
        f->leg.want_drain = false;
        exchange_wake(f->x);
    }
}

static enum fault fetch_write_block(struct leg *l, struct chain *from)
{
    struct fetch *f = fetch_of(l);
    size_t n = from->bytes;
    if (chain_move(&f->inbox, from, n, &f->worker->buffers) != n)
        return FAULT_MEMORY;
    l->bytes_out += n;
    l->last_out = loop_now(f->worker->loop);
    deliver(f);
    return FAULT_OK;
}

static enum fault fetch_write_end(struct leg *l, const struct fields *trailers)
{
    struct fetch *f = fetch_of(l);
    if (trailers && f->events && f->events->on_trailers)
        f->events->on_trailers(f->arg, trailers);
    f->ended = true;
    return FAULT_OK;
}

static size_t fetch_queued(const struct leg *l)
{
    return fetch_of(l)->inbox.bytes;
}

static void fetch_half_close(struct leg *l)
{
    (void) l;
}

static bool fetch_gone(const struct leg *l, bool half)
{
    (void) half;
    return !fetch_of(l)->events;
}

static void fetch_free(void *p)
{
    struct fetch *f = p;
    route_unref(f->route);
    mem_free(f);
}

static void fetch_close(struct leg *l, bool keep, enum evict_reason why)
{
    (void) why;
    struct fetch *f = fetch_of(l);
    struct exchange *x = f->x;
    bool whole = f->ended && x->fault == FAULT_OK;
    (void) keep;
    timer_stop(&f->timer);
    timer_stop(&f->limit);
    chain_clear(&f->body, &f->worker->buffers);
    chain_clear(&f->inbox, &f->worker->buffers);
    if (f->events && f->events->on_end)
        f->events->on_end(f->arg, whole ? FAULT_OK : x->fault ? x->fault : FAULT_UP_TRUNCATED);
    f->events = NULL;
    loop_defer_free(f->worker->loop, fetch_free, f);
}

static const struct leg_ops fetch_ops = {
    .name = "fetch",
    .read_head = fetch_read_head,
    .read_block = fetch_read_block,
    .write_interim = fetch_write_interim,
    .write_head = fetch_write_head,
    .write_block = fetch_write_block,
    .write_end = fetch_write_end,
    .queued = fetch_queued,
    .tunnel = fetch_half_close,
    .half_close = fetch_half_close,
    .gone = fetch_gone,
    .close = fetch_close,
};

static void fetch_timer(struct timer *t)
{
    exchange_wake(list_entry(t, struct fetch, timer)->x);
}

static void fetch_over(struct timer *t)
{
    struct fetch *f = list_entry(t, struct fetch, limit);
    f->over = true;
    exchange_fail(f->x, FAULT_EXCHANGE_TIMEOUT);
    exchange_wake(f->x);
}

/* The request as a head in the exchange's arena. */
static bool fill_head(struct exchange *x, const struct fetch_request *r)
{
    struct head *h = x->in;
    struct arena *a = &x->arena;
    h->method = arena_str(a, r->method);
    h->method_id = (uint8_t) method_id(h->method);
    h->major = h->minor = 1;
    h->scheme = STR("http");
    h->path = arena_str(a, r->path);
    h->query = arena_str(a, r->query);
    h->has_query = r->query.n > 0;
    h->body = r->produce ? BODY_CHUNKED : r->body.n ? BODY_LENGTH : BODY_NONE;
    h->length = r->body.n;
    h->declared = LENGTH_NONE;
    h->keep_alive = true;
    fields_init(&h->fields, a);
    if (authority_parse(arena_str(a, r->authority), a, h) != FAULT_OK)
        return false;
    for (size_t i = 0; i < r->n_fields; i++) {
        struct str name = arena_str(a, r->fields[i].name);
        struct str value = arena_str(a, r->fields[i].value);
        if (!name.p || !value.p || !fields_add(&h->fields, name, value))
            return false;
    }
    const struct field *te = fields_get_id(&h->fields, FIELD_TE);
    h->te_trailers = te && str_has_token(te->value, STR("trailers"));
    return h->method.p && h->path.p;
}

struct fetch *fetch_start(struct worker *w, const struct fetch_request *r,
                          const struct fetch_events *events, void *arg)
{
    if (!w->snapshot)
        return NULL;
    struct exchange *x = exchange_new(w, w->snapshot);
    if (!x)
        return NULL;
    struct fetch *f = mem_new(sizeof(*f));
    f->leg.ops = &fetch_ops;
    f->leg.x = f->x = x;
    f->leg.last_in = f->leg.last_out = loop_now(w->loop);
    f->worker = w;
    f->events = events;
    f->arg = arg;
    f->produce = r->produce;
    f->route = route_ref(r->route);
    timer_init(&f->timer, fetch_timer);
    timer_init(&f->limit, fetch_over);
    x->client = &f->leg;
    x->timer = &f->timer;
    x->owner = f;
    x->forced_route = r->route;
    x->forced_endpoint = r->endpoint;
    x->announce = r->unannounced ? ANNOUNCE_NOTHING : ANNOUNCE_AS_UPSTREAM;
    x->peer_trusted = true;
    if (!fill_head(x, r) || (r->body.n && !chain_copy(&f->body, &w->buffers, r->body))) {
        chain_clear(&f->body, &w->buffers);
        exchange_discard(x);
        fetch_free(f);
        return NULL;
    }
    if (r->timeout)
        timer_set(w->loop, &f->limit, loop_now(w->loop) + r->timeout);
    exchange_wake(x);
    return f;
}

void fetch_cancel(struct fetch *f)
{
    f->events = NULL;
    exchange_fail(f->x, FAULT_CLIENT_GONE);
    exchange_wake(f->x);
}

void fetch_continue(struct fetch *f)
{
    f->held = f->paused = false;
    deliver(f);
    exchange_wake(f->x);
}

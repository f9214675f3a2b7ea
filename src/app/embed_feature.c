/* SPDX-License-Identifier: Apache-2.0 */
/* embed_feature.c: the library's callbacks as a feature like any other, the last in the order: its
 * word on requests is the last, and the first on responses.
 * Invariants:
 * 1. A route's settings hold one reference to its handler, dropped with their arena: a callback
 *    never meets a freed one.
 * 2. slot->out is set only while produce runs. */
#include "app/embed_instance.h"
#include "proxy/driver.h"
#include "proxy/event.h"
#include "proxy/hop.h"
#include "proxy/worker.h"

static const struct schema_field embed_rows[] = {
    {.name = "handler",
     .type = SCHEMA_INT,
     .offset = offsetof(struct embed_conf, id),
     .def = "0",
     .since = "0.1",
     .doc = "Which handler the program gave to the route; not for files.",
     .example = "0"},
};

const struct schema_table embed_schema = {
    .name = "embed",
    .doc = "The callbacks of a program that embeds Weir.",
    .size = sizeof(struct embed_conf),
    .fields = embed_rows,
    .n_fields = SCHEMA_COUNT(embed_rows),
};

static struct weir_proxy *handler_of(const struct exchange *x)
{
    const struct embed_conf *c = x->plan->feature_conf[EMBED_FEATURE];
    return c->handler;
}

struct embed_slot *embed_slot_of(struct exchange *x)
{
    return exchange_slot(x, EMBED_FEATURE);
}

bool embed_wait(struct exchange *x)
{
    struct embed_slot *slot = embed_slot_of(x);
    bool other = slot->awaits_body || list_linked(&x->memory_node);
    slot->waits = x->ticket && !other;
    return x->ticket || other;
}

bool embed_waits(struct exchange *x)
{
    struct embed_slot *slot = embed_slot_of(x);
    slot->waits = slot->waits && x->ticket;
    if (!slot->waits)
        slot->awaits_body = false;
    return slot->waits;
}

/* A callback that says it has replied, and has not, has failed; so has one that waits for nothing,
 * which would never be called again. */
static enum hook hook_of(struct exchange *x, weir_result r)
{
    switch (r) {
    case WEIR_PASS:
        return HOOK_PASS;
    case WEIR_WAIT:
        return embed_wait(x) ? HOOK_WAIT : HOOK_FAIL;
    case WEIR_REPLY:
        return x->reply.status ? HOOK_REPLY : HOOK_FAIL;
    default:
        return HOOK_FAIL;
    }
}

/* ---- settings ------------------------------------------------------------------------------ */

static void drop_handler(void *p)
{
    handler_unref(p);
}

static void prepare(void *route_conf, struct arena *a)
{
    struct embed_conf *c = route_conf;
    if (!c->handler)
        return;
    handler_ref(c->handler);
    if (!arena_on_free(a, drop_handler, c->handler)) {
        handler_unref(c->handler);
        c->handler = NULL;
    }
}

/* conf is the instance. */
static bool start(const void *conf, unsigned n_workers, void **state, char **why)
{
    (void) n_workers, (void) why;
    *state = (void *) (uintptr_t) conf;
    return true;
}

static void on_event(void *state, const struct event *e)
{
    static const weir_event_kind kinds[EVENT_KINDS] = {
        [EVENT_CONFIG] = WEIR_EVENT_CONFIG,     [EVENT_SETTINGS] = WEIR_EVENT_SETTINGS,
        [EVENT_LISTENER] = WEIR_EVENT_LISTENER, [EVENT_UPSTREAM] = WEIR_EVENT_UPSTREAM,
        [EVENT_ENDPOINT] = WEIR_EVENT_ENDPOINT, [EVENT_ROUTE] = WEIR_EVENT_ROUTE,
        [EVENT_STATE] = WEIR_EVENT_STATE,
    };
    const weir_options *o = &((const struct weir *) state)->options;
    if (!o->on_event)
        return;
    weir_event out = {sizeof out, kinds[e->kind],   e->id,
                      e->wall_us, weir_of(e->text), weir_of(e->json)};
    o->on_event(o->event_arg, &out);
}

static bool active(const void *route_conf)
{
    return ((const struct embed_conf *) route_conf)->handler != NULL;
}

/* ---- hooks --------------------------------------------------------------------------------- */

static enum hook on_access(struct exchange *x, void *slot)
{
    (void) slot;
    const weir_proxy_options *o = &handler_of(x)->options;
    if (!o->access)
        return HOOK_PASS;
    if (embed_waits(x))
        return HOOK_WAIT;
    return hook_of(x, o->access(o->arg, exchange_out(x), head_out(x->in)));
}

static enum hook on_send(struct exchange *x, void *slot, struct attempt *a)
{
    (void) slot;
    (void) a; /* none when a transport of the caller's takes the request */
    const weir_proxy_options *o = &handler_of(x)->options;
    if (o->rewrite)
        o->rewrite(o->arg, exchange_out(x), head_out(x->in), (weir_head *) (void *) x->out);
    return HOOK_PASS;
}

/* Replies made by Weir or by callbacks pass untouched, but those that stand for an upstream's. */
static enum hook on_response_head(struct exchange *x, void *slot)
{
    (void) slot;
    struct weir_proxy *h = handler_of(x);
    bool transported = h->transport.round_trip && x->fault == FAULT_OK;
    if (!h->options.modify_response || (x->from_weir && !transported))
        return HOOK_PASS;
    if (embed_waits(x))
        return HOOK_WAIT;
    return hook_of(x, h->options.modify_response(h->options.arg, exchange_out(x),
                                                 (weir_head *) (void *) x->response));
}

static enum hook on_fault(struct exchange *x, void *slot, enum fault fault)
{
    (void) slot;
    const weir_proxy_options *o = &handler_of(x)->options;
    const struct fault_row *row = fault_row(fault);
    embed_slot_of(x)->waits = false; /* who waited is not asked any more */
    if (!o->error_handler)
        return HOOK_PASS;
    weir_result r = o->error_handler(o->arg, exchange_out(x), row->name, row->status);
    return hook_of(x, r) == HOOK_REPLY ? HOOK_REPLY : HOOK_PASS;
}

static void on_finish(struct exchange *x, void *own)
{
    const struct embed_slot *slot = own;
    const weir_proxy_options *o = &handler_of(x)->options;
    if (o->finished)
        o->finished(o->arg, exchange_out(x), fault_name(x->fault));
    if (slot->finished)
        slot->finished(slot->finished_arg, exchange_out(x), fault_name(x->fault));
}

const struct feature embed_feature = {
    .name = "embed",
    .purpose = "calls the functions of a program that embeds Weir",
    .conf = &embed_schema,
    .route_scope = true,
    .slot = sizeof(struct embed_slot),
    .start = start,
    .on_event = on_event,
    .prepare = prepare,
    .active = active,
    .on_access = on_access,
    .on_send = on_send,
    .on_response_head = on_response_head,
    .on_fault = on_fault,
    .on_finish = on_finish,
};

/* ---- functions and transports -------------------------------------------------------------- */

/* What would have been sent, made once. */
static enum fault make_out(struct exchange *x, const struct weir_proxy *h)
{
    struct embed_slot *slot = embed_slot_of(x);
    if (slot->rewritten)
        return FAULT_OK;
    enum fault f = hop_request(x);
    if (f != FAULT_OK)
        return f;
    slot->rewritten = true;
    if (x->plan->rewrite) /* to the target, which is the one address then */
        f = rewrite_apply(x->plan->rewrite, x->out, &x->arena, h->addresses[0]);
    if (f != FAULT_OK)
        return f;
    if (hooks_attempt(x, ON_SEND, NULL) == HOOK_PASS)
        return FAULT_OK;
    return x->pending ? x->pending : FAULT_HOOK;
}

enum hook embed_call(struct exchange *x, void *arg)
{
    struct weir_proxy *h = arg;
    if (embed_waits(x))
        return HOOK_WAIT;
    enum fault f = h->func ? FAULT_OK : make_out(x, h);
    if (f != FAULT_OK) {
        exchange_fail(x, f);
        return HOOK_FAIL;
    }
    weir_result r =
        h->func ? h->func(h->func_arg, exchange_out(x), head_out(x->in))
                : h->transport.round_trip(h->transport.arg, exchange_out(x), head_out(x->out));
    return r == WEIR_PASS ? HOOK_FAIL : hook_of(x, r); /* there is nobody to pass it on to */
}

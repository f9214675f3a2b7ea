/* SPDX-License-Identifier: Apache-2.0 */
/* embed_balance.c: a caller's balancer in the place of one of Weir's own.
 * Invariants:
 * 1. The state holds one reference to its handler, whose vtable it calls.
 * 2. candidates[i] is worker i's alone. */
#include "app/embed.h"
#include "base/mem.h"
#include "upstream/upstream.h"

struct embed_balance {
    struct weir_proxy *handler;
    const struct upstream *upstream; /* whose balance_state this is */
    uint32_t n, n_workers;
    weir_candidate *candidates[]; /* n each */
};

static void *create(struct upstream *u, uint32_t n_workers)
{
    struct embed_balance *b = mem_new(sizeof *b + n_workers * sizeof b->candidates[0]);
    b->handler = handler_ref(u->balance_arg);
    b->upstream = u;
    b->n = u->n_endpoints;
    b->n_workers = n_workers;
    for (uint32_t i = 0; i < n_workers; i++)
        b->candidates[i] = mem_new((b->n + 1) * sizeof(weir_candidate));
    return b;
}

static void destroy(void *state)
{
    struct embed_balance *b = state;
    for (uint32_t i = 0; i < b->n_workers; i++)
        mem_free(b->candidates[i]);
    handler_unref(b->handler);
    mem_free(b);
}

static struct endpoint *pick(void *state, struct upstream *u, const struct pick *p)
{
    struct embed_balance *b = state;
    weir_candidate *c = b->candidates[p->worker];
    for (uint32_t i = 0; i < b->n; i++) {
        struct endpoint *e = u->endpoints[i];
        c[i] = (weir_candidate){
            .address = weir_of(e->address),
            .weight = (double) atomic_load_explicit(&e->weight, memory_order_relaxed) / 1000,
            .usable = atomic_load_explicit(&e->up, memory_order_relaxed) &&
                      !atomic_load_explicit(&e->resolve_failed, memory_order_relaxed),
            .tried = pick_tried(p, e),
        };
    }
    int i = b->handler->balancer.select(b->handler->balancer.arg, c, b->n, p->hash);
    return i >= 0 && (uint32_t) i < b->n ? u->endpoints[i] : NULL;
}

/* Endpoints keep the weights for all to see; the caller's own books are told first. */
static void update_weights(void *state, struct upstream *u, const struct endpoint_weight *w,
                           uint32_t n)
{
    const struct embed_balance *b = state;
    if (b->handler->balancer.update_weights) {
        weir_weight *all = mem_new((n + 1) * sizeof *all);
        for (uint32_t i = 0; i < n; i++)
            all[i] = (weir_weight){w[i].address.p, w[i].weight};
        b->handler->balancer.update_weights(b->handler->balancer.arg, all, n);
        mem_free(all);
    }
    upstream_set_weights(u, w, n);
}

static void attempt_end(void *state, struct endpoint *e, const struct attempt_result *r)
{
    const struct embed_balance *b = state;
    if (!b->handler->balancer.done)
        return;
    for (uint32_t i = 0; i < b->n; i++) {
        if (b->upstream->endpoints[i] == e)
            b->handler->balancer.done(b->handler->balancer.arg, i, r->fault != FAULT_OK,
                                      r->first_byte_us);
    }
}

const struct balance_ops embed_balance = {
    .name = "embed",
    .create = create,
    .destroy = destroy,
    .pick = pick,
    .update_weights = update_weights,
    .attempt_end = attempt_end,
};

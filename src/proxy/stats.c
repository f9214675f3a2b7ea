/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c: see stats.h.
 * Invariants:
 * 1. A pair is in the first slot from its own on that was free when it came; slots are never freed.
 * 2. A key, once set, stays: a reader that sees it sees its counter. */
#include "proxy/stats.h"

#include <stdatomic.h>

#include "base/mem.h"

struct stats *stats_new(void)
{
    return mem_new_aligned(sizeof(struct stats), 64);
}

void stats_free(struct stats *s)
{
    for (uint32_t i = 0; s && i <= ROUTE_OTHER; i++) {
        struct route_stats *r = atomic_load_explicit(&s->routes[i], memory_order_relaxed);
        if (r)
            mem_free((void *) r->name.p);
        mem_free(r);
    }
    mem_free(s);
}

struct route_stats *stats_route_new(struct stats *s, uint32_t index, struct str name)
{
    if (index > ROUTE_OTHER)
        index = ROUTE_OTHER;
    struct route_stats *r = atomic_load_explicit(&s->routes[index], memory_order_relaxed);
    if (r)
        return r;
    r = mem_new_aligned(sizeof(*r), 64);
    r->name = mem_str(index == ROUTE_OTHER ? STR("_other") : name);
    atomic_store_explicit(&s->routes[index], r, memory_order_release);
    return r;
}

void route_count_add(struct route_stats *r, uint8_t method_id, uint16_t status)
{
    uint32_t key = route_count_key(method_id, status);
    uint32_t at = (status + 31u * method_id) % ROUTE_COUNTS;
    for (uint32_t used = 0; used < ROUTE_COUNTS; used++) {
        struct route_count *c = &r->counts[(at + used) % ROUTE_COUNTS];
        uint32_t seen = atomic_load_explicit(&c->key, memory_order_relaxed);
        if (seen == key || seen == 0) {
            counter_add(&c->n, 1);
            if (seen == 0)
                atomic_store_explicit(&c->key, key, memory_order_release);
            return;
        }
    }
    counter_add(&r->count_other, 1);
}

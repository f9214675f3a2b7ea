/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c: see stats.h.
 * Invariants:
 * 1. Slots are taken in order, and never freed.
 * 2. A key, once set, stays: a reader that sees it sees its counter. */
#include "proxy/stats.h"

#include <stdatomic.h>

#include "base/mem.h"

void route_names_init(struct route_names *names)
{
    *names = (struct route_names){0};
    pthread_mutex_init(&names->lock, NULL);
    (void) route_names_number(names, STR("_none"));
    names->tags[0] |= 1; /* of an exchange without a match, whose route is "_none" */
}

void route_names_fini(struct route_names *names)
{
    map_fini(&names->numbers);
    pthread_mutex_destroy(&names->lock);
}

uint32_t route_names_number(struct route_names *names, struct str name)
{
    pthread_mutex_lock(&names->lock);
    uintptr_t number = (uintptr_t) map_get(&names->numbers, name);
    if (!number && names->n < ROUTE_OTHER) {
        uint16_t tag = route_tag(name);
        number = ++names->n;
        map_set(&names->numbers, name, (void *) number);
        atomic_fetch_or_explicit(&names->tags[tag / 64], UINT64_C(1) << tag % 64,
                                 memory_order_relaxed);
        atomic_store_explicit(&names->full, names->n == ROUTE_OTHER, memory_order_release);
    }
    pthread_mutex_unlock(&names->lock);
    return number ? (uint32_t) number - 1 : ROUTE_OTHER;
}

struct stats *stats_new(struct route_names *names)
{
    struct stats *s = mem_new_aligned(sizeof(struct stats), 64);
    s->names = names;
    return s;
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

struct route_stats *stats_route_first(struct stats *s, struct route *r)
{
    uint32_t index = atomic_load_explicit(&r->index, memory_order_relaxed);
    if (index == ROUTE_UNUSED) {
        index = route_names_number(s->names, r->name);
        atomic_store_explicit(&r->index, (uint16_t) index, memory_order_relaxed);
    }
    return stats_route_new(s, index, r->name);
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
    for (struct route_count *c = r->counts; c < r->counts + ROUTE_COUNTS; c++) {
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

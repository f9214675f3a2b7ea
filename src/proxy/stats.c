/* SPDX-License-Identifier: Apache-2.0 */
/* stats.c: see stats.h.
 * Invariants:
 * 1. Slots are taken in order, and never freed.
 * 2. Figures of a number are freed while no route has it: no worker has a pointer to them.
 * 3. A key, once set, stays: a reader that sees it sees its counter. */
#include "proxy/stats.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/panic.h"
#include "proxy/snapshot.h"

/* The number of a name, given now if it has none and one is free; else ROUTE_OTHER. Under lock. */
static uint32_t place_of(struct route_names *names, struct str name)
{
    uintptr_t number = (uintptr_t) map_get(&names->numbers, name);
    if (number || names->n == ROUTE_OTHER)
        return number ? (uint32_t) number - 1 : ROUTE_OTHER;
    uint16_t tag = route_tag(name);
    while (names->places[number].name.p)
        number++;
    names->places[number].name = mem_str(name);
    names->n++;
    map_set(&names->numbers, name, (void *) (number + 1));
    atomic_fetch_or_explicit(&names->tags[tag / 64], UINT64_C(1) << tag % 64, memory_order_relaxed);
    atomic_store_explicit(&names->full, names->n == ROUTE_OTHER, memory_order_release);
    return (uint32_t) number;
}

static void route_stats_free(struct route_stats *r)
{
    if (r)
        mem_free((void *) r->name.p);
    mem_free(r);
}

void route_names_init(struct route_names *names)
{
    *names = (struct route_names){0};
    pthread_mutex_init(&names->lock, NULL);
    (void) place_of(names, STR("_none"));
    names->places[0].routes = 1; /* of an exchange without a match: for ever */
    names->tags[0] |= 1;         /* it knows no other tag */
}

void route_names_fini(struct route_names *names)
{
    for (uint32_t i = 0; i < ROUTE_OTHER; i++)
        mem_free((void *) names->places[i].name.p);
    map_fini(&names->numbers);
    pthread_mutex_destroy(&names->lock);
}

/* r's number, given now if it has none. */
static uint32_t number_of(struct route_names *names, struct route *r)
{
    pthread_mutex_lock(&names->lock);
    uint32_t number = atomic_load_explicit(&r->index, memory_order_relaxed);
    if (number == ROUTE_UNUSED) { /* no other worker was faster */
        number = place_of(names, r->name);
        if (number < ROUTE_OTHER)
            names->places[number].routes++;
        atomic_store_explicit(&r->index, (uint16_t) number, memory_order_relaxed);
    }
    pthread_mutex_unlock(&names->lock);
    return number;
}

void route_names_leave(struct route_names *names, const struct route *r)
{
    uint32_t number = atomic_load_explicit(&r->index, memory_order_relaxed);
    if (number >= ROUTE_OTHER)
        return;
    pthread_mutex_lock(&names->lock);
    must(names->places[number].routes > 0);
    names->places[number].routes--;
    pthread_mutex_unlock(&names->lock);
}

/* No bit of a name that stays is ever missing. */
static void make_tags(struct route_names *names)
{
    uint64_t bits[(UINT16_MAX + 1) / 64] = {1};
    for (uint32_t i = 0; i < ROUTE_OTHER; i++) {
        struct str name = names->places[i].name;
        uint16_t tag = name.p ? route_tag(name) : 0;
        bits[tag / 64] |= UINT64_C(1) << tag % 64;
    }
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++)
        atomic_store_explicit(&names->tags[i], bits[i], memory_order_relaxed);
}

/* A route that found no place may have one on its next request. */
static void ask_again(void *arg, struct route *r)
{
    (void) arg;
    uint16_t none = ROUTE_OTHER;
    (void) atomic_compare_exchange_strong_explicit(&r->index, &none, ROUTE_UNUSED,
                                                   memory_order_relaxed, memory_order_relaxed);
}

void stats_forget(struct route_names *names, struct stats *const *all, size_t n,
                  const struct snapshot *s)
{
    if (!atomic_load_explicit(&names->full, memory_order_relaxed))
        return;
    pthread_mutex_lock(&names->lock);
    for (uint32_t i = 0; i < ROUTE_OTHER; i++) {
        struct route_place *place = &names->places[i];
        if (place->routes || !place->name.p || snapshot_named(s, place->name))
            continue;
        for (size_t w = 0; w < n; w++)
            route_stats_free(
                atomic_exchange_explicit(&all[w]->routes[i], NULL, memory_order_relaxed));
        map_remove(&names->numbers, place->name);
        mem_free((void *) place->name.p);
        *place = (struct route_place){0};
        names->n--;
    }
    bool room = names->n < ROUTE_OTHER;
    if (room) {
        atomic_store_explicit(&names->full, false, memory_order_release);
        make_tags(names);
    }
    pthread_mutex_unlock(&names->lock);
    if (room) /* not under the lock: workers would wait while many are looked at */
        snapshot_each(s, ask_again, NULL);
}

struct stats *stats_new(struct route_names *names)
{
    struct stats *s = mem_new_aligned(sizeof(struct stats), 64);
    s->names = names;
    return s;
}

void stats_free(struct stats *s)
{
    for (uint32_t i = 0; s && i <= ROUTE_OTHER; i++)
        route_stats_free(atomic_load_explicit(&s->routes[i], memory_order_relaxed));
    mem_free(s);
}

struct route_stats *stats_route_first(struct stats *s, struct route *r)
{
    uint32_t index = atomic_load_explicit(&r->index, memory_order_relaxed);
    return stats_route_new(s, index == ROUTE_UNUSED ? number_of(s->names, r) : index, r->name);
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

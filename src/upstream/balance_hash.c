/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. The table of slots is made once, of the configured addresses and weights, and is the same on
 *    every worker and in every Weir of the same configuration; it never changes.
 * 2. What changes at run time (health, weights, load) only has a key pass over endpoints: each key
 *    has its own fixed order of them, so nothing moves but what must.
 * 3. accept[i] is the part of the keys that come to endpoint i which it keeps, in 1 / 65536: its
 *    weight in force by the weight that its slots stand for, scaled so that the largest is whole.
 * 4. A key 0 (the request has none) goes to an endpoint drawn by weight. */
#include "upstream/balance_hash.h"

#include "base/panic.h"
#include "upstream/balance_table.h"
#include "upstream/hash_table.h"

#define PROBES 32 /* then any endpoint, by the key */
#define KEEP_ALL 65536u

struct hash_worker {
    struct balance_table table;
    uint32_t *accept;
};

struct hash_state {
    struct hash_table slots;
    uint32_t n_workers;
    struct hash_worker *workers;
};

static double given_weight(const struct upstream *u, uint32_t i)
{
    return u->given_weights[i] ? u->given_weights[i] : 1000.0;
}

static void accept_build(struct hash_worker *w, const struct upstream *u)
{
    double largest = 0;
    for (uint32_t i = 0; i < w->table.n; i++) {
        double ratio = w->table.weight[i] / given_weight(u, i);
        largest = ratio > largest ? ratio : largest;
    }
    for (uint32_t i = 0; i < w->table.n; i++) {
        double ratio = largest > 0 ? w->table.weight[i] / given_weight(u, i) / largest : 0;
        w->accept[i] = (uint32_t) (ratio * KEEP_ALL + 0.5);
    }
}

static void *hash_create(struct upstream *u, uint32_t n_workers)
{
    struct hash_state *s = mem_new(sizeof *s);
    uint32_t n = u->n_endpoints;
    struct hash_entry *entries = mem_new((n + 1) * sizeof entries[0]);
    for (uint32_t i = 0; i < n; i++)
        entries[i] = (struct hash_entry){u->endpoints[i]->address, given_weight(u, i)};
    hash_table_init(&s->slots, (enum hash_algorithm) u->balance_conf.algorithm, entries, n);
    mem_free(entries);
    s->n_workers = n_workers;
    s->workers = mem_new_aligned(n_workers * sizeof s->workers[0], 64);
    for (uint32_t i = 0; i < n_workers; i++) {
        struct hash_worker *w = &s->workers[i];
        table_init(&w->table, u, i);
        w->accept = mem_new_aligned(n * sizeof w->accept[0] + 64, 64);
        if (table_load(&w->table, u))
            accept_build(w, u);
    }
    return s;
}

static void hash_destroy(void *state)
{
    struct hash_state *s = state;
    for (uint32_t i = 0; i < s->n_workers; i++) {
        table_fini(&s->workers[i].table);
        mem_free(s->workers[i].accept);
    }
    hash_table_fini(&s->slots);
    mem_free(s->workers);
    mem_free(s);
}

/* One more attempt would give e more than its share of those in progress, times the bound. */
static bool overloaded(const struct hash_worker *w, const struct upstream *u, uint32_t i)
{
    double bound = u->balance_conf.bounded_load;
    if (bound == 0)
        return false;
    uint64_t mine = atomic_load_explicit(&u->endpoints[i]->active, memory_order_relaxed);
    double all = (double) upstream_active(u) + 1;
    return (double) mine + 1 > bound * all * w->table.weight[i] / (double) w->table.total + 1;
}

static struct endpoint *by_key(const struct hash_state *s, const struct hash_worker *w,
                               const struct upstream *u, const struct pick *p)
{
    uint32_t busy = w->table.n;
    uint64_t h = hash_spread(p->hash);
    for (uint32_t k = 0; k < PROBES; k++, h = hash_spread(h + 1)) {
        uint32_t i = hash_table_at(&s->slots, h);
        if ((uint32_t) (h & (KEEP_ALL - 1)) >= w->accept[i] || pick_tried(p, u->endpoints[i]))
            continue;
        if (!overloaded(w, u, i))
            return u->endpoints[i];
        busy = busy == w->table.n ? i : busy;
    }
    if (busy < w->table.n)
        return u->endpoints[busy];
    struct endpoint *e = u->endpoints[table_pick(&w->table, (uint32_t) (h >> 34))];
    return pick_tried(p, e) ? NULL : e;
}

static struct endpoint *hash_pick(void *state, struct upstream *u, const struct pick *p)
{
    const struct hash_state *s = state;
    debug_must(p->worker < s->n_workers);
    struct hash_worker *w = &s->workers[p->worker];
    uint32_t number = registry_number(u->registry);
    if (__builtin_expect(number != w->table.seen, 0) && table_refresh(&w->table, u, number))
        accept_build(w, u);
    struct endpoint *e = NULL;
    if (__builtin_expect(w->table.total > 0, 1)) {
        if (p->hash)
            e = by_key(s, w, u, p);
        if (!e)
            e = table_draw(&w->table, u, p);
    }
    return __builtin_expect(e != NULL, 1) ? e : table_last_resort(&w->table, u, p);
}

const struct balance_ops balance_hash = {
    .name = "hash",
    .counts_active = true,
    .create = hash_create,
    .destroy = hash_destroy,
    .pick = hash_pick,
    .update_weights = tables_update_weights,
};

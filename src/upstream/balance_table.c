/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. A table is read and written by its worker alone (but for create and destroy).
 * 2. end[] ascends and end[n - 1] == total; guide[k] is the first endpoint whose end is above
 *    k * total / n, so a position is found in two steps in the mean, however many there are.
 * 3. It is built anew only when the weights in force differ from those it was built of. */
#include "upstream/balance_table.h"

#include "base/clock.h"
#include "upstream/health.h"
#include "upstream/weigh.h"

#define RANDOM_BITS 30
#define DRAWS 8 /* before looking at the endpoints one after another */

/* ---- life ---------------------------------------------------------------------------------- */

static void *room(size_t bytes)
{
    return mem_new_aligned((bytes + 127) / 64 * 64, 64);
}

void table_init(struct balance_table *t, const struct upstream *u, uint32_t index)
{
    uint32_t n = u->n_endpoints;
    uint64_t seed = u->balance_conf.seed;
    *t = (struct balance_table){.n = n, .index = index, .seen = 1};
    t->random = seed ? (seed + index) * UINT64_C(0x9e3779b97f4a7c15) | 1 : clock_random() | 1;
    t->weight = room(n * sizeof t->weight[0]);
    t->fresh = room(n * sizeof t->fresh[0]);
    t->end = room(n * sizeof t->end[0]);
    t->guide = room(n * sizeof t->guide[0]);
}

void table_fini(struct balance_table *t)
{
    mem_free(t->weight);
    mem_free(t->fresh);
    mem_free(t->end);
    mem_free(t->guide);
}

/* ---- the weights --------------------------------------------------------------------------- */

static void build(struct balance_table *t)
{
    uint32_t *old = t->weight;
    t->weight = t->fresh;
    t->fresh = old;
    t->total = 0;
    t->used = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        t->total += t->weight[i];
        t->used += t->weight[i] > 0;
        t->end[i] = t->total;
    }
    for (uint32_t k = 0, i = 0; t->total && k < t->n; k++) {
        uint64_t at = k * t->total / t->n;
        while (t->end[i] <= at)
            i++;
        t->guide[k] = i;
    }
}

static bool take(struct balance_table *t, uint32_t number)
{
    t->seen = number;
    if (memcmp(t->fresh, t->weight, t->n * sizeof t->fresh[0]) == 0)
        return false;
    build(t);
    return true;
}

/* Under the lock nothing changes half-way. */
bool table_load(struct balance_table *t, const struct upstream *u)
{
    pthread_mutex_lock(&u->registry->lock);
    weights_in_force(u, t->fresh);
    uint32_t number = registry_number(u->registry);
    pthread_mutex_unlock(&u->registry->lock);
    return take(t, number);
}

bool table_refresh(struct balance_table *t, const struct upstream *u, uint32_t number)
{
    if (number & 1)
        return false; /* being changed just now: the old weights do meanwhile */
    weights_in_force(u, t->fresh);
    if (registry_number(u->registry) != number)
        return false; /* half of a change is never taken for the whole */
    return take(t, number);
}

/* ---- drawing ------------------------------------------------------------------------------- */

uint32_t table_at(const struct balance_table *t, uint64_t pos)
{
    uint32_t i = t->guide[pos * t->n / t->total];
    while (t->end[i] <= pos)
        i++;
    return i;
}

/* xorshift64*, of which the high bits are good. */
uint32_t table_random(struct balance_table *t)
{
    t->random ^= t->random >> 12;
    t->random ^= t->random << 25;
    t->random ^= t->random >> 27;
    return (uint32_t) ((t->random * UINT64_C(0x2545f4914f6cdd1d)) >> (64 - RANDOM_BITS));
}

uint32_t table_pick(const struct balance_table *t, uint32_t r)
{
    uint64_t pos = (r * t->total) >> RANDOM_BITS;
    uint32_t i = t->guide[((uint64_t) r * t->n) >> RANDOM_BITS];
    while (t->end[i] <= pos)
        i++;
    return i;
}

static bool fits(const struct pick *p, const struct endpoint *e, const struct endpoint *but)
{
    return e != but && !pick_tried(p, e);
}

struct endpoint *table_draw_other(struct balance_table *t, const struct upstream *u,
                                  const struct pick *p, const struct endpoint *but)
{
    uint32_t at = 0;
    if (t->total == 0)
        return NULL;
    for (uint32_t k = 0; k < DRAWS; k++) {
        at = table_pick(t, table_random(t));
        if (fits(p, u->endpoints[at], but))
            return u->endpoints[at];
    }
    for (uint32_t k = 0; k < t->n; k++) {
        uint32_t i = at + k < t->n ? at + k : at + k - t->n;
        if (t->weight[i] && fits(p, u->endpoints[i], but))
            return u->endpoints[i];
    }
    return NULL;
}

struct endpoint *table_draw(struct balance_table *t, const struct upstream *u, const struct pick *p)
{
    return table_draw_other(t, u, p, NULL);
}

struct endpoint *table_last_resort(struct balance_table *t, const struct upstream *u,
                                   const struct pick *p)
{
    static const struct pick nothing_tried;
    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t at = (t->turn + i) % t->n;
        if (!endpoint_unresolved(u->endpoints[at]) || pick_tried(p, u->endpoints[at]))
            continue;
        t->turn = at + 1;
        return u->endpoints[at];
    }
    return p->n_tried ? table_draw(t, u, &nothing_tried) : NULL;
}

/* ---- a table a worker ---------------------------------------------------------------------- */

void *tables_create(struct upstream *u, uint32_t n_workers)
{
    struct balance_tables *s = mem_new(sizeof *s);
    s->n_workers = n_workers;
    s->v = mem_new_aligned(n_workers * sizeof s->v[0], 64);
    for (uint32_t i = 0; i < n_workers; i++) {
        table_init(&s->v[i], u, i);
        table_load(&s->v[i], u);
    }
    return s;
}

void tables_destroy(void *state)
{
    struct balance_tables *s = state;
    for (uint32_t i = 0; i < s->n_workers; i++)
        table_fini(&s->v[i]);
    mem_free(s->v);
    mem_free(s);
}

void tables_update_weights(void *state, struct upstream *u, const struct endpoint_weight *w,
                           uint32_t n)
{
    (void) state;
    upstream_set_weights(u, w, n);
}

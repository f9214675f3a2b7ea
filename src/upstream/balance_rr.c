/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. A worker's part is read and written by that worker alone (but for create and destroy).
 * 2. Laid out, seq[0 .. len) holds each usable endpoint exactly weight / gcd times, in the smooth
 *    order; walking it in a circle is exact over each round.
 * 3. Not laid out (len 0: the round is longer than seq), place goes around all positions of the
 *    round by steps of the golden section: exact over the round too, and as evenly spread as can be
 *    at each moment, without a look at any other endpoint.
 * 4. Both are built anew only when the weights in force differ from those they were built of, so
 *    that unrelated changes in the process never restart a round. */
#include "upstream/balance_rr.h"

#include "base/panic.h"
#include "upstream/balance_table.h"

#define RR_ROUND 256u /* longest round of unequal weights that is laid out */

struct rr_worker {
    struct balance_table table;
    uint32_t cursor; /* next in seq */
    uint32_t len;    /* entries of seq */
    uint32_t *seq;   /* endpoint numbers */
    uint64_t unit;   /* greatest common divisor of the weights */
    uint64_t round;  /* total / unit */
    uint64_t place;  /* in the round */
    uint64_t step;   /* has no divisor in common with round */
};

struct rr {
    uint32_t n_workers;
    struct rr_worker **workers;
};

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* ---- laying out ---------------------------------------------------------------------------- */

/* Each usable endpoint gains its weight, the largest is chosen and pays the total. This is the
 * spread that nginx made known. */
static void lay_smooth(struct rr_worker *w)
{
    const struct balance_table *t = &w->table;
    int64_t *current = mem_new(t->n * sizeof current[0]);
    while (w->len < w->round) {
        uint32_t best = t->n;
        for (uint32_t i = 0; i < t->n; i++) {
            if (!t->weight[i])
                continue;
            current[i] += t->weight[i];
            if (best == t->n || current[i] > current[best])
                best = i;
        }
        current[best] -= (int64_t) t->total;
        w->seq[w->len++] = best;
    }
    mem_free(current);
}

/* The step next to round / golden section that visits every place. */
static uint64_t golden_step(uint64_t round)
{
    uint64_t step = (uint64_t) ((double) round * 0.6180339887498949);
    while (gcd(step, round) != 1)
        step++;
    return step;
}

/* Takes the weights of the table. */
RARE static void rr_build(struct rr_worker *w)
{
    const struct balance_table *t = &w->table;
    uint32_t largest = 0;
    w->unit = 0;
    w->len = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        w->unit = gcd(w->unit, t->weight[i]);
        largest = t->weight[i] > largest ? t->weight[i] : largest;
    }
    w->round = w->unit ? t->total / w->unit : 0;
    if (w->unit == largest) { /* equal weights: in order */
        for (uint32_t i = 0; i < t->n; i++) {
            if (t->weight[i])
                w->seq[w->len++] = i;
        }
    } else if (w->round <= RR_ROUND) {
        lay_smooth(w);
    } else {
        w->step = golden_step(w->round);
        w->place %= w->round;
    }
    w->cursor = w->len ? w->cursor % w->len : 0;
}

/* ---- life ---------------------------------------------------------------------------------- */

/* Workers begin at different places of the round, or all would begin with the same endpoint. */
static struct rr_worker *rr_worker_new(const struct upstream *u, uint32_t index, uint32_t n_workers)
{
    uint32_t n = u->n_endpoints > RR_ROUND ? u->n_endpoints : RR_ROUND;
    struct rr_worker *w = mem_new_aligned(sizeof *w, 64);
    w->seq = mem_new_aligned(n * sizeof w->seq[0] + 64, 64);
    table_init(&w->table, u, index);
    if (table_load(&w->table, u))
        rr_build(w);
    w->cursor = (uint32_t) ((uint64_t) w->len * index / n_workers);
    w->place = w->round * index / n_workers;
    return w;
}

static void *rr_create(struct upstream *u, uint32_t n_workers)
{
    struct rr *rr = mem_new(sizeof *rr);
    rr->n_workers = n_workers;
    rr->workers = mem_new(n_workers * sizeof(struct rr_worker *));
    for (uint32_t i = 0; i < n_workers; i++)
        rr->workers[i] = rr_worker_new(u, i, n_workers);
    return rr;
}

static void rr_destroy(void *state)
{
    struct rr *rr = state;
    for (uint32_t i = 0; i < rr->n_workers; i++) {
        table_fini(&rr->workers[i]->table);
        mem_free(rr->workers[i]->seq);
        mem_free(rr->workers[i]);
    }
    mem_free(rr->workers);
    mem_free(rr);
}

/* ---- picking ------------------------------------------------------------------------------- */

/* The next place of a round that is not laid out. */
static __attribute__((noinline)) struct endpoint *rr_step(struct rr_worker *w,
                                                          const struct upstream *u)
{
    if (w->table.total == 0)
        return NULL;
    w->place += w->step;
    if (w->place >= w->round)
        w->place -= w->round;
    return u->endpoints[table_at(&w->table, w->place * w->unit)];
}

/* The next in order; NULL: none is usable. */
static struct endpoint *rr_next(struct rr_worker *w, const struct upstream *u)
{
    if (__builtin_expect(w->len == 0, 0))
        return rr_step(w, u);
    struct endpoint *e = u->endpoints[w->seq[w->cursor]];
    if (++w->cursor == w->len)
        w->cursor = 0;
    return e;
}

/* The next in order that was not tried. One that is passed over keeps its turn. */
static __attribute__((noinline)) struct endpoint *rr_next_untried(struct rr_worker *w,
                                                                  const struct upstream *u,
                                                                  const struct pick *p)
{
    if (w->len == 0)
        return table_draw(&w->table, u, p);
    for (uint32_t i = 0, at = w->cursor; i < w->len; i++, at = at + 1 == w->len ? 0 : at + 1) {
        struct endpoint *e = u->endpoints[w->seq[at]];
        if (pick_tried(p, e))
            continue;
        if (i == 0)
            w->cursor = at + 1 == w->len ? 0 : at + 1;
        return e;
    }
    return NULL;
}

static struct endpoint *rr_pick(void *state, struct upstream *u, const struct pick *p)
{
    const struct rr *rr = state;
    debug_must(p->worker < rr->n_workers);
    struct rr_worker *w = rr->workers[p->worker];
    uint32_t number = registry_number(u->registry);
    if (__builtin_expect(number != w->table.seen, 0) && table_refresh(&w->table, u, number))
        rr_build(w);
    struct endpoint *e = p->n_tried == 0 && !p->limited ? rr_next(w, u) : rr_next_untried(w, u, p);
    return __builtin_expect(e != NULL, 1) ? e : table_last_resort(&w->table, u, p);
}

const struct balance_ops balance_round_robin = {
    .name = "round_robin",
    .create = rr_create,
    .destroy = rr_destroy,
    .pick = rr_pick,
    .update_weights = tables_update_weights,
};

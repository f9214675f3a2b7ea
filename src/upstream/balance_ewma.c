/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.ewma_us holds the mean and when it was right in one word, so that workers never see half
 * of a change: the upper 32 bits are microseconds, the lower ones milliseconds of the clock. A mean
 * that nobody renews fades, so that a slow endpoint is asked again now and then. */
#include "upstream/balance_ewma.h"

#include "upstream/balance_table.h"
#include "upstream/ewma.h"

static struct endpoint *ewma_pick(void *state, struct upstream *u, const struct pick *p)
{
    struct balance_table *t = tables_mine(state, u, p);
    struct endpoint *a = table_draw(t, u, p);
    if (__builtin_expect(!a, 0))
        return table_last_resort(t, u, p);
    struct endpoint *b = t->used > 1 ? table_draw_other(t, u, p, a) : NULL;
    if (!b)
        return a;
    uint64_t time_a = atomic_load_explicit(&a->ewma_us, memory_order_relaxed);
    uint64_t time_b = atomic_load_explicit(&b->ewma_us, memory_order_relaxed);
    uint64_t busy_a = atomic_load_explicit(&a->active, memory_order_relaxed);
    uint64_t busy_b = atomic_load_explicit(&b->active, memory_order_relaxed);
    if (!time_a || !time_b) /* one of them is unknown: thought to be as the other */
        return busy_b < busy_a ? b : a;
    uint32_t now = ewma_clock(p->now);
    return ewma_now(time_b, now) * (busy_b + 1) < ewma_now(time_a, now) * (busy_a + 1) ? b : a;
}

#define PENALTY USEC_PER_SEC /* what a try without an answer counts */

static void ewma_end(void *state, struct endpoint *e, const struct attempt_result *r)
{
    (void) state;
    if (r->first_byte_us == 0 && r->blame == BLAME_NONE)
        return; /* the client went away */
    usec_t us = r->blame == BLAME_NONE ? r->first_byte_us : PENALTY;
    uint32_t now = ewma_clock(r->now);
    uint64_t old = atomic_load_explicit(&e->ewma_us, memory_order_relaxed), next;
    do {
        next = ewma_sample(old, us, now);
    } while (!atomic_compare_exchange_weak_explicit(&e->ewma_us, &old, next, memory_order_relaxed,
                                                    memory_order_relaxed));
}

const struct balance_ops balance_ewma = {
    .name = "ewma",
    .counts_active = true,
    .create = tables_create,
    .destroy = tables_destroy,
    .pick = ewma_pick,
    .update_weights = tables_update_weights,
    .attempt_end = ewma_end,
};

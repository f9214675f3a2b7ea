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

#define SILENCE USEC_PER_SEC        /* what no answer in time counts, and the most of a failure */
#define FAILURE_TIMES 4             /* of the mean: a failure */
#define UNKNOWN (100 * USEC_PER_MS) /* the mean, where a failure is the first that is known */

/* However quick a failure was, it is no quick answer. One alone must not cost its endpoint all
 * requests for a minute, as it would if it counted as a second beside milliseconds; several in a
 * row soon do. */
static usec_t counts_as(const struct attempt_result *r, uint64_t old, uint32_t now)
{
    if (r->blame == BLAME_NONE)
        return r->first_byte_us;
    usec_t mean = old ? ewma_now(old, now) : UNKNOWN;
    usec_t least = mean > r->first_byte_us ? mean : r->first_byte_us;
    bool silence = r->blame == BLAME_TIMEOUT || mean * FAILURE_TIMES > SILENCE;
    usec_t us = silence ? SILENCE : mean * FAILURE_TIMES;
    return us > least ? us : least;
}

static void ewma_end(void *state, struct endpoint *e, const struct attempt_result *r)
{
    (void) state;
    if (r->first_byte_us == 0 && r->blame == BLAME_NONE)
        return; /* the client went away */
    uint32_t now = ewma_clock(r->now);
    uint64_t old = atomic_load_explicit(&e->ewma_us, memory_order_relaxed), next;
    do {
        next = ewma_sample(old, counts_as(r, old, now), now);
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

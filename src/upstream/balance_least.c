/* SPDX-License-Identifier: Apache-2.0 */
/* The two are drawn by weight, and a tie goes to the first: while nothing is in progress, the
 * shares are those of the weights. */
#include "upstream/balance_least.h"

#include "upstream/balance_table.h"

static uint64_t weight_of(const struct endpoint *e)
{
    uint32_t weight = atomic_load_explicit(&e->weight, memory_order_relaxed);
    return weight ? weight : 1;
}

/* b has less in progress for its weight than a. */
static bool less_busy(const struct endpoint *b, const struct endpoint *a)
{
    uint64_t busy_a = atomic_load_explicit(&a->active, memory_order_relaxed);
    uint64_t busy_b = atomic_load_explicit(&b->active, memory_order_relaxed);
    return busy_b * weight_of(a) < busy_a * weight_of(b);
}

static struct endpoint *least_pick(void *state, struct upstream *u, const struct pick *p)
{
    struct balance_table *t = tables_mine(state, u, p);
    struct endpoint *a = table_draw(t, u, p);
    if (__builtin_expect(!a, 0))
        return table_last_resort(t, u, p);
    struct endpoint *b = t->used > 1 ? table_draw_other(t, u, p, a) : NULL;
    return b && less_busy(b, a) ? b : a;
}

const struct balance_ops balance_least_active = {
    .name = "least_active",
    .counts_active = true,
    .create = tables_create,
    .destroy = tables_destroy,
    .pick = least_pick,
    .update_weights = tables_update_weights,
};

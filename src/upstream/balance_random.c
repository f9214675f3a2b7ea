/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/balance_random.h"

#include "upstream/balance_table.h"

static struct endpoint *random_pick(void *state, struct upstream *u, const struct pick *p)
{
    struct balance_table *t = tables_mine(state, u, p);
    struct endpoint *e = table_draw(t, u, p);
    return __builtin_expect(e != NULL, 1) ? e : table_last_resort(t, u, p);
}

const struct balance_ops balance_random = {
    .name = "random",
    .create = tables_create,
    .destroy = tables_destroy,
    .pick = random_pick,
    .update_weights = tables_update_weights,
};

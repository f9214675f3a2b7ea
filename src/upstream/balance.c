/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/balance.h"

#include "upstream/balance_ewma.h"
#include "upstream/balance_hash.h"
#include "upstream/balance_least.h"
#include "upstream/balance_random.h"
#include "upstream/balance_rr.h"

const struct balance_ops *const balance_all[] = {&balance_round_robin, &balance_least_active,
                                                 &balance_ewma,        &balance_random,
                                                 &balance_hash,        NULL};
const char *const balance_names[] = {"round_robin", "least_active", "ewma", "random", "hash", NULL};

const struct balance_ops *balance_find(struct str name)
{
    for (size_t i = 0; balance_all[i]; i++) {
        if (str_eq(name, str_c(balance_all[i]->name)))
            return balance_all[i];
    }
    return NULL;
}

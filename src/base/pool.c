/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c: fixed-size objects on a LIFO free list.
 * Invariants:
 * 1. A parked object's first word links to the next; n_free is the length of that list.
 * 2. Exactly n_charged * size bytes are charged to the account;
 *    n_used <= n_charged <= n_used + ahead. */
#include "base/pool.h"

#include <stdlib.h>

#include "base/panic.h"

void pool_init(struct pool *p, size_t size, uint32_t keep, struct mem_account *account)
{
    must(size > 0);
    size_t rounded = (size + 15) & ~(size_t) 15;
    *p = (struct pool){.account = account, .size = rounded, .keep = MEM_WATCHED ? 0 : keep};
}

void pool_charge_ahead(struct pool *p, uint32_t n)
{
    p->ahead = WEIR_DEBUG ? 0 : n;
}

/* Here and below it is half of what may be ahead, so that neither the next get nor the next put
 * comes back for more. */
bool pool_charge(struct pool *p)
{
    uint32_t n = 1 + p->ahead / 2;
    if (p->account && !mem_charge(p->account, n * p->size)) {
        n = 1;
        if (p->ahead == 0 || !mem_charge(p->account, p->size))
            return false;
    }
    p->n_charged += n;
    return true;
}

void pool_credit(struct pool *p)
{
    uint32_t n = p->n_charged - p->n_used - p->ahead / 2;
    p->n_charged -= n;
    if (p->account)
        mem_credit(p->account, n * p->size);
}

void pool_fini(struct pool *p)
{
    must(p->n_used == 0);
    p->ahead = 0;
    pool_credit(p);
    pool_trim(p, 0);
}

void *pool_fresh(struct pool *p)
{
    void *object = malloc(p->size);
    if (!object)
        panic("out of memory (%zu bytes)", p->size);
    return object;
}

void pool_discard(struct pool *p, void *object)
{
    (void) p;
    free(object);
}

void pool_trim(struct pool *p, uint32_t n)
{
    while (p->n_free > n) {
        void *object = p->free_list;
        memcpy(&p->free_list, object, sizeof(void *));
        p->n_free--;
        free(object);
    }
}

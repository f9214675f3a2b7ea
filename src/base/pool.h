/* SPDX-License-Identifier: Apache-2.0 */
/* pool: fixed-size objects on a LIFO free list, charged to an account.
 * Owned by one worker, used on its thread only. Warm gets and puts never reach the heap. */
#ifndef WEIR_BASE_POOL_H
#define WEIR_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct pool {
    struct mem_account *account; /* charged for each object handed out; may be NULL */
    void *free_list;
    size_t size;     /* bytes an object */
    uint32_t n_free; /* parked objects */
    uint32_t n_used; /* handed out */
    uint32_t keep;   /* at most this many parked, the rest goes back to the heap */
};

/* An empty pool of objects of size bytes; parks at most keep. */
void pool_init(struct pool *p, size_t size, uint32_t keep, struct mem_account *account);
/* Frees parked objects; nothing may be handed out. */
void pool_fini(struct pool *p);
/* An object from the heap (pool_get, when none is parked). */
RARE void *pool_fresh(struct pool *p);
/* Gives an object to the heap (pool_put, when enough are parked). */
RARE void pool_discard(struct pool *p, void *object);
/* An object, not zeroed; NULL when the account refuses. */
__attribute__((warn_unused_result)) static inline void *pool_get(struct pool *p)
{
    if (p->account && !mem_charge(p->account, p->size))
        return NULL;
    p->n_used++;
    void *object = p->free_list;
    if (__builtin_expect(object == NULL, 0))
        return pool_fresh(p);
    memcpy(&p->free_list, object, sizeof(void *));
    p->n_free--;
    return object;
}
/* Gives an object back. */
static inline void pool_put(struct pool *p, void *object)
{
    debug_must(p->n_used > 0);
    p->n_used--;
    if (p->account)
        mem_credit(p->account, p->size);
    if (__builtin_expect(p->n_free >= p->keep, 0)) {
        pool_discard(p, object);
        return;
    }
    memcpy(object, &p->free_list, sizeof(void *));
    p->free_list = object;
    p->n_free++;
}
/* Frees parked objects beyond n. */
void pool_trim(struct pool *p, uint32_t n);

#endif

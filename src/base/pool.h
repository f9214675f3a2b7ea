/* SPDX-License-Identifier: Apache-2.0 */
/* pool: fixed-size objects on a LIFO free list, charged to an account, if wanted some ahead.
 * Owned by one worker, used on its thread only. Warm gets and puts never reach the heap. */
#ifndef WEIR_BASE_POOL_H
#define WEIR_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

struct pool {
    struct mem_account *account; /* charged for what is handed out; may be NULL */
    void *free_list;
    size_t size;        /* bytes an object */
    uint32_t n_free;    /* parked objects */
    uint32_t n_used;    /* handed out */
    uint32_t n_charged; /* n_used, and at most `ahead` more */
    uint32_t ahead;
    uint32_t keep; /* at most this many parked, the rest goes back to the heap */
};

/* An empty pool of objects of size bytes; parks at most keep. */
void pool_init(struct pool *p, size_t size, uint32_t keep, struct mem_account *account);
/* From now on up to n objects more than are handed out may be charged, so that most gets and puts
 * do not look at the account. Not in debug builds, where each get is one charge (WEIR_MEM_FAIL). */
void pool_charge_ahead(struct pool *p, uint32_t n);
/* Frees parked objects; nothing may be handed out. */
void pool_fini(struct pool *p);
/* Charges one object at least (pool_get, when none is charged ahead); false: refused. */
RARE bool pool_charge(struct pool *p);
/* Credits what is charged too far ahead (pool_put). */
RARE void pool_credit(struct pool *p);
/* An object from the heap (pool_get, when none is parked). */
RARE void *pool_fresh(struct pool *p);
/* Gives an object to the heap (pool_put, when enough are parked). */
RARE void pool_discard(struct pool *p, void *object);
/* Frees parked objects beyond n. */
void pool_trim(struct pool *p, uint32_t n);
/* An object, not zeroed; NULL when the account refuses. */
__attribute__((warn_unused_result)) static inline void *pool_get(struct pool *p)
{
    if (p->n_used == p->n_charged && !pool_charge(p))
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
    if (p->n_charged - p->n_used > p->ahead)
        pool_credit(p);
    if (__builtin_expect(p->n_free >= p->keep, 0)) {
        pool_discard(p, object);
        return;
    }
    memcpy(object, &p->free_list, sizeof(void *));
    p->free_list = object;
    p->n_free++;
}
/* Gives n objects back, linked by their first words as parked ones are, from first to last. */
static inline void pool_put_all(struct pool *p, void *first, void *last, uint32_t n)
{
    debug_must(p->n_used >= n);
    memcpy(last, &p->free_list, sizeof(void *));
    p->free_list = first;
    p->n_free += n;
    p->n_used -= n;
    if (p->n_charged - p->n_used > p->ahead)
        pool_credit(p);
    if (__builtin_expect(p->n_free > p->keep, 0))
        pool_trim(p, p->keep);
}

#endif

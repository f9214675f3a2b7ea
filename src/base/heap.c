/* SPDX-License-Identifier: Apache-2.0 */
/* heap: see heap.h. Each piece has its size in front of it. */
#include "base/heap.h"

#include <stdlib.h>

#define STEP 4096u

union piece {
    size_t n; /* bytes, this front included */
    max_align_t align;
};

/* Makes p (NULL: a new piece) n bytes large. */
static void *sized(union piece *p, size_t n, struct heap *h)
{
    size_t before = p ? p->n : 0, all;
    if (__builtin_add_overflow(n, sizeof(*p), &all))
        panic("out of memory (%zu bytes)", n);
    p = mem_resize(p, all);
    p->n = all;
    h->used += all - before;
    return p + 1;
}

void *heap_alloc(size_t n, void *heap)
{
    return sized(NULL, n, heap);
}

void *heap_zalloc(size_t n, size_t size, void *heap)
{
    size_t all;
    if (__builtin_mul_overflow(n, size, &all))
        panic("out of memory (%zu objects of %zu bytes)", n, size);
    return memset(heap_alloc(all, heap), 0, all);
}

void *heap_resize(void *p, size_t n, void *heap)
{
    return sized(p ? (union piece *) p - 1 : NULL, n, heap);
}

void heap_free(void *p, void *heap)
{
    if (!p)
        return;
    union piece *old = (union piece *) p - 1;
    ((struct heap *) heap)->used -= old->n;
    free(old);
}

bool heap_settle(struct heap *h, struct mem_account *account)
{
    size_t want = (h->used + STEP - 1) / STEP * STEP;
    if (want > h->charged && !mem_charge(account, want - h->charged))
        return false;
    if (want < h->charged && h->charged - want <= STEP)
        return true; /* it will be wanted again */
    if (want < h->charged)
        mem_credit(account, h->charged - want);
    h->charged = want;
    return true;
}

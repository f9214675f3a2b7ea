/* SPDX-License-Identifier: Apache-2.0 */
/* slab.c: see slab.h.
 * Invariants:
 * 1. A block has the room of its class, which its length alone decides.
 * 2. The first four bytes of a free block are the number of the next one of its class. */
#include "base/slab.h"

#include "base/mem.h"
#include "base/panic.h"

#define EXACT 16u /* blocks up to that many items have a class of their own */

/* The class of blocks of n items, and what they have room for: four steps a doubling. */
static uint32_t class_of(uint32_t n, uint32_t *room)
{
    *room = n;
    if (n <= EXACT)
        return n - 1;
    uint32_t class = EXACT, top = EXACT;
    while (n > top * 2) {
        top *= 2;
        class += 4;
    }
    uint32_t step = top / 4, steps = (n - top + step - 1) / step;
    *room = top + steps * step;
    return class + steps - 1;
}

void slab_init(struct slab *s, uint32_t size)
{
    must(size >= sizeof(uint32_t));
    *s = (struct slab){.size = size, .n = 1};
}

struct slab_memory *slab_memory_ref(const struct slab *s)
{
    if (s->memory)
        atomic_fetch_add_explicit(&s->memory->refs, 1, memory_order_relaxed);
    return s->memory;
}

void slab_memory_unref(struct slab_memory *m)
{
    if (m && atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) == 1) {
        mem_free(m->items);
        mem_free(m);
    }
}

void slab_fini(struct slab *s)
{
    slab_memory_unref(s->memory);
    s->memory = NULL;
}

/* Room for cap items, with a copy of those there are. What is never used is never touched. */
static void grow(struct slab *s, uint64_t cap)
{
    must(cap < UINT32_MAX);
    struct slab_memory *m = mem_new(sizeof *m);
    m->items = mem_new_large(cap * s->size);
    atomic_store_explicit(&m->refs, 1, memory_order_relaxed);
    if (s->memory)
        memcpy(m->items, s->memory->items, (size_t) s->n * s->size);
    else
        memset(m->items, 0, s->size);
    slab_memory_unref(s->memory);
    s->memory = m;
    s->cap = (uint32_t) cap;
}

void slab_reserve(struct slab *s, uint64_t n)
{
    if (n + 1 > s->cap)
        grow(s, n + 1);
}

uint32_t slab_take(struct slab *s, uint32_t n)
{
    uint32_t room, class = class_of(n, &room);
    uint32_t at = s->free[class];
    if (at) {
        memcpy(&s->free[class], slab_at(s, at), sizeof at);
    } else {
        uint64_t need = (uint64_t) s->n + room;
        if (need > s->cap)
            grow(s, need + need / 2 + 8);
        at = s->n;
        s->n += room;
    }
    memset(slab_at(s, at), 0, (size_t) room * s->size);
    return at;
}

void slab_give(struct slab *s, uint32_t at, uint32_t n)
{
    if (at == 0)
        return;
    uint32_t room, class = class_of(n, &room);
    memcpy(slab_at(s, at), &s->free[class], sizeof at);
    s->free[class] = at;
}

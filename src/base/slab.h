/* SPDX-License-Identifier: Apache-2.0 */
/* slab: blocks of equal items in one array, known by the number of their first item, so that a
 * structure made of them can have versions that share what is alike in them. One thread takes and
 * gives blocks; others may read the memory that they were handed a reference to: a block keeps its
 * number and content until it is given back, and when the array grows, its copy does. It does not
 * know who reads: give back only what nobody can see any more. */
#ifndef WEIR_BASE_SLAB_H
#define WEIR_BASE_SLAB_H

#include <stdatomic.h>
#include <stdint.h>

#define SLAB_CLASSES 132u

/* The array itself. Counted. */
struct slab_memory {
    _Atomic uint32_t refs;
    char *items; /* a piece of its own, at a multiple of 64 */
};

struct slab {
    struct slab_memory *memory; /* one reference; NULL: nothing was taken yet */
    uint32_t size;              /* bytes an item, at least 4 */
    uint32_t n, cap;            /* number 0 is no item */
    uint32_t free[SLAB_CLASSES];
};

/* An empty slab of items of size bytes. */
void slab_init(struct slab *s, uint32_t size);
/* Drops its memory; others who have a reference keep theirs. */
void slab_fini(struct slab *s);
/* Makes room for n items in all, so that taking them moves nothing. */
void slab_reserve(struct slab *s, uint64_t n);
/* A zeroed block of n items (n above 0); the number of its first. Pointers to items are good until
 * the next block is taken. */
uint32_t slab_take(struct slab *s, uint32_t n);
/* Gives back a block of n items; at 0: nothing. */
void slab_give(struct slab *s, uint32_t at, uint32_t n);
/* Item number at. */
static inline void *slab_at(const struct slab *s, uint32_t at)
{
    return s->memory->items + (uint64_t) at * s->size;
}
/* The memory as it is now, with one reference more. */
struct slab_memory *slab_memory_ref(const struct slab *s);
/* One less; NULL is allowed. Any thread. */
void slab_memory_unref(struct slab_memory *m);

#endif

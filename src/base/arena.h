/* SPDX-License-Identifier: Apache-2.0 */
/* arena: bump memory of one exchange (or one config load), freed at once, with a
 * list of clean-ups for what is not memory. One owner, its thread only. Bounded. */
#ifndef WEIR_BASE_ARENA_H
#define WEIR_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/pool.h"
#include "base/str.h"

struct arena_chunk; /* private */
struct arena_cleanup;

struct arena {
    struct pool *chunks; /* where chunks come from (objects of ARENA_CHUNK bytes); NULL = heap */
    struct arena_chunk *first;
    char *at, *end; /* free space of the newest chunk */
    struct arena_cleanup *cleanups;
    size_t used; /* bytes opened for use in all chunks, <= max */
    size_t max;  /* most bytes it may take; beyond: NULL */
};

#define ARENA_CHUNK 4096u
#define ARENA_ALIGN 16u

/* An empty arena; takes no memory until the first arena_alloc. */
void arena_init(struct arena *a, struct pool *chunks, size_t max);
/* The same, but begins in the n bytes at room (aligned to 16), which the caller owns. */
void arena_init_in(struct arena *a, struct pool *chunks, size_t max, void *room, size_t n);
/* Runs clean-ups in reverse order, frees everything, ready for use again (without the room). */
void arena_fini(struct arena *a);
/* The rest of arena_alloc: no bytes, too many, or a new chunk. */
RARE void *arena_alloc_slow(struct arena *a, size_t n) __attribute__((warn_unused_result));
/* n bytes aligned to 16, not zeroed; larger than a chunk is served from the heap and
 * charged. NULL when max or the account refuses: the caller answers fault MEMORY. */
__attribute__((warn_unused_result)) static inline void *arena_alloc(struct arena *a, size_t n)
{
    /* 0 when n is 0 or near SIZE_MAX; then, less one, it is more than any room. */
    size_t rounded = (n + ARENA_ALIGN - 1) & ~(size_t) (ARENA_ALIGN - 1);
    if (MEM_WATCHED || __builtin_expect(rounded - 1 >= (size_t) (a->end - a->at), 0))
        return arena_alloc_slow(a, n);
    void *p = a->at;
    a->at += rounded;
    return p;
}
/* The rest from which arena_alloc takes first: an allocation of 1 to *n bytes (none in builds that
 * watch memory) is given the answer. For writers that learn on the way how much they need. */
static inline char *arena_rest(const struct arena *a, size_t *n)
{
    *n = MEM_WATCHED ? 0 : (size_t) (a->end - a->at) & ~(size_t) (ARENA_ALIGN - 1);
    return a->at;
}
/* The same, zeroed. */
__attribute__((warn_unused_result)) static inline void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    /* In two parts, for which the compiler needs no call. */
    if (__builtin_constant_p(n) && n > 256 && n <= 512 && p) {
        memset((char *) p + 256, 0, n - 256);
        n = 256;
    }
    return p ? memset(p, 0, n) : NULL;
}
/* A copy of s in the arena, a NUL behind it; p is NULL when refused (and n 0). */
struct str arena_str(struct arena *a, struct str s);
/* The parts joined, in the arena, a NUL behind them; p is NULL when refused. */
struct str arena_join(struct arena *a, const struct str *parts, size_t n_parts);
/* printf into the arena, a NUL behind it; p is NULL when refused. */
struct str arena_printf(struct arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Registers fn(arg) to run at arena_fini (newest first). False when refused. */
bool arena_on_free(struct arena *a, void (*fn)(void *), void *arg)
    __attribute__((warn_unused_result));

#endif

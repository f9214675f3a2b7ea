/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c: bump memory in chunks.
 * Invariants:
 * 1. [at, end) is the free rest of the newest pooled chunk, or of the caller's room; both NULL
 *    without one.
 * 2. used is the room opened in all of these (not only what was handed out) and never above
 *    max, so that an allocation checks one bound only.
 * 3. A chunk with large > 0 is its own heap block, charged with that many bytes. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/panic.h"

#define ALIGN ARENA_ALIGN

struct arena_chunk {
    struct arena_chunk *next;
    size_t large; /* bytes charged for a heap chunk; 0: pooled or plain */
    char bytes[] __attribute__((aligned(ALIGN)));
};

struct arena_cleanup {
    struct arena_cleanup *next;
    void (*fn)(void *);
    void *arg;
};

#define CHUNK_ROOM (ARENA_CHUNK - sizeof(struct arena_chunk))

void arena_init(struct arena *a, struct pool *chunks, size_t max)
{
    must(!chunks || chunks->size >= ARENA_CHUNK);
    *a = (struct arena){.chunks = chunks, .max = max};
}

void arena_init_in(struct arena *a, struct pool *chunks, size_t max, void *room, size_t n)
{
    arena_init(a, chunks, max);
    a->at = room;
    a->end = a->at + n;
    a->used = n;
}

void arena_fini(struct arena *a)
{
    /* A clean-up may allocate or register another one; both are seen by these loops. */
    while (a->cleanups) {
        struct arena_cleanup *c = a->cleanups;
        a->cleanups = c->next;
        c->fn(c->arg);
    }
    struct arena_chunk *chunk = a->first;
    while (chunk) {
        struct arena_chunk *next = chunk->next;
        if (chunk->large && a->chunks && a->chunks->account)
            mem_credit(a->chunks->account, chunk->large);
        if (chunk->large || !a->chunks)
            free(chunk);
        else
            pool_put(a->chunks, chunk);
        chunk = next;
    }
    a->first = NULL;
    a->at = a->end = NULL;
    a->used = 0;
}

/* A heap chunk of its own for n bytes (rounded: of the bound); the bump chunk stays current. */
static void *alloc_large(struct arena *a, size_t n, size_t rounded)
{
    if (rounded > a->max - a->used)
        return NULL;
    size_t bytes = sizeof(struct arena_chunk) + n;
    struct mem_account *account = a->chunks ? a->chunks->account : NULL;
    if (account && !mem_charge(account, bytes))
        return NULL;
    struct arena_chunk *chunk = malloc(bytes);
    if (!chunk)
        panic("out of memory (%zu bytes)", bytes);
    chunk->large = bytes;
    chunk->next = a->first;
    a->first = chunk;
    a->used += rounded;
    return chunk->bytes;
}

/* A new bump chunk. */
static bool open_chunk(struct arena *a)
{
    struct arena_chunk *chunk = a->chunks ? pool_get(a->chunks) : malloc(ARENA_CHUNK);
    if (!chunk && !a->chunks)
        panic("out of memory (%u bytes)", ARENA_CHUNK);
    if (!chunk)
        return false;
    size_t room = a->max - a->used < CHUNK_ROOM ? a->max - a->used : CHUNK_ROOM;
    chunk->large = 0;
    chunk->next = a->first;
    a->first = chunk;
    a->at = chunk->bytes;
    a->end = chunk->bytes + room;
    a->used += room;
    return true;
}

void *arena_alloc_slow(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    size_t rounded = (n + (n == 0) + ALIGN - 1) & ~(size_t) (ALIGN - 1);
    if (MEM_WATCHED)
        return alloc_large(a, n, rounded);
    if (rounded > CHUNK_ROOM)
        return alloc_large(a, rounded, rounded);
    if ((size_t) (a->end - a->at) < rounded && (rounded > a->max - a->used || !open_chunk(a)))
        return NULL;
    void *p = a->at;
    a->at += rounded;
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    return arena_join(a, &s, 1);
}

struct str arena_join(struct arena *a, const struct str *parts, size_t n_parts)
{
    size_t n = 0;
    for (size_t i = 0; i < n_parts; i++)
        n += parts[i].n;
    char *p = arena_alloc(a, n + 1);
    if (!p)
        return (struct str){NULL, 0};
    char *at = p;
    for (size_t i = 0; i < n_parts; i++)
        if (parts[i].n)
            at = (char *) memcpy(at, parts[i].p, parts[i].n) + parts[i].n;
    *at = '\0';
    return (struct str){p, n};
}

struct str arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t) n + 1);
    if (!p)
        return (struct str){NULL, 0};
    va_start(args, format);
    vsnprintf(p, (size_t) n + 1, format, args);
    va_end(args);
    return (struct str){p, (size_t) n};
}

bool arena_on_free(struct arena *a, void (*fn)(void *), void *arg)
{
    struct arena_cleanup *c = arena_alloc(a, sizeof *c);
    if (!c)
        return false;
    *c = (struct arena_cleanup){a->cleanups, fn, arg};
    a->cleanups = c;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* buf: buffer blocks, slices of them, and chains of slices: how body bytes move.
 * A block is filled once, then read-only, counted within one worker; several slices
 * (a pump, a spool, a second attempt) may share it. Worker thread only.
 * Never copies bytes unless its name says so. */
#ifndef WEIR_BASE_BUF_H
#define WEIR_BASE_BUF_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/pool.h"
#include "base/str.h"

/* Payload of a pooled block: a 16 KiB body and its head arrive in one read. */
#define BLOCK_BYTES (17u * 1024)

struct buf_pool;

struct block {
    struct buf_pool *pool;
    uint32_t refs;   /* within one worker, not atomic */
    uint32_t cap;    /* payload bytes */
    uint32_t fill;   /* bytes [0, fill) are written and read-only from now on */
    uint32_t copies; /* 1: made by chain_copy, which alone appends to it */
    /* Never 1 to 15 bytes behind the beginning of a page: there a processor (AMD Zen 3, 4) may take
     * twice as long for what the kernel copies to it. */
    alignas(16) char bytes[];
};

/* A counted view into a block. The node itself is pooled too. */
struct slice {
    struct slice *next;
    struct block *block; /* one reference; NULL for static bytes */
    const char *p;
    size_t n; /* bytes, > 0 in a chain */
};

/* A first-in first-out list of slices. Zero-initialised is empty. */
struct chain {
    struct slice *head, *tail;
    size_t bytes;    /* sum of n */
    uint32_t slices; /* number of nodes */
};

/* One a worker. */
struct buf_pool {
    struct pool blocks; /* struct block + BLOCK_BYTES */
    struct pool slices;
    struct mem_account *account;
    uint64_t large_bytes;     /* held in oversize blocks */
    struct block *copy_block; /* where chain_copy goes on; no reference held */
};

/* Prepares the pools; account is charged for blocks handed out. */
void buf_pool_init(struct buf_pool *bp, struct mem_account *account);
/* Frees parked memory; nothing may be handed out. */
void buf_pool_fini(struct buf_pool *bp);

/* A block with refs 1 and fill 0; NULL when the memory limit refuses (the caller
 * waits: back-pressure). */
struct block *block_new(struct buf_pool *bp) __attribute__((warn_unused_result));
/* The same with at least cap payload bytes, from the heap when larger than
 * BLOCK_BYTES (heads above 17 KiB). */
struct block *block_new_sized(struct buf_pool *bp, size_t cap) __attribute__((warn_unused_result));
/* One more reference. */
static inline struct block *block_ref(struct block *b)
{
    b->refs++;
    return b;
}
/* One reference less; the last one frees. NULL is allowed. */
void block_unref(struct block *b);
/* Unwritten bytes at the end. */
static inline size_t block_room(const struct block *b)
{
    return b->cap - b->fill;
}

/* Appends bytes [p, p+n) of block (takes a new reference); joins with the tail when
 * adjacent in the same block. False when no slice node could be had. */
bool chain_add(struct chain *c, struct buf_pool *bp, struct block *block, const char *p, size_t n)
    __attribute__((warn_unused_result));
/* Appends bytes that outlive the chain; joins with the tail when they stand behind its own. */
bool chain_add_static(struct chain *c, struct buf_pool *bp, struct str s)
    __attribute__((warn_unused_result));
/* Appends a copy of s into the tail block's room, the pool's block for small copies or fresh
 * blocks. Never writes into a block that somebody else might be filling. False: nothing added. */
bool chain_copy(struct chain *c, struct buf_pool *bp, struct str s)
    __attribute__((warn_unused_result));
/* Moves up to max bytes from the front of from to the end of to; splits a slice if it
 * must. Returns bytes moved (fewer than min(max, from->bytes) only when nodes are refused). */
size_t chain_move(struct chain *to, struct chain *from, size_t max, struct buf_pool *bp);
/* Appends second references to all slices of from: both chains then read the same blocks. */
bool chain_share(struct chain *to, const struct chain *from, struct buf_pool *bp)
    __attribute__((warn_unused_result));
/* Drops n bytes from the front; n <= bytes. */
void chain_drop(struct chain *c, struct buf_pool *bp, size_t n);
/* Drops everything. */
static inline void chain_clear(struct chain *c, struct buf_pool *bp)
{
    if (c->bytes)
        chain_drop(c, bp, c->bytes);
}
/* The bytes of s, for a system call that only reads them. */
static inline struct iovec slice_iov(const struct slice *s)
{
    return (struct iovec){.iov_base = (void *) (uintptr_t) s->p, .iov_len = s->n};
}
/* Fills at most max iovecs from the front; returns how many. */
int chain_iov(const struct chain *c, struct iovec *iov, int max);
/* Copies up to n bytes from the front into dst without dropping; returns bytes copied. */
size_t chain_peek(const struct chain *c, char *dst, size_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c: blocks, slices, chains.
 * Invariants:
 * 1. bytes [0, fill) of a block never change; whoever appends moves fill in the same turn.
 * 2. chain_copy appends only to a block of its own (copies) or one that no one but the
 *    chain holds (refs 1), and only at fill: a reader that fills a shared block is safe.
 * 3. buf_pool.copy_block has refs > 0 or is NULL; it is cleared when that block goes.
 * 4. In a chain: bytes is the sum of n, slices the number of nodes, every n > 0, tail is
 *    valid only when head is not NULL. */
#include "base/buf.h"

#include "base/panic.h"

#define BLOCKS_KEPT 256u /* 4.25 MiB parked a worker */
#define SLICES_KEPT 4096u

_Static_assert(offsetof(struct slice, next) == 0, "a chain's nodes are linked as parked ones");

void buf_pool_init(struct buf_pool *bp, struct mem_account *account)
{
    *bp = (struct buf_pool){.account = account};
    pool_init(&bp->blocks, sizeof(struct block) + BLOCK_BYTES, BLOCKS_KEPT, account);
    pool_init(&bp->slices, sizeof(struct slice), SLICES_KEPT, account);
}

void buf_pool_fini(struct buf_pool *bp)
{
    must(bp->large_bytes == 0);
    pool_fini(&bp->blocks);
    pool_fini(&bp->slices);
}

static struct block *block_prepare(struct block *b, struct buf_pool *bp, size_t cap)
{
    if (b)
        *b = (struct block){.pool = bp, .refs = 1, .cap = (uint32_t) cap};
    return b;
}

struct block *block_new(struct buf_pool *bp)
{
    return block_prepare(pool_get(&bp->blocks), bp, BLOCK_BYTES);
}

struct block *block_new_sized(struct buf_pool *bp, size_t cap)
{
    if (cap <= BLOCK_BYTES)
        return block_new(bp);
    must(cap <= UINT32_MAX);
    size_t bytes = sizeof(struct block) + cap;
    if (bp->account && !mem_charge(bp->account, bytes))
        return NULL;
    bp->large_bytes += bytes;
    return block_prepare(mem_new(bytes), bp, cap);
}

static void block_free(struct block *b)
{
    struct buf_pool *bp = b->pool;
    if (bp->copy_block == b)
        bp->copy_block = NULL;
    if (b->cap <= BLOCK_BYTES) {
        pool_put(&bp->blocks, b);
        return;
    }
    size_t bytes = sizeof(struct block) + b->cap;
    bp->large_bytes -= bytes;
    if (bp->account)
        mem_credit(bp->account, bytes);
    mem_free(b);
}

void block_unref(struct block *b)
{
    if (!b)
        return;
    debug_must(b->refs > 0);
    if (--b->refs == 0)
        block_free(b);
}

static struct slice *slice_new(struct buf_pool *bp, struct block *block, const char *p, size_t n)
{
    struct slice *s = pool_get(&bp->slices);
    if (s)
        *s = (struct slice){NULL, block ? block_ref(block) : NULL, p, n};
    return s;
}

static void chain_link(struct chain *c, struct slice *s)
{
    if (c->head)
        c->tail->next = s;
    else
        c->head = s;
    c->tail = s;
    c->bytes += s->n;
    c->slices++;
}

/* Unlinks the first slice; the caller owns it. */
static struct slice *chain_pop(struct chain *c)
{
    struct slice *s = c->head;
    c->head = s->next;
    if (!c->head)
        c->tail = NULL;
    c->bytes -= s->n;
    c->slices--;
    s->next = NULL;
    return s;
}

/* All of from behind to; from is empty afterwards. */
static void chain_append(struct chain *to, struct chain *from)
{
    if (!from->head)
        return;
    if (to->head)
        to->tail->next = from->head;
    else
        to->head = from->head;
    to->tail = from->tail;
    to->bytes += from->bytes;
    to->slices += from->slices;
    *from = (struct chain){0};
}

bool chain_add(struct chain *c, struct buf_pool *bp, struct block *block, const char *p, size_t n)
{
    if (n == 0)
        return true;
    debug_must(!block || (p >= block->bytes && p + n <= block->bytes + block->cap));
    struct slice *t = c->head ? c->tail : NULL;
    if (t && block && t->block == block && t->p + t->n == p) {
        t->n += n;
        c->bytes += n;
        return true;
    }
    struct slice *s = slice_new(bp, block, p, n);
    if (!s)
        return false;
    chain_link(c, s);
    return true;
}

bool chain_add_static(struct chain *c, struct buf_pool *bp, struct str bytes)
{
    if (bytes.n == 0)
        return true;
    struct slice *t = c->head ? c->tail : NULL;
    if (t && !t->block && t->p + t->n == bytes.p) {
        t->n += bytes.n;
        c->bytes += bytes.n;
        return true;
    }
    struct slice *s = slice_new(bp, NULL, bytes.p, bytes.n);
    if (s)
        chain_link(c, s);
    return s != NULL;
}

/* Where a copy may go on: the tail's block, the pool's copy block, or nowhere (NULL). */
static struct block *copy_place(const struct chain *c, const struct buf_pool *bp)
{
    struct slice *t = c->head ? c->tail : NULL;
    struct block *b = t ? t->block : NULL;
    if (b && (b->copies || b->refs == 1) && t->p + t->n == b->bytes + b->fill && block_room(b))
        return b;
    b = bp->copy_block;
    return b && block_room(b) ? b : NULL;
}

/* Copies s behind chain c; on refusal part of it may have been added. */
static bool copy_behind(struct chain *c, struct buf_pool *bp, struct str s)
{
    while (s.n) {
        struct block *fresh = NULL;
        struct block *b = copy_place(c, bp);
        if (!b) {
            b = fresh = block_new(bp);
            if (!b)
                return false;
            b->copies = 1;
            bp->copy_block = b;
        }
        size_t n = block_room(b) < s.n ? block_room(b) : s.n;
        char *to = b->bytes + b->fill;
        bool added = chain_add(c, bp, b, to, n);
        if (added) {
            memcpy(to, s.p, n);
            b->fill += (uint32_t) n;
            s.p += n;
            s.n -= n;
        }
        block_unref(fresh);
        if (!added)
            return false;
    }
    return true;
}

/* Takes the last n bytes of c back. */
static void chain_cut(struct chain *c, struct buf_pool *bp, size_t n)
{
    struct chain keep = {0};
    size_t rest = c->bytes - n;
    while (rest) {
        struct slice *s = chain_pop(c);
        if (s->n > rest)
            s->n = rest;
        rest -= s->n;
        chain_link(&keep, s);
    }
    chain_clear(c, bp);
    *c = keep;
}

bool chain_copy(struct chain *c, struct buf_pool *bp, struct str s)
{
    size_t before = c->bytes;
    if (copy_behind(c, bp, s))
        return true;
    chain_cut(c, bp, c->bytes - before);
    return false;
}

size_t chain_move(struct chain *to, struct chain *from, size_t max, struct buf_pool *bp)
{
    if (max >= from->bytes) {
        size_t all = from->bytes;
        chain_append(to, from);
        return all;
    }
    size_t moved = 0;
    while (moved < max && from->head->n <= max - moved) {
        struct slice *s = chain_pop(from);
        moved += s->n;
        chain_link(to, s);
    }
    if (moved < max) {
        struct slice *s = from->head;
        size_t n = max - moved;
        if (!chain_add(to, bp, s->block, s->p, n))
            return moved;
        s->p += n;
        s->n -= n;
        from->bytes -= n;
        moved = max;
    }
    return moved;
}

bool chain_share(struct chain *to, const struct chain *from, struct buf_pool *bp)
{
    struct chain copy = {0};
    for (const struct slice *s = from->head; s; s = s->next) {
        if (!chain_add(&copy, bp, s->block, s->p, s->n)) {
            chain_clear(&copy, bp);
            return false;
        }
    }
    chain_append(to, &copy);
    return true;
}

/* All of c, which is not empty: its nodes go back at once. */
static void drop_all(struct chain *c, struct buf_pool *bp)
{
    for (const struct slice *s = c->head; s; s = s->next)
        block_unref(s->block);
    pool_put_all(&bp->slices, c->head, c->tail, c->slices);
    *c = (struct chain){0};
}

/* The first n bytes of c, which has more. */
static void drop_some(struct chain *c, struct buf_pool *bp, size_t n)
{
    while (c->head->n <= n) {
        struct slice *s = chain_pop(c);
        n -= s->n;
        block_unref(s->block);
        pool_put(&bp->slices, s);
    }
    c->head->p += n;
    c->head->n -= n;
    c->bytes -= n;
}

void chain_drop(struct chain *c, struct buf_pool *bp, size_t n)
{
    must(n <= c->bytes);
    if (n < c->bytes)
        drop_some(c, bp, n);
    else if (n)
        drop_all(c, bp);
}

int chain_iov(const struct chain *c, struct iovec *iov, int max)
{
    int n = 0;
    for (const struct slice *s = c->head; s && n < max; s = s->next)
        iov[n++] = slice_iov(s);
    return n;
}

size_t chain_peek(const struct chain *c, char *dst, size_t n)
{
    size_t done = 0;
    for (const struct slice *s = c->head; s && done < n; s = s->next) {
        size_t part = s->n < n - done ? s->n : n - done;
        memcpy(dst + done, s->p, part);
        done += part;
    }
    return done;
}

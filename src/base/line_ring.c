/* SPDX-License-Identifier: Apache-2.0 */
/* line_ring.c: see line_ring.h.
 * Invariants:
 * 1. head - tail <= cap; a line is begun only when head + line_max - tail <= cap. So a line that
 *    runs into the slack finds the slack of the lap before taken, and lap_end is read before it is
 *    written again.
 * 2. While the consumer is in the slack it says tail = lap + cap - 1: short of the next lap.
 * 3. head is stored after the bytes and lap_end that it covers (release, acquire), tail after the
 *    bytes before it were read. */
#include "base/line_ring.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/panic.h"

void line_ring_init(struct line_ring *r, size_t cap, size_t line_max)
{
    must(cap > 0 && (cap & (cap - 1)) == 0 && line_max <= cap / 4);
    *r = (struct line_ring){.bytes = mem_new(cap + line_max), .cap = cap, .line_max = line_max};
}

void line_ring_fini(struct line_ring *r)
{
    mem_free(r->bytes);
    r->bytes = NULL;
}

char *line_ring_begin(struct line_ring *r)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head + r->line_max - r->tail_seen > r->cap) {
        r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (head + r->line_max - r->tail_seen > r->cap)
            return NULL;
    }
    return r->bytes + (head & (r->cap - 1));
}

void line_ring_end(struct line_ring *r, size_t n)
{
    debug_must(n <= r->line_max);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint64_t offset = head & (r->cap - 1);
    if (offset + n >= r->cap) {
        atomic_store_explicit(&r->lap_end, offset + n, memory_order_relaxed);
        n = (size_t) (r->cap - offset);
    }
    atomic_store_explicit(&r->head, head + n, memory_order_release);
}

struct str line_ring_peek(struct line_ring *r)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    uint64_t end = head - r->lap;
    if (end >= r->cap)
        end = atomic_load_explicit(&r->lap_end, memory_order_relaxed);
    return str_of(r->bytes + r->at, (size_t) (end - r->at));
}

void line_ring_take(struct line_ring *r, size_t n)
{
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    r->at += n;
    if (head - r->lap >= r->cap &&
        r->at == atomic_load_explicit(&r->lap_end, memory_order_relaxed)) {
        r->lap += r->cap;
        r->at = 0;
    }
    uint64_t short_of = r->at < r->cap ? r->at : r->cap - 1;
    atomic_store_explicit(&r->tail, r->lap + short_of, memory_order_release);
}

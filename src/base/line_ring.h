/* SPDX-License-Identifier: Apache-2.0 */
/* line_ring: text lines from one thread to another through a ring of bytes. One producer (a
 * worker), one consumer (the line_writer's thread); no lock, no wake-up, no allocation after init.
 * A full ring refuses the line: the producer counts the loss and goes on. Lines are never split. */
#ifndef WEIR_BASE_LINE_RING_H
#define WEIR_BASE_LINE_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct line_ring {
    /* Written by the producer. Positions count bytes since the start; a lap is cap bytes, and the
     * last line of a lap may run past its end into the slack behind it. */
    _Alignas(64) _Atomic uint64_t head; /* where the next line begins */
    _Atomic uint64_t lap_end;           /* bytes of the newest finished lap, slack included */
    uint64_t tail_seen;                 /* producer only: tail when it was last looked at */
    /* Written by the consumer. */
    _Alignas(64) _Atomic uint64_t tail; /* everything before was taken */
    uint64_t lap;                       /* consumer only: where its lap begins */
    uint64_t at;                        /* consumer only: offset in its lap, slack included */
    /* Set at init. */
    _Alignas(64) char *bytes; /* cap + line_max */
    uint64_t cap;             /* a power of two */
    uint64_t line_max;
};

/* An empty ring of cap bytes (a power of two) for lines of at most line_max bytes, a quarter of
 * cap or less. */
void line_ring_init(struct line_ring *r, size_t cap, size_t line_max);
/* Frees the bytes; neither side may use r any more. */
void line_ring_fini(struct line_ring *r);
/* Producer: where to write the next line, with room for line_max bytes; NULL: full. */
char *line_ring_begin(struct line_ring *r);
/* Producer: the line begun is n bytes long, '\n' included, n <= line_max. */
void line_ring_end(struct line_ring *r, size_t n);
/* Consumer: the longest run of bytes that can be taken now; n 0: none. It ends with a line. */
struct str line_ring_peek(struct line_ring *r);
/* Consumer: the first n bytes of what line_ring_peek gave are done with. */
void line_ring_take(struct line_ring *r, size_t n);

#endif

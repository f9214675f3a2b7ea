/* SPDX-License-Identifier: Apache-2.0 */
/* wheel: the inside of timer.h: a hierarchical wheel of 6 levels with 64 slots each, embedded in
 * a loop and used by loop.c and timer.c only, on the loop's thread. Never allocates, never reads
 * a clock. Its tick is 2^14 us (16.4 ms), so that no division is needed. */
#ifndef WEIR_NET_WHEEL_H
#define WEIR_NET_WHEEL_H

#include "base/clock.h"
#include "base/list.h"
#include "base/panic.h"

#define WHEEL_LEVELS 6u
#define WHEEL_SLOT_BITS 6u
#define WHEEL_SLOTS (1u << WHEEL_SLOT_BITS)
#define WHEEL_TICK_BITS 14u /* of a microsecond clock */

struct loop;

struct wheel {
    uint64_t tick;                   /* every slot up to here was run */
    usec_t next;                     /* no slot with timers is due before; USEC_NEVER: none */
    uint64_t occupied[WHEEL_LEVELS]; /* bit s: slot s may hold timers */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

/* Empty, at the given time. */
void wheel_init(struct wheel *w, usec_t now);
/* Runs the slots that are due at now (wheel_run, when there are some). */
RARE void wheel_run_due(struct wheel *w, usec_t now);
/* Fires all timers that are due at now. */
static inline void wheel_run(struct wheel *w, usec_t now)
{
    if (now >= w->next)
        wheel_run_due(w, now);
    else
        w->tick = now >> WHEEL_TICK_BITS;
}
/* When wheel_run has something to look at next; USEC_NEVER: empty. Possibly early, never late. */
static inline usec_t wheel_next(const struct wheel *w)
{
    return w->next;
}
/* The wheel of a loop. */
struct wheel *loop_wheel(struct loop *l);

#endif

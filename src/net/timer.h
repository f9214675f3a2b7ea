/* SPDX-License-Identifier: Apache-2.0 */
/* timer: a coarse hierarchical wheel (16 ms ticks) inside each loop. A timer is embedded in
 * its owner; setting a later deadline is a field store, the wheel notices when the old slot
 * comes up. Loop thread only. May fire up to a tick late, never early. */
#ifndef WEIR_NET_TIMER_H
#define WEIR_NET_TIMER_H

#include <stdbool.h>

#include "base/clock.h"
#include "base/list.h"

struct loop;

struct timer {
    struct list_node node;         /* in a wheel slot while linked */
    usec_t deadline;               /* USEC_NEVER: off */
    usec_t slot_time;              /* when the wheel looks at it; <= deadline while linked */
    void (*fire)(struct timer *t); /* runs on the loop, timer already off */
};

/* Off. fire must be set before timer_set. */
static inline void timer_init(struct timer *t, void (*fire)(struct timer *))
{
    *t = (struct timer){.deadline = USEC_NEVER, .fire = fire};
}
/* Puts t into the slot of its deadline (timer_set, when a store is not enough). */
void timer_park(struct loop *loop, struct timer *t);
/* Fires once at or after deadline (monotonic us); moves an armed timer. Later or equal
 * deadlines cost a store. A past deadline fires at the next tick; USEC_NEVER is timer_idle. */
static inline void timer_set(struct loop *loop, struct timer *t, usec_t deadline)
{
    t->deadline = deadline;
    if (deadline == USEC_NEVER || (list_linked(&t->node) && deadline >= t->slot_time))
        return;
    timer_park(loop, t);
}
/* Off, and out of the wheel: needed before its memory goes. */
void timer_stop(struct timer *t);
/* Off, but left in the wheel (a store): for timers that are set again soon. */
static inline void timer_idle(struct timer *t)
{
    t->deadline = USEC_NEVER;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* timer.c: the hierarchical wheel.
 * A timer due at tick T lies on the level of the highest bits in which T differs from the
 * wheel's tick, in the slot that T's bits on that level name. So:
 * Invariants:
 * 1. Every linked timer lies in a slot strictly ahead of the wheel's tick on its level: no slot
 *    wraps, and the first occupied slot of the lowest occupied level is the next one due.
 * 2. occupied has a bit for every slot with timers; a bit without timers is possible (timer_stop
 *    knows no wheel) and goes when it is looked at.
 * 3. slot_time is the time at which the wheel looks at the slot. While deadline >= slot_time
 *    (USEC_NEVER too), nothing needs to move.
 * 4. The wheel's tick never passes an occupied slot without running it: next is at most the time
 *    of the first occupied slot (earlier when that slot's timers were stopped). */
#include "net/timer.h"

#include "net/wheel.h"

#define TICK_US (UINT64_C(1) << WHEEL_TICK_BITS)
#define LAST_TICK ((UINT64_C(1) << (WHEEL_LEVELS * WHEEL_SLOT_BITS)) - 1) /* 35 years of uptime */

void wheel_init(struct wheel *w, usec_t now)
{
    w->tick = now >> WHEEL_TICK_BITS;
    w->next = USEC_NEVER;
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        w->occupied[level] = 0;
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
    }
}

/* Puts an unlinked timer where its deadline belongs. */
static void park(struct wheel *w, struct timer *t)
{
    /* Up to the next tick: never early. A past deadline fires at the next tick. */
    uint64_t due = t->deadline > LAST_TICK << WHEEL_TICK_BITS
                       ? LAST_TICK
                       : (t->deadline + TICK_US - 1) >> WHEEL_TICK_BITS;
    if (due <= w->tick)
        due = w->tick + 1;
    unsigned top = 63 - (unsigned) __builtin_clzll(due ^ w->tick);
    unsigned shift = top / WHEEL_SLOT_BITS * WHEEL_SLOT_BITS;
    unsigned level = top / WHEEL_SLOT_BITS;
    unsigned slot = (unsigned) (due >> shift) & (WHEEL_SLOTS - 1);
    t->slot_time = (due >> shift << shift) << WHEEL_TICK_BITS;
    w->occupied[level] |= UINT64_C(1) << slot;
    if (t->slot_time < w->next)
        w->next = t->slot_time;
    list_push_back(&w->slots[level][slot], &t->node);
}

void timer_park(struct loop *loop, struct timer *t)
{
    list_remove(&t->node);
    park(loop_wheel(loop), t);
}

void timer_stop(struct timer *t)
{
    t->deadline = USEC_NEVER;
    list_remove(&t->node);
}

/* A slot that may hold timers: where it is, and the tick at which it is looked at. */
struct place {
    unsigned level, slot;
    uint64_t tick;
};

/* The next slot with timers; drops bits of empty ones. False: the wheel is empty. */
static bool next_place(struct wheel *w, struct place *p)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        while (w->occupied[level]) {
            unsigned slot = (unsigned) __builtin_ctzll(w->occupied[level]);
            if (list_empty(&w->slots[level][slot])) {
                w->occupied[level] &= w->occupied[level] - 1;
                continue;
            }
            unsigned shift = level * WHEEL_SLOT_BITS;
            uint64_t above = w->tick >> shift >> WHEEL_SLOT_BITS << WHEEL_SLOT_BITS;
            *p = (struct place){level, slot, (above | slot) << shift};
            return true;
        }
    }
    return false;
}

/* Fires or moves down every timer of a slot that the wheel has just reached. Timers set by the
 * callbacks land in later slots, so this ends. */
static void run_slot(struct wheel *w, const struct place *p)
{
    struct list *slot = &w->slots[p->level][p->slot];
    usec_t now = w->tick << WHEEL_TICK_BITS;
    w->occupied[p->level] &= ~(UINT64_C(1) << p->slot);
    struct list_node *node;
    while ((node = list_pop_front(slot))) {
        struct timer *t = list_entry(node, struct timer, node);
        if (t->deadline <= now) {
            t->deadline = USEC_NEVER;
            t->fire(t);
        } else if (t->deadline != USEC_NEVER) {
            park(w, t);
        }
    }
}

void wheel_run_due(struct wheel *w, usec_t now)
{
    uint64_t tick = now >> WHEEL_TICK_BITS;
    struct place p;
    bool more;
    while ((more = next_place(w, &p)) && p.tick <= tick) {
        w->tick = p.tick;
        run_slot(w, &p);
    }
    if (tick > w->tick)
        w->tick = tick;
    w->next = more ? p.tick << WHEEL_TICK_BITS : USEC_NEVER;
}

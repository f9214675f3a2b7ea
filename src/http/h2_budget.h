/* SPDX-License-Identifier: Apache-2.0 */
/* h2_budget: how much of what costs us more than it costs the peer one HTTP/2 connection may do:
 * a burst and a rate for each kind of event, paid back by useful work. Plain values, no clock of
 * its own; the owner is the connection. One thread. Never closes anything: it only says so. */
#ifndef WEIR_HTTP_H2_BUDGET_H
#define WEIR_HTTP_H2_BUDGET_H

#include <stdint.h>

#include "base/clock.h"
#include "base/fault.h"

enum h2_event {
    H2_RESET,        /* the peer reset a stream whose answer was not complete; a whole one pays */
    H2_RESET_CAUSED, /* the peer made us reset a stream; shares the budget of H2_RESET */
    H2_CONTINUATION, /* a CONTINUATION frame */
    H2_SETTINGS,
    H2_PING,
    H2_EMPTY_DATA, /* DATA without a byte and without END_STREAM */
    H2_PRIORITY,   /* PRIORITY or PRIORITY_UPDATE */
    H2_WINDOW,     /* WINDOW_UPDATE */
    H2_OTHER,      /* a frame of a type that means nothing here */
    H2_REFUSED,    /* a stream beyond the limit */
    H2_STALL,      /* a stream ended because its reader kept the window shut */
    H2_EVENTS
};

struct h2_budget {
    usec_t until[H2_EVENTS]; /* when all of what was taken will be paid back */
    uint32_t windows;        /* WINDOW_UPDATE that are paid already: they answer what was sent */
};

/* Takes one event at now. FAULT_OK, or the reason to end the connection. */
enum fault h2_budget_take(struct h2_budget *b, enum h2_event e, usec_t now) FAULT_CHECKED;
/* Useful work pays n events back. */
void h2_budget_repay(struct h2_budget *b, enum h2_event e, uint32_t n);
/* DATA was sent, which n WINDOW_UPDATE may answer, however late they come. */
void h2_budget_sent(struct h2_budget *b, uint32_t n);

#endif

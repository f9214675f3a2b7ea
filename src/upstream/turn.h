/* SPDX-License-Identifier: Apache-2.0 */
/* turn: whose turn it is where the requests in progress are limited: max_active of an upstream and
 * of each endpoint, exact over all workers, and one FIFO an upstream for those that must wait
 * (max_pending). A struct turn lives in its attempt and is its worker's own; what is shared is in
 * struct upstream_run and struct endpoint. Never chooses an endpoint: who asks for a turn does, and
 * who leaves passes on what it held. Where nothing is limited none of this is called; where a limit
 * is set, a request that need not wait costs one atomic for each. */
#ifndef WEIR_UPSTREAM_TURN_H
#define WEIR_UPSTREAM_TURN_H

#include "upstream/pool.h"

struct turn_ticket;

/* Zeroed at birth; ready is set by its owner. */
struct turn {
    struct upstream *upstream;
    struct endpoint *endpoint;  /* whose it is; what was offered; NULL: of nobody yet */
    struct turn_ticket *ticket; /* non-NULL: it waits */
    struct list_node node;      /* while it waits, in its worker's list */
    /* It need not wait any more, or (ticket still set, looked 0) should look around, as limits or
     * endpoints changed: on the turn's worker, perhaps from inside a function of this file, so it
     * does no more than queue. */
    void (*ready)(struct turn *t);
    usec_t since;     /* monotonic; the wait began */
    usec_t looked;    /* while it waits: looked around last */
    bool of_upstream; /* counted in run->turns */
    bool of_endpoint; /* counted in endpoint->turns */
    bool granted;     /* by somebody who left: *endpoint, if set, is an offer */
};

/* What a turn waits for. */
struct turn_want {
    struct endpoint *const *tried; /* not these (while of_upstream is what is missing, these too) */
    uint32_t n_tried;
    struct endpoint *only; /* this one alone; NULL: any */
    bool of_upstream;      /* an endpoint has room, the upstream has not */
    bool again;            /* it had a turn before: goes before those that had none */
};

enum turn_answer { TURN_TAKEN, TURN_ENDPOINT_FULL, TURN_UPSTREAM_FULL };
enum turn_queued { TURN_QUEUED, TURN_REFUSED, TURN_NOT_THERE };

/* Takes a turn of u at e, giving back what the turn has of another endpoint. Not taken: nothing has
 * changed; UPSTREAM_FULL also when others wait already. */
enum turn_answer turn_take(struct turn *t, struct pool_worker *w, struct upstream *u,
                           struct endpoint *e);
/* The request of t is at e already: where a limit was set meanwhile it is counted from now on,
 * above it if need be. */
void turn_adopt(struct turn *t, struct upstream *u, struct endpoint *e);
/* Gives back what the turn has and puts it into the FIFO; ready() tells its end. REFUSED:
 * max_pending wait already; NOT_THERE: those of want->only do, and nothing has changed. After
 * QUEUED the caller looks for room once more (turn_look). */
enum turn_queued turn_wait(struct turn *t, struct pool_worker *w, struct upstream *u,
                           const struct turn_want *want);
/* e may have room, of u: whoever waited longest gets it. */
void turn_look(struct upstream *u, struct pool_worker *w, struct endpoint *e);
/* The endpoint for which alone t waits; NULL: any. */
struct endpoint *turn_waits_for(const struct turn *t);
/* The endpoint for which alone t waits may be down: any will do from now on. */
void turn_want_any(struct turn *t);
/* Ends the wait, or gives back what was taken. Harmless when there is neither. */
__attribute__((noinline)) void turn_leave(struct turn *t, struct pool_worker *w);

#endif

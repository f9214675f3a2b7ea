/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. An attempt that leaves here without a fault has a->endpoint and a turn at it, or waits
 *    (a->turn.ticket, or a wake-up on its way).
 * 2. One that waits holds nothing: no turn, no probe of a breaker.
 * 3. After it joined the FIFO it looked for room once more, as turn.c wants. */
#include "proxy/attempt_turn.h"

#include "proxy/affinity.h"
#include "proxy/driver.h"
#include "upstream/health.h"
#include "upstream/weigh.h"

#define LOOK_EVERY USEC_PER_SEC

static void turn_ready(struct turn *t)
{
    exchange_wake(list_entry(t, struct attempt, turn)->x);
}

static struct pool_worker *pools(const struct attempt *a)
{
    return &a->x->worker->upstream;
}

/* An endpoint that a was not at yet and that has room; NULL: none. */
static struct endpoint *with_room(const struct attempt *a)
{
    struct endpoint *tried[ATTEMPTS_MAX];
    struct pick pick = {.worker = a->x->worker->index, .now = a->x->now};
    attempt_tried(a, &pick, tried);
    pick.limited = true;
    return attempt_balance(a, &pick);
}

/* Into the FIFO. NOT_THERE: a goes on. */
static enum fault queue_up(struct attempt *a, const struct turn_want *want, bool *not_there)
{
    struct upstream *u = a->x->plan->upstream;
    attempt_judge(a);
    a->endpoint = NULL;
    a->turn.ready = turn_ready;
    enum turn_queued queued = turn_wait(&a->turn, pools(a), u, want);
    *not_there = queued == TURN_NOT_THERE;
    if (queued == TURN_REFUSED)
        return FAULT_QUEUE_FULL;
    if (queued == TURN_QUEUED) {
        struct endpoint *e = want->only ? want->only : with_room(a);
        if (e)
            turn_look(u, pools(a), e);
    }
    return FAULT_OK;
}

/* A turn at e was taken. What it waited for that is no part of retry.per_try. */
static enum fault taken(struct attempt *a, struct endpoint *e)
{
    a->endpoint = e;
    if (a->turn.since)
        a->not_before = a->x->now;
    return FAULT_OK;
}

enum fault attempt_same_in_turn(struct attempt *a, struct endpoint *e)
{
    struct turn_want want = {.again = true};
    bool not_there;
    enum turn_answer answer = turn_take(&a->turn, pools(a), a->x->plan->upstream, e);
    if (answer == TURN_TAKEN)
        return taken(a, e);
    want.of_upstream = answer == TURN_UPSTREAM_FULL;
    want.only = want.of_upstream ? NULL : e;
    return queue_up(a, &want, &not_there);
}

static bool tried_before(const struct pick *pick, const struct endpoint *e)
{
    struct pick plain = *pick;
    plain.limited = false; /* has no room is another thing */
    return pick_tried(&plain, e);
}

/* What who left has offered, if a can use it. */
static struct endpoint *offer_of(const struct attempt *a, const struct pick *pick)
{
    const struct upstream *u = a->x->plan->upstream;
    struct endpoint *e = a->turn.granted ? a->turn.endpoint : NULL;
    if (!e || pick_tried(pick, e))
        return NULL;
    return endpoint_usable(e) || upstream_in_panic(u) ? e : NULL;
}

/* What a's key, cookie or balancer says, and after that whoever has room. NULL: none. */
static struct endpoint *propose(struct attempt *a, struct pick *pick, struct endpoint **offer)
{
    const struct upstream *u = a->x->plan->upstream;
    bool keyed = u->by_id || u->key != KEY_NONE;
    struct endpoint *e = NULL;
    if (!pick->limited && keyed) {
        e = u->by_id ? affinity_sticky(a->x, pick) : NULL;
        if (!e && (u->key != KEY_NONE || !*offer))
            e = attempt_balance(a, pick);
    }
    pick->limited = u->endpoints_limited;
    if (!e && *offer) {
        e = *offer;
        *offer = NULL;
    }
    return e ? e : attempt_balance(a, pick);
}

/* Nobody has room, or what has was refused: waits when there is anyone to wait for. */
static enum fault wait_for_any(struct attempt *a, struct pick *pick, struct turn_want *want,
                               bool full, bool refused)
{
    bool not_there;
    pick->limited = false;
    if (!full) {
        struct endpoint *e = attempt_balance(a, pick);
        full = e && !pick_tried(pick, e);
    }
    if (!full)
        return refused ? FAULT_BREAKER_OPEN : attempt_nobody(a->x->plan->upstream);
    pick->n_tried = want->n_tried;
    struct endpoint *e = attempt_balance(a, pick);
    if (e && pick_tried(pick, e))
        want->n_tried = 0; /* none but those is left */
    return queue_up(a, want, &not_there);
}

/* A turn at e was not to be had. True: a waits for it, or *f. */
static bool wait_there(struct attempt *a, struct turn_want *want, enum turn_answer answer,
                       struct endpoint *e, enum fault *f)
{
    bool not_there;
    want->of_upstream = answer == TURN_UPSTREAM_FULL;
    want->only = answer == TURN_ENDPOINT_FULL ? e : NULL;
    *f = queue_up(a, want, &not_there);
    want->only = NULL;
    return !not_there;
}

enum fault attempt_in_turn(struct attempt *a, struct pick *pick, struct endpoint **tried)
{
    struct upstream *u = a->x->plan->upstream;
    struct endpoint *offer = offer_of(a, pick);
    struct turn_want want = {.tried = tried, .n_tried = pick->n_tried, .again = a->prev != NULL};
    bool refused = false, full = false, last = false;
    while (!last && pick->n_tried < want.n_tried + ATTEMPTS_MAX) {
        bool own = !pick->limited && (u->by_id || u->key != KEY_NONE);
        enum fault f;
        struct endpoint *e = propose(a, pick, &offer);
        if (!e)
            break;
        last = tried_before(pick, e);
        a->endpoint = e;
        if (attempt_accepted(a, &refused)) {
            enum turn_answer answer = turn_take(&a->turn, pools(a), u, e);
            if (answer == TURN_TAKEN)
                return taken(a, e);
            bool there = answer == TURN_ENDPOINT_FULL && own && atomic_load(&e->max_pending);
            if ((answer == TURN_UPSTREAM_FULL || there) && wait_there(a, &want, answer, e, &f))
                return f;
            full = true;
        }
        attempt_judge(a);
        a->endpoint = NULL;
        tried[pick->n_tried++] = e;
    }
    return wait_for_any(a, pick, &want, full, refused);
}

void attempts_adopt(struct worker *w)
{
    list_each(node, &w->exchange_list) {
        struct exchange *x = list_entry(node, struct exchange, node);
        struct attempt *a = x->attempt;
        if (a && !a->ended && a->endpoint && !x->forced_endpoint)
            turn_adopt(&a->turn, x->plan->upstream, a->endpoint);
    }
}

usec_t attempt_looks_again(const struct attempt *a)
{
    return a->turn.looked + LOOK_EVERY;
}

enum fault attempt_still_waits(struct attempt *a)
{
    struct upstream *u = a->x->plan->upstream;
    usec_t now = a->x->now;
    if (now < attempt_looks_again(a))
        return FAULT_OK;
    a->turn.looked = now;
    struct endpoint *only = turn_waits_for(&a->turn);
    if (only && !endpoint_usable(only))
        turn_want_any(&a->turn);
    else if (only) {
        turn_look(u, pools(a), only);
        return FAULT_OK;
    }
    struct endpoint *e = with_room(a);
    if (e) {
        turn_look(u, pools(a), e);
        return FAULT_OK;
    }
    struct pick any = {.worker = a->x->worker->index, .now = now};
    if (attempt_balance(a, &any))
        return FAULT_OK;
    turn_leave(&a->turn, pools(a));
    return attempt_nobody(u);
}

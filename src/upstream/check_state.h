/* SPDX-License-Identifier: Apache-2.0 */
/* check_state: what a row of check results makes of an endpoint: rise and fall, when to look again,
 * how long a mark holds, and what about the checks themselves is worth a warning. Values only;
 * owned by the check (control/health_check.c), main thread. */
#ifndef WEIR_UPSTREAM_CHECK_STATE_H
#define WEIR_UPSTREAM_CHECK_STATE_H

#include "upstream/upstream.h"

struct check_state {
    bool up;      /* as decided */
    bool decided; /* a check has ended since the start */
    uint32_t row; /* results in a row that speak against up */
    usec_t known; /* when the last result came */
};

#define FLAPPING_RESULTS 20u /* that are looked back on */
#define FLAPPING_FROM 6u     /* changes between them that are flapping */
#define FLAPPING_UNTIL 2u    /* changes with which it is over */
#define SLOW_ROW 3u          /* checks in a row that begin and end being slow */

/* What is worth a warning; zero-initialised: nothing yet. */
struct check_watch {
    uint32_t results; /* the newest in bit 0: passed */
    uint32_t n;       /* results known, at most FLAPPING_RESULTS */
    uint32_t row;     /* passes in a row that speak against slow */
    bool flapping, slow;
};

/* Takes a result; true: up changed. The first check decides alone. */
static inline bool check_state_take(struct check_state *s, const struct health_conf *c, bool passed)
{
    bool first = !s->decided, was = s->up;
    s->decided = true;
    if (passed == s->up) {
        s->row = 0;
        return false;
    }
    s->row++;
    int64_t enough = first && passed ? 1 : s->up ? c->fall : c->rise;
    if (s->row >= (uint64_t) enough) {
        s->up = passed;
        s->row = 0;
    }
    return s->up != was;
}
/* The pause before the next check: fast while a change is under way. */
static inline usec_t check_state_pause(const struct check_state *s, const struct health_conf *c)
{
    if (s->row > 0 || !s->decided)
        return c->fast_interval ? c->fast_interval : c->interval;
    return !s->up && c->down_interval ? c->down_interval : c->interval;
}
/* The mark that state has made is older than what it was made of may be, when no check could be
 * made since: the endpoint is up again. */
static inline bool check_state_expire(struct check_state *s, const struct health_conf *c,
                                      usec_t now)
{
    usec_t pause = check_state_pause(s, c) + c->timeout;
    usec_t holds = c->expires > 2 * pause ? c->expires : 2 * pause;
    if (s->up || !s->decided || now - s->known < holds)
        return false;
    s->up = true;
    s->row = 0;
    return true;
}
/* Times that the result changed within the results looked back on. */
static inline uint32_t check_watch_changes(const struct check_watch *w)
{
    uint32_t pairs = w->n > 1 ? (UINT32_C(1) << (w->n - 1)) - 1 : 0;
    return (uint32_t) __builtin_popcount((w->results ^ w->results >> 1) & pairs);
}
/* Takes a result; true: flapping began or ended. */
static inline bool check_watch_result(struct check_watch *w, bool passed)
{
    w->results = w->results << 1 | passed;
    w->n += w->n < FLAPPING_RESULTS;
    uint32_t changes = check_watch_changes(w);
    bool was = w->flapping;
    w->flapping = was ? changes > FLAPPING_UNTIL : changes >= FLAPPING_FROM;
    return w->flapping != was;
}
/* A passing check longer than this is slow; 0: none is. */
static inline usec_t check_slow_over(const struct health_conf *c)
{
    return c->slow && c->slow > c->timeout / 2 ? c->timeout / 2 : c->slow;
}
/* Takes how long a check that passed took; true: being slow began or ended. */
static inline bool check_watch_time(struct check_watch *w, const struct health_conf *c, usec_t took)
{
    bool slow = check_slow_over(c) && took > check_slow_over(c);
    w->row = slow == w->slow ? 0 : w->row + 1;
    if (w->row < SLOW_ROW)
        return false;
    w->slow = slow;
    w->row = 0;
    return true;
}

#endif

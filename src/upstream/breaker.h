/* SPDX-License-Identifier: Apache-2.0 */
/* breaker: a circuit breaker: CLOSED lets everything pass and counts how calls end over a sliding
 * window; OPEN answers at once; HALF_OPEN lets a few real requests pass as probes. Values only: the
 * caller says what time it is and how calls end. Any thread; a closed breaker takes no lock but
 * when a part of its window begins. */
#ifndef WEIR_UPSTREAM_BREAKER_H
#define WEIR_UPSTREAM_BREAKER_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/schema.h"
#include "upstream/outcome.h"

#define BREAKER_PARTS 10 /* of the window */

enum breaker_scope { BREAKER_UPSTREAM, BREAKER_ENDPOINT, BREAKER_ROUTE };
enum breaker_state { BREAKER_CLOSED, BREAKER_OPEN, BREAKER_HALF_OPEN };
enum breaker_force { BREAKER_AUTO, BREAKER_FORCE_OPEN, BREAKER_FORCE_CLOSED };

/* upstreams.NAME.breaker */
struct breaker_conf {
    bool enabled;
    int scope; /* enum breaker_scope */
    usec_t window;
    int64_t minimum_calls;
    int64_t failure_rate, close_rate; /* percent */
    usec_t slow_over;                 /* 0: nothing is slow */
    int64_t slow_rate;                /* percent */
    usec_t open, max_open;
    int64_t probes;
    bool connect, timeout, reset, invalid; /* count as failures */
    struct schema_list statuses;           /* int64_t; none: 500 to 599 */
};

extern const struct schema_table breaker_schema;

/* What a part of the window saw, and what all parts together did. */
struct breaker_counts {
    uint64_t calls, failed, slow, timeouts, errors; /* errors: 500 to 599 */
};

struct breaker {
    char *name;             /* "upstream shop", for the log; owned */
    _Atomic uint32_t state; /* enum breaker_state */
    _Atomic uint32_t force; /* enum breaker_force */
    _Atomic uint64_t until; /* OPEN: no probe before */
    _Atomic uint32_t round; /* grows with each change of state: outcomes of earlier calls are old */
    _Atomic uint32_t begun; /* HALF_OPEN: probes under way or ended */
    _Atomic uint64_t opened, refused; /* figures */
    struct breaker_part {
        _Atomic uint64_t epoch; /* number of the span of time, + 1; 0: never used */
        _Atomic uint64_t calls, failed, slow, timeouts, errors;
    } parts[BREAKER_PARTS];
    /* Under lock. */
    pthread_mutex_t lock;
    uint32_t ended, bad; /* probes */
    uint32_t times;      /* opened in a row, without having closed */
};

/* Told to the caller of a call that passed. */
struct breaker_ticket {
    uint32_t round;
    bool probe;
};

/* How a call ended. */
enum breaker_outcome {
    OUTCOME_GOOD,
    OUTCOME_SLOW,
    OUTCOME_FAILED,
    OUTCOME_NONE, /* nothing can be said: the client went away */
};

struct breaker_end {
    enum breaker_outcome outcome;
    bool timed_out, error; /* what it was, for breaker_sum */
};

/* A closed breaker; name is copied. */
void breaker_init(struct breaker *b, const char *name);
/* Frees what it holds. */
void breaker_fini(struct breaker *b);
/* One of its own; name is consumed. */
struct breaker *breaker_new(char *name);
/* Frees it; NULL is allowed. */
void breaker_free(struct breaker *b);
/* A call may pass now: true, and *t is for breaker_tell, which must follow. */
bool breaker_ask(struct breaker *b, const struct breaker_conf *c, usec_t now,
                 struct breaker_ticket *t);
/* The end of a call that passed. */
void breaker_tell(struct breaker *b, const struct breaker_conf *c, usec_t now,
                  struct breaker_ticket t, struct breaker_end end);
/* What came of an attempt by the rules of c. */
struct breaker_end breaker_end_of(const struct breaker_conf *c, const struct attempt_result *r);
/* What the window saw. */
struct breaker_counts breaker_sum(const struct breaker *b, const struct breaker_conf *c,
                                  usec_t now);
/* Holds it open or closed, or lets it find its state again, from CLOSED on. */
void breaker_hold(struct breaker *b, enum breaker_force force);
/* What a process that follows is to know: false when it is closed or held; else when it lets probes
 * pass (0: now), and how often in a row it has opened. */
bool breaker_left(struct breaker *b, usec_t *until, uint32_t *times);
/* Opens a closed breaker as it was in the process before, for max_open at most. */
void breaker_follow(struct breaker *b, const struct breaker_conf *c, usec_t now, usec_t until,
                    uint32_t times);
/* Whole seconds until a call may pass, at least 1: for Retry-After. */
unsigned breaker_wait(const struct breaker *b, usec_t now);
/* "closed", "open", "half_open", as metrics and /status say. */
const char *breaker_state_name(const struct breaker *b);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* attempt: one try of an exchange at one endpoint, with its own table of steps: pick, connect,
 * send_head, await_head. The first one lives in its exchange, later ones in the arena of that.
 * Worker thread. */
#ifndef WEIR_PROXY_ATTEMPT_H
#define WEIR_PROXY_ATTEMPT_H

#include "proxy/leg.h"
#include "upstream/breaker.h"
#include "upstream/turn.h"

enum attempt_step {
    ATTEMPT_PICK,
    ATTEMPT_CONNECT,
    ATTEMPT_SEND_HEAD,
    ATTEMPT_AWAIT_HEAD,
    ATTEMPT_DONE,
    ATTEMPT_STEPS
};

#define ATTEMPTS_MAX 8 /* of one exchange at different endpoints */

struct attempt {
    struct exchange *x;
    struct attempt *prev;
    uint8_t step;              /* enum attempt_step */
    bool reused;               /* its link had served before */
    bool kept;                 /* the same, or min_idle had opened it ahead */
    bool unproven;             /* it failed, was kept, and may have been dead when it was lent */
    bool http2;                /* its link speaks HTTP/2 */
    bool sent;                 /* at least one byte of the request was given to the kernel */
    bool ended;                /* attempt_end has run */
    bool counted_retry;        /* in run->retrying, until attempt_end */
    struct endpoint *endpoint; /* borrowed from the route's upstream */
    struct breaker *breaker;   /* let it pass and was not told yet how it ended; NULL: none */
    struct breaker_ticket ticket;
    struct turn turn;  /* where the requests in progress are limited */
    usec_t not_before; /* backoff: pick only then; when its turn came; 0: at once */
    struct link_wait wait;
    struct endpoint_stats *stats; /* of endpoint on this worker, from send_head on */
    counter_t *in_progress;       /* of its upstream on this worker: counts it until attempt_end */
    struct link *link;            /* lent; NULL before and after */
    struct leg *leg;              /* NULL before connect is done */
    enum fault fault;             /* why it failed; FAULT_OK */
    usec_t started, connected, sent_at, first_byte; /* monotonic; 0: not reached */
    uint16_t status;                                /* of the final head; 0: none */
};

/* Name of an attempt step. */
const char *attempt_step_name(enum attempt_step s);

#endif

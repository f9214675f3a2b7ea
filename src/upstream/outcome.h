/* SPDX-License-Identifier: Apache-2.0 */
/* outcome: how an attempt at an endpoint ended, as balancers, ejection and breakers see it: plain
 * values, made by the attempt, kept by nobody. */
#ifndef WEIR_UPSTREAM_OUTCOME_H
#define WEIR_UPSTREAM_OUTCOME_H

#include "base/clock.h"
#include "base/fault.h"

/* What an attempt's end says of its endpoint. */
enum blame {
    BLAME_NONE,    /* nothing: an answer, or a failure that was not the endpoint's */
    BLAME_CONNECT, /* no connection */
    BLAME_TIMEOUT, /* no answer in time */
    BLAME_RESET,   /* the connection broke before the answer was complete */
    BLAME_INVALID, /* an answer that is no HTTP */
    BLAME_STATUS,  /* 502, 503 or 504 */
    BLAMES
};

/* How an attempt ended. */
struct attempt_result {
    enum fault fault; /* FAULT_OK: with an answer */
    uint16_t status;  /* of the final head; 0: none */
    enum blame blame;
    usec_t first_byte_us; /* from the request sent to the first byte; 0: none came */
    usec_t now;           /* monotonic */
};

/* One weight of update_weights. */
struct endpoint_weight {
    struct str address;
    double weight; /* 0..100, same scale as in the configuration; finer than 0.001 is rounded */
};

/* Metric label of a blame. */
const char *blame_name(enum blame b);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* balance: choosing an endpoint. A balancer is a const vtable plus its state, owned by its
 * upstream, one part a worker. pick runs on any worker, must not block nor allocate. What is shared
 * between workers are the atomics of struct endpoint; those of one that says counts_active are
 * counted by the attempt, so that round robin touches none. The library's callers may bring their
 * own. */
#ifndef WEIR_UPSTREAM_BALANCE_H
#define WEIR_UPSTREAM_BALANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/schema.h"
#include "base/str.h"
#include "upstream/endpoint.h"

struct upstream;

/* What a pick may look at. */
struct pick {
    uint64_t hash;                 /* affinity key, 0: none */
    struct endpoint *const *tried; /* endpoints of earlier attempts of this exchange: avoid them */
    uint32_t n_tried;
    uint32_t worker; /* index of the calling worker */
    bool limited;    /* endpoints have max_active: avoid those that are full */
    usec_t now;      /* monotonic */
};

/* e was tried before, or has no room. */
static inline bool pick_tried(const struct pick *p, const struct endpoint *e)
{
    for (uint32_t i = 0; i < p->n_tried; i++) {
        if (p->tried[i] == e)
            return true;
    }
    return p->limited && endpoint_full(e);
}

enum hash_algorithm { HASH_RING, HASH_MAGLEV };

/* upstreams.NAME.balance */
struct balance_conf {
    int policy;               /* index into balance_names */
    struct str on;            /* client_ip, path, header:NAME, cookie:NAME, query:NAME */
    int algorithm;            /* enum hash_algorithm */
    double bounded_load;      /* 0: no bound, else 1.0..10.0 times the mean */
    struct str sticky;        /* name of a cookie; empty: none */
    bool feedback;            /* weights follow response times */
    struct str weight_header; /* of answers: a share of the weight; empty: none */
    usec_t slow_start;        /* 0: full weight at once */
    int64_t panic_threshold;  /* percent; 0: never */
    struct str zone;          /* where this Weir runs; empty: no preference */
    uint64_t seed;            /* from C only: of the random draws; 0: any */
    struct schema_pos pos;
};

extern const struct schema_table balance_schema;

/* What of a request is hashed. */
enum hash_key { KEY_NONE, KEY_CLIENT_IP, KEY_PATH, KEY_HEADER, KEY_COOKIE, KEY_QUERY };

/* Reads balance.on; *name: of the header, cookie or parameter. KEY_NONE: not one. */
enum hash_key balance_key(struct str on, struct str *name);

struct balance_ops {
    const char *name;   /* "round_robin" */
    bool counts_active; /* attempts keep endpoint.active for it */
    /* State for u's endpoints; main thread. */
    void *(*create)(struct upstream *u, uint32_t n_workers);
    void (*destroy)(void *state);
    /* An endpoint that is up, resolved, of weight > 0 and not yet tried; then one whose first
     * addresses are still awaited; then one that was tried; NULL: none at all (NO_ENDPOINT). */
    struct endpoint *(*pick)(void *state, struct upstream *u, const struct pick *p);
    /* Replaces weights of the named endpoints at once: no pick sees half of them; unknown addresses
     * are skipped. Any thread. */
    void (*update_weights)(void *state, struct upstream *u, const struct endpoint_weight *w,
                           uint32_t n);
    /* An attempt ended. May be NULL. */
    void (*attempt_end)(void *state, struct endpoint *e, const struct attempt_result *r);
};

/* NULL-terminated, in the order of balance_names (config choices). */
extern const struct balance_ops *const balance_all[];
extern const char *const balance_names[];
/* By name, or NULL. */
const struct balance_ops *balance_find(struct str name);

#endif

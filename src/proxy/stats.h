/* SPDX-License-Identifier: Apache-2.0 */
/* stats: figures that workers write and the metrics page sums. One struct a worker,
 * cache-line aligned, plain stores by its thread only; any thread reads. */
#ifndef WEIR_PROXY_STATS_H
#define WEIR_PROXY_STATS_H

#include <pthread.h>
#include <stddef.h>

#include "base/counter.h"
#include "base/fault.h"
#include "base/map.h"
#include "http/head.h"
#include "proxy/route.h"

struct snapshot;

#define ROUTE_COUNTS 64u /* pairs of method and status kept apart for a route */

/* Requests of one method that were answered with one status. */
struct route_count {
    _Atomic uint32_t key; /* route_count_key; 0: free. Set once, after n */
    counter_t n;
};

/* Figures of one route on one worker, made on the route's first use. */
struct route_stats {
    struct str name;           /* owned; "_other" for the routes that share ROUTE_OTHER */
    counter_t count_other;     /* when counts is full */
    struct histogram duration; /* whole exchange, us */
    /* With the sum before them and most requests' pair one cache line: of 1,000 routes each is a
     * miss. */
    counter_t bytes_in, bytes_out;           /* body and head bytes at the client side */
    struct route_count counts[ROUTE_COUNTS]; /* in the order in which they came */
};
_Static_assert(offsetof(struct route_stats, duration.sum_us) % 64 == 0, "a cache line begins");

/* A number and who has it. */
struct route_place {
    struct str name; /* owned; p NULL: it is free */
    uint32_t routes; /* of that name and number, in all snapshots that are left */
};

/* Dense numbers of route names, given on the first request: a name keeps its number over reloads,
 * and without a route as long as no other needs it. One an engine; any thread. */
struct route_names {
    pthread_mutex_t lock; /* taken on a route's first request and at its end, never for another */
    struct map numbers;   /* name -> number + 1 */
    uint32_t n;           /* that are given */
    struct route_place places[ROUTE_OTHER];
    /* Every number is given, and tags are those of all names that have one. */
    _Atomic bool full;
    _Atomic uint64_t tags[(UINT16_MAX + 1) / 64];
};

/* No name of that tag has a number: its figures are those of ROUTE_OTHER, and the route need not be
 * looked at. */
static inline bool route_names_none(const struct route_names *names, uint16_t tag)
{
    return atomic_load_explicit(&names->full, memory_order_acquire) &&
           !(atomic_load_explicit(&names->tags[tag / 64], memory_order_relaxed) >> tag % 64 & 1);
}

/* Empty, but for the fallback's "_none", which is 0 for ever. */
void route_names_init(struct route_names *names);
/* Frees; nobody asks any more. */
void route_names_fini(struct route_names *names);
/* r ends, and with it what its number is kept for. */
void route_names_leave(struct route_names *names, const struct route *r);

struct stats {
    struct route_names *names;                                      /* not owned */
    counter_t connections_open, connections_total;                  /* client side */
    counter_t handshakes_open, handshakes_full, handshakes_resumed; /* TLS with clients */
    counter_t early_requests; /* that came before their handshake was over */
    counter_t exchanges_open, exchanges_total;
    counter_t bytes_client_in, bytes_client_out, bytes_upstream_in, bytes_upstream_out;
    counter_t faults[FAULT_COUNT];
    counter_t retries_refused[RETRY_REFUSALS];
    counter_t h2_goaways; /* that endpoints sent */
    counter_t retries, tunnels_open, tunnels_total, spliced_bytes;
    counter_t memory_waits; /* times that a pump waited for the memory limit */
    counter_t log_dropped;  /* access log lines */
    struct route_stats *_Atomic routes[ROUTE_UNUSED + 1]; /* ROUTE_UNUSED: NULL */
};

/* Zeroed figures of one worker, on cache lines of their own. */
struct stats *stats_new(struct route_names *names);
/* Frees, the figures of routes too; nobody reads any more. */
void stats_free(struct stats *s);
/* When all numbers are given: frees those of names that neither a route nor s has any more, with
 * their figures in the n structs, for routes of s that have none. The thread that reads these. */
void stats_forget(struct route_names *names, struct stats *const *all, size_t n,
                  const struct snapshot *s);
/* Makes the figures of r on this worker, which had none, and numbers r when this is its first
 * request anywhere. The worker's thread only. */
struct route_stats *stats_route_first(struct stats *s, struct route *r);
/* The figures of a number on this worker, made now when there are none. Its thread only. */
struct route_stats *stats_route_new(struct stats *s, uint32_t index, struct str name);

/* How a pair is kept: never 0. */
static inline uint32_t route_count_key(uint8_t method_id, uint16_t status)
{
    return (((uint32_t) method_id << 16) | status) + 1;
}
/* Adds one request of that method (enum method) and status (0: none was sent). */
void route_count_add(struct route_stats *r, uint8_t method_id, uint16_t status);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* run: what an upstream's name keeps over reloads: its number, figures by worker, and the upstreams
 * of that name that are alive. Owned by the registry, under its lock but for the figures; freed
 * when no upstream and no endpoint names it any more. */
#ifndef WEIR_UPSTREAM_RUN_H
#define WEIR_UPSTREAM_RUN_H

#include "base/counter.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"
#include "upstream/breaker.h"

/* Written by one worker. */
struct run_worker {
    _Alignas(
        64) counter_t active; /* attempts in progress, those that wait for their turn included */
    counter_t waits, refused; /* at max_active: those that waited, and for whom there was no room */
};

struct upstream_registry;

struct upstream_run {
    struct run_worker *workers;
    uint32_t n_workers;
    _Atomic uint32_t
        most_in_row;           /* failures that eject an endpoint, as configured last; 0: never */
    _Atomic uint32_t retrying; /* attempts in progress that are not the first of their exchange */
    _Atomic bool panic;        /* requests go to all endpoints, as logged last */
    _Atomic uint32_t panics;   /* times that this began */
    struct breaker breaker;    /* of the upstream as a whole */
    _Atomic uint32_t max_active, max_pending; /* as configured last; max_active 0: no limit */
    _Alignas(64) _Atomic uint32_t turns;      /* requests in progress where max_active is set */
    _Atomic uint32_t pending;                 /* requests that wait for their turn: turn.c */
    _Atomic uint32_t pending_any;             /* those of them for whom any endpoint will do */
    pthread_mutex_t queue_lock;
    struct list queue; /* of struct turn_ticket: one FIFO over all workers */
    /* Under the registry's lock. */
    struct map route_breakers; /* route name -> struct breaker */
    uint32_t index;            /* lowest that no other name has while an upstream is alive */
    uint32_t holders;          /* upstreams alive, and endpoints */
    usec_t swept;              /* when eject.c looked at all endpoints */
    struct list upstreams;     /* alive, oldest first */
};

/* Calls fn for each breaker that is in use, with its name ("upstream shop"), under the registry's
 * lock: fn calls nothing of this floor but functions of breaker.h. Any thread. */
void upstream_breakers_each(struct upstream_registry *r,
                            void (*fn)(void *arg, struct breaker *b, const struct breaker_conf *c),
                            void *arg);
/* The same for the run of each upstream that is configured; fn reads its figures. */
void upstream_runs_each(struct upstream_registry *r,
                        void (*fn)(void *arg, struct str name, const struct upstream_run *run),
                        void *arg);
/* Attempts in progress over all workers. */
static inline uint64_t run_active(const struct upstream_run *run)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < run->n_workers; i++)
        n += counter_get(&run->workers[i].active);
    return n;
}

#endif

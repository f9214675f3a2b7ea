/* SPDX-License-Identifier: Apache-2.0 */
/* registry: the inside of struct upstream_registry, for the files of this floor only. One a
 * process; any thread, by the lock; the lock is never taken by a request (but by one that
 * ejects an endpoint). Where both locks are
 * needed, the registry's is taken before an endpoint's. */
#ifndef WEIR_UPSTREAM_REGISTRY_H
#define WEIR_UPSTREAM_REGISTRY_H

#include "base/map.h"
#include "upstream/moved.h"
#include "upstream/pool.h"
#include "upstream/upstream.h"

/* A message to a worker; owned by the sender until run() is called on the worker's thread. */
struct note {
    struct note *next;
    void (*run)(struct pool_worker *w, struct note *n);
};

/* What wakes the requests of a worker that wait for their turn; a cache line of its own. */
struct turn_bell {
    _Alignas(64) struct note note;
    _Atomic bool rung; /* note is in the worker's inbox */
    _Atomic uint32_t waiting;
};

struct upstream_registry {
    pthread_mutex_t lock;         /* of endpoints, names, taken */
    struct map endpoints;         /* "upstream\naddress" -> struct endpoint, no reference */
    struct map names;             /* upstream name -> struct upstream_run */
    bool *taken;                  /* numbers that names have */
    uint32_t n_taken;             /* room in taken */
    usec_t feedback_last;         /* when feedback was taken last */
    struct moved_hearer hearer;   /* the main thread's */
    pthread_mutex_t joining;      /* of workers; nothing else is locked while it is held */
    struct pool_worker **workers; /* n_workers, NULL while not running */
    struct turn_bell *bells;      /* n_workers */
    uint32_t n_workers;
    /* Grows by two when anything changed that a pick depends on (weight, state, addresses); odd
     * while that is being written. Read at each pick, so alone on its cache line. */
    _Alignas(64) _Atomic uint32_t number;
};

/* What one worker shows to the others of its pool of one endpoint; a cache line of its own. */
struct endpoint_share {
    _Alignas(64) struct note note; /* "look at your pool of this endpoint" */
    struct endpoint *endpoint;
    _Atomic bool told;     /* note is in the worker's inbox, with a reference */
    _Atomic uint32_t idle; /* idle links, kept where max_connections is set */
};

/* The upstream of that name that was made last; NULL: none is alive. r is locked. */
static inline struct upstream *run_newest(const struct upstream_run *run)
{
    struct list_node *last = list_empty(&run->upstreams) ? NULL : run->upstreams.root.prev;
    return last ? list_entry(last, struct upstream, node) : NULL;
}
/* The number of the state that picks depend on; odd: try again later. */
static inline uint32_t registry_number(const struct upstream_registry *r)
{
    return atomic_load_explicit(&r->number, memory_order_acquire);
}
/* Takes the lock and makes the number odd: what picks depend on may be written now. */
void registry_change_begin(struct upstream_registry *r);
/* Makes the number even, drops the lock and has those look around who wait for their turn. */
void registry_change_end(struct upstream_registry *r);

/* Hands n to a worker; false when that worker does not run (n stays the caller's). */
bool registry_note(struct upstream_registry *r, uint32_t worker, struct note *n)
    __attribute__((warn_unused_result));
/* Lets a worker send and receive notes, or (w NULL) ends that. */
void registry_join(struct upstream_registry *r, uint32_t index, struct pool_worker *w);

/* An endpoint with one reference, in r->endpoints; r is locked. */
struct endpoint *endpoint_new(struct upstream_registry *r, struct str upstream, struct str address);
/* The key of r->endpoints; for mem_free. */
char *endpoint_key(struct str upstream, struct str address);
/* One holder less of the run of name; r is locked. */
void run_drop(struct upstream_registry *r, struct str name);
/* Who waits for a turn, on whatever worker, shall look around: something changed. Not under the
 * lock. */
void turn_ring(struct upstream_registry *r);
/* On the worker: looks at its pool of e again (settings, limit, addresses, retirement). */
void pool_look(struct pool_worker *w, struct endpoint *e);
/* Sets the pool settings when they differ (copied); true when they did. */
bool endpoint_set_pool(struct endpoint *e, const struct pool_conf *conf);
/* The same for how TLS is spoken (a reference is taken), NULL: not at all. */
void endpoint_set_tls(struct endpoint *e, struct tls_client *tls);
/* Address number at (modulo their count), returns how many there are; 0: none known. */
uint32_t endpoint_addr_at(struct endpoint *e, uint32_t at, struct addr *out);
/* Tells a worker to look at its pool of e. Not under a lock. */
void endpoint_tell(struct endpoint *e, uint32_t worker);
/* Tells all workers. */
void endpoint_tell_all(struct endpoint *e);

#endif

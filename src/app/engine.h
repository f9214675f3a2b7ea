/* SPDX-License-Identifier: Apache-2.0 */
/* engine: worker threads, the main loop with its own worker (admin page, probes, fetches),
 * resolver, endpoints, features: all of Weir that is not one process's business. The server and
 * the library each run one, the library several in one process. Owned and called by the thread
 * that made it (the main thread), but engine_listen and engine_use are messages to the workers.
 * No signals, no exit. */
#ifndef WEIR_APP_ENGINE_H
#define WEIR_APP_ENGINE_H

#include <pthread.h>

#include "control/change.h"
#include "control/events.h"
#include "control/snapshot.h"
#include "features/registry.h"
#include "net/resolve.h"
#include "proxy/listener.h"
#include "proxy/worker.h"

struct engine_plan {
    unsigned n_workers;    /* at least 1 */
    bool foreign;          /* n_workers is 1 and shares the main loop, which the caller turns */
    bool pin;              /* bind worker i to the i-th CPU that the process may use */
    uint64_t memory_limit; /* 0: mem_default_limit() */
    const struct feature_set *features;
    const void *const *feature_conf; /* top-level settings by feature, see features_start */
};

enum engine_state { ENGINE_STARTING, ENGINE_RUNNING, ENGINE_FAILED };

struct engine_worker {
    struct engine *engine;
    uint32_t index;
    struct loop *loop;
    struct worker *worker;
    struct stats *stats;
    pthread_t thread;
    bool threaded; /* thread is running or waits to be joined */
    bool drained;
    enum engine_state state; /* under engine->lock */
};

struct engine {
    struct loop *loop; /* the main thread's */
    uint32_t n_workers;
    struct engine_worker *workers; /* n_workers, and the main one behind them */
    struct engine_worker *main;    /* workers[n_workers] */
    struct mem_limit limit;
    struct upstream_registry *registry; /* sized n_workers + 1 */
    struct listener_gauges *gauges;
    struct source_limit *handshakes;
    struct tls_store *tls;
    struct timer tls_timer; /* looks at the files of tls */
    struct health_checks *checks;
    bool trim;                 /* much was freed, by a load: see every_second */
    struct timer second;       /* shares of weight, panic: see upstream_registry_tick */
    struct resolver *resolver; /* NULL: names stay unresolved (said in the log) */
    struct features_running features;
    struct events *events;          /* of configuration and endpoints; features hear of each */
    struct event_subscriber teller; /* which tells them */
    struct route_names names;
    const struct snapshot *used; /* the workers' last; not a holder; NULL: none, or it is gone */
    struct worker_shared shared;
    bool pin, foreign;
    bool succeeded; /* see worker->succeeded: set before engine_drain */
    bool orphaned;  /* likewise: nobody asks the admin page any more, its address is let go first */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t n_draining, n_listening;
    _Atomic usec_t drain_limit;
    void (*on_let_go)(void *arg); /* set before engine_drain, or NULL: no worker accepts any more */
    void (*on_drained)(void *arg);
    void *drained_arg;
};

/* Workers that a configuration asks for: 0 is one for each CPU that may be used. */
unsigned engine_workers(int64_t configured);
/* Makes the loops and starts the workers; the main loop is the calling thread's to run. NULL: *why
 * (mem_free). */
struct engine *engine_new(const struct engine_plan *plan, char **why);
/* What a snapshot for the workers is built from; previous: what it may share with, or NULL. Given
 * back, it is freed on the main loop. */
struct snapshot_inputs engine_inputs(struct engine *e, const struct snapshot *previous);
/* Workers 0 .. n_workers-1 use s from their next turn on; s->holders counts n_workers for it.
 * Afterwards names in it are resolved. */
void engine_use(struct engine *e, struct snapshot *s);
/* The same where s has the very upstreams of the one before it. */
void engine_use_derived(struct engine *e, struct snapshot *s);
/* For engine_new and engine_free: from now on there are events; there are none any more. */
void engine_begin_events(struct engine *e);
/* See engine_begin_events. */
void engine_end_events(struct engine *e);
/* One event for each change in l, which are in use. */
void engine_tell_changes(struct engine *e, const struct change_list *l);
/* One event of a field of an endpoint that is another than before, of what no configuration says:
 * weights that were updated, addresses of a name. */
void engine_tell_endpoint(struct engine *e, const struct endpoint *endpoint, struct change_field f);
/* Adds an event for each endpoint whose state is another than at the look before, and for what it
 * was in between. The engine does it each second; who puts endpoints to use does it once more, so
 * that no change is missed. */
void engine_look_at_states(struct engine *e);
/* The main worker alone uses s (the admin page), built from engine_inputs too: the holds of the
 * other workers and of the caller are let go. */
void engine_use_main(struct engine *e, struct snapshot *s);
/* That worker (n_workers: the main one) accepts on fd (owned), under a listener of that address in
 * the snapshot it was given before. */
void engine_listen(struct engine *e, uint32_t worker, int fd, struct str address);
/* An engine that drains does not wait for idle sessions any more, and for others no longer than
 * limit_us from now. */
void engine_drain_sooner(struct engine *e, usec_t limit_us);
/* Graceful stop of all workers within limit_us each, the main one last; then on_drained on the main
 * loop. Once. With e->succeeded the main worker has let go of its listeners when this returns, and
 * the others keep idle sessions for their next request. */
void engine_drain(struct engine *e, usec_t limit_us, void (*on_drained)(void *arg), void *arg);
/* After on_drained: ends the threads and frees everything; snapshots that are still being given
 * back are released. */
void engine_free(struct engine *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* phase: what a feature is: one const descriptor with hooks. features/registry.c orders them,
 * app/ hands the array down. Hooks run on the exchange's worker, must not block, see no fd and
 * not each other; request hooks run in registry order, response hooks in reverse. WAIT
 * suspends: the feature keeps the exchange and calls exchange_wake(x) (its thread) or
 * exchange_resume (any thread). */
#ifndef WEIR_PROXY_PHASE_H
#define WEIR_PROXY_PHASE_H

#include "base/buf.h"
#include "base/fault.h"
#include "base/schema.h"
#include "http/head.h"

struct event;
struct exchange;
struct attempt;
struct route;
struct worker;

/* What a hook answers. */
enum hook {
    HOOK_PASS,  /* go on with the next */
    HOOK_WAIT,  /* call me again after a wake */
    HOOK_REPLY, /* x->reply is filled: answer with it */
    HOOK_FAIL,  /* x->fault says why (on_pick: choose another endpoint) */
};

/* Which direction body bytes flow. */
enum direction { DIR_REQUEST, DIR_RESPONSE };

/* The hooks, as indexes of per-route lists of active features. */
enum hook_kind {
    ON_ACCESS,
    ON_LOOKUP,
    ON_PICK,
    ON_SEND,
    ON_REQUEST_DATA,
    ON_ATTEMPT_END,
    ON_RESPONSE_HEAD,
    ON_RESPONSE_DATA,
    ON_TRAILERS,
    ON_FAULT,
    ON_FINISH,
    HOOK_KINDS
};

struct feature {
    const char *name;    /* also its configuration key */
    const char *purpose; /* one line */
    const struct schema_table
        *conf; /* per route (inherited) when route_scope, else top level; or NULL */
    bool route_scope;
    /* on_access, on_send, on_fault and on_response_head (of Weir's own answers) look at values of
     * the exchange only: weir explain and the tests of a configuration run them on an exchange that
     * has no connection, loop or attempt. */
    bool offline;
    bool connections; /* works on passthrough routes, where nothing of HTTP is seen */
    size_t slot;      /* bytes of per-exchange state, zeroed */

    /* Once per process (or library instance), main thread: starts what the feature needs to run on
     * all workers (the log's writer thread). conf: its top-level config, or NULL for the defaults.
     * *state (may stay NULL) is for stop and worker_state. False: *why (mem_free). */
    bool (*start)(const void *conf, unsigned n_workers, void **state, char **why);
    void (*stop)(void *state);
    /* What hooks on that worker find in worker->feature_state; asked before its loop runs. */
    void *(*worker_state)(void *state, uint32_t worker);
    /* The configuration or an endpoint is another from now on: see event.h. Main thread, one after
     * the other; state as start made it. It must not change either. */
    void (*on_event)(void *state, const struct event *e);
    /* Called per route at snapshot build, after inheritance and before active: compiles what hooks
     * read (templates) into a, which lives as long as the route. The text passed check. */
    void (*prepare)(void *route_conf, struct arena *a);
    /* Called per route at snapshot build: false = not active there, hooks are skipped. NULL:
     * active. */
    bool (*active)(const void *route_conf);
    /* The same for each single hook of an active feature: false = it would do nothing there. NULL:
     * all of them are wanted. */
    bool (*wants)(const void *route_conf, enum hook_kind kind);

    enum hook (*on_access)(struct exchange *x, void *slot);
    enum hook (*on_lookup)(struct exchange *x, void *slot);
    enum hook (*on_pick)(struct exchange *x, void *slot, struct attempt *a);
    enum hook (*on_send)(struct exchange *x, void *slot,
                         struct attempt *a); /* x->in const, x->out mutable */
    enum hook (*on_request_data)(struct exchange *x, void *slot, struct chain *in,
                                 struct chain *out);
    void (*on_attempt_end)(struct exchange *x, void *slot, struct attempt *a, enum fault fault);
    enum hook (*on_response_head)(struct exchange *x, void *slot); /* x->response mutable */
    enum hook (*on_response_data)(struct exchange *x, void *slot, struct chain *in,
                                  struct chain *out);
    /* May put bytes behind a response's body: into x->response_pump.held. */
    enum hook (*on_trailers)(struct exchange *x, void *slot, enum direction dir,
                             struct fields *trailers);
    enum hook (*on_fault)(struct exchange *x, void *slot, enum fault fault);
    void (*on_finish)(struct exchange *x, void *slot);
};

#define FEATURE_MAX 24

/* The registry: ordered, constant for the process. */
struct feature_set {
    const struct feature *const *v;
    uint32_t n; /* at most FEATURE_MAX */
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* admin: what the admin address answers: /metrics, /healthz, /status and the API (/v1, see api.h),
 * as route handlers on the main thread's worker, and the small snapshot that holds their routes.
 * Owned by app/, main thread only. It shows no request's content. */
#ifndef WEIR_CONTROL_ADMIN_H
#define WEIR_CONTROL_ADMIN_H

#include "control/live.h"
#include "control/metrics.h"
#include "control/snapshot.h"

struct events;
struct worker;

/* What the API asks of the owner of the configuration. */
struct admin_ops {
    /* Reads the file again, while live is not busy; what came of it, with w's json or why, or
     * LIVE_WAITS: w is woken then. */
    enum live_result (*reload)(void *arg, enum live_mode mode, struct live_waiter *w);
    /* Goes back to the configuration of `back` changes ago, in the same way. */
    enum live_result (*rollback)(void *arg, uint32_t back, struct live_waiter *w);
    /* The configurations that are kept, as a JSON array. */
    void (*history)(void *arg, struct text *json);
    /* The text of the file in use, borrowed. */
    struct str (*text)(void *arg);
};

struct admin {
    const struct admin_ops *ops; /* NULL: there is nobody to ask */
    void *ops_arg;
    struct figures figures;          /* kept up to date by app/ */
    const struct snapshot *snapshot; /* configuration in use, borrowed: for its route names */
    struct live *live;               /* what the API reads and changes; NULL: there is no API */
    struct events *events;           /* for /v1/events; NULL: there are none */
    bool frozen;                     /* another process is about to follow: nothing may change */
    long supervisor;                 /* its process id; 0: there is none */
    struct worker **workers;         /* that serve; they are asked by message */
    uint32_t n_workers;
    struct str token;    /* for TCP; owned; empty: none is good */
    bool token_wanted;   /* the configuration has a token_file */
    unsigned open_pages; /* need no token: bits of enum admin_page */
};

/* A snapshot with one listener on address whose routes are the pages; in says by whom it is used
 * (its features and previous are not looked at). a must outlive it. It writes no log and
 * counts no request. NULL: *errors (mem_free). */
struct snapshot *admin_snapshot(struct admin *a, struct str address,
                                const struct snapshot_inputs *in, char **errors);
/* Frees the token, after the last admin snapshot is gone. */
void admin_fini(struct admin *a);

/* The pages; arg is the struct admin. */
enum hook admin_metrics(struct exchange *x, void *arg);
/* 200 "ok", or 503 "draining" while Weir stops: for load balancers. */
enum hook admin_healthz(struct exchange *x, void *arg);
/* JSON: version, configuration, workers, upstreams and endpoints. */
enum hook admin_status(struct exchange *x, void *arg);
/* The page's text, for admin_status and tests. */
void admin_status_write(const struct admin *a, struct text *out);
/* Appends an endpoint as it is, as a JSON object without its closing brace. */
void admin_endpoint_write(const struct admin *a, struct endpoint *e, struct text *out);
/* Appends ,"breaker":{...} if the upstream has one as a whole. */
void admin_breaker_write(const struct upstream *u, struct text *out);
/* Its state: up, down, ejected, unresolved, resolving, drained. */
const char *admin_endpoint_state(struct endpoint *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* retire: what becomes of exchanges and connections whose route or listener a new snapshot no
 * longer has: they go on until `drain` is over, then end visibly. The names are shared by the
 * workers and counted; the rest is the worker's, its thread only. It never touches what stays. */
#ifndef WEIR_PROXY_RETIRE_H
#define WEIR_PROXY_RETIRE_H

#include "base/map.h"
#include "proxy/worker.h"

/* Names of routes that the predecessor of a snapshot had and it has not. */
struct gone_routes {
    _Atomic uint32_t refs;
    struct map names; /* values mean nothing */
};

/* One that owns names, with one reference. */
struct gone_routes *gone_routes_new(struct map names);
/* One less; the last frees. NULL is allowed; any thread. */
void gone_routes_unref(struct gone_routes *g);

/* The worker's new snapshot is in use; listeners: some were closed for it. */
void retire_begin(struct worker *w, bool listeners);
/* Forgets all that is due: the worker ends. */
void retire_stop(struct worker *w);
/* Of worker->retire_timer. */
void retire_due(struct timer *t);

#endif

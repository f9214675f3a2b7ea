/* SPDX-License-Identifier: Apache-2.0 */
/* fetch: a request that Weir itself makes, through the same exchange, pool and legs as any
 * other: an exchange without a client. For probes over HTTP, key sets, exporters, and the
 * library's weir_fetch. Worker thread of the given worker. */
#ifndef WEIR_PROXY_FETCH_H
#define WEIR_PROXY_FETCH_H

#include "proxy/worker.h"

struct fetch;

/* What a fetch tells its owner; all on the worker's thread. */
struct fetch_events {
    /* The response head came; views are valid during the call. */
    void (*on_head)(void *arg, const struct head *h);
    /* Body bytes; takes what it wants off in. What is left counts against the buffer mark, and is
     * offered again after fetch_continue. */
    void (*on_body)(void *arg, struct chain *in);
    /* The trailers came, if there are any; behind the last body bytes. */
    void (*on_trailers)(void *arg, const struct fields *t);
    /* The end, exactly once: FAULT_OK or why not. The fetch is gone after the call. */
    void (*on_end)(void *arg, enum fault f);
};

struct fetch_request {
    struct str method, path, query, authority;
    const struct field *fields;
    size_t n_fields;
    struct str body; /* copied */
    /* A body of unknown length in its place: appends to out. IO_OK: call again as it is taken,
     * IO_AGAIN: after fetch_continue, IO_EOF: the end, IO_ERR: give up. arg is the events' one. */
    enum io (*produce)(void *arg, struct chain *out);
    struct route *route;       /* where to: a ROUTE_UPSTREAM route; one reference is taken */
    struct endpoint *endpoint; /* of the route's upstream: ask this one, usable or not; NULL: any */
    bool unannounced;          /* no PROXY header, whatever the upstream says */
    usec_t timeout;            /* whole; 0: the route's */
};

/* Starts; NULL: memory limit. */
struct fetch *fetch_start(struct worker *w, const struct fetch_request *r,
                          const struct fetch_events *events, void *arg);
/* Ends it now; on_end is not called. */
void fetch_cancel(struct fetch *f);
/* The owner took body bytes, or has more to send: go on. */
void fetch_continue(struct fetch *f);

#endif

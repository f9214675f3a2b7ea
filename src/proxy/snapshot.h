/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot: one immutable configuration as the engine sees it. Built by control/ (or the library)
 * on the main thread; handed to each worker as a message; exchanges are counted within their
 * worker; the last worker to let go gives it back to the main thread, which frees it. */
#ifndef WEIR_PROXY_SNAPSHOT_H
#define WEIR_PROXY_SNAPSHOT_H

#include "net/addr.h"
#include "proxy/route.h"

struct gone_routes;
struct snapshot_base;

struct listener_spec {
    struct listener_conf conf;
    struct addr addr;
    struct cidr *proxies; /* of whom a PROXY header is required; none: of all */
    uint32_t n_proxies;
    bool proxies_unix;      /* peers on unix sockets are among them */
    struct tls_server *tls; /* one reference; NULL: clients speak plain HTTP */
    struct str hsts;        /* Strict-Transport-Security; empty: none */
};

struct snapshot {
    uint64_t generation; /* 1, 2, ... */
    struct listener_spec *listeners;
    uint32_t n_listeners;
    struct router *router; /* of requests */
    bool asks_sni;         /* a rule of router has match.sni */
    struct router *passes; /* of connections, whose host is the name asked for; NULL: none */
    uint32_t n_routes;     /* of both, which hold them */
    struct upstream **upstreams;
    uint32_t n_upstreams;
    const struct feature_set *features;
    struct gone_routes *gone; /* routes of the predecessor that this one has not; NULL: none */
    struct route *fallback;   /* settings and feature config for requests that match no route */
    struct cidr *trusted;     /* proxies whose forwarding fields are believed */
    uint32_t n_trusted;
    bool trust_unix; /* peers on unix sockets are trusted proxies */
    struct h1_limits request_limits;
    struct settings_conf settings; /* top level: before a route is known */
    usec_t drain;
    uint64_t memory_limit;
    struct snapshot_base *base; /* holds all of the above but router and gone; one reference */

    /* letting go */
    _Atomic uint32_t holders; /* workers (and the main thread) that still use it */
    void (*release)(
        struct snapshot *s); /* called by the last holder, on its thread: posts to main */
    void *release_arg;
    uint32_t *in_use; /* one a worker (16 apart): exchanges that use it; the worker's thread only */
};

/* One user on that worker more: an exchange, or the worker itself while s is its current one.
 * holders starts at the number of workers that will be given s. Worker thread. */
void snapshot_use(struct snapshot *s, uint32_t worker);
/* One user less; a worker whose count falls to 0 lets go. Worker thread. */
void snapshot_unuse(struct snapshot *s, uint32_t worker);
/* One holder less that is no worker's count: the main thread's own, or that of a worker that ended
 * before it was given s. Any thread. */
void snapshot_drop(struct snapshot *s);

/* The route of that name, or NULL. Any thread. */
struct route *snapshot_named(const struct snapshot *s, struct str name);
/* Calls fn for each route, in no order. */
void snapshot_each(const struct snapshot *s, void (*fn)(void *arg, struct route *route), void *arg);
/* The route of h as router_match finds it. Where its settings (without a match: the top level's)
 * say slashes: merge and that changes h->path, the merged path is routed anew: the path that is
 * forwarded is always the one that was matched. Any thread. */
struct routed snapshot_route(const struct snapshot *s, struct head *h, struct arena *a,
                             enum fault *fault, struct str *allow);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* resolve: host names to addresses through c-ares on one loop (the main thread's): A and
 * AAAA with TTL, /etc/hosts and resolv.conf honoured, re-resolution at TTL (1 s..5 min),
 * keep-last-good, backoff on failure. Loop thread only; results are delivered by callback. */
#ifndef WEIR_NET_RESOLVE_H
#define WEIR_NET_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/fault.h"
#include "base/str.h"
#include "net/addr.h"
#include "net/loop.h"

struct resolver;
struct resolve_watch;

/* Called on the loop after each change or first result. fault: FAULT_OK, or FAULT_RESOLVE with
 * *why (then ips are the last good ones, possibly none). */
typedef void (*resolve_fn)(void *arg, const struct ip *ips, size_t n, enum fault fault,
                           const char *why);

/* A resolver on loop. server: "ip:port" for tests, or NULL for the system's. NULL: *why. */
struct resolver *resolver_new(struct loop *loop, const char *server, const char **why);
/* Stops all watches. */
void resolver_free(struct resolver *r);
/* Watches name from now on; fn is called at least once. NULL when name is not a host name. */
struct resolve_watch *resolve_watch(struct resolver *r, struct str name, resolve_fn fn, void *arg);
/* Ends a watch; no call after this. */
void resolve_unwatch(struct resolve_watch *w);

#endif

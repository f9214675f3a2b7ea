/* SPDX-License-Identifier: Apache-2.0 */
/* Joins endpoints that have a name to the resolver. Runs on the resolver's loop only.
 * Invariant: endpoint.resolve is non-NULL exactly while a watch is alive, and the watch holds one
 * reference: a result never meets a freed endpoint. */
#include "base/log.h"
#include "net/resolve.h"
#include "upstream/upstream.h"

static void resolved(void *arg, const struct ip *ips, size_t n, enum fault fault, const char *why)
{
    struct endpoint *e = arg;
    if (fault != FAULT_OK)
        log_warn("endpoint.resolve", "upstream %.*s: endpoint %.*s: %s; %s",
                 STR_ARG(e->upstream_name), STR_ARG(e->address), why ? why : "no address",
                 n ? "the last good addresses stay in use" : "it is left out until it resolves");
    endpoint_set_ips(e, ips, n);
}

static void watch_one(void *arg, struct endpoint *e)
{
    struct resolver *resolver = arg;
    bool want = resolver && !atomic_load(&e->retired) && e->text.form == ADDR_NAME;
    if (e->resolve && !want) {
        resolve_unwatch(e->resolve);
        e->resolve = NULL;
        endpoint_unref(e);
    } else if (want && !e->resolve) {
        endpoint_ref(e);
        e->resolve = resolve_watch(resolver, e->text.host, resolved, e);
        if (e->resolve)
            return;
        log_warn("endpoint.resolve", "upstream %.*s: endpoint %.*s: not a host name",
                 STR_ARG(e->upstream_name), STR_ARG(e->address));
        endpoint_set_ips(e, NULL, 0);
        endpoint_unref(e);
    }
}

void upstream_registry_resolve(struct upstream_registry *r, struct resolver *resolver)
{
    upstream_registry_each(r, watch_one, resolver);
}

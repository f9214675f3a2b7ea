/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c: see metrics.h. Connections, faults and links are counted where they happen; here is
 * what only the end of an exchange knows. */
#include "features/metrics.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "features/registry.h"
#include "proxy/event.h"
#include "proxy/exchange.h"

static bool start(const void *conf, unsigned n_workers, void **state, char **why)
{
    (void) conf, (void) n_workers, (void) why;
    *state = mem_new(EVENT_KINDS * sizeof(counter_t));
    return true;
}

static void stop(void *state)
{
    mem_free(state);
}

static void *worker_state(void *state, uint32_t worker)
{
    (void) worker;
    return state;
}

static void on_event(void *state, const struct event *e)
{
    counter_t *events = state;
    counter_add(&events[e->kind], 1);
}

static void on_finish(struct exchange *x, void *slot)
{
    (void) slot;
    if (!x->session) /* what Weir asks for by itself is no request to a route */
        return;
    struct stats *stats = x->worker->stats;
    uint32_t index = ROUTE_OTHER;
    if (!route_names_none(stats->names, x->route_tag))
        index = atomic_load_explicit(&x->route->index, memory_order_relaxed);
    struct route_stats *r = atomic_load_explicit(&stats->routes[index], memory_order_relaxed);
    if (__builtin_expect(!r, 0))
        r = stats_route_first(stats, x->route);
    route_count_add(r, x->in ? x->in->method_id : METHOD_OTHER, exchange_status(x));
    histogram_add(&r->duration, loop_now(x->worker->loop) - x->started);
    if (x->client) {
        counter_add(&r->bytes_in, x->client->bytes_in);
        counter_add(&r->bytes_out, x->client->bytes_out);
    }
}

const struct feature feature_metrics = {
    .name = "metrics",
    .purpose = "Counts requests, times and bytes by route, and changes.",
    .connections = true,
    .start = start,
    .stop = stop,
    .worker_state = worker_state,
    .on_event = on_event,
    .on_finish = on_finish,
};

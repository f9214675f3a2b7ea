/* SPDX-License-Identifier: Apache-2.0 */
/* status.c: the /status page: what runs, in JSON, for people and scripts. Figures that grow belong
 * to /metrics; here is the state. */
#include <inttypes.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/admin.h"
#include "net/loop.h"

static void put_time(struct text *out, const char *key, int64_t wall_us)
{
    char text[32];
    clock_iso8601(wall_us, text);
    text_addf(out, ",\"%s\":\"%s\"", key, text);
}

/* ---- workers -------------------------------------------------------------------------------- */

static void put_workers(const struct figures *f, struct text *out)
{
    text_add(out, STR(",\"workers\":["));
    for (uint32_t i = 0; i + 1 < f->n_workers; i++) {
        const struct stats *s = f->workers[i].stats;
        text_addf(out,
                  "%s{\"index\":%" PRIu32 ",\"connections\":%" PRIu64 ",\"exchanges\":%" PRIu64
                  ",\"tunnels\":%" PRIu64,
                  i ? "," : "", i, counter_get(&s->connections_open),
                  counter_get(&s->exchanges_open), counter_get(&s->tunnels_open));
        if (f->workers[i].loop)
            text_addf(out, ",\"longest_turn_us\":%" PRIu64,
                      counter_get(&loop_stats(f->workers[i].loop)->longest_us));
        text_add(out, STR("}"));
    }
    text_add(out, STR("]"));
}

/* ---- upstreams ------------------------------------------------------------------------------ */

const char *admin_endpoint_state(struct endpoint *e)
{
    if (!atomic_load_explicit(&e->up, memory_order_relaxed))
        return "down";
    if (atomic_load_explicit(&e->ejected, memory_order_relaxed))
        return "ejected";
    if (atomic_load_explicit(&e->resolve_failed, memory_order_relaxed))
        return "unresolved";
    if (!atomic_load_explicit(&e->addrs, memory_order_relaxed))
        return "resolving";
    return atomic_load_explicit(&e->weight, memory_order_relaxed) &&
                   atomic_load_explicit(&e->share, memory_order_relaxed)
               ? "up"
               : "drained";
}

/* What checks found, with their evidence. */
static void put_health(const struct endpoint_checked *k, struct text *out)
{
    if (!k->by)
        return;
    text_addf(out,
              ",\"health\":{\"passed\":%" PRIu32 ",\"failed\":%" PRIu32 ",\"unmade\":%" PRIu32
              ",\"last_us\":%" PRIu32 ",\"against_in_row\":%" PRIu32 ",\"slow\":%s,\"flapping\":%s",
              atomic_load_explicit(&k->results[1], memory_order_relaxed),
              atomic_load_explicit(&k->results[0], memory_order_relaxed),
              atomic_load_explicit(&k->unmade, memory_order_relaxed),
              atomic_load_explicit(&k->last_us, memory_order_relaxed), k->row,
              k->warned[CHECK_SLOW] ? "true" : "false",
              k->warned[CHECK_FLAPPING] ? "true" : "false");
    if (k->evidence) {
        put_time(out, "at", k->at);
        text_add(out, STR(",\"evidence\":"));
        text_add_json(out, str_c(k->evidence));
    }
    if (k->output) {
        text_add(out, STR(",\"output\":"));
        text_add_json(out, str_c(k->output));
    }
    text_add(out, STR("}"));
}

void admin_endpoint_write(const struct admin *a, struct endpoint *e, struct text *out)
{
    const struct figures *f = &a->figures;
    uint64_t requests = 0, opens = 0, reused = 0, open_now = 0, idle_now = 0, waiting = 0;
    uint64_t shared_now = 0, loans_now = 0;
    for (unsigned i = 0; i < upstream_registry_workers(f->registry); i++) {
        const struct endpoint_stats *s = &e->stats[i];
        requests += counter_get(&s->requests);
        opens += counter_get(&s->opens);
        reused += counter_get(&s->reused);
        open_now += counter_get(&s->open_now);
        idle_now += counter_get(&s->idle_now);
        waiting += counter_get(&s->waiting_now);
        shared_now += counter_get(&s->shared_now);
        loans_now += counter_get(&s->loans_now);
    }
    text_add(out, STR("{\"address\":"));
    text_add_json(out, e->address);
    uint32_t weight = atomic_load_explicit(&e->weight, memory_order_relaxed);
    uint32_t share = atomic_load_explicit(&e->share, memory_order_relaxed);
    text_addf(out,
              ",\"state\":\"%s\",\"weight\":%" PRIu32 ".%03" PRIu32 ",\"share\":%" PRIu32
              ".%03" PRIu32 ",\"failures_in_row\":%" PRIu32,
              admin_endpoint_state(e), weight / 1000, weight % 1000, share / 1000, share % 1000,
              atomic_load_explicit(&e->passive.in_row, memory_order_relaxed));
    text_addf(out,
              ",\"requests\":%" PRIu64 ",\"connections\":{\"open\":%" PRIu64 ",\"idle\":%" PRIu64
              ",\"opened\":%" PRIu64 ",\"reused\":%" PRIu64 ",\"http2\":%" PRIu64
              "},\"streams\":%" PRIu64 ",\"waiting\":%" PRIu64,
              requests, open_now, idle_now, opens, reused, shared_now, loans_now, waiting);
    put_health(&e->checked, out);
}

/* Where the requests in progress are limited. */
static void put_queue(const struct upstream *u, struct text *out)
{
    uint64_t all = run_active(u->run), pending = atomic_load(&u->run->pending);
    if (u->limited)
        text_addf(out, ",\"active\":%" PRIu64 ",\"pending\":%" PRIu64,
                  all > pending ? all - pending : 0, pending);
}

/* That of the upstream as a whole; those of endpoints and routes are in the metrics. */
void admin_breaker_write(const struct upstream *u, struct text *out)
{
    const struct breaker *b = &u->run->breaker;
    if (!u->breaker.enabled || u->breaker.scope != BREAKER_UPSTREAM)
        return;
    struct breaker_counts n = breaker_sum(b, &u->breaker, clock_now());
    text_addf(out,
              ",\"breaker\":{\"state\":\"%s\",\"calls\":%" PRIu64 ",\"failed\":%" PRIu64
              ",\"slow\":%" PRIu64 ",\"timeouts\":%" PRIu64 ",\"errors\":%" PRIu64 "}",
              breaker_state_name(b), n.calls, n.failed, n.slow, n.timeouts, n.errors);
}

static void put_upstreams(const struct admin *a, struct text *out)
{
    text_add(out, STR(",\"upstreams\":["));
    for (uint32_t i = 0; a->snapshot && i < a->snapshot->n_upstreams; i++) {
        const struct upstream *u = a->snapshot->upstreams[i];
        text_add(out, i ? STR(",{\"name\":") : STR("{\"name\":"));
        text_add_json(out, u->name);
        text_addf(out, ",\"balance\":\"%s\",\"all_used\":%s", u->balance->name,
                  atomic_load(&u->run->panic) ? "true" : "false");
        put_queue(u, out);
        admin_breaker_write(u, out);
        text_add(out, STR(",\"endpoints\":["));
        for (uint32_t e = 0; e < u->n_endpoints; e++) {
            if (e)
                text_add(out, STR(","));
            admin_endpoint_write(a, u->endpoints[e], out);
            text_add(out, STR("}"));
        }
        text_add(out, STR("]}"));
    }
    text_add(out, STR("]"));
}

static void put_listeners(const struct admin *a, struct text *out)
{
    text_add(out, STR(",\"listeners\":["));
    for (uint32_t i = 0; a->snapshot && i < a->snapshot->n_listeners; i++) {
        if (i)
            text_add(out, STR(","));
        text_add_json(out, a->snapshot->listeners[i].conf.address);
    }
    text_add(out, STR("]"));
}

void admin_status_write(const struct admin *a, struct text *out)
{
    const struct figures *f = &a->figures;
    text_addf(out, "{\"version\":\"%s\",\"state\":\"%s\"", WEIR_VERSION,
              f->draining ? "draining" : "serving");
    if (a->supervisor)
        text_addf(out, ",\"supervisor\":%ld,\"pid\":%ld", a->supervisor, (long) getpid());
    put_time(out, "started", f->started_wall);
    text_addf(out, ",\"configuration\":{\"generation\":%" PRIu64 ",\"routes\":%" PRIu32,
              f->generation, a->snapshot ? a->snapshot->n_routes : 0);
    put_time(out, "loaded", f->loaded_wall);
    text_addf(out, ",\"reloads\":%" PRIu64 ",\"refused\":%" PRIu64 "}", f->reloads, f->refused);
    put_listeners(a, out);
    put_workers(f, out);
    put_upstreams(a, out);
    text_add(out, STR("}\n"));
}

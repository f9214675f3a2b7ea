/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_series.c: the figures by route and by upstream, see metrics.h.
 * Invariants:
 * 1. A route has series from its first request on any worker; beyond ROUTE_OTHER names they share
 *    "_other".
 * 2. Samples of one family stand together, as the format asks. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "control/metrics.h"

/* ---- by route ------------------------------------------------------------------------------- */

#define MERGED_MAX (4 * ROUTE_COUNTS)

/* One route's figures, summed over workers. */
struct route_sum {
    struct str name;
    uint32_t n;
    struct {
        uint32_t key;
        uint64_t count;
    } counts[MERGED_MAX];
    uint64_t other, bytes_in, bytes_out;
    struct histogram_sum duration;
};

static void count_add(struct route_sum *sum, uint32_t key, uint64_t n)
{
    uint32_t i = 0;
    while (i < sum->n && sum->counts[i].key != key)
        i++;
    if (i == MERGED_MAX) {
        sum->other += n;
        return;
    }
    if (i == sum->n) {
        sum->n++;
        sum->counts[i].key = key;
        sum->counts[i].count = 0;
    }
    sum->counts[i].count += n;
}

/* Sums route number index. False: no request came for it. */
static bool route_sum(const struct figures *f, uint32_t index, struct route_sum *sum)
{
    bool any = false;
    for (uint32_t i = 0; i < f->n_workers; i++) {
        struct route_stats *r = atomic_load_explicit(
            &((struct stats *) f->workers[i].stats)->routes[index], memory_order_acquire);
        if (!r)
            continue;
        if (!any)
            *sum = (struct route_sum){.name = r->name};
        any = true;
        for (uint32_t c = 0; c < ROUTE_COUNTS; c++) {
            uint32_t key = atomic_load_explicit(&r->counts[c].key, memory_order_acquire);
            if (key)
                count_add(sum, key, counter_get(&r->counts[c].n));
        }
        sum->other += counter_get(&r->count_other);
        sum->bytes_in += counter_get(&r->bytes_in);
        sum->bytes_out += counter_get(&r->bytes_out);
        histogram_sum_add(&sum->duration, &r->duration);
    }
    return any;
}

static void requests_sample(struct text *out, const struct route_sum *sum, uint32_t i)
{
    static const char *const methods[METHOD_COUNT] = {
        "other", "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"};
    uint32_t pair = sum->counts[i].key - 1;
    uint32_t status = pair & 0xffff;
    text_add(out, STR("weir_requests_total{"));
    metrics_label(out, "route", sum->name, true);
    text_addf(out, ",method=\"%s\"", methods[(pair >> 16) % METHOD_COUNT]);
    if (status)
        text_addf(out, ",status=\"%" PRIu32 "\"} ", status);
    else
        text_add(out, STR(",status=\"none\"} "));
    text_addf(out, "%" PRIu64 "\n", sum->counts[i].count);
}

static void write_requests(struct text *out, const struct route_sum *sum)
{
    for (uint32_t i = 0; i < sum->n; i++)
        requests_sample(out, sum, i);
    if (sum->other) {
        text_add(out, STR("weir_requests_total{"));
        metrics_label(out, "route", sum->name, true);
        text_addf(out, ",method=\"other\",status=\"other\"} %" PRIu64 "\n", sum->other);
    }
}

static void write_route_bytes(struct text *out, const struct route_sum *sum)
{
    text_add(out, STR("weir_route_bytes_total{"));
    metrics_label(out, "route", sum->name, true);
    text_addf(out, ",direction=\"in\"} %" PRIu64 "\nweir_route_bytes_total{", sum->bytes_in);
    metrics_label(out, "route", sum->name, true);
    text_addf(out, ",direction=\"out\"} %" PRIu64 "\n", sum->bytes_out);
}

static void write_duration(struct text *out, const struct route_sum *sum)
{
    metrics_histogram(out, "weir_request_duration_seconds", "route", sum->name, &sum->duration);
}

void metrics_write_routes(const struct figures *f, struct text *out)
{
    static const struct {
        const char *name, *type, *help;
        void (*write)(struct text *out, const struct route_sum *sum);
    } families[] = {
        {"weir_requests_total", "counter", "Requests by route, method and status.", write_requests},
        {"weir_route_bytes_total", "counter", "Bytes on the client's side, by route.",
         write_route_bytes},
        {"weir_request_duration_seconds", "histogram",
         "Time from a request's first byte to the end of its exchange, by route.", write_duration},
    };
    struct route_sum *sum = mem_new(sizeof(*sum));
    for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
        metrics_family(out, families[i].name, families[i].type, families[i].help);
        for (uint32_t index = 0; index <= ROUTE_OTHER; index++) {
            if (route_sum(f, index, sum))
                families[i].write(out, sum);
        }
    }
    mem_free(sum);
}

/* ---- by upstream and endpoint --------------------------------------------------------------- */

/* One endpoint's figures, summed over workers. */
struct endpoint_sum {
    char *upstream, *address; /* copies */
    bool up, ejected, retired, all_used;
    uint32_t panics;
    uint32_t share;
    uint64_t failures[BLAMES];
    uint64_t ejections[EJECT_REASONS];
    uint64_t changes[ENDPOINT_CHANGES];
    uint64_t checks[2], warnings[CHECK_WARNINGS];
    uint64_t check_us, check_lag_us, check_all_us, check_cpu_us, unmade;
    uint32_t weight;
    uint64_t requests, opens, open_failures, reused, waits, evictions[EVICT_REASONS];
    uint64_t open_now, idle_now, waiting_now, shared_now, loans_now;
    struct histogram_sum latency;
};

struct endpoint_sums {
    const struct figures *f;
    struct endpoint_sum *v;
    size_t n, cap;
};

static void stats_sum(struct endpoint_sum *sum, const struct endpoint_stats *s)
{
    sum->requests += counter_get(&s->requests);
    sum->opens += counter_get(&s->opens);
    sum->open_failures += counter_get(&s->open_failures);
    sum->reused += counter_get(&s->reused);
    sum->waits += counter_get(&s->waits);
    for (unsigned i = 0; i < BLAMES; i++)
        sum->failures[i] += counter_get(&s->failures[i]);
    for (unsigned i = 0; i < EVICT_REASONS; i++)
        sum->evictions[i] += counter_get(&s->evictions[i]);
    sum->open_now += counter_get(&s->open_now);
    sum->idle_now += counter_get(&s->idle_now);
    sum->waiting_now += counter_get(&s->waiting_now);
    sum->shared_now += counter_get(&s->shared_now);
    sum->loans_now += counter_get(&s->loans_now);
    histogram_sum_add(&sum->latency, &s->latency);
}

static void sum_checks(struct endpoint_sum *sum, const struct endpoint_checked *k)
{
    for (unsigned i = 0; i < 2; i++)
        sum->checks[i] = atomic_load_explicit(&k->results[i], memory_order_relaxed);
    for (unsigned i = 0; i < CHECK_WARNINGS; i++)
        sum->warnings[i] = atomic_load_explicit(&k->warnings[i], memory_order_relaxed);
    sum->check_us = atomic_load_explicit(&k->last_us, memory_order_relaxed);
    sum->check_lag_us = atomic_load_explicit(&k->lag_us, memory_order_relaxed);
    sum->check_all_us = atomic_load_explicit(&k->all_us, memory_order_relaxed);
    sum->check_cpu_us = atomic_load_explicit(&k->cpu_us, memory_order_relaxed);
    sum->unmade = atomic_load_explicit(&k->unmade, memory_order_relaxed);
}

static void note_endpoint(void *arg, struct endpoint *e)
{
    struct endpoint_sums *sums = arg;
    if (sums->n == sums->cap) {
        sums->cap = sums->cap ? sums->cap * 2 : 16;
        sums->v = mem_resize(sums->v, sums->cap * sizeof(*sums->v));
    }
    struct endpoint_sum *sum = &sums->v[sums->n++];
    *sum = (struct endpoint_sum){
        .upstream = mem_strdup(e->upstream_name),
        .address = mem_strdup(e->address),
        .up = atomic_load_explicit(&e->up, memory_order_relaxed) &&
              !atomic_load_explicit(&e->resolve_failed, memory_order_relaxed),
        .retired = atomic_load_explicit(&e->retired, memory_order_relaxed),
        .ejected = atomic_load_explicit(&e->ejected, memory_order_relaxed),
        .share = atomic_load_explicit(&e->share, memory_order_relaxed),
        .weight = atomic_load_explicit(&e->weight, memory_order_relaxed),
    };
    for (unsigned i = 0; i < EJECT_REASONS; i++)
        sum->ejections[i] = atomic_load_explicit(&e->passive.ejections[i], memory_order_relaxed);
    sum->all_used = atomic_load_explicit(&e->run->panic, memory_order_relaxed);
    sum->panics = atomic_load_explicit(&e->run->panics, memory_order_relaxed);
    for (unsigned i = 0; i < ENDPOINT_CHANGES; i++)
        sum->changes[i] = atomic_load_explicit(&e->changes[i], memory_order_relaxed);
    sum_checks(sum, &e->checked);
    unsigned n = upstream_registry_workers(sums->f->registry);
    for (unsigned i = 0; i < n; i++)
        stats_sum(sum, &e->stats[i]);
}

static int by_name(const void *a, const void *b)
{
    const struct endpoint_sum *x = a, *y = b;
    int order = strcmp(x->upstream, y->upstream);
    return order ? order : strcmp(x->address, y->address);
}

static void endpoint_labels(struct text *out, const char *name, const struct endpoint_sum *e)
{
    text_addf(out, "%s{", name);
    metrics_label(out, "upstream", str_c(e->upstream), true);
    metrics_label(out, "endpoint", str_c(e->address), false);
}

static const struct {
    const char *name, *type, *help;
    size_t offset;
} endpoint_rows[] = {
    {"weir_upstream_requests_total", "counter", "Requests sent, by endpoint.",
     offsetof(struct endpoint_sum, requests)},
    {"weir_upstream_connections_opened_total", "counter", "Connections opened.",
     offsetof(struct endpoint_sum, opens)},
    {"weir_upstream_connection_failures_total", "counter", "Connections that failed to open.",
     offsetof(struct endpoint_sum, open_failures)},
    {"weir_upstream_connections_reused_total", "counter", "Requests that found a used connection.",
     offsetof(struct endpoint_sum, reused)},
    {"weir_upstream_waits_total", "counter", "Requests that had to wait for a connection.",
     offsetof(struct endpoint_sum, waits)},
    {"weir_upstream_connections_open", "gauge", "Connections that are open.",
     offsetof(struct endpoint_sum, open_now)},
    {"weir_upstream_connections_idle", "gauge", "Connections that wait for a request.",
     offsetof(struct endpoint_sum, idle_now)},
    {"weir_upstream_requests_waiting", "gauge", "Requests that wait for a connection.",
     offsetof(struct endpoint_sum, waiting_now)},
    {"weir_upstream_http2_connections", "gauge", "Open connections that speak HTTP/2.",
     offsetof(struct endpoint_sum, shared_now)},
    {"weir_upstream_http2_streams", "gauge", "Requests on HTTP/2 connections.",
     offsetof(struct endpoint_sum, loans_now)},
};

static void write_endpoints(const struct endpoint_sums *sums, struct text *out)
{
    for (size_t r = 0; r < sizeof(endpoint_rows) / sizeof(endpoint_rows[0]); r++) {
        metrics_family(out, endpoint_rows[r].name, endpoint_rows[r].type, endpoint_rows[r].help);
        for (size_t i = 0; i < sums->n; i++) {
            uint64_t n;
            memcpy(&n, (const char *) &sums->v[i] + endpoint_rows[r].offset, sizeof(n));
            endpoint_labels(out, endpoint_rows[r].name, &sums->v[i]);
            text_addf(out, "} %" PRIu64 "\n", n);
        }
    }
}

static const char *evict_label(unsigned i)
{
    return evict_reason_name((enum evict_reason) i);
}

static const char *blame_label(unsigned i)
{
    return blame_name((enum blame) i);
}

static const char *eject_label(unsigned i)
{
    return eject_reason_name((enum eject_reason) i);
}

static const char *check_label(unsigned i)
{
    return i ? "passed" : "failed";
}

static const char *change_label(unsigned i)
{
    return endpoint_change_name((enum endpoint_change) i);
}

static const char *warning_label(unsigned i)
{
    return check_warning_name((enum check_warning) i);
}

static const struct {
    const char *name, *help, *label;
    const char *(*value)(unsigned i);
    unsigned n;
    size_t offset;
} labelled_rows[] = {
    {"weir_upstream_connections_evicted_total", "Connections closed, by reason.", "reason",
     evict_label, EVICT_REASONS, offsetof(struct endpoint_sum, evictions)},
    {"weir_upstream_failures_total", "Attempts that failed at the endpoint, by kind.", "kind",
     blame_label, BLAMES, offsetof(struct endpoint_sum, failures)},
    {"weir_upstream_ejections_total", "Times that the endpoint was left out, by reason.", "reason",
     eject_label, EJECT_REASONS, offsetof(struct endpoint_sum, ejections)},
    {"weir_upstream_endpoint_changes_total", "Changes of the endpoint's state, by what it became.",
     "state", change_label, ENDPOINT_CHANGES, offsetof(struct endpoint_sum, changes)},
    {"weir_health_warnings_total", "Warnings of checks that are slow or pass and fail by turns.",
     "kind", warning_label, CHECK_WARNINGS, offsetof(struct endpoint_sum, warnings)},
    {"weir_health_checks_total", "Health checks of the endpoint, by result.", "result", check_label,
     2, offsetof(struct endpoint_sum, checks)},
};

/* Those that ever happened. */
static void write_labelled(const struct endpoint_sums *sums, struct text *out)
{
    for (size_t r = 0; r < sizeof(labelled_rows) / sizeof(labelled_rows[0]); r++) {
        metrics_family(out, labelled_rows[r].name, "counter", labelled_rows[r].help);
        for (size_t i = 0; i < sums->n; i++) {
            const char *at = (const char *) &sums->v[i] + labelled_rows[r].offset;
            for (unsigned k = 0; k < labelled_rows[r].n; k++) {
                uint64_t n;
                memcpy(&n, at + k * sizeof(n), sizeof(n));
                if (n == 0)
                    continue;
                endpoint_labels(out, labelled_rows[r].name, &sums->v[i]);
                text_addf(out, ",%s=\"%s\"} %" PRIu64 "\n", labelled_rows[r].label,
                          labelled_rows[r].value(k), n);
            }
        }
    }
}

static void put_up(struct text *out, const struct endpoint_sum *e)
{
    text_addf(out, "%d", e->up && !e->ejected);
}

static void put_ejected(struct text *out, const struct endpoint_sum *e)
{
    text_addf(out, "%d", e->ejected);
}

static void put_share(struct text *out, const struct endpoint_sum *e)
{
    text_addf(out, "%" PRIu32 ".%03" PRIu32, e->share / 1000, e->share % 1000);
}

static void put_check(struct text *out, const struct endpoint_sum *e)
{
    metrics_seconds(out, e->check_us);
}

static void put_check_lag(struct text *out, const struct endpoint_sum *e)
{
    metrics_seconds(out, e->check_lag_us);
}

static void put_check_all(struct text *out, const struct endpoint_sum *e)
{
    metrics_seconds(out, e->check_all_us);
}

static void put_check_cpu(struct text *out, const struct endpoint_sum *e)
{
    metrics_seconds(out, e->check_cpu_us);
}

static void put_unmade(struct text *out, const struct endpoint_sum *e)
{
    text_addf(out, "%" PRIu64, e->unmade);
}

/* Of endpoints that are configured; those of checks where there were any. */
static const struct {
    const char *name, *type, *help;
    void (*put)(struct text *out, const struct endpoint_sum *e);
    bool of_checks;
} state_rows[] = {
    {"weir_upstream_endpoint_up", "gauge",
     "1 when the endpoint is thought to serve, 0 also when its name has no address.", put_up,
     false},
    {"weir_upstream_endpoint_ejected", "gauge",
     "1 while the endpoint is left out for its failures.", put_ejected, false},
    {"weir_upstream_endpoint_weight_share", "gauge",
     "Part of its weight that the endpoint has in force (slow start, feedback).", put_share, false},
    {"weir_health_check_seconds", "gauge", "How long the last health check of the endpoint took.",
     put_check, true},
    {"weir_health_check_lag_seconds", "gauge",
     "How much later than planned the last health check of the endpoint began.", put_check_lag,
     true},
    {"weir_health_check_seconds_total", "counter",
     "How long all health checks of the endpoint took.", put_check_all, true},
    {"weir_health_check_cpu_seconds_total", "counter",
     "Time of a processor that scripts which check the endpoint had.", put_check_cpu, true},
    {"weir_health_checks_unmade_total", "counter",
     "Health checks that could not be made, which says nothing of the endpoint.", put_unmade, true},
};

static void write_states(const struct endpoint_sums *sums, struct text *out)
{
    for (size_t r = 0; r < sizeof(state_rows) / sizeof(state_rows[0]); r++) {
        metrics_family(out, state_rows[r].name, state_rows[r].type, state_rows[r].help);
        for (size_t i = 0; i < sums->n; i++) {
            const struct endpoint_sum *e = &sums->v[i];
            bool checked = e->checks[0] + e->checks[1] + e->unmade > 0;
            if (e->retired || (state_rows[r].of_checks && !checked))
                continue;
            endpoint_labels(out, state_rows[r].name, e);
            text_add(out, STR("} "));
            state_rows[r].put(out, e);
            text_add(out, STR("\n"));
        }
    }
}

/* Endpoints are sorted, so those of one upstream stand together. */
static void write_panic(const struct endpoint_sums *sums, struct text *out)
{
    static const struct {
        const char *name, *type, *help;
    } rows[] = {
        {"weir_upstream_all_used", "gauge",
         "1 while requests go to all endpoints, because too few are usable (panic_threshold)."},
        {"weir_upstream_all_used_total", "counter", "Times that this began."},
    };
    for (size_t r = 0; r < 2; r++) {
        metrics_family(out, rows[r].name, rows[r].type, rows[r].help);
        for (size_t i = 0; i < sums->n; i++) {
            const struct endpoint_sum *e = &sums->v[i];
            if (i && strcmp(e->upstream, sums->v[i - 1].upstream) == 0)
                continue;
            text_addf(out, "%s{", rows[r].name);
            metrics_label(out, "upstream", str_c(e->upstream), true);
            text_addf(out, "} %" PRIu32 "\n", r == 0 ? e->all_used : e->panics);
        }
    }
}

static void write_latency(const struct endpoint_sums *sums, struct text *out)
{
    static const char name[] = "weir_upstream_first_byte_seconds";
    metrics_family(out, name, "histogram",
                   "Time from sending a request to the first byte of its answer, by upstream.");
    for (size_t i = 0; i < sums->n;) {
        struct histogram_sum all = {0};
        const char *upstream = sums->v[i].upstream;
        for (; i < sums->n && strcmp(sums->v[i].upstream, upstream) == 0; i++) {
            for (unsigned b = 0; b <= HISTOGRAM_BUCKETS; b++)
                all.buckets[b] += sums->v[i].latency.buckets[b];
            all.sum_us += sums->v[i].latency.sum_us;
        }
        metrics_histogram(out, name, "upstream", str_c(upstream), &all);
    }
}

void metrics_write_upstreams(const struct figures *f, struct text *out)
{
    struct endpoint_sums sums = {.f = f};
    if (f->registry)
        upstream_registry_each(f->registry, note_endpoint, &sums);
    if (sums.n)
        qsort(sums.v, sums.n, sizeof(*sums.v), by_name);
    write_endpoints(&sums, out);
    write_labelled(&sums, out);
    write_states(&sums, out);
    write_panic(&sums, out);
    write_latency(&sums, out);
    for (size_t i = 0; i < sums.n; i++) {
        mem_free(sums.v[i].upstream);
        mem_free(sums.v[i].address);
    }
    mem_free(sums.v);
}

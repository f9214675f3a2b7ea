/* SPDX-License-Identifier: Apache-2.0 */
/* metrics.c: see metrics.h. Names: weir_*, base units (seconds, bytes), _total on counters; those
 * of the process are what Prometheus clients use everywhere. */
#include "control/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "control/events.h"
#include "net/loop.h"
#include "proxy/retry.h"

void metrics_family(struct text *out, const char *name, const char *type, const char *help)
{
    text_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_label(struct text *out, const char *name, struct str value, bool first)
{
    text_addf(out, "%s%s=\"", first ? "" : ",", name);
    while (value.n) {
        unsigned char c = (unsigned char) value.p[0];
        size_t n = c < 0x80 ? 1 : json_utf8_length(value);
        if (c == '\\' || c == '"')
            text_addf(out, "\\%c", c);
        else if (c == '\n')
            text_add(out, STR("\\n"));
        else if (n == 0) /* of a certificate, say: one such byte would spoil the whole page */
            text_addf(out, "\\\\x%02x", c);
        else
            text_add(out, str_sub(value, 0, n));
        value = str_sub(value, n ? n : 1, value.n);
    }
    text_add(out, STR("\""));
}

void metrics_seconds(struct text *out, uint64_t us)
{
    uint64_t rest = us % USEC_PER_SEC;
    text_addf(out, "%" PRIu64, us / USEC_PER_SEC);
    if (rest == 0)
        return;
    int digits = 6;
    for (; rest % 10 == 0; digits--)
        rest /= 10;
    text_addf(out, ".%0*" PRIu64, digits, rest);
}

void histogram_sum_add(struct histogram_sum *sum, const struct histogram *h)
{
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
        sum->buckets[i] += counter_get(&h->buckets[i]);
    sum->sum_us += counter_get(&h->sum_us);
}

void metrics_histogram(struct text *out, const char *name, const char *label, struct str value,
                       const struct histogram_sum *h)
{
    uint64_t count = 0;
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        count += h->buckets[i];
        text_addf(out, "%s_bucket{", name);
        metrics_label(out, label, value, true);
        text_add(out, STR(",le=\""));
        if (i < HISTOGRAM_BUCKETS)
            metrics_seconds(out, histogram_bounds[i]);
        else
            text_add(out, STR("+Inf"));
        text_addf(out, "\"} %" PRIu64 "\n", count);
    }
    text_addf(out, "%s_sum{", name);
    metrics_label(out, label, value, true);
    text_add(out, STR("} "));
    metrics_seconds(out, h->sum_us);
    text_addf(out, "\n%s_count{", name);
    metrics_label(out, label, value, true);
    text_addf(out, "} %" PRIu64 "\n", count);
}

/* ---- one number ---------------------------------------------------------------------------- */

static void single(struct text *out, const char *name, const char *type, const char *help,
                   uint64_t value)
{
    metrics_family(out, name, type, help);
    text_addf(out, "%s %" PRIu64 "\n", name, value);
}

static void single_seconds(struct text *out, const char *name, const char *type, const char *help,
                           uint64_t us)
{
    metrics_family(out, name, type, help);
    text_addf(out, "%s ", name);
    metrics_seconds(out, us);
    text_add(out, STR("\n"));
}

/* ---- the process ---------------------------------------------------------------------------- */

uint64_t process_open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;
    while (dir && readdir(dir))
        n++;
    if (dir)
        closedir(dir);
    return n > 3 ? n - 3 : 0; /* without ".", ".." and the directory itself */
}

static uint64_t cpu_us(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return 0;
    return (uint64_t) (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * USEC_PER_SEC +
           (uint64_t) (u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void write_events(const counter_t *events, struct text *out)
{
    metrics_family(out, "weir_events_total", "counter",
                   "Changes of configuration and endpoints by what they were about; those of "
                   "endpoints' states too.");
    for (int k = 0; k < EVENT_KINDS; k++)
        text_addf(out, "weir_events_total{kind=\"%s\"} %" PRIu64 "\n",
                  event_kind_name((enum event_kind) k), counter_get(&events[k]));
}

static void write_process(const struct figures *f, struct text *out)
{
    struct rlimit files = {0};
    (void) getrlimit(RLIMIT_NOFILE, &files);
    metrics_family(out, "weir_build_info", "gauge", "The version that runs.");
    text_add(out, STR("weir_build_info{version=\"" WEIR_VERSION "\"} 1\n"));
    single_seconds(out, "process_start_time_seconds", "gauge",
                   "When the server started, seconds since 1970.", (uint64_t) f->started_wall);
    single_seconds(out, "process_cpu_seconds_total", "counter",
                   "User and system CPU time of the server.", cpu_us());
    single(out, "process_resident_memory_bytes", "gauge", "Resident memory of the server.",
           mem_resident());
    single(out, "weir_heap_bytes", "gauge", "Heap memory of the server that is in use.",
           mem_heap());
    single(out, "process_open_fds", "gauge", "Open file descriptors.", process_open_fds());
    single(out, "process_max_fds", "gauge", "Most file descriptors that may be open.",
           (uint64_t) files.rlim_cur);
    single(out, "weir_config_generation", "gauge",
           "Number of the configuration in use; it grows with each reload.", f->generation);
    single_seconds(out, "weir_config_loaded_timestamp_seconds", "gauge",
                   "When the configuration in use was taken, seconds since 1970.",
                   (uint64_t) f->loaded_wall);
    metrics_family(out, "weir_config_reloads_total", "counter", "Reloads by result.");
    text_addf(out, "weir_config_reloads_total{result=\"taken\"} %" PRIu64 "\n", f->reloads);
    text_addf(out, "weir_config_reloads_total{result=\"refused\"} %" PRIu64 "\n", f->refused);
    if (f->events)
        write_events(f->events, out);
    single(out, "weir_draining", "gauge", "1 while Weir is stopping.", f->draining);
}

/* ---- sums over workers ---------------------------------------------------------------------- */

/* Of the first n_workers. */
static uint64_t sum_first(const struct figures *f, uint32_t n_workers, size_t offset)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < n_workers; i++) {
        const char *stats = (const char *) f->workers[i].stats;
        n += counter_get((const counter_t *) (const void *) (stats + offset));
    }
    return n;
}

static uint64_t sum(const struct figures *f, size_t offset)
{
    return sum_first(f, f->n_workers, offset);
}

/* Without the main thread, whose requests are those for the admin page and health checks: no client
 * waits for these. */
static uint64_t sum_clients(const struct figures *f, size_t offset)
{
    return sum_first(f, f->n_workers - 1, offset);
}

#define SUM(f, member) sum(f, offsetof(struct stats, member))
#define SUM_CLIENTS(f, member) sum_clients(f, offsetof(struct stats, member))

static const struct {
    const char *name, *type, *help;
    size_t offset;
} totals[] = {
    {"weir_client_connections_total", "counter", "Client connections accepted.",
     offsetof(struct stats, connections_total)},
    {"weir_client_connections_open", "gauge", "Client connections that are open.",
     offsetof(struct stats, connections_open)},
    {"weir_exchanges_total", "counter", "Requests that ended, answered or not.",
     offsetof(struct stats, exchanges_total)},
    {"weir_exchanges_open", "gauge", "Requests in progress.",
     offsetof(struct stats, exchanges_open)},
    {"weir_retries_total", "counter", "Further attempts after a first one failed.",
     offsetof(struct stats, retries)},
    {"weir_tunnels_total", "counter", "Tunnels (Upgrade, CONNECT) begun.",
     offsetof(struct stats, tunnels_total)},
    {"weir_tunnels_open", "gauge", "Tunnels that are open.", offsetof(struct stats, tunnels_open)},
    {"weir_spliced_bytes_total", "counter", "Body bytes that the kernel moved by itself.",
     offsetof(struct stats, spliced_bytes)},
    {"weir_memory_waits_total", "counter", "Times that a body waited for memory_limit.",
     offsetof(struct stats, memory_waits)},
    {"weir_upstream_goaways_total", "counter", "GOAWAY frames that endpoints sent.",
     offsetof(struct stats, h2_goaways)},
    {"weir_access_log_dropped_lines_total", "counter",
     "Access log lines lost because the log could not be written fast enough.",
     offsetof(struct stats, log_dropped)},
};

static void write_totals(const struct figures *f, struct text *out)
{
    for (size_t i = 0; i < sizeof(totals) / sizeof(totals[0]); i++)
        single(out, totals[i].name, totals[i].type, totals[i].help,
               sum_clients(f, totals[i].offset));
    metrics_family(out, "weir_retries_refused_total", "counter",
                   "Attempts that were not followed by another one though the route allows it, by "
                   "reason: too much of the body was gone, or the budget was used up.");
    for (unsigned i = RETRY_REFUSED_BODY; i < RETRY_REFUSALS; i++)
        text_addf(out, "weir_retries_refused_total{reason=\"%s\"} %" PRIu64 "\n",
                  retry_refused_name((enum retry_refused) i),
                  sum(f, offsetof(struct stats, retries_refused) + i * sizeof(counter_t)));
    metrics_family(out, "weir_bytes_total", "counter", "Bytes on the wire by side and direction.");
    static const char row[] = "weir_bytes_total{side=\"%s\",direction=\"%s\"} %" PRIu64 "\n";
    text_addf(out, row, "client", "in", SUM_CLIENTS(f, bytes_client_in));
    text_addf(out, row, "client", "out", SUM_CLIENTS(f, bytes_client_out));
    text_addf(out, row, "upstream", "in", SUM(f, bytes_upstream_in));
    text_addf(out, row, "upstream", "out", SUM(f, bytes_upstream_out));
    metrics_family(out, "weir_faults_total", "counter", "What went wrong, by reason code.");
    /* Each from the start, at 0: of a series that begins with its first faults rate() sees none. */
    for (unsigned i = FAULT_OK + 1; i < FAULT_COUNT; i++)
        text_addf(out, "weir_faults_total{reason=\"%s\"} %" PRIu64 "\n", fault_name((enum fault) i),
                  sum_clients(f, offsetof(struct stats, faults) + i * sizeof(counter_t)));
}

static void write_memory(const struct figures *f, struct text *out)
{
    if (!f->memory)
        return;
    single(out, "weir_memory_leased_bytes", "gauge", "Memory that workers hold for traffic.",
           __atomic_load_n((const uint64_t *) &f->memory->leased, __ATOMIC_RELAXED));
    single(out, "weir_memory_limit_bytes", "gauge", "memory_limit; 0: none.", f->memory->max);
}

/* ---- loops ---------------------------------------------------------------------------------- */

static void worker_sample(struct text *out, const char *name, const struct figures *f, uint32_t i)
{
    if (i + 1 == f->n_workers)
        text_addf(out, "%s{worker=\"main\"} ", name);
    else
        text_addf(out, "%s{worker=\"%" PRIu32 "\"} ", name, i);
}

static void write_loops(const struct figures *f, struct text *out)
{
    static const struct {
        const char *name, *type, *help;
        size_t offset;
        bool seconds;
    } rows[] = {
        {"weir_loop_turns_total", "counter", "Turns of the event loop.",
         offsetof(struct loop_stats, turns), false},
        {"weir_loop_busy_seconds_total", "counter", "Time that the loop was not waiting.",
         offsetof(struct loop_stats, busy_us), true},
        {"weir_loop_lag_max_seconds", "gauge",
         "Longest time that an event had to wait for the loop since the start.",
         offsetof(struct loop_stats, longest_us), true},
    };
    for (size_t r = 0; r < sizeof(rows) / sizeof(rows[0]); r++) {
        metrics_family(out, rows[r].name, rows[r].type, rows[r].help);
        for (uint32_t i = 0; i < f->n_workers; i++) {
            if (!f->workers[i].loop)
                continue;
            const char *stats = (const char *) loop_stats(f->workers[i].loop);
            uint64_t n = counter_get((const counter_t *) (const void *) (stats + rows[r].offset));
            worker_sample(out, rows[r].name, f, i);
            if (rows[r].seconds)
                metrics_seconds(out, n);
            else
                text_addf(out, "%" PRIu64, n);
            text_add(out, STR("\n"));
        }
    }
}

void metrics_write(const struct figures *f, struct text *out)
{
    write_process(f, out);
    write_memory(f, out);
    write_loops(f, out);
    write_totals(f, out);
    metrics_write_routes(f, out);
    metrics_write_upstreams(f, out);
    metrics_write_guards(f, out);
    metrics_write_tls(f, out);
}

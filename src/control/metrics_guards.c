/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_guards.c: the figures of what stands before an upstream: circuit breakers, and the queue
 * at max_active. See metrics.h. */
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "control/metrics.h"

/* ---- breakers ------------------------------------------------------------------------------- */

struct breaker_lines {
    struct text *out;
    const char *name;
    uint64_t (*value)(const struct breaker *b);
};

static uint64_t breaker_level(const struct breaker *b)
{
    const char *state = breaker_state_name(b);
    return strcmp(state, "open") == 0 ? 2 : strcmp(state, "half_open") == 0;
}

static uint64_t breaker_opened(const struct breaker *b)
{
    return atomic_load_explicit(&b->opened, memory_order_relaxed);
}

static uint64_t breaker_refused(const struct breaker *b)
{
    return atomic_load_explicit(&b->refused, memory_order_relaxed);
}

static void breaker_line(void *arg, struct breaker *b, const struct breaker_conf *c)
{
    const struct breaker_lines *lines = arg;
    (void) c;
    text_addf(lines->out, "%s{", lines->name);
    metrics_label(lines->out, "breaker", str_c(b->name), true);
    text_addf(lines->out, "} %" PRIu64 "\n", lines->value(b));
}

/* What the window holds at this moment. */
static void window_lines(void *arg, struct breaker *b, const struct breaker_conf *c)
{
    struct text *out = arg;
    struct breaker_counts n = breaker_sum(b, c, clock_now());
    const struct {
        const char *kind;
        uint64_t n;
    } rows[] = {{"calls", n.calls},
                {"failed", n.failed},
                {"slow", n.slow},
                {"timeouts", n.timeouts},
                {"errors", n.errors}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text_add(out, STR("weir_breaker_window{"));
        metrics_label(out, "breaker", str_c(b->name), true);
        text_addf(out, ",kind=\"%s\"} %" PRIu64 "\n", rows[i].kind, rows[i].n);
    }
}

static void write_breakers(const struct figures *f, struct text *out)
{
    static const struct {
        const char *name, *type, *help;
        uint64_t (*value)(const struct breaker *b);
    } rows[] = {
        {"weir_breaker_state", "gauge", "0: closed, 1: half-open, 2: open.", breaker_level},
        {"weir_breaker_opened_total", "counter", "Times that the breaker opened.", breaker_opened},
        {"weir_breaker_refused_total", "counter", "Calls that the breaker refused.",
         breaker_refused},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct breaker_lines lines = {out, rows[i].name, rows[i].value};
        metrics_family(out, rows[i].name, rows[i].type, rows[i].help);
        upstream_breakers_each(f->registry, breaker_line, &lines);
    }
    metrics_family(out, "weir_breaker_window", "gauge",
                   "Calls in the breaker's window, and what came of them; errors: 500 to 599.");
    upstream_breakers_each(f->registry, window_lines, out);
}

/* ---- the queue ------------------------------------------------------------------------------ */

struct queue_lines {
    struct text *out;
    const char *name;
    uint64_t (*value)(const struct upstream_run *run);
};

static uint64_t queue_pending(const struct upstream_run *run)
{
    return atomic_load_explicit(&run->pending, memory_order_relaxed);
}

static uint64_t queue_active(const struct upstream_run *run)
{
    uint64_t all = run_active(run), pending = queue_pending(run);
    return all > pending ? all - pending : 0;
}

static uint64_t queue_waits(const struct upstream_run *run)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < run->n_workers; i++)
        n += counter_get(&run->workers[i].waits);
    return n;
}

static uint64_t queue_refused(const struct upstream_run *run)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < run->n_workers; i++)
        n += counter_get(&run->workers[i].refused);
    return n;
}

static void queue_line(void *arg, struct str upstream, const struct upstream_run *run)
{
    const struct queue_lines *lines = arg;
    text_addf(lines->out, "%s{", lines->name);
    metrics_label(lines->out, "upstream", upstream, true);
    text_addf(lines->out, "} %" PRIu64 "\n", lines->value(run));
}

static void write_queues(const struct figures *f, struct text *out)
{
    static const struct {
        const char *name, *type, *help;
        uint64_t (*value)(const struct upstream_run *run);
    } rows[] = {
        {"weir_upstream_active", "gauge", "Requests in progress at the upstream.", queue_active},
        {"weir_upstream_pending", "gauge", "Requests that wait for their turn at max_active.",
         queue_pending},
        {"weir_upstream_pending_total", "counter",
         "Requests that had to wait for their turn at max_active.", queue_waits},
        {"weir_upstream_queue_full_total", "counter",
         "Requests that were refused because max_pending were waiting.", queue_refused},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct queue_lines lines = {out, rows[i].name, rows[i].value};
        metrics_family(out, rows[i].name, rows[i].type, rows[i].help);
        upstream_runs_each(f->registry, queue_line, &lines);
    }
}

void metrics_write_guards(const struct figures *f, struct text *out)
{
    if (!f->registry)
        return;
    write_breakers(f, out);
    write_queues(f, out);
}

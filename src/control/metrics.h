/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: the figures of all workers as one page of Prometheus text (exposition format 0.0.4).
 * Called on the main thread; reads what workers write without stopping them, so that figures of one
 * page may be some requests apart, but never torn and never falling. */
#ifndef WEIR_CONTROL_METRICS_H
#define WEIR_CONTROL_METRICS_H

#include "base/text.h"
#include "proxy/stats.h"
#include "upstream/upstream.h"

struct loop;

/* One worker's figures, borrowed. */
struct figures_worker {
    const struct stats *stats;
    const struct loop *loop; /* NULL: it has none */
};

/* Where figures come from; the main thread fills and keeps it. */
struct figures {
    const struct figures_worker *workers; /* the main thread's last */
    uint32_t n_workers;
    struct upstream_registry *registry;
    const struct mem_limit *memory;
    struct tls_store *tls;     /* NULL: none */
    const counter_t *events;   /* by enum event_kind; NULL: none are counted */
    int64_t started_wall;      /* us since 1970 */
    uint64_t generation;       /* of the configuration in use */
    int64_t loaded_wall;       /* when it was taken into use, us since 1970 */
    uint64_t reloads, refused; /* reloads that were taken, and that were not */
    bool draining;
};

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* Writes the page. */
void metrics_write(const struct figures *f, struct text *out);

/* The series by route and by upstream, for metrics_write. */
void metrics_write_routes(const struct figures *f, struct text *out);
/* Handshakes, certificates and their files. */
void metrics_write_tls(const struct figures *f, struct text *out);
/* See metrics_write_routes. */
void metrics_write_upstreams(const struct figures *f, struct text *out);
/* Circuit breakers, and the queues at max_active. */
void metrics_write_guards(const struct figures *f, struct text *out);

/* Begins a family: its HELP and TYPE lines. */
void metrics_family(struct text *out, const char *name, const char *type, const char *help);
/* Appends ,name="value" or (first true) name="value", the value escaped. */
void metrics_label(struct text *out, const char *name, struct str value, bool first);
/* Appends us microseconds as seconds, exactly. */
void metrics_seconds(struct text *out, uint64_t us);

/* A histogram summed over workers. */
struct histogram_sum {
    uint64_t buckets[HISTOGRAM_BUCKETS + 1], sum_us;
};
/* Adds h to sum. */
void histogram_sum_add(struct histogram_sum *sum, const struct histogram *h);
/* Writes the samples of a histogram whose series has one label. */
void metrics_histogram(struct text *out, const char *name, const char *label, struct str value,
                       const struct histogram_sum *h);

/* Descriptors that this process has open; 0: unknown. */
uint64_t process_open_fds(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* metrics_tls.c: the series of TLS: handshakes with clients, time to the end of certificates, files
 * that were loaded anew. Holds no state. */
#include <inttypes.h>

#include "control/metrics.h"
#include "net/tls.h"

static uint64_t sum(const struct figures *f, size_t offset)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < f->n_workers; i++) {
        const char *stats = (const char *) f->workers[i].stats;
        n += counter_get((const counter_t *) (const void *) (stats + offset));
    }
    return n;
}

static void write_rest(void *arg, const struct tls_cert_figures *c)
{
    struct text *out = arg;
    int64_t left = c->not_after - clock_wall() / (int64_t) USEC_PER_SEC;
    text_addf(out, "weir_tls_certificate_expiry_seconds{");
    metrics_label(out, "file", c->file, true);
    metrics_label(out, "name", c->name, false);
    text_addf(out, "} %" PRId64 "\n", left);
}

void metrics_write_tls(const struct figures *f, struct text *out)
{
    metrics_family(out, "weir_tls_handshakes_open", "gauge",
                   "TLS handshakes of clients in progress.");
    text_addf(out, "weir_tls_handshakes_open %" PRIu64 "\n",
              sum(f, offsetof(struct stats, handshakes_open)));
    metrics_family(out, "weir_tls_handshakes_total", "counter",
                   "TLS handshakes of clients that were finished.");
    text_addf(out, "weir_tls_handshakes_total{kind=\"full\"} %" PRIu64 "\n",
              sum(f, offsetof(struct stats, handshakes_full)));
    text_addf(out, "weir_tls_handshakes_total{kind=\"resumed\"} %" PRIu64 "\n",
              sum(f, offsetof(struct stats, handshakes_resumed)));
    metrics_family(out, "weir_tls_early_requests_total", "counter",
                   "Requests that came before the TLS handshake was over (early data).");
    text_addf(out, "weir_tls_early_requests_total %" PRIu64 "\n",
              sum(f, offsetof(struct stats, early_requests)));
    if (!f->tls)
        return;
    uint64_t good, bad;
    metrics_family(out, "weir_tls_certificate_expiry_seconds", "gauge",
                   "Seconds until a listener's certificate expires; below 0: it has.");
    tls_store_each_cert(f->tls, write_rest, out);
    tls_store_loads(f->tls, &good, &bad);
    metrics_family(out, "weir_tls_file_loads_total", "counter",
                   "Changed certificates, keys and lists that were put to use, or refused.");
    text_addf(out, "weir_tls_file_loads_total{result=\"loaded\"} %" PRIu64 "\n", good);
    text_addf(out, "weir_tls_file_loads_total{result=\"refused\"} %" PRIu64 "\n", bad);
}

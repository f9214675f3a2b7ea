/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: counts each exchange by its route in the worker's own figures (proxy/stats.h), which
 * control/metrics.c sums and prints, and events by their kind: a counter_t[EVENT_KINDS], the same
 * one in each worker's feature_state, which the main thread counts up. Constant; the hook on
 * exchanges runs on the exchange's worker and never allocates but at a route's first use on it. */
#ifndef WEIR_FEATURES_METRICS_H
#define WEIR_FEATURES_METRICS_H

#include "proxy/phase.h"

extern const struct feature feature_metrics;

#endif

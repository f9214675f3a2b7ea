/* SPDX-License-Identifier: Apache-2.0 */
/* registry: the one ordered array of features. The numbers below are their places in it, so that a
 * hook finds its settings and its worker's state by a constant. Constant; any thread. app/ hands
 * feature_registry to the lower floors, which never include this. */
#ifndef WEIR_FEATURES_REGISTRY_H
#define WEIR_FEATURES_REGISTRY_H

#include "proxy/phase.h"
#include "proxy/worker.h"

/* In the order of registry.c, which says why. */
enum feature_number {
    FEATURE_METRICS,
    FEATURE_ACCESS_LOG,
    FEATURE_PROXY_STATUS,
    FEATURE_REQUEST_ID,
    FEATURE_FORWARDED,
    FEATURE_CLIENT_CERTIFICATE,
    FEATURE_GRPC_WEB,
    FEATURE_REQUEST_HEADERS,
    FEATURE_RESPONSE_HEADERS,
    FEATURE_OWN /* how many there are; others (the library's callbacks) come behind */
};

extern const struct feature_set feature_registry;

/* What started features keep, for one process or library instance. */
struct features_running {
    const struct feature_set *set;
    void *state[FEATURE_MAX];
    uint32_t started; /* features [0, started) are running */
};

/* Starts every feature of set for n_workers workers. conf[i] is the top-level configuration of
 * feature i or NULL; conf may be NULL. False: *why (mem_free) says what failed; nothing is left
 * running. Main thread, before any worker runs. */
bool features_start(struct features_running *r, const struct feature_set *set,
                    const void *const *conf, unsigned n_workers, char **why);
/* Gives a worker its share of each feature's state; before its loop runs. */
void features_join(const struct features_running *r, struct worker *w);
/* Has each feature hear of e, in order. Main thread. */
void features_tell(const struct features_running *r, const struct event *e);
/* Stops all, the newest first; after the workers' loops have ended. */
void features_stop(struct features_running *r);

#endif

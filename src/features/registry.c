/* SPDX-License-Identifier: Apache-2.0 */
/* registry.c: the order of features, one reason a line, and their start and stop. Request hooks run
 * from the top down, response hooks from the bottom up. */
#include "features/registry.h"

#include "features/access_log.h"
#include "features/client_certificate.h"
#include "features/forwarded.h"
#include "features/grpc_web.h"
#include "features/headers.h"
#include "features/metrics.h"
#include "features/proxy_status.h"
#include "features/request_id.h"

static const struct feature *const ordered[] = {
    /* Counts what happened, so it must not depend on what others do. */
    [FEATURE_METRICS] = &feature_metrics,
    /* Reads what all others left in the exchange; writes to no message. */
    [FEATURE_ACCESS_LOG] = &feature_access_log,
    /* Last to touch a response: no header rule hides why Weir failed. */
    [FEATURE_PROXY_STATUS] = &feature_proxy_status,
    /* Before everything that may name {request_id}. */
    [FEATURE_REQUEST_ID] = &feature_request_id,
    /* Before header rules, so that these may change what is forwarded. */
    [FEATURE_FORWARDED] = &feature_forwarded,
    /* Before header rules, for the same reason. */
    [FEATURE_CLIENT_CERTIFICATE] = &feature_client_certificate,
    /* Before header rules, so that these see what the upstream will. */
    [FEATURE_GRPC_WEB] = &feature_grpc_web,
    /* The operator's word on requests is the last one. */
    [FEATURE_REQUEST_HEADERS] = &feature_request_headers,
    /* First on the way back: what the features above add is not edited. */
    [FEATURE_RESPONSE_HEADERS] = &feature_response_headers,
};
_Static_assert(sizeof(ordered) / sizeof(ordered[0]) == FEATURE_OWN, "a number has no feature");
_Static_assert(FEATURE_OWN <= FEATURE_MAX, "more features than a route has room for");

const struct feature_set feature_registry = {.v = ordered, .n = FEATURE_OWN};

bool features_start(struct features_running *r, const struct feature_set *set,
                    const void *const *conf, unsigned n_workers, char **why)
{
    *r = (struct features_running){.set = set};
    for (; r->started < set->n; r->started++) {
        const struct feature *f = set->v[r->started];
        const void *own = conf ? conf[r->started] : NULL;
        if (f->start && !f->start(own, n_workers, &r->state[r->started], why)) {
            features_stop(r);
            return false;
        }
    }
    return true;
}

void features_join(const struct features_running *r, struct worker *w)
{
    for (uint32_t i = 0; i < r->started; i++) {
        const struct feature *f = r->set->v[i];
        w->feature_state[i] = f->worker_state ? f->worker_state(r->state[i], w->index) : NULL;
    }
}

void features_tell(const struct features_running *r, const struct event *e)
{
    for (uint32_t i = 0; i < r->started; i++) {
        const struct feature *f = r->set->v[i];
        if (f->on_event)
            f->on_event(r->state[i], e);
    }
}

void features_stop(struct features_running *r)
{
    while (r->started > 0) {
        const struct feature *f = r->set->v[--r->started];
        if (f->stop)
            f->stop(r->state[r->started]);
        r->state[r->started] = NULL;
    }
}

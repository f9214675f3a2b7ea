/* SPDX-License-Identifier: Apache-2.0 */
/* admin.c: see admin.h. */
#include "control/admin.h"

#include "base/mem.h"
#include "control/api.h"

enum hook admin_metrics(struct exchange *x, void *arg)
{
    const struct admin *a = arg;
    struct text text = {0};
    if (!admin_allows(x, a, ADMIN_METRICS))
        return HOOK_REPLY;
    metrics_write(&a->figures, &text);
    return api_answer(x, 200, STR(METRICS_TYPE), &text);
}

enum hook admin_healthz(struct exchange *x, void *arg)
{
    const struct admin *a = arg;
    struct text text = {0};
    if (!admin_allows(x, a, ADMIN_HEALTHZ))
        return HOOK_REPLY;
    text_add(&text, a->figures.draining ? STR("draining\n") : STR("ok\n"));
    return api_answer(x, a->figures.draining ? 503 : 200, STR("text/plain; charset=utf-8"), &text);
}

enum hook admin_status(struct exchange *x, void *arg)
{
    struct text text = {0};
    if (!admin_allows(x, arg, ADMIN_STATUS))
        return HOOK_REPLY;
    admin_status_write(arg, &text);
    return api_answer(x, 200, STR("application/json"), &text);
}

/* ---- the snapshot --------------------------------------------------------------------------- */

#define CALL_LIMIT (60 * USEC_PER_SEC) /* of one call, its body included */
#define CONNECTIONS_MOST 256           /* descriptors are the data path's */

static const struct {
    struct str path;
    route_handler handler;
    bool api;
} pages[] = {
    {{"/metrics", 8}, admin_metrics, false}, {{"/healthz", 8}, admin_healthz, false},
    {{"/status", 7}, admin_status, false},   {{"/v1/*", 5}, admin_api, true},
    {{"/v1/events", 10}, admin_api, true}, /* no call's time is its limit */
};
#define PAGES (sizeof(pages) / sizeof(pages[0]))

static void page_route(struct route_conf *r, size_t i, struct admin *a, struct str *methods)
{
    schema_defaults(&route_schema, r);
    r->name = pages[i].path;
    r->match.path = pages[i].path;
    if (!pages[i].api)
        r->match.methods = (struct schema_list){methods, 2};
    if (!str_eq(pages[i].path, STR("/v1/events")))
        r->settings.timeouts.exchange = CALL_LIMIT;
    r->handler = pages[i].handler;
    r->handler_arg = a;
}

struct snapshot *admin_snapshot(struct admin *a, struct str address,
                                const struct snapshot_inputs *in, char **errors)
{
    static const struct feature_set no_features;
    struct str methods[] = {STR("GET"), STR("HEAD")};
    struct route_conf routes[PAGES];
    struct listener_conf listener;
    struct proxy_conf conf;
    schema_defaults(&proxy_schema, &conf);
    schema_defaults(&listener_schema, &listener);
    listener.address = address;
    listener.max_connections = CONNECTIONS_MOST;
    for (size_t i = 0; i < PAGES; i++)
        page_route(&routes[i], i, a, methods);
    conf.listeners = (struct schema_list){&listener, address.n ? 1 : 0};
    conf.routes = (struct schema_list){routes, PAGES};
    struct snapshot_inputs own = *in;
    own.features = &no_features;
    own.previous = NULL;
    return snapshot_build(&conf, &own, errors);
}

void admin_fini(struct admin *a)
{
    mem_free((void *) (uintptr_t) a->token.p);
}

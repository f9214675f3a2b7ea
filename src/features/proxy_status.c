/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_status.c: see proxy_status.h. */
#include "features/proxy_status.h"

#include "features/registry.h"
#include "proxy/exchange.h"

static enum hook on_response_head(struct exchange *x, void *slot)
{
    (void) slot;
    if (!x->from_weir || x->fault == FAULT_OK)
        return HOOK_PASS;
    const struct proxy_status_conf *conf = x->plan->feature_conf[FEATURE_PROXY_STATUS];
    const struct fault_row *row = fault_row(x->fault);
    bool typed = row->proxy_status[0] != '\0';
    struct str parts[] = {
        conf->name,
        typed ? STR("; error=") : STR(""),
        str_c(row->proxy_status),
        conf->details ? STR("; details=\"") : STR(""),
        conf->details ? str_c(row->name) : STR(""),
        conf->details ? STR("\"") : STR(""),
    };
    struct str value = arena_join(&x->arena, parts, SCHEMA_COUNT(parts));
    struct fields *f = &x->response->fields;
    fields_remove_id(f, FIELD_PROXY_STATUS);
    if (value.p && fields_add_id(f, FIELD_PROXY_STATUS, value))
        return HOOK_PASS;
    exchange_fail(x, FAULT_MEMORY);
    return HOOK_FAIL;
}

static bool active(const void *route_conf)
{
    const struct proxy_status_conf *conf = route_conf;
    return conf->enabled;
}

const struct feature feature_proxy_status = {
    .name = "proxy_status",
    .purpose = "Says in Proxy-Status why Weir answered in place of the upstream.",
    .conf = &proxy_status_schema,
    .route_scope = true,
    .offline = true,
    .active = active,
    .on_response_head = on_response_head,
};

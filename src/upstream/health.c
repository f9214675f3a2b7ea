/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/health.h"

#include "base/log.h"
#include "upstream/registry.h"
#include "upstream/tune.h"

const char *endpoint_change_name(enum endpoint_change c)
{
    static const char *const names[ENDPOINT_CHANGES] = {
        [CHANGE_DOWN] = "down",       [CHANGE_UP] = "up",
        [CHANGE_EJECTED] = "ejected", [CHANGE_RETURNED] = "returned",
        [CHANGE_DRAINED] = "drained", [CHANGE_UNDRAINED] = "undrained",
    };
    return names[c];
}

const char *check_warning_name(enum check_warning w)
{
    static const char *const names[CHECK_WARNINGS] = {
        [CHECK_SLOW] = "slow",
        [CHECK_FLAPPING] = "flapping",
    };
    return names[w];
}

bool endpoint_wanted(const struct endpoint *e)
{
    return atomic_load(&e->weight) > 0 && !atomic_load(&e->retired);
}

bool endpoint_serves(const struct endpoint *e)
{
    return atomic_load(&e->up) && !atomic_load(&e->ejected) && !atomic_load(&e->retired);
}

/* Fit for requests but for its address. */
static bool fit(const struct endpoint *e)
{
    return endpoint_serves(e) && atomic_load(&e->weight) > 0;
}

bool endpoint_usable(const struct endpoint *e)
{
    return atomic_load(&e->addrs) && fit(e);
}

bool endpoint_unresolved(const struct endpoint *e)
{
    return !atomic_load(&e->addrs) && !atomic_load(&e->resolve_failed) && fit(e);
}

void endpoint_set_up(struct endpoint *e, bool up, const char *why)
{
    registry_change_begin(e->registry);
    bool was = atomic_exchange(&e->up, up);
    if (up && !was)
        tune_returned(e, clock_now());
    registry_change_end(e->registry);
    if (was == up)
        return;
    atomic_fetch_add(&e->changes[up ? CHANGE_UP : CHANGE_DOWN], 1);
    if (up)
        log_info("endpoint.up", "upstream %.*s: endpoint %.*s takes requests again: %s",
                 STR_ARG(e->upstream_name), STR_ARG(e->address), why);
    else
        log_warn("endpoint.down", "upstream %.*s: endpoint %.*s takes no new requests: %s",
                 STR_ARG(e->upstream_name), STR_ARG(e->address), why);
    endpoint_tell_all(e);
}

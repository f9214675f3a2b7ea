/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/weigh.h"

#include "upstream/health.h"

#define WHOLE 1000u     /* thousandths of the requests */
#define OVERFULL 1400u  /* what a level carries beyond its own share before the next one helps */
#define SCALE 1000000.0 /* weights of several levels: WHOLE * SCALE together */

/* Of e's weight what its share leaves. */
static uint32_t weight_of(const struct endpoint *e)
{
    uint64_t weight = atomic_load_explicit(&e->weight, memory_order_relaxed);
    uint32_t share = atomic_load_explicit(&e->share, memory_order_relaxed);
    if (share == WHOLE)
        return (uint32_t) weight;
    uint64_t part = weight * share / WHOLE;
    return weight && share && part == 0 ? 1 : (uint32_t) part;
}

void level_plan(struct level_plan *plan, const uint32_t usable[LEVELS], const uint32_t all[LEVELS],
                uint32_t panic)
{
    uint32_t sum = 0, first = LEVELS;
    *plan = (struct level_plan){0};
    for (uint32_t l = 0; l < LEVELS; l++) {
        if (all[l] == 0)
            continue;
        first = first == LEVELS ? l : first;
        uint32_t carries = (uint32_t) ((uint64_t) OVERFULL * usable[l] / all[l]);
        plan->load[l] = carries < WHOLE - sum ? carries : WHOLE - sum;
        sum += plan->load[l];
    }
    if (sum == WHOLE || first == LEVELS)
        return;
    for (uint32_t l = 0; l < LEVELS; l++) {
        plan->load[l] = sum ? plan->load[l] * WHOLE / sum : l == first ? WHOLE : 0;
        plan->panic[l] = plan->load[l] && (uint64_t) usable[l] * 100 < (uint64_t) panic * all[l];
    }
}

static uint32_t level_of(const struct upstream *u, uint32_t i)
{
    return u->levels ? u->levels[i] : 0;
}

static void plan_of(const struct upstream *u, struct level_plan *plan)
{
    uint32_t usable[LEVELS] = {0}, all[LEVELS] = {0};
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const struct endpoint *e = u->endpoints[i];
        if (!endpoint_wanted(e) || endpoint_unresolved(e))
            continue; /* what is being resolved is not known to be bad */
        all[level_of(u, i)]++;
        usable[level_of(u, i)] += endpoint_usable(e);
    }
    level_plan(plan, usable, all, (uint32_t) u->balance_conf.panic_threshold);
}

void weights_in_force(const struct upstream *u, uint32_t *out)
{
    struct level_plan plan;
    uint64_t sum[LEVELS] = {0};
    uint32_t levels = 0;
    plan_of(u, &plan);
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const struct endpoint *e = u->endpoints[i];
        uint32_t l = level_of(u, i);
        bool may =
            plan.panic[l] ? endpoint_wanted(e) && atomic_load(&e->addrs) : endpoint_usable(e);
        out[i] = may && plan.load[l] ? weight_of(e) : 0;
        levels += out[i] && !sum[l];
        sum[l] += out[i];
    }
    for (uint32_t i = 0; levels > 1 && i < u->n_endpoints; i++) {
        uint32_t l = level_of(u, i);
        if (out[i])
            out[i] = (uint32_t) (out[i] * (plan.load[l] * SCALE) / (double) sum[l] + 1);
    }
}

bool upstream_in_panic(const struct upstream *u)
{
    struct level_plan plan;
    plan_of(u, &plan);
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        const struct endpoint *e = u->endpoints[i];
        if (plan.panic[level_of(u, i)] && endpoint_wanted(e) && atomic_load(&e->addrs) &&
            !endpoint_usable(e))
            return true;
    }
    return false;
}

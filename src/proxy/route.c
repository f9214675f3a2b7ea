/* SPDX-License-Identifier: Apache-2.0 */
/* route.c: the counting of routes. What is in a route is made by who builds the snapshot. */
#include "proxy/route.h"

#include "base/panic.h"

struct route *route_ref(struct route *r)
{
    uint32_t before = atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    must(before > 0);
    return r;
}

void route_unref(struct route *r)
{
    if (!r)
        return;
    uint32_t before = atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel);
    must(before > 0);
    if (before == 1 && r->free)
        r->free(r);
}

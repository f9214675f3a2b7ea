/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c: counting who uses a snapshot; asking it for a route.
 * Invariants:
 * 1. holders counts hands, not exchanges: each worker that will be given the snapshot or whose
 *    in_use is above 0, and whoever else calls snapshot_drop (the main thread).
 * 2. A worker's in_use counts its exchanges, and 1 while the snapshot is the one that new exchanges
 *    get. So an exchange touches its worker's line only, and in_use reaches 0 once. */
#include "proxy/snapshot.h"

#include "base/panic.h"
#include "http/url.h"

#define STRIDE 16u /* numbers a cache line: one worker each */

void snapshot_drop(struct snapshot *s)
{
    uint32_t before = atomic_fetch_sub_explicit(&s->holders, 1, memory_order_acq_rel);
    must(before > 0);
    if (before == 1)
        s->release(s);
}

void snapshot_use(struct snapshot *s, uint32_t worker)
{
    s->in_use[worker * STRIDE]++;
}

void snapshot_unuse(struct snapshot *s, uint32_t worker)
{
    uint32_t *in_use = &s->in_use[worker * STRIDE];
    must(*in_use > 0);
    if (--*in_use == 0)
        snapshot_drop(s);
}

struct route *snapshot_named(const struct snapshot *s, struct str name)
{
    struct route *r = s->router ? router_route(s->router, name) : NULL;
    return r || !s->passes ? r : router_route(s->passes, name);
}

void snapshot_each(const struct snapshot *s, void (*fn)(void *arg, struct route *route), void *arg)
{
    if (s->router)
        router_each(s->router, fn, arg);
    if (s->passes)
        router_each(s->passes, fn, arg);
}

/* Routes h by the path with its slashes merged; to: how it was routed with the path as it is. */
static __attribute__((noinline)) struct routed merged(const struct snapshot *s, struct head *h,
                                                      struct arena *a, enum fault *fault,
                                                      struct str *allow, struct routed to)
{
    size_t before = h->path.n;
    enum fault f = path_slashes(&h->path, a, SLASH_MERGE);
    if (f != FAULT_OK) {
        *fault = f;
        return routed(NULL);
    }
    return h->path.n == before ? to : router_match(s->router, h, a, fault, allow);
}

struct routed snapshot_route(const struct snapshot *s, struct head *h, struct arena *a,
                             enum fault *fault, struct str *allow)
{
    struct routed to = router_match(s->router, h, a, fault, allow);
    const struct plan *plan = to.plan ? to.plan : s->fallback->plan;
    if (__builtin_expect(plan->settings->slashes != SLASH_MERGE, 1))
        return to;
    return merged(s, h, a, fault, allow, to);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* eject: passive health: an endpoint whose answers fail is left out for a while, told by the
 * requests of clients alone. Workers report ends of attempts, a store or two each; the decision
 * is made under the registry's lock, at the failure that completes a row or by the main thread's
 * sweep. Never sends anything. */
#ifndef WEIR_UPSTREAM_EJECT_H
#define WEIR_UPSTREAM_EJECT_H

#include "upstream/registry.h"

/* An attempt at e ended on that worker. Any worker's thread. */
void eject_attempt(struct endpoint *e, const struct attempt_result *r, uint32_t worker);
/* e failed since its last answer: it is to be told of good ends, too. */
static inline bool eject_listens(const struct endpoint *e)
{
    return atomic_load_explicit(&e->passive.in_row, memory_order_relaxed) != 0;
}
/* Main thread, every second: returns those whose time is over, and sweeps when that is due. The
 * registry is locked; as tune_upstream otherwise. */
bool eject_tick(struct upstream *u, usec_t now, bool changing);
/* A check of e passed: it comes back at once. Any thread. */
void eject_forgive(struct endpoint *e, usec_t now);

/* Whether e is left out, and until when and for the how many-th time. Any thread. */
bool eject_left_out(struct endpoint *e, usec_t *until, uint32_t *times);
/* Another process had left e out until then: so it is here, if that is not over. Any thread. */
void eject_leave_out(struct endpoint *e, usec_t until, uint32_t times);

/* One endpoint's requests of a sweep. */
struct eject_sample {
    uint64_t total, failed;
};

/* Which of n samples fail by far more than the others do, and why; EJECT_REASONS: none. out[] by
 * sample; *mean and *limit: success shares in percent behind a verdict by deviation. Pure. */
void eject_judge(const struct ejection_conf *c, const struct eject_sample *s, uint32_t n,
                 enum eject_reason *out, double *mean, double *limit);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. The idle list is ordered by release: the hottest in front, so the tail is what times out.
 * 2. n_idle <= permits, and the sum of permits over all workers is endpoint->idle <= max_idle (but
 *    for a max_idle lowered just now: then permits come back one by one).
 * 3. Where max_connections is set, share->idle = n_idle: other workers read it.
 * 4. The idle timer is set whenever the list is not empty, never later than the first time at which
 *    a link must be looked at; it may come early, then it is set again. */
#include "base/panic.h"
#include "upstream/health.h"
#include "upstream/pool_announce.h"
#include "upstream/pool_inside.h"
#include "upstream/pool_probe.h"
#include "upstream/pool_share.h"

#define WARM_PAUSE_MIN (100 * USEC_PER_MS)
#define WARM_PAUSE_MAX (10 * USEC_PER_SEC)
#define WARM_AT_ONCE 8u /* warm links being opened at a time */
#define PASSED_MOST 16u /* links passed over for one that is proven: more cost more than a look */

/* ---- permits ------------------------------------------------------------------------------- */

/* One more link may idle here. */
static bool permit_have(struct link_pool *p, uint32_t used)
{
    if (used < p->permits)
        return true;
    uint32_t held = atomic_load(&p->endpoint->idle), take;
    do {
        int64_t room = p->conf.max_idle - (int64_t) held;
        if (room <= 0)
            return false;
        take = room < p->batch ? (uint32_t) room : p->batch;
    } while (!atomic_compare_exchange_weak(&p->endpoint->idle, &held, held + take));
    p->permits += take;
    return true;
}

void permits_trim(struct link_pool *p, bool all)
{
    uint32_t spare = p->permits - p->n_idle;
    if (!all && spare < 2 * p->batch)
        return;
    uint32_t back = all ? spare : spare - p->batch;
    p->permits -= back;
    atomic_fetch_sub(&p->endpoint->idle, back);
}

void idle_shrink(struct link_pool *p)
{
    permits_trim(p, true);
    uint32_t held = atomic_load(&p->endpoint->idle);
    while (p->n_idle > 0 && (int64_t) held > p->conf.max_idle) {
        if (!atomic_compare_exchange_weak(&p->endpoint->idle, &held, held - 1))
            continue;
        p->permits--;
        held--;
        link_evict(list_entry(p->idle.root.prev, struct link, node), EVICT_SURPLUS, false);
    }
    for (usec_t now = loop_now(p->worker->loop); p->n_idle > 0;) {
        struct link *coldest = list_entry(p->idle.root.prev, struct link, node);
        if (link_unfit(coldest, now) != EVICT_SURPLUS)
            break;
        link_evict(coldest, EVICT_SURPLUS, false);
    }
}

/* ---- the list ------------------------------------------------------------------------------ */

/* Others look at this word only where a limit can make them ask. */
static void idle_count(struct link_pool *p, uint32_t n)
{
    p->n_idle = n;
    if (p->counted)
        atomic_store(&p->share->idle, n);
}

void idle_remove(struct link *l)
{
    struct link_pool *p = l->pool;
    must(l->state == LINK_IDLE && p->n_idle > 0);
    list_unlink(&l->node);
    counter_sub(&p->stats->idle_now, 1);
    idle_count(p, p->n_idle - 1);
    permits_trim(p, false);
}

/* Before the first link that was released earlier; that is the first one but for probed links. */
static void idle_insert(struct link_pool *p, struct link *l)
{
    struct list_node *at = p->idle.root.next;
    while (at != &p->idle.root && list_entry(at, struct link, node)->released > l->released)
        at = at->next;
    list_insert_before(at, &l->node);
}

/* When l is too old to be lent. Elsewhere that is asked when it is wanted; a warm link is to be
 * replaced before. */
static usec_t warm_end(const struct link_pool *p, const struct link *l)
{
    return p->warm && p->conf.max_lifetime ? l->opened + p->conf.max_lifetime : USEC_NEVER;
}

void idle_put(struct link *l)
{
    struct link_pool *p = l->pool;
    /* Others' links are of no use to this client: the coldest makes room. */
    if (l->announced && p->n_idle > 0 && !permit_have(p, p->n_idle))
        link_evict(list_entry(p->idle.root.prev, struct link, node), EVICT_SURPLUS, false);
    if (!permit_have(p, p->n_idle)) {
        link_evict(l, EVICT_SURPLUS, false);
        return;
    }
    list_unlink(&l->node);
    idle_insert(p, l);
    l->state = LINK_IDLE;
    counter_add(&p->stats->idle_now, 1);
    idle_count(p, p->n_idle + 1);
    if (l->fit_until <= p->idle_timer.deadline) /* none is armed, or a warm l ends before */
        idle_arm(p);
}

/* The hottest link that suits w, from at in the list on. */
static struct link *idle_hottest(struct link_pool *p, struct list_node *at,
                                 const struct link_wait *w)
{
    for (; at != &p->idle.root; at = at->next) {
        struct link *l = list_entry(at, struct link, node);
        if (!w || !p->keyed || link_suits(l, w))
            return l;
    }
    return NULL;
}

/* l was released in this turn, so it would have to be looked at first: behind those of which that
 * is true one that is proven quiet is as good, and spares that. */
static __attribute__((noinline)) struct link *idle_proven(struct link *l, const struct link_wait *w)
{
    struct link *other = l;
    for (uint32_t n = 0; other && other->released_turn == l->released_turn && n < PASSED_MOST; n++)
        other = idle_hottest(l->pool, other->node.next, w);
    return other && link_proven(other) ? other : l;
}

struct link *idle_take(struct link_pool *p, bool must_peek, const struct link_wait *w)
{
    usec_t now = loop_now(p->worker->loop);
    struct link *l;
    while ((l = idle_hottest(p, p->idle.root.next, w))) {
        if (l->released_turn == loop_turn_number(p->worker->loop) && !must_peek && !l->shared)
            l = idle_proven(l, w);
        enum evict_reason reason = link_unfit(l, now);
        if (reason == EVICT_REASONS && p->conf.idle_timeout &&
            now - l->released >= p->conf.idle_timeout)
            reason = EVICT_IDLE;
        if (reason == EVICT_REASONS && !link_quiet(l, must_peek))
            reason = EVICT_CLOSED;
        if (reason != EVICT_REASONS) {
            link_evict(l, reason, false);
            continue;
        }
        idle_remove(l);
        list_push_front(&p->lent, &l->node);
        l->state = LINK_LENT;
        warm_kick(p);
        return l;
    }
    return NULL;
}

/* ---- time ---------------------------------------------------------------------------------- */

/* A shared link is looked after by its own means. */
static usec_t probe_due(const struct link_pool *p, const struct link *l)
{
    if (l->shared)
        return USEC_NEVER;
    return (l->probed > l->released ? l->probed : l->released) + p->conf.probe_after;
}

void idle_arm(struct link_pool *p)
{
    usec_t due = USEC_NEVER;
    if (list_empty(&p->idle))
        return;
    if (p->conf.idle_timeout)
        due = list_entry(p->idle.root.prev, struct link, node)->released + p->conf.idle_timeout;
    if (p->conf.probe == PROBE_HEAD || p->warm) {
        list_each(it, &p->idle) {
            struct link *l = list_entry(it, struct link, node);
            usec_t end = warm_end(p, l);
            usec_t probe = p->conf.probe == PROBE_HEAD ? probe_due(p, l) : USEC_NEVER;
            usec_t first = end < probe ? end : probe;
            if (first < due)
                due = first;
        }
    }
    if (due < p->idle_timer.deadline)
        timer_set(p->worker->loop, &p->idle_timer, due);
}

/* Probes what is due. The FIFO waits meanwhile: serving it could take the next link away. */
static void probe_idle(struct link_pool *p, usec_t now)
{
    bool serving = p->serving;
    p->serving = true;
    list_each_safe(it, &p->idle) {
        struct link *l = list_entry(it, struct link, node);
        if (probe_due(p, l) <= now)
            probe_start(l);
    }
    p->serving = serving;
    if (pool_limited(p))
        pool_serve(p);
}

/* The first of the warm ones that is too old; NULL: none is. */
static struct link *warm_aged(const struct link_pool *p, usec_t now)
{
    list_each(it, &p->idle) {
        struct link *l = list_entry(it, struct link, node);
        if (warm_end(p, l) <= now)
            return l;
    }
    return NULL;
}

static void idle_tick(struct timer *t)
{
    struct link_pool *p = list_entry(t, struct link_pool, idle_timer);
    usec_t now = loop_now(p->worker->loop);
    while (!list_empty(&p->idle) && p->conf.idle_timeout) {
        struct link *l = list_entry(p->idle.root.prev, struct link, node);
        if (now - l->released < p->conf.idle_timeout)
            break;
        link_evict(l, EVICT_IDLE, false);
    }
    for (struct link *l; p->warm && (l = warm_aged(p, now));)
        link_evict(l, EVICT_LIFETIME, false);
    if (p->conf.probe == PROBE_HEAD)
        probe_idle(p, now);
    permits_trim(p, p->n_idle == 0);
    idle_arm(p);
}

/* ---- warm links ---------------------------------------------------------------------------- */

void warm_failed(struct link_pool *p)
{
    usec_t pause = p->warm_pause * 2;
    p->warm_pause = pause < WARM_PAUSE_MIN   ? WARM_PAUSE_MIN
                    : pause > WARM_PAUSE_MAX ? WARM_PAUSE_MAX
                                             : pause;
    /* Some jitter, so that the workers do not knock together. */
    usec_t jitter = clock_random() % (p->warm_pause / 4);
    timer_set(p->worker->loop, &p->warm_timer, loop_now(p->worker->loop) + p->warm_pause + jitter);
}

/* Opens links up to the worker's part of min_idle. */
static void pool_warm(struct link_pool *p)
{
    struct pool_worker *w = p->worker;
    if (w->stopping || !endpoint_usable(p->endpoint) || p->warm_timer.deadline != USEC_NEVER)
        return;
    while (p->n_idle + share_spare(p) < p->warm && share_spare(p) < WARM_AT_ONCE) {
        enum fault fault;
        if (!permit_have(p, p->n_idle + share_spare(p)) || pool_limited(p) || !slot_take(p)) {
            warm_failed(p); /* no room now: look again later */
            return;
        }
        struct link *l = link_open(p, loop_now(w->loop) + p->conf.connect_timeout, NULL,
                                   (struct link_kind){0}, &fault);
        if (!l) {
            warm_failed(p);
            slot_put(p);
            return;
        }
        if (link_is_open(l))
            pool_opened(l);
    }
}

static void warm_run(struct task *t)
{
    pool_warm(list_entry(t, struct link_pool, warm_task));
}

static void warm_tick(struct timer *t)
{
    struct link_pool *p = list_entry(t, struct link_pool, warm_timer);
    pool_warm(p);
}

void idle_init(struct link_pool *p)
{
    timer_init(&p->idle_timer, idle_tick);
    timer_init(&p->warm_timer, warm_tick);
    p->warm_task.run = warm_run;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. n_open = links in the four lists; each holds one slot. Where max_connections is set (counted),
 *    the sum of n_open over all pools, plus slots on their way in tickets, is endpoint->open.
 * 2. A slot is given back by slot_put alone, which offers it to the FIFO: no wake-up is lost.
 * 3. Who enters the FIFO raises `waiting`, then looks for idle links and slots; who frees a link or
 *    slot shows it, then looks at `waiting`: one of the two sees the other (all sequentially
 *    consistent). A link goes to no one else while the FIFO is not empty.
 * 4. n_opening * each >= n_opening_waits: each of those waits has a link on its way, though not a
 *    certain one: the first that comes goes to the oldest. */
#include "upstream/pool.h"

#include "base/panic.h"
#include "upstream/pool_announce.h"
#include "upstream/pool_inside.h"
#include "upstream/pool_share.h"

/* ---- slots --------------------------------------------------------------------------------- */

bool slot_take(struct link_pool *p)
{
    if (p->counted) {
        uint64_t max = (uint64_t) p->conf.max_connections;
        uint32_t n = atomic_load(&p->endpoint->open);
        do {
            if (n >= max)
                return false;
        } while (!atomic_compare_exchange_weak(&p->endpoint->open, &n, n + 1));
    }
    p->n_open++;
    counter_add(&p->stats->open_now, 1);
    return true;
}

void slot_put(struct link_pool *p)
{
    must(p->n_open > 0);
    p->n_open--;
    counter_sub(&p->stats->open_now, 1);
    if (p->counted)
        atomic_fetch_sub(&p->endpoint->open, 1);
    if (pool_limited(p))
        pool_serve(p);
    if (p->n_open == 0)
        pool_reap_later(p);
}

void link_evict(struct link *l, enum evict_reason reason, bool reset)
{
    struct link_pool *p = l->pool;
    link_drop(l, reason, reset);
    slot_put(p);
    warm_kick(p);
}

/* ---- a link becomes free ------------------------------------------------------------------- */

struct link_wait *opening_wait_for(struct link_pool *p, const struct link *l)
{
    list_each(it, &p->opening_waits) {
        struct link_wait *w = list_entry(it, struct link_wait, node);
        if ((l->fresh || !w->want_fresh) && link_suits(l, w))
            return w;
    }
    return NULL;
}

/* pool_offer, where somebody may wait for l. */
RARE static void offer_to_waits(struct link *l, bool opened)
{
    struct link_pool *p = l->pool;
    bool own = opened && p->n_opening_waits > 0;
    if (pool_limited(p) && !own) {
        if (!link_quiet(l, true)) {
            link_evict(l, EVICT_CLOSED, false);
            return;
        }
        if (wait_give(l))
            return;
    }
    struct link_wait *w = p->n_opening_waits ? opening_wait_for(p, l) : NULL;
    if (!w && l->leaving != EVICT_REASONS) {
        link_evict(l, l->leaving, false);
        return;
    }
    if (!w) {
        idle_put(l);
        if (pool_limited(p))
            pool_serve(p);
        return;
    }
    if (!opened && !link_quiet(l, w->must_peek)) {
        link_evict(l, EVICT_CLOSED, false);
        return;
    }
    do {
        wait_unlink(p, w);
        link_lend(l);
        wait_deliver(w, p, l, FAULT_OK);
        w = l->shared && list_linked(&l->room_node) ? opening_wait_for(p, l) : NULL;
    } while (w && link_unfit(l, l->opened) == EVICT_REASONS);
    share_settle(p);
    if (l->shared && pool_limited(p))
        pool_serve(p);
}

void pool_offer(struct link *l, bool opened)
{
    struct link_pool *p = l->pool;
    if (pool_limited(p) || p->n_opening_waits) {
        offer_to_waits(l, opened);
        return;
    }
    idle_put(l);
    if (pool_limited(p))
        pool_serve(p);
}

/* Why a new link that nobody waits for cannot be kept. What has ended or holds bytes already will
 * have no further event that says so. */
static enum evict_reason spare_unfit(struct link *l)
{
    enum evict_reason reason = link_unfit(l, l->opened);
    if (reason == EVICT_NOT_KEPT)
        return EVICT_REASONS; /* it is asked about when it is taken */
    if (reason == EVICT_REASONS && conn_readable(&l->conn))
        return EVICT_READABLE;
    return reason;
}

void pool_opened(struct link *l)
{
    enum fault fault = share_begin(l);
    if (fault != FAULT_OK)
        pool_share_failed(l, fault);
    else if (!l->shared)
        pool_ready(l);
}

void pool_ready(struct link *l)
{
    struct link_pool *p = l->pool;
    counter_add(&p->stats->opens, 1);
    if (!l->shared)
        timer_stop(&l->timer);
    p->n_opening--;
    list_remove(&l->node);
    list_push_front(&p->lent, &l->node);
    l->state = LINK_LENT;
    l->opened = l->released = loop_now(p->worker->loop);
    l->released_turn = loop_turn_number(p->worker->loop);
    p->warm_pause = 0;
    if (link_strayed(l))
        pool_share_stop(l, EVICT_MOVED); /* for those who wait, and nobody else */
    enum evict_reason reason = p->n_opening_waits ? EVICT_REASONS : spare_unfit(l);
    if (reason == EVICT_REASONS) {
        pool_offer(l, true);
        return;
    }
    if (reason != EVICT_RETIRED)
        warm_failed(p);
    link_evict(l, reason, reason == EVICT_READABLE);
}

void pool_open_failed(struct link_pool *p, const struct link *l, enum fault fault)
{
    struct link_wait *w = wait_bereft(p, l);
    if (!w)
        warm_failed(p);
    for (; w; w = wait_bereft(p, l)) {
        wait_unlink(p, w);
        wait_deliver(w, p, NULL, fault);
    }
    slot_put(p);
}

/* ---- the calls of attempts ----------------------------------------------------------------- */

/* No idle link will do (it is reused, or of another kind), and idle ones hold all slots:
 * one of them makes room. */
static bool slot_from_idle(struct link_pool *p)
{
    if (list_empty(&p->idle))
        return false;
    link_drop(list_entry(p->idle.root.prev, struct link, node), EVICT_SURPLUS, false);
    return true;
}

/* pool_try, where no link was to be had at once. limited: because it is others' turn. */
RARE static enum acquire wait_for_link(struct link_pool *p, struct link_wait *w, bool limited,
                                       enum fault *fault)
{
    if (!limited) {
        if (share_expected(p)) {
            wait_for_opening(p, w);
            return ACQUIRE_PENDING;
        }
        if (slot_take(p) || slot_from_idle(p))
            return wait_open(p, w, fault) ? ACQUIRE_PENDING : ACQUIRE_FAULT;
    }
    if (wait_enqueue(p, w))
        return ACQUIRE_PENDING;
    *fault = FAULT_POOL_FULL;
    return ACQUIRE_FAULT;
}

enum acquire pool_try(struct link_pool *p, struct link_wait *w, struct link **out,
                      enum fault *fault)
{
    pool_refresh(p);
    if (__builtin_expect(w->announce.n > 0 || w->want_h1, 0))
        p->keyed = true;
    bool limited = pool_limited(p);
    struct link *l = NULL;
    if (!limited && !w->want_fresh) {
        l = share_take(p, w);
        if (!l)
            l = idle_take(p, w->must_peek, w);
    }
    if (!l)
        return wait_for_link(p, w, limited, fault);
    link_lend(l);
    *out = l;
    return ACQUIRE_READY;
}

enum acquire pool_acquire(struct pool_worker *pw, struct endpoint *e, struct link_wait *w,
                          struct link **out, enum fault *fault)
{
    must(w->state == WAIT_NONE && !w->pool);
    w->endpoint = e;
    if (__builtin_expect(pw->stopping, 0)) {
        *fault = FAULT_SHUTDOWN;
        return ACQUIRE_FAULT;
    }
    w->since = loop_now(pw->loop);
    struct link_pool *p = pool_of(pw, e);
    if (__builtin_expect(!atomic_load(&e->addrs), 0))
        return wait_resolve(p, w, fault) ? ACQUIRE_PENDING : ACQUIRE_FAULT;
    return pool_try(p, w, out, fault);
}

void pool_release(struct link *l)
{
    struct link_pool *p = l->pool;
    must(l->magic == LINK_MAGIC && l->state == LINK_LENT);
    pool_refresh(p);
    if (l->shared) {
        share_return(l);
        return;
    }
    l->fresh = false;
    l->released = loop_now(p->worker->loop);
    l->released_turn = loop_turn_number(p->worker->loop);
    enum evict_reason reason = l->private_use ? EVICT_NOT_KEPT : link_unfit(l, l->released);
    /* Not known to be drained: a look now, so that the events tell all from here on. */
    if (reason == EVICT_REASONS && conn_readable(&l->conn) && !conn_is_quiet(&l->conn))
        reason = l->conn.hup ? EVICT_CLOSED : EVICT_READABLE;
    if (reason != EVICT_REASONS)
        link_evict(l, reason, reason == EVICT_READABLE);
    else
        pool_offer(l, false);
}

void pool_evict(struct link *l, enum evict_reason reason, bool reset)
{
    must(l->magic == LINK_MAGIC && l->state == LINK_LENT);
    if (l->shared)
        share_return(l); /* others have it, too */
    else
        link_evict(l, reason, reset);
}

void pool_keep_private(struct link *l)
{
    must(l->magic == LINK_MAGIC && l->state == LINK_LENT);
    l->private_use = !l->shared;
}

bool pool_opening(const struct link_wait *w)
{
    return w->state == WAIT_OPENING || w->state == WAIT_RESOLVING;
}

usec_t pool_waited(const struct link_wait *w)
{
    return w->pool ? loop_now(w->pool->worker->loop) - w->since : 0;
}

/* A link that was delivered to a wait which is given up: as good as before. */
static void unlend(struct link *l)
{
    struct link_pool *p = l->pool;
    l->requests--;
    if (l->shared) {
        share_return(l);
        return;
    }
    l->released_turn = loop_turn_number(p->worker->loop);
    enum evict_reason reason = link_unfit(l, loop_now(p->worker->loop));
    if (reason == EVICT_REASONS && conn_readable(&l->conn))
        reason = EVICT_READABLE;
    if (reason != EVICT_REASONS)
        link_evict(l, reason, false);
    else
        pool_offer(l, false);
}

/* pool_cancel, of what does wait. */
RARE static void give_up(struct link_wait *w)
{
    struct link_pool *p = w->pool;
    struct link *l = w->link;
    bool opening = w->state == WAIT_OPENING;
    wait_unlink(p, w);
    w->pool = NULL;
    w->link = NULL;
    w->state = WAIT_NONE;
    if (l)
        unlend(l);
    /* The youngest connection in the making is the one that nobody else counts on. */
    struct link *spare = opening && p->n_idle >= p->warm ? opening_spare(p, w) : NULL;
    if (spare) {
        link_abandon(spare);
        slot_put(p);
    }
}

void pool_cancel(struct link_wait *w)
{
    if (w->pool)
        give_up(w);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* pool_share: links that carry several requests at a time (HTTP/2). They never move to another
 * worker. Invariants:
 * 1. A shared link is in pool.roomy exactly while it is lent, in_use < capacity and it is not
 *    leaving.
 * 2. in_use is 0 exactly while the link is idle or being opened; the last loan that comes back
 *    decides what becomes of it, as with any other link.
 * 3. A wait counts on a link that is being opened only while n_opening * each has room for it. */
#include "upstream/pool_share.h"
#include "base/panic.h"
#include "upstream/pool_announce.h"
#include "upstream/pool_inside.h"

enum fault share_begin(struct link *l)
{
    struct link_pool *p = l->pool;
    const struct pool_conf *conf = &p->conf;
    if (l->h1_only)
        return FAULT_OK;
    bool agreed = l->tls ? str_eq(conn_alpn(&l->conn), STR("h2")) : conf->protocol == PROTOCOL_H2;
    if (conf->protocol == PROTOCOL_H2 && !agreed)
        return FAULT_UP_NO_H2;
    if (!agreed || conf->protocol == PROTOCOL_H1 || !p->worker->sharing) {
        p->each = 1;
        return FAULT_OK;
    }
    timer_stop(&l->timer);
    if (!p->worker->sharing->begin(l))
        return FAULT_MEMORY;
    counter_add(&p->stats->shared_now, 1);
    return FAULT_OK;
}

/* What the peer and the configuration both allow. */
static void set_capacity(struct link *l, uint32_t n)
{
    struct link_pool *p = l->pool;
    uint32_t most = (uint32_t) p->conf.max_streams;
    l->capacity = n < most ? n : most;
    p->each = l->capacity && p->conf.keepalive ? l->capacity : 1;
}

void pool_share_opened(struct link *l, uint32_t n)
{
    must(l->state == LINK_OPENING && l->shared);
    set_capacity(l, n);
    pool_ready(l);
}

void pool_share_failed(struct link *l, enum fault fault)
{
    struct link_pool *p = l->pool;
    must(l->state == LINK_OPENING);
    counter_add(&p->stats->open_failures, 1);
    link_abandon(l);
    pool_open_failed(p, l, fault);
}

/* Into or out of pool.roomy. */
static void show_room(struct link *l)
{
    bool room = l->in_use && l->in_use < l->capacity && l->leaving == EVICT_REASONS;
    if (room && !list_linked(&l->room_node))
        list_push_front(&l->pool->roomy, &l->room_node);
    else if (!room)
        list_remove(&l->room_node);
}

void share_end(struct link *l)
{
    list_remove(&l->room_node);
    if (!l->shared)
        return;
    l->worker->sharing->end(l);
    l->shared = NULL;
    counter_sub(&l->pool->stats->shared_now, 1);
    counter_sub(&l->pool->stats->loans_now, l->in_use);
}

struct link *share_take(struct link_pool *p, const struct link_wait *w)
{
    list_each_safe(it, &p->roomy) {
        struct link *l = list_entry(it, struct link, room_node);
        enum evict_reason reason = link_unfit(l, loop_now(p->worker->loop));
        if (reason != EVICT_REASONS)
            pool_share_stop(l, reason);
        else if (!w || link_suits(l, w))
            return l;
    }
    return NULL;
}

void share_lent(struct link *l)
{
    if (l->in_use++ == 0)
        l->busy_since = loop_now(l->worker->loop);
    counter_add(&l->pool->stats->loans_now, 1);
    show_room(l);
}

/* Lends what came free to those who wait for a connection. */
static void give_room(struct link *l)
{
    struct link_pool *p = l->pool;
    usec_t now = loop_now(p->worker->loop);
    while (list_linked(&l->room_node) && link_unfit(l, now) == EVICT_REASONS) {
        struct link_wait *w = p->n_opening_waits ? opening_wait_for(p, l) : NULL;
        if (!w)
            break;
        wait_unlink(p, w);
        link_lend(l);
        wait_deliver(w, p, l, FAULT_OK);
    }
    if (pool_limited(p))
        pool_serve(p);
}

void share_return(struct link *l)
{
    struct link_pool *p = l->pool;
    must(l->state == LINK_LENT && l->in_use > 0);
    l->in_use--;
    counter_sub(&p->stats->loans_now, 1);
    l->fresh = false;
    l->released = loop_now(p->worker->loop);
    l->released_turn = loop_turn_number(p->worker->loop);
    show_room(l);
    if (l->in_use > 0) {
        give_room(l);
        return;
    }
    enum evict_reason reason = link_unfit(l, l->released);
    if (reason != EVICT_REASONS)
        link_evict(l, reason, false);
    else
        pool_offer(l, false);
}

void pool_share_capacity(struct link *l, uint32_t n)
{
    set_capacity(l, n);
    show_room(l);
    if (list_linked(&l->room_node))
        give_room(l);
    share_settle(l->pool);
}

void pool_share_stop(struct link *l, enum evict_reason reason)
{
    must(l->magic == LINK_MAGIC);
    if (l->leaving == EVICT_REASONS)
        l->leaving = (uint8_t) reason;
    show_room(l);
}

void pool_share_settled(struct link *l)
{
    must(l->magic == LINK_MAGIC && l->shared);
    if (l->leaving != EVICT_REASONS && l->state == LINK_IDLE)
        link_evict(l, l->leaving, false);
}

struct link_pings pool_pings(const struct link *l)
{
    const struct pool_conf *c = &l->pool->conf;
    return (struct link_pings){c->ping_interval, c->ping_timeout};
}

bool share_expected(const struct link_pool *p)
{
    return p->each > 1 && !p->keyed && (uint64_t) p->n_opening * p->each > p->n_opening_waits;
}

uint32_t share_spare(const struct link_pool *p)
{
    uint32_t needed = p->n_opening_waits / p->each + (p->n_opening_waits % p->each != 0);
    return p->n_opening > needed ? p->n_opening - needed : 0;
}

void share_settle(struct link_pool *p)
{
    while ((uint64_t) p->n_opening * p->each < p->n_opening_waits) {
        struct link_wait *w = list_entry(p->opening_waits.root.prev, struct link_wait, node);
        struct link *l = NULL;
        enum fault fault = FAULT_OK;
        wait_unlink(p, w);
        w->pool = NULL;
        w->state = WAIT_NONE;
        enum acquire got = pool_try(p, w, &l, &fault);
        if (got != ACQUIRE_PENDING)
            wait_deliver(w, p, l, fault);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. A link is in exactly one list, by its state: pool.opening, .idle, .lent, .probing, or
 *    worker.closed. It holds one slot of its pool (pool.n_open) until it is closed or detached.
 * 2. A new address gets a new struct link: events of the old socket never meet the new one.
 * 3. link_quiet is the one place that decides whether a link may carry a request.
 * 4. fit_until is 0 whenever settings or the endpoint's state have changed since it was noted
 *    (judge_anew). */
#include "upstream/link.h"

#include "base/log.h"
#include "base/panic.h"
#include "net/sock.h"
#include "net/tls.h"
#include "upstream/pool_announce.h"
#include "upstream/pool_inside.h"
#include "upstream/pool_probe.h"
#include "upstream/pool_share.h"

/* What TLS was charged is given back. */
static void uncharge(struct link *l)
{
    mem_credit(l->worker->account, l->charged);
    l->charged = 0;
}

/* ---- opening ------------------------------------------------------------------------------- */

/* This address failed: the next one, or the end. */
static void opening_failed(struct link *l, enum fault fault)
{
    struct link_pool *p = l->pool;
    struct link *next = NULL;
    counter_add(&p->stats->open_failures, 1);
    if (l->tries_left > 0 && loop_now(p->worker->loop) < l->give_up)
        next = link_open(p, l->give_up, l, link_kind(l), &fault);
    link_abandon(l);
    if (!next)
        pool_open_failed(p, l, fault);
    else if (link_is_open(next))
        pool_opened(next);
}

/* Another step of the handshake. */
static void secure_step(struct link *l)
{
    const struct endpoint *e = l->pool->endpoint;
    enum fault fault = FAULT_UP_TLS_FAILED;
    switch (conn_handshake(&l->conn, &fault)) {
    case IO_OK:
        l->securing = false;
        mem_credit(l->worker->account, l->charged - TLS_BYTES_OPEN);
        l->charged = TLS_BYTES_OPEN;
        pool_opened(l);
        return;
    case IO_AGAIN:
        return;
    case IO_EOF:
    case IO_ERR:
        log_warn("endpoint.tls", "%.*s of upstream %.*s: %s: %s", STR_ARG(e->address),
                 STR_ARG(e->upstream_name), fault_name(fault), conn_tls_why(&l->conn));
        opening_failed(l, fault);
        return;
    }
}

/* Connected: TLS is next, when the upstream speaks it. Steps are taken at events, of which the
 * first comes by itself. False: no memory. */
static bool secure_begin(struct link *l)
{
    struct link_pool *p = l->pool;
    const struct addr_text *t = &p->endpoint->text;
    if (!p->tls)
        return true;
    if (!mem_charge(l->worker->account, TLS_BYTES_OPENING))
        return false;
    l->charged = TLS_BYTES_OPENING;
    l->conn.transport = tls_connect(p->tls, t->form == ADDR_UNIX ? STR("") : t->host, l->h1_only);
    if (!l->conn.transport)
        return false;
    l->conn.ops = &conn_tls;
    l->tls = p->tls;
    l->securing = true;
    usec_t limit = tls_client_settings(p->tls)->handshake_timeout;
    timer_set(p->worker->loop, &l->timer, loop_now(p->worker->loop) + limit);
    return true;
}

static void opening_event(struct link *l, unsigned events)
{
    enum fault fault = FAULT_OK;
    if (l->securing) {
        secure_step(l);
        return;
    }
    if (!(events & EV_WRITE))
        return;
    /* An error shows as READ too: without it there is nothing to ask the kernel about. */
    if (events & (EV_READ | EV_HUP))
        fault = sock_connect_result(conn_fd(&l->conn));
    if (fault != FAULT_OK) {
        opening_failed(l, fault);
        return;
    }
    l->conn.connecting = false;
    if (!announcement_send(l))
        opening_failed(l, FAULT_CONNECT_FAILED);
    else if (!secure_begin(l))
        opening_failed(l, FAULT_MEMORY);
    else if (l->securing)
        secure_step(l);
    else
        pool_opened(l);
}

/* ---- events -------------------------------------------------------------------------------- */

/* Of a link that nobody has. */
RARE static void unlent_event(struct link *l, unsigned events)
{
    switch ((enum link_state) l->state) {
    case LINK_IDLE:
        if (l->requests == 0)
            warm_failed(l->pool); /* who ends unused links is not stormed with new ones */
        if (events & EV_HUP)
            link_evict(l, EVICT_CLOSED, false);
        else if ((events & EV_READ) && !conn_is_quiet(&l->conn))
            link_evict(l, EVICT_READABLE, true);
        return;
    case LINK_OPENING:
        opening_event(l, events);
        return;
    case LINK_PROBING:
        probe_event(l);
        return;
    case LINK_LENT:
    case LINK_CLOSED:
        return;
    }
}

static void link_event(struct watch *watch, unsigned events)
{
    struct link *l = (struct link *) watch;
    must(l->magic == LINK_MAGIC);
    if (l->shared && l->state != LINK_CLOSED)
        l->worker->sharing->event(l, events);
    else if (l->state != LINK_LENT)
        unlent_event(l, events);
    else if (l->on_event)
        l->on_event(l, events);
}

static void link_timeout(struct timer *t)
{
    struct link *l = list_entry(t, struct link, timer);
    if (l->shared)
        l->worker->sharing->timer(l);
    else if (l->state == LINK_OPENING)
        opening_failed(l, l->securing ? FAULT_UP_TLS_TIMEOUT : FAULT_CONNECT_TIMEOUT);
    else if (l->state == LINK_PROBING)
        probe_timeout(l);
}

/* ---- birth --------------------------------------------------------------------------------- */

static struct link *link_new(struct link_pool *p)
{
    struct link *l = pool_get(&p->worker->links);
    if (!l)
        return NULL;
    *l = (struct link){.conn.watch.fd = -1,
                       .magic = LINK_MAGIC,
                       .pool = p,
                       .worker = p->worker,
                       .fresh = true,
                       .leaving = EVICT_REASONS};
    timer_init(&l->timer, link_timeout);
    return l;
}

/* Memory of a link that no event can name. */
static void link_unborn(struct link *l)
{
    l->magic = 0;
    announcement_free(l);
    pool_put(&l->worker->links, l);
}

/* Starts a connect to one address after the other until one does not fail at once. */
static bool connect_next(struct link *l, enum fault *fault)
{
    struct link_pool *p = l->pool;
    struct addr a;
    bool done;
    int fd;
    do {
        l->moves = atomic_load(&p->endpoint->moves);
        uint32_t n = endpoint_addr_at(p->endpoint, l->addr_at++, &a);
        if (n == 0) {
            *fault = FAULT_RESOLVE;
            return false;
        }
        l->tries_left = (l->tries_left && l->tries_left < n ? l->tries_left : n) - 1;
        *fault = sock_connect(&a, true, &fd, &done);
        if (*fault != FAULT_OK) {
            counter_add(&p->stats->open_failures, 1);
            continue;
        }
        l->conn.connecting = !done;
        *fault = FAULT_SYSTEM;
        if (!conn_init(&l->conn, p->worker->loop, fd, &conn_plain, link_event))
            return false;
        if (!done)
            return true;
        *fault = announcement_send(l) ? FAULT_MEMORY : FAULT_CONNECT_FAILED;
        if (*fault == FAULT_MEMORY && secure_begin(l))
            return true;
        conn_close(&l->conn);
        uncharge(l);
    } while (l->tries_left > 0);
    return false;
}

struct link *link_open(struct link_pool *p, usec_t give_up, const struct link *after,
                       struct link_kind kind, enum fault *fault)
{
    _Atomic uint32_t *turn = &p->endpoint->next_addr;
    struct link *l = link_new(p);
    if (!l) {
        *fault = FAULT_MEMORY;
        return NULL;
    }
    l->give_up = give_up;
    l->tries_left = after ? after->tries_left : 0;
    l->addr_at = after ? after->addr_at : atomic_fetch_add_explicit(turn, 1, memory_order_relaxed);
    l->h1_only = kind.h1;
    if (!announcement_set(l, kind.announce))
        *fault = FAULT_MEMORY;
    if (l->announced || !kind.announce.n ? !connect_next(l, fault) : true) {
        link_unborn(l);
        return NULL;
    }
    usec_t now = loop_now(p->worker->loop);
    l->opened = now;
    l->state = LINK_OPENING;
    list_push_back(&p->opening, &l->node);
    p->n_opening++;
    /* What is left of the time is shared by the addresses that are left. */
    if (l->conn.connecting)
        timer_set(p->worker->loop, &l->timer, now + (give_up - now) / (l->tries_left + 1));
    return l;
}

struct link *link_adopt(struct link_pool *p, struct ticket *t)
{
    struct link *l = link_new(p);
    if (!l) {
        conn_close(&t->conn);
        return NULL;
    }
    l->conn = t->conn;
    if (!conn_attach(&l->conn, p->worker->loop)) {
        conn_close(&l->conn);
        link_unborn(l);
        return NULL;
    }
    l->fresh = t->fresh;
    l->requests = t->requests;
    l->moves = t->moves;
    l->opened = t->opened;
    l->tls = t->tls;
    l->charged = l->tls && mem_charge(l->worker->account, TLS_BYTES_OPEN) ? TLS_BYTES_OPEN : 0;
    l->released = loop_now(p->worker->loop);
    l->released_turn = loop_turn_number(p->worker->loop);
    l->state = LINK_LENT;
    list_push_back(&p->lent, &l->node);
    bool same = l->tls == p->tls && (!l->tls || l->charged), strayed = link_strayed(l);
    if (same && !strayed && conn_is_quiet(&l->conn))
        return l;
    link_drop(l, !same ? EVICT_RETIRED : strayed ? EVICT_MOVED : EVICT_CLOSED, false);
    return NULL;
}

/* ---- end ----------------------------------------------------------------------------------- */

/* Out of its list, and into the list of those to free. */
static void link_bury(struct link *l)
{
    struct link_pool *p = l->pool;
    must(l->magic == LINK_MAGIC && l->state != LINK_CLOSED);
    share_end(l);
    if (l->state == LINK_IDLE)
        idle_remove(l);
    else if (l->state == LINK_OPENING)
        p->n_opening--;
    else if (l->state == LINK_PROBING)
        probe_free(l);
    list_remove(&l->node);
    timer_stop(&l->timer);
    uncharge(l);
    l->state = LINK_CLOSED;
    l->on_event = NULL;
    l->borrower = NULL;
    list_push_back(&l->worker->closed, &l->node);
    worker_sweep_later(l->worker);
}

void link_abandon(struct link *l)
{
    link_bury(l);
    conn_close(&l->conn);
}

void link_drop(struct link *l, enum evict_reason reason, bool reset)
{
    counter_add(&l->pool->stats->evictions[reason], 1);
    link_bury(l);
    if (reset)
        conn_reset(&l->conn);
    else
        conn_close(&l->conn);
}

void link_detach(struct link *l, struct ticket *t)
{
    conn_detach(&l->conn);
    t->conn = l->conn;
    t->has_link = true;
    t->fresh = l->fresh;
    t->requests = l->requests;
    t->moves = l->moves;
    t->opened = l->opened;
    t->tls = l->tls;
    l->conn.watch.fd = -1;
    link_bury(l);
}

/* ---- lending ------------------------------------------------------------------------------- */

void link_lend(struct link *l)
{
    struct link_pool *p = l->pool;
    if (l->state != LINK_LENT) {
        list_remove(&l->node);
        list_push_front(&p->lent, &l->node);
        l->state = LINK_LENT;
    }
    l->requests++;
    l->on_event = NULL;
    l->borrower = NULL;
    if (l->shared)
        share_lent(l);
    if (!l->fresh)
        counter_add(&p->stats->reused, 1);
}

bool link_quiet(struct link *l, bool must_peek)
{
    const struct conn *c = &l->conn;
    if (c->hup || c->eof || c->broken)
        return false;
    if (l->shared)
        return l->leaving == EVICT_REASONS && (!must_peek || conn_is_quiet(&l->conn));
    if (!must_peek && link_proven(l) && l->pool->conf.probe != PROBE_PEEK)
        return true;
    if (!conn_is_quiet(&l->conn))
        return false;
    l->spliced = false;
    return true;
}

/* What the settings and the endpoint's end say of l: until when it is fit is noted. */
static enum evict_reason judge(struct link *l)
{
    const struct link_pool *p = l->pool;
    const struct pool_conf *conf = &p->conf;
    if (p->worker->stopping || atomic_load(&p->endpoint->retired) || l->tls != p->tls ||
        conf->protocol == (l->shared ? PROTOCOL_H1 : PROTOCOL_H2))
        return EVICT_RETIRED;
    if (!conf->keepalive)
        return EVICT_NOT_KEPT;
    /* A limit that was lowered, or is new. Judged once each, all together, is enough: no link is
     * opened above it. */
    if (p->counted && (int64_t) atomic_load(&p->endpoint->open) > conf->max_connections)
        return EVICT_SURPLUS;
    l->fit_until = conf->max_lifetime ? l->opened + conf->max_lifetime : USEC_NEVER;
    return EVICT_REASONS;
}

enum evict_reason link_unfit(struct link *l, usec_t now)
{
    const struct pool_conf *conf = &l->pool->conf;
    if (l->leaving != EVICT_REASONS)
        return l->leaving;
    if (l->conn.broken)
        return EVICT_ERROR;
    if (l->conn.hup || l->conn.eof || l->conn.write_shut)
        return EVICT_CLOSED;
    if (l->shared && !l->capacity) /* it wants no more requests */
        return EVICT_GOAWAY;
    enum evict_reason reason = now < l->fit_until ? EVICT_REASONS : judge(l);
    if (reason != EVICT_REASONS)
        return reason;
    if (conf->max_requests && l->requests >= conf->max_requests)
        return EVICT_REQUESTS;
    return now < l->fit_until ? EVICT_REASONS : EVICT_LIFETIME;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. A waiting link_wait is in exactly one list, by its state; its pool is set just then.
 * 2. A ticket is in its endpoint's queue, or taken by exactly one worker, who sends it back to its
 *    own with a link or a slot, or, when that worker is gone, frees it. `waiting` is the length of
 *    the queue; both change under the endpoint's lock.
 * 3. A taken ticket carries one slot that is part of endpoint->open and of no pool's n_open.
 * 4. ticket.wait is read and written by its own worker only: cancelling never meets the sender. */
#include "base/panic.h"
#include "upstream/pool_announce.h"
#include "upstream/pool_inside.h"
#include "upstream/pool_share.h"

#define TICKETS_SPARE 256u

/* ---- delivery ------------------------------------------------------------------------------ */

void wait_deliver(struct link_wait *w, struct link_pool *p, struct link *l, enum fault fault)
{
    struct pool_worker *pw = p->worker;
    w->pool = p;
    w->link = l;
    w->fault = fault;
    w->state = WAIT_DELIVERED;
    list_push_back(&pw->delivered, &w->node);
    loop_queue(pw->loop, &pw->deliver);
}

void wait_run(struct task *t)
{
    struct pool_worker *pw = list_entry(t, struct pool_worker, deliver);
    struct list_node *node;
    while ((node = list_pop_front(&pw->delivered))) {
        struct link_wait *w = list_entry(node, struct link_wait, node);
        struct link *l = w->link;
        w->link = NULL;
        w->pool = NULL;
        w->state = WAIT_NONE;
        w->ready(w, l, w->fault);
    }
}

/* ---- tickets ------------------------------------------------------------------------------- */

static struct ticket *ticket_new(struct pool_worker *pw, struct link_wait *w)
{
    struct ticket *t = pw->tickets;
    if (t) {
        pw->tickets = t->spare;
        pw->n_tickets--;
    } else {
        t = mem_new(sizeof *t);
    }
    *t = (struct ticket){.endpoint = endpoint_ref(w->endpoint),
                         .wait = w,
                         .worker = pw->index,
                         .want_fresh = w->want_fresh,
                         .keyed = w->announce.n > 0 || w->want_h1};
    return t;
}

static void ticket_free(struct pool_worker *pw, struct ticket *t)
{
    endpoint_unref(t->endpoint);
    if (pw->n_tickets >= TICKETS_SPARE) {
        mem_free(t);
        return;
    }
    t->spare = pw->tickets;
    pw->tickets = t;
    pw->n_tickets++;
}

void tickets_free(struct pool_worker *pw)
{
    while (pw->tickets) {
        struct ticket *t = pw->tickets;
        pw->tickets = t->spare;
        mem_free(t);
    }
}

/* ---- leaving a list ------------------------------------------------------------------------ */

/* Takes the ticket out of the FIFO; when it was taken already it comes back without a wait. */
static void ticket_disown(struct link_pool *p, struct ticket *t)
{
    struct endpoint *e = p->endpoint;
    pthread_mutex_lock(&e->lock);
    bool queued = list_linked(&t->node);
    if (queued) {
        list_remove(&t->node);
        atomic_fetch_sub(&e->waiting, 1);
    }
    pthread_mutex_unlock(&e->lock);
    t->wait = NULL;
    if (queued)
        ticket_free(p->worker, t);
}

void wait_unlink(struct link_pool *p, struct link_wait *w)
{
    list_remove(&w->node);
    pool_reap_later(p);
    if (w->state == WAIT_OPENING) {
        p->n_opening_waits--;
    } else if (w->state == WAIT_RESOLVING) {
        p->n_resolving--;
    } else if (w->state == WAIT_QUEUED) {
        counter_sub(&p->stats->waiting_now, 1);
        if (w->ticket)
            ticket_disown(p, w->ticket);
        w->ticket = NULL;
    }
}

/* ---- waiting for a connection -------------------------------------------------------------- */

void wait_for_opening(struct link_pool *p, struct link_wait *w)
{
    w->pool = p;
    w->state = WAIT_OPENING;
    list_push_back(&p->opening_waits, &w->node);
    p->n_opening_waits++;
}

bool wait_open(struct link_pool *p, struct link_wait *w, enum fault *fault)
{
    usec_t now = loop_now(p->worker->loop);
    struct link *l = link_open(p, now + p->conf.connect_timeout, NULL, wait_kind(w), fault);
    if (!l) {
        slot_put(p);
        return false;
    }
    wait_for_opening(p, w);
    if (link_is_open(l))
        pool_opened(l);
    return true;
}

/* The same for a wait that was promised an answer by ready(). */
static void wait_open_or_fail(struct link_pool *p, struct link_wait *w)
{
    enum fault fault;
    if (!wait_open(p, w, &fault))
        wait_deliver(w, p, NULL, fault);
}

/* ---- waiting for addresses ----------------------------------------------------------------- */

bool wait_resolve(struct link_pool *p, struct link_wait *w, enum fault *fault)
{
    struct endpoint *e = p->endpoint;
    *fault = FAULT_RESOLVE;
    if (atomic_load(&e->resolve_failed))
        return false;
    *fault = FAULT_POOL_FULL;
    if (p->n_resolving >= p->conf.max_waiting)
        return false;
    w->pool = p;
    w->state = WAIT_RESOLVING;
    list_push_back(&p->resolving, &w->node);
    p->n_resolving++;
    if (p->resolve_timer.deadline == USEC_NEVER)
        timer_set(p->worker->loop, &p->resolve_timer, w->since + p->conf.connect_timeout);
    return true;
}

void resolve_look(struct link_pool *p)
{
    struct endpoint *e = p->endpoint;
    if (!atomic_load(&e->addrs) && !atomic_load(&e->resolve_failed))
        return;
    while (!list_empty(&p->resolving)) {
        struct link_wait *w = list_entry(p->resolving.root.next, struct link_wait, node);
        struct link *l = NULL;
        enum fault fault = FAULT_RESOLVE;
        wait_unlink(p, w);
        w->pool = NULL;
        w->state = WAIT_NONE;
        enum acquire got = atomic_load(&e->addrs) ? pool_try(p, w, &l, &fault) : ACQUIRE_FAULT;
        if (got == ACQUIRE_READY)
            wait_deliver(w, p, l, FAULT_OK);
        else if (got == ACQUIRE_FAULT)
            wait_deliver(w, p, NULL, fault);
    }
}

void resolve_tick(struct timer *t)
{
    struct link_pool *p = list_entry(t, struct link_pool, resolve_timer);
    usec_t now = loop_now(p->worker->loop);
    while (!list_empty(&p->resolving)) {
        struct link_wait *w = list_entry(p->resolving.root.next, struct link_wait, node);
        if (now - w->since < p->conf.connect_timeout) {
            timer_set(p->worker->loop, t, w->since + p->conf.connect_timeout);
            return;
        }
        wait_unlink(p, w);
        wait_deliver(w, p, NULL, FAULT_RESOLVE);
    }
}

/* ---- the FIFO ------------------------------------------------------------------------------ */

/* Asks every other worker that has an idle link to look at the FIFO. */
static void ask_others(struct link_pool *p)
{
    struct endpoint *e = p->endpoint;
    for (uint32_t i = 0; i < e->registry->n_workers; i++) {
        if (i != p->worker->index && atomic_load(&e->shares[i].idle) > 0)
            endpoint_tell(e, i);
    }
}

bool wait_enqueue(struct link_pool *p, struct link_wait *w)
{
    struct endpoint *e = p->endpoint;
    struct ticket *t = ticket_new(p->worker, w);
    pthread_mutex_lock(&e->lock);
    bool room = (int64_t) atomic_load(&e->waiting) < p->conf.max_waiting;
    if (room) {
        list_push_back(&e->queue, &t->node);
        atomic_fetch_add(&e->waiting, 1);
    }
    pthread_mutex_unlock(&e->lock);
    if (!room) {
        ticket_free(p->worker, t);
        return false;
    }
    w->pool = p;
    w->ticket = t;
    w->state = WAIT_QUEUED;
    list_push_back(&p->queued, &w->node);
    counter_add(&p->stats->waits, 1);
    counter_add(&p->stats->waiting_now, 1);
    pool_serve(p);
    if (pool_contended(p))
        ask_others(p);
    return true;
}

/* The oldest ticket, or NULL. */
static struct ticket *ticket_pop(struct endpoint *e)
{
    struct ticket *t = NULL;
    pthread_mutex_lock(&e->lock);
    struct list_node *node = list_pop_front(&e->queue);
    if (node) {
        t = list_entry(node, struct ticket, node);
        atomic_fetch_sub(&e->waiting, 1);
    }
    pthread_mutex_unlock(&e->lock);
    return t;
}

/* A slot of p goes into a ticket, or comes out of one. */
static void slot_send(struct link_pool *p)
{
    p->n_open--;
    counter_sub(&p->stats->open_now, 1);
    if (!p->counted)
        atomic_fetch_add(&p->endpoint->open, 1);
}

static void slot_receive(struct link_pool *p)
{
    p->n_open++;
    counter_add(&p->stats->open_now, 1);
    if (!p->counted)
        atomic_fetch_sub(&p->endpoint->open, 1);
}

/* Its own worker is the one that serves it. */
static void ticket_here(struct link_pool *p, struct ticket *t, struct link *l)
{
    struct link_wait *w = t->wait;
    must(w && w->ticket == t);
    w->ticket = NULL;
    wait_unlink(p, w);
    ticket_free(p->worker, t);
    if (l && ((w->want_fresh && !l->fresh) || !link_suits(l, w))) {
        link_drop(l, EVICT_SURPLUS, false);
        l = NULL;
    }
    if (!l) {
        wait_open_or_fail(p, w);
        return;
    }
    link_lend(l);
    wait_deliver(w, p, l, FAULT_OK);
}

/* The ticket came home, with a slot and perhaps a link. */
static void ticket_arrived(struct pool_worker *pw, struct note *n)
{
    struct ticket *t = (struct ticket *) n;
    struct link_pool *p = pool_of(pw, t->endpoint);
    struct link_wait *w = t->wait;
    struct link *l = NULL;
    pool_refresh(p);
    slot_receive(p);
    if (t->has_link && pw->stopping)
        conn_close(&t->conn);
    else if (t->has_link)
        l = link_adopt(p, t);
    if (w) {
        w->ticket = NULL;
        wait_unlink(p, w);
    }
    ticket_free(pw, t);
    if (w && l) {
        link_lend(l);
        wait_deliver(w, p, l, FAULT_OK);
    } else if (w) {
        wait_open_or_fail(p, w);
    } else if (l) {
        pool_offer(l, false);
    } else {
        slot_put(p);
    }
}

/* Sends a ticket home; its worker gone, the slot and the link go back to everybody. */
static void ticket_send(struct link_pool *p, struct ticket *t)
{
    t->note.run = ticket_arrived;
    slot_send(p);
    if (registry_note(p->endpoint->registry, t->worker, &t->note))
        return;
    if (t->has_link)
        conn_close(&t->conn);
    slot_receive(p);
    ticket_free(p->worker, t);
    slot_put(p);
}

/* l or, when NULL, a slot that is held goes to t. */
static void ticket_grant(struct link_pool *p, struct ticket *t, struct link *l)
{
    if (t->worker == p->worker->index) {
        ticket_here(p, t, l);
        return;
    }
    bool foreign = l && (l->announced || l->h1_only || l->shared);
    if (l && ((t->want_fresh && !l->fresh) || t->keyed || foreign))
        link_drop(l, EVICT_SURPLUS, false);
    else if (l)
        link_detach(l, t);
    ticket_send(p, t);
}

bool wait_give(struct link *l)
{
    struct link_pool *p = l->pool;
    struct ticket *t = ticket_pop(p->endpoint);
    if (!t)
        return false;
    ticket_grant(p, t, l);
    return true;
}

/* The oldest ticket, when it is of this worker and l would do for it; else NULL. */
static struct ticket *ticket_pop_own(struct link_pool *p, const struct link *l)
{
    struct endpoint *e = p->endpoint;
    struct ticket *t = NULL;
    pthread_mutex_lock(&e->lock);
    if (!list_empty(&e->queue)) {
        struct ticket *first = list_entry(e->queue.root.next, struct ticket, node);
        if (first->worker == p->worker->index && (!first->want_fresh || l->fresh) &&
            link_suits(l, first->wait))
            t = first;
    }
    if (t) {
        list_remove(&t->node);
        atomic_fetch_sub(&e->waiting, 1);
    }
    pthread_mutex_unlock(&e->lock);
    return t;
}

/* Lends a shared link that has room to the oldest waiter. */
static bool serve_shared(struct link_pool *p)
{
    struct link *l = share_take(p, NULL);
    struct ticket *t = l ? ticket_pop_own(p, l) : NULL;
    if (t)
        ticket_here(p, t, l);
    return t != NULL;
}

void pool_serve(struct link_pool *p)
{
    if (p->serving)
        return;
    p->serving = true;
    while (pool_contended(p)) {
        if (serve_shared(p))
            continue;
        struct link *l = idle_take(p, true, NULL);
        if (!l && !slot_take(p))
            break;
        struct ticket *t = ticket_pop(p->endpoint);
        if (t)
            ticket_grant(p, t, l);
        else if (l)
            idle_put(l);
        else
            slot_put(p);
    }
    p->serving = false;
}

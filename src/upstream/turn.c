/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. run->turns is the number of turns, and of tickets on their way, with of_upstream; endpoint->
 *    turns the same of of_endpoint. They grow by take(), which never goes above the limit, and by
 *    turn_adopt, when a limit is set that is exceeded already.
 * 2. run->pending is the length of run->queue, run->pending_any the number of those in it whom any
 *    endpoint would do; all change under run->queue_lock. A ticket is in the queue, or on its way
 *    to its worker by exactly one sender.
 * 3. Who joins the queue raises `pending`, then looks for room (turn_look); who leaves makes room
 *    seen, then looks at `pending`: one of the two sees the other (all sequentially consistent).
 * 4. What is held is handed over while it is held: nobody who came later can take it between. Only
 *    what exceeds a limit, because that was lowered or set meanwhile, is given up.
 * 5. ticket.turn is read and written by its own worker only: leaving never meets the sender.
 * 6. A turn is in its worker's list, and counted in its bell, exactly while it has a ticket. */
#include "upstream/turn.h"

#include "base/panic.h"
#include "upstream/registry.h"

#define TRIED_MAX 16

/* A place in the FIFO, and the letter that brings what was granted. */
struct turn_ticket {
    struct note note; /* first */
    struct list_node node;
    const struct upstream *upstream;
    struct turn *turn; /* NULL: it left meanwhile */
    uint32_t worker;
    bool again, of_upstream_missing, any;
    struct endpoint *only;
    const struct endpoint *tried[TRIED_MAX];
    uint32_t n_tried;
    /* Granted: one reference to endpoint, which keeps run alive. */
    struct upstream_run *run;
    struct endpoint *endpoint;
    bool of_upstream, of_endpoint, offers;
};

/* What somebody has of the limits of an upstream and one of its endpoints. */
struct hold {
    struct upstream_run *run;
    struct endpoint *endpoint;
    bool of_upstream, of_endpoint;
};

/* ---- counting ------------------------------------------------------------------------------ */

/* One more of *n, where most (0: no limit) allows it; *counted: it was. */
static bool take(_Atomic uint32_t *n, const _Atomic uint32_t *most, bool *counted)
{
    uint32_t max = atomic_load_explicit(most, memory_order_relaxed);
    uint32_t now = max ? atomic_load(n) : 0;
    *counted = max > 0;
    do {
        if (max && now >= max)
            return *counted = false;
    } while (max && !atomic_compare_exchange_weak(n, &now, now + 1));
    return true;
}

static void put(_Atomic uint32_t *n, bool *counted)
{
    if (*counted)
        atomic_fetch_sub(n, 1);
    *counted = false;
}

/* Takes what of both is missing, or nothing. */
static bool hold_fill(struct hold *h)
{
    bool had = h->of_endpoint;
    if (!had && !take(&h->endpoint->turns, &h->endpoint->max_active, &h->of_endpoint))
        return false;
    if (h->of_upstream || take(&h->run->turns, &h->run->max_active, &h->of_upstream))
        return true;
    if (!had)
        put(&h->endpoint->turns, &h->of_endpoint);
    return false;
}

static void hold_drop(struct hold *h)
{
    if (h->endpoint)
        put(&h->endpoint->turns, &h->of_endpoint);
    put(&h->run->turns, &h->of_upstream);
}

/* ---- the FIFO; its lock is held ------------------------------------------------------------ */

static bool wants(const struct turn_ticket *t, const struct endpoint *e)
{
    if (t->only)
        return t->only == e;
    for (uint32_t i = 0; i < t->n_tried; i++) {
        if (t->tried[i] == e)
            return false;
    }
    return true;
}

/* The first whom a turn of u at e helps. One of another configuration looks for itself, and so
 * does one for whom the upstream had no room. */
static struct turn_ticket *first_for(const struct upstream_run *run, const struct upstream *u,
                                     const struct endpoint *e)
{
    list_each(it, &run->queue) {
        struct turn_ticket *t = list_entry(it, struct turn_ticket, node);
        if (t->upstream != u || t->of_upstream_missing || wants(t, e))
            return t;
    }
    return NULL;
}

static void queue_add(struct upstream_run *run, struct turn_ticket *t)
{
    struct list_node *at = run->queue.root.next;
    while (t->again && at != &run->queue.root && list_entry(at, struct turn_ticket, node)->again)
        at = at->next;
    list_insert_before(t->again ? at : &run->queue.root, &t->node);
    if (t->only)
        t->only->pending++;
    atomic_fetch_add(&run->pending_any, t->any);
    atomic_fetch_add(&run->pending, 1);
}

static void queue_remove(struct upstream_run *run, struct turn_ticket *t)
{
    list_remove(&t->node);
    atomic_fetch_sub(&run->pending_any, t->any);
    atomic_fetch_sub(&run->pending, 1);
    if (t->only)
        t->only->pending--;
}

/* ---- waiting, on the turn's own worker ------------------------------------------------------ */

static void wait_begins(struct turn *t, struct turn_ticket *k, struct pool_worker *w)
{
    t->ticket = k;
    list_push_back(&w->turns, &t->node);
    atomic_fetch_add(&w->registry->bells[w->index].waiting, 1);
}

static void wait_ends(struct turn *t, struct pool_worker *w)
{
    t->ticket = NULL;
    list_remove(&t->node);
    atomic_fetch_sub(&w->registry->bells[w->index].waiting, 1);
}

/* rung is cleared before the look, so that what changes from now on rings again. */
static void bell_rang(struct pool_worker *w, struct note *n)
{
    struct turn_bell *bell = (struct turn_bell *) n;
    atomic_store(&bell->rung, false);
    list_each_safe(it, &w->turns) {
        struct turn *t = list_entry(it, struct turn, node);
        t->looked = 0;
        t->ready(t);
    }
}

void turn_ring(struct upstream_registry *r)
{
    for (uint32_t i = 0; i < r->n_workers; i++) {
        struct turn_bell *bell = &r->bells[i];
        if (!atomic_load(&bell->waiting) || atomic_exchange(&bell->rung, true))
            continue;
        bell->note.run = bell_rang;
        if (!registry_note(r, i, &bell->note))
            atomic_store(&bell->rung, false);
    }
}

/* ---- granting ------------------------------------------------------------------------------ */

static void pass(struct hold *h, const struct upstream *u, struct pool_worker *w);

/* On its own worker: the turn has what its ticket brought; left meanwhile: others get it. */
static void ticket_arrived(struct pool_worker *w, struct note *n)
{
    struct turn_ticket *k = (struct turn_ticket *) n;
    struct turn *t = k->turn;
    if (t) {
        wait_ends(t, w);
        t->granted = true;
        t->endpoint = k->offers ? k->endpoint : NULL;
        t->of_endpoint = k->of_endpoint;
        t->of_upstream = k->of_upstream;
        t->ready(t);
    } else {
        struct hold h = {k->run, k->endpoint, k->of_upstream, k->of_endpoint};
        pass(&h, k->upstream, w);
    }
    endpoint_unref(k->endpoint);
    mem_free(k);
}

/* Gives all of h, or what of it is missing, to the first who can use it. */
static bool hand_over(struct hold *h, const struct upstream *u, struct pool_worker *w)
{
    struct upstream_run *run = h->run;
    pthread_mutex_lock(&run->queue_lock);
    struct turn_ticket *k = first_for(run, u, h->endpoint);
    if (!k || !hold_fill(h)) {
        pthread_mutex_unlock(&run->queue_lock);
        return false;
    }
    queue_remove(run, k);
    k->endpoint = endpoint_ref(h->endpoint);
    k->offers = k->upstream == u;
    if (!k->offers)
        put(&h->endpoint->turns, &h->of_endpoint);
    k->of_upstream = h->of_upstream;
    k->of_endpoint = h->of_endpoint;
    k->note.run = ticket_arrived;
    pthread_mutex_unlock(&run->queue_lock);
    h->of_upstream = h->of_endpoint = false;
    if (k->worker == w->index)
        ticket_arrived(w, &k->note);
    else if (!registry_note(w->registry, k->worker, &k->note)) {
        k->turn = NULL; /* that worker is gone, and so are its requests */
        ticket_arrived(w, &k->note);
    }
    return true;
}

/* Where more are in progress than may be, as the limit is a new one, it is one less. */
static void shed(_Atomic uint32_t *n, const _Atomic uint32_t *most, bool *counted)
{
    uint32_t max = atomic_load_explicit(most, memory_order_relaxed);
    if (max && atomic_load(n) > max)
        put(n, counted);
}

/* What is held goes to the next, or back. */
static void pass(struct hold *h, const struct upstream *u, struct pool_worker *w)
{
    shed(&h->run->turns, &h->run->max_active, &h->of_upstream);
    if (h->endpoint)
        shed(&h->endpoint->turns, &h->endpoint->max_active, &h->of_endpoint);
    if (h->endpoint && atomic_load(&h->run->pending) && hand_over(h, u, w))
        return;
    hold_drop(h);
    if (h->endpoint && atomic_load(&h->run->pending))
        hand_over(h, u, w);
}

/* ---- the calls of attempts ----------------------------------------------------------------- */

enum turn_answer turn_take(struct turn *t, struct pool_worker *w, struct upstream *u,
                           struct endpoint *e)
{
    struct hold h = {u->run, e, t->of_upstream, t->of_endpoint && t->endpoint == e};
    t->upstream = u;
    if (!t->granted && atomic_load(&u->run->pending_any))
        return TURN_UPSTREAM_FULL;
    if (!hold_fill(&h))
        return endpoint_full(e) ? TURN_ENDPOINT_FULL : TURN_UPSTREAM_FULL;
    struct hold old = {u->run, t->endpoint, false, t->of_endpoint && t->endpoint != e};
    t->of_upstream = h.of_upstream;
    t->of_endpoint = h.of_endpoint;
    t->endpoint = e;
    t->granted = false;
    if (old.of_endpoint)
        pass(&old, u, w);
    return TURN_TAKEN;
}

static void adopt(_Atomic uint32_t *n, const _Atomic uint32_t *most, bool *counted)
{
    if (*counted || !atomic_load(most))
        return;
    atomic_fetch_add(n, 1);
    *counted = true;
}

void turn_adopt(struct turn *t, struct upstream *u, struct endpoint *e)
{
    adopt(&u->run->turns, &u->run->max_active, &t->of_upstream);
    adopt(&e->turns, &e->max_active, &t->of_endpoint);
    t->upstream = u;
    t->endpoint = e;
}

/* k has its place: not more than may wait, in all and for the one endpoint. Lock held. */
static enum turn_queued admit(struct upstream_run *run, struct turn_ticket *k)
{
    if (atomic_load(&run->pending) >= atomic_load(&run->max_pending))
        return TURN_REFUSED;
    if (k->only && !k->again && k->only->pending >= atomic_load(&k->only->max_pending))
        return TURN_NOT_THERE;
    queue_add(run, k);
    return TURN_QUEUED;
}

static struct turn_ticket *ticket_new(struct turn *t, uint32_t worker, struct upstream *u,
                                      const struct turn_want *want)
{
    struct turn_ticket *k = mem_new(sizeof *k);
    must(want->n_tried <= TRIED_MAX);
    *k = (struct turn_ticket){.upstream = u,
                              .turn = t,
                              .worker = worker,
                              .again = want->again || t->granted,
                              .of_upstream_missing = want->of_upstream,
                              .any = want->of_upstream || (!want->only && !want->n_tried),
                              .only = want->only,
                              .n_tried = want->n_tried,
                              .run = u->run};
    for (uint32_t i = 0; i < want->n_tried; i++)
        k->tried[i] = want->tried[i];
    return k;
}

enum turn_queued turn_wait(struct turn *t, struct pool_worker *w, struct upstream *u,
                           const struct turn_want *want)
{
    struct upstream_run *run = u->run;
    struct turn_ticket *k = ticket_new(t, w->index, u, want);
    struct hold back = {run, t->endpoint, t->of_upstream, t->of_endpoint};
    must(!t->ticket);
    /* An offer that it cannot use is for others; one that nobody can use is not. */
    bool useful = back.of_endpoint && !wants(k, back.endpoint);
    pthread_mutex_lock(&run->queue_lock);
    enum turn_queued queued = admit(run, k);
    pthread_mutex_unlock(&run->queue_lock);
    if (queued == TURN_QUEUED) {
        t->looked = loop_now(w->loop);
        t->since = t->since ? t->since : t->looked;
        wait_begins(t, k, w);
        counter_add(&run->workers[w->index].waits, 1);
    } else {
        mem_free(k);
        counter_add(&run->workers[w->index].refused, queued == TURN_REFUSED);
        if (queued == TURN_NOT_THERE)
            return queued;
    }
    t->upstream = u;
    t->endpoint = NULL;
    t->granted = t->of_upstream = t->of_endpoint = false;
    if (useful)
        pass(&back, u, w);
    else
        hold_drop(&back);
    return queued;
}

void turn_look(struct upstream *u, struct pool_worker *w, struct endpoint *e)
{
    struct hold h = {.run = u->run, .endpoint = e};
    if (atomic_load(&u->run->pending))
        hand_over(&h, u, w);
}

struct endpoint *turn_waits_for(const struct turn *t)
{
    return t->ticket->only;
}

void turn_want_any(struct turn *t)
{
    struct upstream_run *run = t->upstream->run;
    struct turn_ticket *k = t->ticket;
    pthread_mutex_lock(&run->queue_lock);
    if (list_linked(&k->node) && k->only) {
        k->only->pending--;
        k->only = NULL;
        atomic_fetch_add(&run->pending_any, !k->any);
        k->any = true;
    }
    pthread_mutex_unlock(&run->queue_lock);
}

void turn_leave(struct turn *t, struct pool_worker *w)
{
    struct turn_ticket *k = t->ticket;
    if (k) {
        struct upstream_run *run = t->upstream->run;
        pthread_mutex_lock(&run->queue_lock);
        bool queued = list_linked(&k->node);
        if (queued)
            queue_remove(run, k);
        k->turn = NULL;
        pthread_mutex_unlock(&run->queue_lock);
        wait_ends(t, w);
        if (queued)
            mem_free(k);
    } else if (t->of_upstream || t->of_endpoint || t->granted) {
        struct hold h = {t->upstream->run, t->endpoint, t->of_upstream, t->of_endpoint};
        t->granted = t->of_upstream = t->of_endpoint = false;
        t->endpoint = NULL;
        pass(&h, t->upstream, w);
    }
}

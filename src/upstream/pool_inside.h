/* SPDX-License-Identifier: Apache-2.0 */
/* pool_inside: what the files of the pool share: link.c (one connection), pool.c (slots, acquire,
 * release), pool_worker.c (birth and end), pool_idle.c (idle links, permits, warm links),
 * pool_wait.c (waiters, the FIFO, hand-over), pool_share.c (links that carry several requests),
 * pool_probe.c (HEAD probes). Owned by its worker, on whose thread alone all of this runs; never
 * for other floors. */
#ifndef WEIR_UPSTREAM_POOL_INSIDE_H
#define WEIR_UPSTREAM_POOL_INSIDE_H

#include "upstream/pool.h"
#include "upstream/registry.h"

#define LINK_MAGIC 0x4c494e4bu /* "LINK" */

struct link_kind;

/* Where a request for a link is. */
enum wait_state {
    WAIT_NONE,
    WAIT_RESOLVING, /* in pool.resolving: no address known yet */
    WAIT_OPENING,   /* in pool.opening_waits: a link is being opened for it */
    WAIT_QUEUED,    /* in pool.queued, its ticket in the FIFO or on its way back */
    WAIT_DELIVERED, /* in worker.delivered: ready() is due */
};

/* A place in an endpoint's FIFO, and the letter that brings what it was granted. The worker that
 * made it alone reads wait; whoever took it off the FIFO writes the rest, then sends it back. */
struct ticket {
    struct note note; /* first */
    struct list_node node;
    struct endpoint *endpoint;        /* one reference */
    struct link_wait *wait;           /* NULL: cancelled meanwhile */
    uint32_t worker, requests, moves; /* requests, moves: of the link */
    bool want_fresh, fresh;
    bool keyed;    /* wait wants a link of its own kind: none of another worker will do */
    bool has_link; /* conn comes along; else only the right to open one */
    usec_t opened;
    struct conn conn;             /* detached */
    const struct tls_client *tls; /* of the link */
    struct ticket *spare;         /* of its worker */
};

struct link_pool {
    struct pool_worker *worker;
    struct endpoint *endpoint; /* one reference */
    struct endpoint_stats *stats;
    struct endpoint_share *share;
    struct list_node node; /* in worker->pools */
    struct list idle;      /* front: released last */
    struct list opening, lent, probing;
    struct list roomy; /* of link.room_node: shared links that are lent and have room */
    struct list opening_waits, resolving, queued; /* of struct link_wait, oldest first */
    uint32_t n_open;                              /* links of all states but CLOSED: slots held */
    uint32_t n_idle, n_opening, n_opening_waits, n_resolving;
    uint32_t each; /* requests that a link being opened is expected to carry; 1 on HTTP/1 */
    uint32_t permits, batch;     /* to idle, leased from endpoint->idle, >= n_idle; at a time */
    uint32_t warm;               /* idle links this worker keeps ready (its part of min_idle) */
    uint32_t conf_number, moves; /* of conf; of the endpoint, at the last look */
    bool counted;                /* n_open is part of endpoint->open: max_connections is set */
    bool keyed;                  /* a link or wait of this pool is not for everybody */
    bool serving;           /* the FIFO is being served, or must wait until a list was walked */
    usec_t warm_pause;      /* after failures to open warm links: doubles */
    struct pool_conf conf;  /* a copy; probe_path is its own */
    struct tls_client *tls; /* one reference; NULL: none is spoken */
    struct timer idle_timer, resolve_timer, warm_timer;
    struct task warm_task;
};

/* ---- link.c: a link is in exactly one list of its pool, by its state ---- */

/* Starts a connection to the next address, by a slot of the caller that the link holds from now on.
 * It is in pool.opening, and open already when link_is_open. after: whose address failed;
 * NULL: all addresses once around. kind: what it is for. NULL: *fault, nothing changed. */
struct link *link_open(struct link_pool *p, usec_t give_up, const struct link *after,
                       struct link_kind kind, enum fault *fault);
/* Makes a link of the connection that a ticket brought, for a slot that is held; lists it as lent.
 * NULL: it was not quiet or could not be kept; it is closed. */
struct link *link_adopt(struct link_pool *p, struct ticket *t);
/* Closes and frees at the end of the turn; counts the reason; the slot stays held. */
void link_drop(struct link *l, enum evict_reason reason, bool reset);
/* The same for one that never connected: no eviction. */
void link_abandon(struct link *l);
/* Takes the connection off this loop into t; the link is gone, its slot stays held. */
void link_detach(struct link *l, struct ticket *t);
/* Into the list and state lent; counts the request. */
void link_lend(struct link *l);
/* May be lent now: not touched by the peer, by the rules of link.h. May cost one peek. */
bool link_quiet(struct link *l, bool must_peek);
/* Why l must not be kept for another request, or EVICT_REASONS. now: monotonic. */
enum evict_reason link_unfit(struct link *l, usec_t now);

/* ---- pool.c ---- */

/* Makes the worker's pool of e. */
RARE struct link_pool *pool_make(struct pool_worker *w, struct endpoint *e);
/* Takes the settings over, which changed to that number. */
void pool_reconfigure(struct link_pool *p, uint32_t number);
/* The worker's pool of e, made when there is none. */
static inline struct link_pool *pool_of(struct pool_worker *w, struct endpoint *e)
{
    struct link_pool *p = e->pools[w->index];
    return __builtin_expect(p != NULL, 1) ? p : pool_make(w, e);
}
/* Takes changed settings over. */
static inline void pool_refresh(struct link_pool *p)
{
    uint32_t number = atomic_load(&p->endpoint->conf_number);
    if (__builtin_expect(p->conf_number != number, 0))
        pool_reconfigure(p, number);
}
/* Takes the right to one more link; false: at max_connections. */
bool slot_take(struct link_pool *p);
/* Gives it back; the oldest waiter of the endpoint, if any, gets it. */
void slot_put(struct link_pool *p);
/* Drops a link and gives its slot back. */
RARE void link_evict(struct link *l, enum evict_reason reason, bool reset);
/* pool_acquire, from where the endpoint's addresses are known. */
enum acquire pool_try(struct link_pool *p, struct link_wait *w, struct link **out,
                      enum fault *fault);
/* A link came to be connected. */
void pool_opened(struct link *l);
/* It can carry a request. */
void pool_ready(struct link *l);
/* No address could be connected for l, which is closed; the slot is still held. */
void pool_open_failed(struct link_pool *p, const struct link *l, enum fault fault);
/* Hands a link that is in no one's use to a waiter or to the idle list. The link is in pool.lent or
 * pool.opening. opened: it has just been connected. */
void pool_offer(struct link *l, bool opened);
/* At the end of the turn: frees closed links. */
void worker_sweep_later(struct pool_worker *w);
/* The same; frees p, too, when its endpoint is retired and it holds nothing any more. */
void pool_reap_later(struct link_pool *p);

/* ---- pool_idle.c ---- */

/* Moves the hottest link that may be lent to w (NULL: to anybody) from the idle list to pool.lent,
 * not counted as lent yet, evicting unfit ones on the way; NULL: none. */
struct link *idle_take(struct link_pool *p, bool must_peek, const struct link_wait *w);
/* Puts a link into the idle list, or evicts it as surplus. */
void idle_put(struct link *l);
/* Takes an idle link out of the list. */
void idle_remove(struct link *l);
/* Gives back the permits that are not needed; all of them when none is used. */
void permits_trim(struct link_pool *p, bool all);
/* Evicts idle links above a lowered max_idle or max_connections. */
void idle_shrink(struct link_pool *p);
/* Sets the timer for the next idle link to look at. */
void idle_arm(struct link_pool *p);
/* Prepares the timers and the task of this part. */
void idle_init(struct link_pool *p);
/* Has links opened soon when some are missing to the worker's part of min_idle. */
static inline void warm_kick(struct link_pool *p)
{
    if (__builtin_expect(p->n_idle < p->warm, 0))
        loop_queue(p->worker->loop, &p->warm_task);
}
/* A warm link could not be opened: wait longer before the next. */
void warm_failed(struct link_pool *p);

/* ---- pool_wait.c ---- */

/* Requests are in its endpoint's FIFO. */
static inline bool pool_contended(const struct link_pool *p)
{
    return atomic_load(&p->endpoint->waiting) > 0;
}
/* The same where there is a limit; elsewhere the word is not even read. (When a reload took the
 * limit away, every worker is told and serves who still waits.) */
static inline bool pool_limited(const struct link_pool *p)
{
    return p->counted && pool_contended(p);
}
/* Has w wait for a connection that is being opened. */
void wait_for_opening(struct link_pool *p, struct link_wait *w);
/* The oldest wait whose own link is still being opened, if it would take l. */
struct link_wait *opening_wait_for(struct link_pool *p, const struct link *l);
/* Puts w at the end of the FIFO; false: max_waiting. */
bool wait_enqueue(struct link_pool *p, struct link_wait *w);
/* Grants idle links and free slots of this worker to the oldest waiters. */
void pool_serve(struct link_pool *p);
/* Gives l to the oldest waiter in the FIFO; false: nobody waits there. */
bool wait_give(struct link *l);
/* Opens a link for w, by a slot that is held; false: *fault, the slot was given back. */
bool wait_open(struct link_pool *p, struct link_wait *w, enum fault *fault);
/* Has w wait for the first addresses; false: *fault. */
RARE bool wait_resolve(struct link_pool *p, struct link_wait *w, enum fault *fault);
/* Addresses may have come: those who wait for them go on, or fail. */
void resolve_look(struct link_pool *p);
/* Timer: first addresses did not come. */
void resolve_tick(struct timer *t);
/* Ends the wait; ready() is called from the run queue. */
void wait_deliver(struct link_wait *w, struct link_pool *p, struct link *l, enum fault fault);
/* Calls ready() of what was delivered. */
void wait_run(struct task *t);
/* Takes w off whatever list of p it is on; its ticket, if any, is disowned. */
void wait_unlink(struct link_pool *p, struct link_wait *w);
/* Frees the spare tickets. */
void tickets_free(struct pool_worker *w);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* pool: the links of one endpoint on one worker, and the waiters for them. Below max_connections
 * a worker opens its own; at the limit it asks, by message, a worker that has an idle one; else it
 * waits in one FIFO an endpoint over all workers, so that nobody starves. Owned by the worker; its
 * thread only; workers talk by loop_post. Never sees a message of HTTP (but for its own probes).
 *
 * What is exact: max_connections, always, over all workers (a worker applies a changed limit when
 * it next touches the pool or gets the note of the reload, whichever is first), and the order of
 * the FIFO. max_idle is never exceeded; permits to idle are leased to workers in small batches, so
 * that with several workers up to 2 x POOL_BATCH links a worker fewer may be kept (1 where max_idle
 * is small). At rest a release and the next acquire touch no cache line of another worker, unless
 * max_connections is set: then one word of their own that others may read. */
#ifndef WEIR_UPSTREAM_POOL_H
#define WEIR_UPSTREAM_POOL_H

#include "base/pool.h"
#include "upstream/link.h"
#include "upstream/upstream.h"

struct note;

/* One a worker: joins pools to the worker's loop and memory. */
struct pool_worker {
    struct loop *loop;
    const struct link_sharing *sharing; /* NULL: HTTP/1 alone; set before the loop runs */
    struct upstream_registry *registry;
    struct mem_account *account;
    struct pool links;          /* of struct link */
    struct list pools;          /* of struct link_pool */
    struct list closed;         /* of struct link, freed at the end of the turn */
    struct list delivered;      /* of struct link_wait: ready() is due */
    struct task deliver;        /* calls them */
    struct list turns;          /* of struct turn, waiting */
    struct ticket *tickets;     /* spare ones */
    struct note *_Atomic inbox; /* from other workers, newest first */
    struct post wake;           /* queued when the inbox got its first note */
    uint32_t index;             /* 0 .. n_workers-1 */
    uint32_t n_tickets;         /* spare ones */
    bool stopping;
    bool sweeping; /* a sweep is due at the end of the turn */
    bool reaping;  /* it shall look for pools to free, too */
};

#define POOL_BATCH 8u /* permits to idle leased at a time, at most */

/* Registers the worker's loop with the registry, so that others can post to it, and begins to open
 * min_idle links. Worker thread; w lives as long as the loop. */
void pool_worker_init(struct pool_worker *w, struct upstream_registry *r, uint32_t index,
                      struct loop *loop, struct mem_account *account);
/* Closes every idle link, refuses new ones, ends every wait with FAULT_SHUTDOWN; lent ones close at
 * release. For when the drain is over: exchanges that must still finish need links. */
void pool_worker_stop(struct pool_worker *w);
/* After the loop ended, before loop_free: closes what is left, frees all pools of this worker. */
void pool_worker_fini(struct pool_worker *w);

/* A request for a link, embedded in the attempt, zeroed at its birth. */
struct link_wait {
    struct list_node node;
    struct link_pool *pool; /* non-NULL while waiting */
    struct endpoint *endpoint;
    usec_t since;    /* monotonic */
    bool must_peek;  /* the request is not idempotent */
    bool want_fresh; /* retry after a stale link: no reused one */
    bool want_h1;    /* a WebSocket, of which the endpoint's HTTP/2 knows nothing */
    /* What its connection must begin with (PROXY protocol), kept by the caller while it waits;
     * empty: nothing. A link is lent only to waits that announce the same. */
    struct str announce;
    uint8_t state; /* of the pool */
    /* Called once on the worker's loop, never from inside a function of the pool; w is no longer
     * waiting and may be used again at once. link NULL: fault says why. */
    void (*ready)(struct link_wait *w, struct link *link, enum fault fault);
    struct link *link;     /* of the pool: what ready will be given */
    enum fault fault;      /* of the pool */
    struct ticket *ticket; /* of the pool: place in the FIFO */
};

enum acquire { ACQUIRE_READY, ACQUIRE_PENDING, ACQUIRE_FAULT };

/* Asks for a link to e. READY: *out is lent now; PENDING: ready() comes later; FAULT: *fault
 * (POOL_FULL, RESOLVE, CONNECT_*, MEMORY, SHUTDOWN). w's flags and ready are set by the caller. A
 * lent link has on_event and borrower NULL. */
enum acquire pool_acquire(struct pool_worker *pw, struct endpoint *e, struct link_wait *w,
                          struct link **out, enum fault *fault);
/* Gives up waiting; ready() will not come; a connection that was being opened for it alone is
 * given up too. Harmless when not waiting. */
void pool_cancel(struct link_wait *w);
/* Gives a lent link back for reuse. The caller has read its last message to the end and holds no
 * byte beyond it. Evicts instead when settings, age, counts or readable bytes say so. */
void pool_release(struct link *l);
/* Closes a lent link for the named reason; reset: send RST. */
RARE void pool_evict(struct link *l, enum evict_reason reason, bool reset);
/* A shared link that was begun may be lent from now on; it can carry n requests at a time. */
void pool_share_opened(struct link *l, uint32_t n);
/* The peer of a link that was begun does not speak HTTP/2, or is gone: l is closed. */
void pool_share_failed(struct link *l, enum fault fault);
/* A shared link can carry n requests at a time from now on. */
void pool_share_capacity(struct link *l, uint32_t n);
/* How often a shared link is asked whether its endpoint is there (upstreams.NAME.http2). */
struct link_pings {
    usec_t interval, timeout;
};
/* By the present configuration. */
struct link_pings pool_pings(const struct link *l);
/* A shared link is lent no more; it is closed for that reason when the last that has it gives it
 * back. The first reason stays. May be called from inside a parser. */
void pool_share_stop(struct link *l, enum evict_reason reason);
/* Closes a shared link that was stopped while it was idle. */
void pool_share_settled(struct link *l);
/* Takes a lent link out of pooling for good (a tunnel): it counts as open until pool_evict. */
void pool_keep_private(struct link *l);
/* w waits for a connection that is being opened for it (or for an address), not for a free one. */
bool pool_opening(const struct link_wait *w);
/* Microseconds that w has waited so far. */
usec_t pool_waited(const struct link_wait *w);

#endif

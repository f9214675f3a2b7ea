/* SPDX-License-Identifier: Apache-2.0 */
/* link: one upstream connection. Owned by its pool; lent to one attempt at a time, or, shared by
 * what link_sharing names (HTTP/2), to as many as its capacity says. Worker thread only. A link is
 * lent only if it cannot carry a stale byte: its last read was short and one epoll_wait has
 * returned since its release without an event, or a peek showed it quiet; requests that are not
 * idempotent always peek (house 10). It never reads or writes while it is lent: the borrower does,
 * on conn. */
#ifndef WEIR_UPSTREAM_LINK_H
#define WEIR_UPSTREAM_LINK_H

#include "net/conn.h"
#include "upstream/endpoint.h"

struct link;
struct link_pool;
struct link_probe;
struct announcement;
struct pool_worker;

enum link_state {
    LINK_OPENING, /* connect, or the TLS handshake after it, in progress */
    LINK_IDLE,    /* in the pool's idle list */
    LINK_LENT,    /* the borrower's, until pool_release or pool_evict */
    LINK_PROBING, /* a HEAD request is on its way */
    LINK_CLOSED,  /* closed; freed at the end of this turn */
};

/* What makes one connection serve several requests at a time: handed down by the floor that knows
 * HTTP/2. Calls come on the worker's loop. */
struct link_sharing {
    /* l is connected and speaks HTTP/2: sets l->shared; pool_share_opened follows when the peer
     * has shown that it does, too. False: memory. */
    bool (*begin)(struct link *l);
    /* Events of l->conn, lent or idle. */
    void (*event)(struct link *l, unsigned events);
    /* l->timer has fired; it is the sharer's from begin on. */
    void (*timer)(struct link *l);
    /* l is about to be closed, lent to nobody: says good-bye and lets go of l->shared. */
    void (*end)(struct link *l);
};

struct link {
    struct conn conn; /* first */
    uint32_t magic;
    uint8_t state;     /* enum link_state */
    bool fresh;        /* no request was sent on it yet: lent for the first time */
    bool private_use;  /* pool_keep_private: never lent again */
    bool securing;     /* LINK_OPENING: connected, the TLS handshake is in progress */
    bool h1_only;      /* asked for HTTP/1.1 alone: for waits that want that (want_h1), no others */
    bool spliced;      /* set by the borrower when it spliced from conn: peek before lending */
    bool large;        /* the borrower's own note: its last response was spliced */
    uint32_t requests; /* lent or probed how many times */
    struct link_pool *pool;
    struct pool_worker *worker;   /* outlives the pool */
    struct list_node node;        /* in the pool's list of its state */
    usec_t opened, released;      /* monotonic */
    usec_t probed;                /* last good probe, 0: none */
    usec_t fit_until;             /* by settings and age; 0: to be judged, see link_unfit */
    uint64_t released_turn;       /* loop_turn_number at release */
    struct timer timer;           /* connect timeout of this address, handshake or probe timeout */
    usec_t give_up;               /* connect timeout over all addresses */
    uint32_t tries_left;          /* addresses not tried yet */
    uint32_t addr_at;             /* the next of them */
    struct link_probe *probe;     /* LINK_PROBING */
    const struct tls_client *tls; /* whose TLS it speaks (conn keeps it alive); NULL: none */
    uint32_t charged;             /* bytes, for TLS */
    /* What its bytes began with, before any other (PROXY protocol): it serves that client alone.
     * NULL: nothing. */
    struct announcement *announced;
    void *shared;               /* of link_sharing; NULL: one request at a time */
    struct list_node room_node; /* in pool.roomy: lent, and more may be lent */
    uint32_t capacity, in_use;  /* loans at a time, loans now: of a shared link */
    usec_t busy_since;          /* of a shared link: nobody had it before */
    uint32_t moves;             /* of the endpoint, when its address was one of the name's */
    uint8_t leaving;            /* enum evict_reason: no loan any more; EVICT_REASONS: stays */
    /* While lent: events go to the borrower (may be NULL: flags in conn are kept all the same). */
    void (*on_event)(struct link *l, unsigned events);
    void *borrower;
};

/* Connected and, where TLS is spoken, ready for bytes. */
static inline bool link_is_open(const struct link *l)
{
    return !l->conn.connecting && !l->securing;
}
/* Its peer has sent nothing that was not read, and has not ended it. */
static inline bool link_silent(const struct link *l)
{
    return !conn_readable(&l->conn);
}
/* An idle link that is not shared would have told, had anything come: all was read when it was
 * released, and one epoll_wait(2) has returned since. */
static inline bool link_proven(const struct link *l)
{
    return !l->spliced && !l->conn.may_read && (l->conn.last_short || l->requests == 0) &&
           loop_turn_number(l->conn.loop) > l->released_turn;
}

#endif

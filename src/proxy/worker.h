/* SPDX-License-Identifier: Apache-2.0 */
/* worker: one thread's share of the proxy: loop, pools, memory account, sessions, links,
 * figures, and the snapshot that new exchanges use. Its thread only, but worker_set_snapshot,
 * worker_drain and the stats. The main thread has one too (admin, health checks, fetches). */
#ifndef WEIR_PROXY_WORKER_H
#define WEIR_PROXY_WORKER_H

#include "base/buf.h"
#include "http/date.h"
#include "net/loop.h"
#include "proxy/pipe_pool.h"
#include "proxy/snapshot.h"
#include "proxy/stats.h"
#include "upstream/pool.h"

struct listener;
struct listener_gauges;
struct source_limit;

struct worker {
    struct loop *loop;
    uint32_t index; /* 0 .. n-1; figures, pools and balancers are indexed by it */
    bool draining;  /* answers say Connection: close; idle sessions are closed */
    bool succeeded; /* draining, and another process accepts from now on: idle sessions are kept
                       for one more request, which a client may be sending just now */
    struct mem_account account;
    struct buf_pool buffers;
    struct pool chunks;    /* arena chunks */
    struct pool exchanges; /* struct exchange */
    struct pool sessions;
    struct pool h2_sessions, h2_links;
    /* Of a stream to an endpoint: no more than each answer may have waiting, of as many as any
     * client's connection could have at a time. */
    uint32_t first_window;
    struct pool_worker upstream;
    struct snapshot *snapshot; /* what new exchanges use; one holder */
    const struct feature_set *features;
    void *feature_state[FEATURE_MAX]; /* what each feature keeps here: set before the loop runs */
    struct listener_gauges *gauges;   /* shared */
    struct stats *stats;
    struct date_cache date;
    struct pool handshake_pool;
    struct list handshakes; /* a step of them is due */
    struct task handshake_task;
    struct source_limit *handshake_limit; /* shared */
    struct list session_list;             /* every session */
    struct list exchange_list;            /* every exchange */
    struct list memory_waiters;           /* exchanges that wait for a block */
    struct list listeners;
    struct pipe_pool pipes;                          /* for splice */
    uint64_t random;                                 /* state for ids that need no secrecy */
    void (*on_drained)(struct worker *w, void *arg); /* no exchange is left after worker_drain */
    void *drained_arg;
    struct list retirements; /* see retire.h */
    struct timer retire_timer;
    struct timer drain_timer;
    usec_t drain_until;               /* end of the graceful stop */
    struct timer memory_timer;        /* wakes memory_waiters */
    uint64_t memory_progress;         /* account.used when the waiting began */
    usec_t memory_since, memory_last; /* no progress since; last retry */
};

/* What every worker of a process (or library instance) shares. */
struct worker_shared {
    struct mem_limit *limit;
    struct upstream_registry *registry;
    const struct feature_set *features;
    struct listener_gauges *gauges;
    struct source_limit *handshakes; /* in progress, by source */
};

/* A worker on loop. The caller runs the loop. */
struct worker *worker_new(struct loop *loop, uint32_t index, const struct worker_shared *shared,
                          struct stats *stats);
/* Frees; must be drained. */
void worker_free(struct worker *w);
/* Any thread: new exchanges use s from the next turn on (s: one holder, taken). */
void worker_set_snapshot(struct worker *w, struct snapshot *s);
/* Worker thread: starts accepting on fd (owned) under s's listener number i. Listeners are
 * known by address: a later snapshot that still has the address goes on with the same socket;
 * one without it closes it. */
void worker_listen(struct worker *w, int fd, struct str address);
/* Looks whether a draining worker has nothing left; sessions and exchanges call it at their end. */
void worker_check_drained(struct worker *w);
/* Worker thread: graceful stop: no accepts, Connection: close, idle sessions closed (where
 * w->succeeded is set: at the limit); after limit_us what is left is ended with FAULT_SHUTDOWN.
 * on_drained is called when nothing is left. */
void worker_drain(struct worker *w, usec_t limit_us, void (*on_drained)(struct worker *, void *),
                  void *arg);
/* Worker thread: accepts no more, on any address. */
void worker_let_go(struct worker *w);
/* Worker thread: a worker that drains does not wait for idle sessions any more, and for others no
 * longer than limit_us from now. */
void worker_drain_sooner(struct worker *w, usec_t limit_us);

#endif

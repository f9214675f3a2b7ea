/* SPDX-License-Identifier: Apache-2.0 */
/* loop: one thread's event loop: epoll (each fd registered once, edge-triggered, both directions;
 * loop_add_listener and loop_add_reader are the exceptions), timers, a run queue, a late queue,
 * posts from other threads, deferred frees. Order of a turn: wait; posts; events; posts; timers;
 * run queue until empty; late queue (writes) until both are empty; what was queued last, once, and
 * what follows of it; deferred frees. Owned by its thread; only loop_post, loop_stop and loop_wake
 * may be called by others. Knows no HTTP. */
#ifndef WEIR_NET_LOOP_H
#define WEIR_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/list.h"
#include "net/timer.h"

struct loop;

/* What an event says. ERR is folded into READ and WRITE so that the next call sees it. */
enum {
    EV_READ = 1,
    EV_WRITE = 2,
    EV_HUP = 4,  /* peer closed its sending side */
    EV_LOST = 8, /* with EV_HUP: both sides are over, by a reset */
};

/* A registered fd, embedded in its owner. The memory must live until the end of the turn in
 * which loop_remove was called: free it by loop_defer_free. */
struct watch {
    int fd; /* -1: not registered; events that were already fetched are dropped */
    void (*on_event)(struct watch *w, unsigned events);
};

/* Something to run on this loop; embedded; queued at most once at a time. */
struct task {
    struct list_node node;
    void (*run)(struct task *t);
};

/* A message from another thread; the sender allocates, run() takes ownership on the loop. */
struct post {
    struct post *next;
    void (*run)(struct post *p);
};

/* Figures for /metrics, written by the loop thread. */
struct loop_stats {
    counter_t turns, events, posts;
    counter_t busy_us;    /* time between wait returning and the next wait */
    counter_t longest_us; /* longest busy span since start: loop lag */
};

/* A loop for the calling thread, in which SIGPIPE is blocked from now on (splice(2) to a closed
 * socket raises it). NULL: *errno_out says why. */
struct loop *loop_new(int *errno_out);
/* Runs the posts, tasks and deferred frees that are left; waits for nothing. */
void loop_settle(struct loop *l);
/* Settles, then frees; no fd may be registered. */
void loop_free(struct loop *l);
/* Monotonic time cached at the start of the turn. */
usec_t loop_now(const struct loop *l);
/* Wall time in us since 1970, cached the same way. */
int64_t loop_wall(const struct loop *l);
/* Number of the turn: grows by one each time all events that there were begin to be delivered, so
 * that an fd that is idle since an earlier turn has none that its owner does not know of. */
uint64_t loop_turn_number(const struct loop *l);
/* Registers w->fd once, edge-triggered, for READ, WRITE and HUP. False: out of kernel memory. */
bool loop_add(struct loop *l, struct watch *w, int fd) __attribute__((warn_unused_result));
/* The same without WRITE, for a socket that has room before its first write anyway. */
bool loop_add_reader(struct loop *l, struct watch *w, int fd) __attribute__((warn_unused_result));
/* Adds WRITE to what a reader is told: at once, if there is room by now. */
void loop_watch_write(struct loop *l, struct watch *w);
/* Registers a listening socket, level-triggered: an event a turn while connections wait, so that
 * its owner need not ask for one that is not there. False: out of kernel memory. */
bool loop_add_listener(struct loop *l, struct watch *w, int fd) __attribute__((warn_unused_result));
/* Deregisters (w->fd becomes -1); does not close the fd. Closing alone would not do: a process that
 * was just forked, by a host program or for a check, holds the file until it executes another
 * program, and so long the kernel would go on to tell of a watch that may be gone. */
void loop_remove(struct loop *l, struct watch *w);
/* Queues t behind the run queue; nothing when it is queued. */
void loop_queue(struct loop *l, struct task *t);
/* Queues t for after the run queue is empty (one write a connection). */
void loop_queue_late(struct loop *l, struct task *t);
/* Queues t for after both queues are empty, once a turn: what it queues this way itself is for the
 * next turn, which comes without a wait. */
void loop_queue_last(struct loop *l, struct task *t);
/* Takes t out of its queue; harmless when it is in none. */
void loop_unqueue(struct task *t);
/* Calls fn(p) after this turn's events, tasks and writes: for memory that events may still name. */
void loop_defer_free(struct loop *l, void (*fn)(void *), void *p);
/* Any thread: hands p to the loop, wakes it. */
void loop_post(struct loop *l, struct post *p);
/* One turn. wait_us: longest wait; 0 polls; USEC_NEVER waits for an event or timer. SIGPIPE is
 * blocked from now on in the thread that calls, whoever made the loop. */
void loop_turn(struct loop *l, usec_t wait_us);
/* Turns until loop_stop. */
void loop_run(struct loop *l);
/* Any thread: the wait of the current or next turn ends at once. */
void loop_wake(struct loop *l);
/* Any thread: loop_run returns after the current turn. */
void loop_stop(struct loop *l);
/* The epoll fd, readable when a turn is due (foreign loops, with loop_wait_us). */
int loop_fd(const struct loop *l);
/* Microseconds until the next timer or queued work is due, from now; USEC_NEVER: none. */
usec_t loop_wait_us(const struct loop *l);
/* Read by any thread. */
const struct loop_stats *loop_stats(const struct loop *l);

#endif

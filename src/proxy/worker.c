/* SPDX-License-Identifier: Apache-2.0 */
/* worker: see worker.h. Invariants:
 * 1. snapshot is NULL only before the first worker_set_snapshot; one of its holders is this worker
 *    while it is current or in_use[index] > 0.
 * 2. on_drained runs once, when draining and no session, exchange or listener is left. */
#include "proxy/worker.h"

#include "base/log.h"
#include "base/panic.h"
#include "proxy/attempt_turn.h"
#include "proxy/driver.h"
#include "proxy/h2_link.h"
#include "proxy/h2_session.h"
#include "proxy/handshake.h"
#include "proxy/listener.h"
#include "proxy/retire.h"
#include "proxy/session.h"

#define KEEP_EXCHANGES 1024
#define KEEP_CHUNKS 2048
#define KEEP_SESSIONS 4096
#define KEEP_H2_SESSIONS 256
#define KEEP_H2_LINKS 64
#define KEEP_HANDSHAKES 256

static void drain_over(struct timer *t);
static void memory_retry(struct timer *t);

/* Of what each request or connection takes and gives back, some is charged ahead: at most 150 KiB a
 * worker, less than a lease. */
static void charge_ahead(struct worker *w)
{
    pool_charge_ahead(&w->buffers.blocks, 4);
    pool_charge_ahead(&w->buffers.slices, 64);
    pool_charge_ahead(&w->exchanges, 8);
    pool_charge_ahead(&w->sessions, 64);
    pool_charge_ahead(&w->upstream.links, 16);
}

struct worker *worker_new(struct loop *loop, uint32_t index, const struct worker_shared *shared,
                          struct stats *stats)
{
    struct worker *w = mem_new(sizeof(*w));
    w->loop = loop;
    w->index = index;
    w->features = shared->features;
    w->gauges = shared->gauges;
    w->stats = stats;
    w->account.limit = shared->limit;
    w->random = clock_random() | 1;
    w->date.second = -1;
    buf_pool_init(&w->buffers, &w->account);
    w->pipes.account = &w->account;
    pool_init(&w->chunks, ARENA_CHUNK, KEEP_CHUNKS, &w->account);
    pool_init(&w->exchanges, EXCHANGE_OFFSET + EXCHANGE_ROOM, KEEP_EXCHANGES, &w->account);
    pool_init(&w->sessions, sizeof(struct session), KEEP_SESSIONS, &w->account);
    pool_init(&w->h2_sessions, h2_session_size(), KEEP_H2_SESSIONS, &w->account);
    pool_init(&w->h2_links, h2_link_size(), KEEP_H2_LINKS, &w->account);
    w->first_window = H2_FIRST_WINDOW;
    pool_init(&w->handshake_pool, HANDSHAKE_BYTES, KEEP_HANDSHAKES, &w->account);
    list_init(&w->handshakes);
    w->handshake_task.run = handshake_run;
    w->handshake_limit = shared->handshakes;
    pool_worker_init(&w->upstream, shared->registry, index, loop, &w->account);
    w->upstream.sharing = &h2_link_sharing;
    charge_ahead(w);
    list_init(&w->session_list);
    list_init(&w->exchange_list);
    list_init(&w->memory_waiters);
    list_init(&w->listeners);
    list_init(&w->retirements);
    timer_init(&w->retire_timer, retire_due);
    timer_init(&w->drain_timer, drain_over);
    timer_init(&w->memory_timer, memory_retry);
    return w;
}

void worker_free(struct worker *w)
{
    must(list_empty(&w->session_list) && list_empty(&w->exchange_list));
    loop_settle(w->loop); /* a snapshot may be on its way to a worker that never ran */
    retire_stop(w);
    timer_stop(&w->drain_timer);
    timer_stop(&w->memory_timer);
    if (w->snapshot)
        snapshot_unuse(w->snapshot, w->index);
    pool_worker_fini(&w->upstream);
    pipe_pool_fini(&w->pipes);
    buf_pool_fini(&w->buffers);
    pool_fini(&w->chunks);
    pool_fini(&w->exchanges);
    pool_fini(&w->sessions);
    pool_fini(&w->h2_sessions);
    pool_fini(&w->h2_links);
    pool_fini(&w->handshake_pool);
    mem_account_fini(&w->account);
    mem_free(w);
}

struct snapshot_post {
    struct post post; /* first */
    struct worker *worker;
    struct snapshot *snapshot;
};

static void snapshot_arrived(struct post *p)
{
    struct snapshot_post *m = (struct snapshot_post *) (void *) p;
    struct worker *w = m->worker;
    struct snapshot *old = w->snapshot;
    w->snapshot = m->snapshot;
    snapshot_use(w->snapshot, w->index);
    mem_free(m);
    retire_begin(w, listeners_update(w));
    attempts_adopt(w);
    if (old)
        snapshot_unuse(old, w->index);
}

void worker_set_snapshot(struct worker *w, struct snapshot *s)
{
    struct snapshot_post *m = mem_new(sizeof(*m));
    *m = (struct snapshot_post){.post.run = snapshot_arrived, .worker = w, .snapshot = s};
    loop_post(w->loop, &m->post);
}

void worker_listen(struct worker *w, int fd, struct str address)
{
    (void) listener_open(w, fd, address);
    if (w->snapshot)
        (void) listeners_update(w);
}

void worker_check_drained(struct worker *w)
{
    if (!w->draining || !w->on_drained || !list_empty(&w->session_list) ||
        !list_empty(&w->exchange_list))
        return;
    void (*done)(struct worker *, void *) = w->on_drained;
    w->on_drained = NULL;
    timer_stop(&w->drain_timer);
    pool_worker_stop(&w->upstream);
    done(w, w->drained_arg);
}

/* Closes the sessions that are asked nothing; what they were just sent has had its turn. */
static void close_idle(struct worker *w)
{
    list_each_safe(node, &w->session_list) {
        struct session *s = list_entry(node, struct session, node);
        if (s->state == SESSION_IDLE || s->state == SESSION_SNIFF ||
            (s->state == SESSION_PREFACE && !s->begun))
            session_close(s, false);
        else if (s->state == SESSION_H2 && h2_session_is_idle(s->h2))
            h2_session_end(s->h2);
    }
}

#define DRAIN_GRACE (50 * USEC_PER_MS)

/* First the moment of grace is over, then the limit of the graceful stop: what is left then ends
 * visibly. Whom nothing was sent yet still gets an answer; another moment later, who does not take
 * that (a fetch that is paused, a client that reads no more) is left without. */
static void drain_over(struct timer *t)
{
    struct worker *w = list_entry(t, struct worker, drain_timer);
    if (!w->succeeded || loop_now(w->loop) >= w->drain_until)
        close_idle(w);
    if (loop_now(w->loop) < w->drain_until) {
        timer_set(w->loop, t, w->drain_until);
        return;
    }
    list_each(node, &w->exchange_list) {
        struct exchange *x = list_entry(node, struct exchange, node);
        exchange_fail(x, FAULT_SHUTDOWN);
        exchange_wake(x);
    }
    list_each_safe(node, &w->session_list) {
        struct session *s = list_entry(node, struct session, node);
        if (s->state == SESSION_H2)
            h2_session_abort(s->h2);
        else if (s->state != SESSION_BUSY)
            session_close(s, false);
    }
    if (!list_empty(&w->exchange_list))
        timer_set(w->loop, t, loop_now(w->loop) + DRAIN_GRACE);
}

void worker_let_go(struct worker *w)
{
    list_each_safe(node, &w->listeners)
        listener_close(list_entry(node, struct listener, node));
}

void worker_drain(struct worker *w, usec_t limit_us, void (*on_drained)(struct worker *, void *),
                  void *arg)
{
    worker_let_go(w);
    w->draining = true;
    list_each(node, &w->session_list) {
        struct session *s = list_entry(node, struct session, node);
        if (s->state == SESSION_H2)
            h2_session_shutdown(s->h2);
    }
    w->on_drained = on_drained;
    w->drained_arg = arg;
    w->drain_until = loop_now(w->loop) + limit_us;
    usec_t grace = loop_now(w->loop) + DRAIN_GRACE;
    timer_set(w->loop, &w->drain_timer, grace < w->drain_until ? grace : w->drain_until);
    worker_check_drained(w);
}

void worker_drain_sooner(struct worker *w, usec_t limit_us)
{
    usec_t until = loop_now(w->loop) + limit_us;
    w->succeeded = false;
    w->drain_until = until < w->drain_until ? until : w->drain_until;
    if (w->on_drained)
        drain_over(&w->drain_timer);
}

#define MEMORY_RETRY (20 * USEC_PER_MS)

void memory_wait(struct exchange *x)
{
    struct worker *w = x->worker;
    if (list_linked(&x->memory_node))
        return;
    counter_add(&w->stats->memory_waits, 1);
    if (list_empty(&w->memory_waiters)) {
        usec_t now = loop_now(w->loop);
        if (now - w->memory_last > 10 * MEMORY_RETRY)
            w->memory_since = now; /* not a continuation of the last shortage */
        timer_set(w->loop, &w->memory_timer, now + MEMORY_RETRY);
    }
    list_push_back(&w->memory_waiters, &x->memory_node);
}

struct block *memory_block(struct exchange *x)
{
    struct worker *w = x->worker;
    struct block *b = block_new(&w->buffers);
    if (!b && x->reserved) {
        size_t part = x->reserved / 2 ? x->reserved / 2 : x->reserved;
        x->reserved -= part;
        mem_credit(&w->account, part);
        b = block_new(&w->buffers);
    }
    if (!b)
        memory_wait(x);
    return b;
}

/* The exchange whose pumps hold the most. */
static struct exchange *largest_holder(struct worker *w)
{
    struct exchange *most = NULL;
    size_t most_bytes = 0;
    list_each(node, &w->exchange_list) {
        struct exchange *x = list_entry(node, struct exchange, node);
        size_t bytes = pump_waiting(&x->request) + pump_waiting(&x->response_pump);
        if (bytes > most_bytes) {
            most = x;
            most_bytes = bytes;
        }
    }
    return most;
}

/* Wakes those that wait for memory; with no progress for a second the largest
 * holder is ended, so that the rest can go on (house 5). */
static void memory_retry(struct timer *t)
{
    struct worker *w = list_entry(t, struct worker, memory_timer);
    usec_t now = loop_now(w->loop);
    uint64_t moved =
        counter_get(&w->stats->bytes_client_out) + counter_get(&w->stats->bytes_upstream_out);
    if (moved != w->memory_progress) {
        w->memory_progress = moved;
        w->memory_since = now;
    } else if (now - w->memory_since > USEC_PER_SEC) {
        struct exchange *x = largest_holder(w);
        w->memory_since = now;
        if (x) {
            exchange_fail(x, FAULT_MEMORY_STALL);
            exchange_wake(x);
        }
    }
    struct list_node *node;
    while ((node = list_pop_front(&w->memory_waiters)))
        exchange_wake(list_entry(node, struct exchange, memory_node));
    w->memory_last = now;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* listener: see listener.h.
 * Invariants:
 * 1. watch.fd is -1 once closed and in a pause, which ends by retry; the struct lives while
 *    refs > 0.
 * 2. spec is this listener's own: it stays valid while a session refers to the listener. now is
 *    the snapshot's, and valid until the worker's next one. */
#include "proxy/listener.h"

#include <pthread.h>

#include "base/log.h"
#include "base/map.h"
#include "net/sock.h"
#include "proxy/session.h"

#define ACCEPT_BATCH 64u  /* then established work gets its turn */
#define ACCEPT_LAST 4096u /* of those that wait when the listener closes */
#define ACCEPT_PAUSE (100 * USEC_PER_MS)

struct listener_gauge {
    _Atomic uint64_t open;
};

static void listener_free(void *p)
{
    struct listener *l = p;
    mem_free((void *) (uintptr_t) l->address.p);
    mem_free(l);
}

static void listener_unref(struct listener *l)
{
    if (--l->refs == 0)
        loop_defer_free(l->worker->loop, listener_free, l);
}

void listener_opened_one(struct listener *l)
{
    l->refs++;
}

void listener_closed_one(struct listener *l)
{
    atomic_fetch_sub_explicit(&l->gauge->open, 1, memory_order_relaxed);
    listener_unref(l);
}

struct listener_gauges {
    pthread_mutex_t lock; /* taken when a listener opens, never for a connection */
    struct map by_address;
};

struct listener_gauges *listener_gauges_new(void)
{
    struct listener_gauges *g = mem_new(sizeof(*g));
    pthread_mutex_init(&g->lock, NULL);
    return g;
}

void listener_gauges_free(struct listener_gauges *g)
{
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(&g->by_address, &at, &key, &value))
        mem_free(value);
    map_fini(&g->by_address);
    pthread_mutex_destroy(&g->lock);
    mem_free(g);
}

static struct listener_gauge *gauge_of(struct listener_gauges *g, struct str address)
{
    pthread_mutex_lock(&g->lock);
    struct listener_gauge *one = map_get(&g->by_address, address);
    if (!one) {
        one = mem_new(sizeof(*one));
        map_set(&g->by_address, address, one);
    }
    pthread_mutex_unlock(&g->lock);
    return one;
}

/* Counts one more connection; false when max (0: none) is reached. */
static bool gauge_take(struct listener_gauge *g, uint64_t max)
{
    uint64_t before = atomic_fetch_add_explicit(&g->open, 1, memory_order_relaxed);
    if (!max || before < max)
        return true;
    atomic_fetch_sub_explicit(&g->open, 1, memory_order_relaxed);
    return false;
}

/* No more connections until the pause is over: the socket would tell of them each turn. */
static void pause_accepting(struct listener *l)
{
    struct loop *loop = l->worker->loop;
    loop_remove(loop, &l->watch);
    timer_set(loop, &l->retry, loop_now(loop) + ACCEPT_PAUSE);
}

static void welcome(struct listener *l, int fd, const struct addr *peer)
{
    struct worker *w = l->worker;
    if (!gauge_take(l->gauge, (uint64_t) l->spec.conf.max_connections)) {
        counter_add(&w->stats->faults[FAULT_CONNECTION_LIMIT], 1);
        sock_close(fd);
    } else if (!session_open(l, fd, peer)) {
        atomic_fetch_sub_explicit(&l->gauge->open, 1, memory_order_relaxed);
    }
}

/* Takes at most so many connections. */
static void accept_some(struct listener *l, uint32_t most)
{
    for (uint32_t i = 0; i < most; i++) {
        int fd;
        struct addr peer;
        bool exhausted = false;
        enum io io = sock_accept(l->fd, &fd, &peer, &exhausted);
        if (io == IO_OK) {
            welcome(l, fd, &peer);
        } else if (io == IO_AGAIN) {
            l->batch = i / 2;
            return;
        } else if (exhausted) {
            log_warn("listener.exhausted",
                     "%.*s: no file descriptor or memory for a new connection; accepting again "
                     "in 100 ms. Raise the limit of open files (ulimit -n).",
                     STR_ARG(l->address));
            pause_accepting(l);
            return;
        }
    }
}

/* To ask for a connection that is not there costs more than a turn does: the kernel makes a socket
 * before it looks. So one is taken, and twice as many as last time when the next turn finds that
 * there are more. */
static void listener_event(struct watch *watch, unsigned events)
{
    struct listener *l = (struct listener *) (void *) watch;
    (void) events;
    uint64_t turn = loop_turn_number(l->worker->loop);
    l->batch = turn - l->turn <= 1 ? l->batch * 2 : 0;
    l->batch = l->batch < 1 ? 1 : l->batch > ACCEPT_BATCH ? ACCEPT_BATCH : l->batch;
    l->turn = turn;
    accept_some(l, l->batch);
}

static void listener_retry(struct timer *t)
{
    struct listener *l = list_entry(t, struct listener, retry);
    if (!loop_add_listener(l->worker->loop, &l->watch, l->fd))
        pause_accepting(l);
}

struct listener *listener_open(struct worker *w, int fd, struct str address)
{
    struct listener *l = mem_new(sizeof(*l));
    l->worker = w;
    l->address = mem_str(address);
    l->refs = 1;
    schema_defaults(&listener_schema, &l->spec.conf);
    l->spec.conf.name = l->spec.conf.address = l->address;
    l->gauge = gauge_of(w->gauges, address);
    l->fd = fd;
    l->watch.fd = -1;
    l->watch.on_event = listener_event;
    timer_init(&l->retry, listener_retry);
    if (!loop_add_listener(w->loop, &l->watch, fd)) {
        log_warn("listener.exhausted",
                 "%.*s: no memory to watch its socket; trying again in 100 ms.", STR_ARG(address));
        pause_accepting(l);
    }
    list_push_back(&w->listeners, &l->node);
    return l;
}

void listener_close(struct listener *l)
{
    if (!l->worker->succeeded) /* who is in the kernel's queue was promised an answer */
        accept_some(l, ACCEPT_LAST);
    loop_remove(l->worker->loop, &l->watch);
    sock_close(l->fd);
    timer_stop(&l->retry);
    list_remove(&l->node);
    l->closing = true;
    listener_unref(l);
}

bool listeners_update(struct worker *w)
{
    bool closed = false;
    list_each_safe(node, &w->listeners) {
        struct listener *l = list_entry(node, struct listener, node);
        const struct listener_spec *named = NULL;
        for (uint32_t i = 0; i < w->snapshot->n_listeners && !named; i++)
            if (str_eq(w->snapshot->listeners[i].conf.address, l->address))
                named = &w->snapshot->listeners[i];
        /* Those whom a closing one still lets in come under what held until now. */
        closed |= !named;
        if (!named)
            listener_close(l);
        else
            l->spec.conf.max_connections = named->conf.max_connections;
        l->now = named;
    }
    return closed;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c: one thread's event loop.
 * Invariants:
 * 1. batch[at_event + 1 .. n_events) are events not yet delivered; none of them names a watch
 *    that was removed (loop_remove strikes them out).
 * 2. A task is in at most one of run, late and last.
 * 3. posts is a stack that any thread pushes to; only the loop takes it, whole. Whoever pushes
 *    onto an empty stack writes the eventfd; it is edge-triggered and never read.
 * 4. Nothing in frees runs before this turn's events, tasks and late tasks are done.
 * 5. One epoll_wait and two clock readings a turn; nothing is allocated once frees has grown to
 *    the largest turn. */
#include "net/loop.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/panic.h"
#include "base/test_hooks.h"
#include "net/sys.h"
#include "net/wheel.h"

#ifdef SYS_epoll_wait
#define EPOLL_WAIT SYS_epoll_wait
#else
#define EPOLL_WAIT SYS_epoll_pwait /* newer machines have no other; without a mask it is the same */
#endif
#define LOOP_EVENTS 256
#define LOOP_TASKS_A_TURN 10000u

struct deferred {
    void (*fn)(void *);
    void *p;
};

struct loop {
    usec_t now;
    int64_t wall;
    uint64_t turn;
    struct list run, late, last;
    int epoll_fd, wake_fd;
    int at_event, n_events;
    struct deferred *frees;
    size_t n_frees, cap_frees;
    usec_t ended;        /* when the last turn's work was done */
    usec_t wall_read;    /* when CLOCK_REALTIME was last asked (monotonic) */
    int64_t wall_offset; /* wall - now, as of then */
    struct loop_stats stats;
    struct wheel wheel;
    struct epoll_event batch[LOOP_EVENTS];
    /* Touched by other threads: on a cache line of their own. */
    _Atomic(struct post *) posts __attribute__((aligned(64)));
    _Atomic bool stopping;
    _Atomic uint32_t callers; /* threads inside loop_post or loop_stop: loop_free waits for them */
};

static void block_sigpipe(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

RARE static void read_wall(struct loop *l)
{
    l->wall_offset = clock_wall() - (int64_t) l->now;
    l->wall_read = l->now;
}

/* Takes the time of a turn. Wall time is asked for once a second and derived in between. */
static void read_clocks(struct loop *l)
{
    l->now = clock_now();
    if (l->now - l->wall_read >= USEC_PER_SEC)
        read_wall(l);
    l->wall = (int64_t) l->now + l->wall_offset;
}

struct loop *loop_new(int *errno_out)
{
    test_hooks_init();
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.ptr = NULL};
    if (epoll_fd < 0 || wake_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &ev) < 0) {
        *errno_out = errno;
        if (epoll_fd >= 0)
            close(epoll_fd);
        if (wake_fd >= 0)
            close(wake_fd);
        return NULL;
    }
    block_sigpipe();
    struct loop *l = mem_new_aligned(sizeof *l, 64);
    l->epoll_fd = epoll_fd;
    l->wake_fd = wake_fd;
    list_init(&l->run);
    list_init(&l->late);
    list_init(&l->last);
    l->now = clock_now();
    l->wall_read = l->now - USEC_PER_SEC;
    read_clocks(l);
    wheel_init(&l->wheel, l->now);
    return l;
}

usec_t loop_now(const struct loop *l)
{
    return l->now;
}

int64_t loop_wall(const struct loop *l)
{
    return l->wall;
}

uint64_t loop_turn_number(const struct loop *l)
{
    return l->turn;
}

struct wheel *loop_wheel(struct loop *l)
{
    return &l->wheel;
}

int loop_fd(const struct loop *l)
{
    return l->epoll_fd;
}

const struct loop_stats *loop_stats(const struct loop *l)
{
    return &l->stats;
}

#define READER (EPOLLIN | EPOLLRDHUP | EPOLLET)

static bool add(struct loop *l, struct watch *w, int fd, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = w};
    if (test_call_fails(TEST_epoll_ctl) || epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
        return false;
    w->fd = fd;
    return true;
}

bool loop_add(struct loop *l, struct watch *w, int fd)
{
    return add(l, w, fd, READER | EPOLLOUT);
}

bool loop_add_reader(struct loop *l, struct watch *w, int fd)
{
    return add(l, w, fd, READER);
}

void loop_watch_write(struct loop *l, struct watch *w)
{
    struct epoll_event ev = {.events = READER | EPOLLOUT, .data.ptr = w};
    must(epoll_ctl(l->epoll_fd, EPOLL_CTL_MOD, w->fd, &ev) == 0);
}

bool loop_add_listener(struct loop *l, struct watch *w, int fd)
{
    return add(l, w, fd, EPOLLIN);
}

void loop_remove(struct loop *l, struct watch *w)
{
    if (w->fd < 0)
        return;
    epoll_ctl(l->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
    w->fd = -1;
    for (int i = l->at_event + 1; i < l->n_events; i++)
        if (l->batch[i].data.ptr == w)
            l->batch[i].data.ptr = NULL;
}

void loop_queue(struct loop *l, struct task *t)
{
    if (!list_linked(&t->node))
        list_push_back(&l->run, &t->node);
}

void loop_queue_late(struct loop *l, struct task *t)
{
    if (!list_linked(&t->node))
        list_push_back(&l->late, &t->node);
}

void loop_queue_last(struct loop *l, struct task *t)
{
    if (!list_linked(&t->node))
        list_push_back(&l->last, &t->node);
}

void loop_unqueue(struct task *t)
{
    list_remove(&t->node);
}

void loop_defer_free(struct loop *l, void (*fn)(void *), void *p)
{
    if (l->n_frees == l->cap_frees) {
        l->cap_frees = l->cap_frees ? l->cap_frees * 2 : 64;
        l->frees = mem_resize(l->frees, l->cap_frees * sizeof *l->frees);
    }
    l->frees[l->n_frees++] = (struct deferred){fn, p};
}

void loop_wake(struct loop *l)
{
    const uint64_t one = 1;
    /* EAGAIN is impossible in practice (the count would have to reach 2^64); nothing else can
     * fail on an eventfd that is open. */
    while (write(l->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void loop_post(struct loop *l, struct post *p)
{
    __atomic_fetch_add((uint32_t *) &l->callers, 1, __ATOMIC_ACQUIRE);
    struct post *head = __atomic_load_n((struct post **) &l->posts, __ATOMIC_RELAXED);
    do {
        p->next = head;
    } while (!__atomic_compare_exchange_n((struct post **) &l->posts, &head, p, true,
                                          __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    if (!head)
        loop_wake(l);
    __atomic_fetch_sub((uint32_t *) &l->callers, 1, __ATOMIC_RELEASE);
}

void loop_stop(struct loop *l)
{
    __atomic_fetch_add((uint32_t *) &l->callers, 1, __ATOMIC_ACQUIRE);
    __atomic_store_n((bool *) &l->stopping, true, __ATOMIC_RELEASE);
    loop_wake(l);
    __atomic_fetch_sub((uint32_t *) &l->callers, 1, __ATOMIC_RELEASE);
}

/* Milliseconds for epoll_wait until `until`, rounded up: a timer is not polled for. */
static int wait_ms(usec_t now, usec_t until)
{
    if (until == USEC_NEVER)
        return -1;
    if (until <= now)
        return 0;
    uint64_t ms = (until - now + USEC_PER_MS - 1) / USEC_PER_MS;
    return ms > 3600000 ? 3600000 : (int) ms;
}

static bool has_work(const struct loop *l)
{
    return !list_empty(&l->run) || !list_empty(&l->late) || !list_empty(&l->last) || l->n_frees ||
           __atomic_load_n((struct post *const *) &l->posts, __ATOMIC_RELAXED);
}

usec_t loop_wait_us(const struct loop *l)
{
    if (has_work(l))
        return 0;
    usec_t next = wheel_next(&l->wheel);
    if (next == USEC_NEVER)
        return USEC_NEVER;
    usec_t now = clock_now();
    return next > now ? next - now : 0;
}

static void deliver_events(struct loop *l)
{
    int n = l->n_events;
    for (int i = 0; i < n; i++) {
        struct watch *w = l->batch[i].data.ptr;
        if (!w || w->fd < 0)
            continue;
        l->at_event = i;
        uint32_t e = l->batch[i].events;
        unsigned events = 0;
        if (e & (EPOLLIN | EPOLLERR | EPOLLHUP | EPOLLRDHUP))
            events |= EV_READ;
        if (e & (EPOLLOUT | EPOLLERR | EPOLLHUP))
            events |= EV_WRITE;
        if (e & (EPOLLRDHUP | EPOLLHUP))
            events |= e & EPOLLHUP ? EV_HUP | EV_LOST : EV_HUP;
        w->on_event(w, events);
    }
    l->at_event = l->n_events = 0;
}

RARE static void take_posts(struct loop *l)
{
    struct post *stack = __atomic_exchange_n((struct post **) &l->posts, NULL, __ATOMIC_ACQUIRE);
    struct post *first = NULL;
    while (stack) {
        struct post *next = stack->next;
        stack->next = first;
        first = stack;
        stack = next;
    }
    while (first) {
        struct post *p = first;
        first = p->next;
        counter_add(&l->stats.posts, 1);
        p->run(p);
    }
}

static void run_posts(struct loop *l)
{
    if (__atomic_load_n((struct post **) &l->posts, __ATOMIC_RELAXED))
        take_posts(l);
}

/* What was queued late until now. */
RARE static void run_late(struct loop *l)
{
    struct list_node *node;
    unsigned n_late = 0;
    list_each(it, &l->late)
        n_late++;
    while (n_late-- > 0 && (node = list_pop_front(&l->late))) {
        struct task *t = list_entry(node, struct task, node);
        t->run(t);
    }
}

/* The run queue until it is empty, then one late task, and so on. When tasks keep queueing
 * tasks, sockets get their turn after LOOP_TASKS_A_TURN; what waits to be written is written. */
static void run_tasks(struct loop *l)
{
    struct list_node *node;
    for (unsigned left = LOOP_TASKS_A_TURN; left > 0; left--) {
        node = list_pop_front(&l->run);
        if (!node)
            node = list_pop_front(&l->late);
        if (!node)
            return;
        struct task *t = list_entry(node, struct task, node);
        t->run(t);
    }
    run_late(l);
}

/* What was queued last until now, and then what they queued. */
static __attribute__((noinline)) void run_last(struct loop *l)
{
    struct list_node *node;
    unsigned n = 0;
    list_each(it, &l->last)
        n++;
    while (n-- > 0 && (node = list_pop_front(&l->last))) {
        struct task *t = list_entry(node, struct task, node);
        t->run(t);
    }
    run_tasks(l);
}

static void run_frees(struct loop *l)
{
    /* A clean-up may defer another one. */
    for (size_t i = 0; i < l->n_frees; i++)
        l->frees[i].fn(l->frees[i].p);
    l->n_frees = 0;
}

/* Takes the second time of a turn, for the figures and for the next wait. */
static void account_turn(struct loop *l)
{
    l->ended = clock_now();
    uint64_t busy = l->ended - l->now;
    uint64_t longest = counter_get(&l->stats.longest_us);
    counter_add(&l->stats.busy_us, busy);
    if (busy > longest)
        counter_add(&l->stats.longest_us, busy - longest);
}

/* One turn that begins at time before. */
static inline void turn(struct loop *l, usec_t wait_us, usec_t before)
{
    int ms = 0;
    if (wait_us && !has_work(l)) {
        usec_t until = wait_us == USEC_NEVER ? USEC_NEVER : before + wait_us;
        usec_t next = wheel_next(&l->wheel);
        ms = wait_ms(before, next < until ? next : until);
    }
    int n = (int) sys_call(EPOLL_WAIT, l->epoll_fd, (long) l->batch, LOOP_EVENTS, ms);
    l->n_events = n > 0 ? n : 0;
    read_clocks(l);
    counter_add(&l->stats.turns, 1);
    counter_add(&l->stats.events, (uint64_t) l->n_events);
    /* What was posted before the events came holds for them: who was told that a change is in use
     * finds it so on a new connection. As none is delivered yet, the turn is still the last. */
    l->at_event = -1;
    run_posts(l);
    /* A full batch, or a signal, may leave events unseen: then nothing is proven about idle fds. */
    l->turn += n >= 0 && n < LOOP_EVENTS;
    deliver_events(l);
    run_posts(l);
    wheel_run(&l->wheel, l->now);
    run_tasks(l);
    if (!list_empty(&l->last))
        run_last(l);
    run_frees(l);
    account_turn(l);
}

void loop_turn(struct loop *l, usec_t wait_us)
{
    block_sigpipe(); /* each time: nothing tells whether it is the thread of the last turn */
    turn(l, wait_us, wait_us ? clock_now() : l->ended);
}

void loop_run(struct loop *l)
{
    block_sigpipe();
    l->ended = clock_now();
    while (!__atomic_load_n((bool *) &l->stopping, __ATOMIC_ACQUIRE))
        turn(l, USEC_NEVER, l->ended);
    __atomic_store_n((bool *) &l->stopping, false, __ATOMIC_RELAXED);
}

void loop_settle(struct loop *l)
{
    /* What a caller posted may be seen, and end the loop, before the caller has returned. */
    while (has_work(l) || __atomic_load_n((uint32_t *) &l->callers, __ATOMIC_ACQUIRE) > 0) {
        run_posts(l);
        run_tasks(l);
        run_last(l);
        run_frees(l);
        sched_yield();
    }
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    loop_settle(l);
    close(l->wake_fd);
    close(l->epoll_fd);
    mem_free(l->frees);
    mem_free(l);
}

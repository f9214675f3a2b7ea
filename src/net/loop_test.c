/* SPDX-License-Identifier: Apache-2.0 */
/* The loop: order of a turn, removal, posts from threads, stop, waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/loop.h"

#define DEADLINE (10 * USEC_PER_SEC)

static struct loop *loop;

static int open_loop(void **state)
{
    (void) state;
    int err;
    loop = loop_new(&err);
    return loop ? 0 : -1;
}

static int close_loop(void **state)
{
    (void) state;
    loop_free(loop);
    return 0;
}

/* Turns until *what is at least n, or fails after the deadline. */
static void turn_until(const unsigned *what, unsigned n)
{
    usec_t end = clock_now() + DEADLINE;
    while (*what < n) {
        if (clock_now() > end)
            fail_msg("deadline: %u of %u", *what, n);
        loop_turn(loop, 100000);
    }
}

static char trace[256];

static void note(const char *what)
{
    size_t n = strlen(trace);
    snprintf(trace + n, sizeof trace - n, "%s ", what);
}

/* ---- the order of a turn --------------------------------------------------------------------- */

static void run_one(struct task *t)
{
    (void) t;
    note("run1");
}
static struct task task_one = {.run = run_one};

static void run_late(struct task *t)
{
    (void) t;
    note("late");
    loop_queue(loop, &task_one);
}
static struct task task_late = {.run = run_late};

static void free_note(void *p)
{
    note(p);
}

static void run_two(struct task *t)
{
    (void) t;
    note("run2");
    loop_queue_late(loop, &task_late);
    loop_queue_late(loop, &task_late);
    loop_defer_free(loop, free_note, (void *) (uintptr_t) "free");
}
static struct task task_two = {.run = run_two};

static void on_timer(struct timer *t)
{
    (void) t;
    note("timer");
}

static void on_post(struct post *p)
{
    (void) p;
    note("post");
}

static void on_read(struct watch *w, unsigned events)
{
    (void) w;
    if (events & EV_READ)
        note("event");
}

static void runs_a_turn_in_order(void **state)
{
    (void) state;
    trace[0] = '\0';
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    struct watch w = {.fd = -1, .on_event = on_read};
    struct post post = {.run = on_post};
    struct timer timer;
    timer_init(&timer, on_timer);
    /* Made due by going back in time: the wheel is at the turn's tick, so wait for the next. */
    timer_set(loop, &timer, loop_now(loop));
    usec_t end = clock_now() + DEADLINE;
    while (loop_wait_us(loop) > 0)
        assert_true(clock_now() < end);
    assert_true(loop_add(loop, &w, fds[0]));
    loop_post(loop, &post);
    loop_queue(loop, &task_two);
    loop_queue(loop, &task_one);
    loop_queue(loop, &task_one);
    uint64_t turn = loop_turn_number(loop);
    loop_turn(loop, 0);
    assert_string_equal(trace, "post event timer run2 run1 late run1 free ");
    assert_int_equal(loop_turn_number(loop), turn + 1);
    /* Edge-triggered: nothing new, no event. */
    trace[0] = '\0';
    loop_turn(loop, 0);
    assert_string_equal(trace, "");
    loop_remove(loop, &w);
    loop_remove(loop, &w);
    assert_int_equal(w.fd, -1);
    close(fds[0]);
    close(fds[1]);
}

static struct watch moved;
static int moved_to;
static uint64_t turn_of_post;

static void on_post_that_moves(struct post *p)
{
    (void) p;
    turn_of_post = loop_turn_number(loop);
    loop_remove(loop, &moved);
    assert_true(loop_add(loop, &moved, moved_to));
}

/* A post that comes with events knows nothing of them, and what it takes away gets none. */
static void posts_come_before_events(void **state)
{
    (void) state;
    trace[0] = '\0';
    int fds[2];
    struct post post = {.run = on_post_that_moves};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    moved = (struct watch){.fd = -1, .on_event = on_read};
    moved_to = fds[1];
    assert_true(loop_add(loop, &moved, fds[0]));
    loop_post(loop, &post);
    uint64_t turn = loop_turn_number(loop);
    loop_turn(loop, 0);
    assert_string_equal(trace, "");
    assert_int_equal(turn_of_post, turn);
    assert_int_equal(loop_turn_number(loop), turn + 1);
    loop_remove(loop, &moved);
    close(fds[0]);
    close(fds[1]);
}

static void run_after_unqueue(struct task *t)
{
    (void) t;
    note("never");
}

static void unqueues(void **state)
{
    (void) state;
    trace[0] = '\0';
    struct task t = {.run = run_after_unqueue};
    loop_queue(loop, &t);
    loop_unqueue(&t);
    loop_queue_late(loop, &t);
    loop_unqueue(&t);
    loop_unqueue(&t);
    loop_turn(loop, 0);
    assert_string_equal(trace, "");
}

/* What is queued last runs behind all else, once a turn, and keeps the next turn from waiting. */
static struct task task_last;
static unsigned last_runs;

static void run_last_again(struct task *t)
{
    note("last");
    if (++last_runs < 3)
        loop_queue_last(loop, t);
    loop_queue_late(loop, &task_late);
}

static void last_comes_last(void **state)
{
    (void) state;
    trace[0] = '\0';
    task_last.run = run_last_again;
    loop_queue_last(loop, &task_last);
    loop_queue_last(loop, &task_last);
    loop_queue_late(loop, &task_late);
    loop_turn(loop, USEC_NEVER);
    assert_string_equal(trace, "late run1 last late run1 ");
    assert_int_equal(loop_wait_us(loop), 0);
    loop_turn(loop, USEC_NEVER);
    loop_turn(loop, USEC_NEVER);
    assert_int_equal(last_runs, 3);
}

/* ---- events ---------------------------------------------------------------------------------- */

struct pair {
    struct watch w[2];
    int fds[2];
    unsigned events;
};

static struct pair pair;

/* Whoever is told first removes the other one. */
static void remove_other(struct watch *w, unsigned events)
{
    if (!(events & EV_READ))
        return;
    pair.events++;
    loop_remove(loop, &pair.w[w == &pair.w[0]]);
}

static void drops_events_of_removed_watches(void **state)
{
    (void) state;
    pair = (struct pair){.events = 0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair.fds), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(write(pair.fds[!i], "x", 1), 1);
        pair.w[i] = (struct watch){.fd = -1, .on_event = remove_other};
        assert_true(loop_add(loop, &pair.w[i], pair.fds[i]));
    }
    loop_turn(loop, 0);
    assert_int_equal(pair.events, 1);
    loop_remove(loop, &pair.w[0]);
    loop_remove(loop, &pair.w[1]);
    close(pair.fds[0]);
    close(pair.fds[1]);
}

static unsigned seen;

static void collect(struct watch *w, unsigned events)
{
    (void) w;
    seen |= events;
}

static void tells_a_hangup(void **state)
{
    (void) state;
    int fds[2];
    struct watch w = {.fd = -1, .on_event = collect};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    assert_true(loop_add(loop, &w, fds[0]));
    seen = 0;
    loop_turn(loop, 0);
    assert_int_equal(seen, EV_WRITE);
    shutdown(fds[1], SHUT_WR);
    seen = 0;
    loop_turn(loop, 0);
    assert_int_equal(seen & (EV_READ | EV_HUP), EV_READ | EV_HUP);
    loop_remove(loop, &w);
    close(fds[0]);
    close(fds[1]);
    struct watch bad = {.fd = -1, .on_event = collect};
    assert_false(loop_add(loop, &bad, fds[1]));
    assert_int_equal(bad.fd, -1);
}

/* ---- tasks and frees that go on -------------------------------------------------------------- */

static unsigned runs, lates;
static bool spinning;

static void spin(struct task *t)
{
    runs++;
    if (spinning)
        loop_queue(loop, t);
}

static void count_late(struct task *t)
{
    (void) t;
    lates++;
}

static void a_task_that_requeues_itself_is_bounded(void **state)
{
    (void) state;
    struct task t = {.run = spin}, late = {.run = count_late};
    runs = lates = 0;
    spinning = true;
    loop_queue(loop, &t);
    loop_queue_late(loop, &late);
    loop_turn(loop, USEC_NEVER);
    assert_in_range(runs, 1000, 20000);
    assert_int_equal(lates, 1);
    assert_int_equal(loop_wait_us(loop), 0);
    loop_turn(loop, USEC_NEVER); /* does not wait */
    spinning = false;
    loop_turn(loop, USEC_NEVER);
    assert_int_equal(loop_wait_us(loop), USEC_NEVER);
}

static unsigned freed;

static void free_chain(void *p)
{
    freed++;
    if (p)
        loop_defer_free(loop, free_chain, *(void **) p);
    mem_free(p);
}

static void frees_may_defer_frees(void **state)
{
    (void) state;
    void *p = NULL;
    for (int i = 0; i < 200; i++) {
        void **next = mem_new(sizeof *next);
        *next = p;
        p = next;
    }
    freed = 0;
    loop_defer_free(loop, free_chain, p);
    assert_int_equal(freed, 0);
    loop_turn(loop, 0);
    assert_int_equal(freed, 201);
}

/* ---- other threads --------------------------------------------------------------------------- */

#define POSTERS 3
#define POSTS 5000

struct numbered {
    struct post post;
    unsigned thread, n;
};

static unsigned received, next_of[POSTERS];

static void receive(struct post *p)
{
    struct numbered *m = (struct numbered *) p;
    assert_int_equal(m->n, next_of[m->thread]); /* each sender's order is kept */
    next_of[m->thread]++;
    received++;
    free(m);
}

static void *send_posts(void *arg)
{
    for (unsigned i = 0; i < POSTS; i++) {
        struct numbered *m = malloc(sizeof *m);
        *m = (struct numbered){.post.run = receive, .thread = *(unsigned *) arg, .n = i};
        loop_post(loop, &m->post);
    }
    return NULL;
}

static void takes_posts_from_threads(void **state)
{
    (void) state;
    pthread_t threads[POSTERS];
    static unsigned numbers[POSTERS];
    received = 0;
    memset(next_of, 0, sizeof next_of);
    for (unsigned i = 0; i < POSTERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, send_posts, &numbers[i]), 0);
    }
    turn_until(&received, POSTERS * POSTS);
    for (unsigned i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counter_get(&loop_stats(loop)->posts), POSTERS * POSTS);
}

static void *wake_then_stop(void *arg)
{
    (void) arg;
    loop_wake(loop);
    loop_stop(loop);
    return NULL;
}

static void stops_from_another_thread(void **state)
{
    (void) state;
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, wake_then_stop, NULL), 0);
    loop_run(loop);
    pthread_join(t, NULL);
    loop_stop(loop);
    loop_run(loop); /* returns at once: the stop came first */
}

static unsigned drained;

static void count_post(struct post *p)
{
    (void) p;
    drained++;
}

static void free_runs_what_is_left(void **state)
{
    (void) state;
    int err;
    struct loop *l = loop_new(&err);
    struct post p = {.run = count_post};
    struct task t = {.run = count_late};
    lates = drained = 0;
    loop_post(l, &p);
    loop_queue(l, &t);
    loop_free(l);
    assert_int_equal(drained, 1);
    assert_int_equal(lates, 1);
    loop_free(NULL);
}

/* ---- time ------------------------------------------------------------------------------------ */

static unsigned fired;

static void count_timer(struct timer *t)
{
    (void) t;
    fired++;
}

static void waits_for_the_timer(void **state)
{
    (void) state;
    struct timer t;
    timer_init(&t, count_timer);
    assert_int_equal(loop_wait_us(loop), USEC_NEVER);
    fired = 0;
    usec_t deadline = clock_now() + 30000;
    timer_set(loop, &t, deadline);
    assert_in_range(loop_wait_us(loop), 0, 50000);
    turn_until(&fired, 1);
    assert_true(clock_now() >= deadline);
    assert_true(loop_now(loop) >= deadline);
    int64_t off = loop_wall(loop) - clock_wall();
    assert_in_range(off + 60000000, 0, 120000000);
}

static void serves_a_foreign_loop(void **state)
{
    (void) state;
    struct pollfd p = {.fd = loop_fd(loop), .events = POLLIN};
    loop_turn(loop, 0);
    assert_int_equal(poll(&p, 1, 0), 0);
    struct post post = {.run = count_post};
    drained = 0;
    loop_post(loop, &post);
    assert_int_equal(poll(&p, 1, 10000), 1);
    loop_turn(loop, 0);
    assert_int_equal(drained, 1);
    assert_int_equal(poll(&p, 1, 0), 0);
    sigset_t set;
    pthread_sigmask(SIG_BLOCK, NULL, &set);
    assert_int_equal(sigismember(&set, SIGPIPE), 1);
}

static unsigned told;

static void count_event(struct watch *w, unsigned events)
{
    (void) w;
    assert_int_equal(events, EV_READ);
    told++;
}

/* A listening socket is told of as long as a connection waits, not only when it came. */
static void tells_of_what_still_waits(void **state)
{
    (void) state;
    struct watch w = {.fd = -1, .on_event = count_event};
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_true(loop_add_listener(loop, &w, ends[0]));
    told = 0;
    loop_turn(loop, 0);
    assert_int_equal(told, 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    turn_until(&told, 3);
    loop_remove(loop, &w);
    loop_turn(loop, 0);
    assert_int_equal(told, 3);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_loop, close_loop)
    const struct CMUnitTest tests[] = {
        T(runs_a_turn_in_order),
        T(posts_come_before_events),
        T(unqueues),
        T(last_comes_last),
        T(drops_events_of_removed_watches),
        T(tells_a_hangup),
        T(tells_of_what_still_waits),
        T(a_task_that_requeues_itself_is_bounded),
        T(frees_may_defer_frees),
        T(takes_posts_from_threads),
        T(stops_from_another_thread),
        T(free_runs_what_is_left),
        T(waits_for_the_timer),
        T(serves_a_foreign_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

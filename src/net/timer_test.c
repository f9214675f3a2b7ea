/* SPDX-License-Identifier: Apache-2.0 */
/* The wheel, driven with a made-up time: nothing waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "base/mem.h"
#include "net/loop.h"
#include "net/wheel.h"

#define TICK (UINT64_C(1) << WHEEL_TICK_BITS)
#define MINUTE (60 * USEC_PER_SEC)

static struct {
    struct loop *loop;
    struct wheel *wheel;
    usec_t start, now;
} t;

static int open_wheel(void **state)
{
    (void) state;
    int err;
    t.loop = loop_new(&err);
    assert_non_null(t.loop);
    t.wheel = loop_wheel(t.loop);
    t.start = t.now = loop_now(t.loop);
    return 0;
}

static int close_wheel(void **state)
{
    (void) state;
    loop_free(t.loop);
    return 0;
}

struct probe {
    struct timer timer;
    usec_t wanted;
    unsigned fired;
    bool again; /* sets itself when it fires */
};

static void fire(struct timer *timer)
{
    struct probe *p = list_entry(timer, struct probe, timer);
    assert_int_equal(timer->deadline, USEC_NEVER);
    assert_false(list_linked(&timer->node));
    assert_true(t.now >= p->wanted);
    assert_true(t.now < p->wanted + 2 * TICK);
    p->fired++;
    if (p->again) {
        p->wanted = t.now;
        timer_set(t.loop, timer, t.now);
    }
}

static void set(struct probe *p, usec_t deadline)
{
    p->wanted = deadline;
    timer_set(t.loop, &p->timer, deadline);
}

/* Goes from wake-up to wake-up as a loop does, until the time is to. Returns wake-ups. */
static unsigned advance(usec_t to)
{
    unsigned turns = 0;
    usec_t next;
    while ((next = wheel_next(t.wheel)) <= to) {
        if (next > t.now)
            t.now = next;
        wheel_run(t.wheel, t.now);
        turns++;
    }
    t.now = to;
    wheel_run(t.wheel, t.now);
    return turns;
}

static void fires_once_and_on_time(void **state)
{
    (void) state;
    static const usec_t spans[] = {
        0,      1,          TICK,        TICK + 1,    63 * TICK,     64 * TICK,      65 * TICK,
        MINUTE, 2 * MINUTE, 90 * MINUTE, 70 * MINUTE, 5000 * MINUTE, 600000 * MINUTE};
    for (size_t i = 0; i < sizeof spans / sizeof *spans; i++) {
        struct probe p = {.fired = 0};
        timer_init(&p.timer, fire);
        set(&p, t.now + spans[i]);
        unsigned turns = advance(t.now + spans[i] + 2 * TICK);
        assert_int_equal(p.fired, 1);
        /* One wake-up a level at most. */
        assert_in_range(turns, 1, WHEEL_LEVELS);
        assert_int_equal(wheel_next(t.wheel), USEC_NEVER);
    }
}

static void moves_lazily(void **state)
{
    (void) state;
    struct probe p = {.fired = 0};
    timer_init(&p.timer, fire);
    set(&p, t.now + USEC_PER_SEC);
    usec_t parked = p.timer.slot_time;
    set(&p, t.now + MINUTE);
    assert_int_equal(p.timer.slot_time, parked);
    advance(t.now + 30 * USEC_PER_SEC);
    assert_int_equal(p.fired, 0);
    /* Earlier than where it lies: moved at once. */
    set(&p, t.now + 10 * TICK);
    advance(t.now + 12 * TICK);
    assert_int_equal(p.fired, 1);
}

static void idles_and_stops(void **state)
{
    (void) state;
    struct probe a = {.fired = 0}, b = {.fired = 0}, c = {.fired = 0};
    timer_init(&a.timer, fire);
    timer_init(&b.timer, fire);
    timer_init(&c.timer, fire);
    timer_stop(&a.timer);
    set(&a, t.now + MINUTE);
    set(&b, t.now + MINUTE);
    set(&c, t.now + MINUTE);
    timer_idle(&a.timer);
    timer_stop(&b.timer);
    timer_set(t.loop, &c.timer, USEC_NEVER);
    advance(t.now + 2 * MINUTE);
    assert_int_equal(a.fired + b.fired + c.fired, 0);
    assert_false(list_linked(&a.timer.node));
    assert_int_equal(wheel_next(t.wheel), USEC_NEVER);
    /* Idle, then set again before its slot comes up. */
    set(&a, t.now + MINUTE);
    timer_idle(&a.timer);
    set(&a, t.now + 30 * USEC_PER_SEC);
    advance(t.now + 2 * MINUTE);
    assert_int_equal(a.fired, 1);
}

static void a_timer_that_sets_itself_does_not_spin(void **state)
{
    (void) state;
    struct probe p = {.again = true};
    timer_init(&p.timer, fire);
    set(&p, t.now);
    advance(t.now + 20 * TICK);
    assert_in_range(p.fired, 18, 20);
    timer_stop(&p.timer);
}

static struct probe victim;

static void stop_victim(struct timer *timer)
{
    (void) timer;
    timer_stop(&victim.timer);
}

static void stops_a_neighbour_in_the_same_slot(void **state)
{
    (void) state;
    struct timer killer;
    timer_init(&killer, stop_victim);
    timer_init(&victim.timer, fire);
    timer_set(t.loop, &killer, t.now + 5 * TICK);
    set(&victim, t.now + 5 * TICK);
    advance(t.now + 10 * TICK);
    assert_int_equal(victim.fired, 0);
}

static void a_late_turn_fires_everything(void **state)
{
    (void) state;
    static struct timer timers[100];
    for (size_t i = 0; i < 100; i++) {
        timer_init(&timers[i], stop_victim);
        timer_set(t.loop, &timers[i], t.now + i * 3 * USEC_PER_SEC);
    }
    t.now += 3600 * USEC_PER_SEC;
    wheel_run(t.wheel, t.now);
    for (size_t i = 0; i < 100; i++)
        assert_int_equal(timers[i].deadline, USEC_NEVER);
    assert_int_equal(wheel_next(t.wheel), USEC_NEVER);
}

#define PROBES 300

/* Many timers set, moved, idled and stopped at random; fire() checks each one's time. */
static void random_walk(void **state)
{
    (void) state;
    struct probe *p = mem_new(PROBES * sizeof *p);
    static const usec_t scale[] = {TICK, USEC_PER_SEC, MINUTE, 100 * MINUTE};
    for (size_t i = 0; i < PROBES; i++)
        timer_init(&p[i].timer, fire);
    for (unsigned round = 0; round < 30000; round++) {
        struct probe *one = &p[clock_random() % PROBES];
        unsigned what = clock_random() % 8;
        if (what == 0)
            timer_stop(&one->timer);
        else if (what == 1)
            timer_idle(&one->timer);
        else
            set(one, t.now + clock_random() % scale[clock_random() % 4]);
        if (round % 10 == 0)
            advance(t.now + clock_random() % scale[clock_random() % 3]);
    }
    advance(t.now + 200 * MINUTE);
    for (size_t i = 0; i < PROBES; i++) {
        assert_int_equal(p[i].timer.deadline, USEC_NEVER);
        timer_stop(&p[i].timer);
    }
    assert_int_equal(wheel_next(t.wheel), USEC_NEVER);
    mem_free(p);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_wheel, close_wheel)
    const struct CMUnitTest tests[] = {
        T(fires_once_and_on_time),
        T(moves_lazily),
        T(idles_and_stops),
        T(a_timer_that_sets_itself_does_not_spin),
        T(stops_a_neighbour_in_the_same_slot),
        T(a_late_turn_fires_everything),
        T(random_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

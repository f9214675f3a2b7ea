/* SPDX-License-Identifier: Apache-2.0 */
/* The breaker against a simple model under random events with printed seeds, and its rules one by
 * one. */
#include "upstream/breaker.h"

#include <sched.h>

#include "upstream/balance_kit.h"

#define SEC USEC_PER_SEC

static struct breaker_conf defaults(void)
{
    struct breaker_conf c;
    schema_defaults(&breaker_schema, &c);
    c.enabled = true;
    c.minimum_calls = 10;
    return c;
}

static bool call(struct breaker *b, const struct breaker_conf *c, usec_t now,
                 enum breaker_outcome o)
{
    struct breaker_ticket t;
    if (!breaker_ask(b, c, now, &t))
        return false;
    breaker_tell(b, c, now, t, (struct breaker_end){o, false, o == OUTCOME_FAILED});
    return true;
}

static void opens_and_closes(void **state)
{
    (void) state;
    struct breaker b = {0};
    struct breaker_conf c = defaults();
    breaker_init(&b, "test");
    for (int i = 0; i < 9; i++)
        assert_true(call(&b, &c, SEC, i < 5 ? OUTCOME_FAILED : OUTCOME_GOOD));
    assert_string_equal(breaker_state_name(&b), "closed"); /* not enough calls */
    assert_true(call(&b, &c, SEC, OUTCOME_FAILED));
    assert_string_equal(breaker_state_name(&b), "open");
    assert_false(call(&b, &c, 6 * SEC - 1, OUTCOME_GOOD));
    assert_int_equal(breaker_wait(&b, SEC), 5);
    assert_int_equal(breaker_wait(&b, 6 * SEC - 1), 1);
    struct breaker_ticket t[5], more;
    for (int i = 0; i < 5; i++)
        assert_true(breaker_ask(&b, &c, 6 * SEC, &t[i]) && t[i].probe);
    assert_false(breaker_ask(&b, &c, 6 * SEC, &more));
    breaker_tell(&b, &c, 6 * SEC, t[0], (struct breaker_end){OUTCOME_NONE, false, false});
    assert_true(breaker_ask(&b, &c, 6 * SEC, &t[0])); /* in place of the one that told nothing */
    for (int i = 0; i < 5; i++)                       /* 2 of 5 failed: less than 45 % */
        breaker_tell(&b, &c, 6 * SEC, t[i],
                     (struct breaker_end){i < 2 ? OUTCOME_FAILED : OUTCOME_GOOD, false, false});
    assert_string_equal(breaker_state_name(&b), "closed");
    assert_int_equal(breaker_sum(&b, &c, 6 * SEC).calls, 0);
    breaker_fini(&b);
}

static void open_time_grows(void **state)
{
    (void) state;
    struct breaker b = {0};
    struct breaker_conf c = defaults();
    usec_t now = SEC;
    breaker_init(&b, "test");
    for (int i = 0; i < 10; i++)
        call(&b, &c, now, OUTCOME_FAILED);
    for (usec_t span = 5 * SEC; span < 200 * SEC; span *= 2) {
        usec_t real = span < 60 * SEC ? span : 60 * SEC;
        assert_false(call(&b, &c, now + real - 1, OUTCOME_GOOD));
        now += real;
        for (int i = 0; i < 5; i++)
            assert_true(call(&b, &c, now, OUTCOME_FAILED));
        assert_string_equal(breaker_state_name(&b), "open");
    }
    breaker_fini(&b);
}

static void slides(void **state)
{
    (void) state;
    struct breaker b = {0};
    struct breaker_conf c = defaults();
    breaker_init(&b, "test");
    for (int i = 0; i < 9; i++)
        call(&b, &c, SEC, OUTCOME_FAILED);
    assert_int_equal(breaker_sum(&b, &c, 10 * SEC).failed, 9);
    assert_int_equal(breaker_sum(&b, &c, 11 * SEC).failed, 0); /* it is not the window's any more */
    call(&b, &c, 11 * SEC, OUTCOME_FAILED);
    assert_string_equal(breaker_state_name(&b), "closed");
    breaker_fini(&b);
}

static void slow_calls_open(void **state)
{
    (void) state;
    struct breaker b = {0};
    struct breaker_conf c = defaults();
    struct attempt_result r = {.status = 200, .first_byte_us = 900000};
    assert_int_equal(breaker_end_of(&c, &r).outcome, OUTCOME_GOOD);
    c.slow_over = 800000;
    assert_int_equal(breaker_end_of(&c, &r).outcome, OUTCOME_SLOW);
    breaker_init(&b, "test");
    for (int i = 0; i < 10; i++)
        call(&b, &c, SEC, i % 2 ? OUTCOME_SLOW : OUTCOME_GOOD);
    assert_string_equal(breaker_state_name(&b), "open");
    breaker_fini(&b);
}

static void what_fails_is_configurable(void **state)
{
    (void) state;
    struct breaker_conf c = defaults();
    int64_t statuses[] = {429};
    struct attempt_result r = {.status = 500};
    assert_int_equal(breaker_end_of(&c, &r).outcome, OUTCOME_FAILED);
    c.statuses = (struct schema_list){statuses, 1};
    assert_int_equal(breaker_end_of(&c, &r).outcome, OUTCOME_GOOD);
    r.status = 429;
    assert_int_equal(breaker_end_of(&c, &r).outcome, OUTCOME_FAILED);
    for (int blame = BLAME_CONNECT; blame <= BLAME_INVALID; blame++) {
        r = (struct attempt_result){.blame = (enum blame) blame};
        assert_int_equal(breaker_end_of(&c, &r).outcome, OUTCOME_FAILED);
        c.connect &= blame != BLAME_CONNECT;
        c.timeout &= blame != BLAME_TIMEOUT;
        c.reset &= blame != BLAME_RESET;
        c.invalid &= blame != BLAME_INVALID;
        assert_int_equal(breaker_end_of(&c, &r).outcome, OUTCOME_NONE);
    }
}

static void held_by_hand(void **state)
{
    (void) state;
    struct breaker b = {0};
    struct breaker_conf c = defaults();
    breaker_init(&b, "test");
    breaker_hold(&b, BREAKER_FORCE_OPEN);
    assert_false(call(&b, &c, SEC, OUTCOME_GOOD));
    breaker_hold(&b, BREAKER_FORCE_CLOSED);
    for (int i = 0; i < 50; i++)
        assert_true(call(&b, &c, SEC, OUTCOME_FAILED));
    breaker_hold(&b, BREAKER_AUTO);
    assert_string_equal(breaker_state_name(&b), "closed");
    for (int i = 0; i < 10; i++)
        assert_true(call(&b, &c, SEC, OUTCOME_FAILED));
    assert_false(call(&b, &c, SEC, OUTCOME_GOOD));
    breaker_fini(&b);
}

/* The same rule at any length: what is older than the window is forgotten. */
static void window_of_any_length(void **state)
{
    static const usec_t windows[] = {SEC / 100, SEC / 3, 7 * SEC, 3600 * SEC, 86400 * SEC};
    (void) state;
    for (size_t i = 0; i < SCHEMA_COUNT(windows); i++) {
        struct breaker b = {0};
        struct breaker_conf c = defaults();
        c.window = windows[i];
        breaker_init(&b, "test");
        usec_t now = 2 * c.window;
        for (int64_t k = 1; k < c.minimum_calls; k++)
            assert_true(call(&b, &c, now, OUTCOME_FAILED));
        assert_int_equal(breaker_sum(&b, &c, now).failed, c.minimum_calls - 1);
        now += c.window + c.window / BREAKER_PARTS;
        assert_int_equal(breaker_sum(&b, &c, now).calls, 0);
        assert_true(call(&b, &c, now, OUTCOME_FAILED)); /* the first of a new window */
        assert_string_equal(breaker_state_name(&b), "closed");
        breaker_fini(&b);
    }
}

/* The shares that a fallback will act upon. */
static void shares_of_errors_and_timeouts(void **state)
{
    static const struct breaker_end ends[] = {
        {OUTCOME_FAILED, false, true}, {OUTCOME_FAILED, true, false},
        {OUTCOME_GOOD, false, true}, /* a status that is no failure here */
        {OUTCOME_GOOD, false, false},  {OUTCOME_SLOW, false, false},
        {OUTCOME_NONE, false, false},
    };
    struct breaker b = {0};
    struct breaker_conf c = defaults();
    (void) state;
    c.minimum_calls = 1000;
    breaker_init(&b, "test");
    for (size_t i = 0; i < SCHEMA_COUNT(ends); i++) {
        struct breaker_ticket t;
        assert_true(breaker_ask(&b, &c, SEC, &t));
        breaker_tell(&b, &c, SEC, t, ends[i]);
    }
    struct breaker_counts n = breaker_sum(&b, &c, SEC);
    assert_int_equal(n.calls, 5);
    assert_int_equal(n.failed, 2);
    assert_int_equal(n.slow, 1);
    assert_int_equal(n.errors, 2);
    assert_int_equal(n.timeouts, 1);
    breaker_fini(&b);
}

/* ---- held while workers ask ---------------------------------------------------------------- */

struct asker {
    pthread_t thread;
    struct breaker *b;
    const struct breaker_conf *c;
    _Atomic int *phase;
    _Atomic bool *over;
    _Atomic uint32_t rounds;
    bool wrong;
};

/* Whatever was said before its question must hold for the answer. All calls fail. */
static void *ask_on(void *arg)
{
    struct asker *a = arg;
    while (!atomic_load(a->over)) {
        int before = atomic_load(a->phase);
        bool pass = call(a->b, a->c, clock_now(), OUTCOME_FAILED);
        if (atomic_load(a->phase) == before && before != BREAKER_AUTO)
            a->wrong |= pass != (before == BREAKER_FORCE_CLOSED);
        atomic_fetch_add(&a->rounds, 1);
    }
    return NULL;
}

static void held_over_workers(void **state)
{
    static const int scopes[] = {BREAKER_UPSTREAM, BREAKER_ENDPOINT, BREAKER_ROUTE};
    (void) state;
    for (size_t s = 0; s < SCHEMA_COUNT(scopes); s++) {
        struct bench bench;
        struct asker askers[3] = {0};
        _Atomic int phase = BREAKER_AUTO;
        _Atomic bool over = false;
        bench_open(&bench, 2, NULL, 3);
        assert_false(upstream_breaker_hold(bench.registry, STR("u"), BREAKER_FORCE_OPEN));
        schema_defaults(&breaker_schema, &bench.conf.breaker);
        bench.conf.breaker.scope = scopes[s];
        bench.conf.breaker_given = true;
        bench_again(&bench);
        struct breaker *b = scopes[s] == BREAKER_ENDPOINT
                                ? atomic_load(&bench.up->endpoints[1]->breaker)
                                : upstream_breaker(bench.up, STR("route"));
        for (size_t i = 0; i < SCHEMA_COUNT(askers); i++) {
            askers[i] =
                (struct asker){.b = b, .c = &bench.up->breaker, .phase = &phase, .over = &over};
            assert_int_equal(pthread_create(&askers[i].thread, NULL, ask_on, &askers[i]), 0);
        }
        for (int round = 0; round < 30; round++) {
            enum breaker_force force = round % 3 == 2 ? BREAKER_AUTO
                                       : round % 3    ? BREAKER_FORCE_CLOSED
                                                      : BREAKER_FORCE_OPEN;
            atomic_store(&phase, BREAKER_AUTO); /* between two words anything may come */
            assert_true(upstream_breaker_hold(bench.registry, STR("u"), force));
            atomic_store(&phase, (int) force);
            for (size_t i = 0; i < SCHEMA_COUNT(askers); i++) {
                uint32_t from = atomic_load(&askers[i].rounds);
                usec_t until = clock_now() + KIT_DEADLINE;
                while (atomic_load(&askers[i].rounds) - from < 3 && clock_now() < until)
                    sched_yield();
            }
        }
        atomic_store(&over, true);
        for (size_t i = 0; i < SCHEMA_COUNT(askers); i++) {
            pthread_join(askers[i].thread, NULL);
            assert_false(askers[i].wrong);
        }
        assert_false(upstream_breaker_hold(bench.registry, STR("v"), BREAKER_AUTO));
        bench_close(&bench);
    }
}

/* What closes it is never more than what opens it, also where only one of them was given. */
static void closes_below_what_opens(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 1, NULL, 1);
    b.conf.breaker_given = true;
    b.conf.breaker.failure_rate = 30;
    bench_again(&b);
    assert_int_equal(b.up->breaker.close_rate, 30);
    b.conf.breaker.failure_rate = 60;
    bench_again(&b);
    assert_int_equal(b.up->breaker.close_rate, 45);
    bench_close(&b);
}

/* ---- the model: a list of calls with their times, nothing clever ---------------------------- */

struct model {
    enum breaker_state state;
    struct {
        usec_t at;
        enum breaker_outcome how;
    } calls[20000];
    uint32_t n, begun, ended, bad, times;
    usec_t until;
    uint32_t round;
};

static bool model_ask(struct model *m, const struct breaker_conf *c, usec_t now, bool *probe)
{
    *probe = false;
    if (m->state == BREAKER_OPEN && now >= m->until) {
        m->state = BREAKER_HALF_OPEN;
        m->begun = m->ended = m->bad = 0;
        m->round++;
    }
    if (m->state == BREAKER_CLOSED)
        return true;
    if (m->state == BREAKER_OPEN || m->begun >= (uint32_t) c->probes)
        return false;
    m->begun++;
    return *probe = true;
}

static void model_open(struct model *m, const struct breaker_conf *c, usec_t now)
{
    usec_t span = c->open << (m->times < 20 ? m->times : 20);
    m->times++;
    m->until = now + (span < c->max_open ? span : c->max_open);
    m->state = BREAKER_OPEN;
    m->round++;
}

static void model_tell(struct model *m, const struct breaker_conf *c, usec_t now, bool probe,
                       uint32_t round, enum breaker_outcome o)
{
    uint64_t calls = 0, failed = 0, slow = 0, width = c->window / BREAKER_PARTS;
    if (round != m->round)
        return;
    if (probe && o == OUTCOME_NONE)
        m->begun--;
    if (o == OUTCOME_NONE)
        return;
    if (probe) {
        m->ended++;
        m->bad += o == OUTCOME_FAILED || o == OUTCOME_SLOW;
        if (m->ended < (uint32_t) c->probes)
            return;
        if (m->bad * 100 >= m->ended * (uint64_t) c->close_rate) {
            model_open(m, c, now);
        } else {
            m->state = BREAKER_CLOSED;
            m->n = m->times = 0;
            m->round++;
        }
        return;
    }
    m->calls[m->n].at = now;
    m->calls[m->n++].how = o;
    for (uint32_t i = 0; i < m->n; i++) {
        if (m->calls[i].at / width + BREAKER_PARTS <= now / width)
            continue;
        calls++;
        failed += m->calls[i].how == OUTCOME_FAILED;
        slow += m->calls[i].how == OUTCOME_SLOW;
    }
    if (o != OUTCOME_GOOD && calls >= (uint64_t) c->minimum_calls &&
        (failed * 100 >= calls * (uint64_t) c->failure_rate ||
         (c->slow_over && slow * 100 >= calls * (uint64_t) c->slow_rate)))
        model_open(m, c, now);
}

/* Other settings for each seed; every second one has slow calls. */
static struct breaker_conf settings(uint64_t seed)
{
    struct breaker_conf c = defaults();
    c.minimum_calls = (int64_t) (5 + seed % 20);
    c.failure_rate = (int64_t) (30 + seed % 4 * 10);
    c.close_rate = c.failure_rate - 5;
    c.probes = (int64_t) (1 + seed % 7);
    c.window = (3 + seed % 10) * SEC;
    c.slow_over = seed % 2 ? 800 * USEC_PER_MS : 0;
    c.slow_rate = (int64_t) (40 + seed % 3 * 20);
    return c;
}

static void follows_the_model(void **state)
{
    (void) state;
    static struct model m;
    static struct {
        struct breaker_ticket t;
        uint32_t round;
        bool probe;
    } out[64];
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct breaker b = {0};
        struct breaker_conf c = settings(seed);
        uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
        usec_t now = SEC;
        uint32_t n = 0, opened = 0;
        memset(&m, 0, sizeof m);
        breaker_init(&b, "model");
        for (int step = 0; step < 8000; step++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uint32_t r = (uint32_t) (random >> 33);
            now += r % 8 ? r % 40000 : r % 3000000;
            if (n < 64 && r % 3) {
                bool probe, want = model_ask(&m, &c, now, &probe);
                if (breaker_ask(&b, &c, now, &out[n].t) != want)
                    fail_msg("seed %d, step %d: passes %d", (int) seed, step, !want);
                out[n].probe = probe;
                out[n].round = m.round;
                n += want;
            } else if (n > 0) {
                uint32_t i = (r >> 8) % n;
                uint32_t bad = (uint32_t) (now / (20 * SEC)) % 2 ? 7 : 1; /* bad times and good */
                bool slow = c.slow_over && (now / (40 * SEC)) % 2;
                enum breaker_outcome worse = slow ? OUTCOME_SLOW : OUTCOME_FAILED;
                enum breaker_outcome o = (r >> 16) % 10 < bad ? worse : OUTCOME_GOOD;
                o = (r >> 24) % 16 == 0 ? OUTCOME_NONE : o;
                breaker_tell(&b, &c, now, out[i].t, (struct breaker_end){o, false, false});
                model_tell(&m, &c, now, out[i].probe, out[i].round, o);
                out[i] = out[--n];
            }
            opened += m.state == BREAKER_OPEN;
            if (atomic_load(&b.state) != m.state)
                fail_msg("seed %d, step %d: state %u, the model's %d", (int) seed, step,
                         (unsigned) atomic_load(&b.state), (int) m.state);
        }
        assert_true(opened > 0);
        breaker_fini(&b);
    }
}

/* What a process hands on to the one that follows. */
static void is_followed(void **state)
{
    (void) state;
    struct breaker_conf c = settings(0);
    struct breaker a = {0}, b = {0}, held = {0};
    struct breaker_ticket t;
    usec_t until, now = 100 * SEC;
    uint32_t times;
    breaker_init(&a, "before");
    breaker_init(&b, "after");
    breaker_init(&held, "held");
    assert_false(breaker_left(&a, &until, &times));
    breaker_follow(&a, &c, now, now + c.open, 3);
    assert_true(breaker_left(&a, &until, &times));
    assert_int_equal(until, now + c.open);
    assert_int_equal(times, 3);
    breaker_follow(&b, &c, now, until, times);
    assert_false(breaker_ask(&b, &c, now + c.open - 1, &t));
    assert_true(breaker_ask(&b, &c, now + c.open, &t) && t.probe);
    /* Half open: probes at once. */
    assert_true(breaker_left(&b, &until, &times));
    assert_int_equal(until, 0);
    breaker_fini(&a);
    breaker_init(&a, "again");
    atomic_store(&a.state, BREAKER_CLOSED);
    breaker_follow(&a, &c, now, until, times);
    assert_true(breaker_ask(&a, &c, now, &t) && t.probe);
    /* No longer than it may be open by now, and never against a person's will. */
    breaker_hold(&held, BREAKER_FORCE_CLOSED);
    breaker_follow(&held, &c, now, now + c.open, 1);
    assert_true(breaker_ask(&held, &c, now, &t));
    assert_false(breaker_left(&held, &until, &times));
    breaker_hold(&held, BREAKER_AUTO);
    breaker_follow(&held, &c, now, USEC_NEVER, 1);
    assert_true(breaker_ask(&held, &c, now + c.max_open, &t));
    breaker_fini(&a);
    breaker_fini(&b);
    breaker_fini(&held);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_closes),
        cmocka_unit_test(open_time_grows),
        cmocka_unit_test(slides),
        cmocka_unit_test(slow_calls_open),
        cmocka_unit_test(held_by_hand),
        cmocka_unit_test(window_of_any_length),
        cmocka_unit_test(shares_of_errors_and_timeouts),
        cmocka_unit_test(held_over_workers),
        cmocka_unit_test(what_fails_is_configurable),
        cmocka_unit_test(closes_below_what_opens),
        cmocka_unit_test(follows_the_model),
        cmocka_unit_test(is_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

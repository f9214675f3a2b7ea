/* SPDX-License-Identifier: Apache-2.0 */
/* Ejection: failures in a row against a simple model under random events, the verdicts of a sweep,
 * the bounds, the growing time, the return. */
#include "upstream/balance_kit.h"
#include "upstream/eject.h"

#define NOW (1000 * USEC_PER_SEC)

static void end(struct bench *b, uint32_t i, enum blame blame, usec_t now)
{
    struct attempt_result r = {.blame = blame, .now = now};
    r.fault = blame == BLAME_RESET ? FAULT_UP_RESET : FAULT_OK;
    r.status = blame == BLAME_NONE ? 200 : 0;
    eject_attempt(b->up->endpoints[i], &r, 0);
}

static bool out(const struct bench *b, uint32_t i)
{
    return atomic_load(&b->up->endpoints[i]->ejected);
}

static void five_in_a_row(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 3, NULL, 1);
    for (int i = 0; i < 4; i++)
        end(&b, 0, BLAME_RESET, NOW);
    end(&b, 0, BLAME_NONE, NOW); /* an answer starts the row anew */
    for (int i = 0; i < 4; i++)
        end(&b, 0, BLAME_RESET, NOW);
    assert_false(out(&b, 0));
    end(&b, 0, BLAME_STATUS, NOW);
    assert_true(out(&b, 0));
    for (int i = 0; i < 6; i++)
        assert_ptr_not_equal(pick(&b, 0), b.up->endpoints[0]);
    for (int i = 0; i < 5; i++) /* two of three would be too many */
        end(&b, 1, BLAME_RESET, NOW);
    assert_false(out(&b, 1));
    bench_close(&b);
}

static void never_the_only_one(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 1, NULL, 1);
    for (int i = 0; i < 50; i++)
        end(&b, 0, BLAME_CONNECT, NOW);
    assert_false(out(&b, 0));
    assert_non_null(pick(&b, 0));
    bench_close(&b);
}

static void time_grows_and_return_is_slow(void **state)
{
    (void) state;
    struct bench b;
    usec_t now = NOW;
    bench_open(&b, 2, NULL, 1);
    struct endpoint *e = b.up->endpoints[0];
    for (uint32_t times = 1; times <= 3; times++) {
        for (int i = 0; i < 5; i++)
            end(&b, 0, BLAME_TIMEOUT, now);
        assert_true(out(&b, 0));
        usec_t span = e->passive.until - now;
        assert_in_range(span, times * 30 * USEC_PER_SEC, times * 33 * USEC_PER_SEC);
        upstream_registry_tick(b.registry, now + span - USEC_PER_SEC);
        assert_true(out(&b, 0));
        now += span;
        upstream_registry_tick(b.registry, now);
        assert_false(out(&b, 0));
        assert_int_equal(atomic_load(&e->share), 100); /* slow start */
    }
    assert_int_equal(atomic_load(&e->passive.ejections[EJECT_IN_ROW]), 3);
    for (int i = 0; i < 5; i++)
        end(&b, 0, BLAME_TIMEOUT, now);
    eject_forgive(e, now);
    assert_false(out(&b, 0));
    bench_close(&b);
}

static void off_brings_back(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 2, NULL, 1);
    for (int i = 0; i < 5; i++)
        end(&b, 0, BLAME_CONNECT, NOW);
    assert_true(out(&b, 0));
    b.conf.ejection.enabled = false;
    bench_again(&b);
    upstream_registry_tick(b.registry, NOW + 1);
    assert_false(out(&b, 0));
    for (int i = 0; i < 50; i++)
        end(&b, 0, BLAME_CONNECT, NOW);
    assert_false(out(&b, 0));
    bench_close(&b);
}

/* The rules once more, as a list of plain numbers. */
struct model {
    uint32_t n, row[6], times[6];
    bool out[6];
};

static void model_end(struct model *m, uint32_t i, bool failed)
{
    uint32_t ejected = 1;
    if (!failed) {
        m->row[i] = 0;
        return;
    }
    m->row[i]++;
    for (uint32_t k = 0; k < m->n; k++)
        ejected += m->out[k];
    if (!m->out[i] && m->row[i] % 5 == 0 && m->n > 1 && ejected * 2 <= m->n) {
        m->out[i] = true;
        m->times[i]++;
    }
}

static void follows_the_model(void **state)
{
    (void) state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct bench b;
        struct model m = {.n = (uint32_t) seed % 6 + 1};
        uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
        bench_open(&b, m.n, NULL, 1);
        for (int step = 0; step < 3000; step++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            uint32_t i = (uint32_t) (random >> 33) % m.n;
            if ((random >> 50) % 16 == 0) {
                eject_forgive(b.up->endpoints[i], NOW);
                m.out[i] = false;
                m.row[i] = 0;
            } else {
                bool failed = (random >> 60) % 4 != 0;
                end(&b, i, failed ? BLAME_RESET : BLAME_NONE, NOW);
                model_end(&m, i, failed);
            }
            for (uint32_t k = 0; k < m.n; k++) {
                if (out(&b, k) != m.out[k] || b.up->endpoints[k]->passive.times != m.times[k])
                    fail_msg("seed %d, step %d, endpoint %u", (int) seed, step, (unsigned) k);
            }
        }
        bench_close(&b);
    }
}

static void judged_by_share(void **state)
{
    (void) state;
    struct ejection_conf c;
    schema_defaults(&ejection_schema, &c);
    const struct eject_sample s[] = {{50, 43}, {50, 42}, {49, 49}, {100, 0}};
    enum eject_reason why[4];
    double mean, limit;
    eject_judge(&c, s, 4, why, &mean, &limit);
    assert_int_equal(why[0], EJECT_SHARE);
    for (int i = 1; i < 4; i++)
        assert_int_equal(why[i], EJECT_REASONS);
}

static void judged_by_deviation(void **state)
{
    (void) state;
    struct ejection_conf c;
    schema_defaults(&ejection_schema, &c);
    struct eject_sample s[6] = {{100, 1}, {100, 0}, {100, 2}, {100, 1}, {100, 0}, {200, 60}};
    enum eject_reason why[6];
    double mean, limit;
    eject_judge(&c, s, 6, why, &mean, &limit);
    assert_int_equal(why[5], EJECT_DEVIATION);
    for (int i = 0; i < 5; i++)
        assert_int_equal(why[i], EJECT_REASONS);
    assert_true(mean > 94 && mean < 95 && limit > 70 && limit < 76);
    eject_judge(&c, s + 2, 4, why, &mean, &limit); /* too few to speak of a spread */
    assert_int_equal(why[3], EJECT_REASONS);
    for (int i = 0; i < 6; i++)
        s[i] = (struct eject_sample){1000, i == 5 ? 30 : 0}; /* far from the mean, and still good */
    eject_judge(&c, s, 6, why, &mean, &limit);
    assert_int_equal(why[5], EJECT_REASONS);
}

/* The sweep reads what workers counted, each request once. */
static void sweeps_what_came_since(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 4, NULL, 1);
    b.conf.ejection.consecutive = 0;
    bench_again(&b);
    struct endpoint *e = b.up->endpoints[2];
    upstream_registry_tick(b.registry, NOW);
    counter_add(&e->stats[0].requests, 60);
    for (int i = 0; i < 55; i++)
        end(&b, 2, BLAME_RESET, NOW);
    upstream_registry_tick(b.registry, NOW + 5 * USEC_PER_SEC); /* not yet */
    assert_false(out(&b, 2));
    upstream_registry_tick(b.registry, NOW + 10 * USEC_PER_SEC);
    assert_true(out(&b, 2));
    assert_int_equal(atomic_load(&e->passive.ejections[EJECT_SHARE]), 1);
    upstream_registry_tick(b.registry, NOW + 50 * USEC_PER_SEC);
    upstream_registry_tick(b.registry, NOW + 60 * USEC_PER_SEC);
    assert_false(out(&b, 2));
    bench_close(&b);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(five_in_a_row),
        cmocka_unit_test(never_the_only_one),
        cmocka_unit_test(time_grows_and_return_is_slow),
        cmocka_unit_test(off_brings_back),
        cmocka_unit_test(follows_the_model),
        cmocka_unit_test(judged_by_share),
        cmocka_unit_test(judged_by_deviation),
        cmocka_unit_test(sweeps_what_came_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Ejection: the whole of it against a simple model under random events with printed seeds; failures
 * in a row, the verdicts of a sweep, the bounds, the growing time, the return one by one. */
#include <math.h>

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

/* ---- the model of everything: requests as a list, shares worked out by hand ------------------ */

#define MANY 8

struct whole {
    const struct ejection_conf *c;
    uint32_t n, row[MANY], times[MANY], total[MANY], failed[MANY];
    usec_t from[MANY], to[MANY]; /* out: it returns at a tick between them */
    usec_t swept;
    bool out[MANY];
};

static void whole_out(struct whole *m, uint32_t i, usec_t now)
{
    uint32_t ejected = 1;
    for (uint32_t k = 0; k < m->n; k++)
        ejected += m->out[k];
    if (m->out[i] || m->n < 2 || ejected * 100 > (uint64_t) m->c->max_ejected * m->n)
        return;
    usec_t span = m->c->duration * ++m->times[i];
    span = span > m->c->max_duration ? m->c->max_duration : span;
    m->from[i] = now + span;
    m->to[i] = now + span + span / 10;
    m->out[i] = true;
}

static void whole_end(struct whole *m, uint32_t i, bool bad, usec_t now)
{
    m->total[i]++;
    m->failed[i] += bad;
    m->row[i] = bad ? m->row[i] + 1 : 0;
    if (bad && m->c->consecutive && m->row[i] % (uint64_t) m->c->consecutive == 0)
        whole_out(m, i, now);
}

/* Far below the mean of those that have enough requests. */
static bool whole_deviates(const struct whole *m, uint32_t i)
{
    double good[MANY], mean = 0, spread = 0;
    uint32_t n = 0;
    for (uint32_t k = 0; k < m->n; k++) {
        if (m->total[k] >= 100)
            good[n++] = 1.0 - m->failed[k] / (double) m->total[k];
    }
    for (uint32_t k = 0; k < n; k++)
        mean += good[k] / n;
    for (uint32_t k = 0; k < n; k++)
        spread += (good[k] - mean) * (good[k] - mean) / n;
    double own = m->total[i] ? 1.0 - m->failed[i] / (double) m->total[i] : 1.0;
    return n >= 5 && m->total[i] >= 100 && own <= 0.95 &&
           own < mean - m->c->deviation * sqrt(spread) - 1e-5;
}

static void whole_tick(struct whole *m, const struct bench *b, usec_t now)
{
    for (uint32_t i = 0; i < m->n; i++) {
        bool again = b->up->endpoints[i]->passive.times > m->times[i]; /* back, and out at once */
        bool seen = now >= m->to[i] || !out(b, i) || again;
        bool back = m->out[i] && now >= m->from[i] && seen;
        m->out[i] = m->out[i] && !back;
        m->row[i] = back ? 0 : m->row[i];
    }
    if (now - m->swept < 10 * USEC_PER_SEC)
        return;
    bool why[MANY];
    for (uint32_t i = 0; i < m->n; i++)
        why[i] = (m->total[i] >= 50 && m->failed[i] * 100 >= m->c->failure_share * m->total[i]) ||
                 whole_deviates(m, i);
    for (uint32_t i = 0; i < m->n; i++) {
        if (why[i])
            whole_out(m, i, now);
        else if (!m->out[i] && m->times[i])
            m->times[i]--;
        m->total[i] = m->failed[i] = 0;
    }
    m->swept = now;
}

static void open_whole(struct bench *b, struct whole *m, uint64_t seed)
{
    bench_open(b, m->n, NULL, 1);
    b->conf.ejection.consecutive = (int64_t) (seed % 5 ? seed % 5 + 2 : 0);
    b->conf.ejection.failure_share = (int64_t) (60 + seed % 4 * 10);
    b->conf.ejection.deviation = 1.2 + (double) (seed % 3) * 0.4;
    b->conf.ejection.duration = (2 + seed % 4) * USEC_PER_SEC;
    b->conf.ejection.max_duration = 7 * USEC_PER_SEC;
    b->conf.ejection.max_ejected = (int64_t) (30 + seed % 3 * 30);
    bench_again(b);
    m->c = &b->up->ejection;
}

static uint32_t whole_run(uint64_t seed)
{
    struct bench b;
    struct whole m = {.n = (uint32_t) seed % MANY + 1, .swept = NOW};
    uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
    usec_t now = NOW;
    uint32_t left_out = 0;
    open_whole(&b, &m, seed);
    upstream_registry_tick(b.registry, now);
    for (int step = 0; step < 12000; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t i = (uint32_t) (random >> 33) % m.n, chance = (uint32_t) (random >> 53) % 100;
        now += (random >> 40) % 20000;
        if ((random >> 45) % 64 == 0) {
            upstream_registry_tick(b.registry, now);
            whole_tick(&m, &b, now);
        } else if (!m.out[i]) {
            /* Each is bad in times of its own. */
            uint32_t most = (now / (15 * USEC_PER_SEC) + i) % 4 == 0 ? 20 + 75 * (i % 2) : 2;
            counter_add(&b.up->endpoints[i]->stats[0].requests, 1);
            end(&b, i, chance < most ? BLAME_RESET : BLAME_NONE, now);
            whole_end(&m, i, chance < most, now);
        }
        for (uint32_t k = 0; k < m.n; k++) {
            left_out += m.out[k];
            if (out(&b, k) != m.out[k] || b.up->endpoints[k]->passive.times != m.times[k])
                fail_msg("seed %d, step %d, endpoint %u: out %d, the model's %d", (int) seed, step,
                         (unsigned) k, (int) out(&b, k), (int) m.out[k]);
        }
    }
    bench_close(&b);
    return left_out;
}

static void all_of_it_follows_the_model(void **state)
{
    (void) state;
    uint32_t with_some = 0;
    for (uint64_t seed = 1; seed <= 60; seed++)
        with_some += whole_run(seed) > 0;
    assert_true(with_some > 40); /* one endpoint alone is never left out */
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

/* All alike: none is worse than the others, whatever the mean is rounded to. */
static void equals_do_not_deviate(void **state)
{
    (void) state;
    struct ejection_conf c;
    struct eject_sample s[11];
    enum eject_reason why[11];
    double mean, limit;
    schema_defaults(&ejection_schema, &c);
    c.failure_share = 0;
    for (uint32_t failed = 10; failed < 100; failed++) {
        for (uint32_t n = 5; n <= 11; n++) {
            for (uint32_t i = 0; i < n; i++)
                s[i] = (struct eject_sample){111, failed};
            eject_judge(&c, s, n, why, &mean, &limit);
            for (uint32_t i = 0; i < n; i++)
                assert_int_equal(why[i], EJECT_REASONS);
        }
    }
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
        cmocka_unit_test(all_of_it_follows_the_model),
        cmocka_unit_test(judged_by_share),
        cmocka_unit_test(judged_by_deviation),
        cmocka_unit_test(equals_do_not_deviate),
        cmocka_unit_test(sweeps_what_came_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

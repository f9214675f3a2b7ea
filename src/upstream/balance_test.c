/* SPDX-License-Identifier: Apache-2.0 */
/* The policies that draw: shares against theory by a chi-square test with fixed seeds (critical
 * values at p = 0.001), load and response time obeyed, keys that stay. */
#include <math.h>

#include "upstream/balance_kit.h"
#include "upstream/ewma.h"

#define DRAWS 100000
#define CHI2_9 27.88 /* 9 degrees of freedom */

static int policy(const char *name)
{
    int i = 0;
    while (strcmp(balance_names[i], name) != 0)
        i++;
    return i;
}

static void open_with(struct bench *b, const char *name, uint32_t n, const double *weights)
{
    bench_open(b, n, weights, 1);
    b->conf.balance.policy = policy(name);
    bench_again(b);
}

static double chi_square(const uint32_t *got, const double *weights, uint32_t n)
{
    double sum = 0, chi = 0, draws = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += weights[i];
        draws += got[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        double want = draws * weights[i] / sum;
        chi += (got[i] - want) * (got[i] - want) / want;
    }
    return chi;
}

static const double ten_weights[10] = {1, 2, 3, 4, 0.5, 10, 7, 1, 0.1, 25};

static void count_draws(struct bench *b, uint32_t n, uint32_t *got)
{
    memset(got, 0, b->up->n_endpoints * sizeof got[0]);
    for (uint32_t i = 0; i < n; i++) {
        struct pick p = {.hash = i + 1};
        got[bench_number(b, bench_ask(b, &p))]++;
    }
}

/* Without load all policies that draw spread by weight alone. */
static void draws_by_weight(void **state)
{
    (void) state;
    static const char *const names[] = {"random", "least_active", "ewma"};
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            struct bench b;
            uint32_t got[10];
            open_with(&b, names[i], 10, ten_weights);
            b.conf.balance.seed = seed;
            bench_again(&b);
            count_draws(&b, DRAWS, got);
            double chi = chi_square(got, ten_weights, 10);
            if (chi >= CHI2_9)
                fail_msg("%s, seed %d: chi-square %g", names[i], (int) seed, chi);
            bench_close(&b);
        }
    }
}

/* Independent draws: of pairs in a row each is as frequent as theory has it. */
static void random_draws_are_independent(void **state)
{
    (void) state;
    struct bench b;
    double weights[9];
    uint32_t pairs[9] = {0}, before = 0;
    open_with(&b, "random", 3, NULL);
    for (int i = 0; i < DRAWS; i++) {
        uint32_t now = bench_number(&b, pick(&b, 0));
        pairs[before * 3 + now]++;
        before = now;
    }
    for (int i = 0; i < 9; i++)
        weights[i] = 1;
    assert_true(chi_square(pairs, weights, 9) < 26.12); /* 8 degrees of freedom */
    bench_close(&b);
}

/* With two endpoints both are always compared. */
static void least_active_takes_the_idler(void **state)
{
    (void) state;
    struct bench b;
    const double weights[] = {1, 4};
    open_with(&b, "least_active", 2, weights);
    struct endpoint **e = b.up->endpoints;
    atomic_store(&e[0]->active, 2);
    atomic_store(&e[1]->active, 7); /* 2 > 7 / 4 */
    for (int i = 0; i < 50; i++)
        assert_ptr_equal(pick(&b, 0), e[1]);
    atomic_store(&e[1]->active, 9); /* 2 < 9 / 4 */
    for (int i = 0; i < 50; i++)
        assert_ptr_equal(pick(&b, 0), e[0]);
    atomic_store(&e[0]->active, 0);
    atomic_store(&e[1]->active, 0);
    bench_close(&b);
}

/* The busiest of n is never chosen: of two different ones it always loses. */
static void least_active_never_takes_the_busiest(void **state)
{
    (void) state;
    struct bench b;
    open_with(&b, "least_active", 5, NULL);
    for (uint32_t i = 0; i < 5; i++)
        atomic_store(&b.up->endpoints[i]->active, i + 1);
    for (int i = 0; i < 2000; i++)
        assert_ptr_not_equal(pick(&b, 0), b.up->endpoints[4]);
    for (uint32_t i = 0; i < 5; i++)
        atomic_store(&b.up->endpoints[i]->active, 0);
    bench_close(&b);
}

static void answer(struct bench *b, uint32_t i, usec_t us, enum blame blame, usec_t now)
{
    struct attempt_result r = {.first_byte_us = us, .blame = blame, .now = now};
    b->up->balance->attempt_end(b->up->balance_state, b->up->endpoints[i], &r);
}

static struct endpoint *pick_at(struct bench *b, usec_t now)
{
    struct pick p = {.now = now};
    return bench_ask(b, &p);
}

static void ewma_takes_the_sooner(void **state)
{
    (void) state;
    struct bench b;
    open_with(&b, "ewma", 2, NULL);
    struct endpoint **e = b.up->endpoints;
    usec_t now = 100 * USEC_PER_SEC;
    answer(&b, 0, 1000, BLAME_NONE, now);
    answer(&b, 1, 3000, BLAME_NONE, now);
    for (int i = 0; i < 50; i++)
        assert_ptr_equal(pick_at(&b, now), e[0]);
    atomic_store(&e[0]->active, 3); /* 1000 * 4 > 3000 * 1 */
    for (int i = 0; i < 50; i++)
        assert_ptr_equal(pick_at(&b, now), e[1]);
    atomic_store(&e[0]->active, 0);
    answer(&b, 0, 50, BLAME_RESET, now); /* a quick failure is no quick answer */
    for (int i = 0; i < 50; i++)
        assert_ptr_equal(pick_at(&b, now), e[1]);
    bench_close(&b);
}

/* One failure counts as an answer four times slower, several in a row as a second of silence, which
 * is what a timeout counts at once. */
static void ewma_weighs_failures(void **state)
{
    (void) state;
    struct bench b;
    usec_t now = 100 * USEC_PER_SEC;
    open_with(&b, "ewma", 2, NULL);
    _Atomic uint64_t *word = &b.up->endpoints[0]->ewma_us;
    answer(&b, 0, 1000, BLAME_NONE, now);
    answer(&b, 0, 0, BLAME_RESET, now);
    assert_int_equal(ewma_now(*word, ewma_clock(now)), 4000);
    answer(&b, 0, 50, BLAME_STATUS, now);
    assert_int_equal(ewma_now(*word, ewma_clock(now)), 16000);
    for (int i = 0; i < 5; i++)
        answer(&b, 0, 0, BLAME_CONNECT, now);
    assert_int_equal(ewma_now(*word, ewma_clock(now)), USEC_PER_SEC);
    answer(&b, 1, 1000, BLAME_NONE, now);
    answer(&b, 1, 0, BLAME_TIMEOUT, now);
    assert_int_equal(ewma_now(b.up->endpoints[1]->ewma_us, ewma_clock(now)), USEC_PER_SEC);
    bench_close(&b);
    open_with(&b, "ewma", 2, NULL);
    answer(&b, 0, 0, BLAME_CONNECT, now); /* nothing was known of it */
    assert_int_equal(ewma_now(b.up->endpoints[0]->ewma_us, ewma_clock(now)), 400 * USEC_PER_MS);
    bench_close(&b);
}

#define RUN_MS 30000u
#define LEARN_MS 5000u
#define LATE_MS 80u

/* A request a millisecond; two endpoints take 4 ms, but for one answer in five hundred that takes
 * 80; the third always takes 40. Fewer than one in a hundred go there: else they would be the
 * 99th percentile. */
static void ewma_forgives_a_late_answer(void **state)
{
    (void) state;
    struct bench b;
    static uint32_t to[RUN_MS], took[RUN_MS];
    uint32_t slow = 0;
    open_with(&b, "ewma", 3, NULL);
    for (uint32_t ms = 0; ms < RUN_MS; ms++) {
        usec_t now = 100 * USEC_PER_SEC + ms * USEC_PER_MS;
        for (uint32_t k = ms > LATE_MS ? ms - LATE_MS : 0; k < ms; k++) {
            if (k + took[k] != ms)
                continue;
            answer(&b, to[k], took[k] * USEC_PER_MS, BLAME_NONE, now);
            atomic_fetch_sub(&b.up->endpoints[to[k]]->active, 1);
        }
        struct endpoint *e = pick_at(&b, now);
        atomic_fetch_add(&e->active, 1);
        to[ms] = bench_number(&b, e);
        took[ms] = to[ms] == 2 ? 40 : ms % 499 == 0 ? LATE_MS : 4;
        slow += ms >= LEARN_MS && to[ms] == 2;
    }
    if (slow * 100 >= RUN_MS - LEARN_MS)
        fail_msg("%u of %u went to the slow one", (unsigned) slow, RUN_MS - LEARN_MS);
    assert_true(slow > 0); /* it is asked again now and then */
    bench_close(&b);
}

/* e^(-t / 10 s) within 7 %, a peak at once, a quarter of the way down a sample, and the clock's
 * wrap. */
static void ewma_decays(void **state)
{
    (void) state;
    for (uint32_t ms = 0; ms < 60000; ms += 500) {
        double want = 1e6 * exp(-ms / 10000.0), got = (double) ewma_fade(1000000, ms);
        assert_true(fabs(got - want) <= want * 0.07);
    }
    uint64_t word = ewma_sample(0, 1000, 5);
    assert_int_equal(ewma_now(word, 5), 1000);
    word = ewma_sample(word, 9000, 6);
    assert_int_equal(ewma_now(word, 6), 9000);
    word = ewma_sample(word, 1000, 6); /* no time has passed */
    assert_int_equal(ewma_now(word, 6), 7000);
    for (int i = 0; i < 100; i++)
        word = ewma_sample(word, 1000, 6);
    assert_int_equal(word >> 32, 1000);
    word = ewma_sample(ewma_sample(0, 9000, 6), 1000, 6 + EWMA_HALF_LIFE_MS);
    assert_int_equal(word >> 32, 5000);
    word = ewma_sample(0, 1000, UINT32_MAX - 10);
    assert_int_equal(ewma_now(word, 20), ewma_fade(1000, 31));
    assert_int_equal(ewma_now(word, UINT32_MAX - 20), 1000); /* a clock that is behind */
    assert_true(ewma_sample(0, UINT64_MAX, 3) >> 32 == UINT32_MAX);
}

static void open_hash(struct bench *b, int algorithm, uint32_t n, const double *weights)
{
    bench_open(b, n, weights, 1);
    b->conf.balance.policy = policy("hash");
    b->conf.balance.algorithm = algorithm;
    bench_again(b);
}

#define KEYS 20000

static uint32_t owner(struct bench *b, uint32_t key)
{
    struct pick p = {.hash = key * UINT64_C(0x9e3779b97f4a7c15) | 1};
    return bench_number(b, bench_ask(b, &p));
}

/* One of ten is gone: its keys move, evenly, and no other. */
static void keys_stay(struct bench *b)
{
    static uint32_t before[KEYS];
    uint32_t moved = 0, to[10] = {0};
    b->up->balance_conf.slow_start = 0;
    for (uint32_t k = 0; k < KEYS; k++)
        before[k] = owner(b, k);
    endpoint_set_up(b->up->endpoints[3], false, "test");
    for (uint32_t k = 0; k < KEYS; k++) {
        uint32_t now = owner(b, k);
        assert_int_not_equal(now, 3);
        assert_true(now == before[k] || before[k] == 3);
        moved += now != before[k];
        to[now] += now != before[k];
    }
    assert_true(moved > KEYS / 10 * 0.8 && moved < KEYS / 10 * 1.2);
    for (uint32_t i = 0; i < 10; i++)
        assert_true(i == 3 || (to[i] > moved / 9 * 0.6 && to[i] < moved / 9 * 1.5));
    endpoint_set_up(b->up->endpoints[3], true, "test");
    for (uint32_t k = 0; k < KEYS; k++)
        assert_int_equal(owner(b, k), before[k]);
}

/* The same with a configuration that no longer names it: a table of its own. */
static void keys_stay_over_configurations(struct bench *b, double others)
{
    static uint32_t before[KEYS];
    uint32_t moved = 0, foreign = 0;
    for (uint32_t k = 0; k < KEYS; k++)
        before[k] = owner(b, k);
    b->conf.endpoints.n = 9;
    bench_again(b);
    for (uint32_t k = 0; k < KEYS; k++) {
        uint32_t now = owner(b, k);
        moved += now != before[k];
        foreign += now != before[k] && before[k] != 9;
    }
    assert_true(moved > KEYS / 10 * 0.8 && moved < KEYS / 10 * 1.3);
    assert_true(foreign <= KEYS * others);
}

static void hash_keys_stay(void **state)
{
    (void) state;
    static const double others[] = {[HASH_RING] = 0, [HASH_MAGLEV] = 0.03};
    for (int algorithm = HASH_RING; algorithm <= HASH_MAGLEV; algorithm++) {
        struct bench b;
        open_hash(&b, algorithm, 10, NULL);
        keys_stay(&b);
        keys_stay_over_configurations(&b, others[algorithm]);
        bench_close(&b);
    }
}

/* Shares of keys by weight: maglev within 3 %, the ring within 25 % (its points are random). */
static void hash_by_weight(void **state)
{
    (void) state;
    static const double within[] = {[HASH_RING] = 0.25, [HASH_MAGLEV] = 0.05};
    const double weights[] = {1, 2, 3, 4};
    for (int algorithm = HASH_RING; algorithm <= HASH_MAGLEV; algorithm++) {
        struct bench b;
        uint32_t got[4] = {0};
        open_hash(&b, algorithm, 4, weights);
        for (uint32_t k = 0; k < DRAWS; k++)
            got[owner(&b, k)]++;
        for (uint32_t i = 0; i < 4; i++)
            assert_true(fabs(got[i] / (DRAWS * weights[i] / 10) - 1) < within[algorithm]);
        bench_close(&b);
    }
}

/* A weight at run time takes its keys away or gives them back, and moves no others. */
static void hash_weights_at_run_time(void **state)
{
    (void) state;
    struct bench b;
    static uint32_t before[KEYS];
    uint32_t kept = 0, had = 0;
    open_hash(&b, HASH_RING, 4, NULL);
    for (uint32_t k = 0; k < KEYS; k++)
        before[k] = owner(&b, k);
    const struct endpoint_weight half = {STR("127.0.0.1:2"), 0.5};
    b.up->balance->update_weights(b.up->balance_state, b.up, &half, 1);
    for (uint32_t k = 0; k < KEYS; k++) {
        uint32_t now = owner(&b, k);
        assert_true(now == before[k] || before[k] == 1);
        had += before[k] == 1;
        kept += before[k] == 1 && now == 1;
    }
    assert_true(kept > had * 0.45 && kept < had * 0.62); /* some come back by their later places */
    bench_close(&b);
}

/* One key only: the bound makes it overflow, without it all stays. */
static void bounded_load(void **state)
{
    (void) state;
    struct bench b;
    struct pick p = {.hash = 7};
    open_hash(&b, HASH_RING, 4, NULL);
    b.conf.balance.bounded_load = 1.25;
    bench_again(&b);
    struct endpoint *first = bench_ask(&b, &p);
    for (int i = 0; i < 100; i++) {
        struct endpoint *e = bench_ask(&b, &p);
        counter_add(&b.up->run->workers[0].active, 1);
        atomic_fetch_add(&e->active, 1);
    }
    for (uint32_t i = 0; i < 4; i++) {
        uint32_t active = atomic_load(&b.up->endpoints[i]->active);
        assert_true(active <= 1.25 * 100 / 4 + 2);
        atomic_store(&b.up->endpoints[i]->active, 0);
    }
    counter_sub(&b.up->run->workers[0].active, 100);
    assert_ptr_equal(bench_ask(&b, &p), first);
    bench_close(&b);
}

static void without_a_key_by_weight(void **state)
{
    (void) state;
    struct bench b;
    uint32_t got[10] = {0};
    open_hash(&b, HASH_MAGLEV, 10, ten_weights);
    for (int i = 0; i < DRAWS; i++)
        got[bench_number(&b, pick(&b, 0))]++;
    assert_true(chi_square(got, ten_weights, 10) < CHI2_9);
    bench_close(&b);
}

/* All policies: what was tried is avoided, what is down is left out, nothing is said as such. */
static void all_avoid_and_leave_out(void **state)
{
    (void) state;
    for (int i = 0; balance_all[i]; i++) {
        struct bench b;
        struct endpoint *tried[5];
        struct pick p = {.tried = tried, .hash = 99};
        bench_open(&b, 5, NULL, 2);
        b.conf.balance.policy = i;
        b.conf.balance.panic_threshold = 0;
        bench_again(&b);
        endpoint_set_up(b.up->endpoints[2], false, "test");
        for (uint32_t k = 0; k < 4; k++) {
            tried[k] = bench_ask(&b, &p);
            p.n_tried = k + 1;
            assert_ptr_not_equal(tried[k], b.up->endpoints[2]);
            for (uint32_t j = 0; j < k; j++)
                assert_ptr_not_equal(tried[k], tried[j]);
        }
        assert_non_null(bench_ask(&b, &p)); /* one that was tried, again */
        for (uint32_t k = 0; k < 5; k++)
            endpoint_set_up(b.up->endpoints[k], false, "test");
        assert_null(bench_ask(&b, &p));
        p.n_tried = 0;
        assert_null(bench_ask(&b, &p));
        bench_close(&b);
    }
}

static void keys_are_read(void **state)
{
    (void) state;
    struct str name;
    assert_int_equal(balance_key(STR("client_ip"), &name), KEY_CLIENT_IP);
    assert_int_equal(balance_key(STR("path"), &name), KEY_PATH);
    assert_int_equal(balance_key(STR("header:X-User"), &name), KEY_HEADER);
    assert_true(str_eq(name, STR("X-User")));
    assert_int_equal(balance_key(STR("cookie:sid"), &name), KEY_COOKIE);
    assert_int_equal(balance_key(STR("query:id"), &name), KEY_QUERY);
    assert_int_equal(balance_key(STR("query:"), &name), KEY_NONE);
    assert_int_equal(balance_key(STR("moon"), &name), KEY_NONE);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_by_weight),
        cmocka_unit_test(random_draws_are_independent),
        cmocka_unit_test(least_active_takes_the_idler),
        cmocka_unit_test(least_active_never_takes_the_busiest),
        cmocka_unit_test(ewma_takes_the_sooner),
        cmocka_unit_test(ewma_weighs_failures),
        cmocka_unit_test(ewma_forgives_a_late_answer),
        cmocka_unit_test(ewma_decays),
        cmocka_unit_test(hash_keys_stay),
        cmocka_unit_test(hash_by_weight),
        cmocka_unit_test(hash_weights_at_run_time),
        cmocka_unit_test(bounded_load),
        cmocka_unit_test(without_a_key_by_weight),
        cmocka_unit_test(all_avoid_and_leave_out),
        cmocka_unit_test(keys_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

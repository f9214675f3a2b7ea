/* SPDX-License-Identifier: Apache-2.0 */
/* What counts at the moment: levels, zones, panic, slow start, feedback, reported shares. */
#include "upstream/balance_kit.h"
#include "upstream/tune.h"
#include "upstream/weigh.h"

#define NOW (1000 * USEC_PER_SEC)

static void plan_of_one_level(void **state)
{
    (void) state;
    struct level_plan p;
    uint32_t all[LEVELS] = {10}, usable[LEVELS] = {10};
    for (uint32_t n = 0; n <= 10; n++) {
        usable[0] = n;
        level_plan(&p, usable, all, 50);
        assert_int_equal(p.load[0], 1000);
        assert_int_equal(p.panic[0], n < 5);
    }
    usable[0] = 0;
    level_plan(&p, usable, all, 0);
    assert_false(p.panic[0]);
}

static void plan_of_a_backup(void **state)
{
    (void) state;
    struct level_plan p;
    uint32_t all[LEVELS] = {10, 0, 2}, usable[LEVELS] = {10, 0, 2};
    level_plan(&p, usable, all, 50);
    assert_int_equal(p.load[0], 1000);
    assert_int_equal(p.load[2], 0);
    usable[0] = 8; /* 72 % carry all */
    level_plan(&p, usable, all, 50);
    assert_int_equal(p.load[0], 1000);
    usable[0] = 5;
    level_plan(&p, usable, all, 50);
    assert_int_equal(p.load[0], 700);
    assert_int_equal(p.load[2], 300);
    usable[0] = 0;
    level_plan(&p, usable, all, 50);
    assert_int_equal(p.load[2], 1000);
    assert_false(p.panic[0] || p.panic[2]);
    usable[2] = 0; /* nobody at all: the first level, whole */
    level_plan(&p, usable, all, 50);
    assert_int_equal(p.load[0], 1000);
    assert_true(p.panic[0]);
}

/* Loads add up, and a level is in panic only when all together cannot carry the requests. */
static void plans_hold_for_any_state(void **state)
{
    (void) state;
    uint64_t seed = 4711;
    for (int round = 0; round < 20000; round++) {
        struct level_plan p;
        uint32_t all[LEVELS] = {0}, usable[LEVELS] = {0}, sum = 0, health = 0, any = 0;
        bool panic = false;
        for (int l = 0; l < 4; l++) {
            seed = seed * UINT64_C(6364136223846793005) + 1;
            all[l] = (uint32_t) (seed >> 60);
            usable[l] = all[l] ? (uint32_t) (seed >> 40) % (all[l] + 1) : 0;
            any += all[l];
        }
        level_plan(&p, usable, all, 50);
        for (int l = 0; l < LEVELS; l++) {
            sum += p.load[l];
            panic |= p.panic[l];
            health += all[l] ? 1400 * usable[l] / all[l] : 0;
            assert_true(!p.load[l] || all[l]);
            assert_true(usable[l] || !p.load[l] || p.panic[l]);
        }
        assert_true(any ? sum > 990 && sum <= 1000 : sum == 0);
        assert_false(panic && health >= 1000);
    }
}

static void shares(struct bench *b, uint32_t *got, int n)
{
    memset(got, 0, b->up->n_endpoints * sizeof got[0]);
    for (int i = 0; i < n; i++)
        got[bench_number(b, pick(b, 0))]++;
}

static void backups_wait_and_help(void **state)
{
    (void) state;
    struct bench b;
    uint32_t got[5];
    bench_open(&b, 5, NULL, 1);
    b.e[3].level = b.e[4].level = 1;
    bench_again(&b);
    shares(&b, got, 300);
    assert_true(got[0] == 100 && got[1] == 100 && got[2] == 100);
    endpoint_set_up(b.up->endpoints[0], false, "test");
    endpoint_set_up(b.up->endpoints[1], false, "test");
    shares(&b, got, 10000); /* a third carries 46.7 % */
    assert_in_range(got[2], 4600, 4720);
    assert_in_range(got[3], 2600, 2720);
    endpoint_set_up(b.up->endpoints[2], false, "test");
    shares(&b, got, 300);
    assert_true(got[3] == 150 && got[4] == 150);
    bench_close(&b);
}

static void the_own_zone_first(void **state)
{
    (void) state;
    struct bench b;
    uint32_t got[4];
    bench_open(&b, 4, NULL, 1);
    b.conf.balance.zone = STR("a");
    b.e[0].zone = b.e[1].zone = STR("b");
    b.e[2].zone = STR("a");
    bench_again(&b);
    shares(&b, got, 100);
    assert_true(got[2] == 50 && got[3] == 50);
    endpoint_set_up(b.up->endpoints[2], false, "test");
    shares(&b, got, 10000);
    assert_in_range(got[3], 6900, 7100); /* half of the zone carries 70 % */
    assert_in_range(got[0], 1400, 1600);
    bench_close(&b);
}

static void panic_uses_all(void **state)
{
    (void) state;
    struct bench b;
    uint32_t got[3];
    bench_open(&b, 3, NULL, 1);
    endpoint_set_up(b.up->endpoints[0], false, "test");
    shares(&b, got, 100);
    assert_true(got[0] == 0 && !upstream_in_panic(b.up));
    endpoint_set_up(b.up->endpoints[1], false, "test");
    shares(&b, got, 300);
    assert_true(got[0] == 100 && got[1] == 100 && upstream_in_panic(b.up));
    bench_close(&b);
}

static uint32_t share(const struct bench *b, int i)
{
    return atomic_load(&b->up->endpoints[i]->share);
}

static void slow_start_after_a_return(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 2, NULL, 1);
    assert_int_equal(share(&b, 0), 1000); /* not at the start */
    endpoint_set_up(b.up->endpoints[0], false, "test");
    endpoint_set_up(b.up->endpoints[0], true, "test");
    assert_int_equal(share(&b, 0), 100);
    usec_t back = b.up->endpoints[0]->tuning.returned;
    upstream_registry_tick(b.registry, back + 15 * USEC_PER_SEC);
    assert_int_equal(share(&b, 0), 500);
    uint32_t number = registry_number(b.registry);
    upstream_registry_tick(b.registry, back + 30 * USEC_PER_SEC);
    assert_int_equal(share(&b, 0), 1000);
    assert_int_equal(registry_number(b.registry), number + 2);
    upstream_registry_tick(b.registry, back + 31 * USEC_PER_SEC);
    assert_int_equal(registry_number(b.registry), number + 2); /* nothing new: nobody is told */
    bench_close(&b);
}

static void feedback_follows_response_times(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 3, NULL, 2);
    b.conf.balance.feedback = true;
    bench_again(&b);
    for (int round = 1; round <= 8; round++) {
        for (int i = 0; i < 60; i++) {
            histogram_add(&b.up->endpoints[0]->stats[0].latency, 10000);
            histogram_add(&b.up->endpoints[1]->stats[1].latency, 10000);
            if (i % 5 == 0)
                histogram_add(&b.up->endpoints[2]->stats[0].latency, 100000);
        }
        upstream_registry_tick(b.registry, NOW + (usec_t) round * 10 * USEC_PER_SEC);
    }
    assert_true(share(&b, 0) > 990 && share(&b, 1) > 990);
    assert_in_range(share(&b, 2), 100, 250);
    for (int round = 9; round <= 20; round++) /* no answers: no opinion */
        upstream_registry_tick(b.registry, NOW + (usec_t) round * 10 * USEC_PER_SEC);
    assert_true(share(&b, 2) > 990);
    bench_close(&b);
}

static void reported_shares(void **state)
{
    (void) state;
    struct bench b;
    bench_open(&b, 2, NULL, 1);
    static const char *const wrong[] = {"", "%", "101", "-1", "1.5", "half", "1000"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(tune_reported(b.up->endpoints[0], str_c(wrong[i])));
    assert_true(tune_reported(b.up->endpoints[0], STR("25%")));
    upstream_registry_tick(b.registry, NOW);
    assert_int_equal(share(&b, 0), 250);
    assert_true(tune_reported(b.up->endpoints[0], STR("0")));
    upstream_registry_tick(b.registry, NOW + USEC_PER_SEC);
    assert_int_equal(share(&b, 0), 0);
    for (int i = 0; i < 4; i++)
        assert_ptr_equal(pick(&b, 0), b.up->endpoints[1]);
    upstream_registry_tick(b.registry, NOW + 200 * USEC_PER_SEC);
    assert_int_equal(share(&b, 0), 1000); /* forgotten */
    bench_close(&b);
}

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_of_one_level),
        cmocka_unit_test(plan_of_a_backup),
        cmocka_unit_test(plans_hold_for_any_state),
        cmocka_unit_test(backups_wait_and_help),
        cmocka_unit_test(the_own_zone_first),
        cmocka_unit_test(panic_uses_all),
        cmocka_unit_test(slow_start_after_a_return),
        cmocka_unit_test(feedback_follows_response_times),
        cmocka_unit_test(reported_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Rise and fall against the plain rule under random results, and the pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "upstream/check_state.h"

static struct health_conf defaults(void)
{
    struct health_conf c;
    schema_defaults(&health_schema, &c);
    return c;
}

static void rises_and_falls(void **state)
{
    (void) state;
    struct health_conf c = defaults();
    struct check_state s = {.up = true};
    assert_false(check_state_take(&s, &c, false));
    assert_false(check_state_take(&s, &c, false));
    assert_false(check_state_take(&s, &c, true)); /* a good one in between starts anew */
    assert_false(check_state_take(&s, &c, false));
    assert_false(check_state_take(&s, &c, false));
    assert_true(check_state_take(&s, &c, false));
    assert_false(s.up);
    assert_false(check_state_take(&s, &c, true));
    assert_true(check_state_take(&s, &c, true));
    assert_true(s.up);
}

/* Behind a gate the first check that passes decides alone, if it is the first of all. */
static void the_first_decides(void **state)
{
    (void) state;
    struct health_conf c = defaults();
    struct check_state s = {.up = false};
    assert_true(check_state_take(&s, &c, true));
    s = (struct check_state){.up = false};
    check_state_take(&s, &c, false);
    assert_false(check_state_take(&s, &c, true));
    assert_true(check_state_take(&s, &c, true));
}

/* up changes exactly when the last rise (or fall) results all contradict it. */
static void follows_the_model(void **state)
{
    (void) state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct health_conf c = defaults();
        struct check_state s = {.up = true, .decided = true};
        uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
        bool up = true, last[2000];
        int begun = 0;
        c.rise = (int64_t) (seed % 4 + 1);
        c.fall = (int64_t) (seed % 3 + 1);
        for (int i = 0; i < 2000; i++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            last[i] = random >> 62 != 0;
            int need = (int) (up ? c.fall : c.rise), against = 0;
            for (int k = i; k >= begun && last[k] != up; k--)
                against++;
            bool changes = against >= need;
            if (check_state_take(&s, &c, last[i]) != changes)
                fail_msg("seed %d, step %d", (int) seed, i);
            up = changes ? !up : up;
            begun = changes ? i + 1 : begun;
            assert_int_equal(s.up, up);
        }
    }
}

static void pauses(void **state)
{
    (void) state;
    struct health_conf c = defaults();
    struct check_state s = {.up = true, .decided = true};
    c.fast_interval = 100000;
    c.down_interval = 9 * USEC_PER_SEC;
    assert_int_equal(check_state_pause(&s, &c), 2 * USEC_PER_SEC);
    check_state_take(&s, &c, false);
    assert_int_equal(check_state_pause(&s, &c), 100000);
    check_state_take(&s, &c, false);
    check_state_take(&s, &c, false);
    assert_int_equal(check_state_pause(&s, &c), 9 * USEC_PER_SEC);
    check_state_take(&s, &c, true);
    assert_int_equal(check_state_pause(&s, &c), 100000);
}

/* A mark goes when nothing was learnt for `expires`, or for two pauses where those are longer. */
static void a_mark_expires(void **state)
{
    (void) state;
    struct health_conf c = defaults();
    struct check_state s = {.up = false, .decided = true, .known = 100 * USEC_PER_SEC};
    assert_false(check_state_expire(&s, &c, 130 * USEC_PER_SEC - 1));
    assert_true(check_state_expire(&s, &c, 130 * USEC_PER_SEC));
    assert_true(s.up);
    assert_false(check_state_expire(&s, &c, 900 * USEC_PER_SEC)); /* nothing to take back */
    s = (struct check_state){.up = false, .known = 0};            /* behind a gate */
    assert_false(check_state_expire(&s, &c, 900 * USEC_PER_SEC));
    s = (struct check_state){.up = false, .decided = true, .known = 0};
    c.down_interval = 60 * USEC_PER_SEC;
    assert_false(check_state_expire(&s, &c, 122 * USEC_PER_SEC - 1));
    assert_true(check_state_expire(&s, &c, 122 * USEC_PER_SEC));
}

/* The changes are those of a plain list of results, and flapping begins and ends by them. */
static void flapping_follows_the_model(void **state)
{
    (void) state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct check_watch w = {0};
        uint64_t random = seed * UINT64_C(0x9e3779b97f4a7c15);
        bool results[2000], flapping = false;
        uint32_t begun = 0;
        for (int i = 0; i < 2000; i++) {
            random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bool calm = i / 200 % 2;
            results[i] = calm || random >> 62 != 0;
            uint32_t changes = 0;
            for (int k = i; k > 0 && k > i + 1 - (int) FLAPPING_RESULTS; k--)
                changes += results[k] != results[k - 1];
            bool now = flapping ? changes > FLAPPING_UNTIL : changes >= FLAPPING_FROM;
            bool told = check_watch_result(&w, results[i]);
            if (check_watch_changes(&w) != changes || told != (now != flapping))
                fail_msg("seed %d, step %d: %u changes", (int) seed, i, (unsigned) changes);
            begun += now && !flapping;
            flapping = now;
            assert_int_equal(w.flapping, flapping);
        }
        assert_true(begun >= 4 && !flapping);
    }
}

static void slow_checks_are_noticed(void **state)
{
    (void) state;
    struct health_conf c = defaults();
    struct check_watch w = {0};
    assert_int_equal(check_slow_over(&c), 250000);
    c.timeout = 300000;
    assert_int_equal(check_slow_over(&c), 150000); /* half of what a check may take */
    assert_false(check_watch_time(&w, &c, 151000) || check_watch_time(&w, &c, 151000));
    assert_false(check_watch_time(&w, &c, 150000)); /* begins anew */
    assert_false(check_watch_time(&w, &c, 151000) || check_watch_time(&w, &c, 151000));
    assert_true(check_watch_time(&w, &c, 151000));
    assert_true(w.slow);
    assert_false(check_watch_time(&w, &c, 1) || check_watch_time(&w, &c, 1));
    assert_true(check_watch_time(&w, &c, 1));
    assert_false(w.slow);
    c.slow = 0;
    for (int i = 0; i < 9; i++)
        assert_false(check_watch_time(&w, &c, USEC_PER_SEC));
}

static bool passes(const char *text, unsigned status)
{
    struct health_conf c = defaults();
    struct str items[] = {STR("204"), str_c(text)};
    c.statuses = (struct schema_list){items, 2};
    return health_status_passes(&c, status);
}

static void statuses_are_read(void **state)
{
    (void) state;
    struct health_conf c = defaults();
    assert_true(health_status_passes(&c, 200) && health_status_passes(&c, 399));
    assert_false(health_status_passes(&c, 400) || health_status_passes(&c, 199));
    assert_true(passes("300-304", 300) && passes("300-304", 304) && passes("300-304", 204));
    assert_false(passes("300-304", 299) || passes("300-304", 305) || passes("300-304", 200));
    assert_true(passes("404", 404));
    assert_false(passes("404-", 404) || passes("-404", 404) || passes("4xx", 404));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rises_and_falls),         cmocka_unit_test(the_first_decides),
        cmocka_unit_test(follows_the_model),       cmocka_unit_test(pauses),
        cmocka_unit_test(a_mark_expires),          cmocka_unit_test(flapping_follows_the_model),
        cmocka_unit_test(slow_checks_are_noticed), cmocka_unit_test(statuses_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets of an HTTP/2 connection: a burst, a rate, and payment by useful work. */
#include "http/h2_budget.h"

#include "http/http_test.h"

/* How many events at once are allowed from now on. */
static uint32_t allowed(struct h2_budget *b, enum h2_event e, usec_t now)
{
    uint32_t n = 0;
    while (n < 100000 && h2_budget_take(b, e, now) == FAULT_OK)
        n++;
    return n;
}

static void every_kind_has_an_end(void **state)
{
    (void) state;
    for (int e = 0; e < H2_EVENTS; e++) {
        struct h2_budget b = {0};
        uint32_t burst = allowed(&b, (enum h2_event) e, USEC_PER_SEC);
        assert_in_range(burst, 1, 10000);
        enum fault f = h2_budget_take(&b, (enum h2_event) e, USEC_PER_SEC);
        assert_int_not_equal(f, FAULT_OK);
        assert_int_equal(fault_row(f)->status, 0);
        for (int other = 0; other < e; other++) {
            struct h2_budget c = {0};
            (void) allowed(&c, (enum h2_event) other, USEC_PER_SEC);
            assert_int_not_equal(h2_budget_take(&c, (enum h2_event) other, USEC_PER_SEC), f);
        }
    }
}

static void time_pays_back(void **state)
{
    (void) state;
    struct h2_budget b = {0};
    usec_t now = 7 * USEC_PER_SEC;
    uint32_t burst = allowed(&b, H2_PING, now);
    now += 3600 * USEC_PER_SEC;
    assert_int_equal(allowed(&b, H2_PING, now), burst);
    assert_in_range(allowed(&b, H2_PING, now + USEC_PER_SEC), 1, burst - 1);
}

static void slow_events_are_never_too_many(void **state)
{
    (void) state;
    struct h2_budget b = {0};
    for (usec_t second = 1; second < 100000; second++)
        for (int e = 0; e < H2_EVENTS; e++)
            assert_int_equal(h2_budget_take(&b, (enum h2_event) e, second * USEC_PER_SEC),
                             FAULT_OK);
}

static void work_pays_back(void **state)
{
    (void) state;
    struct h2_budget b = {0};
    usec_t now = USEC_PER_SEC;
    (void) allowed(&b, H2_WINDOW, now);
    assert_int_not_equal(h2_budget_take(&b, H2_WINDOW, now), FAULT_OK);
    h2_budget_repay(&b, H2_WINDOW, 10);
    assert_in_range(allowed(&b, H2_WINDOW, now), 7, 10);
    struct h2_budget fresh = {0};
    h2_budget_repay(&fresh, H2_WINDOW, 1000000); /* never more than the burst */
    assert_in_range(allowed(&fresh, H2_WINDOW, now), 1, 10000);
}

static void what_was_sent_may_be_answered_late(void **state)
{
    (void) state;
    struct h2_budget b = {0};
    usec_t now = USEC_PER_SEC;
    h2_budget_sent(&b, 3000);
    assert_in_range(allowed(&b, H2_WINDOW, now), 4000, 4101);
    h2_budget_sent(&b, 1u << 31); /* there is an end to it */
    assert_in_range(b.windows, 1, 1u << 20);
}

static void resets_share_one_budget(void **state)
{
    (void) state;
    struct h2_budget b = {0};
    (void) allowed(&b, H2_RESET, USEC_PER_SEC);
    assert_int_equal(h2_budget_take(&b, H2_RESET_CAUSED, USEC_PER_SEC), FAULT_H2_MADE_RESET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_has_an_end),
        cmocka_unit_test(time_pays_back),
        cmocka_unit_test(slow_events_are_never_too_many),
        cmocka_unit_test(work_pays_back),
        cmocka_unit_test(what_was_sent_may_be_answered_late),
        cmocka_unit_test(resets_share_one_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

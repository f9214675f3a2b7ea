/* SPDX-License-Identifier: Apache-2.0 */
/* Time as text, random bits, counters and the fault rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "base/counter.h"
#include "base/fault.h"

static void prints_iso8601(void **state)
{
    (void) state;
    char out[32];
    clock_iso8601(0, out);
    assert_string_equal(out, "1970-01-01T00:00:00.000000Z");
    clock_iso8601(INT64_C(1795421730123456), out);
    assert_string_equal(out, "2026-11-23T08:15:30.123456Z");
    clock_iso8601(-1, out);
    assert_string_equal(out, "1969-12-31T23:59:59.999999Z");
}

/* Against the C library, over leap years and month ends. */
static void agrees_with_gmtime(void **state)
{
    (void) state;
    for (int64_t day = -40000; day < 80000; day++) {
        time_t t = (time_t) (day * 86400 + day % 86400);
        struct tm tm;
        char ours[32], theirs[32];
        clock_iso8601((int64_t) t * 1000000, ours);
        gmtime_r(&t, &tm);
        strftime(theirs, sizeof theirs, "%Y-%m-%dT%H:%M:%S.000000Z", &tm);
        assert_string_equal(ours, theirs);
    }
}

static void moves_forward(void **state)
{
    (void) state;
    usec_t a = clock_now(), b = clock_now();
    assert_true(b >= a);
    assert_true(clock_wall() > INT64_C(1700000000000000));
}

static void *draw(void *out)
{
    *(uint64_t *) out = clock_random();
    return NULL;
}

static void draws_differ(void **state)
{
    (void) state;
    uint64_t here = clock_random(), there = 0;
    assert_true(clock_random() != here);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, draw, &there), 0);
    pthread_join(t, NULL);
    assert_true(there != here);
}

static void sorts_into_buckets(void **state)
{
    (void) state;
    struct histogram h = {0};
    for (unsigned i = 1; i < HISTOGRAM_BUCKETS; i++)
        assert_true(histogram_bounds[i - 1] < histogram_bounds[i]);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        struct histogram at = {0}, above = {0}, below = {0};
        uint64_t low = i ? histogram_bounds[i - 1] : 0, middle = (low + histogram_bounds[i]) / 2;
        histogram_add(&at, histogram_bounds[i]);
        histogram_add(&above, (uint64_t) histogram_bounds[i] + 1);
        histogram_add(&below, middle);
        assert_int_equal(counter_get(&at.buckets[i]), 1);
        assert_int_equal(counter_get(&above.buckets[i + 1]), 1);
        assert_int_equal(counter_get(&below.buckets[i]), 1);
    }
    histogram_add(&h, 0);
    histogram_add(&h, histogram_bounds[0]);
    histogram_add(&h, (uint64_t) histogram_bounds[0] + 1);
    histogram_add(&h, UINT32_MAX);
    assert_int_equal(counter_get(&h.buckets[0]), 2);
    assert_int_equal(counter_get(&h.buckets[1]), 1);
    assert_int_equal(counter_get(&h.buckets[HISTOGRAM_BUCKETS]), 1);
    counter_sub(&h.sum_us, UINT32_MAX);
    assert_int_equal(counter_get(&h.sum_us), 2 * histogram_bounds[0] + 1);
}

static bool is_reason_code(const char *name)
{
    for (const char *c = name; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '_'))
            return false;
    return *name >= 'a' && *name <= 'z';
}

static void fault_rows_are_sound(void **state)
{
    (void) state;
    for (int f = 0; f < FAULT_COUNT; f++) {
        const struct fault_row *row = fault_row((enum fault) f);
        assert_true(is_reason_code(row->name));
        assert_true(row->status == 0 || (row->status >= 400 && row->status <= 599));
        assert_true(strlen(row->text) > 5);
        for (int g = 0; g < f; g++)
            assert_string_not_equal(row->name, fault_name((enum fault) g));
    }
    assert_int_equal(fault_row(FAULT_NO_ROUTE)->status, 404);
    assert_int_equal(FAULT_OK, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_iso8601),     cmocka_unit_test(agrees_with_gmtime),
        cmocka_unit_test(moves_forward),      cmocka_unit_test(draws_differ),
        cmocka_unit_test(sorts_into_buckets), cmocka_unit_test(fault_rows_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* counter_test.c: a sample is counted under the first bound that is not below it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/counter.h"

/* The bucket that one sample of us falls into; the sum is us. */
static unsigned bucket_of(uint64_t us)
{
    struct histogram h = {0};
    unsigned found = 0, n = 0;
    histogram_add(&h, us);
    for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++) {
        if (counter_get(&h.buckets[i])) {
            found = i;
            n++;
        }
    }
    assert_int_equal(n, 1);
    assert_int_equal(counter_get(&h.buckets[found]), 1);
    assert_int_equal(counter_get(&h.sum_us), us);
    return found;
}

static void samples_at_the_bounds(void **state)
{
    (void) state;
    assert_int_equal(bucket_of(0), 0);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        assert_int_equal(bucket_of(histogram_bounds[i]), i);
        assert_int_equal(bucket_of(histogram_bounds[i] + 1ull), i + 1);
    }
}

/* Each power of two and its neighbours, far beyond the last bound too. */
static void samples_of_any_size(void **state)
{
    (void) state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (uint64_t us = (1ull << bit) - 1; us <= (1ull << bit) + 1 && us + 1 > us; us++) {
            unsigned want = 0;
            while (want < HISTOGRAM_BUCKETS && histogram_bounds[want] < us)
                want++;
            assert_int_equal(bucket_of(us), want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_at_the_bounds),
        cmocka_unit_test(samples_of_any_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

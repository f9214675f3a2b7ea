/* SPDX-License-Identifier: Apache-2.0 */
/* counter.c: the histogram's bounds and its search. */
#include "base/counter.h"

const uint32_t histogram_bounds[HISTOGRAM_BUCKETS] = {
    100,   250,    500,    1000,   2500,    5000,    10000,   15000,    25000,    50000,
    75000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000,
};

/* Of the numbers of n bits, at [n], the lowest belongs into this bucket. */
static const uint8_t first_of_bits[33] = {
    [8] = 1,   [9] = 2,   [10] = 3,  [11] = 4,  [12] = 4,  [13] = 5,  [14] = 6,
    [15] = 8,  [16] = 9,  [17] = 10, [18] = 12, [19] = 13, [20] = 14, [21] = 15,
    [22] = 15, [23] = 16, [24] = 17, [25] = 18, [26] = 19, [27] = 20, [28] = 20,
    [29] = 20, [30] = 20, [31] = 20, [32] = 20,
};

void histogram_add(struct histogram *h, uint64_t us)
{
    /* The first bound that is not below us: from where numbers of so many bits begin. */
    unsigned at =
        us < UINT32_MAX ? first_of_bits[32 - __builtin_clz((uint32_t) us | 1)] : HISTOGRAM_BUCKETS;
    while (at < HISTOGRAM_BUCKETS && histogram_bounds[at] < us)
        at++;
    counter_add(&h->buckets[at], 1);
    counter_add(&h->sum_us, us);
}

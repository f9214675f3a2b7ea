/* SPDX-License-Identifier: Apache-2.0 */
/* counter.c: the histogram's bounds and its search. */
#include "base/counter.h"

const uint32_t histogram_bounds[HISTOGRAM_BUCKETS] = {
    100,   250,    500,    1000,   2500,    5000,    10000,   15000,    25000,    50000,
    75000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000, 60000000,
};

/* Of the numbers whose highest bit is bit n, at [n], the lowest belongs into this bucket. */
static const uint8_t first_of_bit[64] = {
    [7] = 1,   [8] = 2,   [9] = 3,   [10] = 4,  [11] = 4,
    [12] = 5,  [13] = 6,  [14] = 8,  [15] = 9,  [16] = 10,
    [17] = 12, [18] = 13, [19] = 14, [20] = 15, [21] = 15,
    [22] = 16, [23] = 17, [24] = 18, [25] = 19, [26 ... 63] = HISTOGRAM_BUCKETS,
};

void histogram_add(struct histogram *h, uint64_t us)
{
    /* The first bound that is not below us: from where numbers of so many bits begin. */
    unsigned at = first_of_bit[63 - __builtin_clzll(us | 1)];
    while (at < HISTOGRAM_BUCKETS && histogram_bounds[at] < us)
        at++;
    counter_add(&h->buckets[at], 1);
    counter_add(&h->sum_us, us);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* counter: numbers that one thread adds to and another sums. A writer stores with plain
 * relaxed stores (no lock prefix): one writer a counter. Readers may be late, never torn. */
#ifndef WEIR_BASE_COUNTER_H
#define WEIR_BASE_COUNTER_H

#include <stdint.h>

typedef _Atomic uint64_t counter_t;

/* Adds n; only the owning thread may. */
static inline void counter_add(counter_t *c, uint64_t n)
{
    __atomic_store_n((uint64_t *) c, __atomic_load_n((uint64_t *) c, __ATOMIC_RELAXED) + n,
                     __ATOMIC_RELAXED);
}
/* Subtracts n (gauges); only the owning thread may. */
static inline void counter_sub(counter_t *c, uint64_t n)
{
    counter_add(c, (uint64_t) 0 - n);
}
/* Any thread. */
static inline uint64_t counter_get(const counter_t *c)
{
    return __atomic_load_n((const uint64_t *) c, __ATOMIC_RELAXED);
}

#define HISTOGRAM_BUCKETS 20

/* A latency histogram with fixed bounds (histogram_bounds), one writer. */
struct histogram {
    counter_t buckets[HISTOGRAM_BUCKETS + 1]; /* the last: above every bound */
    counter_t sum_us;
};

/* Upper bounds in microseconds, ascending. */
extern const uint32_t histogram_bounds[HISTOGRAM_BUCKETS];
/* Adds one sample of us microseconds. */
void histogram_add(struct histogram *h, uint64_t us);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A latency histogram with a relative error below 1.6 % and a fixed size. Owned by the load
 * generator, one thread. Never allocates, never loses a value: what is too large is the last slot.
 */
#ifndef BENCH_HIST_H
#define BENCH_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 6
#define HIST_SLOTS (40 << HIST_SUB_BITS)

struct hist {
    uint64_t count, max;
    uint64_t slots[HIST_SLOTS];
};

/* Counts one value, in nanoseconds. */
void hist_add(struct hist *h, uint64_t value);

/* The value in nanoseconds that `percent` per cent of all values do not exceed; 0 when empty. */
uint64_t hist_at(const struct hist *h, double percent);

#endif

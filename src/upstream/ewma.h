/* SPDX-License-Identifier: Apache-2.0 */
/* ewma: the peak-sensitive moving mean of a response time as one 64-bit word: microseconds in the
 * upper half, the clock's milliseconds of the last sample in the lower. A value above the mean
 * replaces it at once. One below takes the mean down by a quarter of the way at least, so that a
 * single late answer of a busy endpoint is made up for by those that follow, and by what wears off
 * with a time constant of ten seconds, if that is more: whom nobody asks is not forgotten sooner.
 * Values only; any thread, by the caller's compare and swap. */
#ifndef WEIR_UPSTREAM_EWMA_H
#define WEIR_UPSTREAM_EWMA_H

#include <stdint.h>

#include "base/clock.h"

#define EWMA_HALF_LIFE_MS 6931u /* of a time constant of 10 s */
#define EWMA_STEP 4u            /* a sample takes the mean down by this part of the way */

/* The clock of the words: milliseconds, wrapping after 49 days. */
static inline uint32_t ewma_clock(usec_t now)
{
    return (uint32_t) (now / USEC_PER_MS);
}
/* v halved for each half-life in ms, in between on a straight line (at most 6 % above the
 * curve). */
static inline uint64_t ewma_fade(uint64_t v, uint32_t ms)
{
    uint32_t halves = ms / EWMA_HALF_LIFE_MS, rest = ms % EWMA_HALF_LIFE_MS;
    if (halves > 31)
        return 0;
    v >>= halves;
    return v - v * rest / (2 * (uint64_t) EWMA_HALF_LIFE_MS);
}
/* The mean at that time, at least 1. A clock that is behind the word's (another worker's) counts as
 * the same moment. */
static inline uint64_t ewma_now(uint64_t word, uint32_t now)
{
    uint32_t ms = now - (uint32_t) word;
    uint64_t v = ewma_fade(word >> 32, ms > UINT32_MAX / 2 ? 0 : ms);
    return v ? v : 1;
}
/* The word after a sample of us; word 0: the first one. Never 0. */
static inline uint64_t ewma_sample(uint64_t word, usec_t us, uint32_t now)
{
    uint64_t sample = us < 1 ? 1 : us > UINT32_MAX ? UINT32_MAX : us;
    uint32_t ms = now - (uint32_t) word;
    if (word && ms > UINT32_MAX / 2) {
        ms = 0;
        now = (uint32_t) word;
    }
    uint64_t mean = word >> 32;
    if (sample < mean) {
        uint64_t gap = mean - sample, by_time = ewma_fade(gap, ms);
        uint64_t by_count = gap - (gap + EWMA_STEP - 1) / EWMA_STEP;
        sample += by_time < by_count ? by_time : by_count;
    }
    return sample << 32 | now;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c: time by the vDSO, ISO 8601, and cheap random bits.
 * Invariants:
 * 1. random_state is 0 only before the first use in a thread. */
#include "base/clock.h"

#include <sys/random.h>
#include <time.h>

#include "base/test_hooks.h"

static _Thread_local uint64_t random_state;

usec_t clock_now(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (usec_t) ts.tv_sec * USEC_PER_SEC + (usec_t) ts.tv_nsec / 1000;
}

int64_t clock_wall(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    int64_t wrong = WEIR_DEBUG ? test_hooks_wall() : 0;
    return (int64_t) ts.tv_sec * (int64_t) USEC_PER_SEC + ts.tv_nsec / 1000 + wrong;
}

/* Writes n decimal digits of v. */
static char *digits(char *at, unsigned n, uint64_t v)
{
    for (unsigned i = n; i-- > 0; v /= 10)
        at[i] = (char) ('0' + v % 10);
    return at + n;
}

void clock_iso8601(int64_t wall_us, char out[32])
{
    int64_t us = wall_us % (int64_t) USEC_PER_SEC;
    int64_t sec = wall_us / (int64_t) USEC_PER_SEC;
    if (us < 0) {
        us += (int64_t) USEC_PER_SEC;
        sec--;
    }
    int64_t day = sec / 86400, rest = sec % 86400;
    if (rest < 0) {
        rest += 86400;
        day--;
    }
    /* Civil date from days: years begin in March, eras of 400 years. Years 0 to 9999. */
    day += 719468;
    int64_t era = (day >= 0 ? day : day - 146096) / 146097;
    uint64_t doe = (uint64_t) (day - era * 146097);
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    uint64_t month = mp < 10 ? mp + 3 : mp - 9;
    uint64_t year = yoe + (uint64_t) era * 400 + (month <= 2);
    uint64_t sod = (uint64_t) rest;

    char *at = digits(out, 4, year);
    *at++ = '-';
    at = digits(at, 2, month);
    *at++ = '-';
    at = digits(at, 2, doy - (153 * mp + 2) / 5 + 1);
    *at++ = 'T';
    at = digits(at, 2, sod / 3600);
    *at++ = ':';
    at = digits(at, 2, sod / 60 % 60);
    *at++ = ':';
    at = digits(at, 2, sod % 60);
    *at++ = '.';
    at = digits(at, 6, (uint64_t) us);
    *at++ = 'Z';
    *at = '\0';
}

uint64_t clock_random(void)
{
    while (__builtin_expect(random_state == 0, 0))
        if (getrandom(&random_state, sizeof random_state, GRND_NONBLOCK) < 0)
            random_state = (uint64_t) clock_wall() ^ (uint64_t) (uintptr_t) &random_state;
    /* SplitMix64: a Weyl sequence, then a mixer. Passing zero only re-seeds. */
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

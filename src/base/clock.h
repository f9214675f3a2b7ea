/* SPDX-License-Identifier: Apache-2.0 */
/* clock: monotonic and wall time by the vDSO. Any thread. Loops cache the value
 * once a turn (loop_now); nothing on the hot path calls these. */
#ifndef WEIR_BASE_CLOCK_H
#define WEIR_BASE_CLOCK_H

#include <stdint.h>

#include "base/str.h"

typedef uint64_t usec_t; /* microseconds; a span, or a point on the monotonic clock */

#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MS UINT64_C(1000)
#define USEC_NEVER UINT64_MAX

/* Monotonic microseconds since an arbitrary point. */
usec_t clock_now(void);
/* Wall time, microseconds since 1970-01-01 UTC. */
int64_t clock_wall(void);
/* ISO 8601 UTC with microseconds, "2026-11-23T08:15:30.123456Z", 27 bytes into out[32],
 * NUL-terminated. */
void clock_iso8601(int64_t wall_us, char out[32]);
/* 64 random bits from the kernel-seeded per-thread generator (not for keys). */
uint64_t clock_random(void);

#endif

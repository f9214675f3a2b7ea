/* SPDX-License-Identifier: Apache-2.0 */
/* bytes16: sixteen bytes looked at in one step, by the compiler's vectors: what the machine has,
 * or plain words. Constants and pure functions; any thread. Never reads but the bytes named. */
#ifndef WEIR_BASE_BYTES16_H
#define WEIR_BASE_BYTES16_H

#include <stdint.h>
#include <string.h>

typedef uint8_t bytes16 __attribute__((vector_size(16)));

/* Sixteen bytes at p. */
static inline bytes16 bytes16_load(const char *p)
{
    bytes16 v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Bit i is the highest bit of byte i: the result of a comparison as a number. */
static inline unsigned bytes16_mask(bytes16 v)
{
#if defined(__SSE2__)
    typedef char chars __attribute__((vector_size(16)));
    return (unsigned) __builtin_ia32_pmovmskb128((chars) v);
#else
    unsigned mask = 0;
    for (unsigned i = 0; i < 16; i++)
        mask |= (unsigned) (v[i] >> 7) << i;
    return mask;
#endif
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* bytes16: sixteen bytes looked at or copied in one step, by the compiler's vectors: what the
 * machine has, or plain words. Pure functions; any thread. Never reads or writes but the bytes
 * named. */
#ifndef WEIR_BASE_BYTES16_H
#define WEIR_BASE_BYTES16_H

#include <stddef.h>
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

/* The number of the lowest bit of mask that is set; one is. */
static inline size_t bytes16_first(unsigned mask)
{
    return (size_t) (unsigned) __builtin_ctz(mask);
}

/* n (4 to 16) bytes at p, some of them several times when n < 16; equal input gives equal
 * vectors. */
static inline bytes16 bytes16_load_short(const char *p, size_t n)
{
    typedef uint64_t words2 __attribute__((vector_size(16)));
    uint64_t first, last;
    if (n >= 8) {
        memcpy(&first, p, 8);
        memcpy(&last, p + n - 8, 8);
        return (bytes16) (words2){first, last};
    }
    uint32_t a, b;
    memcpy(&a, p, 4);
    memcpy(&b, p + n - 4, 4);
    first = (uint64_t) b << 32 | a;
    return (bytes16) (words2){first, first};
}

/* Copies the sixteen bytes at p to to, and answers them. */
static inline bytes16 bytes16_copy(char *to, const char *p)
{
    bytes16 v = bytes16_load(p);
    memcpy(to, &v, sizeof(v));
    return v;
}

/* Copies the n (4 to 16) bytes at p to to, some of them several times, and answers all of them. */
static inline bytes16 bytes16_copy_short(char *to, const char *p, size_t n)
{
    bytes16 v = bytes16_load_short(p, n);
    if (n >= 8) {
        memcpy(to, &v, 8);
        memcpy(to + n - 8, (const char *) &v + 8, 8);
    } else {
        memcpy(to, &v, 4);
        memcpy(to + n - 4, (const char *) &v + 4, 4);
    }
    return v;
}

/* Copies the n bytes at p to to; the place behind. Without a call for the short texts that heads
 * and lines of a log are made of. */
static inline char *bytes_put(char *to, const char *p, size_t n)
{
    if (n > 64) {
        memcpy(to, p, n);
    } else if (n >= 16) {
        for (size_t i = 0; i + 16 < n; i += 16)
            (void) bytes16_copy(to + i, p + i);
        (void) bytes16_copy(to + n - 16, p + n - 16);
    } else if (n >= 4) {
        (void) bytes16_copy_short(to, p, n);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = p[i];
    }
    return to + n;
}

#endif

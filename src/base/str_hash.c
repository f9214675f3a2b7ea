/* SPDX-License-Identifier: Apache-2.0 */
/* str_hash.c: hashes of views: SipHash-1-3 with a key of the process, and a fixed one.
 * Invariants:
 * 1. hash_key is written once, before main or at dlopen, and only read afterwards. */
#include <endian.h>
#include <errno.h>
#include <sys/random.h>

#include "base/panic.h"
#include "base/str.h"

static uint64_t hash_key[2];

/* A constructor instead of a check in each hash: hashing is on the path of every request. */
__attribute__((constructor)) static void hash_key_init(void)
{
    size_t got = 0;
    while (got < sizeof hash_key) {
        ssize_t n = getrandom((char *) hash_key + got, sizeof hash_key - got, 0);
        if (n > 0)
            got += (size_t) n;
        else if (errno != EINTR)
            panic("getrandom gives no key");
    }
}

struct sip {
    uint64_t a, b, c, d;
};

static inline uint64_t rotl(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static inline void sip_round(struct sip *s)
{
    s->a += s->b;
    s->b = rotl(s->b, 13) ^ s->a;
    s->a = rotl(s->a, 32);
    s->c += s->d;
    s->d = rotl(s->d, 16) ^ s->c;
    s->a += s->d;
    s->d = rotl(s->d, 21) ^ s->a;
    s->c += s->b;
    s->b = rotl(s->b, 17) ^ s->c;
    s->c = rotl(s->c, 32);
}

static inline uint64_t word(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return le64toh(v);
}

/* The last 0 to 7 bytes at p of a view that has at least 8 bytes when `long_enough`. */
static inline uint64_t tail_word(const char *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v |= (uint64_t) (unsigned char) p[i] << (8 * i);
    return v;
}

#define ONES UINT64_C(0x0101010101010101)

/* ASCII lower case of eight bytes at once (see str.c). */
static inline uint64_t lower8(uint64_t x)
{
    uint64_t low = x & (ONES * 0x7f);
    uint64_t upper = ~x & ((low + ONES * (0x80 - 'A')) ^ (low + ONES * (0x7f - 'Z')));
    return x | ((upper & (ONES * 0x80)) >> 2);
}

static inline uint64_t sip13(struct str a, bool lower)
{
    struct sip s = {
        hash_key[0] ^ UINT64_C(0x736f6d6570736575), hash_key[1] ^ UINT64_C(0x646f72616e646f6d),
        hash_key[0] ^ UINT64_C(0x6c7967656e657261), hash_key[1] ^ UINT64_C(0x7465646279746573)};
    size_t i = 0;
    if (a.n == 0)
        a.p = ""; /* arithmetic on NULL is undefined */
    for (; i + 8 <= a.n; i += 8) {
        uint64_t m = lower ? lower8(word(a.p + i)) : word(a.p + i);
        s.d ^= m;
        sip_round(&s);
        s.a ^= m;
    }
    uint64_t last = tail_word(a.p + i, a.n - i);
    last = (lower ? lower8(last) : last) | (uint64_t) a.n << 56;
    s.d ^= last;
    sip_round(&s);
    s.a ^= last;
    s.c ^= 0xff;
    sip_round(&s);
    sip_round(&s);
    sip_round(&s);
    return s.a ^ s.b ^ s.c ^ s.d;
}

uint64_t str_hash(struct str a)
{
    return sip13(a, false);
}

uint64_t str_ihash(struct str a)
{
    return sip13(a, true);
}

/* Multiply and fold: both halves of the 128-bit product. */
static inline uint64_t mix(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t) a * b;
    return (uint64_t) product ^ (uint64_t) (product >> 64);
}

uint64_t str_stable_hash(struct str a, uint64_t seed)
{
    const uint64_t k0 = UINT64_C(0x9e3779b97f4a7c15);
    const uint64_t k1 = UINT64_C(0xc2b2ae3d27d4eb4f);
    uint64_t h = mix(seed ^ k0, (uint64_t) a.n ^ k1);
    size_t i = 0;
    if (a.n == 0)
        a.p = ""; /* arithmetic on NULL is undefined */
    for (; i + 8 <= a.n; i += 8)
        h = mix(h ^ word(a.p + i), k0) + k1;
    h = mix(h ^ tail_word(a.p + i, a.n - i), k1) + k0;
    /* The finaliser of MurmurHash3: every input bit reaches every output bit. */
    h ^= h >> 33;
    h *= UINT64_C(0xff51afd7ed558ccd);
    h ^= h >> 33;
    h *= UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

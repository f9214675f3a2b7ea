/* SPDX-License-Identifier: Apache-2.0 */
/* hash_table: from a key's hash to one of n names, as a ring (each name has points on it, a key goes
 * to the next one) or by Maglev (names take turns to fill a table; Eisenbud and others, NSDI 2016).
 * Made once, then constant: any thread may look. Equal names and weights give the same table
 * everywhere. Knows no endpoints. */
#ifndef WEIR_UPSTREAM_HASH_TABLE_H
#define WEIR_UPSTREAM_HASH_TABLE_H

#include "upstream/balance.h"

struct hash_entry {
    struct str name;
    double weight; /* > 0, relative to the others */
};

struct hash_point {
    uint32_t at; /* upper half of the hash */
    uint32_t entry;
};

struct hash_table {
    enum hash_algorithm algorithm;
    uint32_t n;     /* slots, or points */
    uint32_t *slot; /* maglev: entry numbers; ring: the first point of each 2^shift wide part */
    uint32_t shift; /* of the ring's parts */
    struct hash_point *points; /* ring, ascending */
};

/* Fills t; n entries, at least one. */
void hash_table_init(struct hash_table *t, enum hash_algorithm algorithm,
                     const struct hash_entry *entries, uint32_t n);
/* Frees what it holds. */
void hash_table_fini(struct hash_table *t);
/* The entry of a hash that is evenly spread; the same cost for any n. */
uint32_t hash_table_at(const struct hash_table *t, uint64_t hash);

/* Spreads h over all 64 bits (the finaliser of SplitMix64). */
static inline uint64_t hash_spread(uint64_t h)
{
    h += UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
    return h ^ h >> 31;
}

#endif

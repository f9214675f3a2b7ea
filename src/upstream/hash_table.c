/* SPDX-License-Identifier: Apache-2.0 */
#include "upstream/hash_table.h"

#include <stdlib.h>

#include "base/mem.h"

#define POINTS_EACH 160u /* of an entry of mean weight: shares are within some 8 % */
#define POINTS_MAX (1u << 20)
#define MAGLEV_EACH 100u /* slots, likewise: within 1 % */

/* ---- ring ---------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct hash_point *x = a, *y = b;
    if (x->at != y->at)
        return x->at < y->at ? -1 : 1;
    return x->entry < y->entry ? -1 : x->entry > y->entry;
}

/* The parts of the ring and where each begins: a key's part names its first point or the one before
 * it, whatever the size of the ring. */
static void ring_index(struct hash_table *t)
{
    uint32_t parts = 1;
    t->shift = 32;
    while (parts < t->n && t->shift > 0) {
        parts *= 2;
        t->shift--;
    }
    t->slot = mem_new((parts + 1) * sizeof t->slot[0]);
    for (uint32_t k = 0, i = 0; k < parts; k++) {
        while (i < t->n && t->points[i].at < (uint64_t) k << t->shift)
            i++;
        t->slot[k] = i;
    }
}

static void ring_init(struct hash_table *t, const struct hash_entry *e, uint32_t n, double mean)
{
    uint32_t each = POINTS_MAX / n < POINTS_EACH ? POINTS_MAX / n : POINTS_EACH;
    double room = 0;
    for (uint32_t i = 0; i < n; i++)
        room += each * e[i].weight / mean + 1;
    t->points = mem_new(((size_t) room + n) * sizeof t->points[0]);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t points = (uint32_t) (each * e[i].weight / mean + 0.5);
        uint64_t h = str_stable_hash(e[i].name, 0);
        for (uint32_t k = 0; k < (points ? points : 1); k++) {
            h = hash_spread(h);
            t->points[t->n++] = (struct hash_point){(uint32_t) (h >> 32), i};
        }
    }
    qsort(t->points, t->n, sizeof t->points[0], by_place);
    ring_index(t);
}

static uint32_t ring_at(const struct hash_table *t, uint32_t at)
{
    uint32_t i = t->slot[t->shift < 32 ? at >> t->shift : 0];
    while (i < t->n && t->points[i].at < at)
        i++;
    return t->points[i < t->n ? i : 0].entry;
}

/* ---- maglev -------------------------------------------------------------------------------- */

static uint32_t maglev_size(uint32_t n)
{
    static const uint32_t primes[] = {65537, 655357, 5000011};
    size_t i = 0;
    while (i < 2 && primes[i] / MAGLEV_EACH < n)
        i++;
    return primes[i];
}

/* Each entry has an order of all slots of its own and takes the next free one when it is its turn;
 * one of less than the largest weight sits out some of its turns. */
static void maglev_init(struct hash_table *t, const struct hash_entry *e, uint32_t n)
{
    struct turn {
        uint32_t at, step;
        double due;
    } *turns = mem_new(n * sizeof turns[0]);
    double largest = 0;
    t->n = maglev_size(n);
    t->slot = mem_new(t->n * sizeof t->slot[0]);
    for (uint32_t k = 0; k < t->n; k++)
        t->slot[k] = UINT32_MAX;
    for (uint32_t i = 0; i < n; i++) {
        turns[i].at = (uint32_t) (str_stable_hash(e[i].name, 1) % t->n);
        turns[i].step = (uint32_t) (str_stable_hash(e[i].name, 2) % (t->n - 1)) + 1;
        largest = e[i].weight > largest ? e[i].weight : largest;
    }
    for (uint32_t taken = 0, i = 0; taken < t->n; i = i + 1 == n ? 0 : i + 1) {
        turns[i].due += e[i].weight / largest;
        if (turns[i].due < 1)
            continue;
        turns[i].due -= 1;
        while (t->slot[turns[i].at] != UINT32_MAX)
            turns[i].at = (uint32_t) (((uint64_t) turns[i].at + turns[i].step) % t->n);
        t->slot[turns[i].at] = i;
        taken++;
    }
    mem_free(turns);
}

/* ---- both ---------------------------------------------------------------------------------- */

void hash_table_init(struct hash_table *t, enum hash_algorithm algorithm,
                     const struct hash_entry *entries, uint32_t n)
{
    double sum = 0;
    *t = (struct hash_table){.algorithm = algorithm};
    for (uint32_t i = 0; i < n; i++)
        sum += entries[i].weight;
    if (algorithm == HASH_RING)
        ring_init(t, entries, n, sum / n);
    else
        maglev_init(t, entries, n);
}

void hash_table_fini(struct hash_table *t)
{
    mem_free(t->slot);
    mem_free(t->points);
}

uint32_t hash_table_at(const struct hash_table *t, uint64_t hash)
{
    uint32_t high = (uint32_t) (hash >> 32);
    if (t->algorithm == HASH_RING)
        return ring_at(t, high);
    return t->slot[((uint64_t) high * t->n) >> 32];
}

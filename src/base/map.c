/* SPDX-License-Identifier: Apache-2.0 */
/* map.c: open addressing with linear probing and backward-shift removal.
 * Invariants:
 * 1. cap is 0 or a power of two; n <= 3/4 of cap, so a probe always meets an empty slot.
 * 2. No empty slot lies between an entry and its home slot (hash & (cap - 1)). */
#include "base/map.h"

#include "base/mem.h"
#include "base/panic.h"

#define MAP_FIRST_CAP 16u

static uint64_t hash_of(struct str key)
{
    uint64_t h = str_hash(key);
    return h ? h : 1;
}

/* The slot of key, or the empty slot where it would go; NULL for an empty map. */
static struct map_slot *find(const struct map *m, struct str key, uint64_t hash)
{
    if (m->cap == 0)
        return NULL;
    size_t mask = m->cap - 1;
    for (size_t i = (size_t) hash & mask;; i = (i + 1) & mask) {
        struct map_slot *s = &m->slots[i];
        if (s->hash == 0 || (s->hash == hash && str_eq(s->key, key)))
            return s;
    }
}

static void grow(struct map *m)
{
    struct map bigger = {.cap = m->cap ? m->cap * 2 : MAP_FIRST_CAP, .n = m->n};
    bigger.slots = mem_new(bigger.cap * sizeof *bigger.slots);
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].hash)
            *find(&bigger, m->slots[i].key, m->slots[i].hash) = m->slots[i];
    mem_free(m->slots);
    *m = bigger;
}

void *map_get(const struct map *m, struct str key)
{
    struct map_slot *s = find(m, key, hash_of(key));
    return s && s->hash ? s->value : NULL;
}

void *map_set(struct map *m, struct str key, void *value)
{
    must(value != NULL);
    uint64_t hash = hash_of(key);
    struct map_slot *s = find(m, key, hash);
    if (s && s->hash) {
        void *old = s->value;
        s->value = value;
        return old;
    }
    if ((m->n + 1) * 4 > m->cap * 3) {
        grow(m);
        s = find(m, key, hash);
    }
    *s = (struct map_slot){hash, mem_str(key), value};
    m->n++;
    return NULL;
}

void *map_remove(struct map *m, struct str key)
{
    struct map_slot *hole = find(m, key, hash_of(key));
    if (!hole || !hole->hash)
        return NULL;
    void *value = hole->value;
    mem_free((void *) (uintptr_t) hole->key.p);
    size_t mask = m->cap - 1;
    size_t at = (size_t) (hole - m->slots);
    /* Moves back each following entry whose home is not behind the hole. */
    for (size_t i = (at + 1) & mask; m->slots[i].hash; i = (i + 1) & mask) {
        size_t home = (size_t) m->slots[i].hash & mask;
        if (((i - home) & mask) >= ((i - at) & mask)) {
            m->slots[at] = m->slots[i];
            at = i;
        }
    }
    m->slots[at] = (struct map_slot){0};
    m->n--;
    return value;
}

bool map_next(const struct map *m, size_t *at, struct str *key, void **value)
{
    while (*at < m->cap) {
        struct map_slot *s = &m->slots[(*at)++];
        if (s->hash) {
            *key = s->key;
            *value = s->value;
            return true;
        }
    }
    return false;
}

void map_fini(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].hash)
            mem_free((void *) (uintptr_t) m->slots[i].key.p);
    mem_free(m->slots);
    *m = (struct map){0};
}

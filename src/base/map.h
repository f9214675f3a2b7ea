/* SPDX-License-Identifier: Apache-2.0 */
/* map: hash map from a byte string to a pointer, keys hashed with a per-process key.
 * Owns copies of its keys, never the values. Not synchronised: one thread, or read-only. */
#ifndef WEIR_BASE_MAP_H
#define WEIR_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct map_slot {
    uint64_t hash; /* 0 = empty */
    struct str key;
    void *value;
};

/* Zero-initialised is an empty map. Open addressing, grows at 3/4. */
struct map {
    struct map_slot *slots;
    size_t cap, n;
};

/* The value of key, or NULL. */
void *map_get(const struct map *m, struct str key);
/* Sets key to value (non-NULL); returns the value replaced, or NULL. */
void *map_set(struct map *m, struct str key, void *value);
/* Removes key; returns its value, or NULL. */
void *map_remove(struct map *m, struct str key);
/* Iterates: *at starts at 0; false at the end. Order is not defined; do not change m meanwhile. */
bool map_next(const struct map *m, size_t *at, struct str *key, void **value);
/* Frees keys and slots, not the values. */
void map_fini(struct map *m);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* trie: compressed radix tries in one array of small nodes: from a path or a reversed host to
 * the exact key and the longest prefix key, in one walk. Made and changed by the router (main
 * thread): a change copies the nodes on its way and leaves those there are as they are, for other
 * threads read them. A lookup never allocates. */
#ifndef WEIR_PROXY_TRIE_H
#define WEIR_PROXY_TRIE_H

#include "base/slab.h"
#include "proxy/trie_find.h"

/* A key with the values found under it. Values count from 1. */
struct trie_key {
    struct str key;
    uint32_t exact;        /* 0: not an exact key */
    uint32_t prefix;       /* 0: not a prefix key */
    struct trie_near near; /* of the one value, where it has one only */
};

/* Where tries are made and changed. */
struct trie_store {
    struct slab nodes, table;
    /* Told of each block that came to be and of each that a new root no longer leads to; NULL:
     * nobody wants to know. */
    void (*made)(void *arg, const struct slab *of, uint32_t at, uint32_t n);
    void (*left)(void *arg, const struct slab *of, uint32_t at, uint32_t n);
    void *arg;
};

/* An empty store. */
void trie_store_init(struct trie_store *s);
/* Frees all tries. */
void trie_store_fini(struct trie_store *s);
/* What may be read of s until the next change. */
struct forest trie_store_view(const struct trie_store *s);
/* Adds a trie of n keys, sorted by str_cmp, no two equal. Returns its root. */
uint32_t trie_make(struct trie_store *s, const struct trie_key *keys, size_t n);

/* The value of the key itself; 0: none. */
uint32_t trie_get(const struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind);
/* A trie like that at root in which the key has that value (not 0) of that kind, which may stand
 * for near; root 0 is the empty one. Returns its root; that at root stays. */
uint32_t trie_put(struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind,
                  uint32_t value, struct trie_near near);
/* The same without that value, which is there. 0: nothing is left. */
uint32_t trie_take(struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind);

#endif

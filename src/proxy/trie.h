/* SPDX-License-Identifier: Apache-2.0 */
/* trie: compressed radix tries in one array of cache-line nodes: from a path or a reversed host to
 * the exact key and the longest prefix key, in one walk. Made and changed by the router (main
 * thread): a change copies the nodes on its way and leaves those there are as they are, for other
 * threads read them. A lookup never allocates. */
#ifndef WEIR_PROXY_TRIE_H
#define WEIR_PROXY_TRIE_H

#include <stdalign.h>

#include "base/slab.h"
#include "base/str.h"

#define TRIE_KEYS 16u  /* scattered children found by comparing bytes; more: a table of 256 */
#define TRIE_LABEL 32u /* bytes of label in a node; longer labels are a chain */

/* How a node finds its child. */
enum trie_fan {
    TRIE_DENSE,  /* first bytes follow each other from keys[0] on, as digits, or one, or none */
    TRIE_SPARSE, /* compared with keys */
    TRIE_WIDE,   /* looked up in the forest's table */
};

struct trie_node {
    alignas(64) char label[TRIE_LABEL]; /* follows the byte that led here */
    uint8_t keys[TRIE_KEYS];            /* first bytes of the children, ascending */
    uint32_t first;                     /* first child; TRIE_WIDE: offset in the forest's table */
    uint32_t exact;                     /* value of the key that ends here; 0: none */
    uint32_t prefix;                    /* value of the prefix key that ends here; 0: none */
    uint8_t n_label;
    uint8_t fan;     /* enum trie_fan */
    uint16_t n_keys; /* children, at most 256 */
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "trie_child counts from the low byte");

/* What a lookup reads of many tries. */
struct forest {
    const struct trie_node *nodes; /* number 0 is no node */
    const uint32_t *table;         /* child numbers of wide nodes, 256 each; 0: none */
};

/* What ends a segment, and so a prefix. */
struct trie_border {
    char byte;   /* '/' or '.' */
    bool at_end; /* a prefix also matches when the subject ends where the prefix does */
};

/* A key with the values found under it. Values count from 1. */
struct trie_key {
    struct str key;
    uint32_t exact;  /* 0: not an exact key */
    uint32_t prefix; /* 0: not a prefix key */
};

struct trie_hit {
    uint32_t exact;  /* value of the key equal to the subject; 0: none */
    uint32_t prefix; /* value of the longest prefix key, ended by a border; 0: none */
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

/* Which of a key's two values. */
enum trie_kind { TRIE_EXACT, TRIE_PREFIX };

/* The value of the key itself; 0: none. */
uint32_t trie_get(const struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind);
/* A trie like that at root in which the key has that value (not 0); root 0 is the empty one.
 * Returns its root; that at root stays. */
uint32_t trie_put(struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind,
                  uint32_t value);
/* The same without that value, which is there. 0: nothing is left. */
uint32_t trie_take(struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind);

/* The n < TRIE_LABEL + 1 bytes of a label are at p; without a call for the short ones. */
static inline bool trie_label_at(const char *p, const char *label, size_t n)
{
    if (n >= 8)
        return memcmp(p, label, n) == 0;
    if (n >= 4) {
        uint32_t a, b, c, d;
        memcpy(&a, p, 4);
        memcpy(&b, label, 4);
        memcpy(&c, p + n - 4, 4);
        memcpy(&d, label + n - 4, 4);
        return ((a ^ b) | (c ^ d)) == 0;
    }
    while (n-- > 0) {
        if (p[n] != label[n])
            return false;
    }
    return true;
}

/* The child of t under byte c, or 0. Eight keys are compared at a time. */
static inline uint32_t trie_child(const struct forest *f, const struct trie_node *t, uint8_t c)
{
    if (t->fan == TRIE_DENSE) {
        uint32_t at = (uint32_t) c - t->keys[0];
        return at < t->n_keys ? t->first + at : 0;
    }
    if (t->fan == TRIE_WIDE)
        return f->table[t->first + c];
    const uint64_t ones = UINT64_C(0x0101010101010101);
    for (uint32_t i = 0; i < t->n_keys; i += 8) {
        uint64_t x;
        memcpy(&x, t->keys + i, 8);
        x ^= ones * c;
        uint64_t zero = (x - ones) & ~x & (ones << 7);
        if (zero) {
            uint32_t at = i + (uint32_t) __builtin_ctzll(zero) / 8;
            return at < t->n_keys ? t->first + at : 0;
        }
    }
    return 0;
}

/* Looks s up in the trie at root. Never allocates. */
static inline struct trie_hit forest_find(const struct forest *f, uint32_t root, struct str s,
                                          struct trie_border border)
{
    struct trie_hit hit = {0, 0};
    size_t at = 0;
    while (root) {
        const struct trie_node *t = &f->nodes[root];
        size_t n = t->n_label;
        if (n) {
            if (s.n - at < n || !trie_label_at(s.p + at, t->label, n))
                break;
            at += n;
        }
        if (t->prefix && (at == s.n ? border.at_end : s.p[at] == border.byte))
            hit.prefix = t->prefix;
        if (at == s.n) {
            hit.exact = t->exact;
            break;
        }
        root = trie_child(f, t, (uint8_t) s.p[at++]);
    }
    return hit;
}

/* The values of the prefix keys that match s, as in forest_find, but counted: how many there are;
 * *value is that of number `want`, from 0, the shortest. */
uint32_t forest_prefixes(const struct forest *f, uint32_t root, struct str s,
                         struct trie_border border, uint32_t want, uint32_t *value);

#endif

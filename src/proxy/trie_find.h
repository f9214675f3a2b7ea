/* SPDX-License-Identifier: Apache-2.0 */
/* trie_find: the nodes of tries, and looking in them. Who has a forest may do that on any thread,
 * as long as its memory is held. Nothing here allocates, or changes a node. See trie.h. */
#ifndef WEIR_PROXY_TRIE_FIND_H
#define WEIR_PROXY_TRIE_FIND_H

#include <stdalign.h>

#include "base/str.h"

#define TRIE_KEYS 8u  /* scattered children found by comparing bytes; more: a table of 256 */
#define TRIE_LABEL 8u /* bytes of label in a node; longer labels are a chain */

/* How a node finds its child. */
enum trie_fan {
    TRIE_DENSE,  /* first bytes follow each other from keys[0] on, as digits, or one, or none */
    TRIE_SPARSE, /* compared with keys */
    TRIE_WIDE,   /* looked up in the forest's table */
    /* It has none, and one value, exact or prefix: what that stands for lies in their place. */
    TRIE_NEAR_EXACT,
    TRIE_NEAR_PREFIX,
};

/* What a value stands for, the caller's: where a key is a leaf's only one it lies in that node, so
 * that who looks it up is spared another cache line. */
struct trie_near {
    void *what;        /* NULL: nothing */
    const void *about; /* it */
    uint16_t mark;     /* of it */
};

/* Half a cache line: with 100,000 keys the last nodes of a way are misses. */
struct trie_node {
    alignas(32) char label[TRIE_LABEL]; /* follows the byte that led here */
    union {
        struct {
            uint8_t keys[TRIE_KEYS]; /* first bytes of the children, ascending */
            uint32_t exact;          /* value of the key that ends here; 0: none */
            uint32_t prefix;         /* value of the prefix key that ends here; 0: none */
        };
        struct { /* TRIE_NEAR_ */
            void *what;
            const void *about;
        };
    };
    union {
        uint32_t first; /* first child; TRIE_WIDE: offset in the forest's table */
        uint32_t value; /* TRIE_NEAR_ */
    };
    uint8_t n_label;
    uint8_t fan; /* enum trie_fan */
    union {
        uint16_t n_keys; /* children, at most 256 */
        uint16_t mark;   /* TRIE_NEAR_ */
    };
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

struct trie_hit {
    uint32_t exact;               /* value of the key equal to the subject; 0: none */
    uint32_t prefix;              /* value of the longest prefix key, ended by a border; 0: none */
    const struct trie_node *node; /* of exact; with none, of prefix; NULL: of neither */
};

/* Which of a key's two values. */
enum trie_kind { TRIE_EXACT, TRIE_PREFIX };

/* The node has one value and no child. */
static inline bool trie_is_near(const struct trie_node *t)
{
    return t->fan >= TRIE_NEAR_EXACT;
}

/* The value of the key that ends at t; 0: none. */
static inline uint32_t trie_value(const struct trie_node *t, enum trie_kind kind)
{
    if (trie_is_near(t))
        return (t->fan == TRIE_NEAR_EXACT) == (kind == TRIE_EXACT) ? t->value : 0;
    return kind == TRIE_EXACT ? t->exact : t->prefix;
}

/* The n <= TRIE_LABEL bytes of a label are at p. */
static inline bool trie_label_at(const char *p, const char *label, size_t n)
{
    if (n == 8)
        return memcmp(p, label, 8) == 0;
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

/* The child of t, which may have some, under byte c, or 0. All keys are compared at a time. */
static inline uint32_t trie_child(const struct forest *f, const struct trie_node *t, uint8_t c)
{
    if (t->fan == TRIE_DENSE) {
        uint32_t at = (uint32_t) c - t->keys[0];
        return at < t->n_keys ? t->first + at : 0;
    }
    if (t->fan == TRIE_WIDE)
        return f->table[t->first + c];
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t x;
    memcpy(&x, t->keys, TRIE_KEYS);
    x ^= ones * c;
    uint64_t zero = (x - ones) & ~x & (ones << 7);
    uint32_t at = zero ? (uint32_t) __builtin_ctzll(zero) / 8 : TRIE_KEYS;
    return at < t->n_keys ? t->first + at : 0;
}

/* Whether the prefix key that ends where at bytes of s are read matches s. */
static inline bool trie_at_border(struct str s, size_t at, struct trie_border border)
{
    return at == s.n ? border.at_end : s.p[at] == border.byte;
}

/* forest_find, once it is at a node without children. */
static inline void trie_near_hit(const struct trie_node *t, struct str s, size_t at,
                                 struct trie_border border, struct trie_hit *hit)
{
    if (t->fan == TRIE_NEAR_EXACT) {
        if (at < s.n)
            return;
        hit->exact = t->value;
    } else if (trie_at_border(s, at, border)) {
        hit->prefix = t->value;
    } else {
        return;
    }
    hit->node = t;
}

/* Looks s up in the trie at root. Never allocates. */
static inline struct trie_hit forest_find(const struct forest *f, uint32_t root, struct str s,
                                          struct trie_border border)
{
    struct trie_hit hit = {0, 0, NULL};
    size_t at = 0;
    while (root) {
        const struct trie_node *t = &f->nodes[root];
        size_t n = t->n_label;
        if (n) {
            if (s.n - at < n || !trie_label_at(s.p + at, t->label, n))
                break;
            at += n;
        }
        if (trie_is_near(t)) {
            trie_near_hit(t, s, at, border, &hit);
            break;
        }
        if (t->prefix && trie_at_border(s, at, border)) {
            hit.prefix = t->prefix;
            hit.node = t;
        }
        if (at == s.n) {
            hit.exact = t->exact;
            hit.node = t->exact ? t : hit.node;
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

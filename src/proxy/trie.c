/* SPDX-License-Identifier: Apache-2.0 */
/* trie.c: building tries from sorted keys.
 * Invariants:
 * 1. The children of a node lie side by side, in the order of their first bytes.
 * 2. A key ends at a node's end, never inside a label.
 * 3. Node 0 is unused, so that 0 means none. */
#include "proxy/trie.h"

#include "base/mem.h"
#include "base/panic.h"

/* A build in progress. */
struct build {
    struct forest *f;
    struct trie_border border;
    uint32_t *shorter;
};

/* The keys of one node: sorted, alike in their first depth bytes. */
struct range {
    const struct trie_key *keys;
    size_t n, depth;
    uint32_t enclosing; /* longest prefix key that matches all of them */
};

/* Room for n more nodes side by side; the number of the first. */
static uint32_t nodes_take(struct forest *f, uint32_t n)
{
    if (f->n == 0)
        f->n = 1;
    must(n <= UINT32_MAX / 2 - f->n);
    if (f->n + n > f->cap) {
        uint32_t cap = f->cap * 2 > f->n + n ? f->cap * 2 : f->n + n + 7;
        struct trie_node *nodes = mem_new_aligned(cap * sizeof(*nodes), alignof(struct trie_node));
        if (f->nodes)
            memcpy(nodes, f->nodes, f->n * sizeof(*nodes));
        mem_free(f->nodes);
        f->nodes = nodes;
        f->cap = cap;
    }
    uint32_t first = f->n;
    f->n += n;
    return first;
}

/* A table of 256 zeros; its offset. */
static uint32_t table_take(struct forest *f)
{
    must(f->n_table < UINT32_MAX / 4);
    if (f->n_table + 256 > f->cap_table) {
        f->cap_table = f->cap_table ? f->cap_table * 2 : 1024;
        f->table = mem_resize(f->table, f->cap_table * sizeof(*f->table));
    }
    memset(f->table + f->n_table, 0, 256 * sizeof(*f->table));
    f->n_table += 256;
    return f->n_table - 256;
}

/* Bytes that the first and the last key, and so all between, share from depth on. */
static size_t common(const struct range *r)
{
    struct str a = r->keys[0].key, b = r->keys[r->n - 1].key;
    size_t n = 0;
    while (n < TRIE_LABEL && r->depth + n < a.n && r->depth + n < b.n &&
           a.p[r->depth + n] == b.p[r->depth + n])
        n++;
    return n;
}

/* The byte at depth of key number i. */
static uint8_t byte_of(const struct range *r, size_t i)
{
    return (uint8_t) r->keys[i].key.p[r->depth];
}

/* How many keys from number i on have its byte at depth. */
static size_t run_length(const struct range *r, size_t i)
{
    size_t n = 1;
    while (i + n < r->n && byte_of(r, i + n) == byte_of(r, i))
        n++;
    return n;
}

static void fill(struct build *b, uint32_t at, struct range r);

/* Makes the children of node at from r, whose depth is the node's end. inside: what encloses
 * children behind a border. */
static void fill_children(struct build *b, uint32_t at, const struct range *r, uint32_t inside)
{
    uint32_t n = 0;
    for (size_t i = 0; i < r->n; i += run_length(r, i))
        n++;
    if (n == 0)
        return;
    uint32_t first = nodes_take(b->f, n);
    struct trie_node *t = &b->f->nodes[at];
    uint8_t low = byte_of(r, 0), high = byte_of(r, r->n - 1);
    t->n_keys = (uint16_t) n;
    t->fan = high - low + 1u == n ? TRIE_DENSE : n > TRIE_KEYS ? TRIE_WIDE : TRIE_SPARSE;
    t->first = t->fan == TRIE_WIDE ? table_take(b->f) : first;
    t->keys[0] = low;
    uint32_t child = 0;
    for (size_t i = 0, len; i < r->n; i += len, child++) {
        len = run_length(r, i);
        uint8_t c = byte_of(r, i);
        t = &b->f->nodes[at]; /* may have moved */
        if (t->fan == TRIE_WIDE)
            b->f->table[t->first + c] = first + child;
        else if (t->fan == TRIE_SPARSE)
            t->keys[child] = c;
        fill(b, first + child,
             (struct range){r->keys + i, len, r->depth + 1,
                            c == (uint8_t) b->border.byte ? inside : r->enclosing});
    }
}

/* Fills node at, and all below it, with the keys of r. */
static void fill(struct build *b, uint32_t at, struct range r)
{
    struct trie_node *t = &b->f->nodes[at];
    size_t n = common(&r);
    memcpy(t->label, r.keys[0].key.p + r.depth, n);
    t->n_label = (uint8_t) n;
    r.depth += n;
    uint32_t inside = r.enclosing;
    if (r.keys[0].key.n == r.depth) {
        t->exact = r.keys[0].exact;
        t->prefix = r.keys[0].prefix;
        if (t->prefix) {
            b->shorter[t->prefix] = r.enclosing;
            inside = t->prefix;
        }
        r.keys++;
        r.n--;
    }
    fill_children(b, at, &r, inside);
}

uint32_t forest_add(struct forest *f, const struct trie_key *keys, size_t n,
                    struct trie_border border, uint32_t *shorter)
{
    if (n == 0)
        return 0;
    struct build b = {f, border, shorter};
    uint32_t root = nodes_take(f, 1);
    fill(&b, root, (struct range){keys, n, 0, 0});
    return root;
}

void forest_free(struct forest *f)
{
    mem_free(f->nodes);
    mem_free(f->table);
    *f = (struct forest){0};
}

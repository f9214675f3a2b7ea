/* SPDX-License-Identifier: Apache-2.0 */
/* trie.c: building tries from sorted keys; looking for all prefixes.
 * Invariants (of every trie, also of one that trie_change.c made):
 * 1. The children of a node lie side by side, in the order of their first bytes.
 * 2. A key ends at a node's end, never inside a label.
 * 3. Node 0 is unused, so that 0 means none. */
#include "proxy/trie.h"

#include "base/panic.h"
#include "proxy/trie_inside.h"

void trie_store_init(struct trie_store *s)
{
    *s = (struct trie_store){0};
    slab_init(&s->nodes, sizeof(struct trie_node));
    slab_init(&s->table, sizeof(uint32_t));
}

void trie_store_fini(struct trie_store *s)
{
    slab_fini(&s->nodes);
    slab_fini(&s->table);
}

struct forest trie_store_view(const struct trie_store *s)
{
    return (struct forest){s->nodes.memory ? slab_at(&s->nodes, 0) : NULL,
                           s->table.memory ? slab_at(&s->table, 0) : NULL};
}

uint32_t trie_block(struct trie_store *s, struct slab *of, uint32_t n)
{
    uint32_t at = slab_take(of, n);
    if (s->made)
        s->made(s->arg, of, at, n);
    return at;
}

void trie_set_children(struct trie_store *s, uint32_t at, const uint8_t *bytes, uint32_t n,
                       uint32_t first)
{
    bool dense = n == 0 || bytes[n - 1] - bytes[0] + 1u == n;
    uint8_t fan = dense ? TRIE_DENSE : n > TRIE_KEYS ? TRIE_WIDE : TRIE_SPARSE;
    uint32_t table = fan == TRIE_WIDE ? trie_block(s, &s->table, 256) : 0;
    struct trie_node *t = slab_at(&s->nodes, at);
    memset(t->keys, 0, sizeof(t->keys));
    t->fan = fan;
    t->n_keys = (uint16_t) n;
    t->first = table ? table : first;
    for (uint32_t i = 0; table && i < n; i++)
        *(uint32_t *) slab_at(&s->table, table + bytes[i]) = first + i;
    if (fan == TRIE_SPARSE)
        memcpy(t->keys, bytes, n < TRIE_KEYS ? n : TRIE_KEYS);
    else if (fan == TRIE_DENSE && n)
        t->keys[0] = bytes[0];
}

void trie_set_near(struct trie_store *s, uint32_t at, struct trie_near near)
{
    struct trie_node *t = slab_at(&s->nodes, at);
    uint32_t exact = t->exact, prefix = t->prefix;
    if (t->n_keys || (exact == 0) == (prefix == 0) || !near.what)
        return;
    t->fan = exact ? TRIE_NEAR_EXACT : TRIE_NEAR_PREFIX;
    t->value = exact + prefix;
    t->what = near.what;
    t->about = near.about;
    t->mark = near.mark;
}

/* ---- building ------------------------------------------------------------------------------ */

/* The keys of one node: sorted, alike in their first depth bytes. */
struct range {
    const struct trie_key *keys;
    size_t n, depth;
};

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

/* Fills node at, and all below it, with the keys of r. */
static void fill(struct trie_store *s, uint32_t at, struct range r)
{
    struct trie_node *t = slab_at(&s->nodes, at);
    const struct trie_key *first_key = r.keys;
    uint8_t bytes[256];
    uint32_t n_children = 0, child = 0;
    size_t n = common(&r), len;
    memcpy(t->label, r.keys[0].key.p + r.depth, n);
    t->n_label = (uint8_t) n;
    r.depth += n;
    if (r.keys[0].key.n == r.depth) {
        t->exact = r.keys[0].exact;
        t->prefix = r.keys[0].prefix;
        r.keys++;
        r.n--;
    }
    for (size_t i = 0; i < r.n; i += run_length(&r, i))
        bytes[n_children++] = byte_of(&r, i);
    if (n_children == 0) {
        trie_set_near(s, at, first_key->near);
        return;
    }
    uint32_t first = trie_block(s, &s->nodes, n_children);
    trie_set_children(s, at, bytes, n_children, first);
    for (size_t i = 0; i < r.n; i += len) {
        len = run_length(&r, i);
        fill(s, first + child++, (struct range){r.keys + i, len, r.depth + 1});
    }
}

uint32_t trie_make(struct trie_store *s, const struct trie_key *keys, size_t n)
{
    if (n == 0)
        return 0;
    uint32_t root = trie_block(s, &s->nodes, 1);
    fill(s, root, (struct range){keys, n, 0});
    return root;
}

/* ---- all prefixes -------------------------------------------------------------------------- */

uint32_t forest_prefixes(const struct forest *f, uint32_t root, struct str s,
                         struct trie_border border, uint32_t want, uint32_t *value)
{
    uint32_t found = 0;
    size_t at = 0;
    *value = 0;
    while (root) {
        const struct trie_node *t = &f->nodes[root];
        if (s.n - at < t->n_label || !trie_label_at(s.p + at, t->label, t->n_label))
            break;
        at += t->n_label;
        uint32_t prefix = trie_value(t, TRIE_PREFIX);
        if (prefix && trie_at_border(s, at, border)) {
            if (found == want)
                *value = prefix;
            found++;
        }
        if (at == s.n || trie_is_near(t))
            break;
        root = trie_child(f, t, (uint8_t) s.p[at++]);
    }
    return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* trie_change.c: tries that differ in one key. The nodes on the key's way are copied, with those
 * beside them, for children lie side by side; everything below the other ones is shared.
 * Invariants:
 * 1. Nothing that the old root leads to is written to.
 * 2. Each block that the old root leads to and the new one does not is told of once.
 * 3. But for the root, a node has a value or two children at least, or its label and its only
 *    child's do not fit into one node: so tries stay as small as built ones. */
#include "base/panic.h"
#include "proxy/trie_inside.h"

static struct trie_node *node(const struct trie_store *s, uint32_t at)
{
    return slab_at(&s->nodes, at);
}

static void leave(struct trie_store *s, const struct slab *of, uint32_t at, uint32_t n)
{
    if (s->left)
        s->left(s->arg, of, at, n);
}

static uint32_t child_of(const struct trie_store *s, uint32_t at, uint8_t byte)
{
    struct forest f = trie_store_view(s);
    return trie_is_near(node(s, at)) ? 0 : trie_child(&f, node(s, at), byte);
}

/* A leaf forgets what its value stands for: it may get children, or another value. */
static void forget_near(struct trie_node *t)
{
    if (!trie_is_near(t))
        return;
    uint32_t exact = trie_value(t, TRIE_EXACT), prefix = trie_value(t, TRIE_PREFIX);
    t->fan = TRIE_DENSE;
    t->n_keys = 0;
    t->first = 0;
    t->exact = exact;
    t->prefix = prefix;
    memset(t->keys, 0, sizeof(t->keys));
}

/* The first bytes of a node's children, ascending; *first: the number of the first child. */
static uint32_t children_of(const struct trie_store *s, uint32_t at, uint8_t bytes[256],
                            uint32_t *first)
{
    const struct trie_node *t = node(s, at);
    uint32_t n = t->n_keys;
    *first = t->first;
    if (t->fan == TRIE_SPARSE)
        memcpy(bytes, t->keys, n);
    for (uint32_t i = 0; t->fan == TRIE_DENSE && i < n; i++)
        bytes[i] = (uint8_t) (t->keys[0] + i);
    if (t->fan != TRIE_WIDE)
        return n;
    uint32_t found = 0;
    for (uint32_t c = 0; c < 256; c++) {
        uint32_t child = *(uint32_t *) slab_at(&s->table, t->first + c);
        if (!child)
            continue;
        *first = found ? *first : child;
        bytes[found++] = (uint8_t) c;
    }
    return n;
}

static void leave_children(struct trie_store *s, uint32_t table, uint32_t first, uint32_t n)
{
    if (table)
        leave(s, &s->table, table, 256);
    if (n)
        leave(s, &s->nodes, first, n);
}

/* Gives node at, which is new, copies of its children in place of them, with one more under byte
 * where there was none. Returns the number of the child under byte. */
static uint32_t own_child(struct trie_store *s, uint32_t at, uint8_t byte)
{
    uint8_t bytes[257];
    forget_near(node(s, at));
    uint32_t old, n = children_of(s, at, bytes, &old), i = 0;
    while (i < n && bytes[i] < byte)
        i++;
    bool there = i < n && bytes[i] == byte;
    uint32_t table = node(s, at)->fan == TRIE_WIDE ? node(s, at)->first : 0;
    uint32_t first = trie_block(s, &s->nodes, there ? n : n + 1);
    size_t size = sizeof(struct trie_node);
    memcpy(node(s, first), node(s, old), i * size);
    memcpy(node(s, there ? first + i : first + i + 1), node(s, old + i), (n - i) * size);
    leave_children(s, table, old, n);
    if (!there) {
        memmove(bytes + i + 1, bytes + i, n - i);
        bytes[i] = byte;
        n++;
    }
    trie_set_children(s, at, bytes, n, first);
    return first + i;
}

/* Takes the child under byte away from node at, which is new; its siblings are copied. */
static void drop_child(struct trie_store *s, uint32_t at, uint8_t byte)
{
    uint8_t bytes[256];
    uint32_t old, n = children_of(s, at, bytes, &old), i = 0;
    while (bytes[i] != byte)
        i++;
    uint32_t table = node(s, at)->fan == TRIE_WIDE ? node(s, at)->first : 0;
    uint32_t first = n > 1 ? trie_block(s, &s->nodes, n - 1) : 0;
    size_t size = sizeof(struct trie_node);
    if (first) {
        memcpy(node(s, first), node(s, old), i * size);
        memcpy(node(s, first + i), node(s, old + i + 1), (n - i - 1) * size);
    }
    leave_children(s, table, old, n);
    memmove(bytes + i, bytes + i + 1, n - i - 1);
    trie_set_children(s, at, bytes, n - 1, first);
}

/* A copy of the root, or an empty node. */
static uint32_t own_root(struct trie_store *s, uint32_t root)
{
    uint32_t at = trie_block(s, &s->nodes, 1);
    if (root) {
        *node(s, at) = *node(s, root);
        leave(s, &s->nodes, root, 1);
    }
    return at;
}

/* Bytes of the node's label that key has from pos on. */
static uint32_t common_label(const struct trie_node *t, struct str key, size_t pos)
{
    uint32_t n = 0;
    while (n < t->n_label && pos + n < key.n && t->label[n] == key.p[pos + n])
        n++;
    return n;
}

/* Node at, which is new, and its only child become one, if they fit. True: they did. */
static bool merge(struct trie_store *s, uint32_t at)
{
    struct trie_node *t = node(s, at);
    if (trie_is_near(t) || t->exact || t->prefix || t->n_keys != 1)
        return false;
    uint32_t child = t->first;
    const struct trie_node *below = node(s, child);
    if (t->n_label + 1u + below->n_label > TRIE_LABEL)
        return false;
    struct trie_node one = *below;
    memcpy(one.label, t->label, t->n_label);
    one.label[t->n_label] = (char) t->keys[0];
    memcpy(one.label + t->n_label + 1, below->label, below->n_label);
    one.n_label = (uint8_t) (t->n_label + 1u + below->n_label);
    *t = one;
    leave(s, &s->nodes, child, 1);
    return true;
}

/* ---- putting ------------------------------------------------------------------------------- */

/* Node at, which is new, keeps the first n bytes of its label; what is behind becomes its child. */
static void split(struct trie_store *s, uint32_t at, uint32_t n)
{
    uint32_t child = trie_block(s, &s->nodes, 1);
    struct trie_node *t = node(s, at), *below = node(s, child);
    uint8_t byte = (uint8_t) t->label[n];
    *below = *t;
    below->n_label = (uint8_t) (t->n_label - n - 1);
    memset(below->label, 0, TRIE_LABEL);
    memcpy(below->label, t->label + n + 1, below->n_label);
    t->exact = t->prefix = 0;
    t->n_label = (uint8_t) n;
    trie_set_children(s, at, &byte, 1, child);
    (void) merge(s, child); /* its label is shorter: what was a chain may fit */
}

/* Node at, which is empty, gets the rest of key; returns the node that it ends at. */
static uint32_t chain(struct trie_store *s, uint32_t at, struct str key, size_t pos)
{
    for (;;) {
        struct trie_node *t = node(s, at);
        size_t n = key.n - pos < TRIE_LABEL ? key.n - pos : TRIE_LABEL;
        memcpy(t->label, key.p + pos, n);
        t->n_label = (uint8_t) n;
        pos += n;
        if (pos == key.n)
            return at;
        uint8_t byte = (uint8_t) key.p[pos++];
        uint32_t child = trie_block(s, &s->nodes, 1);
        trie_set_children(s, at, &byte, 1, child);
        at = child;
    }
}

/* The node that key ends at, with new ones on the way to it. */
static uint32_t own_way(struct trie_store *s, uint32_t at, struct str key)
{
    uint32_t above = 0;
    size_t pos = 0;
    for (;;) {
        uint32_t n = common_label(node(s, at), key, pos);
        if (n < node(s, at)->n_label) {
            split(s, at, n);
            at = above && merge(s, above) ? above : at;
        }
        pos += n;
        if (pos == key.n)
            return at;
        uint8_t byte = (uint8_t) key.p[pos++];
        bool there = child_of(s, at, byte) != 0;
        above = at;
        at = own_child(s, at, byte);
        if (!there)
            return chain(s, at, key, pos);
    }
}

static void set_value(struct trie_node *t, enum trie_kind kind, uint32_t value)
{
    forget_near(t);
    if (kind == TRIE_EXACT)
        t->exact = value;
    else
        t->prefix = value;
}

uint32_t trie_put(struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind,
                  uint32_t value, struct trie_near near)
{
    uint32_t to = own_root(s, root);
    uint32_t at = root ? own_way(s, to, key) : chain(s, to, key, 0);
    set_value(node(s, at), kind, value);
    trie_set_near(s, at, near);
    return to;
}

/* ---- looking ------------------------------------------------------------------------------- */

/* The node that key ends at, or 0. */
static uint32_t find(const struct trie_store *s, uint32_t at, struct str key)
{
    size_t pos = 0;
    while (at) {
        const struct trie_node *t = node(s, at);
        if (common_label(t, key, pos) < t->n_label)
            return 0;
        pos += t->n_label;
        if (pos == key.n)
            return at;
        at = child_of(s, at, (uint8_t) key.p[pos++]);
    }
    return 0;
}

uint32_t trie_get(const struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind)
{
    uint32_t at = find(s, root, key);
    if (!at)
        return 0;
    return trie_value(node(s, at), kind);
}

/* ---- taking -------------------------------------------------------------------------------- */

/* Where a trie is cut to lose the node that a key ends at. */
struct cut {
    bool found;
    size_t pos; /* in the key: of the byte that leads away from the node that stays */
};

/* The last node before key's end that has something else to hold. */
static struct cut find_cut(const struct trie_store *s, uint32_t at, struct str key)
{
    struct cut cut = {false, 0};
    size_t pos = node(s, at)->n_label;
    while (pos < key.n) {
        const struct trie_node *t = node(s, at);
        if (t->exact || t->prefix || t->n_keys > 1)
            cut = (struct cut){true, pos};
        at = child_of(s, at, (uint8_t) key.p[pos]);
        pos += 1u + node(s, at)->n_label;
    }
    return cut;
}

/* Leaves the chain of only children below node at, which is left with its siblings. */
static void leave_chain(struct trie_store *s, uint32_t at)
{
    while (!trie_is_near(node(s, at)) && node(s, at)->n_keys) {
        at = node(s, at)->first;
        leave(s, &s->nodes, at, 1);
    }
}

/* New nodes from the root's copy on to the one behind whose label key's byte pos is. */
static uint32_t own_way_to(struct trie_store *s, uint32_t at, struct str key, size_t pos)
{
    size_t here = node(s, at)->n_label;
    while (here < pos) {
        at = own_child(s, at, (uint8_t) key.p[here]);
        here += 1u + node(s, at)->n_label;
    }
    return at;
}

uint32_t trie_take(struct trie_store *s, uint32_t root, struct str key, enum trie_kind kind)
{
    uint32_t end = find(s, root, key);
    must(end);
    struct trie_node left = *node(s, end);
    set_value(&left, kind, 0);
    bool stays = left.exact || left.prefix || left.n_keys;
    struct cut cut = stays ? (struct cut){true, key.n} : find_cut(s, root, key);
    if (!cut.found) {
        leave(s, &s->nodes, root, 1);
        leave_chain(s, root);
        return 0;
    }
    uint32_t to = own_root(s, root), at = own_way_to(s, to, key, cut.pos);
    if (stays) {
        set_value(node(s, at), kind, 0);
    } else {
        uint8_t byte = (uint8_t) key.p[cut.pos];
        leave_chain(s, child_of(s, at, byte));
        drop_child(s, at, byte);
    }
    (void) merge(s, at);
    return to;
}

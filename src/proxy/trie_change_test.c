/* SPDX-License-Identifier: Apache-2.0 */
/* Tries that were built, and then changed key by key, find what a plain list finds, stay as small
 * as built ones and tell of every block once. Random keys of any bytes; the seed is printed, and
 * WEIR_SEED=n repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/trie.h"

#define KEYS_MAX 120u
#define KEY_BYTES 60u
#define RUNS 25
#define CHANGES 80
#define LOOKUPS 20

/* A key of the model; value 0: none of that kind. */
struct plain {
    char bytes[KEY_BYTES];
    uint32_t n;
    uint32_t value[2]; /* by enum trie_kind */
    struct trie_near near[2];
};

static uint64_t state;
static struct plain keys[KEYS_MAX];
static uint32_t n_keys;
static unsigned letters, longest; /* of new keys */

static unsigned roll(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned) (state >> 20) % n;
}

static struct str text_of(const struct plain *k)
{
    return str_of(k->bytes, k->n);
}

static struct plain *look(struct str s)
{
    for (uint32_t i = 0; i < n_keys; i++) {
        if (str_eq(text_of(&keys[i]), s))
            return &keys[i];
    }
    return NULL;
}

/* A key that often begins as one does that is there. */
static void roll_key(struct plain *k)
{
    static const char some[] = {'/', 'a', '\x80', '\xff', '\0', '.', 'b', '\x7f', '\xfe', '\x81'};
    *k = (struct plain){0};
    if (n_keys && roll(2)) {
        const struct plain *from = &keys[roll(n_keys)];
        k->n = roll(from->n + 1);
        memcpy(k->bytes, from->bytes, k->n);
    }
    for (unsigned more = roll(longest); more && k->n < KEY_BYTES; more--)
        k->bytes[k->n++] = letters == 256 ? (char) roll(256) : some[roll(letters)];
}

static void roll_value(struct plain *k, unsigned kind)
{
    char *any = (char *) keys;
    k->value[kind] = 1 + roll(1000000);
    k->near[kind] = (struct trie_near){0};
    if (roll(3))
        k->near[kind] = (struct trie_near){any + roll(1000), any + roll(1000), 7};
}

/* ---- what becomes of blocks ---------------------------------------------------------------- */

struct block {
    const struct slab *of;
    uint32_t at, n;
};

static struct block left[4096];
static uint32_t n_left, nodes_made, nodes_left;

static void note_made(void *arg, const struct slab *of, uint32_t at, uint32_t n)
{
    const struct trie_store *s = arg;
    (void) at;
    nodes_made += of == &s->nodes ? n : 0;
}

static void note_left(void *arg, const struct slab *of, uint32_t at, uint32_t n)
{
    const struct trie_store *s = arg;
    for (uint32_t i = 0; i < n_left; i++)
        assert_false(left[i].of == of && left[i].at == at);
    left[n_left++] = (struct block){of, at, n};
    nodes_left += of == &s->nodes ? n : 0;
}

/* Nobody reads what the last change did without: rubbish in it is not seen. */
static void give_back(struct trie_store *s)
{
    for (uint32_t i = 0; i < n_left; i++) {
        struct slab *of = left[i].of == &s->nodes ? &s->nodes : &s->table;
        memset(slab_at(of, left[i].at), 0xee, (size_t) left[i].n * of->size);
        slab_give(of, left[i].at, left[i].n);
    }
    n_left = nodes_made = nodes_left = 0;
}

/* Nodes from there on; none that could be one with its only child. */
static uint32_t count_nodes(const struct trie_store *s, uint32_t at, bool root)
{
    const struct trie_node *t = slab_at(&s->nodes, at);
    struct forest f = trie_store_view(s);
    uint32_t n = 1, only = 0;
    if (trie_is_near(t))
        return n;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint32_t child = trie_child(&f, t, (uint8_t) byte);
        if (!child)
            continue;
        n += count_nodes(s, child, false);
        only = child;
    }
    if (!root && !t->exact && !t->prefix) {
        assert_true(t->n_keys > 0);
        const struct trie_node *below = slab_at(&s->nodes, only);
        assert_true(t->n_keys > 1 || t->n_label + 1u + below->n_label > TRIE_LABEL);
    }
    return n;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static void same_near(const struct trie_node *t, struct trie_near want)
{
    if (!trie_is_near(t))
        return;
    assert_ptr_equal(t->what, want.what);
    assert_ptr_equal(t->about, want.about);
    assert_int_equal(t->mark, want.mark);
}

static void same(const struct trie_store *s, uint32_t root, struct str key,
                 struct trie_border border)
{
    struct forest f = trie_store_view(s);
    const struct plain *exact = look(key), *longest_prefix = NULL;
    uint32_t prefixes[KEY_BYTES + 1], n = 0, value;
    for (size_t i = 0; i <= key.n; i++) {
        const struct plain *k = look(str_sub(key, 0, i));
        if (!k || !k->value[TRIE_PREFIX] || !trie_at_border(key, i, border))
            continue;
        longest_prefix = k;
        prefixes[n++] = k->value[TRIE_PREFIX];
    }
    struct trie_hit hit = forest_find(&f, root, key, border);
    assert_int_equal(hit.exact, exact ? exact->value[TRIE_EXACT] : 0);
    assert_int_equal(hit.prefix, n ? prefixes[n - 1] : 0);
    if (hit.exact)
        same_near(hit.node, exact->near[TRIE_EXACT]);
    else if (hit.prefix)
        same_near(hit.node, longest_prefix->near[TRIE_PREFIX]);
    for (unsigned kind = 0; kind < 2; kind++)
        assert_int_equal(trie_get(s, root, key, (enum trie_kind) kind),
                         exact ? exact->value[kind] : 0);
    assert_int_equal(forest_prefixes(&f, root, key, border, UINT32_MAX, &value), n);
    for (uint32_t i = 0; i < n; i++) {
        (void) forest_prefixes(&f, root, key, border, i, &value);
        assert_int_equal(value, prefixes[i]);
    }
}

static void same_all(const struct trie_store *s, uint32_t root)
{
    static const struct trie_border borders[] = {{'/', true}, {'.', false}};
    struct plain k;
    for (uint32_t i = 0; i < n_keys; i++)
        same(s, root, text_of(&keys[i]), borders[roll(2)]);
    for (unsigned i = 0; i < LOOKUPS; i++) {
        roll_key(&k);
        same(s, root, text_of(&k), borders[roll(2)]);
    }
}

/* ---- changing ------------------------------------------------------------------------------ */

static int compare(const void *a, const void *b)
{
    return str_cmp(text_of(a), text_of(b));
}

static uint32_t build(struct trie_store *s)
{
    struct trie_key made[KEYS_MAX];
    qsort(keys, n_keys, sizeof keys[0], compare);
    for (uint32_t i = 0; i < n_keys; i++)
        made[i] = (struct trie_key){text_of(&keys[i]), keys[i].value[0], keys[i].value[1],
                                    keys[i].near[keys[i].value[0] ? 0 : 1]};
    return trie_make(s, made, n_keys);
}

static uint32_t change(struct trie_store *s, uint32_t root)
{
    unsigned kind = roll(2);
    struct plain fresh, *k = n_keys && roll(2) ? &keys[roll(n_keys)] : NULL;
    if (k && k->value[kind] && roll(3)) {
        root = trie_take(s, root, text_of(k), (enum trie_kind) kind);
        k->value[kind] = 0;
        if (!k->value[0] && !k->value[1])
            *k = keys[--n_keys];
        return root;
    }
    if (!k) {
        roll_key(&fresh);
        k = look(text_of(&fresh));
    }
    if (!k && n_keys == KEYS_MAX)
        return root;
    if (!k) {
        k = &keys[n_keys++];
        *k = fresh;
    }
    roll_value(k, kind);
    return trie_put(s, root, text_of(k), (enum trie_kind) kind, k->value[kind], k->near[kind]);
}

static void run(void)
{
    static const unsigned alphabets[] = {2, 3, 6, 10, 256}, lengths[] = {4, 12, 40};
    struct trie_store s;
    trie_store_init(&s);
    letters = alphabets[roll(5)];
    longest = lengths[roll(3)];
    n_keys = 0;
    for (unsigned tries = roll(60); tries; tries--) {
        struct plain *k = &keys[n_keys];
        roll_key(k);
        if (look(text_of(k)))
            continue;
        roll_value(k, roll(2));
        if (roll(3) == 0)
            roll_value(k, k->value[0] ? 1 : 0);
        n_keys++;
    }
    uint32_t root = build(&s);
    s.made = note_made;
    s.left = note_left;
    s.arg = &s;
    for (unsigned i = 0; i < CHANGES; i++) {
        uint32_t before = root ? count_nodes(&s, root, true) : 0;
        root = change(&s, root);
        uint32_t after = root ? count_nodes(&s, root, true) : 0;
        assert_int_equal(before + nodes_made - nodes_left, after);
        give_back(&s);
        same_all(&s, root);
    }
    trie_store_fini(&s);
}

static void changed_tries_find_what_a_list_finds(void **unused)
{
    (void) unused;
    const char *given = getenv("WEIR_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t) time(NULL);
    printf("WEIR_SEED=%llu\n", (unsigned long long) seed);
    state = seed * 0x9e3779b97f4a7c15u + 1;
    for (unsigned i = 0; i < RUNS; i++)
        run();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(changed_tries_find_what_a_list_finds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

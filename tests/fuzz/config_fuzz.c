/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration: it is read, checked and, when it is good, made into a snapshot
 * with its tests run, or refused with a message; and never anything else. Where its routes can be
 * read one by one they are those of the whole text, and what is read without libyaml is what
 * libyaml reads. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/panic.h"
#include "control/conf_load.h"
#include "control/conf_plain.h"
#include "features/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The routes of the sparse tree are those of a whole one. */
static void compare(struct conf_tree *sparse, struct str text)
{
    struct conf_walk a = {0}, b = {0};
    struct conf_tree *whole = conf_tree_new(text, "fuzz.yaml", &feature_registry);
    must(whole);
    conf_tree_give(sparse, mem_str(text));
    for (const struct conf_node *n; (n = conf_walk_next(whole, &a, true));) {
        const struct conf_node *m = conf_walk_next(sparse, &b, true);
        must(m && m->pos.line == n->pos.line && conf_node_hash(m) == conf_node_hash(n));
    }
    must(!conf_walk_next(sparse, &b, true));
    conf_walk_fini(&a);
    conf_walk_fini(&b);
    conf_tree_unref(whole);
}

static void must_be_same(const struct conf_node *a, const struct conf_node *b)
{
    must(a->kind == b->kind && a->plain == b->plain && a->n == b->n);
    must(a->pos.line == b->pos.line && a->pos.column == b->pos.column);
    must(a->at_key.line == b->at_key.line && a->at_key.column == b->at_key.column);
    must(str_eq(a->key, b->key) && str_eq(a->text, b->text));
    for (a = a->first, b = b->first; a; a = a->next, b = b->next)
        must_be_same(a, b);
}

/* What is read without libyaml is right, and the same for it. */
static void compare_readers(struct str text)
{
    struct arena tree;
    struct conf_errors e;
    arena_init(&tree, NULL, SIZE_MAX);
    conf_errors_init(&e, &tree, "fuzz.yaml");
    const struct conf_node *one = conf_plain(text, &tree, e.file);
    const struct conf_node *other = one ? conf_lex_yaml(text, &tree, &e) : NULL;
    must(!one || (other && e.n == 0));
    if (one)
        must_be_same(one, other);
    conf_errors_fini(&e);
    arena_fini(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *errors = NULL;
    compare_readers(str_of((const char *) bytes, n));
    struct conf_loaded *l =
        conf_load_text(str_of((const char *) bytes, n), "fuzz.yaml", &feature_registry, &errors);
    must((l == NULL) == (errors != NULL));
    mem_free(errors);
    if (!l)
        return 0;
    if (l->sparse)
        compare(l->sparse, str_of((const char *) bytes, n));
    struct conf_trial *t = conf_trial_new(l, &errors);
    must((t == NULL) == (errors != NULL));
    mem_free(errors);
    conf_trial_free(t);
    conf_loaded_free(l);
    return 0;
}

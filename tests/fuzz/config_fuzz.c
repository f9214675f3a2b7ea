/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a configuration: it is read, checked and, when it is good, made into a snapshot
 * with its tests run, or refused with a message; and never anything else. Where its routes can be
 * read one by one they are those of the whole text. */
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/panic.h"
#include "control/conf_load.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    char *errors = NULL;
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

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_load.c: see conf_load.h.
 * Invariants:
 * 1. A trial has a registry of its own: no endpoint that serves sees a configuration that is
 *    refused afterwards. */
#include "control/conf_load.h"

#include "base/file_io.h"
#include "base/mem.h"
#include "control/conf_check.h"
#include "control/conf_node.h"
#include "upstream/upstream.h"

struct conf_trial {
    struct upstream_registry *registry;
    struct snapshot *snapshot;
};

/* ---- trials -------------------------------------------------------------------------------- */

/* starts: certificates may be out of their time. */
static struct conf_trial *trial_new(const struct conf_file *file,
                                    const struct feature_set *features, bool starts,
                                    struct conf_errors *e)
{
    struct conf_trial *t = mem_new(sizeof *t);
    t->registry = upstream_registry_new(1);
    struct snapshot_inputs in = {
        .registry = t->registry, .features = features, .starts = starts, .n_workers = 1};
    t->snapshot = snapshot_build_checked(&file->proxy, file->flat, &in, e);
    if (t->snapshot)
        return t;
    conf_trial_free(t);
    return NULL;
}

struct conf_trial *conf_trial_new(struct conf_loaded *l, char **errors)
{
    struct conf_trial *t = trial_new(l->file, l->features, false, &l->errors);
    *errors = conf_errors_print(&l->errors);
    return t;
}

const struct snapshot *conf_trial_snapshot(const struct conf_trial *t)
{
    return t->snapshot;
}

void conf_trial_free(struct conf_trial *t)
{
    if (!t)
        return;
    snapshot_free(t->snapshot);
    upstream_registry_free(t->registry);
    mem_free(t);
}

/* ---- loading ------------------------------------------------------------------------------- */

static bool tests_pass(const struct conf_file *file, const struct feature_set *features,
                       struct conf_errors *e)
{
    if (file->tests.n == 0)
        return true;
    /* Tests are of routes: whether certificates will do, who builds what is to run decides. */
    struct conf_trial *t = trial_new(file, features, true, e);
    if (t)
        conf_tests_run(file, t->snapshot, e);
    else
        e->unrun = file->tests.n;
    conf_trial_free(t);
    return e->n == 0;
}

/* What a tree says, judged; the tree is not needed afterwards. */
static struct conf_file *read_tree(const struct conf_node *root, const struct feature_set *features,
                                   struct conf_errors *e)
{
    struct conf_file *file = conf_alloc(e->arena, sizeof *file);
    conf_parse(root, features, file, e);
    if (root->kind != CONF_MAP && !conf_is_null(root))
        return NULL; /* that was said, and there is nothing in it to look at */
    conf_check_file(file, e);
    if (e->n == 0) {
        conf_warn_unreachable(file->flat, e);
        return e->untested || tests_pass(file, features, e) ? file : NULL;
    }
    snapshot_judge_files(&file->proxy, e);
    e->unrun = file->tests.n;
    return NULL;
}

/* The names of the routes of the top level, which have none within, in a; NULL: one of them cannot
 * be found by it. */
static const struct str *route_names(const struct conf_file *file, struct arena *a)
{
    const struct flat_routes *flat = file->flat;
    struct str *names = conf_alloc(a, (flat->n + 1) * sizeof *names);
    const struct route_conf *routes = file->proxy.routes.items;
    bool good = flat->n == file->proxy.routes.n;
    for (size_t i = 0; good && i < flat->n; i++) {
        names[i] = flat->v[i].name;
        good = flat->v[i].conf == &routes[i] && !str_starts(names[i], STR("_"));
    }
    return good ? names : NULL;
}

/* sparse (NULL: not wanted): the tree of that kind, for who changes a good text, if it can be. */
static struct conf_file *read_text(struct str text, const struct feature_set *features,
                                   struct conf_errors *e, struct conf_tree **sparse)
{
    struct arena tree;
    arena_init(&tree, NULL, SIZE_MAX);
    struct conf_node *root = conf_lex(text, &tree, e);
    struct conf_file *file = root ? read_tree(root, features, e) : NULL;
    if (file && sparse) {
        const struct str *names = route_names(file, &tree);
        *sparse = names ? conf_tree_sparse(text, e->file, root, names) : NULL;
    }
    arena_fini(&tree);
    return file;
}

struct conf_file *conf_read(struct str text, const struct feature_set *features,
                            struct conf_errors *e)
{
    return read_text(text, features, e, NULL);
}

static struct conf_loaded *loaded_new(const char *name, const struct feature_set *features)
{
    struct conf_loaded *l = mem_new(sizeof *l);
    arena_init(&l->arena, NULL, SIZE_MAX);
    l->features = features;
    conf_errors_init(&l->errors, &l->arena, arena_str(&l->arena, str_c(name)).p);
    return l;
}

struct conf_loaded *conf_load_tree(const struct conf_node *root, const char *name,
                                   const struct feature_set *features)
{
    struct conf_loaded *l = loaded_new(name, features);
    l->file = read_tree(root, features, &l->errors);
    return l;
}

static struct conf_loaded *load_text(struct str text, const char *name,
                                     const struct feature_set *features, bool untested,
                                     char **errors)
{
    struct conf_loaded *l = loaded_new(name, features);
    *errors = NULL;
    l->errors.untested = untested;
    l->file = read_text(text, features, &l->errors, &l->sparse);
    if (l->file)
        return l;
    *errors = conf_errors_print(&l->errors);
    conf_loaded_free(l);
    return NULL;
}

/* For mem_free. NULL: *errors. */
static char *read_bytes(const char *path, size_t *n, char **errors)
{
    char *why = NULL, *bytes = file_read(path, CONF_TEXT_MAX, n, &why);
    if (!bytes)
        *errors = mem_printf("%s\n", why ? why : path);
    mem_free(why);
    return bytes;
}

static struct conf_loaded *load_file(const char *path, const struct feature_set *features,
                                     bool untested, char **errors)
{
    size_t n;
    char *bytes = read_bytes(path, &n, errors);
    if (!bytes)
        return NULL;
    struct conf_loaded *l = load_text(str_of(bytes, n), path, features, untested, errors);
    mem_free(bytes);
    return l;
}

struct conf_loaded *conf_load_text(struct str text, const char *name,
                                   const struct feature_set *features, char **errors)
{
    return load_text(text, name, features, false, errors);
}

struct conf_loaded *conf_load_file(const char *path, const struct feature_set *features,
                                   char **errors)
{
    return load_file(path, features, false, errors);
}

struct conf_loaded *conf_load_untested(const char *path, const struct feature_set *features,
                                       char **errors)
{
    return load_file(path, features, true, errors);
}

/* The members of the top level that are wanted, unchecked. NULL: *errors. */
static struct conf_loaded *load_members(struct str text, const char *name,
                                        const struct feature_set *features,
                                        bool (*wanted)(struct str key), char **errors)
{
    struct arena tree;
    struct conf_loaded *l = loaded_new(name, features);
    arena_init(&tree, NULL, SIZE_MAX);
    struct conf_node *root = conf_lex(text, &tree, &l->errors);
    struct conf_node *some = conf_node_map(&tree, STR(""));
    for (const struct conf_node *n = root ? root->first : NULL; n; n = n->next) {
        if (wanted(n->key))
            conf_node_add(some, conf_node_copy(n, &tree));
    }
    l->file = conf_alloc(&l->arena, sizeof *l->file);
    if (root)
        conf_parse(some, features, l->file, &l->errors);
    *errors = conf_errors_print(&l->errors);
    arena_fini(&tree);
    if (!*errors)
        return l;
    conf_loaded_free(l);
    return NULL;
}

static bool is_admin(struct str key)
{
    return str_eq(key, STR("admin"));
}

struct conf_loaded *conf_load_admin(const char *path, const struct feature_set *features,
                                    char **errors)
{
    size_t n;
    char *bytes = read_bytes(path, &n, errors);
    if (!bytes)
        return NULL;
    struct conf_loaded *l = load_members(str_of(bytes, n), path, features, is_admin, errors);
    mem_free(bytes);
    return l;
}

static bool is_setting(struct str key)
{
    return !str_eq(key, STR("routes")) && !str_eq(key, STR("upstreams")) &&
           !str_eq(key, STR("tests"));
}

struct conf_loaded *conf_load_settings(struct str text, const char *name,
                                       const struct feature_set *features)
{
    char *errors = NULL;
    struct conf_loaded *l = load_members(text, name, features, is_setting, &errors);
    mem_free(errors);
    return l;
}

void conf_loaded_free(struct conf_loaded *l)
{
    if (!l)
        return;
    conf_tree_unref(l->sparse);
    conf_errors_fini(&l->errors);
    arena_fini(&l->arena);
    mem_free(l);
}

struct snapshot *conf_loaded_snapshot(struct conf_loaded *l, const struct snapshot_inputs *in,
                                      char **errors)
{
    struct snapshot *s = snapshot_build_checked(&l->file->proxy, l->file->flat, in, &l->errors);
    *errors = conf_errors_print(&l->errors);
    return s;
}

/* ---- what a reload cannot do --------------------------------------------------------------- */

static char *add_name(char *names, const char *name)
{
    char *all = names ? mem_printf("%s, %s", names, name) : mem_printf("%s", name);
    mem_free(names);
    return all;
}

/* The rows of table below which something that is not reloadable differs. */
static bool fixed_differs(const struct schema_field *f, const char *a, const char *b)
{
    if (!f->reloadable)
        return !schema_equal_value(f, a, b);
    if (f->type != SCHEMA_OBJECT)
        return false;
    const struct schema_field *row;
    size_t base;
    for (size_t i = 0; (row = schema_row(f->sub, i, &base)); i++) {
        if (fixed_differs(row, a + base + row->offset, b + base + row->offset))
            return true;
    }
    return false;
}

/* Appends the rows that are not reloadable and differ between listeners of one address. */
static char *add_listeners(char *names, const struct conf_file *running,
                           const struct conf_file *loaded)
{
    const struct schema_list *old = &running->proxy.listeners, *now = &loaded->proxy.listeners;
    const struct listener_conf *a = old->items, *b = now->items;
    const struct schema_field *f;
    size_t base;
    for (size_t r = 0; (f = schema_row(&listener_schema, r, &base)); r++) {
        bool differs = false;
        size_t at = base + f->offset;
        for (size_t i = 0; i < old->n * now->n; i++) {
            const struct listener_conf *x = &a[i / now->n], *y = &b[i % now->n];
            differs |= str_eq(x->address, y->address) &&
                       fixed_differs(f, (const char *) x + at, (const char *) y + at);
        }
        if (!differs)
            continue;
        char *name = mem_printf("listeners[].%s", f->name);
        names = add_name(names, name);
        mem_free(name);
    }
    return names;
}

char *conf_restart_needed(const struct conf_file *running, const struct conf_file *loaded,
                          const struct feature_set *features)
{
    char *names = NULL;
    const struct schema_field *f;
    size_t base;
    for (size_t i = 0; (f = schema_row(&file_schema, i, &base)); i++) {
        size_t at = base + f->offset;
        if (fixed_differs(f, (const char *) running + at, (const char *) loaded + at))
            names = add_name(names, f->name);
    }
    names = add_listeners(names, running, loaded);
    for (uint32_t i = 0; i < features->n; i++) {
        const struct feature *one = features->v[i];
        if (!one->conf || !running->proxy.features[i] || !loaded->proxy.features[i])
            continue; /* what C code made says nothing of features */
        const struct schema_field row = {
            .type = SCHEMA_OBJECT, .sub = one->conf, .reloadable = true};
        if (fixed_differs(&row, running->proxy.features[i], loaded->proxy.features[i]))
            names = add_name(names, one->name);
    }
    return names;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_tree.c: see conf_tree.h.
 * Invariants:
 * 1. The nodes that edits write to (root, lists of routes, routes, upstreams, lists of endpoints,
 *    endpoints) belong to the tree that is edited; what hangs below them may be shared with `from`
 *    and is never written to.
 * 2. routes has exactly the named routes below root.
 * 3. In a sparse tree routes has what was asked for or changed; changed has, of these, what is no
 *    longer as the text says. Only one made by conf_tree_edit is changed. */
#include "control/conf_tree.h"

#include "base/mem.h"
#include "control/conf_check.h"
#include "control/conf_file.h"

/* ---- finding ------------------------------------------------------------------------------- */

static struct str text_of(const struct conf_node *map, const char *key)
{
    const struct conf_node *n = map->kind == CONF_MAP ? conf_member(map, key) : NULL;
    return n && n->kind == CONF_SCALAR ? n->text : STR("");
}

static struct conf_node *list_of(const struct conf_node *map, const char *key)
{
    struct conf_node *n = map->kind == CONF_MAP ? conf_member(map, key) : NULL;
    return n && n->kind == CONF_LIST ? n : NULL;
}

/* The place of the route of that name; NULL: there is none. */
static struct conf_route_place *place_of(const struct conf_tree *t, struct str name)
{
    struct conf_route_place *p = map_get(&t->routes, name);
    if (p || !t->pieces)
        return p && p->route ? p : NULL;
    struct conf_tree *own = (struct conf_tree *) (uintptr_t) t; /* what is found is only noted */
    size_t i;
    struct conf_node *route = conf_pieces_find(t->pieces, name, &own->arena, t->name, &i);
    if (!route)
        return NULL;
    p = conf_alloc(&own->arena, sizeof *p);
    *p = (struct conf_route_place){.route = route, .piece = i};
    map_set(&own->routes, name, p);
    own->n_read++;
    return p;
}

struct conf_node *conf_tree_route(const struct conf_tree *t, struct str name)
{
    const struct conf_route_place *p = place_of(t, name);
    return p ? p->route : NULL;
}

bool conf_tree_at_top(const struct conf_tree *t, struct str name)
{
    const struct conf_route_place *p = place_of(t, name);
    return p && p->list == (t->pieces ? NULL : list_of(t->root, "routes"));
}

struct conf_node *conf_tree_upstream(const struct conf_tree *t, struct str name)
{
    struct conf_node *all = conf_member(t->root, "upstreams");
    for (struct conf_node *n = all ? all->first : NULL; n; n = n->next) {
        if (str_eq(n->key, name))
            return n;
    }
    return NULL;
}

struct conf_node *conf_tree_endpoint(const struct conf_node *upstream, struct str address)
{
    struct conf_node *all = list_of(upstream, "endpoints");
    for (struct conf_node *n = all ? all->first : NULL; n; n = n->next) {
        if (str_eq(text_of(n, "address"), address))
            return n;
    }
    return NULL;
}

void conf_tree_names(const struct conf_node *route, void (*fn)(void *arg, struct str name),
                     void *arg)
{
    struct str name = text_of(route, "name");
    const struct conf_node *inner = list_of(route, "routes");
    if (name.n)
        fn(arg, name);
    for (const struct conf_node *n = inner ? inner->first : NULL; n; n = n->next)
        conf_tree_names(n, fn, arg);
}

uint64_t conf_node_hash(const struct conf_node *n)
{
    struct text text = {0};
    conf_node_print(n, &text);
    uint64_t hash = str_stable_hash(text_str(&text), 1);
    text_fini(&text);
    return hash;
}

/* ---- the index ----------------------------------------------------------------------------- */

static void index_route(struct conf_tree *t, struct conf_route_place at);

static void index_list(struct conf_tree *t, struct conf_node *list)
{
    struct conf_node *before = NULL;
    for (struct conf_node *n = list ? list->first : NULL; n; n = n->next) {
        index_route(t, (struct conf_route_place){.list = list, .route = n, .before = before});
        before = n;
    }
}

static void index_route(struct conf_tree *t, struct conf_route_place at)
{
    struct str name = text_of(at.route, "name");
    if (name.n && !map_get(&t->routes, name)) {
        struct conf_route_place *p = conf_alloc(&t->arena, sizeof *p);
        *p = at;
        map_set(&t->routes, name, p);
    }
    index_list(t, list_of(at.route, "routes"));
}

static void forget_name(void *arg, struct str name)
{
    struct conf_tree *t = arg;
    map_remove(&t->routes, name);
}

/* ---- making -------------------------------------------------------------------------------- */

static struct conf_tree *tree_new(const char *name)
{
    struct conf_tree *t = mem_new(sizeof *t);
    t->refs = 1;
    arena_init(&t->arena, NULL, SIZE_MAX);
    t->name = arena_str(&t->arena, str_c(name)).p;
    return t;
}

struct conf_tree *conf_tree_ref(struct conf_tree *t)
{
    t->refs++;
    return t;
}

void conf_tree_unref(struct conf_tree *t)
{
    while (t && --t->refs == 0) {
        struct conf_tree *from = t->from;
        if (!from)
            conf_pieces_free(t->pieces);
        mem_free(t->added);
        map_fini(&t->changed);
        map_fini(&t->routes);
        arena_fini(&t->arena);
        mem_free(t);
        t = from;
    }
}

/* The value of a short form becomes the map that it stands for, or a single value a list of one:
 * n is of that kind, with the value under key ("" in a list). */
static void spell_out(struct conf_tree *t, struct conf_node *n, enum conf_kind kind,
                      const char *key)
{
    if (n->kind == kind)
        return;
    struct conf_node *value = conf_node_copy(n, &t->arena);
    value->key = str_c(key);
    n->kind = kind;
    n->plain = false;
    n->text = STR("");
    n->first = n->last = NULL;
    n->n = 0;
    conf_node_add(n, value);
}

static void spell_upstreams(struct conf_tree *t)
{
    struct conf_node *all = conf_member(t->root, "upstreams");
    for (struct conf_node *u = all ? all->first : NULL; u; u = u->next) {
        spell_out(t, u, CONF_MAP, "endpoints");
        struct conf_node *endpoints = conf_member(u, "endpoints");
        if (!endpoints)
            continue;
        spell_out(t, endpoints, CONF_LIST, "");
        for (struct conf_node *e = endpoints->first; e; e = e->next)
            spell_out(t, e, CONF_MAP, "address");
    }
}

static void name_routes(struct conf_tree *t, const struct schema_list *routes,
                        const struct conf_node *list, const struct flat_route **at)
{
    const struct route_conf *r = routes->items;
    struct conf_node *n = list ? list->first : NULL;
    for (size_t i = 0; i < routes->n && n; i++, n = n->next) {
        name_routes(t, &r[i].routes, list_of(n, "routes"), at);
        if ((*at)->conf != &r[i])
            continue; /* it has only others within */
        if (r[i].name.n == 0 && !str_starts((*at)->name, STR("_")))
            conf_node_name(n, (*at)->name, &t->arena);
        ++*at;
    }
}

/* Without routes the one upstream gets everything: that is a route, too. */
static void name_only_route(struct conf_tree *t, const struct flat_route *f)
{
    struct conf_node *list = conf_node_map(&t->arena, STR("routes"));
    struct conf_node *route = conf_node_map(&t->arena, STR(""));
    list->kind = CONF_LIST;
    conf_node_add(route, conf_node_text(&t->arena, STR("name"), f->name));
    conf_node_add(route, conf_node_text(&t->arena, STR("to"), f->conf->to));
    conf_node_add(list, route);
    struct conf_node **at = &t->root->first;
    while (*at && !str_eq((*at)->key, STR("routes")))
        at = &(*at)->next;
    if (*at) { /* "routes:" with nothing behind it */
        list->next = (*at)->next;
        if (t->root->last == *at)
            t->root->last = list;
        *at = list;
    } else {
        conf_node_add(t->root, list);
    }
}

static bool all_named(const struct conf_node *list)
{
    for (const struct conf_node *n = list ? list->first : NULL; n; n = n->next) {
        if (text_of(n, "name").n == 0 || !all_named(list_of(n, "routes")))
            return false;
    }
    return true;
}

/* Writes into the tree the names that loading gives. */
static void spell_names(struct conf_tree *t, const struct feature_set *features)
{
    struct arena a;
    struct conf_errors e;
    struct conf_node *list = list_of(t->root, "routes");
    if (list && list->n && all_named(list))
        return;
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, NULL);
    struct conf_file *file = conf_alloc(&a, sizeof *file);
    conf_parse(t->root, features, file, &e);
    struct flat_routes flat = conf_flatten(&file->proxy, &e);
    const struct flat_route *at = flat.v;
    if (e.n == 0 && file->proxy.routes.n)
        name_routes(t, &file->proxy.routes, list, &at);
    else if (e.n == 0 && flat.n == 1)
        name_only_route(t, flat.v);
    conf_errors_fini(&e);
    arena_fini(&a);
}

struct conf_tree *conf_tree_new(struct str text, const char *name,
                                const struct feature_set *features)
{
    struct conf_tree *t = tree_new(name);
    struct conf_errors e;
    conf_errors_init(&e, &t->arena, t->name);
    t->root = conf_lex(text, &t->arena, &e);
    bool good = t->root && e.n == 0;
    if (good && conf_is_null(t->root))
        t->root = conf_node_map(&t->arena, STR(""));
    good = good && t->root->kind == CONF_MAP;
    conf_errors_fini(&e);
    if (!good) {
        conf_tree_unref(t);
        return NULL;
    }
    spell_upstreams(t);
    spell_names(t, features);
    index_list(t, list_of(t->root, "routes"));
    return t;
}

/* ---- sparse trees -------------------------------------------------------------------------- */

/* A copy of n and all below it, but for the routes of root, that owes nothing to n's arena. */
static struct conf_node *copy_all(struct conf_tree *t, const struct conf_node *n, bool root)
{
    struct conf_node *to = conf_node_copy(n, &t->arena);
    to->key = arena_str(&t->arena, n->key.n ? n->key : STR(""));
    to->text = arena_str(&t->arena, n->text.n ? n->text : STR(""));
    to->pos.file = to->at_key.file = t->name;
    to->first = to->last = NULL;
    to->n = 0;
    for (const struct conf_node *c = n->first; c; c = c->next) {
        if (root && str_eq(c->key, STR("routes"))) {
            struct conf_node *list = conf_node_map(&t->arena, STR("routes"));
            list->kind = CONF_LIST;
            conf_node_add(to, list);
        } else {
            conf_node_add(to, copy_all(t, c, false));
        }
    }
    return to;
}

struct conf_tree *conf_tree_sparse(struct str text, const char *name, const struct conf_node *root,
                                   const struct str *names)
{
    struct conf_pieces *pieces = conf_pieces_new(text, root, names);
    if (!pieces)
        return NULL;
    struct conf_tree *t = tree_new(name);
    t->pieces = pieces;
    t->root = copy_all(t, root, true);
    spell_upstreams(t);
    return t;
}

void conf_tree_give(struct conf_tree *sparse, struct str text)
{
    conf_pieces_give(sparse->pieces, text);
}

static struct str number_key(const size_t *i)
{
    return str_of((const char *) i, sizeof *i);
}

/* The next of a sparse tree. */
static const struct conf_node *next_piece(const struct conf_tree *t, struct conf_walk *w, bool read)
{
    size_t n = conf_pieces_count(t->pieces);
    while (w->i < n) {
        size_t i = w->i++;
        const struct conf_route_place *p = map_get(&t->changed, number_key(&i));
        if (p && !p->route)
            continue;
        if (p || !read)
            return p ? p->route : t->root;
        arena_fini(&w->room);
        arena_init(&w->room, NULL, SIZE_MAX);
        return conf_pieces_read(t->pieces, i, &w->room, t->name);
    }
    while (w->i - n < t->n_added) {
        const struct conf_route_place *p = t->added[w->i++ - n];
        if (p->route)
            return p->route;
    }
    return NULL;
}

const struct conf_node *conf_walk_next(const struct conf_tree *t, struct conf_walk *w, bool read)
{
    if (t->pieces)
        return next_piece(t, w, read);
    const struct conf_node *list = w->begun ? NULL : list_of(t->root, "routes"), *n = w->next;
    if (!w->begun)
        n = list ? list->first : NULL;
    w->begun = true;
    w->next = n ? n->next : NULL;
    return n;
}

void conf_walk_fini(struct conf_walk *w)
{
    arena_fini(&w->room);
}

/* A route comes behind the pieces. */
static void add_place(struct conf_tree *t, struct str name, const struct conf_node *route)
{
    struct conf_route_place *p = conf_alloc(&t->arena, sizeof *p);
    *p = (struct conf_route_place){.route = conf_node_copy(route, &t->arena), .piece = SIZE_MAX};
    if ((t->n_added & (t->n_added - 1)) == 0)
        t->added = mem_resize(t->added, (t->n_added ? t->n_added * 2 : 1) * sizeof(void *));
    t->added[t->n_added++] = p;
    map_set(&t->routes, name, p);
}

/* p's route is another one; NULL: none. */
static void change_place(struct conf_tree *t, struct conf_route_place *p, struct conf_node *route)
{
    p->route = route;
    if (p->piece != SIZE_MAX)
        map_set(&t->changed, number_key(&p->piece), p);
}

/* ---- editing ------------------------------------------------------------------------------- */

/* A copy of n whose children are copies, each made by copy. */
static struct conf_node *copy_with(struct conf_tree *t, const struct conf_node *n,
                                   struct conf_node *(*copy)(struct conf_tree *t,
                                                             const struct conf_node *child))
{
    struct conf_node *to = conf_node_copy(n, &t->arena);
    to->first = to->last = NULL;
    to->n = 0;
    for (const struct conf_node *c = n->first; c; c = c->next)
        conf_node_add(to, copy(t, c));
    return to;
}

static struct conf_node *copy_leaf(struct conf_tree *t, const struct conf_node *n)
{
    return conf_node_copy(n, &t->arena);
}

static struct conf_node *copy_route(struct conf_tree *t, const struct conf_node *n);

static struct conf_node *copy_route_member(struct conf_tree *t, const struct conf_node *n)
{
    bool routes = str_eq(n->key, STR("routes")) && n->kind == CONF_LIST;
    return routes ? copy_with(t, n, copy_route) : copy_leaf(t, n);
}

static struct conf_node *copy_route(struct conf_tree *t, const struct conf_node *n)
{
    return list_of(n, "routes") ? copy_with(t, n, copy_route_member) : copy_leaf(t, n);
}

static struct conf_node *copy_endpoint(struct conf_tree *t, const struct conf_node *n)
{
    return copy_with(t, n, copy_leaf);
}

static struct conf_node *copy_upstream_member(struct conf_tree *t, const struct conf_node *n)
{
    bool endpoints = str_eq(n->key, STR("endpoints")) && n->kind == CONF_LIST;
    return endpoints ? copy_with(t, n, copy_endpoint) : copy_leaf(t, n);
}

static struct conf_node *copy_upstream(struct conf_tree *t, const struct conf_node *n)
{
    return copy_with(t, n, copy_upstream_member);
}

static struct conf_node *copy_top(struct conf_tree *t, const struct conf_node *n)
{
    if (str_eq(n->key, STR("upstreams")) && n->kind == CONF_MAP)
        return copy_with(t, n, copy_upstream);
    return copy_route_member(t, n);
}

struct conf_tree *conf_tree_edit(struct conf_tree *from)
{
    struct conf_tree *t = tree_new(from->name);
    t->from = conf_tree_ref(from);
    t->pieces = from->pieces;
    t->root = copy_with(t, from->root, copy_top);
    index_list(t, list_of(t->root, "routes"));
    return t;
}

/* Takes n out of its parent; before: the child in front of it, if that is known; false: it is not
 * in it. */
static bool take_out(struct conf_node *parent, const struct conf_node *n, struct conf_node *before)
{
    if (before && before->next != n)
        before = NULL;
    for (struct conf_node **at = before ? &before->next : &parent->first; *at; at = &(*at)->next) {
        if (*at == n) {
            *at = n->next;
            if (parent->last == n)
                parent->last = before;
            parent->n--;
            return true;
        }
        before = *at;
    }
    return false;
}

/* n becomes what `as` is, in its place. */
static void become(struct conf_node *n, const struct conf_node *as)
{
    struct conf_node *next = n->next;
    struct str key = n->key;
    *n = *as;
    n->next = next;
    n->key = key;
}

/* The list of that key in a map of t's own, made when it is missing. */
static struct conf_node *own_list(struct conf_tree *t, struct conf_node *map, const char *key)
{
    struct conf_node *list = list_of(map, key);
    if (list)
        return list;
    struct conf_node *null = conf_member(map, key);
    if (null)
        take_out(map, null, NULL);
    list = conf_node_map(&t->arena, str_c(key));
    list->kind = CONF_LIST;
    conf_node_add(map, list);
    return list;
}

/* The route itself may share its members with `from`. */
static void own_members(struct conf_tree *t, struct conf_node *route)
{
    if (!list_of(route, "routes"))
        become(route, copy_with(t, route, copy_leaf));
}

bool conf_tree_put_route(struct conf_tree *t, struct str name, struct str within,
                         const struct conf_node *route)
{
    struct conf_route_place *p = place_of(t, name);
    if (t->pieces) {
        must(within.n == 0);
        if (p)
            change_place(t, p, conf_node_copy(route, &t->arena));
        else
            add_place(t, name, route);
        return true;
    }
    if (p) {
        struct conf_route_place place = *p;
        conf_tree_names(place.route, forget_name, t);
        become(place.route, route);
        index_route(t, place);
        return true;
    }
    struct conf_node *outer = within.n ? conf_tree_route(t, within) : t->root;
    if (!outer)
        return false;
    if (within.n)
        own_members(t, outer);
    struct conf_node *list = own_list(t, outer, "routes");
    struct conf_node *n = conf_node_copy(route, &t->arena);
    struct conf_node *last = list->last;
    conf_node_add(list, n);
    index_route(t, (struct conf_route_place){.list = list, .route = n, .before = last});
    return true;
}

bool conf_tree_remove_route(struct conf_tree *t, struct str name)
{
    struct conf_route_place *p = place_of(t, name);
    if (!p)
        return false;
    if (t->pieces) {
        change_place(t, p, NULL);
        return true;
    }
    struct conf_route_place place = *p;
    struct conf_node *behind = place.route->next;
    conf_tree_names(place.route, forget_name, t);
    if (behind && (p = map_get(&t->routes, text_of(behind, "name"))))
        p->before = place.before;
    bool good = take_out(place.list, place.route, place.before);
    place.route->next = NULL; /* nobody takes it for a neighbour any more */
    return good;
}

void conf_tree_put_endpoint(struct conf_tree *t, struct conf_node *upstream, struct str address,
                            const struct conf_node *endpoint)
{
    struct conf_node *n = conf_tree_endpoint(upstream, address);
    if (n)
        become(n, endpoint);
    else
        conf_node_add(own_list(t, upstream, "endpoints"), conf_node_copy(endpoint, &t->arena));
}

bool conf_tree_remove_endpoint(struct conf_node *upstream, struct str address)
{
    struct conf_node *n = conf_tree_endpoint(upstream, address);
    return n && take_out(list_of(upstream, "endpoints"), n, NULL);
}

void conf_tree_set(struct conf_tree *t, struct conf_node *map, struct str key, struct str text)
{
    struct conf_node *n = conf_node_text(&t->arena, key, text);
    n->plain = true;
    for (struct conf_node *c = map->first; c; c = c->next) {
        if (str_eq(c->key, key)) {
            n->pos = n->at_key = c->pos;
            become(c, n);
            return;
        }
    }
    conf_node_add(map, n);
}

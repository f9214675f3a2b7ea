/* SPDX-License-Identifier: Apache-2.0 */
/* changes.c: see changes.h.
 * Invariants:
 * 1. There is at most one item for a route, an endpoint, a breaker.
 * 2. An item that says what base says is left out.
 * 3. A route stands behind the one that it was added within; one that is replaced stays where it
 *    is, in the list as among the routes. */
#include "control/changes.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- items --------------------------------------------------------------------------------- */

static struct str said(const json_t *item, const char *key)
{
    const json_t *v = json_object_get(item, key);
    return json_is_string(v) ? str_of(json_string_value(v), json_string_length(v)) : STR("");
}

static json_t *string(struct str s)
{
    json_t *v = json_stringn(s.n ? s.p : "", s.n);
    return v ? v : json_string("");
}

static bool is_route(const json_t *item, struct str name)
{
    return json_object_get(item, "route") && str_eq(said(item, "route"), name);
}

static bool is_endpoint(const json_t *item, struct str upstream, struct str address)
{
    return json_object_get(item, "endpoint") && str_eq(said(item, "upstream"), upstream) &&
           str_eq(said(item, "endpoint"), address);
}

static bool form_is_good(const json_t *item)
{
    const json_t *set = json_object_get(item, "set"), *weight = json_object_get(item, "weight");
    bool route = said(item, "route").n, upstream = said(item, "upstream").n;
    if (!json_is_object(item) || (set && !json_is_object(set)) ||
        (weight && !json_is_number(weight)))
        return false;
    if (route)
        return !upstream && (set || json_is_true(json_object_get(item, "removed")));
    return upstream && (said(item, "endpoint").n || said(item, "breaker").n);
}

bool changes_valid(const json_t *list)
{
    size_t i;
    const json_t *item;
    if (!json_is_array(list))
        return false;
    json_array_foreach(list, i, item)
    {
        if (!form_is_good(item))
            return false;
    }
    return true;
}

/* A list of the same items. */
static json_t *copied(const json_t *list)
{
    return json_copy((json_t *) (uintptr_t) list);
}

static void note_was(json_t *item, const struct conf_node *n)
{
    char text[20];
    if (!n)
        return;
    snprintf(text, sizeof text, "%016" PRIx64, conf_node_hash(n));
    json_object_set_new(item, "was", json_string(text));
}

/* The value as a file would be read to say it: 3.0 is 3. */
static json_t *as_in_file(const json_t *value)
{
    struct arena a;
    struct conf_errors e;
    unsigned line = 0;
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, NULL);
    struct conf_node *n = conf_node_of_json(value, &a, &line, &e);
    json_t *v = n ? conf_node_json(n) : json_null();
    conf_errors_fini(&e);
    arena_fini(&a);
    return v;
}

/* The item says of n what n says already. */
static bool same_as(const json_t *body, const struct conf_node *n)
{
    json_t *have = conf_node_json(n), *wanted = as_in_file(body);
    bool same = json_equal(wanted, have);
    json_decref(wanted);
    json_decref(have);
    return same;
}

/* ---- routes -------------------------------------------------------------------------------- */

struct covered {
    json_t *list;
};

static void forget_route(void *arg, struct str name)
{
    const struct covered *c = arg;
    for (size_t i = json_array_size(c->list); i-- > 0;) {
        if (is_route(json_array_get(c->list, i), name))
            json_array_remove(c->list, i);
    }
}

/* A list in which nothing is said of the route and of those within it. */
static json_t *without_route(const json_t *list, const struct conf_tree *now, struct str name)
{
    struct covered c = {copied(list)};
    const struct conf_node *n = conf_tree_route(now, name);
    if (n)
        conf_tree_names(n, forget_route, &c);
    forget_route(&c, name);
    return c.list;
}

/* Where in `to` the item of the route stood in list, of which `to` has a part; the end: nowhere. */
static size_t place_of(const json_t *list, const json_t *to, struct str name)
{
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        if (is_route(item, name))
            return at;
        at += json_array_get(to, at) == item;
    }
    return json_array_size(to);
}

struct str changes_within(const json_t *list, struct str name)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (is_route(item, name))
            return said(item, "within");
    }
    return STR("");
}

json_t *changes_set_route(const json_t *list, const struct conf_tree *base,
                          const struct conf_tree *now, struct str name, struct str within,
                          json_t *route)
{
    const struct conf_node *was = conf_tree_route(base, name);
    json_t *to = without_route(list, now, name);
    if (was && same_as(route, was))
        return to;
    json_t *item = json_object();
    json_object_set_new(item, "route", string(name));
    json_object_set(item, "set", route);
    struct str outer = within.n ? within : changes_within(list, name);
    if (outer.n && !was)
        json_object_set_new(item, "within", string(outer));
    note_was(item, was);
    json_array_insert_new(to, place_of(list, to, name), item);
    return to;
}

json_t *changes_remove_route(const json_t *list, const struct conf_tree *base,
                             const struct conf_tree *now, struct str name)
{
    const struct conf_node *was = conf_tree_route(base, name);
    json_t *to = without_route(list, now, name);
    if (!was)
        return to;
    json_t *item = json_object();
    json_object_set_new(item, "route", string(name));
    json_object_set_new(item, "removed", json_true());
    note_was(item, was);
    json_array_append_new(to, item);
    return to;
}

/* ---- endpoints ----------------------------------------------------------------------------- */

static const struct conf_node *base_endpoint(const struct conf_tree *base, struct str upstream,
                                             struct str address)
{
    const struct conf_node *u = conf_tree_upstream(base, upstream);
    return u ? conf_tree_endpoint(u, address) : NULL;
}

/* Takes the endpoint's item out of list; NULL: there was none. A copy. */
static json_t *take_endpoint(json_t *list, struct str upstream, struct str address)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!is_endpoint(json_array_get(list, i), upstream, address))
            continue;
        json_t *item = json_copy(json_array_get(list, i));
        json_array_remove(list, i);
        return item;
    }
    return NULL;
}

static json_t *endpoint_item(struct str upstream, struct str address)
{
    json_t *item = json_object();
    json_object_set_new(item, "upstream", string(upstream));
    json_object_set_new(item, "endpoint", string(address));
    return item;
}

/* The weight that the file gives an endpoint. */
static double weight_of(const struct conf_node *endpoint)
{
    const struct conf_node *w = conf_member(endpoint, "weight");
    return w && w->kind == CONF_SCALAR ? strtod(w->text.p, NULL) : 1;
}

/* Takes out of an endpoint's item what n, of the file, says as well. */
static void forget_same(json_t *item, const struct conf_node *n)
{
    const json_t *set = json_object_get(item, "set"), *weight = json_object_get(item, "weight");
    if (n && set && same_as(set, n)) {
        json_object_del(item, "set");
        set = NULL;
    }
    if (n && !set && weight && json_number_value(weight) == weight_of(n))
        json_object_del(item, "weight");
    if (!n)
        json_object_del(item, "removed");
}

/* Puts the item back if it still says something. */
static void put_back(json_t *list, json_t *item)
{
    static const char *const says[] = {"set", "removed", "weight", "drained", "breaker"};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        if (json_object_get(item, says[i])) {
            json_array_append_new(list, item);
            return;
        }
    }
    json_decref(item);
}

json_t *changes_set_endpoint(const json_t *list, const struct conf_tree *base, struct str upstream,
                             struct str address, json_t *endpoint)
{
    const struct conf_node *was = base_endpoint(base, upstream, address);
    json_t *to = copied(list);
    json_decref(take_endpoint(to, upstream, address));
    json_t *item = endpoint_item(upstream, address);
    if (endpoint && !(was && same_as(endpoint, was)))
        json_object_set(item, "set", endpoint);
    else if (!endpoint && was)
        json_object_set_new(item, "removed", json_true());
    note_was(item, was);
    put_back(to, item);
    return to;
}

/* The item of an endpoint, out of the list, or a new one. */
static json_t *item_to_change(json_t *list, const struct conf_tree *base, struct str upstream,
                              struct str address)
{
    json_t *item = take_endpoint(list, upstream, address);
    if (!item) {
        item = endpoint_item(upstream, address);
        note_was(item, base_endpoint(base, upstream, address));
    }
    return item;
}

json_t *changes_weigh(const json_t *list, const struct conf_tree *base, struct str upstream,
                      struct str address, double weight)
{
    json_t *to = copied(list), *item = item_to_change(to, base, upstream, address);
    if (weight < 0)
        json_object_del(item, "weight");
    else
        json_object_set_new(item, "weight", conf_json_number(weight));
    forget_same(item, base_endpoint(base, upstream, address));
    put_back(to, item);
    return to;
}

json_t *changes_drain(const json_t *list, const struct conf_tree *base, struct str upstream,
                      struct str address, bool drained)
{
    json_t *to = copied(list), *item = item_to_change(to, base, upstream, address);
    json_object_del(item, "drained");
    if (drained)
        json_object_set_new(item, "drained", json_true());
    put_back(to, item);
    return to;
}

json_t *changes_hold(const json_t *list, struct str upstream, struct str state)
{
    json_t *to = copied(list);
    for (size_t i = json_array_size(to); i-- > 0;) {
        const json_t *item = json_array_get(to, i);
        if (json_object_get(item, "breaker") && str_eq(said(item, "upstream"), upstream))
            json_array_remove(to, i);
    }
    if (str_eq(state, STR("auto")))
        return to;
    json_t *item = json_object();
    json_object_set_new(item, "upstream", string(upstream));
    json_object_set_new(item, "breaker", string(state));
    json_array_append_new(to, item);
    return to;
}

static const json_t *find_endpoint(const json_t *list, struct str upstream, struct str address)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (is_endpoint(item, upstream, address))
            return item;
    }
    return NULL;
}

bool changes_drained(const json_t *list, struct str upstream, struct str address)
{
    const json_t *item = find_endpoint(list, upstream, address);
    return item && json_is_true(json_object_get(item, "drained"));
}

bool changes_weight(const json_t *list, struct str upstream, struct str address, double *weight)
{
    const json_t *item = find_endpoint(list, upstream, address);
    const json_t *own = item ? json_object_get(item, "weight") : NULL;
    const json_t *set = item ? json_object_get(item, "set") : NULL;
    if (own)
        *weight = json_number_value(own);
    else if (set && json_object_get(set, "weight"))
        *weight = json_number_value(json_object_get(set, "weight"));
    else if (set)
        *weight = 1;
    return own || set;
}

/* ---- applying ------------------------------------------------------------------------------ */

struct applying {
    struct conf_tree *now;
    unsigned *line;
    struct conf_errors *errors;
};

static void apply_route(struct applying *a, const json_t *item)
{
    struct str name = said(item, "route"), within = said(item, "within");
    const json_t *set = json_object_get(item, "set");
    if (!set) {
        conf_tree_remove_route(a->now, name);
        return;
    }
    struct conf_node *n = conf_node_of_json(set, &a->now->arena, a->line, a->errors);
    if (n && !conf_tree_put_route(a->now, name, within, n))
        conf_say(a->errors, n->pos,
                 "route \"%.*s\" was added within \"%.*s\", which is no longer there; discard the "
                 "change or put that route back",
                 STR_ARG(name), STR_ARG(within));
}

static void apply_endpoint(struct applying *a, const json_t *item)
{
    struct str name = said(item, "upstream"), address = said(item, "endpoint");
    struct conf_node *u = conf_tree_upstream(a->now, name);
    const json_t *set = json_object_get(item, "set"), *weight = json_object_get(item, "weight");
    if (!u)
        return; /* the upstream is gone, and the endpoint with it */
    if (json_is_true(json_object_get(item, "removed")))
        conf_tree_remove_endpoint(u, address);
    struct conf_node *n = NULL;
    if (set && (n = conf_node_of_json(set, &a->now->arena, a->line, a->errors)))
        conf_tree_put_endpoint(a->now, u, address, n);
    struct conf_node *e = conf_tree_endpoint(u, address);
    if (!e)
        return;
    if (json_is_true(json_object_get(item, "drained")))
        conf_tree_set(a->now, e, STR("weight"), STR("0"));
    else if (weight) {
        char text[40];
        snprintf(text, sizeof text, "%.6g", json_number_value(weight));
        conf_tree_set(a->now, e, STR("weight"), str_c(text));
    }
}

struct conf_tree *changes_apply(const json_t *list, struct conf_tree *base, unsigned *line,
                                struct conf_errors *e)
{
    struct applying a = {conf_tree_edit(base), line, e};
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        if (json_object_get(item, "route"))
            apply_route(&a, item);
        else if (json_object_get(item, "endpoint"))
            apply_endpoint(&a, item);
    }
    return a.now;
}

/* ---- beside the file ----------------------------------------------------------------------- */

char *changes_words(const json_t *item)
{
    struct str route = said(item, "route"), upstream = said(item, "upstream");
    struct str breaker = said(item, "breaker");
    bool was = said(item, "was").n, set = json_object_get(item, "set");
    bool removed = json_is_true(json_object_get(item, "removed"));
    const char *done = removed ? "removed" : was ? "replaced" : "added";
    if (route.n)
        return mem_printf("route \"%.*s\": %s", STR_ARG(route), done);
    if (breaker.n)
        return mem_printf("upstream \"%.*s\": breaker held %.*s", STR_ARG(upstream),
                          STR_ARG(breaker));
    char weight[40] = "";
    const json_t *w = json_object_get(item, "weight");
    if (w)
        snprintf(weight, sizeof weight, "%sweight %.6g", set || removed ? ", " : "",
                 json_number_value(w));
    return mem_printf("upstream \"%.*s\", endpoint %.*s: %s%s%s%s", STR_ARG(upstream),
                      STR_ARG(said(item, "endpoint")), set || removed ? done : "", weight,
                      (set || removed || w) && json_object_get(item, "drained") ? ", " : "",
                      json_object_get(item, "drained") ? "drained" : "");
}

const struct conf_node *changes_target(const json_t *item, const struct conf_tree *base)
{
    if (json_object_get(item, "route"))
        return conf_tree_route(base, said(item, "route"));
    if (json_object_get(item, "endpoint"))
        return base_endpoint(base, said(item, "upstream"), said(item, "endpoint"));
    return NULL;
}

/* A copy of the item without what n, which the file says of it, says as well; NULL: nothing is left
 * of it, for the file says the same or has no such endpoint. */
static json_t *remaining(const json_t *item, const struct conf_node *n)
{
    const json_t *set = json_object_get(item, "set");
    json_t *list = json_array(), *one = copied(item);
    bool route = json_object_get(item, "route"), gone = !n && !set && !said(item, "breaker").n;
    if (!route && !said(item, "breaker").n)
        forget_same(one, n);
    if (gone || (route && n && set && same_as(set, n)))
        json_decref(one);
    else
        put_back(list, one);
    one = json_incref(json_array_get(list, 0));
    json_decref(list);
    return one;
}

/* The file has come to say what the item says: that it adds, replaces or removes. */
static bool agrees(const json_t *item, const struct conf_node *n)
{
    json_t *left = remaining(item, n);
    bool lost = !n && !json_is_true(json_object_get(item, "removed"));
    bool same = !left && !lost;
    json_decref(left);
    return same;
}

bool changes_conflicts(const json_t *item, const struct conf_tree *base)
{
    const struct conf_node *n = changes_target(item, base);
    json_t *now = json_object();
    note_was(now, n);
    bool same = str_eq(said(now, "was"), said(item, "was"));
    json_decref(now);
    return !same && !agrees(item, n);
}

json_t *changes_rebase(const json_t *list, const struct conf_tree *base, bool keep)
{
    json_t *to = json_array();
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        const struct conf_node *n = changes_target(item, base);
        json_t *one = !keep && changes_conflicts(item, base) ? NULL : remaining(item, n);
        if (!one)
            continue;
        json_object_del(one, "was");
        note_was(one, n);
        json_array_append_new(to, one);
    }
    return to;
}

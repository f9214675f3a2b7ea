/* SPDX-License-Identifier: Apache-2.0 */
/* conf_tree: a whole configuration as nodes in which routes, upstreams and endpoints are found by
 * name and replaced: what the admin API reads and changes. Made from the text of a configuration
 * that was loaded. Every route that takes requests has its name in it, upstreams are maps and
 * endpoints a list of maps, however short the file says it. Counted; the main thread's. It judges
 * nothing: a changed tree is loaded like a file. */
#ifndef WEIR_CONTROL_CONF_TREE_H
#define WEIR_CONTROL_CONF_TREE_H

#include "base/map.h"
#include "control/conf_node.h"
#include "proxy/phase.h"

struct conf_tree {
    uint32_t refs;
    struct arena arena;
    struct conf_tree *from; /* shares nodes with it; one reference; NULL: nothing */
    struct conf_node *root;
    struct map routes; /* name -> struct conf_route_place, nested ones too */
};

/* A route and the list it stands in. */
struct conf_route_place {
    struct conf_node *list, *route;
    struct conf_node *before; /* the one in front of it, when this was last looked at; NULL: none */
};

/* The tree of a text that was loaded under that name before. NULL: it is no configuration. */
struct conf_tree *conf_tree_new(struct str text, const char *name,
                                const struct feature_set *features);
/* A tree of the same content that may be changed by the functions below; t stays as it is. */
struct conf_tree *conf_tree_edit(struct conf_tree *t);
/* One reference more. */
struct conf_tree *conf_tree_ref(struct conf_tree *t);
/* One less; NULL is allowed. */
void conf_tree_unref(struct conf_tree *t);

/* The route of that name, or NULL. */
struct conf_node *conf_tree_route(const struct conf_tree *t, struct str name);
/* The route of that name stands at the top level, not within another. */
bool conf_tree_at_top(const struct conf_tree *t, struct str name);
/* The upstream of that name, or NULL. */
struct conf_node *conf_tree_upstream(const struct conf_tree *t, struct str name);
/* The endpoint of that address in an upstream, or NULL. */
struct conf_node *conf_tree_endpoint(const struct conf_node *upstream, struct str address);
/* Calls fn for the name of route and of all routes within it. */
void conf_tree_names(const struct conf_node *route, void (*fn)(void *arg, struct str name),
                     void *arg);
/* A number for what n says: equal for equal JSON. */
uint64_t conf_node_hash(const struct conf_node *n);

/* Puts route (of t's arena) in the place of the one of its name, else behind the others within the
 * route `within` ("": at the top level). False: there is no such route. */
bool conf_tree_put_route(struct conf_tree *t, struct str name, struct str within,
                         const struct conf_node *route);
/* Takes the route out; false: there is none. */
bool conf_tree_remove_route(struct conf_tree *t, struct str name);
/* Puts endpoint in the place of the one of its address, else behind the others. */
void conf_tree_put_endpoint(struct conf_tree *t, struct conf_node *upstream, struct str address,
                            const struct conf_node *endpoint);
/* Takes the endpoint out; false: there is none. */
bool conf_tree_remove_endpoint(struct conf_node *upstream, struct str address);
/* Sets a member of a map that belongs to t alone to that plain text. */
void conf_tree_set(struct conf_tree *t, struct conf_node *map, struct str key, struct str text);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_tree: a whole configuration as nodes in which routes, upstreams and endpoints are found by
 * name and replaced: what the admin API reads and changes. Made from the text of a configuration
 * that was loaded. Every route that takes requests has its name in it, upstreams are maps and
 * endpoints a list of maps, however short the file says it. Counted; the main thread's. It judges
 * nothing: a changed tree is loaded like a file.
 * A sparse tree has no routes below root: each is read when it is asked for, out of the text. It
 * does for what is about single routes, and for upstreams; the rest wants a whole one. */
#ifndef WEIR_CONTROL_CONF_TREE_H
#define WEIR_CONTROL_CONF_TREE_H

#include "base/map.h"
#include "control/conf_node.h"
#include "control/conf_pieces.h"
#include "proxy/phase.h"

struct conf_tree {
    uint32_t refs;
    const char *name; /* of the text, for places */
    struct arena arena;
    struct conf_tree *from; /* shares nodes with it; one reference; NULL: nothing */
    struct conf_node *root;
    struct map routes; /* name -> struct conf_route_place, nested ones too; sparse: those known */
    struct conf_pieces *pieces;      /* of a sparse tree: owned, or from's; NULL: it is whole */
    struct map changed;              /* of a sparse tree: bytes of a piece's number -> place */
    struct conf_route_place **added; /* of a sparse tree: those behind the pieces, in order */
    size_t n_added, n_read;          /* n_read: routes that were read out of the text */
};

/* A route and the list it stands in. */
struct conf_route_place {
    struct conf_node *list, *route; /* in a sparse tree: no list; no route: it was removed */
    size_t piece;                   /* in a sparse tree: its number */
    struct conf_node *before; /* the one in front of it, when this was last looked at; NULL: none */
};

/* The tree of a text that was loaded under that name before. NULL: it is no configuration. */
struct conf_tree *conf_tree_new(struct str text, const char *name,
                                const struct feature_set *features);
/* The same, sparse, of the tree that a load read the text to; names: see conf_pieces_new. NULL: it
 * is not for conf_pieces. */
struct conf_tree *conf_tree_sparse(struct str text, const char *name, const struct conf_node *root,
                                   const struct str *names);
/* Before anything else is done with it: its text, owned from here on. */
void conf_tree_give(struct conf_tree *sparse, struct str text);
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
/* A walk over the routes of the top level, in order; zero-initialised it is before the first. */
struct conf_walk {
    const struct conf_node *next;
    size_t i;
    bool begun;
    struct arena room; /* the route that was read last */
};
/* The next route, valid until the next call, or NULL. read: false where only whether there is one
 * matters: then it may be any node of another content. */
const struct conf_node *conf_walk_next(const struct conf_tree *t, struct conf_walk *w, bool read);
/* Frees what a walk holds. */
void conf_walk_fini(struct conf_walk *w);
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

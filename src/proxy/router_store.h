/* SPDX-License-Identifier: Apache-2.0 */
/* router_store: where versions of a router live that share what is alike in them, as numbered
 * blocks. The main thread's. Nothing outside router*.c includes this. */
#ifndef WEIR_PROXY_ROUTER_STORE_H
#define WEIR_PROXY_ROUTER_STORE_H

#include "proxy/router_inside.h"

struct router_store {
    struct trie_store tries;
    struct slab slabs[SLABS]; /* those of the tries are theirs */
    struct arena arena;       /* texts of the rules that it was built from */
    struct list versions;     /* struct router, the oldest first; the last is the newest */
    struct pieces made, left; /* by the newest version, while it is not kept yet */
    uint64_t last_order;
};

/* ---- router_store.c ---- */

/* An empty store with a version that nothing is in yet. */
struct router *router_store_new(void);
/* A version like the newest one. */
struct router *router_version(struct router_store *s);
/* A zeroed block, told of in made. */
uint32_t store_take(struct router_store *s, enum slab_kind kind, uint32_t n);
/* The newest version does without that block. */
void store_leave(struct router_store *s, enum slab_kind kind, uint32_t at, uint32_t n);
/* Item number at of a slab. */
void *store_at(const struct router_store *s, enum slab_kind kind, uint32_t at);
/* The version reads the memory as it is now. */
void router_look(struct router *r);

/* ---- router_names.c ---- */

/* The entry of the rule whose route has that name; 0: there is none. Any thread. */
uint32_t names_find(const struct router *r, struct str name);
/* Adds an entry of the store to r's index. */
void names_add(struct router *r, uint32_t entry);
/* Takes it out. */
void names_remove(struct router *r, uint32_t entry);
/* Makes room for n rules in the index of a version that has none. */
void names_init(struct router *r, uint32_t n);
/* Calls fn for each entry of r, in no order. */
void names_each(const struct router *r, void (*fn)(void *arg, uint32_t entry), void *arg);

/* What a group answers with, where no condition has a say: for the trie. */
static inline struct trie_near group_near(const struct group *g)
{
    struct routed to = routed(g->conditions ? NULL : g->route);
    return (struct trie_near){to.route, to.plan, to.tag};
}

#endif

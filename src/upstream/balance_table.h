/* SPDX-License-Identifier: Apache-2.0 */
/* balance_table: the weights in force as one worker sees them, and drawing by weight at a cost that
 * does not grow with the number of endpoints. Part of every policy's state, one a worker, on its
 * own thread only. It takes changes over when the registry's number moved, never by a lock. */
#ifndef WEIR_UPSTREAM_BALANCE_TABLE_H
#define WEIR_UPSTREAM_BALANCE_TABLE_H

#include "upstream/registry.h"

struct balance_table {
    uint32_t seen;    /* registry number that the weights were read at */
    uint32_t n;       /* endpoints */
    uint32_t index;   /* of the worker */
    uint32_t used;    /* endpoints of weight > 0 */
    uint64_t total;   /* of weight[] */
    uint64_t random;  /* state of the draws */
    uint32_t turn;    /* among unresolved endpoints */
    uint32_t *weight; /* in force, by endpoint; 0: not to be used */
    uint32_t *fresh;  /* room to read the next ones */
    uint64_t *end;    /* position just behind the endpoint's part of [0, total) */
    uint32_t *guide;  /* endpoint at position k * total / n */
};

/* Empty, for u's endpoints; index: of the worker. */
void table_init(struct balance_table *t, const struct upstream *u, uint32_t index);
/* Frees what it holds. */
void table_fini(struct balance_table *t);
/* Takes the weights in force over; true: they differ. For the time of creation. */
bool table_load(struct balance_table *t, const struct upstream *u);
/* The same on a worker whose table is behind number. */
RARE bool table_refresh(struct balance_table *t, const struct upstream *u, uint32_t number);
/* The endpoint that has position pos < total; its number. */
uint32_t table_at(const struct balance_table *t, uint64_t pos);
/* 30 random bits. */
uint32_t table_random(struct balance_table *t);
/* The endpoint at the fraction r / 2^30 of all weight. total > 0. */
uint32_t table_pick(const struct balance_table *t, uint32_t r);
/* An endpoint drawn by weight that was not tried; NULL: there is none. */
struct endpoint *table_draw(struct balance_table *t, const struct upstream *u,
                            const struct pick *p);
/* The same, another one than `but` if that is to be had at all. */
struct endpoint *table_draw_other(struct balance_table *t, const struct upstream *u,
                                  const struct pick *p, const struct endpoint *but);
/* When nothing untried is usable: one whose first addresses are awaited, else one that was tried,
 * or NULL. */
RARE struct endpoint *table_last_resort(struct balance_table *t, const struct upstream *u,
                                        const struct pick *p);

/* A table a worker, for policies that need no more. */
struct balance_tables {
    uint32_t n_workers;
    struct balance_table *v; /* each on cache lines of its own */
};

/* create of such policies. */
void *tables_create(struct upstream *u, uint32_t n_workers);
/* destroy of such policies. */
void tables_destroy(void *state);
/* update_weights of all that keep none of their own. */
void tables_update_weights(void *state, struct upstream *u, const struct endpoint_weight *w,
                           uint32_t n);
/* The calling worker's table, up to date. */
static inline struct balance_table *tables_mine(const struct balance_tables *s,
                                                const struct upstream *u, const struct pick *p)
{
    struct balance_table *t = &s->v[p->worker];
    uint32_t number = registry_number(u->registry);
    if (__builtin_expect(number != t->seen, 0))
        table_refresh(t, u, number);
    return t;
}

#endif

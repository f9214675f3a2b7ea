/* SPDX-License-Identifier: Apache-2.0 */
/* balance_kit: what the unit tests of balancers share: an upstream of n endpoints with given
 * weights, and picks. One test's thread; never part of the product. */
#ifndef WEIR_UPSTREAM_BALANCE_KIT_H
#define WEIR_UPSTREAM_BALANCE_KIT_H

#include "upstream/kit.h"

struct bench {
    struct endpoint_conf *e;
    char (*text)[32];
    struct upstream_conf conf;
    struct upstream_registry *registry;
    struct upstream *up;
};

/* An upstream of n endpoints "127.0.0.1:1", ... with these weights (NULL: 1 each). */
static inline void bench_open(struct bench *b, uint32_t n, const double *weights,
                              uint32_t n_workers)
{
    *b = (struct bench){.e = mem_new(n * sizeof b->e[0]), .text = mem_new(n * sizeof b->text[0])};
    schema_defaults(&upstream_schema, &b->conf);
    b->conf.balance.seed = 1;
    for (uint32_t i = 0; i < n; i++) {
        schema_defaults(&endpoint_schema, &b->e[i]);
        snprintf(b->text[i], sizeof b->text[i], "127.0.0.1:%u", i + 1);
        b->e[i].address = str_c(b->text[i]);
        b->e[i].weight = weights ? weights[i] : 1;
    }
    b->conf.endpoints = (struct schema_list){b->e, n};
    b->registry = upstream_registry_new(n_workers);
    b->up = upstream_new(b->registry, STR("u"), &b->conf);
}

/* The upstream anew, from b->conf as the test changed it. */
static inline void bench_again(struct bench *b)
{
    upstream_unref(b->up);
    b->up = upstream_new(b->registry, STR("u"), &b->conf);
}

/* Ends both. */
static inline void bench_close(struct bench *b)
{
    upstream_unref(b->up);
    upstream_registry_free(b->registry);
    mem_free(b->e);
    mem_free(b->text);
}

/* One pick. */
static inline struct endpoint *bench_ask(struct bench *b, const struct pick *p)
{
    return b->up->balance->pick(b->up->balance_state, b->up, p);
}

/* A pick of that worker, without a key. */
static inline struct endpoint *pick(struct bench *b, uint32_t worker)
{
    struct pick p = {.worker = worker};
    return bench_ask(b, &p);
}

/* The number of an endpoint in its upstream; n_endpoints: it is none of them. */
static inline uint32_t bench_number(const struct bench *b, const struct endpoint *e)
{
    uint32_t i = 0;
    while (i < b->up->n_endpoints && b->up->endpoints[i] != e)
        i++;
    return i;
}

#endif

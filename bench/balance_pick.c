/* SPDX-License-Identifier: Apache-2.0 */
/* balance_pick: what choosing an endpoint costs at a given number of endpoints.
 *   balance_pick POLICY ENDPOINTS PICKS
 * The weights are 1, 2 and 3 by turns, so nothing is gained by their being equal. Prints the time
 * of a pick; bench/counts.py counts instructions by callgrind, which looks at the picks only. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "upstream/upstream.h"

static void configure(struct upstream_conf *conf, const char *policy, size_t n)
{
    struct endpoint_conf *e = mem_new(n * sizeof(*e));
    schema_defaults(&upstream_schema, conf);
    while (balance_names[conf->balance.policy] &&
           strcmp(balance_names[conf->balance.policy], policy) != 0)
        conf->balance.policy++;
    if (!balance_names[conf->balance.policy]) {
        fprintf(stderr, "no policy %s\n", policy);
        exit(2);
    }
    for (size_t i = 0; i < n; i++) {
        schema_defaults(&endpoint_schema, &e[i]);
        e[i].address = str_c(mem_printf("127.0.%zu.%zu:80", i / 250, i % 250 + 1));
        e[i].weight = (double) (i % 3 + 1);
    }
    conf->endpoints = (struct schema_list){e, n};
}

/* Every endpoint has answered once, so that what is known of them is compared. */
static void warm_up(struct upstream *u)
{
    for (uint32_t i = 0; u->balance->attempt_end && i < u->n_endpoints; i++) {
        struct attempt_result r = {.status = 200, .first_byte_us = 1000 + i % 100, .now = 1000};
        u->balance->attempt_end(u->balance_state, u->endpoints[i], &r);
    }
}

/* A name of its own for callgrind to look at. */
__attribute__((noinline)) size_t run_picks(struct upstream *u, size_t n)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        struct pick p = {.hash = i + 1, .now = 1000};
        found += u->balance->pick(u->balance_state, u, &p) != NULL;
    }
    return found;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: balance_pick POLICY ENDPOINTS PICKS\n");
        return 2;
    }
    struct upstream_conf conf;
    size_t n = strtoul(argv[2], NULL, 10), picks = strtoul(argv[3], NULL, 10);
    configure(&conf, argv[1], n);
    struct upstream_registry *r = upstream_registry_new(1);
    struct upstream *u = upstream_new(r, STR("u"), &conf);
    warm_up(u);
    usec_t from = clock_now();
    size_t found = run_picks(u, picks);
    usec_t to = clock_now();
    printf("endpoints %zu pick_ns %.1f found %zu\n", n,
           (double) (to - from) * 1000 / (double) picks, found);
    upstream_unref(u);
    upstream_registry_free(r);
    struct endpoint_conf *e = conf.endpoints.items;
    for (size_t i = 0; i < n; i++)
        mem_free((void *) (uintptr_t) e[i].address.p);
    mem_free(e);
    return found == picks ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* route_match: what finding a route costs at a given number of routes.
 *   route_match ROUTES MATCHES [hosts|all]
 * Half of the routes are exact, half are prefixes; "hosts" gives each a host of its own; "all" is
 * one prefix that takes everything. The requests go to all routes in a scattered order. Prints the
 * time that building took and that of a match; bench/route-match counts instructions by callgrind,
 * which looks at router_match only. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "proxy/route.h"

/* All routes of the run. */
struct table {
    size_t n;
    bool hosts;
    struct match_conf *matches;
    struct route *routes;
    struct router_rule *rules;
    struct router *router;
};

static void build(struct table *t, bool all)
{
    t->matches = mem_new(t->n * sizeof(*t->matches));
    t->routes = mem_new(t->n * sizeof(*t->routes));
    t->rules = mem_new(t->n * sizeof(*t->rules));
    for (size_t i = 0; i < t->n; i++) {
        char *path = all ? mem_printf("/*") : mem_printf("/r%06zu/%s", i, i % 2 ? "x" : "*");
        t->matches[i].path = str_c(path);
        if (t->hosts)
            t->matches[i].host = str_c(mem_printf("h%06zu.example.com", i));
        t->routes[i].refs = 1;
        t->rules[i] = (struct router_rule){&t->matches[i], &t->routes[i]};
    }
    char *why;
    size_t bad;
    t->router = router_new(t->rules, t->n, &why, &bad);
    if (!t->router) {
        fprintf(stderr, "rule %zu: %s\n", bad, why);
        exit(1);
    }
}

/* Requests made ahead, so that only matching is measured. */
static struct head *requests(const struct table *t, size_t n)
{
    struct head *heads = mem_new(n * sizeof(*heads));
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        at = (at + 61803) % t->n;
        heads[i].method = STR("GET");
        heads[i].method_id = METHOD_GET;
        heads[i].path = str_c(mem_printf("/r%06zu/x", at));
        heads[i].host = t->hosts ? t->matches[at].host : STR("origin.example.com");
    }
    return heads;
}

static void release(struct table *t, struct head *heads, size_t n)
{
    for (size_t i = 0; i < n; i++)
        mem_free((void *) (uintptr_t) heads[i].path.p);
    for (size_t i = 0; i < t->n; i++) {
        mem_free((void *) (uintptr_t) t->matches[i].path.p);
        mem_free((void *) (uintptr_t) t->matches[i].host.p);
    }
    router_free(t->router);
    mem_free(heads);
    mem_free(t->matches);
    mem_free(t->routes);
    mem_free(t->rules);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: route_match ROUTES MATCHES [hosts|all]\n");
        return 2;
    }
    bool all = argc > 3 && strcmp(argv[3], "all") == 0;
    struct table t = {.n = strtoul(argv[1], NULL, 10),
                      .hosts = argc > 3 && strcmp(argv[3], "hosts") == 0};
    size_t n = strtoul(argv[2], NULL, 10), found = 0;
    usec_t start = clock_now();
    build(&t, all);
    usec_t built = clock_now();
    struct head *heads = requests(&t, n);
    struct arena arena;
    arena_init(&arena, NULL, 0); /* a match that allocates fails */
    usec_t from = clock_now();
    for (size_t i = 0; i < n; i++) {
        struct str allow;
        enum fault fault;
        found += router_match(t.router, &heads[i], &arena, &fault, &allow) != NULL;
    }
    usec_t to = clock_now();
    printf("routes %zu build_us %llu match_ns %.1f found %zu\n", t.n,
           (unsigned long long) (built - start), (double) (to - from) * 1000 / (double) n, found);
    release(&t, heads, n);
    return found == n ? 0 : 1;
}

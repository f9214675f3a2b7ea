/* SPDX-License-Identifier: Apache-2.0 */
/* A router that was derived, change by change, answers as one that was built from the same rules
 * does, and leaves those before it as they were. Random rules, changes and requests; the seed is
 * printed, and WEIR_SEED=n repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/url.h"
#include "proxy/route.h"

#define RULES_MAX 120
#define VERSIONS 4
#define CHANGES 300
#define REQUESTS 60

/* A rule of the model; texts are constant or its own. */
struct plain {
    struct route *route;
    struct match_conf match;
    char path[80];
    struct str lists[3];
    struct str names[2], values[2];
};

/* A version with the rules that it stands for, in file order. */
struct version {
    struct router *router;
    struct plain *rules[RULES_MAX];
    size_t n;
};

static uint64_t state;
static unsigned live_routes;

static unsigned roll(unsigned n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned) (state >> 20) % n;
}

static void route_gone(struct route *r)
{
    live_routes--;
    mem_free((void *) (uintptr_t) r->plan);
    mem_free((void *) (uintptr_t) r->name.p);
    mem_free(r);
}

/* A route with one reference, the caller's. */
static struct route *route_made(const char *name)
{
    struct route *r = mem_new_aligned(sizeof *r, 64);
    r->plan = mem_new(sizeof *r->plan);
    r->name = str_c(mem_printf("%s", name));
    r->refs = 1;
    r->free = route_gone;
    live_routes++;
    return r;
}

static const char *const hosts[] = {"",          "",          "a.com",       "b.com",
                                    "*.com",     "*.a.com",   "x.a.com",     "y.a.com",
                                    "*.x.a.com", "*.y.b.com", "deep.y.b.com"};
static const char *const paths[] = {"",
                                    "/",
                                    "/*",
                                    "*",
                                    "/a",
                                    "/a/*",
                                    "/a/b",
                                    "/a/b/*",
                                    "/ab",
                                    "/abc/*",
                                    "/abc/d/*",
                                    "/a/c/*",
                                    "~/a",
                                    "~/a/b$",
                                    "~/.*c",
                                    "~/w.",
                                    "/abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz/x/*",
                                    "/abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq/*"};

/* What follows /w: enough for wide and for sparse nodes. */
static const char leads[] = "!$'()+,-.;=@ABCDEFGHIabcdefghi0123456789";

static void roll_path(struct plain *p)
{
    const char *path = paths[roll(sizeof paths / sizeof paths[0])];
    if (roll(3) == 0) { /* wide and sparse nodes */
        snprintf(p->path, sizeof p->path, "/w%c%s", leads[roll(sizeof leads - 1)],
                 roll(2) ? "/*" : "");
        p->match.path = str_c(p->path);
    } else if (path[0] == '~') {
        p->match.path_regex = str_c(path + 1);
    } else {
        p->match.path = str_c(path);
    }
}

static void condition(struct plain *p, struct schema_map *m, unsigned at, const char *name,
                      const char *value)
{
    p->names[at] = str_c(name);
    p->values[at] = str_c(value);
    *m = (struct schema_map){&p->names[at], &p->values[at], 1};
}

static struct plain *roll_rule(const char *name)
{
    struct plain *p = mem_new(sizeof *p);
    p->route = route_made(name);
    p->match.host = str_c(hosts[roll(sizeof hosts / sizeof hosts[0])]);
    roll_path(p);
    if (roll(3) == 0) {
        p->lists[0] = roll(2) ? STR("GET") : STR("POST");
        p->match.methods = (struct schema_list){p->lists, 1};
    }
    if (roll(4) == 0)
        condition(p, &p->match.headers, 0, "x-a", roll(2) ? "1" : "~^2");
    if (roll(4) == 0)
        condition(p, &p->match.query, 1, "q", roll(2) ? "*" : "7");
    return p;
}

static struct router *built(const struct version *v)
{
    struct router_rule rules[RULES_MAX];
    char *why = NULL;
    size_t bad;
    for (size_t i = 0; i < v->n; i++)
        rules[i] = (struct router_rule){&v->rules[i]->match, v->rules[i]->route};
    struct router *r = router_new(rules, v->n, &why, &bad);
    if (!r)
        fail_msg("rule %zu: %s", bad, why);
    return r;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static struct head roll_request(struct arena *a)
{
    static const char *const asked[] = {"a.com",          "b.com", "x.a.com", "y.a.com",
                                        "z.x.a.com",      "c.com", "y.b.com", "deep.y.b.com",
                                        "q.deep.y.b.com", "org"};
    struct head h = {.method = roll(3) ? STR("GET") : STR("POST")};
    const char *path = paths[roll(sizeof paths / sizeof paths[0])];
    struct str text;
    if (roll(3) == 0)
        text = arena_printf(a, "/w%c%s", leads[roll(sizeof leads - 1)], roll(2) ? "/k" : "");
    else
        text = arena_printf(a, "%s%s", path[0] == '/' ? path : "/a", roll(2) ? "" : "/b");
    if (roll(20) == 0)
        text = STR("*");
    else if (roll(3) == 0)
        text = arena_printf(a, "%.*s?q=%u", STR_ARG(text), 7 + roll(2));
    h.method_id = (uint8_t) method_id(h.method);
    fields_init(&h.fields, a);
    if (text.p[0] == '*')
        h.method_id = METHOD_OPTIONS;
    if (target_parse(&h, a, text) != FAULT_OK)
        h.path = STR("/");
    assert_int_equal(authority_parse(str_c(asked[roll(sizeof asked / sizeof asked[0])]), a, &h),
                     FAULT_OK);
    if (roll(2))
        assert_true(fields_add(&h.fields, STR("x-a"), roll(2) ? STR("1") : STR("22")));
    return h;
}

static void note(void *arg, const struct route *r, const char *verdict)
{
    char *text = arg;
    size_t n = strlen(text);
    snprintf(text + n, 20000 - n, "%s: %s\n", r->name.p, verdict);
}

/* Both say the same of it, and tell the same of each rule. */
static void same_answer(const struct version *v, const struct router *fresh)
{
    static char told[2][20000];
    struct arena a;
    enum fault f[2] = {FAULT_OK, FAULT_OK};
    struct str allow[2] = {{0}};
    arena_init(&a, NULL, SIZE_MAX);
    struct head h = roll_request(&a);
    struct routed to = router_match(v->router, &h, &a, &f[0], &allow[0]);
    const struct route *got = to.route;
    assert_ptr_equal(to.plan, got ? got->plan : NULL);
    const struct route *want = router_match(fresh, &h, &a, &f[1], &allow[1]).route;
    if (got != want || f[0] != f[1] || !str_eq(allow[0], allow[1]))
        fail_msg("%.*s %.*s: %s, not %s", STR_ARG(h.host), STR_ARG(h.path),
                 got ? got->name.p : fault_name(f[0]), want ? want->name.p : fault_name(f[1]));
    told[0][0] = told[1][0] = '\0';
    (void) router_explain(v->router, &h, &a, note, told[0]);
    (void) router_explain(fresh, &h, &a, note, told[1]);
    assert_string_equal(told[0], told[1]);
    arena_fini(&a);
}

static void same(const struct version *v)
{
    struct router *fresh = built(v);
    assert_int_equal(router_count(v->router), v->n);
    for (size_t i = 0; i < v->n; i++)
        assert_ptr_equal(router_route(v->router, v->rules[i]->route->name), v->rules[i]->route);
    assert_null(router_route(v->router, STR("nobody")));
    for (unsigned i = 0; i < REQUESTS; i++)
        same_answer(v, fresh);
    router_free(fresh);
}

/* ---- changing ------------------------------------------------------------------------------ */

static void drop_rule(struct plain *p)
{
    route_unref(p->route);
    mem_free(p);
}

/* v after a random change of it: what the model says, and the router. */
static void change(struct version *v, struct plain **removed, unsigned number)
{
    char name[16], *why = NULL;
    unsigned kind = roll(v->n == 0 ? 1 : v->n == RULES_MAX ? 2 : 3);
    size_t at = v->n ? roll((unsigned) v->n) : 0;
    struct plain *old = kind == 0 && v->n < RULES_MAX ? NULL : v->rules[at], *fresh = NULL;
    snprintf(name, sizeof name, "r%u", number);
    if (kind == 0 || kind == 2)
        fresh = roll_rule(old && roll(2) ? old->route->name.p : name);
    if (!old && !fresh)
        return;
    struct router_rule rule = {fresh ? &fresh->match : NULL, fresh ? fresh->route : NULL};
    struct router *r =
        router_change(v->router, old ? old->route->name : STR(""), fresh ? &rule : NULL, &why);
    if (!r)
        fail_msg("refused: %s", why);
    *removed = old;
    v->router = r;
    if (old && fresh) {
        v->rules[at] = fresh;
    } else if (fresh) {
        v->rules[v->n++] = fresh;
    } else {
        memmove(&v->rules[at], &v->rules[at + 1], (v->n - at - 1) * sizeof v->rules[0]);
        v->n--;
    }
}

/* A change that nobody keeps, or that cannot be made. */
static void change_in_vain(const struct version *v)
{
    struct version next = *v;
    struct plain *removed = NULL, *bad = roll_rule("vain");
    char *why = NULL;
    struct router_rule rule = {&bad->match, bad->route};
    bad->match.path = STR("/a*b");
    bad->match.path_regex = STR("");
    struct str old = v->n ? v->rules[0]->route->name : STR("");
    assert_null(router_change(v->router, old, &rule, &why));
    assert_non_null(why);
    mem_free(why);
    drop_rule(bad);
    change(&next, &removed, 100000);
    if (next.router == v->router)
        return;
    same(&next);
    for (size_t i = 0; i < next.n; i++) {
        bool shared = false;
        for (size_t k = 0; k < v->n; k++)
            shared |= v->rules[k] == next.rules[i];
        if (!shared)
            drop_rule(next.rules[i]);
    }
    router_free(next.router);
}

/* Rules that were removed: their texts are no router's any more, but one that was built. */
struct bin {
    struct plain *v[CHANGES];
    size_t n;
};

static void run(size_t n_first)
{
    struct version v[VERSIONS] = {{0}};
    static struct bin bin;
    bin.n = 0;
    for (; v[0].n < n_first; v[0].n++) {
        char name[16];
        snprintf(name, sizeof name, "f%zu", v[0].n);
        v[0].rules[v[0].n] = roll_rule(name);
    }
    v[0].router = built(&v[0]);
    struct version now = v[0];
    for (unsigned i = 0; i < CHANGES; i++) {
        struct plain *removed = NULL;
        unsigned slot = roll(VERSIONS);
        change(&now, &removed, i);
        if (removed)
            bin.v[bin.n++] = removed;
        if (now.router == v[0].router)
            continue;
        same(&now);
        if (roll(4) == 0 && v[slot].router) /* an older one answers as it did */
            same(&v[slot]);
        router_keep(now.router);
        if (roll(8) == 0)
            change_in_vain(&now);
        /* The newest stands in one of the slots; what was there goes, in any order. */
        router_free(v[slot].router);
        v[slot] = now;
    }
    for (unsigned i = 0; i < VERSIONS; i++)
        router_free(v[i].router);
    for (size_t i = 0; i < now.n; i++)
        drop_rule(now.rules[i]);
    for (size_t i = 0; i < bin.n; i++)
        drop_rule(bin.v[i]);
    assert_int_equal(live_routes, 0);
}

static void derived_routers_answer_as_built_ones(void **unused)
{
    (void) unused;
    const char *given = getenv("WEIR_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 10) : (uint64_t) time(NULL);
    printf("WEIR_SEED=%llu\n", (unsigned long long) seed);
    state = seed * 0x9e3779b97f4a7c15u + 1;
    run(0);
    run(5);
    run(100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(derived_routers_answer_as_built_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

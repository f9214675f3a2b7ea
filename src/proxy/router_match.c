/* SPDX-License-Identifier: Apache-2.0 */
/* router_match.c: from a request head to a rule. See router_inside.h for the order.
 * Invariants:
 * 1. A walk takes memory only for regexes, encoded query values and the Allow list.
 * 2. The walk ends at the first rule whose conditions hold, or at a fault. */
#include "proxy/router_inside.h"

#define ALLOW_MAX 32u /* methods that an Allow list names at most */

struct str host_reverse(struct str s, char out[HOST_MAX])
{
    size_t left = s.n, at = 0;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t eight;
        memcpy(&eight, s.p + left - 8, 8);
        eight = __builtin_bswap64(eight);
        memcpy(out + at, &eight, 8);
    }
    while (left > 0)
        out[at++] = s.p[--left];
    return str_of(out, s.n);
}

/* Notes the methods of a rule that only its method keeps from answering. */
static void collect(struct walk *w, const struct conditions *c)
{
    for (uint32_t i = 0; i < c->n_names; i++) {
        uint32_t at = 0;
        while (at < w->n_allow && !str_eq(w->allow[at], c->names[i]))
            at++;
        if (at == w->n_allow && at < w->cap_allow)
            w->allow[w->n_allow++] = c->names[i];
    }
}

/* The first rule of a group whose conditions hold. */
static __attribute__((noinline)) struct route *walk_rules(struct walk *w, const struct group *g)
{
    for (uint32_t i = g->first; i < g->first + g->n; i++) {
        const struct rule *rule = &w->router->rules[i];
        w->chosen = i;
        if (!rule->conditions)
            return rule->route;
        switch (conditions_test(rule->conditions, w, NULL)) {
        case VERDICT_HOLD:
            return rule->route;
        case VERDICT_FAULT:
            return NULL;
        case VERDICT_METHOD:
            w->method_refused = true;
            if (w->collect)
                collect(w, rule->conditions);
            break;
        case VERDICT_HEADER:
        case VERDICT_QUERY:
        case VERDICT_TLS:
            break;
        }
    }
    return NULL;
}

/* The route in group number n. */
static inline struct route *walk_group(struct walk *w, uint32_t n)
{
    const struct group *g = &w->router->groups[n];
    w->group = n;
    w->chosen = 0;
    return g->conditions ? walk_rules(w, g) : g->route;
}

static struct route *walk_regexes(struct walk *w, const struct host_set *set)
{
    const struct regex_path *r = w->router->regexes + set->first_regex;
    for (const struct regex_path *end = r + set->n_regex; r < end; r++) {
        bool yes;
        w->fault = pattern_match(r->pattern, w->head->path, &w->run, &yes);
        struct route *route = yes ? walk_group(w, r->group) : NULL;
        if (route || w->fault != FAULT_OK)
            return route;
    }
    return NULL;
}

/* "*" and CONNECT's empty path: the prefix "/" + "*", which is the empty key, takes them in. */
static __attribute__((noinline)) struct trie_hit find_other(const struct router *r, uint32_t root,
                                                            struct str path)
{
    struct trie_hit hit = forest_find(&r->forest, root, path, PATH_BORDER);
    const struct trie_node *t = &r->forest.nodes[root];
    hit.prefix = root && !t->n_label ? trie_value(t, TRIE_PREFIX) : 0;
    hit.node = hit.exact ? hit.node : t;
    return hit;
}

/* What of a set's trie takes in path. */
static inline struct trie_hit find_path(const struct router *r, uint32_t root, struct str path)
{
    if (__builtin_expect(path.n == 0 || path.p[0] != '/', 0))
        return find_other(r, root, path);
    return forest_find(&r->forest, root, path, PATH_BORDER);
}

/* The prefixes of a set that take path in, but for the longest, from the next shorter on. */
static struct route *walk_shorter(struct walk *w, const struct host_set *set)
{
    const struct forest *f = &w->router->forest;
    struct str path = w->head->path;
    uint32_t group, n = 0;
    struct route *route = NULL;
    if (path.n && path.p[0] == '/')
        n = forest_prefixes(f, set->paths, path, PATH_BORDER, UINT32_MAX, &group);
    while (n > 1 && !route && w->fault == FAULT_OK) {
        n--;
        (void) forest_prefixes(f, set->paths, path, PATH_BORDER, n - 1, &group);
        route = walk_group(w, group);
    }
    return route;
}

/* The long way through a set: regexes, conditions, shorter prefixes. */
static __attribute__((noinline)) struct route *walk_all(struct walk *w, const struct host_set *set,
                                                        struct trie_hit hit)
{
    struct route *route = NULL;
    if (hit.exact)
        route = walk_group(w, hit.exact);
    if (!route && set->n_regex && w->fault == FAULT_OK)
        route = walk_regexes(w, set);
    if (!route && hit.prefix && w->fault == FAULT_OK)
        route = walk_group(w, hit.prefix);
    if (!route && hit.prefix && w->fault == FAULT_OK)
        route = walk_shorter(w, set);
    if (!route && set->any && w->fault == FAULT_OK)
        route = walk_group(w, set->any);
    return route;
}

/* What answers in a set, where no regex or condition can say otherwise; none: they may. What lies
 * in the trie is all that is read of it. */
static inline struct routed plain_hit(const struct router *r, const struct host_set *set,
                                      struct trie_hit hit)
{
    uint32_t best = hit.exact ? hit.exact : set->n_regex ? 0 : hit.prefix;
    if (__builtin_expect(best == 0, 0))
        return routed(NULL);
    if (trie_is_near(hit.node))
        return (struct routed){hit.node->what, hit.node->about, hit.node->mark};
    const struct group *g = &r->groups[best];
    return routed(g->conditions ? NULL : g->route);
}

/* The route in host set number n. */
static inline struct route *walk_set(struct walk *w, uint32_t n)
{
    const struct host_set *set = &w->router->sets[n];
    struct trie_hit hit = find_path(w->router, set->paths, w->head->path);
    struct routed to = plain_hit(w->router, set, hit);
    if (!to.route)
        return walk_all(w, set, hit);
    w->group = hit.exact ? hit.exact : hit.prefix;
    w->chosen = 0;
    return to.route;
}

/* The sets of wildcards that take the host in, but for the longest. */
static struct route *walk_wider(struct walk *w, struct str reversed)
{
    const struct router *r = w->router;
    struct route *route = NULL;
    uint32_t set,
        n = forest_prefixes(&r->forest, r->hosts, reversed, HOST_BORDER, UINT32_MAX, &set);
    while (n > 1 && !route && w->fault == FAULT_OK) {
        n--;
        (void) forest_prefixes(&r->forest, r->hosts, reversed, HOST_BORDER, n - 1, &set);
        route = walk_set(w, set);
    }
    return route;
}

/* Sets that name the request's host: the exact one, then wildcards from the longest. */
static __attribute__((noinline)) struct route *walk_named(struct walk *w)
{
    struct str host = w->head->host;
    char reversed[HOST_MAX];
    if (host.n == 0 || host.n > HOST_MAX)
        return NULL;
    struct str key = host_reverse(host, reversed);
    struct trie_hit hit = forest_find(&w->router->forest, w->router->hosts, key, HOST_BORDER);
    struct route *route = hit.exact ? walk_set(w, hit.exact) : NULL;
    if (!route && hit.prefix && w->fault == FAULT_OK)
        route = walk_set(w, hit.prefix);
    if (!route && hit.prefix && w->fault == FAULT_OK)
        route = walk_wider(w, key);
    return route;
}

struct route *router_walk(struct walk *w)
{
    struct route *route = w->router->hosts ? walk_named(w) : NULL;
    if (route || !w->router->any || w->fault != FAULT_OK)
        return route;
    return walk_set(w, w->router->any);
}

/* The Allow list: the methods of all rules that only their method kept from answering. */
static enum fault allow_list(struct walk *w, struct arena *a, struct str *allow)
{
    w->cap_allow = ALLOW_MAX;
    w->allow = arena_alloc(a, ALLOW_MAX * sizeof(*w->allow));
    if (!w->allow)
        return FAULT_MEMORY;
    w->collect = true;
    (void) router_walk(w);
    struct str *parts = arena_alloc(a, 2 * (size_t) w->n_allow * sizeof(*parts));
    if (!parts)
        return FAULT_MEMORY;
    for (uint32_t i = 0; i < w->n_allow; i++) {
        parts[2 * i] = i ? STR(", ") : STR("");
        parts[2 * i + 1] = w->allow[i];
    }
    *allow = arena_join(a, parts, 2 * (size_t) w->n_allow);
    return allow->p ? FAULT_NO_METHOD : FAULT_MEMORY;
}

/* router_match, where more than the path has a say. */
static __attribute__((noinline)) struct routed match_all(const struct router *r,
                                                         const struct head *h, struct arena *a,
                                                         enum fault *fault, struct str *allow)
{
    struct walk w = {.router = r, .head = h, .run = {.arena = a}};
    struct route *route = router_walk(&w);
    *fault = w.fault;
    if (!route && w.fault == FAULT_OK)
        *fault = w.method_refused ? allow_list(&w, a, allow) : FAULT_NO_ROUTE;
    if (w.run.memory)
        pattern_run_end(&w.run);
    return routed(route);
}

/* The route where no rule names a host and the path alone decides; none: that is not so. */
static inline struct routed match_path(const struct router *r, const struct head *h)
{
    if (r->hosts || !r->any)
        return routed(NULL);
    const struct host_set *set = &r->sets[r->any];
    return plain_hit(r, set, find_path(r, set->paths, h->path));
}

struct routed router_match(const struct router *r, const struct head *h, struct arena *a,
                           enum fault *fault, struct str *allow)
{
    struct routed to = match_path(r, h);
    if (!to.route)
        return match_all(r, h, a, fault, allow);
    *fault = FAULT_OK;
    return to;
}

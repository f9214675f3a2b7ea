/* SPDX-License-Identifier: Apache-2.0 */
/* router.c: builds the router from rules in file order.
 * Invariants:
 * 1. Entries are sorted by host, path kind, path, number of conditions (most first) and file order;
 *    so the rules of a group, and the groups of a host, lie side by side.
 * 2. Numbers of sets and groups count from 1; 0 means none.
 * 3. Every conditions and every pattern is reachable from the router from the moment it exists, so
 *    that router_free frees a half-built one, too. */
#include <stdlib.h>

#include "base/mem.h"
#include "http/url.h"
#include "proxy/router_inside.h"

/* One rule while the router is built. */
struct entry {
    struct str host; /* reversed; without "*." */
    struct str path; /* exact path, prefix without "/" + "*", or regex */
    struct route *route;
    struct conditions *conditions;
    uint32_t order, n_conditions;
    uint8_t host_kind, path_kind;
};

/* A build in progress. */
struct building {
    struct router *r;
    struct entry *entries;
    struct trie_key *keys; /* of the host being made */
    struct trie_key *hosts;
    uint32_t *shorter; /* by group */
    uint32_t n_hosts;
    size_t bad;
    char *why;
};

static bool fail(struct building *b, size_t rule, char *why)
{
    b->bad = rule;
    b->why = why;
    return false;
}

/* ---- reading one rule ------------------------------------------------------------------- */

/* Host pattern to kind and reversed key. */
static bool read_host(struct building *b, struct entry *e, struct rule_text *t, struct str host)
{
    if (host.n == 0)
        return true;
    struct arena *a = &b->r->arena;
    e->host_kind = str_starts(host, STR("*.")) ? HOST_WILDCARD : HOST_EXACT;
    struct str name = e->host_kind == HOST_WILDCARD ? str_sub(host, 2, host.n) : host;
    struct head parsed = {0};
    if (str_find(name, '*') >= 0)
        return fail(b, e->order,
                    mem_printf("host '%.*s': a '*' may only be the whole first label, as in "
                               "*.example.com; leave host out for any host",
                               STR_ARG(host)));
    if (authority_parse(name, a, &parsed) != FAULT_OK || parsed.host.n > HOST_MAX)
        return fail(b, e->order, mem_printf("host '%.*s' is not a host name", STR_ARG(host)));
    if (parsed.port)
        return fail(b, e->order, mem_printf("host '%.*s': write it without a port", STR_ARG(host)));
    char reversed[HOST_MAX];
    e->host = arena_str(a, host_reverse(parsed.host, reversed));
    t->host = parsed.host;
    return true;
}

/* Bytes that a path cannot hold as they are, escaped: a pattern may be written naturally. */
static struct str escape_path(struct arena *a, struct str path)
{
    size_t n = 0;
    char *out = arena_alloc(a, path.n * 3 + 1);
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char) path.p[i];
        if (c > ' ' && c < 0x7f) {
            out[n++] = (char) c;
            continue;
        }
        out[n++] = '%';
        out[n++] = "0123456789ABCDEF"[c >> 4];
        out[n++] = "0123456789ABCDEF"[c & 15];
    }
    return str_of(out, n);
}

/* Exact path or prefix to kind and key. */
static bool read_path(struct building *b, struct entry *e, struct str path)
{
    const char *problem = NULL;
    struct str key = path;
    e->path_kind = PATH_EXACT;
    e->path = path;
    if (str_eq(path, STR("*"))) /* OPTIONS * */
        return true;
    if (str_ends(path, STR("/*"))) {
        e->path_kind = PATH_PREFIX;
        key.n--;
    }
    struct arena *a = &b->r->arena;
    if (path.p[0] != '/')
        problem = "a path begins with '/'";
    else if (str_find(key, '*') >= 0)
        problem = "a '*' may only stand at the end, after a '/'; use path_regex for more";
    else if (str_find(key, '?') >= 0)
        problem = "a path has no '?'; match the query by query: {name: value}";
    else if (path.n > PATTERN_PATH_MAX)
        problem = "it is longer than 8192 bytes";
    else if (path_normalise(escape_path(a, key), a, &e->path) != FAULT_OK)
        problem = "it has a bad percent escape or a forbidden byte";
    if (problem)
        return fail(b, e->order, mem_printf("path '%.*s': %s", STR_ARG(path), problem));
    if (e->path_kind == PATH_PREFIX)
        e->path.n--; /* without its last '/': that is the border */
    return true;
}

/* Everything of rule number i into its entry. */
static bool read_rule(struct building *b, const struct router_rule *rule, size_t i)
{
    const struct match_conf *m = rule->match;
    struct entry *e = &b->entries[i];
    struct rule_text *t = &b->r->texts[i];
    *e = (struct entry){.route = rule->route, .order = (uint32_t) i, .path_kind = PATH_ANY};
    char *why = NULL;
    bool good = conditions_new(m, &b->r->arena, &e->conditions, &why);
    if (e->conditions) {
        e->conditions->next = b->r->conditions;
        b->r->conditions = e->conditions;
    }
    if (!good)
        return fail(b, i, why);
    e->n_conditions = conditions_count(e->conditions);
    if (m->path.n && m->path_regex.n)
        return fail(b, i, mem_printf("path and path_regex exclude each other"));
    if (m->path_regex.n) {
        e->path_kind = PATH_REGEX;
        e->path = m->path_regex;
    }
    if (!read_host(b, e, t, m->host) || (m->path.n && !read_path(b, e, m->path)))
        return false;
    t->host_kind = e->host_kind;
    t->path_kind = e->path_kind;
    t->path = e->path;
    return true;
}

/* ---- order ------------------------------------------------------------------------------ */

static int compare_hosts(const struct entry *a, const struct entry *b)
{
    int c = str_cmp(a->host, b->host);
    return c ? c : (int) a->host_kind - (int) b->host_kind;
}

/* Same host, then: exact paths and prefixes of one key are neighbours, whatever their kind. */
static int compare_paths(const struct entry *a, const struct entry *b)
{
    bool tree_a = a->path_kind == PATH_EXACT || a->path_kind == PATH_PREFIX;
    bool tree_b = b->path_kind == PATH_EXACT || b->path_kind == PATH_PREFIX;
    if (tree_a != tree_b)
        return tree_a ? -1 : 1;
    if (!tree_a && a->path_kind != b->path_kind)
        return (int) a->path_kind - (int) b->path_kind;
    int c = str_cmp(a->path, b->path);
    return c ? c : (int) a->path_kind - (int) b->path_kind;
}

static int compare_entries(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    int c = compare_hosts(a, b);
    if (c == 0)
        c = compare_paths(a, b);
    if (c)
        return c;
    if (a->n_conditions != b->n_conditions)
        return a->n_conditions > b->n_conditions ? -1 : 1;
    return a->order < b->order ? -1 : 1;
}

/* Regexes of a host go by the file order of the first rule that has them. */
struct regex_order {
    struct regex_path path;
    uint32_t order;
};

static int compare_regexes(const void *pa, const void *pb)
{
    const struct regex_order *a = pa, *b = pb;
    return a->order < b->order ? -1 : 1;
}

/* ---- making groups, sets and tries ------------------------------------------------------ */

/* Makes a group of the entries from number i on that have its host and path; returns how many. */
static size_t make_group(struct building *b, size_t i, uint32_t *first_order)
{
    struct router *r = b->r;
    const struct entry *e = b->entries;
    size_t n = 0;
    uint32_t group = ++r->n_groups;
    *first_order = e[i].order;
    while (i + n < r->n_rules && compare_hosts(&e[i], &e[i + n]) == 0 &&
           compare_paths(&e[i], &e[i + n]) == 0) {
        const struct entry *x = &e[i + n];
        r->rules[i + n] = (struct rule){x->route, x->conditions, x->order, group};
        r->texts[x->order].rule = (uint32_t) (i + n);
        if (x->order < *first_order)
            *first_order = x->order;
        n++;
    }
    r->groups[group] = (struct group){e[i].route, e[i].conditions, (uint32_t) i, (uint32_t) n, 0};
    return n;
}

/* Compiles the regexes of a set, which lie at its end of router.regexes, and sorts them. */
static bool make_regexes(struct building *b, struct host_set *set, struct regex_order *found)
{
    struct router *r = b->r;
    qsort(found, set->n_regex, sizeof(*found), compare_regexes);
    for (uint32_t i = 0; i < set->n_regex; i++) {
        const struct rule *rule = &r->rules[r->groups[found[i].path.group].first];
        char *why = NULL;
        struct str text = r->texts[rule->order].path;
        found[i].path.pattern = pattern_new(text, true, &why);
        if (!found[i].path.pattern) {
            char *all = mem_printf("path_regex '%.*s': %s", STR_ARG(text), why);
            mem_free(why);
            return fail(b, rule->order, all);
        }
        r->regexes[r->n_regexes++] = found[i].path;
    }
    return true;
}

/* Files a group under its path. */
static void file_group(struct building *b, const struct entry *e, uint32_t group, size_t *n_keys)
{
    struct trie_key *last = *n_keys ? &b->keys[*n_keys - 1] : NULL;
    if (!last || !str_eq(last->key, e->path)) {
        last = &b->keys[(*n_keys)++];
        *last = (struct trie_key){.key = e->path};
    }
    if (e->path_kind == PATH_EXACT)
        last->exact = group;
    else
        last->prefix = group;
}

/* Makes the set of all entries that have the host of number i; *end is behind them. */
static bool make_set(struct building *b, size_t i, size_t *end)
{
    struct router *r = b->r;
    struct host_set *set = &r->sets[++r->n_sets];
    *set = (struct host_set){.first_regex = r->n_regexes};
    struct regex_order *found = NULL;
    size_t n_keys = 0, at = i, n;
    for (; at < r->n_rules && compare_hosts(&b->entries[i], &b->entries[at]) == 0; at += n) {
        const struct entry *e = &b->entries[at];
        uint32_t order;
        n = make_group(b, at, &order);
        if (e->path_kind == PATH_ANY) {
            set->any = r->n_groups;
        } else if (e->path_kind == PATH_REGEX) {
            found = mem_resize(found, (set->n_regex + 1) * sizeof(*found));
            found[set->n_regex++] = (struct regex_order){{NULL, r->n_groups}, order};
        } else {
            file_group(b, e, r->n_groups, &n_keys);
        }
    }
    *end = at;
    set->paths = forest_add(&r->forest, b->keys, n_keys, PATH_BORDER, b->shorter);
    bool good = set->n_regex == 0 || make_regexes(b, set, found);
    mem_free(found);
    return good;
}

/* Files a set under its host. */
static void file_set(struct building *b, const struct entry *e, uint32_t set)
{
    if (e->host_kind == HOST_ANY) {
        b->r->any = set;
        return;
    }
    struct trie_key *last = b->n_hosts ? &b->hosts[b->n_hosts - 1] : NULL;
    if (!last || !str_eq(last->key, e->host)) {
        last = &b->hosts[b->n_hosts++];
        *last = (struct trie_key){.key = e->host};
    }
    if (e->host_kind == HOST_EXACT)
        last->exact = set;
    else
        last->prefix = set;
}

static bool build(struct building *b, const struct router_rule *rules)
{
    struct router *r = b->r;
    for (size_t i = 0; i < r->n_rules; i++) {
        if (!read_rule(b, &rules[i], i))
            return false;
    }
    qsort(b->entries, r->n_rules, sizeof(*b->entries), compare_entries);
    for (size_t i = 0, end; i < r->n_rules; i = end) {
        if (!make_set(b, i, &end))
            return false;
        file_set(b, &b->entries[i], r->n_sets);
    }
    r->hosts = forest_add(&r->forest, b->hosts, b->n_hosts, HOST_BORDER, r->shorter_host);
    for (uint32_t g = 1; g <= r->n_groups; g++)
        r->groups[g].shorter = b->shorter[g];
    return true;
}

struct router *router_new(const struct router_rule *rules, size_t n, char **why, size_t *bad_rule)
{
    struct router *r = mem_new(sizeof(*r));
    arena_init(&r->arena, NULL, SIZE_MAX);
    r->n_rules = (uint32_t) n;
    r->rules = mem_new(n * sizeof(*r->rules));
    r->texts = mem_new(n * sizeof(*r->texts));
    r->groups = mem_new((n + 1) * sizeof(*r->groups));
    r->sets = mem_new((n + 1) * sizeof(*r->sets));
    r->shorter_host = mem_new((n + 1) * sizeof(*r->shorter_host));
    r->regexes = mem_new(n * sizeof(*r->regexes));
    struct building b = {
        .r = r,
        .entries = mem_new(n * sizeof(*b.entries)),
        .keys = mem_new(n * sizeof(*b.keys)),
        .hosts = mem_new(n * sizeof(*b.hosts)),
        .shorter = mem_new((n + 1) * sizeof(*b.shorter)),
    };
    bool good = n < UINT32_MAX / 2 ? build(&b, rules) : fail(&b, 0, mem_printf("too many routes"));
    mem_free(b.entries);
    mem_free(b.keys);
    mem_free(b.hosts);
    mem_free(b.shorter);
    if (good)
        return r;
    *why = b.why;
    *bad_rule = b.bad;
    router_free(r);
    return NULL;
}

void router_free(struct router *r)
{
    if (!r)
        return;
    for (struct conditions *c = r->conditions; c; c = c->next)
        conditions_free(c);
    for (uint32_t i = 0; i < r->n_regexes; i++)
        pattern_free(r->regexes[i].pattern);
    forest_free(&r->forest);
    mem_free(r->rules);
    mem_free(r->texts);
    mem_free(r->groups);
    mem_free(r->sets);
    mem_free(r->shorter_host);
    mem_free(r->regexes);
    arena_fini(&r->arena);
    mem_free(r);
}

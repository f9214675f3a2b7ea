/* SPDX-License-Identifier: Apache-2.0 */
/* router.c: builds the router from rules in file order.
 * Invariants:
 * 1. Entries are sorted by host, path kind, path, number of conditions (most first) and file order;
 *    so the rules of a group, and the groups of a host, lie side by side.
 * 2. Numbers of sets, groups and entries count from 1; 0 means none.
 * 3. Every conditions and every pattern belongs to an entry from the moment it exists, so that
 *    router_free frees a half-built router, too. */
#include <stdlib.h>

#include "base/mem.h"
#include "http/url.h"
#include "proxy/router_store.h"

/* Room for n items and many changes, which then move nothing; what is not used is not touched. */
#define SLACK(n) ((uint64_t) (n) + (n) / 4 + 1024u)

/* A build in progress. */
struct building {
    struct router *r;
    struct router_store *s;
    const struct entry **entries; /* sorted; they lie in the store, which has room for all */
    struct trie_key *keys;        /* of the host being made */
    struct trie_key *hosts;
    uint32_t n, n_hosts;
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
static bool read_host(struct entry *e, struct arena *a, struct str host, char **why)
{
    if (host.n == 0)
        return true;
    e->host_kind = str_starts(host, STR("*.")) ? HOST_WILDCARD : HOST_EXACT;
    struct str name = e->host_kind == HOST_WILDCARD ? str_sub(host, 2, host.n) : host;
    struct head parsed = {0};
    if (str_find(name, '*') >= 0)
        *why = mem_printf("host '%.*s': a '*' may only be the whole first label, as in "
                          "*.example.com; leave host out for any host",
                          STR_ARG(host));
    else if (authority_parse(name, a, &parsed) != FAULT_OK || parsed.host.n > HOST_MAX)
        *why = mem_printf("host '%.*s' is not a host name", STR_ARG(host));
    else if (parsed.port)
        *why = mem_printf("host '%.*s': write it without a port", STR_ARG(host));
    if (*why)
        return false;
    char reversed[HOST_MAX];
    e->host = arena_str(a, host_reverse(parsed.host, reversed));
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
static bool read_path(struct entry *e, struct arena *a, struct str path, char **why)
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
    if (problem) {
        *why = mem_printf("path '%.*s': %s", STR_ARG(path), problem);
        return false;
    }
    if (e->path_kind == PATH_PREFIX)
        e->path.n--; /* without its last '/': that is the border */
    return true;
}

bool entry_read(const struct router_rule *rule, struct arena *a, struct entry *e, char **why)
{
    const struct match_conf *m = rule->match;
    e->route = route_ref(rule->route);
    e->path_kind = PATH_ANY;
    if (!conditions_new(m, a, &e->conditions, why))
        return false;
    e->n_conditions = conditions_count(e->conditions);
    if (m->path.n && m->path_regex.n) {
        *why = mem_printf("path and path_regex exclude each other");
        return false;
    }
    if (m->path_regex.n) {
        e->path_kind = PATH_REGEX;
        e->path = m->path_regex;
    }
    return read_host(e, a, m->host, why) && (m->path.n == 0 || read_path(e, a, m->path, why));
}

struct pattern *entry_pattern(const struct entry *e, char **why)
{
    char *problem = NULL;
    struct pattern *p = pattern_new(e->path, true, &problem);
    if (!p)
        *why = mem_printf("path_regex '%.*s': %s", STR_ARG(e->path), problem);
    mem_free(problem);
    return p;
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

bool entry_before(const struct entry *a, const struct entry *b)
{
    if (a->n_conditions != b->n_conditions)
        return a->n_conditions > b->n_conditions;
    return a->order < b->order;
}

static int compare_entries(const void *pa, const void *pb)
{
    const struct entry *a = *(const struct entry *const *) pa;
    const struct entry *b = *(const struct entry *const *) pb;
    int c = compare_hosts(a, b);
    if (c == 0)
        c = compare_paths(a, b);
    return c ? c : entry_before(a, b) ? -1 : 1;
}

/* Regexes of a host go by the file order of the first rule that has them. */
struct regex_order {
    struct regex_path path;
    uint64_t order;
};

static int compare_regexes(const void *pa, const void *pb)
{
    const struct regex_order *a = pa, *b = pb;
    return a->order < b->order ? -1 : 1;
}

/* ---- making groups, sets and tries ------------------------------------------------------ */

/* How many entries from number i on have its host and path; *order: the least of theirs. */
static uint32_t alike(const struct building *b, size_t i, uint64_t *order)
{
    const struct entry *const *e = b->entries;
    uint32_t n = 0;
    *order = e[i]->order;
    for (; i + n < b->n && compare_hosts(e[i], e[i + n]) == 0 && compare_paths(e[i], e[i + n]) == 0;
         n++)
        *order = e[i + n]->order < *order ? e[i + n]->order : *order;
    return n;
}

/* Makes a group of the n entries from number i on. */
static uint32_t make_group(struct building *b, size_t i, uint32_t n)
{
    uint32_t group = store_take(b->s, SLAB_GROUPS, 1), first = store_take(b->s, SLAB_RULES, n);
    const struct entry *const *e = b->entries + i;
    *(struct group *) store_at(b->s, SLAB_GROUPS, group) =
        (struct group){e[0]->route, e[0]->conditions, first, n};
    const struct entry *zero = store_at(b->s, SLAB_ENTRIES, 0);
    struct rule *rules = store_at(b->s, SLAB_RULES, first);
    for (uint32_t k = 0; k < n; k++)
        rules[k] = (struct rule){e[k]->route, e[k]->conditions, (uint32_t) (e[k] - zero)};
    return group;
}

/* Compiles the regex that the n entries from number i on have. NULL: said why. */
static const struct pattern *make_regex(struct building *b, size_t i, uint32_t n)
{
    char *why = NULL;
    struct pattern *p = entry_pattern(b->entries[i], &why);
    if (!p) {
        fail(b, (size_t) b->entries[i]->order / ORDER_STEP - 1, why);
        return NULL;
    }
    for (uint32_t k = 0; k < n; k++)
        ((struct entry *) (uintptr_t) b->entries[i + k])->pattern = k ? pattern_ref(p) : p;
    return p;
}

/* The regexes of a set, in order. */
static void place_regexes(struct building *b, struct host_set *set, struct regex_order *found)
{
    qsort(found, set->n_regex, sizeof(*found), compare_regexes);
    set->first_regex = store_take(b->s, SLAB_REGEXES, set->n_regex);
    struct regex_path *to = store_at(b->s, SLAB_REGEXES, set->first_regex);
    for (uint32_t i = 0; i < set->n_regex; i++)
        to[i] = found[i].path;
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
    last->near = group_near(store_at(b->s, SLAB_GROUPS, group));
}

/* Makes the set of all entries that have the host of number i; *end is behind them. */
static bool make_set(struct building *b, size_t i, uint32_t number, size_t *end)
{
    struct host_set set = {0};
    struct regex_order *found = NULL;
    size_t n_keys = 0, at = i, n;
    bool good = true;
    for (; at < b->n && good && compare_hosts(b->entries[i], b->entries[at]) == 0; at += n) {
        const struct entry *e = b->entries[at];
        uint64_t order;
        n = alike(b, at, &order);
        uint32_t group = make_group(b, at, (uint32_t) n);
        if (e->path_kind == PATH_ANY) {
            set.any = group;
        } else if (e->path_kind == PATH_REGEX) {
            found = mem_resize(found, (set.n_regex + 1) * sizeof(*found));
            found[set.n_regex++] =
                (struct regex_order){{make_regex(b, at, (uint32_t) n), group}, order};
            good = b->why == NULL;
        } else {
            file_group(b, e, group, &n_keys);
        }
    }
    *end = at;
    set.paths = trie_make(&b->s->tries, b->keys, n_keys);
    if (set.n_regex)
        place_regexes(b, &set, found);
    mem_free(found);
    *(struct host_set *) store_at(b->s, SLAB_SETS, number) = set;
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

static bool read_rules(struct building *b, const struct router_rule *rules)
{
    for (uint32_t i = 0; i < b->n; i++) {
        struct entry *e = store_at(b->s, SLAB_ENTRIES, store_take(b->s, SLAB_ENTRIES, 1));
        char *why = NULL;
        b->entries[i] = e;
        e->order = b->s->last_order += ORDER_STEP;
        if (!entry_read(&rules[i], &b->s->arena, e, &why))
            return fail(b, i, why);
    }
    return true;
}

static bool build(struct building *b, const struct router_rule *rules)
{
    struct router *r = b->r;
    slab_reserve(&b->s->slabs[SLAB_ENTRIES], SLACK(b->n));
    slab_reserve(&b->s->slabs[SLAB_RULES], SLACK(b->n));
    slab_reserve(&b->s->slabs[SLAB_GROUPS], SLACK(b->n));
    slab_reserve(&b->s->slabs[SLAB_CELLS], SLACK(b->n));
    names_init(r, b->n);
    if (!read_rules(b, rules))
        return false;
    for (uint32_t i = 0; i < b->n; i++)
        names_add(r, i + 1);
    qsort(b->entries, b->n, sizeof(*b->entries), compare_entries);
    for (size_t i = 0, end; i < b->n; i = end) {
        uint32_t set = store_take(b->s, SLAB_SETS, 1);
        if (!make_set(b, i, set, &end))
            return false;
        file_set(b, b->entries[i], set);
    }
    r->hosts = trie_make(&b->s->tries, b->hosts, b->n_hosts);
    r->n_rules = b->n;
    slab_reserve(&b->s->tries.nodes, SLACK(b->s->tries.nodes.n));
    slab_reserve(&b->s->tries.table, SLACK(b->s->tries.table.n) + 8192);
    return true;
}

struct router *router_new(const struct router_rule *rules, size_t n, char **why, size_t *bad_rule)
{
    struct router *r = router_store_new();
    struct building b = {
        .r = r,
        .s = r->store,
        .n = (uint32_t) n,
        .entries = mem_new(n * sizeof(*b.entries)),
        .keys = mem_new(n * sizeof(*b.keys)),
        .hosts = mem_new(n * sizeof(*b.hosts)),
    };
    bool good = n < UINT32_MAX / 4 ? build(&b, rules) : fail(&b, 0, mem_printf("too many routes"));
    mem_free(b.entries);
    mem_free(b.keys);
    mem_free(b.hosts);
    if (good) {
        router_look(r);
        router_keep(r);
        return r;
    }
    *why = b.why;
    *bad_rule = b.bad;
    router_free(r);
    return NULL;
}

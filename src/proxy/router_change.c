/* SPDX-License-Identifier: Apache-2.0 */
/* router_change.c: a router that differs from its predecessor in one rule. The group, the set and
 * the way to each of them in the tries are made anew; the rest is shared.
 * Invariants:
 * 1. What comes of it routes as one does that was built from the same rules: order says where a
 *    rule would stand in the file.
 * 2. A group without rules, and a set without groups, are not there. */
#include "base/mem.h"
#include "base/panic.h"
#include "proxy/conf.h"
#include "proxy/router_store.h"

/* Where a rule is, or would be. */
struct place {
    uint32_t set_at, group_at; /* 0: there is none yet */
    struct host_set set;
    struct group group;
    uint32_t regex; /* PATH_REGEX: place among the set's; n_regex: none yet */
};

static const struct entry *entry_at(const struct router_store *s, uint32_t at)
{
    return store_at(s, SLAB_ENTRIES, at);
}

static const struct group *group_at(const struct router_store *s, uint32_t at)
{
    return store_at(s, SLAB_GROUPS, at);
}

static enum trie_kind host_in_trie(const struct entry *e)
{
    return e->host_kind == HOST_EXACT ? TRIE_EXACT : TRIE_PREFIX;
}

static enum trie_kind path_in_trie(const struct entry *e)
{
    return e->path_kind == PATH_EXACT ? TRIE_EXACT : TRIE_PREFIX;
}

/* ---- finding ------------------------------------------------------------------------------- */

/* An entry of the regex number i of a set. */
static const struct entry *regex_entry(const struct router_store *s, const struct host_set *set,
                                       uint32_t i, uint32_t rule)
{
    const struct regex_path *p = store_at(s, SLAB_REGEXES, set->first_regex + i);
    const struct rule *r = store_at(s, SLAB_RULES, group_at(s, p->group)->first + rule);
    return entry_at(s, r->entry);
}

static uint32_t find_regex(const struct router_store *s, const struct host_set *set,
                           struct str text)
{
    uint32_t i = 0;
    while (i < set->n_regex && !str_eq(regex_entry(s, set, i, 0)->path, text))
        i++;
    return i;
}

static void find_group(const struct router_store *s, const struct entry *e, struct place *p)
{
    if (e->path_kind == PATH_ANY) {
        p->group_at = p->set.any;
    } else if (e->path_kind == PATH_REGEX) {
        p->regex = find_regex(s, &p->set, e->path);
        if (p->regex < p->set.n_regex)
            p->group_at = ((const struct regex_path *) store_at(s, SLAB_REGEXES,
                                                                p->set.first_regex + p->regex))
                              ->group;
    } else {
        p->group_at = trie_get(&s->tries, p->set.paths, e->path, path_in_trie(e));
    }
    if (p->group_at)
        p->group = *group_at(s, p->group_at);
}

static struct place find_place(const struct router *r, const struct entry *e)
{
    const struct router_store *s = r->store;
    struct place p = {0};
    p.set_at =
        e->host_kind == HOST_ANY ? r->any : trie_get(&s->tries, r->hosts, e->host, host_in_trie(e));
    if (p.set_at)
        p.set = *(struct host_set *) store_at(s, SLAB_SETS, p.set_at);
    find_group(s, e, &p);
    return p;
}

/* ---- groups -------------------------------------------------------------------------------- */

/* The group's rules anew: without entry `without`, with entry `with` (0: none) in its place. */
static void change_rules(struct router_store *s, struct group *g, uint32_t without, uint32_t with)
{
    uint32_t old = g->first, had = g->n, n = had + (with != 0) - (without != 0), at = 0;
    uint32_t first = n ? store_take(s, SLAB_RULES, n) : 0;
    const struct rule *from = store_at(s, SLAB_RULES, old);
    struct rule *to = store_at(s, SLAB_RULES, first);
    const struct entry *e = entry_at(s, with);
    for (uint32_t i = 0; i < had; i++) {
        if (from[i].entry == without)
            continue;
        if (with && entry_before(e, entry_at(s, from[i].entry))) {
            to[at++] = (struct rule){e->route, e->conditions, with};
            with = 0;
        }
        to[at++] = from[i];
    }
    if (with)
        to[at++] = (struct rule){e->route, e->conditions, with};
    must(at == n);
    store_leave(s, SLAB_RULES, old, had);
    *g = (struct group){.first = first, .n = n};
    if (n) {
        g->route = to[0].route;
        g->conditions = to[0].conditions;
    }
}

/* Where in the file the first rule of a group stands. */
static uint64_t group_order(const struct router_store *s, uint32_t group)
{
    const struct group *g = group_at(s, group);
    const struct rule *rules = store_at(s, SLAB_RULES, g->first);
    uint64_t order = UINT64_MAX;
    for (uint32_t i = 0; i < g->n; i++) {
        uint64_t one = entry_at(s, rules[i].entry)->order;
        order = one < order ? one : order;
    }
    return order;
}

/* The set's regexes anew, in order, with group for number p->regex; 0: without it. */
static void change_regexes(struct router_store *s, struct place *p, uint32_t group,
                           const struct pattern *pattern)
{
    uint32_t old = p->set.first_regex, had = p->set.n_regex, at = 0;
    uint32_t n = had + (group != 0) - (p->regex < had);
    uint32_t first = n ? store_take(s, SLAB_REGEXES, n) : 0;
    const struct regex_path *from = store_at(s, SLAB_REGEXES, old);
    struct regex_path *to = store_at(s, SLAB_REGEXES, first);
    uint64_t order = group ? group_order(s, group) : 0;
    for (uint32_t i = 0; i < had; i++) {
        if (i == p->regex)
            continue;
        if (group && order < group_order(s, from[i].group)) {
            to[at++] = (struct regex_path){pattern, group};
            group = 0;
        }
        to[at++] = from[i];
    }
    if (group)
        to[at++] = (struct regex_path){pattern, group};
    must(at == n);
    store_leave(s, SLAB_REGEXES, old, had);
    p->set.first_regex = first;
    p->set.n_regex = n;
}

/* The set leads to group in place of the old one; 0: to none. */
static void file_group(struct router_store *s, const struct entry *e, struct place *p,
                       uint32_t group)
{
    if (e->path_kind == PATH_ANY)
        p->set.any = group;
    else if (e->path_kind == PATH_REGEX)
        change_regexes(s, p, group, e->pattern);
    else if (group)
        p->set.paths = trie_put(&s->tries, p->set.paths, e->path, path_in_trie(e), group,
                                group_near(&p->group));
    else
        p->set.paths = trie_take(&s->tries, p->set.paths, e->path, path_in_trie(e));
}

/* The router leads to the set as p has it in place of the old one. */
static void file_set(struct router *r, const struct entry *e, const struct place *p)
{
    struct router_store *s = r->store;
    bool empty = !p->set.paths && !p->set.any && !p->set.n_regex;
    uint32_t set = empty ? 0 : store_take(s, SLAB_SETS, 1);
    if (set)
        *(struct host_set *) store_at(s, SLAB_SETS, set) = p->set;
    store_leave(s, SLAB_SETS, p->set_at, 1);
    if (e->host_kind == HOST_ANY)
        r->any = set;
    else if (set)
        r->hosts =
            trie_put(&s->tries, r->hosts, e->host, host_in_trie(e), set, (struct trie_near){0});
    else
        r->hosts = trie_take(&s->tries, r->hosts, e->host, host_in_trie(e));
}

/* One of without and with is 0; the other's entry is where the place is. */
static void change_place(struct router *r, uint32_t without, uint32_t with)
{
    struct router_store *s = r->store;
    const struct entry e = *entry_at(s, with ? with : without);
    struct place p = find_place(r, &e);
    change_rules(s, &p.group, without, with);
    uint32_t group = p.group.n ? store_take(s, SLAB_GROUPS, 1) : 0;
    if (group)
        *(struct group *) store_at(s, SLAB_GROUPS, group) = p.group;
    store_leave(s, SLAB_GROUPS, p.group_at, 1);
    file_group(s, &e, &p, group);
    file_set(r, &e, &p);
}

/* ---- changes ------------------------------------------------------------------------------- */

/* The rule's texts, which are not to be borrowed. */
static struct match_conf own_match(const struct match_conf *m, struct arena *a)
{
    struct match_conf own;
    schema_copy_in(&match_schema, &own, m, a);
    return own;
}

/* The pattern of the group that it comes to, or a new one. */
static struct pattern *pattern_for(const struct router *r, const struct entry *e, char **why)
{
    struct place p = find_place(r, e);
    if (p.regex < p.set.n_regex)
        return pattern_ref(regex_entry(r->store, &p.set, p.regex, 0)->pattern);
    return entry_pattern(e, why);
}

static bool add(struct router *r, const struct router_rule *rule, uint64_t order, char **why)
{
    struct router_store *s = r->store;
    struct arena *own = mem_new(sizeof(*own));
    arena_init(own, NULL, SIZE_MAX);
    struct match_conf match = own_match(rule->match, own);
    struct router_rule owned = {&match, rule->route};
    uint32_t at = store_take(s, SLAB_ENTRIES, 1);
    struct entry *e = store_at(s, SLAB_ENTRIES, at);
    e->own = own;
    e->order = order;
    if (!entry_read(&owned, own, e, why))
        return false;
    if (e->path_kind == PATH_REGEX && !(e->pattern = pattern_for(r, e, why)))
        return false;
    change_place(r, 0, at);
    r->n_rules++;
    names_add(r, at);
    return true;
}

static void take_out(struct router *r, uint32_t entry)
{
    change_place(r, entry, 0);
    names_remove(r, entry);
    r->n_rules--;
    store_leave(r->store, SLAB_ENTRIES, entry, 1);
}

struct router *router_change(const struct router *from, struct str remove,
                             const struct router_rule *rule, char **why)
{
    struct router_store *s = from->store;
    uint32_t old = remove.n ? names_find(from, remove) : 0;
    must(old || !remove.n);
    uint64_t order = old ? entry_at(s, old)->order : s->last_order + ORDER_STEP;
    struct router *r = router_version(s);
    if (old)
        take_out(r, old);
    if (rule && !add(r, rule, order, why)) {
        router_free(r);
        return NULL;
    }
    s->last_order = order > s->last_order ? order : s->last_order;
    router_look(r);
    return r;
}

/* ---- asking -------------------------------------------------------------------------------- */

struct route *router_route(const struct router *r, struct str name)
{
    uint32_t entry = names_find(r, name);
    return entry ? r->entries[entry].route : NULL;
}

uint32_t router_count(const struct router *r)
{
    return r->n_rules;
}

struct each {
    const struct router *r;
    void (*fn)(void *arg, struct route *route);
    void *arg;
};

static void call(void *arg, uint32_t entry)
{
    const struct each *e = arg;
    e->fn(e->arg, e->r->entries[entry].route);
}

void router_each(const struct router *r, void (*fn)(void *arg, struct route *route), void *arg)
{
    struct each e = {r, fn, arg};
    names_each(r, call, &e);
}

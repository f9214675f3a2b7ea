/* SPDX-License-Identifier: Apache-2.0 */
/* router_explain.c: says of every rule why it does not answer a request. The answer itself comes
 * from the one matcher; here each rule is looked at by itself, in file order. Invariant: the rule
 * told as "chosen" is the one that router_match finds. */
#include <stdlib.h>

#include "base/mem.h"
#include "proxy/router_store.h"

/* The rule's host takes in the request's. */
static bool host_takes(const struct entry *e, struct str host)
{
    char room[HOST_MAX];
    if (e->host_kind == HOST_ANY)
        return true;
    if (host.n > HOST_MAX)
        return false;
    struct str reversed = host_reverse(host, room);
    if (e->host_kind == HOST_EXACT)
        return str_eq(e->host, reversed);
    return host.n > e->host.n + 1 && str_starts(reversed, e->host) && reversed.p[e->host.n] == '.';
}

/* The rule's path takes in the request's. */
static bool path_takes(struct walk *w, const struct entry *t)
{
    struct str path = w->head->path;
    bool yes = false;
    switch ((enum path_kind) t->path_kind) {
    case PATH_ANY:
        return true;
    case PATH_EXACT:
        return str_eq(t->path, path);
    case PATH_REGEX:
        w->fault = pattern_match(t->pattern, path, &w->run, &yes);
        return yes;
    case PATH_PREFIX:
        return t->path.n == 0 ||
               (str_starts(path, t->path) && (path.n == t->path.n || path.p[t->path.n] == '/'));
    }
    return false;
}

/* "header x-a: wants 'b'", in the arena. */
static const char *condition_text(struct walk *w, const char *what, const struct condition *c)
{
    bool present = c->kind == CONDITION_PRESENT;
    struct str s =
        arena_printf(w->run.arena, "%s %.*s %s%.*s", what, STR_ARG(c->name),
                     present ? "is absent" : "is not ", present ? 0 : (int) c->value.n, c->value.p);
    return s.p ? s.p : what;
}

/* Why rule does not answer, were it alone; NULL: it would. */
static const char *refusal(struct walk *w, const struct entry *t)
{
    if (!host_takes(t, w->head->host))
        return "host differs";
    bool path = path_takes(w, t);
    if (w->fault != FAULT_OK)
        return fault_name(w->fault);
    if (!path)
        return t->path_kind == PATH_REGEX ? "path_regex does not match" : "path differs";
    if (!t->conditions)
        return NULL;
    const struct condition *which = NULL;
    switch (conditions_test(t->conditions, w, &which)) {
    case VERDICT_HOLD:
        return NULL;
    case VERDICT_METHOD:
        return "method differs";
    case VERDICT_HEADER:
        return condition_text(w, "header", which);
    case VERDICT_QUERY:
        return condition_text(w, "query parameter", which);
    case VERDICT_TLS:
        return "sni or alpn differs";
    case VERDICT_FAULT:
        break;
    }
    return fault_name(w->fault);
}

/* All entries, in file order. */
struct listing {
    const struct router *r;
    const struct entry **v;
    size_t n;
};

static void list_entry_of(void *arg, uint32_t entry)
{
    struct listing *l = arg;
    l->v[l->n++] = &l->r->entries[entry];
}

static int compare_order(const void *pa, const void *pb)
{
    const struct entry *a = *(const struct entry *const *) pa;
    const struct entry *b = *(const struct entry *const *) pb;
    return a->order < b->order ? -1 : 1;
}

struct route *router_explain(const struct router *r, const struct head *h, struct arena *a,
                             router_trace trace, void *arg)
{
    struct walk w = {.router = r, .head = h, .run = {.arena = a}};
    struct route *route = router_walk(&w);
    uint32_t rule = w.chosen ? w.chosen : r->groups[w.group].first;
    struct listing l = {r, mem_new(r->n_rules * sizeof(*l.v)), 0};
    names_each(r, list_entry_of, &l);
    qsort(l.v, l.n, sizeof(*l.v), compare_order);
    for (size_t i = 0; i < l.n; i++) {
        w.fault = FAULT_OK;
        bool chosen = route && l.v[i] == &r->entries[r->rules[rule].entry];
        const char *why = chosen ? "chosen" : refusal(&w, l.v[i]);
        trace(arg, l.v[i]->route, why ? why : "matches, but a more specific rule comes first");
    }
    mem_free(l.v);
    if (w.run.memory)
        pattern_run_end(&w.run);
    return route;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* router_explain.c: says of every rule why it does not answer a request. The answer itself comes
 * from the one matcher; here each rule is looked at by itself, in file order. Invariant: the rule
 * told as "chosen" is the one that router_match finds. */
#include "proxy/router_inside.h"

/* The rule's host takes in the request's. */
static bool host_takes(const struct rule_text *t, struct str host)
{
    if (t->host_kind == HOST_ANY)
        return true;
    if (t->host_kind == HOST_EXACT)
        return str_eq(t->host, host);
    return host.n > t->host.n + 1 && str_ends(host, t->host) &&
           host.p[host.n - t->host.n - 1] == '.';
}

/* The pattern of a rule with path_regex. */
static const struct pattern *regex_of(const struct router *r, const struct rule *rule)
{
    uint32_t i = 0;
    while (r->regexes[i].group != rule->group)
        i++;
    return r->regexes[i].pattern;
}

/* The rule's path takes in the request's. */
static bool path_takes(struct walk *w, const struct rule_text *t, const struct rule *rule)
{
    struct str path = w->head->path;
    bool yes = false;
    switch ((enum path_kind) t->path_kind) {
    case PATH_ANY:
        return true;
    case PATH_EXACT:
        return str_eq(t->path, path);
    case PATH_REGEX:
        w->fault = pattern_match(regex_of(w->router, rule), path, &w->run, &yes);
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
static const char *refusal(struct walk *w, const struct rule_text *t, const struct rule *rule)
{
    if (!host_takes(t, w->head->host))
        return "host differs";
    bool path = path_takes(w, t, rule);
    if (w->fault != FAULT_OK)
        return fault_name(w->fault);
    if (!path)
        return t->path_kind == PATH_REGEX ? "path_regex does not match" : "path differs";
    if (!rule->conditions)
        return NULL;
    const struct condition *which = NULL;
    switch (conditions_test(rule->conditions, w, &which)) {
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

struct route *router_explain(const struct router *r, const struct head *h, struct arena *a,
                             router_trace trace, void *arg)
{
    struct walk w = {.router = r, .head = h, .run = {.arena = a}};
    struct route *route = router_walk(&w);
    for (uint32_t i = 0; i < r->n_rules; i++) {
        const struct rule_text *t = &r->texts[i];
        const struct rule *rule = &r->rules[t->rule];
        w.fault = FAULT_OK;
        const char *why = route && t->rule == w.chosen ? "chosen" : refusal(&w, t, rule);
        trace(arg, rule->route, why ? why : "matches, but a more specific rule comes first");
    }
    if (w.run.memory)
        pattern_run_end(&w.run);
    return route;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_routes.c: nested routes made flat: conditions joined, names given, actions decided.
 * Invariants:
 * 1. A nested route matches nothing that the route around it does not match.
 * 2. Names of routes are unique, nested or not; one given in the text is never changed. */
#include <stdio.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "control/conf_check.h"
#include "control/conf_node.h"
#include "http/url.h"

#define DEPTH_MAX 32u       /* routes within routes */
#define NAME_MAX_BYTES 255u /* of a given name, which stands in paths of the API and in logs */

/* ---- joining matches ----------------------------------------------------------------------- */

static bool is_low(struct str s)
{
    size_t i = 0;
    while (i < s.n && str_lower(s.p[i]) == s.p[i])
        i++;
    return i == s.n;
}

static struct str lowered(struct str s, struct arena *a)
{
    if (is_low(s))
        return s;
    struct str low = arena_str(a, s);
    for (size_t i = 0; i < s.n; i++)
        ((char *) low.p)[i] = str_lower(s.p[i]);
    return low;
}

/* Every host that inner names is one that outer names. */
static bool host_within(struct str outer, struct str inner)
{
    if (outer.n == 0 || str_eq(outer, inner))
        return true;
    return str_starts(outer, STR("*.")) && str_ends(inner, str_sub(outer, 1, outer.n));
}

/* As requests' paths are matched; one that is no path, which is said elsewhere, as it is. */
static struct str matched(struct str path, struct arena *a)
{
    struct str normal;
    return path_normalise(path, a, &normal) == FAULT_OK ? normal : path;
}

static bool path_within(struct str outer, struct str inner, struct arena *a)
{
    outer = matched(outer, a);
    inner = matched(inner, a);
    if (outer.n == 0 || str_eq(outer, inner))
        return true;
    return str_ends(outer, STR("/*")) && (str_starts(inner, str_sub(outer, 0, outer.n - 1)) ||
                                          str_eq(inner, str_sub(outer, 0, outer.n - 2)));
}

/* A pattern that plainly begins with the outer prefix. */
static bool regex_within(struct str outer, struct str pattern)
{
    if (outer.n == 0 || str_eq(outer, STR("/*")))
        return true;
    struct str prefix = str_sub(outer, 0, outer.n - 1);
    if (pattern.n && pattern.p[0] == '^')
        pattern = str_sub(pattern, 1, pattern.n);
    for (size_t i = 0; i < pattern.n; i++) {
        if (pattern.p[i] == '|')
            return false;
    }
    if (!str_ends(outer, STR("/*")) || !str_starts(pattern, prefix))
        return false;
    /* What may be there or not is the last slash of the prefix. */
    return pattern.n == prefix.n || !memchr("?*{", pattern.p[prefix.n], 3);
}

static void join_paths(struct match_conf *m, const struct match_conf *outer,
                       const struct match_conf *inner, struct conf_errors *e)
{
    struct schema_pos at = conf_place_of(e, inner->path, inner->pos);
    if (inner->path.n == 0 && inner->path_regex.n == 0) {
        m->path = outer->path;
        m->path_regex = outer->path_regex;
    } else if (outer->path_regex.n) {
        conf_say(e, at,
                 "a path within a route that has path_regex: the two cannot be joined; "
                 "give the outer route a path");
    } else if (inner->path.n && !path_within(outer->path, inner->path, e->arena)) {
        conf_say(e, at, "path \"%.*s\" does not lie under \"%.*s\" of the route around it",
                 STR_ARG(inner->path), STR_ARG(outer->path));
    } else if (inner->path_regex.n && outer->path.n && !str_ends(outer->path, STR("/*"))) {
        conf_say(e, conf_place_of(e, inner->path_regex, inner->pos),
                 "path_regex: the route around it has the one path \"%.*s\"; leave path_regex out, "
                 "or give the outer route a path that ends in /*",
                 STR_ARG(outer->path));
    } else if (inner->path_regex.n && !regex_within(outer->path, inner->path_regex)) {
        conf_say(e, conf_place_of(e, inner->path_regex, inner->pos),
                 "path_regex must begin with \"%.*s\", the path of the route around it, go on "
                 "without a quantifier and have no '|'",
                 (int) (outer->path.n - (outer->path.n > 0)), outer->path.p);
    }
}

/* What is in both lists, where both are given. what: of them, for the message. */
static void join_lists(struct schema_list *to, const struct schema_list *outer,
                       const struct match_conf *inner, const char *what, struct conf_errors *e)
{
    struct schema_list own = *to;
    const struct str *a = outer->items, *b = own.items;
    if (outer->n == 0 || own.n == 0) {
        *to = own.n ? own : *outer;
        return;
    }
    struct str *both = conf_alloc(e->arena, own.n * sizeof *both);
    size_t n = 0;
    for (size_t i = 0; i < own.n; i++) {
        size_t j = 0;
        while (j < outer->n && !str_eq(a[j], b[i]))
            j++;
        if (j < outer->n)
            both[n++] = b[i];
    }
    *to = (struct schema_list){both, n};
    if (n == 0)
        conf_say(e, inner->pos, "no %s is left: the route around this one allows others", what);
}

static struct schema_map join_conditions(const struct schema_map *outer,
                                         const struct schema_map *inner, struct arena *a)
{
    if (outer->n == 0 || inner->n == 0)
        return inner->n ? *inner : *outer;
    size_t n = outer->n + inner->n;
    struct schema_map m = {conf_alloc(a, n * sizeof(struct str)),
                           conf_alloc(a, n * sizeof(struct str)), n};
    memcpy(m.names, outer->names, outer->n * sizeof(struct str));
    memcpy(m.names + outer->n, inner->names, inner->n * sizeof(struct str));
    memcpy(m.items, outer->items, outer->n * sizeof(struct str));
    memcpy((struct str *) m.items + outer->n, inner->items, inner->n * sizeof(struct str));
    return m;
}

/* The inner host or sni in lower case, where it is given. */
static struct str join_names(struct str outer, struct str name, const struct match_conf *inner,
                             const char *what, struct conf_errors *e)
{
    if (name.n == 0)
        return outer;
    struct str low = lowered(name, e->arena);
    if (!host_within(outer, low))
        conf_say(e, conf_place_of(e, name, inner->pos),
                 "%s \"%.*s\" is not one of \"%.*s\", the %s of the route around it", what,
                 STR_ARG(name), STR_ARG(outer), what);
    return low;
}

/* The match of a route nested in another (NULL: in none); says what contradicts. */
static const struct match_conf *join(const struct match_conf *outer, const struct match_conf *inner,
                                     struct conf_errors *e)
{
    static const struct match_conf anything;
    if (!outer && is_low(inner->host) && is_low(inner->sni))
        return inner;
    outer = outer ? outer : &anything;
    struct match_conf *m = conf_alloc(e->arena, sizeof *m);
    *m = *inner;
    m->host = join_names(outer->host, inner->host, inner, "host", e);
    m->sni = join_names(outer->sni, inner->sni, inner, "sni", e);
    join_paths(m, outer, inner, e);
    join_lists(&m->methods, &outer->methods, inner, "method", e);
    join_lists(&m->alpn, &outer->alpn, inner, "protocol", e);
    m->headers = join_conditions(&outer->headers, &inner->headers, e->arena);
    m->query = join_conditions(&outer->query, &inner->query, e->arena);
    return m;
}

/* ---- names --------------------------------------------------------------------------------- */

/* "GET,POST shop.example/api/" + "*": what a person would call it. */
static struct str name_of_match(const struct match_conf *m, bool passthrough, struct arena *a)
{
    const struct str *methods = m->methods.items;
    struct str name = STR("");
    for (size_t i = 0; i < m->methods.n; i++)
        name = arena_printf(a, "%.*s%s%.*s", STR_ARG(name), i ? "," : "", STR_ARG(methods[i]));
    if (m->sni.n)
        name = arena_printf(a, "%.*s%ssni:%.*s", STR_ARG(name), name.n ? " " : "", STR_ARG(m->sni));
    const struct str *protocols = m->alpn.items;
    for (size_t i = 0; i < m->alpn.n; i++)
        name = arena_printf(a, "%.*s%s%.*s", STR_ARG(name),
                            i        ? ","
                            : name.n ? " alpn:"
                                     : "alpn:",
                            STR_ARG(protocols[i]));
    bool regex = m->path_regex.n > 0;
    if (passthrough && name.n)
        return name;
    struct str path = regex ? m->path_regex : m->path.n ? m->path : STR("/*");
    return arena_printf(a, "%.*s%s%.*s%s%.*s", STR_ARG(name), name.n ? " " : "", STR_ARG(m->host),
                        regex ? "~" : "", STR_ARG(path));
}

/* Names are unique, those of routes that only hold others too: it is by them that routes are found
 * and changed. */
static void take_given_name(struct map *names, const struct route_conf *r, struct conf_errors *e)
{
    const struct route_conf *other = map_set(names, r->name, (void *) (uintptr_t) r);
    bool dots = str_eq(r->name, STR(".")) || str_eq(r->name, STR(".."));
    if (!other && !dots && str_printable(r->name) && r->name.n <= NAME_MAX_BYTES &&
        !str_starts(r->name, STR("_")))
        return;
    struct schema_pos at = conf_place_of(e, r->name, r->pos);
    if (!str_printable(r->name))
        conf_say(e, at, "a route's name holds a control byte");
    if (r->name.n > NAME_MAX_BYTES)
        conf_say(e, at, "a route's name has %zu bytes; %u are allowed", r->name.n, NAME_MAX_BYTES);
    else if (str_starts(r->name, STR("_")))
        conf_say(e, at, "route name \"%.*s\": names that begin with _ are Weir's own",
                 STR_ARG(r->name));
    else if (dots)
        conf_say(e, at, "\"%.*s\" is no name: no path of the admin API could end in it",
                 STR_ARG(r->name));
    else if (other && other->pos.line && other->pos.line < CONF_JSON_LINE)
        conf_say(e, at, "route name \"%.*s\" is given twice; the first is at line %u",
                 STR_ARG(r->name), conf_place_of(e, other->name, other->pos).line);
    else if (other)
        conf_say(e, at, "route name \"%.*s\" is given twice", STR_ARG(r->name));
}

/* names: those that are given. */
static void give_names(struct flat_routes *flat, struct map *names, struct arena *a)
{
    struct map last = {0}; /* name -> the number that its last namesake got */
    for (size_t i = 0; i < flat->n; i++) {
        struct flat_route *r = &flat->v[i];
        r->name = r->conf->name;
        if (r->name.n)
            continue;
        struct str name = name_of_match(r->match, r->conf->passthrough, a), first = name;
        /* The second of a name counts on from the route that took it first. */
        uintptr_t k = map_get(names, name) ? (uintptr_t) map_get(&last, first) : 0;
        for (k = k ? k : 1; map_get(names, name);)
            name = arena_printf(a, "%.*s#%zu", STR_ARG(first), (size_t) ++k);
        if (k > 1)
            map_set(&last, first, (void *) k);
        r->name = name;
        map_set(names, name, r);
    }
    map_fini(&last);
}

/* ---- actions ------------------------------------------------------------------------------- */

struct flattening {
    const struct proxy_conf *conf;
    struct conf_errors *errors;
    struct flat_routes flat;
    struct map upstreams; /* name -> index + 1 */
    struct map names;     /* of routes, as given or made; -> something */
};

static void unknown_upstream(struct flattening *f, const struct route_conf *r)
{
    const char *near = NULL;
    for (size_t i = 0; i < f->conf->upstreams.n && i < 10000; i++) {
        struct str name = arena_str(f->errors->arena, f->conf->upstreams.names[i]);
        near = schema_nearer(r->to, near, name.p);
    }
    struct schema_pos at = conf_place_of(f->errors, r->to, r->pos);
    if (near)
        conf_say(f->errors, at, "unknown upstream \"%.*s\"; did you mean \"%s\"?", STR_ARG(r->to),
                 near);
    else if (f->conf->upstreams.n)
        conf_say(f->errors, at, "unknown upstream \"%.*s\"; there is \"%.*s\"%s", STR_ARG(r->to),
                 STR_ARG(f->conf->upstreams.names[0]),
                 f->conf->upstreams.n > 1 ? " and others" : "");
    else
        conf_say(f->errors, at, "unknown upstream \"%.*s\"; upstreams: has none", STR_ARG(r->to));
}

/* What a route that takes connections may not say, since nothing of HTTP is seen of them. */
static void check_passthrough(struct flattening *f, const struct route_conf *r,
                              const struct match_conf *m)
{
    const struct rewrite_conf *w = &r->rewrite;
    const char *wrong = NULL;
    if (!r->to.n)
        wrong = "it needs \"to\": an upstream is all that a connection can be given to";
    else if (m->host.n || m->path.n || m->path_regex.n || m->methods.n || m->headers.n ||
             m->query.n)
        wrong = "match has conditions on requests; connections are matched by sni and alpn";
    else if (w->host.n || w->strip_prefix.n || w->add_prefix.n || w->regex.n)
        wrong = "rewrite changes requests";
    else if (r->routes.n)
        wrong = "it cannot have routes within; write them side by side";
    for (size_t i = 0; i < FEATURE_MAX && !wrong; i++) {
        if (r->features[i] != f->conf->features[i])
            wrong = "it has keys about requests or answers (header rules and the like)";
    }
    if (wrong)
        conf_say(f->errors, r->pos, "a passthrough route relays bytes that it does not read: %s",
                 wrong);
}

/* Decides what r does; false: nothing by itself. */
static bool decide(struct flattening *f, const struct route_conf *r, struct flat_route *out)
{
    unsigned n = (r->to.n ? 1u : 0u) + r->redirect_given + r->reply_given + (r->handler ? 1u : 0u);
    if (n > 1)
        conf_say(f->errors, r->pos,
                 "a route does one thing: it has %u of to, redirect and reply; keep one", n);
    if (r->passthrough)
        check_passthrough(f, r, out->match);
    else if (out->match->alpn.n && n > 0)
        conf_say(f->errors, r->pos,
                 "match.alpn is of passthrough routes only; add passthrough: true, or take it out");
    if (n == 0 && r->routes.n == 0)
        conf_say(f->errors, r->pos,
                 "this route does nothing; give it to, redirect, reply or routes");
    if (n != 1)
        return false;
    out->action = r->handler          ? ROUTE_HANDLER
                  : r->redirect_given ? ROUTE_REDIRECT
                  : r->reply_given    ? ROUTE_REPLY
                                      : ROUTE_UPSTREAM;
    if (out->action == ROUTE_REDIRECT && r->redirect.to.n == 0)
        conf_say(f->errors, r->pos, "redirect: \"to\" is missing");
    if (out->action == ROUTE_UPSTREAM) {
        out->upstream = (size_t) (uintptr_t) map_get(&f->upstreams, r->to);
        const struct upstream_conf *u = f->conf->upstreams.items;
        if (out->upstream-- == 0)
            unknown_upstream(f, r);
        else if (r->passthrough && (upstream_speaks_tls(&u[out->upstream]) ||
                                    u[out->upstream].protocol == PROTOCOL_H2))
            conf_say(f->errors, r->pos,
                     "a passthrough route's upstream cannot have tls or protocol: h2: the client's "
                     "own TLS goes to the endpoint as it is");
    }
    return true;
}

/* How many routes there are, those within others too. */
static size_t count(const struct schema_list *routes, unsigned depth)
{
    const struct route_conf *r = routes->items;
    size_t n = routes->n;
    for (size_t i = 0; i < routes->n && depth < DEPTH_MAX; i++)
        n += count(&r[i].routes, depth + 1);
    return n;
}

static void flatten(struct flattening *f, const struct schema_list *routes,
                    const struct match_conf *outer, unsigned depth)
{
    const struct route_conf *r = routes->items;
    for (size_t i = 0; i < routes->n; i++) {
        struct flat_route one = {.conf = &r[i]};
        if (r[i].name.n)
            take_given_name(&f->names, &r[i], f->errors);
        one.match = join(outer, &r[i].match, f->errors);
        if (depth < DEPTH_MAX)
            flatten(f, &r[i].routes, one.match, depth + 1);
        else if (r[i].routes.n)
            conf_say(f->errors, r[i].pos, "routes are nested too deep (32 levels are allowed)");
        if (decide(f, &r[i], &one))
            f->flat.v[f->flat.n++] = one;
    }
}

/* Without routes the one upstream gets everything. */
static void only_upstream(struct flattening *f)
{
    const struct proxy_conf *conf = f->conf;
    struct schema_pos nowhere = {f->errors->file, 0, 0};
    if (conf->upstreams.n == 0) {
        conf_say(f->errors, nowhere,
                 "no upstream and no route is configured: every request would be answered 404; "
                 "add \"upstreams: {origin: {endpoints: [127.0.0.1:9000]}}\"");
        return;
    }
    if (conf->upstreams.n > 1) {
        conf_say(f->errors, nowhere,
                 "routes are missing: which of the %zu upstreams gets which request?",
                 conf->upstreams.n);
        return;
    }
    struct route_conf *r = conf_alloc(f->errors->arena, sizeof *r);
    schema_defaults(&route_schema, r);
    r->name =
        str_starts(conf->upstreams.names[0], STR("_")) ? STR("all") : conf->upstreams.names[0];
    r->to = conf->upstreams.names[0];
    r->settings = conf->settings;
    memcpy(r->features, conf->features, sizeof r->features);
    f->flat.v[f->flat.n++] =
        (struct flat_route){.conf = r, .match = &r->match, .action = ROUTE_UPSTREAM};
}

/* The one upstream that r is about, if there is one of that name. */
static void note_upstream(struct flattening *f, const struct route_conf *r)
{
    for (size_t i = 0; i < f->conf->upstreams.n; i++) {
        if (str_eq(f->conf->upstreams.names[i], r->to)) {
            map_set(&f->upstreams, r->to, (void *) (uintptr_t) (i + 1));
            return;
        }
    }
}

bool conf_flatten_one(const struct proxy_conf *conf, const struct route_conf *r,
                      struct flat_route *out, struct conf_errors *e)
{
    struct flattening f = {.conf = conf, .errors = e};
    *out = (struct flat_route){.conf = r, .name = r->name};
    out->match = join(NULL, &r->match, e);
    note_upstream(&f, r);
    bool good = r->routes.n == 0 && decide(&f, r, out);
    take_given_name(&f.names, r, e);
    map_fini(&f.names);
    map_fini(&f.upstreams);
    return good && e->n == 0;
}

struct flat_routes conf_flatten(const struct proxy_conf *conf, struct conf_errors *e)
{
    struct flattening f = {.conf = conf, .errors = e};
    for (size_t i = 0; i < conf->upstreams.n; i++)
        map_set(&f.upstreams, conf->upstreams.names[i], (void *) (uintptr_t) (i + 1));
    f.flat.v = conf_alloc(e->arena, (count(&conf->routes, 0) + 1) * sizeof *f.flat.v);
    if (conf->routes.n == 0)
        only_upstream(&f);
    flatten(&f, &conf->routes, NULL, 0);
    give_names(&f.flat, &f.names, e->arena);
    map_fini(&f.names);
    map_fini(&f.upstreams);
    return f.flat;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_check.c: cross-checks of a whole configuration. Holds no state. */
#include "control/conf_check.h"

#include <stdio.h>

#include "base/map.h"
#include "base/mem.h"
#include "control/conf_file.h"
#include "net/addr.h"
#include "upstream/upstream.h"

/* ---- addresses ----------------------------------------------------------------------------- */

/* The address to bind; false: said why not. */
static bool bindable(struct conf_errors *e, struct str text, struct schema_pos pos,
                     struct addr *out)
{
    struct addr_text t;
    const char *why;
    pos = conf_place_of(e, text, pos);
    if (!addr_split(text, 0, &t, &why)) {
        /* The parser said this of a file already. */
        if (pos.line == 0)
            conf_say(e, pos, "\"%.*s\" is not an address: %s", STR_ARG(text), why);
        return false;
    }
    if (t.form == ADDR_NAME) {
        conf_say(e, pos, "\"%.*s\": listen on an IP address (localhost is 127.0.0.1 or [::1])",
                 STR_ARG(text));
        return false;
    }
    return addr_from_text(&t, out);
}

/* Networks, or unix. */
static void check_networks(const struct schema_list *list, struct schema_pos pos,
                           struct conf_errors *e)
{
    const struct str *t = list->items;
    for (size_t i = 0; i < list->n; i++) {
        struct cidr c;
        if (!str_eq(t[i], STR("unix")) && !cidr_parse(t[i], &c))
            conf_say(e, conf_place_of(e, t[i], pos),
                     "\"%.*s\" is not a network, like 10.0.0.0/8 (no bits set behind the prefix), "
                     "nor unix",
                     STR_ARG(t[i]));
    }
}

static void check_listeners(const struct proxy_conf *conf, struct conf_errors *e)
{
    const struct listener_conf *l = conf->listeners.items;
    struct addr *seen = conf_alloc(e->arena, conf->listeners.n * sizeof *seen);
    for (size_t i = 0; i < conf->listeners.n; i++) {
        check_networks(&l[i].proxy_protocol.from, l[i].proxy_protocol.pos, e);
        if (l[i].address.n == 0 || !bindable(e, l[i].address, l[i].pos, &seen[i]))
            continue;
        for (size_t j = 0; j < i; j++) {
            if (addr_equal(&seen[i], &seen[j]))
                conf_say(e, conf_place_of(e, l[i].address, l[i].pos),
                         "address %.*s is listened on twice", STR_ARG(l[i].address));
            if (l[i].name.n && str_eq(l[i].name, l[j].name))
                conf_say(e, conf_place_of(e, l[i].name, l[i].pos),
                         "listener name \"%.*s\" is given twice", STR_ARG(l[i].name));
        }
    }
}

/* ---- the rows' own checks, for structs that C code filled ----------------------------------- */

struct said {
    struct conf_errors *errors;
    const char *what;
    struct str name;
};

static void say_row(void *arg, const char *field, const char *text)
{
    const struct said *s = arg;
    (void) field;
    conf_say(s->errors, (struct schema_pos){s->errors->file, 0, 0}, "%s %.*s: %s", s->what,
             STR_ARG(s->name), text);
}

static void check_route_rows(const struct schema_list *routes, struct conf_errors *e,
                             unsigned depth)
{
    const struct route_conf *r = routes->items;
    for (size_t i = 0; i < routes->n && depth < 32; i++) {
        struct said s = {e, "route", r[i].name.n ? r[i].name : STR("(unnamed)")};
        match_schema.check(&r[i].match, say_row, &s);
        settings_schema.check(&r[i].settings, say_row, &s);
        if (r[i].redirect_given)
            redirect_schema.check(&r[i].redirect, say_row, &s);
        if (r[i].reply_given)
            reply_schema.check(&r[i].reply, say_row, &s);
        check_route_rows(&r[i].routes, e, depth + 1);
    }
}

static void check_rows(const struct proxy_conf *conf, struct conf_errors *e)
{
    const struct listener_conf *l = conf->listeners.items;
    for (size_t i = 0; i < conf->listeners.n; i++) {
        struct said s = {e, "listener", l[i].address};
        proxy_protocol_schema.check(&l[i].proxy_protocol, say_row, &s);
    }
    const struct upstream_conf *u = conf->upstreams.items;
    for (size_t i = 0; i < conf->upstreams.n; i++) {
        struct said s = {e, "upstream", conf->upstreams.names[i]};
        const struct endpoint_conf *endpoints = u[i].endpoints.items;
        if (upstream_schema.check)
            upstream_schema.check(&u[i], say_row, &s);
        for (size_t j = 0; j < u[i].endpoints.n; j++) {
            struct addr_text t;
            const char *why;
            if (!addr_split(endpoints[j].address, 0, &t, &why))
                say_row(&s, "address", why);
        }
    }
    check_route_rows(&conf->routes, e, 0);
}

void conf_check_proxy(const struct proxy_conf *conf, bool rows, struct conf_errors *e)
{
    check_listeners(conf, e);
    check_networks(&conf->trusted_proxies, (struct schema_pos){e->file, 0, 0}, e);
    if (rows)
        check_rows(conf, e);
}

/* ---- routes -------------------------------------------------------------------------------- */

static void check_conditions(const struct schema_map *map, const char *what,
                             const struct match_conf *m, struct conf_errors *e)
{
    const struct str *values = map->items;
    for (size_t i = 0; i < map->n; i++) {
        char why[128];
        size_t at;
        if (values[i].n == 0 || values[i].p[0] != '~')
            continue;
        if (!conf_regex_valid(str_sub(values[i], 1, values[i].n), why, &at))
            conf_say(e, conf_place_of(e, values[i], m->pos),
                     "bad pattern of %s %.*s: %s, at character %zu", what, STR_ARG(map->names[i]),
                     why, at + 2);
    }
}

/* The key that a problem is about: its text begins with the name. */
static struct schema_pos rewrite_place(const struct route_conf *r, const char *problem,
                                       const struct conf_errors *e)
{
    const struct rewrite_conf *w = &r->rewrite;
    const struct {
        struct str name, text;
    } keys[] = {{STR("host"), w->host},
                {STR("strip_prefix"), w->strip_prefix},
                {STR("add_prefix"), w->add_prefix},
                {STR("regex"), w->regex}};
    for (size_t i = 0; i < SCHEMA_COUNT(keys); i++) {
        if (str_starts(str_c(problem), keys[i].name))
            return conf_place_of(e, keys[i].text, r->pos);
    }
    return conf_place_of(e, w->replace, r->pos);
}

/* What compiling the rewrite says; a pattern that is none was said by the parser. */
static void check_rewrite(const struct route_conf *r, struct conf_errors *e)
{
    char why[128], *problem = NULL;
    size_t at;
    if (r->rewrite.regex.n && !conf_regex_valid(r->rewrite.regex, why, &at))
        return;
    rewrite_free(rewrite_new(&r->rewrite, &problem));
    if (problem)
        conf_say(e, rewrite_place(r, problem, e), "rewrite: %s", problem);
    mem_free(problem);
}

/* outer: the route around these, whose rewrite was checked; NULL: none. */
static void check_own(const struct schema_list *routes, const struct route_conf *outer,
                      struct conf_errors *e, unsigned depth)
{
    const struct route_conf *r = routes->items;
    for (size_t i = 0; i < routes->n && depth < 32; i++) {
        check_conditions(&r[i].match.headers, "header", &r[i].match, e);
        check_conditions(&r[i].match.query, "query parameter", &r[i].match, e);
        if (!outer || memcmp(&outer->rewrite, &r[i].rewrite, sizeof outer->rewrite) != 0)
            check_rewrite(&r[i], e);
        check_own(&r[i].routes, &r[i], e, depth + 1);
    }
}

void conf_check_route(const struct route_conf *r, struct conf_errors *e)
{
    const struct schema_list one = {(void *) (uintptr_t) r, 1};
    check_own(&one, NULL, e, 0);
}

/* Listeners that pass connections on need routes that take them, and the other way round. */
static void check_passthrough(const struct proxy_conf *conf, const struct flat_routes *flat,
                              struct conf_errors *e)
{
    const struct listener_conf *l = conf->listeners.items;
    const struct route_conf *route = NULL;
    bool any = false;
    for (size_t i = 0; i < flat->n && !route; i++)
        route = flat->v[i].conf->passthrough ? flat->v[i].conf : NULL;
    for (size_t i = 0; i < conf->listeners.n; i++) {
        if (l[i].mode != LISTENER_PASSTHROUGH)
            continue;
        any = true;
        if (!l[i].tls_given && (l[i].h2c || l[i].redirect_https))
            conf_say(e, l[i].pos,
                     "this listener passes connections through and answers no request: h2c and "
                     "redirect_https have no effect; take them out, or give it tls");
        if (!route)
            conf_say(e, l[i].pos,
                     "this listener passes connections through, but no route takes any; add one "
                     "like {match: {sni: db.example.com}, to: db, passthrough: true}");
    }
    if (route && !any)
        conf_say(e, route->pos,
                 "this route takes connections, but no listener has mode: passthrough");
}

void conf_check_file(struct conf_file *file, struct conf_errors *e)
{
    struct addr admin, other;
    const struct proxy_conf *conf = &file->proxy;
    conf_check_proxy(conf, false, e);
    check_own(&conf->routes, NULL, e, 0);
    struct flat_routes *flat = conf_alloc(e->arena, sizeof *flat);
    *flat = conf_flatten(conf, e);
    file->flat = flat;
    check_passthrough(conf, flat, e);
    if (file->admin.address.n == 0 || !bindable(e, file->admin.address, file->admin.pos, &admin))
        return;
    const struct listener_conf *l = conf->listeners.items;
    for (size_t i = 0; i < conf->listeners.n; i++) {
        struct addr_text t;
        const char *why;
        if (!addr_split(l[i].address, 0, &t, &why) || !addr_from_text(&t, &other) ||
            !addr_equal(&admin, &other))
            continue;
        conf_say(e, conf_place_of(e, file->admin.address, file->admin.pos),
                 "admin.address is the address of a listener too");
        break;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.c: from plain structs to a snapshot.
 * Invariants:
 * 1. A snapshot borrows nothing from what it was built from: texts are copied into its arena, its
 *    routes and upstreams hold their own.
 * 2. snapshot_free frees a half-built one, too: arrays and counts grow together.
 * 3. What outlives configurations (endpoints) is touched last, when nothing can be refused. */
#include "control/snapshot.h"

#include "base/mem.h"
#include "base/panic.h"
#include "control/snapshot_inside.h"
#include "net/tls.h"
#include "proxy/retire.h"

#define STRIDE 16u /* numbers a cache line, as in proxy/snapshot.c */

/* ---- parts --------------------------------------------------------------------------------- */

static void *room(struct build *b, size_t n)
{
    return conf_alloc(b->arena, n);
}

/* Networks (or unix) as values. */
static struct cidr *networks(struct build *b, const struct schema_list *list, uint32_t *n,
                             bool *unix_too)
{
    const struct str *t = list->items;
    struct cidr *v = room(b, list->n * sizeof *v);
    for (size_t i = 0; i < list->n; i++) {
        if (str_eq(t[i], STR("unix")))
            *unix_too = true;
        else if (cidr_parse(t[i], &v[*n]))
            ++*n;
    }
    return v;
}

static void build_listeners(struct build *b)
{
    const struct listener_conf *l = b->conf->listeners.items;
    b->s->listeners = room(b, b->conf->listeners.n * sizeof *b->s->listeners);
    for (size_t i = 0; i < b->conf->listeners.n; i++) {
        struct listener_spec *spec = &b->s->listeners[b->s->n_listeners++];
        struct addr_text t;
        const char *why;
        schema_copy_in(&listener_schema, &spec->conf, &l[i], b->arena);
        if (spec->conf.name.n == 0)
            spec->conf.name = spec->conf.address;
        spec->proxies =
            networks(b, &l[i].proxy_protocol.from, &spec->n_proxies, &spec->proxies_unix);
        spec->tls = l[i].tls_given ? build_tls_server(b, &l[i].tls) : NULL;
        if (spec->tls && l[i].tls.hsts.max_age)
            spec->hsts = build_hsts(b, &l[i].tls.hsts);
        if (!addr_split(spec->conf.address, 0, &t, &why) || !addr_from_text(&t, &spec->addr))
            panic("an address was not checked");
    }
}

static void build_trusted(struct build *b)
{
    b->s->trusted = networks(b, &b->conf->trusted_proxies, &b->s->n_trusted, &b->s->trust_unix);
}

static void build_upstreams(struct build *b)
{
    const struct upstream_conf *u = b->conf->upstreams.items;
    b->s->upstreams = room(b, b->conf->upstreams.n * sizeof(struct upstream *));
    for (size_t i = 0; i < b->conf->upstreams.n; i++) {
        struct str name = b->conf->upstreams.names[i];
        struct upstream_conf conf = u[i];
        conf.tls_client = b->tls[i];
        struct upstream *now = upstream_new(b->in->registry, name, &conf);
        struct upstream *old = map_get(&b->old_upstreams, name);
        if (old && old->content == now->content) {
            upstream_unref(now);
            now = upstream_ref(old);
        }
        b->s->upstreams[b->s->n_upstreams++] = now;
    }
}

/* Rules for one router, and the flat route of each. */
struct rules {
    struct router_rule *v;
    const struct flat_route **from;
    size_t n;
};

/* When the rules do not make a router: says of each what is wrong with it. */
static void say_rules(struct build *b, const struct rules *rules, const char *first, size_t bad)
{
    size_t before = b->errors->n;
    for (size_t i = 0; i < rules->n && rules->n <= 10000; i++) {
        const struct flat_route *f = rules->from[i];
        char *why = NULL;
        size_t at;
        struct router *r = router_new(&rules->v[i], 1, &why, &at);
        router_free(r);
        if (!r)
            conf_say(b->errors, f->match->pos.line ? f->match->pos : f->conf->pos,
                     "route \"%.*s\": %s", STR_ARG(f->name), why);
        mem_free(why);
    }
    if (b->errors->n == before)
        conf_say(b->errors, rules->from[bad]->conf->pos, "route \"%.*s\": %s",
                 STR_ARG(rules->from[bad]->name), first);
}

/* The router of the rules that take connections, or of those that take requests. NULL: said why, or
 * there are no connections to route. */
static struct router *build_router(struct build *b, const struct flat_routes *f, bool passthrough)
{
    struct rules rules = {mem_new((f->n + 1) * sizeof *rules.v),
                          mem_new((f->n + 1) * sizeof *rules.from), 0};
    struct match_conf *matches = mem_new((f->n + 1) * sizeof *matches);
    char *why = NULL;
    size_t bad = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].conf->passthrough != passthrough)
            continue;
        struct match_conf *m = &matches[rules.n];
        schema_copy_in(&match_schema, m, f->v[i].match, b->arena);
        b->s->asks_sni |= !passthrough && m->sni.n > 0;
        if (passthrough) { /* the name asked for takes the place of the host */
            m->host = m->sni;
            m->sni = STR("");
        }
        rules.from[rules.n] = &f->v[i];
        rules.v[rules.n++] = (struct router_rule){m, b->routes[i]};
    }
    struct router *r = NULL;
    if (rules.n || !passthrough)
        r = router_new(rules.v, rules.n, &why, &bad);
    if (why)
        say_rules(b, &rules, why, bad);
    mem_free(why);
    mem_free(matches);
    mem_free(rules.from);
    mem_free(rules.v);
    return r;
}

/* Gives each new route its upstream. */
static void attach_upstreams(struct build *b, const struct flat_routes *f)
{
    for (size_t i = 0; i < f->n; i++) {
        if (f->v[i].action == ROUTE_UPSTREAM)
            build_aim(b->routes[i], b->s->upstreams[f->v[i].upstream]);
    }
}

static void build_routes(struct build *b, const struct flat_routes *flat)
{
    struct flat_routes f = flat ? *flat : conf_flatten(b->conf, b->errors);
    size_t made = 0;
    b->routes = mem_new(f.n * sizeof(struct route *));
    for (size_t i = 0; i < f.n && b->errors->n == 0; i++) {
        struct route *r = build_route(b, &f.v[i]);
        if (r)
            b->routes[made++] = r;
    }
    b->s->n_routes = (uint32_t) made;
    if (b->errors->n == 0)
        b->s->router = build_router(b, &f, false);
    if (b->errors->n == 0)
        b->s->passes = build_router(b, &f, true);
    /* Upstreams act on endpoints that serve now: only when nothing can be refused any more. */
    if (b->errors->n == 0) {
        build_upstreams(b);
        attach_upstreams(b, &f);
    }
    /* The routers have their own. */
    for (size_t i = 0; i < made; i++)
        route_unref(b->routes[i]);
    mem_free(b->routes);
}

static void build_settings(struct build *b)
{
    const struct proxy_conf *c = b->conf;
    struct settings_conf *s = &b->s->settings;
    schema_copy_in(&settings_schema, s, &c->settings, b->arena);
    b->s->request_limits = (struct h1_limits){
        .head = (uint32_t) c->settings.limits.head,
        .target = (uint32_t) c->settings.limits.target,
        .fields = (uint32_t) c->settings.limits.fields,
    };
    b->s->drain = c->drain;
    b->s->memory_limit = c->memory_limit ? c->memory_limit : mem_default_limit();
}

/* ---- the whole ----------------------------------------------------------------------------- */

static void release_at_once(struct snapshot *s)
{
    (void) snapshot_free(s);
}

struct snapshot *snapshot_new(const struct snapshot_inputs *in, struct snapshot_base *base)
{
    struct snapshot *s = mem_new(sizeof *s);
    base->refs++;
    s->base = base;
    s->generation = in->previous ? in->previous->generation + 1 : 1;
    s->features = in->features;
    s->in_use = mem_new_aligned((in->n_workers + 1) * STRIDE * sizeof *s->in_use, 64);
    atomic_store(&s->holders, (in->n_given ? in->n_given : in->n_workers) + 1);
    s->release = in->release ? in->release : release_at_once;
    s->release_arg = in->release_arg;
    return s;
}

static struct snapshot_base *base_new(void)
{
    struct snapshot_base *base = mem_new(sizeof *base);
    arena_init(&base->arena, NULL, SIZE_MAX);
    return base;
}

/* The base holds what s was built with. */
static void fill_base(const struct snapshot *s)
{
    struct snapshot_base *base = s->base;
    base->listeners = s->listeners;
    base->n_listeners = s->n_listeners;
    base->upstreams = s->upstreams;
    base->n_upstreams = s->n_upstreams;
    base->passes = s->passes;
    base->fallback = s->fallback;
}

/* True: it is gone. */
static bool base_unref(struct snapshot_base *base)
{
    if (--base->refs > 0)
        return false;
    router_free(base->passes);
    route_unref(base->fallback);
    for (uint32_t i = 0; i < base->n_upstreams; i++)
        upstream_unref(base->upstreams[i]);
    for (uint32_t i = 0; i < base->n_listeners; i++)
        tls_server_unref(base->listeners[i].tls);
    arena_fini(&base->arena);
    mem_free(base);
    return true;
}

/* What the predecessor has, by name. */
static void note_previous(struct build *b)
{
    const struct snapshot *old = b->in->previous;
    for (uint32_t i = 0; old && i < old->n_upstreams; i++)
        map_set(&b->old_upstreams, old->upstreams[i]->name, old->upstreams[i]);
}

static void look_gone(void *arg, struct route *route)
{
    struct build *b = arg;
    if (!snapshot_named(b->s, route->name))
        map_set(&b->gone, route->name, route);
}

/* Routes that the predecessor had and this one has not. */
static void note_gone(struct build *b)
{
    if (!b->in->previous || b->errors->n)
        return;
    snapshot_each(b->in->previous, look_gone, b);
    if (b->gone.n)
        b->s->gone = gone_routes_new(b->gone);
}

struct snapshot *snapshot_build_checked(const struct proxy_conf *conf,
                                        const struct flat_routes *flat,
                                        const struct snapshot_inputs *in, struct conf_errors *e)
{
    struct build b = {.conf = conf, .in = in, .errors = e};
    must(in->registry && in->features && in->features->n <= FEATURE_MAX);
    b.s = snapshot_new(in, base_new());
    b.arena = &b.s->base->arena;
    note_previous(&b);
    build_settings(&b);
    build_listeners(&b);
    build_trusted(&b);
    build_tls_clients(&b);
    b.s->fallback = build_fallback(&b);
    build_routes(&b, flat);
    fill_base(b.s);
    note_gone(&b);
    build_shares_drop(&b);
    build_tls_drop(&b);
    map_fini(&b.old_upstreams);
    if (e->n == 0)
        return b.s;
    snapshot_free(b.s);
    return NULL;
}

struct snapshot *snapshot_build(const struct proxy_conf *conf, const struct snapshot_inputs *in,
                                char **errors)
{
    struct arena a;
    struct conf_errors e;
    struct snapshot *s = NULL;
    arena_init(&a, NULL, SIZE_MAX);
    conf_errors_init(&e, &a, NULL);
    conf_check_proxy(conf, true, &e);
    if (e.n == 0)
        s = snapshot_build_checked(conf, NULL, in, &e);
    *errors = conf_errors_print(&e);
    conf_errors_fini(&e);
    arena_fini(&a);
    return s;
}

bool snapshot_free(struct snapshot *s)
{
    if (!s)
        return false;
    router_free(s->router);
    gone_routes_unref(s->gone);
    bool last = base_unref(s->base);
    mem_free(s->in_use);
    mem_free(s);
    return last;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* change_route.c: one route of a running configuration set or removed without looking at the
 * others: it is parsed and checked by itself, and the snapshot is derived from the one in use.
 * Whatever this is not sure of goes the long way, by which everything is loaded anew: it says what
 * is wrong, too.
 * Invariants:
 * 1. What is derived here routes as the whole configuration would, loaded anew.
 * 2. s->config is behind from the first such change on (s->stale), but for the routes alone. */
#include "app/server_inside.h"
#include "features/registry.h"

struct derived {
    struct snapshot *snapshot;
    struct arena arena; /* holds what follows */
    struct conf_errors errors;
    struct route_conf confs[2];
    struct flat_route was, now;
    struct change_list changes;
};

void server_drop_derived(struct derived *d)
{
    snapshot_free(d->snapshot);
    conf_errors_fini(&d->errors);
    arena_fini(&d->arena);
    mem_free(d);
}

/* Reads the route as if nothing were around it but the top level; false: it is not good, or not one
 * that says nothing about others. */
static bool read_route(const struct server *s, struct derived *d, const struct conf_node *n,
                       struct route_conf *r, struct flat_route *flat)
{
    const struct proxy_conf *conf = &s->config.loaded->file->proxy;
    conf_parse_route(n, conf, &feature_registry, r, &d->errors);
    conf_check_route(r, &d->errors);
    return d->errors.n == 0 && conf_flatten_one(conf, r, flat, &d->errors) && !r->passthrough &&
           (flat->match->sni.n == 0 || s->snapshot->asks_sni);
}

/* What is wrong with the route by itself is so with all others around it. */
static void pass_on(const struct conf_errors *from, struct conf_errors *to)
{
    for (size_t i = 0; i < from->n; i++)
        conf_say(to, from->v[i].pos, "%.*s", STR_ARG(from->v[i].text));
    to->unsaid += from->unsaid;
}

/* The routes before and after, and the snapshot. False: it has to go the long way. */
static bool derive(struct server *s, struct derived *d, const struct live_route *c)
{
    const struct snapshot *old = s->snapshot;
    const struct conf_file *file = s->config.loaded->file;
    struct snapshot_inputs in = engine_inputs(s->engine, old);
    struct snapshot_change change = {STR(""), c->now ? &d->now : NULL};
    bool there = router_route(old->router, c->name) != NULL;
    if (there != (c->was != NULL) || (!c->now && router_count(old->router) < 2) ||
        (!there && snapshot_named(old, c->name)))
        return false;
    if (c->was && !read_route(s, d, c->was, &d->confs[0], &d->was))
        return false;
    if (c->now && !read_route(s, d, c->now, &d->confs[1], &d->now)) {
        pass_on(&d->errors, c->errors);
        return false;
    }
    if (there)
        change.remove = c->name;
    d->snapshot = snapshot_derive(&file->proxy, &in, &change, &d->errors);
    if (d->snapshot && file->tests.n)
        (void) conf_tests_run(file, d->snapshot, &d->errors);
    if (!d->snapshot || d->errors.n)
        return false;
    conf_diff_route(file, c->was ? &d->was : NULL, c->now ? &d->now : NULL, &feature_registry,
                    &d->changes);
    return true;
}

struct derived *server_derive(struct server *s, const struct live_route *change)
{
    struct derived *d = mem_new(sizeof *d);
    arena_init(&d->arena, NULL, SIZE_MAX);
    conf_errors_init(&d->errors, &d->arena, s->plan->source.path);
    change_list_init(&d->changes, &d->arena);
    if (derive(s, d, change))
        return d;
    server_drop_derived(d);
    return NULL;
}

void server_use_derived(struct server *s, struct derived *d, const char *words)
{
    struct change_result r = {.good = true, .n_changes = d->changes.n};
    struct snapshot *made = d->snapshot;
    snapshot_keep(made);
    engine_use_derived(s->engine, made);
    server_swap_snapshot(s, made);
    s->stale = true;
    r.generation = made->generation;
    server_tell(s, ORIGIN_API, words, &d->changes, &r);
    d->snapshot = NULL;
    server_drop_derived(d);
}

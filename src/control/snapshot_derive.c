/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_derive.c: a snapshot that differs from its predecessor in one route.
 * Invariants:
 * 1. It routes as one does that was built from the whole configuration.
 * 2. Nothing that its predecessor has is changed, and nothing is copied that grows with the number
 *    of routes. */
#include "base/mem.h"
#include "base/panic.h"
#include "control/snapshot_inside.h"
#include "proxy/retire.h"

/* What the two have in common. */
static void take_over(struct snapshot *s, const struct snapshot *from)
{
    s->listeners = from->listeners;
    s->n_listeners = from->n_listeners;
    s->asks_sni = from->asks_sni;
    s->passes = from->passes;
    s->upstreams = from->upstreams;
    s->n_upstreams = from->n_upstreams;
    s->fallback = from->fallback;
    s->trusted = from->trusted;
    s->n_trusted = from->n_trusted;
    s->trust_unix = from->trust_unix;
    s->request_limits = from->request_limits;
    s->settings = from->settings;
    s->drain = from->drain;
    s->memory_limit = from->memory_limit;
}

/* The route that comes, with one reference; NULL: said why. */
static struct route *make_route(struct build *b, const struct flat_route *f, struct str remove)
{
    const struct route *old = remove.n ? router_route(b->in->previous->router, remove) : NULL;
    build_shares_note(b, b->in->previous->fallback);
    if (old)
        build_shares_note(b, old);
    struct route *r = build_route(b, f);
    if (r && f->action == ROUTE_UPSTREAM)
        build_aim(r, b->s->upstreams[f->upstream]);
    return r;
}

static void note_gone(struct snapshot *s, const struct snapshot_change *c)
{
    struct map gone = {0};
    if (c->remove.n == 0 || (c->route && str_eq(c->route->name, c->remove)))
        return;
    map_set(&gone, c->remove, s);
    s->gone = gone_routes_new(gone);
}

struct snapshot *snapshot_derive(const struct proxy_conf *conf, const struct snapshot_inputs *in,
                                 const struct snapshot_change *change, struct conf_errors *e)
{
    struct build b = {.conf = conf, .in = in, .errors = e};
    const struct flat_route *f = change->route;
    struct router_rule rule = {0};
    char *why = NULL;
    must(in->previous);
    b.s = snapshot_new(in, in->previous->base);
    take_over(b.s, in->previous);
    rule.match = f ? f->match : NULL;
    rule.route = f ? make_route(&b, f, change->remove) : NULL;
    if (e->n == 0)
        b.s->router = router_change(in->previous->router, change->remove, f ? &rule : NULL, &why);
    if (why)
        conf_say(e, f->conf->pos, "route \"%.*s\": %s", STR_ARG(f->name), why);
    mem_free(why);
    route_unref(rule.route);
    build_shares_drop(&b);
    if (e->n == 0) {
        b.s->n_routes = router_count(b.s->router) + (b.s->passes ? router_count(b.s->passes) : 0);
        note_gone(b.s, change);
        return b.s;
    }
    snapshot_free(b.s);
    return NULL;
}

void snapshot_keep(struct snapshot *s)
{
    router_keep(s->router);
}

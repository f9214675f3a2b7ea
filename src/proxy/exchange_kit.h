/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_kit: a hand-made exchange for unit tests of what runs inside one (hooks, handlers): a
 * worker with a loop but no socket, a route, heads to fill in. One test's thread; no engine runs,
 * so nothing waits and nothing is sent. Never part of the program. */
#ifndef WEIR_PROXY_EXCHANGE_KIT_H
#define WEIR_PROXY_EXCHANGE_KIT_H

#include "base/panic.h"
#include "proxy/exchange.h"
#include "proxy/session.h"
#include "proxy/worker.h"

struct exchange_kit {
    struct worker worker;
    struct route_names names;
    struct snapshot snapshot;
    struct route route;
    struct plan plan; /* of route, with what follows */
    struct settings_conf settings;
    struct hook_list hooks[HOOK_KINDS];
    const void *feature_conf[FEATURE_MAX];
    uint32_t slots[FEATURE_MAX];
    struct exchange x;
    struct head in, out, response;
    struct leg client;
    struct session session;
};

/* A request GET http://example.com/ from 192.0.2.1, with no fields, on route "main". */
static inline void exchange_kit_open(struct exchange_kit *k)
{
    int error;
    *k = (struct exchange_kit){0};
    k->worker.loop = loop_new(&error);
    must(k->worker.loop);
    route_names_init(&k->names);
    k->worker.stats = stats_new(&k->names);
    k->worker.date.second = -1;
    buf_pool_init(&k->worker.buffers, &k->worker.account);
    k->route.name = STR("main");
    k->route.plan = &k->plan;
    k->plan.settings = &k->settings;
    k->plan.hooks = k->hooks;
    k->plan.feature_conf = k->feature_conf;
    k->plan.slots = k->slots;
    struct exchange *x = &k->x;
    x->worker = &k->worker;
    x->snapshot = &k->snapshot;
    x->route = &k->route;
    x->plan = &k->plan;
    x->client = &k->client;
    x->session = &k->session;
    arena_init(&x->arena, NULL, 1u << 20);
    x->in = &k->in;
    x->out = &k->out;
    x->response = &k->response;
    fields_init(&k->in.fields, &x->arena);
    fields_init(&k->out.fields, &x->arena);
    fields_init(&k->response.fields, &x->arena);
    k->in.method = STR("GET");
    k->in.method_id = METHOD_GET;
    k->in.scheme = STR("http");
    k->in.authority = k->in.host = STR("example.com");
    k->in.path = STR("/");
    k->in.major = k->in.minor = 1;
    must(ip_parse(STR("192.0.2.1"), &x->peer_ip));
    x->client_ip = x->peer_ip;
    x->started = x->now = loop_now(k->worker.loop);
    x->started_wall = INT64_C(1795421730123456); /* 2026-11-23T08:15:30.123456Z */
}

/* Frees what exchange_kit_open made and what hooks left in the arena. */
static inline void exchange_kit_close(struct exchange_kit *k)
{
    arena_fini(&k->x.arena);
    chain_clear(&k->x.replay, &k->worker.buffers);
    buf_pool_fini(&k->worker.buffers);
    stats_free(k->worker.stats);
    route_names_fini(&k->names);
    loop_free(k->worker.loop);
}

/* The one value of name in f; n 0 and p NULL: absent; panics when there are several. */
static inline struct str exchange_kit_field(const struct fields *f, const char *name)
{
    struct str value = {NULL, 0};
    for (uint32_t i = 0; i < f->n; i++) {
        if (!str_ieq(f->v[i].name, str_c(name)))
            continue;
        must(!value.p);
        value = f->v[i].value;
    }
    return value;
}

#endif

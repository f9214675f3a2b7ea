/* SPDX-License-Identifier: Apache-2.0 */
/* embed_mux.c: muxes, handlers, and how they become a configuration of the engine.
 * Invariants:
 * 1. Each entry holds one reference to its handler.
 * 2. mux_configure says every mistake of the mux, not only the first. */
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "app/embed.h"
#include "base/mem.h"
#include "base/panic.h"
#include "control/conf_error.h"
#include "features/forwarded.h"
#include "net/addr.h"

/* ---- handlers ------------------------------------------------------------------------------ */

struct weir_proxy *handler_ref(struct weir_proxy *h)
{
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void handler_unref(struct weir_proxy *h)
{
    if (!h || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_fini(&h->arena);
    mem_free(h);
}

static struct weir_proxy *handler_new(void)
{
    struct weir_proxy *h = mem_new(sizeof *h);
    arena_init(&h->arena, NULL, SIZE_MAX);
    atomic_store(&h->refs, 1);
    h->id = (int64_t) (clock_random() >> 1);
    return h;
}

struct weir_proxy *handler_func(weir_func f, void *arg)
{
    struct weir_proxy *h = handler_new();
    h->func = f;
    h->func_arg = arg;
    if (!f)
        h->wrong = "no function is given";
    return h;
}

/* The caller's struct may be of an older version: what it does not have is zero. */
static void take(void *to, size_t room, const void *from, size_t given)
{
    memcpy(to, from, given < room ? given : room);
}

/* NULL: they can be connected to. */
static const char *endpoints_wrong(struct weir_proxy *h)
{
    for (size_t i = 0; i < h->options.n_endpoints; i++) {
        struct addr_text t;
        const char *why = "port 0 is nobody's";
        if (!addr_split(h->addresses[i], 0, &t, &why) || (t.form != ADDR_UNIX && t.port == 0))
            return arena_printf(&h->arena, "endpoint \"%.*s\": %s", STR_ARG(h->addresses[i]), why)
                .p;
        if (h->options.endpoints && h->options.endpoints[i].weight > 100)
            return arena_printf(&h->arena,
                                "endpoint \"%.*s\": its weight is %u, above 100; give 1 to 100: "
                                "only how weights stand to each other counts",
                                STR_ARG(h->addresses[i]), h->options.endpoints[i].weight)
                .p;
    }
    return NULL;
}

static void read_endpoints(struct weir_proxy *h)
{
    weir_proxy_options *o = &h->options;
    if (o->n_endpoints == 0) {
        o->n_endpoints = 1;
        h->addresses = conf_alloc(&h->arena, sizeof *h->addresses);
        h->addresses[0] = h->target.endpoint;
        o->endpoints = NULL;
        return;
    }
    weir_endpoint *e = conf_alloc(&h->arena, o->n_endpoints * sizeof *e);
    h->addresses = conf_alloc(&h->arena, o->n_endpoints * sizeof *h->addresses);
    for (size_t i = 0; i < o->n_endpoints; i++) {
        h->addresses[i] = arena_str(&h->arena, str_c(o->endpoints[i].address));
        e[i] = (weir_endpoint){h->addresses[i].p, o->endpoints[i].weight};
    }
    o->endpoints = e;
}

weir_proxy *weir_proxy_new(const weir_proxy_options *given)
{
    struct weir_proxy *h = handler_new();
    weir_proxy_options *o = &h->options;
    if (given)
        take(o, sizeof *o, given, given->size);
    if (o->transport)
        take(&h->transport, sizeof h->transport, o->transport, o->transport->size);
    if (o->balancer)
        take(&h->balancer, sizeof h->balancer, o->balancer, o->balancer->size);
    if (o->target)
        h->wrong = target_read(&h->target, str_c(o->target), &h->arena);
    else if (o->n_endpoints == 0 && !h->transport.round_trip)
        h->wrong = "neither a target nor endpoints are given (is the struct's size set?)";
    else
        h->target = (struct target){.host = STR("upstream")};
    if (!h->wrong) {
        read_endpoints(h);
        if (!h->transport.round_trip)
            h->wrong = endpoints_wrong(h);
    }
    o->target = NULL;
    return h;
}

void weir_proxy_free(weir_proxy *p)
{
    handler_unref(p);
}

struct str handler_upstream(const struct weir_proxy *h, char room[32])
{
    size_t n = 0;
    static const char digits[] = "0123456789abcdef";
    memcpy(room, "proxy-", 6);
    for (n = 6; n < 22; n++)
        room[n] = digits[((uint64_t) h->id >> (4 * (n - 6))) & 15];
    return str_of(room, n);
}

/* ---- muxes --------------------------------------------------------------------------------- */

weir_mux *weir_mux_new(void)
{
    struct weir_mux *m = mem_new(sizeof *m);
    list_init(&m->entries);
    return m;
}

void weir_mux_free(weir_mux *m)
{
    struct list_node *node;
    while (m && (node = list_pop_front(&m->entries))) {
        struct mux_entry *e = list_entry(node, struct mux_entry, node);
        handler_unref(e->handler);
        mem_free((void *) (uintptr_t) e->pattern.p);
        mem_free(e);
    }
    mem_free(m);
}

static void make_host(struct weir_proxy *h)
{
    uint64_t r[2];
    if (getrandom(r, sizeof r, 0) != (ssize_t) sizeof r)
        panic("the kernel gave no random bytes");
    snprintf(h->host, sizeof h->host, "%016llx%016llx.invalid", (unsigned long long) r[0],
             (unsigned long long) r[1]);
}

/* pattern: taken; h: one reference is taken over. */
static void add(struct weir_mux *m, struct str pattern, struct weir_proxy *h)
{
    struct mux_entry *e = mem_new(sizeof *e);
    if (!pattern.p && !h->host[0])
        make_host(h);
    e->pattern = pattern;
    e->handler = h;
    list_push_back(&m->entries, &e->node);
}

/* A copy; without bytes for NULL, which is not the same as an empty one. */
static struct str pattern_copy(struct str pattern)
{
    return pattern.p ? mem_str(pattern) : pattern;
}

void weir_mux_proxy(weir_mux *m, const char *pattern, weir_proxy *p)
{
    add(m, pattern_copy(str_c(pattern)), handler_ref(p));
}

void weir_mux_func(weir_mux *m, const char *pattern, weir_func f, void *arg)
{
    add(m, pattern_copy(str_c(pattern)), handler_func(f, arg));
}

/* A pattern in its parts; false: it has no path. */
static bool split(struct str pattern, struct str *method, struct str *host, struct str *path)
{
    *host = *path = STR("");
    ptrdiff_t space = str_find(pattern, ' ');
    *method = str_sub(pattern, 0, space < 0 ? 0 : (size_t) space);
    struct str rest = str_trim(str_sub(pattern, (size_t) (space + 1), pattern.n));
    ptrdiff_t slash = str_find(rest, '/');
    if (slash < 0)
        return false;
    *host = str_sub(rest, 0, (size_t) slash);
    *path = str_sub(rest, (size_t) slash, rest.n);
    return true;
}

/* host is one of those that wild, *.name, stands for, or stands for some of them. */
static bool stands_for(struct str wild, struct str host)
{
    struct str tail = str_sub(wild, 1, wild.n);
    return str_starts(wild, STR("*.")) && host.n > tail.n &&
           str_ieq(str_sub(host, host.n - tail.n, host.n), tail);
}

/* *both: the host that a and b mean, either of which may be any. False: there is none. */
static bool host_of_both(struct str a, struct str b, struct str *both)
{
    *both = a.n && (!b.n || stands_for(b, a)) ? a : b;
    return !a.n || !b.n || str_ieq(a, b) || stands_for(a, b) || stands_for(b, a);
}

void weir_mux_mount(weir_mux *m, const char *pattern, const weir_mux *inner)
{
    struct str method, host, prefix, in_method, in_host, in_path, both_host;
    bool good = split(str_c(pattern), &method, &host, &prefix);
    if (str_ends(prefix, STR("/*")))
        prefix.n -= 2;
    else if (str_ends(prefix, STR("/")))
        prefix.n--;
    struct weir_mux *now = mux_copy(inner); /* inner may be m itself */
    list_each(node, &now->entries) {
        const struct mux_entry *e = list_entry(node, struct mux_entry, node);
        char *joined = NULL;
        if (!e->pattern.p) {
            /* for fetches alone, here too */
        } else if (!good || !split(e->pattern, &in_method, &in_host, &in_path)) {
            joined = mem_strdup(good ? e->pattern : str_c(pattern)); /* weir_serve says it */
        } else {
            if ((in_method.n && method.n && !str_eq(in_method, method)) ||
                !host_of_both(host, in_host, &both_host))
                continue; /* no request is left */
            struct str both = in_method.n ? in_method : method;
            joined = mem_printf("%.*s%s%.*s%.*s%.*s", STR_ARG(both), both.n ? " " : "",
                                STR_ARG(both_host), STR_ARG(prefix), STR_ARG(in_path));
        }
        add(m, str_c(joined), handler_ref(e->handler));
    }
    weir_mux_free(now);
}

struct weir_mux *mux_copy(const struct weir_mux *m)
{
    struct weir_mux *copy = weir_mux_new();
    list_each(node, &m->entries) {
        const struct mux_entry *e = list_entry(node, struct mux_entry, node);
        add(copy, pattern_copy(e->pattern), handler_ref(e->handler));
    }
    return copy;
}

/* ---- to a configuration -------------------------------------------------------------------- */

#define PRODUCED_AHEAD 65536 /* bytes of weir_reply_stream that a client has not taken yet */
#define POOL_MOST 1000000    /* connections, as in a configuration */

struct making {
    struct arena *arena;
    struct proxy_conf *conf;
    struct conf_errors errors;
    struct upstream_conf *upstreams;
    struct str *names;
};

/* Milliseconds as options say them: 0 leaves the default, below 0 is no limit. */
static void set_time(usec_t *to, long ms)
{
    if (ms)
        *to = ms < 0 ? 0 : embed_usec(ms);
}

/* The same of connections; none: what the configuration says for no limit. */
static void set_count(int64_t *to, long n, int64_t none)
{
    if (n)
        *to = n < 0 || n > POOL_MOST ? none : n;
}

static void fill_upstream(struct making *k, struct upstream_conf *u, struct weir_proxy *h)
{
    const weir_proxy_options *o = &h->options;
    struct endpoint_conf *e = conf_alloc(k->arena, o->n_endpoints * sizeof *e);
    schema_defaults(&upstream_schema, u);
    for (size_t i = 0; i < o->n_endpoints; i++) {
        schema_defaults(&endpoint_schema, &e[i]);
        e[i].address = h->addresses[i];
        if (o->endpoints && o->endpoints[i].weight)
            e[i].weight = o->endpoints[i].weight;
    }
    u->endpoints = (struct schema_list){e, o->n_endpoints};
    u->tls_given = h->target.tls;
    set_count(&u->pool.max_idle, o->max_idle_conns_per_host, POOL_MOST);
    set_count(&u->pool.max_connections, o->max_conns_per_host, 0);
    set_time(&u->pool.idle_timeout, o->idle_conn_timeout);
    set_time(&u->pool.connect_timeout, o->dial_timeout);
    u->pool.keepalive = !o->disable_keep_alives;
    if (h->balancer.select) {
        u->balance_ops = &embed_balance;
        u->balance_arg = h;
    }
}

/* The name of h's upstream in the configuration, which gets one when it has none. */
static struct str upstream_of(struct making *k, struct weir_proxy *h)
{
    char room[32];
    struct str name = handler_upstream(h, room);
    struct schema_map *map = &k->conf->upstreams;
    for (size_t i = 0; i < map->n; i++) {
        if (str_eq(map->names[i], name))
            return map->names[i];
    }
    size_t at = map->n++;
    k->names[at] = arena_str(k->arena, name);
    fill_upstream(k, &k->upstreams[at], h);
    return k->names[at];
}

static void fill_settings(struct settings_conf *s, const weir_proxy_options *o)
{
    set_time(&s->timeouts.first_byte, o->response_header_timeout);
    set_time(&s->timeouts.exchange, o->exchange_timeout);
    static const int strategies[] = {
        [WEIR_ADAPTIVE] = BUFFER_ADAPTIVE,
        [WEIR_FIXED] = BUFFER_FIXED,
        [WEIR_FLUSH_EACH] = BUFFER_NONE,
    };
    if (o->buffer <= WEIR_FLUSH_EACH)
        s->buffer.strategy = strategies[o->buffer];
    if (o->flush_interval < 0)
        s->buffer.strategy = BUFFER_NONE;
    if (o->buffer_size)
        s->buffer.size = o->buffer_size;
}

static void fill_features(struct making *k, struct route_conf *r, struct weir_proxy *h)
{
    struct embed_conf *c = conf_alloc(k->arena, sizeof *c);
    *c = (struct embed_conf){.id = h->id, .handler = h};
    r->features[EMBED_FEATURE] = c;
    if (!h->options.no_x_forwarded)
        return;
    struct forwarded_conf *off = conf_alloc(k->arena, sizeof *off);
    schema_defaults(&forwarded_schema, off);
    off->x_forwarded = off->x_real_ip = off->forwarded = false;
    r->features[FEATURE_FORWARDED] = off;
}

static void fill_match(struct making *k, struct match_conf *m, const struct mux_entry *e)
{
    struct str method, pattern = e->pattern;
    if (!pattern.p) {
        m->host = str_c(e->handler->host);
        m->path = STR("/");
        return;
    }
    if (!split(pattern, &method, &m->host, &m->path))
        conf_say(&k->errors, (struct schema_pos){0},
                 "pattern \"%.*s\": it needs a path, as in \"/\" or \"example.com/api/*\"",
                 STR_ARG(pattern));
    if (method.n == 0)
        return;
    struct str *methods = conf_alloc(k->arena, sizeof *methods);
    *methods = method;
    m->methods = (struct schema_list){methods, 1};
}

static void fill_route(struct making *k, struct route_conf *r, const struct mux_entry *e)
{
    struct weir_proxy *h = e->handler;
    schema_defaults(&route_schema, r);
    r->settings = k->conf->settings;
    char room[32];
    r->name = e->pattern.n ? e->pattern : arena_str(k->arena, handler_upstream(h, room));
    fill_match(k, &r->match, e);
    fill_features(k, r, h);
    if (h->wrong)
        conf_say(&k->errors, (struct schema_pos){0}, "\"%.*s\": %s", STR_ARG(r->name), h->wrong);
    if (h->func || h->transport.round_trip || h->wrong) {
        r->handler = embed_call;
        r->handler_arg = h;
        r->settings.buffer.size = PRODUCED_AHEAD;
    }
    if (h->func || h->wrong)
        return;
    fill_settings(&r->settings, &h->options);
    if (!h->transport.round_trip)
        r->to = upstream_of(k, h);
    if (r->to.n || h->target.endpoint.n)
        target_rewrite(&h->target, h->options.host_rewrite, &r->rewrite);
}

/* An instance that listens before it serves. */
static void answer_404(struct proxy_conf *conf, struct arena *a)
{
    struct route_conf *r = conf_alloc(a, sizeof *r);
    schema_defaults(&route_schema, r);
    r->name = STR("empty");
    r->match.path = STR("/*");
    r->settings = conf->settings;
    r->reply_given = true;
    r->reply.status = 404;
    conf->routes = (struct schema_list){r, 1};
}

bool mux_configure(const struct weir_mux *m, struct proxy_conf *conf, struct arena *a, char **why)
{
    size_t n = 0;
    if (list_empty(&m->entries)) {
        answer_404(conf, a);
        return true;
    }
    list_each(node, &m->entries)
        n++;
    struct making k = {.arena = a, .conf = conf};
    conf_errors_init(&k.errors, a, NULL);
    struct route_conf *routes = conf_alloc(a, n * sizeof *routes);
    k.upstreams = conf_alloc(a, n * sizeof *k.upstreams);
    k.names = conf_alloc(a, n * sizeof *k.names);
    conf->upstreams = (struct schema_map){k.names, k.upstreams, 0};
    conf->routes = (struct schema_list){routes, n};
    list_each(node, &m->entries)
        fill_route(&k, routes++, list_entry(node, struct mux_entry, node));
    *why = conf_errors_print(&k.errors);
    conf_errors_fini(&k.errors);
    return *why == NULL;
}

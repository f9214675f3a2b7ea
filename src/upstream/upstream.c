/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. registry.endpoints and registry.names are read and changed under the registry's lock only.
 * 2. An endpoint's uses is the number of upstreams alive that name it; it is retired exactly while
 *    uses is 0, and comes back to life when a later configuration names it again in time.
 * 3. registry.number is odd only under the lock; each change that a pick depends on moves it. */
#include "upstream/upstream.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/panic.h"
#include "upstream/balance_hash.h"
#include "upstream/registry.h"

struct upstream_registry *upstream_registry_new(unsigned n_workers)
{
    struct upstream_registry *r = mem_new_aligned(sizeof *r, 64);
    must(n_workers > 0);
    r->n_workers = n_workers;
    r->workers = mem_new(n_workers * sizeof(struct pool_worker *));
    r->bells = mem_new_aligned(n_workers * sizeof r->bells[0], 64);
    must(pthread_mutex_init(&r->lock, NULL) == 0);
    must(pthread_mutex_init(&r->joining, NULL) == 0);
    return r;
}

void upstream_registry_free(struct upstream_registry *r)
{
    must(r->endpoints.n == 0);
    map_fini(&r->endpoints);
    map_fini(&r->names);
    mem_free(r->workers);
    mem_free(r->bells);
    mem_free(r->taken);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->joining);
    mem_free(r);
}

unsigned upstream_registry_workers(const struct upstream_registry *r)
{
    return r->n_workers;
}

void registry_change_begin(struct upstream_registry *r)
{
    pthread_mutex_lock(&r->lock);
    atomic_fetch_add(&r->number, 1);
}

void registry_change_end(struct upstream_registry *r)
{
    atomic_fetch_add(&r->number, 1);
    pthread_mutex_unlock(&r->lock);
    turn_ring(r);
}

/* ---- names and endpoints ------------------------------------------------------------------- */

/* The lowest number that no name has. */
static uint32_t take_index(struct upstream_registry *r)
{
    uint32_t index = 0;
    while (index < r->n_taken && r->taken[index])
        index++;
    if (index == r->n_taken) {
        uint32_t n = r->n_taken ? r->n_taken * 2 : 16;
        r->taken = mem_resize(r->taken, n * sizeof r->taken[0]);
        memset(r->taken + r->n_taken, 0, (n - r->n_taken) * sizeof r->taken[0]);
        r->n_taken = n;
    }
    r->taken[index] = true;
    return index;
}

/* The run of a name, made when there is none, with one holder more. */
static struct upstream_run *run_hold(struct upstream_registry *r, struct str name)
{
    struct upstream_run *run = map_get(&r->names, name);
    if (!run) {
        run = mem_new_aligned(sizeof *run, 64);
        run->n_workers = r->n_workers;
        run->workers = mem_new_aligned(r->n_workers * sizeof run->workers[0], 64);
        list_init(&run->upstreams);
        list_init(&run->queue);
        must(pthread_mutex_init(&run->queue_lock, NULL) == 0);
        char *text = mem_printf("upstream %.*s", STR_ARG(name));
        breaker_init(&run->breaker, text);
        mem_free(text);
        map_set(&r->names, name, run);
    }
    run->holders++;
    return run;
}

static void breakers_free(struct map *m)
{
    size_t at = 0;
    struct str key;
    void *value;
    while (map_next(m, &at, &key, &value))
        breaker_free(value);
    map_fini(m);
}

void run_drop(struct upstream_registry *r, struct str name)
{
    struct upstream_run *run = map_get(&r->names, name);
    must(run && run->holders > 0);
    if (--run->holders > 0)
        return;
    map_remove(&r->names, name);
    must(list_empty(&run->queue));
    pthread_mutex_destroy(&run->queue_lock);
    breaker_fini(&run->breaker);
    breakers_free(&run->route_breakers);
    mem_free(run->workers);
    mem_free(run);
}

static void run_join(struct upstream_registry *r, struct upstream *u)
{
    u->run = run_hold(r, u->name);
    if (list_empty(&u->run->upstreams))
        u->run->index = take_index(r);
    list_push_back(&u->run->upstreams, &u->node);
    u->index = u->run->index;
    atomic_store(&u->run->most_in_row,
                 u->ejection.enabled ? (uint32_t) u->ejection.consecutive : 0);
}

static void run_leave(struct upstream_registry *r, struct upstream *u)
{
    list_remove(&u->node);
    if (list_empty(&u->run->upstreams))
        r->taken[u->run->index] = false;
    run_drop(r, u->name);
}

/* Weights are kept in thousandths. */
static uint32_t weight_given(double weight)
{
    double in = weight > 0 ? weight < 100 ? weight : 100 : 0;
    return (uint32_t) (in * 1000 + 0.5);
}

/* Finds or makes the endpoint, with one reference, and applies its configuration: a weight that
 * was set at run time stays until the configured one changes. Lock held, number odd. */
static struct endpoint *endpoint_use(struct upstream_registry *r, struct str upstream,
                                     const struct endpoint_conf *conf, const struct pool_conf *pool,
                                     struct tls_client *tls)
{
    char *text = endpoint_key(upstream, conf->address);
    struct endpoint *e = map_get(&r->endpoints, str_c(text));
    uint32_t given = weight_given(conf->weight);
    if (e) {
        endpoint_ref(e);
    } else {
        e = endpoint_new(r, upstream, conf->address);
        atomic_store(&e->weight, given);
        e->given_weight = given;
        e->run = run_hold(r, upstream);
        map_set(&r->endpoints, str_c(text), e);
    }
    mem_free(text);
    if (e->given_weight != given) {
        atomic_store(&e->weight, given);
        e->given_weight = given;
    }
    e->uses++;
    atomic_store(&e->retired, false);
    atomic_store(&e->max_active, (uint32_t) conf->max_active);
    atomic_store(&e->max_pending, (uint32_t) conf->max_pending);
    endpoint_set_pool(e, pool);
    endpoint_set_tls(e, tls);
    return e;
}

/* What an endpoint's pool is told: its own settings, and those of the whole upstream. */
static struct pool_conf upstream_pool_conf(const struct upstream_conf *conf,
                                           const struct endpoint_conf *e)
{
    struct pool_conf pool = pool_conf_merge(&conf->pool, &e->pool);
    pool.protocol = conf->protocol;
    pool.max_streams = conf->http2.max_streams ? conf->http2.max_streams : 1;
    pool.ping_interval = conf->http2.ping_interval;
    pool.ping_timeout = conf->http2.ping_timeout;
    return pool;
}

/* ---- upstreams ----------------------------------------------------------------------------- */

static uint64_t hash_number(uint64_t h, int64_t v)
{
    return str_stable_hash(str_of((const char *) &v, sizeof v), h);
}

static uint64_t hash_pool(uint64_t h, const struct pool_conf *p)
{
    const int64_t v[] = {p->max_idle,
                         p->min_idle,
                         p->max_connections,
                         p->max_waiting,
                         (int64_t) p->idle_timeout,
                         (int64_t) p->max_lifetime,
                         p->max_requests,
                         (int64_t) p->connect_timeout,
                         p->keepalive,
                         p->probe,
                         (int64_t) p->probe_after,
                         p->protocol,
                         p->max_streams,
                         (int64_t) p->ping_interval,
                         (int64_t) p->ping_timeout};
    return str_stable_hash(p->probe_path, str_stable_hash(str_of((const char *) v, sizeof v), h));
}

/* Lengths are hashed too: "ab","c" is not "a","bc". */
static uint64_t hash_text(uint64_t h, struct str s)
{
    return str_stable_hash(s, hash_number(h, (int64_t) s.n));
}

uint64_t upstream_content(struct str name, const struct upstream_conf *conf)
{
    const struct endpoint_conf *e = conf->endpoints.items;
    uint64_t h =
        schema_hash(&balance_schema, &conf->balance, hash_text(hash_text(0, name), conf->host));
    h = hash_number(schema_hash(&health_schema, &conf->health, h), conf->health_given);
    h = hash_number(schema_hash(&breaker_schema, &conf->breaker, h), conf->breaker_given);
    h = hash_number(schema_hash(&ejection_schema, &conf->ejection, h), conf->proxy_protocol);
    h = hash_number(h, (int64_t) (uintptr_t) conf->balance_ops);
    h = hash_number(hash_number(h, conf->max_active), conf->max_pending);
    if (upstream_speaks_tls(conf))
        h = schema_hash(&tls_client_schema, &conf->tls, h);
    h = hash_number(h, (int64_t) (uintptr_t) conf->balance_arg);
    for (size_t i = 0; i < conf->endpoints.n; i++) {
        struct pool_conf pool = upstream_pool_conf(conf, &e[i]);
        h = hash_number(hash_text(h, e[i].address), weight_given(e[i].weight));
        h = hash_number(hash_number(h, e[i].max_active), e[i].max_pending);
        h = hash_pool(hash_number(hash_text(h, e[i].zone), e[i].level), &pool);
    }
    return h;
}

/* The level of an endpoint: its own, and below each those of other zones. */
static uint8_t level_given(const struct upstream_conf *conf, const struct endpoint_conf *e)
{
    bool far = conf->balance.zone.n && e->zone.n && !str_eq(conf->balance.zone, e->zone);
    return (uint8_t) (e->level * 2 + far);
}

static void take_balance(struct upstream *u, const struct upstream_conf *conf)
{
    struct balance_conf *b = &u->balance_conf;
    must(conf->balance.policy >= 0 && balance_names[conf->balance.policy]);
    u->balance = conf->balance_ops ? conf->balance_ops : balance_all[conf->balance.policy];
    u->balance_arg = conf->balance_arg;
    *b = conf->balance;
    b->on = mem_str(b->on);
    b->sticky = mem_str(b->sticky);
    b->weight_header = mem_str(b->weight_header);
    b->zone = mem_str(b->zone);
    b->pos = (struct schema_pos){0};
    u->marks_answers = b->sticky.n || b->weight_header.n;
    if (u->balance == &balance_hash || conf->balance_ops)
        u->key = balance_key(b->on, &u->key_name);
}

static void take_breaker(struct upstream *u, const struct breaker_conf *conf, bool given)
{
    size_t bytes = conf->statuses.n * sizeof(int64_t);
    u->breaker = *conf;
    u->breaker.enabled = given && conf->enabled;
    if (u->breaker.close_rate > conf->failure_rate) /* it would close only to open again */
        u->breaker.close_rate = conf->failure_rate;
    u->breaker.statuses.items = mem_new(bytes + 1);
    if (bytes)
        memcpy(u->breaker.statuses.items, conf->statuses.items, bytes);
}

static void take_health(struct upstream *u, const struct upstream_conf *conf)
{
    u->checked = conf->health_given;
    u->health_room = mem_new(schema_copy_size(&health_schema, &conf->health) + 16);
    schema_copy(&health_schema, &u->health, &conf->health, u->health_room);
}

static void make_breaker(struct endpoint *e)
{
    if (atomic_load(&e->breaker))
        return;
    char *name =
        mem_printf("upstream %.*s, endpoint %.*s", STR_ARG(e->upstream_name), STR_ARG(e->address));
    atomic_store(&e->breaker, breaker_new(name));
}

struct breaker *upstream_breaker(struct upstream *u, struct str route)
{
    const struct breaker_conf *c = &u->breaker;
    if (!c->enabled || c->scope == BREAKER_ENDPOINT)
        return NULL;
    if (c->scope == BREAKER_UPSTREAM)
        return &u->run->breaker;
    pthread_mutex_lock(&u->registry->lock);
    struct breaker *b = map_get(&u->run->route_breakers, route);
    if (!b) {
        b = breaker_new(mem_printf("upstream %.*s, route %.*s", STR_ARG(u->name), STR_ARG(route)));
        map_set(&u->run->route_breakers, route, b);
    }
    pthread_mutex_unlock(&u->registry->lock);
    return b;
}

void upstream_breakers_each(struct upstream_registry *r,
                            void (*fn)(void *arg, struct breaker *b, const struct breaker_conf *c),
                            void *arg)
{
    size_t at = 0;
    struct str key;
    void *value;
    pthread_mutex_lock(&r->lock);
    while (map_next(&r->names, &at, &key, &value)) {
        struct upstream_run *run = value;
        struct upstream *u = run_newest(run);
        if (!u || !u->breaker.enabled)
            continue;
        size_t in = 0;
        if (u->breaker.scope == BREAKER_UPSTREAM)
            fn(arg, &run->breaker, &u->breaker);
        while (u->breaker.scope == BREAKER_ROUTE &&
               map_next(&run->route_breakers, &in, &key, &value))
            fn(arg, value, &u->breaker);
        for (uint32_t i = 0; u->breaker.scope == BREAKER_ENDPOINT && i < u->n_endpoints; i++)
            fn(arg, atomic_load(&u->endpoints[i]->breaker), &u->breaker);
    }
    pthread_mutex_unlock(&r->lock);
}

void upstream_runs_each(struct upstream_registry *r,
                        void (*fn)(void *arg, struct str name, const struct upstream_run *run),
                        void *arg)
{
    size_t at = 0;
    struct str key;
    void *value;
    pthread_mutex_lock(&r->lock);
    while (map_next(&r->names, &at, &key, &value)) {
        if (run_newest(value))
            fn(arg, key, value);
    }
    pthread_mutex_unlock(&r->lock);
}

bool upstream_breaker_hold(struct upstream_registry *r, struct str upstream,
                           enum breaker_force force)
{
    size_t at = 0;
    struct str key;
    void *value;
    pthread_mutex_lock(&r->lock);
    struct upstream_run *run = map_get(&r->names, upstream);
    struct upstream *u = run ? run_newest(run) : NULL;
    bool any = u && u->breaker.enabled;
    if (any && u->breaker.scope == BREAKER_UPSTREAM)
        breaker_hold(&run->breaker, force);
    while (any && u->breaker.scope == BREAKER_ROUTE &&
           map_next(&run->route_breakers, &at, &key, &value))
        breaker_hold(value, force);
    for (uint32_t i = 0; any && u->breaker.scope == BREAKER_ENDPOINT && i < u->n_endpoints; i++)
        breaker_hold(atomic_load(&u->endpoints[i]->breaker), force);
    pthread_mutex_unlock(&r->lock);
    return any;
}

static void take_endpoints(struct upstream *u, const struct upstream_conf *conf)
{
    struct upstream_registry *r = u->registry;
    const struct endpoint_conf *given = conf->endpoints.items;
    uint8_t *levels = mem_new(conf->endpoints.n + 1), any = 0;
    for (size_t i = 0; i < conf->endpoints.n; i++) {
        struct pool_conf pool = upstream_pool_conf(conf, &given[i]);
        struct endpoint *e = endpoint_use(r, u->name, &given[i], &pool, conf->tls_client);
        if (e->builder == u) { /* an address given twice counts once */
            e->uses--;
            atomic_fetch_sub(&e->refs, 1); /* not the last: u holds one */
            continue;
        }
        e->builder = u;
        if (u->breaker.enabled && u->breaker.scope == BREAKER_ENDPOINT)
            make_breaker(e);
        u->endpoints_limited |= given[i].max_active > 0;
        any |= levels[u->n_endpoints] = level_given(conf, &given[i]);
        u->given_weights[u->n_endpoints] = e->given_weight;
        u->endpoints[u->n_endpoints++] = e;
    }
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        u->endpoints[i]->builder = NULL;
    if (any)
        u->levels = levels;
    else
        mem_free(levels);
}

static int by_id(const void *a, const void *b)
{
    const struct endpoint *x = *(struct endpoint *const *) a, *y = *(struct endpoint *const *) b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void index_ids(struct upstream *u)
{
    size_t bytes = u->n_endpoints * sizeof u->by_id[0];
    u->by_id = mem_new(bytes + 1);
    memcpy(u->by_id, u->endpoints, bytes);
    qsort(u->by_id, u->n_endpoints, sizeof u->by_id[0], by_id);
}

struct endpoint *upstream_by_id(const struct upstream *u, uint64_t id)
{
    uint32_t from = 0, to = u->by_id ? u->n_endpoints : 0;
    while (from < to) {
        uint32_t mid = from + (to - from) / 2;
        if (u->by_id[mid]->id == id)
            return u->by_id[mid];
        if (u->by_id[mid]->id < id)
            from = mid + 1;
        else
            to = mid;
    }
    return NULL;
}

struct upstream *upstream_new(struct upstream_registry *r, struct str name,
                              const struct upstream_conf *conf)
{
    struct upstream *u = mem_new(sizeof *u);
    size_t n = conf->endpoints.n + 1;
    u->name = mem_str(name);
    u->plain_name = json_plain(name);
    u->host = mem_str(conf->host);
    u->proxy_protocol = (uint8_t) conf->proxy_protocol;
    u->protocol = (uint8_t) conf->protocol;
    u->registry = r;
    u->content = upstream_content(name, conf);
    u->endpoints = mem_new(n * sizeof(struct endpoint *));
    u->given_weights = mem_new(n * sizeof u->given_weights[0]);
    u->ejection = conf->ejection;
    take_health(u, conf);
    take_breaker(u, &conf->breaker, conf->breaker_given);
    take_balance(u, conf);
    atomic_store(&u->refs, 1);
    registry_change_begin(r);
    run_join(r, u);
    atomic_store(&u->run->max_active, (uint32_t) conf->max_active);
    atomic_store(&u->run->max_pending, (uint32_t) conf->max_pending);
    take_endpoints(u, conf);
    u->limited = conf->max_active || u->endpoints_limited;
    u->balancer_alone = !u->limited && !u->balance_conf.sticky.n && u->key == KEY_NONE &&
                        !u->breaker.enabled && !u->balance->counts_active;
    registry_change_end(r);
    if (u->balance_conf.sticky.n)
        index_ids(u);
    u->balance_state = u->balance->create(u, r->n_workers);
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        endpoint_tell_all(u->endpoints[i]);
    return u;
}

struct upstream *upstream_ref(struct upstream *u)
{
    uint32_t before = atomic_fetch_add(&u->refs, 1);
    must(before > 0);
    return u;
}

void upstream_unref(struct upstream *u)
{
    if (atomic_fetch_sub(&u->refs, 1) != 1)
        return;
    struct upstream_registry *r = u->registry;
    u->balance->destroy(u->balance_state);
    registry_change_begin(r);
    run_leave(r, u);
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct endpoint *e = u->endpoints[i];
        must(e->uses > 0);
        if (--e->uses == 0)
            atomic_store(&e->retired, true);
    }
    registry_change_end(r);
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        if (atomic_load(&u->endpoints[i]->retired))
            endpoint_tell_all(u->endpoints[i]);
        endpoint_unref(u->endpoints[i]);
    }
    mem_free(u->endpoints);
    mem_free(u->given_weights);
    mem_free(u->breaker.statuses.items);
    mem_free(u->health_room);
    mem_free(u->by_id);
    mem_free(u->levels);
    mem_free((void *) u->balance_conf.on.p);
    mem_free((void *) u->balance_conf.sticky.p);
    mem_free((void *) u->balance_conf.weight_header.p);
    mem_free((void *) u->balance_conf.zone.p);
    mem_free((void *) u->name.p);
    mem_free((void *) u->host.p);
    mem_free(u);
}

/* ---- all endpoints ------------------------------------------------------------------------- */

void upstream_registry_each(struct upstream_registry *r, void (*fn)(void *arg, struct endpoint *e),
                            void *arg)
{
    size_t at = 0, n = 0;
    struct str key;
    void *value;
    pthread_mutex_lock(&r->lock);
    struct endpoint **all = mem_new((r->endpoints.n + 1) * sizeof(struct endpoint *));
    while (map_next(&r->endpoints, &at, &key, &value))
        all[n++] = endpoint_ref(value);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < n; i++) {
        fn(arg, all[i]);
        endpoint_unref(all[i]);
    }
    mem_free(all);
}

/* ---- workers ------------------------------------------------------------------------------- */

void registry_join(struct upstream_registry *r, uint32_t index, struct pool_worker *w)
{
    must(index < r->n_workers);
    pthread_mutex_lock(&r->joining);
    must(!w || !r->workers[index]);
    r->workers[index] = w;
    pthread_mutex_unlock(&r->joining);
}

/* The lock keeps the worker from leaving between the look and the post. */
bool registry_note(struct upstream_registry *r, uint32_t worker, struct note *n)
{
    must(worker < r->n_workers);
    pthread_mutex_lock(&r->joining);
    struct pool_worker *w = r->workers[worker];
    if (w) {
        struct note *top = atomic_load(&w->inbox);
        do {
            n->next = top;
        } while (!atomic_compare_exchange_weak(&w->inbox, &top, n));
        if (!top)
            loop_post(w->loop, &w->wake);
    }
    pthread_mutex_unlock(&r->joining);
    return w != NULL;
}

void upstream_set_weights(struct upstream *u, const struct endpoint_weight *w, uint32_t n)
{
    struct upstream_registry *r = u->registry;
    registry_change_begin(r);
    for (uint32_t i = 0; i < n; i++) {
        char *key = endpoint_key(u->name, w[i].address);
        struct endpoint *e = map_get(&r->endpoints, str_c(key));
        mem_free(key);
        if (e)
            atomic_store(&e->weight, weight_given(w[i].weight));
    }
    registry_change_end(r);
}

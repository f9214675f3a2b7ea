/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. An endpoint is in registry.endpoints from birth until its last reference goes; both happen
 *    under the registry's lock, so a lookup never finds one that is being freed.
 * 2. *addrs and *pool are read and replaced under e->lock only; whether addrs is NULL may be asked
 *    without. Once addresses are known they are never taken away again (keep last good).
 * 3. e->refs counts upstreams that name it, pools, tickets, notes on their way and watches. */
#include "upstream/endpoint.h"

#include "base/json.h"
#include "base/panic.h"
#include "net/tls.h"
#include "upstream/registry.h"

static const char *const reason_names[EVICT_REASONS] = {
    [EVICT_IDLE] = "idle_timeout",     [EVICT_LIFETIME] = "max_lifetime",
    [EVICT_REQUESTS] = "max_requests", [EVICT_CLOSED] = "closed_by_endpoint",
    [EVICT_READABLE] = "stale_bytes",  [EVICT_SURPLUS] = "surplus",
    [EVICT_ERROR] = "error",           [EVICT_NOT_KEPT] = "not_kept",
    [EVICT_RETIRED] = "retired",       [EVICT_PROBE] = "probe_failed",
    [EVICT_GOAWAY] = "goaway",         [EVICT_MOVED] = "moved",
};

const char *evict_reason_name(enum evict_reason r)
{
    must((unsigned) r < EVICT_REASONS);
    return reason_names[r];
}

/* IP and unix addresses need no resolver: known at birth. */
static void set_literal(struct endpoint *e)
{
    struct addr a;
    if (e->text.form == ADDR_NAME)
        return;
    if (!addr_from_text(&e->text, &a)) {
        atomic_store(&e->resolve_failed, true);
        return;
    }
    struct endpoint_addrs *set = mem_new(sizeof *set);
    set->n = 1;
    set->a[0] = a;
    atomic_store(&e->addrs, set);
}

struct endpoint *endpoint_new(struct upstream_registry *r, struct str upstream, struct str address)
{
    struct endpoint *e = mem_new_aligned(sizeof *e, 64);
    const char *why = NULL;
    e->registry = r;
    e->upstream_name = mem_str(upstream);
    e->address = mem_str(address);
    e->plain_address = json_plain(address);
    e->id = str_stable_hash(address, str_stable_hash(upstream, 0));
    e->stats = mem_new_aligned(r->n_workers * sizeof *e->stats, 64);
    e->shares = mem_new_aligned(r->n_workers * sizeof *e->shares, 64);
    e->pools = mem_new(r->n_workers * sizeof(struct link_pool *));
    for (uint32_t i = 0; i < r->n_workers; i++)
        e->shares[i].endpoint = e;
    list_init(&e->queue);
    must(pthread_mutex_init(&e->lock, NULL) == 0);
    atomic_store(&e->refs, 1);
    atomic_store(&e->up, true);
    atomic_store(&e->share, 1000);
    e->tuning = (struct endpoint_tuning){.feedback = 1000, .said = 1000};
    if (addr_split(e->address, 0, &e->text, &why))
        set_literal(e);
    else
        atomic_store(&e->resolve_failed, true);
    return e;
}

static void conf_free(struct pool_conf *conf)
{
    if (!conf)
        return;
    mem_free((void *) conf->probe_path.p);
    mem_free(conf);
}

static void endpoint_free(struct endpoint *e)
{
    must(list_empty(&e->queue));
    conf_free(e->pool);
    tls_client_unref(e->tls);
    mem_free(atomic_load(&e->addrs));
    breaker_free(atomic_load(&e->breaker));
    pthread_mutex_destroy(&e->lock);
    mem_free(e->checked.evidence);
    mem_free(e->checked.output);
    mem_free((void *) e->upstream_name.p);
    mem_free((void *) e->address.p);
    mem_free(e->pools);
    mem_free(e->stats);
    mem_free(e->shares);
    mem_free(e);
}

struct endpoint *endpoint_ref(struct endpoint *e)
{
    uint32_t before = atomic_fetch_add(&e->refs, 1);
    must(before > 0);
    return e;
}

char *endpoint_key(struct str upstream, struct str address)
{
    return mem_printf("%.*s\n%.*s", STR_ARG(upstream), STR_ARG(address));
}

static void registry_forget(struct upstream_registry *r, struct endpoint *e)
{
    char *key = endpoint_key(e->upstream_name, e->address);
    map_remove(&r->endpoints, str_c(key));
    mem_free(key);
    run_drop(r, e->upstream_name);
}

void endpoint_unref(struct endpoint *e)
{
    uint32_t n = atomic_load(&e->refs);
    while (n > 1) {
        if (atomic_compare_exchange_weak(&e->refs, &n, n - 1))
            return;
    }
    struct upstream_registry *r = e->registry;
    pthread_mutex_lock(&r->lock);
    bool last = atomic_fetch_sub(&e->refs, 1) == 1;
    if (last)
        registry_forget(r, e);
    pthread_mutex_unlock(&r->lock);
    if (last)
        endpoint_free(e);
}

static bool conf_equal(const struct pool_conf *a, const struct pool_conf *b)
{
    return a->max_idle == b->max_idle && a->min_idle == b->min_idle &&
           a->max_connections == b->max_connections && a->max_waiting == b->max_waiting &&
           a->idle_timeout == b->idle_timeout && a->max_lifetime == b->max_lifetime &&
           a->max_requests == b->max_requests && a->connect_timeout == b->connect_timeout &&
           a->keepalive == b->keepalive && a->probe == b->probe &&
           str_eq(a->probe_path, b->probe_path) && a->probe_after == b->probe_after &&
           a->protocol == b->protocol && a->max_streams == b->max_streams &&
           a->ping_interval == b->ping_interval && a->ping_timeout == b->ping_timeout;
}

bool endpoint_set_pool(struct endpoint *e, const struct pool_conf *conf)
{
    pthread_mutex_lock(&e->lock);
    struct pool_conf *old = e->pool;
    bool changed = !old || !conf_equal(old, conf);
    if (changed) {
        struct pool_conf *copy = mem_new(sizeof *copy);
        *copy = *conf;
        copy->probe_path = mem_str(conf->probe_path);
        e->pool = copy;
        atomic_fetch_add(&e->conf_number, 1);
    }
    pthread_mutex_unlock(&e->lock);
    if (changed)
        conf_free(old);
    return changed;
}

void endpoint_set_tls(struct endpoint *e, struct tls_client *tls)
{
    pthread_mutex_lock(&e->lock);
    struct tls_client *old = e->tls;
    if (old != tls) {
        e->tls = tls ? tls_client_ref(tls) : NULL;
        atomic_fetch_add(&e->conf_number, 1);
    }
    pthread_mutex_unlock(&e->lock);
    if (old != tls)
        tls_client_unref(old);
}

struct tls_client *endpoint_tls(struct endpoint *e)
{
    pthread_mutex_lock(&e->lock);
    struct tls_client *tls = e->tls ? tls_client_ref(e->tls) : NULL;
    pthread_mutex_unlock(&e->lock);
    return tls;
}

void endpoint_pool_conf(struct endpoint *e, struct pool_conf *out)
{
    pthread_mutex_lock(&e->lock);
    *out = *e->pool;
    out->probe_path = mem_str(e->pool->probe_path);
    pthread_mutex_unlock(&e->lock);
}

void upstream_registry_hear_moved(struct upstream_registry *r, struct moved_hearer hearer)
{
    r->hearer = hearer;
}

static bool same_addrs(const struct endpoint_addrs *x, const struct endpoint_addrs *y)
{
    bool same = x->n == y->n;
    for (uint32_t i = 0; same && i < x->n; i++)
        same = addr_equal(&x->a[i], &y->a[i]);
    return same;
}

static bool has_addr(const struct endpoint_addrs *set, const struct addr *a)
{
    for (uint32_t i = 0; i < set->n; i++)
        if (addr_equal(&set->a[i], a))
            return true;
    return false;
}

/* was has one that is has not. */
static bool lost_one(const struct endpoint_addrs *was, const struct endpoint_addrs *is)
{
    for (uint32_t i = 0; i < was->n; i++)
        if (!has_addr(is, &was->a[i]))
            return true;
    return false;
}

bool endpoint_has_addr(struct endpoint *e, const struct addr *a)
{
    pthread_mutex_lock(&e->lock);
    const struct endpoint_addrs *set = atomic_load(&e->addrs);
    bool has = set && has_addr(set, a);
    pthread_mutex_unlock(&e->lock);
    return has;
}

/* Not under a lock: nobody but the resolver's loop replaces the sets. */
static void tell_moved(struct endpoint *e, const struct endpoint_addrs *was,
                       const struct endpoint_addrs *is)
{
    const struct moved_hearer *h = &e->registry->hearer;
    if (h->moved && !atomic_load(&e->retired) && !same_addrs(was, is))
        h->moved(h->arg, e, was, is);
}

void endpoint_set_ips(struct endpoint *e, const struct ip *ips, size_t n)
{
    struct upstream_registry *r = e->registry;
    if (n > ENDPOINT_ADDRS_MAX)
        n = ENDPOINT_ADDRS_MAX;
    if (n == 0) {
        registry_change_begin(r);
        if (!atomic_load(&e->addrs))
            atomic_store(&e->resolve_failed, true);
        registry_change_end(r);
        endpoint_tell_all(e);
        return;
    }
    struct endpoint_addrs *set = mem_new(sizeof *set);
    for (size_t i = 0; i < n; i++)
        set->a[i] = addr_from_ip(ips[i], e->text.port);
    set->n = (uint32_t) n;
    registry_change_begin(r);
    pthread_mutex_lock(&e->lock);
    struct endpoint_addrs *old = atomic_exchange(&e->addrs, set);
    bool all = n < ENDPOINT_ADDRS_MAX; /* else one may only have made room */
    bool lost = old && all && lost_one(old, set);
    if (lost)
        atomic_fetch_add(&e->moves, 1);
    pthread_mutex_unlock(&e->lock);
    atomic_store(&e->resolve_failed, false);
    registry_change_end(r);
    if (!old || lost)
        endpoint_tell_all(e);
    if (old)
        tell_moved(e, old, set);
    mem_free(old);
}

uint32_t endpoint_addr_at(struct endpoint *e, uint32_t at, struct addr *out)
{
    uint32_t n = 0;
    pthread_mutex_lock(&e->lock);
    struct endpoint_addrs *set = atomic_load(&e->addrs);
    if (set) {
        n = set->n;
        *out = set->a[at % n];
    }
    pthread_mutex_unlock(&e->lock);
    return n;
}

bool endpoint_addr(struct endpoint *e, struct addr *out)
{
    uint32_t at = atomic_fetch_add_explicit(&e->next_addr, 1, memory_order_relaxed);
    return endpoint_addr_at(e, at, out) > 0;
}

static void told(struct pool_worker *w, struct note *n);

void endpoint_tell(struct endpoint *e, uint32_t worker)
{
    struct endpoint_share *share = &e->shares[worker];
    if (atomic_exchange(&share->told, true))
        return; /* it will look after this moment anyhow */
    share->note.run = told;
    endpoint_ref(e);
    if (registry_note(e->registry, worker, &share->note))
        return;
    atomic_store(&share->told, false);
    endpoint_unref(e);
}

/* told is cleared before the look, so that what changes from now on is told again. */
static void told(struct pool_worker *w, struct note *n)
{
    struct endpoint_share *share = (struct endpoint_share *) n;
    struct endpoint *e = share->endpoint;
    atomic_store(&share->told, false);
    pool_look(w, e);
    endpoint_unref(e);
}

void endpoint_tell_all(struct endpoint *e)
{
    for (uint32_t i = 0; i < e->registry->n_workers; i++)
        endpoint_tell(e, i);
}

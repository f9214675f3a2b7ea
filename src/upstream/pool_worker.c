/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. A pool lives from the first use of its endpoint on this worker until the endpoint is retired
 *    and the pool holds no link and no wait, or until the worker ends.
 * 2. Closed links, and such pools, are freed at the end of the turn: nothing on the way up the
 *    stack loses what it holds.
 * 3. worker->inbox is filled by any thread while the worker is joined to the registry, and emptied
 *    by the worker; whoever fills an empty one wakes the loop. */
#include "base/panic.h"
#include "net/tls.h"
#include "upstream/pool_announce.h"
#include "upstream/pool_inside.h"
#include "upstream/pool_share.h"

/* ---- pools --------------------------------------------------------------------------------- */

/* This worker's part of min_idle: the first workers take the remainder. */
static uint32_t warm_part(const struct link_pool *p)
{
    uint32_t all = (uint32_t) p->conf.min_idle, n = p->endpoint->registry->n_workers;
    return all / n + (p->worker->index < all % n);
}

/* Settings or the endpoint's state have changed: what was said of links is void. */
static void judge_anew(struct link_pool *p)
{
    const struct list *const lists[] = {&p->idle, &p->probing, &p->lent};
    for (size_t i = 0; i < 3; i++) {
        list_each(it, lists[i])
            list_entry(it, struct link, node)->fit_until = 0;
    }
}

/* Closes what is in nobody's use; what is lent, when it comes back. */
static void pool_close_unused(struct link_pool *p)
{
    judge_anew(p);
    struct list *const lists[] = {&p->idle, &p->probing};
    for (size_t i = 0; i < 2; i++) {
        while (!list_empty(lists[i]))
            link_evict(list_entry(lists[i]->root.next, struct link, node), EVICT_RETIRED, false);
    }
    while (share_spare(p)) {
        link_abandon(list_entry(p->opening.root.prev, struct link, node));
        slot_put(p);
    }
}

void pool_reconfigure(struct link_pool *p, uint32_t number)
{
    struct endpoint *e = p->endpoint;
    mem_free((void *) p->conf.probe_path.p);
    endpoint_pool_conf(e, &p->conf);
    struct tls_client *spoken = p->tls;
    p->tls = endpoint_tls(e);
    bool same = p->tls == spoken;
    tls_client_unref(spoken);
    p->conf_number = number;
    p->each =
        p->conf.protocol == PROTOCOL_H2 && p->conf.keepalive ? (uint32_t) p->conf.max_streams : 1;
    int64_t batch = p->conf.max_idle / (4 * (int64_t) e->registry->n_workers);
    p->batch = batch < 1 ? 1 : batch > POOL_BATCH ? POOL_BATCH : (uint32_t) batch;
    p->warm = p->conf.keepalive ? warm_part(p) : 0;
    bool counted = p->conf.max_connections > 0;
    if (counted && !p->counted)
        atomic_fetch_add(&e->open, p->n_open);
    else if (!counted && p->counted)
        atomic_fetch_sub(&e->open, p->n_open);
    p->counted = counted;
    atomic_store(&p->share->idle, counted ? p->n_idle : 0);
    judge_anew(p);
    idle_shrink(p);
    if (!same)
        pool_close_unused(p); /* they were made under other rules */
    share_settle(p);
    idle_arm(p);
    warm_kick(p);
}

struct link_pool *pool_make(struct pool_worker *w, struct endpoint *e)
{
    struct link_pool *p = mem_new(sizeof *p);
    p->worker = w;
    p->endpoint = endpoint_ref(e);
    p->each = 1;
    p->stats = &e->stats[w->index];
    p->share = &e->shares[w->index];
    struct list *const lists[] = {&p->idle,          &p->opening,   &p->lent,   &p->probing,
                                  &p->opening_waits, &p->resolving, &p->queued, &p->roomy};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        list_init(lists[i]);
    idle_init(p);
    timer_init(&p->resolve_timer, resolve_tick);
    e->pools[w->index] = p;
    list_push_back(&w->pools, &p->node);
    pool_reap_later(p); /* a late request of an old configuration */
    pool_refresh(p);
    return p;
}

static bool pool_empty(const struct link_pool *p)
{
    return p->n_open == 0 && list_empty(&p->opening_waits) && list_empty(&p->resolving) &&
           list_empty(&p->queued);
}

static void pool_free(struct link_pool *p)
{
    struct endpoint *e = p->endpoint;
    must(pool_empty(p));
    permits_trim(p, true);
    timer_stop(&p->idle_timer);
    timer_stop(&p->resolve_timer);
    timer_stop(&p->warm_timer);
    loop_unqueue(&p->warm_task);
    list_remove(&p->node);
    e->pools[p->worker->index] = NULL;
    mem_free((void *) p->conf.probe_path.p);
    tls_client_unref(p->tls);
    mem_free(p);
    endpoint_unref(e);
}

/* ---- worker -------------------------------------------------------------------------------- */

static void worker_sweep(void *arg)
{
    struct pool_worker *w = arg;
    struct list_node *node;
    w->sweeping = false;
    while ((node = list_pop_front(&w->closed))) {
        struct link *l = list_entry(node, struct link, node);
        l->magic = 0;
        announcement_free(l);
        pool_put(&w->links, l);
    }
    if (!w->reaping)
        return;
    w->reaping = false;
    list_each_safe(it, &w->pools) {
        struct link_pool *p = list_entry(it, struct link_pool, node);
        if (atomic_load(&p->endpoint->retired) && pool_empty(p))
            pool_free(p);
    }
}

void worker_sweep_later(struct pool_worker *w)
{
    if (w->sweeping)
        return;
    w->sweeping = true;
    loop_defer_free(w->loop, worker_sweep, w);
}

void pool_reap_later(struct link_pool *p)
{
    if (!atomic_load(&p->endpoint->retired))
        return;
    p->worker->reaping = true;
    worker_sweep_later(p->worker);
}

/* Runs what other workers sent, oldest first. */
static void inbox_run(struct pool_worker *w)
{
    struct note *n = atomic_exchange(&w->inbox, NULL), *first = NULL;
    while (n) {
        struct note *next = n->next;
        n->next = first;
        first = n;
        n = next;
    }
    while (first) {
        n = first;
        first = n->next;
        n->run(w, n);
    }
}

static void worker_woken(struct post *post)
{
    inbox_run(list_entry(post, struct pool_worker, wake));
}

void pool_look(struct pool_worker *w, struct endpoint *e)
{
    struct link_pool *p = e->pools[w->index];
    bool retired = atomic_load(&e->retired);
    if (!p) {
        struct pool_conf conf;
        if (w->stopping || retired)
            return;
        endpoint_pool_conf(e, &conf);
        mem_free((void *) conf.probe_path.p);
        if (conf.min_idle == 0)
            return;
        p = pool_of(w, e);
    }
    pool_refresh(p);
    if (retired) {
        pool_close_unused(p);
        pool_reap_later(p);
    }
    pool_leave_moved(p);
    resolve_look(p);
    if (pool_contended(p))
        pool_serve(p);
    warm_kick(p);
}

static void look_one(void *arg, struct endpoint *e)
{
    pool_look(arg, e);
}

void pool_worker_init(struct pool_worker *w, struct upstream_registry *r, uint32_t index,
                      struct loop *loop, struct mem_account *account)
{
    *w = (struct pool_worker){.loop = loop, .registry = r, .account = account, .index = index};
    pool_init(&w->links, sizeof(struct link), 1024, account);
    list_init(&w->pools);
    list_init(&w->closed);
    list_init(&w->delivered);
    list_init(&w->turns);
    w->deliver.run = wait_run;
    w->wake.run = worker_woken;
    registry_join(r, index, w);
    upstream_registry_each(r, look_one, w);
}

static void fail_waits(struct link_pool *p, struct list *waits)
{
    while (!list_empty(waits)) {
        struct link_wait *wait = list_entry(waits->root.next, struct link_wait, node);
        wait_unlink(p, wait);
        wait_deliver(wait, p, NULL, FAULT_SHUTDOWN);
    }
}

void pool_worker_stop(struct pool_worker *w)
{
    w->stopping = true;
    list_each_safe(it, &w->pools) {
        struct link_pool *p = list_entry(it, struct link_pool, node);
        fail_waits(p, &p->queued);
        fail_waits(p, &p->resolving);
        fail_waits(p, &p->opening_waits);
        pool_close_unused(p);
    }
}

void pool_worker_fini(struct pool_worker *w)
{
    if (!w->stopping)
        pool_worker_stop(w);
    registry_join(w->registry, w->index, NULL);
    inbox_run(w);
    loop_unqueue(&w->deliver);
    list_each_safe(it, &w->pools) {
        struct link_pool *p = list_entry(it, struct link_pool, node);
        pool_close_unused(p);
        while (!list_empty(&p->lent))
            link_evict(list_entry(p->lent.root.next, struct link, node), EVICT_RETIRED, true);
        pool_free(p);
    }
    worker_sweep(w);
    tickets_free(w);
    pool_fini(&w->links);
}

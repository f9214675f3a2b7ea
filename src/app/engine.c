/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c: see engine.h.
 * Invariants:
 * 1. A worker's loop, worker and thread are touched by others only by loop_post, and only between
 *    ENGINE_RUNNING and the join.
 * 2. Workers end before the main worker, that before the registry: a snapshot given back late finds
 *    everything it names.
 * 3. on_drained runs once, when every worker and the main one have drained; the main one begins
 *    last, but where a successor has taken over. */
#include "app/engine.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/panic.h"
#include "base/test_hooks.h"
#include "control/health_check.h"
#include "net/sock.h"
#include "net/tls.h"
#include "proxy/source_limit.h"

#define LOOK_PAUSE USEC_PER_SEC
#define MAIN_DRAIN (2 * USEC_PER_SEC) /* the admin page has nothing that may take longer */

/* ---- workers ------------------------------------------------------------------------------- */

static void make_worker(struct engine_worker *ew, struct loop *loop)
{
    struct engine *e = ew->engine;
    ew->loop = loop;
    ew->worker = worker_new(loop, ew->index, &e->shared, ew->stats);
    features_join(&e->features, ew->worker);
}

/* The i-th CPU of those that the process may use, counted around. */
static void pin_thread(uint32_t i)
{
    cpu_set_t may, one;
    if (sched_getaffinity(0, sizeof may, &may) < 0)
        return;
    int n = CPU_COUNT(&may);
    uint32_t left = n > 0 ? i % (uint32_t) n : 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &may) || left-- > 0)
            continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        (void) pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

static void tell_state(struct engine_worker *ew, enum engine_state state)
{
    struct engine *e = ew->engine;
    pthread_mutex_lock(&e->lock);
    ew->state = state;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static void *worker_thread(void *arg)
{
    struct engine_worker *ew = arg;
    char name[16];
    snprintf(name, sizeof name, "weir-%u", ew->index);
    (void) pthread_setname_np(pthread_self(), name);
    if (ew->engine->pin)
        pin_thread(ew->index);
    int err;
    struct loop *loop = loop_new(&err);
    if (!loop) {
        tell_state(ew, ENGINE_FAILED);
        return NULL;
    }
    make_worker(ew, loop);
    tell_state(ew, ENGINE_RUNNING);
    loop_run(loop);
    worker_free(ew->worker);
    ew->worker = NULL;
    return NULL; /* the loop is still being told to stop: see end_worker */
}

/* Starts the thread with every signal blocked: they are the program's business. */
static bool start_thread(struct engine_worker *ew)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    ew->threaded = pthread_create(&ew->thread, NULL, worker_thread, ew) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!ew->threaded)
        return false;
    struct engine *e = ew->engine;
    pthread_mutex_lock(&e->lock);
    while (ew->state == ENGINE_STARTING)
        pthread_cond_wait(&e->changed, &e->lock);
    bool good = ew->state == ENGINE_RUNNING;
    pthread_mutex_unlock(&e->lock);
    return good;
}

/* ---- life ---------------------------------------------------------------------------------- */

static bool start_workers(struct engine *e)
{
    make_worker(e->main, e->loop);
    e->checks = health_checks_new(e->main->worker);
    if (e->foreign) {
        make_worker(&e->workers[0], e->loop);
        return true;
    }
    for (uint32_t i = 0; i < e->n_workers; i++) {
        if (!start_thread(&e->workers[i]))
            return false;
    }
    return true;
}

unsigned engine_workers(int64_t configured)
{
    cpu_set_t may;
    if (configured > 0)
        return (unsigned) configured;
    int n = sched_getaffinity(0, sizeof may, &may) == 0 ? CPU_COUNT(&may) : 1;
    return n > 0 ? (unsigned) n : 1;
}

static void start_resolver(struct engine *e)
{
    const char *why = NULL;
    e->resolver = resolver_new(e->loop, test_hooks_dns(), &why);
    if (!e->resolver)
        log_error("resolver.failed", "host names of endpoints stay unresolved: %s", why);
}

/* The files of certificates and keys, now and then. */
static void look_at_files(struct timer *t)
{
    struct engine *e = list_entry(t, struct engine, tls_timer);
    usec_t now = loop_now(e->loop);
    tls_store_look(e->tls, now, loop_wall(e->loop) / (int64_t) USEC_PER_SEC);
    timer_set(e->loop, t, now + LOOK_PAUSE);
}

/* Routes have ended, or others have come that need their places in the figures by route. */
static void free_places(struct engine *e)
{
    size_t all = e->n_workers + 1;
    struct stats **stats = mem_new(all * sizeof(*stats));
    for (size_t i = 0; i < all; i++)
        stats[i] = e->workers[i].stats;
    if (e->used)
        stats_forget(&e->names, stats, all, e->used);
    mem_free(stats);
}

static void every_second(struct timer *t)
{
    struct engine *e = list_entry(t, struct engine, second);
    upstream_registry_tick(e->registry, loop_now(e->loop));
    /* What a load took lay between what stays: else pages would be left half used. Not at once, for
     * the next load would have to have them back. */
    if (e->trim)
        mem_trim();
    e->trim = false;
    engine_look_at_states(e);
    free_places(e);
    timer_set(e->loop, t, loop_now(e->loop) + USEC_PER_SEC);
}

struct engine *engine_new(const struct engine_plan *plan, char **why)
{
    must(plan->n_workers > 0 && (!plan->foreign || plan->n_workers == 1));
    int err = 0;
    struct loop *loop = loop_new(&err);
    if (!loop) {
        *why = mem_printf("no event loop: %s", strerrordesc_np(err));
        return NULL;
    }
    struct engine *e = mem_new(sizeof *e);
    uint32_t all = plan->n_workers + 1;
    e->loop = loop;
    e->n_workers = plan->n_workers;
    e->foreign = plan->foreign;
    e->pin = plan->pin;
    e->limit.max = plan->memory_limit ? plan->memory_limit : mem_default_limit();
    e->workers = mem_new(all * sizeof *e->workers);
    e->main = &e->workers[e->n_workers];
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->changed, NULL);
    e->registry = upstream_registry_new(all);
    e->gauges = listener_gauges_new();
    e->handshakes = source_limit_new();
    e->tls = tls_store_new();
    timer_init(&e->tls_timer, look_at_files);
    timer_set(loop, &e->tls_timer, loop_now(loop) + LOOK_PAUSE);
    e->shared = (struct worker_shared){.limit = &e->limit,
                                       .registry = e->registry,
                                       .features = plan->features,
                                       .gauges = e->gauges,
                                       .handshakes = e->handshakes};
    route_names_init(&e->names);
    for (uint32_t i = 0; i < all; i++) {
        e->workers[i].engine = e;
        e->workers[i].index = i;
        e->workers[i].stats = stats_new(&e->names);
    }
    engine_begin_events(e);
    bool good = features_start(&e->features, plan->features, plan->feature_conf, all, why);
    if (good) {
        start_resolver(e);
        timer_init(&e->second, every_second);
        timer_set(e->loop, &e->second, loop_now(e->loop) + USEC_PER_SEC);
        good = start_workers(e);
        if (!good)
            *why = mem_printf("a worker thread could not be started; raise the limits of "
                              "threads (ulimit -u) and open files (ulimit -n)");
    }
    if (good)
        return e;
    engine_free(e);
    return NULL;
}

/* A worker that was never asked to drain holds nothing: it took no traffic. */
static void end_worker(struct engine_worker *ew)
{
    if (ew->threaded) {
        if (ew->state == ENGINE_RUNNING)
            loop_stop(ew->loop);
        pthread_join(ew->thread, NULL);
        loop_free(ew->loop);
    } else if (ew->worker) {
        worker_free(ew->worker);
    }
    ew->worker = NULL;
}

void engine_free(struct engine *e)
{
    if (e->checks)
        health_checks_stop(e->checks);
    health_checks_free(e->checks);
    for (uint32_t i = 0; i <= e->n_workers; i++)
        end_worker(&e->workers[i]);
    timer_stop(&e->second);
    upstream_registry_resolve(e->registry, NULL);
    if (e->resolver)
        resolver_free(e->resolver);
    features_stop(&e->features);
    timer_stop(&e->tls_timer);
    loop_free(e->loop);
    engine_end_events(e);
    upstream_registry_free(e->registry);
    listener_gauges_free(e->gauges);
    source_limit_free(e->handshakes);
    tls_store_free(e->tls);
    route_names_fini(&e->names);
    for (uint32_t i = 0; i <= e->n_workers; i++)
        stats_free(e->workers[i].stats);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    mem_free(e->workers);
    mem_free(e);
}

/* ---- snapshots ----------------------------------------------------------------------------- */

struct release_post {
    struct post post; /* first */
    struct snapshot *snapshot;
};

static void free_here(struct post *p)
{
    struct release_post *m = (struct release_post *) (void *) p;
    struct engine *e = m->snapshot->release_arg;
    if (m->snapshot == e->used)
        e->used = NULL;
    e->trim |= snapshot_free(m->snapshot);
    mem_free(m);
    free_places(e);
}

/* The last holder may be any worker; routes and endpoints are the main thread's. */
static void give_back(struct snapshot *s)
{
    struct engine *e = s->release_arg;
    struct release_post *m = mem_new(sizeof *m);
    *m = (struct release_post){.post.run = free_here, .snapshot = s};
    loop_post(e->loop, &m->post);
}

struct snapshot_inputs engine_inputs(struct engine *e, const struct snapshot *previous)
{
    return (struct snapshot_inputs){.registry = e->registry,
                                    .features = e->features.set,
                                    .names = &e->names,
                                    .tls = e->tls,
                                    .previous = previous,
                                    .starts = !previous,
                                    .n_workers = e->n_workers,
                                    .release = give_back,
                                    .release_arg = e};
}

/* ---- messages to workers ------------------------------------------------------------------- */

struct engine_post {
    struct post post; /* first */
    struct engine_worker *ew;
    int fd;
    struct str address; /* owned */
};

static void post(struct engine_worker *ew, void (*run)(struct post *p), int fd, struct str address)
{
    struct engine_post *m = mem_new(sizeof *m);
    *m = (struct engine_post){.post.run = run, .ew = ew, .fd = fd, .address = mem_str(address)};
    loop_post(ew->loop, &m->post);
}

static struct engine_worker *take_post(struct post *p, int *fd, struct str *address)
{
    struct engine_post *m = (struct engine_post *) (void *) p;
    struct engine_worker *ew = m->ew;
    *fd = m->fd;
    *address = m->address;
    mem_free(m);
    return ew;
}

static void listen_here(struct post *p)
{
    int fd;
    struct str address;
    struct engine_worker *ew = take_post(p, &fd, &address);
    if (ew->worker->draining)
        sock_close(fd);
    else
        worker_listen(ew->worker, fd, address);
    mem_free((void *) (uintptr_t) address.p);
}

void engine_listen(struct engine *e, uint32_t worker, int fd, struct str address)
{
    must(worker <= e->n_workers);
    post(&e->workers[worker], listen_here, fd, address);
}

void engine_use_derived(struct engine *e, struct snapshot *s)
{
    e->used = s;
    for (uint32_t i = 0; i < e->n_workers; i++)
        worker_set_snapshot(e->workers[i].worker, s);
}

void engine_use(struct engine *e, struct snapshot *s)
{
    engine_use_derived(e, s);
    e->trim = true;
    health_checks_use(e->checks, s->upstreams, s->n_upstreams);
    upstream_registry_resolve(e->registry, e->resolver);
}

void engine_use_main(struct engine *e, struct snapshot *s)
{
    worker_set_snapshot(e->main->worker, s);
    for (uint32_t i = 0; i < e->n_workers; i++)
        snapshot_drop(s);
    upstream_registry_resolve(e->registry, e->resolver);
}

/* ---- stopping ------------------------------------------------------------------------------ */

static void drain_main(struct engine *e);

static void one_drained(struct post *p)
{
    int fd;
    struct str address;
    struct engine_worker *ew = take_post(p, &fd, &address);
    struct engine *e = ew->engine;
    mem_free((void *) (uintptr_t) address.p);
    must(e->n_draining > 0 && !ew->drained);
    ew->drained = true;
    if (--e->n_draining > 0)
        return;
    if (e->main->drained)
        e->on_drained(e->drained_arg);
    else
        drain_main(e);
}

static void one_let_go(struct post *p)
{
    int fd;
    struct str address;
    struct engine *e = take_post(p, &fd, &address)->engine;
    mem_free((void *) (uintptr_t) address.p);
    if (--e->n_listening == 0 && e->on_let_go)
        e->on_let_go(e->drained_arg);
}

/* On the worker: says so to the main loop. */
static void tell_main(struct engine_worker *ew, void (*run)(struct post *p))
{
    struct engine_post *m = mem_new(sizeof *m);
    *m = (struct engine_post){.post.run = run, .ew = ew, .fd = -1};
    loop_post(ew->engine->loop, &m->post);
}

static void worker_drained(struct worker *w, void *arg)
{
    (void) w;
    tell_main(arg, one_drained);
}

static void drain_here(struct post *p)
{
    int fd;
    struct str address;
    struct engine_worker *ew = take_post(p, &fd, &address);
    mem_free((void *) (uintptr_t) address.p);
    ew->worker->succeeded = ew->engine->succeeded;
    worker_let_go(ew->worker);
    tell_main(ew, one_let_go);
    worker_drain(ew->worker, ew->engine->drain_limit, worker_drained, ew);
}

static void drain_sooner_here(struct post *p)
{
    int fd;
    struct str address;
    struct engine_worker *ew = take_post(p, &fd, &address);
    mem_free((void *) (uintptr_t) address.p);
    if (ew->worker) /* else it has drained meanwhile, and this is what was left of its posts */
        worker_drain_sooner(ew->worker, ew->engine->drain_limit);
}

void engine_drain_sooner(struct engine *e, usec_t limit_us)
{
    e->drain_limit = limit_us;
    for (uint32_t i = 0; i < e->n_workers; i++) {
        if (!e->workers[i].drained)
            post(&e->workers[i], drain_sooner_here, -1, STR(""));
    }
}

static void drain_main(struct engine *e)
{
    struct worker *w = e->main->worker;
    e->n_draining++;
    w->succeeded = e->succeeded;
    worker_drain(w, MAIN_DRAIN, worker_drained, e->main);
    w->succeeded = false; /* its idle clients have nothing to lose */
}

void engine_drain(struct engine *e, usec_t limit_us, void (*on_drained)(void *arg), void *arg)
{
    must(!e->on_drained);
    health_checks_stop(e->checks);
    e->on_drained = on_drained;
    e->drained_arg = arg;
    e->drain_limit = limit_us;
    e->n_draining = e->n_listening = e->n_workers;
    for (uint32_t i = 0; i < e->n_workers; i++)
        post(&e->workers[i], drain_here, -1, STR(""));
    if (e->succeeded || e->orphaned) /* the page has a new home, and its streams shall move */
        drain_main(e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* embed.c: instances of the library: an engine with a main thread of its own, or on a foreign loop.
 * Invariants:
 * 1. The engine is touched on its main thread only: by instance_run_on_main, which waits, or by a
 *    post.
 * 2. error is the calling thread's: one thread at a time owns an instance. */
#include <signal.h>
#include <string.h>

#include "app/embed_instance.h"
#include "base/log.h"
#include "base/mem.h"

/* ---- errors -------------------------------------------------------------------------------- */

void instance_set_error(struct weir *w, char *why)
{
    mem_free(w->error);
    w->error = why;
    size_t n = why ? strlen(why) : 0;
    if (n && why[n - 1] == '\n')
        why[n - 1] = '\0';
}

const char *weir_error(const weir *w)
{
    return w->error ? w->error : "";
}

const char *weir_version(void)
{
    return WEIR_VERSION;
}

/* ---- the main thread ----------------------------------------------------------------------- */

struct call {
    struct post post; /* first */
    struct weir *w;
    void (*fn)(struct weir *w, void *arg);
    void *arg;
    bool done; /* under w->lock */
};

static void call_here(struct post *p)
{
    struct call *c = (struct call *) (void *) p;
    struct weir *w = c->w;
    c->fn(w, c->arg);
    pthread_mutex_lock(&w->lock);
    c->done = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void instance_run_on_main(struct weir *w, void (*fn)(struct weir *w, void *arg), void *arg)
{
    if (w->options.foreign_loop) {
        fn(w, arg);
        return;
    }
    struct call c = {.post.run = call_here, .w = w, .fn = fn, .arg = arg};
    loop_post(w->engine->loop, &c.post);
    pthread_mutex_lock(&w->lock);
    while (!c.done)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

#define WORKERS_MOST 1024u /* as in a configuration */

static void make_engine(struct weir *w)
{
    if (w->options.workers > WORKERS_MOST) {
        log_error("weir.failed", "no instance could be made: %u workers are wanted, %u may be",
                  w->options.workers, WORKERS_MOST);
        return;
    }
    const void *conf[FEATURE_MAX] = {[EMBED_FEATURE] = w};
    struct engine_plan plan = {
        .feature_conf = conf,
        .n_workers = w->options.foreign_loop ? 1 : engine_workers(w->options.workers),
        .foreign = w->options.foreign_loop,
        .memory_limit = w->options.memory_limit,
        .features = &w->features,
    };
    char *why = NULL;
    w->engine = engine_new(&plan, &why);
    if (!w->engine)
        log_error("weir.failed", "no instance could be made: %s", why);
    mem_free(why);
}

static void end_engine(struct weir *w)
{
    if (!w->engine)
        return;
    if (w->snapshot)
        snapshot_drop(w->snapshot);
    engine_free(w->engine);
}

static void *main_thread(void *arg)
{
    struct weir *w = arg;
    (void) pthread_setname_np(pthread_self(), "weir-main");
    make_engine(w);
    pthread_mutex_lock(&w->lock);
    w->started = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (w->engine)
        loop_run(w->engine->loop);
    end_engine(w);
    return NULL;
}

static bool start_main(struct weir *w)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool good = pthread_create(&w->thread, NULL, main_thread, w) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!good)
        return false;
    pthread_mutex_lock(&w->lock);
    while (!w->started)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
    if (!w->engine)
        pthread_join(w->thread, NULL);
    return w->engine != NULL;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void log_line(void *arg, enum log_level level, const char *line)
{
    const struct weir *w = arg;
    w->options.log(w->options.log_arg, (int) level, line);
}

static void free_instance(struct weir *w, uint32_t n_workers)
{
    for (size_t i = 0; i < (size_t) n_workers * REMEMBERED; i++)
        mem_free(w->fetched[i].name);
    mem_free(w->fetched);
    log_close_sink(w);
    sockets_fini(&w->listening, true);
    served_free(w->served);
    weir_mux_free(w->mux);
    mem_free(w->error);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    mem_free(w);
}

weir *weir_new(const weir_options *o)
{
    struct weir *w = mem_new(sizeof *w);
    if (o)
        memcpy(&w->options, o, o->size < sizeof *o ? o->size : sizeof *o);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    sockets_init(&w->listening);
    w->mux = weir_mux_new();
    if (w->options.log)
        (void) log_open_sink(log_line, w); /* the first that brings one has it */
    uint32_t n = feature_registry.n;
    memcpy(w->feature_list, feature_registry.v, n * sizeof w->feature_list[0]);
    w->feature_list[EMBED_FEATURE] = &embed_feature;
    w->features = (struct feature_set){.v = w->feature_list, .n = n + 1};
    if (w->options.foreign_loop)
        make_engine(w);
    else
        (void) start_main(w);
    if (w->engine) {
        w->fetched = mem_new(w->engine->n_workers * REMEMBERED * sizeof *w->fetched);
        return w;
    }
    free_instance(w, 0);
    return NULL;
}

static void drained(void *arg)
{
    struct weir *w = arg;
    pthread_mutex_lock(&w->lock);
    w->drained = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void drain_here(struct weir *w, void *limit)
{
    engine_drain(w->engine, *(const usec_t *) limit, drained, w);
}

void weir_stop(weir *w, unsigned drain_ms)
{
    usec_t limit = drain_ms * USEC_PER_MS;
    if (w->stopping)
        return;
    w->stopping = true;
    instance_run_on_main(w, drain_here, &limit);
    if (w->options.foreign_loop)
        return;
    pthread_mutex_lock(&w->lock);
    while (!w->drained)
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

void weir_free(weir *w)
{
    if (!w)
        return;
    if (w->stopping && !w->drained) /* in a foreign loop alone, where weir_stop does not wait */
        engine_drain_sooner(w->engine, 0);
    weir_stop(w, 0);
    uint32_t n_workers = w->engine->n_workers;
    if (w->options.foreign_loop) {
        while (!w->drained)
            loop_turn(w->engine->loop, 100 * USEC_PER_MS);
        end_engine(w);
    } else {
        loop_stop(w->engine->loop);
        pthread_join(w->thread, NULL);
    }
    free_instance(w, n_workers);
}

/* ---- foreign loops ------------------------------------------------------------------------- */

int weir_fd(const weir *w)
{
    return loop_fd(w->engine->loop);
}

int weir_timeout(const weir *w)
{
    usec_t wait = loop_wait_us(w->engine->loop);
    if (wait == USEC_NEVER)
        return -1;
    usec_t ms = (wait + USEC_PER_MS - 1) / USEC_PER_MS;
    return ms > 60000 ? 60000 : (int) ms;
}

int weir_turn(weir *w)
{
    loop_turn(w->engine->loop, 0);
    return !w->drained;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* embed.c: instances of the library: an engine with a main thread of its own, or on a foreign loop.
 * Invariants:
 * 1. The engine is touched on its main thread only: by run_on_main, which waits, or by a post.
 * 2. Every snapshot names all addresses of listening: no listener is closed by weir_serve.
 * 3. error is the calling thread's: one thread at a time owns an instance. */
#include <signal.h>
#include <string.h>

#include "app/embed_instance.h"
#include "base/log.h"
#include "base/mem.h"
#include "control/conf_error.h"

#define BACKLOG 4096

/* ---- errors -------------------------------------------------------------------------------- */

/* why: taken; NULL clears. */
static void set_error(struct weir *w, char *why)
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

/* Runs fn on the engine's main thread and waits for its end. */
static void run_on_main(struct weir *w, void (*fn)(struct weir *w, void *arg), void *arg)
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

static void make_engine(struct weir *w)
{
    struct engine_plan plan = {
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

static void free_instance(struct weir *w)
{
    log_close_sink(w);
    sockets_fini(&w->listening, true);
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
    if (w->engine)
        return w;
    free_instance(w);
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
    run_on_main(w, drain_here, &limit);
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
    weir_stop(w, 0);
    if (w->options.foreign_loop) {
        while (!w->drained)
            loop_turn(w->engine->loop, 100 * USEC_PER_MS);
        end_engine(w);
    } else {
        loop_stop(w->engine->loop);
        pthread_join(w->thread, NULL);
    }
    free_instance(w);
}

/* ---- what is served ------------------------------------------------------------------------ */

/* A change of what is served; answered on the main thread. */
struct change {
    const weir_mux *mux;
    struct str address; /* to listen on; empty: none */
    char *why;          /* NULL: good */
};

static void list_addresses(struct weir *w, struct proxy_conf *conf, struct arena *a)
{
    size_t n = 0;
    list_each(node, &w->listening.rows)
        n++;
    struct listener_conf *l = conf_alloc(a, n * sizeof *l);
    conf->listeners = (struct schema_list){l, n};
    list_each(node, &w->listening.rows) {
        schema_defaults(&listener_schema, l);
        l->address = list_entry(node, struct socket_row, node)->address;
        l++;
    }
}

static struct snapshot *build(struct weir *w, const weir_mux *mux, char **why)
{
    struct arena a;
    struct proxy_conf *conf;
    struct snapshot *made = NULL;
    arena_init(&a, NULL, SIZE_MAX);
    conf = conf_alloc(&a, sizeof *conf);
    schema_defaults(&proxy_schema, conf);
    list_addresses(w, conf, &a);
    bool good = mux_configure(mux, conf, &a, why);
    struct snapshot_inputs in = engine_inputs(w->engine, w->snapshot);
    char *more = NULL;
    made = snapshot_build(conf, &in, &more);
    if (!good) { /* then it was built to hear what else is wrong */
        char *first = *why;
        *why = mem_printf("%s%s", first, more ? more : "");
        mem_free(first);
        mem_free(more);
        if (made)
            snapshot_free(made);
        made = NULL;
    } else {
        *why = more;
    }
    arena_fini(&a);
    return made;
}

static bool use(struct weir *w, const weir_mux *mux, char **why)
{
    struct snapshot *made = build(w, mux, why);
    if (!made)
        return false;
    engine_use(w->engine, made);
    if (w->snapshot)
        snapshot_drop(w->snapshot);
    w->snapshot = made;
    return true;
}

static void serve_here(struct weir *w, void *arg)
{
    struct change *c = arg;
    if (!use(w, c->mux, &c->why))
        return;
    struct weir_mux *old = w->mux;
    w->mux = mux_copy(c->mux);
    weir_mux_free(old);
}

int weir_serve(weir *w, const weir_mux *mux)
{
    struct change c = {.mux = mux};
    run_on_main(w, serve_here, &c);
    bool good = c.why == NULL;
    set_error(w, c.why);
    return good;
}

static void listen_here(struct weir *w, void *arg)
{
    struct change *c = arg;
    const char *why = "it is served already";
    struct socket_wish wish = {c->address, w->engine->n_workers, BACKLOG, MODE_BY_UMASK};
    if (sockets_find(&w->listening, c->address) || !sockets_alone(c->address, &why) ||
        !sockets_open(&w->listening, &wish, &why)) {
        c->why = mem_printf("%.*s: %s", STR_ARG(c->address), why);
        return;
    }
    struct socket_row *row = sockets_find(&w->listening, c->address);
    if (!use(w, w->mux, &c->why)) {
        sockets_close(row, true);
        return;
    }
    for (uint32_t i = 0; i < row->n; i++) {
        engine_listen(w->engine, i, row->fds[i], row->address);
        row->fds[i] = -1;
    }
}

int weir_listen(weir *w, const char *address)
{
    struct change c = {.address = str_c(address)};
    run_on_main(w, listen_here, &c);
    bool good = c.why == NULL;
    set_error(w, c.why);
    return good;
}

int weir_port(const weir *w, const char *address)
{
    const struct socket_row *row = sockets_find(&w->listening, str_c(address));
    return row ? row->port : -1;
}

/* ---- weights ------------------------------------------------------------------------------- */

struct weights_post {
    struct post post; /* first */
    struct weir *w;
    struct weir_proxy *proxy;
    uint32_t n;
    struct endpoint_weight v[];
};

static void weigh_here(struct post *p)
{
    struct weights_post *m = (struct weights_post *) (void *) p;
    char room[32];
    struct str name = handler_upstream(m->proxy, room);
    const struct snapshot *s = m->w->snapshot;
    for (uint32_t i = 0; s && i < s->n_upstreams; i++) {
        struct upstream *u = s->upstreams[i];
        if (str_eq(u->name, name))
            u->balance->update_weights(u->balance_state, u, m->v, m->n);
    }
    for (uint32_t i = 0; i < m->n; i++)
        mem_free((void *) (uintptr_t) m->v[i].address.p);
    handler_unref(m->proxy);
    mem_free(m);
}

void weir_update_weights(weir *w, weir_proxy *p, const weir_weight *v, size_t n)
{
    struct weights_post *m = mem_new(sizeof *m + n * sizeof m->v[0]);
    *m = (struct weights_post){.post.run = weigh_here, .w = w, .proxy = handler_ref(p)};
    for (; m->n < n; m->n++)
        m->v[m->n] = (struct endpoint_weight){mem_str(str_c(v[m->n].address)), v[m->n].weight};
    loop_post(w->engine->loop, &m->post);
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

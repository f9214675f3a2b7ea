/* SPDX-License-Identifier: Apache-2.0 */
/* demo_origins.c: alpha answers at once, bravo takes its time, charlie is flaky.
 * Invariants:
 * 1. A ticket that is out is in the list of naps exactly once, and resumed by the napper alone.
 * 2. Once over, nobody naps: every ticket is resumed before its instance is freed. */
#include <pthread.h>
#include <stdio.h>

#include "app/demo.h"
#include "base/clock.h"
#include "base/list.h"
#include "base/mem.h"

/* A suspended exchange and when it goes on. */
struct nap {
    struct list_node node;
    weir_ticket *ticket;
    usec_t due;
};

struct origin {
    struct demo_origins *all;
    weir *w;
    char address[32];
    _Atomic unsigned asked;
};

struct demo_origins {
    struct origin v[DEMO_ORIGINS];
    pthread_t napper;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct list naps; /* in no order */
    bool over, napping;
};

/* ---- naps ---------------------------------------------------------------------------------- */

/* Resumes what is due; returns when the next one is. Under lock. */
static usec_t wake_due(struct demo_origins *o)
{
    usec_t now = clock_now(), next = now + 3600 * USEC_PER_SEC;
    list_each_safe(node, &o->naps) {
        struct nap *n = list_entry(node, struct nap, node);
        if (n->due > now && !o->over) {
            next = n->due < next ? n->due : next;
            continue;
        }
        list_remove(&n->node);
        weir_resume(n->ticket);
        mem_free(n);
    }
    return next;
}

static void *napper(void *arg)
{
    struct demo_origins *o = arg;
    pthread_mutex_lock(&o->lock);
    for (;;) {
        usec_t next = wake_due(o);
        if (o->over)
            break;
        struct timespec at = {.tv_sec = (time_t) (next / USEC_PER_SEC),
                              .tv_nsec = (long) (next % USEC_PER_SEC) * 1000};
        pthread_cond_timedwait(&o->changed, &o->lock, &at);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

static void nap(struct demo_origins *o, weir_exchange *x, usec_t span)
{
    struct nap *n = mem_new(sizeof *n);
    n->ticket = weir_suspend(x);
    n->due = clock_now() + span;
    pthread_mutex_lock(&o->lock);
    bool over = o->over;
    if (!over)
        list_push_back(&o->naps, &n->node);
    pthread_cond_signal(&o->changed);
    pthread_mutex_unlock(&o->lock);
    if (!over)
        return;
    weir_resume(n->ticket);
    mem_free(n);
}

/* ---- answers ------------------------------------------------------------------------------- */

static weir_result answer(struct origin *o, weir_exchange *x, int status, const char *text)
{
    static const char *const names[] = {"alpha", "bravo", "charlie"};
    weir_result r = weir_reply(x, status, "text/plain", text, strlen(text));
    (void) weir_reply_field(x, "X-Origin", weir_cstr(names[o - o->all->v]));
    return r;
}

static weir_result alpha(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    return answer(arg, x, 200, "alpha is quick\n");
}

static weir_result bravo(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    struct origin *o = arg;
    if (weir_value(x))
        return answer(o, x, 200, "bravo took its time\n");
    weir_set_value(x, o);
    nap(o->all, x, (150 + o->asked++ * 37 % 350) * USEC_PER_MS);
    return WEIR_WAIT;
}

/* Half an answer, then nothing more: the connection breaks in the middle of the message. */
static weir_result break_off(void *arg, weir_exchange *x)
{
    if (weir_value(x))
        return WEIR_FAIL;
    weir_set_value(x, arg);
    return weir_write(x, "charlie was going to sa", 23) ? WEIR_PASS : WEIR_WAIT;
}

static weir_result charlie(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    struct origin *o = arg;
    switch (o->asked++ % 8) {
    case 3:
        return answer(o, x, 503, "charlie is having a moment\n");
    case 7:
        (void) weir_reply_stream(x, 200, "text/plain", break_off, o);
        return weir_reply_field(x, "X-Origin", weir_cstr("charlie")) ? WEIR_REPLY : WEIR_FAIL;
    default:
        return answer(o, x, 200, "charlie is fine this time\n");
    }
}

/* ---- life ---------------------------------------------------------------------------------- */

static bool start_one(struct demo_origins *o, unsigned i)
{
    static const weir_func functions[] = {alpha, bravo, charlie};
    struct origin *one = &o->v[i];
    weir_options options = {.size = sizeof options, .workers = 1};
    one->all = o;
    one->w = weir_new(&options);
    if (!one->w)
        return false;
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/*", functions[i], one);
    bool good = weir_serve(one->w, mux) && weir_listen(one->w, "127.0.0.1:0");
    weir_mux_free(mux);
    snprintf(one->address, sizeof one->address, "127.0.0.1:%d", weir_port(one->w, "127.0.0.1:0"));
    return good;
}

struct demo_origins *demo_origins_start(const char **why)
{
    struct demo_origins *o = mem_new(sizeof *o);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&o->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&o->lock, NULL);
    list_init(&o->naps);
    o->napping = pthread_create(&o->napper, NULL, napper, o) == 0;
    bool good = o->napping;
    for (unsigned i = 0; good && i < DEMO_ORIGINS; i++)
        good = start_one(o, i);
    if (good)
        return o;
    *why = "the origins could not be started: no threads, descriptors or ports are left";
    demo_origins_stop(o);
    return NULL;
}

const char *demo_origin_address(const struct demo_origins *o, unsigned i)
{
    return o->v[i].address;
}

void demo_origins_stop(struct demo_origins *o)
{
    if (o->napping) {
        pthread_mutex_lock(&o->lock);
        o->over = true;
        pthread_cond_signal(&o->changed);
        pthread_mutex_unlock(&o->lock);
        pthread_join(o->napper, NULL);
    }
    for (unsigned i = 0; i < DEMO_ORIGINS; i++)
        weir_free(o->v[i].w);
    pthread_cond_destroy(&o->changed);
    pthread_mutex_destroy(&o->lock);
    mem_free(o);
}

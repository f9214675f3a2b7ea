/* SPDX-License-Identifier: Apache-2.0 */
/* header_policy: a gate in front of a server. Requests without a key are refused; a key is
 * looked up on another thread while the exchange is suspended, for callbacks never block;
 * requests go on without the key, answers come back without what tells too much. Usage:
 * header_policy LISTEN TARGET */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

/* The lookups that are under way: weir_free has to wait for their tickets. */
struct service {
    pthread_mutex_t lock;
    pthread_cond_t quiet;
    unsigned asking;
};

/* One question to it, of the exchange and of the thread that looks: the last of them frees it, for
 * the client may leave before the answer comes. */
struct question {
    struct service *service;
    weir_ticket *ticket;
    char key[64];
    int good;
    atomic_int answered, holders;
};

static void let_go(struct question *q)
{
    if (q && atomic_fetch_sub(&q->holders, 1) == 1)
        free(q);
}

static void count(struct service *s, int more)
{
    pthread_mutex_lock(&s->lock);
    s->asking += (unsigned) more;
    if (s->asking == 0)
        pthread_cond_signal(&s->quiet);
    pthread_mutex_unlock(&s->lock);
}

static void wait_until_quiet(struct service *s)
{
    pthread_mutex_lock(&s->lock);
    while (s->asking > 0)
        pthread_cond_wait(&s->quiet, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

/* Stands for a database: it may take its time. */
static void *look_up(void *arg)
{
    struct question *q = arg;
    struct service *service = q->service;
    q->good = strcmp(q->key, "sesame") == 0;
    atomic_store(&q->answered, 1);
    weir_resume(q->ticket); /* exactly once, also when nobody waits any more */
    let_go(q);
    count(service, -1);
    return NULL;
}

static weir_result ask(struct service *service, weir_exchange *x, weir_str key)
{
    pthread_t thread;
    struct question *q = calloc(1, sizeof *q);
    if (!q || key.n >= sizeof q->key) {
        free(q);
        return weir_reply(x, 403, "text/plain", "no such key\n", 12);
    }
    memcpy(q->key, key.p, key.n);
    q->service = service;
    q->ticket = weir_suspend(x);
    atomic_store(&q->holders, 2);
    weir_set_value(x, q);
    count(service, 1);
    if (pthread_create(&thread, NULL, look_up, q) != 0) {
        weir_resume(q->ticket);
        let_go(q);
        count(service, -1);
        return WEIR_FAIL;
    }
    pthread_detach(thread);
    return WEIR_WAIT;
}

static weir_result access_by_key(void *arg, weir_exchange *x, const weir_head *in)
{
    struct question *q = weir_value(x);
    weir_str key = weir_field(in, "X-Api-Key");
    if (!key.p)
        return weir_reply(x, 401, "text/plain", "a key is needed\n", 16);
    if (!q)
        return ask(arg, x, key);
    if (!atomic_load(&q->answered))
        return WEIR_WAIT;
    return q->good ? WEIR_PASS : weir_reply(x, 403, "text/plain", "no such key\n", 12);
}

static void rewrite(void *arg, weir_exchange *x, const weir_head *in, weir_head *out)
{
    (void) arg, (void) x, (void) in;
    weir_remove_field(out, "X-Api-Key");
    weir_set_field(out, "X-Checked-By", weir_cstr("header_policy"));
}

static weir_result modify_response(void *arg, weir_exchange *x, weir_head *response)
{
    (void) arg, (void) x;
    weir_remove_field(response, "Server");
    weir_remove_field(response, "X-Powered-By");
    return weir_set_field(response, "X-Content-Type-Options", weir_cstr("nosniff")) ? WEIR_PASS
                                                                                    : WEIR_FAIL;
}

static void finished(void *arg, weir_exchange *x, const char *reason)
{
    (void) arg, (void) reason;
    let_go(weir_value(x));
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: header_policy LISTEN TARGET\n"), 2;
    sigset_t ends;
    int got;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    struct service keys = {.lock = PTHREAD_MUTEX_INITIALIZER, .quiet = PTHREAD_COND_INITIALIZER};
    weir_proxy_options o = {.size = sizeof o,
                            .target = argv[2],
                            .arg = &keys,
                            .access = access_by_key,
                            .rewrite = rewrite,
                            .modify_response = modify_response,
                            .finished = finished};
    weir_proxy *proxy = weir_proxy_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", proxy);
    weir *w = weir_new(NULL);
    int good = w && weir_serve(w, mux) && weir_listen(w, argv[1]);
    if (good) {
        printf("serving on %s\n", argv[1]);
        fflush(stdout);
        sigwait(&ends, &got);
        weir_stop(w, 5000);
        wait_until_quiet(&keys); /* nobody asks any more: now all tickets come back */
    } else {
        fprintf(stderr, "%s\n", w ? weir_error(w) : "no threads");
    }
    weir_free(w);
    weir_mux_free(mux);
    weir_proxy_free(proxy);
    return !good;
}

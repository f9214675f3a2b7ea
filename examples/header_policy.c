/* SPDX-License-Identifier: Apache-2.0 */
/* header_policy: a gate in front of a server. Requests without a key are refused; a key is
 * looked up on another thread while the exchange is suspended, for callbacks never block;
 * requests go on without the key, answers come back without what tells too much. Usage:
 * header_policy LISTEN TARGET */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <weir.h>

/* One question to the key service. */
struct question {
    weir_ticket *ticket;
    char key[64];
    int answered, good;
};

/* Stands for a database: it may take its time. */
static void *look_up(void *arg)
{
    struct question *q = arg;
    weir_ticket *ticket = q->ticket;
    q->good = strcmp(q->key, "sesame") == 0;
    q->answered = 1;
    weir_resume(ticket); /* from here on q belongs to the exchange again */
    return NULL;
}

static weir_result ask(weir_exchange *x, weir_str key)
{
    pthread_t thread;
    struct question *q = calloc(1, sizeof *q);
    if (!q || key.n >= sizeof q->key) {
        free(q);
        return weir_reply(x, 403, "text/plain", "no such key\n", 12);
    }
    memcpy(q->key, key.p, key.n);
    weir_set_value(x, q);
    q->ticket = weir_suspend(x);
    if (!q->ticket || pthread_create(&thread, NULL, look_up, q) != 0)
        return WEIR_FAIL;
    pthread_detach(thread);
    return WEIR_WAIT;
}

static weir_result access_by_key(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg;
    const struct question *q = weir_value(x);
    weir_str key = weir_field(in, "X-Api-Key");
    if (!key.p)
        return weir_reply(x, 401, "text/plain", "a key is needed\n", 16);
    if (!q)
        return ask(x, key);
    if (!q->answered)
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
    free(weir_value(x));
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
    weir_proxy_options o = {.size = sizeof o,
                            .target = argv[2],
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
    } else {
        fprintf(stderr, "%s\n", w ? weir_error(w) : "no threads");
    }
    weir_free(w);
    weir_mux_free(mux);
    weir_proxy_free(proxy);
    return !good;
}

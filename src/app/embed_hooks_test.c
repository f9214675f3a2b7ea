/* SPDX-License-Identifier: Apache-2.0 */
/* embed_hooks_test.c: what modify_response may answer, wherever it is called: on an endpoint's
 * head, on the reply of a transport, on a switch of protocols. And the time of a fetch. */
#include <weir.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define LOCAL "127.0.0.1:0"

static struct sockaddr_in local(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t) port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

/* All that is answered to head, which asks for the end of the connection; for free(). */
static char *ask(int port, const char *head)
{
    struct sockaddr_in a = local(port);
    struct timeval wait = {.tv_sec = 60};
    size_t n = 0, cap = 1 << 16;
    char *all = malloc(cap + 1);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_non_null(all);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait), 0);
    assert_int_equal(connect(fd, (struct sockaddr *) &a, sizeof a), 0);
    assert_int_equal(send(fd, head, strlen(head), MSG_NOSIGNAL), strlen(head));
    for (ssize_t got; (got = recv(fd, all + n, cap - n, 0)) > 0;)
        n += (size_t) got;
    all[n] = '\0';
    close(fd);
    return all;
}

static const char plain[] = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
static const char upgrade[] =
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: test\r\n\r\n";

/* ---- an origin of a few lines -------------------------------------------------------------- */

struct origin {
    int fd, port;
    const char *answer;  /* NULL: never */
    _Atomic int patient; /* waits behind its answer for the end of the connection */
    _Atomic int ended;   /* connections that the other side ended */
    pthread_t thread;
};

static void *serve(void *arg)
{
    struct origin *o = arg;
    char head[4096];
    for (int fd; (fd = accept(o->fd, NULL, NULL)) >= 0; close(fd)) {
        if (recv(fd, head, sizeof head, 0) > 0 && o->answer)
            (void) !send(fd, o->answer, strlen(o->answer), MSG_NOSIGNAL);
        if (!o->answer || o->patient)
            while (recv(fd, head, sizeof head, 0) > 0)
                ;
        o->ended++;
    }
    return NULL;
}

static void origin_open(struct origin *o, const char *answer)
{
    struct sockaddr_in a = local(0);
    socklen_t size = sizeof a;
    *o = (struct origin){.answer = answer};
    o->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(o->fd, (struct sockaddr *) &a, sizeof a), 0);
    assert_int_equal(listen(o->fd, 16), 0);
    assert_int_equal(getsockname(o->fd, (struct sockaddr *) &a, &size), 0);
    o->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&o->thread, NULL, serve, o), 0);
}

static void origin_close(struct origin *o)
{
    shutdown(o->fd, SHUT_RDWR);
    pthread_join(o->thread, NULL);
    close(o->fd);
}

/* ---- what the hook does -------------------------------------------------------------------- */

struct plan {
    _Atomic weir_result after; /* the answer, when it need not wait */
    _Atomic int wait;          /* the first call waits */
    _Atomic int calls;
};

static void *resume_now(void *ticket)
{
    weir_resume(ticket);
    return NULL;
}

static weir_result modify(void *arg, weir_exchange *x, weir_head *response)
{
    struct plan *p = arg;
    static const char other[] = "another answer, and a longer one";
    if (p->calls++ == 0 && p->wait) {
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, resume_now, weir_suspend(x)), 0);
        pthread_detach(t);
        return WEIR_WAIT;
    }
    if (weir_status(response) == 101) /* what follows is no message any more */
        assert_false(weir_set_status(response, 204) || weir_set_status(response, 304));
    if (p->after == WEIR_REPLY)
        return weir_reply(x, 418, "text/plain", other, sizeof other - 1);
    if (p->after == WEIR_PASS)
        assert_true(weir_set_field(response, "X-Seen", weir_cstr("1")));
    return p->after;
}

static weir_result round_trip(void *arg, weir_exchange *x, const weir_head *out)
{
    (void) arg, (void) out;
    return weir_reply(x, 200, "text/plain", "short", 5);
}

static weir *proxying(const weir_proxy_options *given)
{
    weir_options o = {.size = sizeof o, .workers = 1};
    weir_proxy *p = weir_proxy_new(given);
    weir_mux *mux = weir_mux_new();
    weir *w = weir_new(&o);
    weir_mux_proxy(mux, "/*", p);
    if (!weir_serve(w, mux) || !weir_listen(w, LOCAL))
        fail_msg("%s", weir_error(w));
    weir_mux_free(mux);
    weir_proxy_free(p);
    return w;
}

/* With and without a wait, each answer of the hook gives a whole and right message. */
static void every_answer(weir_proxy_options o, const char *head, const char *passed)
{
    static const struct {
        weir_result after;
        const char *want;
    } rows[] = {
        {WEIR_PASS, NULL},
        {WEIR_REPLY, "HTTP/1.1 418 "},
        {WEIR_FAIL, "HTTP/1.1 502 "},
    };
    struct plan plan;
    o.size = sizeof o;
    o.modify_response = modify;
    o.arg = &plan;
    weir *w = proxying(&o);
    for (size_t i = 0; i < 6; i++) {
        const char *want = rows[i / 2].want ? rows[i / 2].want : passed;
        plan.after = rows[i / 2].after; /* one by one: the worker's thread reads them */
        plan.wait = i % 2 == 1;
        plan.calls = 0;
        char *got = ask(weir_port(w, LOCAL), head);
        if (strncmp(got, want, strlen(want)) != 0)
            fail_msg("row %zu: wanted %s, got %s", i, want, got);
        if (rows[i / 2].after == WEIR_PASS)
            assert_non_null(strstr(got, "\r\nX-Seen: 1\r\n"));
        if (rows[i / 2].after == WEIR_REPLY)
            assert_non_null(strstr(got, "\r\n\r\nanother answer, and a longer one"));
        if (rows[i / 2].after == WEIR_FAIL)
            assert_non_null(strstr(got, "hook_failed\n"));
        assert_int_equal(plan.calls, 1 + plan.wait);
        free(got);
    }
    weir_free(w);
}

static void on_an_answer(void **state)
{
    (void) state;
    struct origin o;
    char url[64];
    origin_open(&o, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    snprintf(url, sizeof url, "http://127.0.0.1:%d", o.port);
    every_answer((weir_proxy_options){.target = url}, plain, "HTTP/1.1 200 ");
    origin_close(&o);
}

/* An answer that the hook refuses is not read on: its connection ends although the origin would go
 * on, and the client is told 502. */
static void a_refused_answer_ends_its_connection(void **state)
{
    (void) state;
    struct origin o;
    struct plan plan = {.after = WEIR_FAIL};
    char url[64];
    origin_open(&o, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin");
    o.patient = 1;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", o.port);
    weir_proxy_options options = {
        .size = sizeof options, .target = url, .modify_response = modify, .arg = &plan};
    weir *w = proxying(&options);
    for (int i = 1; i <= 3; i++) {
        char *got = ask(weir_port(w, LOCAL), plain);
        assert_memory_equal(got, "HTTP/1.1 502 ", 13);
        assert_null(strstr(got, "begin"));
        free(got);
        for (int wait = 0; o.ended < i && wait < 6000; wait++)
            usleep(10000);
        assert_int_equal(o.ended, i);
    }
    weir_free(w);
    origin_close(&o);
}

static weir_result teapot(void *arg, weir_exchange *x, const char *reason, int status)
{
    struct plan *p = arg;
    p->calls++;
    assert_int_equal(status, 502);
    return weir_reply(x, 418, "text/plain", reason, strlen(reason));
}

/* The error handler is asked about what modify_response refused, and may choose the status. */
static void the_error_handler_sees_a_refusal(void **state)
{
    (void) state;
    struct origin o;
    struct plan plan = {.after = WEIR_FAIL};
    char url[64];
    origin_open(&o, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
    snprintf(url, sizeof url, "http://127.0.0.1:%d", o.port);
    weir_proxy_options options = {.size = sizeof options,
                                  .target = url,
                                  .modify_response = modify,
                                  .error_handler = teapot,
                                  .arg = &plan};
    weir *w = proxying(&options);
    char *got = ask(weir_port(w, LOCAL), plain);
    if (strncmp(got, "HTTP/1.1 418 ", 13) != 0 || !strstr(got, "\r\n\r\nhook_failed"))
        fail_msg("%s", got);
    free(got);
    weir_free(w);
    origin_close(&o);
    weir_transport t = {.size = sizeof t, .round_trip = round_trip}; /* and of its reply */
    options.transport = &t;
    w = proxying(&options);
    got = ask(weir_port(w, LOCAL), plain);
    if (strncmp(got, "HTTP/1.1 418 ", 13) != 0 || !strstr(got, "\r\n\r\nhook_failed"))
        fail_msg("%s", got);
    free(got);
    weir_free(w);
}

static void on_a_switch(void **state)
{
    (void) state;
    struct origin o;
    char url[64];
    origin_open(&o, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n"
                    "Upgrade: test\r\n\r\n");
    snprintf(url, sizeof url, "http://127.0.0.1:%d", o.port);
    every_answer((weir_proxy_options){.target = url}, upgrade, "HTTP/1.1 101 ");
    origin_close(&o);
}

static void on_a_transports_reply(void **state)
{
    (void) state;
    weir_transport t = {.size = sizeof t, .round_trip = round_trip};
    every_answer((weir_proxy_options){.transport = &t}, plain, "HTTP/1.1 200 ");
}

/* ---- the time of a fetch ------------------------------------------------------------------- */

struct ending {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char reason[64];
};

static void got_end(void *arg, const char *reason)
{
    struct ending *e = arg;
    pthread_mutex_lock(&e->lock);
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    pthread_cond_signal(&e->changed);
    pthread_mutex_unlock(&e->lock);
}

static size_t takes_nothing(void *arg, const void *p, size_t n)
{
    (void) arg, (void) p, (void) n;
    return 0;
}

/* first_byte is a minute: the fetch's own limit comes long before it, also for who is paused. */
static void keeps_to_its_time(size_t (*on_body)(void *arg, const void *p, size_t n))
{
    struct origin o;
    struct ending e = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    char url[64];
    origin_open(&o, NULL);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", o.port);
    weir_proxy_options po = {.size = sizeof po, .target = url};
    weir_options wo = {.size = sizeof wo, .workers = 1};
    weir_proxy *p = weir_proxy_new(&po);
    weir_mux *mux = weir_mux_new();
    weir *w = weir_new(&wo);
    weir_mux_proxy(mux, "/*", p);
    if (!weir_serve(w, mux) || !weir_listen(w, LOCAL))
        fail_msg("%s", weir_error(w));
    weir_mux_free(mux);
    weir_fetch_options fo = {.size = sizeof fo,
                             .target = "/",
                             .host = "a",
                             .timeout = 100,
                             .on_body = on_body,
                             .on_end = got_end,
                             .arg = &e};
    weir_fetch *f = weir_fetch_start(w, p, &fo);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    int late = 0;
    pthread_mutex_lock(&e.lock);
    while (!e.reason[0] && !late)
        late = pthread_cond_timedwait(&e.changed, &e.lock, &until);
    pthread_mutex_unlock(&e.lock);
    assert_string_equal(e.reason, "exchange_timeout");
    weir_fetch_free(f);
    weir_free(w);
    weir_proxy_free(p);
    origin_close(&o);
}

static void a_fetch_keeps_to_its_time(void **state)
{
    (void) state;
    keeps_to_its_time(NULL);
    keeps_to_its_time(takes_nothing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_an_answer),
        cmocka_unit_test(a_refused_answer_ends_its_connection),
        cmocka_unit_test(the_error_handler_sees_a_refusal),
        cmocka_unit_test(on_a_switch),
        cmocka_unit_test(on_a_transports_reply),
        cmocka_unit_test(a_fetch_keeps_to_its_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

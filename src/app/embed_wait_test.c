/* SPDX-License-Identifier: Apache-2.0 */
/* embed_wait_test.c: who waits is called again for what it waits for, and for nothing else that
 * happens to its exchange meanwhile: a program may take the second call for the answer. */
#include "app/embed_test.h"

#include <time.h>

#define ROUNDS 5

/* One callback: its calls, and the ticket of the first. */
struct turn {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int calls;
    weir_ticket *ticket;
};

static struct turn turn = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int calls(void)
{
    pthread_mutex_lock(&turn.lock);
    int n = turn.calls;
    pthread_mutex_unlock(&turn.lock);
    return n;
}

static void await_call(int n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    int late = 0;
    pthread_mutex_lock(&turn.lock);
    while (!late && turn.calls < n)
        late = pthread_cond_timedwait(&turn.changed, &turn.lock, &until);
    if (late)
        fail_msg("wanted %d calls, saw %d", n, turn.calls);
    pthread_mutex_unlock(&turn.lock);
}

/* t: of the first call. */
static int count(weir_ticket *t)
{
    pthread_mutex_lock(&turn.lock);
    int n = ++turn.calls;
    if (n == 1)
        turn.ticket = t;
    pthread_cond_signal(&turn.changed);
    pthread_mutex_unlock(&turn.lock);
    return n;
}

static weir_result wait_once(weir_exchange *x, weir_result then)
{
    weir_ticket *t = weir_suspend(x);
    if (count(t) == 1)
        return WEIR_WAIT;
    weir_resume(t);
    return then;
}

static weir_result at_access(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    return wait_once(x, WEIR_PASS);
}

static weir_result at_response(void *arg, weir_exchange *x, weir_head *response)
{
    (void) arg, (void) response;
    return wait_once(x, WEIR_PASS);
}

static weir_result at_function(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    weir_result r = wait_once(x, WEIR_REPLY);
    return r == WEIR_WAIT ? r : weir_reply(x, 200, NULL, "done", 4);
}

static weir_result at_produce(void *arg, weir_exchange *x)
{
    (void) arg;
    weir_result r = wait_once(x, WEIR_END);
    return r == WEIR_WAIT || weir_write(x, "done", 4) ? r : WEIR_FAIL;
}

static weir_result stream(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    return weir_reply_stream(x, 200, NULL, at_produce, arg);
}

/* The one thread of w has had turns with whatever came before. */
static void let_turn(weir *w)
{
    for (int i = 0; i < ROUNDS; i++)
        answers(weir_port(w, LOCAL), "GET /other HTTP/1.1", "other: GET");
}

static weir *serving_alone(weir_mux *mux)
{
    weir_options o = {.size = sizeof o, .workers = 1};
    weir *w = weir_new(&o);
    weir_mux_func(mux, "/other", echo, (void *) (uintptr_t) "other");
    if (!weir_serve(w, mux) || !weir_listen(w, LOCAL))
        fail_msg("%s", weir_error(w));
    weir_mux_free(mux);
    return w;
}

/* The body comes in pieces meanwhile. */
static void for_its_ticket(void **state)
{
    (void) state;
    static const char *const places[] = {"access", "response", "transport", "function", "produce"};
    char address[32], url[64], head[128];
    weir *behind = origin("behind", address); /* answers before the body has come */
    snprintf(url, sizeof url, "http://%s", address);
    weir_transport t = {.size = sizeof t, .round_trip = at_function};
    weir_proxy_options access = {.size = sizeof access, .target = url, .access = at_access},
                       response = {.size = sizeof response,
                                   .target = url,
                                   .modify_response = at_response},
                       transport = {.size = sizeof transport, .transport = &t};
    weir_proxy *p[] = {weir_proxy_new(&access), weir_proxy_new(&response),
                       weir_proxy_new(&transport)};
    weir_mux *mux = weir_mux_new();
    for (size_t i = 0; i < 3; i++) {
        snprintf(head, sizeof head, "/%s", places[i]);
        weir_mux_proxy(mux, head, p[i]);
    }
    weir_mux_func(mux, "/function", at_function, NULL);
    weir_mux_func(mux, "/produce", stream, NULL);
    weir *w = serving_alone(mux);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        turn.calls = 0;
        int fd = dial(weir_port(w, LOCAL));
        snprintf(head, sizeof head,
                 "POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nConnection: close\r\n\r\n",
                 places[i]);
        say(fd, head);
        await_call(1);
        say(fd, "abc");
        let_turn(w);
        say(fd, "def");
        let_turn(w);
        if (calls() != 1)
            fail_msg("%s: called %d times", places[i], calls());
        weir_resume(turn.ticket);
        await_call(2);
        say(fd, "ghi");
        char *got = hear(fd);
        if (!strstr(got, "done") && !strstr(got, "behind: POST"))
            fail_msg("%s: %s", places[i], got);
        mem_free(got);
    }
    weir_free(w);
    weir_free(behind);
    for (size_t i = 0; i < 3; i++)
        weir_proxy_free(p[i]);
}

/* ---- a ticket that nobody waits for -------------------------------------------------------- */

/* The first ticket is waited for; the second is out while the exchange goes on. */
static weir_result keep_second(weir_exchange *x, weir_result then)
{
    weir_ticket *t = weir_suspend(x);
    int n = count(t);
    if (n == 2)
        turn.ticket = t;
    return n == 1 ? WEIR_WAIT : then;
}

static weir_result access_keeps(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    return keep_second(x, WEIR_PASS);
}

static weir_result response_resumes(void *arg, weir_exchange *x, weir_head *response)
{
    (void) arg, (void) x, (void) response;
    weir_resume(turn.ticket);
    return WEIR_PASS;
}

static weir_result produce_keeps(void *arg, weir_exchange *x)
{
    (void) arg;
    if (calls() >= 2) {
        weir_resume(turn.ticket);
        return weir_write(x, "done", 4) ? WEIR_END : WEIR_FAIL;
    }
    weir_result r = keep_second(x, WEIR_PASS);
    return r == WEIR_WAIT || weir_write(x, "some", 4) ? r : WEIR_FAIL;
}

static weir_result stream_keeps(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    return weir_reply_stream(x, 200, NULL, produce_keeps, arg);
}

/* It holds up neither the next callback nor the next call of the same. */
static void not_for_others(void **state)
{
    (void) state;
    static const char *const asked_for[] = {"GET /proxy HTTP/1.1\r\nHost: a\r\n",
                                            "GET /stream HTTP/1.1\r\nHost: a\r\n"};
    char address[32], url[64];
    weir *behind = origin("behind", address);
    snprintf(url, sizeof url, "http://%s", address);
    weir_proxy_options o = {.size = sizeof o,
                            .target = url,
                            .access = access_keeps,
                            .modify_response = response_resumes};
    weir_proxy *p = weir_proxy_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/proxy", p);
    weir_mux_func(mux, "/stream", stream_keeps, NULL);
    weir *w = serving_alone(mux);
    for (size_t i = 0; i < 2; i++) {
        turn.calls = 0;
        int fd = dial(weir_port(w, LOCAL));
        say(fd, asked_for[i]);
        say(fd, "Connection: close\r\n\r\n");
        await_call(1);
        weir_resume(turn.ticket);
        await_call(2);
        char *got = hear(fd);
        if (!strstr(got, "done") && !strstr(got, "behind: GET"))
            fail_msg("%s: %s", asked_for[i], got);
        mem_free(got);
    }
    weir_free(w);
    weir_free(behind);
    weir_proxy_free(p);
}

/* ---- fetches ------------------------------------------------------------------------------- */

static _Atomic int asked; /* for more of the request */

static weir_result no_more_yet(void *arg, weir_fetch *f)
{
    (void) arg;
    return asked++ || !weir_fetch_write(f, "a", 1) ? WEIR_WAIT : WEIR_PASS;
}

static size_t take_nothing(void *arg, const void *p, size_t n)
{
    (void) arg, (void) p, (void) n;
    count(NULL);
    return 0;
}

static void note_end(void *arg, const char *reason)
{
    (void) arg, (void) reason;
    count(NULL);
}

static weir_result write_some(void *arg, weir_exchange *x)
{
    (void) arg;
    return weir_write(x, "some", 4) ? WEIR_PASS : WEIR_WAIT;
}

static weir_result stream_some(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    return weir_reply_stream(x, 200, NULL, write_some, arg);
}

/* More of the answer comes meanwhile. */
static void for_fetch_resume(void **state)
{
    (void) state;
    char url[64];
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/", stream_some, NULL);
    weir *behind = serving(mux);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", weir_port(behind, LOCAL));
    weir_proxy_options o = {.size = sizeof o, .target = url};
    weir_proxy *p = weir_proxy_new(&o);
    mux = weir_mux_new();
    weir_mux_proxy(mux, NULL, p);
    weir *w = serving_alone(mux);
    turn.calls = 0;
    weir_fetch_options fo = {.size = sizeof fo,
                             .method = "POST",
                             .produce = no_more_yet,
                             .on_body = take_nothing,
                             .on_end = note_end};
    weir_fetch *f = weir_fetch_start(w, p, &fo);
    await_call(1);
    let_turn(w);
    assert_int_equal(calls(), 1);
    assert_int_equal(asked, 2);
    weir_fetch_resume(f);
    await_call(2);
    let_turn(w);
    assert_int_equal(calls(), 2);
    assert_int_equal(asked, 3);
    weir_fetch_cancel(f);
    await_call(3);
    weir_fetch_free(f);
    weir_free(w);
    weir_free(behind);
    weir_proxy_free(p);
}

/* ---- bodies -------------------------------------------------------------------------------- */

static weir_result asks_and_leaves_it(void *arg, weir_exchange *x, const weir_head *in)
{
    char byte;
    size_t got;
    (void) arg, (void) in;
    if (weir_read_body(x, &byte, 1, &got) != WEIR_WAIT)
        return WEIR_FAIL;
    return weir_reply(x, 200, NULL, "done", 4);
}

/* A client that was told to send its body owes it: it is read, and the next request behind it. */
static void who_is_invited_owes_its_body(void **state)
{
    (void) state;
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/", asks_and_leaves_it, NULL);
    weir *w = serving_alone(mux);
    int fd = dial(weir_port(w, LOCAL));
    say(fd, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    char head[13] = "";
    assert_int_equal(recv(fd, head, 12, MSG_WAITALL), 12);
    assert_string_equal(head, "HTTP/1.1 100");
    say(fd, "hello");
    say(fd, "GET /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    char *got = hear(fd);
    if (!strstr(got, "done") || !strstr(got, "other: GET"))
        fail_msg("%s", got);
    mem_free(got);
    weir_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(for_its_ticket),
        cmocka_unit_test(not_for_others),
        cmocka_unit_test(for_fetch_resume),
        cmocka_unit_test(who_is_invited_owes_its_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

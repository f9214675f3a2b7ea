/* SPDX-License-Identifier: Apache-2.0 */
/* embed_end_test.c: who is told when an exchange ends, however it does. */
#include "app/embed_test.h"

#include <time.h>

/* What was called, in order, a letter each; with the reasons. */
struct record {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char calls[32];
    char reason[32]; /* of the last end */
    weir_ticket *ticket;
};

static struct record record = {.lock = PTHREAD_MUTEX_INITIALIZER,
                               .changed = PTHREAD_COND_INITIALIZER};

static void record_clear(void)
{
    pthread_mutex_lock(&record.lock);
    record.calls[0] = record.reason[0] = '\0';
    record.ticket = NULL;
    pthread_mutex_unlock(&record.lock);
}

static void note(char call, const char *reason)
{
    pthread_mutex_lock(&record.lock);
    size_t n = strlen(record.calls);
    assert_true(n + 1 < sizeof record.calls);
    record.calls[n] = call;
    record.calls[n + 1] = '\0';
    snprintf(record.reason, sizeof record.reason, "%s", reason);
    pthread_cond_broadcast(&record.changed);
    pthread_mutex_unlock(&record.lock);
}

/* Waits until these were the calls, and the last reason was that. */
static void await_calls(const char *calls, const char *reason)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    int late = 0;
    pthread_mutex_lock(&record.lock);
    while (!late && strcmp(record.calls, calls) != 0)
        late = pthread_cond_timedwait(&record.changed, &record.lock, &until);
    if (late || strcmp(record.reason, reason) != 0)
        fail_msg("wanted %s (%s), saw %s (%s)", calls, reason, record.calls, record.reason);
    pthread_mutex_unlock(&record.lock);
}

/* Of an exchange that has no client. */
static void ended_alone(void *arg, weir_exchange *x, const char *reason)
{
    (void) x;
    note(*(const char *) arg, reason);
}

/* The exchange is whole still: it has its value, its client and, of proxies, its order of calls. */
static void ended(void *arg, weir_exchange *x, const char *reason)
{
    char ip[46];
    assert_ptr_equal(weir_value(x), &record);
    assert_string_equal(weir_client_ip(x, ip), "127.0.0.1");
    note(*(const char *) arg, reason);
}

static void finished(void *arg, weir_exchange *x, const char *reason)
{
    (void) arg, (void) x;
    note('f', reason);
}

static weir_result suspends(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    weir_set_value(x, &record);
    weir_on_finished(x, ended, arg);
    pthread_mutex_lock(&record.lock);
    record.ticket = weir_suspend(x);
    pthread_mutex_unlock(&record.lock);
    note('s', "");
    return WEIR_WAIT;
}

static weir_result suspends_alone(void *arg, weir_exchange *x, const weir_head *out)
{
    weir_result r = suspends(arg, x, out);
    weir_on_finished(x, ended_alone, (void *) (uintptr_t) "E");
    return r;
}

static weir_result answers_at_once(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    weir_set_value(x, &record);
    weir_on_finished(x, ended, (void *) (uintptr_t) "1");
    weir_on_finished(x, ended, arg); /* in place of that */
    return weir_reply(x, 200, "text/plain", "here", 4);
}

static weir_result takes_it_back(void *arg, weir_exchange *x, const weir_head *in)
{
    weir_result r = answers_at_once(arg, x, in);
    weir_on_finished(x, NULL, NULL);
    return r;
}

static weir_result forever(void *arg, weir_exchange *x)
{
    (void) arg;
    return weir_write(x, "more and more of it\n", 20) ? WEIR_PASS : WEIR_WAIT;
}

static weir_result streams(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    weir_set_value(x, &record);
    weir_on_finished(x, ended, arg);
    return weir_reply_stream(x, 200, NULL, forever, NULL);
}

static weir_result access_ends(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    weir_set_value(x, &record);
    weir_on_finished(x, ended, (void *) (uintptr_t) "e");
    return WEIR_PASS;
}

static weir *serving_func(weir_func f)
{
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/*", f, (void *) (uintptr_t) "e");
    record_clear();
    return serving(mux);
}

/* Each request of a connection has its own. */
static void an_answer_is_an_end(void **state)
{
    (void) state;
    weir *w = serving_func(answers_at_once);
    answers(weir_port(w, LOCAL), "GET /a HTTP/1.1", "here");
    await_calls("e", "ok");
    int fd = dial(weir_port(w, LOCAL));
    say(fd, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"
            "GET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    mem_free(hear(fd));
    await_calls("eee", "ok");
    weir_free(w);
    w = serving_func(takes_it_back);
    answers(weir_port(w, LOCAL), "GET /a HTTP/1.1", "here");
    weir_free(w);
    await_calls("", "");
}

/* Heard while the callback waits, before anybody resumes it; the ticket is good for that still. */
static void a_client_that_leaves(void **state)
{
    (void) state;
    weir *w = serving_func(suspends);
    int fd = dial(weir_port(w, LOCAL));
    say(fd, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    await_calls("s", "");
    close(fd);
    await_calls("se", "client_gone");
    weir_resume(record.ticket);
    weir_free(w);
    await_calls("se", "client_gone");
}

static void a_client_that_leaves_a_stream(void **state)
{
    (void) state;
    char some[1000];
    weir *w = serving_func(streams);
    int fd = dial(weir_port(w, LOCAL));
    say(fd, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(recv(fd, some, sizeof some, 0) > 0);
    close(fd);
    await_calls("e", "client_gone");
    weir_free(w);
}

static weir_result suspends_late(void *arg, weir_exchange *x)
{
    return suspends(arg, x, NULL);
}

static weir_result answers_late(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) in;
    return weir_reply_stream(x, 200, NULL, suspends_late, arg);
}

static weir_result suspends_answer(void *arg, weir_exchange *x, weir_head *response)
{
    (void) response;
    return suspends(arg, x, NULL);
}

/* In the middle of its request, of which nobody reads on while a callback waits. */
static void a_client_that_leaves_its_upload(void **state)
{
    (void) state;
    const struct linger at_once = {.l_onoff = 1};
    char address[32], url[64];
    weir *behind = origin("behind", address); /* answers before the body has come */
    snprintf(url, sizeof url, "http://%s", address);
    weir_proxy_options o = {.size = sizeof o,
                            .target = url,
                            .modify_response = suspends_answer,
                            .arg = (void *) (uintptr_t) "e"};
    weir_proxy *p = weir_proxy_new(&o);
    weir *w[] = {proxying(p), serving_func(answers_late)};
    for (size_t i = 0; i < 2; i++) {
        record_clear();
        int fd = dial(weir_port(w[i], LOCAL));
        say(fd, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
        await_calls("s", "");
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
        close(fd);
        await_calls("se", "client_gone");
        weir_resume(record.ticket);
        weir_free(w[i]);
    }
    weir_free(behind);
    weir_proxy_free(p);
}

/* An instance that ends does not wait for who is suspended longer than it was told. */
static void a_stop(void **state)
{
    (void) state;
    weir *w = serving_func(suspends);
    int fd = dial(weir_port(w, LOCAL));
    say(fd, "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    await_calls("s", "");
    weir_stop(w, 50);
    await_calls("se", "shutdown");
    weir_resume(record.ticket);
    weir_free(w);
    close(fd);
}

static void *stop(void *w)
{
    weir_stop(w, 0);
    return w;
}

static size_t takes_nothing(void *arg, const void *p, size_t n)
{
    (void) arg, (void) p, (void) n;
    return 0;
}

static void fetch_ended(void *arg, const char *reason)
{
    note(*(const char *) arg, reason);
}

/* It is told so by an answer, and does not take that either. */
static void a_stop_of_a_paused_fetch(void **state)
{
    (void) state;
    pthread_t thread;
    weir_mux *mux = weir_mux_new();
    weir_transport t = {.size = sizeof t, .round_trip = suspends_alone};
    weir_proxy_options o = {.size = sizeof o, .transport = &t};
    weir_fetch_options fo = {.size = sizeof fo,
                             .on_body = takes_nothing,
                             .on_end = fetch_ended,
                             .arg = (void *) (uintptr_t) "F"};
    weir_proxy *p = weir_proxy_new(&o);
    weir_mux_proxy(mux, NULL, p);
    weir *w = serving(mux);
    record_clear();
    weir_fetch *f = weir_fetch_start(w, p, &fo);
    await_calls("s", "");
    weir_fetch_free(f);
    assert_int_equal(pthread_create(&thread, NULL, stop, w), 0);
    await_calls("sEF", "shutdown");
    weir_resume(record.ticket);
    pthread_join(thread, NULL);
    weir_free(w);
    weir_proxy_free(p);
}

/* Its `finished` comes first. */
static void a_proxys_exchange(void **state)
{
    (void) state;
    char address[32], url[64];
    weir *behind = origin("behind", address);
    snprintf(url, sizeof url, "http://%s", address);
    weir_proxy_options o = {
        .size = sizeof o, .target = url, .access = access_ends, .finished = finished};
    weir_proxy *p = weir_proxy_new(&o);
    weir *w = proxying(p);
    record_clear();
    answers(weir_port(w, LOCAL), "GET /a HTTP/1.1", "behind: GET");
    await_calls("fe", "ok");
    weir_free(behind);
    answers(weir_port(w, LOCAL), "GET /a HTTP/1.1", " 502 ");
    await_calls("fefe", "connect_refused_by_endpoint");
    weir_free(w);
    weir_proxy_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_an_end),
        cmocka_unit_test(a_client_that_leaves),
        cmocka_unit_test(a_client_that_leaves_a_stream),
        cmocka_unit_test(a_client_that_leaves_its_upload),
        cmocka_unit_test(a_stop),
        cmocka_unit_test(a_stop_of_a_paused_fetch),
        cmocka_unit_test(a_proxys_exchange),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* embed_life_test.c: many instances at once and one after another: what they leave behind, which is
 * nothing, and what they never touch: signals, exit, structs of programs built for an older header.
 * Leaks and races are found by the sanitized builds of this test. */
#include "app/embed_test.h"

#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>

#include <openssl/crypto.h>

#define CYCLES 8
#define THREADS 4

static weir_result resumed_access(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    if (weir_value(x))
        return WEIR_PASS;
    weir_set_value(x, x);
    weir_resume(weir_suspend(x)); /* at once, before the wait is answered */
    return WEIR_WAIT;
}

static int choose_nobody(void *arg, const weir_candidate *c, size_t n, uint64_t hash)
{
    (void) arg, (void) c, (void) hash;
    return (int) n + 7;
}

/* Two instances, one before the other; some requests; sometimes one is under way at the end. */
static void live_once(int round)
{
    char address[32], url[64];
    weir *behind = origin("behind", address);
    snprintf(url, sizeof url, "http://%s", address);
    weir_balancer nobody = {.size = sizeof nobody, .select = choose_nobody};
    weir_proxy_options o = {.size = sizeof o, .target = url, .access = resumed_access};
    if (round % 4 == 3)
        o.balancer = &nobody;
    weir_proxy *p = weir_proxy_new(&o);
    weir *w = proxying(p);
    const weir_weight odd[] = {{"127.0.0.1:1", (double) NAN}, {"x", -5}, {address, 1e300}};
    weir_update_weights(w, p, odd, 3);
    answers(weir_port(w, LOCAL), "GET /a HTTP/1.1", o.balancer ? " 503 " : "behind: GET");
    int fd = -1;
    if (round % 2) {
        fd = dial(weir_port(w, LOCAL));
        say(fd, "GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    if (round % 3 == 0)
        weir_stop(w, 100);
    weir_free(w);
    weir_free(behind);
    weir_proxy_free(p);
    if (fd >= 0)
        close(fd);
}

static void *live_often(void *arg)
{
    for (int i = 0; i < CYCLES; i++)
        live_once(i);
    return arg;
}

static int entries(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void leaves_nothing(void **state)
{
    (void) state;
    pthread_t threads[THREADS];
    live_once(0);
    int fds = entries("/proc/self/fd");
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, live_often, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(entries("/proc/self/fd"), fds);
}

static void touches_no_signal(void **state)
{
    (void) state;
    struct sigaction before[NSIG], after;
    sigset_t mask_before, mask_after;
    pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
    memset(before, 0, sizeof before);
    for (int s = 1; s < NSIG; s++)
        (void) sigaction(s, NULL, &before[s]);
    char address[32];
    weir *w = origin("one", address);
    answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "one: GET");
    pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
    for (int s = 1; s < NSIG; s++) {
        if (sigaction(s, NULL, &after) == 0)
            assert_ptr_equal(after.sa_handler, before[s].sa_handler);
        assert_int_equal(sigismember(&mask_after, s), sigismember(&mask_before, s));
    }
    weir_free(w);
}

static void *turn_once(void *w)
{
    static sigset_t after;
    weir_turn(w);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    return &after;
}

/* Made by one thread and turned by another: a client that leaves ends neither by SIGPIPE. */
static void blocks_sigpipe_where_it_turns(void **state)
{
    (void) state;
    pthread_t thread;
    sigset_t pipe_alone, before;
    void *after;
    weir_options o = {.size = sizeof o, .foreign_loop = 1};
    weir *w = weir_new(&o);
    assert_non_null(w);
    sigemptyset(&pipe_alone);
    sigaddset(&pipe_alone, SIGPIPE);
    pthread_sigmask(SIG_UNBLOCK, &pipe_alone, &before); /* the new thread begins like this one */
    assert_true(sigismember(&before, SIGPIPE));
    assert_int_equal(pthread_create(&thread, NULL, turn_once, w), 0);
    pthread_join(thread, &after);
    assert_true(sigismember(after, SIGPIPE));
    weir_free(w);
}

static bool look_at_exit; /* in the child of exits_under_way */

/* Registered before OpenSSL was first used: what that does at exit has been done. */
static void see_openssl(void)
{
    if (look_at_exit)
        _exit(OPENSSL_init_crypto(0, NULL) == 1 ? 0 : 1);
}

/* A program may exit with instances at work: their handshakes find OpenSSL whole. */
static void exits_under_way(void **state)
{
    (void) state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        weir_proxy_options o = {.size = sizeof o, .target = "https://127.0.0.1:1"};
        weir *w = proxying(weir_proxy_new(&o));
        look_at_exit = w != NULL;
        exit(2);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* What the first header of a program's life may have held; more than that is not even read. */
static void takes_older_structs(void **state)
{
    (void) state;
    char address[32], url[64];
    weir *behind = origin("behind", address);
    snprintf(url, sizeof url, "http://%s/base", address);
    struct {
        size_t size;
        const char *target;
    } *proxy = malloc(sizeof *proxy);
    struct {
        size_t size;
        unsigned workers;
    } *options = malloc(sizeof *options);
    assert_true(proxy && options);
    proxy->size = sizeof *proxy;
    proxy->target = url;
    options->size = offsetof(weir_options, foreign_loop);
    options->workers = 1;
    weir_proxy *p = weir_proxy_new((const weir_proxy_options *) (const void *) proxy);
    weir *w = weir_new((const weir_options *) (const void *) options);
    free(proxy);
    free(options);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", p);
    assert_true(weir_serve(w, mux) && weir_listen(w, LOCAL));
    answers(weir_port(w, LOCAL), "GET /x HTTP/1.1", "behind: GET test.example/base/x");
    weir_mux_free(mux);
    weir_proxy_free(p);
    weir_free(w);
    weir_free(behind);
}

static void takes_nothing_for_nothing(void **state)
{
    (void) state;
    weir_options all = {.size = sizeof all, .workers = UINT_MAX};
    assert_null(weir_new(&all));
    weir_resume(NULL);
    weir_free(NULL);
    weir_mux_free(NULL);
    weir_proxy_free(NULL);
    weir_fetch_free(NULL);
    weir_proxy_free(weir_proxy_new(NULL));
    assert_string_equal(weir_version(), WEIR_VERSION);
}

/* ---- the end ------------------------------------------------------------------------------- */

static weir_result read_on(void *arg, weir_exchange *x, const weir_head *in)
{
    size_t got;
    char c;
    (void) in;
    *(bool *) arg = true;
    return weir_read_body(x, &c, 1, &got);
}

/* In a foreign loop weir_stop does not wait for what may go on for an hour; weir_free ends it. */
static void frees_what_drains(void **state)
{
    (void) state;
    bool came = false;
    weir_options o = {.size = sizeof o, .foreign_loop = 1};
    weir *w = weir_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/*", read_on, &came);
    assert_true(weir_serve(w, mux) && weir_listen(w, LOCAL));
    int fd = dial(weir_port(w, LOCAL));
    say(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"); /* and no more */
    struct pollfd p = {.fd = weir_fd(w), .events = POLLIN};
    while (!came) {
        int wait = weir_timeout(w);
        assert_true(poll(&p, 1, wait < 0 ? PATIENCE * 1000 : wait) >= 0);
        assert_true(weir_turn(w));
    }
    weir_stop(w, 3600 * 1000);
    assert_true(weir_turn(w));
    assert_false(weir_listen(w, "127.0.0.1:0"));
    assert_string_equal(weir_error(w), "127.0.0.1:0: the instance was stopped");
    assert_false(weir_serve(w, mux));
    weir_mux_free(mux);
    weir_free(w);
    close(fd);
}

/* ---- numbers ------------------------------------------------------------------------------- */

struct once {
    int fd;
    _Atomic int answered;
};

/* Answers on the first connection alone; another one would be refused. */
static void *answer_on_one(void *arg)
{
    struct once *o = arg;
    char head[4096];
    int fd = accept(o->fd, NULL, NULL);
    close(o->fd);
    while (recv(fd, head, sizeof head, 0) > 0) {
        say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        o->answered++;
    }
    close(fd);
    return NULL;
}

/* Below zero is no limit, for connections too; what is longer than time itself does not wrap. */
static void takes_large_numbers(void **state)
{
    (void) state;
    static const long large[] = {-1, LONG_MAX, LONG_MAX / 500 + 5};
    for (size_t i = 0; i < 3; i++) {
        struct once one = {.fd = socket(AF_INET, SOCK_STREAM, 0)};
        struct sockaddr_in a = {.sin_family = AF_INET};
        socklen_t size = sizeof a;
        char url[64];
        pthread_t thread;
        a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(bind(one.fd, (struct sockaddr *) &a, sizeof a), 0);
        assert_int_equal(listen(one.fd, 1), 0);
        assert_int_equal(getsockname(one.fd, (struct sockaddr *) &a, &size), 0);
        assert_int_equal(pthread_create(&thread, NULL, answer_on_one, &one), 0);
        snprintf(url, sizeof url, "http://127.0.0.1:%d", ntohs(a.sin_port));
        weir_proxy_options o = {.size = sizeof o,
                                .target = url,
                                .max_idle_conns_per_host = large[i],
                                .max_conns_per_host = large[i],
                                .idle_conn_timeout = large[i],
                                .dial_timeout = large[i],
                                .response_header_timeout = large[i],
                                .exchange_timeout = large[i]};
        weir_options alone = {.size = sizeof alone, .workers = 1};
        weir_proxy *p = weir_proxy_new(&o);
        weir_mux *mux = weir_mux_new();
        weir *w = weir_new(&alone);
        weir_mux_proxy(mux, "/*", p);
        assert_true(weir_serve(w, mux) && weir_listen(w, LOCAL));
        for (int k = 0; k < 3; k++)
            answers(weir_port(w, LOCAL), "GET / HTTP/1.1", "\r\n\r\nok");
        weir_free(w);
        weir_mux_free(mux);
        weir_proxy_free(p);
        pthread_join(thread, NULL);
        assert_int_equal(one.answered, 3);
    }
}

/* ---- the log, which is the process's --------------------------------------------------------- */

static void count_line(void *arg, int level, const char *line)
{
    (void) level;
    if (strstr(line, "\"event\":\"endpoint.resolve\""))
        __atomic_fetch_add((int *) arg, 1, __ATOMIC_RELAXED);
}

/* RFC 7686: the resolver says at once, and asks nobody, that there is no such name. */
static void serve_unknown(weir *w)
{
    weir_proxy_options o = {.size = sizeof o, .target = "http://nowhere.onion"};
    weir_proxy *p = weir_proxy_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", p);
    assert_true(weir_serve(w, mux));
    weir_mux_free(mux);
    weir_proxy_free(p);
}

static void logs_to_the_first(void **state)
{
    (void) state;
    int first = 0, second = 0;
    weir_options one = {.size = sizeof one, .workers = 1, .log = count_line, .log_arg = &first};
    weir_options two = {.size = sizeof two, .workers = 1, .log = count_line, .log_arg = &second};
    weir *a = weir_new(&one), *b = weir_new(&two), *c = weir_new(&two);
    weir_free(c); /* does not take the log away from a */
    serve_unknown(b);
    for (int i = 0; i < PATIENCE * 1000 && !__atomic_load_n(&first, __ATOMIC_RELAXED); i++)
        poll(NULL, 0, 1);
    assert_int_not_equal(__atomic_load_n(&first, __ATOMIC_RELAXED), 0);
    assert_int_equal(second, 0);
    weir_free(b);
    weir_free(a);
}

int main(void)
{
    if (atexit(see_openssl) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_nothing),      cmocka_unit_test(touches_no_signal),
        cmocka_unit_test(takes_older_structs), cmocka_unit_test(takes_nothing_for_nothing),
        cmocka_unit_test(frees_what_drains),   cmocka_unit_test(takes_large_numbers),
        cmocka_unit_test(logs_to_the_first),   cmocka_unit_test(blocks_sigpipe_where_it_turns),
        cmocka_unit_test(exits_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

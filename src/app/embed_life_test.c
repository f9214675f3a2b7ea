/* SPDX-License-Identifier: Apache-2.0 */
/* embed_life_test.c: many instances at once and one after another: what they leave behind, which is
 * nothing, and what they never touch: signals, exit, structs of programs built for an older header.
 * Leaks and races are found by the sanitized builds of this test. */
#include "app/embed_test.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>

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
    weir_resume(NULL);
    weir_free(NULL);
    weir_mux_free(NULL);
    weir_proxy_free(NULL);
    weir_fetch_free(NULL);
    weir_proxy_free(weir_proxy_new(NULL));
    assert_string_equal(weir_version(), WEIR_VERSION);
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
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_nothing),      cmocka_unit_test(touches_no_signal),
        cmocka_unit_test(takes_older_structs), cmocka_unit_test(takes_nothing_for_nothing),
        cmocka_unit_test(logs_to_the_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

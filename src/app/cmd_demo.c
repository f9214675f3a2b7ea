/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_demo.c: weir demo: three origins, a proxy in front of them and a page to watch it, all made
 * with the library that include/weir.h describes. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app/commands.h"
#include "app/demo.h"
#include "base/str.h"

static weir_result show_page(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg;
    (void) in;
    weir_result r = weir_reply(x, 200, "text/html; charset=utf-8", demo_page, strlen(demo_page));
    (void) weir_reply_field(x, "Cache-Control", weir_cstr("no-store"));
    return r;
}

/* The page tells failures apart by Weir's reason code. */
static weir_result say_reason(void *arg, weir_exchange *x, const char *reason, int status)
{
    (void) arg;
    return weir_reply(x, status ? status : 502, "text/plain", reason, strlen(reason));
}

static weir_proxy *make_proxy(const struct demo_origins *origins)
{
    weir_endpoint endpoints[DEMO_ORIGINS];
    for (unsigned i = 0; i < DEMO_ORIGINS; i++)
        endpoints[i] = (weir_endpoint){demo_origin_address(origins, i), 1};
    weir_proxy_options o = {.size = sizeof o,
                            .endpoints = endpoints,
                            .n_endpoints = DEMO_ORIGINS,
                            .error_handler = say_reason};
    return weir_proxy_new(&o);
}

/* Waits for Ctrl-C with signals that main has blocked. */
static void await_end(const sigset_t *ends)
{
    int got;
    sigwait(ends, &got);
    putchar('\n');
}

static int serve_demo(struct demo_origins *origins, unsigned port, const sigset_t *ends)
{
    char address[32];
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    weir_options options = {.size = sizeof options, .workers = 2};
    weir *w = weir_new(&options);
    if (!w)
        return 1;
    weir_proxy *proxy = make_proxy(origins);
    weir_mux *mux = weir_mux_new();
    weir_mux_func(mux, "/", show_page, NULL);
    weir_mux_proxy(mux, "/work/*", proxy);
    bool good = weir_serve(w, mux) && weir_listen(w, address);
    if (good) {
        printf("Three origins are running behind Weir. Watch them at http://127.0.0.1:%d/\n"
               "Ctrl-C ends the demo.\n",
               weir_port(w, address));
        fflush(stdout);
        await_end(ends);
        weir_stop(w, 1000);
    } else {
        fprintf(stderr, "weir demo: %s (or choose another port: --port 0 takes any)\n",
                weir_error(w));
    }
    weir_free(w);
    weir_mux_free(mux);
    weir_proxy_free(proxy);
    return good ? 0 : 1;
}

static bool read_port(int argc, char **argv, uint64_t *port)
{
    static const struct option known[] = {{"port", required_argument, NULL, 'p'},
                                          {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "p:", known, NULL)) >= 0) {
        if (c != 'p')
            return false;
        if (!str_to_u64(str_c(optarg), port) || *port > 65535) {
            fprintf(stderr, "weir demo: '%s' is no port\n", optarg);
            return false;
        }
    }
    if (optind < argc)
        fprintf(stderr, "weir demo: unexpected argument '%s'\n", argv[optind]);
    return optind == argc;
}

int cmd_demo(int argc, char **argv)
{
    uint64_t port = 8080;
    if (!read_port(argc, argv, &port))
        return 2;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    const char *why = NULL;
    struct demo_origins *origins = demo_origins_start(&why);
    if (!origins) {
        fprintf(stderr, "weir demo: %s\n", why);
        return 1;
    }
    int status = serve_demo(origins, (unsigned) port, &ends);
    demo_origins_stop(origins);
    return status;
}

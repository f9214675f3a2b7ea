/* SPDX-License-Identifier: Apache-2.0 */
/* two_upstreams: /api/ goes to two servers (one has three times the weight), everything else to
 * a third, and /hello is answered by a C function. Ends in order at SIGTERM or Ctrl-C: signals
 * are the program's own business, the library sets no handler. Usage: two_upstreams LISTEN
 * API_ADDRESS API_ADDRESS SITE_URL */
#include <signal.h>
#include <stdio.h>
#include <weir.h>

static weir_result hello(void *arg, weir_exchange *x, const weir_head *in)
{
    (void) arg, (void) in;
    return weir_reply(x, 200, "text/plain", "hello\n", 6);
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return fprintf(stderr, "usage: two_upstreams LISTEN API API SITE\n"), 2;
    sigset_t ends;
    int got;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);

    const weir_endpoint servers[] = {{argv[2], 3}, {argv[3], 1}};
    weir_proxy_options api = {.size = sizeof api,
                              .endpoints = servers,
                              .n_endpoints = 2,
                              .max_conns_per_host = 100,
                              .dial_timeout = 2000};
    weir_proxy_options site = {.size = sizeof site, .target = argv[4], .host_rewrite = 1};
    weir_proxy *to_api = weir_proxy_new(&api), *to_site = weir_proxy_new(&site);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/api/*", to_api);
    weir_mux_proxy(mux, "/*", to_site);
    weir_mux_func(mux, "GET /hello", hello, NULL);

    weir *w = weir_new(NULL);
    int good = w && weir_serve(w, mux) && weir_listen(w, argv[1]);
    if (good) {
        printf("serving on %s\n", argv[1]);
        fflush(stdout);
        sigwait(&ends, &got);
        weir_stop(w, 5000);
    } else {
        fprintf(stderr, "%s\n", w ? weir_error(w) : "no threads");
    }
    weir_free(w);
    weir_mux_free(mux);
    weir_proxy_free(to_api);
    weir_proxy_free(to_site);
    return !good;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* error_page: a page of the program's own instead of Weir's plain answer when the server behind
 * cannot be reached, inside a loop that the program already has: weir_fd is polled, weir_turn does
 * what is due, and there is no thread but this one.
 * Usage: error_page LISTEN TARGET */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <weir.h>

static weir_result page(void *arg, weir_exchange *x, const char *reason, int status)
{
    char text[512];
    unsigned *served = arg;
    int n = snprintf(text, sizeof text,
                     "<!doctype html><title>Back soon</title><h1>Back soon</h1>"
                     "<p>The page cannot be shown now (%s). You are visitor %u to see this.\n",
                     reason, ++*served);
    return weir_reply(x, status, "text/html; charset=utf-8", text, (size_t) n);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: error_page LISTEN TARGET\n"), 2;
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    unsigned served = 0; /* one thread: no lock */
    weir_proxy_options o = {.size = sizeof o,
                            .target = argv[2],
                            .error_handler = page,
                            .arg = &served,
                            .dial_timeout = 1000};
    weir_options in_our_loop = {.size = sizeof in_our_loop, .foreign_loop = 1};
    weir_proxy *proxy = weir_proxy_new(&o);
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", proxy);
    weir *w = weir_new(&in_our_loop);
    int good = w && weir_serve(w, mux) && weir_listen(w, argv[1]);
    if (!good)
        fprintf(stderr, "%s\n", w ? weir_error(w) : "no descriptors");
    else
        printf("serving on %s\n", argv[1]);
    fflush(stdout);

    int signals = signalfd(-1, &ends, SFD_CLOEXEC);
    struct pollfd p[2] = {{.fd = signals, .events = POLLIN},
                          {.fd = w ? weir_fd(w) : -1, .events = POLLIN}};
    while (good) {
        if (poll(p, 2, weir_timeout(w)) > 0 && p[0].revents) {
            weir_stop(w, 5000);
            p[0].fd = -1;
        }
        if (!weir_turn(w))
            break;
    }
    weir_free(w);
    weir_mux_free(mux);
    weir_proxy_free(proxy);
    close(signals);
    return !good;
}

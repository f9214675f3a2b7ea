/* SPDX-License-Identifier: Apache-2.0 */
/* minimal: everything that comes to :8081 goes to http://localhost:8080.
 * Build: cc minimal.c $(pkg-config --cflags --libs weir). Usage: minimal [LISTEN [TARGET]] */
#include <stdio.h>
#include <unistd.h>
#include <weir.h>

static void rewrite(void *arg, weir_exchange *x, const weir_head *in, weir_head *out)
{
    (void) arg, (void) x;
    weir_set_field(out, "X-Forwarded-Host", weir_host(in));
}

int main(int argc, char **argv)
{
    const char *listen = argc > 1 ? argv[1] : ":8081";
    weir_proxy_options options = {.size = sizeof options, .rewrite = rewrite};
    options.target = argc > 2 ? argv[2] : "http://localhost:8080";
    weir_mux *mux = weir_mux_new();
    weir_mux_proxy(mux, "/*", weir_proxy_new(&options));
    weir *w = weir_new(NULL);
    if (!w || !weir_serve(w, mux) || !weir_listen(w, listen))
        return fprintf(stderr, "%s\n", w ? weir_error(w) : "no memory"), 1;
    printf("Starting reverse proxy on %s\n", listen);
    return pause();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* serve: from a configuration to a supervised server: what the commands run and proxy share. The
 * main thread, before there is any other. Returns only when everything has ended. */
#ifndef WEIR_APP_SERVE_H
#define WEIR_APP_SERVE_H

#include "app/config.h"
#include "app/sockets.h"

struct serve_options {
    struct config_source source;
    const char *pid_file, *user; /* NULL: none */
    bool pin;                    /* workers to CPUs */
    /* arg: of source; in the supervisor, when first serving; or NULL */
    void (*ready)(const void *arg, const struct sockets *listening);
};

/* Reads the configuration (its errors go to stderr), opens the sockets, supervises. The exit
 * status, of the server in its process. */
int serve(const struct serve_options *o);

#endif

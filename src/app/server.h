/* SPDX-License-Identifier: Apache-2.0 */
/* server: the process that serves: an engine under a supervisor's orders. Its main thread runs
 * server_run and the main loop: configuration, admin page, resolver. It opens no listening socket
 * of its own: they come from the supervisor. */
#ifndef WEIR_APP_SERVER_H
#define WEIR_APP_SERVER_H

#include "app/config.h"
#include "app/supervisor.h"

#define ADMIN_BACKLOG 128

struct server_plan {
    struct config_source source; /* read again at a reload */
    char *user;                  /* to become when started as root; NULL: as started */
    unsigned n_workers;
    bool pin;
};

/* Serves until told to stop; arg is a struct server_plan. Returns the exit status. Shape of
 * supervisor_plan.serve. */
int server_run(const struct server_start *start, void *arg);
/* Tells the supervisor why a server that was to follow another cannot begin. */
void server_cannot(const struct server_start *start, const char *why);
#endif

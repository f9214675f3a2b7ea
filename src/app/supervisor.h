/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor: the process that outlives crashes: holds the listening sockets and the pid file,
 * takes the signals, tells the service manager, starts the server and starts it anew when it dies.
 * One thread. It parses no byte of a peer. */
#ifndef WEIR_APP_SUPERVISOR_H
#define WEIR_APP_SUPERVISOR_H

#include "app/sockets.h"
#include "base/clock.h"

/* What a server process starts with. All of it is the child's own copy. */
struct server_start {
    int channel;             /* to the supervisor */
    int config;              /* memfd: the text of the last good configuration; -1: none */
    int began;               /* memfd: that of the start, some of which stays; -1: none */
    struct sockets *sockets; /* inherited; the server takes the descriptors */
    uint32_t generation;     /* 0 for the first server, one more for each that follows */
    int state;               /* memfd: what the server before has changed at run time; -1: none */
    bool follows;            /* another one serves until the supervisor says CHANNEL_GO */
};

struct supervisor_plan {
    const struct socket_wish *listeners; /* to open before the server starts */
    uint32_t n_listeners;
    int config; /* memfd of the configuration, or -1; owned by the supervisor from now on */
    const char *pid_file;  /* NULL: none */
    const char *state_dir; /* to hold the lock of (state_lock.h); NULL: none */
    const char *user;      /* that the server becomes; NULL: the supervisor's own */
    usec_t drain;          /* longest graceful stop; a few seconds more and the server is killed */
    /* Runs in the child, returns its exit status. */
    int (*serve)(const struct server_start *start, void *arg);
    void *arg;
    /* Called once, when the first server serves; or NULL. */
    void (*ready)(const void *arg, const struct sockets *listening);
    const void *ready_arg;
    const void *resumed; /* what this process's program before left (handover.h); NULL: a start */
};

/* Runs until SIGTERM or SIGINT; returns the exit status: 0 after a graceful stop, 1 when the
 * sockets could not be opened or the first server never got ready. In the child it returns
 * serve's answer: the caller frees what it has and exits with it. */
int supervisor_run(const struct supervisor_plan *plan);

#endif

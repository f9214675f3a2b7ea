/* SPDX-License-Identifier: Apache-2.0 */
/* child: a program that runs beside the loop: started without a shell and with nothing of this
 * process but what is said, in a process group of its own, its output kept up to a bound, its end
 * seen by the loop (pidfd; no signal is used). Embedded in its owner, loop thread only. Never waits
 * but for the kernel to have begun the program. */
#ifndef WEIR_NET_CHILD_H
#define WEIR_NET_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/clock.h"
#include "net/loop.h"

#define CHILD_OUTPUT_MAX 1024u /* bytes that are kept of what it wrote, the first ones */

struct child {
    struct watch exit; /* the pidfd; fd -1: none runs */
    struct watch pipe; /* standard output and error; fd -1: both are closed */
    struct loop *loop;
    pid_t pid;                      /* and of its group */
    void (*ended)(struct child *c); /* once; what follows is set then */
    int exit_status;                /* -1: a signal ended it */
    int signal;                     /* that one; 0: none */
    usec_t cpu;                     /* time that it and those it waited for had of a processor */
    size_t n;                       /* bytes in output */
    bool more;                      /* it wrote more than that */
    char output[CHILD_OUTPUT_MAX];
};

/* None runs. */
void child_init(struct child *c, struct loop *l, void (*ended)(struct child *c));
/* Starts argv[0] (a path, or a name that this process's PATH has) with exactly env, the directory
 * /, an empty input and no other descriptor. NULL: it runs; else why not, and ended is not
 * called. */
const char *child_start(struct child *c, char *const argv[], char *const env[]);
/* Ends it and all of its group at once (SIGKILL); ended follows from the loop. */
void child_kill(struct child *c);
/* The same, and waits for its end, which the kernel owes; ended is not called. */
void child_finish(struct child *c);

#endif

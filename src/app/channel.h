/* SPDX-License-Identifier: Apache-2.0 */
/* channel: what the supervisor and the server tell each other, over a socketpair: messages of one
 * fixed size, some with a descriptor (SCM_RIGHTS). Each end belongs to the one thread that reads it
 * (the supervisor's, the server's main thread). Never carries a byte of a peer. */
#ifndef WEIR_APP_CHANNEL_H
#define WEIR_APP_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/str.h"

enum channel_kind {
    /* supervisor to server */
    CHANNEL_RELOAD = 1, /* read the configuration again */
    CHANNEL_REOPEN,     /* reopen the logs */
    CHANNEL_STOP,       /* finish what runs, then exit 0 */
    CHANNEL_SOCKET,     /* a listening socket; number: how many follow, text: the address */
    CHANNEL_REFUSED,    /* no socket; text says why */
    CHANNEL_FREEZE,     /* a successor starts: change nothing from now on, and say what there is */
    CHANNEL_THAW,       /* nothing came of it: go on as before */
    CHANNEL_RETIRE,     /* the successor is ready: accept no more, finish what runs, then exit 0 */
    CHANNEL_GO,         /* to the successor: serve; with the marks of health, if there are any */
    /* server to supervisor */
    CHANNEL_READY,    /* serving; of a successor: able to; text: its version */
    CHANNEL_RELOADED, /* number: what it is about; good: the new text comes as a memfd, and drain */
    CHANNEL_LISTEN, /* open text; number: how many sockets (at most CHANNEL_SOCKETS); backlog, mode:
                       * as sockets_open */
    CHANNEL_UNLISTEN, /* close text: no longer configured */
    CHANNEL_FROZEN,   /* answers FREEZE, with what was changed at run time as a memfd */
    CHANNEL_RETIRED,  /* answers RETIRE: accepts no more; number: ms it may take, with the marks */
    CHANNEL_FAILED,   /* of a successor: it cannot serve; why comes as a memfd */
    CHANNEL_KINDS
};

/* Bits of the number of CHANNEL_RELOADED. */
#define CHANNEL_GOOD 1u    /* a new configuration is about to be used */
#define CHANNEL_ORDERED 2u /* it answers CHANNEL_RELOAD, which is over, whatever came of it */
#define CHANNEL_LOADED 4u  /* as a whole, not with one change of the admin API */

#define CHANNEL_TEXT 256
#define CHANNEL_SOCKETS 1024u /* of one address: one a worker */

struct channel_message {
    uint32_t kind; /* enum channel_kind */
    uint32_t number;
    union {
        uint32_t backlog; /* of LISTEN */
        uint32_t drain;   /* of RELOADED: ms that a graceful stop may take, + 1; 0: not said */
    };
    int32_t mode;
    char text[CHANNEL_TEXT]; /* NUL-terminated */
};

/* A connected pair, close-on-exec. False: no descriptors. */
bool channel_open(int ends[2]) __attribute__((warn_unused_result));
/* A message of that kind with text cut to fit. */
struct channel_message channel_make(enum channel_kind kind, uint32_t number, struct str text);
/* Sends m and, when fd is not -1, a copy of it. Waits while the other end is slow to read. False:
 * the other end is gone. */
bool channel_send(int end, const struct channel_message *m, int fd);
/* A memfd that holds text, to be sent; -1: the kernel refused. */
int channel_memfd(struct str text);
/* What such a descriptor holds, at most `most` bytes of it; NULL: nothing. For mem_free. */
char *channel_memfd_text(int fd, size_t most, size_t *n);
/* Receives the next message; waits at most wait_us (0: not at all). *fd: a descriptor that came
 * with it, owned by the caller, or -1. IO_EOF: the other end is gone; IO_ERR: a message that no
 * version of Weir sends. */
enum io channel_receive(int end, struct channel_message *m, int *fd, usec_t wait_us);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_inside: what the files of the supervisor share: supervisor.c (the server's life,
 * signals and the loop), supervisor_upgrade.c (a new program takes over), supervisor_door.c (who
 * asks for that). One thread. Nothing outside these files includes it. */
#ifndef WEIR_APP_SUPERVISOR_INSIDE_H
#define WEIR_APP_SUPERVISOR_INSIDE_H

#include <sys/types.h>

#include "app/channel.h"
#include "app/supervisor.h"

#define KILL_GRACE (5 * USEC_PER_SEC) /* beyond drain */
#define OLD_MOST 4u /* servers that still finish what they had; see upgrade_begin */

/* A server's process. */
struct served {
    pid_t pid;      /* 0: there is none; then channel is -1 */
    int channel;    /* our end */
    usec_t kill_at; /* it was told to end, and has time until then; 0: it was not */
    bool failed;    /* it never served */
};

enum upgrade_phase {
    UPGRADE_NONE,
    UPGRADE_FREEZING,  /* the server was told to change nothing any more */
    UPGRADE_STARTING,  /* the next one starts, beside it */
    UPGRADE_SWITCHING, /* the next one is ready; the server was told to accept no more */
};

struct upgrade {
    enum upgrade_phase phase;
    enum channel_kind order; /* to the server, that its channel had no room for yet; 0: none */
    struct served next;
    int asker;     /* who waits for the verdict; -1: nobody */
    char *binary;  /* that is tried; owned */
    char *why;     /* what the next server said of its failure; owned; NULL: nothing */
    usec_t within; /* the time it was given */
    usec_t deadline;
    char version[32]; /* of next, once it is ready */
};

struct supervisor {
    const struct supervisor_plan *plan;
    struct sockets sockets;
    int signals; /* signalfd */
    int config;
    int door;       /* see supervisor_door.c; -1: none */
    int state_lock; /* see state_lock.h; -1: none */
    int pid_lock;   /* see pid_file.h; -1: none */
    struct served server;
    struct served old[OLD_MOST + 1]; /* and one that failed to take over, and ends */
    uint32_t n_old;
    struct upgrade upgrade;
    char *path;   /* of the program; owned */
    usec_t drain; /* of the configuration in use */
    uint32_t generation;
    uint32_t crashes; /* since the last steady server */
    bool ready;       /* some server got ready once */
    bool stopping;
    bool reload_due; /* asked for while no server ran, or one was under way */
    bool reloading;  /* the server was told, and has not answered */
    bool taken;      /* since it was told, it said that a configuration was loaded */
    bool refused;    /* the last order to reload was, and none was loaded since */
    bool over;
    bool child; /* this is the server's process, done */
    int status; /* exit status */
    usec_t started, next_start, kill_at;
};

/* ---- supervisor.c ---------------------------------------------------------------------------- */

/* Sends an order. False: there is no room, for a server that is busy or stopped, or none there. */
bool supervisor_order(const struct served *p, enum channel_kind kind, int fd);
/* "was ended by signal 9 (KILL)" of a wait status. */
void supervisor_describe_end(int status, char out[64]);
/* The sockets' files get the modes that the configuration gives them by now. */
void supervisor_set_modes(const struct supervisor *s);
/* In a child: closes what is the supervisor's alone. */
void supervisor_forget(struct supervisor *s);

/* ---- supervisor_upgrade.c -------------------------------------------------------------------- */

/* Begins to put the program at binary (NULL: the path of its own) in place of what runs, if it is
 * ready within that time. Each end is told in the log and to asker (owned; -1: nobody). */
void upgrade_begin(struct supervisor *s, const char *binary, usec_t within, int asker);
/* A message of the server or (next) of the one that is to follow it. *fd came with it; -1 when it
 * was taken. True: it was about an upgrade. */
bool upgrade_says(struct supervisor *s, bool next, const struct channel_message *m, int *fd);
/* What is due by now; true: look again within 10 ms. */
bool upgrade_tick(struct supervisor *s, usec_t now);
/* The server's process has ended; true: the next one serves from now on. */
bool upgrade_server_ended(struct supervisor *s);
/* The process that was to follow has ended. */
void upgrade_next_ended(struct supervisor *s, int status);
/* Ends an upgrade that is under way. */
void upgrade_fail(struct supervisor *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* This program has just replaced another in this process: takes what that left, says so. False: it
 * cannot be understood. */
bool upgrade_resume(struct supervisor *s, const void *facts);

/* ---- supervisor_door.c ----------------------------------------------------------------------- */

/* A socket that `weir upgrade` finds by this process's id; -1: none (said in the log). */
int door_open(void);
/* Takes who asks, if anybody does. */
void door_answer(struct supervisor *s);
/* Tells the verdict and lets *asker go. */
void door_tell(int *asker, bool good, const char *text);

#endif

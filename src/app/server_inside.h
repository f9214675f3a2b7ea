/* SPDX-License-Identifier: Apache-2.0 */
/* server_inside: what the files of the server process share: server.c (its life and orders),
 * server_listen.c (its listening sockets), change_config.c (configurations coming and going). Main
 * thread only. Nothing outside app/ includes this. */
#ifndef WEIR_APP_SERVER_INSIDE_H
#define WEIR_APP_SERVER_INSIDE_H

#include "app/change_config.h"
#include "app/channel.h"
#include "app/engine.h"
#include "app/history.h"
#include "app/server.h"
#include "control/admin.h"
#include "control/events.h"
#include "control/live.h"

/* What tells one state of a file from another without reading it. */
struct file_stamp {
    uint64_t device, inode, size;
    int64_t sec, nsec; /* of the last change; 0, 0: it is not there */
};

struct derived;
struct load;
struct write_job;

struct server {
    struct watch channel; /* first */
    struct watch signals;
    const struct server_start *start;
    const struct server_plan *plan;
    struct engine *engine;
    struct config config;      /* in use */
    struct conf_loaded *began; /* settings of the start, some of which stay; NULL: no load yet */
    bool stale;                /* routes were changed one by one since config was loaded */
    struct snapshot *snapshot; /* in use; one holder */
    struct sockets listening;
    struct str admin; /* of the start, owned: a reload does not move it */
    usec_t drain, upgrade_drain;
    struct admin page;
    struct figures_worker *figures; /* of page; owned */
    struct worker **workers;        /* of page; owned */
    struct live live;               /* what page reads and changes */
    struct file_jobs *jobs;         /* writes what the API changes; NULL: this thread does */
    struct write_job *writing;      /* a state file on its way to the disk; NULL: none */
    struct load *loading;           /* a configuration that waits for that; NULL: none */
    struct history history;
    struct task due;                /* obeys what came while a change waited for something */
    struct timer watch;             /* looks at the file, where the configuration says watch */
    struct file_stamp seen, before; /* of the file: the last that was judged, the last look */
    int left;     /* memfd for who follows, until that is told: server_upgrade.c */
    bool serving; /* it has begun to accept */
    bool stopping, ending, reload_due, stop_due, reopen_due, freeze_due;
};

/* ---- server_listen.c: the addresses that it listens on --------------------------------------- */

/* Every address that the configuration names gets its sockets at start. */
void server_take_inherited(struct server *s);
/* Gets sockets for what file names anew; false: *why, and none of them is kept. */
bool server_listen_to_new(struct server *s, const struct conf_file *file, char **why);
/* The admin address, if a reload has named another one than the process before had. */
void server_listen_admin(struct server *s);
/* Gives workers the sockets that are new. */
void server_hand_on_new(struct server *s);
/* Drops sockets of addresses that file does not name. */
void server_forget_unnamed(struct server *s, const struct conf_file *file);

/* ---- change_config.c ------------------------------------------------------------------------- */

/* Builds from the first configuration of the process and puts it to use; c is taken when it is
 * good. False: *why. */
bool server_begin_config(struct server *s, struct config *c, char **why);
/* From now on this process keeps the configurations that were in use. */
void server_begin_history(struct server *s);

/* ---- server.c -------------------------------------------------------------------------------- */

/* Accepts from now on, on all that the configuration names. */
void server_serve(struct server *s);
/* Lets what runs finish within that limit, then ends the main loop. Once. */
void server_drain(struct server *s, usec_t limit);
/* Notes an order that waits for nothing else to be under way; server_obey_later has it done. */
void server_note_order(struct server *s, const struct channel_message *m);
/* Does what was noted, in a later turn. */
void server_obey_later(struct server *s);

/* ---- server_upgrade.c: another program follows, or this one does ---------------------------- */

/* Tells the supervisor what was changed at run time: nothing changes from now on, and nothing is on
 * its way to state_dir. */
void server_freeze(struct server *s);
/* Does what an order about an upgrade says; others are not looked at. fd came with it. */
void server_obey_upgrade(struct server *s, const struct channel_message *m, int fd);
/* What the server before had changed at run time, as changes; NULL: it left nothing. */
json_t *server_left_changes(struct server *s);

/* s->snapshot becomes made, which the workers were given. */
void server_swap_snapshot(struct server *s, struct snapshot *made);
/* Log and subscribers hear of what changed, l. */
void server_tell(struct server *s, enum origin o, const char *who, const struct change_list *l,
                 const struct change_result *r);

/* ---- change_route.c: one route of a running configuration ------------------------------------ */

/* The live_ops of that: the change, prepared; NULL: it has to go the long way. */
struct derived *server_derive(struct server *s, const struct live_route *change);
/* Puts it to use; words: who asked for what. */
void server_use_derived(struct server *s, struct derived *d, const char *words);
/* Drops it. */
void server_drop_derived(struct derived *d);

/* ---- change_write.c: the state file, written by another thread ------------------------------- */

/* live_ops: writes bytes (taken), then calls live_written. False: it cannot. */
bool server_write_state(void *arg, struct str dir, struct text *bytes);
/* Waits for that. */
void server_settle_state(void *arg);

/* ---- server_watch.c: the configuration file on the disk -------------------------------------- */

/* Begins or ends looking at the file, as the configuration in use says. */
void server_watch_file(struct server *s);
/* What the file holds is about to be read: a change after this is a new one. */
void server_file_read(struct server *s);

#endif

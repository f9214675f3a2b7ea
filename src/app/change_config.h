/* SPDX-License-Identifier: Apache-2.0 */
/* change_config: the one way by which a running server gets another configuration, whoever asks
 * for it: a signal, the watched file, a command, the admin API. Main thread of the server. It
 * changes everything that the configuration says or nothing. */
#ifndef WEIR_APP_CHANGE_CONFIG_H
#define WEIR_APP_CHANGE_CONFIG_H

#include "app/config.h"
#include "control/change.h"
#include "control/live.h"

struct server;

/* What the admin API asks of the server: page.ops. */
extern const struct admin_ops server_admin_ops;

enum origin {
    ORIGIN_START,
    ORIGIN_SIGNAL,
    ORIGIN_WATCH, /* the file changed */
    ORIGIN_COMMAND,
    ORIGIN_API,
    ORIGIN_ROLLBACK,
    ORIGINS
};

/* What came of it; zero-initialised before, change_result_fini after. */
struct change_result {
    bool good;
    uint64_t generation; /* in use now */
    size_t n_changes;
    struct text words; /* what changed, one a line; empty: nothing */
    struct text json;  /* the same as an array */
    char *why;         /* when not good: all that is wrong, one a line */
    char *warnings;    /* when good: what is hardly meant, one a line; NULL: nothing */
};

/* "signal", "api" ... */
const char *origin_name(enum origin o);
/* Reads the file again and replaces the configuration by what it says: builds, has the sockets,
 * keeps the changes made at run time, swaps, records, tells subscribers. mode: what becomes of
 * changes that the file says other things about. Not while live is busy. LIVE_REFUSED or LIVE_DISK:
 * nothing changed and out->why says why; LIVE_WAITS: waiter (NULL: nobody) is told. */
enum live_result server_reload(struct server *s, enum live_mode mode, enum origin o,
                               struct live_waiter *waiter, struct change_result *out);
/* Goes back to the configuration that was in use `back` changes ago, in the same way. The file
 * stays as it is: the next reload reads it again. */
enum live_result server_rollback(struct server *s, uint32_t back, struct live_waiter *waiter,
                                 struct change_result *out);
/* live_ops: a load's changes are on the disk, or not. */
void server_stored(void *arg, enum live_result result, char *why, struct live_waiter *waiter);
/* What the admin API answers of it, in JSON; why is taken out of r, which is ended. */
void server_answer(struct change_result *r, struct text *json, char **why);
/* What c would change, in words and JSON; changes nothing that runs. */
void server_compare(struct server *s, const struct config *c, struct change_result *out);
/* Frees the texts. */
void change_result_fini(struct change_result *r);

#endif

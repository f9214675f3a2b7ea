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
};

/* "signal", "api" ... */
const char *origin_name(enum origin o);
/* Replaces the configuration by c, which is taken either way: builds, has the sockets, swaps,
 * records, tells subscribers. who: for the record ("" where there is nobody to name). False:
 * refused, nothing changed and out->why says why. */
bool server_change(struct server *s, struct config *c, enum origin o, const char *who,
                   struct change_result *out);
/* Reads the file again and does the same. mode: what becomes of changes made at run time that the
 * file says other things about. */
bool server_reload(struct server *s, enum live_mode mode, enum origin o, const char *who,
                   struct change_result *out);
/* Goes back to the configuration that was in use `back` changes ago. The file stays as it is: the
 * next reload reads it again. */
bool server_rollback(struct server *s, uint32_t back, const char *who, struct change_result *out);
/* What c would change, in words and JSON; changes nothing that runs. */
void server_compare(struct server *s, const struct config *c, struct change_result *out);
/* Frees the texts. */
void change_result_fini(struct change_result *r);

#endif

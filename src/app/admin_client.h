/* SPDX-License-Identifier: Apache-2.0 */
/* admin_client: the commands' side of the admin API: one request at a time, blocking, over a
 * connection of its own. Owned by a command, its thread only. A process that serves has none. */
#ifndef WEIR_APP_ADMIN_CLIENT_H
#define WEIR_APP_ADMIN_CLIENT_H

#include <jansson.h>

#include "base/text.h"

/* What every such command may be told; borrowed from argv. */
struct admin_options {
    const char *admin, *config, *token_file;
    bool json;
};

/* The rows of getopt_long for them; a command that has --json has it as 'j'. */
#define ADMIN_OPTIONS                                                                              \
    {"admin", required_argument, NULL, 'a'}, {"config", required_argument, NULL, 'c'},             \
    {                                                                                              \
        "token-file", required_argument, NULL, 't'                                                 \
    }

struct admin_client {
    char *address, *token; /* owned; token NULL: none */
    char last_event[24];   /* id of a stream's last event, behind which it goes on; empty: none */
    bool quiet;            /* what goes wrong is not said */
};

/* Takes what getopt_long found. False: it is none of these. */
bool admin_option(struct admin_options *o, int found, const char *value);
/* Whom to ask: o->admin (an address), else the file's admin section, else $WEIR_ADMIN, else the
 * default socket; o->token_file (NULL: that of the file) holds the token for TCP. False: said
 * why. */
bool admin_client_init(struct admin_client *c, const struct admin_options *o);
/* Frees what it holds. */
void admin_client_fini(struct admin_client *c);
/* Sends a request (body: JSON text, or empty) and reads the answer's body into out. False: none
 * came, or not with 2xx; what was wrong was said on stderr. */
bool admin_client_ask(const struct admin_client *c, const char *method, const char *path,
                      struct str body, struct text *out);
/* The same on a client of its own. */
bool admin_ask(const struct admin_options *o, const char *method, const char *path, struct str body,
               struct text *out);
/* Calls fn for each line of a stream of events as it comes. Where it ends, as it does when another
 * process takes over, it is asked for again for some seconds, to go on behind the last event.
 * Returns when nobody answers any more, which is said. */
void admin_client_follow(struct admin_client *c, const char *path,
                         void (*fn)(void *arg, struct str line), void *arg);
/* Appends s as a segment of a path. */
void admin_path_add(struct text *path, struct str s);

#endif

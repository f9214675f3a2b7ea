/* SPDX-License-Identifier: Apache-2.0 */
/* handover: how one program of Weir leaves descriptors and facts to the next that takes its place:
 * a JSON object in a memfd that lives through execve(2), named by an environment variable. A new
 * server is begun so, and the supervisor goes on so under its pid. One thread; no peer's byte. */
#ifndef WEIR_APP_HANDOVER_H
#define WEIR_APP_HANDOVER_H

#include <jansson.h>

#include "app/sockets.h"

enum handover_role {
    HANDOVER_NONE,       /* nobody left anything: a start as usual */
    HANDOVER_SERVER,     /* serve once the supervisor says so */
    HANDOVER_SUPERVISOR, /* go on as the supervisor */
    HANDOVER_BROKEN,     /* it cannot be understood; said in the log */
};

/* What was left to this process; *facts for json_decref. Its descriptors are close-on-exec again.
 * Once, at the start. */
enum handover_role handover_take(json_t **facts);
/* Runs the program at path in this process with the arguments it was started with itself, and
 * leaves it facts (taken), whose descriptors were put there by handover_fd. Returns only when that
 * cannot be: the error's number. */
int handover_run(const char *path, enum handover_role role, json_t *facts);

/* Whether fd (-1: none) lives through execve. */
void handover_keep(int fd, bool keep);
/* A descriptor as a fact, which lives through execve; -1 is one, too. */
json_t *handover_fd(int fd);
/* The descriptor that facts has by that name, or -1. */
int handover_fd_of(const json_t *facts, const char *name);
/* Listening sockets as a fact. */
json_t *handover_sockets(const struct sockets *s);
/* Adds the sockets of such a fact to s. */
void handover_sockets_of(const json_t *list, struct sockets *s);

/* path made absolute, no link followed: what is there later may be another one. For mem_free. */
char *handover_absolute(const char *path);
/* The path by which this process was started, in that way. For mem_free. */
char *handover_path(void);

#endif

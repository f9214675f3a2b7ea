/* SPDX-License-Identifier: Apache-2.0 */
/* door: how a command asks a running supervisor for an upgrade, see supervisor_door.c. Blocks until
 * the answer comes. The command's thread. */
#ifndef WEIR_APP_DOOR_H
#define WEIR_APP_DOOR_H

#include <stdbool.h>
#include <sys/types.h>

/* Asks the supervisor of that pid to put the program at path (NULL: the one at its own path) in its
 * place, if it is ready within so many seconds (0: as many as SIGUSR2 gives). What came of it, in
 * words, for mem_free; NULL: it could not be asked, which was said on stderr. */
char *door_ask(pid_t pid, unsigned seconds, const char *path, bool *good);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* pid_file: the file that names the supervisor's process, and keeps a second Weir from taking the
 * same one, so that signals and upgrades reach the Weir that is meant. The supervisor holds its
 * lock as long as it runs, over upgrades too; a server does not. Never waits. */
#ifndef WEIR_APP_PID_FILE_H
#define WEIR_APP_PID_FILE_H

/* Writes this process's id to the file, whole from the moment it has that name; one that nobody
 * holds is replaced, whatever is in it. The answer is a descriptor that holds the file until its
 * last copy is closed. -1: *why (mem_free) says what another Weir or the directory has against it,
 * and what to do. */
int pid_file_take(const char *path, char **why);
/* Removes the file, if it is still the one that fd (-1: none) holds, and closes fd. */
void pid_file_drop(int fd, const char *path);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* state_lock: keeps two Weirs from using one state directory, where each would replace what the
 * other has written. The supervisor holds the lock as long as it runs, over upgrades too; a server
 * does not, so that one which outlives a killed supervisor keeps no new Weir from starting. */
#ifndef WEIR_APP_STATE_LOCK_H
#define WEIR_APP_STATE_LOCK_H

/* Locks directory dir; the answer is a descriptor that holds the lock until its last copy is
 * closed. -1 with *why (mem_free): another process holds it. -1 without: there can be no lock, for
 * the directory cannot be written, which the server will say. */
int state_lock_take(const char *dir, char **why);

#endif

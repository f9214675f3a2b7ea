/* SPDX-License-Identifier: Apache-2.0 */
/* sock: making sockets: listen, accept, connect, options. Non-blocking, close-on-exec
 * throughout. Any thread. errno is turned into enum fault here and nowhere above. */
#ifndef WEIR_NET_SOCK_H
#define WEIR_NET_SOCK_H

#include <stdbool.h>

#include "base/fault.h"
#include "base/io.h"
#include "net/addr.h"

/* Opens a listening socket with SO_REUSEADDR, SO_REUSEPORT (inet), TCP_NODELAY inherited,
 * backlog. For unix sockets a stale file is removed first (only when nobody answers).
 * -1: *why (static buffer of the caller's thread) says what happened and what to do. */
int sock_listen(const struct addr *a, int backlog, const char **why);
/* Accepts one connection; IO_AGAIN: none; IO_ERR: *exhausted true when fds or memory ran out
 * (pause accepting), false for one that vanished (try again). */
enum io sock_accept(int listen_fd, int *fd, struct addr *peer, bool *exhausted);
/* Starts a connection. FAULT_OK: fd is connecting or connected (*done). */
enum fault sock_connect(const struct addr *a, bool keepalive, int *fd, bool *done) FAULT_CHECKED;
/* After EV_WRITE on a connecting fd: FAULT_OK, FAULT_CONNECT_REFUSED, _FAILED or _TIMEOUT. */
enum fault sock_connect_result(int fd) FAULT_CHECKED;
/* Sends bytes on a connection that has just been opened: all of them, which a fresh socket has room
 * for, or false. They may wait in the kernel for what follows, or for the close. */
bool sock_preface(int fd, struct str bytes) __attribute__((warn_unused_result));
/* The socket's own address. */
bool sock_local(int fd, struct addr *out);
/* Whom it is connected to; false: nobody, yet or any more. */
bool sock_peer(int fd, struct addr *out);
/* Closes a descriptor that nobody watches. */
void sock_close(int fd);
/* Sends a close so that the peer sees a reset instead of an orderly end (SO_LINGER 0). */
void sock_reset_on_close(int fd);
/* Round trip time estimate of the kernel in us, 0 unknown (TCP_INFO). */
unsigned sock_rtt_us(int fd);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* activation: listening sockets that the service manager opened and lends (sd_listen_fds(3)'s
 * protocol, without its library): LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES. Called by the supervisor
 * once, at its start. The sockets stay the manager's: it keeps them over a stop. */
#ifndef WEIR_APP_ACTIVATION_H
#define WEIR_APP_ACTIVATION_H

#include "app/supervisor.h"

/* Takes the sockets that were lent to this process: those whose address one of the n listeners has
 * become rows of s. Those that none has are closed, and named in the log. */
void activation_take(struct sockets *s, const struct socket_wish *listeners, uint32_t n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* notify: tells the service manager how Weir is, by sd_notify(3)'s protocol over NOTIFY_SOCKET and
 * without its library. Used by the supervisor alone, its one thread. Without NOTIFY_SOCKET every
 * call does nothing; it never blocks. */
#ifndef WEIR_APP_NOTIFY_H
#define WEIR_APP_NOTIFY_H

#include <stdbool.h>

#include "base/clock.h"

/* Sends state ("READY=1\nSTATUS=serving") to the datagram socket named by address, a path or, with
 * a leading '@', an abstract name. False: not sent. */
bool notify_send(const char *address, const char *state);
/* READY=1 with this process as MAINPID, and a line of STATUS; constant text. */
void notify_ready(const char *status);
/* RELOADING=1 with MONOTONIC_USEC, as Type=notify-reload wants it. */
void notify_reloading(usec_t now);
/* A line of STATUS for `systemctl status`; constant text. */
void notify_status(const char *text);
/* STOPPING=1. */
void notify_stopping(void);

#endif

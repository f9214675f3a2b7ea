/* SPDX-License-Identifier: Apache-2.0 */
/* ticket_marks: the keys of TLS session tickets that a process made for itself, as JSON for the
 * process that follows it, so that clients resume the sessions that they had. Secret: they go
 * through a memfd, never to a file. Main thread. */
#ifndef WEIR_CONTROL_TICKET_MARKS_H
#define WEIR_CONTROL_TICKET_MARKS_H

#include <jansson.h>

#include "net/tls.h"

/* Appends the keys of all servers of s to list, an object each: {tickets, certs, next, keys}. */
void ticket_marks_write(struct tls_store *s, json_t *list);
/* Gives the servers of s those keys of list (NULL: none) that are theirs. Other objects may be in
 * it, too. */
void ticket_marks_take(struct tls_store *s, const json_t *list);

#endif

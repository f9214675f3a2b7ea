/* SPDX-License-Identifier: Apache-2.0 */
/* h2_session: a client's HTTP/2 connection: its streams become exchanges, its session ends by
 * GOAWAY. Hangs on a struct session from the preface (or the end of a TLS handshake that chose h2)
 * until both are closed. Worker thread. Never sees a body. */
#ifndef WEIR_PROXY_H2_SESSION_H
#define WEIR_PROXY_H2_SESSION_H

#include "proxy/session.h"

struct h2_session;

/* The 24 bytes that an HTTP/2 client begins with (RFC 9113 3.4). */
#define H2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

/* Makes s an HTTP/2 connection. seen: bytes that were read already (a view of block; both empty
 * when there are none), the preface among them. False: memory; s is as it was. */
bool h2_session_open(struct session *s, struct block *block, struct str seen)
    __attribute__((warn_unused_result));
/* Events of the session's connection. */
void h2_session_event(struct h2_session *h, unsigned events);
/* The session's timer has fired. */
void h2_session_timer(struct h2_session *h);
/* Graceful end: GOAWAY, streams finish, then it closes (RFC 9113 6.8). Harmless twice. */
void h2_session_shutdown(struct h2_session *h);
/* The last GOAWAY at once: closes as soon as no stream is open. */
void h2_session_end(struct h2_session *h);
/* The limit of the graceful stop has passed: every stream fails, the connection is reset. */
void h2_session_abort(struct h2_session *h);
/* No stream is open. */
bool h2_session_is_idle(const struct h2_session *h);
/* Bytes of one, for the worker's pool. */
size_t h2_session_size(void);

#endif

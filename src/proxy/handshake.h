/* SPDX-License-Identifier: Apache-2.0 */
/* handshake: sessions whose clients are not ready to ask yet: their TLS handshakes. They cost more
 * than requests do, so they run when all else of a turn is done, HANDSHAKE_STEPS a turn, in the
 * order in which they became ready; and one source has only so many at a time. Worker thread only.
 * Knows no HTTP, but for one answer to those who speak it where TLS is spoken. */
#ifndef WEIR_PROXY_HANDSHAKE_H
#define WEIR_PROXY_HANDSHAKE_H

#include "net/tls.h"
#include "proxy/session.h"

#define HANDSHAKE_STEPS 8  /* a turn */
#define HANDSHAKE_BYTES 48 /* of one, beside its session */

/* Begins the handshake of a session that was just given its transport. False: refused, the fault is
 * counted and the session is the caller's to close. */
bool handshake_begin(struct session *s, const struct tls_server_conf *conf);
/* The connection of a session in SESSION_HANDSHAKE has an event. */
void handshake_event(struct session *s);
/* Its time is over. */
void handshake_timeout(struct session *s);
/* Lets go of what a session's handshake holds; harmless when there is none. */
void handshake_end(struct session *s);
/* The worker's task: some steps. */
void handshake_run(struct task *t);

#endif

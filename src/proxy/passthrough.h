/* SPDX-License-Identifier: Apache-2.0 */
/* passthrough: connections that are given to an upstream as they are, chosen by what their TLS
 * ClientHello says in clear. Each is one exchange without a message: it takes the same steps, its
 * attempts connect (and try another endpoint) as any, then it is a tunnel. Worker thread. Never
 * reads or changes a byte of it. */
#ifndef WEIR_PROXY_PASSTHROUGH_H
#define WEIR_PROXY_PASSTHROUGH_H

#include "net/client_hello.h"
#include "proxy/exchange.h"
#include "proxy/session.h"

/* The route that takes the connection; NULL: none does. */
struct route *passthrough_route(const struct snapshot *s, const struct client_hello *h);
/* A connection that asks for host, and offers nothing in particular, is passed through: no request
 * for it belongs to one that is not. */
bool passthrough_takes(const struct snapshot *s, struct str host);
/* Opens the exchange of a session whose hello lies in its socket, on route r, or with fault f when
 * r is NULL; hello is what is known of it (NULL: nothing). */
void passthrough_open(struct session *s, struct route *r, const struct client_hello *hello,
                      enum fault f);
/* x cannot go on: tells its client, while no byte of an endpoint's has reached it, by a TLS alert
 * when it is one that can understand that. */
void passthrough_refuse(struct exchange *x, enum fault f);

#endif

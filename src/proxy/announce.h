/* SPDX-License-Identifier: Apache-2.0 */
/* announce: what a connection to an endpoint begins with when its upstream speaks PROXY protocol: a
 * header that says for which client it is. Made for an exchange, in its arena; worker thread. Never
 * sends: the pool does. */
#ifndef WEIR_PROXY_ANNOUNCE_H
#define WEIR_PROXY_ANNOUNCE_H

#include "net/proxy_protocol.h"
#include "proxy/exchange.h"

/* The header for x's client, in x's arena: its address as logs and rules have it (client_ip; the
 * port too where that is the peer itself), where it connected to, and, in version 2, what is known
 * of its TLS and what a PROXY header of its own told. Of exchanges without a client, and of unix
 * sockets, it speaks for Weir alone (LOCAL, UNKNOWN). MEMORY. */
enum fault announce_client(struct exchange *x, enum proxy_out version,
                           struct str *out) FAULT_CHECKED;
/* The header that speaks for Weir alone. Returns its bytes. */
size_t announce_self(enum proxy_out version, char out[PROXY_HEADER_MAX]);

#endif

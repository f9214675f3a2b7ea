/* SPDX-License-Identifier: Apache-2.0 */
/* hop: what a proxy owes each message on the way (RFC 9110 7.6, 6.6): hop-by-hop fields
 * removed, Via, Date, Max-Forwards, TE, trailers cleaned. Runs before Weir's own fields are
 * added, so a client can neither strip nor forge them. Never a feature: a security rule cannot
 * be reordered. */
#ifndef WEIR_PROXY_HOP_H
#define WEIR_PROXY_HOP_H

#include "proxy/exchange.h"

/* Makes x->out from x->in: copied fields without hop-by-hop ones and those named in Connection,
 * forwarding fields of untrusted peers dropped ('_' aliases included), Via, TE, query cleaned. */
enum fault hop_request(struct exchange *x) FAULT_CHECKED;
/* Cleans the upstream's final or interim head for the client: hop-by-hop fields removed, Date
 * added when missing. */
enum fault hop_response(struct exchange *x, struct head *h) FAULT_CHECKED;
/* Removes from trailers what must not be there: framing, routing, authentication, Weir's own
 * names. */
void hop_trailers(struct fields *trailers);
/* Removes the trailers that names, the list of a Connection field, holds (RFC 9110 7.6.1). */
void hop_trailers_named(struct fields *trailers, struct str names);
/* Max-Forwards on OPTIONS and TRACE: true when the request must be answered here (0), else
 * counted down in out. */
__attribute__((noinline)) bool hop_max_forwards(struct exchange *x);

#endif

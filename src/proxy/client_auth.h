/* SPDX-License-Identifier: Apache-2.0 */
/* client_auth: who the client is by its TLS certificate, and whether it may ask this. The
 * certificate was verified in the handshake, for the name that was asked for then; here it is seen
 * to that a request for another name does not come by that. Worker thread; keeps nothing. */
#ifndef WEIR_PROXY_CLIENT_AUTH_H
#define WEIR_PROXY_CLIENT_AUTH_H

#include "proxy/exchange.h"

/* Sets x->identity. Answers FAULT_OK, CLIENT_CERT_DENIED, REQ_MISDIRECTED (RFC 9110 7.4) or MEMORY.
 * x has a session. */
enum fault client_auth(struct exchange *x) FAULT_CHECKED;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* affinity: what of a request decides its endpoint beyond the balancer's own state: the key that
 * balance hash hashes, and the sticky cookie. Asked for upstreams that have one of them only.
 * Worker thread, within one exchange. */
#ifndef WEIR_PROXY_AFFINITY_H
#define WEIR_PROXY_AFFINITY_H

#include "proxy/exchange.h"

/* The hash of the key that x's upstream balances on, never 0; 0: the request has none. */
uint64_t affinity_hash(struct exchange *x);
/* The endpoint that the sticky cookie of x names, if it may be asked; NULL. */
struct endpoint *affinity_sticky(struct exchange *x, const struct pick *p);
/* The answer of x's attempt is about to go to the client: the cookie is set where it is not so
 * already, and a reported weight is taken out. FAULT_MEMORY. */
enum fault affinity_response(struct exchange *x) FAULT_CHECKED;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* health: the state that checks and traffic give an endpoint (up, down). State only: it never
 * sends a probe, control/ does. Any thread; the state is in atomics of struct endpoint, which
 * belongs to the registry. */
#ifndef WEIR_UPSTREAM_HEALTH_H
#define WEIR_UPSTREAM_HEALTH_H

#include "upstream/endpoint.h"

/* Is meant to take requests: of weight > 0, not retired. */
bool endpoint_wanted(const struct endpoint *e);
/* Is up and not ejected: may go on with clients that it has, also at weight 0. */
bool endpoint_serves(const struct endpoint *e);
/* May take new requests now: wanted, up, not ejected, with an address. */
bool endpoint_usable(const struct endpoint *e);
/* The same, but its first addresses are still being asked for: pool_acquire will wait for them. */
bool endpoint_unresolved(const struct endpoint *e);
/* Sets the state (admin, checks); logs the change with why. Balancers and pools follow. */
void endpoint_set_up(struct endpoint *e, bool up, const char *why);

#endif

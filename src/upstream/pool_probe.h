/* SPDX-License-Identifier: Apache-2.0 */
/* pool_probe: inside the pool: HEAD requests that test idle links of HTTP/1. Owned by the pool, on
 * whose worker's thread alone all of this runs; never lends a link. */
#ifndef WEIR_UPSTREAM_POOL_PROBE_H
#define WEIR_UPSTREAM_POOL_PROBE_H

#include "upstream/pool_inside.h"

/* Sends a HEAD request on an idle link. */
void probe_start(struct link *l);
/* The link of a probe has an event. */
void probe_event(struct link *l);
/* No answer in time. */
void probe_timeout(struct link *l);
/* Frees the probe of l. */
void probe_free(struct link *l);

#endif

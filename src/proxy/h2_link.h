/* SPDX-License-Identifier: Apache-2.0 */
/* h2_link: an upstream connection that speaks HTTP/2: what makes a link of the pool carry several
 * exchanges. Made when a link is connected, hangs on link.shared until it is closed. Worker thread.
 * Never sees a body, and never lends: the pool does. */
#ifndef WEIR_PROXY_H2_LINK_H
#define WEIR_PROXY_H2_LINK_H

#include "upstream/link.h"

#define H2_FIRST_WINDOW 4096u /* of a stream, for worker.first_window at first */

struct h2_conn;

/* For pool_worker.sharing. */
extern const struct link_sharing h2_link_sharing;

/* The connection of a shared link. */
struct h2_conn *h2_link_conn(const struct link *l);
/* Something came over l since it was idle last: if it breaks now, it was not dead before. */
bool h2_link_proven(const struct link *l);
/* The endpoint takes extended CONNECT (RFC 8441 3). */
bool h2_link_extends(const struct link *l);
/* A request on l timed out: asks the endpoint whether it is still there. */
void h2_link_suspect(struct link *l);
/* Bytes of one, for the worker's pool. */
size_t h2_link_size(void);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* pool_share: inside the pool: links that carry several requests at a time. Owned by the pool, on
 * whose worker's thread alone all of this runs; it never moves such a link to another worker. */
#ifndef WEIR_UPSTREAM_POOL_SHARE_H
#define WEIR_UPSTREAM_POOL_SHARE_H

#include "upstream/pool_inside.h"

/* A link that has just been connected: is it shared? FAULT_OK, UP_NO_H2, MEMORY. */
enum fault share_begin(struct link *l) FAULT_CHECKED;
/* A link is closed: whoever shares it lets go of it. */
void share_end(struct link *l);
/* A shared link that is lent, has room and suits w (NULL: anybody), or NULL. */
struct link *share_take(struct link_pool *p, const struct link_wait *w);
/* One loan more. */
void share_lent(struct link *l);
/* One loan less: back to the pool when it was the last. */
void share_return(struct link *l);
/* One may wait for a link that is being opened already, as that one will have room for it. */
bool share_expected(const struct link_pool *p);
/* Links being opened beyond what the waits count on. */
uint32_t share_spare(const struct link_pool *p);
/* Waits that no link being opened has room for are begun again. */
void share_settle(struct link_pool *p);

#endif

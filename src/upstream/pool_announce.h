/* SPDX-License-Identifier: Apache-2.0 */
/* pool_announce: links that are not for everybody: those that begin by announcing a client (PROXY
 * protocol) serve that client alone, those that asked for HTTP/1.1 alone serve WebSockets. Owned by
 * the pool's worker, on whose thread alone all of this runs; for the files of the pool only. Never
 * makes the bytes: who asks for a link does. */
#ifndef WEIR_UPSTREAM_POOL_ANNOUNCE_H
#define WEIR_UPSTREAM_POOL_ANNOUNCE_H

#include "upstream/pool.h"

/* What a link is for. */
struct link_kind {
    struct str announce; /* what it begins with; empty: nothing */
    bool h1;             /* it must not speak HTTP/2 */
};

/* Of a wait. */
static inline struct link_kind wait_kind(const struct link_wait *w)
{
    return (struct link_kind){w->announce, w->want_h1};
}
/* Of a link. */
struct link_kind link_kind(const struct link *l);
/* Has l begin with a copy of bytes; false: memory. */
bool announcement_set(struct link *l, struct str bytes);
/* Frees it. */
void announcement_free(struct link *l);
/* What l begins with; empty: nothing. */
struct str announcement_bytes(const struct link *l);
/* l began with bytes, of that hash. */
bool announcement_is(const struct link *l, struct str bytes, uint64_t hash);
/* Sends what l is to begin with, if anything, on its new connection; false: it is broken. */
bool announcement_send(struct link *l);
/* l may serve w. */
static inline bool link_suits(const struct link *l, const struct link_wait *w)
{
    if (l->h1_only != w->want_h1)
        return false;
    if (__builtin_expect(!l->announced && !w->announce.n, 1))
        return true;
    return w->announce.n && announcement_is(l, w->announce, str_hash(w->announce));
}
/* The oldest wait that no link is being opened for any more, since l (closed by now) failed; NULL:
 * there is none. */
struct link_wait *wait_bereft(struct link_pool *p, const struct link *l);
/* A link that is being opened and that nobody counts on, now that w does not; NULL: there is
 * none. */
struct link *opening_spare(struct link_pool *p, const struct link_wait *w);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* moved: what follows when the name of an endpoint means other addresses than before. Connections
 * to one that is lost carry what is under way on them and no request more: each pool, on its
 * worker, leaves them. Who hears of it is one a registry, called on the resolver's loop; it never
 * hears of an endpoint's first addresses, which are a change of its state. */
#ifndef WEIR_UPSTREAM_MOVED_H
#define WEIR_UPSTREAM_MOVED_H

#include <stdbool.h>

struct addr;
struct endpoint;
struct endpoint_addrs;
struct link;
struct link_pool;
struct upstream_registry;

struct moved_hearer {
    /* NULL: nobody hears. Both sets, which are not empty, are valid during the call. */
    void (*moved)(void *arg, const struct endpoint *e, const struct endpoint_addrs *was,
                  const struct endpoint_addrs *is);
    void *arg;
};

/* Sets it, before any name is watched. */
void upstream_registry_hear_moved(struct upstream_registry *r, struct moved_hearer hearer);

/* The name means a, now. Any thread. */
bool endpoint_has_addr(struct endpoint *e, const struct addr *a);
/* Closes what is in nobody's use and connected to an address that was lost; what is lent is closed
 * when it comes back. The pool's worker. */
void pool_leave_moved(struct link_pool *p);
/* l, which is connected, leads to an address that was lost since it was connected or since the last
 * call. Its worker. */
bool link_strayed(struct link *l);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* moved: who hears that the name of an endpoint means other addresses than before. One a registry;
 * called on the resolver's loop. It never hears of an endpoint's first addresses, which are a
 * change of its state. */
#ifndef WEIR_UPSTREAM_MOVED_H
#define WEIR_UPSTREAM_MOVED_H

struct endpoint;
struct endpoint_addrs;
struct upstream_registry;

struct moved_hearer {
    /* NULL: nobody hears. Both sets, which are not empty, are valid during the call. */
    void (*moved)(void *arg, const struct endpoint *e, const struct endpoint_addrs *was,
                  const struct endpoint_addrs *is);
    void *arg;
};

/* Sets it, before any name is watched. */
void upstream_registry_hear_moved(struct upstream_registry *r, struct moved_hearer hearer);

#endif

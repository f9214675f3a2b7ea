/* SPDX-License-Identifier: Apache-2.0 */
/* control/snapshot: builds the immutable configuration that the engine runs by from plain structs,
 * sharing with its predecessor every route and upstream of equal content. Called by the main thread
 * (or the library), which owns the inputs; what is built owes nothing to the structs it was built
 * from. Never reads a file, never starts anything. */
#ifndef WEIR_CONTROL_SNAPSHOT_H
#define WEIR_CONTROL_SNAPSHOT_H

#include "base/map.h"
#include "control/conf_check.h"
#include "proxy/snapshot.h"

struct snapshot_inputs {
    struct upstream_registry *registry;
    const struct feature_set *features; /* kept by the snapshot */
    struct route_names *names;          /* gives numbers to routes; NULL: nobody does */
    struct tls_store *tls;              /* watches files; NULL: nobody does */
    const struct snapshot *previous;    /* what to share with; NULL: nothing */
    /* Nothing is served yet: a certificate out of its time is better than no server. */
    bool starts;
    uint32_t n_workers; /* workers 0 to n_workers may use it (the last: the main one) */
    uint32_t n_given;   /* how many will be given it; 0: n_workers */
    /* Given to the snapshot: called by the last holder, on its thread; must lead to snapshot_free
     * on the main thread. NULL: snapshot_free at once. */
    void (*release)(struct snapshot *s);
    void *release_arg;
};

/* Builds a snapshot with n_given + 1 holders: the workers, and the caller, who lets go by
 * snapshot_drop. NULL: *errors says everything that is wrong, one a line (mem_free). */
struct snapshot *snapshot_build(const struct proxy_conf *conf, const struct snapshot_inputs *in,
                                char **errors);
/* The same for a configuration that was parsed and checked with e, which points at places in its
 * text; flat: its routes (NULL: nobody flattened them yet). NULL: e has errors. */
struct snapshot *snapshot_build_checked(const struct proxy_conf *conf,
                                        const struct flat_routes *flat,
                                        const struct snapshot_inputs *in, struct conf_errors *e);
/* Says what is wrong with the files for TLS that a parsed conf names of which something else was
 * refused: so all mistakes are told at once. */
void snapshot_judge_files(const struct proxy_conf *conf, struct conf_errors *e);
/* One route of a configuration, by itself. */
struct snapshot_change {
    struct str remove;              /* name of a route of requests that goes; empty: none */
    const struct flat_route *route; /* comes in its place, else behind all others; NULL: none */
};
/* The snapshot that follows in->previous when one route is another: everything else is shared, so
 * it costs as much among many routes as among few. conf: what previous was built from, as far as
 * it is not routes. Freed without snapshot_keep it leaves no trace. NULL: e says why. */
struct snapshot *snapshot_derive(const struct proxy_conf *conf, const struct snapshot_inputs *in,
                                 const struct snapshot_change *change, struct conf_errors *e);
/* s is put to use: the next one may be derived from it. */
void snapshot_keep(struct snapshot *s);
/* The feature has a hook of that kind. */
bool feature_has_hook(const struct feature *f, enum hook_kind kind);
/* Frees it and its references; nobody uses it any more; NULL is allowed. True: it was the last of
 * those that share what a load made, and much is free now. Main thread. */
bool snapshot_free(struct snapshot *s);

#endif

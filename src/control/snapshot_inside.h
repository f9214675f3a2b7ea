/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_inside: what the files that build a snapshot share. One build, its thread only. Nothing
 * outside control/snapshot*.c includes this. */
#ifndef WEIR_CONTROL_SNAPSHOT_INSIDE_H
#define WEIR_CONTROL_SNAPSHOT_INSIDE_H

#include "control/conf_check.h"
#include "control/snapshot.h"

/* What snapshots share that differ in a route: listeners, upstreams and all the memory that they
 * and the texts of rules lie in. Counted, on the main thread. */
struct snapshot_base {
    uint32_t refs;
    struct arena arena;
    struct listener_spec *listeners; /* one reference to each one's tls */
    struct upstream **upstreams;     /* one reference each */
    struct router *passes;
    struct route *fallback; /* one reference */
    uint32_t n_listeners, n_upstreams;
};

struct build {
    const struct proxy_conf *conf;
    const struct snapshot_inputs *in;
    struct conf_errors *errors;
    struct snapshot *s;
    struct arena *arena;       /* of the snapshot */
    struct map shares;         /* bytes of a source address -> struct feature_share, counted */
    struct map route_shares;   /* bytes of a hash -> struct route_share, counted */
    struct map plans;          /* bytes of a struct plan_key -> struct built_plan, counted */
    struct route_block *block; /* where the next route comes to lie; one reference; NULL: none */
    struct route **routes;     /* by place in the flat routes; one reference each */
    struct map gone;           /* names of routes that only the predecessor has */
    struct map old_upstreams;  /* name -> struct upstream */
    struct tls_client **tls;   /* of upstreams, by place in conf; one reference each */
    /* The last route that a share was found for, and that one; NULL: none yet. */
    const struct route_conf *last;
    struct route_share *last_share;
    /* The last rewrite that was hashed; NULL: none yet. */
    const struct rewrite_conf *rewrite;
    uint64_t rewrite_hash;
    /* Numbers of what most routes have in common; 0: not asked for yet. */
    uint64_t settings_hash[2]; /* of the top level's settings; 1: for passthrough */
    uint64_t *upstream_hash;   /* by place in conf; NULL: none was asked for */
};

/* A snapshot that nothing is in yet, but for its base. */
struct snapshot *snapshot_new(const struct snapshot_inputs *in, struct snapshot_base *base);
/* Gives the route's plan its upstream if it has none yet, when nothing can be refused any more. */
void build_aim(const struct route *r, struct upstream *u);
/* The route of f, shared with the predecessor or new (then without its upstream); one reference.
 * NULL: said why. */
struct route *build_route(struct build *b, const struct flat_route *f);
/* The route for requests that match none. */
struct route *build_fallback(struct build *b);
/* The TLS of a listener: one reference; NULL: said why. */
struct tls_server *build_tls_server(struct build *b, const struct tls_server_conf *conf);
/* The value of Strict-Transport-Security (RFC 6797 6.1). */
struct str build_hsts(struct build *b, const struct hsts_conf *conf);
/* Fills b->tls: what may be refused comes before anything is touched that serves now. */
void build_tls_clients(struct build *b);
/* Drops the references in b->tls. */
void build_tls_drop(struct build *b);
/* Routes like r may share with it what routes share. */
void build_shares_note(struct build *b, const struct route *r);
/* Drops the build's own references to shares. */
void build_shares_drop(struct build *b);

#endif

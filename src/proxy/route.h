/* SPDX-License-Identifier: Apache-2.0 */
/* route: what a matched request gets: where it goes, how it is rewritten, which features and
 * settings apply. Part of a snapshot, immutable, counted (snapshots, tunnels). The router finds
 * it. */
#ifndef WEIR_PROXY_ROUTE_H
#define WEIR_PROXY_ROUTE_H

#include <stdatomic.h>

#include "http/head.h"
#include "proxy/conf.h"
#include "proxy/phase.h"
#include "upstream/upstream.h"

struct rewrite; /* compiled, rewrite.c */
struct route_stats;

/* What the route does with a request. */
enum route_action { ROUTE_UPSTREAM, ROUTE_REDIRECT, ROUTE_REPLY, ROUTE_HANDLER };

/* A feature with a hook, and where its slot is in the exchange's slot area. */
struct hook_ref {
    const struct feature *feature;
    uint32_t slot;
};

/* Hooks of one kind that are active on a route, in calling order. */
struct hook_list {
    uint32_t n;
    struct hook_ref v[FEATURE_MAX];
};

/* What is done with a request; routes that do the same with theirs share one, so that a request
 * among 100,000 routes finds it in the cache. Constant once requests see it. */
struct plan {
    /* What every request reads, in one cache line. */
    uint8_t action;            /* enum route_action */
    uint32_t slots_bytes;      /* of the exchange's slot area */
    struct upstream *upstream; /* one reference; NULL when not ROUTE_UPSTREAM */
    struct breaker *breaker;   /* of upstream; NULL: none, or of each endpoint */
    struct rewrite *rewrite;   /* NULL: none */
    const struct settings_conf *settings;
    const struct hook_list *hooks;   /* HOOK_KINDS lists */
    const void *const *feature_conf; /* by feature; never NULL where it has a conf table: the
                                        route's (route_scope) or the top level's */
    const uint32_t *slots;           /* offset of each feature's slot in that area */
    /* By action. */
    struct redirect_conf redirect;
    struct reply_conf reply;
    route_handler handler;
    void *handler_arg;
};

/* One cache line, and many side by side: each that a request reads may be a miss, and its page's
 * place another. */
struct route {
    const struct plan *plan;
    struct str name;
    bool plain_name;        /* the log may say the name as it is: json_plain */
    _Atomic uint16_t index; /* dense number of the route's name in the process, for figures;
                               below 1,000, ROUTE_OTHER, or ROUTE_UNUSED: see stats.h */
    uint16_t tag;           /* route_tag of its name */
    _Atomic uint32_t refs;
    uint32_t line;    /* in the configuration; 0: unknown */
    uint64_t content; /* stable hash of its configuration and of what it points to */
    /* Called by the last route_unref, any thread: frees the route and what only it holds of its
     * plan. NULL: nobody's heap (tests). */
    void (*free)(struct route *r);
};

_Static_assert(sizeof(struct route) <= 64, "a route is one cache line");

/* Tells most names apart; the same for as long as the process runs. */
static inline uint16_t route_tag(struct str name)
{
    return (uint16_t) str_hash(name);
}

#define ROUTE_OTHER 1000u
#define ROUTE_UNUSED (ROUTE_OTHER + 1) /* it has no number yet */

/* A route and what most requests need of it, which a match knows without a look at the route: with
 * 100,000 routes that is a cache miss. */
struct routed {
    struct route *route; /* NULL: none; plan, too */
    const struct plan *plan;
    uint16_t tag;
};

/* r and its plan; r may be NULL. */
static inline struct routed routed(struct route *r)
{
    return r ? (struct routed){r, r->plan, r->tag} : (struct routed){0};
}

/* One more reference; any thread. */
struct route *route_ref(struct route *r);
/* One less; the last one calls free. NULL is allowed; any thread. */
void route_unref(struct route *r);

/* router: from a parsed request head to a route. Built once a snapshot; hosts and paths in
 * compressed tries, so that 100,000 routes cost as one; regexes in order within a host.
 *
 * The most specific rule whose conditions all hold answers:
 *   1. Host: the exact host, then the longest `*.wildcard`, then rules without a host.
 *   2. Path, among rules of one host: the exact path, then path_regex rules in file order, then
 *      the longest prefix, then rules without a path. `/x/` + `*` matches /x, /x/ and everything
 *      below; `/` + `*` matches everything, also the target `*` of OPTIONS and that of CONNECT.
 *   3. Among rules of one host and one path pattern: more conditions (methods count as one, each
 *      header and each query parameter as one), then file order.
 * A rule whose conditions fail is passed over for the next in this order. GET in methods covers
 * HEAD. */
struct router;

/* One match rule compiled with its route. Several rules may share a route. */
struct router_rule {
    const struct match_conf *match; /* effective: parents' conditions joined */
    struct route *route;
};

/* Told of each rule, for explain. verdict: "chosen", or why it was rejected; valid as long as the
 * arena. */
typedef void (*router_trace)(void *arg, const struct route *r, const char *verdict);

/* Builds from rules in file order; strings are borrowed for as long as any router of this line
 * lives, the match_conf structs only for the call; each route gets one reference more. Names of
 * routes are unique. NULL: *why (mem_free) with *bad_rule. */
struct router *router_new(const struct router_rule *rules, size_t n, char **why, size_t *bad_rule);
/* A router like from, the newest of its line, that shares with it all but a few pieces: without the
 * rule whose route is called `remove` (empty: none; it is there), and with one more (NULL: none) in
 * the place of that, else behind all others. Nothing of the rule is borrowed. It costs what the
 * depth of the tries costs, not their size. from goes on being used until router_keep; freed before
 * that, the new one leaves no trace. NULL: *why (mem_free). Main thread. */
struct router *router_change(const struct router *from, struct str remove,
                             const struct router_rule *rule, char **why);
/* r takes the place of the one that it was made from: the next change is made from it. */
void router_keep(struct router *r);
/* The route of that name, or NULL. Any thread. */
struct route *router_route(const struct router *r, struct str name);
/* How many rules. */
uint32_t router_count(const struct router *r);
/* Calls fn for the route of each rule, in no order. */
void router_each(const struct router *r, void (*fn)(void *arg, struct route *route), void *arg);
/* Frees it; what its line shares goes with the last one. NULL is allowed. Main thread. */
void router_free(struct router *r);
/* The route of h; none with *fault NO_ROUTE, NO_METHOD (a rule differs only by its method; allow,
 * in a, lists the methods of all such rules, at most 32), MATCH_LIMIT or MEMORY. Allocates only
 * for regexes, for query values and for allow. Any thread. */
struct routed router_match(const struct router *r, const struct head *h, struct arena *a,
                           enum fault *fault, struct str *allow);
/* The same, slowly, telling trace about every rule in file order. */
struct route *router_explain(const struct router *r, const struct head *h, struct arena *a,
                             router_trace trace, void *arg);

/* Compiles a rewrite, with copies of its strings; NULL with *why NULL: nothing to do; *why
 * (mem_free): what is wrong. replace knows $0 to $9, ${0} to ${9} and $$ for a '$'. */
struct rewrite *rewrite_new(const struct rewrite_conf *c, char **why);
/* Frees it; NULL is allowed. */
void rewrite_free(struct rewrite *w);
/* Applies to the outbound head: path, query, authority; strip_prefix, add_prefix and regex in this
 * order. A '?' in the replacement begins a query that goes before the client's. endpoint: address
 * text for host "upstream" (borrowed as long as out; a unix socket's Host is localhost). REWRITE
 * when the result is not a valid target or authority, or a dot segment made by the rewrite would
 * climb; MATCH_LIMIT; MEMORY. */
enum fault rewrite_apply(const struct rewrite *w, struct head *out, struct arena *a,
                         struct str endpoint) FAULT_CHECKED;
/* The template of a redirect has known placeholders only: {scheme}, {host} (without port),
 * {authority} (with), {path}, {query} (without '?'), {uri} (path and, when there is one, ?query).
 * False: *why (static). */
bool redirect_valid(struct str to, const char **why);
/* The Location of a redirect route for h, in a. FAULT_MEMORY when a refuses, FAULT_REWRITE when the
 * result is no valid field value. A path never becomes a host: leading slashes are one unless the
 * template has more. */
enum fault redirect_location(const struct redirect_conf *c, const struct head *h, struct arena *a,
                             struct str *to) FAULT_CHECKED;

#endif

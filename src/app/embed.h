/* SPDX-License-Identifier: Apache-2.0 */
/* embed: the inside of the library behind include/weir.h: what its files share. Handlers are
 * counted: muxes, routes of snapshots and balancers hold them. Nothing outside src/app/embed*.c
 * includes this; nothing here is seen by the programs that link Weir. */
#ifndef WEIR_APP_EMBED_H
#define WEIR_APP_EMBED_H

#include <weir.h>

#include "app/target.h"
#include "features/registry.h"
#include "proxy/exchange.h"

/* A proxy, or a C function. */
struct weir_proxy {
    _Atomic uint32_t refs;
    int64_t id;     /* random: equal content means the same handler */
    char host[41];  /* that nobody can guess: of its route for fetches alone; "" */
    weir_func func; /* NULL: a proxy */
    void *func_arg;
    weir_proxy_options options; /* pointers in it lead into arena */
    weir_transport transport;   /* round_trip NULL: the pool */
    weir_balancer balancer;     /* select NULL: round robin */
    struct target target;
    struct str *addresses; /* of endpoints */
    const char *wrong;     /* what the options got wrong; NULL: nothing */
    struct arena arena;
};

struct mux_entry {
    struct list_node node;
    struct str pattern; /* owned; empty: fetches only */
    struct weir_proxy *handler;
};

struct weir_mux {
    struct list entries; /* of struct mux_entry */
};

/* The settings of a route: which handler it has. One row, so that a route is known by its id. */
struct embed_conf {
    int64_t id;
    struct weir_proxy *handler; /* NULL: not the library's route */
};

/* What an exchange keeps between callbacks. */
struct embed_slot {
    void *value;
    struct chain *out; /* while produce runs */
    weir_result (*produce)(void *arg, weir_exchange *x);
    void *produce_arg;
    void (*finished)(void *arg, weir_exchange *x, const char *reason); /* NULL: nobody hears */
    void *finished_arg;
    bool rewritten;   /* by round_trip's side: x->out is made */
    bool awaits_body; /* weir_read_body said to wait */
    bool waits;       /* a callback answered that it waits, for the ticket alone */
};

#define EMBED_FEATURE FEATURE_OWN

extern const struct schema_table embed_schema;
extern const struct feature embed_feature;
extern const struct balance_ops embed_balance;

/* One reference more, one less; any thread. */
struct weir_proxy *handler_ref(struct weir_proxy *h);
/* See handler_ref; the last one frees. */
void handler_unref(struct weir_proxy *h);
/* A handler that calls f. */
struct weir_proxy *handler_func(weir_func f, void *arg);
/* Another mux with the same entries. */
struct weir_mux *mux_copy(const struct weir_mux *m);
/* Fills conf with routes and upstreams for m; texts and structs live in a, which conf must not
 * outlive. False: *why (mem_free), one line a mistake. */
bool mux_configure(const struct weir_mux *m, struct proxy_conf *conf, struct arena *a, char **why);
/* The name of the upstream of h, in room. */
struct str handler_upstream(const struct weir_proxy *h, char room[32]);
/* The route_handler of C functions and of proxies with a transport of their own; arg: handler. */
enum hook embed_call(struct exchange *x, void *arg);
/* The slot of x, whose route is the library's. */
struct embed_slot *embed_slot_of(struct exchange *x);
/* A callback answers WEIR_WAIT. False: for what? Nothing would call it again, neither a ticket (one
 * stays out until the turn after its callback), nor more of the body, nor memory. */
bool embed_wait(struct exchange *x);
/* The callback is not to be called yet, whatever woke x: the ticket that it waits for is out. Else
 * what was waited for before is forgotten: a ticket that it takes and does not wait for holds up
 * nothing. */
bool embed_waits(struct exchange *x);

/* q can stand behind the '?' of a target as it is. */
bool embed_query_valid(struct str q);

/* ms above 0 in microseconds; what is longer than anybody waits does not wrap around. */
static inline usec_t embed_usec(long ms)
{
    usec_t most = USEC_NEVER / 4 / USEC_PER_MS;
    return ((usec_t) ms < most ? (usec_t) ms : most) * USEC_PER_MS;
}
/* Views across the border. */
static inline weir_str weir_of(struct str s)
{
    return (weir_str){s.p, s.n};
}
/* See weir_of. */
static inline struct str str_from(weir_str s)
{
    return (struct str){s.p, s.n};
}
/* Heads and exchanges are the engine's own, under opaque names. */
static inline const weir_head *head_out(const struct head *h)
{
    return (const weir_head *) (const void *) h;
}
/* See head_out. */
static inline struct head *head_in(weir_head *h)
{
    return (struct head *) (void *) h;
}
/* See head_out. */
static inline const struct head *head_const(const weir_head *h)
{
    return (const struct head *) (const void *) h;
}
/* See head_out. */
static inline struct exchange *exchange_in(weir_exchange *x)
{
    return (struct exchange *) (void *) x;
}
/* See head_out. */
static inline weir_exchange *exchange_out(struct exchange *x)
{
    return (weir_exchange *) (void *) x;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* upstream: a named group of endpoints, how to choose among them and how to pool links.
 * struct upstream is part of a snapshot: built on the main thread, then immutable but for
 * the balancer's own state; counted. What outlives a configuration (endpoint state) is in
 * struct endpoint, found by name. Knows no client and no HTTP message. */
#ifndef WEIR_UPSTREAM_UPSTREAM_H
#define WEIR_UPSTREAM_UPSTREAM_H

#include <stdatomic.h>

#include "base/schema.h"
#include "net/tls_conf.h"
#include "upstream/balance.h"
#include "upstream/endpoint.h"
#include "upstream/health_conf.h"
#include "upstream/run.h"

/* How an idle link is tested before it is lent. */
enum pool_probe {
    PROBE_NONE, /* rely on the readable/closed events (and the rules of link.h) */
    PROBE_PEEK, /* one recv(MSG_PEEK) before each loan */
    PROBE_HEAD, /* a HEAD request after idling for probe_after, sent ahead of need */
};

#define POOL_FIELDS 12

/* What is spoken to the endpoints. */
enum upstream_protocol {
    PROTOCOL_AUTO, /* what ALPN agrees upon over TLS, else HTTP/1.1 */
    PROTOCOL_H1,
    PROTOCOL_H2, /* ALPN h2 over TLS, else prior knowledge (RFC 9113 3.3) */
};

/* upstreams.NAME.http2 */
struct upstream_http2_conf {
    int64_t max_streams;  /* default 100 */
    usec_t ping_interval; /* PING after that long without a byte while requests are open; 0: off */
    usec_t ping_timeout;  /* without an answer after that: dead; default 10 s */
};

/* upstreams.NAME.pool and endpoints[].pool (which says what differs); schema in upstream_conf.c. */
struct pool_conf {
    int64_t max_idle;        /* idle links kept an endpoint, all workers together; default 100 */
    int64_t min_idle;        /* kept warm ahead of traffic; default 0 */
    int64_t max_connections; /* open links an endpoint, exact over all workers; 0: no limit */
    int64_t max_waiting;     /* requests that may wait for a link; default 1024 */
    usec_t idle_timeout;     /* default 30 s */
    usec_t max_lifetime;     /* default 1 h; 0: none */
    int64_t max_requests;    /* on one link; 0: no limit */
    usec_t connect_timeout;  /* default 5 s */
    bool keepalive;          /* false: one request a link; default true */
    int probe;               /* enum pool_probe */
    struct str probe_path;   /* for PROBE_HEAD, default "/" */
    usec_t probe_after;      /* idle time before PROBE_HEAD probes, default 10 s */
    bool given[POOL_FIELDS]; /* by row of pool_schema: said in the text */
    /* Of the whole upstream, not of pool_schema. */
    int protocol;         /* enum upstream_protocol */
    int64_t max_streams;  /* requests at a time on one HTTP/2 connection, at least 1 */
    usec_t ping_interval; /* see struct upstream_http2_conf */
    usec_t ping_timeout;
};

/* upstreams.NAME.endpoints[] */
struct endpoint_conf {
    struct str address;    /* host:port, [v6]:port, unix:/path */
    double weight;         /* 0..100, default 1; 0: no new requests */
    int64_t level;         /* 0: primary, 1..9: backups in their order */
    struct str zone;       /* where it runs; empty: everywhere */
    int64_t max_active;    /* requests in progress; 0: no limit */
    int64_t max_pending;   /* requests that belong to it and may wait for it alone */
    struct pool_conf pool; /* what is given here goes before the upstream's */
    struct schema_pos pos;
};

/* What each connection to an endpoint begins with: the PROXY protocol's version. */
enum proxy_out { PROXY_OUT_OFF, PROXY_OUT_V1, PROXY_OUT_V2 };

/* upstreams.NAME */
struct upstream_conf {
    struct schema_list endpoints; /* struct endpoint_conf */
    int64_t max_active;           /* requests in progress; 0: no limit */
    int64_t max_pending;          /* requests that may wait for their turn; default 1024 */
    struct pool_conf pool;
    struct balance_conf balance;
    struct ejection_conf ejection;
    struct breaker_conf breaker;
    bool breaker_given; /* else there is none */
    struct health_conf health;
    bool health_given;                     /* else there are no checks */
    const struct balance_ops *balance_ops; /* from C only, in place of balance */
    void *balance_arg;                     /* for its create: upstream.balance_arg */
    struct tls_client_conf tls;
    bool tls_given;
    struct tls_client *tls_client; /* of tls, made by whoever builds the upstream; NULL: none */
    struct str host;               /* Host sent when the route rewrites it; empty: the endpoint's */
    int proxy_protocol;            /* enum proxy_out */
    int protocol;                  /* enum upstream_protocol */
    struct upstream_http2_conf http2;
    struct schema_pos pos;
};

extern const struct schema_table pool_schema, endpoint_schema, upstream_schema,
    upstream_http2_schema;

struct upstream {
    struct str name;
    bool plain_name;             /* the log may say the name as it is: json_plain */
    _Atomic uint32_t refs;       /* snapshots and tunnels; touched at reloads and by tunnels only */
    uint64_t content;            /* stable hash of the configuration: equal means shareable */
    struct endpoint **endpoints; /* one reference each */
    uint32_t n_endpoints;
    const struct balance_ops *balance;
    struct ejection_conf ejection;
    struct breaker_conf breaker; /* its statuses are owned */
    bool limited;                /* max_active of the upstream or of an endpoint is set */
    bool endpoints_limited;      /* of an endpoint */
    bool balancer_alone; /* of limits, cookie, key, breaker and counts it has none: balance says
                            whom a first attempt asks, and that is all */
    bool checked;
    struct health_conf health; /* its texts and statuses are owned */
    void *health_room;
    struct balance_conf balance_conf; /* its strings are owned */
    enum hash_key key;                /* of balance_conf.on, where the policy wants one */
    bool marks_answers;               /* balance.sticky or balance.weight_header is set */
    struct str key_name;              /* of the header, cookie or parameter */
    struct endpoint **by_id;          /* endpoints by their id; NULL without balance.sticky */
    uint32_t *given_weights;          /* thousandths, by endpoint, as configured */
    uint8_t *levels;                  /* by endpoint, see weigh.h; NULL: all are primary */
    struct upstream_run *run;         /* of the name */
    struct list_node node;            /* in run->upstreams */
    void *balance_state;
    void *balance_arg; /* of the configuration */
    struct str host;
    uint8_t proxy_protocol; /* enum proxy_out */
    uint8_t protocol;       /* enum upstream_protocol */
    struct upstream_registry *registry;
    uint32_t index; /* dense number of the name, for per-worker figures: kept over reloads; reused
                     * when the last upstream of the name is gone */
};

/* Endpoint and figure objects that outlive configurations, by name. One a process (or a library
 * instance). Any thread: it hides its lock. */
struct upstream_registry;
struct resolver;

/* An empty registry for n_workers workers (figures and pools are indexed by worker). */
struct upstream_registry *upstream_registry_new(unsigned n_workers);
/* Frees; no upstream may be left. */
void upstream_registry_free(struct upstream_registry *r);
/* Builds an upstream with one reference; endpoints of the same upstream name and address are taken
 * from the registry with their state. Never fails for unresolved names. */
struct upstream *upstream_new(struct upstream_registry *r, struct str name,
                              const struct upstream_conf *conf);
/* The configuration asks for TLS. */
static inline bool upstream_speaks_tls(const struct upstream_conf *conf)
{
    return conf->tls_given && conf->tls.enabled;
}
/* The content number that an upstream of that name and configuration would have. */
uint64_t upstream_content(struct str name, const struct upstream_conf *conf);
/* One more reference; any thread. */
struct upstream *upstream_ref(struct upstream *u);
/* One less; the last frees (endpoints no longer named retire: idle links are closed by their
 * pools). Any thread. */
void upstream_unref(struct upstream *u);
/* Sets the weights of the named endpoints at once: no pick sees half of them; unknown addresses are
 * skipped. For balancers that keep none of their own. Any thread. */
void upstream_set_weights(struct upstream *u, const struct endpoint_weight *w, uint32_t n);
/* Attempts in progress at u's endpoints, those of other configurations of its name included. */
static inline uint64_t upstream_active(const struct upstream *u)
{
    return run_active(u->run);
}
/* The endpoint of that id; NULL: none, or u has no sticky cookie. */
struct endpoint *upstream_by_id(const struct upstream *u, uint64_t id);
/* The breaker of u that requests of that route meet before an endpoint is chosen, alive as long as
 * u; NULL: none. Main thread, when routes are made. */
struct breaker *upstream_breaker(struct upstream *u, struct str route);
/* Holds the breakers of an upstream (those of its endpoints or routes, if they have them) open or
 * closed, or lets them go; false: there is no such upstream, or it has none. Any thread. */
bool upstream_breaker_hold(struct upstream_registry *r, struct str upstream,
                           enum breaker_force force);
/* Calls fn for each endpoint with a reference held meanwhile, retired ones too (e->retired):
 * metrics, health. Any thread; fn may call anything. */
void upstream_registry_each(struct upstream_registry *r, void (*fn)(void *arg, struct endpoint *e),
                            void *arg);
/* Watches the names of new endpoints with resolver and ends the watches of those that retired: call
 * it on the resolver's loop after each load. resolver NULL ends every watch (before resolver_free
 * and upstream_registry_free). */
void upstream_registry_resolve(struct upstream_registry *r, struct resolver *resolver);
/* Main thread, about once a second: shares of weight (slow start, feedback, what endpoints report),
 * panic. */
void upstream_registry_tick(struct upstream_registry *r, usec_t now);
/* As given to upstream_registry_new. */
unsigned upstream_registry_workers(const struct upstream_registry *r);
/* An endpoint's settings where given, else its upstream's; strings are borrowed. */
struct pool_conf pool_conf_merge(const struct pool_conf *upstream,
                                 const struct pool_conf *endpoint);

#endif

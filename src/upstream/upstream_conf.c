/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of upstreams, their endpoints and pools. */
#include "base/mem.h"
#include "http/url.h"
#include "net/addr.h"
#include "upstream/upstream.h"

#define HOUR ((int64_t) (3600 * USEC_PER_SEC))
#define DAY (24 * HOUR)

static const char *const probe_choices[] = {"none", "peek", "head", NULL};
static const char *const protocol_choices[] = {"auto", "h1", "h2", NULL};
static const char *const proxy_out_choices[] = {"off", "v1", "v2", NULL};

/* One row of pool_schema: what every row has in common. */
#define POOL_ROW(index, field)                                                                     \
    .offset = offsetof(struct pool_conf, field),                                                   \
    .given = offsetof(struct pool_conf, given) + (index), .reloadable = true, .since = "0.1"

static const struct schema_field pool_rows[] = {
    {.name = "max_idle",
     .type = SCHEMA_INT,
     POOL_ROW(0, max_idle),
     .def = "100",
     .max = 1000000,
     .doc = "Idle connections kept to one endpoint, all workers together. With more requests in "
            "progress than that, connections are closed and opened all the time: raise it when "
            "weir_upstream_connections_evicted_total{reason=\"surplus\"} grows.",
     .example = "100"},
    {.name = "min_idle",
     .type = SCHEMA_INT,
     POOL_ROW(1, min_idle),
     .def = "0",
     .max = 1000000,
     .doc = "Idle connections opened ahead of traffic and kept warm, to one endpoint, all workers "
            "together.",
     .example = "4"},
    {.name = "max_connections",
     .type = SCHEMA_INT,
     POOL_ROW(2, max_connections),
     .def = "0",
     .max = 1000000,
     .doc = "Connections open to one endpoint at a time, exact over all workers; further requests "
            "wait in one queue; 0: no limit.",
     .example = "200"},
    {.name = "max_waiting",
     .type = SCHEMA_INT,
     POOL_ROW(3, max_waiting),
     .def = "1024",
     .max = 1000000,
     .doc = "Requests that may wait for a connection at the limit; one more is answered 503 "
            "pool_full.",
     .example = "1024"},
    {.name = "idle_timeout",
     .type = SCHEMA_DURATION,
     POOL_ROW(4, idle_timeout),
     .def = "30s",
     .max = DAY,
     .unit = "duration",
     .doc = "An idle connection is closed after this time; keep it below the endpoint's own idle "
            "timeout; off: never.",
     .example = "30s"},
    {.name = "max_lifetime",
     .type = SCHEMA_DURATION,
     POOL_ROW(5, max_lifetime),
     .def = "1h",
     .max = 30 * DAY,
     .unit = "duration",
     .doc = "A connection of this age is closed instead of being used again, and one that min_idle "
            "keeps warm is replaced; off: any age.",
     .example = "1h"},
    {.name = "max_requests",
     .type = SCHEMA_INT,
     POOL_ROW(6, max_requests),
     .def = "0",
     .max = 1000000000,
     .doc = "Requests sent on one connection before it is closed; 0: no limit.",
     .example = "1000"},
    {.name = "connect_timeout",
     .type = SCHEMA_DURATION,
     POOL_ROW(7, connect_timeout),
     .def = "5s",
     .min = 1000,
     .max = HOUR,
     .unit = "duration",
     .doc = "Time for a connection to be made, all addresses of the endpoint together; also the "
            "longest wait for a name's first resolution.",
     .example = "2s"},
    {.name = "keepalive",
     .type = SCHEMA_BOOL,
     POOL_ROW(8, keepalive),
     .def = "true",
     .doc = "Use connections for more than one request.",
     .example = "true"},
    {.name = "probe",
     .type = SCHEMA_ENUM,
     POOL_ROW(9, probe),
     .def = "none",
     .choices = probe_choices,
     .doc = "How an idle connection is tested: none (events alone), peek (one look at the socket "
            "before each use) or head (a HEAD request after idling for probe_after).",
     .example = "peek"},
    {.name = "probe_path",
     .type = SCHEMA_STRING,
     POOL_ROW(10, probe_path),
     .def = "/",
     .doc = "Path that probe: head asks for.",
     .example = "/healthz"},
    {.name = "probe_after",
     .type = SCHEMA_DURATION,
     POOL_ROW(11, probe_after),
     .def = "10s",
     .min = 100000,
     .max = DAY,
     .unit = "duration",
     .doc = "Idle time after which probe: head tests a connection, and again each such time.",
     .example = "10s"},
};
_Static_assert(SCHEMA_COUNT(pool_rows) == POOL_FIELDS, "one given flag a row");

const struct schema_table pool_schema = {
    .name = "pool",
    .doc = "How connections to an endpoint are kept; an endpoint's own pool says only what differs "
           "from its upstream's.",
    .size = sizeof(struct pool_conf),
    .fields = pool_rows,
    .n_fields = SCHEMA_COUNT(pool_rows),
};

static const struct schema_field endpoint_rows[] = {
    {.name = "address",
     .type = SCHEMA_ADDRESS,
     .offset = offsetof(struct endpoint_conf, address),
     .required = true,
     .reloadable = true,
     .since = "0.1",
     .doc = "Where it listens: host:port, [v6]:port or unix:/path. A name is resolved again at its "
            "TTL, and connections to an address that it has lost carry no more requests.",
     .example = "127.0.0.1:9000"},
    {.name = "weight",
     .type = SCHEMA_FLOAT,
     .offset = offsetof(struct endpoint_conf, weight),
     .def = "1",
     .max = 100,
     .reloadable = true,
     .since = "0.1",
     .doc = "Its share of the requests relative to the other endpoints; 0: no new requests.",
     .example = "2"},
    {.name = "level",
     .type = SCHEMA_INT,
     .offset = offsetof(struct endpoint_conf, level),
     .def = "0",
     .max = 9,
     .reloadable = true,
     .since = "0.1",
     .doc = "0: primary; 1 to 9: backups, which get requests as the levels before them have too "
            "few usable endpoints (72 % of a level carry all of its requests).",
     .example = "1"},
    {.name = "zone",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct endpoint_conf, zone),
     .def = "",
     .reloadable = true,
     .since = "0.1",
     .doc = "Where it runs: endpoints of the zone that balance.zone names go before others of "
            "their level; empty: it counts as near.",
     .example = "eu-1a"},
    {.name = "max_active",
     .type = SCHEMA_INT,
     .offset = offsetof(struct endpoint_conf, max_active),
     .def = "0",
     .max = 1000000,
     .reloadable = true,
     .since = "0.2",
     .doc = "Requests in progress at this endpoint, exact over all workers; when it is full "
            "another one is asked, and requests wait when all are; 0: no limit.",
     .example = "50"},
    {.name = "max_pending",
     .type = SCHEMA_INT,
     .offset = offsetof(struct endpoint_conf, max_pending),
     .def = "0",
     .max = 1000000,
     .reloadable = true,
     .since = "0.2",
     .doc = "Requests that belong to this endpoint (by balance.sticky or a hash) and may wait for "
            "it alone when it is full; one more goes to another endpoint.",
     .example = "10"},
    {.name = "pool",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct endpoint_conf, pool),
     .sub = &pool_schema,
     .reloadable = true,
     .since = "0.1",
     .doc = "Connection settings of this endpoint, where they differ from the upstream's.",
     .example = "{max_connections: 20}"},
};

const struct schema_table endpoint_schema = {
    .name = "endpoint",
    .doc = "One address of an upstream.",
    .size = sizeof(struct endpoint_conf),
    .fields = endpoint_rows,
    .n_fields = SCHEMA_COUNT(endpoint_rows),
    .pos = offsetof(struct endpoint_conf, pos),
    .short_form = "address",
};

static const struct schema_field http2_rows[] = {
    {.name = "max_streams",
     .type = SCHEMA_INT,
     .offset = offsetof(struct upstream_http2_conf, max_streams),
     .def = "100",
     .min = 1,
     .max = 10000,
     .reloadable = true,
     .since = "0.2",
     .doc = "Requests at a time on one connection, also where the endpoint would allow more; "
            "further ones open another connection.",
     .example = "100"},
    {.name = "ping_interval",
     .type = SCHEMA_DURATION,
     .offset = offsetof(struct upstream_http2_conf, ping_interval),
     .def = "off",
     .max = DAY,
     .unit = "duration",
     .reloadable = true,
     .since = "0.2",
     .doc =
         "While requests are open, a PING asks an endpoint that was silent for this long whether "
         "it is still there; off: only after a request has timed out. gRPC servers may refuse "
         "more than one in five minutes.",
     .example = "5m"},
    {.name = "ping_timeout",
     .type = SCHEMA_DURATION,
     .offset = offsetof(struct upstream_http2_conf, ping_timeout),
     .def = "10s",
     .min = 1000,
     .max = HOUR,
     .unit = "duration",
     .reloadable = true,
     .since = "0.2",
     .doc = "A connection on which nothing came for this long after a PING is dead: its requests "
            "fail, and it is not used again.",
     .example = "10s"},
};

const struct schema_table upstream_http2_schema = {
    .name = "upstream_http2",
    .doc = "How HTTP/2 is spoken to the endpoints.",
    .size = sizeof(struct upstream_http2_conf),
    .fields = http2_rows,
    .n_fields = SCHEMA_COUNT(http2_rows),
};

static const struct schema_field upstream_rows[] = {
    {.name = "endpoints",
     .type = SCHEMA_LIST,
     .offset = offsetof(struct upstream_conf, endpoints),
     .min = 1,
     .max = 100000,
     .sub = &endpoint_schema,
     .required = true,
     .reloadable = true,
     .since = "0.1",
     .doc = "The addresses that share the requests.",
     .example = "[{address: 127.0.0.1:9000}]"},
    {.name = "max_active",
     .type = SCHEMA_INT,
     .offset = offsetof(struct upstream_conf, max_active),
     .def = "0",
     .max = 1000000,
     .reloadable = true,
     .since = "0.2",
     .doc = "Requests in progress at the upstream, exact over all workers, also where many share "
            "a connection; further ones wait in one queue, no longer than timeouts.pool_wait; 0: "
            "no limit.",
     .example = "200"},
    {.name = "max_pending",
     .type = SCHEMA_INT,
     .offset = offsetof(struct upstream_conf, max_pending),
     .def = "1024",
     .max = 1000000,
     .reloadable = true,
     .since = "0.2",
     .doc = "Requests that may wait for their turn at max_active, the upstream's or its "
            "endpoints'; one more is answered 503 queue_full at once.",
     .example = "100"},
    {.name = "balance",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct upstream_conf, balance),
     .sub = &balance_schema,
     .reloadable = true,
     .since = "0.1",
     .doc = "How an endpoint is chosen for a request.",
     .example = "least_active"},
    {.name = "ejection",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct upstream_conf, ejection),
     .sub = &ejection_schema,
     .reloadable = true,
     .since = "0.1",
     .doc = "Leaves out endpoints whose answers fail.",
     .example = "{consecutive: 3}"},
    {.name = "health",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct upstream_conf, health),
     .given = offsetof(struct upstream_conf, health_given),
     .sub = &health_schema,
     .reloadable = true,
     .since = "0.1",
     .doc = "Checks of each endpoint, once for the whole process; without the key there are none.",
     .example = "{path: /healthz, interval: 5s}"},
    {.name = "breaker",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct upstream_conf, breaker),
     .given = offsetof(struct upstream_conf, breaker_given),
     .sub = &breaker_schema,
     .reloadable = true,
     .since = "0.1",
     .doc = "Answers at once when too many calls fail.",
     .example = "{failure_rate: 30, open: 10s}"},
    {.name = "pool",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct upstream_conf, pool),
     .sub = &pool_schema,
     .reloadable = true,
     .since = "0.1",
     .doc = "Connection settings of each endpoint.",
     .example = "{max_idle: 100, idle_timeout: 30s}"},
    {.name = "tls",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct upstream_conf, tls),
     .given = offsetof(struct upstream_conf, tls_given),
     .sub = &tls_client_schema,
     .reloadable = true,
     .since = "0.2",
     .doc = "Speak TLS to the endpoints, and verify them.",
     .example = "{ca: /etc/weir/internal-ca.pem}"},
    {.name = "host",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct upstream_conf, host),
     .def = "",
     .reloadable = true,
     .since = "0.1",
     .doc = "Host sent to the upstream by routes that rewrite it; empty: the endpoint's address.",
     .example = "origin.internal"},
    {.name = "proxy_protocol",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct upstream_conf, proxy_protocol),
     .def = "off",
     .choices = proxy_out_choices,
     .reloadable = true,
     .since = "0.1",
     .doc = "Each connection to an endpoint begins with a PROXY protocol header of this version, "
            "which tells the client's address; it is then used for that client connection alone.",
     .example = "v2"},
    {.name = "protocol",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct upstream_conf, protocol),
     .def = "auto",
     .choices = protocol_choices,
     .reloadable = true,
     .since = "0.2",
     .doc = "What is spoken to the endpoints: auto (over TLS HTTP/2 where the endpoint offers it, "
            "else HTTP/1.1), h1, or h2 (without TLS: with prior knowledge; gRPC needs it).",
     .example = "h2"},
    {.name = "http2",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct upstream_conf, http2),
     .sub = &upstream_http2_schema,
     .reloadable = true,
     .since = "0.2",
     .doc = "HTTP/2 to the endpoints.",
     .example = "{max_streams: 100}"},
};

/* ---- cross-checks -------------------------------------------------------------------------- */

struct pool_conf pool_conf_merge(const struct pool_conf *upstream, const struct pool_conf *endpoint)
{
    struct pool_conf out = *upstream;
    const bool *given = endpoint->given;
    if (given[0])
        out.max_idle = endpoint->max_idle;
    if (given[1])
        out.min_idle = endpoint->min_idle;
    if (given[2])
        out.max_connections = endpoint->max_connections;
    if (given[3])
        out.max_waiting = endpoint->max_waiting;
    if (given[4])
        out.idle_timeout = endpoint->idle_timeout;
    if (given[5])
        out.max_lifetime = endpoint->max_lifetime;
    if (given[6])
        out.max_requests = endpoint->max_requests;
    if (given[7])
        out.connect_timeout = endpoint->connect_timeout;
    if (given[8])
        out.keepalive = endpoint->keepalive;
    if (given[9])
        out.probe = endpoint->probe;
    if (given[10])
        out.probe_path = endpoint->probe_path;
    if (given[11])
        out.probe_after = endpoint->probe_after;
    return out;
}

/* A path that can stand in a request line as it is. */
static bool path_plain(struct str path)
{
    if (path.n == 0 || path.p[0] != '/')
        return false;
    for (size_t i = 0; i < path.n; i++) {
        if ((unsigned char) path.p[i] <= ' ' || (unsigned char) path.p[i] >= 0x7f)
            return false;
    }
    return true;
}

/* What is wrong with the settings taken together, or NULL. */
static const char *pool_wrong(const struct pool_conf *p, const struct upstream_conf *u)
{
    if (p->min_idle > p->max_idle)
        return "pool: min_idle is above max_idle: connections would be opened and closed in turn; "
               "raise max_idle";
    if (p->max_connections && p->min_idle > p->max_connections)
        return "pool: min_idle is above max_connections; lower min_idle";
    if (!p->keepalive && p->min_idle > 0)
        return "pool: min_idle needs keepalive: true";
    if (u->proxy_protocol != PROXY_OUT_OFF && p->min_idle > 0)
        return "pool: min_idle is of no use with proxy_protocol: each connection is opened for one "
               "client; leave min_idle out";
    if (!path_plain(p->probe_path))
        return "pool: probe_path must begin with / and hold no space or control byte";
    return NULL;
}

static bool address_repeated(const struct endpoint_conf *e, size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (str_eq(e[i].address, e[at].address))
            return true;
    }
    return false;
}

/* What can be listened on but not connected to; a text that is no address was said already. */
static const char *address_wrong(struct str address)
{
    struct addr_text t;
    const char *why;
    if (!addr_split(address, 0, &t, &why) || t.form == ADDR_UNIX)
        return NULL;
    if (t.host.n == 0)
        return "has no host; 127.0.0.1 is this machine";
    return t.port == 0 ? "has port 0, which nothing listens on" : NULL;
}

/* What no request could have as its Host. */
static bool host_wrong(struct str host)
{
    struct arena a;
    struct head h = {0};
    arena_init(&a, NULL, SIZE_MAX);
    bool wrong = host.n && authority_parse(host, &a, &h) != FAULT_OK;
    arena_fini(&a);
    return wrong;
}

/* TLS would have no name to look for in the certificate. */
static bool nameless(const struct upstream_conf *u, const struct endpoint_conf *e)
{
    return upstream_speaks_tls(u) && u->tls.verify == TLS_VERIFY_FULL && u->tls.sni.n == 0 &&
           str_starts(e->address, STR("unix:"));
}

/* Checks of gRPC need HTTP/2, which clear text has by prior knowledge only. */
static const char *health_wrong(const struct upstream_conf *u)
{
    if (!u->health_given || u->health.type != HEALTH_GRPC || u->protocol == PROTOCOL_H2)
        return NULL;
    if (u->protocol == PROTOCOL_H1 || !upstream_speaks_tls(u))
        return "health: type grpc needs HTTP/2; say protocol: h2";
    return NULL;
}

static void upstream_check(const void *object,
                           void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct upstream_conf *u = object;
    const struct endpoint_conf *e = u->endpoints.items;
    const char *wrong = pool_wrong(&u->pool, u);
    if (wrong)
        say(arg, "pool", wrong);
    if (health_wrong(u))
        say(arg, "health", health_wrong(u));
    if (host_wrong(u->host))
        say(arg, "host", "host is neither a host name nor name:port");
    for (size_t i = 0; i < u->endpoints.n; i++) {
        struct pool_conf pool = pool_conf_merge(&u->pool, &e[i].pool);
        const char *why = pool_wrong(&pool, u), *address = address_wrong(e[i].address);
        char *text = NULL;
        if (address)
            text = mem_printf("endpoint %.*s %s", STR_ARG(e[i].address), address);
        else if (!wrong && why)
            text = mem_printf("endpoint %.*s: %s", STR_ARG(e[i].address), why);
        else if (nameless(u, &e[i]))
            text = mem_printf("endpoint %.*s has no host to verify; give tls.sni",
                              STR_ARG(e[i].address));
        else if (i < 1000 && address_repeated(e, i))
            text = mem_printf("endpoint %.*s is given twice; give it a weight instead",
                              STR_ARG(e[i].address));
        if (text)
            say(arg, "endpoints", text);
        mem_free(text);
    }
}

const struct schema_table upstream_schema = {
    .name = "upstream",
    .doc = "A named group of endpoints that serve the same requests.",
    .size = sizeof(struct upstream_conf),
    .fields = upstream_rows,
    .n_fields = SCHEMA_COUNT(upstream_rows),
    .pos = offsetof(struct upstream_conf, pos),
    .check = upstream_check,
    .short_form = "endpoints",
};

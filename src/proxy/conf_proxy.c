/* SPDX-License-Identifier: Apache-2.0 */
/* conf_proxy.c: the rows of listeners and of the whole configuration of the engine. Constant. */
#include "proxy/conf.h"
#include "upstream/upstream.h"

static const char *const listener_modes[] = {"http", "passthrough", NULL};
static const char *const proxy_protocol_modes[] = {"off", "require", NULL};

static const struct schema_field proxy_protocol_rows[] = {
    {.name = "mode",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct proxy_protocol_conf, mode),
     .def = "off",
     .choices = proxy_protocol_modes,
     .reloadable = true,
     .since = "0.1",
     .doc =
         "require: each connection begins with a PROXY protocol header (version 1 or 2), else it "
         "is closed; what that header says is the peer from then on. Nothing is guessed.",
     .example = "require"},
    {.name = "from",
     .type = SCHEMA_LIST,
     .offset = offsetof(struct proxy_protocol_conf, from),
     .item = SCHEMA_STRING,
     .max = 10000,
     .reloadable = true,
     .since = "0.1",
     .doc = "Networks (or unix) of which the header is required; others speak for themselves. "
            "Without it: of all.",
     .example = "[10.0.0.0/8]"},
    {.name = "timeout",
     .type = SCHEMA_DURATION,
     .offset = offsetof(struct proxy_protocol_conf, timeout),
     .def = "5s",
     .min = 1000,
     .max = INT64_C(3600) * 1000000,
     .reloadable = true,
     .unit = "duration",
     .since = "0.1",
     .doc = "The header must have arrived whole so long after the connection was accepted.",
     .example = "5s"},
};

static void proxy_protocol_check(const void *object,
                                 void (*say)(void *arg, const char *field, const char *text),
                                 void *arg)
{
    const struct proxy_protocol_conf *c = object;
    if (c->from.n && c->mode == PROXY_PROTOCOL_OFF)
        say(arg, "from", "from has no effect while mode is off; add mode: require");
}

const struct schema_table proxy_protocol_schema = {
    .name = "listener.proxy_protocol",
    .doc = "Whether a balancer in front says whose connection each one is.",
    .size = sizeof(struct proxy_protocol_conf),
    .fields = proxy_protocol_rows,
    .n_fields = SCHEMA_COUNT(proxy_protocol_rows),
    .pos = offsetof(struct proxy_protocol_conf, pos),
    .check = proxy_protocol_check,
    .short_form = "mode",
};

static const struct schema_field http2_rows[] = {
    {.name = "max_streams",
     .type = SCHEMA_INT,
     .offset = offsetof(struct http2_conf, max_streams),
     .def = "100",
     .min = 1,
     .max = 10000,
     .reloadable = true,
     .since = "0.2",
     .doc = "Requests at a time on one connection; more are refused with REFUSED_STREAM.",
     .example = "250"},
};

const struct schema_table http2_schema = {
    .name = "listener.http2",
    .doc = "Limits of a listener's HTTP/2 connections.",
    .size = sizeof(struct http2_conf),
    .fields = http2_rows,
    .n_fields = SCHEMA_COUNT(http2_rows),
};

static const struct schema_field listener_rows[] = {
    {.name = "name",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct listener_conf, name),
     .reloadable = true,
     .since = "0.1",
     .doc = "Name in logs and metrics; without one the address is.",
     .example = "public"},
    {.name = "address",
     .type = SCHEMA_ADDRESS,
     .offset = offsetof(struct listener_conf, address),
     .required = true,
     .reloadable = true,
     .since = "0.1",
     .doc = "Where to listen: host:port with an IP address, [::]:port, :port for every address, or "
            "unix:/path.",
     .example = "127.0.0.1:8080"},
    {.name = "backlog",
     .type = SCHEMA_INT,
     .offset = offsetof(struct listener_conf, backlog),
     .def = "4096",
     .min = 1,
     .max = 1000000,
     .since = "0.1",
     .doc = "Connections that the kernel keeps waiting to be accepted.",
     .example = "4096"},
    {.name = "max_connections",
     .type = SCHEMA_INT,
     .offset = offsetof(struct listener_conf, max_connections),
     .def = "0",
     .min = 0,
     .max = 10000000,
     .reloadable = true,
     .since = "0.1",
     .doc = "Client connections at a time, exact over all workers; 0: no limit.",
     .example = "10000"},
    {.name = "mode",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct listener_conf, mode),
     .def = "http",
     .choices = listener_modes,
     .reloadable = true,
     .since = "0.1",
     .doc = "passthrough: TLS connections go to the upstream of the passthrough route that takes "
            "the name they ask for, untouched; others are refused.",
     .example = "passthrough"},
    {.name = "proxy_protocol",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct listener_conf, proxy_protocol),
     .sub = &proxy_protocol_schema,
     .reloadable = true,
     .since = "0.1",
     .doc = "Whether a balancer in front says whose connection each one is (PROXY protocol).",
     .example = "{mode: require, from: [10.0.0.0/8]}"},
    {.name = "h2c",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct listener_conf, h2c),
     .def = "false",
     .reloadable = true,
     .since = "0.2",
     .doc = "Serve HTTP/2 without TLS to clients that begin with its preface (prior knowledge); "
            "Upgrade: h2c is never honoured.",
     .example = "true"},
    {.name = "http2",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct listener_conf, http2),
     .sub = &http2_schema,
     .reloadable = true,
     .since = "0.2",
     .doc = "Limits of HTTP/2 connections.",
     .example = "{max_streams: 250}"},
    {.name = "tls",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct listener_conf, tls),
     .given = offsetof(struct listener_conf, tls_given),
     .sub = &tls_server_schema,
     .reloadable = true,
     .since = "0.2",
     .doc = "Serve HTTPS here, with these certificates.",
     .example = "{certificates: [{cert: /etc/weir/site.pem, key: /etc/weir/site.key}]}"},
    {.name = "redirect_https",
     .type = SCHEMA_INT,
     .offset = offsetof(struct listener_conf, redirect_https),
     .def = "0",
     .min = 0,
     .max = 65535,
     .reloadable = true,
     .since = "0.2",
     .doc = "Answer every request with 308 to the same URL by https on that port, but for those "
            "below /.well-known/acme-challenge/ (ACME http-01), which go by the routes; 0: none.",
     .example = "443"},
};

static void listener_check(const void *object,
                           void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct listener_conf *c = object;
    if (c->h2c && c->tls_given)
        say(arg, "h2c",
            "h2c is for listeners without tls: over TLS clients choose HTTP/2 by ALPN; remove it");
}

const struct schema_table listener_schema = {
    .name = "listener",
    .doc = "An address on which clients are served.",
    .size = sizeof(struct listener_conf),
    .fields = listener_rows,
    .n_fields = SCHEMA_COUNT(listener_rows),
    .pos = offsetof(struct listener_conf, pos),
    .check = listener_check,
    .short_form = "address",
};

#define PROXY(member, of_type)                                                                     \
    .name = #member, .type = of_type, .offset = offsetof(struct proxy_conf, member), .since = "0.1"

static const struct schema_field proxy_rows[] = {
    {PROXY(workers, SCHEMA_INT), .def = "0", .min = 0, .max = 1024,
     .doc = "Worker threads; 0: one a core.", .example = "4"},
    {PROXY(memory_limit, SCHEMA_SIZE), .def = "0",
     .doc = "What traffic may hold at most, all workers together; 0: half of what the cgroup or "
            "the machine has.",
     .unit = "bytes", .example = "512MiB"},
    {PROXY(drain, SCHEMA_DURATION), .def = "30s", .max = INT64_C(7 * 86400) * 1000000,
     .reloadable = true, .unit = "duration",
     .doc = "How long a graceful stop waits for exchanges to finish; off: it does not wait.",
     .example = "30s"},
    {PROXY(upgrade_drain, SCHEMA_DURATION), .max = INT64_C(7 * 86400) * 1000000,
     .given = offsetof(struct proxy_conf, upgrade_drain_given), .reloadable = true,
     .unit = "duration",
     .doc = "How long the old server goes on with what it has after an upgrade of the program; "
            "without it, as drain.",
     .example = "1h"},
    {PROXY(trusted_proxies, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 10000, .reloadable = true,
     .doc = "Networks of proxies whose forwarding fields are believed; unix: peers on unix "
            "sockets.",
     .example = "[10.0.0.0/8, unix]"},
    {PROXY(listeners, SCHEMA_LIST), .sub = &listener_schema, .max = 1000, .reloadable = true,
     .doc = "Where clients are served; without any: 127.0.0.1:8080.",
     .example = "[{address: 127.0.0.1:8080}]"},
    {PROXY(upstreams, SCHEMA_MAP), .sub = &upstream_schema, .reloadable = true,
     .doc = "The servers behind Weir, by name.",
     .example = "{origin: {endpoints: [127.0.0.1:9000]}}"},
    {PROXY(routes, SCHEMA_LIST), .sub = &route_schema, .reloadable = true,
     .doc = "What is done with which request; without any, everything goes to the one upstream.",
     .example = "[{match: {path: /*}, to: origin}]"},
};

/* Below this hardly any exchange would be let in. */
#define MEMORY_LEAST (UINT64_C(1) << 20)

static void proxy_check(const void *object,
                        void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct proxy_conf *p = object;
    if (p->memory_limit && p->memory_limit < MEMORY_LEAST)
        say(arg, "memory_limit", "memory_limit is too small to serve with; at least 1MiB");
}

const struct schema_table proxy_schema = {
    .name = "proxy",
    .doc = "The engine's configuration.",
    .size = sizeof(struct proxy_conf),
    .fields = proxy_rows,
    .n_fields = SCHEMA_COUNT(proxy_rows),
    .also = &settings_schema,
    .also_offset = offsetof(struct proxy_conf, settings),
    .check = proxy_check,
};

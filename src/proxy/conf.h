/* SPDX-License-Identifier: Apache-2.0 */
/* conf: the settings that the engine reads, as plain structs with their schema tables
 * (proxy/conf_*.c). Filled by control/ from a file or by the library from C; constant once in a
 * snapshot. Strings live as long as the snapshot. Any thread may read. */
#ifndef WEIR_PROXY_CONF_H
#define WEIR_PROXY_CONF_H

#include "base/clock.h"
#include "base/schema.h"
#include "http/h1_parse.h"
#include "proxy/conf_listener.h"
#include "proxy/phase.h"

/* routes[].match */
struct match_conf {
    struct str sni;             /* exact or *.wildcard; empty: any, and none */
    struct schema_list alpn;    /* struct str: the client offers one of them; passthrough only */
    struct str host;            /* exact or *.wildcard; empty: any */
    struct str path;            /* exact "/x" or prefix "/x/" + "*"; empty: any */
    struct str path_regex;      /* PCRE2, anchored at the start; one of path, path_regex */
    struct schema_list methods; /* struct str */
    struct schema_map headers;  /* name -> struct str: exact value, "*" present, "~regex" */
    struct schema_map query;    /* name -> struct str, same forms */
    struct schema_pos pos;
};

/* routes[].rewrite */
struct rewrite_conf {
    struct str
        host; /* Host sent upstream: a name, or "upstream" for the endpoint's; empty: transparent */
    struct str strip_prefix; /* taken off the path's front, at a segment border */
    struct str add_prefix;   /* put before the path after stripping */
    struct str regex;        /* PCRE2 over the path, first match replaced */
    struct str replace;      /* with $1.. groups */
};

/* routes[].redirect */
struct redirect_conf {
    struct str to;  /* URL or path; {scheme} {host} {path} {query} are filled in */
    int64_t status; /* 301, 302, 303, 307, 308; default 308 */
};

/* routes[].reply */
struct reply_conf {
    int64_t status; /* default 200 */
    struct str body;
    struct str content_type;   /* default text/plain; charset=utf-8 */
    struct schema_map headers; /* name -> struct str */
};

enum buffer_strategy { BUFFER_NONE, BUFFER_FIXED, BUFFER_ADAPTIVE };

/* routes[].buffer: the response direction; the request direction uses the same */
struct buffer_conf {
    int strategy; /* enum buffer_strategy, default adaptive */
    /* fixed: ring bytes (high mark; low is half); adaptive: most. In a file 0: 64 KiB or 1 MiB; a
     * snapshot has the number. */
    uint64_t size;
};

/* timeouts, on the top level and on each route; 0: off */
struct timeouts_conf {
    usec_t handshake;     /* 10 s, absolute; top level only */
    usec_t client_head;   /* 10 s, absolute; top level only */
    usec_t client_body;   /* 30 s without a byte */
    usec_t client_send;   /* 60 s without a byte taken */
    usec_t keepalive;     /* 60 s; top level only */
    usec_t pool_wait;     /* 5 s */
    usec_t first_byte;    /* 60 s, from the request's end (or the last byte sent) */
    usec_t response_idle; /* 60 s */
    usec_t upstream_send; /* 60 s */
    usec_t exchange;      /* off */
    usec_t tunnel_idle;   /* 1 h */
    usec_t call_idle;     /* 1 h */
};

/* limits, on the top level and on each route */
struct limits_conf {
    uint64_t head;          /* 32 KiB; top level only */
    uint64_t target;        /* 8 KiB; top level only */
    int64_t fields;         /* 100; top level only */
    uint64_t response_head; /* 64 KiB */
    uint64_t body;          /* 0: no limit */
    int64_t interim;        /* 1xx answers an exchange: 20 */
};

/* min_rate: bytes a second, counted only while bytes wait, after grace; 0: off */
struct min_rate_conf {
    uint64_t request;  /* default 0 ... off */
    uint64_t response; /* default 0 ... off */
    usec_t grace;      /* 10 s */
};

/* Why no further attempt was made though the route allows one. */
enum retry_refused { RETRY_REFUSED_NOT, RETRY_REFUSED_BODY, RETRY_REFUSED_BUDGET, RETRY_REFUSALS };

/* retry, on the top level and on each route */
struct retry_conf {
    bool enabled;
    int64_t tries;                         /* endpoints asked, the first included */
    bool connect, reset, timeout, invalid; /* after what */
    struct schema_list statuses;           /* int64_t */
    bool any_method, idempotency_key;      /* also count as idempotent */
    usec_t per_try;                        /* 0: off */
    usec_t backoff, max_backoff, max_wait;
    int64_t budget;             /* percent of active */
    int64_t budget_least;       /* retries at a time that are always allowed */
    uint64_t buffer;            /* bytes of a request's body */
    struct str deadline_header; /* empty: none */
};

/* What every route has and the top level may say for all: a nested route inherits what it does
 * not set. */
struct settings_conf {
    struct timeouts_conf timeouts;
    struct limits_conf limits;
    struct min_rate_conf min_rate;
    struct buffer_conf buffer;
    int slashes;           /* enum slash_policy: keep */
    int client_half_close; /* 0 abort (default), 1 allow */
    bool allow_connect;    /* false */
    bool via;              /* true: Via on requests */
    struct str via_name;   /* "weir" */
    struct str via_line;   /* no row: "Via: 1.1 weir CRLF", of a snapshot's routes; else empty */
    struct retry_conf retry;
    struct schema_map meta;           /* name -> struct str */
    struct h1_limits response_limits; /* no row: of limits; of a snapshot's routes */
    /* no row: for so long after an exchange began none of its deadlines can pass, if what it waits
     * for has no time of its own; of a snapshot's routes; else 0 */
    usec_t untimed;
};

/* A C function in place of an upstream (library, admin, demo origins): fills x->reply and returns
 * HOOK_REPLY, or HOOK_WAIT, or HOOK_FAIL. */
typedef enum hook (*route_handler)(struct exchange *x, void *arg);

/* routes[]; features' own keys (request_headers, forwarded, ...) are in features[], by place in the
 * registry */
struct route_conf {
    struct str name; /* default: made from the match */
    struct match_conf match;
    struct str to;    /* upstream name */
    bool passthrough; /* takes connections, by sni and alpn, not requests */
    struct rewrite_conf rewrite;
    struct redirect_conf redirect;
    struct reply_conf reply;
    bool redirect_given, reply_given;
    route_handler handler; /* from C only, in place of to, redirect and reply */
    void *handler_arg;
    struct settings_conf settings;
    /* Config struct of feature i (route_scope); NULL: as the top level says, else the defaults */
    void *features[FEATURE_MAX];
    struct schema_list routes; /* nested struct route_conf */
    struct schema_pos pos;
};

/* The whole file but admin, logs and tests, which control/ and app/ own. */
struct proxy_conf {
    struct schema_list listeners;       /* struct listener_conf */
    struct schema_map upstreams;        /* struct upstream_conf */
    struct schema_list routes;          /* struct route_conf, flattened parents kept */
    struct schema_list trusted_proxies; /* struct str CIDR */
    struct settings_conf settings;      /* top level; a file's routes inherit it, C copies it */
    void *features[FEATURE_MAX];        /* config struct of feature i; NULL: the defaults */
    uint64_t memory_limit;              /* 0: mem_default_limit() */
    int64_t workers;                    /* 0: one a core */
    usec_t drain;                       /* longest graceful stop, default 30 s */
    usec_t upgrade_drain;               /* of a server that another follows */
    bool upgrade_drain_given;           /* else as drain */
};

extern const struct schema_table proxy_protocol_schema, http2_schema, listener_schema, match_schema,
    rewrite_schema, redirect_schema, reply_schema, buffer_schema, timeouts_schema, limits_schema,
    min_rate_schema, retry_schema, settings_schema, route_schema, proxy_schema;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_settings.c: the rows of what the top level and every route have: timeouts, limits, rates,
 * buffers and switches. Constant. */
#include "proxy/conf.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)
#define KIB INT64_C(1024)
#define GIB (KIB * KIB * KIB)

#define TIMEOUT(member, default_text, said, sample)                                                \
    {                                                                                              \
        .name = #member, .type = SCHEMA_DURATION,                                                  \
        .offset = offsetof(struct timeouts_conf, member), .def = default_text, .min = 0,           \
        .max = 7 * DAY, .reloadable = true, .unit = "duration", .since = "0.1", .doc = said,       \
        .example = sample                                                                          \
    }

static const struct schema_field timeouts_rows[] = {
    TIMEOUT(handshake, "10s",
            "A client's TLS handshake must be over within this time of its connection; top level "
            "only.",
            "10s"),
    TIMEOUT(client_head, "10s",
            "A request head must arrive whole within this time of its first byte; top level only.",
            "10s"),
    TIMEOUT(client_body, "30s", "Longest wait for the next byte of a request body.", "30s"),
    TIMEOUT(client_send, "60s", "Longest wait for the client to take a byte of the answer.", "60s"),
    TIMEOUT(keepalive, "60s",
            "A kept-alive client connection that is idle so long is closed; top level only.",
            "60s"),
    TIMEOUT(pool_wait, "5s", "Longest wait for a connection when the pool is at its limit.", "5s"),
    TIMEOUT(first_byte, "60s",
            "Longest wait for the first byte of an answer, from the last byte of the request sent.",
            "60s"),
    TIMEOUT(response_idle, "60s", "Longest wait for the next byte of an answer.", "5m"),
    TIMEOUT(upstream_send, "60s", "Longest wait for the endpoint to take a byte of the request.",
            "60s"),
    TIMEOUT(exchange, "off", "Longest time for a whole exchange, request and answer.", "5m"),
    TIMEOUT(tunnel_idle, "1h", "A tunnel (WebSocket, CONNECT) without a byte so long is closed.",
            "1h"),
    TIMEOUT(call_idle, "1h",
            "A gRPC call without a byte either way so long is ended; for calls this holds in place "
            "of client_body, first_byte and response_idle.",
            "5m"),
};

const struct schema_table timeouts_schema = {
    .name = "timeouts",
    .doc = "How long each step may take; off: no limit.",
    .size = sizeof(struct timeouts_conf),
    .fields = timeouts_rows,
    .n_fields = SCHEMA_COUNT(timeouts_rows),
};

static const struct schema_field limits_rows[] = {
    {.name = "head",
     .type = SCHEMA_SIZE,
     .offset = offsetof(struct limits_conf, head),
     .def = "32KiB",
     .min = KIB,
     .max = KIB * KIB,
     .reloadable = true,
     .unit = "bytes",
     .since = "0.1",
     .doc = "Largest request head; a larger one is answered 431; top level only.",
     .example = "32KiB"},
    {.name = "target",
     .type = SCHEMA_SIZE,
     .offset = offsetof(struct limits_conf, target),
     .def = "8KiB",
     .min = 64,
     .max = KIB * KIB,
     .reloadable = true,
     .unit = "bytes",
     .since = "0.1",
     .doc = "Longest request target (path and query); a longer one is answered 414; top level "
            "only.",
     .example = "8KiB"},
    {.name = "fields",
     .type = SCHEMA_INT,
     .offset = offsetof(struct limits_conf, fields),
     .def = "100",
     .min = 1,
     .max = 10000,
     .reloadable = true,
     .since = "0.1",
     .doc = "Most header fields of a request head; more are answered 431; top level only.",
     .example = "100"},
    {.name = "response_head",
     .type = SCHEMA_SIZE,
     .offset = offsetof(struct limits_conf, response_head),
     .def = "64KiB",
     .min = KIB,
     .max = 4 * KIB * KIB,
     .reloadable = true,
     .unit = "bytes",
     .since = "0.1",
     .doc = "Largest head of an upstream's answer; a larger one is answered 502.",
     .example = "64KiB"},
    {.name = "body",
     .type = SCHEMA_SIZE,
     .offset = offsetof(struct limits_conf, body),
     .def = "off",
     .reloadable = true,
     .unit = "bytes",
     .since = "0.1",
     .doc = "Largest request body; a larger one is answered 413; off: no limit.",
     .example = "10MiB"},
    {.name = "interim",
     .type = SCHEMA_INT,
     .offset = offsetof(struct limits_conf, interim),
     .def = "20",
     .min = 0,
     .max = 1000,
     .reloadable = true,
     .since = "0.1",
     .doc = "Most interim answers (1xx) to one request.",
     .example = "20"},
};

const struct schema_table limits_schema = {
    .name = "limits",
    .doc = "How large messages may be.",
    .size = sizeof(struct limits_conf),
    .fields = limits_rows,
    .n_fields = SCHEMA_COUNT(limits_rows),
};

static const struct schema_field min_rate_rows[] = {
    {.name = "request",
     .type = SCHEMA_RATE,
     .offset = offsetof(struct min_rate_conf, request),
     .def = "off",
     .reloadable = true,
     .unit = "bytes a second",
     .since = "0.1",
     .doc = "A client that sends its body slower than this is cut off with 408.",
     .example = "1KiB/s"},
    {.name = "response",
     .type = SCHEMA_RATE,
     .offset = offsetof(struct min_rate_conf, response),
     .def = "off",
     .reloadable = true,
     .unit = "bytes a second",
     .since = "0.1",
     .doc = "A client that reads the answer slower than this is cut off.",
     .example = "1KiB/s"},
    {.name = "grace",
     .type = SCHEMA_DURATION,
     .offset = offsetof(struct min_rate_conf, grace),
     .def = "10s",
     .min = SECOND / 10,
     .max = DAY,
     .reloadable = true,
     .unit = "duration",
     .since = "0.1",
     .doc = "Time after which the rate is judged; only time in which bytes waited counts.",
     .example = "10s"},
};

const struct schema_table min_rate_schema = {
    .name = "min_rate",
    .doc = "The slowest that a client may be, counted only while bytes wait.",
    .size = sizeof(struct min_rate_conf),
    .fields = min_rate_rows,
    .n_fields = SCHEMA_COUNT(min_rate_rows),
};

static const char *const strategy_choices[] = {"none", "fixed", "adaptive", NULL};

static const struct schema_field buffer_rows[] = {
    {.name = "strategy",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct buffer_conf, strategy),
     .def = "adaptive",
     .choices = strategy_choices,
     .reloadable = true,
     .since = "0.1",
     .doc = "none: each read is passed on at once; fixed: a ring of size bytes; adaptive: starts "
            "at 16KiB, grows while the client drains it and shrinks when it is not needed.",
     .example = "fixed"},
    {.name = "size",
     .type = SCHEMA_SIZE,
     .offset = offsetof(struct buffer_conf, size),
     .def = "0",
     .max = GIB,
     .reloadable = true,
     .unit = "bytes",
     .since = "0.1",
     .doc = "Bytes held for one direction of an exchange: of a fixed buffer, and the most of an "
            "adaptive one; 0: 64KiB when fixed, 1MiB when adaptive.",
     .example = "64KiB"},
};

const struct schema_table buffer_schema = {
    .name = "buffer",
    .doc = "How bodies are held on their way.",
    .size = sizeof(struct buffer_conf),
    .fields = buffer_rows,
    .n_fields = SCHEMA_COUNT(buffer_rows),
    .short_form = "strategy",
};

static const char *const slash_choices[] = {"keep", "merge", "reject", NULL};
static const char *const half_close_choices[] = {"abort", "allow", NULL};

#define SETTING(member, of_type)                                                                   \
    .name = #member, .type = of_type, .offset = offsetof(struct settings_conf, member),            \
    .reloadable = true, .since = "0.1"

static const struct schema_field settings_rows[] = {
    {SETTING(timeouts, SCHEMA_OBJECT), .sub = &timeouts_schema,
     .doc = "How long each step may take.", .example = "{first_byte: 30s}"},
    {SETTING(limits, SCHEMA_OBJECT), .sub = &limits_schema, .doc = "How large messages may be.",
     .example = "{body: 10MiB}"},
    {SETTING(min_rate, SCHEMA_OBJECT), .sub = &min_rate_schema,
     .doc = "The slowest that a client may be.", .example = "{request: 1KiB/s}"},
    {SETTING(buffer, SCHEMA_OBJECT), .sub = &buffer_schema,
     .doc = "How bodies are held on their way.", .example = "{strategy: fixed, size: 64KiB}"},
    {SETTING(slashes, SCHEMA_ENUM), .def = "keep", .choices = slash_choices,
     .doc = "Double and escaped slashes in a path: keep forwards them as they are, merge makes one "
            "of double ones (%2F stays), reject answers 400 to both.",
     .example = "reject"},
    {SETTING(client_half_close, SCHEMA_ENUM), .def = "abort", .choices = half_close_choices,
     .doc = "A client that closes its sending side after a complete request: abort cancels the "
            "exchange, allow answers it.",
     .example = "allow"},
    {SETTING(allow_connect, SCHEMA_BOOL), .def = "false",
     .doc = "Let CONNECT requests open a tunnel to the route's upstream.", .example = "true"},
    {SETTING(via, SCHEMA_BOOL), .def = "true",
     .doc = "Add Via to forwarded requests (RFC 9110 7.6.3).", .example = "false"},
    {SETTING(via_name, SCHEMA_STRING), .def = "weir", .doc = "The name in Via.",
     .example = "edge-1"},
    {SETTING(retry, SCHEMA_OBJECT), .sub = &retry_schema,
     .doc = "When a failed attempt is followed by another one.", .example = "{tries: 2}"},
    {SETTING(meta, SCHEMA_MAP), .item = SCHEMA_STRING,
     .doc = "Names and values of your own, for logs and hooks; nested routes add to them.",
     .example = "{team: shop}"},
};

/* The name of Via is a token, or a host with a port (RFC 9110 7.6.3). */
static bool via_name_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = str_lower(name.p[i]);
        bool word = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!word && str_find(STR("-._:"), c) < 0)
            return false;
    }
    return name.n > 0;
}

static void settings_check(const void *object,
                           void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct settings_conf *s = object;
    if (!via_name_valid(s->via_name))
        say(arg, "via_name", "via_name holds other bytes than letters, digits and - . _ :");
    if (s->limits.target > s->limits.head)
        say(arg, "limits", "limits.target is larger than limits.head, which holds it");
}

const struct schema_table settings_schema = {
    .name = "settings",
    .doc = "What the top level says for all routes and each route for itself and the routes nested "
           "in it.",
    .size = sizeof(struct settings_conf),
    .fields = settings_rows,
    .n_fields = SCHEMA_COUNT(settings_rows),
    .check = settings_check,
};

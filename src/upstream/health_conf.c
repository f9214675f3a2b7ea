/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of health. */
#include "http/grpc_health.h"
#include "upstream/upstream.h"

#define SECOND INT64_C(1000000)
#define DAY (86400 * SECOND)

static const char *const type_choices[] = {"http", "tcp", "grpc", "script", NULL};

#define HEALTH_ROW(member, of_type)                                                                \
    .name = #member, .type = of_type, .offset = offsetof(struct health_conf, member),              \
    .reloadable = true, .since = "0.1"
#define HEALTH_TIME(member) HEALTH_ROW(member, SCHEMA_DURATION), .max = DAY, .unit = "duration"

static const struct schema_field health_rows[] = {
    {HEALTH_ROW(type, SCHEMA_ENUM), .def = "http", .choices = type_choices,
     .doc =
         "http: a request, by TLS and HTTP/2 where the upstream has them; tcp: a connection that "
         "is made and closed; grpc: grpc.health.v1; script: a program that is run.",
     .example = "tcp"},
    {HEALTH_ROW(method, SCHEMA_STRING), .def = "GET", .doc = "Method of the request.",
     .example = "HEAD"},
    {HEALTH_ROW(path, SCHEMA_STRING), .def = "/", .doc = "Path of the request.",
     .example = "/healthz"},
    {HEALTH_ROW(host, SCHEMA_STRING), .def = "",
     .doc = "Host of the request; empty: the endpoint's address.", .example = "shop.internal"},
    {HEALTH_ROW(statuses, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 100,
     .doc = "Statuses that pass, each one or a range; none given: 200-399.",
     .example = "[200-204, 304]"},
    {HEALTH_ROW(body, SCHEMA_REGEX),
     .doc = "What the answer's body must match somewhere (PCRE2); not given: any.",
     .example = "status.*ok"},
    {HEALTH_ROW(body_bytes, SCHEMA_SIZE), .def = "4KiB", .min = 1, .max = 1024 * 1024,
     .unit = "bytes", .doc = "Bytes of the body that body looks at.", .example = "64KiB"},
    {HEALTH_ROW(service, SCHEMA_STRING), .def = "",
     .doc = "The service that grpc asks for; empty: the server as a whole.",
     .example = "shop.Cart"},
    {HEALTH_ROW(command, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 64,
     .doc = "What script runs: the program and its arguments, without a shell. Exit status 0 "
            "passes.",
     .example = "[/usr/local/bin/check-shop, --quick]"},
    {HEALTH_ROW(environment, SCHEMA_MAP), .item = SCHEMA_STRING,
     .doc = "Variables that script gets beside PATH and WEIR_*; nothing else of Weir's own.",
     .example = "{LANG: C}"},
    {HEALTH_ROW(drain_404, SCHEMA_BOOL), .def = "false",
     .doc = "404 passes, and drains: no new requests while it lasts.", .example = "true"},
    {HEALTH_TIME(interval), .def = "2s", .min = SECOND / 100,
     .doc = "Pause between checks of one endpoint.", .example = "5s"},
    {HEALTH_TIME(fast_interval), .def = "off",
     .doc = "The same while results contradict the present state; off: as interval.",
     .example = "500ms"},
    {HEALTH_TIME(down_interval), .def = "off",
     .doc = "The same while the endpoint is down; off: as interval.", .example = "10s"},
    {HEALTH_TIME(timeout), .def = "1s", .min = SECOND / 100,
     .doc = "A check that takes longer has failed.", .example = "500ms"},
    {HEALTH_TIME(expires), .def = "30s", .min = SECOND / 100,
     .doc = "When no check can be made for that long (no memory, no program), an endpoint that is "
            "down is asked again.",
     .example = "1m"},
    {HEALTH_TIME(slow), .def = "250ms",
     .doc = "Warn of checks that pass, but take longer than this or half of timeout.",
     .example = "off"},
    {HEALTH_ROW(rise, SCHEMA_INT), .def = "2", .min = 1, .max = 1000,
     .doc = "Checks in a row that must pass for an endpoint to come back.", .example = "3"},
    {HEALTH_ROW(fall, SCHEMA_INT), .def = "3", .min = 1, .max = 1000,
     .doc = "Checks in a row that must fail for it to be left out.", .example = "2"},
    {HEALTH_ROW(jitter, SCHEMA_INT), .def = "10", .max = 100,
     .doc = "Each pause is shorter or longer by up to this percentage.", .example = "20"},
    {HEALTH_ROW(gate, SCHEMA_BOOL), .def = "false",
     .doc = "An endpoint gets no request before its first check has passed.", .example = "true"},
    {HEALTH_ROW(proxy_protocol, SCHEMA_BOOL), .def = "true",
     .doc = "Where the upstream has proxy_protocol, checks begin with such a header too: LOCAL, or "
            "UNKNOWN in v1. false: they never do.",
     .example = "false"},
};

/* "204" or "200-299". */
static bool read_range(struct str text, uint64_t *from, uint64_t *to)
{
    ptrdiff_t dash = str_find(text, '-');
    if (dash < 0)
        return str_to_u64(text, from) && str_to_u64(text, to);
    return str_to_u64(str_sub(text, 0, (size_t) dash), from) &&
           str_to_u64(str_sub(text, (size_t) dash + 1, text.n), to);
}

bool health_status_passes(const struct health_conf *c, unsigned status)
{
    const struct str *v = c->statuses.items;
    uint64_t from, to;
    for (size_t i = 0; i < c->statuses.n; i++) {
        if (read_range(v[i], &from, &to) && status >= from && status <= to)
            return true;
    }
    return c->statuses.n == 0 && status >= 200 && status < 400;
}

struct sayer {
    void (*say)(void *arg, const char *field, const char *text);
    void *arg;
};

static void check_http(const struct health_conf *c, const struct sayer *s)
{
    const struct str *status = c->statuses.items;
    uint64_t from, to;
    for (size_t i = 0; i < c->statuses.n; i++) {
        if (!read_range(status[i], &from, &to) || from > to || from < 200 || to > 599)
            s->say(s->arg, "statuses",
                   "statuses holds one that is neither a status that an answer ends with (200 to "
                   "599) nor a range of them, like 200-299");
    }
    for (size_t i = 0; i < c->method.n; i++) {
        if (c->method.p[i] < 'A' || c->method.p[i] > 'Z')
            s->say(s->arg, "method", "method is capital letters, such as GET");
    }
    if (c->path.n == 0 || c->path.p[0] != '/')
        s->say(s->arg, "path", "path must begin with /");
    if (c->body.n && str_eq(c->method, STR("HEAD")))
        s->say(s->arg, "body", "body looks at what an answer to HEAD never has");
}

static bool variable_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = str_lower(name.p[i]);
        if (!(c >= 'a' && c <= 'z') && c != '_' && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.n > 0 && !str_starts(name, STR("WEIR_"));
}

static void check_script(const struct health_conf *c, const struct sayer *s)
{
    const struct str *v = c->command.items, *values = c->environment.items;
    bool script = c->type == HEALTH_SCRIPT;
    if (script != (c->command.n > 0))
        s->say(s->arg, "command",
               script ? "type script wants command, such as [/usr/local/bin/check, --quick]"
                      : "command is for type script alone");
    for (size_t i = 0; i < c->command.n; i++) {
        if (v[i].p == NULL) /* what was no text was said */
            continue;
        if (str_find(v[i], '\0') >= 0 || (i == 0 && v[i].n == 0))
            s->say(s->arg, "command", "command holds a text that no program can be given");
    }
    for (size_t i = 0; i < c->environment.n; i++) {
        if (!variable_valid(c->environment.names[i]) || str_find(values[i], '\0') >= 0)
            s->say(s->arg, "environment",
                   "environment holds a name that is none (letters, digits, _), or begins with "
                   "WEIR_, which Weir sets");
    }
}

static void health_check(const void *object,
                         void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct health_conf *c = object;
    struct sayer s = {say, arg};
    check_http(c, &s);
    check_script(c, &s);
    if (c->service.n && c->type != HEALTH_GRPC)
        say(arg, "service", "service is for type grpc alone");
    if (c->service.n > GRPC_HEALTH_SERVICE_MAX)
        say(arg, "service", "service has more than 127 bytes");
}

const struct schema_table health_schema = {
    .name = "health",
    .doc = "Checks of each endpoint, once for the whole process.",
    .size = sizeof(struct health_conf),
    .fields = health_rows,
    .n_fields = SCHEMA_COUNT(health_rows),
    .check = health_check,
    .short_form = "type",
};

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_file.c: the rows of what stands in a file beside the engine's part. Constant. */
#include "control/conf_file.h"

#include "control/dry_run.h"
#include "http/field.h"
#include "net/addr.h"

static const char *const page_choices[] = {"metrics", "healthz", "status", NULL};
/* What other programs make of the first when they write YAML is as good. */
static const char *const no_address[] = {"off", "false", NULL};

static const struct schema_field admin_rows[] = {
    {.name = "address",
     .type = SCHEMA_ADDRESS,
     .offset = offsetof(struct admin_conf, address),
     .choices = no_address,
     .since = "0.1",
     .doc = "Where it is served: unix:/path (without this key unix:/run/weir/admin.sock) or "
            "IP:port; off: nowhere, as without admin.",
     .example = "unix:/run/weir/admin.sock"},
    {.name = "mode",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct admin_conf, mode),
     .def = "0660",
     .since = "0.1",
     .doc = "Permissions of the unix socket's file, octal: who may connect may do everything.",
     .example = "0600"},
    {.name = "token_file",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct admin_conf, token_file),
     .reloadable = true,
     .since = "0.1",
     .doc = "File with the token that requests by TCP need (Authorization: Bearer TOKEN), loopback "
            "included; without one TCP has only the pages of open.",
     .example = "/etc/weir/admin.token"},
    {.name = "open",
     .type = SCHEMA_LIST,
     .offset = offsetof(struct admin_conf, open),
     .item = SCHEMA_ENUM,
     .choices = page_choices,
     .max = ADMIN_PAGES,
     .given = offsetof(struct admin_conf, open_given),
     .reloadable = true,
     .since = "0.1",
     .doc = "Pages that need no token by TCP; without this key all three when there is no "
            "token_file, else none.",
     .example = "[metrics, healthz]"},
};

bool admin_off(struct str address)
{
    for (size_t i = 0; no_address[i]; i++) {
        if (str_eq(address, str_c(no_address[i])))
            return true;
    }
    return false;
}

static bool octal(struct str s, unsigned *mode)
{
    *mode = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '7')
            return false;
        *mode = *mode << 3 | (unsigned) (s.p[i] - '0');
    }
    return s.n >= 3 && s.n <= 4 && *mode <= 0777;
}

unsigned admin_mode(const struct admin_conf *c)
{
    unsigned mode;
    return octal(c->mode, &mode) ? mode : 0600;
}

unsigned admin_open_pages(const struct admin_conf *c)
{
    const int *pages = c->open.items;
    unsigned bits = c->open_given || c->token_file.n ? 0 : (1u << ADMIN_PAGES) - 1;
    for (size_t i = 0; i < c->open.n; i++)
        bits |= 1u << pages[i];
    return bits;
}

static void admin_check(const void *object,
                        void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct admin_conf *c = object;
    unsigned mode;
    if (!octal(c->mode, &mode))
        say(arg, "mode", "mode must be the permissions of a file in octal, like 0660");
}

const struct schema_table admin_schema = {
    .name = "admin",
    .doc = "Pages and API for operators; off without it.",
    .size = sizeof(struct admin_conf),
    .fields = admin_rows,
    .n_fields = SCHEMA_COUNT(admin_rows),
    .pos = offsetof(struct admin_conf, pos),
    .check = admin_check,
    .short_form = "address",
};

static const char *const level_choices[] = {"debug", "info", "warn", "error", NULL};
static const char *const format_choices[] = {"auto", "human", "json", NULL};

static const struct schema_field log_rows[] = {
    {.name = "level",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct log_conf, level),
     .def = "info",
     .choices = level_choices,
     .reloadable = true,
     .since = "0.1",
     .doc = "The least that is written.",
     .example = "warn"},
    {.name = "format",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct log_conf, format),
     .def = "auto",
     .choices = format_choices,
     .reloadable = true,
     .since = "0.1",
     .doc = "auto: for people on a terminal, JSON lines otherwise.",
     .example = "json"},
};

const struct schema_table log_schema = {
    .name = "log",
    .doc = "Weir's own log, on stderr.",
    .size = sizeof(struct log_conf),
    .fields = log_rows,
    .n_fields = SCHEMA_COUNT(log_rows),
    .short_form = "level",
};

#define TEST(of, member, of_type)                                                                  \
    .name = #member, .type = of_type, .offset = offsetof(struct of, member), .reloadable = true,   \
    .since = "0.1"

static const struct schema_field test_request_rows[] = {
    {TEST(test_request_conf, method, SCHEMA_STRING), .def = "GET", .doc = "Method of the request.",
     .example = "POST"},
    {TEST(test_request_conf, url, SCHEMA_STRING), .required = true,
     .doc = "Its URL; a path alone is asked of host localhost. tls://NAME: a connection that asks "
            "for NAME (SNI), for passthrough routes.",
     .example = "http://shop.example/cart?id=1"},
    {TEST(test_request_conf, alpn, SCHEMA_STRING),
     .doc = "Protocols that the client of a connection offers (ALPN).", .example = "h2,http/1.1"},
    {TEST(test_request_conf, client, SCHEMA_STRING), .def = "127.0.0.1",
     .doc = "IP address that it comes from.", .example = "192.0.2.7"},
    {TEST(test_request_conf, headers, SCHEMA_MAP), .item = SCHEMA_STRING,
     .doc = "Its header fields.", .example = "{Accept: text/html}"},
};

const struct schema_table test_request_schema = {
    .name = "request",
    .doc = "The request of a test; it is sent to nobody.",
    .size = sizeof(struct test_request_conf),
    .fields = test_request_rows,
    .n_fields = SCHEMA_COUNT(test_request_rows),
    .short_form = "url",
};

static const struct schema_field test_expect_rows[] = {
    {TEST(test_expect_conf, route, SCHEMA_STRING),
     .doc = "Name of the route that takes it; none: no route.", .example = "shop"},
    {TEST(test_expect_conf, upstream, SCHEMA_STRING), .doc = "Name of the upstream that gets it.",
     .example = "origin"},
    {TEST(test_expect_conf, status, SCHEMA_INT), .def = "0", .min = 0, .max = 599,
     .doc = "Status of the answer that Weir makes itself (reply, redirect, 404, 405).",
     .example = "308"},
    {TEST(test_expect_conf, path, SCHEMA_STRING),
     .doc = "Path and query sent upstream, after rewriting.", .example = "\"/v2/cart?id=1\""},
    {TEST(test_expect_conf, headers, SCHEMA_MAP), .item = SCHEMA_STRING,
     .doc = "Header fields sent upstream (or of Weir's own answer): the value, \"*\" for any, "
            "\"\" for absent.",
     .example = "{Host: shop.example}"},
};

const struct schema_table test_expect_schema = {
    .name = "expect",
    .doc = "What must come of it; what is left out is not checked.",
    .size = sizeof(struct test_expect_conf),
    .fields = test_expect_rows,
    .n_fields = SCHEMA_COUNT(test_expect_rows),
    .short_form = "route",
};

static const struct schema_field test_rows[] = {
    {TEST(test_conf, name, SCHEMA_STRING), .doc = "What the test shows, for messages.",
     .example = "the cart goes to the shop"},
    {TEST(test_conf, request, SCHEMA_OBJECT), .sub = &test_request_schema, .required = true,
     .doc = "The request.", .example = "{method: GET, url: http://shop.example/cart}"},
    {TEST(test_conf, expect, SCHEMA_OBJECT), .sub = &test_expect_schema, .required = true,
     .doc = "What must come of it.", .example = "{route: shop, upstream: origin}"},
};

/* What a test says of a connection, or only of requests. */
static void test_check_hello(const struct test_conf *t,
                             void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    struct client_hello h = {0};
    const struct test_expect_conf *e = &t->expect;
    if (!dry_is_connection(t->request.url)) {
        if (t->request.alpn.n)
            say(arg, "request", "alpn is of connections: url: tls://NAME");
        return;
    }
    if (!dry_hello_name(&h, t->request.url))
        say(arg, "request", "there is no host name behind tls://");
    if (t->request.alpn.n && !dry_hello_alpn(&h, t->request.alpn))
        say(arg, "request", "alpn names no protocols, like h2,http/1.1");
    if (t->request.headers.n || e->status || e->path.n || e->headers.n)
        say(arg, "expect",
            "a connection has no header fields, status or path; expect its route "
            "or upstream");
}

static void test_check(const void *object,
                       void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct test_conf *t = object;
    if (t->request.method.n && !field_name_valid(t->request.method))
        say(arg, "request", "the method is not a token (RFC 9110 9.1)");
    struct ip ip;
    if (!ip_parse(t->request.client, &ip))
        say(arg, "request", "client is not an IP address");
    const struct str *values = t->request.headers.items;
    for (size_t i = 0; i < t->request.headers.n; i++) {
        if (!field_name_valid(t->request.headers.names[i]) || !field_value_valid(values[i]))
            say(arg, "request", "a header field has an invalid name or value (RFC 9110 5)");
    }
    test_check_hello(t, say, arg);
}

const struct schema_table test_schema = {
    .name = "test",
    .doc = "A test of this configuration, run by weir check and before each load.",
    .size = sizeof(struct test_conf),
    .fields = test_rows,
    .n_fields = SCHEMA_COUNT(test_rows),
    .pos = offsetof(struct test_conf, pos),
    .check = test_check,
};

static const struct schema_field file_rows[] = {
    {.name = "admin",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct conf_file, admin),
     .sub = &admin_schema,
     .reloadable = true,
     .given = offsetof(struct conf_file, admin_given),
     .since = "0.1",
     .doc = "Pages and API for operators: metrics, health, status, changes at run time.",
     .example = "{address: unix:/run/weir/admin.sock}"},
    {.name = "log",
     .type = SCHEMA_OBJECT,
     .offset = offsetof(struct conf_file, log),
     .sub = &log_schema,
     .reloadable = true,
     .since = "0.1",
     .doc = "Weir's own log, on stderr.",
     .example = "{level: info}"},
    {.name = "user",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct conf_file, user),
     .since = "0.1",
     .doc =
         "Started as root, the process that serves becomes this user; only the supervisor, which "
         "opens the sockets, stays root.",
     .example = "nobody"},
    {.name = "pid_file",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct conf_file, pid_file),
     .since = "0.1",
     .doc = "Where the process id of the supervisor is written; each Weir needs a file of its own.",
     .example = "/run/weir/weir.pid"},
    {.name = "state_dir",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct conf_file, state_dir),
     .since = "0.1",
     .doc =
         "Directory of this Weir alone that the server may write to, where what is changed at run "
         "time is kept; without it such changes end with the process.",
     .example = "/var/lib/weir"},
    {.name = "pin_workers",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct conf_file, pin_workers),
     .def = "false",
     .since = "0.1",
     .doc = "Bind each worker to a CPU of its own.",
     .example = "true"},
    {.name = "watch",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct conf_file, watch),
     .def = "false",
     .reloadable = true,
     .since = "0.2",
     .doc = "Load this file again when it has changed and stayed the same for a quarter of a "
            "second.",
     .example = "true"},
    {.name = "tests",
     .type = SCHEMA_LIST,
     .offset = offsetof(struct conf_file, tests),
     .sub = &test_schema,
     .max = 100000,
     .reloadable = true,
     .since = "0.1",
     .doc = "Tests of this configuration, run by weir check and before each load.",
     .example = "[{request: {url: http://shop.example/}, expect: {upstream: origin}}]"},
};

const struct schema_table file_schema = {
    .name = "configuration",
    .doc = "The top level of a configuration file.",
    .size = sizeof(struct conf_file),
    .fields = file_rows,
    .n_fields = SCHEMA_COUNT(file_rows),
    .also = &proxy_schema,
    .also_offset = offsetof(struct conf_file, proxy),
};

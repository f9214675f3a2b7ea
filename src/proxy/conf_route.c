/* SPDX-License-Identifier: Apache-2.0 */
/* conf_route.c: the rows of a route: what it matches and what it does. Constant. */
#include "http/field.h"
#include "proxy/conf.h"
#include "proxy/route.h"

#define MATCH(member, of_type)                                                                     \
    .name = #member, .type = of_type, .offset = offsetof(struct match_conf, member),               \
    .reloadable = true, .since = "0.1"

static const struct schema_field match_rows[] = {
    {MATCH(sni, SCHEMA_STRING),
     .doc = "Name that the client asks for by TLS (SNI): exact, or *.example.com for every name "
            "below.",
     .example = "db.example.com"},
    {MATCH(alpn, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 64,
     .doc = "Protocols of which the client offers one by TLS (ALPN); of passthrough routes only.",
     .example = "[h2]"},
    {MATCH(host, SCHEMA_STRING),
     .doc = "Host of the request, without its port: exact, or *.example.com for every name below.",
     .example = "\"*.example.com\""},
    {MATCH(path, SCHEMA_STRING),
     .doc = "Path, without the query: exact, or a prefix that ends in /*: /api/* takes /api, /api/ "
            "and "
            "all below.",
     .example = "/api/*"},
    {MATCH(path_regex, SCHEMA_REGEX),
     .doc = "PCRE2 pattern for the path in place of path, anchored at its start.",
     .example = "\"/user/[0-9]+$\""},
    {MATCH(methods, SCHEMA_LIST), .item = SCHEMA_STRING, .max = 64,
     .doc = "Methods, in capitals; GET covers HEAD.", .example = "[GET, POST]"},
    {.name = "method",
     .type = SCHEMA_LIST,
     .offset = offsetof(struct match_conf, methods),
     .item = SCHEMA_STRING,
     .max = 64,
     .reloadable = true,
     .since = "0.1",
     .doc = "The same as methods, for one.",
     .example = "GET"},
    {MATCH(headers, SCHEMA_MAP), .item = SCHEMA_STRING,
     .doc = "Header fields: a value is compared as it is, \"*\" asks for presence, \"~...\" is a "
            "pattern.",
     .example = "{X-Beta: \"*\"}"},
    {MATCH(query, SCHEMA_MAP), .item = SCHEMA_STRING,
     .doc = "Query parameters, in the same forms as headers.", .example = "{version: \"2\"}"},
};

static bool host_char(char c)
{
    c = str_lower(c);
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' ||
           c == ':' || c == '[' || c == ']';
}

static const char *host_wrong(struct str host)
{
    bool wild = str_starts(host, STR("*."));
    for (size_t i = wild ? 2 : 0; i < host.n; i++) {
        if (host.p[i] == '*')
            return "host: '*' stands only in front, as in *.example.com; leave host out for any";
        if (!host_char(host.p[i]))
            return "host holds a byte that no host name has";
    }
    if (wild && host.n < 3)
        return "host: a name is missing behind *.";
    if (str_starts(host, STR(".")))
        return "host begins with a dot; every name below example.com is *.example.com";
    if (host.n && host.p[0] != '[' && str_find(host, ':') >= 0)
        return "host has a port; routes match the host alone";
    return NULL;
}

static const char *path_wrong(struct str path)
{
    ptrdiff_t star = str_find(path, '*');
    if (path.n == 0)
        return NULL;
    if (path.p[0] != '/')
        return str_eq(path, STR("*")) ? NULL : "path must begin with /";
    if (star >= 0 && ((size_t) star != path.n - 1 || path.p[star - 1] != '/'))
        return "path: '*' stands only at the end, behind a slash, as in /api/*; for more use "
               "path_regex";
    if (str_find(path, '?') >= 0)
        return "path holds a '?'; the query is matched by query: {name: value}";
    if (str_find(path, '#') >= 0)
        return "path holds a '#', which no request has";
    return NULL;
}

/* One that matches no request, because its writer meant a known one. */
static bool method_in_lower_case(struct str method)
{
    char upper[16];
    if (method.n > sizeof upper || method_id(method) != METHOD_OTHER)
        return false;
    for (size_t i = 0; i < method.n; i++) {
        char c = method.p[i];
        upper[i] = (char) (c >= 'a' && c <= 'z' ? c & ~0x20 : c);
    }
    return method_id(str_of(upper, method.n)) != METHOD_OTHER;
}

static void match_check(const void *object,
                        void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct match_conf *m = object;
    const char *wrong = host_wrong(m->host);
    if (wrong)
        say(arg, "host", wrong);
    if (host_wrong(m->sni))
        say(arg, "sni", "sni is a host name, or *.example.com for every name below one");
    const struct str *protocols = m->alpn.items;
    for (size_t i = 0; i < m->alpn.n; i++) {
        if (protocols[i].n == 0 || protocols[i].n > 255)
            say(arg, "alpn", "alpn: a protocol has 1 to 255 bytes (RFC 7301 3.1)");
    }
    wrong = path_wrong(m->path);
    if (wrong)
        say(arg, "path", wrong);
    if (m->path.n && m->path_regex.n)
        say(arg, "path_regex", "path and path_regex exclude each other");
    const struct str *methods = m->methods.items;
    for (size_t i = 0; i < m->methods.n; i++) {
        if (!field_name_valid(methods[i]))
            say(arg, "methods", "a method is not a token (RFC 9110 9.1)");
        else if (method_in_lower_case(methods[i]))
            say(arg, "methods", "methods are written in capitals (RFC 9110 9.1): GET, not get");
    }
    for (size_t i = 0; i < m->headers.n; i++) {
        if (!field_name_valid(m->headers.names[i]))
            say(arg, "headers", "a header name is not a token (RFC 9110 5.1)");
    }
}

const struct schema_table match_schema = {
    .name = "match",
    .doc = "Which requests a route takes: all conditions must hold; without any it takes all.",
    .size = sizeof(struct match_conf),
    .fields = match_rows,
    .n_fields = SCHEMA_COUNT(match_rows),
    .pos = offsetof(struct match_conf, pos),
    .check = match_check,
    .short_form = "path",
};

#define REWRITE(member, of_type)                                                                   \
    .name = #member, .type = of_type, .offset = offsetof(struct rewrite_conf, member),             \
    .reloadable = true, .since = "0.1"

static const struct schema_field rewrite_rows[] = {
    {REWRITE(host, SCHEMA_STRING),
     .doc = "Host sent upstream: a name, or upstream for the upstream's own; without it the "
            "client's Host is kept.",
     .example = "upstream"},
    {REWRITE(strip_prefix, SCHEMA_STRING),
     .doc = "Taken off the front of the path, at a segment's border.", .example = "/api"},
    {REWRITE(add_prefix, SCHEMA_STRING), .doc = "Put in front of the path, after stripping.",
     .example = "/v2"},
    {REWRITE(regex, SCHEMA_REGEX),
     .doc = "PCRE2 pattern; its first match in the path is replaced, last of all.",
     .example = "\"^/u/([0-9]+)\""},
    {REWRITE(replace, SCHEMA_STRING),
     .doc =
         "What the match of regex becomes; $0 to $9 are its groups, $$ is a dollar sign, and what "
         "follows a '?' goes before the client's query.",
     .example = "/user/$1"},
};

const struct schema_table rewrite_schema = {
    .name = "rewrite",
    .doc = "What is changed in the target and Host of a forwarded request.",
    .size = sizeof(struct rewrite_conf),
    .fields = rewrite_rows,
    .n_fields = SCHEMA_COUNT(rewrite_rows),
};

static const struct schema_field redirect_rows[] = {
    {.name = "to",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct redirect_conf, to),
     .reloadable = true,
     .since = "0.1",
     .doc = "URL or path of the Location; {scheme}, {host} (without port), {authority} (with it), "
            "{path}, {query} and {uri} (path and query) are filled in.",
     .example = "\"https://{host}{uri}\""},
    {.name = "status",
     .type = SCHEMA_INT,
     .offset = offsetof(struct redirect_conf, status),
     .def = "308",
     .min = 301,
     .max = 308,
     .reloadable = true,
     .since = "0.1",
     .doc = "301, 302, 303, 307 or 308.",
     .example = "302"},
};

static void redirect_check(const void *object,
                           void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct redirect_conf *r = object;
    if (r->status >= 304 && r->status <= 306)
        say(arg, "status", "status of a redirect is 301, 302, 303, 307 or 308");
    const char *why;
    if (r->to.n && !redirect_valid(r->to, &why))
        say(arg, "to", why);
}

const struct schema_table redirect_schema = {
    .name = "redirect",
    .doc = "Answer with a redirect.",
    .size = sizeof(struct redirect_conf),
    .fields = redirect_rows,
    .n_fields = SCHEMA_COUNT(redirect_rows),
    .check = redirect_check,
    .short_form = "to",
};

static const struct schema_field reply_rows[] = {
    {.name = "status",
     .type = SCHEMA_INT,
     .offset = offsetof(struct reply_conf, status),
     .def = "200",
     .min = 200,
     .max = 599,
     .reloadable = true,
     .since = "0.1",
     .doc = "Status of the answer.",
     .example = "404"},
    {.name = "body",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct reply_conf, body),
     .reloadable = true,
     .since = "0.1",
     .doc = "Body of the answer.",
     .example = "\"gone fishing\\n\""},
    {.name = "content_type",
     .type = SCHEMA_STRING,
     .offset = offsetof(struct reply_conf, content_type),
     .def = "text/plain; charset=utf-8",
     .reloadable = true,
     .since = "0.1",
     .doc = "Its Content-Type.",
     .example = "text/html"},
    {.name = "headers",
     .type = SCHEMA_MAP,
     .offset = offsetof(struct reply_conf, headers),
     .item = SCHEMA_STRING,
     .reloadable = true,
     .since = "0.1",
     .doc = "More header fields of the answer.",
     .example = "{Cache-Control: no-store}"},
};

/* What a reply may not say: the engine does (framing, connection). */
static bool reply_field_reserved(struct str name)
{
    return str_ieq(name, STR("content-length")) || str_ieq(name, STR("transfer-encoding")) ||
           str_ieq(name, STR("connection")) || str_ieq(name, STR("date"));
}

static void reply_check(const void *object,
                        void (*say)(void *arg, const char *field, const char *text), void *arg)
{
    const struct reply_conf *r = object;
    const struct str *values = r->headers.items;
    for (size_t i = 0; i < r->headers.n; i++) {
        if (!field_name_valid(r->headers.names[i]) || !field_value_valid(values[i]))
            say(arg, "headers", "a header field has an invalid name or value (RFC 9110 5)");
        else if (reply_field_reserved(r->headers.names[i]))
            say(arg, "headers",
                "Content-Length, Transfer-Encoding, Connection and Date are set "
                "by Weir itself");
    }
    if (!field_value_valid(r->content_type))
        say(arg, "content_type", "content_type holds a byte that no header field may have");
    if ((status_bodyless((uint16_t) r->status) || r->status == 205) && r->body.n)
        say(arg, "body", "an answer of this status has no body (RFC 9110 6.4.1)");
}

const struct schema_table reply_schema = {
    .name = "reply",
    .doc = "Answer at once, without an upstream.",
    .size = sizeof(struct reply_conf),
    .fields = reply_rows,
    .n_fields = SCHEMA_COUNT(reply_rows),
    .check = reply_check,
    .short_form = "status",
};

#define ROUTE(member, of_type)                                                                     \
    .name = #member, .type = of_type, .offset = offsetof(struct route_conf, member),               \
    .reloadable = true, .since = "0.1"

static const struct schema_field route_rows[] = {
    {ROUTE(name, SCHEMA_STRING),
     .doc = "Name in logs and metrics; without one it is made from the match.", .example = "api"},
    {ROUTE(match, SCHEMA_OBJECT), .sub = &match_schema,
     .doc = "Which requests it takes; a nested route adds to the match of the route around it.",
     .example = "{path: /api/*}"},
    {ROUTE(to, SCHEMA_STRING),
     .doc = "Name of the upstream that gets the requests; a route has one of to, redirect and "
            "reply, or nested routes.",
     .example = "origin"},
    {ROUTE(passthrough, SCHEMA_BOOL), .def = "false",
     .doc = "Takes connections of listeners in mode passthrough, by match.sni and match.alpn, and "
            "relays their bytes untouched; it takes no requests.",
     .example = "true"},
    {ROUTE(rewrite, SCHEMA_OBJECT), .sub = &rewrite_schema,
     .doc = "Changes to target and Host on the way.", .example = "{strip_prefix: /api}"},
    {ROUTE(redirect, SCHEMA_OBJECT), .sub = &redirect_schema,
     .given = offsetof(struct route_conf, redirect_given), .doc = "Answer with a redirect.",
     .example = "{to: \"https://{host}{uri}\"}"},
    {ROUTE(reply, SCHEMA_OBJECT), .sub = &reply_schema,
     .given = offsetof(struct route_conf, reply_given), .doc = "Answer at once.",
     .example = "{status: 404}"},
    {ROUTE(routes, SCHEMA_LIST), .sub = &route_schema,
     .doc = "Routes within this one; they inherit what they do not say themselves.",
     .example = "[{match: /api/v1/*, to: old}]"},
};

const struct schema_table route_schema = {
    .name = "route",
    .doc =
        "What is done with the requests that match. The most specific route wins: exact host, "
        "longest wildcard, any host; then exact path, patterns in file order, longest prefix, any "
        "path; then the one with more conditions (method, headers, query), then the first. A "
        "route whose conditions fail is passed over.",
    .size = sizeof(struct route_conf),
    .fields = route_rows,
    .n_fields = SCHEMA_COUNT(route_rows),
    .pos = offsetof(struct route_conf, pos),
    .also = &settings_schema,
    .also_offset = offsetof(struct route_conf, settings),
};

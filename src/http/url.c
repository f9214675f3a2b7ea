/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets, authorities and URLs. Paths are normalised in path.c, queries in query.c. */
#include "http/url.h"

#include <arpa/inet.h>

#include "http/bytes.h"

/* An authority taken apart; all views of the input. */
struct parts {
    struct str text; /* without an empty port's colon */
    struct str host; /* without the port */
    uint16_t port;
    bool upper; /* may hold upper-case letters */
};

/* The inside of "[...]": an IPv6 address, or the future form of RFC 3986 3.2.2. */
RARE static bool ip_literal(struct str inside)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr address;
    if (inside.n == 0)
        return false;
    if (inside.p[0] == 'v' || inside.p[0] == 'V') {
        ptrdiff_t dot = str_find(inside, '.');
        if (dot < 2 || (size_t) dot + 1 == inside.n ||
            !bytes_are(str_sub(inside, 1, (size_t) dot), BYTE_HEX))
            return false;
        for (size_t i = (size_t) dot + 1; i < inside.n; i++)
            if (inside.p[i] != ':' && !byte_is(str_lower(inside.p[i]), BYTE_HOST))
                return false;
        return true;
    }
    if (inside.n >= sizeof(text) || memchr(inside.p, 0, inside.n))
        return false;
    memcpy(text, inside.p, inside.n);
    text[inside.n] = 0;
    return inet_pton(AF_INET6, text, &address) == 1;
}

/* ":1234" or ":" at the end of an authority; port stays 0 when no digits follow. */
static bool port_suffix(struct str text, uint16_t *port)
{
    uint32_t v = 0;
    for (size_t i = 1; i < text.n; i++) {
        unsigned digit = byte_digit(text.p[i]);
        if (digit > 9 || v > UINT16_MAX)
            return false;
        v = v * 10 + digit;
    }
    *port = (uint16_t) v;
    return text.n == 1 || (v > 0 && v <= UINT16_MAX);
}

/* An escape in a host, at p: only of a byte beyond ASCII. An escaped ASCII byte is refused: it is
 * a second spelling of a name, or hides a delimiter. */
static bool host_escape(const char *p, const char *end)
{
    return end - p >= 3 && byte_is(p[1], BYTE_HEX) && byte_is(p[2], BYTE_HEX) &&
           byte_hex(p[1]) >= 8;
}

/* Where a host ends that holds upper case or escapes, from the first of them on. */
RARE static const char *odd_host_end(const char *p, const char *end)
{
    while (p < end && *p != ':') {
        if (byte_is(*p, BYTE_HOST) || (*p >= 'A' && *p <= 'Z'))
            p++;
        else if (*p == '%' && host_escape(p, end))
            p += 3;
        else
            return NULL;
    }
    return p;
}

/* Where the host at the beginning of text ends: at ':' or the end; NULL when it is invalid. */
static inline const char *host_end(struct str text, bool *upper)
{
    const char *p = text.p, *end = text.p + text.n;
    if (*p == '[') {
        ptrdiff_t close = str_find(text, ']');
        if (close < 0 || !ip_literal(str_sub(text, 1, (size_t) close)))
            return NULL;
        *upper = true;
        return p + close + 1;
    }
    while (p < end && byte_is(*p, BYTE_HOST))
        p++;
    if (p == end || *p == ':')
        return p;
    *upper = true;
    return odd_host_end(p, end);
}

/* Takes text apart and checks it (RFC 3986 3.2.2, 3.2.3); no user info, host not empty. */
static inline bool authority_split(struct str text, struct parts *out)
{
    *out = (struct parts){.text = text, .host = text};
    /* Nearly always it is a name alone, in lower case. */
    if (bytes16_none(text, bytes16_unhost))
        return true;
    if (text.n == 0)
        return false;
    const char *p = host_end(text, &out->upper);
    if (!p || p == text.p || (p - text.p == 1 && *text.p == '.'))
        return false;
    out->host.n = (size_t) (p - text.p);
    if (out->host.n == text.n)
        return true;
    if (*p != ':' || !port_suffix(str_of(p, text.n - out->host.n), &out->port))
        return false;
    if (out->host.n + 1 == text.n)
        out->text.n--;
    return true;
}

enum fault authority_parse(struct str text, struct arena *a, struct head *into)
{
    struct parts parts;
    if (!authority_split(text, &parts))
        return FAULT_REQ_HOST;
    const char *p = parts.text.p;
    if (parts.upper) {
        char *lower = arena_alloc(a, parts.text.n);
        if (!lower)
            return FAULT_MEMORY;
        for (size_t i = 0; i < parts.text.n; i++)
            lower[i] = str_lower(p[i]);
        p = lower;
    }
    into->authority = str_of(p, parts.text.n);
    into->host = str_of(p, parts.host.n);
    if (p[into->host.n - 1] == '.')
        into->host.n--;
    into->port = parts.port;
    return FAULT_OK;
}

/* The scheme of an absolute URL, as a constant; *rest is what follows "://". */
static struct str scheme_of(struct str text, struct str *rest)
{
    struct str scheme = STR("");
    if (str_istarts(text, STR("http://")))
        scheme = STR("http");
    else if (str_istarts(text, STR("https://")))
        scheme = STR("https");
    if (scheme.n)
        *rest = str_sub(text, scheme.n + 3, text.n);
    return scheme;
}

/* Splits at the first '?' and checks the bytes of the query. */
static bool split_query(struct str text, struct str *path, struct str *query, bool *has_query)
{
    const char *mark = text.n ? memchr(text.p, '?', text.n) : NULL;
    *has_query = mark != NULL;
    *path = text;
    *query = STR("");
    if (!mark)
        return true;
    path->n = (size_t) (mark - text.p);
    *query = str_of(mark + 1, text.n - path->n - 1);
    return bytes_are(*query, BYTE_QUERY);
}

/* Where the authority of "authority/path?query" ends. */
static size_t authority_length(struct str text)
{
    size_t n = 0;
    while (n < text.n && text.p[n] != '/' && text.p[n] != '?' && text.p[n] != '#')
        n++;
    return n;
}

bool url_parse(struct str text, struct url *out, const char **why)
{
    struct str rest;
    struct parts parts;
    *out = (struct url){.port = 0};
    out->scheme = scheme_of(text, &rest);
    if (!out->scheme.n) {
        *why = "an absolute URL begins with http:// or https://";
        return false;
    }
    size_t n = authority_length(rest);
    struct str authority = str_sub(rest, 0, n);
    if (str_find(authority, '@') >= 0) {
        *why = "user name and password are not allowed in a URL";
        return false;
    }
    if (!authority_split(authority, &parts)) {
        *why = "the host or port is invalid; expected host, host:port or [ipv6]:port";
        return false;
    }
    out->authority = parts.text;
    out->host = parts.host;
    out->port = parts.port;
    rest = str_sub(rest, n, rest.n);
    if (str_find(rest, '#') >= 0) {
        *why = "a fragment (#...) is never sent to a server";
        return false;
    }
    if (!split_query(rest, &out->path, &out->query, &out->has_query)) {
        *why = "the query holds a space, a control byte or a byte beyond ASCII";
        return false;
    }
    if (!path_valid(out->path)) {
        *why = "the path holds a byte that must be percent-encoded, or a bad escape";
        return false;
    }
    return true;
}

/* "/path?query" (RFC 9112 3.2.1). */
static enum fault origin_form(struct head *h, struct arena *a, struct str raw)
{
    const char *p = raw.p, *end = raw.p + raw.n;
    bool plain = true;
    for (; p < end; p++) {
        if (byte_is(*p, BYTE_PATH))
            continue;
        if (*p == '?')
            break;
        /* A dot matters only behind a slash; everything else that is no plain byte makes
         * path_normalise look at the path once more. */
        if (*p != '.' || p[-1] == '/')
            plain = false;
    }
    struct str path = str_of(raw.p, (size_t) (p - raw.p));
    h->query = STR("");
    if (p < end) {
        h->has_query = true;
        h->query = str_of(p + 1, (size_t) (end - p) - 1);
        if (!bytes_are(h->query, BYTE_QUERY))
            return FAULT_REQ_TARGET;
    }
    if (!plain)
        return path_normalise(path, a, &h->path);
    h->path = path;
    return FAULT_OK;
}

/* "http://authority/path?query" (RFC 9112 3.2.2). */
static enum fault absolute_form(struct head *h, struct arena *a, struct str raw)
{
    struct str rest;
    struct str scheme = scheme_of(raw, &rest);
    if (!scheme.n)
        return FAULT_REQ_TARGET;
    size_t n = authority_length(rest);
    if (authority_parse(str_sub(rest, 0, n), a, h) == FAULT_MEMORY)
        return FAULT_MEMORY;
    if (!h->authority.n)
        return FAULT_REQ_TARGET;
    h->scheme = scheme;
    h->target_form = TARGET_ABSOLUTE;
    rest = str_sub(rest, n, rest.n);
    if (rest.n == 0) {
        /* RFC 9112 3.2.4: the last proxy writes OPTIONS of a whole server as "*". */
        h->path = h->method_id == METHOD_OPTIONS ? STR("*") : STR("/");
        return FAULT_OK;
    }
    if (rest.p[0] != '?')
        return origin_form(h, a, rest);
    h->path = STR("/");
    h->has_query = true;
    h->query = str_sub(rest, 1, rest.n);
    return bytes_are(h->query, BYTE_QUERY) ? FAULT_OK : FAULT_REQ_TARGET;
}

/* Every form but the one that nearly all requests have. */
RARE static enum fault odd_form(struct head *h, struct arena *a, struct str raw)
{
    if (raw.n == 0)
        return FAULT_REQ_TARGET;
    if (h->method_id == METHOD_CONNECT) {
        h->target_form = TARGET_AUTHORITY;
        enum fault bad = authority_parse(raw, a, h);
        if (bad)
            return bad == FAULT_MEMORY ? bad : FAULT_REQ_TARGET;
        h->path = STR("");
        return h->port ? FAULT_OK : FAULT_REQ_TARGET;
    }
    if (raw.p[0] != '*')
        return absolute_form(h, a, raw);
    if (raw.n != 1 || h->method_id != METHOD_OPTIONS)
        return FAULT_REQ_TARGET;
    h->target_form = TARGET_ASTERISK;
    h->path = raw;
    return FAULT_OK;
}

enum fault target_parse(struct head *h, struct arena *a, struct str raw)
{
    h->target_form = TARGET_ORIGIN;
    bool origin = raw.n && raw.p[0] == '/' && h->method_id != METHOD_CONNECT;
    return origin ? origin_form(h, a, raw) : odd_form(h, a, raw);
}

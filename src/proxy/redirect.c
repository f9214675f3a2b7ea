/* SPDX-License-Identifier: Apache-2.0 */
/* redirect.c: the Location of a redirect route, from its template and the request. Invariant: a
 * client's path never becomes the host of the Location: unless the template itself begins with
 * "//", the result has no more than one slash or backslash at its front; and a host that the
 * template asks for is there. */
#include "base/mem.h"
#include "proxy/route.h"

/* The request's part that a placeholder stands for; false: no such placeholder. */
static bool part(struct str name, const struct head *h, struct str out[3])
{
    /* A whole server (OPTIONS *) has the URL without a path (RFC 9112 3.2.4). */
    struct str path = str_eq(h->path, STR("*")) ? STR("") : h->path;
    out[0] = out[1] = out[2] = STR("");
    if (str_eq(name, STR("scheme"))) {
        out[0] = h->scheme;
    } else if (str_eq(name, STR("host"))) {
        out[0] = h->host;
    } else if (str_eq(name, STR("authority"))) {
        out[0] = h->authority;
    } else if (str_eq(name, STR("path"))) {
        out[0] = path;
    } else if (str_eq(name, STR("query"))) {
        out[0] = h->query;
    } else if (str_eq(name, STR("uri"))) {
        out[0] = path;
        out[1] = h->has_query ? STR("?") : STR("");
        out[2] = h->query;
    } else {
        return false;
    }
    return true;
}

/* Takes the text up to the next placeholder, and its name, off *rest. 0: no more; -1: no '}'. */
static int next_piece(struct str *rest, struct str *text, struct str *name)
{
    if (rest->n == 0)
        return 0;
    ptrdiff_t open = str_find(*rest, '{');
    *name = (struct str){0};
    *text = open < 0 ? *rest : str_sub(*rest, 0, (size_t) open);
    if (open < 0) {
        rest->n = 0;
        return 1;
    }
    *rest = str_sub(*rest, (size_t) open + 1, rest->n);
    ptrdiff_t close = str_find(*rest, '}');
    if (close < 0)
        return -1;
    *name = str_sub(*rest, 0, (size_t) close);
    *rest = str_sub(*rest, (size_t) close + 1, rest->n);
    return 1;
}

bool redirect_valid(struct str to, const char **why)
{
    static const struct head none;
    struct str text, name, parts[3];
    uint64_t number;
    int more;
    *why = "to is empty";
    if (to.n == 0)
        return false;
    *why = "to is a number, no URL; a status stands beside it: {to: URL, status: 301}";
    if (str_to_u64(to, &number))
        return false;
    *why = "to holds a byte that no header field may have";
    if (!field_value_valid(to))
        return false;
    *why = "unknown placeholder; there are {scheme}, {host}, {authority}, {path}, {query}, {uri}";
    while ((more = next_piece(&to, &text, &name)) > 0) {
        if (name.p && !part(name, &none, parts))
            return false;
    }
    *why = more < 0 ? "a '{' has no '}'" : NULL;
    return more == 0;
}

/* One slash at the front in place of several. */
static struct str one_slash(struct str location)
{
    size_t n = 0;
    while (n < location.n && (location.p[n] == '/' || location.p[n] == '\\'))
        n++;
    if (n < 2 || location.p[0] != '/')
        return location;
    char *p = (char *) (uintptr_t) location.p; /* the caller's fresh copy */
    p[n - 1] = '/';
    return str_sub(location, n - 1, location.n);
}

enum fault redirect_location(const struct redirect_conf *c, const struct head *h, struct arena *a,
                             struct str *to)
{
    size_t n = 0, most = 4;
    for (size_t i = 0; i < c->to.n; i++)
        most += c->to.p[i] == '{' ? 4 : 0;
    struct str *parts = arena_alloc(a, most * sizeof(*parts));
    *to = (struct str){0};
    if (!parts)
        return FAULT_MEMORY;
    struct str rest = c->to, name;
    while (next_piece(&rest, &parts[n], &name) > 0) {
        n++;
        if (!name.p)
            continue;
        if (!h->host.n && (str_eq(name, STR("host")) || str_eq(name, STR("authority"))))
            return FAULT_REQ_HOST; /* only HTTP/1.0 leaves it out */
        if (part(name, h, &parts[n]))
            n += 3;
    }
    struct str location = arena_join(a, parts, n);
    if (!location.p)
        return FAULT_MEMORY;
    if (!field_value_valid(location))
        return FAULT_REWRITE;
    *to = str_starts(c->to, STR("//")) ? location : one_slash(location);
    return FAULT_OK;
}

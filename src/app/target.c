/* SPDX-License-Identifier: Apache-2.0 */
/* target.c: see target.h. Holds no state. */
#include "app/target.h"

#include "http/url.h"
#include "net/addr.h"

/* "?query" for a replacement, where '$' has a meaning. */
static struct str query_replacement(struct str query, struct arena *a)
{
    char *out = arena_alloc(a, 2 * query.n + 1);
    size_t n = 0;
    if (!out)
        return STR("");
    out[n++] = '?';
    for (size_t i = 0; i < query.n; i++) {
        if (query.p[i] == '$')
            out[n++] = '$';
        out[n++] = query.p[i];
    }
    return str_of(out, n);
}

const char *target_read(struct target *t, struct str url, struct arena *a)
{
    *t = (struct target){.host = STR("upstream")};
    struct url u;
    struct addr_text parts;
    const char *why = NULL;
    if (str_starts(url, STR("unix:"))) {
        t->endpoint = arena_str(a, url);
        return addr_split(url, 0, &parts, &why) ? NULL : why;
    }
    if (!url_parse(url, &u, &why))
        return why;
    t->tls = str_ieq(u.scheme, STR("https"));
    unsigned port = u.port ? u.port : t->tls ? 443u : 80u;
    t->endpoint = arena_printf(a, "%.*s:%u", STR_ARG(u.host), port);
    if (!addr_split(t->endpoint, 0, &parts, &why))
        return why;
    t->host = arena_str(a, u.authority);
    /* A request's path begins with the slash. */
    bool slash = str_ends(u.path, STR("/"));
    t->prefix = arena_str(a, str_sub(u.path, 0, u.path.n - slash));
    t->query = u.query.n ? query_replacement(u.query, a) : STR("");
    return NULL;
}

void target_rewrite(const struct target *t, bool host_rewrite, struct rewrite_conf *out)
{
    out->add_prefix = t->prefix;
    if (t->query.n) {
        out->regex = STR("$");
        out->replace = t->query;
    }
    if (host_rewrite)
        out->host = t->host;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite.c: what a route does to target and Host on the way upstream. In this order:
 * strip_prefix, add_prefix, regex with replace; host is independent of them.
 * Invariants:
 * 1. A path that leaves here begins with '/', is normalised, and no dot segment made by a rewrite
 *    climbed: what was captured from a client never leaves the prefix it was put behind.
 * 2. Everything that can be wrong whatever the request is found by rewrite_new. */
#include "base/mem.h"
#include "http/url.h"
#include "proxy/pattern.h"
#include "proxy/route.h"

/* A piece of a replacement: text, then a group. */
struct replace_piece {
    struct str text;
    int group; /* -1: none */
};

struct rewrite {
    struct arena arena;
    bool host_upstream;         /* Host is the endpoint's */
    struct str authority, host; /* Host is this; empty: unchanged */
    uint16_t port;
    struct str strip, add; /* without and with '/' at the end as written */
    struct pattern *regex;
    struct replace_piece *pieces;
    uint32_t n_pieces;
};

/* ---- compiling ---------------------------------------------------------------------------- */

/* Reads "$1" or "${1}" at text[*at]; the group, -1 for "$$" (a plain '$'), -2 when malformed. */
static int read_group(struct str text, size_t *at)
{
    size_t i = *at + 1;
    if (i < text.n && text.p[i] == '$') {
        *at = i + 1;
        return -1;
    }
    bool braces = i < text.n && text.p[i] == '{';
    i += braces;
    if (i >= text.n || text.p[i] < '0' || text.p[i] > '9')
        return -2;
    int group = text.p[i++] - '0';
    if (braces && (i >= text.n || text.p[i++] != '}'))
        return -2;
    *at = i;
    return group;
}

/* Splits a replacement into pieces. */
static bool read_replace(struct rewrite *w, struct str text, char **why)
{
    w->pieces = arena_alloc(&w->arena, (text.n + 1) * sizeof(*w->pieces));
    size_t at = 0;
    while (at < text.n) {
        ptrdiff_t dollar = str_find(str_sub(text, at, text.n), '$');
        size_t end = dollar < 0 ? text.n : at + (size_t) dollar;
        struct replace_piece *p = &w->pieces[w->n_pieces++];
        *p = (struct replace_piece){str_sub(text, at, end), -1};
        size_t start = at;
        at = end;
        if (end == text.n)
            break;
        p->group = read_group(text, &at);
        if (p->group == -2) {
            *why = mem_printf("replace: after '$' comes a digit, {digit} or another '$'");
            return false;
        }
        if (p->group > (int) pattern_groups(w->regex)) {
            *why = mem_printf("replace: there is no group $%d in regex", p->group);
            return false;
        }
        if (p->group == -1)
            p->text = str_sub(text, start, end + 1);
    }
    return true;
}

static bool read_regex(struct rewrite *w, const struct rewrite_conf *c, char **why)
{
    char *problem = NULL;
    w->regex = pattern_new(c->regex, false, &problem);
    if (!w->regex) {
        *why = mem_printf("regex: %s", problem);
        mem_free(problem);
        return false;
    }
    for (size_t i = 0; i < c->replace.n; i++) {
        unsigned char b = (unsigned char) c->replace.p[i];
        if (b <= ' ' || b >= 0x7f || b == '#') {
            *why =
                mem_printf("replace holds a byte that no target may have; escape it as %%%02X", b);
            return false;
        }
    }
    return read_replace(w, c->replace, why);
}

/* A prefix as it will stand in a normalised path. */
static bool read_prefix(struct rewrite *w, const char *name, struct str text, struct str *out,
                        char **why)
{
    if (text.n == 0)
        return true;
    if (text.p[0] != '/' || str_find(text, '?') >= 0 ||
        path_normalise(text, &w->arena, out) != FAULT_OK) {
        *why = mem_printf("%s '%.*s' is not a path; it begins with / and has no query", name,
                          STR_ARG(text));
        return false;
    }
    return true;
}

static bool read_host(struct rewrite *w, struct str host, char **why)
{
    struct head h = {0};
    w->host_upstream = str_eq(host, STR("upstream"));
    if (host.n == 0 || w->host_upstream)
        return true;
    if (authority_parse(host, &w->arena, &h) != FAULT_OK) {
        *why = mem_printf("host '%.*s' is neither a host name nor 'upstream'", STR_ARG(host));
        return false;
    }
    w->authority = h.authority;
    w->host = h.host;
    w->port = h.port;
    return true;
}

struct rewrite *rewrite_new(const struct rewrite_conf *c, char **why)
{
    *why = NULL;
    if (!c->host.n && !c->strip_prefix.n && !c->add_prefix.n && !c->regex.n && !c->replace.n)
        return NULL;
    if (c->replace.n && !c->regex.n) {
        *why = mem_printf("replace needs regex: what is to be replaced?");
        return NULL;
    }
    struct rewrite *w = mem_new(sizeof(*w));
    arena_init(&w->arena, NULL, SIZE_MAX);
    struct rewrite_conf own = *c; /* strings of its own: it may outlive the text it came from */
    own.host = arena_str(&w->arena, c->host);
    own.replace = arena_str(&w->arena, c->replace);
    own.strip_prefix = arena_str(&w->arena, c->strip_prefix);
    own.add_prefix = arena_str(&w->arena, c->add_prefix);
    if (read_host(w, own.host, why) &&
        read_prefix(w, "strip_prefix", own.strip_prefix, &w->strip, why) &&
        read_prefix(w, "add_prefix", own.add_prefix, &w->add, why) &&
        (!c->regex.n || read_regex(w, &own, why))) {
        while (w->strip.n && w->strip.p[w->strip.n - 1] == '/')
            w->strip.n--;
        return w;
    }
    rewrite_free(w);
    return NULL;
}

void rewrite_free(struct rewrite *w)
{
    if (!w)
        return;
    pattern_free(w->regex);
    arena_fini(&w->arena);
    mem_free(w);
}

/* ---- applying ----------------------------------------------------------------------------- */

/* Takes the prefix off, at a segment border; other paths stay as they are. */
static struct str strip(struct str path, struct str prefix)
{
    if (prefix.n == 0 || !str_starts(path, prefix))
        return path;
    if (path.n == prefix.n)
        return STR("/");
    return path.p[prefix.n] == '/' ? str_sub(path, prefix.n, path.n) : path;
}

static size_t slashes(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += s.p[i] == '/';
    return n;
}

/* The path with the first match of the regex replaced; p is NULL when memory is refused. */
static struct str replaced(const struct rewrite *w, struct str path, struct pattern_run *run)
{
    size_t n = 2 * (size_t) w->n_pieces + 2, at = 0;
    struct str *parts = arena_alloc(run->arena, n * sizeof(*parts));
    if (!parts)
        return (struct str){0};
    struct str match = pattern_group(run, path, 0);
    size_t from = (size_t) (match.p - path.p);
    parts[at++] = str_sub(path, 0, from);
    for (uint32_t i = 0; i < w->n_pieces; i++) {
        const struct replace_piece *p = &w->pieces[i];
        parts[at++] = p->text;
        parts[at++] = p->group >= 0 ? pattern_group(run, path, (uint32_t) p->group) : STR("");
    }
    parts[at++] = str_sub(path, from + match.n, path.n);
    return arena_join(run->arena, parts, at);
}

/* Takes the target that a replacement made apart and checks it. A '?' begins a query, which goes
 * before the client's. */
static enum fault set_target(struct head *out, struct arena *a, struct str target)
{
    ptrdiff_t mark = str_find(target, '?');
    struct str path = mark < 0 ? target : str_sub(target, 0, (size_t) mark);
    if (mark >= 0) {
        struct str query = str_sub(target, (size_t) mark + 1, target.n);
        out->has_query = true;
        if (query.n && out->query.n)
            query = query_join(query, out->query, a);
        else if (out->query.n)
            query = out->query;
        if (query.n < out->query.n)
            return FAULT_MEMORY;
        out->query = query;
    }
    if (path.n == 0 || path.p[0] != '/')
        return FAULT_REWRITE;
    enum fault f = path_normalise(path, a, &out->path);
    if (f != FAULT_OK)
        return f == FAULT_MEMORY ? f : FAULT_REWRITE;
    return slashes(out->path) == slashes(path) ? FAULT_OK : FAULT_REWRITE;
}

static enum fault apply_regex(const struct rewrite *w, struct head *out, struct arena *a)
{
    struct pattern_run run = {.arena = a};
    bool yes;
    enum fault f = pattern_match(w->regex, out->path, &run, &yes);
    struct str target = out->path;
    if (f == FAULT_OK && yes) {
        target = replaced(w, out->path, &run);
        f = target.p ? set_target(out, a, target) : FAULT_MEMORY;
    }
    pattern_run_end(&run);
    return f;
}

static enum fault apply_host(const struct rewrite *w, struct head *out, struct arena *a,
                             struct str endpoint)
{
    if (!w->host_upstream) {
        out->authority = w->authority;
        out->host = w->host;
        out->port = w->port;
        return FAULT_OK;
    }
    if (str_starts(endpoint, STR("unix:")))
        endpoint = STR("localhost");
    enum fault f = authority_parse(endpoint, a, out);
    return f == FAULT_OK || f == FAULT_MEMORY ? f : FAULT_REWRITE;
}

enum fault rewrite_apply(const struct rewrite *w, struct head *out, struct arena *a,
                         struct str endpoint)
{
    if (w->host_upstream || w->authority.n) {
        enum fault f = apply_host(w, out, a, endpoint);
        if (f != FAULT_OK)
            return f;
    }
    if (out->path.n == 0 || out->path.p[0] != '/')
        return FAULT_OK; /* "*" and CONNECT have no path */
    out->path = strip(out->path, w->strip);
    if (w->add.n) {
        out->path = path_join(w->add, out->path, a);
        if (!out->path.p)
            return FAULT_MEMORY;
    }
    return w->regex ? apply_regex(w, out, a) : FAULT_OK;
}

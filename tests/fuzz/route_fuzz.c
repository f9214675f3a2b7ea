/* SPDX-License-Identifier: Apache-2.0 */
/* Random rules and requests: the router must answer as a plain list does that looks at every rule
 * and keeps the best. */
#include <stdio.h>

#include "base/mem.h"
#include "base/panic.h"
#include "http/url.h"
#include "proxy/route.h"

#define RULES 40
#define REQUESTS 12

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The input, byte by byte; 0 when it is used up. */
struct input {
    const uint8_t *at;
    size_t left;
};

static unsigned take(struct input *in, unsigned below)
{
    if (in->left == 0)
        return 0;
    in->left--;
    return *in->at++ % below;
}

/* Regexes whose meaning is easy to say in C. */
enum regex { REGEX_NONE, REGEX_BEGINS, REGEX_ENDS, REGEX_ALL };
static const char *const regexes[] = {"", "/a", "/.*b$", ""};

/* One rule as the list sees it. */
struct plain {
    char host[32], path[256];
    bool wildcard, prefix, header, query;
    enum regex regex;
    unsigned methods; /* 1 GET, 2 POST, 4 BREW; 0: any */
};

struct sample {
    char host[32], path[256];
    unsigned method; /* 0 GET, 1 POST, 2 BREW */
    bool header, query;
};

static const char *const method_names[] = {"GET", "POST", "BREW"};

static void make_host(struct input *in, char out[32])
{
    static const char *const labels[] = {"a", "b", "ab", "example"};
    out[0] = 0;
    for (unsigned i = 0, n = take(in, 4); i < n; i++) {
        size_t at = strlen(out);
        snprintf(out + at, 32 - at, "%s%s", i ? "." : "", labels[take(in, 4)]);
    }
}

/* Up to seven segments; "" is the path "/" or, for a rule, none. */
static void make_path(struct input *in, char out[256])
{
    static const char *const segments[] = {
        "", "a", "b", "ab", "aa", "%2F", "x", "long-enough-for-more-than-one-node-of-the-trie"};
    static const char *const letters = "0123456789cdefghijklmnopqrstuvwyz";
    out[0] = 0;
    for (unsigned i = 0, n = take(in, 6); i < n; i++) {
        size_t at = strlen(out);
        unsigned s = take(in, 10);
        if (s < 8)
            snprintf(out + at, 256 - at, "/%s", segments[s]);
        else
            snprintf(out + at, 256 - at, "/%c", letters[take(in, 33)]);
    }
}

static void make_rule(struct input *in, struct plain *p)
{
    make_host(in, p->host);
    unsigned kind = take(in, 64);
    p->wildcard = (kind & 3) == 1 && p->host[0];
    unsigned path = kind >> 2 & 7;
    p->regex = path == 0 ? (enum regex)(1 + take(in, 3)) : REGEX_NONE;
    p->prefix = path >= 4;
    if (path)
        make_path(in, p->path);
    unsigned more = take(in, 128);
    p->methods = more & 1 ? more >> 1 & 7 : 0;
    p->header = (more >> 4 & 3) == 3;
    p->query = (more >> 5 & 3) == 3;
}

static bool host_takes(const struct plain *p, const char *host)
{
    size_t n = strlen(host), m = strlen(p->host);
    if (m == 0)
        return true;
    if (!p->wildcard)
        return strcmp(host, p->host) == 0;
    return n > m + 1 && host[n - m - 1] == '.' && strcmp(host + n - m, p->host) == 0;
}

static bool path_takes(const struct plain *p, const char *path)
{
    size_t n = strlen(path), m = strlen(p->path);
    switch (p->regex) {
    case REGEX_BEGINS:
        return strncmp(path, "/a", 2) == 0;
    case REGEX_ENDS:
        return path[n - 1] == 'b';
    case REGEX_ALL: /* an empty regex is no regex: the rule has no path */
        return true;
    case REGEX_NONE:
        break;
    }
    if (p->prefix)
        return strncmp(path, p->path, m) == 0 && (path[m] == 0 || path[m] == '/');
    return m == 0 || strcmp(path, p->path) == 0;
}

static bool method_takes(const struct plain *p, const struct sample *s)
{
    return p->methods == 0 || (p->methods >> s->method & 1);
}

/* How specific a rule is: compared number by number, larger first. */
struct rank {
    size_t host, kind, length, conditions, place;
};

static struct rank rank_of(const struct plain *rules, size_t i)
{
    const struct plain *p = &rules[i];
    struct rank r = {0};
    if (p->host[0])
        r.host = p->wildcard ? strlen(p->host) : 1000;
    bool regex = p->regex == REGEX_BEGINS || p->regex == REGEX_ENDS;
    r.kind = regex ? 2 : p->prefix && p->regex == REGEX_NONE ? 1 : p->path[0] ? 3 : 0;
    if (r.kind == 1)
        r.length = strlen(p->path);
    /* Rules with one regex go together, in the place of the first of that host. */
    for (size_t j = 0; regex && j <= i; j++) {
        if (rules[j].regex == p->regex && rules[j].wildcard == p->wildcard &&
            strcmp(rules[j].host, p->host) == 0) {
            r.length = 1000 - j;
            break;
        }
    }
    r.conditions = (size_t) (p->methods != 0) + p->header + p->query;
    r.place = 1000 - i;
    return r;
}

static bool better(struct rank a, struct rank b)
{
    const size_t x[] = {a.host, a.kind, a.length, a.conditions, a.place};
    const size_t y[] = {b.host, b.kind, b.length, b.conditions, b.place};
    for (size_t i = 0; i < 5; i++) {
        if (x[i] != y[i])
            return x[i] > y[i];
    }
    return false;
}

/* The rule that answers, by looking at all; -1: none; -2: only the method differs. */
static int list_match(const struct plain *rules, size_t n, const struct sample *s)
{
    int best = -1;
    bool refused = false;
    for (size_t i = 0; i < n; i++) {
        const struct plain *p = &rules[i];
        if (!host_takes(p, s->host) || !path_takes(p, s->path) || (p->header && !s->header) ||
            (p->query && !s->query))
            continue;
        refused = refused || !method_takes(p, s);
        if (method_takes(p, s) &&
            (best < 0 || better(rank_of(rules, i), rank_of(rules, (size_t) best))))
            best = (int) i;
    }
    return best < 0 && refused ? -2 : best;
}

/* The same rule for the router; strings live in a. */
static void make_match(const struct plain *p, struct match_conf *m, struct arena *a)
{
    static struct str header = {"x-a", 3}, query = {"q", 1}, values[] = {{"1", 1}, {"*", 1}};
    *m = (struct match_conf){0};
    m->host = arena_printf(a, "%s%s", p->wildcard ? "*." : "", p->host);
    if (p->regex != REGEX_NONE)
        m->path_regex = str_c(regexes[p->regex]);
    else
        m->path = arena_printf(a, "%s%s", p->path, p->prefix ? "/*" : "");
    struct str *names = arena_alloc(a, 3 * sizeof(*names));
    m->methods.items = names;
    for (unsigned i = 0; i < 3; i++) {
        if (p->methods >> i & 1)
            names[m->methods.n++] = str_c(method_names[i]);
    }
    if (p->header)
        m->headers = (struct schema_map){&header, &values[0], 1};
    if (p->query)
        m->query = (struct schema_map){&query, &values[1], 1};
}

static struct head make_head(const struct sample *s, struct arena *a)
{
    struct head h = {.method = str_c(method_names[s->method]),
                     .host = str_c(s->host),
                     .path = str_c(s->path),
                     .query = s->query ? STR("p&q=2") : STR(""),
                     .has_query = s->query};
    h.method_id = (uint8_t) method_id(h.method);
    fields_init(&h.fields, a);
    must(!s->header || fields_add(&h.fields, STR("X-A"), STR("1")));
    return h;
}

static void ignore(void *arg, const struct route *r, const char *verdict)
{
    (void) arg;
    (void) r;
    must(verdict && verdict[0]);
}

/* One request to both. */
static void compare(const struct router *router, const struct route *routes,
                    const struct plain *rules, size_t n, const struct sample *s)
{
    struct arena a;
    arena_init(&a, NULL, 1 << 20);
    struct head h = make_head(s, &a);
    struct str allow = {0};
    enum fault fault;
    struct routed to = router_match(router, &h, &a, &fault, &allow);
    const struct route *got = to.route;
    int want = list_match(rules, n, s);
    must(to.plan == (got ? got->plan : NULL));
    if (want >= 0)
        must(got == &routes[want]);
    else
        must(!got && fault == (want == -1 ? FAULT_NO_ROUTE : FAULT_NO_METHOD));
    must((fault == FAULT_NO_METHOD) == (allow.n > 0));
    must(router_explain(router, &h, &a, ignore, NULL) == got);
    arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct input in = {bytes, n_bytes};
    struct plain rules[RULES] = {0};
    struct match_conf matches[RULES];
    struct route routes[RULES] = {0};
    struct plan plans[RULES] = {0};
    struct router_rule list[RULES];
    struct arena a;
    arena_init(&a, NULL, SIZE_MAX);
    size_t n = take(&in, RULES + 1), bad;
    for (size_t i = 0; i < n; i++) {
        make_rule(&in, &rules[i]);
        make_match(&rules[i], &matches[i], &a);
        routes[i].refs = 1;
        routes[i].plan = &plans[i];
        list[i] = (struct router_rule){&matches[i], &routes[i]};
    }
    char *why = NULL;
    struct router *router = router_new(list, n, &why, &bad);
    must(router != NULL);
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct sample s = {.method = take(&in, 3)};
        unsigned more = take(&in, 4);
        s.header = more & 1;
        s.query = more & 2;
        make_host(&in, s.host);
        make_path(&in, s.path);
        if (!s.path[0])
            s.path[0] = '/';
        compare(router, routes, rules, n, &s);
    }
    router_free(router);
    arena_fini(&a);
    return 0;
}

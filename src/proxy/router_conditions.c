/* SPDX-License-Identifier: Apache-2.0 */
/* router_conditions.c: what a rule asks beyond host and path: method, header fields, query.
 * Invariant: a rule without conditions has no struct conditions, so that the common rule costs one
 * test for NULL. */
#include "base/mem.h"
#include "http/url.h"
#include "net/client_hello.h"
#include "proxy/router_inside.h"

/* Compiles one header or query condition: value, "*" or "~regex". */
static bool condition_init(struct condition *c, struct str name, struct str text, char **why)
{
    *c = (struct condition){.name = name, .value = text, .kind = CONDITION_EQUAL};
    if (str_eq(text, STR("*"))) {
        c->kind = CONDITION_PRESENT;
    } else if (str_starts(text, STR("~"))) {
        c->kind = CONDITION_REGEX;
        char *problem = NULL;
        c->regex = pattern_new(str_sub(text, 1, text.n), false, &problem);
        if (!c->regex) {
            *why = mem_printf("%.*s: %s", STR_ARG(name), problem);
            mem_free(problem);
            return false;
        }
    }
    return true;
}

/* Compiles a map of conditions. *n counts what was compiled, also when a later one fails. */
static bool conditions_map(const struct schema_map *from, struct arena *a, struct condition **out,
                           uint32_t *n, char **why)
{
    if (from->n == 0)
        return true;
    *out = arena_zalloc(a, from->n * sizeof(**out));
    const struct str *texts = from->items;
    for (size_t i = 0; i < from->n; i++) {
        if (!condition_init(&(*out)[i], from->names[i], texts[i], why))
            return false;
        ++*n;
    }
    return true;
}

/* Upper case of a method that was written in lower case, if that is a method we know. */
static bool method_misspelt(struct str name)
{
    char upper[8];
    if (name.n > sizeof(upper))
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        upper[i] = (c >= 'a' && c <= 'z') ? (char) (c & ~0x20) : c;
    }
    return method_id(name) == METHOD_OTHER && method_id(str_of(upper, name.n)) != METHOD_OTHER;
}

static bool conditions_methods(const struct match_conf *m, struct arena *a, struct conditions *c,
                               char **why)
{
    if (m->methods.n == 0)
        return true;
    struct str *names = arena_alloc(a, (m->methods.n + 1) * sizeof(*names));
    memcpy(names, m->methods.items, m->methods.n * sizeof(*names));
    c->names = names;
    c->n_names = (uint32_t) m->methods.n;
    for (uint32_t i = 0; i < c->n_names; i++) {
        if (!field_name_valid(names[i])) { /* a method is a token, too (RFC 9110 9.1) */
            *why = mem_printf("'%.*s' is not a method", STR_ARG(names[i]));
            return false;
        }
        if (method_misspelt(names[i])) {
            *why = mem_printf("methods are case-sensitive: write '%.*s' in upper case",
                              STR_ARG(names[i]));
            return false;
        }
        c->methods |= 1u << method_id(names[i]);
    }
    /* Who answers GET answers HEAD (RFC 9110 9.3.2). */
    if ((c->methods & (1u << METHOD_GET)) && !(c->methods & (1u << METHOD_HEAD))) {
        names[c->n_names++] = STR("HEAD");
        c->methods |= 1u << METHOD_HEAD;
    }
    return true;
}

bool conditions_new(const struct match_conf *m, struct arena *a, struct conditions **out,
                    char **why)
{
    *out = NULL;
    if (m->methods.n == 0 && m->headers.n == 0 && m->query.n == 0 && m->sni.n == 0 &&
        m->alpn.n == 0)
        return true;
    struct conditions *c = arena_zalloc(a, sizeof(*c));
    *out = c; /* to be freed by the router, also when it is not complete */
    struct str *protocols = arena_alloc(a, (m->alpn.n + 1) * sizeof(*protocols));
    if (m->alpn.n)
        memcpy(protocols, m->alpn.items, m->alpn.n * sizeof(*protocols));
    c->alpn = protocols;
    c->n_alpn = (uint32_t) m->alpn.n;
    c->sni_wild = str_starts(m->sni, STR("*."));
    c->sni = c->sni_wild ? str_sub(m->sni, 1, m->sni.n) : m->sni;
    if (!conditions_methods(m, a, c, why) ||
        !conditions_map(&m->headers, a, &c->headers, &c->n_headers, why) ||
        !conditions_map(&m->query, a, &c->query, &c->n_query, why))
        return false;
    for (uint32_t i = 0; i < c->n_headers; i++) {
        if (!field_name_valid(c->headers[i].name)) {
            *why = mem_printf("'%.*s' is not a header field name", STR_ARG(c->headers[i].name));
            return false;
        }
        c->headers[i].field = (uint8_t) field_id(c->headers[i].name);
    }
    return true;
}

void conditions_free(struct conditions *c)
{
    for (uint32_t i = 0; i < c->n_headers; i++)
        pattern_free(c->headers[i].regex);
    for (uint32_t i = 0; i < c->n_query; i++)
        pattern_free(c->query[i].regex);
}

uint32_t conditions_count(const struct conditions *c)
{
    if (!c)
        return 0;
    return (c->n_names > 0 ? 1u : 0u) + (c->n_alpn > 0 ? 1u : 0u) + (c->sni.n > 0 ? 1u : 0u) +
           c->n_headers + c->n_query;
}

static bool method_allowed(const struct conditions *c, const struct head *h)
{
    if (c->n_names == 0)
        return true;
    if (h->method_id != METHOD_OTHER)
        return (c->methods >> h->method_id) & 1;
    for (uint32_t i = 0; (c->methods & (1u << METHOD_OTHER)) && i < c->n_names; i++) {
        if (str_eq(c->names[i], h->method))
            return true;
    }
    return false;
}

/* One value against one condition. */
static bool value_holds(const struct condition *c, struct str value, struct walk *w)
{
    bool yes = false;
    switch ((enum condition_kind) c->kind) {
    case CONDITION_EQUAL:
        return str_eq(c->value, value);
    case CONDITION_PRESENT:
        return true;
    case CONDITION_REGEX:
        w->fault = pattern_match(c->regex, value, &w->run, &yes);
        return yes;
    }
    return false;
}

/* Any field of that name will do. */
static bool header_holds(const struct condition *c, struct walk *w)
{
    const struct fields *f = &w->head->fields;
    if (c->field != FIELD_OTHER && !fields_has(f, c->field))
        return false;
    for (uint32_t i = 0; i < f->n && w->fault == FAULT_OK; i++) {
        const struct field *x = &f->v[i];
        if (x->id == c->field && (c->field != FIELD_OTHER || str_ieq(x->name, c->name)) &&
            value_holds(c, x->value, w))
            return true;
    }
    return false;
}

/* Any parameter of that name will do: of several, who stands behind may take any. */
static bool query_holds(const struct condition *c, struct walk *w)
{
    struct str rest = w->head->query, value;
    if (!w->room && rest.n && !(w->room = arena_alloc(w->run.arena, rest.n)))
        w->fault = FAULT_MEMORY;
    bool yes = false;
    w->run.turn = 0;
    while (!yes && w->fault == FAULT_OK && query_param(&rest, c->name, w->room, &value)) {
        w->run.turn++;
        yes = value_holds(c, value, w);
    }
    w->run.turn = 0;
    return yes;
}

/* The TLS connection is one that c asks for. */
static bool tls_holds(const struct conditions *c, const struct head *h)
{
    bool offered = c->n_alpn == 0;
    for (uint32_t i = 0; i < c->n_alpn && !offered; i++)
        offered = client_hello_offers(h->alpn, c->alpn[i]);
    if (c->sni_wild)
        return offered && h->sni.n > c->sni.n && str_ends(h->sni, c->sni);
    return offered && (c->sni.n == 0 || str_eq(h->sni, c->sni));
}

enum verdict conditions_test(const struct conditions *c, struct walk *w,
                             const struct condition **which)
{
    const struct condition *failed = NULL;
    enum verdict v = VERDICT_HOLD;
    if ((c->sni.n || c->n_alpn) && !tls_holds(c, w->head))
        return VERDICT_TLS;
    for (uint32_t i = 0; i < c->n_headers && !failed; i++) {
        if (!header_holds(&c->headers[i], w)) {
            failed = &c->headers[i];
            v = VERDICT_HEADER;
        }
    }
    for (uint32_t i = 0; i < c->n_query && !failed; i++) {
        if (!query_holds(&c->query[i], w)) {
            failed = &c->query[i];
            v = VERDICT_QUERY;
        }
    }
    if (which)
        *which = failed;
    if (w->fault != FAULT_OK)
        return VERDICT_FAULT;
    /* The method last: 405 is the answer only where nothing else differs. */
    if (!failed && !method_allowed(c, w->head))
        return VERDICT_METHOD;
    return v;
}

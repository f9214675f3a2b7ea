/* SPDX-License-Identifier: Apache-2.0 */
/* headers.c: see headers.h.
 * Invariants:
 * 1. A compiled rule's name was accepted by field_rule_wrong: no rule touches framing or Host.
 * 2. Compiled rules are constant; what they make for one exchange lies in its arena. */
#include "features/headers.h"

#include "base/panic.h"
#include "features/registry.h"
#include "proxy/exchange.h"
#include "proxy/field_rule.h"

enum piece_kind {
    PIECE_TEXT, /* as it stands */
    PIECE_CLIENT_IP,
    PIECE_HOST,
    PIECE_SCHEME,
    PIECE_REQUEST_ID,
    PIECE_ROUTE,
    PIECE_IDENTITY,
    PIECE_META, /* text is the key */
};

struct piece {
    enum piece_kind kind;
    struct str text;
};

struct header_rule {
    struct str name;
    uint32_t n;
    struct piece *pieces;
};

struct header_rules {
    uint32_t n_set, n_add, n_remove;
    struct header_rule *set, *add;
    struct str *remove;
};

static const struct {
    struct str name;
    enum piece_kind kind;
} placeholders[] = {
    {{"client_ip", 9}, PIECE_CLIENT_IP}, {{"host", 4}, PIECE_HOST},
    {{"scheme", 6}, PIECE_SCHEME},       {{"request_id", 10}, PIECE_REQUEST_ID},
    {{"route", 5}, PIECE_ROUTE},         {{"identity", 8}, PIECE_IDENTITY},
};

/* What stands between braces. */
static bool placeholder(struct str name, struct piece *out)
{
    for (size_t i = 0; i < SCHEMA_COUNT(placeholders); i++) {
        if (str_eq(name, placeholders[i].name)) {
            *out = (struct piece){placeholders[i].kind, STR("")};
            return true;
        }
    }
    struct str meta = STR("meta.");
    if (!str_starts(name, meta) || name.n == meta.n)
        return false;
    *out = (struct piece){PIECE_META, str_sub(name, meta.n, name.n)};
    return true;
}

/* Takes the next piece off *rest. False at the end, or with *why when it is malformed. */
static bool next_piece(struct str *rest, struct piece *out, const char **why)
{
    if (rest->n == 0)
        return false;
    if (str_starts(*rest, STR("{{"))) {
        *out = (struct piece){PIECE_TEXT, str_sub(*rest, 0, 1)};
        *rest = str_sub(*rest, 2, rest->n);
        return true;
    }
    ptrdiff_t open = str_find(*rest, '{');
    if (open != 0) {
        size_t n = open < 0 ? rest->n : (size_t) open;
        *out = (struct piece){PIECE_TEXT, str_sub(*rest, 0, n)};
        *rest = str_sub(*rest, n, rest->n);
        return true;
    }
    ptrdiff_t close = str_find(*rest, '}');
    if (close < 0) {
        *why = "'{' has no '}'; write '{{' for a brace";
        return false;
    }
    if (!placeholder(str_sub(*rest, 1, (size_t) close), out)) {
        *why = "unknown name between braces; there are {client_ip}, {host}, {scheme}, "
               "{request_id}, {route}, {identity} and {meta.NAME}, and '{{' for a brace";
        return false;
    }
    *rest = str_sub(*rest, (size_t) close + 1, rest->n);
    return true;
}

const char *headers_template_wrong(struct str text)
{
    if (!field_value_valid(text))
        return "a field value holds no control byte and no space at its ends (RFC 9110 5.5)";
    const char *why = NULL;
    struct piece piece;
    while (next_piece(&text, &piece, &why))
        continue;
    return why;
}

/* ---- compiling ------------------------------------------------------------------------------ */

static bool compile_rule(struct header_rule *r, struct str name, struct str text, struct arena *a)
{
    const char *why = NULL;
    struct piece piece;
    struct str rest = text;
    uint32_t n = 0;
    while (next_piece(&rest, &piece, &why))
        n++;
    *r = (struct header_rule){.name = name, .n = n};
    r->pieces = arena_alloc(a, (n + 1) * sizeof(*r->pieces));
    if (!r->pieces)
        return false;
    for (uint32_t i = 0; i < n; i++)
        (void) next_piece(&text, &r->pieces[i], &why);
    return why == NULL;
}

static struct header_rule *compile_map(const struct schema_map *map, struct arena *a, uint32_t *n)
{
    const struct str *values = map->items;
    struct header_rule *rules = arena_alloc(a, (map->n + 1) * sizeof(*rules));
    bool fine = rules != NULL;
    for (size_t i = 0; fine && i < map->n; i++)
        fine = compile_rule(&rules[i], map->names[i], values[i], a);
    must(fine); /* the text passed check, and the memory of a configuration has no limit */
    *n = (uint32_t) map->n;
    return rules;
}

static void prepare(void *route_conf, struct arena *a)
{
    struct headers_conf *conf = route_conf;
    struct header_rules *rules = arena_zalloc(a, sizeof(*rules));
    must(rules);
    rules->set = compile_map(&conf->set, a, &rules->n_set);
    rules->add = compile_map(&conf->add, a, &rules->n_add);
    rules->remove = conf->remove.items;
    rules->n_remove = (uint32_t) conf->remove.n;
    conf->rules = rules;
}

static bool active(const void *route_conf)
{
    const struct headers_conf *conf = route_conf;
    return conf->set.n + conf->add.n + conf->remove.n > 0;
}

/* ---- running -------------------------------------------------------------------------------- */

static struct str meta_value(const struct route *route, struct str key)
{
    const struct schema_map *meta = &route->plan->settings->meta;
    const struct str *values = meta->items;
    for (size_t i = 0; i < meta->n; i++) {
        if (str_eq(meta->names[i], key))
            return values[i];
    }
    return STR("");
}

/* The client's address; empty when it came by a unix socket and told of none. */
static struct str client_text(struct exchange *x)
{
    static const struct ip none;
    if (memcmp(&x->client_ip, &none, sizeof(none)) == 0)
        return STR("");
    char *at = arena_alloc(&x->arena, 46);
    return at ? str_of(at, ip_print(x->client_ip, at)) : (struct str){NULL, 0};
}

/* The text of one piece for x; p is NULL when memory is refused. */
static struct str piece_text(struct exchange *x, const struct piece *p)
{
    switch (p->kind) {
    case PIECE_TEXT:
        return p->text;
    case PIECE_CLIENT_IP:
        return client_text(x);
    case PIECE_HOST:
        return x->in->authority.p ? x->in->authority : STR("");
    case PIECE_SCHEME:
        return x->in->scheme.p ? x->in->scheme : STR("");
    case PIECE_REQUEST_ID:
        return x->request_id.p ? x->request_id : STR("");
    case PIECE_IDENTITY:
        return x->identity.p ? x->identity : STR("");
    case PIECE_ROUTE:
        return x->route->name.p ? x->route->name : STR("");
    case PIECE_META:
        return meta_value(x->route, p->text);
    }
    return STR("");
}

/* The value that rule r makes for x; p is NULL when memory is refused. */
static struct str rule_value(struct exchange *x, const struct header_rule *r)
{
    if (r->n == 0)
        return STR("");
    if (r->n == 1)
        return piece_text(x, &r->pieces[0]);
    struct str *parts = arena_alloc(&x->arena, r->n * sizeof(*parts));
    for (uint32_t i = 0; parts && i < r->n; i++) {
        parts[i] = piece_text(x, &r->pieces[i]);
        if (!parts[i].p)
            return parts[i];
    }
    return parts ? arena_join(&x->arena, parts, r->n) : (struct str){NULL, 0};
}

static bool apply(struct exchange *x, const struct header_rules *rules, struct fields *f)
{
    for (uint32_t i = 0; i < rules->n_remove; i++)
        fields_remove_alias(f, rules->remove[i]);
    for (uint32_t i = 0; i < rules->n_set; i++) {
        const struct header_rule *r = &rules->set[i];
        struct str value = rule_value(x, r);
        if (value.p && value.n == 0)
            fields_remove_alias(f, r->name);
        else if (!value.p || !fields_own(f, r->name, value))
            return false;
    }
    for (uint32_t i = 0; i < rules->n_add; i++) {
        struct str value = rule_value(x, &rules->add[i]);
        if (!value.p || (value.n && !fields_add(f, rules->add[i].name, value)))
            return false;
    }
    return true;
}

static enum hook run(struct exchange *x, uint32_t number, struct fields *f)
{
    const struct headers_conf *conf = x->plan->feature_conf[number];
    if (apply(x, conf->rules, f))
        return HOOK_PASS;
    exchange_fail(x, FAULT_MEMORY);
    return HOOK_FAIL;
}

static enum hook on_send(struct exchange *x, void *slot, struct attempt *a)
{
    (void) slot;
    (void) a;
    return run(x, FEATURE_REQUEST_HEADERS, &x->out->fields);
}

static enum hook on_response_head(struct exchange *x, void *slot)
{
    (void) slot;
    return run(x, FEATURE_RESPONSE_HEADERS, &x->response->fields);
}

/* A trailer may be merged into the head by who receives it: what a rule says there, no trailer may
 * say otherwise. */
static enum hook clean(struct exchange *x, uint32_t number, struct fields *trailers)
{
    const struct headers_conf *conf = x->plan->feature_conf[number];
    const struct header_rules *rules = conf->rules;
    for (uint32_t i = 0; i < rules->n_remove; i++)
        fields_remove_alias(trailers, rules->remove[i]);
    for (uint32_t i = 0; i < rules->n_set; i++)
        fields_remove_alias(trailers, rules->set[i].name);
    for (uint32_t i = 0; i < rules->n_add; i++)
        fields_remove_alias(trailers, rules->add[i].name);
    return HOOK_PASS;
}

static enum hook on_request_trailers(struct exchange *x, void *slot, enum direction dir,
                                     struct fields *trailers)
{
    (void) slot;
    return dir == DIR_REQUEST ? clean(x, FEATURE_REQUEST_HEADERS, trailers) : HOOK_PASS;
}

static enum hook on_response_trailers(struct exchange *x, void *slot, enum direction dir,
                                      struct fields *trailers)
{
    (void) slot;
    return dir == DIR_RESPONSE ? clean(x, FEATURE_RESPONSE_HEADERS, trailers) : HOOK_PASS;
}

const struct feature feature_request_headers = {
    .name = "request_headers",
    .purpose = "Sets, adds and removes header fields of requests.",
    .conf = &request_headers_schema,
    .route_scope = true,
    .offline = true,
    .prepare = prepare,
    .active = active,
    .on_send = on_send,
    .on_trailers = on_request_trailers,
};

const struct feature feature_response_headers = {
    .name = "response_headers",
    .purpose = "Sets, adds and removes header fields of responses.",
    .conf = &response_headers_schema,
    .route_scope = true,
    .offline = true,
    .prepare = prepare,
    .active = active,
    .on_response_head = on_response_head,
    .on_trailers = on_response_trailers,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_parse.c: a tree of nodes into structs, by the rows of their tables alone. An error is said
 * and the value left at its default, so that one run finds them all.
 * Invariants:
 * 1. An object is filled (defaults, or a copy of what it inherits) before its members are read.
 * 2. Nested routes are read after everything else in the object around them: they inherit it. */
#include <pcre2.h>
#include <stdio.h>

#include "base/panic.h"
#include "control/conf_file.h"
#include "net/addr.h"

#define ROWS_MAX 64u

struct parser {
    struct conf_errors *errors;
    struct arena *arena;
    const struct feature_set *features;
    struct route_conf *blank; /* a route that says nothing, at the top level */
};

/* An object with features and routes in it: a route, or the top level. */
struct scope {
    const struct route_conf *parent; /* what nested routes inherit; NULL at the top level */
    const struct proxy_conf *proxy;  /* the top level; NULL in a route */
    void **features;
};

static void parse_object(struct parser *p, const struct schema_table *table,
                         const struct conf_node *n, void *object, const struct scope *scope);
static void parse_value(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                        void *value);

/* ---- scalars ------------------------------------------------------------------------------- */

bool conf_regex_valid(struct str pattern, char why[128], size_t *offset)
{
    int code = 0;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR) pattern.p, pattern.n, 0, &code, offset, NULL);
    if (!re) {
        PCRE2_UCHAR text[96];
        pcre2_get_error_message(code, text, sizeof text);
        snprintf(why, 128, "%s", (const char *) text);
        return false;
    }
    pcre2_code_free(re);
    return true;
}

static void check_regex(struct conf_errors *e, const struct conf_node *n)
{
    char why[128];
    size_t at = 0;
    struct schema_pos pos = n->pos;
    if (conf_regex_valid(n->text, why, &at))
        return;
    if (n->plain)
        pos.column += (unsigned) at;
    conf_say(e, pos, "bad pattern: %s, at character %zu of \"%.*s\"", why, at + 1,
             (int) (n->text.n > 60 ? 60 : n->text.n), n->text.p);
}

static void check_address(const struct schema_field *f, const struct conf_node *n,
                          struct conf_errors *e)
{
    struct addr_text t;
    const char *why;
    for (size_t i = 0; f->choices && f->choices[i]; i++) {
        if (str_eq(n->text, str_c(f->choices[i])))
            return;
    }
    if (!addr_split(n->text, 0, &t, &why))
        conf_say(e, n->pos, "\"%.*s\" is not an address%s%s: %s", STR_ARG(n->text),
                 f->choices ? ", nor " : "", f->choices ? f->choices[0] : "", why);
}

/* What the type alone cannot say: the forms that need higher floors. */
static void check_form(struct conf_errors *e, const struct schema_field *f,
                       const struct conf_node *n)
{
    enum schema_type type = f->type;
    struct cidr c;
    if (type == SCHEMA_ADDRESS)
        check_address(f, n, e);
    if (type == SCHEMA_CIDR && !cidr_parse(n->text, &c))
        conf_say(e, n->pos,
                 "\"%.*s\" is not a network, like 10.0.0.0/8 (no bits set behind the "
                 "prefix)",
                 STR_ARG(n->text));
    if (type == SCHEMA_REGEX)
        check_regex(e, n);
}

static void take_scalar(const struct schema_field *f, const struct conf_node *n, void *value,
                        struct conf_errors *e)
{
    /* Room for any scalar: a failed parse must leave the default alone. */
    union {
        bool b;
        int64_t i;
        double d;
        int choice;
        struct str s;
    } v;
    struct str why;
    memset(&v, 0, sizeof v);
    if (!schema_scalar(f, n->text, &v, e->arena, &why)) {
        conf_say(e, n->pos, "%s: %.*s", f->name, STR_ARG(why));
        return;
    }
    memcpy(value, &v, schema_value_size(f->type));
    if (f->type == SCHEMA_STRING || f->type == SCHEMA_ADDRESS || f->type == SCHEMA_REGEX ||
        f->type == SCHEMA_CIDR) {
        check_form(e, f, n);
        conf_place_add(e, v.s, n->pos);
    }
}

static const char *kind_name(const struct conf_node *n)
{
    return n->kind == CONF_LIST ? "a list" : n->kind == CONF_MAP ? "a map" : "a single value";
}

static void parse_scalar(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                         void *value)
{
    if (n->kind != CONF_SCALAR)
        conf_say(p->errors, n->pos, "%s must be a single value, not %s", f->name, kind_name(n));
    else if (conf_is_null(n))
        conf_say(p->errors, n->pos, "%s has no value; leave the key out for its default", f->name);
    else
        take_scalar(f, n, value, p->errors);
}

/* ---- lists and maps ------------------------------------------------------------------------ */

static struct schema_field item_row(const struct schema_field *f)
{
    struct schema_field item = {.name = f->name, .choices = f->choices, .sub = f->sub};
    item.type = f->sub ? SCHEMA_OBJECT : f->item;
    return item;
}

static size_t item_size(const struct schema_field *f)
{
    return f->sub ? f->sub->size : schema_value_size(f->item);
}

static void check_count(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                        size_t count)
{
    if (f->min && count < (size_t) f->min)
        conf_say(p->errors, n->pos, "%s needs at least %lld", f->name, (long long) f->min);
    if (f->max && count > (size_t) f->max)
        conf_say(p->errors, n->pos, "%s has %zu items, at most %lld are allowed", f->name, count,
                 (long long) f->max);
}

static void parse_item(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                       void *value)
{
    struct schema_field item = item_row(f);
    if (f->sub)
        schema_defaults(f->sub, value);
    if (f->sub && conf_is_null(n))
        conf_say(p->errors, n->pos, "%s is empty; fill it in or take the line out", f->sub->name);
    else
        parse_value(p, &item, n, value);
}

static void parse_list(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                       struct schema_list *list)
{
    size_t size = item_size(f), count = n->kind == CONF_LIST ? n->n : !conf_is_null(n);
    if (n->kind == CONF_MAP) {
        conf_say(p->errors, n->pos, "%s must be a list: put \"- \" in front of each", f->name);
        return;
    }
    char *items = conf_alloc(p->arena, count * size);
    check_count(p, f, n, count);
    *list = (struct schema_list){items, count};
    if (n->kind == CONF_SCALAR) {
        if (count)
            parse_item(p, f, n, items);
        return;
    }
    for (const struct conf_node *child = n->first; child; child = child->next, items += size)
        parse_item(p, f, child, items);
}

/* Adds to what the map has already (inherited); the same name is replaced. */
static void parse_map(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                      struct schema_map *map)
{
    size_t size = item_size(f), had = map->n, count = map->n;
    if (conf_is_null(n))
        return;
    if (n->kind != CONF_MAP) {
        conf_say(p->errors, n->pos, "%s must be a map (name: value), not %s", f->name,
                 kind_name(n));
        return;
    }
    struct str *names = conf_alloc(p->arena, (had + n->n) * sizeof *names);
    char *items = conf_alloc(p->arena, (had + n->n) * size);
    if (had) {
        memcpy(names, map->names, had * sizeof *names);
        memcpy(items, map->items, had * size);
    }
    for (const struct conf_node *child = n->first; child; child = child->next) {
        size_t at = 0;
        while (at < had && !str_eq(names[at], child->key))
            at++;
        at = at < had ? at : count++;
        names[at] = arena_str(p->arena, child->key);
        conf_place_add(p->errors, names[at], child->at_key);
        if (child->key.n == 0)
            conf_say(p->errors, child->at_key, "a name in %s is empty", f->name);
        parse_item(p, f, child, items + at * size);
    }
    check_count(p, f, n, count);
    *map = (struct schema_map){names, items, count};
}

static void parse_value(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                        void *value)
{
    switch (f->type) {
    case SCHEMA_OBJECT:
        if (!conf_is_null(n))
            parse_object(p, f->sub, n, value, NULL);
        break;
    case SCHEMA_LIST:
        parse_list(p, f, n, value);
        break;
    case SCHEMA_MAP:
        parse_map(p, f, n, value);
        break;
    default:
        parse_scalar(p, f, n, value);
    }
}

/* ---- routes and features ------------------------------------------------------------------- */

/* Some settings are needed before a route is known: a route cannot change them. */
static void check_top_only(struct parser *p, const struct conf_node *n, const struct route_conf *r)
{
    const struct settings_conf *own = &r->settings, *top = &p->blank->settings;
    static const char *const text =
        "is for the top level only: it is needed before a route is known";
    const struct conf_node *timeouts = n->kind == CONF_MAP ? conf_member(n, "timeouts") : NULL;
    const struct conf_node *limits = n->kind == CONF_MAP ? conf_member(n, "limits") : NULL;
    if (timeouts && own->timeouts.client_head != top->timeouts.client_head)
        conf_say(p->errors, timeouts->pos, "timeouts.client_head %s", text);
    if (timeouts && own->timeouts.keepalive != top->timeouts.keepalive)
        conf_say(p->errors, timeouts->pos, "timeouts.keepalive %s", text);
    if (limits && own->limits.head != top->limits.head)
        conf_say(p->errors, limits->pos, "limits.head %s", text);
    if (limits && own->limits.target != top->limits.target)
        conf_say(p->errors, limits->pos, "limits.target %s", text);
    if (limits && own->limits.fields != top->limits.fields)
        conf_say(p->errors, limits->pos, "limits.fields %s", text);
}

static void parse_route(struct parser *p, const struct conf_node *n,
                        const struct route_conf *parent, struct route_conf *r)
{
    *r = *parent;
    r->name = r->to = str_of("", 0);
    r->match = p->blank->match;
    r->routes = (struct schema_list){NULL, 0};
    r->redirect_given = r->reply_given = false;
    r->pos = n->pos;
    if (conf_is_null(n))
        conf_say(p->errors, n->pos, "a route is empty; fill it in or take the line out");
    struct scope scope = {.parent = r, .features = r->features};
    /* What the outer route does is inherited; set before nested ones read it. */
    bool own = n->kind == CONF_MAP &&
               (conf_member(n, "to") || conf_member(n, "redirect") || conf_member(n, "reply"));
    if (!own) {
        r->to = parent->to;
        r->redirect_given = parent->redirect_given;
        r->reply_given = parent->reply_given;
    }
    if (!conf_is_null(n))
        parse_object(p, &route_schema, n, r, &scope);
    check_top_only(p, n, r);
}

static void parse_routes(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                         const struct route_conf *parent, struct schema_list *list)
{
    if (conf_is_null(n))
        return;
    if (n->kind != CONF_LIST) {
        conf_say(p->errors, n->pos, "%s must be a list: put \"- \" in front of each", f->name);
        return;
    }
    struct route_conf *items = arena_alloc(p->arena, n->n * sizeof *items);
    must(items);
    *list = (struct schema_list){items, n->n};
    for (const struct conf_node *child = n->first; child; child = child->next)
        parse_route(p, child, parent, items++);
}

/* Reads the key as a feature's; false: it is none. */
static bool parse_feature(struct parser *p, const struct conf_node *n, const struct scope *scope)
{
    for (uint32_t i = 0; i < p->features->n; i++) {
        const struct feature *f = p->features->v[i];
        if (!f->conf || !str_eq(n->key, str_c(f->name)))
            continue;
        if (!scope->proxy && !f->route_scope) {
            conf_say(p->errors, n->at_key, "%s is a key of the top level, not of a route", f->name);
            return true;
        }
        char *own = conf_alloc(p->arena, f->conf->size);
        memcpy(own, scope->features[i], f->conf->size);
        if (!conf_is_null(n))
            parse_object(p, f->conf, n, own, NULL);
        scope->features[i] = own;
        return true;
    }
    return false;
}

/* ---- objects ------------------------------------------------------------------------------- */

static void unknown_key(struct parser *p, const struct schema_table *table,
                        const struct conf_node *n, const struct scope *scope)
{
    const char *near = schema_nearest(table, n->key);
    for (uint32_t i = 0; scope && i < p->features->n; i++) {
        const struct feature *f = p->features->v[i];
        if (f->conf && (scope->proxy || f->route_scope))
            near = schema_nearer(n->key, near, f->name);
    }
    int shown = n->key.n > 60 ? 60 : (int) n->key.n;
    if (near) {
        conf_say(p->errors, n->at_key, "unknown key \"%.*s\" in %s; did you mean \"%s\"?", shown,
                 n->key.p, table->name, near);
        return;
    }
    char allowed[600] = "";
    size_t used = 0;
    const struct schema_field *row;
    for (size_t i = 0; (row = schema_row(table, i, NULL)) && used < sizeof allowed; i++)
        used += (size_t) snprintf(allowed + used, sizeof allowed - used, "%s%s", i ? ", " : "",
                                  row->name);
    for (uint32_t i = 0; scope && i < p->features->n && used < sizeof allowed; i++) {
        const struct feature *f = p->features->v[i];
        if (f->conf && (scope->proxy || f->route_scope))
            used += (size_t) snprintf(allowed + used, sizeof allowed - used, ", %s", f->name);
    }
    conf_say(p->errors, n->at_key, "unknown key \"%.*s\" in %s; allowed: %s", shown, n->key.p,
             table->name, allowed);
}

/* What a cross-check of an object needs to point at a key. */
struct sayer {
    struct parser *p;
    const struct conf_node *n;
};

static void say_field(void *arg, const char *field, const char *text)
{
    const struct sayer *s = arg;
    const struct conf_node *at = s->n->kind == CONF_MAP && field ? conf_member(s->n, field) : NULL;
    conf_say(s->p->errors, at ? at->pos : s->n->pos, "%s", text);
}

/* Runs the checks of the table and of those behind it that had a row given. */
static void check_object(struct parser *p, const struct schema_table *table,
                         const struct conf_node *n, const char *object, const bool *given)
{
    struct sayer s = {p, n};
    for (size_t first = 0; table;
         first += table->n_fields, object += table->also_offset, table = table->also) {
        bool any = n->kind != CONF_MAP;
        for (size_t i = 0; !any && i < table->n_fields; i++)
            any = given[first + i];
        if (table->check && any)
            table->check(object, say_field, &s);
    }
}

/* What top-level routes inherit, once the keys around them are read. */
static void fill_blank(struct route_conf *blank, const struct proxy_conf *proxy)
{
    blank->settings = proxy->settings;
    memcpy(blank->features, proxy->features, sizeof blank->features);
}

static void parse_row(struct parser *p, const struct schema_field *f, const struct conf_node *n,
                      char *object, const struct scope *scope)
{
    if (f->given)
        *(bool *) (object + f->given) = !conf_is_null(n);
    if (f->sub == &route_schema && scope->proxy)
        fill_blank(p->blank, scope->proxy);
    if (f->sub == &route_schema)
        parse_routes(p, f, n, scope->proxy ? p->blank : scope->parent,
                     (void *) (object + f->offset));
    else
        parse_value(p, f, n, object + f->offset);
}

/* The short form: the value of one row in place of the whole, told of by the key that was written.
 * False: it has none. */
static bool parse_short(struct parser *p, const struct schema_table *table,
                        const struct conf_node *n, char *object)
{
    size_t base;
    const struct schema_field *f =
        table->short_form ? schema_find(table, str_c(table->short_form), &base) : NULL;
    if (!f || (n->kind == CONF_LIST && f->type != SCHEMA_LIST))
        return false;
    struct schema_field written = *f;
    if (n->key.n)
        written.name = arena_str(p->arena, n->key).p;
    parse_value(p, &written, n, object + base + f->offset);
    return true;
}

/* Two names of one row: "method" and "methods". */
static bool said_twice(const struct schema_table *table, const bool *given, size_t at)
{
    size_t base, other_base;
    const struct schema_field *f = schema_row(table, at, &base), *other;
    for (const bool *g = given; (g = memchr(g, true, (size_t) (given + ROWS_MAX - g))); g++) {
        other = schema_row(table, (size_t) (g - given), &other_base);
        if (g != given + at && other_base + other->offset == base + f->offset)
            return true;
    }
    return false;
}

/* The row of that name and its number; NULL: there is none. */
static const struct schema_field *row_of(const struct schema_table *table, struct str name,
                                         size_t *base, size_t *at)
{
    *base = *at = 0;
    for (; table; *base += table->also_offset, table = table->also) {
        for (size_t i = 0; i < table->n_fields; i++, ++*at) {
            const char *one = table->fields[i].name;
            if (name.n && one[0] == name.p[0] && str_eq(str_c(one), name))
                return &table->fields[i];
        }
    }
    return NULL;
}

/* Reads the members; routes only, or all but those. */
static void parse_members(struct parser *p, const struct schema_table *table,
                          const struct conf_node *n, char *object, const struct scope *scope,
                          bool *given)
{
    for (const struct conf_node *child = n->first; child; child = child->next) {
        size_t base, at;
        const struct schema_field *f = row_of(table, child->key, &base, &at);
        if (!f) {
            if (!(scope && parse_feature(p, child, scope)))
                unknown_key(p, table, child, scope);
            continue;
        }
        given[at] = true;
        if (f->sub == &route_schema)
            continue;
        if (said_twice(table, given, at))
            conf_say(p->errors, child->at_key, "%s says again what another key said", f->name);
        parse_row(p, f, child, object + base, scope);
    }
}

static void read_object(struct parser *p, const struct schema_table *table,
                        const struct conf_node *n, void *object, const struct scope *scope)
{
    bool given[ROWS_MAX] = {false};
    const struct schema_field *f;
    size_t base;
    if (n->kind != CONF_MAP) {
        if (parse_short(p, table, n, object))
            check_object(p, table, n, object, given);
        else
            conf_say(p->errors, n->pos, "%s must be a map (key: value), not %s", table->name,
                     kind_name(n));
        return;
    }
    parse_members(p, table, n, object, scope, given);
    for (size_t i = 0; (f = schema_row(table, i, &base)) && i < ROWS_MAX; i++) {
        const struct conf_node *m =
            given[i] && f->sub == &route_schema ? conf_member(n, f->name) : NULL;
        if (m)
            parse_row(p, f, m, (char *) object + base, scope);
        if (f->required && !given[i])
            conf_say(p->errors, n->pos, "%s: \"%s\" is missing", table->name, f->name);
    }
    check_object(p, table, n, object, given);
}

/* Its place has no file where something in it was refused: then nobody may build from it. */
static void parse_object(struct parser *p, const struct schema_table *table,
                         const struct conf_node *n, void *object, const struct scope *scope)
{
    size_t before = p->errors->n + p->errors->unsaid;
    struct schema_pos pos = n->pos;
    read_object(p, table, n, object, scope);
    if (p->errors->n + p->errors->unsaid > before)
        pos.file = NULL;
    if (table->pos)
        *(struct schema_pos *) (void *) ((char *) object + table->pos) = pos;
}

void conf_parse_value(const struct schema_field *f, const struct conf_node *n, void *value,
                      struct conf_errors *e)
{
    static const struct feature_set none = {NULL, 0};
    struct route_conf blank;
    struct parser p = {e, e->arena, &none, &blank};
    schema_defaults(&route_schema, &blank);
    if (f->sub == &route_schema)
        parse_routes(&p, f, n, &blank, value);
    else
        parse_value(&p, f, n, value);
}

/* ---- the file ------------------------------------------------------------------------------ */

static void default_features(struct parser *p, void **features)
{
    for (uint32_t i = 0; i < p->features->n; i++) {
        const struct feature *f = p->features->v[i];
        if (!f->conf)
            continue;
        features[i] = conf_alloc(p->arena, f->conf->size);
        schema_defaults(f->conf, features[i]);
    }
}

void conf_parse_route(const struct conf_node *n, const struct proxy_conf *proxy,
                      const struct feature_set *features, struct route_conf *r,
                      struct conf_errors *e)
{
    struct route_conf blank;
    struct parser p = {e, e->arena, features, &blank};
    schema_defaults(&route_schema, &blank);
    fill_blank(&blank, proxy);
    parse_route(&p, n, &blank, r);
}

void conf_parse(const struct conf_node *root, const struct feature_set *features,
                struct conf_file *file, struct conf_errors *e)
{
    static const struct feature_set none = {NULL, 0};
    struct route_conf blank;
    struct parser p = {e, e->arena, features ? features : &none, &blank};
    struct scope scope = {.proxy = &file->proxy, .features = file->proxy.features};
    schema_defaults(&file_schema, file);
    schema_defaults(&route_schema, &blank);
    default_features(&p, file->proxy.features);
    if (!conf_is_null(root))
        parse_object(&p, &file_schema, root, file, &scope);
    if (file->admin_given && file->admin.address.n == 0)
        file->admin.address = STR(ADMIN_ADDRESS);
    else if (admin_off(file->admin.address))
        file->admin.address = STR("");
    if (file->proxy.listeners.n == 0) {
        struct listener_conf *l = conf_alloc(e->arena, sizeof *l);
        schema_defaults(&listener_schema, l);
        l->address = STR("127.0.0.1:8080");
        file->proxy.listeners = (struct schema_list){l, 1};
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_node.c: see conf_node.h. Holds no state. */
#include "control/conf_node.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"

/* ---- making nodes -------------------------------------------------------------------------- */

static struct conf_node *node_new(struct arena *tree, enum conf_kind kind, struct str key)
{
    struct conf_node *n = conf_alloc(tree, sizeof *n);
    n->kind = kind;
    n->key = key.n ? arena_str(tree, key) : STR("");
    return n;
}

struct conf_node *conf_node_map(struct arena *tree, struct str key)
{
    return node_new(tree, CONF_MAP, key);
}

struct conf_node *conf_node_text(struct arena *tree, struct str key, struct str text)
{
    struct conf_node *n = node_new(tree, CONF_SCALAR, key);
    n->text = arena_str(tree, str_of(text.n ? text.p : "", text.n));
    return n;
}

void conf_node_name(struct conf_node *map, struct str name, struct arena *tree)
{
    struct conf_node *n = conf_node_text(tree, STR("name"), name);
    n->pos = n->at_key = map->pos;
    n->next = map->first;
    map->first = n;
    map->last = map->last ? map->last : n;
    map->n++;
}

struct conf_node *conf_node_copy(const struct conf_node *n, struct arena *tree)
{
    struct conf_node *to = conf_alloc(tree, sizeof *to);
    *to = *n;
    to->next = NULL;
    return to;
}

void conf_node_add(struct conf_node *parent, struct conf_node *n)
{
    if (parent->last)
        parent->last->next = n;
    else
        parent->first = n;
    parent->last = n;
    n->next = NULL;
    parent->n++;
}

/* ---- from JSON ----------------------------------------------------------------------------- */

struct reading {
    struct arena *tree;
    struct conf_errors *errors;
    unsigned *line;
};

/* As short as it can be and still be that number. */
static struct str real_text(double d, struct arena *a)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        double back = 0;
        if (sscanf(text, "%lf", &back) == 1 && fabs(back - d) <= 0)
            break;
    }
    return arena_str(a, str_c(text));
}

static struct str scalar_text(const json_t *v, struct arena *a)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        return arena_str(a, str_of(json_string_value(v), json_string_length(v)));
    case JSON_INTEGER:
        return arena_printf(a, "%lld", (long long) json_integer_value(v));
    case JSON_REAL:
        return real_text(json_real_value(v), a);
    case JSON_TRUE:
        return STR("true");
    case JSON_FALSE:
        return STR("false");
    default:
        return STR("null");
    }
}

static struct conf_node *take(struct reading *r, const json_t *v, unsigned depth)
{
    struct schema_pos pos = {NULL, CONF_JSON_LINE + ++*r->line, 0};
    enum conf_kind kind = json_is_object(v) ? CONF_MAP : json_is_array(v) ? CONF_LIST : CONF_SCALAR;
    struct conf_node *n = node_new(r->tree, kind, STR("")), *child;
    n->pos = n->at_key = pos;
    if (depth > CONF_DEPTH_MAX) {
        conf_say(r->errors, pos, "this is nested too deep (64 levels are allowed)");
        return NULL;
    }
    if (kind == CONF_SCALAR) {
        n->text = scalar_text(v, r->tree);
        n->plain = !json_is_string(v);
    }
    for (size_t i = 0; kind == CONF_LIST && i < json_array_size(v); i++) {
        if (!(child = take(r, json_array_get(v, i), depth + 1)))
            return NULL;
        conf_node_add(n, child);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *) (uintptr_t) v, key, value)
    {
        if (!(child = take(r, value, depth + 1)))
            return NULL;
        child->key = arena_str(r->tree, str_c(key));
        if (!str_printable(child->key))
            conf_say(r->errors, child->pos, "a key holds a control byte");
        conf_node_add(n, child);
    }
    return n;
}

struct conf_node *conf_node_of_json(const json_t *value, struct arena *tree, unsigned *line,
                                    struct conf_errors *e)
{
    struct reading r = {tree, e, line};
    return take(&r, value, 0);
}

json_t *conf_json_parse(struct str text, char **why)
{
    json_error_t error;
    json_t *v =
        json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    bool nul = !v && json_error_code(&error) == json_error_null_character;
    if (!v)
        *why = mem_printf("not valid JSON: %s, at line %d, column %d",
                          nul ? "no text may hold \\u0000" : error.text, error.line, error.column);
    return v;
}

/* ---- to JSON ------------------------------------------------------------------------------- */

json_t *conf_json_number(double v)
{
    bool whole = v > -1e15 && v < 1e15 && (double) (json_int_t) v == v;
    return whole ? json_integer((json_int_t) v) : json_real(v);
}

static size_t digits(struct str s, size_t at)
{
    size_t n = 0;
    while (at + n < s.n && s.p[at + n] >= '0' && s.p[at + n] <= '9')
        n++;
    return n;
}

/* A number by the grammar of RFC 8259 6, without an exponent. */
static bool is_number(struct str s)
{
    size_t at = s.n && s.p[0] == '-', whole = digits(s, at);
    if (whole == 0 || whole > 18 || (whole > 1 && s.p[at] == '0'))
        return false;
    at += whole;
    if (at == s.n)
        return true;
    size_t part = s.p[at] == '.' ? digits(s, at + 1) : 0;
    return part > 0 && part <= 17 && at + 1 + part == s.n;
}

void conf_node_print(const struct conf_node *n, struct text *out)
{
    if (n->kind == CONF_SCALAR) {
        if (conf_is_null(n))
            text_add(out, STR("null"));
        else if (n->plain && (str_eq(n->text, STR("true")) || str_eq(n->text, STR("false")) ||
                              is_number(n->text)))
            text_add(out, n->text);
        else
            text_add_json(out, n->text);
        return;
    }
    bool map = n->kind == CONF_MAP;
    text_add(out, map ? STR("{") : STR("["));
    for (const struct conf_node *c = n->first; c; c = c->next) {
        if (c != n->first)
            text_add(out, STR(","));
        if (map) {
            text_add_json(out, c->key);
            text_add(out, STR(":"));
        }
        conf_node_print(c, out);
    }
    text_add(out, map ? STR("}") : STR("]"));
}

static int add_piece(const char *piece, size_t n, void *out)
{
    text_add(out, str_of(piece, n));
    return 0;
}

void conf_json_print(const json_t *value, struct text *out)
{
    must(json_dump_callback(value, add_piece, out, JSON_COMPACT | JSON_ENCODE_ANY) == 0);
}

json_t *conf_node_json(const struct conf_node *n)
{
    struct text t = {0};
    char *why = NULL;
    conf_node_print(n, &t);
    json_t *v = conf_json_parse(text_str(&t), &why);
    text_fini(&t);
    mem_free(why);
    return v ? v : json_null();
}

/* ---- places -------------------------------------------------------------------------------- */

/* RFC 6901 3 */
static void add_token(struct text *out, struct str key)
{
    text_add(out, STR("/"));
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] == '~')
            text_add(out, STR("~0"));
        else if (key.p[i] == '/')
            text_add(out, STR("~1"));
        else
            text_add(out, str_sub(key, i, i + 1));
    }
}

bool conf_node_pointer(const struct conf_node *root, unsigned line, struct text *out)
{
    size_t before = out->n, at = 0;
    if (root->pos.line == line)
        return true;
    for (const struct conf_node *c = root->first; c; c = c->next, at++) {
        if (root->kind == CONF_MAP)
            add_token(out, c->key);
        else
            text_addf(out, "/%zu", at);
        if (conf_node_pointer(c, line, out))
            return true;
        out->n = before;
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* conf_plain.c: see conf_plain.h. A function that gives NULL or false has met something that is for
 * libyaml, be it right or wrong; its callers pass that on.
 * Invariants:
 * 1. The text has no bytes but printable ASCII and LF; the end of the text ends a line.
 * 2. Whoever reads a node of a block leaves `at` at the first thing of a later line, and `column`
 *    there: each collection goes on as long as that is its own.
 * 3. What is right for libyaml in another way than it is read here (a text that goes on in the next
 *    line, ...) is not read. */
#include "control/conf_plain.h"

#include "control/conf_node.h"

#define KEY_MAX 1000u /* bytes in front of a key's colon; libyaml's limit is 1024 */

struct reading {
    const char *at, *end;
    const char *start; /* of the line */
    unsigned line;     /* from 1 */
    int column;        /* of the first thing of a line, from 0; -1: none is left */
    struct arena *tree;
    const char *file;
};

/* A text in one line. */
struct scalar {
    struct str text;
    bool plain;
    struct schema_pos pos;
};

/* ---- lines --------------------------------------------------------------------------------- */

static bool suits(struct str text)
{
    unsigned others = 0;
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char) text.p[i];
        others |= (c != '\n') & (c < ' ' || c > '~');
    }
    return others == 0;
}

static bool line_ends(const struct reading *r, const char *p)
{
    return p >= r->end || *p == '\n';
}

static bool blank(const struct reading *r, const char *p)
{
    return line_ends(r, p) || *p == ' ';
}

static void skip_spaces(struct reading *r)
{
    while (r->at < r->end && *r->at == ' ')
        r->at++;
}

/* Behind the end of the line; false: there is no other. */
static bool skip_line(struct reading *r)
{
    const char *lf = memchr(r->at, '\n', (size_t) (r->end - r->at));
    r->at = lf ? lf + 1 : r->end;
    r->start = lf ? r->at : r->start;
    r->line += lf != NULL;
    return lf != NULL;
}

/* From the beginning of a line to the first thing that is no comment. */
static void settle(struct reading *r)
{
    for (skip_spaces(r); line_ends(r, r->at) || *r->at == '#'; skip_spaces(r)) {
        if (!skip_line(r)) {
            r->column = -1;
            return;
        }
    }
    r->column = (int) (r->at - r->start);
}

/* Nothing but a comment is left of the line. */
static bool at_line_end(struct reading *r)
{
    skip_spaces(r);
    return line_ends(r, r->at) || (*r->at == '#' && (r->at == r->start || r->at[-1] == ' '));
}

/* To the first thing of a later line. */
static void next_line(struct reading *r)
{
    if (skip_line(r))
        settle(r);
    else
        r->column = -1;
}

/* The same behind a node, if nothing else is in its line. */
static struct conf_node *end_line(struct reading *r, struct conf_node *n)
{
    if (!n || !at_line_end(r))
        return NULL;
    next_line(r);
    return n;
}

/* ---- texts --------------------------------------------------------------------------------- */

static struct schema_pos here(const struct reading *r)
{
    return (struct schema_pos){r->file, r->line, (unsigned) (r->at - r->start) + 1};
}

static struct conf_node *node_new(struct reading *r, enum conf_kind kind, struct schema_pos pos,
                                  unsigned depth)
{
    if (depth > CONF_DEPTH_MAX)
        return NULL;
    struct conf_node *n = conf_alloc(r->tree, sizeof *n);
    n->kind = kind;
    n->pos = pos;
    return n;
}

static struct conf_node *scalar_node(struct reading *r, const struct scalar *s, unsigned depth)
{
    struct conf_node *n = node_new(r, CONF_SCALAR, s->pos, depth);
    if (!n)
        return NULL;
    n->plain = s->plain;
    n->text = arena_str(r->tree, s->text);
    return n;
}

/* A value that is left out. */
static struct conf_node *nothing(struct reading *r, struct schema_pos pos, unsigned depth)
{
    struct scalar s = {STR(""), true, pos};
    return scalar_node(r, &s, depth);
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What is there surely begins a text without quotes. */
static bool begins_plain(const struct reading *r)
{
    char c = r->at < r->end ? *r->at : '\n';
    if (c == '.' && r->at == r->start) /* the end of a document? */
        return false;
    if (c == '-')
        return r->at + 1 < r->end && is_alnum(r->at[1]);
    return is_alnum(c) || (c && strchr("_./~^+$(\\=;", c));
}

/* Where the text that begins here without quotes ends; NULL: it is not sure. */
static const char *plain_end(const struct reading *r, bool flow)
{
    const char *p = r->at;
    for (; !line_ends(r, p); p++) {
        if (*p == ':' && blank(r, p + 1))
            return p;
        if (*p == '#' && p[-1] == ' ')
            return p;
        if (!flow)
            continue;
        if (strchr(",[]{}", *p))
            return p;
        if (*p == '?' || (*p == ':' && strchr(",?[]{}", p[1])))
            return NULL;
    }
    return p;
}

static bool take_quoted(struct reading *r, struct scalar *s)
{
    char quote = *r->at++;
    const char *p = r->at;
    while (!line_ends(r, p) && *p != quote && (*p != '\\' || quote == '\''))
        p++;
    if (line_ends(r, p) || *p != quote || (!line_ends(r, p + 1) && p[1] == quote))
        return false;
    s->text = str_of(r->at, (size_t) (p - r->at));
    r->at = p + 1;
    return true;
}

static bool take_scalar(struct reading *r, bool flow, struct scalar *s)
{
    s->pos = here(r);
    s->plain = line_ends(r, r->at) || (*r->at != '"' && *r->at != '\'');
    if (!s->plain)
        return take_quoted(r, s);
    const char *end = begins_plain(r) ? plain_end(r, flow) : NULL;
    if (!end)
        return false;
    while (end[-1] == ' ')
        end--;
    s->text = str_of(r->at, (size_t) (end - r->at));
    r->at = end;
    return true;
}

/* A colon that ends a key comes next; it is skipped. */
static bool take_colon(struct reading *r)
{
    skip_spaces(r);
    if (line_ends(r, r->at) || *r->at != ':' || !blank(r, r->at + 1))
        return false;
    r->at++;
    return true;
}

static bool take_key(struct reading *r, bool flow, struct scalar *key)
{
    const char *from = r->at;
    return take_scalar(r, flow, key) && take_colon(r) && (size_t) (r->at - from) <= KEY_MAX;
}

/* False: the key is there already. */
static bool add_member(struct reading *r, struct conf_members *m, const struct scalar *key,
                       struct conf_node *value)
{
    if (conf_members_get(m, key->text))
        return false;
    value->key = arena_str(r->tree, key->text);
    value->at_key = key->pos;
    conf_members_add(m, value);
    return true;
}

/* ---- in brackets --------------------------------------------------------------------------- */

static struct conf_node *take_flow(struct reading *r, unsigned depth);

/* To the next thing, in a later line too. */
static bool skip_flow(struct reading *r)
{
    while (at_line_end(r)) {
        if (!skip_line(r))
            return false;
    }
    return true;
}

static bool begins_flow(const struct reading *r)
{
    return !line_ends(r, r->at) && (*r->at == '[' || *r->at == '{');
}

static struct conf_node *take_flow_value(struct reading *r, unsigned depth)
{
    struct scalar s;
    if (begins_flow(r))
        return take_flow(r, depth);
    return take_scalar(r, true, &s) ? scalar_node(r, &s, depth) : NULL;
}

static bool take_flow_item(struct reading *r, struct conf_members *m, unsigned depth)
{
    struct scalar key;
    bool map = m->map->kind == CONF_MAP;
    if (map && !(take_key(r, true, &key) && skip_flow(r)))
        return false;
    struct conf_node *value = take_flow_value(r, depth + 1);
    if (!value)
        return false;
    if (map)
        return add_member(r, m, &key, value);
    conf_node_add(m->map, value);
    return true;
}

static struct conf_node *take_flow(struct reading *r, unsigned depth)
{
    char close = *r->at == '[' ? ']' : '}';
    struct conf_members m = {.map =
                                 node_new(r, close == ']' ? CONF_LIST : CONF_MAP, here(r), depth)};
    r->at++;
    bool good = m.map && skip_flow(r);
    while (good && *r->at != close) {
        good = take_flow_item(r, &m, depth) && skip_flow(r);
        if (good && *r->at == ',') {
            r->at++;
            good = skip_flow(r);
        } else {
            good = good && *r->at == close;
        }
    }
    map_fini(&m.keys);
    if (!good)
        return NULL;
    r->at++;
    return m.map;
}

/* ---- blocks -------------------------------------------------------------------------------- */

static struct conf_node *take_block(struct reading *r, unsigned depth);

static bool at_dash(const struct reading *r)
{
    return !line_ends(r, r->at) && *r->at == '-' && blank(r, r->at + 1);
}

static struct conf_node *take_list(struct reading *r, unsigned depth)
{
    int column = (int) (r->at - r->start);
    struct conf_node *list = node_new(r, CONF_LIST, here(r), depth), *item = list;
    while (item) {
        r->at++;
        struct schema_pos behind = here(r);
        bool here_too = !at_line_end(r);
        if (!here_too)
            next_line(r);
        item = here_too || r->column > column ? take_block(r, depth + 1)
                                              : nothing(r, behind, depth + 1);
        if (item)
            conf_node_add(list, item);
        if (r->column != column || !at_dash(r))
            break;
    }
    return item && r->column <= column ? list : NULL;
}

/* The value behind a key in that column. */
static struct conf_node *take_value(struct reading *r, int column, unsigned depth)
{
    struct schema_pos behind = here(r);
    struct scalar s;
    if (!at_line_end(r))
        return end_line(r, begins_flow(r)              ? take_flow(r, depth)
                           : take_scalar(r, false, &s) ? scalar_node(r, &s, depth)
                                                       : NULL);
    next_line(r);
    if (r->column > column)
        return take_block(r, depth);
    return r->column == column && at_dash(r) ? take_list(r, depth) : nothing(r, behind, depth);
}

/* The map whose first key that is; its colon was skipped. */
static struct conf_node *take_map(struct reading *r, struct scalar key, unsigned depth)
{
    int column = (int) key.pos.column - 1;
    struct conf_members m = {.map = node_new(r, CONF_MAP, key.pos, depth)};
    bool good = m.map;
    while (good) {
        struct conf_node *value = take_value(r, column, depth + 1);
        good = value && add_member(r, &m, &key, value);
        if (!good || r->column != column)
            break;
        good = take_key(r, false, &key);
    }
    map_fini(&m.keys);
    return good && r->column < column ? m.map : NULL;
}

/* What begins here: the first thing of a line, or behind a dash. */
static struct conf_node *take_block(struct reading *r, unsigned depth)
{
    struct scalar s;
    struct conf_node *n = NULL;
    const char *from = r->at;
    if (at_dash(r))
        return take_list(r, depth);
    if (begins_flow(r)) {
        n = take_flow(r, depth);
    } else if (take_scalar(r, false, &s)) {
        if (take_colon(r))
            return (size_t) (r->at - from) <= KEY_MAX ? take_map(r, s, depth) : NULL;
        n = scalar_node(r, &s, depth);
    }
    return end_line(r, n);
}

struct conf_node *conf_plain(struct str text, struct arena *tree, const char *file)
{
    if (text.n == 0 || !suits(text))
        return NULL;
    struct reading r = {.at = text.p,
                        .end = text.p + text.n,
                        .start = text.p,
                        .line = 1,
                        .tree = tree,
                        .file = file};
    settle(&r);
    struct conf_node *root = r.column < 0 ? NULL : take_block(&r, 0);
    return root && r.column < 0 ? root : NULL;
}

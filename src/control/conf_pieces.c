/* SPDX-License-Identifier: Apache-2.0 */
/* conf_pieces.c: see conf_pieces.h.
 * Invariants:
 * 1. Piece i is the text from the line that its route begins in up to the line of the next one, or
 *    of the next key of the top level. In front of the route there are only spaces and its dash.
 * 2. All nodes of the route lie in these lines: so nothing in it comes from elsewhere.
 * 3. table has the numbers of all pieces, plus one, by the hash of their names; 0 is empty. */
#include "control/conf_pieces.h"

#include "base/mem.h"
#include "control/conf_node.h"

struct piece {
    uint32_t at, line; /* the byte that its line begins with; from 1 */
    uint32_t hash;     /* of the name */
    uint32_t column;   /* of the route in that line, from 0 */
};

struct conf_pieces {
    struct str text; /* owned; empty until it is given */
    struct piece *v; /* one more at the end */
    char **given;    /* names that the text does not give, owned; NULL: of no route */
    size_t n;
    uint32_t *table;
    size_t mask;
};

static uint32_t hash_of(struct str name)
{
    uint64_t h = str_stable_hash(name, 1);
    return (uint32_t) (h ^ h >> 32);
}

/* ---- making -------------------------------------------------------------------------------- */

static bool lies_in(const struct conf_node *n, unsigned from, unsigned to)
{
    if (n->pos.line < from || n->pos.line >= to)
        return false;
    for (const struct conf_node *c = n->first; c; c = c->next) {
        if (!lies_in(c, from, to))
            return false;
    }
    return true;
}

/* The line behind the last route: of the next key of the top level. */
static unsigned end_of(const struct conf_node *root, unsigned last)
{
    unsigned end = UINT32_MAX;
    for (const struct conf_node *c = root->first; c; c = c->next) {
        if (c->at_key.line > last && c->at_key.line < end)
            end = c->at_key.line;
    }
    return end;
}

/* The name that the text gives it; empty: none. */
static struct str own_name(const struct conf_node *route)
{
    const struct conf_node *name = conf_member(route, "name");
    return name && name->kind == CONF_SCALAR && !conf_is_null(name) ? name->text : STR("");
}

static bool suits(const struct conf_node *route, unsigned end)
{
    /* A name that says nothing would be there twice. */
    return route->kind == CONF_MAP && !conf_member(route, "routes") &&
           (own_name(route).n || !conf_member(route, "name")) &&
           lies_in(route, route->pos.line, end);
}

/* The list of routes, if all of them suit. */
static const struct conf_node *suitable(const struct conf_node *root)
{
    const struct conf_node *list = root->kind == CONF_MAP ? conf_member(root, "routes") : NULL;
    if (!list || list->kind != CONF_LIST || !list->first ||
        list->at_key.column != root->first->at_key.column ||
        list->at_key.line >= list->first->pos.line)
        return NULL;
    for (const struct conf_node *r = list->first; r; r = r->next) {
        if (!suits(r, r->next ? r->next->pos.line : end_of(root, r->pos.line)))
            return NULL;
    }
    return list;
}

/* A line begins with spaces and a dash up to that column. */
static bool dash_before(struct str text, size_t at, size_t column)
{
    unsigned dashes = 0;
    if (text.n - at < column)
        return false;
    for (size_t i = at; i < at + column; i++) {
        dashes += text.p[i] == '-';
        if (text.p[i] != '-' && text.p[i] != ' ')
            return false;
    }
    return dashes == 1;
}

/* Moves *at from the beginning of *line to that of line wanted, or to the end. */
static void move_to(struct str text, size_t *at, unsigned *line, unsigned wanted)
{
    while (*line < wanted && *at < text.n) {
        ptrdiff_t end = str_find(str_sub(text, *at, text.n), '\n');
        *at = end < 0 ? text.n : *at + (size_t) end + 1;
        ++*line;
    }
}

/* Notes where the pieces begin, the last of which ends before line `end`. False: not as wanted. */
static bool place_all(struct conf_pieces *p, struct str text, const struct conf_node *list,
                      const struct str *names, unsigned end)
{
    size_t at = 0, i = 0;
    unsigned line = 1;
    for (const struct conf_node *r = list->first; r; r = r->next, i++) {
        move_to(text, &at, &line, r->pos.line);
        struct str own = own_name(r), name = names ? names[i] : own;
        if (name.n == 0)
            return false;
        if (own.n == 0)
            p->given[i] = mem_strdup(name);
        p->v[i] = (struct piece){(uint32_t) at, line, hash_of(name), r->pos.column - 1};
        if (line != r->pos.line || !dash_before(text, at, p->v[i].column))
            return false;
        size_t slot = p->v[i].hash & p->mask;
        while (p->table[slot])
            slot = (slot + 1) & p->mask;
        p->table[slot] = (uint32_t) i + 1;
    }
    move_to(text, &at, &line, end);
    p->v[i] = (struct piece){.at = (uint32_t) at, .line = line};
    return true;
}

/* Lines end in LF alone, as they are counted here; YAML knows four other ends (YAML 1.1 5.4). */
static bool plain_lines(struct str text)
{
    static const struct str others[] = {
        {"\r", 1}, {"\xc2\x85", 2}, {"\xe2\x80\xa8", 3}, {"\xe2\x80\xa9", 3}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        struct str rest = text;
        for (ptrdiff_t at; (at = str_find(rest, others[i].p[0])) >= 0;) {
            rest = str_sub(rest, (size_t) at, rest.n);
            if (str_starts(rest, others[i]))
                return false;
            rest = str_sub(rest, 1, rest.n);
        }
    }
    return true;
}

struct conf_pieces *conf_pieces_new(struct str text, const struct conf_node *root,
                                    const struct str *names)
{
    const struct conf_node *list = suitable(root);
    if (!list || !plain_lines(text))
        return NULL;
    struct conf_pieces *p = mem_new(sizeof *p);
    size_t cap = 16;
    while (cap < list->n * 2)
        cap *= 2;
    p->n = list->n;
    p->mask = cap - 1;
    p->v = mem_new((p->n + 1) * sizeof *p->v);
    p->given = names ? mem_new(p->n * sizeof *p->given) : NULL;
    p->table = mem_new(cap * sizeof *p->table);
    if (place_all(p, text, list, names, end_of(root, list->last->pos.line)))
        return p;
    conf_pieces_free(p);
    return NULL;
}

void conf_pieces_free(struct conf_pieces *p)
{
    if (!p)
        return;
    for (size_t i = 0; p->given && i < p->n; i++)
        mem_free(p->given[i]);
    mem_free(p->given);
    mem_free((void *) (uintptr_t) p->text.p);
    mem_free(p->table);
    mem_free(p->v);
    mem_free(p);
}

void conf_pieces_give(struct conf_pieces *p, struct str text)
{
    p->text = text;
}

size_t conf_pieces_count(const struct conf_pieces *p)
{
    return p->n;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* Places in a piece become those in the text. */
static void move_down(struct conf_node *n, unsigned lines)
{
    n->pos.line += lines;
    n->at_key.line += n->at_key.line ? lines : 0;
    for (struct conf_node *c = n->first; c; c = c->next)
        move_down(c, lines);
}

struct conf_node *conf_pieces_read(const struct conf_pieces *p, size_t i, struct arena *tree,
                                   const char *file)
{
    struct conf_errors e;
    size_t n = p->v[i + 1].at - p->v[i].at;
    char *text = conf_alloc(tree, n + 1);
    memcpy(text, p->text.p + p->v[i].at, n);
    memset(text, ' ', p->v[i].column);
    conf_errors_init(&e, tree, file);
    struct conf_node *route = conf_lex(str_of(text, n), tree, &e);
    must(route && e.n == 0); /* it was read as a part of the whole */
    conf_errors_fini(&e);
    move_down(route, p->v[i].line - 1);
    if (p->given && p->given[i])
        conf_node_name(route, str_c(p->given[i]), tree);
    return route;
}

struct conf_node *conf_pieces_find(const struct conf_pieces *p, struct str name, struct arena *tree,
                                   const char *file, size_t *i)
{
    uint32_t hash = hash_of(name);
    for (size_t slot = hash & p->mask; p->table[slot]; slot = (slot + 1) & p->mask) {
        *i = p->table[slot] - 1;
        if (p->v[*i].hash != hash)
            continue;
        struct conf_node *route = conf_pieces_read(p, *i, tree, file);
        if (str_eq(conf_member(route, "name")->text, name))
            return route;
    }
    return NULL;
}

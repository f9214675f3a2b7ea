/* SPDX-License-Identifier: Apache-2.0 */
/* conf_unreachable.c: routes whose match another one has, too, so that nothing ever reaches them.
 * Each match is written down in one way, whatever the order in the text was; the writings are
 * looked up by their hash, so it costs as much a route among many as among few. Holds no state. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/panic.h"
#include "base/text.h"
#include "control/conf_check.h"
#include "control/conf_node.h"

/* ---- a match written down ------------------------------------------------------------------ */

/* One of a set: a condition, or a method or protocol (without a value). */
struct member {
    struct str name, value;
};

static void write_str(struct text *t, char tag, struct str s)
{
    uint32_t n = (uint32_t) s.n;
    if (s.n == 0)
        return;
    text_add(t, str_of(&tag, 1));
    text_add(t, str_of((const char *) &n, sizeof n));
    text_add(t, s);
}

static int compare_members(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int c = str_cmp(x->name, y->name);
    return c ? c : str_cmp(x->value, y->value);
}

/* Sorts v; what is in it twice counts once. */
static void write_set(struct text *t, char tag, struct member *v, size_t n)
{
    if (n > 1)
        qsort(v, n, sizeof *v, compare_members);
    for (size_t i = 0; i < n; i++) {
        if (i && compare_members(&v[i - 1], &v[i]) == 0)
            continue;
        write_str(t, tag, v[i].name);
        write_str(t, '=', v[i].value);
    }
}

static struct member *members_new(struct arena *a, size_t n)
{
    struct member *v = arena_zalloc(a, n * sizeof *v);
    must(v);
    return v;
}

static struct str lowered(struct str s, struct arena *a)
{
    struct str low = arena_str(a, s);
    for (size_t i = 0; i < low.n; i++)
        ((char *) low.p)[i] = str_lower(low.p[i]);
    return low;
}

/* folded: names are equal whatever their case. */
static void write_conditions(struct text *t, char tag, const struct schema_map *m, bool folded,
                             struct arena *a)
{
    const struct str *values = m->items;
    if (m->n == 0)
        return;
    struct member *v = members_new(a, m->n);
    for (size_t i = 0; i < m->n; i++)
        v[i] = (struct member){folded ? lowered(m->names[i], a) : m->names[i], values[i]};
    write_set(t, tag, v, m->n);
}

static void write_list(struct text *t, char tag, const struct schema_list *l, struct arena *a)
{
    const struct str *names = l->items;
    size_t n = l->n;
    if (n == 0)
        return;
    struct member *v = members_new(a, n + 1);
    for (size_t i = 0; i < l->n; i++) {
        v[i].name = names[i];
        if (tag == 'm' && str_eq(names[i], STR("GET"))) { /* which covers it: see router */
            v[l->n].name = STR("HEAD");
            n = l->n + 1;
        }
    }
    write_set(t, tag, v, n);
}

/* Equal writings ask for the same requests or connections. Some that do are told apart, as text is
 * compared: /%41 and /A. */
static void write_match(const struct flat_route *r, struct text *t)
{
    const struct match_conf *m = r->match;
    char room[2048] __attribute__((aligned(16)));
    struct arena a;
    arena_init_in(&a, NULL, SIZE_MAX, room, sizeof room);
    t->n = 0;
    text_add(t, r->conf->passthrough ? STR("c") : STR("r"));
    write_str(t, 'h', m->host);
    /* A prefix of everything and no path are two words for one thing. */
    write_str(t, 'p', m->path.n || m->path_regex.n ? m->path : STR("/*"));
    write_str(t, 'x', m->path_regex);
    write_str(t, 's', m->sni);
    write_list(t, 'a', &m->alpn, &a);
    write_list(t, 'm', &m->methods, &a);
    write_conditions(t, 'f', &m->headers, true, &a);
    write_conditions(t, 'q', &m->query, false, &a);
    arena_fini(&a);
}

/* ---- finding those of one match ------------------------------------------------------------- */

struct seen {
    uint32_t hash;
    uint32_t route; /* number + 1, of the one that is asked first; 0: a free slot */
};

struct search {
    const struct flat_routes *flat;
    struct seen *v; /* open addressing, at most half full */
    size_t mask;
    struct text text, other; /* scratch */
};

/* Where the route is, or is to be put. */
static struct seen *find(struct search *s, size_t i)
{
    write_match(&s->flat->v[i], &s->text);
    uint64_t hash = str_hash(text_str(&s->text));
    for (size_t at = (size_t) hash & s->mask;; at = (at + 1) & s->mask) {
        struct seen *one = &s->v[at];
        if (one->route && one->hash != (uint32_t) (hash >> 32))
            continue;
        if (one->route)
            write_match(&s->flat->v[one->route - 1], &s->other);
        if (one->route && !str_eq(text_str(&s->text), text_str(&s->other)))
            continue;
        one->hash = (uint32_t) (hash >> 32);
        return one;
    }
}

/* As the router orders rules of one host: see route.h. */
static bool asked_before(const struct match_conf *a, const struct match_conf *b)
{
    const struct match_conf *of[] = {a, b};
    bool path[2];
    size_t n[2];
    for (size_t i = 0; i < 2; i++) {
        path[i] = of[i]->path.n || of[i]->path_regex.n;
        n[i] = of[i]->headers.n + of[i]->query.n; /* the rest is the same in both */
    }
    return path[0] != path[1] ? path[0] : n[0] > n[1];
}

static void say(const struct flat_route *r, const struct flat_route *first, struct conf_errors *e)
{
    struct schema_pos pos = r->conf->pos, of = first->conf->pos;
    char line[32] = "";
    if (pos.line >= CONF_JSON_LINE) /* it was made at run time */
        pos = (struct schema_pos){e->file, 0, 0};
    if (of.line && of.line < CONF_JSON_LINE)
        snprintf(line, sizeof line, " at line %u", of.line);
    conf_warn(
        e, pos,
        "route \"%.*s\" is never used: route \"%.*s\"%s has the same match and is asked first; "
        "take one of them out, or give it another match",
        STR_ARG(r->name), STR_ARG(first->name), line);
}

void conf_warn_unreachable(const struct flat_routes *flat, struct conf_errors *e)
{
    size_t cap = 16;
    while (cap < flat->n * 2)
        cap *= 2;
    struct search s = {.flat = flat, .v = mem_new(cap * sizeof *s.v), .mask = cap - 1};
    for (size_t i = 0; i < flat->n; i++) {
        struct seen *one = find(&s, i);
        size_t first = one->route ? one->route - 1 : i, last = i;
        if (asked_before(flat->v[i].match, flat->v[first].match)) {
            last = first;
            first = i;
        }
        one->route = (uint32_t) first + 1;
        if (first != last)
            say(&flat->v[last], &flat->v[first], e);
    }
    mem_free(s.v);
    text_fini(&s.text);
    text_fini(&s.other);
}

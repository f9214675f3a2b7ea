/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. v[0,n) are the first errors said, at most CONF_ERRORS_MAX; further ones only count.
 * 2. places is a table with open addressing, at most three quarters full; p NULL is a free slot. */
#include "control/conf_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/panic.h"

void *conf_alloc(struct arena *a, size_t n)
{
    void *p = arena_zalloc(a, n ? n : 1);
    must(p);
    return p;
}

void conf_errors_init(struct conf_errors *e, struct arena *a, const char *file)
{
    *e = (struct conf_errors){.arena = a, .file = file};
}

void conf_errors_fini(struct conf_errors *e)
{
    if (e->warnings)
        mem_free(e->warnings->v);
    mem_free(e->v);
    mem_free(e->places);
    e->v = NULL;
    e->places = NULL;
    e->warnings = NULL;
    e->n = e->cap = e->n_places = e->cap_places = 0;
}

static void add(struct conf_errors *e, struct schema_pos pos, const char *format, va_list args)
{
    char text[1024];
    if (e->n == CONF_ERRORS_MAX) {
        e->unsaid++;
        return;
    }
    vsnprintf(text, sizeof text, format, args);
    /* What a file holds orders no terminal about, and makes no second line. */
    for (char *c = text; *c; c++) {
        if ((unsigned char) *c < ' ' || *c == 0x7f)
            *c = '?';
    }
    if (e->n == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 16;
        e->v = mem_resize(e->v, e->cap * sizeof *e->v);
    }
    e->v[e->n] = (struct conf_error){pos, arena_str(e->arena, str_c(text)), (uint32_t) e->n};
    e->n++;
}

void conf_say(struct conf_errors *e, struct schema_pos pos, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add(e, pos, format, args);
    va_end(args);
}

void conf_warn(struct conf_errors *e, struct schema_pos pos, const char *format, ...)
{
    va_list args;
    if (!e->warnings) {
        e->warnings = conf_alloc(e->arena, sizeof *e->warnings);
        conf_errors_init(e->warnings, e->arena, e->file);
    }
    va_start(args, format);
    add(e->warnings, pos, format, args);
    va_end(args);
}

size_t conf_warnings(const struct conf_errors *e)
{
    return e->warnings ? e->warnings->n + e->warnings->unsaid : 0;
}

/* ---- places -------------------------------------------------------------------------------- */

/* Views of the arena begin 16 bytes apart, so the low bits say nothing. */
static size_t place_slot(const char *p, size_t cap)
{
    uint64_t h = (uint64_t) (uintptr_t) p * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t) (h >> 20) & (cap - 1);
}

static void place_put(struct conf_place *v, size_t cap, struct conf_place place)
{
    size_t at = place_slot(place.p, cap);
    while (v[at].p && v[at].p != place.p)
        at = (at + 1) & (cap - 1);
    v[at] = place;
}

static void places_grow(struct conf_errors *e)
{
    size_t cap = e->cap_places ? e->cap_places * 2 : 64;
    struct conf_place *v = mem_new(cap * sizeof *v);
    for (size_t i = 0; i < e->cap_places; i++) {
        if (e->places[i].p)
            place_put(v, cap, e->places[i]);
    }
    mem_free(e->places);
    e->places = v;
    e->cap_places = cap;
}

void conf_place_add(struct conf_errors *e, struct str text, struct schema_pos pos)
{
    if (text.n == 0)
        return;
    if ((e->n_places + 1) * 4 > e->cap_places * 3)
        places_grow(e);
    place_put(e->places, e->cap_places, (struct conf_place){text.p, pos.line, pos.column});
    e->n_places++;
}

struct schema_pos conf_place_of(const struct conf_errors *e, struct str text,
                                struct schema_pos other)
{
    if (text.n == 0 || e->cap_places == 0)
        return other;
    for (size_t at = place_slot(text.p, e->cap_places); e->places[at].p;
         at = (at + 1) & (e->cap_places - 1)) {
        const struct conf_place *place = &e->places[at];
        if (place->p == text.p)
            return (struct schema_pos){e->file, place->line, place->column};
    }
    return other;
}

/* ---- printing ------------------------------------------------------------------------------ */

static int by_place(const void *a, const void *b)
{
    const struct conf_error *x = a, *y = b;
    if (x->pos.line != y->pos.line)
        return x->pos.line < y->pos.line ? -1 : 1;
    if (x->pos.column != y->pos.column)
        return x->pos.column < y->pos.column ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static void print_one(FILE *out, const struct conf_errors *e, const struct conf_error *one,
                      const char *lead)
{
    const char *file = one->pos.file ? one->pos.file : e->file;
    if (file && one->pos.line)
        fprintf(out, "%s:%u:%u: ", file, one->pos.line, one->pos.column);
    else if (file)
        fprintf(out, "%s: ", file);
    fprintf(out, "%s%.*s\n", lead, STR_ARG(one->text));
}

/* The first `most`, each with lead before its text. */
static void print_list(FILE *out, struct conf_errors *e, size_t most, const char *lead)
{
    size_t n = e->n < most ? e->n : most, more = e->n - n + e->unsaid;
    conf_errors_sort(e);
    for (size_t i = 0; i < n; i++)
        print_one(out, e, &e->v[i], lead);
    if (more)
        fprintf(out, "%sand %zu more\n", lead, more);
}

void conf_errors_sort(struct conf_errors *e)
{
    if (e->n)
        qsort(e->v, e->n, sizeof *e->v, by_place);
}

char *conf_errors_print(struct conf_errors *e)
{
    char *text = NULL;
    size_t n = 0;
    if (e->n == 0)
        return NULL;
    FILE *out = open_memstream(&text, &n);
    must(out);
    print_list(out, e, SIZE_MAX, "");
    if (e->unrun)
        fprintf(out, "%zu test%s not run: the file has errors\n", e->unrun,
                e->unrun == 1 ? " was" : "s were");
    if (e->warnings)
        print_list(out, e->warnings, SIZE_MAX, "warning: ");
    must(fclose(out) == 0 && text);
    return text;
}

char *conf_warnings_print(struct conf_errors *e, size_t most)
{
    char *text = NULL;
    size_t n = 0;
    if (!e->warnings)
        return NULL;
    FILE *out = open_memstream(&text, &n);
    must(out);
    print_list(out, e->warnings, most, "warning: ");
    must(fclose(out) == 0 && text);
    return text;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* text.c: see text.h. */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"

char *text_room(struct text *t, size_t n)
{
    if (t->cap - t->n < n) {
        size_t cap = t->cap ? t->cap * 2 : 4096;
        while (cap - t->n < n)
            cap *= 2;
        t->p = mem_resize(t->p, cap);
        t->cap = cap;
    }
    return t->p + t->n;
}

void text_add(struct text *t, struct str s)
{
    if (s.n == 0)
        return;
    memcpy(text_room(t, s.n), s.p, s.n);
    t->n += s.n;
}

void text_addf(struct text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n > 0) {
        vsnprintf(text_room(t, (size_t) n + 1), (size_t) n + 1, format, again);
        t->n += (size_t) n;
    }
    va_end(again);
}

void text_add_json(struct text *t, struct str s)
{
    size_t room = s.n * JSON_BYTE_MAX + 2;
    char *at = text_room(t, room), *end = at;
    *end++ = '"';
    end = json_text(end, s, s.n * JSON_BYTE_MAX);
    *end++ = '"';
    t->n += (size_t) (end - at);
}

void text_add_json_lines(struct text *t, struct str s)
{
    const char *between = "[";
    while (s.n) {
        ptrdiff_t end = str_find(s, '\n');
        size_t n = end < 0 ? s.n : (size_t) end;
        text_addf(t, "%s", between);
        text_add_json(t, str_sub(s, 0, n));
        s = str_sub(s, n + 1, s.n);
        between = ",";
    }
    text_addf(t, "%s]", between[0] == '[' ? between : "");
}

void text_fini(struct text *t)
{
    mem_free(t->p);
    *t = (struct text){0};
}

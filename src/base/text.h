/* SPDX-License-Identifier: Apache-2.0 */
/* text: a string that grows as it is written, for pages and messages off the hot path. Owned by
 * whoever zero-initialised it; one thread. Never for what a peer can make arbitrarily long. */
#ifndef WEIR_BASE_TEXT_H
#define WEIR_BASE_TEXT_H

#include "base/str.h"

/* Zero-initialised is empty. */
struct text {
    char *p; /* heap; not NUL-terminated */
    size_t n, cap;
};

/* Appends s. */
void text_add(struct text *t, struct str s);
/* Appends in the manner of printf. */
void text_addf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends s as a JSON string, quotes and all (see json_text). */
void text_add_json(struct text *t, struct str s);
/* Appends the lines of s as a JSON array of strings. */
void text_add_json_lines(struct text *t, struct str s);
/* Room for at least n more bytes at the end; the caller raises t->n by what it wrote. */
char *text_room(struct text *t, size_t n);
/* What was written so far; valid until the next change. */
static inline struct str text_str(const struct text *t)
{
    return str_of(t->p, t->n);
}
/* Frees the bytes; t is empty again. */
void text_fini(struct text *t);

#endif

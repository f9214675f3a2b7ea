/* SPDX-License-Identifier: Apache-2.0 */
/* conf_error: what is wrong with a configuration: all of it, each with its place, in the order of
 * the text; and what is hardly meant (warnings). Also remembers where texts stood, so that a
 * cross-check can point at the very key. Owned by one load, its thread only; lives in that load's
 * arena. It never prints. */
#ifndef WEIR_CONTROL_CONF_ERROR_H
#define WEIR_CONTROL_CONF_ERROR_H

#include "base/schema.h"

struct conf_error {
    struct schema_pos pos;
    struct str text;
    uint32_t order; /* as said: keeps errors of one place in order */
};

/* Where the text that begins at p stood. */
struct conf_place {
    const char *p;
    uint32_t line, column;
};

struct conf_errors {
    struct arena *arena; /* borrowed */
    const char *file;    /* for messages without a better place; may be NULL */
    struct conf_error *v;
    size_t n, cap;
    size_t unsaid;                /* beyond CONF_ERRORS_MAX */
    size_t unrun;                 /* tests of the text that could not be run, for it has errors */
    bool untested;                /* the tests of the text are not to be run */
    struct conf_errors *warnings; /* in arena; NULL: none */
    struct conf_place *places;
    size_t n_places, cap_places; /* cap: a power of two */
};

#define CONF_ERRORS_MAX 200

/* None yet. file is the name shown when an error has no line; may be NULL. */
void conf_errors_init(struct conf_errors *e, struct arena *a, const char *file);
/* Gives back what the arena does not hold. */
void conf_errors_fini(struct conf_errors *e);
/* Adds one; pos may have line 0. */
void conf_say(struct conf_errors *e, struct schema_pos pos, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds a warning: what is allowed, and hardly meant. It is no error. */
void conf_warn(struct conf_errors *e, struct schema_pos pos, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* How many there are. */
size_t conf_warnings(const struct conf_errors *e);
/* The first `most` of them, as conf_errors_print gives errors, each with "warning: " before its
 * text; how many more there are. NULL: there is none. */
char *conf_warnings_print(struct conf_errors *e, size_t most);
/* Remembers that text stood at pos. */
void conf_place_add(struct conf_errors *e, struct str text, struct schema_pos pos);
/* Where text stood, or other when that is not known. */
struct schema_pos conf_place_of(const struct conf_errors *e, struct str text,
                                struct schema_pos other);
/* Sorts them by place. */
void conf_errors_sort(struct conf_errors *e);
/* All, sorted by place, one a line: "file:line:column: text\n", and behind them what was left out
 * because of them, and warnings; NUL-terminated, for mem_free. NULL: there is no error. */
char *conf_errors_print(struct conf_errors *e);
/* n bytes of the arena, zeroed; never NULL: what a load may take is bounded by its text. */
void *conf_alloc(struct arena *a, size_t n);

#endif

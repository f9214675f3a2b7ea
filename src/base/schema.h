/* SPDX-License-Identifier: Apache-2.0 */
/* schema: the rows that describe configuration: from them alone come the parser, the
 * messages, the defaults, check, JSON Schema, docs and the example file.
 * Tables are const and belong to the object that they describe; the target structs are plain
 * data that C code (the library) may also fill by hand after schema_defaults.
 * Any thread; never sees YAML (control/ does). */
#ifndef WEIR_BASE_SCHEMA_H
#define WEIR_BASE_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/* What a value is, and the C type at offset. */
enum schema_type {
    SCHEMA_BOOL,     /* bool */
    SCHEMA_INT,      /* int64_t, bounds min..max */
    SCHEMA_FLOAT,    /* double, bounds min..max */
    SCHEMA_DURATION, /* usec_t (uint64_t); "30s", "250ms", "1h", "off" = 0 */
    SCHEMA_SIZE,     /* uint64_t bytes; "64KiB", "1MiB", plain number */
    SCHEMA_RATE,     /* uint64_t bytes a second; "10KiB/s" */
    SCHEMA_STRING,   /* struct str */
    SCHEMA_ENUM,     /* int, index into choices */
    SCHEMA_ADDRESS,  /* struct str, checked form host:port, [v6]:port, unix:/path */
    SCHEMA_CIDR,     /* struct str, checked form */
    SCHEMA_REGEX,    /* struct str, compiled once at check */
    SCHEMA_OBJECT,   /* struct at offset, described by sub; is given when present (see given) */
    SCHEMA_LIST,     /* struct schema_list of sub structs, or of scalars (item type) */
    SCHEMA_MAP,      /* struct schema_map: name -> sub struct, or name -> scalar */
};

/* Target of SCHEMA_LIST: items lie one after another in the arena. */
struct schema_list {
    void *items;
    size_t n;
};

/* Target of SCHEMA_MAP. */
struct schema_map {
    struct str *names;
    void *items;
    size_t n;
};

/* Where in a text a thing was said. line and column count from 1; 0: not from a text. */
struct schema_pos {
    const char *file;
    unsigned line, column;
};

struct schema_table;

struct schema_field {
    const char *name;
    enum schema_type type;
    size_t offset;    /* of the value in the target struct */
    const char *def;  /* default in config syntax; NULL: none (see required) */
    int64_t min, max; /* bounds of INT, DURATION (us), SIZE, LIST/MAP length; 0,0: none */
    /* NULL-terminated. ENUM: what there is. ADDRESS: words that may stand in place of one, all of
     * one meaning; the first is what the documentation and messages name. */
    const char *const *choices;
    const struct schema_table *sub; /* OBJECT; LIST and MAP of objects */
    enum schema_type item;          /* LIST and MAP of scalars when sub is NULL */
    size_t given;                   /* offset of a bool set when the key was present; 0: none */
    bool required;
    bool reloadable;     /* false: a change needs a restart, said at reload */
    const char *unit;    /* for docs: "duration", "bytes" or NULL */
    const char *since;   /* version */
    const char *doc;     /* one sentence */
    const char *example; /* in config syntax */
};

struct schema_table {
    const char *name; /* "listener", "upstream.pool" */
    const char *doc;  /* one sentence */
    size_t size;      /* of the target struct */
    const struct schema_field *fields;
    size_t n_fields;
    /* Offset of a struct schema_pos filled with the object's place, without a file where something
     * in it was refused; 0: none. */
    size_t pos;
    /* Cross-check of one filled object: calls say() for each error. May be NULL. */
    void (*check)(const void *object, void (*say)(void *arg, const char *field, const char *text),
                  void *arg);
    /* A scalar (or a list, when the field is one) in place of the object is stored in this field
     * ("match: /api/" + "*"); NULL: no */
    const char *short_form;
    /* Rows of another table that are keys of this one too, for the struct at also_offset. */
    const struct schema_table *also;
    size_t also_offset;
};

#define SCHEMA_COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Fills object (table->size bytes) with the defaults of its rows, objects inside included;
 * lists and maps empty. Strings point to constants. */
void schema_defaults(const struct schema_table *table, void *object);
/* Parses one scalar of the given row. On failure *why (in arena) says what is wrong and what is
 * allowed. */
bool schema_scalar(const struct schema_field *field, struct str text, void *value, struct arena *a,
                   struct str *why);
/* Writes value of the row in config syntax into the arena. */
struct str schema_print(const struct schema_field *field, const void *value, struct arena *a);
/* The row of that name, or NULL; rows of `also` too. *base (may be NULL): what to add to the row's
 * offsets. */
const struct schema_field *schema_find(const struct schema_table *table, struct str name,
                                       size_t *base);
/* Row i of the table and of `also` behind it, or NULL; *base as above. */
const struct schema_field *schema_row(const struct schema_table *table, size_t i, size_t *base);
/* The nearest valid name within distance 3, or NULL. */
const char *schema_nearest(const struct schema_table *table, struct str name);
/* The nearer of two hints: `best` so far (may be NULL) or `name`, as schema_nearest judges. */
const char *schema_nearer(struct str wanted, const char *best, const char *name);
/* Bytes at offset+base of the object that hold a value of the row. */
size_t schema_value_size(enum schema_type type);

/* Equal for objects of equal content, on all machines and runs; positions do not count, whether a
 * row was given does. */
uint64_t schema_hash(const struct schema_table *table, const void *object, uint64_t seed);
/* The same of one value. */
uint64_t schema_hash_value(const struct schema_field *field, const void *value, uint64_t seed);
/* The objects say the same, as schema_hash sees it. */
bool schema_equal(const struct schema_table *table, const void *a, const void *b);
/* The same of one value. */
bool schema_equal_value(const struct schema_field *field, const void *a, const void *b);
/* Bytes of room that schema_copy needs for what the rows of object point to. */
size_t schema_copy_size(const struct schema_table *table, const void *object);
/* Copies object to `to` (table->size bytes) with all that its rows point to, which is laid into
 * room (aligned to 16); positions keep their line but lose their file. Returns the end of what was
 * used. */
char *schema_copy(const struct schema_table *table, void *to, const void *object, char *room);
/* The same, laid into an arena without a bound. */
void schema_copy_in(const struct schema_table *table, void *to, const void *object,
                    struct arena *a);

#endif

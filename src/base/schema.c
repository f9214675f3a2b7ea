/* SPDX-License-Identifier: Apache-2.0 */
/* schema.c: walks over tables of rows: finding, defaults, hashes and copies. Holds no state. */
#include "base/schema.h"

#include "base/mem.h"
#include "base/panic.h"

/* ---- rows ---------------------------------------------------------------------------------- */

const struct schema_field *schema_row(const struct schema_table *table, size_t i, size_t *base)
{
    size_t at = 0;
    while (table && i >= table->n_fields) {
        i -= table->n_fields;
        at += table->also_offset;
        table = table->also;
    }
    if (base)
        *base = at;
    return table ? &table->fields[i] : NULL;
}

const struct schema_field *schema_find(const struct schema_table *table, struct str name,
                                       size_t *base)
{
    const struct schema_field *f;
    for (size_t i = 0; (f = schema_row(table, i, base)); i++) {
        if (str_eq(str_c(f->name), name))
            return f;
    }
    return NULL;
}

const char *schema_nearer(struct str wanted, const char *best, const char *name)
{
    struct str b = str_c(best), n = str_c(name);
    unsigned most = wanted.n < 6 ? (unsigned) wanted.n / 2 : 3;
    unsigned d = str_distance(wanted, n, most);
    /* Half of a short name replaced is another name, not a slip. */
    if (d > most || d >= n.n)
        return best;
    /* Two letters of four are half of it: then at least it begins the same. */
    if (2 * d >= wanted.n && 2 * d >= n.n && wanted.p[0] != n.p[0])
        return best;
    return best && str_distance(wanted, b, most) <= d ? best : name;
}

const char *schema_nearest(const struct schema_table *table, struct str name)
{
    const struct schema_field *f;
    const char *best = NULL;
    for (size_t i = 0; (f = schema_row(table, i, NULL)); i++)
        best = schema_nearer(name, best, f->name);
    return best;
}

size_t schema_value_size(enum schema_type type)
{
    switch (type) {
    case SCHEMA_BOOL:
        return sizeof(bool);
    case SCHEMA_INT:
    case SCHEMA_FLOAT:
    case SCHEMA_DURATION:
    case SCHEMA_SIZE:
    case SCHEMA_RATE:
        return sizeof(uint64_t);
    case SCHEMA_ENUM:
        return sizeof(int);
    case SCHEMA_STRING:
    case SCHEMA_ADDRESS:
    case SCHEMA_CIDR:
    case SCHEMA_REGEX:
        return sizeof(struct str);
    case SCHEMA_LIST:
        return sizeof(struct schema_list);
    case SCHEMA_MAP:
        return sizeof(struct schema_map);
    case SCHEMA_OBJECT:
        break;
    }
    panic("an object has no size without its table");
}

static bool is_text(enum schema_type type)
{
    return type == SCHEMA_STRING || type == SCHEMA_ADDRESS || type == SCHEMA_CIDR ||
           type == SCHEMA_REGEX;
}

/* Bytes from one item of a list or map to the next. */
static size_t item_size(const struct schema_field *f)
{
    return f->sub ? f->sub->size : schema_value_size(f->item);
}

/* The row that an item of f would have. */
static struct schema_field item_row(const struct schema_field *f)
{
    struct schema_field item = {.name = f->name, .sub = f->sub, .choices = f->choices};
    item.type = f->sub ? SCHEMA_OBJECT : f->item;
    return item;
}

/* ---- defaults ------------------------------------------------------------------------------ */

static void default_value(const struct schema_field *f, void *value)
{
    struct arena a;
    struct str why;
    if (f->type == SCHEMA_OBJECT) {
        schema_defaults(f->sub, value);
        return;
    }
    if (!f->def || f->type == SCHEMA_LIST || f->type == SCHEMA_MAP)
        return;
    if (is_text(f->type)) {
        *(struct str *) value = str_c(f->def);
        return;
    }
    arena_init(&a, NULL, SIZE_MAX);
    if (!schema_scalar(f, str_c(f->def), value, &a, &why))
        panic("default of %s: %s", f->name, why.p);
    arena_fini(&a);
}

static void default_rows(const struct schema_table *table, char *object)
{
    for (size_t i = 0; i < table->n_fields; i++)
        default_value(&table->fields[i], object + table->fields[i].offset);
    if (table->also)
        default_rows(table->also, object + table->also_offset);
}

void schema_defaults(const struct schema_table *table, void *object)
{
    memset(object, 0, table->size);
    default_rows(table, object);
}

/* ---- hashes -------------------------------------------------------------------------------- */

static uint64_t hash_bytes(const void *p, size_t n, uint64_t seed)
{
    return str_stable_hash(str_of(p, n), seed);
}

static uint64_t hash_str(struct str s, uint64_t seed)
{
    uint64_t n = s.n;
    return str_stable_hash(s, hash_bytes(&n, sizeof n, seed));
}

static uint64_t hash_items(const struct schema_field *f, const void *items, size_t n, uint64_t h)
{
    struct schema_field item = item_row(f);
    uint64_t count = n;
    h = hash_bytes(&count, sizeof count, h);
    for (size_t i = 0; i < n; i++)
        h = schema_hash_value(&item, (const char *) items + i * item_size(f), h);
    return h;
}

uint64_t schema_hash_value(const struct schema_field *f, const void *value, uint64_t seed)
{
    if (f->type == SCHEMA_OBJECT)
        return schema_hash(f->sub, value, seed);
    if (f->type == SCHEMA_LIST) {
        const struct schema_list *l = value;
        return hash_items(f, l->items, l->n, seed);
    }
    if (f->type == SCHEMA_MAP) {
        const struct schema_map *m = value;
        for (size_t i = 0; i < m->n; i++)
            seed = hash_str(m->names[i], seed);
        return hash_items(f, m->items, m->n, seed);
    }
    if (is_text(f->type))
        return hash_str(*(const struct str *) value, seed);
    return hash_bytes(value, schema_value_size(f->type), seed);
}

uint64_t schema_hash(const struct schema_table *table, const void *object, uint64_t seed)
{
    const char *o = object;
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct schema_field *f = &table->fields[i];
        seed = schema_hash_value(f, o + f->offset, seed);
        if (f->given)
            seed = hash_bytes(o + f->given, sizeof(bool), seed);
    }
    return table->also ? schema_hash(table->also, o + table->also_offset, seed) : seed;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static bool equal_items(const struct schema_field *f, const void *a, const void *b, size_t n)
{
    struct schema_field item = item_row(f);
    for (size_t i = 0; i < n; i++) {
        size_t at = i * item_size(f);
        if (!schema_equal_value(&item, (const char *) a + at, (const char *) b + at))
            return false;
    }
    return true;
}

bool schema_equal_value(const struct schema_field *f, const void *a, const void *b)
{
    if (f->type == SCHEMA_OBJECT)
        return schema_equal(f->sub, a, b);
    if (f->type == SCHEMA_LIST) {
        const struct schema_list *x = a, *y = b;
        return x->n == y->n && equal_items(f, x->items, y->items, x->n);
    }
    if (f->type == SCHEMA_MAP) {
        const struct schema_map *x = a, *y = b;
        bool same = x->n == y->n;
        for (size_t i = 0; same && i < x->n; i++)
            same = str_eq(x->names[i], y->names[i]);
        return same && equal_items(f, x->items, y->items, x->n);
    }
    if (is_text(f->type))
        return str_eq(*(const struct str *) a, *(const struct str *) b);
    return memcmp(a, b, schema_value_size(f->type)) == 0;
}

bool schema_equal(const struct schema_table *table, const void *a, const void *b)
{
    const char *x = a, *y = b;
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct schema_field *f = &table->fields[i];
        if (!schema_equal_value(f, x + f->offset, y + f->offset) ||
            (f->given && x[f->given] != y[f->given]))
            return false;
    }
    return !table->also ||
           schema_equal(table->also, x + table->also_offset, y + table->also_offset);
}

/* ---- copies -------------------------------------------------------------------------------- */

/* Where copies go: to the arena, or to at; both NULL: only used counts. */
struct room {
    char *at;
    size_t used;
    struct arena *arena;
};

/* n bytes of room, aligned; NULL while counting. */
static void *room_take(struct room *r, size_t n)
{
    char *p = r->arena ? arena_alloc(r->arena, n) : r->at ? r->at + r->used : NULL;
    must(p || !r->arena);
    r->used += (n + 15) & ~(size_t) 15;
    return p;
}

static struct str copy_str(struct room *r, struct str s)
{
    if (s.n == 0)
        return str_of("", 0);
    char *p = room_take(r, s.n + 1);
    if (p) {
        memcpy(p, s.p, s.n);
        p[s.n] = '\0';
    }
    return str_of(p, s.n);
}

static void copy_value(const struct schema_field *f, void *to, const void *from, struct room *r);

static void copy_rows(const struct schema_table *table, char *to, const char *from, struct room *r)
{
    for (size_t i = 0; i < table->n_fields; i++) {
        const struct schema_field *f = &table->fields[i];
        copy_value(f, to ? to + f->offset : NULL, from + f->offset, r);
    }
    if (table->pos && to)
        ((struct schema_pos *) (void *) (to + table->pos))->file = NULL;
    if (table->also)
        copy_rows(table->also, to ? to + table->also_offset : NULL, from + table->also_offset, r);
}

static void *copy_items(const struct schema_field *f, const void *items, size_t n, struct room *r)
{
    struct schema_field item = item_row(f);
    size_t size = item_size(f);
    if (n == 0)
        return NULL;
    char *to = room_take(r, n * size);
    if (to)
        memcpy(to, items, n * size);
    for (size_t i = 0; i < n; i++)
        copy_value(&item, to ? to + i * size : NULL, (const char *) items + i * size, r);
    return to;
}

static void copy_map(const struct schema_field *f, struct schema_map *to,
                     const struct schema_map *from, struct room *r)
{
    struct str *names = from->n ? room_take(r, from->n * sizeof *names) : NULL;
    for (size_t i = 0; i < from->n; i++) {
        struct str name = copy_str(r, from->names[i]);
        if (names)
            names[i] = name;
    }
    void *items = copy_items(f, from->items, from->n, r);
    if (to)
        *to = (struct schema_map){names, items, from->n};
}

/* The bytes of *to are those of *from already; what they point to is copied. */
static void copy_value(const struct schema_field *f, void *to, const void *from, struct room *r)
{
    if (f->type == SCHEMA_OBJECT) {
        copy_rows(f->sub, to, from, r);
    } else if (f->type == SCHEMA_LIST) {
        const struct schema_list *l = from;
        void *items = copy_items(f, l->items, l->n, r);
        if (to)
            *(struct schema_list *) to = (struct schema_list){items, l->n};
    } else if (f->type == SCHEMA_MAP) {
        copy_map(f, to, from, r);
    } else if (is_text(f->type)) {
        struct str s = copy_str(r, *(const struct str *) from);
        if (to)
            *(struct str *) to = s;
    }
}

size_t schema_copy_size(const struct schema_table *table, const void *object)
{
    struct room r = {0};
    copy_rows(table, NULL, object, &r);
    return r.used;
}

char *schema_copy(const struct schema_table *table, void *to, const void *object, char *room)
{
    struct room r = {.at = room};
    memcpy(to, object, table->size);
    copy_rows(table, to, object, &r);
    return room + r.used;
}

void schema_copy_in(const struct schema_table *table, void *to, const void *object, struct arena *a)
{
    struct room r = {.arena = a};
    memcpy(to, object, table->size);
    copy_rows(table, to, object, &r);
}

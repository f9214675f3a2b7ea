/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. v[0, n) holds the fields in the order of the message; n <= cap.
 * 2. bit i of present is set exactly when some field of id i is in v (FIELD_OTHER too).
 * 3. the id of a field is field_id(name): a known id means that name is a valid token.
 * 4. line is 0 unless the bytes at name.p are the whole line, of this name and this value.
 * 5. odd_names is false only when every name holds letters, digits and '-' alone. */
#include "http/field.h"

#include "base/panic.h"
#include "http/bytes.h"
#include "http/field_hash.h"

#define FIRST_CAP 16u
#define NAME_BYTES 31u

_Static_assert(FIELD_COUNT <= 64, "a set of fields is one 64-bit mask");
_Static_assert(NAME_BYTES <= 32, "name_is looks at the first and the last 16 bytes");

struct known {
    char name[NAME_BYTES];
    uint8_t n;
};

static const struct known known[FIELD_COUNT] = {
#define FIELD(id, name) [FIELD_##id] = {name, sizeof(name) - 1},
#include "http/field_table.h"
#undef FIELD
};

/* Sixteen bytes are a known name of up to 15 bytes and ':', and whatever follows, when they are
 * text once the bits of fold are set. No bytes with a ':' are what stands here of longer names. */
struct opening {
    uint8_t fold[16], text[16];
};

#define AT(name, i) (uint8_t)((name ":\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")[i])
#define FOLD(name, i) ((i) >= sizeof(name) ? 0xff : AT(name, i) >= 'A' ? 0x20 : 0)
#define TEXT(name, i) (AT(name, i) | FOLD(name, i))
#define SIXTEEN(of, name)                                                                          \
    {                                                                                              \
        of(name, 0), of(name, 1), of(name, 2), of(name, 3), of(name, 4), of(name, 5), of(name, 6), \
            of(name, 7), of(name, 8), of(name, 9), of(name, 10), of(name, 11), of(name, 12),       \
            of(name, 13), of(name, 14), of(name, 15)                                               \
    }

static const struct opening openings[FIELD_COUNT] __attribute__((aligned(16))) = {
#define FIELD(id, name) [FIELD_##id] = {SIXTEEN(FOLD, name), SIXTEEN(TEXT, name)},
#include "http/field_table.h"
#undef FIELD
};

/* Marks where a and b differ but for case, when b holds letters, digits and '-' only. Setting bit 5
 * folds letters; control bytes, which it would turn into digits and '-', are marked too. */
static inline bytes16 folded_apart(bytes16 a, bytes16 b)
{
    return (bytes16) (((a | 0x20) != (b | 0x20)) | (a < 0x20));
}

/* The n bytes at p are name, a known one of that length. */
static inline bool name_is(const char *p, size_t n, const char *name)
{
    if (n >= 16) {
        bytes16 first = folded_apart(bytes16_load(p), bytes16_load(name));
        bytes16 last = folded_apart(bytes16_load(p + n - 16), bytes16_load(name + n - 16));
        return !bytes16_mask(first | last);
    }
    if (n >= 4)
        return !bytes16_mask(folded_apart(bytes16_load_short(p, n), bytes16_load_short(name, n)));
    for (size_t i = 0; i < n; i++)
        if (str_lower(p[i]) != str_lower(name[i]))
            return false;
    return true;
}

/* The one known name that the n (at least 2) bytes at p may be; FIELD_OTHER: none. */
static inline unsigned candidate(const char *p, size_t n)
{
    return field_slots[FIELD_SLOT((unsigned) n, (unsigned char) p[1], (unsigned char) p[n - 2])];
}

enum field_id field_id(struct str name)
{
    if (name.n < 2)
        return FIELD_OTHER;
    unsigned id = candidate(name.p, name.n);
    if (known[id].n != name.n || !name_is(name.p, name.n, known[id].name))
        return FIELD_OTHER;
    return (enum field_id) id;
}

enum field_id field_id_in16(const char *p, size_t n)
{
    if (n < 2)
        return FIELD_OTHER;
    unsigned id = candidate(p, n);
    const struct opening *o = &openings[id];
    bytes16 folded = bytes16_load(p) | bytes16_load((const char *) o->fold);
    bytes16 same = (bytes16) (folded == bytes16_load((const char *) o->text));
    return bytes16_mask(same) == 0xffff ? (enum field_id) id : FIELD_OTHER;
}

struct str field_name(enum field_id id)
{
    return str_of(known[id].name, known[id].n);
}

bool fields_grow(struct fields *f)
{
    uint32_t cap = f->cap ? f->cap * 2 : FIRST_CAP;
    struct field *v = arena_alloc(f->arena, cap * sizeof(*v));
    if (!v)
        return false;
    if (f->n)
        memcpy(v, f->v, f->n * sizeof(*v));
    f->v = v;
    f->cap = cap;
    return true;
}

/* There is room. */
static inline void put_last(struct fields *f, enum field_id id, struct str name, struct str value)
{
    struct field *slot = &f->v[f->n++];
    slot->name = name;
    slot->value = value;
    slot->id = (uint8_t) id;
    slot->line = 0;
    f->present |= UINT64_C(1) << id;
    f->odd_names |= id == FIELD_OTHER;
}

static __attribute__((noinline)) bool push_grown(struct fields *f, enum field_id id,
                                                 struct str name, struct str value)
{
    if (!fields_grow(f))
        return false;
    put_last(f, id, name, value);
    return true;
}

static inline bool push(struct fields *f, enum field_id id, struct str name, struct str value)
{
    if (__builtin_expect(f->n == f->cap, 0))
        return push_grown(f, id, name, value);
    put_last(f, id, name, value);
    return true;
}

bool fields_add(struct fields *f, struct str name, struct str value)
{
    return push(f, field_id(name), name, value);
}

bool fields_add_id(struct fields *f, enum field_id id, struct str value)
{
    return push(f, id, field_name(id), value);
}

bool fields_add_known(struct fields *f, enum field_id id, struct str name, struct str value)
{
    return push(f, id, name, value);
}

struct field *fields_room(struct fields *f, uint32_t n)
{
    while (f->cap - f->n < n)
        if (!fields_grow(f))
            return NULL;
    return f->v + f->n;
}

void field_set_line(struct field *slot, enum field_id id, struct str line)
{
    size_t n = known[id].n;
    *slot = (struct field){
        .name = str_of(line.p, n),
        .value = str_of(line.p + n + 2, line.n - n - 4),
        .id = (uint8_t) id,
        .line = (uint32_t) line.n,
    };
    debug_must(field_id(slot->name) == id && field_value_valid(slot->value));
}

bool fields_add_line(struct fields *f, enum field_id id, struct str line)
{
    struct field *slot = fields_room(f, 1);
    if (!slot)
        return false;
    field_set_line(slot, id, line);
    fields_added(f, 1, UINT64_C(1) << id);
    return true;
}

static bool same_name(const struct field *x, enum field_id id, struct str name)
{
    return x->id == id && (id != FIELD_OTHER || str_ieq(x->name, name));
}

/* Keeps present true after fields were taken out. */
static void recount(struct fields *f, uint32_t n)
{
    f->n = n;
    f->present = 0;
    for (uint32_t i = 0; i < n; i++)
        f->present |= UINT64_C(1) << f->v[i].id;
}

/* Removes the fields of name from index at on. */
static uint32_t remove_from(struct fields *f, uint32_t at, enum field_id id, struct str name)
{
    uint32_t kept = at;
    for (uint32_t i = at; i < f->n; i++)
        if (!same_name(&f->v[i], id, name))
            f->v[kept++] = f->v[i];
    uint32_t removed = f->n - kept;
    if (removed)
        recount(f, kept);
    return removed;
}

bool fields_set(struct fields *f, struct str name, struct str value)
{
    enum field_id id = field_id(name);
    if (fields_has(f, id)) {
        for (uint32_t i = 0; i < f->n; i++) {
            if (!same_name(&f->v[i], id, name))
                continue;
            f->v[i].name = name;
            field_put(&f->v[i], value);
            remove_from(f, i + 1, id, name);
            return true;
        }
    }
    return push(f, id, name, value);
}

uint32_t fields_remove(struct fields *f, struct str name)
{
    enum field_id id = field_id(name);
    return fields_has(f, id) ? remove_from(f, 0, id, name) : 0;
}

uint32_t fields_remove_id(struct fields *f, enum field_id id)
{
    return fields_remove_mask(f, UINT64_C(1) << id);
}

uint32_t fields_remove_mask(struct fields *f, uint64_t mask)
{
    mask &= ~(UINT64_C(1) << FIELD_OTHER);
    if (!(f->present & mask))
        return 0;
    struct field *x = f->v, *end = f->v + f->n;
    while (!((mask >> x->id) & 1))
        x++; /* one is there */
    struct field *to = x;
    while (++x < end)
        if (!((mask >> x->id) & 1))
            *to++ = *x;
    uint32_t removed = (uint32_t) (end - to);
    f->n -= removed;
    f->present &= ~mask;
    return removed;
}

void fields_remove_if(struct fields *f, bool (*gone)(const struct field *x, void *arg), void *arg)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < f->n; i++)
        if (!gone(&f->v[i], arg))
            f->v[kept++] = f->v[i];
    if (kept < f->n)
        recount(f, kept);
}

const struct field *fields_get(const struct fields *f, struct str name)
{
    enum field_id id = field_id(name);
    if (fields_has(f, id))
        for (uint32_t i = 0; i < f->n; i++)
            if (same_name(&f->v[i], id, name))
                return &f->v[i];
    return NULL;
}

const struct field *fields_get_id(const struct fields *f, enum field_id id)
{
    if (id != FIELD_OTHER && fields_has(f, id))
        for (uint32_t i = 0; i < f->n; i++)
            if (f->v[i].id == id)
                return &f->v[i];
    return NULL;
}

struct field *fields_only(const struct fields *f, enum field_id id)
{
    if (!fields_has(f, id))
        return NULL;
    struct field *x = f->v, *end = f->v + f->n;
    while (x->id != id)
        x++;
    struct field *found = x++;
    while (x < end && x->id != id)
        x++;
    return x == end ? found : NULL;
}

uint32_t fields_count_id(const struct fields *f, enum field_id id)
{
    uint32_t count = 0;
    if (fields_has(f, id))
        for (uint32_t i = 0; i < f->n; i++)
            count += f->v[i].id == id;
    return count;
}

struct str fields_joined(const struct fields *f, enum field_id id)
{
    const struct field *first = fields_get_id(f, id);
    if (!first)
        return STR("");
    size_t n = 0, values = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != id)
            continue;
        n += f->v[i].value.n + 2;
        values++;
    }
    if (values == 1)
        return first->value;
    char *text = arena_alloc(f->arena, n);
    if (!text)
        return str_of(NULL, 0);
    char *to = text;
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != id)
            continue;
        if (to != text)
            to = mempcpy(to, ", ", 2);
        if (f->v[i].value.n)
            to = mempcpy(to, f->v[i].value.p, f->v[i].value.n);
    }
    return str_of(text, (size_t) (to - text));
}

bool fields_copy_but(struct fields *f, const struct fields *from, uint64_t drop)
{
    if (!from->n)
        return true;
    if (f->cap - f->n < from->n) {
        uint32_t cap = (f->n + from->n + FIRST_CAP / 2) | 3;
        struct field *v = arena_alloc(f->arena, cap * sizeof(*v));
        if (!v)
            return false;
        if (f->n)
            memcpy(v, f->v, f->n * sizeof(*v));
        f->v = v;
        f->cap = cap;
    }
    drop &= ~(UINT64_C(1) << FIELD_OTHER);
    struct field *to = f->v + f->n;
    for (const struct field *x = from->v, *end = x + from->n; x < end; x++)
        if (!((drop >> x->id) & 1))
            *to++ = *x;
    f->n = (uint32_t) (to - f->v);
    f->present |= from->present & ~drop;
    f->odd_names |= from->odd_names;
    return true;
}

bool fields_copy(struct fields *f, const struct fields *from)
{
    return from->n == 0 || fields_copy_but(f, from, 0);
}

bool field_name_valid(struct str name)
{
    return bytes16_none(name, bytes16_unword) || (name.n > 0 && bytes_are(name, BYTE_TOKEN));
}

bool field_value_valid(struct str value)
{
    if (value.n == 0)
        return true;
    const char *end = value.p + value.n;
    char first = value.p[0], last = end[-1];
    return first != ' ' && first != '\t' && last != ' ' && last != '\t' &&
           text_end(value.p, end) == end;
}

bool field_name_alias(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++) {
        char x = a.p[i] == '_' ? '-' : str_lower(a.p[i]);
        char y = b.p[i] == '_' ? '-' : str_lower(b.p[i]);
        if (x != y)
            return false;
    }
    return true;
}

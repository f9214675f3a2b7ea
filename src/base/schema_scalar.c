/* SPDX-License-Identifier: Apache-2.0 */
/* schema_scalar.c: values of rows from text and back to text. Holds no state. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/panic.h"
#include "base/schema.h"

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit times[] = {
    {"us", 1},
    {"ms", USEC_PER_MS},
    {"s", USEC_PER_SEC},
    {"m", 60 * USEC_PER_SEC},
    {"h", 3600 * USEC_PER_SEC},
    {"d", 86400 * USEC_PER_SEC},
};
static const struct unit sizes[] = {
    {"B", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Reads "12", "1.5" from *text in millionths, without overflow. */
static bool take_number(struct str *text, uint64_t *whole, uint64_t *millionths)
{
    size_t i = 0;
    uint64_t scale = 100000;
    *whole = *millionths = 0;
    for (; i < text->n && is_digit(text->p[i]); i++) {
        if (*whole > UINT64_C(1000000000000000000))
            return false;
        *whole = *whole * 10 + (uint64_t) (text->p[i] - '0');
    }
    if (i == 0)
        return false;
    if (i + 1 < text->n && text->p[i] == '.' && is_digit(text->p[i + 1])) {
        for (i++; i < text->n && is_digit(text->p[i]); i++, scale /= 10)
            *millionths += scale * (uint64_t) (text->p[i] - '0');
    }
    *text = str_sub(*text, i, text->n);
    return true;
}

/* Reads the longest unit at the front of *text; 0: none of them. */
static uint64_t take_unit(struct str *text, const struct unit *units, size_t n)
{
    size_t end = 0;
    while (end < text->n && !is_digit(text->p[end]))
        end++;
    struct str name = str_sub(*text, 0, end);
    for (size_t i = 0; i < n; i++) {
        if (str_eq(name, str_c(units[i].name))) {
            *text = str_sub(*text, end, text->n);
            return units[i].factor;
        }
    }
    return 0;
}

/* Adds (whole + millionths) * factor to *sum; false on overflow. */
static bool add_scaled(uint64_t *sum, uint64_t whole, uint64_t millionths, uint64_t factor)
{
    uint64_t big, small;
    if (__builtin_mul_overflow(whole, factor, &big) ||
        __builtin_mul_overflow(millionths, factor, &small))
        return false;
    small /= 1000000;
    return !__builtin_add_overflow(*sum, big, sum) && !__builtin_add_overflow(*sum, small, sum) &&
           *sum <= INT64_MAX;
}

static bool parse_duration(struct str text, uint64_t *out)
{
    *out = 0;
    if (str_eq(text, STR("off")) || str_eq(text, STR("0")))
        return true;
    if (text.n == 0)
        return false;
    while (text.n) {
        uint64_t whole, part, factor;
        if (!take_number(&text, &whole, &part))
            return false;
        factor = take_unit(&text, times, SCHEMA_COUNT(times));
        if (factor == 0 || !add_scaled(out, whole, part, factor))
            return false;
    }
    return true;
}

static bool parse_size(struct str text, uint64_t *out)
{
    uint64_t whole, part, factor = 1;
    *out = 0;
    if (str_eq(text, STR("off")))
        return true;
    if (!take_number(&text, &whole, &part))
        return false;
    if (text.n || part)
        factor = take_unit(&text, sizes, SCHEMA_COUNT(sizes));
    return factor && text.n == 0 && add_scaled(out, whole, part, factor);
}

static bool parse_int(struct str text, int64_t *out)
{
    bool negative = text.n > 1 && text.p[0] == '-';
    uint64_t v;
    if (!str_to_u64(str_sub(text, negative, text.n), &v) || v > INT64_MAX)
        return false;
    *out = negative ? -(int64_t) v : (int64_t) v;
    return true;
}

static bool parse_float(struct str text, double *out)
{
    bool negative = text.n > 1 && text.p[0] == '-';
    uint64_t whole, part;
    text = str_sub(text, negative, text.n);
    if (!take_number(&text, &whole, &part) || text.n)
        return false;
    *out = (double) whole + (double) part / 1e6;
    *out = negative ? -*out : *out;
    return true;
}

static bool parse_bool(struct str text, bool *out)
{
    static const char *const yes[] = {"true", "on", "yes"}, *const no[] = {"false", "off", "no"};
    for (size_t i = 0; i < SCHEMA_COUNT(yes); i++) {
        *out = str_eq(text, str_c(yes[i]));
        if (*out || str_eq(text, str_c(no[i])))
            return true;
    }
    return false;
}

/* ---- what is wrong ------------------------------------------------------------------------- */

/* Text for a message: cut when long, control bytes hidden. */
static struct str shown(struct str text, struct arena *a)
{
    bool cut = text.n > 60;
    struct str s = arena_printf(a, "\"%.*s%s\"", cut ? 60 : (int) text.n, text.p ? text.p : "",
                                cut ? "..." : "");
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char) s.p[i] < ' ' || s.p[i] == 0x7f)
            ((char *) s.p)[i] = '?';
    }
    return s;
}

static struct str bounds_text(const struct schema_field *f, struct arena *a)
{
    struct schema_field plain = *f;
    int64_t ends[2] = {f->min, f->max};
    struct str text[2];
    for (size_t i = 0; i < 2; i++) {
        double d = (double) ends[i];
        text[i] = schema_print(&plain, f->type == SCHEMA_FLOAT ? (void *) &d : &ends[i], a);
    }
    if (f->min == 0 && (f->type == SCHEMA_DURATION || f->type == SCHEMA_RATE))
        return arena_printf(a, "at most %.*s, or off", STR_ARG(text[1]));
    return arena_printf(a, "%.*s to %.*s", STR_ARG(text[0]), STR_ARG(text[1]));
}

static struct str form_text(const struct schema_field *f, struct arena *a)
{
    switch (f->type) {
    case SCHEMA_BOOL:
        return STR("true or false");
    case SCHEMA_INT:
        return STR("a whole number");
    case SCHEMA_FLOAT:
        return STR("a number");
    case SCHEMA_DURATION:
        return STR("a duration with its unit, like 30s, 250ms, 1h30m, or off");
    case SCHEMA_SIZE:
        return STR("a size, like 64KiB, 1MiB or a number of bytes");
    case SCHEMA_RATE:
        return STR("a rate, like 10KiB/s, or off");
    case SCHEMA_ADDRESS:
        return STR("an address: host:port, [v6]:port or unix:/path");
    case SCHEMA_CIDR:
        return STR("a network, like 10.0.0.0/8 or ::1");
    case SCHEMA_REGEX:
        return STR("a regular expression (PCRE2)");
    case SCHEMA_ENUM: {
        struct str list = STR("one of");
        for (size_t i = 0; f->choices[i]; i++)
            list = arena_printf(a, "%.*s%s %s", STR_ARG(list), i ? "," : "", f->choices[i]);
        return list;
    }
    default:
        return STR("a text");
    }
}

static bool refuse_form(const struct schema_field *f, struct str text, struct arena *a,
                        struct str *why)
{
    struct str form = form_text(f, a), said = shown(text, a);
    const char *near = NULL;
    for (size_t i = 0; f->type == SCHEMA_ENUM && f->choices[i]; i++)
        near = schema_nearer(text, near, f->choices[i]);
    *why = arena_printf(a, "%.*s is not %.*s", STR_ARG(said), STR_ARG(form));
    if (near)
        *why = arena_printf(a, "%.*s; did you mean \"%s\"?", STR_ARG(*why), near);
    return false;
}

static bool bounded(const struct schema_field *f)
{
    return f->min != 0 || f->max != 0;
}

static bool refuse_bounds(const struct schema_field *f, struct str text, struct arena *a,
                          struct str *why)
{
    struct str said = shown(text, a), allowed = bounds_text(f, a);
    *why = arena_printf(a, "%.*s is out of bounds; allowed: %.*s", STR_ARG(said), STR_ARG(allowed));
    return false;
}

static bool in_bounds(const struct schema_field *f, int64_t v)
{
    return !bounded(f) || (v >= f->min && v <= f->max);
}

static bool parse_enum(const struct schema_field *f, struct str text, int *out)
{
    for (*out = 0; f->choices[*out]; ++*out) {
        if (str_eq(text, str_c(f->choices[*out])))
            return true;
    }
    return false;
}

static bool parse_rate(struct str text, uint64_t *out)
{
    if (str_ends(text, STR("/s")))
        return parse_size(str_sub(text, 0, text.n - 2), out);
    return parse_size(text, out) && *out == 0;
}

/* Reads a number of the row into value. *form: it is a number; result: in its bounds. */
static bool parse_number(const struct schema_field *f, struct str text, void *value, bool *form)
{
    if (f->type == SCHEMA_FLOAT) {
        double d = 0;
        *form = parse_float(text, &d);
        *(double *) value = d;
        return *form && (!bounded(f) || (d >= (double) f->min && d <= (double) f->max));
    }
    int64_t v = 0;
    uint64_t u = 0;
    if (f->type == SCHEMA_INT) {
        *form = parse_int(text, &v);
    } else {
        *form = f->type == SCHEMA_DURATION ? parse_duration(text, &u)
                : f->type == SCHEMA_SIZE   ? parse_size(text, &u)
                                           : parse_rate(text, &u);
        v = (int64_t) u;
    }
    if (*form)
        memcpy(value, &v, sizeof v);
    return *form && in_bounds(f, v);
}

bool schema_scalar(const struct schema_field *f, struct str text, void *value, struct arena *a,
                   struct str *why)
{
    bool form = true, good = true;
    switch (f->type) {
    case SCHEMA_BOOL:
        form = good = parse_bool(text, value);
        break;
    case SCHEMA_ENUM:
        form = good = parse_enum(f, text, value);
        break;
    case SCHEMA_INT:
    case SCHEMA_FLOAT:
    case SCHEMA_DURATION:
    case SCHEMA_SIZE:
    case SCHEMA_RATE:
        good = parse_number(f, text, value, &form);
        break;
    case SCHEMA_ADDRESS:
    case SCHEMA_CIDR:
    case SCHEMA_REGEX:
        form = good = text.n > 0 && str_printable(text);
        *(struct str *) value = good ? arena_str(a, text) : str_of("", 0);
        break;
    case SCHEMA_STRING:
        *(struct str *) value = arena_str(a, text);
        break;
    default:
        panic("%s is no scalar", f->name);
    }
    if (!form)
        return refuse_form(f, text, a, why);
    return good || refuse_bounds(f, text, a, why);
}

/* ---- back to text -------------------------------------------------------------------------- */

/* v in the largest unit that divides it. */
static struct str print_units(uint64_t v, const struct unit *units, size_t n, struct arena *a)
{
    size_t i = n - 1;
    while (i > 0 && v % units[i].factor != 0)
        i--;
    return arena_printf(a, "%" PRIu64 "%s", v / units[i].factor, units[i].name);
}

/* A text as YAML reads it back: plain where that is safe. */
static struct str print_text(struct str s, struct arena *a)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_./:*$^+~()";
    bool safe = s.n > 0 && str_find(STR("-:*~"), s.p[0]) < 0 && s.p[s.n - 1] != ':';
    for (size_t i = 0; safe && i < s.n; i++)
        safe = str_find(str_c(plain), s.p[i]) >= 0;
    if (safe)
        return arena_str(a, s);
    struct str out = STR("\"");
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char) s.p[i];
        const char *format = c == '"' || c == '\\' ? "%.*s\\%c"
                             : c < ' '             ? "%.*s\\x%02x"
                                                   : "%.*s%c";
        out = arena_printf(a, format, STR_ARG(out), c);
    }
    return arena_printf(a, "%.*s\"", STR_ARG(out));
}

static struct str print_list(const struct schema_field *f, const struct schema_list *l,
                             struct arena *a)
{
    struct schema_field item = {.type = f->item, .choices = f->choices};
    struct str out = STR("[");
    for (size_t i = 0; !f->sub && i < l->n; i++) {
        const char *at = (const char *) l->items + i * schema_value_size(f->item);
        struct str one = schema_print(&item, at, a);
        out = arena_printf(a, "%.*s%s%.*s", STR_ARG(out), i ? ", " : "", STR_ARG(one));
    }
    return arena_printf(a, "%.*s]", STR_ARG(out));
}

static struct str print_map(const struct schema_field *f, const struct schema_map *m,
                            struct arena *a)
{
    struct schema_field item = {.type = f->item, .choices = f->choices};
    struct str out = STR("{");
    for (size_t i = 0; !f->sub && i < m->n; i++) {
        const char *at = (const char *) m->items + i * schema_value_size(f->item);
        struct str name = print_text(m->names[i], a), one = schema_print(&item, at, a);
        out = arena_printf(a, "%.*s%s%.*s: %.*s", STR_ARG(out), i ? ", " : "", STR_ARG(name),
                           STR_ARG(one));
    }
    return arena_printf(a, "%.*s}", STR_ARG(out));
}

static struct str print_object(const struct schema_table *table, const char *object,
                               struct arena *a)
{
    const struct schema_field *f;
    size_t base;
    struct str out = STR("{");
    for (size_t i = 0; (f = schema_row(table, i, &base)); i++) {
        struct str one = schema_print(f, object + base + f->offset, a);
        out = arena_printf(a, "%.*s%s%s: %.*s", STR_ARG(out), i ? ", " : "", f->name, STR_ARG(one));
    }
    return arena_printf(a, "%.*s}", STR_ARG(out));
}

struct str schema_print(const struct schema_field *f, const void *value, struct arena *a)
{
    uint64_t v = 0;
    if (f->type == SCHEMA_DURATION || f->type == SCHEMA_SIZE || f->type == SCHEMA_RATE)
        memcpy(&v, value, sizeof v);
    switch (f->type) {
    case SCHEMA_BOOL:
        return *(const bool *) value ? STR("true") : STR("false");
    case SCHEMA_INT:
        return arena_printf(a, "%" PRId64, *(const int64_t *) value);
    case SCHEMA_FLOAT:
        return arena_printf(a, "%g", *(const double *) value);
    case SCHEMA_DURATION:
        return v ? print_units(v, times, SCHEMA_COUNT(times), a) : STR("off");
    case SCHEMA_SIZE:
        return v ? print_units(v, sizes, SCHEMA_COUNT(sizes), a) : STR("0");
    case SCHEMA_RATE: {
        struct str s = print_units(v, sizes, SCHEMA_COUNT(sizes), a);
        return v ? arena_printf(a, "%.*s/s", STR_ARG(s)) : STR("off");
    }
    case SCHEMA_ENUM:
        return str_c(f->choices[*(const int *) value]);
    case SCHEMA_LIST:
        return print_list(f, value, a);
    case SCHEMA_MAP:
        return print_map(f, value, a);
    case SCHEMA_OBJECT:
        return print_object(f->sub, value, a);
    default:
        return print_text(*(const struct str *) value, a);
    }
}

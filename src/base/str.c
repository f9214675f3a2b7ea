/* SPDX-License-Identifier: Apache-2.0 */
/* str.c: comparison, search and lists over views.
 * Invariants:
 * 1. No function reads a byte outside of its view; p is not touched when n is 0. */
#include "base/str.h"

#define ONES UINT64_C(0x0101010101010101)
#define STR_DISTANCE_MAX 64u /* longer names are never near to anything */

static inline uint64_t load8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint64_t load4(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

/* ASCII lower case of eight bytes at once: bit 7 of each byte of `upper` says "A to Z". */
static inline uint64_t lower8(uint64_t x)
{
    uint64_t low = x & (ONES * 0x7f);
    uint64_t at_least_a = low + ONES * (0x80 - 'A');
    uint64_t beyond_z = low + ONES * (0x7f - 'Z');
    uint64_t upper = ~x & (at_least_a ^ beyond_z) & (ONES * 0x80);
    return x | (upper >> 2);
}

static bool same_but_case(const char *a, const char *b, size_t n)
{
    if (n >= 8) {
        /* Whole words, the last one overlapping. */
        for (size_t i = 0; i + 8 <= n; i += 8)
            if (lower8(load8(a + i)) != lower8(load8(b + i)))
                return false;
        return lower8(load8(a + n - 8)) == lower8(load8(b + n - 8));
    }
    if (n >= 4) {
        uint64_t x = load4(a) | load4(a + n - 4) << 32;
        uint64_t y = load4(b) | load4(b + n - 4) << 32;
        return lower8(x) == lower8(y);
    }
    for (size_t i = 0; i < n; i++)
        if (str_lower(a[i]) != str_lower(b[i]))
            return false;
    return true;
}

bool str_ieq(struct str a, struct str b)
{
    return a.n == b.n && same_but_case(a.p, b.p, a.n);
}

bool str_starts(struct str a, struct str prefix)
{
    return a.n >= prefix.n && (prefix.n == 0 || memcmp(a.p, prefix.p, prefix.n) == 0);
}

bool str_ends(struct str a, struct str suffix)
{
    return a.n >= suffix.n &&
           (suffix.n == 0 || memcmp(a.p + (a.n - suffix.n), suffix.p, suffix.n) == 0);
}

bool str_istarts(struct str a, struct str prefix)
{
    return a.n >= prefix.n && same_but_case(a.p, prefix.p, prefix.n);
}

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

ptrdiff_t str_find(struct str a, char c)
{
    const char *at = a.n ? memchr(a.p, c, a.n) : NULL;
    return at ? at - a.p : -1;
}

ptrdiff_t str_rfind(struct str a, char c)
{
    const char *at = a.n ? memrchr(a.p, c, a.n) : NULL;
    return at ? at - a.p : -1;
}

struct str str_sub(struct str a, size_t from, size_t to)
{
    if (to > a.n)
        to = a.n;
    if (from >= to)
        return (struct str){NULL, 0};
    return (struct str){a.p + from, to - from};
}

static inline bool is_ows(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str a)
{
    while (a.n && is_ows(a.p[a.n - 1]))
        a.n--;
    while (a.n && is_ows(a.p[0])) {
        a.p++;
        a.n--;
    }
    return a;
}

/* Bytes before the next comma that stands in no quoted string. */
static size_t item_length(struct str list)
{
    const char *comma = memchr(list.p, ',', list.n);
    size_t n = comma ? (size_t) (comma - list.p) : list.n;
    if (!memchr(list.p, '"', n))
        return n;
    bool quoted = false;
    for (size_t i = 0; i < list.n; i++) {
        char c = list.p[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (c == ',' && !quoted)
            return i;
    }
    return list.n;
}

bool str_next_item(struct str *list, struct str *item)
{
    while (list->n) {
        size_t n = item_length(*list);
        *item = str_trim((struct str){list->p, n});
        size_t eaten = n < list->n ? n + 1 : n;
        list->p += eaten;
        list->n -= eaten;
        if (item->n)
            return true;
    }
    return false;
}

bool str_has_token(struct str list, struct str token)
{
    struct str item;
    while (str_next_item(&list, &item))
        if (str_ieq(item, token))
            return true;
    return false;
}

bool str_printable(struct str a)
{
    for (size_t i = 0; i < a.n; i++) {
        if ((unsigned char) a.p[i] < ' ' || a.p[i] == 0x7f)
            return false;
    }
    return true;
}

bool str_to_u64(struct str a, uint64_t *out)
{
    if (a.n == 0)
        return false;
    uint64_t v = 0;
    for (size_t i = 0; i < a.n; i++) {
        unsigned digit = (unsigned) (unsigned char) a.p[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}

unsigned str_distance(struct str a, struct str b, unsigned max)
{
    size_t apart = a.n > b.n ? a.n - b.n : b.n - a.n;
    if (apart > max || a.n > STR_DISTANCE_MAX || b.n > STR_DISTANCE_MAX)
        return max + 1;
    unsigned row[STR_DISTANCE_MAX + 1];
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned change = diagonal + (a.p[i - 1] != b.p[j - 1]);
            unsigned least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = change < least ? change : least;
        }
    }
    return row[b.n] > max ? max + 1 : row[b.n];
}

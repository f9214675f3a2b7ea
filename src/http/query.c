/* SPDX-License-Identifier: Apache-2.0 */
/* Query strings. Cleaning follows Go's net/http/httputil: a query with ';' or a bad escape is
 * taken apart, what cannot be read is dropped, the rest is written anew, sorted by key, so that
 * Weir and what stands behind it cannot see different parameters. */
#include "http/bytes.h"
#include "http/url.h"

/* The pairs of a query in normal form: "k=v" one after another, each followed by '&'. */
struct pairs {
    const char *text;
    uint32_t *at; /* where each begins */
    size_t n;
};

static bool good_escape(const char *p, const char *end)
{
    return end - p >= 3 && byte_is(p[1], BYTE_HEX) && byte_is(p[2], BYTE_HEX);
}

static bool query_is_clean(struct str query)
{
    if (query.n == 0)
        return true;
    const char *end = query.p + query.n;
    for (const char *p = query.p; p < end; p++) {
        if (*p == ';' || (*p == '%' && !good_escape(p, end)))
            return false;
    }
    return true;
}

/* The byte that stands at *p in form encoding (moved behind it), or -1 at a bad escape. */
static int form_byte(const char **p, const char *end)
{
    char c = *(*p)++;
    if (c == '+')
        return ' ';
    if (c != '%')
        return (unsigned char) c;
    if (!good_escape(*p - 1, end))
        return -1;
    *p += 2;
    return (int) (byte_hex((*p)[-2]) << 4 | byte_hex((*p)[-1]));
}

static char *put_form_byte(char *to, int v)
{
    if (byte_is((char) v, BYTE_UNRESERVED)) {
        *to++ = (char) v;
    } else if (v == ' ') {
        *to++ = '+';
    } else {
        *to++ = '%';
        *to++ = "0123456789ABCDEF"[v >> 4];
        *to++ = "0123456789ABCDEF"[v & 15];
    }
    return to;
}

/* Writes text decoded and encoded again; NULL at a bad escape. */
static char *put_form(char *to, struct str text)
{
    if (text.n == 0)
        return to;
    const char *p = text.p, *end = text.p + text.n;
    while (p < end) {
        int v = form_byte(&p, end);
        if (v < 0)
            return NULL;
        to = put_form_byte(to, v);
    }
    return to;
}

/* Takes the next pair off *query. */
static bool next_pair(struct str *query, struct str *pair)
{
    if (query->n == 0)
        return false;
    const char *amp = memchr(query->p, '&', query->n);
    *pair = str_of(query->p, amp ? (size_t) (amp - query->p) : query->n);
    *query = str_sub(*query, pair->n + 1, query->n);
    return true;
}

/* The part of "key=value" before '='. */
static struct str pair_key(struct str pair)
{
    const char *equals = pair.n ? memchr(pair.p, '=', pair.n) : NULL;
    return str_of(pair.p, equals ? (size_t) (equals - pair.p) : pair.n);
}

/* Writes "key=value&" decoded and encoded again; NULL when the pair cannot be read. */
static char *put_pair(char *to, struct str pair)
{
    struct str key = pair_key(pair);
    if (pair.n == 0 || memchr(pair.p, ';', pair.n))
        return NULL;
    to = put_form(to, key);
    if (!to)
        return NULL;
    *to++ = '=';
    to = put_form(to, str_sub(pair, key.n + 1, pair.n));
    if (to)
        *to++ = '&';
    return to;
}

/* Order of the decoded keys of two pairs in normal form. */
static int key_order(const char *a, const char *b)
{
    for (;;) {
        bool a_ends = *a == '=', b_ends = *b == '=';
        if (a_ends || b_ends)
            return a_ends ? (b_ends ? 0 : -1) : 1;
        int x = form_byte(&a, a + 3), y = form_byte(&b, b + 3);
        if (x != y)
            return x - y;
    }
}

/* Merges at[from, middle) and at[middle, to), both in order, into into[from, to); stable. */
static void merge(const struct pairs *pairs, uint32_t *into, size_t from, size_t middle, size_t to)
{
    size_t i = from, j = middle;
    for (size_t k = from; k < to; k++) {
        bool first = i < middle && (j >= to || key_order(pairs->text + pairs->at[i],
                                                         pairs->text + pairs->at[j]) <= 0);
        into[k] = first ? pairs->at[i++] : pairs->at[j++];
    }
}

/* Sorts by key, equal keys in their old order; a merge sort, because a peer chose the input. */
static void sort_pairs(struct pairs *pairs, uint32_t *spare)
{
    for (size_t width = 1; width < pairs->n; width *= 2) {
        for (size_t from = 0; from < pairs->n; from += 2 * width) {
            size_t middle = from + width < pairs->n ? from + width : pairs->n;
            size_t to = from + 2 * width < pairs->n ? from + 2 * width : pairs->n;
            merge(pairs, spare, from, middle, to);
        }
        uint32_t *swap = pairs->at;
        pairs->at = spare;
        spare = swap;
    }
}

struct str query_clean(struct str query, struct arena *a)
{
    if (query_is_clean(query))
        return query;
    size_t most = 1;
    for (size_t i = 0; i < query.n; i++)
        most += query.p[i] == '&';
    /* Three bytes for each one, and a '=' and '&' that were not there for each pair. */
    size_t room = query.n * 3 + most * 2;
    char *text = arena_alloc(a, room * 2);
    uint32_t *at = arena_alloc(a, most * 2 * sizeof(*at));
    if (!text || !at || room > UINT32_MAX)
        return str_of(NULL, 0);

    struct pairs pairs = {.text = text, .at = at};
    struct str pair;
    char *to = text;
    while (next_pair(&query, &pair)) {
        char *behind = put_pair(to, pair);
        if (!behind)
            continue;
        pairs.at[pairs.n++] = (uint32_t) (to - text);
        to = behind;
    }
    sort_pairs(&pairs, at + most);

    char *out = text + room;
    size_t n = 0;
    for (size_t i = 0; i < pairs.n; i++) {
        const char *from = text + pairs.at[i];
        size_t length = (size_t) ((const char *) rawmemchr(from, '&') - from) + 1;
        memcpy(out + n, from, length);
        n += length;
    }
    return str_of(out, n ? n - 1 : 0);
}

struct str query_join(struct str a, struct str b, struct arena *arena)
{
    if (a.n == 0)
        return b;
    if (b.n == 0)
        return a;
    struct str parts[] = {a, STR("&"), b};
    return arena_join(arena, parts, 3);
}

/* The decoded text equals name. */
static bool form_equals(struct str text, struct str name)
{
    const char *p = text.p, *end = text.p + text.n;
    size_t i = 0;
    while (p < end) {
        int v = form_byte(&p, end);
        if (v < 0 || i == name.n || (unsigned char) name.p[i] != v)
            return false;
        i++;
    }
    return i == name.n;
}

bool query_param(struct str *query, struct str name, char *room, struct str *value)
{
    struct str pair;
    while (next_pair(query, &pair)) {
        struct str key = pair_key(pair);
        if (!form_equals(key, name) || (pair.n && memchr(pair.p, ';', pair.n)))
            continue;
        struct str raw = str_sub(pair, key.n + 1, pair.n);
        const char *p = raw.n ? raw.p : "", *end = p + raw.n;
        size_t n = 0;
        int v = 0;
        while (p < end && (v = form_byte(&p, end)) >= 0)
            room[n++] = (char) v;
        if (v < 0)
            continue;
        *value = str_of(room, n);
        return true;
    }
    return false;
}

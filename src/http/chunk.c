/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants of a decoder:
 * 1. In CHUNK_DATA, left > 0; in every other state no data byte is consumed.
 * 2. In CHUNK_SIZE, left holds the digits read so far, at most DIGITS_MAX of them, and is never
 *    above LENGTH_MAX once the line is complete.
 * 3. overhead is at most OVERHEAD_MAX; each byte that is no data adds one, data pays back.
 * 4. trailer_text holds [0, trailer_n), a beginning of the trailer section. */
#include "http/chunk.h"

#include "http/bytes.h"
#include "http/h1_parse.h"

#define DIGITS_MAX 16
#define LENGTH_MAX ((uint64_t) INT64_MAX) /* a sum of two lengths cannot overflow */
#define OVERHEAD_MAX (16u * 1024)
#define OVERHEAD_FREE 16u /* of each chunk: a size line and two line ends */
#define TRAILER_MAX (8u * 1024)
#define TRAILER_FIELDS 100u
#define TRAILER_FIRST 256u

/* Places in chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS value ] ) (RFC 9112 7.1.1) */
enum ext_state {
    EXT_SPACE,       /* white space before ";" */
    EXT_NAME_FIRST,  /* behind ";" */
    EXT_NAME,        /* in a name */
    EXT_NAME_SPACE,  /* white space behind a name */
    EXT_VALUE_FIRST, /* behind "=" */
    EXT_VALUE,       /* in a token */
    EXT_QUOTED,      /* in a quoted string */
    EXT_PAIR,        /* behind its backslash */
    EXT_QUOTE_END,   /* behind the quoted string */
};

void chunk_decoder_init(struct chunk_decoder *d, struct arena *arena, struct fields *trailers,
                        enum fault bad, enum fault large)
{
    *d = (struct chunk_decoder){.arena = arena,
                                .trailers = trailers,
                                .max_trailer = TRAILER_MAX,
                                .state = CHUNK_SIZE,
                                .bad = bad,
                                .large = large};
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* The place behind c, or -1 when c may not stand there. CR is not asked here. */
static int ext_next(uint8_t state, char c)
{
    switch (state) {
    case EXT_SPACE:
        return is_space(c) ? EXT_SPACE : c == ';' ? EXT_NAME_FIRST : -1;
    case EXT_NAME_FIRST:
        return is_space(c) ? EXT_NAME_FIRST : byte_is(c, BYTE_TOKEN) ? EXT_NAME : -1;
    case EXT_NAME:
        if (byte_is(c, BYTE_TOKEN))
            return EXT_NAME;
        /* fall through */
    case EXT_NAME_SPACE:
        if (c == '=')
            return EXT_VALUE_FIRST;
        return is_space(c) ? EXT_NAME_SPACE : c == ';' ? EXT_NAME_FIRST : -1;
    case EXT_VALUE_FIRST:
        if (c == '"')
            return EXT_QUOTED;
        return is_space(c) ? EXT_VALUE_FIRST : byte_is(c, BYTE_TOKEN) ? EXT_VALUE : -1;
    case EXT_VALUE:
        if (byte_is(c, BYTE_TOKEN))
            return EXT_VALUE;
        /* fall through */
    case EXT_QUOTE_END:
        return is_space(c) ? EXT_SPACE : c == ';' ? EXT_NAME_FIRST : -1;
    case EXT_QUOTED:
        if (c == '"')
            return EXT_QUOTE_END;
        return c == '\\' ? EXT_PAIR : byte_is(c, BYTE_TEXT) ? EXT_QUOTED : -1;
    default: /* EXT_PAIR */
        return byte_is(c, BYTE_TEXT) ? EXT_QUOTED : -1;
    }
}

/* An extension may end here. */
static bool ext_complete(uint8_t state)
{
    return state == EXT_NAME || state == EXT_VALUE || state == EXT_QUOTE_END;
}

/* The size line is complete: data, or the trailer section, follows. */
static void size_line_done(struct chunk_decoder *d)
{
    d->digits = 0;
    d->state = d->left ? CHUNK_DATA : CHUNK_TRAILER;
    uint64_t paid = OVERHEAD_FREE + (d->left < OVERHEAD_MAX ? d->left * 2 : OVERHEAD_MAX);
    d->overhead = d->overhead > paid ? d->overhead - paid : 0;
}

static bool size_byte(struct chunk_decoder *d, char c)
{
    if (byte_is(c, BYTE_HEX)) {
        d->left = d->left << 4 | byte_hex(c);
        return d->digits++ < DIGITS_MAX;
    }
    if (d->digits == 0 || d->left > LENGTH_MAX)
        return false;
    if (c == '\r') {
        d->state = CHUNK_SIZE_LF;
        return true;
    }
    d->state = CHUNK_EXT;
    d->ext_state = c == ';' ? EXT_NAME_FIRST : EXT_SPACE;
    return c == ';' || is_space(c);
}

static bool ext_byte(struct chunk_decoder *d, char c)
{
    if (c == '\r' && ext_complete(d->ext_state)) {
        d->state = CHUNK_SIZE_LF;
        return true;
    }
    int next = ext_next(d->ext_state, c);
    d->ext_state = (uint8_t) next;
    return next >= 0;
}

/* One byte that is neither data nor trailer. False: malformed. */
static bool framing_byte(struct chunk_decoder *d, char c)
{
    switch (d->state) {
    case CHUNK_SIZE:
        return size_byte(d, c);
    case CHUNK_EXT:
        return ext_byte(d, c);
    case CHUNK_SIZE_LF:
        size_line_done(d);
        return c == '\n';
    case CHUNK_DATA_CR:
        d->state = CHUNK_DATA_LF;
        return c == '\r';
    default: /* CHUNK_DATA_LF */
        d->state = CHUNK_SIZE;
        return c == '\n';
    }
}

/* Room for n more bytes of trailer text. */
static bool trailer_room(struct chunk_decoder *d, size_t n)
{
    /* Grown to powers of two, which are recognised by the length alone. */
    size_t need = d->trailer_n + n, have = TRAILER_FIRST, want = TRAILER_FIRST;
    while (have < d->trailer_n)
        have *= 2;
    while (want < need)
        want *= 2;
    if (d->trailer_text && want == have)
        return true;
    char *text = arena_alloc(d->arena, want);
    if (!text)
        return false;
    if (d->trailer_n)
        memcpy(text, d->trailer_text, d->trailer_n);
    d->trailer_text = text;
    return true;
}

/* Gathers the trailer section line by line; at its empty line, parses it. */
static enum fault trailer_bytes(struct chunk_decoder *d, struct str *in)
{
    if (d->trailer_n == 0 && in->n >= 2 && in->p[0] == '\r' && in->p[1] == '\n') {
        *in = str_sub(*in, 2, in->n);
        d->state = CHUNK_END;
        return FAULT_OK;
    }
    while (in->n) {
        const char *lf = memchr(in->p, '\n', in->n);
        size_t n = lf ? (size_t) (lf - in->p) + 1 : in->n;
        if (n > d->max_trailer - d->trailer_n)
            return d->large;
        if (!trailer_room(d, n))
            return FAULT_MEMORY;
        memcpy(d->trailer_text + d->trailer_n, in->p, n);
        d->trailer_n += (uint32_t) n;
        *in = str_sub(*in, n, in->n);
        if (!lf)
            return FAULT_OK;
        const char *end = d->trailer_text + d->trailer_n;
        if (d->trailer_n < 2 || end[-2] != '\r')
            return d->bad;
        if (d->trailer_n == 2 || end[-3] == '\n') {
            d->state = CHUNK_END;
            return h1_parse_fields(d->trailers, str_of(d->trailer_text, d->trailer_n),
                                   TRAILER_FIELDS, d->bad);
        }
    }
    return FAULT_OK;
}

/* Size lines, extensions and line ends, up to the next data byte or the trailers. */
static enum fault framing_bytes(struct chunk_decoder *d, struct str *in)
{
    size_t i = 0;
    while (i < in->n && d->state != CHUNK_DATA && d->state != CHUNK_TRAILER) {
        if (++d->overhead > OVERHEAD_MAX)
            return d->large;
        if (!framing_byte(d, in->p[i++]))
            return d->bad;
    }
    *in = str_of(in->p + i, in->n - i);
    return FAULT_OK;
}

enum fault chunk_decode(struct chunk_decoder *d, struct str *in, struct str *data)
{
    *data = str_of(in->p, 0);
    if (d->state < CHUNK_DATA || d->state == CHUNK_DATA_CR || d->state == CHUNK_DATA_LF) {
        enum fault bad = framing_bytes(d, in);
        if (bad)
            return bad;
    }
    if (d->state == CHUNK_TRAILER)
        return trailer_bytes(d, in);
    if (d->state != CHUNK_DATA)
        return FAULT_OK;
    size_t n = in->n < d->left ? in->n : (size_t) d->left;
    *data = str_of(in->p, n);
    *in = str_of(in->p + n, in->n - n);
    d->left -= n;
    if (d->left == 0)
        d->state = CHUNK_DATA_CR;
    return FAULT_OK;
}

size_t chunk_size_line(char out[CHUNK_SIZE_LINE_MAX], uint64_t n)
{
    size_t digits = n ? (size_t) (67 - __builtin_clzll(n)) / 4 : 1;
    for (size_t i = digits; i-- > 0; n >>= 4)
        out[i] = "0123456789abcdef"[n & 15];
    out[digits] = '\r';
    out[digits + 1] = '\n';
    return digits + 2;
}

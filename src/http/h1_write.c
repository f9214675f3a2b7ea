/* SPDX-License-Identifier: Apache-2.0 */
/* Writers move a cursor, and return NULL once a byte was refused. What a head takes without its
 * fields (its frame) is known to fit before it begins; each field then looks for its own room.
 * What was written before a refusal means nothing. */
#include "http/h1_write.h"

#include "base/json.h"
#include "http/bytes.h"

#define FRAMING_FIELDS                                                                             \
    (FIELD_BIT(CONTENT_LENGTH) | FIELD_BIT(TRANSFER_ENCODING) | FIELD_BIT(CONNECTION))

#define CHUNKED "Transfer-Encoding: chunked\r\n"
#define LENGTH "Content-Length: "
#define CONNECTION "Connection: "

#define FIELD_MARKS (sizeof(": \r\n") - 1)

#define PUT(to, literal) JSON_LIT(to, literal)

/* What a text may hold: see put_text and put_visible. */
enum check { CHECK_TEXT, CHECK_VISIBLE };

static inline bytes16 marks_of(bytes16 v, enum check check)
{
    return check == CHECK_TEXT ? bytes16_controls(v) : bytes16_invisible(v);
}

/* Copies fewer than four bytes; nonzero when one is not allowed. */
static inline uint64_t put_few(char *to, struct str s, enum check check)
{
    bool bad = false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char) s.p[i];
        to[i] = (char) c;
        bad |= check == CHECK_TEXT ? c < 0x20 || c == 0x7f : c <= 0x20 || c >= 0x7f;
    }
    return bad;
}

/* Copies s; NULL when it holds a byte that check does not allow. The last part of a long text
 * is copied from its end, some bytes of it twice. */
__attribute__((always_inline)) static inline char *put_checked(char *to, struct str s,
                                                               enum check check)
{
    const char *p = s.p;
    size_t n = s.n;
    uint64_t bad;
    if (n >= 16) {
        bytes16 marks = marks_of(bytes16_copy(to + n - 16, p + n - 16), check);
        for (size_t i = 0; i + 16 < n; i += 16)
            marks |= marks_of(bytes16_copy(to + i, p + i), check);
        bad = bytes16_mask(marks);
    } else if (n >= 4) {
        bad = bytes16_mask(marks_of(bytes16_copy_short(to, p, n), check));
    } else {
        bad = put_few(to, s, check);
    }
    return bad ? NULL : to + n;
}

/* A target or an authority: visible ASCII only. */
static inline char *put_visible(char *to, struct str s)
{
    return put_checked(to, s, CHECK_VISIBLE);
}

/* The cursor behind s, copied to to, when tabs were all that was wrong with it. */
static __attribute__((noinline)) char *put_tabbed(char *to, struct str s)
{
    return text_end(s.p, s.p + s.n) == s.p + s.n ? to + s.n : NULL;
}

/* A field value or a reason phrase (RFC 9110 5.5). Tabs are rare, and cost a second look. */
static inline char *put_text(char *to, struct str s)
{
    char *behind = put_checked(to, s, CHECK_TEXT);
    return behind ? behind : put_tabbed(to, s);
}

static inline char *put_crlf(char *to)
{
    memcpy(to, "\r\n", 2);
    return to + 2;
}

/* "Name: value CRLF". A known name is a token by the invariant of fields. */
static inline char *put_field(char *to, const struct field *f)
{
    if (f->id == FIELD_OTHER && !field_name_valid(f->name))
        return NULL;
    to = bytes_put(to, f->name.p, f->name.n);
    memcpy(to, ": ", 2);
    to = put_text(to + 2, f->value);
    return to ? put_crlf(to) : NULL;
}

/* All fields, in at most room bytes. Lines that stand one behind the other where they were read are
 * copied at once. */
static __attribute__((noinline)) char *put_fields(char *to, size_t room, const struct fields *f)
{
    if (!f->n)
        return to; /* a head without any: C counts from no null pointer */
    for (const struct field *x = f->v, *end = x + f->n; x < end;) {
        const struct field *made = x;
        const char *from = x->name.p, *behind = from;
        for (; x < end && x->name.p == behind && x->line; x++)
            behind += field_line(x);
        size_t n = (size_t) (behind - from);
        if (n == 0)
            n = made->name.n + made->value.n + FIELD_MARKS;
        if (n > room)
            return NULL;
        room -= n;
        to = x == made ? put_field(to, x++) : bytes_put(to, from, n);
        if (!to)
            return NULL;
    }
    return to;
}

static char *put_length(char *to, uint64_t length)
{
    return put_crlf(json_u64(PUT(to, LENGTH), length));
}

/* The Connection field and the empty line. */
static char *put_end(char *to, struct str connection)
{
    if (connection.n) {
        to = put_text(PUT(to, CONNECTION), connection);
        if (!to)
            return NULL;
        to = put_crlf(to);
    }
    return put_crlf(to);
}

static size_t fields_size(const struct fields *f)
{
    size_t n = 0;
    for (uint32_t i = 0; i < f->n; i++)
        n += f->v[i].name.n + f->v[i].value.n + FIELD_MARKS;
    return n;
}

/* Framing, a Connection field of up to H1_CONNECTION_MAX bytes, the empty line. */
#define END_MAX                                                                                    \
    (sizeof(CHUNKED CONNECTION "\r\n\r\n") + sizeof(LENGTH) + JSON_U64_MAX + H1_CONNECTION_MAX)

/* Most bytes of a request's head without its fields: END_MAX, the request line, Host (the authority
 * may be the target too). */
static inline size_t request_frame(const struct head *h)
{
    return h->method.n + h->path.n + h->query.n + 2 * h->authority.n +
           sizeof(" ? HTTP/1.1\r\nHost: \r\n") + END_MAX;
}

/* The same of a response's: END_MAX, the status line. */
static inline size_t response_frame(const struct head *h)
{
    return h->reason.n + sizeof("HTTP/1.1 123 \r\n") + END_MAX;
}

size_t h1_head_size(const struct head *h)
{
    return fields_size(&h->fields) + request_frame(h) + h->reason.n;
}

/* What stands between the method and the version; NULL when it is none (RFC 9112 3.2). */
static char *put_target(char *to, const struct head *h)
{
    if (h->target_form == TARGET_AUTHORITY)
        return h->authority.n ? put_visible(to, h->authority) : NULL;
    if (h->path.n == 0 || (h->path.p[0] != '/' && !str_eq(h->path, STR("*"))))
        return NULL;
    to = put_visible(to, h->path);
    if (to && h->has_query) {
        *to++ = '?';
        to = put_visible(to, h->query);
    }
    return to;
}

size_t h1_write_request(char *to, size_t room, const struct head *h, struct str connection)
{
    const char *from = to;
    size_t frame = request_frame(h);
    if (room < frame || (h->fields.present & (FRAMING_FIELDS | FIELD_BIT(HOST))) ||
        connection.n > H1_CONNECTION_MAX ||
        (h->method_id == METHOD_OTHER && !field_name_valid(h->method)))
        return 0;
    to = bytes_put(to, h->method.p, h->method.n);
    *to++ = ' ';
    to = put_target(to, h);
    if (to)
        to = put_visible(PUT(to, " HTTP/1.1\r\nHost: "), h->authority);
    if (to)
        to = put_fields(put_crlf(to), room - frame, &h->fields);
    if (to && h->body == BODY_LENGTH)
        to = put_length(to, h->length);
    else if (to && h->body == BODY_CHUNKED)
        to = PUT(to, CHUNKED);
    if (to)
        to = put_end(to, connection);
    return to ? (size_t) (to - from) : 0;
}

static char *put_status(char *to, const struct head *h)
{
    if (h->status == 200 && str_eq(h->reason, STR("OK")))
        return PUT(to, "HTTP/1.1 200 OK\r\n"); /* nearly always */
    to = json_u64(PUT(to, "HTTP/1.1 "), h->status);
    *to++ = ' ';
    to = put_text(to, h->reason);
    return to ? put_crlf(to) : NULL;
}

/* The field that says where the body ends; see h1_write_response. */
static char *put_response_framing(char *to, const struct head *h, uint64_t declared_length)
{
    switch (h->body) {
    case BODY_LENGTH:
        return put_length(to, h->length);
    case BODY_CHUNKED:
        return PUT(to, CHUNKED);
    case BODY_NONE:
        if (h->status < 200 || h->status == 204 || declared_length == H1_LENGTH_UNSAID)
            return to;
        if (declared_length != LENGTH_NONE)
            return put_length(to, declared_length);
        return h->status == 304 ? to : put_length(to, 0);
    default:
        return to;
    }
}

size_t h1_write_response(char *to, size_t room, const struct head *h, struct str connection,
                         uint64_t declared_length)
{
    const char *from = to;
    size_t frame = response_frame(h);
    if (room < frame || (h->fields.present & FRAMING_FIELDS) || connection.n > H1_CONNECTION_MAX ||
        h->status < 100 || h->status > 999)
        return 0;
    to = put_status(to, h);
    if (to)
        to = put_fields(to, room - frame, &h->fields);
    if (to)
        to = put_end(put_response_framing(to, h, declared_length), connection);
    return to ? (size_t) (to - from) : 0;
}

size_t h1_trailers_size(const struct fields *f)
{
    return fields_size(f) + sizeof("0\r\n\r\n");
}

enum fault h1_write_trailers(char *to, size_t *n, const struct fields *f)
{
    *n = 0;
    if (f->present & FIELDS_NOT_IN_TRAILERS)
        return FAULT_REWRITE;
    const char *from = to;
    to = put_fields(PUT(to, "0\r\n"), fields_size(f), f);
    if (!to)
        return FAULT_REWRITE;
    *n = (size_t) (put_crlf(to) - from);
    return FAULT_OK;
}

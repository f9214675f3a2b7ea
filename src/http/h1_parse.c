/* SPDX-License-Identifier: Apache-2.0 */
/* Every parse function below walks [p, end). A head that is known to be whole ends there, in LF.
 * One that is parsed on the chance that it is whole may end before, or not at all: then the answer
 * is some fault, which nobody is told. So every scan has end as its bound. */
#include "http/h1_parse.h"

#include "http/bytes.h"
#include "http/framing.h"
#include "http/url.h"

#define LEADING_EMPTY_LINES 4

/* Which fault each kind of trouble is, for this sender. */
struct blame {
    enum fault field, line_end, large;
};

static const struct blame blame_client = {FAULT_REQ_FIELD, FAULT_REQ_LINE_END,
                                          FAULT_REQ_HEAD_LARGE};
static const struct blame blame_upstream = {FAULT_UP_HEAD, FAULT_UP_HEAD, FAULT_UP_HEAD_LARGE};

/* The bytes of CR LF or LF at p: 0 when there is neither, or not yet. */
static inline size_t line_end_at(const char *p, const char *end)
{
    if (p < end && *p == '\n')
        return 1;
    return end - p >= 2 && p[0] == '\r' && p[1] == '\n' ? 2 : 0;
}

/* Of the sixteen bytes at p, those marked are LF with a control byte up to CR behind them (p[16]
 * is read): the candidates for the LF before an empty line. */
static inline bytes16 empty_lines(const char *p)
{
    bytes16 here = bytes16_load(p), next = bytes16_load(p + 1);
    return (bytes16) ((here == '\n') & (next <= '\r'));
}

/* The first LF in [p, end) that an empty line follows; NULL when there is none. The lines of a
 * head do not begin with control bytes, so that nearly always the first candidate is the one. */
static const char *empty_line_find(const char *p, const char *end)
{
    while (end - p > 64) {
        if (bytes16_mask(empty_lines(p) | empty_lines(p + 16)))
            break;
        p += 32;
    }
    while (end - p > 16) {
        unsigned marks = bytes16_mask(empty_lines(p));
        if (marks) {
            p += __builtin_ctz(marks);
            if (line_end_at(p + 1, end))
                return p;
            p++;
        } else if (end - p == 17) {
            return NULL;
        } else {
            /* The last bytes are taken with some before them, rather than one by one. */
            p = end - p > 33 ? p + 16 : end - 17;
        }
    }
    for (; p < end; p++)
        if (*p == '\n' && line_end_at(p + 1, end))
            return p;
    return NULL;
}

size_t h1_head_end(const char *bytes, size_t n, size_t *scan, size_t *skip)
{
    size_t start = 0;
    if (skip) {
        for (int i = 0; i < LEADING_EMPTY_LINES && n - start >= 2; i++) {
            if (bytes[start] != '\r' || bytes[start + 1] != '\n')
                break;
            start += 2;
        }
        *skip = start;
    }
    const char *first = bytes + start, *end = bytes + n;
    size_t empty = line_end_at(first, end);
    if (empty)
        return empty;
    const char *lf = empty_line_find(*scan > start ? bytes + *scan : first, end);
    if (lf)
        return (size_t) (lf + 1 - first) + line_end_at(lf + 1, end);
    /* The last two bytes may be the beginning of LF CR LF. */
    *scan = n - start > 2 ? n - 2 : start;
    return 0;
}

enum fault h1_head_overflow(struct str bytes, const struct h1_limits *limits)
{
    const char *sp = bytes.n ? memchr(bytes.p, ' ', bytes.n) : NULL;
    const char *lf = bytes.n ? memchr(bytes.p, '\n', bytes.n) : NULL;
    if (sp && (!lf || sp < lf)) {
        struct str rest = str_sub(bytes, (size_t) (sp + 1 - bytes.p), bytes.n);
        ptrdiff_t n = str_find(rest, ' ');
        if ((n < 0 ? rest.n : (size_t) n) > limits->target)
            return FAULT_REQ_TARGET_LONG;
    }
    return FAULT_REQ_HEAD_LARGE;
}

/* CR LF stands at p, before end. */
static inline bool line_ends(const char *p, const char *end)
{
    return end - p >= 2 && memcmp(p, "\r\n", 2) == 0;
}

static inline bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* What is wrong at p, where a line holds a byte that it must not. */
static enum fault bad_byte(const char *p, const char *end, const struct blame *blame)
{
    return p == end || *p == '\r' || *p == '\n' ? blame->line_end : blame->field;
}

/* What is wrong with the name at p. */
static enum fault bad_name(const char *p, const char *end, const struct blame *blame)
{
    while (p < end && byte_is(*p, BYTE_TOKEN))
        p++;
    return p == end || *p == '\n' || (*p == '\r' && !line_ends(p, end)) ? blame->line_end
                                                                        : blame->field;
}

/* The field line at *at, which is moved behind it, whatever it looks like. */
static __attribute__((noinline)) enum fault parse_odd_field(struct fields *f, const char **at,
                                                            const char *end,
                                                            const struct blame *blame)
{
    const char *line = *at, *p = byte_find(line, end, ':');
    struct str name = str_of(line, (size_t) (p - line));
    enum field_id id = field_id(name);
    /* A known name is a token; only others need a look at every byte. */
    if (p == end || (id == FIELD_OTHER && !field_name_valid(name)))
        return bad_name(line, end, blame);
    for (p++; p < end && is_blank(*p); p++)
        ;
    const char *stop = text_end(p, end), *last = stop;
    if (!line_ends(stop, end))
        return bad_byte(stop, end, blame);
    while (last > p && is_blank(last[-1]))
        last--;
    struct field *slot = fields_push(f);
    if (!slot)
        return FAULT_MEMORY;
    *slot = (struct field){name, str_of(p, (size_t) (last - p)), (uint8_t) id, 0};
    f->present |= UINT64_C(1) << id;
    f->odd_names |= id == FIELD_OTHER;
    *at = stop + 2;
    return FAULT_OK;
}

/* So many bytes hold a name of up to 15 or 31 bytes, ": ", and a byte of the value. */
#define SHORT_SIGHT 18
#define LONG_SIGHT 34

/* A name that letters, digits and '-' make up; n is 0: it is not such a one. */
struct plain_name {
    size_t n;
    enum field_id id;
};

/* The name of 16 to 31 bytes at p. Apart, as it would take the registers of the others. */
static __attribute__((noinline)) struct plain_name plain_long_name(const char *p, const char *end)
{
    if (end - p < LONG_SIGHT)
        return (struct plain_name){0, FIELD_OTHER};
    unsigned colons = bytes16_mask((bytes16) (bytes16_load(p + 16) == ':'));
    struct str name = str_of(p, 16 + (colons ? bytes16_first(colons) : 0));
    enum field_id id = field_id(name);
    bool plain = colons && (id || bytes16_none(name, bytes16_unword));
    return (struct plain_name){plain ? name.n : 0, id};
}

/* The name at p. */
static inline struct plain_name plain_name(const char *p, const char *end)
{
    bytes16 first = bytes16_load(p);
    unsigned colons = bytes16_mask((bytes16) (first == ':'));
    if (!colons)
        return plain_long_name(p, end);
    size_t n = bytes16_first(colons);
    enum field_id id = field_id_in16(p, n);
    bool plain = id || !(bytes16_mask(bytes16_unword(first)) & ((1u << n) - 1));
    return (struct plain_name){plain ? n : 0, id};
}

/* Takes field lines as long as they look as nearly all do, and as Weir itself would write them, and
 * there are slots for them, max in all. What is behind them. */
static inline const char *plain_fields(struct fields *f, const char *line, const char *end,
                                       uint32_t max)
{
    struct field *slot = f->v + f->n, *full = f->v + (f->cap < max ? f->cap : max);
    uint64_t present = f->present;
    while (slot < full && end - line >= SHORT_SIGHT && *line != '\r') {
        struct plain_name name = plain_name(line, end);
        const char *value = line + name.n + 2;
        if (name.n == 0 || memcmp(value - 2, ": ", 2) != 0 || (unsigned char) *value <= ' ')
            break;
        const char *stop = control_find(value, end);
        if (!line_ends(stop, end) || stop[-1] == ' ')
            break;
        const char *next = stop + 2;
        *slot++ = (struct field){str_of(line, name.n), str_of(value, (size_t) (stop - value)),
                                 (uint8_t) name.id, (uint32_t) (next - line)};
        present |= UINT64_C(1) << name.id;
        line = next;
    }
    f->present = present;
    f->n = (uint32_t) (slot - f->v);
    return line;
}

/* Field lines from *at to the first empty line; *at is moved behind that. */
static enum fault parse_fields(struct fields *f, const char **at, const char *end, uint32_t max,
                               const struct blame *blame)
{
    if (!f->cap && !fields_grow(f))
        return FAULT_MEMORY;
    const char *p = plain_fields(f, *at, end, max);
    while (end - p >= 2 && *p != '\r') {
        if (f->n >= max)
            return *p == '\n' ? blame->line_end : blame->large;
        enum fault bad = parse_odd_field(f, &p, end, blame);
        if (bad)
            return bad;
        p = plain_fields(f, p, end, max);
    }
    *at = p + 2;
    return line_ends(p, end) ? FAULT_OK : blame->line_end;
}

enum fault h1_parse_fields(struct fields *f, struct str bytes, uint32_t max_fields,
                           enum fault which)
{
    struct blame blame = {which, which, which};
    if (bytes.n == 0 || bytes.p[bytes.n - 1] != '\n')
        return which;
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    enum fault bad = parse_fields(f, &p, end, max_fields, &blame);
    return !bad && p != end ? which : bad;
}

/* The protocol asked for, when the whole offer is one that may be tunnelled: HTTP/1.1, the
 * connection option upgrade, one protocol (RFC 9110 7.8); never h2c, which would let a client
 * speak past every rule. Else the empty view. */
static struct str upgrade_of(const struct head *h)
{
    const struct fields *f = &h->fields;
    const struct field *offer = h->minor ? fields_only(f, FIELD_UPGRADE) : NULL;
    if (!offer)
        return STR("");
    bool asked = false;
    for (uint32_t i = 0; i < f->n; i++)
        if (f->v[i].id == FIELD_CONNECTION && str_has_token(f->v[i].value, STR("upgrade")))
            asked = true;
    struct str protocol = offer->value;
    ptrdiff_t slash = str_find(protocol, '/');
    struct str name = slash < 0 ? protocol : str_sub(protocol, 0, (size_t) slash);
    if (!asked || !field_name_valid(name) || str_ieq(name, STR("h2c")))
        return STR("");
    if (slash >= 0 && !field_name_valid(str_sub(protocol, (size_t) slash + 1, protocol.n)))
        return STR("");
    return protocol;
}

/* "HTTP/1.1" in the eight bytes at p: sets the version. */
static inline bool version_at(const char *p, struct head *h)
{
    unsigned minor = byte_digit(p[7]);
    if (minor > 9 || memcmp(p, "HTTP/1.", 7) != 0)
        return false;
    h->major = 1;
    h->minor = (uint8_t) minor;
    return true;
}

/* What is wrong with the text that stands where "HTTP/1.x CRLF" should. */
static enum fault bad_version(const char *p, const char *end)
{
    const char *lf = memchr(p, '\n', (size_t) (end - p));
    struct str text = str_of(p, (size_t) (lf - p));
    if (text.n == 0 || text.p[text.n - 1] != '\r')
        return FAULT_REQ_LINE_END;
    text.n--;
    if (str_find(text, '\r') >= 0)
        return FAULT_REQ_LINE_END;
    bool shaped = text.n == 8 && memcmp(text.p, "HTTP/", 5) == 0 && text.p[5] >= '0' &&
                  text.p[5] <= '9' && text.p[6] == '.' && text.p[7] >= '0' && text.p[7] <= '9';
    if (shaped && text.p[5] > '1')
        return FAULT_REQ_VERSION;
    return str_find(text, ' ') >= 0 ? FAULT_REQ_LINE : FAULT_REQ_VERSION_SYNTAX;
}

enum fault h1_request_early(struct str bytes)
{
    if (bytes.n && bytes.p[0] != '\r' && !byte_is(bytes.p[0], BYTE_TOKEN))
        return FAULT_REQ_LINE;
    const char *lf = bytes.n ? memchr(bytes.p, '\n', bytes.n) : NULL;
    if (!lf)
        return FAULT_OK;
    const char *version = memrchr(bytes.p, ' ', (size_t) (lf - bytes.p));
    if (!version)
        return FAULT_REQ_LINE;
    struct head unused = {.status = 0};
    if (lf - version == 10 && lf[-1] == '\r' && version_at(version + 1, &unused))
        return FAULT_OK;
    return bad_version(version + 1, lf + 1);
}

enum fault h1_response_early(struct str bytes)
{
    struct str begin = STR("HTTP/1.");
    size_t n = bytes.n < begin.n ? bytes.n : begin.n;
    return n && memcmp(bytes.p, begin.p, n) != 0 ? FAULT_UP_HEAD : FAULT_OK;
}

/* What is wrong with the method at p, behind which there is no space or that is no token. */
static enum fault bad_method(const char *method, const char *end)
{
    const char *p = method;
    while (p < end && byte_is(*p, BYTE_TOKEN))
        p++;
    if (p == end || *p == '\n' || (*p == '\r' && !line_ends(p, end)))
        return FAULT_REQ_LINE_END;
    return p == method || *p == '\r' ? FAULT_REQ_LINE : FAULT_REQ_METHOD;
}

/* The request line up to and with its CR LF (RFC 9112 3). *at is moved behind it. */
static enum fault parse_request_line(struct head *h, struct arena *a, const char **at,
                                     const char *end, const struct h1_limits *limits)
{
    const char *sp = byte_find(*at, end, ' ');
    struct str method = str_of(*at, (size_t) (sp - *at));
    enum method id = method_id(method);
    /* A known method is a token; only others need a look at every byte. */
    if (sp == end || (id == METHOD_OTHER && !field_name_valid(method)))
        return bad_method(method.p, end);
    h->method = method;
    h->method_id = (uint8_t) id;

    const char *target = sp + 1;
    sp = byte_find(target, end, ' ');
    bool fine = end - sp >= 11 && version_at(sp + 1, h) && memcmp(sp + 9, "\r\n", 2) == 0;
    const char *lf = fine ? NULL : memchr(target, '\n', (size_t) (end - target));
    if (!fine && !lf)
        return FAULT_REQ_LINE_END;
    if (lf && lf < sp) {
        /* No second space in this line: "GET /" of HTTP/0.9, or a bad line end. */
        size_t n = (size_t) (lf - target);
        if (n == 0 || lf[-1] != '\r' || memchr(target, '\r', n - 1))
            return FAULT_REQ_LINE_END;
        return n - 1 > limits->target ? FAULT_REQ_TARGET_LONG : FAULT_REQ_VERSION_SYNTAX;
    }
    struct str raw = str_of(target, (size_t) (sp - target));
    if (raw.n > limits->target)
        return FAULT_REQ_TARGET_LONG;
    if (raw.n == 0)
        return FAULT_REQ_LINE;
    if (lf)
        return bad_version(sp + 1, end);
    *at = sp + 11;
    return target_parse(h, a, raw);
}

/* Host of a request whose target names the host: it must be valid, and means nothing. */
RARE static enum fault overruled_host(struct str host, struct arena *a)
{
    struct head named = {.status = 0};
    return authority_parse(host, a, &named);
}

/* The one host of the request: of the target, else of Host (RFC 9112 3.2). The Host field
 * then says the same, so that nobody reads another one. */
static enum fault settle_host(struct head *h, struct arena *a)
{
    if (!fields_has(&h->fields, FIELD_HOST))
        return h->minor == 0 ? FAULT_OK : FAULT_REQ_HOST;
    struct field *field = fields_only(&h->fields, FIELD_HOST);
    if (!field)
        return FAULT_REQ_HOST;
    bool from_target = h->target_form == TARGET_ABSOLUTE || h->target_form == TARGET_AUTHORITY;
    enum fault bad =
        from_target ? overruled_host(field->value, a) : authority_parse(field->value, a, h);
    if (!bad)
        field_put(field, h->authority);
    return bad;
}

/* The request head at *at, which is moved behind it. */
static inline enum fault parse_request(struct head *h, struct arena *a, const char **at,
                                       const char *end, const struct h1_limits *limits)
{
    struct str scheme = h->scheme;
    enum fault bad = parse_request_line(h, a, at, end, limits);
    if (bad)
        return bad;
    if (*at == end)
        return FAULT_REQ_LINE_END;
    if (h->target_form == TARGET_ABSOLUTE && !str_eq(h->scheme, scheme))
        return FAULT_REQ_MISDIRECTED;
    return parse_fields(&h->fields, at, end, limits->fields, &blame_client);
}

/* What the fields of a request say together. */
static inline enum fault settle_request(struct head *h, struct arena *a)
{
    enum fault bad = settle_host(h, a);
    if (!bad)
        bad = framing_request(h);
    if (!bad && fields_has(&h->fields, FIELD_EXPECT))
        bad = expect_parse(h);
    if (bad)
        return bad;
    if (fields_has(&h->fields, FIELD_TE))
        h->te_trailers = str_has_token(fields_joined(&h->fields, FIELD_TE), STR("trailers"));
    if (fields_has(&h->fields, FIELD_UPGRADE))
        h->upgrade = upgrade_of(h);
    return FAULT_OK;
}

enum fault h1_parse_request(struct head *h, struct arena *a, struct str bytes, struct str scheme,
                            const struct h1_limits *limits)
{
    *h = (struct head){.scheme = scheme};
    fields_init(&h->fields, a);
    if (bytes.n > limits->head)
        return h1_head_overflow(bytes, limits);
    if (bytes.n == 0 || bytes.p[bytes.n - 1] != '\n')
        return FAULT_REQ_LINE_END;
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    enum fault bad = parse_request(h, a, &p, end, limits);
    if (!bad && p != end)
        bad = FAULT_REQ_LINE_END;
    return bad ? bad : settle_request(h, a);
}

/* Makes h, which was cleared or holds an earlier head, ready for the next. */
static inline void ready(struct head *h, struct arena *a)
{
    if (h->major)
        *h = (struct head){.status = 0};
    h->fields.arena = a;
}

size_t h1_take_request(struct head *h, struct arena *a, struct str bytes, struct str scheme,
                       const struct h1_limits *limits)
{
    ready(h, a);
    h->scheme = scheme;
    const char *p = bytes.p;
    if (!parse_request(h, a, &p, bytes.p + bytes.n, limits) && !settle_request(h, a) &&
        (size_t) (p - bytes.p) <= limits->head)
        return (size_t) (p - bytes.p);
    *h = (struct head){.status = 0}; /* no view of bytes that may move */
    return 0;
}

/* The status line up to and with its CR LF (RFC 9112 4). */
static bool parse_status_line(struct head *h, const char **at, const char *end)
{
    const char *p = *at;
    if (end - p < 14 || !version_at(p, h) || p[8] != ' ')
        return false;
    unsigned hundreds = byte_digit(p[9]), tens = byte_digit(p[10]), ones = byte_digit(p[11]);
    unsigned status = (hundreds * 10 + tens) * 10 + ones;
    if (tens > 9 || ones > 9 || status < 100 || status > 599)
        return false;
    h->status = (uint16_t) status;
    p += 12;
    /* Senders that drop the space before an empty phrase are many. */
    if (*p == ' ')
        p++;
    else if (*p != '\r')
        return false;
    const char *stop = text_end(p, end);
    if (!line_ends(stop, end))
        return false;
    h->reason = str_of(p, (size_t) (stop - p));
    *at = stop + 2;
    return true;
}

/* The response head at *at, which is moved behind it. */
static enum fault parse_response(struct head *h, const char **at, const char *end,
                                 const struct h1_limits *limits)
{
    if (!parse_status_line(h, at, end))
        return FAULT_UP_HEAD;
    return parse_fields(&h->fields, at, end, limits->fields, &blame_upstream);
}

/* What the fields of a response say together. */
static enum fault settle_response(struct head *h, uint8_t request_method)
{
    enum fault bad = framing_response(h, request_method);
    if (!bad && fields_has(&h->fields, FIELD_UPGRADE))
        h->upgrade = upgrade_of(h);
    return bad;
}

enum fault h1_parse_response(struct head *h, struct arena *a, struct str bytes,
                             uint8_t request_method, const struct h1_limits *limits)
{
    *h = (struct head){.status = 0};
    fields_init(&h->fields, a);
    if (bytes.n > limits->head)
        return FAULT_UP_HEAD_LARGE;
    if (bytes.n == 0 || bytes.p[bytes.n - 1] != '\n')
        return FAULT_UP_HEAD;
    const char *p = bytes.p, *end = bytes.p + bytes.n;
    enum fault bad = parse_response(h, &p, end, limits);
    if (!bad && p != end)
        bad = FAULT_UP_HEAD;
    return bad ? bad : settle_response(h, request_method);
}

size_t h1_take_response(struct head *h, struct arena *a, struct str bytes, uint8_t request_method,
                        const struct h1_limits *limits)
{
    ready(h, a);
    const char *p = bytes.p;
    if (!parse_response(h, &p, bytes.p + bytes.n, limits) && !settle_response(h, request_method) &&
        (size_t) (p - bytes.p) <= limits->head)
        return (size_t) (p - bytes.p);
    *h = (struct head){.status = 0}; /* no view of bytes that may move */
    return 0;
}

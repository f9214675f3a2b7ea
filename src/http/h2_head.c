/* SPDX-License-Identifier: Apache-2.0 */
/* h2_head: see h2_head.h; what is read. Writing is in h2_write.c. */
#include "http/h2_head.h"

#include "http/bytes.h"
#include "http/framing.h"
#include "http/url.h"

#define FIELD_OVERHEAD 32u /* RFC 9113 6.5.2 */
#define BOMB_TIMES 4u      /* limits passed that often: not a mistake */
#define URGENCY_DEFAULT 3  /* RFC 9218 4.1 */

/* RFC 9113 8.2.2: they describe an HTTP/1 connection. */
#define CONNECTION_FIELDS                                                                          \
    (FIELD_BIT(CONNECTION) | FIELD_BIT(PROXY_CONNECTION) | FIELD_BIT(KEEP_ALIVE) |                 \
     FIELD_BIT(TRANSFER_ENCODING) | FIELD_BIT(UPGRADE))

void h2_reader_init(struct h2_reader *r, struct fields *fields, struct arena *a,
                    const struct h1_limits *limits)
{
    *r = (struct h2_reader){
        .fields = fields, .arena = a, .limits = limits, .urgency = URGENCY_DEFAULT};
}

static void wrong(struct h2_reader *r, enum fault f)
{
    if (r->fault == FAULT_OK)
        r->fault = f;
}

/* A pseudo-header field: known, once, before all others (RFC 9113 8.3). */
static void add_pseudo(struct h2_reader *r, struct str name, struct str value)
{
    const struct {
        struct str name;
        struct str *value;
    } known[] = {
        {STR(":status"), &r->status}, {STR(":method"), &r->method},
        {STR(":scheme"), &r->scheme}, {STR(":authority"), &r->authority},
        {STR(":path"), &r->path},     {STR(":protocol"), &r->protocol},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (!str_eq(name, known[i].name))
            continue;
        if (known[i].value->p || r->regular || r->trailers || r->response != (i == 0) ||
            !field_value_valid(value))
            break;
        *known[i].value = arena_str(r->arena, value);
        if (!known[i].value->p)
            wrong(r, FAULT_MEMORY);
        return;
    }
    wrong(r, FAULT_H2_MALFORMED);
}

/* "u=N" and "i" of a Priority field; what else it says means nothing here (RFC 9218 4). */
static void read_priority(struct h2_reader *r, struct str list)
{
    struct str item;
    r->prioritised = true;
    while (str_next_item(&list, &item)) {
        if (item.n == 3 && item.p[0] == 'u' && item.p[1] == '=' && item.p[2] >= '0' &&
            item.p[2] <= '7')
            r->urgency = (uint8_t) (item.p[2] - '0');
        else if (str_eq(item, STR("i")) || str_eq(item, STR("i=?1")))
            r->incremental = true;
        else if (str_eq(item, STR("i=?0")))
            r->incremental = false;
    }
}

/* Token characters without upper case (RFC 9113 8.2.1). */
static bool name_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++)
        if (!byte_is(name.p[i], BYTE_TOKEN) || (name.p[i] >= 'A' && name.p[i] <= 'Z'))
            return false;
    return name.n > 0;
}

static void add_regular(struct h2_reader *r, struct str name, struct str value)
{
    r->regular = true;
    if (!name_valid(name) || !field_value_valid(value)) {
        wrong(r, FAULT_H2_MALFORMED);
        return;
    }
    enum field_id id = field_id(name);
    if (((UINT64_C(1) << id) & CONNECTION_FIELDS) ||
        (id == FIELD_TE && !str_ieq(value, STR("trailers")))) {
        wrong(r, FAULT_H2_MALFORMED);
        return;
    }
    if (str_eq(name, STR("priority")))
        read_priority(r, value);
    struct str copy = arena_str(r->arena, value);
    bool added = false;
    if (copy.p && id != FIELD_OTHER) {
        added = fields_add_id(r->fields, id, copy);
    } else if (copy.p) {
        struct str own = arena_str(r->arena, name);
        added = own.p && fields_add(r->fields, own, copy);
    }
    if (!added)
        wrong(r, FAULT_MEMORY);
}

void h2_reader_add(struct h2_reader *r, struct str name, struct str value)
{
    r->size += name.n + value.n + FIELD_OVERHEAD;
    r->n++;
    bool pseudo = name.n && name.p[0] == ':';
    if (r->size > r->limits->head || r->n > r->limits->fields + (r->trailers ? 0u : 5u))
        wrong(r, r->trailers ? FAULT_REQ_TRAILER_LARGE : FAULT_REQ_HEAD_LARGE);
    if (r->fault != FAULT_OK)
        return;
    if (pseudo)
        add_pseudo(r, name, value);
    else
        add_regular(r, name, value);
}

bool h2_reader_bomb(const struct h2_reader *r)
{
    return r->size / BOMB_TIMES > r->limits->head || r->n / BOMB_TIMES > r->limits->fields;
}

/* The crumbs of a cookie are one field again (RFC 9113 8.2.3). */
static enum fault join_cookies(struct fields *f, struct arena *a)
{
    uint32_t n = fields_count_id(f, FIELD_COOKIE);
    if (n < 2)
        return FAULT_OK;
    struct str *parts = arena_alloc(a, 2 * (size_t) n * sizeof(*parts));
    if (!parts)
        return FAULT_MEMORY;
    size_t k = 0;
    for (uint32_t i = 0; i < f->n; i++) {
        if (f->v[i].id != FIELD_COOKIE)
            continue;
        parts[k++] = f->v[i].value;
        parts[k++] = STR("; ");
    }
    struct str all = arena_join(a, parts, k - 1);
    return all.p && fields_set(f, field_name(FIELD_COOKIE), all) ? FAULT_OK : FAULT_MEMORY;
}

/* Which pseudo-header fields there must be (RFC 9113 8.3.1, 8.5; RFC 8441 4). */
static bool pseudo_complete(const struct h2_reader *r)
{
    if (!r->method.n)
        return false;
    bool is_connect = str_eq(r->method, STR("CONNECT"));
    if (r->protocol.p)
        return is_connect && r->scheme.p && r->path.n && r->authority.n &&
               field_name_valid(r->protocol);
    if (is_connect)
        return !r->scheme.p && !r->path.p && r->authority.n;
    return r->scheme.n && r->path.n;
}

/* The one host: of :authority, else of Host; both only when they say the same. */
static enum fault settle_host(struct h2_reader *r, struct head *h)
{
    struct field *host = fields_only(&h->fields, FIELD_HOST);
    if (fields_has(&h->fields, FIELD_HOST) && !host)
        return FAULT_REQ_HOST;
    if (!r->authority.p && !host)
        return FAULT_REQ_HOST;
    if (r->authority.p && host && !str_ieq(r->authority, host->value))
        return FAULT_H2_MALFORMED;
    if (h->target_form != TARGET_AUTHORITY) {
        struct str from = r->authority.p ? r->authority : host->value;
        enum fault bad = authority_parse(from, r->arena, h);
        if (bad)
            return bad;
    }
    if (host)
        field_put(host, h->authority);
    else if (!fields_add_id(&h->fields, FIELD_HOST, h->authority))
        return FAULT_MEMORY;
    return FAULT_OK;
}

/* Method and target. */
static enum fault settle_target(struct h2_reader *r, struct head *h)
{
    h->method = r->method;
    if (!field_name_valid(h->method))
        return FAULT_H2_MALFORMED;
    if (r->protocol.p && !str_ieq(r->protocol, STR("websocket")))
        return FAULT_H2_EXTENDED;
    if (r->protocol.p) {
        h->method = STR("GET");
        h->upgrade = r->protocol;
    }
    h->method_id = (uint8_t) method_id(h->method);
    struct str target = h->method_id == METHOD_CONNECT ? r->authority : r->path;
    if (target.n > r->limits->target)
        return FAULT_REQ_TARGET_LONG;
    /* Here an absolute URL has no meaning (RFC 9113 8.3.1). */
    if (h->method_id != METHOD_CONNECT && target.p[0] != '/' && target.p[0] != '*')
        return FAULT_H2_MALFORMED;
    return target_parse(h, r->arena, target);
}

/* How long the body is: what Content-Length says must not contradict END_STREAM. */
static enum fault settle_body(struct head *h, bool end_stream)
{
    enum fault bad = framing_request(h);
    if (bad)
        return bad;
    h->keep_alive = false; /* no message ends this connection, or keeps it */
    if (h->upgrade.n || h->method_id == METHOD_CONNECT)
        return h->body == BODY_NONE ? FAULT_OK : FAULT_H2_MALFORMED;
    if (end_stream && h->body == BODY_LENGTH && h->length)
        return FAULT_H2_LENGTH;
    if (!end_stream && h->body == BODY_NONE)
        h->body = BODY_CHUNKED;
    return FAULT_OK;
}

enum fault h2_request_end(struct h2_reader *r, struct head *h, struct str scheme, bool end_stream)
{
    h->major = 2;
    h->minor = 0;
    h->scheme = scheme;
    if (r->fault != FAULT_OK)
        return r->fault;
    if (!pseudo_complete(r))
        return FAULT_H2_MALFORMED;
    enum fault bad = settle_target(r, h);
    if (!bad)
        bad = settle_host(r, h);
    if (!bad)
        bad = settle_body(h, end_stream);
    if (!bad && fields_has(&h->fields, FIELD_EXPECT))
        bad = expect_parse(h);
    if (!bad)
        bad = join_cookies(&h->fields, r->arena);
    if (!bad && r->scheme.p && !str_ieq(r->scheme, scheme))
        bad = FAULT_REQ_MISDIRECTED;
    h->te_trailers = fields_has(&h->fields, FIELD_TE);
    return bad;
}

/* Three digits, but not 101, which HTTP/2 does not have (RFC 9113 8.6). */
static bool status_of(struct str s, uint16_t *status)
{
    uint64_t n;
    if (s.n != 3 || !str_to_u64(s, &n) || n < 100 || n > 599 || n == 101)
        return false;
    *status = (uint16_t) n;
    return true;
}

enum fault h2_response_end(struct h2_reader *r, struct head *h, uint8_t request_method,
                           bool end_stream)
{
    h->major = 2;
    h->minor = 0;
    if (r->fault != FAULT_OK)
        return r->fault;
    if (!status_of(r->status, &h->status) || (h->status < 200 && end_stream))
        return FAULT_H2_MALFORMED;
    h->reason = status_reason(h->status);
    enum fault bad = framing_response(h, request_method);
    h->keep_alive = true;
    if (bad)
        return bad;
    if (h->body == BODY_CLOSE)
        h->body = end_stream ? BODY_NONE : BODY_CHUNKED;
    else if (end_stream && h->body == BODY_LENGTH && h->length)
        return FAULT_UP_FRAMING;
    return FAULT_OK;
}

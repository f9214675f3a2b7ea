/* SPDX-License-Identifier: Apache-2.0 */
/* h2_write: heads as the list of fields that an HTTP/2 encoder takes; see h2_head.h. Names in
 * lower case; a byte that could end a line further on is refused, so that a broken hook cannot
 * split a message for the next proxy. */
#include "http/bytes.h"
#include "http/h1_write.h"
#include "http/h2_head.h"

#define DIGITS 20
#define OWN_FIELDS 2 /* :status, content-length */
/* Upgrade means nothing here (RFC 9113 8.2.2), and the host is said as :authority. */
#define UNSAID (FIELD_BIT(UPGRADE) | FIELD_BIT(HOST))
#define REQUEST_FIELDS 6 /* five of a target, content-length */
#define NEVER                                                                                      \
    (FIELD_BIT(CONNECTION) | FIELD_BIT(PROXY_CONNECTION) | FIELD_BIT(KEEP_ALIVE) |                 \
     FIELD_BIT(TRANSFER_ENCODING) | FIELD_BIT(CONTENT_LENGTH))

static nghttp2_nv nv_of(struct str name, struct str value)
{
    return (nghttp2_nv){.name = (uint8_t *) (uintptr_t) name.p,
                        .namelen = name.n,
                        .value = (uint8_t *) (uintptr_t) value.p,
                        .valuelen = value.n,
                        .flags = NGHTTP2_NV_FLAG_NONE};
}

/* A decimal number in the arena; p is NULL when refused. */
static struct str number(uint64_t v, struct arena *a)
{
    char digits[DIGITS];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char) ('0' + v % 10);
        v /= 10;
    } while (v);
    return arena_str(a, str_of(digits + at, sizeof(digits) - at));
}

/* The fields of f behind *n of list, but for those in skip. */
static enum fault put_fields(const struct fields *f, uint64_t skip, struct arena *a,
                             nghttp2_nv *list, size_t *n)
{
    size_t names = 0;
    for (uint32_t i = 0; i < f->n; i++)
        names += f->v[i].name.n;
    char *lower = arena_alloc(a, names ? names : 1);
    if (!lower)
        return FAULT_MEMORY;
    for (uint32_t i = 0; i < f->n; i++) {
        const struct field *one = &f->v[i];
        if (((UINT64_C(1) << one->id) & skip))
            continue;
        if ((one->id == FIELD_OTHER && !field_name_valid(one->name)) ||
            text_end(one->value.p, one->value.p + one->value.n) != one->value.p + one->value.n)
            return FAULT_REWRITE;
        struct str name = str_of(lower, one->name.n);
        for (size_t k = 0; k < name.n; k++)
            *lower++ = str_lower(one->name.p[k]);
        list[(*n)++] = nv_of(name, one->value);
    }
    return FAULT_OK;
}

/* The length to say, or H1_LENGTH_UNSAID; as an HTTP/1 head would (RFC 9110 8.6). */
static uint64_t length_of(const struct head *h)
{
    if (h->body == BODY_LENGTH)
        return h->length;
    if (h->body != BODY_NONE || h->status < 200 || h->status == 204)
        return H1_LENGTH_UNSAID;
    if (h->declared != LENGTH_NONE)
        return h->declared;
    return h->status == 304 ? H1_LENGTH_UNSAID : 0;
}

enum fault h2_response_list(const struct head *h, struct arena *a, nghttp2_nv **list, size_t *n)
{
    *n = 0;
    if ((h->fields.present & NEVER) || h->status < 100 || h->status > 999)
        return FAULT_REWRITE;
    *list = arena_alloc(a, ((size_t) h->fields.n + OWN_FIELDS) * sizeof(**list));
    struct str status = number(h->status, a);
    if (!*list || !status.p)
        return FAULT_MEMORY;
    (*list)[(*n)++] = nv_of(STR(":status"), status);
    enum fault bad = put_fields(&h->fields, UNSAID, a, *list, n);
    uint64_t length = length_of(h);
    if (bad || length == H1_LENGTH_UNSAID)
        return bad;
    struct str text = number(length, a);
    if (!text.p)
        return FAULT_MEMORY;
    (*list)[(*n)++] = nv_of(STR("content-length"), text);
    return FAULT_OK;
}

/* The bytes of a target: visible ASCII alone. */
static bool target_valid(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char) s.p[i] <= ' ' || (unsigned char) s.p[i] >= 0x7f)
            return false;
    return s.n > 0;
}

/* :method and what it asks for. */
static enum fault put_target(const struct head *h, struct arena *a, struct str scheme,
                             struct str protocol, nghttp2_nv *list, size_t *n)
{
    bool plain_connect = h->method_id == METHOD_CONNECT && !protocol.n;
    if (!field_name_valid(h->method) || !target_valid(h->authority))
        return FAULT_REWRITE;
    list[(*n)++] = nv_of(STR(":method"), protocol.n ? STR("CONNECT") : h->method);
    if (protocol.n)
        list[(*n)++] = nv_of(STR(":protocol"), protocol);
    list[(*n)++] = nv_of(STR(":authority"), h->authority);
    if (plain_connect)
        return FAULT_OK;
    const struct str parts[] = {h->path, STR("?"), h->query};
    struct str path = h->has_query ? arena_join(a, parts, 3) : h->path;
    if (!path.p)
        return FAULT_MEMORY;
    if (!target_valid(path))
        return FAULT_REWRITE;
    list[(*n)++] = nv_of(STR(":scheme"), scheme);
    list[(*n)++] = nv_of(STR(":path"), path);
    return FAULT_OK;
}

enum fault h2_request_list(const struct head *h, struct arena *a, struct str scheme,
                           struct str protocol, nghttp2_nv **list, size_t *n)
{
    *n = 0;
    if (h->fields.present & NEVER)
        return FAULT_REWRITE;
    *list = arena_alloc(a, ((size_t) h->fields.n + REQUEST_FIELDS) * sizeof(**list));
    if (!*list)
        return FAULT_MEMORY;
    enum fault bad = put_target(h, a, scheme, protocol, *list, n);
    if (!bad)
        bad = put_fields(&h->fields, UNSAID | (protocol.n ? FIELD_BIT(SEC_WEBSOCKET_KEY) : 0), a,
                         *list, n);
    if (bad || h->body != BODY_LENGTH)
        return bad;
    struct str text = number(h->length, a);
    if (!text.p)
        return FAULT_MEMORY;
    (*list)[(*n)++] = nv_of(STR("content-length"), text);
    return FAULT_OK;
}

enum fault h2_trailer_list(const struct fields *f, struct arena *a, nghttp2_nv **list, size_t *n)
{
    *n = 0;
    if (f->present & FIELDS_NOT_IN_TRAILERS)
        return FAULT_REWRITE;
    *list = arena_alloc(a, (size_t) f->n * sizeof(**list));
    return *list ? put_fields(f, UNSAID, a, *list, n) : FAULT_MEMORY;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hop: see hop.h. One pass copies the request's fields but for those that a mask of known names
 * holds back; a second one, for names, is made only where a name could matter. */
#include "proxy/hop.h"

#include "http/url.h"
#include "proxy/driver.h"

#define BIT(id) (UINT64_C(1) << FIELD_##id)
#define BIT_OF(id) (UINT64_C(1) << (id))

/* Never forwarded as they are: they describe this connection or this message's framing. */
#define HOP_FIELDS                                                                                 \
    (BIT(CONNECTION) | BIT(PROXY_CONNECTION) | BIT(KEEP_ALIVE) | BIT(PROXY_AUTHENTICATE) |         \
     BIT(PROXY_AUTHORIZATION) | BIT(TE) | BIT(TRANSFER_ENCODING) | BIT(UPGRADE) |                  \
     BIT(HTTP2_SETTINGS) | BIT(CONTENT_LENGTH))
/* A Connection option cannot name these: without them the message would mean something else, or
 * come from somebody else. */
#define UNNAMEABLE                                                                                 \
    (BIT(HOST) | BIT(CONTENT_LENGTH) | BIT(TRANSFER_ENCODING) | BIT(AUTHORIZATION) |               \
     BIT(CONTENT_TYPE) | BIT(CONTENT_ENCODING) | BIT(COOKIE) | BIT(SET_COOKIE) | BIT(DATE) |       \
     BIT(EXPECT) | BIT(CACHE_CONTROL) | BIT(VIA) | FIELDS_FORWARDING)
/* RFC 9110 6.5.1: framing, routing, request modifiers, authentication, control data, content
 * format. */
#define NO_TRAILER (HOP_FIELDS | FIELDS_FORWARDING | FIELDS_NOT_IN_TRAILERS | BIT(PROXY_STATUS))
#define LOOP_MAX 8
/* What few messages need is a call, so that the way of all others is short. */
#define SELDOM static __attribute__((noinline))

/* A name that some backends read as one of Weir's own because they fold '_' to '-'. */
static bool is_alias(struct str name)
{
    if (!memchr(name.p, '_', name.n))
        return false;
    static const uint8_t own[] = {FIELD_FORWARDED,
                                  FIELD_X_FORWARDED_FOR,
                                  FIELD_X_FORWARDED_HOST,
                                  FIELD_X_FORWARDED_PROTO,
                                  FIELD_X_REAL_IP,
                                  FIELD_X_REQUEST_ID,
                                  FIELD_HOST,
                                  FIELD_CONTENT_LENGTH,
                                  FIELD_TRANSFER_ENCODING,
                                  FIELD_CONNECTION,
                                  FIELD_TRACEPARENT};
    for (size_t i = 0; i < sizeof(own); i++)
        if (field_name_alias(name, field_name(own[i])))
            return true;
    return false;
}

/* A name by which backends are told who the client is (RFC 9440, and client_certificate): only Weir
 * says that. */
static bool is_identity(struct str name)
{
    static const struct str own[] = {{"Client-Cert", 11},
                                     {"X-Client-DN", 11},
                                     {"X-Client-SAN", 12},
                                     {"X-Client-Cert", 13},
                                     {"Client-Cert-Chain", 17}};
    if (name.n < 11 || name.n > 17)
        return false;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (field_name_alias(name, own[i]))
            return true;
    return false;
}

/* name is one of the options of the Connection fields. */
SELDOM bool is_named(const struct fields *f, struct str name)
{
    for (uint32_t i = 0; i < f->n; i++)
        if (f->v[i].id == FIELD_CONNECTION && str_has_token(f->v[i].value, name))
            return true;
    return false;
}

/* The Connection fields name something that would otherwise go on. What nearly all of them say
 * (close, keep-alive, upgrade, te) never does, and then no field has to be looked for in them. */
SELDOM bool names_more(const struct head *h)
{
    const struct fields *f = &h->fields;
    const uint64_t harmless = HOP_FIELDS & ~BIT(PROXY_AUTHENTICATE); /* a 407's goes on */
    for (uint32_t i = 0; i < f->n; i++) {
        struct str list = f->v[i].value, item;
        if (f->v[i].id != FIELD_CONNECTION)
            continue;
        while (str_next_item(&list, &item))
            if (!(BIT_OF(field_id(item)) & harmless) && !str_ieq(item, STR("close")))
                return true;
    }
    return false;
}

/* The known fields of this request that do not go on. */
static uint64_t staying(const struct exchange *x)
{
    const struct head *in = x->in;
    bool counted = in->method_id == METHOD_OPTIONS || in->method_id == METHOD_TRACE;
    uint64_t stay = x->peer_trusted ? 0 : FIELDS_FORWARDING;
    stay |= (uint64_t) (in->body != BODY_CHUNKED) << FIELD_TRAILER;
    stay |= (uint64_t) counted << FIELD_MAX_FORWARDS;
    stay |= (uint64_t) !in->expect_continue << FIELD_EXPECT;
    return stay | HOP_FIELDS | BIT(HOST);
}

/* What only a field's name tells, on the way to the upstream. */
struct by_name {
    const struct fields *in;
    bool named; /* the Connection fields of in name something */
};

static bool stays_by_name(const struct field *f, void *arg)
{
    const struct by_name *how = arg;
    if (f->id == FIELD_OTHER && (is_alias(f->name) || is_identity(f->name)))
        return true;
    return how->named && !(BIT_OF(f->id) & (UNNAMEABLE | BIT(TRAILER) | BIT(MAX_FORWARDS))) &&
           is_named(how->in, f->name);
}

/* Takes out of out, a copy of in, what only its name keeps from going on. */
SELDOM void remove_by_name(struct fields *out, const struct fields *in, bool named)
{
    struct by_name how = {.in = in, .named = named};
    fields_remove_if(out, stays_by_name, &how);
}

/* It has come by here too often. */
SELDOM bool loops(const struct fields *in, struct str name)
{
    struct str list = fields_joined(in, FIELD_VIA), item;
    int seen = 0;
    while (str_next_item(&list, &item))
        seen += str_ends(item, name) && item.n > name.n && item.p[item.n - name.n - 1] == ' ';
    return seen > LOOP_MAX;
}

static enum fault add_via(struct exchange *x, struct fields *out)
{
    const struct settings_conf *c = x->plan->settings;
    if (fields_has(&x->in->fields, FIELD_VIA) && loops(&x->in->fields, c->via_name))
        return FAULT_LOOP_DETECTED;
    if (!c->via)
        return FAULT_OK;
    if (x->in->major == 1 && x->in->minor && c->via_line.n)
        return fields_add_line(out, FIELD_VIA, c->via_line) ? FAULT_OK : FAULT_MEMORY;
    const size_t version = sizeof("1.1 ") - 1;
    char *via = arena_alloc(&x->arena, version + c->via_name.n);
    if (!via)
        return FAULT_MEMORY;
    memcpy(via, x->in->major == 2 ? "2.0 " : x->in->minor ? "1.1 " : "1.0 ", version);
    memcpy(via + version, c->via_name.p, c->via_name.n);
    struct str text = str_of(via, version + c->via_name.n);
    return fields_add_id(out, FIELD_VIA, text) ? FAULT_OK : FAULT_MEMORY;
}

SELDOM enum fault add_max_forwards(struct exchange *x, struct fields *out)
{
    const struct field *f = fields_get_id(&x->in->fields, FIELD_MAX_FORWARDS);
    uint64_t n;
    if (!f || (x->in->method_id != METHOD_OPTIONS && x->in->method_id != METHOD_TRACE) ||
        !str_to_u64(f->value, &n) || n == 0)
        return FAULT_OK;
    struct str v = arena_printf(&x->arena, "%llu", (unsigned long long) n - 1);
    return v.p && fields_add_id(out, FIELD_MAX_FORWARDS, v) ? FAULT_OK : FAULT_MEMORY;
}

/* The protocol switch is asked for again on our own behalf, never copied. */
static bool add_upgrade(struct exchange *x, struct head *out)
{
    if (!x->in->upgrade.n)
        return true;
    if (x->in->body != BODY_NONE && !(x->in->body == BODY_LENGTH && !x->in->length)) {
        out->upgrade = (struct str){0};
        return true;
    }
    return fields_add_id(&out->fields, FIELD_UPGRADE, x->in->upgrade);
}

enum fault hop_request(struct exchange *x)
{
    struct head *out = arena_alloc(&x->arena, sizeof(*out));
    if (!out)
        return FAULT_MEMORY;
    *out = *x->in;
    fields_init(&out->fields, &x->arena);
    const struct fields *in = &x->in->fields;
    if (!fields_copy_but(&out->fields, in, staying(x)))
        return FAULT_MEMORY;
    bool named = !x->in->names_none && names_more(x->in);
    if (named || in->odd_names)
        remove_by_name(&out->fields, in, named);
    if (x->in->query.n) {
        out->query = query_clean(x->in->query, &x->arena);
        if (!out->query.p)
            return FAULT_MEMORY;
        out->has_query = out->query.n > 0; /* nothing of it could be kept: no '?' either */
    }
    if (x->plan->hooks[ON_REQUEST_DATA].n && out->body == BODY_LENGTH)
        out->body = BODY_CHUNKED;
    if (x->in->te_trailers && !fields_add_id(&out->fields, FIELD_TE, STR("trailers")))
        return FAULT_MEMORY;
    if (!add_upgrade(x, out))
        return FAULT_MEMORY;
    if (x->in->early && !fields_set(&out->fields, STR("Early-Data"), STR("1")))
        return FAULT_MEMORY;
    enum fault f = FAULT_OK;
    if (fields_has(in, FIELD_MAX_FORWARDS))
        f = add_max_forwards(x, &out->fields);
    if (f == FAULT_OK)
        f = add_via(x, &out->fields);
    x->out = out;
    return f;
}

/* Removes what the Connection fields name, but not these. */
SELDOM void remove_named(struct fields *f)
{
    for (uint32_t i = f->n; i-- > 0;) {
        struct field *one = &f->v[i];
        if (!((UINT64_C(1) << one->id) & (UNNAMEABLE | BIT(CONNECTION))) &&
            is_named(f, one->name)) {
            fields_remove(f, one->name);
            i = f->n;
        }
    }
}

enum fault hop_response(struct exchange *x, struct head *h)
{
    struct fields *f = &h->fields;
    if (!f->arena)
        f->arena = &x->arena;
    if (!h->names_none && names_more(h))
        remove_named(f);
    uint64_t strip = HOP_FIELDS & ~(h->status == 407 ? BIT(PROXY_AUTHENTICATE) : 0);
    if (h->body != BODY_CHUNKED)
        strip |= BIT(TRAILER);
    if (f->present & strip)
        fields_remove_mask(f, strip);
    if (h->body == BODY_TUNNEL && h->upgrade.n && !fields_add_id(f, FIELD_UPGRADE, h->upgrade))
        return FAULT_MEMORY;
    if (h->status >= 200 && x->hsts.n && !fields_set(f, STR("Strict-Transport-Security"), x->hsts))
        return FAULT_MEMORY;
    if (h->status < 200 || fields_has(f, FIELD_DATE))
        return FAULT_OK;
    struct str date = date_text(&x->worker->date, loop_wall(x->worker->loop));
    return fields_add_id(f, FIELD_DATE, arena_str(&x->arena, date)) ? FAULT_OK : FAULT_MEMORY;
}

/* The same for names that have no number. */
static bool never_trailer(struct str name)
{
    static const char *const names[] = {
        "if-match", "if-none-match",  "if-modified-since", "if-unmodified-since", "if-range",
        "range",    "x-auth-context", "x-tenant-id",       "early-data",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (str_ieq(name, str_c(names[i])))
            return true;
    return is_alias(name) || is_identity(name);
}

void hop_trailers(struct fields *trailers)
{
    if (trailers->present & NO_TRAILER)
        fields_remove_mask(trailers, NO_TRAILER);
    for (uint32_t i = trailers->n; i-- > 0;)
        if (trailers->v[i].id == FIELD_OTHER && never_trailer(trailers->v[i].name)) {
            fields_remove(trailers, trailers->v[i].name);
            i = trailers->n;
        }
}

static bool listed(const struct field *f, void *arg)
{
    const struct str *names = arg;
    return str_has_token(*names, f->name);
}

void hop_trailers_named(struct fields *trailers, struct str names)
{
    fields_remove_if(trailers, listed, &names);
}

bool hop_max_forwards(struct exchange *x)
{
    if (x->in->method_id != METHOD_OPTIONS && x->in->method_id != METHOD_TRACE)
        return false;
    const struct field *f = fields_get_id(&x->in->fields, FIELD_MAX_FORWARDS);
    uint64_t n;
    return f && str_to_u64(f->value, &n) && n == 0;
}

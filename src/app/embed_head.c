/* SPDX-License-Identifier: Apache-2.0 */
/* embed_head.c: heads as the library's callbacks see and change them. What is written is checked
 * here: no callback can make a message that frames differently than it says. */
#include "app/embed.h"
#include "http/url.h"
#include "proxy/field_rule.h"

weir_str weir_method(const weir_head *h)
{
    return weir_of(head_const(h)->method);
}

weir_str weir_host(const weir_head *h)
{
    return weir_of(head_const(h)->authority);
}

weir_str weir_path(const weir_head *h)
{
    return weir_of(head_const(h)->path);
}

weir_str weir_query(const weir_head *h)
{
    return weir_of(head_const(h)->query);
}

int weir_status(const weir_head *h)
{
    return head_const(h)->status;
}

weir_str weir_field(const weir_head *h, const char *name)
{
    const struct field *f = fields_get(&head_const(h)->fields, str_c(name));
    if (!f)
        return (weir_str){NULL, 0};
    return (weir_str){f->value.p ? f->value.p : "", f->value.n};
}

int weir_field_at(const weir_head *h, size_t i, weir_str *name, weir_str *value)
{
    const struct fields *f = &head_const(h)->fields;
    if (i >= f->n)
        return 0;
    *name = weir_of(f->v[i].name);
    *value = weir_of(f->v[i].value);
    return 1;
}

/* Name and value may be written into h; copies in its arena. */
static bool take_field(struct head *h, const char *name, weir_str value, struct field *out)
{
    enum field_rule where = h->status ? FIELD_RULE_RESPONSE : FIELD_RULE_REQUEST;
    struct str n = str_c(name), v = str_trim(str_from(value));
    if (field_rule_wrong(n, where) || !field_value_valid(v))
        return false;
    out->name = arena_str(h->fields.arena, n);
    out->value = arena_str(h->fields.arena, v);
    return out->name.p && out->value.p;
}

int weir_set_field(weir_head *to, const char *name, weir_str value)
{
    struct head *h = head_in(to);
    struct field f;
    return take_field(h, name, value, &f) && fields_own(&h->fields, f.name, f.value);
}

int weir_add_field(weir_head *to, const char *name, weir_str value)
{
    struct head *h = head_in(to);
    struct field f;
    return take_field(h, name, value, &f) && fields_add(&h->fields, f.name, f.value);
}

int weir_remove_field(weir_head *from, const char *name)
{
    struct head *h = head_in(from);
    enum field_rule where = h->status ? FIELD_RULE_RESPONSE : FIELD_RULE_REQUEST;
    struct str n = str_c(name);
    return field_rule_wrong(n, where) ? 0 : (int) fields_remove_alias(&h->fields, n);
}

int weir_set_path(weir_head *to, weir_str path)
{
    struct head *h = head_in(to);
    struct str raw = arena_str(h->fields.arena, str_from(path)), good;
    if (!raw.p || !str_starts(raw, STR("/")) ||
        path_normalise(raw, h->fields.arena, &good) != FAULT_OK)
        return 0;
    h->path = good;
    return 1;
}

/* RFC 3986 3.4, and what browsers send beside it. */
bool embed_query_valid(struct str q)
{
    for (size_t i = 0; i < q.n; i++) {
        unsigned char c = (unsigned char) q.p[i];
        if (c <= ' ' || c >= 0x7f || c == '#')
            return false;
    }
    return true;
}

int weir_set_query(weir_head *to, weir_str query)
{
    struct head *h = head_in(to);
    struct str q = arena_str(h->fields.arena, str_from(query));
    if (!q.p || !embed_query_valid(q))
        return 0;
    h->query = q;
    h->has_query = q.n > 0;
    return 1;
}

int weir_set_host(weir_head *to, weir_str host)
{
    struct head *h = head_in(to);
    struct head parsed = *h;
    struct str text = arena_str(h->fields.arena, str_from(host));
    if (!text.p || authority_parse(text, h->fields.arena, &parsed) != FAULT_OK)
        return 0;
    h->authority = parsed.authority;
    h->host = parsed.host;
    h->port = parsed.port;
    return 1;
}

int weir_set_status(weir_head *to, int status)
{
    struct head *h = head_in(to);
    if (status < 200 || status > 599 || h->status < 200 || h->body == BODY_TUNNEL ||
        status_bodyless((uint16_t) status) != status_bodyless(h->status))
        return 0;
    h->status = (uint16_t) status;
    h->reason = status_reason(h->status);
    return 1;
}

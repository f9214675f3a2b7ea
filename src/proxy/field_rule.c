/* SPDX-License-Identifier: Apache-2.0 */
/* field_rule.c: see field_rule.h. */
#include "proxy/field_rule.h"

#include "base/schema.h"

struct owned {
    struct str name;
    bool request, response;
    const char *why;
};

#define FRAMING "belongs to message framing, which Weir alone decides"
#define HOP "belongs to one connection, not to the message (RFC 9110 7.6.1)"
#define OWNED(text, in_request, in_response, reason)                                               \
    {                                                                                              \
        .name = {text, sizeof(text) - 1}, .request = in_request, .response = in_response,          \
        .why = reason                                                                              \
    }

static const struct owned owned[] = {
    OWNED("Content-Length", true, true, FRAMING),
    OWNED("Transfer-Encoding", true, true, FRAMING),
    OWNED("Trailer", true, true, FRAMING),
    OWNED("Connection", true, true, HOP),
    OWNED("Proxy-Connection", true, true, HOP),
    OWNED("Keep-Alive", true, true, HOP),
    OWNED("Upgrade", true, true, HOP),
    OWNED("TE", true, false, HOP),
    OWNED("HTTP2-Settings", true, false, HOP),
    OWNED("Expect", true, false, "is answered by Weir and the upstream together"),
    OWNED("Host", true, false, "is set by rewrite.host of the route"),
};

const char *field_rule_wrong(struct str name, enum field_rule where)
{
    if (!field_name_valid(name))
        return "is not a field name: letters, digits and !#$%&'*+-.^_`|~ only (RFC 9110 5.1)";
    for (size_t i = 0; i < SCHEMA_COUNT(owned); i++) {
        bool here = where == FIELD_RULE_REQUEST ? owned[i].request : owned[i].response;
        if (here && field_name_alias(name, owned[i].name))
            return owned[i].why;
    }
    return NULL;
}

uint32_t fields_remove_alias(struct fields *f, struct str name)
{
    uint32_t removed = fields_remove(f, name);
    /* No name holds '_': there is no other spelling. */
    if (!f->odd_names && !memchr(name.p, '_', name.n))
        return removed;
    for (uint32_t i = 0; i < f->n; i++) {
        struct str other = f->v[i].name;
        if (other.n != name.n || !field_name_alias(other, name))
            continue;
        removed += fields_remove(f, other);
        i--; /* at least this one is gone; what followed has moved up */
    }
    return removed;
}

bool fields_own(struct fields *f, struct str name, struct str value)
{
    enum field_id id = field_id(name);
    if (id == FIELD_OTHER || f->odd_names) {
        fields_remove_alias(f, name);
        return fields_add(f, name, value);
    }
    fields_remove_id(f, id); /* a known name, where none has another spelling */
    return fields_add_known(f, id, name, value);
}

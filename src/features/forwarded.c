/* SPDX-License-Identifier: Apache-2.0 */
/* forwarded.c: see forwarded.h.
 * Invariants:
 * 1. Whatever is in x->out is believed only from a trusted peer; from others it is replaced, even
 *    if it should have been removed before.
 * 2. X-Forwarded-For ends in the address of the connection that Weir itself saw. */
#include "features/forwarded.h"

#include "base/bytes16.h"
#include "base/json.h"
#include "features/registry.h"
#include "proxy/client_ip.h"
#include "proxy/exchange.h"

#define IP_ROOM 46u /* what ip_print may write */
#define LINES 4     /* of tell_first, at most */
/* All that is not a value in them. */
#define LINES_ROOM                                                                                 \
    sizeof("X-Forwarded-For: \r\nX-Forwarded-Host: \r\nX-Forwarded-Proto: \r\nX-Real-IP: \r\n")

/* False: whoever it is came by a unix socket, and nobody said more. */
static bool ip_known(const struct ip *ip)
{
    static const struct ip none;
    return memcmp(ip, &none, sizeof(none)) != 0;
}

/* The text of ip in the exchange's arena; p is NULL when refused. */
static struct str ip_text(struct exchange *x, const struct ip *ip)
{
    char *at = arena_alloc(&x->arena, IP_ROOM);
    return at ? str_of(at, ip_print(*ip, at)) : (struct str){NULL, 0};
}

/* One element of Forwarded: for, host and proto, quoted where they are no tokens (RFC 7239 4). */
static struct str element(struct exchange *x, const struct ip *from, struct str peer)
{
    struct str host = x->in->authority;
    bool known = ip_known(from);
    bool v6 = known && !ip_is_v4(*from);
    struct str mark = field_name_valid(host) ? STR("") : STR("\"");
    struct str parts[] = {
        v6 ? STR("for=\"[") : STR("for="),
        known ? peer : STR("unknown"),
        v6 ? STR("]\"") : STR(""),
        host.n ? STR(";host=") : STR(""),
        host.n ? mark : STR(""),
        host,
        host.n ? mark : STR(""),
        STR(";proto="),
        x->in->scheme,
    };
    return arena_join(&x->arena, parts, SCHEMA_COUNT(parts));
}

/* Behind these bytes stands an element of its own, and not the rest of an open quotation. */
static bool may_follow(enum field_id id, struct str list)
{
    return id != FIELD_FORWARDED || client_ip_forwarded_valid(list);
}

/* Sets field id of the outbound head to value; keep: behind what a trusted peer sent, if that is
 * well-formed. */
static bool extend(struct exchange *x, enum field_id id, struct str value, bool keep)
{
    struct fields *out = &x->out->fields;
    if (!value.p)
        return false;
    if (!fields_has(out, id))
        return fields_add_id(out, id, value);
    struct str before = keep ? fields_joined(out, id) : STR("");
    if (!before.p)
        return false;
    if (keep && may_follow(id, before)) {
        struct str parts[] = {before, STR(", "), value};
        value = arena_join(&x->arena, parts, 3);
        if (!value.p)
            return false;
    }
    fields_remove_id(out, id);
    return fields_add_id(out, id, value);
}

/* Sets field id unless a trusted peer has said it already. */
static bool supply(struct exchange *x, enum field_id id, struct str value, bool keep)
{
    struct fields *out = &x->out->fields;
    if (fields_has(out, id)) {
        if (keep)
            return true;
        fields_remove_id(out, id);
    }
    if (!value.n)
        return true;
    return fields_add_id(out, id, value);
}

static bool x_forwarded(struct exchange *x, struct str from, bool keep)
{
    struct fields *out = &x->out->fields;
    if (from.n && !extend(x, FIELD_X_FORWARDED_FOR, from, keep))
        return false;
    if (!from.n && !keep)
        fields_remove_id(out, FIELD_X_FORWARDED_FOR);
    return supply(x, FIELD_X_FORWARDED_HOST, x->in->authority, keep) &&
           supply(x, FIELD_X_FORWARDED_PROTO, x->in->scheme, keep);
}

/* What is said on top of what stands there already, or as Forwarded. */
static bool tell_more(struct exchange *x, const struct forwarded_conf *conf, const struct ip *from,
                      bool keep)
{
    struct str text = ip_known(from) ? ip_text(x, from) : STR("");
    bool fine = text.p != NULL;
    if (fine && conf->x_forwarded)
        fine = x_forwarded(x, text, keep);
    if (fine && conf->x_real_ip && ip_known(&x->client_ip)) {
        struct str real = keep ? ip_text(x, &x->client_ip) : text;
        fine = real.p && supply(x, FIELD_X_REAL_IP, real, false);
    }
    if (fine && conf->forwarded)
        fine = extend(x, FIELD_FORWARDED, element(x, from, text), keep);
    return fine;
}

/* Makes of slot the known field whose line begins at line and has come to at; the place behind. */
static inline char *end_line(struct field *slot, enum field_id id, const char *line, char *at)
{
    at = JSON_LIT(at, "\r\n");
    field_set_line(slot, id, str_of(line, (size_t) (at - line)));
    return at;
}

/* The same where nothing stands there, as nearly always: lines that are ready to be sent, one
 * behind the other. */
static bool tell_first(struct exchange *x, const struct forwarded_conf *conf, const struct ip *from)
{
    struct fields *out = &x->out->fields;
    struct str host = x->in->authority, scheme = x->in->scheme, text = STR("");
    char *line = arena_alloc(&x->arena, LINES_ROOM + 2 * IP_ROOM + host.n + scheme.n), *at;
    struct field *first = fields_room(out, LINES), *to = first;
    uint64_t told = 0;
    if (!line || !first)
        return false;
    if (conf->x_forwarded && ip_known(from)) {
        at = JSON_LIT(line, "X-Forwarded-For: ");
        text = str_of(at, ip_print(*from, at));
        line = end_line(to++, FIELD_X_FORWARDED_FOR, line, at + text.n);
        told |= FIELD_BIT(X_FORWARDED_FOR);
    }
    if (conf->x_forwarded && host.n) {
        at = JSON_LIT(line, "X-Forwarded-Host: ");
        at = bytes_put(at, host.p, host.n);
        line = end_line(to++, FIELD_X_FORWARDED_HOST, line, at);
        told |= FIELD_BIT(X_FORWARDED_HOST);
    }
    if (conf->x_forwarded && scheme.n) {
        at = JSON_LIT(line, "X-Forwarded-Proto: ");
        at = bytes_put(at, scheme.p, scheme.n);
        line = end_line(to++, FIELD_X_FORWARDED_PROTO, line, at);
        told |= FIELD_BIT(X_FORWARDED_PROTO);
    }
    if (conf->x_real_ip && ip_known(&x->client_ip)) {
        at = JSON_LIT(line, "X-Real-IP: ");
        bool same = text.n && from == &x->client_ip;
        at = same ? bytes_put(at, text.p, text.n) : at + ip_print(x->client_ip, at);
        end_line(to++, FIELD_X_REAL_IP, line, at);
        told |= FIELD_BIT(X_REAL_IP);
    }
    fields_added(out, (uint32_t) (to - first), told);
    return true;
}

static enum hook on_send(struct exchange *x, void *slot, struct attempt *a)
{
    (void) slot;
    (void) a;
    const struct forwarded_conf *conf = x->plan->feature_conf[FEATURE_FORWARDED];
    bool keep = x->peer_trusted && conf->policy == FORWARDED_APPEND;
    /* With nothing kept, a trusted peer's own address would hide the client's: say the derived. */
    const struct ip *from = keep ? &x->peer_ip : &x->client_ip;
    bool more = conf->forwarded || (x->out->fields.present & FIELDS_FORWARDING);
    if (more ? tell_more(x, conf, from, keep) : tell_first(x, conf, from))
        return HOOK_PASS;
    exchange_fail(x, FAULT_MEMORY);
    return HOOK_FAIL;
}

static bool active(const void *route_conf)
{
    const struct forwarded_conf *conf = route_conf;
    return conf->x_forwarded || conf->x_real_ip || conf->forwarded;
}

const struct feature feature_forwarded = {
    .name = "forwarded",
    .purpose = "Tells the upstream who asked: X-Forwarded-*, X-Real-IP, Forwarded.",
    .conf = &forwarded_schema,
    .route_scope = true,
    .offline = true,
    .active = active,
    .on_send = on_send,
};

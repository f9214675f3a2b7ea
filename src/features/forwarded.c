/* SPDX-License-Identifier: Apache-2.0 */
/* forwarded.c: see forwarded.h.
 * Invariants:
 * 1. Whatever is in x->out is believed only from a trusted peer; from others it is replaced, even
 *    if it should have been removed before.
 * 2. X-Forwarded-For ends in the address of the connection that Weir itself saw. */
#include "features/forwarded.h"

#include "features/registry.h"
#include "proxy/client_ip.h"
#include "proxy/exchange.h"

#define IP_ROOM 46u /* what ip_print may write */

/* The text of ip in the exchange's arena; p is NULL when refused. */
static struct str ip_text(struct exchange *x, struct ip ip)
{
    char *at = arena_alloc(&x->arena, IP_ROOM);
    return at ? str_of(at, ip_print(ip, at)) : (struct str){NULL, 0};
}

/* One element of Forwarded: for, host and proto, quoted where they are no tokens (RFC 7239 4). */
static struct str element(struct exchange *x, bool known, struct ip from, struct str peer)
{
    struct str host = x->in->authority;
    bool v6 = known && !ip_is_v4(from);
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

static bool x_forwarded(struct exchange *x, struct str from, bool known, bool keep)
{
    struct fields *out = &x->out->fields;
    if (known && !extend(x, FIELD_X_FORWARDED_FOR, from, keep))
        return false;
    if (!known && !keep)
        fields_remove_id(out, FIELD_X_FORWARDED_FOR);
    return supply(x, FIELD_X_FORWARDED_HOST, x->in->authority, keep) &&
           supply(x, FIELD_X_FORWARDED_PROTO, x->in->scheme, keep);
}

static enum hook on_send(struct exchange *x, void *slot, struct attempt *a)
{
    (void) slot;
    (void) a;
    const struct forwarded_conf *conf = x->route->feature_conf[FEATURE_FORWARDED];
    bool keep = x->peer_trusted && conf->policy == FORWARDED_APPEND;
    /* With nothing kept, a trusted peer's own address would hide the client's: say the derived. */
    struct ip from = keep ? x->peer_ip : x->client_ip;
    static const struct ip none;
    bool known = memcmp(&from, &none, sizeof(from)) != 0;
    bool client_known = memcmp(&x->client_ip, &none, sizeof(none)) != 0;
    struct str text = known ? ip_text(x, from) : STR("");
    bool fine = text.p != NULL;
    if (fine && conf->x_forwarded)
        fine = x_forwarded(x, text, known, keep);
    if (fine && conf->x_real_ip && client_known) {
        struct str real = keep ? ip_text(x, x->client_ip) : text;
        fine = real.p && supply(x, FIELD_X_REAL_IP, real, false);
    }
    if (fine && conf->forwarded)
        fine = extend(x, FIELD_FORWARDED, element(x, known, from, text), keep);
    if (fine)
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

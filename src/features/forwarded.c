/* SPDX-License-Identifier: Apache-2.0 */
/* forwarded.c: see forwarded.h.
 * Invariants:
 * 1. Whatever is in x->out is believed only from a trusted peer; from others it is replaced, even
 *    if it should have been removed before.
 * 2. X-Forwarded-For ends in the address of the connection that Weir itself saw. */
#include "features/forwarded.h"

#include "base/bytes16.h"
#include "features/registry.h"
#include "proxy/client_ip.h"
#include "proxy/exchange.h"

#define IP_ROOM 46u /* what ip_print may write */

/* Fields as they will be sent, one behind the other, so that they go into the head at once. */
struct lines {
    struct fields *out;
    char *at; /* where the next one comes */
};

/* Most bytes of the lines but for the values: names, ": " and CRLF. */
#define LINES_ROOM                                                                                 \
    (sizeof("X-Forwarded-For: \r\nX-Forwarded-Host: \r\nX-Forwarded-Proto: \r\nX-Real-IP: \r\n"))

/* Where id is a constant, so are the bytes of its name. */
__attribute__((always_inline)) static inline bool add(struct lines *l, enum field_id id,
                                                      struct str value)
{
    struct str name = field_name(id);
    char *line = l->at, *at = bytes_put(line, name.p, name.n);
    memcpy(at, ": ", 2);
    at = bytes_put(at + 2, value.p, value.n);
    memcpy(at, "\r\n", 2);
    l->at = at + 2;
    return fields_add_line(l->out, id, str_of(line, (size_t) (l->at - line)));
}

/* One element of Forwarded: for, host and proto, quoted where they are no tokens (RFC 7239 4). */
static struct str element(struct exchange *x, struct ip from, struct str peer)
{
    struct str host = x->in->authority;
    bool known = peer.n > 0;
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

/* value behind what a trusted peer sent as field id, if that is well-formed; p is NULL when there
 * is no memory. */
static struct str behind(struct exchange *x, enum field_id id, struct str value)
{
    struct str before = fields_joined(&x->out->fields, id);
    if (!before.p || !may_follow(id, before))
        return before.p ? value : before;
    struct str parts[] = {before, STR(", "), value};
    return arena_join(&x->arena, parts, 3);
}

/* Sets field id of the outbound head to value; keep: behind what a trusted peer sent. */
static bool extend(struct exchange *x, enum field_id id, struct str value, bool keep)
{
    struct fields *out = &x->out->fields;
    if (keep && fields_has(out, id))
        value = behind(x, id, value);
    if (!value.p)
        return false;
    fields_remove_id(out, id);
    return fields_add_id(out, id, value);
}

/* The same for a value that has a place among the lines, when it is all there is to say. */
static bool extend_line(struct exchange *x, struct lines *l, enum field_id id, struct str value,
                        bool keep)
{
    return fields_has(l->out, id) ? extend(x, id, value, keep) : add(l, id, value);
}

/* Sets field id unless a trusted peer has said it already. */
static bool supply(struct lines *l, enum field_id id, struct str value, bool keep)
{
    if (fields_has(l->out, id)) {
        if (keep)
            return true;
        fields_remove_id(l->out, id);
    }
    return value.n == 0 || add(l, id, value);
}

static bool x_forwarded(struct exchange *x, struct lines *l, struct str from, bool keep)
{
    if (from.n && !extend_line(x, l, FIELD_X_FORWARDED_FOR, from, keep))
        return false;
    if (!from.n && !keep)
        fields_remove_id(l->out, FIELD_X_FORWARDED_FOR);
    return supply(l, FIELD_X_FORWARDED_HOST, x->in->authority, keep) &&
           supply(l, FIELD_X_FORWARDED_PROTO, x->in->scheme, keep);
}

/* The text of ip; empty when there is none. */
static struct str ip_text(struct ip ip, char room[IP_ROOM])
{
    static const struct ip none;
    bool known = memcmp(&ip, &none, sizeof(ip)) != 0;
    return str_of(room, known ? ip_print(ip, room) : 0);
}

static bool tell(struct exchange *x, const struct forwarded_conf *conf)
{
    bool keep = x->peer_trusted && conf->policy == FORWARDED_APPEND;
    char *room = arena_alloc(&x->arena, 2 * IP_ROOM + LINES_ROOM + 2 * IP_ROOM +
                                            x->in->authority.n + x->in->scheme.n);
    if (!room)
        return false;
    struct lines l = {&x->out->fields, room + 2 * IP_ROOM};
    /* With nothing kept, a trusted peer's own address would hide the client's: say the derived. */
    struct ip from = keep ? x->peer_ip : x->client_ip;
    struct str text = ip_text(from, room);
    struct str real = keep ? ip_text(x->client_ip, room + IP_ROOM) : text;
    bool fine = !conf->x_forwarded || x_forwarded(x, &l, text, keep);
    if (fine && conf->x_real_ip && real.n)
        fine = supply(&l, FIELD_X_REAL_IP, real, false);
    if (fine && conf->forwarded)
        fine = extend(x, FIELD_FORWARDED, element(x, from, text), keep);
    return fine;
}

static enum hook on_send(struct exchange *x, void *slot, struct attempt *a)
{
    (void) slot;
    (void) a;
    if (tell(x, x->route->feature_conf[FEATURE_FORWARDED]))
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

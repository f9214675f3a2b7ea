/* SPDX-License-Identifier: Apache-2.0 */
/* The cookie's value is a hash of the endpoint's address, the same in every Weir: it tells a client
 * nothing of the network behind, and survives restarts. */
#include "proxy/affinity.h"

#include <inttypes.h>
#include <stdio.h>

#include "upstream/health.h"
#include "upstream/tune.h"

#define ID_CHARS 16

/* The value of cookie name in a Cookie field (RFC 6265 4.2); n 0: none. */
static struct str cookie_in(struct str line, struct str name)
{
    while (line.n) {
        ptrdiff_t end = str_find(line, ';');
        struct str pair = str_trim(end < 0 ? line : str_sub(line, 0, (size_t) end));
        if (pair.n > name.n && pair.p[name.n] == '=' && str_starts(pair, name))
            return str_sub(pair, name.n + 1, pair.n);
        if (end < 0)
            break;
        line = str_sub(line, (size_t) end + 1, line.n);
    }
    return STR("");
}

static struct str cookie_of(const struct exchange *x, struct str name)
{
    const struct fields *f = &x->in->fields;
    for (uint32_t i = 0; fields_has(f, FIELD_COOKIE) && i < f->n; i++) {
        if (f->v[i].id != FIELD_COOKIE)
            continue;
        struct str value = cookie_in(f->v[i].value, name);
        if (value.n)
            return value;
    }
    return STR("");
}

/* The first parameter of that name, as it stands in the query. */
static struct str parameter_of(struct str query, struct str name)
{
    while (query.n) {
        ptrdiff_t end = str_find(query, '&');
        struct str pair = end < 0 ? query : str_sub(query, 0, (size_t) end);
        if (pair.n > name.n && pair.p[name.n] == '=' && str_starts(pair, name))
            return str_sub(pair, name.n + 1, pair.n);
        if (end < 0)
            break;
        query = str_sub(query, (size_t) end + 1, query.n);
    }
    return STR("");
}

uint64_t affinity_hash(struct exchange *x)
{
    const struct upstream *u = x->plan->upstream;
    const struct field *field;
    struct str key = STR("");
    switch (u->key) {
    case KEY_NONE:
        return 0;
    case KEY_CLIENT_IP:
        key = str_of((const char *) x->client_ip.b, sizeof x->client_ip.b);
        break;
    case KEY_PATH:
        key = x->in->path;
        break;
    case KEY_HEADER:
        field = fields_get(&x->in->fields, u->key_name);
        key = field ? field->value : key;
        break;
    case KEY_COOKIE:
        key = cookie_of(x, u->key_name);
        break;
    case KEY_QUERY:
        key = parameter_of(x->in->query, u->key_name);
        break;
    }
    return key.n ? str_stable_hash(key, 0) | 1 : 0;
}

/* ---- sticky -------------------------------------------------------------------------------- */

static bool id_read(struct str text, uint64_t *id)
{
    *id = 0;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f'))
            return false;
        *id = *id << 4 | (uint64_t) (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return text.n == ID_CHARS;
}

struct endpoint *affinity_sticky(struct exchange *x, const struct pick *p)
{
    const struct upstream *u = x->plan->upstream;
    uint64_t id;
    struct str text = cookie_of(x, u->balance_conf.sticky);
    struct endpoint *e = id_read(text, &id) ? upstream_by_id(u, id) : NULL;
    if (!e || pick_tried(p, e) || !atomic_load(&e->addrs) || !endpoint_serves(e))
        return NULL;
    return e;
}

static __attribute__((noinline)) enum fault set_cookie(struct exchange *x)
{
    const struct upstream *u = x->plan->upstream;
    char id[ID_CHARS + 1];
    snprintf(id, sizeof id, "%016" PRIx64, x->attempt->endpoint->id);
    if (str_eq(cookie_of(x, u->balance_conf.sticky), str_c(id)))
        return FAULT_OK;
    struct str value = arena_printf(&x->arena, "%.*s=%s; Path=/; HttpOnly; SameSite=Lax%s",
                                    STR_ARG(u->balance_conf.sticky), id,
                                    str_eq(x->in->scheme, STR("https")) ? "; Secure" : "");
    return value.p && fields_add_id(&x->response->fields, FIELD_SET_COOKIE, value) ? FAULT_OK
                                                                                   : FAULT_MEMORY;
}

enum fault affinity_response(struct exchange *x)
{
    const struct upstream *u = x->plan->upstream;
    struct str name = u->balance_conf.weight_header;
    if (name.n) {
        const struct field *f = fields_get(&x->response->fields, name);
        if (f)
            tune_reported(x->attempt->endpoint, str_trim(f->value));
        fields_remove(&x->response->fields, name);
    }
    return u->balance_conf.sticky.n ? set_cookie(x) : FAULT_OK;
}

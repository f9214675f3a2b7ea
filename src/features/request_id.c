/* SPDX-License-Identifier: Apache-2.0 */
/* request_id.c: see request_id.h.
 * Invariants:
 * 1. x->request_id is empty or at most REQUEST_ID_MAX visible ASCII bytes without '"' and '\'.
 * 2. It is set once, before any hook that reads it but those of a fault, and stands in the line
 *    "header: id CRLF" of the route's configuration. */
#include "features/request_id.h"

#include <endian.h>

#include "base/bytes16.h"
#include "base/json.h"
#include "features/registry.h"
#include "proxy/exchange.h"
#include "proxy/field_rule.h"

_Static_assert(REQUEST_ID_MAX <= JSON_PLAIN_MAX, "an id is written into logs as it is");

/* The next output of a splitmix64 generator: enough for names, not for keys. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* The hexadecimal digits of sixteen numbers below 16. */
static inline bytes16 hex16(bytes16 v)
{
    typedef int8_t numbers __attribute__((vector_size(16)));
    return v + '0' + ((bytes16) ((numbers) v > 9) & ('a' - '0' - 10));
}

void request_id_make(char out[REQUEST_ID_MADE], int64_t wall_us, uint64_t *random)
{
    typedef uint64_t words2 __attribute__((vector_size(16)));
    uint64_t ms = (uint64_t) wall_us / USEC_PER_MS;
    uint64_t a = draw(random), b = draw(random);
    bytes16 v = (bytes16) (words2){htobe64(ms << 16 | 0x7000 | (a & 0xfff)),
                                   htobe64(UINT64_C(1) << 63 | b >> 2)};
    /* Without a loop: one a request. */
    bytes16 high = v >> 4, low = v & 15;
    bytes16 first = hex16(
        __builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
    bytes16 last = hex16(__builtin_shufflevector(high, low, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                                 13, 29, 14, 30, 15, 31));
    const char *digits = (const char *) &first;
    memcpy(out, digits, 8);
    out[8] = '-';
    memcpy(out + 9, digits + 8, 4);
    out[13] = '-';
    memcpy(out + 14, digits + 12, 4);
    out[18] = '-';
    digits = (const char *) &last;
    memcpy(out + 19, digits, 4);
    out[23] = '-';
    memcpy(out + 24, digits + 4, 12);
}

/* Fit to stand in a log line and in a field as it is. */
static bool acceptable(struct str id)
{
    if (id.n == 0 || id.n > REQUEST_ID_MAX)
        return false;
    for (size_t i = 0; i < id.n; i++) {
        unsigned char c = (unsigned char) id.p[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '\\')
            return false;
    }
    return true;
}

/* The id that came with the request, when its sender may choose one; else empty. */
static struct str offered(const struct exchange *x, const struct request_id_conf *conf)
{
    bool believed =
        conf->trust == REQUEST_ID_ALWAYS || (conf->trust == REQUEST_ID_TRUSTED && x->peer_trusted);
    const struct field *f = believed ? fields_get(&x->in->fields, conf->header) : NULL;
    return f && acceptable(f->value) ? f->value : STR("");
}

/* Gives x its id. False: memory. Every request comes here by on_access: no call is worth it. */
static inline __attribute__((always_inline)) bool give(struct exchange *x)
{
    const struct request_id_conf *conf = x->plan->feature_conf[FEATURE_REQUEST_ID];
    struct str kept = offered(x, conf);
    size_t n = kept.n ? kept.n : REQUEST_ID_MADE;
    char *at = arena_alloc(&x->arena, conf->header.n + 2 + n + 2);
    if (!at)
        return false;
    at = bytes_put(at, conf->header.p, conf->header.n);
    memcpy(at, ": ", 2);
    at += 2;
    if (kept.n)
        memcpy(at, kept.p, n);
    else
        request_id_make(at, x->started_wall, &x->worker->random);
    memcpy(at + n, "\r\n", 2);
    x->request_id = str_of(at, n);
    return true;
}

static enum hook on_access(struct exchange *x, void *slot)
{
    (void) slot;
    if (give(x))
        return HOOK_PASS;
    exchange_fail(x, FAULT_MEMORY);
    return HOOK_FAIL;
}

/* What was refused before it had a route is a request, too. Without memory it has no name. */
static enum hook on_fault(struct exchange *x, void *slot, enum fault fault)
{
    (void) slot;
    (void) fault;
    if (!x->request_id.n)
        (void) give(x);
    return HOOK_PASS;
}

/* The line that on_access made is the only one of its name. */
static bool own_line(const struct request_id_conf *conf, struct str id, struct fields *f)
{
    if (conf->id == FIELD_OTHER || f->odd_names)
        return fields_own(f, conf->header, id);
    struct str line = str_of(id.p - conf->header.n - 2, conf->header.n + 2 + id.n + 2);
    fields_remove_id(f, conf->id);
    return fields_add_line(f, conf->id, line);
}

/* Puts the id into f under the configured name, whatever stood there. */
static enum hook put(struct exchange *x, struct fields *f)
{
    const struct request_id_conf *conf = x->plan->feature_conf[FEATURE_REQUEST_ID];
    if (x->request_id.n == 0 || own_line(conf, x->request_id, f))
        return HOOK_PASS;
    exchange_fail(x, FAULT_MEMORY);
    return HOOK_FAIL;
}

static enum hook on_send(struct exchange *x, void *slot, struct attempt *a)
{
    (void) slot;
    (void) a;
    return put(x, &x->out->fields);
}

static enum hook on_response_head(struct exchange *x, void *slot)
{
    (void) slot;
    const struct request_id_conf *conf = x->plan->feature_conf[FEATURE_REQUEST_ID];
    return conf->respond ? put(x, &x->response->fields) : HOOK_PASS;
}

/* Who merges trailers into the head must not find another id there. */
static enum hook on_trailers(struct exchange *x, void *slot, enum direction dir,
                             struct fields *trailers)
{
    (void) slot;
    const struct request_id_conf *conf = x->plan->feature_conf[FEATURE_REQUEST_ID];
    if (dir == DIR_REQUEST || conf->respond)
        fields_remove_alias(trailers, conf->header);
    return HOOK_PASS;
}

static void prepare(void *route_conf, struct arena *a)
{
    (void) a;
    struct request_id_conf *conf = route_conf;
    conf->id = (uint8_t) field_id(conf->header);
}

static bool active(const void *route_conf)
{
    const struct request_id_conf *conf = route_conf;
    return conf->enabled;
}

static bool wants(const void *route_conf, enum hook_kind kind)
{
    const struct request_id_conf *conf = route_conf;
    return kind != ON_RESPONSE_HEAD || conf->respond;
}

const struct feature feature_request_id = {
    .name = "request_id",
    .purpose = "Gives each request an id that every log on its way can name.",
    .conf = &request_id_schema,
    .route_scope = true,
    .offline = true,
    .prepare = prepare,
    .active = active,
    .wants = wants,
    .on_access = on_access,
    .on_send = on_send,
    .on_response_head = on_response_head,
    .on_trailers = on_trailers,
    .on_fault = on_fault,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* grpc: see grpc.h. Holds no state. */
#include "http/grpc.h"

#define TIMEOUT_DIGITS 8u
#define PREFIX_BYTES 5u

enum grpc_kind grpc_type(struct str value, struct str *format)
{
    static const struct {
        struct str name;
        enum grpc_kind kind;
    } types[] = {
        {{"application/grpc-web-text", 25}, GRPC_WEB_TEXT},
        {{"application/grpc-web", 20}, GRPC_WEB},
        {{"application/grpc", 16}, GRPC_CALL},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct str name = types[i].name;
        if (value.n < name.n || !str_ieq(str_of(value.p, name.n), name))
            continue;
        struct str rest = str_of(value.p + name.n, value.n - name.n);
        if (rest.n && rest.p[0] != '+' && rest.p[0] != ';')
            continue;
        if (format)
            *format = rest;
        return types[i].kind;
    }
    return GRPC_NONE;
}

enum grpc_kind grpc_kind(const struct head *h, struct str *format)
{
    const struct field *f =
        h->method_id == METHOD_POST ? fields_get_id(&h->fields, FIELD_CONTENT_TYPE) : NULL;
    return f ? grpc_type(f->value, format) : GRPC_NONE;
}

__attribute__((noinline)) usec_t grpc_timeout(const struct head *h)
{
    static const struct {
        char unit;
        usec_t us;
    } units[] = {{'H', 3600 * USEC_PER_SEC},
                 {'M', 60 * USEC_PER_SEC},
                 {'S', USEC_PER_SEC},
                 {'m', USEC_PER_MS},
                 {'u', 1}};
    const struct field *f = fields_get(&h->fields, STR("grpc-timeout"));
    uint64_t n;
    if (!f || f->value.n < 2 || f->value.n > TIMEOUT_DIGITS + 1 ||
        !str_to_u64(str_of(f->value.p, f->value.n - 1), &n))
        return 0;
    char unit = f->value.p[f->value.n - 1];
    if (unit == 'n')
        return n / 1000 ? n / 1000 : 1;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (units[i].unit == unit)
            return n ? n * units[i].us : 1;
    return 0;
}

enum grpc_status grpc_status_of(enum fault f, uint16_t http)
{
    switch (f) {
    case FAULT_GRPC_DEADLINE:
    case FAULT_EXCHANGE_TIMEOUT:
        return GRPC_DEADLINE_EXCEEDED;
    case FAULT_GRPC_NEEDS_H2:
        return GRPC_UNIMPLEMENTED;
    case FAULT_REQ_BODY_LARGE:
    case FAULT_MEMORY:
    case FAULT_MEMORY_STALL:
        return GRPC_RESOURCE_EXHAUSTED;
    default:
        break;
    }
    switch (http) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 429:
    case 502:
    case 503:
    case 504:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

void grpc_frames_pass(struct grpc_frames *g, struct str s)
{
    while (s.n) {
        size_t n = s.n < g->left ? s.n : g->left;
        if (!n) { /* the flag is shifted out behind four bytes of length */
            n = 1;
            g->length = g->length << 8 | (uint8_t) s.p[0];
            if (++g->n == PREFIX_BYTES) {
                g->left = g->length;
                g->n = 0;
            }
        } else {
            g->left -= (uint32_t) n;
        }
        s = str_sub(s, n, s.n);
    }
}

struct str grpc_message(struct arena *a, struct str text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *out = arena_alloc(a, 3 * text.n + 1);
    size_t n = 0;
    if (!out)
        return (struct str){0};
    for (size_t i = 0; i < text.n; i++) {
        unsigned char c = (unsigned char) text.p[i];
        if (c >= ' ' && c <= '~' && c != '%') {
            out[n++] = (char) c;
            continue;
        }
        out[n++] = '%';
        out[n++] = hex[c >> 4];
        out[n++] = hex[c & 15];
    }
    return str_of(out, n);
}

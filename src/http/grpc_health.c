/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_health: see grpc_health.h. Holds no state. */
#include "http/grpc_health.h"

#define PREFIX 5u        /* one byte: compressed; four: the length of the message */
#define SERVICE_TAG 0x0a /* field 1, a length and bytes */
#define VARINT_BYTES 10u /* of the longest number */

enum wire { WIRE_VARINT, WIRE_64, WIRE_BYTES, WIRE_GROUP, WIRE_END, WIRE_32 };

size_t grpc_health_ask(struct str service, char *out)
{
    size_t n = service.n < GRPC_HEALTH_SERVICE_MAX ? service.n : GRPC_HEALTH_SERVICE_MAX;
    size_t message = n ? n + 2 : 0;
    memset(out, 0, PREFIX);
    out[PREFIX - 1] = (char) message;
    if (n == 0)
        return PREFIX;
    out[PREFIX] = SERVICE_TAG;
    out[PREFIX + 1] = (char) n;
    memcpy(out + PREFIX + 2, service.p, n);
    return PREFIX + message;
}

/* Takes a number off the front of s; false: it has no end. */
static bool take_varint(struct str *s, uint64_t *v)
{
    *v = 0;
    for (size_t i = 0; i < s->n && i < VARINT_BYTES; i++) {
        unsigned char c = (unsigned char) s->p[i];
        *v |= (uint64_t) (c & 0x7f) << (7 * i);
        if (c < 0x80) {
            *s = str_sub(*s, i + 1, s->n);
            return true;
        }
    }
    return false;
}

/* Takes the value of a field off the front of s; *v is set for numbers. */
static bool take_value(struct str *s, unsigned wire, uint64_t *v)
{
    uint64_t n;
    switch (wire) {
    case WIRE_VARINT:
        return take_varint(s, v);
    case WIRE_BYTES:
        if (!take_varint(s, &n))
            return false;
        break;
    case WIRE_64:
    case WIRE_32:
        n = wire == WIRE_64 ? 8 : 4;
        break;
    default:
        return false;
    }
    if (n > s->n)
        return false;
    *s = str_sub(*s, (size_t) n, s->n);
    return true;
}

enum grpc_serving grpc_health_answer(struct str body)
{
    uint64_t status = 0, tag, v = 0, length = 0;
    if (body.n < PREFIX || body.p[0] != 0)
        return GRPC_SERVING_GARBLED;
    for (size_t i = 1; i < PREFIX; i++)
        length = length << 8 | (unsigned char) body.p[i];
    struct str rest = str_sub(body, PREFIX, body.n);
    if (length != rest.n)
        return GRPC_SERVING_GARBLED;
    while (rest.n) {
        if (!take_varint(&rest, &tag) || !take_value(&rest, (unsigned) (tag & 7), &v))
            return GRPC_SERVING_GARBLED;
        if (tag == (1 << 3 | WIRE_VARINT)) /* the last one holds */
            status = v;
    }
    return status < GRPC_SERVING_OTHER ? (enum grpc_serving) status : GRPC_SERVING_OTHER;
}

const char *grpc_serving_name(enum grpc_serving s)
{
    static const char *const names[] = {
        [GRPC_SERVING_UNKNOWN] = "UNKNOWN",
        [GRPC_SERVING] = "SERVING",
        [GRPC_NOT_SERVING] = "NOT_SERVING",
        [GRPC_SERVICE_UNKNOWN] = "SERVICE_UNKNOWN",
        [GRPC_SERVING_OTHER] = "a status that is none",
        [GRPC_SERVING_GARBLED] = "no answer of a health service",
    };
    return names[s];
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: what gRPC says in fields and in base64. The text is taken as a Content-Type, as a
 * grpc-timeout, as a message, as a row of messages, as base64 and as the answer of a health
 * service: what is decoded encodes to the same, what was encoded decodes to what it was, and what
 * follows a status that is known makes it the last one. */
#include <stdint.h>
#include <string.h>

#include "base/panic.h"
#include "http/base64.h"
#include "http/grpc.h"
#include "http/grpc_health.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static void check_fields(struct str text)
{
    struct arena a;
    struct head h = {.method = STR("POST"), .method_id = METHOD_POST};
    arena_init(&a, NULL, 1u << 20);
    fields_init(&h.fields, &a);
    must(fields_add_id(&h.fields, FIELD_CONTENT_TYPE, text));
    must(fields_add(&h.fields, STR("grpc-timeout"), text));
    struct str format = {0};
    if (grpc_kind(&h, &format) != GRPC_NONE)
        must(format.n == 0 || format.p[0] == '+' || format.p[0] == ';');
    must(grpc_timeout(&h) <= UINT64_C(99999999) * 3600 * USEC_PER_SEC);
    struct str message = grpc_message(&a, text);
    for (size_t i = 0; i < message.n; i++)
        must(message.p[i] >= ' ' && message.p[i] <= '~');
    arena_fini(&a);
}

/* A message whose fields are good stays good with a status put behind, which then holds. */
static void check_health(struct str body)
{
    char copy[4096 + 2];
    enum grpc_serving s = grpc_health_answer(body);
    must(grpc_serving_name(s)[0]);
    if (s == GRPC_SERVING_GARBLED)
        return;
    memcpy(copy, body.p, body.n);
    memcpy(copy + body.n, "\x08\x01", 2);
    size_t length = body.n + 2 - 5;
    copy[3] = (char) (length >> 8);
    copy[4] = (char) length;
    must(grpc_health_answer(str_of(copy, body.n + 2)) == GRPC_SERVING);
}

/* Where a row of messages stands is the same however its bytes come, and as a reader of whole
 * messages has it. */
static void check_frames(struct str body)
{
    struct grpc_frames at_once = {0}, one_by_one = {0};
    grpc_frames_pass(&at_once, body);
    for (size_t i = 0; i < body.n; i++)
        grpc_frames_pass(&one_by_one, str_sub(body, i, i + 1));
    must(at_once.left == one_by_one.left && at_once.n == one_by_one.n);
    size_t at = 0;
    while (body.n - at >= 5) {
        const uint8_t *p = (const uint8_t *) body.p + at;
        size_t length = (size_t) p[1] << 24 | (size_t) p[2] << 16 | (size_t) p[3] << 8 | p[4];
        if (length > body.n - at - 5)
            break;
        at += 5 + length;
    }
    must(grpc_frames_between(&at_once) == (at == body.n));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n > 4096)
        return 0;
    check_health(str_of((const char *) bytes, n));
    check_fields(str_of((const char *) bytes, n));
    check_frames(str_of((const char *) bytes, n));
    for (size_t i = 0; i + 4 <= n; i += 4) {
        char out[3], again[4];
        int got = base64_decode_four((const char *) bytes + i, out);
        if (got < 0)
            continue;
        must(got >= 1 && got <= 3);
        base64_encode(again, out, (size_t) got);
        must(got < 3 || memcmp(again, bytes + i, 4) == 0);
    }
    for (size_t i = 0; i + 3 <= n; i += 3) {
        char text[4], back[3];
        base64_encode(text, bytes + i, 3);
        must(base64_decode_four(text, back) == 3 && memcmp(back, bytes + i, 3) == 0);
    }
    return 0;
}

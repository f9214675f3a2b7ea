/* SPDX-License-Identifier: Apache-2.0 */
/* The question byte by byte, and answers of all kinds, whole and cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "http/grpc_health.h"

static void asks(void **state)
{
    (void) state;
    char out[GRPC_HEALTH_ASK_MAX];
    assert_int_equal(grpc_health_ask(STR(""), out), 5);
    assert_memory_equal(out, "\0\0\0\0\0", 5);
    assert_int_equal(grpc_health_ask(STR("shop.Cart"), out), 16);
    assert_memory_equal(out, "\0\0\0\0\x0b\x0a\x09shop.Cart", 16);
    char name[GRPC_HEALTH_SERVICE_MAX + 1];
    memset(name, 'a', sizeof name);
    assert_int_equal(grpc_health_ask(str_of(name, sizeof name), out), GRPC_HEALTH_ASK_MAX);
    assert_int_equal((unsigned char) out[4], GRPC_HEALTH_SERVICE_MAX + 2);
}

static enum grpc_serving read_answer(const char *message, size_t n)
{
    char *body = malloc(n + 5); /* of that size: overruns are seen */
    memset(body, 0, 4);
    body[4] = (char) n;
    memcpy(body + 5, message, n);
    enum grpc_serving s = grpc_health_answer(str_of(body, n + 5));
    for (size_t cut = 0; cut < n + 5; cut++) {
        char *part = malloc(cut + 1);
        memcpy(part, body, cut);
        assert_int_equal(grpc_health_answer(str_of(part, cut)), GRPC_SERVING_GARBLED);
        free(part);
    }
    free(body);
    return s;
}

static void reads_answers(void **state)
{
    (void) state;
    assert_int_equal(read_answer("", 0), GRPC_SERVING_UNKNOWN);
    assert_int_equal(read_answer("\x08\x00", 2), GRPC_SERVING_UNKNOWN);
    assert_int_equal(read_answer("\x08\x01", 2), GRPC_SERVING);
    assert_int_equal(read_answer("\x08\x02", 2), GRPC_NOT_SERVING);
    assert_int_equal(read_answer("\x08\x03", 2), GRPC_SERVICE_UNKNOWN);
    assert_int_equal(read_answer("\x08\x04", 2), GRPC_SERVING_OTHER);
    assert_int_equal(read_answer("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11),
                     GRPC_SERVING_OTHER);
    assert_int_equal(read_answer("\x08\x02\x08\x01", 4), GRPC_SERVING);
    /* fields that are not known yet: bytes, 4 bytes, 8 bytes, a number */
    assert_int_equal(
        read_answer("\x12\x02hi\x1d\1\2\3\4\x21\1\2\3\4\5\6\7\x08\x28\x63\x08\x01", 22),
        GRPC_SERVING);
    assert_string_equal(grpc_serving_name(GRPC_NOT_SERVING), "NOT_SERVING");
}

static void refuses(void **state)
{
    (void) state;
    assert_int_equal(read_answer("\x08", 1), GRPC_SERVING_GARBLED);
    assert_int_equal(read_answer("\x0b\x01", 2), GRPC_SERVING_GARBLED);
    assert_int_equal(read_answer("\x12\x7f", 2), GRPC_SERVING_GARBLED);
    assert_int_equal(read_answer("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12),
                     GRPC_SERVING_GARBLED);
    assert_int_equal(grpc_health_answer(STR("\1\0\0\0\2\x08\x01")), GRPC_SERVING_GARBLED);
    assert_int_equal(grpc_health_answer(STR("\0\0\0\0\1\x08\x01")), GRPC_SERVING_GARBLED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks),
        cmocka_unit_test(reads_answers),
        cmocka_unit_test(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

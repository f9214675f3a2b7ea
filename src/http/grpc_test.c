/* SPDX-License-Identifier: Apache-2.0 */
#include "http/grpc.h"

#include "http/http_test.h"

static struct head call(struct arena *a, const char *type, const char *timeout)
{
    struct head h = {.method = STR("POST"), .method_id = METHOD_POST};
    fields_init(&h.fields, a);
    assert_true(fields_add_id(&h.fields, FIELD_CONTENT_TYPE, str_c(type)));
    if (timeout)
        assert_true(fields_add(&h.fields, STR("grpc-timeout"), str_c(timeout)));
    return h;
}

static void test_kinds(void **state)
{
    static const struct {
        const char *type;
        enum grpc_kind kind;
        const char *format;
    } rows[] = {
        {"application/grpc", GRPC_CALL, ""},
        {"Application/GRPC+proto", GRPC_CALL, "+proto"},
        {"application/grpc;x=y", GRPC_CALL, ";x=y"},
        {"application/grpc-web", GRPC_WEB, ""},
        {"application/grpc-web+proto", GRPC_WEB, "+proto"},
        {"application/grpc-web-text+proto", GRPC_WEB_TEXT, "+proto"},
        {"application/grpc-webx", GRPC_NONE, NULL},
        {"application/grpcx", GRPC_NONE, NULL},
        {"application/json", GRPC_NONE, NULL},
        {"", GRPC_NONE, NULL},
    };
    (void) state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena a;
        struct str format = {0};
        arena_init(&a, NULL, 1u << 16);
        struct head h = call(&a, rows[i].type, NULL);
        assert_int_equal(grpc_kind(&h, &format), rows[i].kind);
        if (rows[i].format)
            assert_true(str_eq(format, str_c(rows[i].format)));
        h.method_id = METHOD_GET;
        assert_int_equal(grpc_kind(&h, NULL), GRPC_NONE);
        arena_fini(&a);
    }
}

static void test_timeouts(void **state)
{
    static const struct {
        const char *text;
        usec_t us;
    } rows[] = {
        {"1S", 1000000},   {"100m", 100000}, {"7u", 7},         {"1500n", 1},
        {"1n", 1},         {"0S", 1},        {"2M", 120000000}, {"1H", UINT64_C(3600000000)},
        {"S", 0},          {"1", 0},         {"1s", 0},         {"-1S", 0},
        {"123456789S", 0}, {"1 S", 0},
    };
    (void) state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena a;
        arena_init(&a, NULL, 1u << 16);
        struct head h = call(&a, "application/grpc", rows[i].text);
        assert_int_equal(grpc_timeout(&h), rows[i].us);
        arena_fini(&a);
    }
}

static void test_statuses(void **state)
{
    (void) state;
    assert_int_equal(grpc_status_of(FAULT_GRPC_DEADLINE, 504), 4);
    assert_int_equal(grpc_status_of(FAULT_NO_ROUTE, 404), 12);
    assert_int_equal(grpc_status_of(FAULT_CONNECT_REFUSED, 502), 14);
    assert_int_equal(grpc_status_of(FAULT_OK, 401), 16);
    assert_int_equal(grpc_status_of(FAULT_OK, 418), 2);
}

/* Messages of 0, 1 and 300 bytes, and of more than three bytes of length say, in pieces. */
static void test_frames(void **state)
{
    char body[5 + 5 + 1 + 5 + 300] = {0};
    const size_t ends[] = {0, 5, 11, sizeof(body)};
    (void) state;
    body[5] = 1; /* a flag is no length */
    body[9] = 1;
    body[14] = 1;
    body[15] = 300 - 256;
    for (size_t step = 1; step <= sizeof(body); step++) {
        struct grpc_frames g = {0};
        size_t whole = 0;
        for (size_t at = 0; at <= sizeof(body); at += step) {
            for (whole = 3; ends[whole] > at; whole--)
                ;
            assert_int_equal(grpc_frames_between(&g), at == ends[whole]);
            grpc_frames_pass(&g, str_sub(str_of(body, sizeof(body)), at, at + step));
        }
        assert_true(grpc_frames_between(&g));
    }
    struct grpc_frames g = {0};
    grpc_frames_pass(&g, str_of("\0\xff\xff\xff\xff", 5));
    assert_int_equal(g.left, UINT32_MAX);
}

static void test_message(void **state)
{
    struct arena a;
    (void) state;
    arena_init(&a, NULL, 1u << 16);
    assert_true(str_eq(grpc_message(&a, STR("a b%\n\xc3\xa9~")), STR("a b%25%0A%C3%A9~")));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),    cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_statuses), cmocka_unit_test(test_frames),
        cmocka_unit_test(test_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

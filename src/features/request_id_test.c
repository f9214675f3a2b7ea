/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the request_id feature. */
#include "features/request_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "features/registry.h"
#include "proxy/exchange_kit.h"

struct test {
    struct exchange_kit k;
    struct request_id_conf conf;
};

static int setup(void **state)
{
    struct test *t = mem_new(sizeof(*t));
    exchange_kit_open(&t->k);
    schema_defaults(&request_id_schema, &t->conf);
    t->k.feature_conf[FEATURE_REQUEST_ID] = &t->conf;
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    exchange_kit_close(&t->k);
    mem_free(t);
    return 0;
}

static void access_with(struct test *t, const char *offered)
{
    if (offered)
        assert_true(fields_add(&t->k.in.fields, STR("x-request-id"), str_c(offered)));
    assert_int_equal(feature_request_id.on_access(&t->k.x, NULL), HOOK_PASS);
}

static void expect_made(struct test *t)
{
    struct str id = t->k.x.request_id;
    assert_int_equal(id.n, REQUEST_ID_MADE);
    assert_int_equal(id.p[8], '-');
    assert_int_equal(id.p[14], '7');
    assert_true(id.p[19] == '8' || id.p[19] == '9' || id.p[19] == 'a' || id.p[19] == 'b');
}

static void test_made(void **state)
{
    struct test *t = *state;
    access_with(t, NULL);
    expect_made(t);
    /* The id begins with the time in milliseconds. */
    char text[20];
    snprintf(text, sizeof(text), "%012llx", 1795421730123ULL);
    assert_memory_equal(t->k.x.request_id.p, text, 8);
    assert_memory_equal(t->k.x.request_id.p + 9, text + 8, 4);
    assert_int_equal(feature_request_id.on_send(&t->k.x, NULL, NULL), HOOK_PASS);
    assert_true(str_eq(exchange_kit_field(&t->k.out.fields, "X-Request-ID"), t->k.x.request_id));
    assert_int_equal(feature_request_id.on_response_head(&t->k.x, NULL), HOOK_PASS);
    assert_int_equal(t->k.response.fields.n, 0);
}

static void test_all_differ(void **state)
{
    (void) state;
    static char ids[1000][REQUEST_ID_MADE];
    uint64_t random = 0;
    for (int i = 0; i < 1000; i++) {
        request_id_make(ids[i], 5, &random);
        for (unsigned at = 0; at < REQUEST_ID_MADE; at++)
            assert_true(memchr("0123456789abcdef-", ids[i][at], 17));
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(ids[i], ids[j], REQUEST_ID_MADE);
    }
}

static void test_strangers_id_is_replaced(void **state)
{
    struct test *t = *state;
    access_with(t, "stranger");
    expect_made(t);
    /* Also under a name that some backends take for the same. */
    assert_true(fields_add(&t->k.out.fields, STR("X_Request-Id"), STR("stranger")));
    assert_true(fields_add(&t->k.out.fields, STR("x-request-id"), STR("stranger")));
    assert_int_equal(feature_request_id.on_send(&t->k.x, NULL, NULL), HOOK_PASS);
    assert_int_equal(t->k.out.fields.n, 1);
    assert_true(str_eq(t->k.out.fields.v[0].value, t->k.x.request_id));
}

/* As the default name is known, the line is put in as on_access made it. */
static void test_prepared(void **state)
{
    struct test *t = *state;
    feature_request_id.prepare(&t->conf, &t->k.x.arena);
    assert_int_equal(t->conf.id, FIELD_X_REQUEST_ID);
    access_with(t, "stranger");
    assert_true(fields_add(&t->k.out.fields, STR("x-request-id"), STR("stranger")));
    assert_int_equal(feature_request_id.on_send(&t->k.x, NULL, NULL), HOOK_PASS);
    assert_int_equal(t->k.out.fields.n, 1);
    const struct field *f = &t->k.out.fields.v[0];
    assert_true(str_eq(f->name, STR("X-Request-ID")));
    assert_true(str_eq(f->value, t->k.x.request_id));
    assert_int_equal(field_line(f), 12 + 2 + REQUEST_ID_MADE + 2);
    assert_memory_equal(f->value.p + f->value.n, "\r\n", 2);
}

static void test_trust(void **state)
{
    static const struct {
        int trust;
        bool trusted, kept;
    } rows[] = {
        {REQUEST_ID_TRUSTED, true, true},
        {REQUEST_ID_TRUSTED, false, false},
        {REQUEST_ID_ALWAYS, false, true},
        {REQUEST_ID_NEVER, true, false},
    };
    struct test *t = *state;
    access_with(t, "abc-123");
    for (size_t i = 0; i < SCHEMA_COUNT(rows); i++) {
        t->conf.trust = rows[i].trust;
        t->k.x.peer_trusted = rows[i].trusted;
        access_with(t, NULL);
        assert_int_equal(str_eq(t->k.x.request_id, STR("abc-123")), rows[i].kept);
    }
}

static void test_odd_ids_are_replaced(void **state)
{
    struct test *t = *state;
    char odd[REQUEST_ID_MAX + 2];
    memset(odd, 'a', sizeof(odd) - 1);
    odd[sizeof(odd) - 1] = '\0';
    const char *ids[] = {odd, "", "a b", "a\"b", "a\\b", "a\tb", "\xc3\xa4"};
    t->conf.trust = REQUEST_ID_ALWAYS;
    for (size_t i = 0; i < SCHEMA_COUNT(ids); i++) {
        fields_init(&t->k.in.fields, &t->k.x.arena);
        access_with(t, ids[i]);
        expect_made(t);
    }
}

static void test_respond(void **state)
{
    struct test *t = *state;
    t->conf.respond = true;
    t->conf.header = STR("X-Trace");
    access_with(t, NULL);
    assert_true(fields_add(&t->k.response.fields, STR("x-trace"), STR("the upstream's")));
    assert_int_equal(feature_request_id.on_response_head(&t->k.x, NULL), HOOK_PASS);
    assert_true(str_eq(exchange_kit_field(&t->k.response.fields, "X-Trace"), t->k.x.request_id));
}

static void count(void *arg, const char *field, const char *text)
{
    assert_string_equal(field, "header");
    assert_true(strlen(text) > 10);
    ++*(int *) arg;
}

static void test_check(void **state)
{
    struct test *t = *state;
    int said = 0;
    request_id_schema.check(&t->conf, count, &said);
    assert_int_equal(said, 0);
    t->conf.header = STR("Content_Length");
    request_id_schema.check(&t->conf, count, &said);
    t->conf.header = STR("");
    request_id_schema.check(&t->conf, count, &said);
    assert_int_equal(said, 2);
    assert_true(feature_request_id.active(&t->conf));
    t->conf.enabled = false;
    assert_false(feature_request_id.active(&t->conf));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_made),
        TEST(test_all_differ),
        TEST(test_strangers_id_is_replaced),
        TEST(test_trust),
        TEST(test_odd_ids_are_replaced),
        TEST(test_respond),
        TEST(test_check),
        TEST(test_prepared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

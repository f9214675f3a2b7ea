/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the proxy_status feature. */
#include "features/proxy_status.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "features/registry.h"
#include "proxy/exchange_kit.h"

struct test {
    struct exchange_kit k;
    struct proxy_status_conf conf;
};

static int setup(void **state)
{
    struct test *t = mem_new(sizeof(*t));
    exchange_kit_open(&t->k);
    schema_defaults(&proxy_status_schema, &t->conf);
    t->k.feature_conf[FEATURE_PROXY_STATUS] = &t->conf;
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

static struct str after(struct test *t, bool from_weir, enum fault fault)
{
    t->k.x.from_weir = from_weir;
    t->k.x.fault = fault;
    fields_init(&t->k.response.fields, &t->k.x.arena);
    assert_int_equal(feature_proxy_status.on_response_head(&t->k.x, NULL), HOOK_PASS);
    return exchange_kit_field(&t->k.response.fields, "Proxy-Status");
}

static void test_faults(void **state)
{
    struct test *t = *state;
    struct str got = after(t, true, FAULT_CONNECT_REFUSED);
    assert_true(str_eq(
        got, STR("weir; error=connection_refused; details=\"connect_refused_by_endpoint\"")));
    t->conf.details = false;
    got = after(t, true, FAULT_NO_ROUTE);
    assert_true(str_eq(got, STR("weir; error=destination_not_found")));
}

static void test_silent_otherwise(void **state)
{
    struct test *t = *state;
    assert_null(after(t, true, FAULT_OK).p);
    assert_null(after(t, false, FAULT_UP_TRUNCATED).p);
}

static void count(void *arg, const char *field, const char *text)
{
    (void) text;
    assert_string_equal(field, "name");
    ++*(int *) arg;
}

static void test_conf(void **state)
{
    struct test *t = *state;
    int said = 0;
    assert_false(feature_proxy_status.active(&t->conf));
    t->conf.enabled = true;
    assert_true(feature_proxy_status.active(&t->conf));
    proxy_status_schema.check(&t->conf, count, &said);
    assert_int_equal(said, 0);
    const char *bad[] = {"", "1edge", "two words"};
    for (size_t i = 0; i < SCHEMA_COUNT(bad); i++) {
        t->conf.name = str_c(bad[i]);
        proxy_status_schema.check(&t->conf, count, &said);
    }
    assert_int_equal(said, 3);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_faults),
        TEST(test_silent_otherwise),
        TEST(test_conf),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

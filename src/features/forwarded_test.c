/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the forwarded feature. */
#include "features/forwarded.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "features/registry.h"
#include "proxy/exchange_kit.h"

struct test {
    struct exchange_kit k;
    struct forwarded_conf conf;
};

static int setup(void **state)
{
    struct test *t = mem_new(sizeof(*t));
    exchange_kit_open(&t->k);
    schema_defaults(&forwarded_schema, &t->conf);
    t->k.feature_conf[FEATURE_FORWARDED] = &t->conf;
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

static void expect(struct test *t, const char *name, const char *value)
{
    struct str got = exchange_kit_field(&t->k.out.fields, name);
    if (!value) {
        assert_null(got.p);
        return;
    }
    assert_non_null(got.p);
    assert_int_equal(got.n, strlen(value));
    assert_memory_equal(got.p, value, got.n);
}

static void run(struct test *t)
{
    assert_int_equal(feature_forwarded.on_send(&t->k.x, NULL, NULL), HOOK_PASS);
}

static void add(struct test *t, const char *name, const char *value)
{
    assert_true(fields_add(&t->k.out.fields, str_c(name), str_c(value)));
}

static void test_defaults(void **state)
{
    struct test *t = *state;
    assert_true(feature_forwarded.active(&t->conf));
    run(t);
    expect(t, "X-Forwarded-For", "192.0.2.1");
    expect(t, "X-Forwarded-Host", "example.com");
    expect(t, "X-Forwarded-Proto", "http");
    expect(t, "X-Real-IP", "192.0.2.1");
    expect(t, "Forwarded", NULL);
    for (uint32_t i = 0; i < t->k.out.fields.n; i++)
        assert_true(field_line(&t->k.out.fields.v[i]) > 0); /* ready to be sent */
}

static void test_untrusted_is_replaced(void **state)
{
    struct test *t = *state;
    t->conf.forwarded = true;
    add(t, "X-Forwarded-For", "9.9.9.9");
    add(t, "X-Forwarded-Host", "evil");
    add(t, "X-Forwarded-Proto", "https");
    add(t, "X-Real-IP", "9.9.9.9");
    add(t, "Forwarded", "for=9.9.9.9");
    run(t);
    expect(t, "X-Forwarded-For", "192.0.2.1");
    expect(t, "X-Forwarded-Host", "example.com");
    expect(t, "X-Forwarded-Proto", "http");
    expect(t, "X-Real-IP", "192.0.2.1");
    expect(t, "Forwarded", "for=192.0.2.1;host=example.com;proto=http");
}

static void test_trusted_is_extended(void **state)
{
    struct test *t = *state;
    t->k.x.peer_trusted = true;
    t->conf.forwarded = true;
    assert_true(ip_parse(STR("203.0.113.7"), &t->k.x.client_ip));
    add(t, "X-Forwarded-For", "203.0.113.7");
    add(t, "X-Forwarded-For", "10.0.0.1");
    add(t, "X-Forwarded-Host", "public.example");
    add(t, "X-Forwarded-Proto", "https");
    add(t, "X-Real-IP", "9.9.9.9");
    add(t, "Forwarded", "for=203.0.113.7");
    run(t);
    expect(t, "X-Forwarded-For", "203.0.113.7, 10.0.0.1, 192.0.2.1");
    expect(t, "X-Forwarded-Host", "public.example");
    expect(t, "X-Forwarded-Proto", "https");
    expect(t, "X-Real-IP", "203.0.113.7");
    expect(t, "Forwarded", "for=203.0.113.7, for=192.0.2.1;host=example.com;proto=http");
}

/* An open quotation would take in what Weir says behind it. */
static void test_malformed_is_not_extended(void **state)
{
    struct test *t = *state;
    static const char *const bad[] = {"for=\"203.0.113.7", "for=1.2.3.4;by=\"x\\\"", "for",
                                      "a b=c"};
    t->k.x.peer_trusted = true;
    t->conf.forwarded = true;
    for (size_t i = 0; i < SCHEMA_COUNT(bad); i++) {
        fields_remove_id(&t->k.out.fields, FIELD_FORWARDED);
        add(t, "Forwarded", "for=203.0.113.7");
        add(t, "Forwarded", bad[i]);
        run(t);
        expect(t, "Forwarded", "for=192.0.2.1;host=example.com;proto=http");
    }
}

static void test_replace_drops_the_chain(void **state)
{
    struct test *t = *state;
    t->k.x.peer_trusted = true;
    t->conf.policy = FORWARDED_REPLACE;
    assert_true(ip_parse(STR("203.0.113.7"), &t->k.x.client_ip));
    add(t, "X-Forwarded-For", "1.1.1.1, 203.0.113.7");
    add(t, "X-Forwarded-Proto", "https");
    run(t);
    expect(t, "X-Forwarded-For", "203.0.113.7");
    expect(t, "X-Forwarded-Proto", "http");
    expect(t, "X-Real-IP", "203.0.113.7");
}

static void test_quoting(void **state)
{
    struct test *t = *state;
    t->conf.forwarded = true;
    t->k.in.authority = STR("[2001:db8::2]:8080");
    assert_true(ip_parse(STR("2001:db8::1"), &t->k.x.peer_ip));
    t->k.x.client_ip = t->k.x.peer_ip;
    run(t);
    expect(t, "X-Forwarded-For", "2001:db8::1");
    expect(t, "Forwarded", "for=\"[2001:db8::1]\";host=\"[2001:db8::2]:8080\";proto=http");
}

static void test_unix_peer(void **state)
{
    struct test *t = *state;
    t->conf.forwarded = true;
    t->k.x.peer_unix = true;
    t->k.x.peer_ip = t->k.x.client_ip = (struct ip){0};
    add(t, "X-Forwarded-For", "9.9.9.9");
    run(t);
    expect(t, "X-Forwarded-For", NULL);
    expect(t, "X-Real-IP", NULL);
    expect(t, "Forwarded", "for=unknown;host=example.com;proto=http");
}

static void test_off(void **state)
{
    struct test *t = *state;
    t->conf = (struct forwarded_conf){0};
    assert_false(feature_forwarded.active(&t->conf));
    add(t, "X-Forwarded-For", "10.0.0.1");
    run(t);
    expect(t, "X-Forwarded-For", "10.0.0.1");
    expect(t, "X-Real-IP", NULL);
}

static void test_memory(void **state)
{
    struct test *t = *state;
    t->k.x.arena.max = t->k.x.arena.used;
    t->k.x.arena.at = t->k.x.arena.end;
    assert_int_equal(feature_forwarded.on_send(&t->k.x, NULL, NULL), HOOK_FAIL);
    assert_int_equal(t->k.x.pending, FAULT_MEMORY);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_defaults),
        TEST(test_untrusted_is_replaced),
        TEST(test_trusted_is_extended),
        TEST(test_malformed_is_not_extended),
        TEST(test_replace_drops_the_chain),
        TEST(test_quoting),
        TEST(test_unix_peer),
        TEST(test_off),
        TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

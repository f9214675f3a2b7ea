/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of request_headers and response_headers. */
#include "features/headers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "features/registry.h"
#include "proxy/exchange_kit.h"

#define PAIRS 4

struct pairs {
    struct str names[PAIRS], values[PAIRS];
};

struct test {
    struct exchange_kit k;
    struct headers_conf conf;
    struct pairs set, add;
    struct str remove[PAIRS];
    struct arena arena;
};

static int setup(void **state)
{
    struct test *t = mem_new(sizeof(*t));
    exchange_kit_open(&t->k);
    schema_defaults(&request_headers_schema, &t->conf);
    t->conf.set = (struct schema_map){t->set.names, t->set.values, 0};
    t->conf.add = (struct schema_map){t->add.names, t->add.values, 0};
    t->conf.remove = (struct schema_list){t->remove, 0};
    t->k.feature_conf[FEATURE_REQUEST_HEADERS] = &t->conf;
    t->k.feature_conf[FEATURE_RESPONSE_HEADERS] = &t->conf;
    arena_init(&t->arena, NULL, SIZE_MAX);
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct test *t = *state;
    exchange_kit_close(&t->k);
    arena_fini(&t->arena);
    mem_free(t);
    return 0;
}

static void give(struct schema_map *map, const char *name, const char *value)
{
    map->names[map->n] = str_c(name);
    ((struct str *) map->items)[map->n++] = str_c(value);
}

static void run(struct test *t)
{
    assert_true(feature_request_headers.active(&t->conf));
    feature_request_headers.prepare(&t->conf, &t->arena);
    assert_int_equal(feature_request_headers.on_send(&t->k.x, NULL, NULL), HOOK_PASS);
}

static void expect(struct test *t, const char *name, const char *value)
{
    struct str got = exchange_kit_field(&t->k.out.fields, name);
    assert_non_null(got.p);
    assert_true(str_eq(got, str_c(value)));
}

static void test_set_add_remove(void **state)
{
    struct test *t = *state;
    struct fields *out = &t->k.out.fields;
    assert_true(fields_add(out, STR("X-Debug"), STR("1")));
    assert_true(fields_add(out, STR("x_debug"), STR("2")));
    assert_true(fields_add(out, STR("X-Tenant"), STR("forged")));
    assert_true(fields_add(out, STR("X_Tenant"), STR("forged")));
    assert_true(fields_add(out, STR("Accept"), STR("*/*")));
    t->remove[0] = STR("X-Debug");
    t->conf.remove.n = 1;
    give(&t->conf.set, "X-Tenant", "acme");
    give(&t->conf.add, "Accept", "text/plain");
    run(t);
    assert_int_equal(out->n, 3);
    expect(t, "X-Tenant", "acme");
    assert_int_equal(fields_count_id(out, FIELD_ACCEPT), 2);
}

static void test_templates(void **state)
{
    struct test *t = *state;
    struct str names[] = {STR("tenant")}, values[] = {STR("acme")};
    t->k.settings.meta = (struct schema_map){names, values, 1};
    t->k.x.request_id = STR("id-1");
    give(&t->conf.set, "A", "{client_ip} via {scheme}://{host} {{{route}}");
    give(&t->conf.set, "B", "{request_id}");
    give(&t->conf.set, "C", "t={meta.tenant};{meta.none}.");
    give(&t->conf.set, "D", "{meta.none}");
    give(&t->conf.add, "E", "{meta.none}");
    assert_true(fields_add(&t->k.out.fields, STR("D"), STR("from the client")));
    run(t);
    expect(t, "A", "192.0.2.1 via http://example.com {main}");
    expect(t, "B", "id-1");
    expect(t, "C", "t=acme;.");
    assert_null(exchange_kit_field(&t->k.out.fields, "D").p);
    assert_null(exchange_kit_field(&t->k.out.fields, "E").p);
}

static void test_response(void **state)
{
    struct test *t = *state;
    give(&t->conf.set, "Server", "weir");
    feature_response_headers.prepare(&t->conf, &t->arena);
    assert_true(fields_add(&t->k.response.fields, STR("server"), STR("apache")));
    assert_int_equal(feature_response_headers.on_response_head(&t->k.x, NULL), HOOK_PASS);
    assert_true(str_eq(exchange_kit_field(&t->k.response.fields, "Server"), STR("weir")));
}

static void test_template_errors(void **state)
{
    (void) state;
    static const char *const good[] = {"", "a", "{{", "{host}", "a}b", "{meta.x}{route}"};
    static const char *const bad[] = {"{", "{hos}", "{host", "a\r\nb", " a", "{meta.}", "{}"};
    for (size_t i = 0; i < SCHEMA_COUNT(good); i++)
        assert_null(headers_template_wrong(str_c(good[i])));
    for (size_t i = 0; i < SCHEMA_COUNT(bad); i++)
        assert_non_null(headers_template_wrong(str_c(bad[i])));
}

struct said {
    int n;
    char last[200];
};

static void note(void *arg, const char *field, const char *text)
{
    struct said *s = arg;
    s->n++;
    snprintf(s->last, sizeof(s->last), "%s: %s", field, text);
}

static void test_check(void **state)
{
    struct test *t = *state;
    struct said s = {0};
    give(&t->conf.set, "X-Fine", "yes");
    request_headers_schema.check(&t->conf, note, &s);
    assert_int_equal(s.n, 0);
    give(&t->conf.set, "content_length", "5");
    request_headers_schema.check(&t->conf, note, &s);
    assert_int_equal(s.n, 1);
    assert_string_equal(s.last,
                        "set: content_length belongs to message framing, which Weir alone decides");
    t->conf.set.n = 1;
    give(&t->conf.add, "Host", "x");
    t->remove[0] = STR("Connection");
    t->remove[1] = STR("a b");
    t->conf.remove.n = 2;
    s.n = 0;
    request_headers_schema.check(&t->conf, note, &s);
    assert_int_equal(s.n, 3);
    /* Host means nothing in a response. */
    s.n = 0;
    t->conf.remove.n = 0;
    response_headers_schema.check(&t->conf, note, &s);
    assert_int_equal(s.n, 0);
}

static void test_idle_without_rules(void **state)
{
    struct test *t = *state;
    assert_false(feature_request_headers.active(&t->conf));
}

static void test_memory(void **state)
{
    struct test *t = *state;
    give(&t->conf.set, "A", "{client_ip}");
    feature_request_headers.prepare(&t->conf, &t->arena);
    t->k.x.arena.max = t->k.x.arena.used;
    t->k.x.arena.at = t->k.x.arena.end;
    assert_int_equal(feature_request_headers.on_send(&t->k.x, NULL, NULL), HOOK_FAIL);
    assert_int_equal(t->k.x.pending, FAULT_MEMORY);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_set_add_remove),  TEST(test_templates), TEST(test_response),
        TEST(test_template_errors), TEST(test_check),     TEST(test_idle_without_rules),
        TEST(test_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of the schema walker: scalars, defaults, hints, hashes and copies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/schema.h"

struct inner {
    int64_t n;
    struct str name;
};
struct outer {
    bool on, inner_given;
    double share;
    usec_t wait;
    uint64_t size, rate;
    int mode;
    struct str text;
    struct inner inner;
    struct schema_list list;
    struct schema_map map;
    struct schema_pos pos;
};

static const char *const modes[] = {"slow", "fast", NULL};

static const struct schema_field inner_rows[] = {
    {.name = "n", .type = SCHEMA_INT, .offset = offsetof(struct inner, n), .def = "7", .max = 100},
    {.name = "name", .type = SCHEMA_STRING, .offset = offsetof(struct inner, name), .def = "x"},
};
static const struct schema_table inner_schema = {.name = "inner",
                                                 .size = sizeof(struct inner),
                                                 .fields = inner_rows,
                                                 .n_fields = SCHEMA_COUNT(inner_rows)};
enum row { ON, SHARE, WAIT, SIZE, RATE, MODE, TEXT, LIST, MAP, INNERS };

static const struct schema_field rows[] = {
    [ON] = {.name = "on", .type = SCHEMA_BOOL, .offset = offsetof(struct outer, on), .def = "true"},
    [SHARE] = {.name = "share",
               .type = SCHEMA_FLOAT,
               .offset = offsetof(struct outer, share),
               .def = "0.5",
               .max = 1},
    [WAIT] = {.name = "wait",
              .type = SCHEMA_DURATION,
              .offset = offsetof(struct outer, wait),
              .def = "90s",
              .min = 1000,
              .max = INT64_C(3600000000)},
    [SIZE] = {.name = "size",
              .type = SCHEMA_SIZE,
              .offset = offsetof(struct outer, size),
              .def = "64KiB"},
    [RATE] = {.name = "rate",
              .type = SCHEMA_RATE,
              .offset = offsetof(struct outer, rate),
              .def = "off"},
    [MODE] = {.name = "mode",
              .type = SCHEMA_ENUM,
              .offset = offsetof(struct outer, mode),
              .def = "fast",
              .choices = modes},
    [TEXT] = {.name = "text", .type = SCHEMA_STRING, .offset = offsetof(struct outer, text)},
    [LIST] = {.name = "list",
              .type = SCHEMA_LIST,
              .offset = offsetof(struct outer, list),
              .item = SCHEMA_STRING},
    [MAP] = {.name = "map",
             .type = SCHEMA_MAP,
             .offset = offsetof(struct outer, map),
             .sub = &inner_schema},
    [INNERS] = {.name = "inner_values",
                .type = SCHEMA_OBJECT,
                .offset = offsetof(struct outer, inner),
                .given = offsetof(struct outer, inner_given),
                .sub = &inner_schema},
};
static const struct schema_table outer_schema = {.name = "outer",
                                                 .size = sizeof(struct outer),
                                                 .fields = rows,
                                                 .n_fields = SCHEMA_COUNT(rows),
                                                 .pos = offsetof(struct outer, pos)};

/* Reads text as the row; 8 bytes of the value. */
static uint64_t number(enum row row, const char *text)
{
    struct arena a;
    struct str why;
    uint64_t v = 0;
    arena_init(&a, NULL, SIZE_MAX);
    if (!schema_scalar(&rows[row], str_c(text), &v, &a, &why))
        fail_msg("%s", why.p);
    arena_fini(&a);
    return v;
}

static void refused(enum row row, const char *text, const char *expected)
{
    struct arena a;
    struct str why;
    struct str v[2];
    arena_init(&a, NULL, SIZE_MAX);
    assert_false(schema_scalar(&rows[row], str_c(text), v, &a, &why));
    assert_string_equal(why.p, expected);
    arena_fini(&a);
}

static void reads_numbers_with_units(void **state)
{
    (void) state;
    assert_int_equal(number(WAIT, "250ms"), 250000);
    assert_int_equal(number(WAIT, "1m30s"), 90000000);
    assert_int_equal(number(WAIT, "1.5s"), 1500000);
    assert_int_equal(number(WAIT, "1h"), 3600000000u);
    assert_int_equal(number(SIZE, "64KiB"), 65536);
    assert_int_equal(number(SIZE, "1.5MiB"), 1572864);
    assert_int_equal(number(SIZE, "17"), 17);
    assert_int_equal(number(SIZE, "off"), 0);
    assert_int_equal(number(RATE, "10KiB/s"), 10240);
    assert_int_equal(number(RATE, "off"), 0);
    assert_int_equal(number(MODE, "fast"), 1);
    assert_int_equal(number(ON, "no"), 0);
    assert_int_equal(number(ON, "on"), 1);
}

static void says_what_is_allowed(void **state)
{
    (void) state;
    refused(WAIT, "30", "\"30\" is not a duration with its unit, like 30s, 250ms, 1h30m, or off");
    refused(WAIT, "2h", "\"2h\" is out of bounds; allowed: 1ms to 1h");
    refused(WAIT, "off", "\"off\" is out of bounds; allowed: 1ms to 1h");
    refused(WAIT, "99999999999999999999s",
            "\"99999999999999999999s\" is not a duration with its unit, like 30s, 250ms, 1h30m, or "
            "off");
    refused(SIZE, "64K", "\"64K\" is not a size, like 64KiB, 1MiB or a number of bytes");
    refused(SIZE, "16777216TiB",
            "\"16777216TiB\" is not a size, like 64KiB, 1MiB or a number of bytes");
    refused(RATE, "10", "\"10\" is not a rate, like 10KiB/s, or off");
    refused(MODE, "fats", "\"fats\" is not one of slow, fast; did you mean \"fast\"?");
    refused(MODE, "film", "\"film\" is not one of slow, fast"); /* it has but one letter of it */
    refused(ON, "maybe\n", "\"maybe?\" is not true or false");
    refused(SHARE, "1.5", "\"1.5\" is out of bounds; allowed: 0 to 1");
}

static void fills_defaults(void **state)
{
    (void) state;
    struct outer o;
    schema_defaults(&outer_schema, &o);
    assert_true(o.on);
    assert_true(o.share > 0.49 && o.share < 0.51);
    assert_int_equal(o.wait, 90000000);
    assert_int_equal(o.size, 65536);
    assert_int_equal(o.mode, 1);
    assert_int_equal(o.inner.n, 7);
    assert_true(str_eq(o.inner.name, STR("x")));
    assert_int_equal(o.list.n + o.map.n + o.text.n, 0);
}

static void hints_the_nearest_name(void **state)
{
    (void) state;
    assert_string_equal(schema_nearest(&outer_schema, STR("txt")), "text");
    assert_string_equal(schema_nearest(&outer_schema, STR("shar")), "share");
    assert_null(schema_nearest(&outer_schema, STR("zzzzzzzz")));
    assert_null(schema_nearest(&outer_schema, STR("o")));
    assert_ptr_equal(schema_find(&outer_schema, STR("mode"), NULL), &rows[MODE]);
    assert_null(schema_find(&outer_schema, STR("Mode"), NULL));
}

static void prints_what_reads_back(void **state)
{
    (void) state;
    struct arena a;
    struct outer o;
    arena_init(&a, NULL, SIZE_MAX);
    schema_defaults(&outer_schema, &o);
    struct str items[] = {STR("plain"), STR("two words"), STR("a\"b\n"), STR("")};
    o.list = (struct schema_list){items, 4};
    assert_string_equal(schema_print(&rows[WAIT], &o.wait, &a).p, "90s");
    assert_string_equal(schema_print(&rows[SIZE], &o.size, &a).p, "64KiB");
    assert_string_equal(schema_print(&rows[LIST], &o.list, &a).p,
                        "[plain, \"two words\", \"a\\\"b\\x0a\", \"\"]");
    assert_string_equal(schema_print(&rows[INNERS], &o.inner, &a).p, "{n: 7, name: x}");
    arena_fini(&a);
}

static void copies_owe_nothing(void **state)
{
    (void) state;
    struct outer o, copy;
    schema_defaults(&outer_schema, &o);
    char text[] = "hello", name[] = "key";
    struct str names[] = {{name, 3}}, list[] = {{text, 5}, STR("")};
    struct inner items[] = {{3, {text, 5}}};
    o.text = str_of(text, 5);
    o.list = (struct schema_list){list, 2};
    o.map = (struct schema_map){names, items, 1};
    o.pos = (struct schema_pos){"file", 3, 4};
    uint64_t before = schema_hash(&outer_schema, &o, 1);
    size_t need = schema_copy_size(&outer_schema, &o);
    char *room = mem_new(need);
    assert_ptr_equal(schema_copy(&outer_schema, &copy, &o, room), room + need);
    memset(text, 'X', 5);
    memset(name, 'X', 3);
    assert_int_not_equal(schema_hash(&outer_schema, &o, 1), before);
    assert_false(schema_equal(&outer_schema, &copy, &o));
    assert_int_equal(schema_hash(&outer_schema, &copy, 1), before);
    assert_int_equal(copy.pos.line, 3);
    assert_null(copy.pos.file);
    copy.pos.line = 9;
    assert_int_equal(schema_hash(&outer_schema, &copy, 1), before);
    copy.inner_given = true;
    assert_int_not_equal(schema_hash(&outer_schema, &copy, 1), before);
    mem_free(room);
}

static void equal_is_what_hashes_alike(void **state)
{
    (void) state;
    struct outer a, b;
    struct str names[] = {STR("key")}, other_names[] = {STR("kez")};
    struct str list[] = {STR("hello"), STR("")}, same_list[] = {STR("hello"), STR("")};
    struct inner items[] = {{3, STR("hello")}}, other_items[] = {{4, STR("hello")}};
    schema_defaults(&outer_schema, &a);
    a.list = (struct schema_list){list, 2};
    a.map = (struct schema_map){names, items, 1};
    b = a;
    b.list.items = same_list;
    b.pos.line = 9;
    assert_true(schema_equal(&outer_schema, &a, &b));
    for (int i = 0; i < 6; i++) {
        struct outer c = b;
        switch (i) {
        case 0:
            c.list.n = 1;
            break;
        case 1:
            c.map.names = other_names;
            break;
        case 2:
            c.map.items = other_items;
            break;
        case 3:
            c.inner_given = !c.inner_given;
            break;
        case 4:
            c.text = STR("another");
            break;
        default:
            c.wait++;
        }
        assert_false(schema_equal(&outer_schema, &a, &c));
        assert_int_not_equal(schema_hash(&outer_schema, &a, 1), schema_hash(&outer_schema, &c, 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_numbers_with_units),
        cmocka_unit_test(says_what_is_allowed),
        cmocka_unit_test(fills_defaults),
        cmocka_unit_test(hints_the_nearest_name),
        cmocka_unit_test(prints_what_reads_back),
        cmocka_unit_test(copies_owe_nothing),
        cmocka_unit_test(equal_is_what_hashes_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "http/field.h"

#include <ctype.h>

#include "http/http_test.h"

/* The same for a name that stands before ':', with anything behind it. */
static enum field_id id_before_colon(const char *name, size_t n)
{
    char line[48];
    memset(line, 'x', sizeof(line));
    memcpy(line, name, n);
    line[n] = ':';
    return field_id_in16(line, n);
}

static void test_known_names(void **state)
{
    (void) state;
    static const char *const names[] = {
#define FIELD(id, name) name,
#include "http/field_table.h"
#undef FIELD
    };
    for (unsigned id = 1; id < FIELD_COUNT; id++) {
        /* Fails when the table changed and scripts/field-hash was not run. */
        same_number(field_id(str_c(names[id - 1])), id, "id", str_c(names[id - 1]));
        same_str(field_name((enum field_id) id), names[id - 1], "name", STR(""));
        char text[32];
        size_t n = strlen(names[id - 1]);
        for (unsigned way = 0; way < 2; way++) {
            for (size_t i = 0; i < n; i++)
                text[i] = way ? (char) toupper(names[id - 1][i]) : str_lower(names[id - 1][i]);
            same_number(field_id(str_of(text, n)), id, "id", str_of(text, n));
        }
        /* Any other byte in any place is another name. */
        for (size_t i = 0; i < n; i++) {
            char kept = text[i];
            for (int c = 0; c < 256; c++) {
                text[i] = (char) c;
                bool same = str_lower(text[i]) == str_lower(kept);
                assert_int_equal(field_id(str_of(text, n)) == id, same);
                if (n < 16 && c != ':')
                    assert_int_equal(id_before_colon(text, n) == id, same);
            }
            text[i] = kept;
        }
        assert_int_equal(field_id(str_of(text, n - 1)), FIELD_OTHER);
        if (n <= 16)
            assert_int_equal(id_before_colon(text, n - 1), FIELD_OTHER);
    }
    assert_int_equal(field_id(STR("")), FIELD_OTHER);
    assert_int_equal(field_id(STR("x")), FIELD_OTHER);
    assert_int_equal(field_id(STR("content_length")), FIELD_OTHER);
}

/* A line is one field, and goes out as it stands; when its value changes it is written anew. */
static void test_line(void **state)
{
    (void) state;
    struct arena a;
    struct fields f;
    fields_init(&f, test_arena(&a));
    assert_true(fields_add_line(&f, FIELD_VIA, STR("via: 1.1 a\r\n")));
    assert_true(fields_has(&f, FIELD_VIA));
    same_str(f.v[0].name, "via", "name", STR("via"));
    same_str(f.v[0].value, "1.1 a", "value", STR("via"));
    assert_int_equal(field_line(&f.v[0]), 12);
    assert_true(fields_set(&f, STR("Via"), STR("b")));
    assert_int_equal(field_line(&f.v[0]), 0);
    arena_fini(&a);
}

/* Lines of a row are set in a room that was found once, and count when they were added. */
static void test_lines(void **state)
{
    (void) state;
    struct arena a;
    struct fields f;
    fields_init(&f, test_arena(&a));
    for (uint32_t n = 0; n < 60; n += 3) {
        struct field *slot = fields_room(&f, 3);
        assert_non_null(slot);
        assert_int_equal(f.n, n);
        field_set_line(slot, FIELD_VIA, STR("Via: 1.1 a\r\n"));
        field_set_line(slot + 1, FIELD_AGE, STR("age: 1\r\n"));
        field_set_line(slot + 2, FIELD_X_REAL_IP, STR("X-Real-IP: ::1\r\n"));
        fields_added(&f, 3, FIELD_BIT(VIA) | FIELD_BIT(AGE) | FIELD_BIT(X_REAL_IP));
    }
    assert_int_equal(f.n, 60);
    assert_int_equal(f.present, FIELD_BIT(VIA) | FIELD_BIT(AGE) | FIELD_BIT(X_REAL_IP));
    same_str(f.v[58].name, "age", "name", STR("age"));
    same_str(f.v[59].value, "::1", "value", STR("X-Real-IP"));
    assert_int_equal(field_line(&f.v[59]), 16);
    a.max = a.used;
    while (f.n < f.cap)
        assert_true(fields_add_line(&f, FIELD_AGE, STR("Age: 2\r\n")));
    assert_null(fields_room(&f, 1000));
    assert_int_equal(f.v[59].id, FIELD_X_REAL_IP);
    arena_fini(&a);
}

static void check_list(const struct fields *f, const char *want)
{
    char text[512];
    size_t n = 0;
    text[0] = 0;
    for (uint32_t i = 0; i < f->n; i++)
        n += (size_t) snprintf(text + n, sizeof(text) - n, "%.*s=%.*s;", STR_ARG(f->v[i].name),
                               STR_ARG(f->v[i].value));
    assert_string_equal(text, want);
    uint64_t present = 0;
    for (uint32_t i = 0; i < f->n; i++)
        present |= UINT64_C(1) << f->v[i].id;
    assert_true(f->present == present);
}

static void test_edits(void **state)
{
    (void) state;
    struct arena a;
    struct fields f;
    fields_init(&f, test_arena(&a));
    assert_null(fields_get(&f, STR("host")));
    assert_true(fields_add(&f, STR("HOST"), STR("a")));
    assert_true(fields_add(&f, STR("X-One"), STR("1")));
    assert_true(fields_add(&f, STR("Via"), STR("v1")));
    assert_true(fields_add(&f, STR("x-one"), STR("2")));
    assert_true(fields_add_id(&f, FIELD_VIA, STR("v2")));
    check_list(&f, "HOST=a;X-One=1;Via=v1;x-one=2;Via=v2;");
    same_str(fields_get(&f, STR("X-ONE"))->value, "1", "get", STR("x-one"));
    assert_null(fields_get(&f, STR("x-two")));
    same_str(fields_get_id(&f, FIELD_HOST)->value, "a", "get_id", STR("host"));
    assert_null(fields_get_id(&f, FIELD_OTHER));
    assert_null(fields_get_id(&f, FIELD_TE));
    assert_int_equal(fields_count_id(&f, FIELD_VIA), 2);
    assert_int_equal(fields_count_id(&f, FIELD_TE), 0);
    same_str(fields_joined(&f, FIELD_VIA), "v1, v2", "joined", STR("via"));
    same_str(fields_joined(&f, FIELD_HOST), "a", "joined", STR("host"));
    same_str(fields_joined(&f, FIELD_TE), "", "joined", STR("te"));

    assert_true(fields_set(&f, STR("via"), STR("v")));
    check_list(&f, "HOST=a;X-One=1;via=v;x-one=2;");
    assert_true(fields_set(&f, STR("X-ONE"), STR("one")));
    check_list(&f, "HOST=a;X-ONE=one;via=v;");
    assert_true(fields_set(&f, STR("X-Two"), STR("two")));
    assert_true(fields_set(&f, STR("TE"), STR("trailers")));
    check_list(&f, "HOST=a;X-ONE=one;via=v;X-Two=two;TE=trailers;");
    assert_int_equal(fields_remove(&f, STR("x-two")), 1);
    assert_int_equal(fields_remove(&f, STR("x-two")), 0);
    assert_int_equal(fields_remove_id(&f, FIELD_TE), 1);
    assert_int_equal(fields_remove_id(&f, FIELD_OTHER), 0);
    check_list(&f, "HOST=a;X-ONE=one;via=v;");
    assert_int_equal(fields_remove_mask(&f, FIELD_BIT(VIA) | FIELD_BIT(HOST) | 1), 2);
    check_list(&f, "X-ONE=one;");
    assert_int_equal(fields_remove_mask(&f, FIELD_BIT(VIA)), 0);
    arena_fini(&a);
}

static void test_growth_and_copy(void **state)
{
    (void) state;
    struct arena a;
    struct fields f, g;
    fields_init(&f, test_arena(&a));
    fields_init(&g, &a);
    for (int i = 0; i < 100; i++)
        assert_true(fields_add(&f, arena_printf(&a, "x-%d", i), STR("v")));
    assert_true(fields_add(&f, STR("te"), STR("trailers")));
    assert_true(fields_copy(&g, &f));
    assert_true(fields_copy(&g, &f));
    assert_int_equal(g.n, 202);
    assert_true(g.present == f.present);
    same_str(g.v[201].name, "te", "name", STR(""));
    same_str(g.v[150].name, "x-49", "name", STR(""));
    fields_init(&f, &a);
    assert_true(fields_copy(&g, &f));
    assert_int_equal(g.n, 202);
    arena_fini(&a);
}

static void test_refusal(void **state)
{
    (void) state;
    struct arena a;
    struct fields f, g;
    arena_init(&a, NULL, 16);
    fields_init(&f, &a);
    assert_false(fields_add(&f, STR("a"), STR("b")));
    assert_false(fields_add_id(&f, FIELD_TE, STR("b")));
    assert_false(fields_set(&f, STR("a"), STR("b")));
    assert_int_equal(f.n, 0);
    struct arena b;
    fields_init(&g, test_arena(&b));
    assert_true(fields_add(&g, STR("a"), STR("b")));
    assert_false(fields_copy(&f, &g));
    arena_fini(&a);
    arena_fini(&b);
}

static void test_valid(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        bool name, value;
    } rows[] = {
        {"", false, true},
        {"a", true, true},
        {"X-Y_z.1", true, true},
        {"a b", false, true},
        {"a:", false, true},
        {" a", false, false},
        {"a ", false, false},
        {"a\tb", false, true},
        {"\ta", false, false},
        {"a\r", false, false},
        {"a\nb", false, false},
        {"a\x7f", false, false},
        {"caf\xc3\xa9", false, true},
        {"!#$%&'*+-.^_`|~", true, true},
        {"a(b)", false, true},
        {"a\x01"
         "bcdefgh",
         false, false},
        {"\"q\"", false, true},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct str s = str_c(rows[i].text);
        same_number(field_name_valid(s), rows[i].name, "name", s);
        same_number(field_value_valid(s), rows[i].value, "value", s);
    }
    assert_false(field_value_valid(STR("a\0b")));
}

static void test_alias(void **state)
{
    (void) state;
    assert_true(field_name_alias(STR("X_Forwarded-for"), STR("x-forwarded_FOR")));
    assert_true(field_name_alias(STR("a"), STR("A")));
    assert_false(field_name_alias(STR("x-forwarded-for"), STR("x-forwarded.for")));
    assert_false(field_name_alias(STR("ab"), STR("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_names),     cmocka_unit_test(test_line),
        cmocka_unit_test(test_lines),           cmocka_unit_test(test_edits),
        cmocka_unit_test(test_growth_and_copy), cmocka_unit_test(test_refusal),
        cmocka_unit_test(test_valid),           cmocka_unit_test(test_alias),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

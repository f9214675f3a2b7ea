/* SPDX-License-Identifier: Apache-2.0 */
/* Queries: what Go's cleanQueryParams, url.ParseQuery and Values.Encode make of them. */
#include "http/url.h"

#include "http/http_test.h"

static void test_clean(void **state)
{
    (void) state;
    static const char *const rows[][2] = {
        /* clean ones stay, byte for byte */
        {"", ""},
        {"a", "a"},
        {"b=2&a=1", "b=2&a=1"},
        {"&&=&a&", "&&=&a&"},
        {"a=%41%zz41", ""},
        {"a=%C3%a9+x", "a=%C3%a9+x"},
        {"a=%00", "a=%00"},
        {"a[]=\"<>\\^`{|}", "a[]=\"<>\\^`{|}"},
        /* go: TestReverseProxyQueryParameterSmuggling */
        {"a=1&a=2;b=3", "a=1"},
        {"a=1&a=%zz&b=3", "a=1&b=3"},
        /* pairs that cannot be read go; the rest is sorted by key, equal keys in order */
        {";", ""},
        {"a;b", ""},
        {"a=1;b=2", ""},
        {"%", ""},
        {"a=%4", ""},
        {"%zz=1&a=2", "a=2"},
        {"z=1&a=2&;", "a=2&z=1"},
        {"b=2&a=2&b=1&a=1&%", "a=2&a=1&b=2&b=1"},
        {"a&%", "a="},
        {"=&%", "="},
        {"=v&%", "=v"},
        {"&&a=1&&%&", "a=1"},
        {"a=b=c&%", "a=b%3Dc"},
        {"%3d%26=%26%3D&%", "%3D%26=%26%3D"},
        {"a=%41+%20b&%", "a=A++b"},
        {"a=\"<>[]/?:@!$'()*,\\^`{|}&%", "a=%22%3C%3E%5B%5D%2F%3F%3A%40%21%24%27%28%29%2A%2C%5C%5E"
                                         "%60%7B%7C%7D"},
        {"a=-._~&%", "a=-._~"},
        {"a=%00&%", "a=%00"},
        {"a=%c3%a9&%", "a=%C3%A9"},
        /* by decoded key: '%' is no byte of a key; a prefix comes first */
        {"ab=1&a=2&%", "a=2&ab=1"},
        {"a-=1&a%21=2&a=3&%", "a=3&a%21=2&a-=1"},
        {"%c3=1&z=2&%", "z=2&%C3=1"},
        {"e=1&d=2&c=3&b=4&a=5&%", "a=5&b=4&c=3&d=2&e=1"},
        {"g=1&f=2&e=3&d=4&c=5&b=6&a=7&%", "a=7&b=6&c=5&d=4&e=3&f=2&g=1"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        struct str query = str_c(rows[i][0]);
        struct str got = query_clean(query, test_arena(&a));
        same_str(got, rows[i][1], "clean", query);
        struct str again = query_clean(got, &a);
        assert_ptr_equal(again.p, got.p);
        arena_fini(&a);
    }
}

static void test_clean_is_bounded(void **state)
{
    (void) state;
    struct arena a;
    char text[8192];
    memset(text, '&', sizeof(text));
    text[0] = '%';
    assert_int_equal(query_clean(str_of(text, sizeof(text)), test_arena(&a)).n, 0);
    for (size_t i = 1; i + 1 < sizeof(text); i += 2)
        text[i] = (char) ('a' + (i * 7919) % 26);
    struct str got = query_clean(str_of(text, sizeof(text)), &a);
    assert_int_equal(got.n, 3 * 4094 - 1);
    for (size_t i = 3; i < got.n; i += 3)
        assert_true(got.p[i - 3] <= got.p[i]);
    arena_fini(&a);
    arena_init(&a, NULL, 0);
    assert_null(query_clean(STR(";"), &a).p);
    arena_fini(&a);
}

/* go: TestReverseProxyQuery */
static void test_join(void **state)
{
    (void) state;
    static const char *const rows[][3] = {
        {"", "", ""},
        {"", "us=er", "us=er"},
        {"sta=tic", "", "sta=tic"},
        {"sta=tic", "us=er", "sta=tic&us=er"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        same_str(query_join(str_c(rows[i][0]), str_c(rows[i][1]), test_arena(&a)), rows[i][2],
                 "join", str_c(rows[i][1]));
        arena_fini(&a);
    }
}

static void test_param(void **state)
{
    (void) state;
    static const char *const rows[][3] = {
        {"a=1", "a", "1"},       {"a=1&a=2", "a", "1"},
        {"b=1&a=2", "a", "2"},   {"a", "a", ""},
        {"a=", "a", ""},         {"", "a", NULL},
        {"aa=1", "a", NULL},     {"%61=x%20+y", "a", "x  y"},
        {"a=%zz&a=3", "a", "3"}, {"a=%4&b=1", "a", NULL},
        {"=1", "", "1"},         {"a+b=1", "a b", "1"},
        {"%=1&a=2", "a", "2"},   {"a=b=c", "a", "b=c"},
        {"&&a=1", "a", "1"},     {"a=1;b&a=2", "a", "2"},
        {"a;=1", "a;", NULL},
    };
    char room[32];
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct str value, query = str_c(rows[i][0]);
        bool found = query_param(&query, str_c(rows[i][1]), room, &value);
        same_number(found, rows[i][2] != NULL, "found", query);
        if (found)
            same_str(value, rows[i][2], "value", query);
    }
}

static void test_params(void **state)
{
    (void) state;
    char room[32];
    struct str value, query = str_c("a=1&b=2&a=%33&a=4;5&a");
    const char *const wanted[] = {"1", "3", ""};
    for (size_t i = 0; i < ROWS(wanted); i++) {
        same_number(query_param(&query, str_c("a"), room, &value), true, "found", query);
        same_str(value, wanted[i], "value", query);
    }
    same_number(query_param(&query, str_c("a"), room, &value), false, "at the end", query);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),  cmocka_unit_test(test_clean_is_bounded),
        cmocka_unit_test(test_join),   cmocka_unit_test(test_param),
        cmocka_unit_test(test_params),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

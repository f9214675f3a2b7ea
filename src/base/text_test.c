/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/text.h"

static void test_grows(void **state)
{
    (void) state;
    struct text t = {0};
    assert_int_equal(text_str(&t).n, 0);
    for (int i = 0; i < 5000; i++) {
        text_add(&t, STR("ab"));
        text_addf(&t, "%03d", i % 1000);
    }
    text_add(&t, STR(""));
    text_addf(&t, "%s", "");
    struct str s = text_str(&t);
    assert_int_equal(s.n, 25000);
    for (size_t i = 0; i < 5000; i++) {
        assert_memory_equal(s.p + 5 * i, "ab", 2);
        assert_int_equal((s.p[5 * i + 2] - '0') * 100 + (s.p[5 * i + 3] - '0') * 10 +
                             (s.p[5 * i + 4] - '0'),
                         i % 1000);
    }
    memcpy(text_room(&t, 100000), "end", 3);
    t.n += 3;
    assert_memory_equal(text_str(&t).p + 25000, "end", 3);
    text_fini(&t);
    assert_int_equal(t.n, 0);
    text_add(&t, STR("again"));
    assert_true(str_eq(text_str(&t), STR("again")));
    text_fini(&t);
}

static void test_lines(void **state)
{
    (void) state;
    static const char *const cases[][2] = {
        {"", "[]"}, {"a", "[\"a\"]"}, {"a\n\"b\"\n", "[\"a\",\"\\\"b\\\"\"]"}, {"\n", "[\"\"]"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct text t = {0};
        text_add_json_lines(&t, str_c(cases[i][0]));
        assert_true(str_eq(text_str(&t), str_c(cases[i][1])));
        text_fini(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_grows), cmocka_unit_test(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

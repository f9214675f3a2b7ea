/* SPDX-License-Identifier: Apache-2.0 */
#include "http/base64.h"

#include "http/http_test.h"

static void test_vectors(void **state)
{
    /* RFC 4648 10 */
    static const char *const rows[][2] = {{"f", "Zg=="},         {"fo", "Zm8="},
                                          {"foo", "Zm9v"},       {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="}, {"foobar", "Zm9vYmFy"}};
    (void) state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[16] = {0}, back[16] = {0};
        size_t n = strlen(rows[i][0]), at = 0;
        base64_encode(text, rows[i][0], n);
        assert_string_equal(text, rows[i][1]);
        assert_int_equal(strlen(text), BASE64_SIZE(n));
        for (size_t k = 0; k < strlen(text); k += 4)
            at += (size_t) base64_decode_four(text + k, back + at);
        assert_int_equal(at, n);
        assert_memory_equal(back, rows[i][0], n);
    }
}

static void test_refused(void **state)
{
    static const char *const rows[] = {"Zg=a", "Z===",  "====", "=AAA",
                                       "AA A", "AA\nA", "AA-A", "A=AA"};
    char out[3];
    (void) state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(base64_decode_four(rows[i], out), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

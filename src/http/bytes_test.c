/* SPDX-License-Identifier: Apache-2.0 */
#include "http/bytes.h"

#include "http/http_test.h"

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define LOWNUM "abcdefghijklmnopqrstuvwxyz0123456789"

static bool in(const char *set, int c)
{
    return c != 0 && strchr(set, c) != NULL;
}

/* The classes, read from the RFCs a second time, as lists of bytes. */
static void test_classes(void **state)
{
    (void) state;
    for (int c = 0; c < 256; c++) {
        unsigned want = 0;
        want |= in("!#$%&'*+-.^_`|~" ALNUM, c) ? BYTE_TOKEN : 0u;
        want |= in("-._~" ALNUM, c) ? BYTE_UNRESERVED : 0u;
        want |= in("-_~!$&'()*+,;=:@/" ALNUM, c) ? BYTE_PATH : 0u;
        want |= in("\"<>[]^`{|}", c) ? BYTE_ESCAPE : 0u;
        want |= c > 32 && c < 127 && c != '#' ? BYTE_QUERY : 0u;
        want |= in("-._~!$&'()*+;=" LOWNUM, c) ? BYTE_HOST : 0u;
        want |= in("0123456789abcdefABCDEF", c) ? BYTE_HEX : 0u;
        want |= c == 9 || (c >= 32 && c != 127) ? BYTE_TEXT : 0u;
        assert_int_equal(byte_classes[c], want);
    }
}

static void test_hex(void **state)
{
    (void) state;
    for (unsigned v = 0; v < 16; v++) {
        assert_int_equal(byte_hex("0123456789abcdef"[v]), v);
        assert_int_equal(byte_hex("0123456789ABCDEF"[v]), v);
    }
}

/* Every byte at every place of texts of every length up to 40. */
static void test_text_end(void **state)
{
    (void) state;
    char text[40];
    for (size_t n = 0; n <= sizeof(text); n++) {
        memset(text, 0xff, sizeof(text));
        assert_ptr_equal(text_end(text, text + n), text + n);
        memset(text, '\t', sizeof(text));
        assert_ptr_equal(text_end(text, text + n), text + n);
        for (size_t at = 0; at < n; at++) {
            for (int c = 0; c < 256; c++) {
                memset(text, c & 1 ? 'a' : 0x80, sizeof(text));
                text[at] = (char) c;
                bool fine = c == 9 || (c >= 32 && c != 127);
                assert_ptr_equal(text_end(text, text + n), fine ? text + n : text + at);
            }
        }
    }
}

/* The first of two, in texts of every length up to 40, never behind the end. */
static void test_find(void **state)
{
    (void) state;
    char text[41];
    for (size_t n = 0; n < sizeof(text); n++) {
        for (size_t at = 0; at <= n; at++) {
            memset(text, ':' ^ 0x80, sizeof(text));
            text[at] = text[n] = ':';
            assert_ptr_equal(byte_find(text, text + n, ':'), text + at);
        }
    }
}

static void test_words(void **state)
{
    (void) state;
    for (int c = 0; c < 256; c++) {
        for (unsigned at = 0; at < 8; at++) {
            char text[9] = "abcdefgh";
            text[at] = (char) c;
            bool control = c < 32 || c == 127;
            assert_int_equal(word_controls(word_load(text)) != 0, control);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),  cmocka_unit_test(test_hex),
        cmocka_unit_test(test_text_end), cmocka_unit_test(test_find),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of json: numbers, escapes, cuts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"

static void test_numbers(void **state)
{
    (void) state;
    static const uint64_t values[] = {0,   1,    9,     10,    99,         100,       101,
                                      999, 1000, 12345, 65536, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        char got[JSON_U64_MAX + 1], want[32];
        *json_u64(got, values[i]) = '\0';
        snprintf(want, sizeof(want), "%llu", (unsigned long long) values[i]);
        assert_string_equal(got, want);
    }
    char two[3] = {0};
    assert_ptr_equal(json_two(two, 7), two + 2);
    assert_string_equal(two, "07");
}

static void test_escapes(void **state)
{
    (void) state;
    static const struct {
        const char *in, *out;
    } rows[] = {
        {"", ""},
        {"plain text of some length", "plain text of some length"},
        {"12345678\"", "12345678\\\""},
        {"\"\\/", "\\\"\\\\/"},
        {"\b\f\n\r\t", "\\b\\f\\n\\r\\t"},
        {"\x01\x1b\x7f", "\\u0001\\u001b\\u007f"},
        {"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
         "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80"},
        {"\xc2\x9b", "\\\\xc2\\\\x9b"},                       /* C1 control */
        {"\xff\xfe", "\\\\xff\\\\xfe"},                       /* never in UTF-8 */
        {"\xc0\xaf", "\\\\xc0\\\\xaf"},                       /* overlong */
        {"\xe0\x80\xaf", "\\\\xe0\\\\x80\\\\xaf"},            /* overlong */
        {"\xed\xa0\x80", "\\\\xed\\\\xa0\\\\x80"},            /* surrogate */
        {"\xf4\x90\x80\x80", "\\\\xf4\\\\x90\\\\x80\\\\x80"}, /* beyond U+10FFFF */
        {"a\xe2\x82", "a\\\\xe2\\\\x82"},                     /* cut off */
        {"a\xe2(b", "a\\\\xe2(b"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char got[200];
        *json_text(got, str_c(rows[i].in), sizeof(got) - 1) = '\0';
        assert_string_equal(got, rows[i].out);
    }
}

/* Every byte, at every place of a word, comes out as one that may stand in a JSON string. */
static void test_every_byte(void **state)
{
    (void) state;
    for (unsigned c = 0; c < 256; c++) {
        for (unsigned at = 0; at < 17; at++) {
            char in[17], out[17 * JSON_BYTE_MAX];
            memset(in, 'x', sizeof(in));
            in[at] = (char) c;
            char *end = json_text(out, str_of(in, sizeof(in)), sizeof(out));
            bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
            assert_int_equal(end - out == sizeof(in), plain);
            assert_int_equal(json_plain(str_of(in, sizeof(in))), plain);
            for (char *p = out; p < end; p++) {
                unsigned char o = (unsigned char) *p;
                assert_true(o >= 0x20 && o < 0x7f);
                if (o == '"')
                    assert_true(p > out && p[-1] == '\\');
            }
        }
    }
}

static void test_room(void **state)
{
    (void) state;
    char in[JSON_PLAIN_MAX + 1], out[64];
    memset(in, 'a', sizeof(in));
    assert_true(json_plain(str_of(in, JSON_PLAIN_MAX)) && !json_plain(str_of(in, sizeof(in))));
    in[20] = '\n';
    for (size_t room = 0; room <= sizeof(out); room++) {
        memset(out, '#', sizeof(out));
        char *end = json_text(out, str_of(in, sizeof(out)), room);
        assert_true((size_t) (end - out) <= room);
        for (size_t i = room; i < sizeof(out); i++)
            assert_int_equal(out[i], '#');
        assert_true(end == out || end[-1] != '\\');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_every_byte),
        cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

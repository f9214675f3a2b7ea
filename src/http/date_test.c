/* SPDX-License-Identifier: Apache-2.0 */
#include "http/date.h"

#include <time.h>

#include "http/http_test.h"

static void test_known(void **state)
{
    (void) state;
    static const struct {
        int64_t second;
        const char *text;
    } rows[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110 5.6.7 */
        {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {951868800, "Wed, 01 Mar 2000 00:00:00 GMT"},
        {1709251199, "Thu, 29 Feb 2024 23:59:59 GMT"},
        {4107542400, "Mon, 01 Mar 2100 00:00:00 GMT"},
        {253402300799, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {253402300800, "Fri, 31 Dec 9999 23:59:59 GMT"},
        {-5, "Thu, 01 Jan 1970 00:00:00 GMT"},
    };
    struct date_cache c = {.second = -1};
    for (size_t i = 0; i < ROWS(rows); i++)
        same_str(date_text(&c, rows[i].second * 1000000), rows[i].text, "date", STR(""));
}

static void test_against_libc(void **state)
{
    (void) state;
    struct date_cache c = {.second = -1};
    for (int64_t s = 0; s < INT64_C(8000000000); s += 777777) {
        char want[64];
        struct tm tm;
        time_t t = (time_t) s;
        strftime(want, sizeof(want), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&t, &tm));
        same_str(date_text(&c, s * 1000000 + 999999), want, "date", STR(""));
    }
}

static void test_read(void **state)
{
    (void) state;
    static const char *const wrong[] = {
        "",
        "1",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Mon, 06 Nov 1994 08:49:37 GMT", /* it was a Sunday */
        "Sun, 06 Nov 1994 08:49:60 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:4::37 GMT",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "Wed, 31 Dec 1969 23:59:59 GMT",
    };
    struct date_cache c = {.second = -1};
    int64_t got;
    for (size_t i = 0; i < ROWS(wrong); i++)
        assert_false(date_read(str_c(wrong[i]), &got));
    for (int64_t s = 0; s < INT64_C(253402300800); s += 86400 * 11 + 7777) {
        assert_true(date_read(date_text(&c, s * 1000000), &got));
        assert_int_equal(got, s);
    }
}

static void test_cached(void **state)
{
    (void) state;
    struct date_cache c = {.second = -1};
    (void) date_text(&c, 5000000);
    c.text[0] = '#';
    assert_int_equal(date_text(&c, 5999999).p[0], '#');
    assert_int_equal(date_text(&c, 6000000).p[0], 'T');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_against_libc),
        cmocka_unit_test(test_read),
        cmocka_unit_test(test_cached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

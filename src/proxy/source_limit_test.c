/* SPDX-License-Identifier: Apache-2.0 */
/* Exact for each source, and no memory of those that have nothing. */
#include "proxy/source_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct ip of(const char *text)
{
    struct ip ip;
    assert_true(ip_parse(str_c(text), &ip));
    return ip;
}

static void counts(void **state)
{
    (void) state;
    struct source_limit *s = source_limit_new();
    assert_true(source_limit_take(s, of("192.0.2.1"), 2));
    assert_true(source_limit_take(s, of("192.0.2.1"), 2));
    assert_false(source_limit_take(s, of("192.0.2.1"), 2));
    assert_true(source_limit_take(s, of("192.0.2.2"), 2));
    source_limit_put(s, of("192.0.2.1"));
    assert_true(source_limit_take(s, of("192.0.2.1"), 2));
    for (int i = 0; i < 2; i++)
        source_limit_put(s, of("192.0.2.1"));
    source_limit_put(s, of("192.0.2.2"));
    source_limit_free(s); /* checks that nothing is left */
}

static void one_network_is_one_source(void **state)
{
    (void) state;
    struct source_limit *s = source_limit_new();
    assert_true(source_limit_take(s, of("2001:db8:1:2::1"), 1));
    assert_false(source_limit_take(s, of("2001:db8:1:2:ffff::9"), 1));
    assert_true(source_limit_take(s, of("2001:db8:1:3::1"), 1));
    source_limit_put(s, of("2001:db8:1:2::77"));
    source_limit_put(s, of("2001:db8:1:3::1"));
    source_limit_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts),
        cmocka_unit_test(one_network_is_one_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which fields rules may touch, and fields that Weir alone writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "proxy/field_rule.h"

static void test_owned_names(void **state)
{
    (void) state;
    static const struct {
        const char *name;
        bool request, response; /* refused there */
    } rows[] = {
        {"Content-Length", true, true},
        {"content_length", true, true},
        {"TRANSFER-ENCODING", true, true},
        {"Connection", true, true},
        {"Keep-Alive", true, true},
        {"proxy_connection", true, true},
        {"Upgrade", true, true},
        {"Trailer", true, true},
        {"TE", true, false},
        {"HTTP2-Settings", true, false},
        {"Expect", true, false},
        {"Host", true, false},
        {"", true, true},
        {"a b", true, true},
        {"a:", true, true},
        {"X-Forwarded-For", false, false},
        {"Date", false, false},
        {"Content-Length-X", false, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct str name = str_c(rows[i].name);
        assert_int_equal(field_rule_wrong(name, FIELD_RULE_REQUEST) != NULL, rows[i].request);
        assert_int_equal(field_rule_wrong(name, FIELD_RULE_RESPONSE) != NULL, rows[i].response);
    }
}

static void test_aliases(void **state)
{
    (void) state;
    struct arena a;
    struct fields f;
    arena_init(&a, NULL, 1u << 16);
    fields_init(&f, &a);
    static const char *const names[] = {"x_id", "X-ID", "Accept", "x-id", "X_Id", "x_id", "X-I"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_true(fields_add(&f, str_c(names[i]), STR("v")));
    assert_int_equal(fields_remove_alias(&f, STR("X-Id")), 5);
    assert_int_equal(f.n, 2);
    assert_int_equal(fields_remove_alias(&f, STR("X-Id")), 0);
    assert_true(fields_add(&f, STR("x_id"), STR("forged")));
    assert_true(fields_own(&f, STR("X-Id"), STR("true")));
    assert_int_equal(f.n, 3);
    assert_true(str_eq(fields_get(&f, STR("x-id"))->value, STR("true")));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owned_names),
        cmocka_unit_test(test_aliases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

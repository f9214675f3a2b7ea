/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes16.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>

#include <cmocka.h>

#define LONGEST 200u

/* Exactly n bytes are copied, whatever n. */
static void test_put(void **state)
{
    (void) state;
    char from[LONGEST], to[LONGEST + 2];
    for (unsigned i = 0; i < LONGEST; i++)
        from[i] = (char) (i + 1);
    for (unsigned n = 0; n < LONGEST; n++) {
        memset(to, 0, sizeof(to));
        assert_ptr_equal(bytes_put(to + 1, from, n), to + 1 + n);
        assert_int_equal(to[0], 0);
        assert_memory_equal(to + 1, from, n);
        assert_int_equal(to[1 + n], 0);
    }
}

/* What is answered holds each byte that was copied, and no other. */
static void test_short(void **state)
{
    (void) state;
    const char from[] = "abcdefghijklmnop";
    char to[18];
    for (unsigned n = 4; n <= 16; n++) {
        memset(to, 0, sizeof(to));
        bytes16 v = bytes16_copy_short(to + 1, from, n);
        assert_int_equal(to[0], 0);
        assert_memory_equal(to + 1, from, n);
        assert_int_equal(to[1 + n], 0);
        for (unsigned i = 0; i < 16; i++)
            assert_int_equal(bytes16_mask((bytes16) (v == (uint8_t) from[i])) != 0, i < n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks keep their numbers and contents, whoever still looks at older memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/slab.h"

static void blocks_are_zeroed_and_apart(void **state)
{
    (void) state;
    struct slab s;
    slab_init(&s, 8);
    uint32_t at[40];
    for (uint32_t n = 1; n < 40; n++) {
        at[n] = slab_take(&s, n);
        assert_int_not_equal(at[n], 0);
        for (uint32_t i = 0; i < n * 8; i++)
            assert_int_equal(((char *) slab_at(&s, at[n]))[i], 0);
        memset(slab_at(&s, at[n]), (int) n, n * 8);
    }
    for (uint32_t n = 1; n < 40; n++) {
        for (uint32_t i = 0; i < n * 8; i++)
            assert_int_equal(((char *) slab_at(&s, at[n]))[i], n);
    }
    slab_fini(&s);
}

static void what_is_given_back_is_taken_again(void **state)
{
    (void) state;
    struct slab s;
    slab_init(&s, 4);
    for (uint32_t n = 1; n < 5000; n = n * 3 / 2 + 1) {
        uint32_t a = slab_take(&s, n), b = slab_take(&s, n), before = s.n;
        memset(slab_at(&s, a), 1, (size_t) n * 4);
        slab_give(&s, a, n);
        slab_give(&s, b, n);
        assert_int_equal(slab_take(&s, n), b);
        assert_int_equal(slab_take(&s, n), a);
        assert_int_equal(*(uint32_t *) slab_at(&s, a + n - 1), 0);
        assert_int_equal(s.n, before);
    }
    slab_give(&s, 0, 7);
    slab_fini(&s);
}

static void memory_that_is_held_stays_as_it_was(void **state)
{
    (void) state;
    struct slab s;
    slab_init(&s, 64);
    uint32_t at = slab_take(&s, 2);
    memset(slab_at(&s, at), 7, 128);
    struct slab_memory *held = slab_memory_ref(&s);
    slab_reserve(&s, 100);
    assert_ptr_not_equal(s.memory, held);
    assert_int_equal((uintptr_t) held->items % 64, 0);
    assert_int_equal((uintptr_t) s.memory->items % 64, 0);
    memset(slab_at(&s, at), 8, 128);
    assert_int_equal(held->items[at * 64], 7);
    slab_fini(&s);
    assert_int_equal(held->items[at * 64 + 127], 7);
    slab_memory_unref(held);
    slab_memory_unref(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_zeroed_and_apart),
        cmocka_unit_test(what_is_given_back_is_taken_again),
        cmocka_unit_test(memory_that_is_held_stays_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

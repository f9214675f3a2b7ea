/* SPDX-License-Identifier: Apache-2.0 */
/* The heap's helpers, accounts and the limit above them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/mem.h"
#include "base/panic.h"
#include "base/test_hooks.h"

static void makes_strings(void **state)
{
    (void) state;
    char *z = mem_strdup(str_of("abcdef", 3));
    assert_string_equal(z, "abc");
    mem_free(z);
    z = mem_printf("%d-%s", 4, "x");
    assert_string_equal(z, "4-x");
    mem_free(z);
    struct str s = mem_str(STR("view"));
    assert_int_equal(s.n, 4);
    assert_string_equal(s.p, "view");
    mem_free((void *) (uintptr_t) s.p);
    unsigned char *zeroed = mem_new_aligned(256, 64);
    assert_int_equal((uintptr_t) zeroed % 64, 0);
    assert_int_equal(zeroed[255], 0);
    mem_free(zeroed);
}

static void large_pieces_lie_on_large_pages(void **state)
{
    (void) state;
    const size_t sizes[] = {1, 100, (2u << 20) - 1, 2u << 20, (5u << 20) + 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *p = mem_new_large(sizes[i]);
        assert_int_equal((uintptr_t) p % (sizes[i] < 2u << 20 ? 64 : 2u << 20), 0);
        p[0] = p[sizes[i] - 1] = 1;
        mem_free(p);
    }
}

static void charges_exactly_to_the_limit(void **state)
{
    (void) state;
    struct mem_limit limit = {.max = MEM_LEASE + 100};
    struct mem_account a = {.limit = &limit}, b = {.limit = &limit};
    assert_true(mem_charge(&a, 10));
    assert_int_equal(limit.leased, MEM_LEASE);
    /* Less than a whole lease is left: b gets exactly what it asks for. */
    assert_true(mem_charge(&b, 100));
    assert_false(mem_charge(&b, 1));
    assert_int_equal(b.refused, 1);
    assert_int_equal(b.used, 100);
    mem_credit(&b, 100);
    assert_true(mem_charge(&b, 60));
    mem_credit(&b, 60);
    mem_credit(&a, 10);
    mem_account_fini(&a);
    mem_account_fini(&b);
    assert_int_equal(limit.leased, 0);
}

static void returns_surplus_leases(void **state)
{
    (void) state;
    struct mem_limit limit = {.max = 64 * MEM_LEASE};
    struct mem_account a = {.limit = &limit};
    assert_true(mem_charge(&a, 10 * MEM_LEASE));
    mem_credit(&a, 10 * MEM_LEASE);
    assert_true(limit.leased <= 2 * MEM_LEASE);
    assert_false(mem_charge(&a, 64 * (size_t) MEM_LEASE + 1));
    assert_false(mem_charge(&a, SIZE_MAX / 2));
    mem_account_fini(&a);
    assert_int_equal(limit.leased, 0);
}

static void fails_the_nth_charge(void **state)
{
    (void) state;
    struct mem_account a = {.fail_after = 3};
    assert_true(mem_charge(&a, 1));
    assert_true(mem_charge(&a, 1));
    assert_false(mem_charge(&a, 1));
    assert_true(mem_charge(&a, 1));
    assert_int_equal(a.refused, 1);
    mem_credit(&a, 3);
    mem_account_fini(&a);
}

/* The hook is there in debug builds and inert in release builds. */
static void hook_fails_each_nth_charge(void **state)
{
    (void) state;
    struct mem_account a = {0};
    test_hooks_set(0, 2);
    unsigned refused = 0;
    for (int i = 0; i < 10; i++)
        refused += !mem_charge(&a, 1);
    test_hooks_set(0, 0);
    assert_int_equal(refused, WEIR_DEBUG ? 5 : 0);
    mem_credit(&a, a.used);
    mem_account_fini(&a);
}

#define ROUNDS 20000

static void *charge_and_credit(void *arg)
{
    struct mem_account a = {.limit = arg};
    for (size_t i = 0; i < ROUNDS; i++) {
        size_t n = (i % 7) * 100000;
        if (mem_charge(&a, n))
            mem_credit(&a, n);
    }
    mem_account_fini(&a);
    return NULL;
}

static void accounts_share_a_limit(void **state)
{
    (void) state;
    struct mem_limit limit = {.max = 1000000};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, charge_and_credit, &limit), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(limit.leased, 0);
}

static void knows_the_machine(void **state)
{
    (void) state;
    assert_true(mem_default_limit() > 1024 * 1024);
    assert_true(mem_resident() > 100 * 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_strings),
        cmocka_unit_test(large_pieces_lie_on_large_pages),
        cmocka_unit_test(charges_exactly_to_the_limit),
        cmocka_unit_test(returns_surplus_leases),
        cmocka_unit_test(fails_the_nth_charge),
        cmocka_unit_test(hook_fails_each_nth_charge),
        cmocka_unit_test(accounts_share_a_limit),
        cmocka_unit_test(knows_the_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

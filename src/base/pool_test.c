/* SPDX-License-Identifier: Apache-2.0 */
/* Pools: charging, refusal, parking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/pool.h"

static void charges_and_refuses(void **state)
{
    (void) state;
    struct mem_limit limit = {.max = 100};
    struct mem_account account = {.limit = &limit};
    struct pool p;
    pool_init(&p, 33, 8, &account);
    assert_int_equal(p.size, 48);
    void *a = pool_get(&p), *b = pool_get(&p);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal((uintptr_t) a % 16, 0);
    assert_null(pool_get(&p));
    assert_int_equal(p.n_used, 2);
    pool_put(&p, a);
    assert_int_equal(account.used, 48);
    a = pool_get(&p);
    assert_non_null(a);
    pool_put(&p, a);
    pool_put(&p, b);
    pool_fini(&p);
    mem_account_fini(&account);
}

static void parks_up_to_keep(void **state)
{
    (void) state;
    struct pool p;
    void *objects[10];
    pool_init(&p, 64, 4, NULL);
    uint32_t parks = p.keep; /* none under AddressSanitizer */
    for (int i = 0; i < 10; i++) {
        objects[i] = pool_get(&p);
        memset(objects[i], i, p.size);
    }
    for (int i = 0; i < 10; i++)
        pool_put(&p, objects[i]);
    assert_int_equal(p.n_free, parks);
    assert_int_equal(p.n_used, 0);
    void *last = pool_get(&p);
    if (parks)
        assert_ptr_equal(last, objects[3]);
    pool_put(&p, last);
    pool_trim(&p, 1);
    assert_true(p.n_free <= 1);
    pool_fini(&p);
    assert_int_equal(p.n_free, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(charges_and_refuses),
        cmocka_unit_test(parks_up_to_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

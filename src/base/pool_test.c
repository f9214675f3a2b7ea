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

/* Whatever comes and goes, the account has what is used and at most some objects more; near the
 * limit nothing is charged ahead. */
static void charges_ahead(void **state)
{
    (void) state;
    struct mem_limit limit = {.max = 8 * 48};
    struct mem_account account = {.limit = &limit};
    struct pool p;
    void *objects[8];
    uint32_t n = 0, ahead = WEIR_DEBUG ? 0 : 4;
    pool_init(&p, 48, 8, &account);
    pool_charge_ahead(&p, 4);
    for (uint32_t round = 0; round < 64; round++) {
        bool get = round % 32 < 16 ? round % 4 != 3 : round % 4 == 3;
        if (get && n < 8) {
            objects[n] = pool_get(&p);
            assert_non_null(objects[n++]);
        } else if (!get && n > 0) {
            pool_put(&p, objects[--n]);
        }
        assert_int_equal(p.n_used, n);
        assert_true(p.n_charged >= n && p.n_charged <= n + ahead);
        assert_int_equal(account.used, 48 * p.n_charged);
    }
    while (n < 8)
        assert_non_null(objects[n++] = pool_get(&p));
    assert_null(pool_get(&p));
    while (n > 0)
        pool_put(&p, objects[--n]);
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
        cmocka_unit_test(charges_ahead),
        cmocka_unit_test(parks_up_to_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void counts_what_is_held(void **state)
{
    (void) state;
    struct heap h = {0};
    char *p = heap_zalloc(10, 10, &h);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0);
    size_t small = h.used;
    assert_true(small >= 100);
    memset(p, 'x', 100);
    p = heap_resize(p, 1000, &h);
    assert_int_equal(h.used, small + 900);
    assert_int_equal(p[99], 'x');
    p = heap_resize(p, 50, &h);
    assert_int_equal(h.used, small - 50);
    assert_int_equal(p[49], 'x');
    void *q = heap_resize(NULL, 1, &h);
    heap_free(p, &h);
    heap_free(q, &h);
    heap_free(NULL, &h);
    assert_int_equal(h.used, 0);
}

static void settles_with_an_account(void **state)
{
    (void) state;
    struct mem_limit limit = {.max = 1u << 20};
    struct mem_account a = {.limit = &limit};
    struct heap h = {0};
    void *p = heap_alloc(10000, &h);
    assert_true(heap_settle(&h, &a));
    assert_true(a.used >= h.used && a.used == h.charged);
    uint64_t before = a.used;
    void *q = heap_alloc(2u << 20, &h); /* handed out, but never charged */
    assert_false(heap_settle(&h, &a));
    assert_int_equal(a.used, before);
    heap_free(q, &h);
    assert_true(heap_settle(&h, &a));
    heap_free(p, &h);
    assert_true(heap_settle(&h, &a));
    assert_int_equal(a.used, 0);
    mem_account_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_is_held),
        cmocka_unit_test(settles_with_an_account),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

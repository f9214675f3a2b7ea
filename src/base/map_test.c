/* SPDX-License-Identifier: Apache-2.0 */
/* map and list. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"

static void sets_gets_removes(void **state)
{
    (void) state;
    struct map m = {0};
    int one = 1, two = 2;
    assert_null(map_get(&m, STR("a")));
    assert_null(map_remove(&m, STR("a")));
    assert_null(map_set(&m, STR("a"), &one));
    assert_null(map_set(&m, STR(""), &two));
    assert_ptr_equal(map_set(&m, STR("a"), &two), &one);
    assert_ptr_equal(map_get(&m, STR("a")), &two);
    assert_ptr_equal(map_get(&m, STR("")), &two);
    assert_int_equal(m.n, 2);
    assert_ptr_equal(map_remove(&m, STR("a")), &two);
    assert_null(map_get(&m, STR("a")));
    map_fini(&m);
    assert_int_equal(m.n, 0);
}

#define KEYS 500

/* Against a plain array of what must be in it. */
static void agrees_with_an_array(void **state)
{
    (void) state;
    static int values[KEYS];
    bool in[KEYS] = {false};
    struct map m = {0};
    for (int round = 0; round < 20000; round++) {
        size_t k = clock_random() % KEYS;
        char key[16];
        int n = snprintf(key, sizeof key, "key-%zu", k);
        struct str s = str_of(key, (size_t) n);
        assert_ptr_equal(map_get(&m, s), in[k] ? &values[k] : NULL);
        if (clock_random() & 1)
            assert_ptr_equal(map_set(&m, s, &values[k]), in[k] ? &values[k] : NULL);
        else
            assert_ptr_equal(map_remove(&m, s), in[k] ? &values[k] : NULL);
        in[k] = map_get(&m, s) != NULL;
    }
    size_t expected = 0, seen = 0, at = 0;
    struct str key;
    void *value;
    for (size_t k = 0; k < KEYS; k++)
        expected += in[k];
    while (map_next(&m, &at, &key, &value)) {
        assert_true(in[(int *) value - values]);
        seen++;
    }
    assert_int_equal(seen, expected);
    assert_int_equal(m.n, expected);
    map_fini(&m);
}

struct item {
    int v;
    struct list_node node;
};

static void links_and_unlinks(void **state)
{
    (void) state;
    struct list l;
    struct item a = {.v = 1}, b = {.v = 2}, c = {.v = 3};
    list_init(&l);
    assert_true(list_empty(&l));
    assert_null(list_pop_front(&l));
    list_push_back(&l, &b.node);
    list_push_back(&l, &c.node);
    list_push_front(&l, &a.node);
    int sum = 0;
    list_each(it, &l) {
        sum = sum * 10 + list_entry(it, struct item, node)->v;
    }
    assert_int_equal(sum, 123);
    list_each_safe(it, &l) {
        if (list_entry(it, struct item, node)->v != 2)
            list_remove(it);
    }
    assert_false(list_linked(&a.node));
    list_remove(&a.node);
    assert_ptr_equal(list_pop_front(&l), &b.node);
    assert_true(list_empty(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_gets_removes),
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(links_and_unlinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

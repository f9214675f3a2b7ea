/* SPDX-License-Identifier: Apache-2.0 */
/* Views: comparison, search, lists, numbers and hashes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/str.h"

static void compares(void **state)
{
    (void) state;
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_true(str_eq(str_of(NULL, 0), STR("")));
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), str_c(NULL)));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("abc"), STR("ab")));
    assert_true(str_istarts(STR("Bearer x"), STR("bearer ")));
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("ab"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR("a"), STR("a")), 0);
    assert_true(str_cmp(str_of(NULL, 0), STR("a")) < 0);
}

/* Every byte against every byte, at every place in words of every length up to 20. */
static void ignores_case_only_of_letters(void **state)
{
    (void) state;
    for (size_t n = 1; n <= 20; n++) {
        char a[20], b[20];
        memset(a, 'x', n);
        memset(b, 'X', n);
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                for (unsigned d = n == 1 ? 0 : c & 0x5f; d < 256; d += n == 1 ? 1 : 0x20) {
                    a[at] = (char) c;
                    b[at] = (char) d;
                    bool same = str_lower((char) c) == str_lower((char) d);
                    assert_int_equal(str_ieq(str_of(a, n), str_of(b, n)), same);
                }
            }
            a[at] = 'x';
            b[at] = 'X';
        }
        assert_int_equal(str_ihash(str_of(a, n)), str_ihash(str_of(b, n)));
        assert_int_not_equal(str_hash(str_of(a, n)), str_hash(str_of(b, n)));
    }
    assert_true(str_ieq(str_of(NULL, 0), STR("")));
    assert_false(str_ieq(STR("a"), STR("ab")));
}

static void finds(void **state)
{
    (void) state;
    assert_int_equal(str_find(STR("a,b,c"), ','), 1);
    assert_int_equal(str_rfind(STR("a,b,c"), ','), 3);
    assert_int_equal(str_find(STR("abc"), 'x'), -1);
    assert_int_equal(str_find(str_of(NULL, 0), 'x'), -1);
    assert_int_equal(str_rfind(str_of(NULL, 0), 'x'), -1);
    assert_true(str_eq(str_sub(STR("abcdef"), 2, 4), STR("cd")));
    assert_true(str_eq(str_sub(STR("abc"), 1, 99), STR("bc")));
    assert_int_equal(str_sub(STR("abc"), 3, 1).n, 0);
    assert_true(str_eq(str_trim(STR(" \t a b \t")), STR("a b")));
    assert_int_equal(str_trim(STR(" \t ")).n, 0);
}

static void walks_lists(void **state)
{
    (void) state;
    struct str list = STR(", a ,,\t\"x,\\\",y\"; q=1, b,"), item;
    assert_true(str_next_item(&list, &item));
    assert_true(str_eq(item, STR("a")));
    assert_true(str_next_item(&list, &item));
    assert_true(str_eq(item, STR("\"x,\\\",y\"; q=1")));
    assert_true(str_next_item(&list, &item));
    assert_true(str_eq(item, STR("b")));
    assert_false(str_next_item(&list, &item));
    list = STR("a, \"never closed, b");
    assert_true(str_next_item(&list, &item));
    assert_true(str_next_item(&list, &item));
    assert_true(str_eq(item, STR("\"never closed, b")));
    assert_false(str_next_item(&list, &item));
    assert_true(str_has_token(STR("Keep-Alive, Upgrade"), STR("upgrade")));
    assert_false(str_has_token(STR("upgraded"), STR("upgrade")));
    assert_true(str_printable(STR("")) && str_printable(STR(" ~\xc3\xa9")));
    assert_false(str_printable(STR("a\x1b")) || str_printable(STR("\x7f")));
}

static void reads_numbers(void **state)
{
    (void) state;
    uint64_t v = 7;
    assert_true(str_to_u64(STR("18446744073709551615"), &v));
    assert_true(v == UINT64_MAX);
    const char *bad[] = {
        "", "18446744073709551616", "99999999999999999999", "+1", "-1", " 1", "1 ", "0x10", "1a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(str_to_u64(str_c(bad[i]), &v));
    assert_true(str_to_u64(STR("007"), &v));
    assert_int_equal(v, 7);
}

static void hashes(void **state)
{
    (void) state;
    /* One flipped bit changes about half of the bits, for each length. */
    char text[40] = "the quick brown fox jumps over the lazy";
    for (size_t n = 1; n < sizeof text; n++) {
        uint64_t keyed = str_hash(str_of(text, n));
        uint64_t stable = str_stable_hash(str_of(text, n), 1);
        assert_true(keyed == str_hash(str_of(text, n)));
        text[n / 2] ^= 1;
        assert_in_range(__builtin_popcountll(keyed ^ str_hash(str_of(text, n))), 8, 56);
        assert_in_range(__builtin_popcountll(stable ^ str_stable_hash(str_of(text, n), 1)), 8, 56);
        text[n / 2] ^= 1;
        assert_true(stable != str_stable_hash(str_of(text, n), 2));
    }
    /* The stable hash is the same for ever: it places content on endpoints. */
    assert_true(str_stable_hash(STR("weir"), 0) == UINT64_C(0xe44746ce8b7a9570));
    assert_true(str_stable_hash(STR(""), 0) != str_stable_hash(str_of("\0", 1), 0));
}

static void measures_distance(void **state)
{
    (void) state;
    assert_int_equal(str_distance(STR("upstream"), STR("upstream"), 3), 0);
    assert_int_equal(str_distance(STR("upstraem"), STR("upstream"), 3), 2);
    assert_int_equal(str_distance(STR("kitten"), STR("sitting"), 5), 3);
    assert_int_equal(str_distance(STR("abc"), STR("xyz"), 2), 3);
    assert_int_equal(str_distance(STR(""), STR("ab"), 3), 2);
    char lengthy[100];
    memset(lengthy, 'a', sizeof lengthy);
    assert_int_equal(str_distance(str_of(lengthy, 100), str_of(lengthy, 99), 3), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares),
        cmocka_unit_test(ignores_case_only_of_letters),
        cmocka_unit_test(finds),
        cmocka_unit_test(walks_lists),
        cmocka_unit_test(reads_numbers),
        cmocka_unit_test(hashes),
        cmocka_unit_test(measures_distance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

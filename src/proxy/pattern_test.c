/* SPDX-License-Identifier: Apache-2.0 */
/* Regexes: what matches, what is captured, and that none runs for long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/pattern.h"

static struct arena arena;

/* Compiles, matches, keeps what group 1 captured. */
static enum fault match(const char *text, bool anchored, struct str subject, bool *yes,
                        struct str *group)
{
    char *why = NULL;
    struct pattern *p = pattern_new(str_c(text), anchored, &why);
    if (!p)
        fail_msg("%s", why);
    struct pattern_run run = {.arena = &arena};
    enum fault f = pattern_match(p, subject, &run, yes);
    if (*yes && group)
        *group = pattern_group(&run, subject, 1);
    pattern_run_end(&run);
    pattern_free(p);
    return f;
}

static bool matches(const char *text, bool anchored, const char *subject)
{
    bool yes;
    assert_int_equal(match(text, anchored, str_c(subject), &yes, NULL), FAULT_OK);
    return yes;
}

static void anchors(void **state)
{
    (void) state;
    assert_true(matches("b", false, "abc"));
    assert_false(matches("b", true, "abc"));
    assert_true(matches("a", true, "abc"));
    assert_true(matches("c$", false, "abc"));
    assert_false(matches("c$", false, "abc\n"));
    assert_true(matches("", true, ""));
    bool yes;
    assert_int_equal(match("^$", false, (struct str){0}, &yes, NULL), FAULT_OK);
    assert_true(yes);
}

static void groups(void **state)
{
    (void) state;
    bool yes;
    struct str g = {0}, subject = STR("/user/42/x");
    assert_int_equal(match("/([0-9]+)/", false, subject, &yes, &g), FAULT_OK);
    assert_true(yes && str_eq(g, STR("42")));
    assert_int_equal(match("/user(none)?", true, subject, &yes, &g), FAULT_OK);
    assert_true(yes && g.n == 0 && g.p == subject.p);
    assert_int_equal(
        match("(1)?(2)?(3)?(4)?(5)?(6)?(7)?(8)?(9)?(10)?(11)?/", true, subject, &yes, &g),
        FAULT_OK);
    assert_true(yes);
    char *why;
    struct pattern *p = pattern_new(STR("(a)(b(c))"), true, &why);
    assert_int_equal(pattern_groups(p), 3);
    pattern_free(p);
}

static void errors_are_told(void **state)
{
    (void) state;
    const char *bad[] = {"(", "[", "*", "a{2,1}", "\\C", "(?<n>a)(?<n>b)", "(?=a\\K)"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        char *why = NULL;
        assert_null(pattern_new(str_c(bad[i]), false, &why));
        assert_non_null(strstr(why, "at byte"));
        mem_free(why);
    }
}

static void none_runs_for_long(void **state)
{
    (void) state;
    const char *bad[] = {"(/(a+)+)+$(?<!x)", "(.*)/(.*)/(.*)/(.*)/[zy]$", ".*.*.*.*.*[zy]$",
                         "([a-z/]+)*[zy]"};
    static char text[8192];
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < sizeof(text) - 1; i += 13)
        text[i] = '/';
    text[sizeof(text) - 1] = '!';
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        bool yes = true;
        struct str subject = str_of(text, sizeof(text));
        assert_int_equal(match(bad[i], true, subject, &yes, NULL), FAULT_MATCH_LIMIT);
        assert_false(yes);
        assert_int_equal(match(bad[i], false, subject, &yes, NULL), FAULT_MATCH_LIMIT);
        assert_false(yes);
    }
}

static void small_arenas_refuse(void **state)
{
    (void) state;
    char *why;
    struct pattern *p = pattern_new(STR("a"), true, &why);
    for (size_t max = 0; max < 1024; max += 16) {
        struct arena small;
        bool yes = true;
        arena_init(&small, NULL, max);
        struct pattern_run run = {.arena = &small};
        enum fault f = pattern_match(p, STR("a"), &run, &yes);
        assert_true(f == FAULT_OK ? yes : f == FAULT_MEMORY && !yes);
        pattern_run_end(&run);
        arena_fini(&small);
    }
    pattern_free(p);
}

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, NULL, SIZE_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(anchors),
        cmocka_unit_test(groups),
        cmocka_unit_test(errors_are_told),
        cmocka_unit_test(none_runs_for_long),
        cmocka_unit_test(small_arenas_refuse),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* target_test.c: URLs taken apart. */
#include "app/target.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct row {
    const char *url, *endpoint, *host, *prefix, *query;
};

static const struct row rows[] = {
    {"http://localhost:8080", "localhost:8080", "localhost:8080", "", ""},
    {"http://example.com", "example.com:80", "example.com", "", ""},
    {"http://example.com/base/", "example.com:80", "example.com", "/base", ""},
    {"http://[::1]:81/a?x=$1&y", "[::1]:81", "[::1]:81", "/a", "?x=$$1&y"},
    {"unix:/run/app.sock", "unix:/run/app.sock", "upstream", "", ""},
};

static void same(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p ? got.p : "", want, got.n);
}

static void reads_urls(void **state)
{
    (void) state;
    for (size_t i = 0; i < SCHEMA_COUNT(rows); i++) {
        struct arena a;
        struct target t;
        struct rewrite_conf r = {.host = STR("")};
        arena_init(&a, NULL, SIZE_MAX);
        assert_null(target_read(&t, str_c(rows[i].url), &a));
        same(t.endpoint, rows[i].endpoint);
        target_rewrite(&t, true, &r);
        same(r.host, rows[i].host);
        same(r.add_prefix, rows[i].prefix);
        same(r.replace, rows[i].query);
        arena_fini(&a);
    }
}

static void refuses_others(void **state)
{
    (void) state;
    static const char *const bad[] = {"",
                                      "localhost",
                                      "ftp://x",
                                      "http://user@host/",
                                      "http://",
                                      "http://host:99999",
                                      "unix:relative",
                                      "http://10.0.0.256",
                                      "http://a_b..c"};
    for (size_t i = 0; i < SCHEMA_COUNT(bad); i++) {
        struct arena a;
        struct target t;
        arena_init(&a, NULL, SIZE_MAX);
        assert_non_null(target_read(&t, str_c(bad[i]), &a));
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_urls),
        cmocka_unit_test(refuses_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* history: what is kept, over restarts, of torn files and without a directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/history.h"
#include "base/mem.h"

static void expect(const struct history *h, uint32_t back, const char *want)
{
    size_t n;
    char *why = NULL, *text = history_text(h, back, &n, &why);
    if (!text)
        fail_msg("%s", why);
    assert_int_equal(n, strlen(want));
    assert_memory_equal(text, want, n);
    mem_free(text);
}

static void add(struct history *h, unsigned from, unsigned to)
{
    for (unsigned i = from; i <= to; i++) {
        char text[32];
        snprintf(text, sizeof text, "workers: %u\n", i);
        history_add(h, str_c(text), "signal", i == 7 ? "somebody else" : "");
    }
}

static void test_without_a_directory(void **state)
{
    (void) state;
    struct history h;
    char *why = NULL;
    size_t n;
    history_open(&h, STR(""), (struct history_pen){0});
    assert_null(history_text(&h, 1, &n, &why));
    assert_string_equal(why,
                        "there are 0 earlier configurations: weir history lists what there is");
    mem_free(why);
    add(&h, 1, 25);
    add(&h, 25, 25); /* as it is */
    assert_int_equal(h.n, HISTORY_KEPT);
    expect(&h, 0, "workers: 25\n");
    expect(&h, 19, "workers: 6\n");
    for (uint32_t back = 0; back < HISTORY_KEPT; back++) {
        char want[32];
        snprintf(want, sizeof want, "workers: %u\n", 25 - back);
        expect(&h, back, want);
    }
    assert_int_equal(h.v[3].text.n, 1); /* the rest is in the newer one */
    /* Beyond the bound only the newest are held. */
    size_t big = HISTORY_MEMORY - 20;
    char *text = mem_new(big);
    memset(text, '#', big);
    history_add(&h, str_of(text, big), "api", "");
    mem_free(text);
    assert_null(history_text(&h, 19, &n, &why));
    mem_free(why);
    expect(&h, 1, "workers: 25\n");
    history_close(&h);
}

/* Texts that grow, shrink, repeat and are empty come back as they were. */
static void test_texts_are_made_from_newer_ones(void **state)
{
    (void) state;
    static const char *const texts[] = {"",       "aaaa", "aa",      "aaa",  "b",    "bab", "",
                                        "abcabc", "abc",  "abcXabc", "abab", "ab\n", "x",   "xx"};
    const uint32_t n = sizeof texts / sizeof texts[0];
    struct history h;
    history_open(&h, STR(""), (struct history_pen){0});
    for (uint32_t i = 0; i < n; i++)
        history_add(&h, str_c(texts[i]), "signal", "");
    assert_int_equal(h.n, n);
    for (uint32_t i = 0; i < n; i++)
        expect(&h, n - 1 - i, texts[i]);
    history_close(&h);
}

static void test_a_directory_survives(void **state)
{
    (void) state;
    char dir[] = "/tmp/weir-history-XXXXXX", path[128];
    struct history h;
    struct text json = {0};
    assert_non_null(mkdtemp(dir));
    history_open(&h, str_c(dir), (struct history_pen){0});
    add(&h, 1, 23);
    history_close(&h);
    /* A torn file is no entry, nor is one that was killed while it was written. */
    snprintf(path, sizeof path, "%s/config-00000024.yaml", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("# weir-hist", f);
    fclose(f);
    snprintf(path, sizeof path, "%s/config-00000025.yaml.new", dir);
    f = fopen(path, "w");
    assert_non_null(f);
    fclose(f);
    history_open(&h, str_c(dir), (struct history_pen){0});
    assert_int_equal(h.n, HISTORY_KEPT);
    expect(&h, 0, "workers: 23\n");
    expect(&h, 19, "workers: 4\n");
    history_json(&h, &json);
    text_add(&json, str_of("", 1));
    assert_non_null(strstr(json.p, "\"origin\":\"signal\",\"who\":\"somebody else\""));
    text_fini(&json);
    add(&h, 23, 24);
    assert_int_equal(h.v[h.n - 1].number, 24);
    for (unsigned i = 1; i < 26; i++) {
        snprintf(path, sizeof path, "%s/config-%08u.yaml", dir, i);
        unlink(path);
    }
    size_t n;
    char *why = NULL;
    assert_null(history_text(&h, 0, &n, &why)); /* somebody removed it */
    mem_free(why);
    history_close(&h);
    snprintf(path, sizeof path, "%s/config-00000025.yaml.new", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_directory),
        cmocka_unit_test(test_texts_are_made_from_newer_ones),
        cmocka_unit_test(test_a_directory_survives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

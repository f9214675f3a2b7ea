/* SPDX-License-Identifier: Apache-2.0 */
/* state_file: what was written is read again, whole or not at all. */
#include "control/state_file.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control/control_test.h"

#include "base/file_io.h"

#define LIST "[{'route':'a','set':{'name':'a','match':'/a'}},{'upstream':'u','breaker':'open'}]"

static char dir[64];

static struct str dir_str(void)
{
    return str_c(dir);
}

static int make_dir(void **state)
{
    (void) state;
    snprintf(dir, sizeof dir, "/tmp/weir-state-file-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

/* Removes what lies in the directory; returns how many files of another name than that there were,
 * which is what was moved aside. */
static unsigned empty_dir(void)
{
    unsigned others = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        others += strncmp(e->d_name, STATE_FILE_NAME ".refused-", 21) == 0;
        char *path = mem_printf("%s/%s", dir, e->d_name);
        assert_true(unlink(path) == 0 || rmdir(path) == 0);
        mem_free(path);
    }
    closedir(d);
    return others;
}

static int remove_dir(void **state)
{
    (void) state;
    (void) empty_dir();
    return rmdir(dir);
}

static char *path_of(void)
{
    return mem_printf("%s/%s", dir, STATE_FILE_NAME);
}

static void write_raw(const char *p, size_t n)
{
    char *path = path_of();
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
    mem_free(path);
}

static enum file_end write_list(struct str to, const json_t *list, char **why)
{
    struct text bytes = {0};
    assert_true(state_file_text(list, STATE_FILE_MAX, &bytes, why));
    enum file_end end = state_file_put(to, text_str(&bytes), why);
    text_fini(&bytes);
    return end;
}

static char *write_and_get(size_t *n)
{
    char *why = NULL, *path = path_of();
    json_t *list = json_of(LIST);
    assert_int_equal(write_list(dir_str(), list, &why), FILE_KEPT);
    assert_null(why);
    json_decref(list);
    char *whole = file_read(path, 1 << 20, n, &why);
    assert_non_null(whole);
    mem_free(path);
    return whole;
}

static void nothing_is_an_empty_list(void **state)
{
    (void) state;
    char *why = NULL;
    json_t *list = state_file_read(dir_str(), &why);
    assert_json(list, "[]");
    assert_null(why);
    json_decref(list);
    assert_int_equal(empty_dir(), 0);
}

/* What could not be read again is not written. */
static void refuses_too_much(void **state)
{
    (void) state;
    struct text bytes = {0};
    char *why = NULL;
    json_t *list = json_of(LIST);
    assert_true(state_file_text(list, STATE_FILE_MAX, &bytes, &why));
    size_t n = bytes.n;
    bytes.n = 0;
    assert_true(state_file_text(list, n, &bytes, &why));
    bytes.n = 0;
    assert_false(state_file_text(list, n - 1, &bytes, &why));
    assert_non_null(strstr(why, "all changes together"));
    mem_free(why);
    text_fini(&bytes);
    json_decref(list);
}

static void reads_what_was_written(void **state)
{
    (void) state;
    size_t n;
    char *why = NULL;
    for (int i = 0; i < 2; i++) { /* also over an older one */
        mem_free(write_and_get(&n));
        json_t *list = state_file_read(dir_str(), &why);
        assert_null(why);
        assert_json(list, LIST);
        json_decref(list);
    }
    assert_int_equal(empty_dir(), 0);
}

/* The file as it is does not hold the list: it is moved aside, and why says so. */
static void assert_refused_file(const char *says)
{
    char *why = NULL;
    json_t *list = state_file_read(dir_str(), &why);
    assert_json(list, "[]");
    assert_non_null(why);
    if (!strstr(why, says) || !strstr(why, "moved aside"))
        fail_msg("%s; expected %s", why, says);
    mem_free(why);
    json_decref(list);
    assert_int_equal(empty_dir(), 1);
}

/* Whatever is moved aside stays, more than one of a second too. */
static void files_moved_aside_stay(void **state)
{
    (void) state;
    for (int i = 0; i < 5; i++) {
        char *to = NULL;
        size_t n;
        mem_free(write_and_get(&n));
        assert_true(state_file_move_aside(dir_str(), &to));
        mem_free(to);
    }
    assert_int_equal(empty_dir(), 5);
}

static void a_cut_file_is_no_list(void **state)
{
    (void) state;
    size_t n;
    char *whole = write_and_get(&n);
    for (size_t cut = 0; cut < n; cut++) {
        write_raw(whole, cut);
        assert_refused_file(": ");
    }
    mem_free(whole);
}

static void a_changed_byte_is_seen(void **state)
{
    (void) state;
    size_t n;
    char *whole = write_and_get(&n);
    for (size_t i = 0; i < n; i++) {
        whole[i] ^= 1;
        write_raw(whole, n);
        assert_refused_file(": ");
        whole[i] ^= 1;
    }
    mem_free(whole);
}

static void another_version_is_not_guessed_at(void **state)
{
    (void) state;
    size_t n;
    char *whole = write_and_get(&n);
    char *digit = strchr(whole, ' ') + 1;
    *digit = '2';
    write_raw(whole, n);
    assert_refused_file("another version");
    mem_free(whole);
}

/* Where it cannot be written, why says so and what was there stays. */
static void a_write_that_fails(void **state)
{
    (void) state;
    char *why = NULL;
    json_t *list = json_of(LIST);
    assert_int_equal(write_list(STR("/nonexistent/state"), list, &why), FILE_AS_WAS);
    assert_non_null(strstr(why, "/nonexistent/state"));
    mem_free(why);
    json_decref(list);
}

static void what_cannot_be_read_at_all(void **state)
{
    (void) state;
    char *path = path_of();
    assert_int_equal(mkdir(path, 0700), 0);
    assert_refused_file("not a regular file");
    mem_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_an_empty_list),
        cmocka_unit_test(refuses_too_much),
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(files_moved_aside_stay),
        cmocka_unit_test(a_cut_file_is_no_list),
        cmocka_unit_test(a_changed_byte_is_seen),
        cmocka_unit_test(another_version_is_not_guessed_at),
        cmocka_unit_test(a_write_that_fails),
        cmocka_unit_test(what_cannot_be_read_at_all),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

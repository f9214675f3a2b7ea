/* SPDX-License-Identifier: Apache-2.0 */
/* One holder at a time, who is named; a file that nobody holds is in nobody's way, and what stands
 * beside it is never followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/pid_file.h"
#include "base/mem.h"

static char dir[64], path[80], beside[96];

static int make_dir(void **state)
{
    (void) state;
    snprintf(dir, sizeof dir, "/tmp/weir_pid_file_XXXXXX");
    bool made = mkdtemp(dir) != NULL;
    snprintf(path, sizeof path, "%s/weir.pid", dir);
    snprintf(beside, sizeof beside, "%s.new", path);
    return made ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void) state;
    (void) unlink(path);
    (void) unlink(beside);
    return rmdir(dir);
}

/* It is held by fd and says this process; nothing is left beside it. */
static void assert_taken(int fd)
{
    char want[32], got[32] = "";
    struct stat st;
    assert_true(fd >= 0);
    snprintf(want, sizeof want, "%ld\n", (long) getpid());
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_non_null(fgets(got, sizeof got, f));
    fclose(f);
    assert_string_equal(got, want);
    assert_int_equal(stat(path, &st), 0);
    mode_t masked = umask(022);
    (void) umask(masked);
    assert_int_equal(st.st_mode & 0777, 0666 & ~masked);
    assert_int_equal(access(beside, F_OK), -1);
}

static void assert_refused(const char *word)
{
    char *why;
    assert_int_equal(pid_file_take(path, &why), -1);
    assert_non_null(why);
    assert_non_null(strstr(why, path));
    if (!strstr(why, word))
        fail_msg("wanted: %s\ngot: %s", word, why);
    mem_free(why);
}

static void put(const char *name, const char *text)
{
    FILE *f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void one_at_a_time(void **state)
{
    (void) state;
    char *why, pid[48];
    int fd = pid_file_take(path, &why), copy = dup(fd);
    assert_null(why);
    assert_taken(fd);
    snprintf(pid, sizeof pid, "another Weir (process %ld)", (long) getpid());
    assert_refused(pid);
    assert_taken(fd); /* as it was */
    close(fd);        /* as over execve: a copy goes on */
    assert_refused(pid);
    pid_file_drop(copy, path);
    assert_int_equal(access(path, F_OK), -1);
}

static void one_that_nobody_holds(void **state)
{
    (void) state;
    char *why, text[32];
    snprintf(text, sizeof text, "%ld\n", (long) getppid()); /* which lives, and is no Weir */
    put(path, text);
    put(beside, "9999999 and more that a Weir left which was killed");
    int fd = pid_file_take(path, &why);
    assert_null(why);
    assert_taken(fd);
    close(fd); /* as by kill -9 */
    fd = pid_file_take(path, &why);
    assert_null(why);
    assert_taken(fd);
    /* What has come into its place is not its own to remove. */
    assert_int_equal(unlink(path), 0);
    put(path, "of somebody else");
    pid_file_drop(fd, path);
    assert_int_equal(access(path, F_OK), 0);
    pid_file_drop(-1, path);
}

/* Another one that is about to take it has the file beside. */
static void two_at_once(void **state)
{
    (void) state;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char *why;
    int other = open(beside, O_RDWR | O_CREAT, 0600);
    assert_int_equal(fcntl(other, F_OFD_SETLK, &lock), 0);
    assert_refused("another Weir (a process)");
    assert_int_equal(access(beside, F_OK), 0);
    close(other);
    int fd = pid_file_take(path, &why);
    assert_taken(fd);
    pid_file_drop(fd, path);
}

/* Who may only read the file keeps nobody from it. */
static void a_readers_lock(void **state)
{
    (void) state;
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    char *why;
    put(path, "1\n");
    int reader = open(path, O_RDONLY);
    assert_int_equal(fcntl(reader, F_OFD_SETLK, &lock), 0);
    int fd = pid_file_take(path, &why);
    assert_null(why);
    assert_taken(fd);
    pid_file_drop(fd, path);
    close(reader);
}

static void none_where_nothing_can_be_written(void **state)
{
    (void) state;
    char *why, target[80];
    assert_int_equal(pid_file_take("/nonexistent/weir.pid", &why), -1);
    assert_non_null(strstr(why, "make its directory"));
    mem_free(why);
    snprintf(target, sizeof target, "%s/target", dir);
    assert_int_equal(symlink(target, beside), 0);
    assert_refused("cannot write");
    assert_int_equal(access(target, F_OK), -1);
    assert_int_equal(unlink(beside), 0);
    assert_int_equal(mkfifo(beside, 0600), 0); /* of which a writer would wait */
    assert_refused("cannot write");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_at_a_time, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(one_that_nobody_holds, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(two_at_once, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_readers_lock, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(none_where_nothing_can_be_written, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

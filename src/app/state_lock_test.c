/* SPDX-License-Identifier: Apache-2.0 */
/* One holder at a time, who is named; what stands in the lock's place is never followed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "app/state_lock.h"
#include "base/mem.h"

static char dir[64];

static int make_dir(void **state)
{
    (void) state;
    snprintf(dir, sizeof dir, "/tmp/weir_state_lock_XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void) state;
    char path[80];
    snprintf(path, sizeof path, "%s/lock", dir);
    (void) unlink(path);
    return rmdir(dir);
}

static void one_at_a_time(void **state)
{
    (void) state;
    char *why, pid[48];
    int fd = state_lock_take(dir, &why);
    assert_true(fd >= 0);
    assert_null(why);
    assert_int_equal(state_lock_take(dir, &why), -1);
    snprintf(pid, sizeof pid, "another Weir (process %ld)", (long) getpid());
    assert_non_null(strstr(why, dir));
    assert_non_null(strstr(why, "another Weir (")); /* whose id not every machine tells */
    if (!strstr(why, "(a process)"))
        assert_non_null(strstr(why, pid));
    mem_free(why);
    close(fd);
    fd = state_lock_take(dir, &why);
    assert_true(fd >= 0);
    close(fd);
}

static void none_where_nothing_can_be_written(void **state)
{
    (void) state;
    char *why, path[80];
    assert_int_equal(state_lock_take("/nonexistent/state", &why), -1);
    assert_null(why);
    snprintf(path, sizeof path, "%s/lock", dir);
    assert_int_equal(symlink("/nonexistent/target", path), 0);
    assert_int_equal(state_lock_take(dir, &why), -1);
    assert_null(why);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0); /* of which a reader would wait */
    int fd = state_lock_take(dir, &why);
    assert_true(fd >= 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_at_a_time, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(none_where_nothing_can_be_written, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Whole-file reads and the job threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/mem.h"

static void reads_a_file(void **state)
{
    (void) state;
    char path[] = "/tmp/weir-file-io-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    static char text[10000];
    memset(text, 'x', sizeof text);
    assert_int_equal(write(fd, text, sizeof text), sizeof text);
    close(fd);
    size_t n;
    char *why;
    char *got = file_read(path, sizeof text, &n, &why);
    assert_null(why);
    assert_int_equal(n, sizeof text);
    assert_int_equal(got[n], '\0');
    assert_memory_equal(got, text, n);
    mem_free(got);
    assert_null(file_read(path, sizeof text - 1, &n, &why));
    assert_non_null(strstr(why, "more than 9999 bytes"));
    mem_free(why);
    got = file_read_start(path, 5000, &n, &why);
    assert_int_equal(n, 5000);
    assert_int_equal(got[n], '\0');
    mem_free(got);
    got = file_read_start(path, 2 * sizeof text, &n, &why);
    assert_int_equal(n, sizeof text);
    mem_free(got);
    unlink(path);
    assert_null(file_read(path, 10, &n, &why));
    assert_non_null(strstr(why, path));
    assert_non_null(strstr(why, "No such file"));
    mem_free(why);
    assert_null(file_read("/tmp", 10, &n, &why));
    assert_non_null(strstr(why, "not a regular file"));
    mem_free(why);
}

static _Atomic unsigned done;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void job(void *arg)
{
    (void) arg;
    pthread_mutex_lock(&gate);
    done++;
    pthread_mutex_unlock(&gate);
}

static void runs_what_fits(void **state)
{
    (void) state;
    struct file_jobs *jobs = file_jobs_new(2);
    assert_non_null(jobs);
    pthread_mutex_lock(&gate);
    unsigned taken = 0;
    for (int i = 0; i < 3000; i++)
        taken += file_jobs_submit(jobs, job, NULL);
    pthread_mutex_unlock(&gate);
    /* 1,024 wait, one more in each thread. */
    assert_in_range(taken, 1024, 1026);
    file_jobs_free(jobs);
    assert_int_equal(done, taken);
    file_jobs_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_file),
        cmocka_unit_test(runs_what_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

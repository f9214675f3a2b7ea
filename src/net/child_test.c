/* SPDX-License-Identifier: Apache-2.0 */
/* Real programs: how they end, what they wrote, what they see of this process, what is left of a
 * group that was killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/child.h"

static char *const environment[] = {"PATH=/usr/bin:/bin", "SAID=yes", NULL};

struct run {
    struct loop *loop;
    struct child child;
    int ends;
};

static void count_end(struct child *c)
{
    struct run *r = list_entry(c, struct run, child);
    r->ends++;
}

static void open_run(struct run *r)
{
    int err;
    memset(r, 0, sizeof *r);
    r->loop = loop_new(&err);
    assert_non_null(r->loop);
    child_init(&r->child, r->loop, count_end);
}

static void close_run(struct run *r)
{
    loop_free(r->loop);
}

static void await(struct run *r)
{
    usec_t limit = clock_now() + 60 * USEC_PER_SEC;
    while (!r->ends && clock_now() < limit)
        loop_turn(r->loop, 100000);
    assert_int_equal(r->ends, 1);
    assert_int_equal(r->child.exit.fd, -1);
    assert_int_equal(r->child.pipe.fd, -1);
    r->ends = 0;
}

static void shell(struct run *r, const char *text)
{
    char *const argv[] = {"sh", "-c", (char *) (uintptr_t) text, NULL};
    assert_null(child_start(&r->child, argv, environment));
}

static void says_how_it_ended(void **state)
{
    (void) state;
    struct run r;
    open_run(&r);
    shell(&r, "echo one; echo two >&2; exit 3");
    await(&r);
    assert_int_equal(r.child.exit_status, 3);
    assert_int_equal(r.child.n, 8);
    assert_memory_equal(r.child.output, "one\ntwo\n", 8);
    assert_false(r.child.more);
    shell(&r, "kill -TERM $$");
    await(&r);
    assert_int_equal(r.child.exit_status, -1);
    assert_int_equal(r.child.signal, SIGTERM);
    char *const none[] = {"/no/such/program", NULL};
    assert_string_equal(child_start(&r.child, none, environment), "No such file or directory");
    assert_int_equal(r.child.exit.fd, -1);
    close_run(&r);
}

/* More than a pipe holds: the first part is kept, the rest is dropped, nobody waits. */
static void output_has_a_bound(void **state)
{
    (void) state;
    struct run r;
    open_run(&r);
    shell(&r, "head -c 300000 /dev/zero | tr '\\0' x");
    await(&r);
    assert_int_equal(r.child.exit_status, 0);
    assert_int_equal(r.child.n, CHILD_OUTPUT_MAX);
    assert_true(r.child.more);
    close_run(&r);
}

static void sees_nothing_of_this_process(void **state)
{
    (void) state;
    struct run r;
    open_run(&r);
    setenv("SECRET", "1", 1);
    int leaked = open("/dev/null", O_RDONLY); /* not close-on-exec */
    assert_true(leaked > 2);
    /* No pipe behind ls: the shell would hold its ends for a moment. */
    shell(&r, "env | grep -v -e ^PWD= -e ^OLDPWD= -e ^_= -e ^SHLVL= | sort; pwd; "
              "ls -m /proc/$$/fd; cut -d' ' -f5 /proc/$$/stat | sed \"s/^$$\\$/own/\"; "
              "grep SigBlk /proc/$$/status | tr -d '0 \\t'");
    await(&r);
    static const char want[] = "PATH=/usr/bin:/bin\nSAID=yes\n/\n0, 1, 2\nown\nSigBlk:\n";
    r.child.output[r.child.n] = 0;
    assert_string_equal(r.child.output, want);
    close(leaked);
    close_run(&r);
}

/* All of a group, and only then is it over. */
static void kills_the_group(void **state)
{
    (void) state;
    struct run r;
    open_run(&r);
    shell(&r, "sleep 1000 & echo $!; sleep 1000");
    while (!memchr(r.child.output, '\n', r.child.n))
        loop_turn(r.loop, 100000);
    r.child.output[r.child.n - 1] = 0;
    pid_t grandchild = (pid_t) strtol(r.child.output, NULL, 10);
    assert_int_equal(kill(grandchild, 0), 0);
    child_kill(&r.child);
    await(&r);
    assert_int_equal(r.child.signal, SIGKILL);
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int) grandchild);
    for (int i = 0; i < 6000 && access(path, R_OK) == 0; i++) { /* gone, or not yet buried */
        FILE *f = fopen(path, "r");
        if (f && fgets(line, sizeof line, f) && strstr(line, ") Z "))
            i = 6000;
        if (f)
            fclose(f);
        loop_turn(r.loop, 10000);
    }
    assert_true(access(path, R_OK) != 0 || strstr(line, ") Z "));
    close_run(&r);
}

/* One that ends while its own child goes on: that one ends too. */
static void leaves_nothing_behind(void **state)
{
    (void) state;
    struct run r;
    open_run(&r);
    shell(&r, "sleep 1000 & exit 0"); /* the sleep holds the pipe open */
    await(&r);
    assert_int_equal(r.child.exit_status, 0);
    shell(&r, "sleep 1000");
    pid_t pid = r.child.pid;
    child_finish(&r.child);
    assert_int_equal(r.child.exit.fd, -1);
    assert_true(kill(pid, 0) < 0 && errno == ESRCH);
    child_finish(&r.child);
    assert_int_equal(r.ends, 0);
    close_run(&r);
}

static int count_fds(void)
{
    int n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void leaks_no_descriptor(void **state)
{
    (void) state;
    struct run r;
    open_run(&r);
    int before = count_fds();
    for (int i = 0; i < 20; i++) {
        char *const none[] = {"/no/such/program", NULL};
        assert_non_null(child_start(&r.child, none, environment));
        shell(&r, "exit 0");
        await(&r);
    }
    assert_int_equal(count_fds(), before);
    close_run(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_how_it_ended),
        cmocka_unit_test(output_has_a_bound),
        cmocka_unit_test(sees_nothing_of_this_process),
        cmocka_unit_test(kills_the_group),
        cmocka_unit_test(leaves_nothing_behind),
        cmocka_unit_test(leaks_no_descriptor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

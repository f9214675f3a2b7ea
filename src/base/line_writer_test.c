/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of line_ring and line_writer: no line lost but those refused, none torn, none reordered. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/line_writer.h"
#include "base/log.h"
#include "base/mem.h"

#define CAP 4096u
#define LINE 256u

/* Line number i of a producer, of a length that varies. */
static size_t make_line(char *at, unsigned producer, unsigned i)
{
    size_t fill = (i * 37u) % 180u;
    int n = snprintf(at, LINE, "%u %u ", producer, i);
    memset(at + n, 'a' + (char) (i % 26), fill);
    at[(size_t) n + fill] = '\n';
    return (size_t) n + fill + 1;
}

static bool put(struct line_ring *r, unsigned producer, unsigned i)
{
    char *at = line_ring_begin(r);
    if (at)
        line_ring_end(r, make_line(at, producer, i));
    return at != NULL;
}

/* Checks that text begins with line i; returns what follows. */
static struct str expect_line(struct str text, unsigned producer, unsigned i)
{
    char want[LINE];
    size_t n = make_line(want, producer, i);
    assert_true(text.n >= n);
    assert_memory_equal(text.p, want, n);
    return str_sub(text, n, text.n);
}

static void test_fill_and_empty(void **state)
{
    (void) state;
    struct line_ring r;
    line_ring_init(&r, CAP, LINE);
    assert_int_equal(line_ring_peek(&r).n, 0);
    unsigned put_n = 0, got = 0;
    for (int round = 0; round < 500; round++) {
        while (put(&r, 0, put_n))
            put_n++;
        struct str run;
        while ((run = line_ring_peek(&r)).n > 0) {
            size_t all = run.n;
            while (run.n > 0)
                run = expect_line(run, 0, got++);
            line_ring_take(&r, all);
        }
        assert_int_equal(got, put_n);
    }
    assert_true(put_n > 5000);
    line_ring_fini(&r);
}

/* The consumer takes odd pieces, so that it often stops within a line and in the slack. */
static void test_pieces(void **state)
{
    (void) state;
    struct line_ring r;
    line_ring_init(&r, CAP, LINE);
    static char all[200000];
    size_t n = 0;
    unsigned put_n = 0;
    for (unsigned step = 1; n + CAP < sizeof(all); step++) {
        for (unsigned i = 0; i < step % 7 && put(&r, 0, put_n); i++)
            put_n++;
        struct str run = line_ring_peek(&r);
        size_t some = run.n < step % 211 ? run.n : step % 211;
        memcpy(all + n, run.p, some);
        n += some;
        line_ring_take(&r, some);
    }
    struct str text = str_of(all, n);
    char want[LINE];
    for (unsigned i = 0; text.n >= make_line(want, 0, i); i++)
        text = expect_line(text, 0, i);
    line_ring_fini(&r);
}

#define THREAD_LINES 20000u

static void *produce(void *arg)
{
    struct line_ring *r = arg;
    for (unsigned i = 0; i < THREAD_LINES;) {
        if (put(r, 1, i))
            i++;
        else
            sched_yield();
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    (void) state;
    struct line_ring r;
    pthread_t thread;
    line_ring_init(&r, CAP, LINE);
    assert_int_equal(pthread_create(&thread, NULL, produce, &r), 0);
    for (unsigned got = 0; got < THREAD_LINES;) {
        struct str run = line_ring_peek(&r);
        size_t all = run.n;
        while (run.n > 0)
            run = expect_line(run, 1, got++);
        if (all)
            line_ring_take(&r, all);
        else
            sched_yield();
    }
    pthread_join(thread, NULL);
    line_ring_fini(&r);
}

/* ---- the writer ----------------------------------------------------------------------------- */

struct place {
    char dir[64], file[96], moved[96];
};

static int setup(void **state)
{
    struct place *p = mem_new(sizeof(*p));
    snprintf(p->dir, sizeof(p->dir), "/tmp/weir-line-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    snprintf(p->file, sizeof(p->file), "%s/log", p->dir);
    snprintf(p->moved, sizeof(p->moved), "%s/log.1", p->dir);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    unlink(p->file);
    unlink(p->moved);
    rmdir(p->dir);
    mem_free(p);
    return 0;
}

static size_t file_text(const char *path, char *to, size_t max)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, to, max);
    close(fd);
    assert_true(n >= 0);
    return (size_t) n;
}

/* Waits, with a deadline, until path holds n bytes. */
static void await_bytes(const char *path, size_t n)
{
    usec_t until = clock_now() + 10 * USEC_PER_SEC;
    struct stat st = {0};
    while (stat(path, &st) != 0 || (size_t) st.st_size < n) {
        assert_true(clock_now() < until);
        poll(NULL, 0, 5);
    }
}

static void test_file(void **state)
{
    struct place *p = *state;
    char *why = NULL;
    struct line_writer *w = line_writer_new(str_c(p->file), 2, CAP, LINE, &why);
    assert_non_null(w);
    for (unsigned i = 0; i < 10; i++) {
        assert_true(put(line_writer_ring(w, 0), 0, i));
        assert_true(put(line_writer_ring(w, 1), 1, i));
    }
    line_writer_free(w);
    char text[8192];
    struct str rest = str_of(text, file_text(p->file, text, sizeof(text)));
    for (unsigned producer = 0; producer < 2; producer++) {
        for (unsigned i = 0; i < 10; i++)
            rest = expect_line(rest, producer, i);
    }
    assert_int_equal(rest.n, 0);
}

static void test_reopen(void **state)
{
    struct place *p = *state;
    char *why = NULL, line[LINE], text[8192];
    struct line_writer *w = line_writer_new(str_c(p->file), 1, CAP, LINE, &why);
    assert_non_null(w);
    assert_true(put(line_writer_ring(w, 0), 0, 1));
    await_bytes(p->file, make_line(line, 0, 1));
    assert_int_equal(rename(p->file, p->moved), 0);
    line_writer_reopen(w);
    await_bytes(p->file, 0);
    assert_true(put(line_writer_ring(w, 0), 0, 2));
    line_writer_free(w);
    struct str rest = str_of(text, file_text(p->moved, text, sizeof(text)));
    assert_int_equal(expect_line(rest, 0, 1).n, 0);
    rest = str_of(text, file_text(p->file, text, sizeof(text)));
    assert_int_equal(expect_line(rest, 0, 2).n, 0);
}

/* Puts lines until the FIFO p->file and the ring behind it are full; how many. */
static unsigned fill(const struct place *p, struct line_writer *w)
{
    unsigned n = 0;
    usec_t until = clock_now() + 20 * USEC_PER_SEC;
    struct pollfd pipe = {.fd = open(p->file, O_WRONLY | O_NONBLOCK), .events = POLLOUT};
    while (poll(&pipe, 1, 5) == 1) { /* until the pipe is full */
        assert_true(clock_now() < until);
        n += put(line_writer_ring(w, 0), 0, n);
    }
    close(pipe.fd);
    while (put(line_writer_ring(w, 0), 0, n))
        n++; /* ends: the ring is full and stays so */
    return n;
}

/* A FIFO takes 4 KiB a write, which ends within a line; the new file begins with a whole one. */
static void test_reopen_within_a_line(void **state)
{
    struct place *p = *state;
    char *why = NULL, want[LINE];
    assert_int_equal(mkfifo(p->file, 0600), 0);
    int reader = open(p->file, O_RDONLY | O_NONBLOCK);
    struct line_writer *w = line_writer_new(str_c(p->file), 1, CAP, LINE, &why);
    assert_non_null(w);
    unsigned n = fill(p, w), first = 0;
    assert_int_equal(rename(p->file, p->moved), 0);
    line_writer_reopen(w);
    await_bytes(p->file, 0);
    line_writer_free(w);
    close(reader);
    char text[2 * CAP];
    struct str rest = str_of(text, file_text(p->file, text, sizeof(text)));
    while (first < n && !str_starts(rest, str_of(want, make_line(want, 0, first))))
        first++;
    assert_true(first > 0 && first < n);
    while (first < n)
        rest = expect_line(rest, 0, first++);
    assert_int_equal(rest.n, 0);
}

static void note_reopened(void *arg, enum log_level level, const char *line)
{
    (void) level;
    if (strstr(line, "line_writer.reopened"))
        atomic_store((_Atomic bool *) arg, true);
}

static void note_refused(void *arg, enum log_level level, const char *line)
{
    if (level == LOG_ERROR && strstr(line, "the old file stays open"))
        atomic_store((_Atomic bool *) arg, true);
}

/* Nothing was moved: the line goes on where it is. */
static void test_reopen_of_the_same(void **state)
{
    struct place *p = *state;
    char *why = NULL;
    static char text[1 << 18];
    assert_int_equal(mkfifo(p->file, 0600), 0);
    int reader = open(p->file, O_RDONLY | O_NONBLOCK);
    struct line_writer *w = line_writer_new(str_c(p->file), 1, CAP, LINE, &why);
    assert_non_null(w);
    unsigned n = fill(p, w);
    static _Atomic bool reopened;
    assert_true(log_open_sink(note_reopened, &reopened));
    line_writer_reopen(w);
    size_t got = 0;
    struct str rest = STR("");
    usec_t until = clock_now() + 20 * USEC_PER_SEC;
    for (; !atomic_load(&reopened); poll(NULL, 0, 5))
        assert_true(clock_now() < until);
    log_close_sink(&reopened);
    char want[LINE];
    while (!str_ends(rest, str_of(want, make_line(want, 0, n - 1)))) {
        ssize_t more = read(reader, text + got, sizeof(text) - got);
        got += more > 0 ? (size_t) more : 0;
        rest = str_of(text, got);
        assert_true(clock_now() < until);
        if (more <= 0)
            poll(&(struct pollfd){.fd = reader, .events = POLLIN}, 1, 100);
    }
    for (unsigned i = 0; i < n; i++)
        rest = expect_line(rest, 0, i);
    assert_int_equal(rest.n, 0);
    line_writer_free(w);
    close(reader);
}

static void note_lost(void *arg, enum log_level level, const char *line)
{
    if (level == LOG_ERROR && strstr(line, "/dev/full: 3 lines could not be written"))
        atomic_store((_Atomic bool *) arg, true);
}

/* A disk that is full to the end. */
static void test_lost_at_the_end(void **state)
{
    (void) state;
    char *why = NULL;
    static _Atomic bool lost;
    assert_true(log_open_sink(note_lost, &lost));
    struct line_writer *w = line_writer_new(STR("/dev/full"), 2, CAP, LINE, &why);
    assert_non_null(w);
    assert_true(put(line_writer_ring(w, 0), 0, 0));
    assert_true(put(line_writer_ring(w, 1), 1, 0));
    assert_true(put(line_writer_ring(w, 1), 1, 1));
    line_writer_free(w);
    log_close_sink(&lost);
    assert_true(atomic_load(&lost));
}

/* What cannot be opened anew leaves the old file in use. */
static void test_reopen_refused(void **state)
{
    struct place *p = *state;
    char *why = NULL, line[LINE], text[8192];
    static _Atomic bool refused;
    struct line_writer *w = line_writer_new(str_c(p->file), 1, CAP, LINE, &why);
    assert_non_null(w);
    assert_int_equal(rename(p->file, p->moved), 0);
    assert_int_equal(mkdir(p->file, 0700), 0);
    assert_true(log_open_sink(note_refused, &refused));
    line_writer_reopen(w);
    usec_t until = clock_now() + 20 * USEC_PER_SEC;
    for (; !atomic_load(&refused); poll(NULL, 0, 5))
        assert_true(clock_now() < until);
    log_close_sink(&refused);
    assert_true(put(line_writer_ring(w, 0), 0, 1));
    await_bytes(p->moved, make_line(line, 0, 1));
    line_writer_free(w);
    assert_int_equal(rmdir(p->file), 0);
    struct str rest = str_of(text, file_text(p->moved, text, sizeof(text)));
    assert_int_equal(expect_line(rest, 0, 1).n, 0);
}

/* A reader that comes late finds what a FIFO kept for it. */
static void test_late_reader(void **state)
{
    struct place *p = *state;
    char *why = NULL, text[LINE];
    assert_int_equal(mkfifo(p->file, 0600), 0);
    struct line_writer *w = line_writer_new(str_c(p->file), 1, CAP, LINE, &why);
    assert_non_null(w);
    assert_true(put(line_writer_ring(w, 0), 0, 1));
    struct pollfd reader = {.fd = open(p->file, O_RDONLY | O_NONBLOCK), .events = POLLIN};
    assert_int_equal(poll(&reader, 1, 10000), 1);
    ssize_t n = read(reader.fd, text, sizeof(text));
    assert_true(n > 0);
    assert_int_equal(expect_line(str_of(text, (size_t) n), 0, 1).n, 0);
    line_writer_free(w);
    close(reader.fd);
}

/* A reader that takes nothing: lines wait, the ring fills, nothing blocks; then all arrive. */
static void test_slow_reader(void **state)
{
    struct place *p = *state;
    char *why = NULL;
    assert_int_equal(mkfifo(p->file, 0600), 0);
    int reader = open(p->file, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    struct line_writer *w = line_writer_new(str_c(p->file), 1, CAP, LINE, &why);
    assert_non_null(w);
    unsigned n = fill(p, w);
    usec_t until = clock_now() + 20 * USEC_PER_SEC;
    static char text[1 << 18];
    size_t got = 0;
    size_t at = 0;
    for (unsigned i = 0; i < n;) {
        char want[LINE];
        size_t next = make_line(want, 0, i);
        if (got - at >= next) {
            (void) expect_line(str_of(text + at, got - at), 0, i++);
            at += next;
            continue;
        }
        ssize_t more = read(reader, text + got, sizeof(text) - got);
        got += more > 0 ? (size_t) more : 0;
        assert_true(clock_now() < until);
        if (more <= 0)
            poll(&(struct pollfd){.fd = reader, .events = POLLIN}, 1, 1000);
    }
    line_writer_free(w);
    close(reader);
}

static void test_dead_reader(void **state)
{
    struct place *p = *state;
    char *why = NULL;
    assert_int_equal(mkfifo(p->file, 0600), 0);
    int reader = open(p->file, O_RDONLY | O_NONBLOCK);
    struct line_writer *w = line_writer_new(str_c(p->file), 1, CAP, LINE, &why);
    assert_non_null(w);
    close(reader);
    for (unsigned i = 0; put(line_writer_ring(w, 0), 0, i); i++)
        assert_true(i < 1000); /* no SIGPIPE, and the ring stays full */
    line_writer_free(w);
}

static void test_refused(void **state)
{
    (void) state;
    char *why = NULL;
    assert_null(line_writer_new(STR("/nonexistent/dir/log"), 1, CAP, LINE, &why));
    assert_string_equal(why, "/nonexistent/dir/log: No such file or directory");
    mem_free(why);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fill_and_empty),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_two_threads),
        TEST(test_reopen_within_a_line),
        TEST(test_reopen_of_the_same),
        TEST(test_reopen_refused),
        cmocka_unit_test(test_lost_at_the_end),
        TEST(test_late_reader),
        TEST(test_file),
        TEST(test_reopen),
        TEST(test_slow_reader),
        TEST(test_dead_reader),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Log lines: forms, escaping, levels, rate limiting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static struct {
    unsigned lines;
    char last[16384];
} got;

static void sink(void *arg, enum log_level level, const char *line)
{
    (void) arg;
    (void) level;
    got.lines++;
    snprintf(got.last, sizeof got.last, "%s", line);
}

static int open_sink(void **state)
{
    (void) state;
    assert_true(log_open_sink(sink, &got));
    log_set_level(LOG_INFO);
    log_flush();
    got.lines = 0;
    return 0;
}

static int close_sink(void **state)
{
    (void) state;
    log_close_sink(&got);
    return 0;
}

static void writes_json(void **state)
{
    (void) state;
    log_set_form(LOG_JSON);
    log_warn("test.json", "path %s: \"%s\"\n%c\x7f", "a\\b", "q", 1);
    assert_non_null(strstr(got.last, "\"level\":\"warn\",\"event\":\"test.json\""));
    assert_non_null(strstr(got.last, "\"text\":\"path a\\\\b: \\\"q\\\"\\n\\u0001\\u007f\"}"));
    assert_null(strchr(got.last, '\n'));
}

static void keeps_utf8_and_drops_what_is_not(void **state)
{
    (void) state;
    log_set_form(LOG_JSON);
    log_info("test.utf8", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    assert_non_null(strstr(got.last, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"));
    log_info("test.utf8", "[\xff][\xc3][\xc0\xaf][\xed\xa0\x80][\xc2\x9b]\xe2\x82");
    assert_non_null(strstr(got.last, "[\\ufffd][\\ufffd][\\ufffd\\ufffd]"));
    for (const char *c = got.last; *c; c++)
        assert_true((unsigned char) *c < 0x80);
}

static void writes_for_humans(void **state)
{
    (void) state;
    log_set_form(LOG_HUMAN);
    log_error("test.human", "bad \"%s\"", "x\ny\033[31m");
    assert_non_null(strstr(got.last, "error test.human: bad \"x\\ny\\x1b[31m\""));
}

static void obeys_the_level(void **state)
{
    (void) state;
    log_debug("test.level", "hidden");
    assert_int_equal(got.lines, 0);
    log_set_level(LOG_DEBUG);
    log_debug("test.level", "seen");
    assert_int_equal(got.lines, 1);
}

/* The lines that come of 100 of each of so many events in turns; their last line is left in got.
 * The limit is one of lines a second: a flood that took longer, on a busy machine, says nothing
 * about it and is made again. */
static unsigned flood(unsigned events)
{
    unsigned lines;
    usec_t began;
    do {
        log_flush();
        got.lines = 0;
        began = clock_now();
        for (unsigned i = 0; i < 100 * events; i++) {
            char name[32];
            snprintf(name, sizeof name, "test.flood%u", i % events);
            log_info(name, "line %u", i / events);
        }
        lines = got.lines;
        log_info("test.other", "still seen");
        assert_non_null(strstr(got.last, "still seen"));
        log_flush();
    } while (clock_now() - began >= USEC_PER_SEC);
    return lines;
}

static void limits_each_event(void **state)
{
    (void) state;
    log_set_form(LOG_HUMAN);
    assert_int_equal(flood(1), 20);
    assert_non_null(strstr(got.last, "info  test.flood0: 80 more suppressed"));
}

/* As many events as there are meters, with test.other: none starts the second of another one. */
static void limits_events_in_turns(void **state)
{
    (void) state;
    log_set_form(LOG_HUMAN);
    assert_int_equal(flood(63), 63 * 20);
    assert_int_equal(got.lines, 63 * 20 + 1 + 63);
}

static void survives_long_text(void **state)
{
    (void) state;
    char text[8192];
    memset(text, '\001', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_set_form(LOG_JSON);
    log_info("test.long", "%s", text);
    assert_int_equal(got.lines, 1);
    assert_string_equal(got.last + strlen(got.last) - 7, "u0001\"}");
}

static void writes_lines_of_any_length(void **state)
{
    (void) state;
    char text[8000];
    size_t n = 0;
    for (int i = 0; i < 200; i++)
        n += (size_t) snprintf(text + n, sizeof text - n, "file:%d:1: wrong\n", i);
    log_set_form(LOG_HUMAN);
    log_write_lines(LOG_ERROR, "test.lines", text);
    assert_int_equal(got.lines, 200);
    assert_non_null(strstr(got.last, "error test.lines: file:199:1: wrong"));
    assert_null(strstr(got.last, "\\n"));
}

static void keeps_the_first_sink(void **state)
{
    (void) state;
    int other;
    assert_false(log_open_sink(sink, &other));
    log_close_sink(&other);
    log_info("test.sink", "still here");
    assert_int_equal(got.lines, 1);
}

/* A pipe on standard error that nobody reads. */
static void never_waits_for_a_reader(void **state)
{
    (void) state;
    char room[1 << 17];
    int pipe_ends[2], kept = dup(STDERR_FILENO);
    log_close_sink(&got);
    log_set_form(LOG_JSON);
    assert_int_equal(pipe(pipe_ends), 0);
    dup2(pipe_ends[1], STDERR_FILENO);
    for (int i = 0; i < 2000; i++) { /* each its own event: the meters do not help */
        char event[32];
        snprintf(event, sizeof event, "test.pipe%d", i);
        log_info(event, "%0500d", i);
    }
    ssize_t n = read(pipe_ends[0], room, sizeof room - 1);
    assert_true(n > 0);
    log_info("test.pipe", "seen again");
    n = read(pipe_ends[0], room, sizeof room - 1);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    assert_true(n > 0);
    room[n] = '\0';
    assert_non_null(strstr(room, "\"event\":\"log.lost\",\"text\":\""));
    assert_non_null(strstr(room, "lines were lost: nobody read standard error"));
    assert_non_null(strstr(room, "seen again"));
    assert_true(log_open_sink(sink, &got)); /* for the teardown */
}

static void *shout(void *arg)
{
    for (int i = 0; i < 50; i++)
        log_info(arg, "line %d", i);
    return NULL;
}

static void takes_many_threads(void **state)
{
    (void) state;
    pthread_t threads[3];
    const char *events[] = {"test.a", "test.b", "test.a"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, shout, (void *) (uintptr_t) events[i]),
                         0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(got.lines >= 40);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_sink, close_sink)
    const struct CMUnitTest tests[] = {
        T(writes_json),
        T(keeps_utf8_and_drops_what_is_not),
        T(writes_for_humans),
        T(obeys_the_level),
        T(limits_each_event),
        T(limits_events_in_turns),
        T(survives_long_text),
        T(takes_many_threads),
        T(writes_lines_of_any_length),
        T(keeps_the_first_sink),
        T(never_waits_for_a_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor and a server that asks for more than it may have: each question is answered, and
 * nothing of it is opened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "app/channel.h"
#include "app/supervisor.h"
#include "base/log.h"

#define WAIT (10 * USEC_PER_SEC)

struct question {
    const char *address;
    uint32_t number;
    bool good;
};

/* The questions that a server asks, and the first whose answer was wrong. */
struct script {
    const struct question *v;
    size_t n;
    int wrong; /* end of a pipe */
};

/* The supervisor answers q as it should. */
static bool answered(int channel, const struct question *q)
{
    struct channel_message m = channel_make(CHANNEL_LISTEN, q->number, str_c(q->address)), a;
    int fd = -1;
    m.backlog = 16;
    m.mode = -1;
    if (!channel_send(channel, &m, -1) || channel_receive(channel, &a, &fd, WAIT) != IO_OK)
        return false;
    for (uint32_t left = a.number; q->good && left > 0; left = a.number) {
        close(fd);
        if (channel_receive(channel, &a, &fd, WAIT) != IO_OK || a.number != left - 1)
            return false;
    }
    if (fd >= 0)
        close(fd);
    return q->good ? a.kind == CHANNEL_SOCKET && fd >= 0
                   : a.kind == CHANNEL_REFUSED && fd < 0 && a.text[0];
}

/* The server's process; it never says READY, so its end is that of the supervisor. */
static int be_server(const struct server_start *start, void *arg)
{
    const struct script *s = arg;
    char wrong = 0;
    for (size_t i = 0; i < s->n && !wrong; i++)
        wrong = answered(start->channel, &s->v[i]) ? 0 : (char) (i + 1);
    return write(s->wrong, &wrong, 1) == 1 ? 0 : 1;
}

static void run(const struct question *v, size_t n)
{
    int ends[2], status;
    char wrong = 'x';
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct script s = {v, n, ends[1]};
        struct supervisor_plan plan = {.config = -1, .serve = be_server, .arg = &s};
        log_set_level(LOG_ERROR);
        _exit(supervisor_run(&plan));
    }
    close(ends[1]);
    assert_int_equal(read(ends[0], &wrong, 1), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(ends[0]);
    if (wrong)
        fail_msg("question %d: %s, %u sockets", wrong - 1, v[wrong - 1].address,
                 (unsigned) v[wrong - 1].number);
}

static void bounds_what_a_server_may_ask(void **state)
{
    (void) state;
    static const struct question all[] = {
        {"127.0.0.1:0", UINT32_MAX, false},
        {"127.0.0.1:0", CHANNEL_SOCKETS + 1, false},
        {"127.0.0.1:0", 0, false},
        {"no address", 1, false},
        {"", 1, false},
        {"127.0.0.1:0", 3, true},
    };
    run(all, sizeof all / sizeof all[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_what_a_server_may_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

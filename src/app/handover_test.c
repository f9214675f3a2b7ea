/* SPDX-License-Identifier: Apache-2.0 */
/* handover_test.c: what one program leaves another: sockets, descriptors, nothing by mistake. */
#include "app/handover.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/channel.h"
#include "base/mem.h"

static bool closes_on_exec(int fd)
{
    return fcntl(fd, F_GETFD) & FD_CLOEXEC;
}

static void sockets_come_back(void **state)
{
    (void) state;
    struct sockets left, found;
    const char *why;
    sockets_init(&left);
    sockets_init(&found);
    struct socket_wish wish = {STR("127.0.0.1:0"), 2, 16, MODE_BY_UMASK};
    assert_true(sockets_open(&left, &wish, &why));
    struct socket_row *row = sockets_find(&left, STR("127.0.0.1:0"));
    row->lent = true;
    json_t *list = handover_sockets(&left);
    assert_false(closes_on_exec(row->fds[0]) || closes_on_exec(row->fds[1]));

    handover_sockets_of(list, &found);
    struct socket_row *same = sockets_find(&found, STR("127.0.0.1:0"));
    assert_non_null(same);
    assert_int_equal(same->n, 2);
    assert_int_equal(same->port, row->port);
    assert_true(same->lent);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(same->fds[i], row->fds[i]);
        assert_true(closes_on_exec(same->fds[i]));
        same->fds[i] = -1; /* they are one and the same here */
    }
    json_decref(list);
    sockets_fini(&found, false);
    sockets_fini(&left, false);
}

static void takes_what_was_left(void **state)
{
    (void) state;
    char value[32];
    json_t *facts;
    int fd = channel_memfd(STR("{\"version\": 2, \"config\": -1}"));
    assert_true(fd > 2);
    assert_true(snprintf(value, sizeof value, "%d %d", fd, HANDOVER_SERVER) > 0);
    assert_int_equal(handover_take(&facts), HANDOVER_NONE);
    setenv("WEIR_HANDOVER", value, 1);
    assert_int_equal(handover_take(&facts), HANDOVER_SERVER);
    assert_int_equal(handover_fd_of(facts, "config"), -1);
    assert_int_equal(handover_fd_of(facts, "channel"), -1);
    json_decref(facts);
    assert_null(getenv("WEIR_HANDOVER")); /* once */
    assert_int_equal(handover_take(&facts), HANDOVER_NONE);
}

static void refuses_what_it_does_not_understand(void **state)
{
    (void) state;
    static const char *const bad[] = {"", "x", "1 1", "2 1", "99999 1"};
    json_t *facts;
    char value[32];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("WEIR_HANDOVER", bad[i], 1);
        assert_int_equal(handover_take(&facts), HANDOVER_BROKEN);
        assert_null(facts);
    }
    int fd = channel_memfd(STR("{\"version\": 99}"));
    assert_true(snprintf(value, sizeof value, "%d %d", fd, HANDOVER_SUPERVISOR) > 0);
    setenv("WEIR_HANDOVER", value, 1);
    assert_int_equal(handover_take(&facts), HANDOVER_BROKEN);
    assert_null(facts);
}

static void makes_paths_absolute(void **state)
{
    (void) state;
    char *path = handover_absolute("/usr/bin/weir");
    assert_string_equal(path, "/usr/bin/weir");
    mem_free(path);
    path = handover_absolute("weir");
    assert_int_equal(path[0], '/');
    assert_true(str_ends(str_c(path), STR("/weir")));
    mem_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sockets_come_back),
        cmocka_unit_test(takes_what_was_left),
        cmocka_unit_test(refuses_what_it_does_not_understand),
        cmocka_unit_test(makes_paths_absolute),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

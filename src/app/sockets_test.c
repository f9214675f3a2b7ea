/* SPDX-License-Identifier: Apache-2.0 */
/* sockets_test.c: sockets of one address share its port or file; a taken one is seen. */
#include "app/sockets.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "net/addr.h"
#include "net/sock.h"

static void inet_sockets_share_a_port(void **state)
{
    (void) state;
    struct sockets s;
    struct addr a, b;
    char text[ADDR_TEXT_MAX];
    const char *why = NULL;
    sockets_init(&s);
    assert_true(sockets_alone(STR("127.0.0.1:0"), &why));
    struct socket_wish wish = {STR("127.0.0.1:0"), 3, 16, MODE_BY_UMASK};
    assert_true(sockets_open(&s, &wish, &why));
    struct socket_row *row = sockets_find(&s, STR("127.0.0.1:0"));
    assert_non_null(row);
    assert_true(row->port > 0);
    for (uint32_t i = 0; i < row->n; i++) {
        assert_true(sock_local(row->fds[i], &a));
        assert_int_equal(addr_port(&a), row->port);
        assert_true(fcntl(row->fds[i], F_GETFD) & FD_CLOEXEC);
    }
    addr_print(&a, text);
    assert_false(sockets_alone(str_c(text), &why));
    assert_non_null(strstr(why, "another process"));
    /* What was handed on is not closed here. */
    int handed = row->fds[1];
    row->fds[1] = -1;
    sockets_fini(&s, true);
    assert_true(sock_local(handed, &b));
    close(handed);
    assert_true(sockets_alone(str_c(text), &why));
}

static void unix_sockets_share_a_file(void **state)
{
    (void) state;
    struct sockets s;
    char address[64];
    const char *why = NULL;
    snprintf(address, sizeof address, "unix:/tmp/weir-sockets-test-%ld", (long) getpid());
    mode_t before = umask(022);
    umask(before);
    sockets_init(&s);
    struct socket_wish wish = {str_c(address), 2, 16, 0};
    assert_true(sockets_open(&s, &wish, &why));
    struct stat st;
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0);
    assert_int_equal(umask(before), before);
    struct socket_row *row = sockets_find(&s, str_c(address));
    assert_true(row->fds[0] >= 0 && row->fds[1] >= 0 && row->fds[0] != row->fds[1]);
    assert_int_equal(access(address + 5, F_OK), 0);
    sockets_close(row, true);
    assert_int_equal(access(address + 5, F_OK), -1);
    assert_null(sockets_find(&s, str_c(address)));
    sockets_fini(&s, false);
}

static void bad_addresses_are_refused(void **state)
{
    (void) state;
    static const char *const bad[] = {"", "host.example:80", "127.0.0.1", "1.2.3.4:99999", "unix:"};
    struct sockets s;
    sockets_init(&s);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const char *why = NULL;
        struct socket_wish wish = {str_c(bad[i]), 1, 16, MODE_BY_UMASK};
        assert_false(sockets_open(&s, &wish, &why));
        assert_non_null(why);
        assert_false(sockets_alone(str_c(bad[i]), &why));
    }
    assert_true(list_empty(&s.rows));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inet_sockets_share_a_port),
        cmocka_unit_test(unix_sockets_share_a_file),
        cmocka_unit_test(bad_addresses_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

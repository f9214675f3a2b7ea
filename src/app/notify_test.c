/* SPDX-License-Identifier: Apache-2.0 */
/* notify_test.c: what the service manager gets to read. */
#include "app/notify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

/* A datagram socket at an abstract name of this process; name gets the form of NOTIFY_SOCKET. */
static int manager(char name[64])
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(name, 64, "@weir-notify-test-%ld", (long) getpid());
    memcpy(a.sun_path + 1, name + 1, strlen(name) - 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    socklen_t n = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(fd, (struct sockaddr *) &a, n), 0);
    return fd;
}

static const char *received(int fd)
{
    static char text[256];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    return text;
}

static void tells_each_state(void **state)
{
    (void) state;
    char name[64], want[96];
    int fd = manager(name);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_ready("serving");
    snprintf(want, sizeof want, "READY=1\nMAINPID=%ld\nSTATUS=serving", (long) getpid());
    assert_string_equal(received(fd), want);
    notify_reloading(1234567);
    assert_string_equal(received(fd), "RELOADING=1\nMONOTONIC_USEC=1234567");
    notify_stopping();
    assert_memory_equal(received(fd), "STOPPING=1\n", 11);
    notify_status("restarting");
    assert_string_equal(received(fd), "STATUS=restarting");
    unsetenv("NOTIFY_SOCKET");
    notify_ready("serving");
    char none;
    assert_int_equal(recv(fd, &none, 1, 0), -1);
    close(fd);
    assert_false(notify_send(name, "READY=1"));
}

static void refuses_odd_addresses(void **state)
{
    (void) state;
    char path[200];
    memset(path, 'a', sizeof path - 1);
    path[0] = '/';
    path[sizeof path - 1] = '\0';
    assert_false(notify_send(path, "READY=1"));
    assert_false(notify_send("vsock:2:1234", "READY=1"));
    assert_false(notify_send("@", "READY=1"));
    assert_false(notify_send("", "READY=1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_each_state),
        cmocka_unit_test(refuses_odd_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

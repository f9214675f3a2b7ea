/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets: listening, stale files, accepting, connecting, options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/sock.h"

#define DEADLINE_MS 10000

static struct addr any_port(const char *host)
{
    struct ip ip;
    assert_true(ip_parse(str_c(host), &ip));
    return addr_from_ip(ip, 0);
}

static int listen_on(const struct addr *want, struct addr *got)
{
    const char *why = "";
    int fd = sock_listen(want, 16, &why);
    if (fd < 0)
        fail_msg("%s", why);
    assert_true(sock_local(fd, got));
    return fd;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static void connects_and_accepts(void **state)
{
    (void) state;
    struct addr want = any_port("127.0.0.1"), at, peer, local;
    int listener = listen_on(&want, &at);
    int accepted, out;
    bool exhausted, done;
    assert_int_equal(sock_accept(listener, &accepted, &peer, &exhausted), IO_AGAIN);
    assert_int_equal(sock_connect(&at, true, &out, &done), FAULT_OK);
    wait_for(out, POLLOUT);
    assert_int_equal(sock_connect_result(out), FAULT_OK);
    wait_for(listener, POLLIN);
    assert_int_equal(sock_accept(listener, &accepted, &peer, &exhausted), IO_OK);
    assert_true(sock_local(out, &local));
    assert_true(addr_equal(&local, &peer));
    assert_int_equal(option(accepted, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(out, IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option(out, SOL_SOCKET, SO_KEEPALIVE), 1);
    assert_true(sock_rtt_us(out) > 0);
    /* A reset instead of an orderly end. */
    sock_reset_on_close(accepted);
    close(accepted);
    wait_for(out, POLLIN);
    char byte;
    assert_int_equal(recv(out, &byte, 1, 0), -1);
    close(out);
    close(listener);
}

static void tells_why_connecting_failed(void **state)
{
    (void) state;
    struct addr want = any_port("127.0.0.1"), at;
    int fd, listener = listen_on(&want, &at);
    bool done;
    close(listener);
    enum fault f = sock_connect(&at, false, &fd, &done);
    if (f == FAULT_OK) {
        wait_for(fd, POLLOUT);
        f = sock_connect_result(fd);
        close(fd);
    }
    assert_int_equal(f, FAULT_CONNECT_REFUSED);
    struct addr_text t = {ADDR_UNIX, STR("/nonexistent/weir.sock"), 0};
    assert_true(addr_from_text(&t, &at));
    assert_int_equal(sock_connect(&at, false, &fd, &done), FAULT_CONNECT_REFUSED);
    assert_int_equal(fd, -1);
    assert_int_equal(sock_connect_result(-1), FAULT_CONNECT_FAILED);
}

static void shares_a_port(void **state)
{
    (void) state;
    struct addr want = any_port("127.0.0.1"), at, same;
    int a = listen_on(&want, &at);
    int b = listen_on(&at, &same); /* SO_REUSEPORT: one socket a worker */
    assert_true(addr_equal(&at, &same));
    close(a);
    close(b);
}

static void says_why_it_cannot_listen(void **state)
{
    (void) state;
    struct addr want = any_port("192.0.2.1");
    const char *why = NULL;
    assert_int_equal(sock_listen(&want, 16, &why), -1);
    assert_non_null(strstr(why, "no interface"));
    static const struct {
        const char *path, *why;
    } paths[] = {
        {"/nonexistent/x.sock", "cannot listen: No such file or directory; make the directory"},
        {"/dev/null", "a file that is no socket has that name"},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct addr_text t = {ADDR_UNIX, str_c(paths[i].path), 0};
        assert_true(addr_from_text(&t, &want));
        assert_int_equal(sock_listen(&want, 16, &why), -1);
        assert_non_null(strstr(why, paths[i].why));
    }
}

static void listens_on_any(void **state)
{
    (void) state;
    struct addr_text t = {ADDR_IP, STR(""), 0};
    struct addr want, at, peer;
    assert_true(addr_from_text(&t, &want));
    int listener = listen_on(&want, &at);
    struct ip loopback;
    assert_true(ip_parse(STR("127.0.0.1"), &loopback));
    struct addr to = addr_from_ip(loopback, addr_port(&at));
    int out, accepted;
    bool done, exhausted;
    assert_int_equal(sock_connect(&to, false, &out, &done), FAULT_OK);
    wait_for(listener, POLLIN);
    assert_int_equal(sock_accept(listener, &accepted, &peer, &exhausted), IO_OK);
    /* An IPv4 client of a dual-stack socket looks like one. */
    char text[ADDR_TEXT_MAX];
    addr_print(&peer, text);
    assert_int_equal(strncmp(text, "127.0.0.1:", 10), 0);
    close(accepted);
    close(out);
    close(listener);
}

static void replaces_a_stale_unix_socket(void **state)
{
    (void) state;
    char dir[] = "/tmp/weir-sock-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char path[64];
    int n = snprintf(path, sizeof path, "%s/s", dir);
    struct addr_text t = {ADDR_UNIX, str_of(path, (size_t) n), 0};
    struct addr a, at;
    const char *why = "";
    assert_true(addr_from_text(&t, &a));
    int first = listen_on(&a, &at);
    assert_true(addr_equal(&a, &at));
    /* Somebody answers: the file stays. */
    assert_int_equal(sock_listen(&a, 16, &why), -1);
    assert_non_null(strstr(why, "another process listens"));
    int out;
    bool done;
    assert_int_equal(sock_connect(&a, false, &out, &done), FAULT_OK);
    assert_true(done);
    close(out);
    close(first);
    int second = listen_on(&a, &at);
    close(second);
    unlink(path);
    /* What is no socket is never removed. */
    FILE *plain = fopen(path, "w");
    assert_non_null(plain);
    fclose(plain);
    assert_int_equal(sock_listen(&a, 16, &why), -1);
    assert_int_equal(access(path, F_OK), 0);
    unlink(path);
    rmdir(dir);
}

static void a_dead_listener_pauses(void **state)
{
    (void) state;
    int fd;
    struct addr peer;
    bool exhausted = false;
    assert_int_equal(sock_accept(-1, &fd, &peer, &exhausted), IO_ERR);
    assert_true(exhausted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_and_accepts),   cmocka_unit_test(tells_why_connecting_failed),
        cmocka_unit_test(shares_a_port),          cmocka_unit_test(says_why_it_cannot_listen),
        cmocka_unit_test(listens_on_any),         cmocka_unit_test(replaces_a_stale_unix_socket),
        cmocka_unit_test(a_dead_listener_pauses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

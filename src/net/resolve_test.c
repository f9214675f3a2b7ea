/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver against a small DNS server in a thread of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/addr.h"
#include "net/resolve.h"
#include "net/sock.h"

#define DEADLINE (20 * USEC_PER_SEC)

/* ---- the server ------------------------------------------------------------------------------ */

enum { TYPE_A = 1, TYPE_AAAA = 28, NXDOMAIN = 3 };

static struct {
    int fd, tcp; /* the same port on both */
    pthread_t thread;
    char address[ADDR_TEXT_MAX];
    _Atomic unsigned asked;     /* questions so far */
    _Atomic unsigned last_byte; /* of the A record of "moving" */
    _Atomic bool broken;        /* "moving" does not exist */
} dns;

/* Writes one answer record for the question's name. */
static size_t put_record(unsigned char *at, unsigned type, unsigned ttl, const struct ip *ip)
{
    size_t n = type == TYPE_A ? 4 : 16;
    unsigned char head[12] = {0xc0, 12, 0, (unsigned char) type, 0, 1,
                              0,    0,  0, (unsigned char) ttl,  0, (unsigned char) n};
    memcpy(at, head, 12);
    memcpy(at + 12, ip->b + 16 - n, n);
    return 12 + n;
}

/* Fills the records for a name; returns how many, or -1 for NXDOMAIN. */
static int records(const char *name, unsigned type, unsigned char *at, size_t *n)
{
    struct ip ip;
    *n = 0;
    if (strcmp(name, "moving") == 0 && !dns.broken) {
        if (type != TYPE_A)
            return 0;
        assert_true(ip_parse(STR("10.0.0.0"), &ip));
        ip.b[15] = (uint8_t) dns.last_byte;
        *n = put_record(at, type, 1, &ip);
        return 1;
    }
    if (strcmp(name, "both") == 0) {
        const char *texts[2] = {"10.1.1.2", "10.1.1.1"};
        if (type == TYPE_AAAA) {
            assert_true(ip_parse(STR("2001:db8::7"), &ip));
            *n = put_record(at, type, 200, &ip);
            return 1;
        }
        for (int i = 0; i < 2; i++) {
            assert_true(ip_parse(str_c(texts[i]), &ip));
            *n += put_record(at + *n, type, 200, &ip);
        }
        return 2;
    }
    return -1;
}

/* Turns the question of n bytes at m into its answer; returns its bytes. */
static size_t answer(unsigned char *m, bool truncate)
{
    char name[64] = {0};
    size_t label = m[12] < 60 ? m[12] : 60;
    memcpy(name, m + 13, label);
    size_t end = 12 + label + 2 + 4, n = 0; /* one label, the root, type and class */
    bool big = strcmp(name, "big") == 0;
    int count = records(big ? "both" : name, m[end - 3], m + end, &n);
    if (big && truncate)
        count = (int) (n = 0);
    m[2] = big && truncate ? 0x83 : 0x81;
    m[3] = (unsigned char) (0x80 | (count < 0 ? NXDOMAIN : 0));
    m[7] = (unsigned char) (count < 0 ? 0 : count);
    m[9] = m[11] = 0;
    return end + n;
}

static bool read_whole(int fd, unsigned char *to, size_t n)
{
    return recv(fd, to, n, MSG_WAITALL) == (ssize_t) n;
}

/* Answers one question that came by TCP, in pieces. False: the resolver has closed. */
static bool serve_tcp(int fd)
{
    unsigned char m[600];
    if (!read_whole(fd, m, 2) || !read_whole(fd, m + 2, m[1]))
        return false;
    size_t n = answer(m + 2, false);
    m[0] = 0;
    m[1] = (unsigned char) n;
    for (size_t i = 0; i < n + 2; i += 7)
        send(fd, m + i, n + 2 - i < 7 ? n + 2 - i : 7, MSG_NOSIGNAL);
    return true;
}

/* Answers one datagram. False: it was the test's goodbye. */
static bool serve_udp(void)
{
    unsigned char m[512];
    struct addr peer = {.len = sizeof peer.ss};
    ssize_t got = recvfrom(dns.fd, m, sizeof m, 0, (struct sockaddr *) &peer.ss, &peer.len);
    if (got < 17 || m[12] == 0)
        return false;
    dns.asked++;
    size_t n = answer(m, true);
    sendto(dns.fd, m, n, 0, (struct sockaddr *) &peer.ss, peer.len);
    return true;
}

static void *serve(void *arg)
{
    (void) arg;
    struct pollfd p[3] = {{.fd = dns.fd, .events = POLLIN},
                          {.fd = dns.tcp, .events = POLLIN},
                          {.fd = -1, .events = POLLIN}};
    bool go_on = true;
    while (go_on) {
        poll(p, 3, -1);
        if (p[2].fd >= 0 && p[2].revents && !serve_tcp(p[2].fd)) {
            close(p[2].fd);
            p[2].fd = -1;
        }
        if (p[1].revents && p[2].fd < 0)
            p[2].fd = accept(dns.tcp, NULL, NULL);
        if (p[0].revents)
            go_on = serve_udp();
    }
    if (p[2].fd >= 0)
        close(p[2].fd);
    return NULL;
}

/* A UDP port whose TCP twin is free too: the kernel promises only the first. */
static bool take_port(struct addr any)
{
    struct addr a = any;
    dns.fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(dns.fd, (struct sockaddr *) &a.ss, a.len), 0);
    assert_true(sock_local(dns.fd, &a));
    addr_print(&a, dns.address);
    dns.tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(dns.tcp, (struct sockaddr *) &a.ss, a.len) == 0)
        return true;
    close(dns.fd);
    close(dns.tcp);
    return false;
}

static int start_dns(void **state)
{
    (void) state;
    struct ip ip;
    assert_true(ip_parse(STR("127.0.0.1"), &ip));
    int tries = 0;
    while (!take_port(addr_from_ip(ip, 0)))
        assert_true(++tries < 100);
    assert_int_equal(listen(dns.tcp, 4), 0);
    return pthread_create(&dns.thread, NULL, serve, NULL);
}

static int stop_dns(void **state)
{
    (void) state;
    struct addr a;
    assert_true(sock_local(dns.fd, &a));
    assert_int_equal(sendto(dns.fd, "", 1, 0, (struct sockaddr *) &a.ss, a.len), 1);
    pthread_join(dns.thread, NULL);
    close(dns.fd);
    close(dns.tcp);
    return 0;
}

/* ---- the tests ------------------------------------------------------------------------------- */

static struct loop *loop;
static struct resolver *resolver;

struct seen {
    unsigned calls;
    enum fault fault;
    size_t n;
    char text[256];
    struct resolve_watch *unwatch; /* from inside of the call */
};

static void on_result(void *arg, const struct ip *ips, size_t n, enum fault fault, const char *why)
{
    struct seen *s = arg;
    s->calls++;
    s->fault = fault;
    s->n = n;
    s->text[0] = '\0';
    assert_int_equal(why != NULL, fault != FAULT_OK);
    for (size_t i = 0; i < n; i++) {
        char ip[46];
        ip_print(ips[i], ip);
        size_t at = strlen(s->text);
        snprintf(s->text + at, sizeof s->text - at, "%s ", ip);
    }
    resolve_unwatch(s->unwatch);
}

static int open_resolver(void **state)
{
    (void) state;
    int err;
    const char *why = "";
    loop = loop_new(&err);
    resolver = resolver_new(loop, dns.address, &why);
    if (!resolver)
        fail_msg("%s", why);
    dns.broken = false;
    dns.last_byte = 1;
    return 0;
}

static int close_resolver(void **state)
{
    (void) state;
    resolver_free(resolver);
    loop_free(loop);
    return 0;
}

static void turn_until_calls(const struct seen *s, unsigned n)
{
    usec_t end = clock_now() + DEADLINE;
    while (s->calls < n) {
        assert_true(clock_now() < end);
        loop_turn(loop, 100000);
    }
}

static void resolves_both_families(void **state)
{
    (void) state;
    struct seen s = {.calls = 0};
    struct resolve_watch *w = resolve_watch(resolver, STR("both"), on_result, &s);
    assert_non_null(w);
    assert_int_equal(s.calls, 0); /* never from inside of resolve_watch */
    turn_until_calls(&s, 1);
    assert_int_equal(s.fault, FAULT_OK);
    assert_string_equal(s.text, "10.1.1.1 10.1.1.2 2001:db8::7 ");
    resolve_unwatch(w);
}

/* A truncated answer: c-ares asks again over TCP, and the answer arrives byte by byte. */
static void asks_over_tcp(void **state)
{
    (void) state;
    struct seen s = {.calls = 0};
    assert_non_null(resolve_watch(resolver, STR("big"), on_result, &s));
    turn_until_calls(&s, 1);
    assert_int_equal(s.fault, FAULT_OK);
    assert_string_equal(s.text, "10.1.1.1 10.1.1.2 2001:db8::7 ");
}

static void follows_changes_and_keeps_the_last_good(void **state)
{
    (void) state;
    struct seen s = {.calls = 0};
    struct resolve_watch *w = resolve_watch(resolver, STR("moving"), on_result, &s);
    turn_until_calls(&s, 1);
    assert_string_equal(s.text, "10.0.0.1 ");
    dns.last_byte = 2;
    turn_until_calls(&s, 2); /* TTL 1 s */
    assert_string_equal(s.text, "10.0.0.2 ");
    dns.broken = true;
    turn_until_calls(&s, 3);
    assert_int_equal(s.fault, FAULT_RESOLVE);
    assert_string_equal(s.text, "10.0.0.2 ");
    dns.broken = false;
    turn_until_calls(&s, 4);
    assert_int_equal(s.fault, FAULT_OK);
    assert_string_equal(s.text, "10.0.0.2 ");
    resolve_unwatch(w);
}

static void tells_a_name_that_does_not_exist(void **state)
{
    (void) state;
    struct seen s = {.calls = 0};
    assert_non_null(resolve_watch(resolver, STR("nowhere"), on_result, &s));
    turn_until_calls(&s, 1);
    assert_int_equal(s.fault, FAULT_RESOLVE);
    assert_int_equal(s.n, 0);
}

static void localhost_needs_no_server(void **state)
{
    (void) state;
    static const char *const names[] = {"localhost", "LocalHost.", "a.localhost"};
    unsigned before = dns.asked;
    for (size_t i = 0; i < 3; i++) {
        struct seen s = {.calls = 0};
        struct resolve_watch *w = resolve_watch(resolver, str_c(names[i]), on_result, &s);
        turn_until_calls(&s, 1);
        assert_string_equal(s.text, "127.0.0.1 ::1 ");
        resolve_unwatch(w);
    }
    struct seen s = {.calls = 0};
    assert_non_null(resolve_watch(resolver, STR("192.0.2.7"), on_result, &s));
    turn_until_calls(&s, 1);
    assert_string_equal(s.text, "192.0.2.7 ");
    assert_int_equal(dns.asked, before);
}

static void unwatches_at_any_time(void **state)
{
    (void) state;
    struct seen s = {.calls = 0}, inside = {.calls = 0};
    /* Before the first turn; with a query out; from inside of the callback. */
    resolve_unwatch(resolve_watch(resolver, STR("both"), on_result, &s));
    struct resolve_watch *w = resolve_watch(resolver, STR("both"), on_result, &s);
    loop_turn(loop, 0);
    resolve_unwatch(w);
    resolve_unwatch(NULL);
    inside.unwatch = resolve_watch(resolver, STR("both"), on_result, &inside);
    turn_until_calls(&inside, 1);
    assert_int_equal(s.calls, 0);
    /* resolver_free ends what is still out. */
    assert_non_null(resolve_watch(resolver, STR("moving"), on_result, &s));
    loop_turn(loop, 0);
}

static void refuses_what_is_no_name(void **state)
{
    (void) state;
    static const char *const bad[] = {"", "a b", "a..b", "[::1]", "x/y"};
    struct seen s = {.calls = 0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_null(resolve_watch(resolver, str_c(bad[i]), on_result, &s));
    const char *why = NULL;
    assert_null(resolver_new(loop, "not an address", &why));
    assert_non_null(why);
}

/* The system's configuration: hosts file, resolv.conf. Nothing is asked. */
static void opens_the_systems(void **state)
{
    (void) state;
    const char *why = "";
    struct resolver *r = resolver_new(loop, NULL, &why);
    assert_non_null(r);
    resolver_free(r);
    resolver_free(NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_resolver, close_resolver)
    const struct CMUnitTest tests[] = {
        T(resolves_both_families),
        T(asks_over_tcp),
        T(follows_changes_and_keeps_the_last_good),
        T(tells_a_name_that_does_not_exist),
        T(localhost_needs_no_server),
        T(unwatches_at_any_time),
        T(refuses_what_is_no_name),
        T(opens_the_systems),
    };
    return cmocka_run_group_tests(tests, start_dns, stop_dns);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses: texts, IPs, CIDR sets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <sys/un.h>

#include "net/addr.h"

static void splits_texts(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        uint16_t def;
        enum addr_form form;
        const char *host;
        uint16_t port;
    } good[] = {
        {"127.0.0.1:80", 0, ADDR_IP, "127.0.0.1", 80},
        {"[::1]:8080", 0, ADDR_IP, "::1", 8080},
        {"[::1]", 443, ADDR_IP, "::1", 443},
        {":8080", 0, ADDR_IP, "", 8080},
        {"api.example_1.com.", 80, ADDR_NAME, "api.example_1.com.", 80},
        {"localhost:65535", 1, ADDR_NAME, "localhost", 65535},
        {"unix:/run/x.sock", 0, ADDR_UNIX, "/run/x.sock", 0},
        {"unix:@name", 0, ADDR_UNIX, "@name", 0},
        {"127.0.0.1:0", 0, ADDR_IP, "127.0.0.1", 0},
    };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct addr_text t;
        const char *why = "";
        assert_true(addr_split(str_c(good[i].text), good[i].def, &t, &why));
        assert_int_equal(t.form, good[i].form);
        assert_true(str_eq(t.host, str_c(good[i].host)));
        assert_int_equal(t.port, good[i].port);
    }
    static const char *const bad[] = {
        "",        "host",          "host:",    "host:x",        "host:65536",
        "host:+1", "::1:80",        "[::1:80",  "[::1]80",       "[1.2.3.4]:80",
        "[]:80",   "[host]:80",     "a b:80",   "a..b:80",       ".a:80",
        "unix:",   "unix:relative", "h:000080", "1.2.3.4:80:90", "\xc3\xa9:80",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct addr_text t;
        const char *why = NULL;
        assert_false(addr_split(str_c(bad[i]), 0, &t, &why));
        assert_non_null(why);
    }
    static const struct {
        const char *text, *why;
    } hints[] = {
        {"http://127.0.0.1:80", "it is a URL; write host:port without http://"},
        {"http://[::1]/x", "it is a URL; write host:port without http://"},
        {"8080", "a port alone needs its colon, as in :8080"},
        {"::1:80", "an IPv6 address needs brackets; write [::1]:8080"},
    };
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        struct addr_text t;
        const char *why = "";
        assert_false(addr_split(str_c(hints[i].text), 0, &t, &why));
        assert_string_equal(why, hints[i].why);
    }
    char lengthy[200] = "unix:/";
    memset(lengthy + 6, 'x', 150);
    struct addr_text t;
    const char *why = NULL;
    assert_false(addr_split(str_c(lengthy), 0, &t, &why));
}

static void round_trips(void **state)
{
    (void) state;
    static const char *const texts[] = {"127.0.0.1:80",        "[::1]:65535",  "[2001:db8::1]:1",
                                        "255.255.255.255:443", "10.0.100.9:9", "unix:/tmp/x",
                                        "unix:@abstract"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct addr_text t;
        struct addr a, b;
        const char *why;
        char out[ADDR_TEXT_MAX];
        assert_true(addr_split(str_c(texts[i]), 0, &t, &why));
        assert_true(addr_from_text(&t, &a));
        assert_int_equal(addr_print(&a, out), strlen(texts[i]));
        assert_string_equal(out, texts[i]);
        assert_true(addr_from_text(&t, &b));
        assert_true(addr_equal(&a, &b));
        assert_int_equal(addr_port(&a), t.port);
        struct ip ip;
        assert_int_equal(addr_ip(&a, &ip), t.form == ADDR_IP);
    }
    struct addr_text name = {ADDR_NAME, STR("localhost"), 80};
    struct addr a;
    assert_false(addr_from_text(&name, &a));
    /* Longest path there can be. */
    char path[108];
    memset(path, 'p', sizeof path);
    path[0] = '/';
    struct addr_text longest = {ADDR_UNIX, {path, 107}, 0};
    char out[ADDR_TEXT_MAX];
    assert_true(addr_from_text(&longest, &a));
    assert_int_equal(addr_print(&a, out), 112);
    /* What accept() gives for an unnamed peer. */
    a.len = sizeof(sa_family_t);
    assert_int_equal(addr_print(&a, out), 5);
    struct addr none = {.len = 0};
    assert_int_equal(addr_print(&none, out), 1);
}

static void tells_addresses_apart(void **state)
{
    (void) state;
    struct ip a, b;
    assert_true(ip_parse(STR("10.0.0.1"), &a));
    assert_true(ip_parse(STR("10.0.0.2"), &b));
    struct addr x = addr_from_ip(a, 80), y = addr_from_ip(b, 80), z = addr_from_ip(a, 81);
    assert_false(addr_equal(&x, &y));
    assert_false(addr_equal(&x, &z));
}

static void prints_as_the_c_library(void **state)
{
    (void) state;
    for (unsigned i = 0; i < 256; i++) {
        uint8_t four[4] = {(uint8_t) i, (uint8_t) (255 - i), (uint8_t) (i / 2), (uint8_t) (i * 7)};
        char ours[46], theirs[46];
        struct ip ip;
        inet_ntop(AF_INET, four, theirs, sizeof theirs);
        assert_true(ip_parse(str_c(theirs), &ip));
        assert_true(ip_is_v4(ip));
        assert_int_equal(ip_print(ip, ours), strlen(theirs));
        assert_string_equal(ours, theirs);
    }
}

static void refuses_odd_ips(void **state)
{
    (void) state;
    static const char *const bad[] = {"",          "1.2.3",   "1.2.3.4.5", "01.2.3.4",
                                      "1.2.3.256", "[::1]",   "::1%eth0",  "1.2.3.4 ",
                                      ":::",       "12345::", "localhost"};
    struct ip ip;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(ip_parse(str_c(bad[i]), &ip));
    assert_false(ip_parse(str_of("1.2.3.4\0x", 9), &ip));
    assert_true(ip_parse(STR("::ffff:1.2.3.4"), &ip));
    assert_true(ip_is_v4(ip));
    assert_true(addr_is_name(STR("a.b-c")));
    assert_false(addr_is_name(STR("1.2.3.4")));
    assert_false(addr_is_name(STR("")));
}

static bool has(const char *cidr, const char *ip)
{
    struct cidr c;
    struct ip i;
    assert_true(cidr_parse(str_c(cidr), &c));
    assert_true(ip_parse(str_c(ip), &i));
    return cidr_has(&c, i);
}

static void matches_cidrs(void **state)
{
    (void) state;
    assert_true(has("10.0.0.0/8", "10.255.0.1"));
    assert_false(has("10.0.0.0/8", "11.0.0.1"));
    assert_true(has("192.168.1.128/25", "192.168.1.200"));
    assert_false(has("192.168.1.128/25", "192.168.1.100"));
    assert_true(has("1.2.3.4", "1.2.3.4"));
    assert_false(has("1.2.3.4", "1.2.3.5"));
    assert_true(has("0.0.0.0/0", "200.1.1.1"));
    assert_false(has("0.0.0.0/0", "::1"));
    assert_true(has("::/0", "200.1.1.1"));
    assert_true(has("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(has("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(has("::1", "::1"));
    assert_true(has("::ffff:10.0.0.0/104", "10.1.1.1"));
    static const char *const bad[] = {"10.0.0.1/8",  "10.0.0.0/33",  "10.0.0.0/",    "/8",
                                      "10.0.0.0/-1", "::/129",       "unix",         "",
                                      "::1/127",     "10.0.0.0/8/8", "10.0.0.0/0008"};
    struct cidr c;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(cidr_parse(str_c(bad[i]), &c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_texts),          cmocka_unit_test(round_trips),
        cmocka_unit_test(tells_addresses_apart), cmocka_unit_test(prints_as_the_c_library),
        cmocka_unit_test(refuses_odd_ips),       cmocka_unit_test(matches_cidrs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

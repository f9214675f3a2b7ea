/* SPDX-License-Identifier: Apache-2.0 */
/* Which address a request is said to come from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/arena.h"
#include "proxy/client_ip.h"

#define LINES 3

struct test {
    const char *name;
    const char *peer;
    const char *xff[LINES];       /* X-Forwarded-For lines */
    const char *forwarded[LINES]; /* Forwarded lines */
    const char *want;
};

/* 10.0.0.0/8, 2001:db8::/32 and fd00::1 are trusted. */
static const struct test rows[] = {
    {"untrusted peer is never asked", "192.0.2.1", {"1.2.3.4"}, {0}, "192.0.2.1"},
    {"nothing said", "10.0.0.1", {0}, {0}, "10.0.0.1"},
    {"one hop", "10.0.0.1", {"1.2.3.4"}, {0}, "1.2.3.4"},
    {"right to left", "10.0.0.1", {"6.6.6.6, 1.2.3.4"}, {0}, "1.2.3.4"},
    {"over trusted hops", "10.0.0.1", {"6.6.6.6, 1.2.3.4, 10.0.0.9,10.1.1.1"}, {0}, "1.2.3.4"},
    {"lines are one list", "10.0.0.1", {"6.6.6.6", "1.2.3.4", "10.2.2.2"}, {0}, "1.2.3.4"},
    {"all trusted: the leftmost", "10.0.0.1", {"10.0.0.3, 10.0.0.2"}, {0}, "10.0.0.3"},
    {"garbage ends the walk", "10.0.0.1", {"1.2.3.4, junk, 10.0.0.2"}, {0}, "10.0.0.2"},
    {"garbage at once", "10.0.0.1", {"1.2.3.4, unknown"}, {0}, "10.0.0.1"},
    {"garbage in a line ends all", "10.0.0.1", {"1.2.3.4", "x", "10.0.0.2"}, {0}, "10.0.0.2"},
    {"empty elements", "10.0.0.1", {", 1.2.3.4 ,, ,"}, {0}, "1.2.3.4"},
    {"only commas", "10.0.0.1", {",,"}, {0}, "10.0.0.1"},
    {"ports", "10.0.0.1", {"1.2.3.4:5678"}, {0}, "1.2.3.4"},
    {"bad port", "10.0.0.1", {"1.2.3.4:567890"}, {0}, "10.0.0.1"},
    {"port of nothing", "10.0.0.1", {"1.2.3.4:"}, {0}, "10.0.0.1"},
    {"bare v6", "10.0.0.1", {"2001:470::1"}, {0}, "2001:470::1"},
    {"trusted v6 hop", "2001:db8::5", {"1.2.3.4, 2001:db8::1"}, {0}, "1.2.3.4"},
    {"bracketed v6", "10.0.0.1", {"[2001:470::1]"}, {0}, "2001:470::1"},
    {"bracketed v6 and port", "10.0.0.1", {"[2001:470::1]:80"}, {0}, "2001:470::1"},
    {"bracketed v6, then junk", "10.0.0.1", {"[2001:470::1]80"}, {0}, "10.0.0.1"},
    {"v4 in brackets", "10.0.0.1", {"[1.2.3.4]"}, {0}, "10.0.0.1"},
    {"zone", "10.0.0.1", {"fe80::1%eth0"}, {0}, "10.0.0.1"},
    {"mapped v4 is v4", "10.0.0.1", {"6.6.6.6, ::ffff:10.0.0.7"}, {0}, "6.6.6.6"},
    {"leading zeros", "10.0.0.1", {"010.0.0.2"}, {0}, "10.0.0.1"},
    {"quotes are no address", "10.0.0.1", {"\"1.2.3.4\""}, {0}, "10.0.0.1"},
    {"single trusted address", "fd00::1", {"1.2.3.4"}, {0}, "1.2.3.4"},
    {"its neighbour is not", "fd00::2", {"1.2.3.4"}, {0}, "fd00::2"},

    {"forwarded", "10.0.0.1", {0}, {"for=1.2.3.4"}, "1.2.3.4"},
    {"list goes first", "10.0.0.1", {"1.2.3.4"}, {"for=6.6.6.6"}, "1.2.3.4"},
    {"pairs around", "10.0.0.1", {0}, {"proto=https;FOR=1.2.3.4;host=x, for=10.9.9.9"}, "1.2.3.4"},
    {"spaces", "10.0.0.1", {0}, {"for=1.2.3.4 ; proto=http ,for=10.0.0.3"}, "1.2.3.4"},
    {"quoted v6", "10.0.0.1", {0}, {"for=\"[2001:470::1]:443\""}, "2001:470::1"},
    {"quoted v4 and port", "10.0.0.1", {0}, {"for=\"1.2.3.4:80\""}, "1.2.3.4"},
    {"v6 without brackets", "10.0.0.1", {0}, {"for=\"2001:470::1\""}, "10.0.0.1"},
    {"port without quotes", "10.0.0.1", {0}, {"for=1.2.3.4:80"}, "10.0.0.1"},
    {"hidden hop", "10.0.0.1", {0}, {"for=1.2.3.4, for=_secret, for=10.0.0.2"}, "10.0.0.2"},
    {"unknown hop", "10.0.0.1", {0}, {"for=1.2.3.4, for=unknown"}, "10.0.0.1"},
    {"element without for", "10.0.0.1", {0}, {"for=1.2.3.4, proto=http"}, "10.0.0.1"},
    {"for twice", "10.0.0.1", {0}, {"for=1.2.3.4;for=10.0.0.2"}, "10.0.0.1"},
    {"comma in quotes", "10.0.0.1", {0}, {"for=1.2.3.4;by=\"a,for=6.6.6.6\""}, "1.2.3.4"},
    {"escape in quotes", "10.0.0.1", {0}, {"for=1.2.3.4;by=\"a\\\",for=6.6.6.6\""}, "1.2.3.4"},
    {"open quote", "10.0.0.1", {0}, {"for=\"1.2.3.4"}, "10.0.0.1"},
    {"quoted name", "10.0.0.1", {0}, {"\"for\"=1.2.3.4"}, "10.0.0.1"},
    {"space around =", "10.0.0.1", {0}, {"for = 1.2.3.4"}, "10.0.0.1"},
    {"missing value", "10.0.0.1", {0}, {"for="}, "10.0.0.1"},
    {"trailing semicolon", "10.0.0.1", {0}, {"for=1.2.3.4;"}, "1.2.3.4"},
    {"empty pairs", "10.0.0.1", {0}, {";;for=1.2.3.4;;by=x, ;for=10.0.0.2"}, "1.2.3.4"},
    {"pairs without semicolon", "10.0.0.1", {0}, {"for=1.2.3.4 by=x"}, "10.0.0.1"},
    {"lines too", "10.0.0.1", {0}, {"for=1.2.3.4", "for=10.0.0.8"}, "1.2.3.4"},
    {"bad line ends the walk", "10.0.0.1", {0}, {"for=1.2.3.4", "for", "for=10.0.0.8"}, "10.0.0.8"},
};

static void add_lines(struct fields *f, const char *name, const char *const *lines)
{
    for (int i = 0; i < LINES && lines[i]; i++)
        assert_true(fields_add(f, str_c(name), str_c(lines[i])));
}

static struct cidr trusted[3];

static void trust(struct snapshot *s)
{
    assert_true(cidr_parse(STR("10.0.0.0/8"), &trusted[0]));
    assert_true(cidr_parse(STR("2001:db8::/32"), &trusted[1]));
    assert_true(cidr_parse(STR("fd00::1"), &trusted[2]));
    s->trusted = trusted;
    s->n_trusted = 3;
}

static void test_table(void **state)
{
    (void) state;
    struct snapshot s = {0};
    trust(&s);
    for (size_t i = 0; i < SCHEMA_COUNT(rows); i++) {
        struct arena a;
        struct fields f;
        struct ip peer;
        arena_init(&a, NULL, 1u << 16);
        fields_init(&f, &a);
        add_lines(&f, "X-Forwarded-For", rows[i].xff);
        add_lines(&f, "Forwarded", rows[i].forwarded);
        assert_true(ip_parse(str_c(rows[i].peer), &peer));
        struct ip got = client_ip_derive(&s, peer, client_ip_trusted(&s, peer), &f);
        char text[46];
        ip_print(got, text);
        if (strcmp(text, rows[i].want) != 0)
            fail_msg("%s: %s instead of %s", rows[i].name, text, rows[i].want);
        arena_fini(&a);
    }
}

/* Repeats hop n times, with first at its left. */
static struct str repeat(struct arena *a, const char *first, const char *hop, unsigned n)
{
    struct str parts[201] = {str_c(first)};
    for (unsigned i = 0; i < n; i++)
        parts[i + 1] = str_c(hop);
    return arena_join(a, parts, n + 1);
}

static void test_bounded(void **state)
{
    (void) state;
    static const struct {
        const char *name, *first, *hop;
    } forms[] = {{"X-Forwarded-For", "1.2.3.4", ",10.0.0.2"},
                 {"Forwarded", "for=1.2.3.4", ",for=10.0.0.2"}};
    struct snapshot s = {0};
    trust(&s);
    for (unsigned i = 0; i < 2 * SCHEMA_COUNT(forms); i++) {
        struct arena a;
        struct fields f;
        struct ip peer, want;
        unsigned hops = i < 2 ? CLIENT_IP_HOPS - 1 : 200;
        arena_init(&a, NULL, 1u << 16);
        fields_init(&f, &a);
        assert_true(fields_add(&f, str_c(forms[i % 2].name),
                               repeat(&a, forms[i % 2].first, forms[i % 2].hop, hops)));
        assert_true(ip_parse(STR("10.0.0.1"), &peer));
        assert_true(ip_parse(i < 2 ? STR("1.2.3.4") : STR("10.0.0.2"), &want));
        struct ip got = client_ip_derive(&s, peer, true, &f);
        assert_memory_equal(&got, &want, sizeof(want));
        arena_fini(&a);
    }
}

static void test_unix_peer(void **state)
{
    (void) state;
    struct snapshot s = {0};
    struct arena a;
    struct fields f;
    struct ip none = {0}, want;
    arena_init(&a, NULL, 1u << 16);
    fields_init(&f, &a);
    assert_true(fields_add(&f, STR("X-Forwarded-For"), STR("1.2.3.4")));
    assert_true(ip_parse(STR("1.2.3.4"), &want));
    struct ip got = client_ip_derive(&s, none, true, &f);
    assert_memory_equal(&got, &want, sizeof(want));
    got = client_ip_derive(&s, none, false, &f);
    assert_memory_equal(&got, &none, sizeof(none));
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_unix_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

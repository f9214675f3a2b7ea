/* SPDX-License-Identifier: Apache-2.0 */
/* Which route takes a connection, by the name and the protocols of its ClientHello. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proxy/passthrough.h"

static struct {
    struct match_conf match[4];
    struct route routes[4];
    struct router_rule rules[4];
    struct snapshot s;
} t;

static void rule(size_t i, const char *name, const char *sni)
{
    t.routes[i] = (struct route){.name = str_c(name), .refs = 1};
    t.match[i].host = str_c(sni); /* as the snapshot has it */
    t.rules[i] = (struct router_rule){&t.match[i], &t.routes[i]};
}

/* The route's name, or "none". */
static const char *who(const char *sni, const char *alpn)
{
    struct client_hello h = {.sni_n = (uint16_t) strlen(sni), .alpn_n = (uint16_t) strlen(alpn)};
    memcpy(h.sni, sni, h.sni_n);
    memcpy(h.alpn, alpn, h.alpn_n);
    struct route *r = passthrough_route(&t.s, &h);
    return r ? r->name.p : "none";
}

static void by_name_and_protocol(void **state)
{
    (void) state;
    struct str protocols[] = {STR("h2")};
    char *why = NULL;
    size_t bad;
    assert_string_equal(who("a.example", ""), "none"); /* no route passes anything on */
    rule(0, "exact", "a.example");
    rule(1, "exact-h2", "a.example");
    rule(2, "wild", "*.example");
    t.match[1].alpn = (struct schema_list){protocols, 1};
    t.s.passes = router_new(t.rules, 3, &why, &bad);
    assert_non_null(t.s.passes);
    assert_string_equal(who("a.example", ""), "exact");
    assert_string_equal(who("a.example", "\x08http/1.1"), "exact");
    assert_string_equal(who("a.example", "\x02h2\x08http/1.1"), "exact-h2");
    assert_string_equal(who("b.example", ""), "wild");
    assert_string_equal(who("b.a.example", ""), "wild");
    assert_string_equal(who("example", ""), "none");
    assert_string_equal(who("other", "\x02h2"), "none");
    assert_string_equal(who("", ""), "none");
    assert_true(passthrough_takes(&t.s, STR("b.example")));
    assert_true(passthrough_takes(&t.s, STR("a.example")));
    assert_false(passthrough_takes(&t.s, STR("other")));
    router_free(t.s.passes);
    rule(3, "rest", "");
    t.s.passes = router_new(t.rules, 4, &why, &bad);
    assert_string_equal(who("", ""), "rest");
    assert_string_equal(who("other", ""), "rest");
    assert_string_equal(who("a.example", ""), "exact");
    router_free(t.s.passes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_name_and_protocol)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Which rule answers which request, and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/url.h"
#include "proxy/route.h"

#define RULES_MAX 64

/* A router under test with one route a rule, named by the test. */
static struct {
    struct match_conf match[RULES_MAX];
    struct route routes[RULES_MAX];
    struct router_rule rules[RULES_MAX];
    size_t n;
    struct router *router;
    struct arena arena;
    struct str allow;
    enum fault fault;
} t;

/* A rule; returns its match for more conditions. */
static struct match_conf *rule(const char *name, const char *host, const char *path)
{
    size_t i = t.n++;
    t.routes[i] = (struct route){.name = str_c(name), .refs = 1};
    t.match[i].host = str_c(host);
    if (path[0] == '~')
        t.match[i].path_regex = str_c(path + 1);
    else
        t.match[i].path = str_c(path);
    t.rules[i] = (struct router_rule){&t.match[i], &t.routes[i]};
    return &t.match[i];
}

/* Adds "name: value" to a map of a rule. */
static void with(struct schema_map *m, const char *name, const char *value)
{
    m->names = mem_resize(m->names, (m->n + 1) * sizeof(struct str));
    m->items = mem_resize(m->items, (m->n + 1) * sizeof(struct str));
    m->names[m->n] = str_c(name);
    ((struct str *) m->items)[m->n++] = str_c(value);
}

static void methods(struct match_conf *m, const char *name)
{
    m->methods.items = mem_resize(m->methods.items, (m->methods.n + 1) * sizeof(struct str));
    ((struct str *) m->methods.items)[m->methods.n++] = str_c(name);
}

static void build(void)
{
    char *why = NULL;
    size_t bad = 0;
    t.router = router_new(t.rules, t.n, &why, &bad);
    if (!t.router)
        fail_msg("rule %zu: %s", bad, why);
}

/* Builds, expecting an error that holds text. */
static void build_fails(const char *text)
{
    char *why = NULL;
    size_t bad = 99;
    assert_null(router_new(t.rules, t.n, &why, &bad));
    assert_int_equal(bad, t.n - 1);
    if (!strstr(why, text))
        fail_msg("'%s' does not hold '%s'", why, text);
    mem_free(why);
}

static struct head request(const char *method, const char *host, const char *target)
{
    struct head h = {.method = str_c(method)};
    h.method_id = (uint8_t) method_id(h.method);
    fields_init(&h.fields, &t.arena);
    assert_int_equal(target_parse(&h, &t.arena, str_c(target)), FAULT_OK);
    if (host[0])
        assert_int_equal(authority_parse(str_c(host), &t.arena, &h), FAULT_OK);
    return h;
}

/* Name of the route that answers, or of the fault. */
static const char *answer(const struct head *h)
{
    t.allow = (struct str){0};
    struct route *r = router_match(t.router, h, &t.arena, &t.fault, &t.allow).route;
    if (!r) {
        assert_int_not_equal(t.fault, FAULT_OK);
        return fault_name(t.fault);
    }
    assert_int_equal(t.fault, FAULT_OK);
    return r->name.p;
}

static const char *ask(const char *method, const char *host, const char *target)
{
    struct head h = request(method, host, target);
    return answer(&h);
}

static const char *get(const char *host, const char *target)
{
    return ask("GET", host, target);
}

static int setup(void **state)
{
    (void) state;
    memset(&t, 0, sizeof(t));
    arena_init(&t.arena, NULL, SIZE_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    router_free(t.router);
    for (size_t i = 0; i < t.n; i++) {
        mem_free(t.match[i].methods.items);
        mem_free(t.match[i].headers.names);
        mem_free(t.match[i].headers.items);
        mem_free(t.match[i].query.names);
        mem_free(t.match[i].query.items);
    }
    arena_fini(&t.arena);
    return 0;
}

static void empty_router_has_no_route(void **state)
{
    (void) state;
    build();
    assert_string_equal(get("a", "/"), "no_route");
}

static void hosts_from_exact_to_any(void **state)
{
    (void) state;
    rule("any", "", "/*");
    rule("wild", "*.example.com", "/*");
    rule("longer", "*.b.example.com", "/*");
    rule("exact", "A.B.Example.Com", "/only");
    rule("apex", "example.com", "/*");
    rule("six", "[::1]", "/*");
    build();
    assert_string_equal(get("a.b.example.com", "/only"), "exact");
    assert_string_equal(get("A.B.EXAMPLE.com:8080", "/only"), "exact");
    assert_string_equal(get("a.b.example.com.", "/only"), "exact");
    assert_string_equal(get("a.b.example.com", "/other"), "longer");
    assert_string_equal(get("z.y.b.example.com", "/"), "longer");
    assert_string_equal(get("b.example.com", "/"), "wild");
    assert_string_equal(get("x.example.com", "/"), "wild");
    assert_string_equal(get("xexample.com", "/"), "any");
    assert_string_equal(get("example.com", "/"), "apex");
    assert_string_equal(get("com", "/"), "any");
    assert_string_equal(get("[::1]:80", "/"), "six");
    assert_string_equal(get("", "/"), "any");
}

static void a_host_longer_than_names_can_be_goes_to_any(void **state)
{
    (void) state;
    char host[300];
    memset(host, 'a', sizeof(host));
    memcpy(host + 290, ".wild.com", 10);
    rule("wild", "*.wild.com", "/*");
    rule("any", "", "/*");
    build();
    assert_string_equal(get(host, "/"), "any");
    assert_string_equal(get(host + 100, "/"), "wild");
}

static void paths_from_exact_to_any(void **state)
{
    (void) state;
    rule("all", "", "");
    rule("root", "", "/*");
    rule("x", "", "/x/*");
    rule("xy", "", "/x/y/*");
    rule("exact", "", "/x/y");
    rule("regex", "", "~/x/[0-9]+$");
    rule("second", "", "~/x/[0-9]");
    build();
    assert_string_equal(get("h", "/x/y"), "exact");
    assert_string_equal(get("h", "/x/y/"), "xy");
    assert_string_equal(get("h", "/x/y/z"), "xy");
    assert_string_equal(get("h", "/x/yz"), "x");
    assert_string_equal(get("h", "/x"), "x");
    assert_string_equal(get("h", "/x/"), "x");
    assert_string_equal(get("h", "/xx"), "root");
    assert_string_equal(get("h", "/"), "root");
    assert_string_equal(get("h", "/x/123"), "regex");
    assert_string_equal(get("h", "/x/123a"), "second");
    assert_string_equal(get("h", "/y/x/123"), "root");
    assert_string_equal(ask("OPTIONS", "h", "*"), "root");
    assert_string_equal(get("h", "/x/y?a=/z"), "exact");
}

static void the_target_asterisk(void **state)
{
    (void) state;
    rule("star", "h.com", "*");
    rule("deep", "", "/a/*");
    rule("all", "", "/*");
    build();
    assert_string_equal(ask("OPTIONS", "h.com", "*"), "star");
    assert_string_equal(ask("OPTIONS", "h", "*"), "all");
    assert_string_equal(get("h.com", "/*"), "all");
    assert_string_equal(get("h.com", "/"), "all");
}

static void patterns_are_normalised_as_targets_are(void **state)
{
    (void) state;
    rule("tilde", "", "/%7euser/*");
    rule("slash", "", "/a%2fb");
    rule("dots", "", "/p/../q");
    rule("accent", "", "/caf\xc3\xa9");
    rule("double", "", "/d//*");
    build();
    assert_string_equal(get("h", "/~user/x"), "tilde");
    assert_string_equal(get("h", "/a%2Fb"), "slash");
    assert_string_equal(get("h", "/q"), "dots");
    assert_string_equal(get("h", "/caf%c3%A9"), "accent");
    assert_string_equal(get("h", "/d//x"), "double");
    assert_string_equal(get("h", "/a/b"), "no_route");
}

static void more_conditions_go_first_then_file_order(void **state)
{
    (void) state;
    rule("plain", "", "/a");
    with(&rule("one", "", "/a")->headers, "X-A", "1");
    struct match_conf *two = rule("two", "", "/a");
    with(&two->headers, "X-A", "1");
    with(&two->query, "q", "*");
    with(&rule("late", "", "/a")->headers, "X-A", "1");
    rule("never", "", "/a");
    build();
    struct head h = request("GET", "h", "/a");
    assert_string_equal(answer(&h), "plain");
    assert_true(fields_add(&h.fields, STR("x-a"), STR("1")));
    assert_string_equal(answer(&h), "one");
    h = request("GET", "h", "/a?q");
    assert_true(fields_add(&h.fields, STR("x-a"), STR("1")));
    assert_string_equal(answer(&h), "two");
}

static void conditions_that_fail_fall_through(void **state)
{
    (void) state;
    rule("any", "", "");
    with(&rule("exact", "h.com", "/a/b")->headers, "X", "1");
    with(&rule("regex", "h.com", "~/a")->headers, "X", "2");
    with(&rule("deep", "h.com", "/a/*")->headers, "X", "3");
    with(&rule("shallow", "h.com", "/*")->headers, "X", "4");
    with(&rule("rest", "h.com", "")->headers, "X", "5");
    with(&rule("wild", "*.com", "/*")->headers, "X", "6");
    build();
    const char *want[] = {"exact", "regex", "deep", "shallow", "rest", "wild", "any"};
    for (size_t i = 0; i < 7; i++) {
        struct head h = request("GET", "h.com", "/a/b");
        char digit = (char) ('1' + i);
        assert_true(fields_add(&h.fields, STR("x"), str_of(&digit, 1)));
        assert_string_equal(answer(&h), want[i]);
    }
}

static void header_conditions(void **state)
{
    (void) state;
    with(&rule("host", "", "/host")->headers, "accept", "text/html");
    with(&rule("regex", "", "/regex")->headers, "X-Version", "~^v[12]$");
    with(&rule("present", "", "/present")->headers, "x-any", "*");
    build();
    struct head h = request("GET", "h", "/host");
    assert_string_equal(answer(&h), "no_route");
    assert_true(fields_add(&h.fields, STR("ACCEPT"), STR("text/plain")));
    assert_string_equal(answer(&h), "no_route");
    assert_true(fields_add(&h.fields, STR("Accept"), STR("text/html")));
    assert_string_equal(answer(&h), "host");
    h = request("GET", "h", "/regex");
    assert_true(fields_add(&h.fields, STR("x-version"), STR("v3")));
    assert_string_equal(answer(&h), "no_route");
    assert_true(fields_add(&h.fields, STR("x-version"), STR("v2")));
    assert_string_equal(answer(&h), "regex");
    h = request("GET", "h", "/present");
    assert_true(fields_add(&h.fields, STR("X-Any"), STR("")));
    assert_string_equal(answer(&h), "present");
}

static void query_conditions_see_decoded_values(void **state)
{
    (void) state;
    with(&rule("exact", "", "/e")->query, "name", "a b");
    with(&rule("present", "", "/p")->query, "flag", "*");
    with(&rule("regex", "", "/r")->query, "id", "~^[0-9]+$");
    build();
    assert_string_equal(get("h", "/e?x=1&name=a%20b"), "exact");
    assert_string_equal(get("h", "/e?name=a"), "no_route");
    assert_string_equal(get("h", "/e"), "no_route");
    assert_string_equal(get("h", "/p?flag"), "present");
    assert_string_equal(get("h", "/p?flags=1"), "no_route");
    assert_string_equal(get("h", "/r?id=42"), "regex");
    assert_string_equal(get("h", "/r?id=42x"), "no_route");
}

static void the_name_asked_for_by_tls(void **state)
{
    (void) state;
    struct str protocols[] = {STR("mqtt"), STR("h2")};
    rule("any", "", "/*");
    rule("exact", "", "/*")->sni = STR("a.example");
    rule("wild", "", "/*")->sni = STR("*.a.example");
    rule("offers", "", "/h2")->alpn = (struct schema_list){protocols, 2};
    build();
    struct head h = request("GET", "other", "/");
    assert_string_equal(answer(&h), "any");
    h.sni = STR("a.example");
    assert_string_equal(answer(&h), "exact");
    h.sni = STR("b.a.example");
    assert_string_equal(answer(&h), "wild");
    h.sni = STR("xa.example");
    assert_string_equal(answer(&h), "any");
    h.sni = STR(".a.example");
    assert_string_equal(answer(&h), "any");
    h = request("GET", "other", "/h2");
    assert_string_equal(answer(&h), "any");
    h.alpn = STR("\x08http/1.1\x02h2");
    assert_string_equal(answer(&h), "offers");
    h.alpn = STR("\x03h2x\x01h");
    assert_string_equal(answer(&h), "any");
}

static void methods_differ_and_allow_lists_them(void **state)
{
    (void) state;
    methods(rule("get", "", "/a"), "GET");
    struct match_conf *m = rule("write", "", "/a");
    methods(m, "POST");
    methods(m, "PURGE");
    m = rule("secret", "", "/a");
    methods(m, "DELETE");
    with(&m->headers, "x-key", "*");
    methods(rule("prefix", "", "/*"), "PUT");
    build();
    assert_string_equal(get("h", "/a"), "get");
    assert_string_equal(ask("HEAD", "h", "/a"), "get");
    assert_string_equal(ask("POST", "h", "/a"), "write");
    assert_string_equal(ask("PURGE", "h", "/a"), "write");
    assert_string_equal(ask("PUT", "h", "/a"), "prefix");
    assert_string_equal(ask("PATCH", "h", "/a"), "method_not_allowed");
    assert_true(str_eq(t.allow, STR("GET, HEAD, POST, PURGE, PUT")));
    assert_string_equal(ask("BREW", "h", "/a"), "method_not_allowed");
    assert_string_equal(ask("DELETE", "h", "/a"), "method_not_allowed");
    assert_string_equal(ask("DELETE", "h", "/b"), "method_not_allowed");
    assert_true(str_eq(t.allow, STR("PUT")));
}

static void a_regex_that_explodes_is_stopped(void **state)
{
    (void) state;
    rule("bad", "", "~(/(a+)+)+$(?<!x)");
    rule("next", "", "/*");
    build();
    assert_string_equal(get("h", "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"),
                        "match_limit");
    assert_string_equal(get("h", "/aaa"), "bad");
}

static void an_arena_that_refuses_is_a_fault(void **state)
{
    (void) state;
    rule("regex", "", "~/a");
    build();
    struct head h = request("GET", "h", "/a");
    struct arena none;
    arena_init(&none, NULL, 0);
    assert_null(router_match(t.router, &h, &none, &t.fault, &t.allow).route);
    assert_int_equal(t.fault, FAULT_MEMORY);
    arena_fini(&none);
}

static void wide_nodes_find_every_child(void **state)
{
    (void) state;
    static char paths[RULES_MAX][40];
    const char *bytes = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst";
    for (size_t i = 0; bytes[i]; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/a/long/shared/beginning/of/it/%c/%s", bytes[i],
                 i % 2 ? "*" : "x");
        rule(paths[i], "", paths[i]);
    }
    build();
    for (size_t i = 0; bytes[i]; i++) {
        char target[48];
        snprintf(target, sizeof(target), "/a/long/shared/beginning/of/it/%c/x", bytes[i]);
        assert_string_equal(get("h", target), paths[i]);
    }
    assert_string_equal(get("h", "/a/long/shared/beginning/of/it/u/x"), "no_route");
    assert_string_equal(get("h", "/a/long/shared/beginning/of/it/"), "no_route");
    assert_string_equal(get("h", "/a/long/shared/begin"), "no_route");
}

static void bad_rules_are_told(void **state)
{
    (void) state;
    rule("good", "", "/*");
    struct {
        const char *host, *path, *text;
    } bad[] = {
        {"", "x", "begins with '/'"},          {"", "/a*", "at the end, after a '/'"},
        {"", "/a/*/b", "at the end"},          {"", "/a?b", "match the query"},
        {"", "/%zz", "bad percent escape"},    {"", "/%00", "bad percent escape"},
        {"a:80", "/*", "without a port"},      {"a.*.com", "/*", "whole first label"},
        {"*", "/*", "whole first label"},      {"a b", "/*", "not a host name"},
        {"*.", "/*", "not a host name"},       {"", "~(", "at byte 1"},
        {"*x.com", "/*", "whole first label"},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        t.n = 1;
        memset(&t.match[1], 0, sizeof(t.match[1]));
        rule("bad", bad[i].host, bad[i].path);
        build_fails(bad[i].text);
    }
    t.match[1] = (struct match_conf){.path = STR("/"), .path_regex = STR("/")};
    build_fails("exclude each other");
    t.match[1] = (struct match_conf){.path = STR("/")};
    methods(&t.match[1], "get");
    build_fails("upper case");
    ((struct str *) t.match[1].methods.items)[0] = STR("A B");
    build_fails("not a method");
    t.match[1].methods.n = 0;
    with(&t.match[1].headers, "bad name", "1");
    build_fails("not a header field name");
    t.match[1].headers.names[0] = STR("x");
    ((struct str *) t.match[1].headers.items)[0] = STR("~[");
    build_fails("x: ");
}

/* What explain told, one line a rule. */
static void note(void *arg, const struct route *r, const char *verdict)
{
    char *text = arg;
    size_t n = strlen(text);
    snprintf(text + n, 1000 - n, "%s: %s\n", r->name.p, verdict);
}

static void explain_tells_of_every_rule(void **state)
{
    (void) state;
    rule("first", "other.com", "/*");
    rule("path", "", "/b");
    rule("regex", "", "~/c");
    rule("catch", "", "/*");
    methods(rule("method", "", "/a"), "POST");
    with(&rule("header", "", "/a")->headers, "x", "1");
    with(&rule("query", "", "~/a")->query, "q", "*");
    rule("wild", "*.com", "");
    rule("chosen", "h.com", "/*");
    build();
    char text[1000] = "";
    struct head h = request("GET", "h.com", "/a");
    struct route *r = router_explain(t.router, &h, &t.arena, note, text);
    assert_ptr_equal(r, &t.routes[8]);
    assert_string_equal(text, "first: host differs\n"
                              "path: path differs\n"
                              "regex: path_regex does not match\n"
                              "catch: matches, but a more specific rule comes first\n"
                              "method: method differs\n"
                              "header: header x is not 1\n"
                              "query: query parameter q is absent\n"
                              "wild: matches, but a more specific rule comes first\n"
                              "chosen: chosen\n");
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(empty_router_has_no_route),
        CASE(hosts_from_exact_to_any),
        CASE(a_host_longer_than_names_can_be_goes_to_any),
        CASE(paths_from_exact_to_any),
        CASE(the_target_asterisk),
        CASE(patterns_are_normalised_as_targets_are),
        CASE(more_conditions_go_first_then_file_order),
        CASE(conditions_that_fail_fall_through),
        CASE(header_conditions),
        CASE(query_conditions_see_decoded_values),
        CASE(the_name_asked_for_by_tls),
        CASE(methods_differ_and_allow_lists_them),
        CASE(a_regex_that_explodes_is_stopped),
        CASE(an_arena_that_refuses_is_a_fault),
        CASE(wide_nodes_find_every_child),
        CASE(bad_rules_are_told),
        CASE(explain_tells_of_every_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What rewrites and redirects make of targets and hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/url.h"
#include "proxy/route.h"

static struct arena arena;
static struct head out; /* what the last rewrite made */

static struct head request(const char *target)
{
    struct head h = {.method = STR("GET"), .method_id = METHOD_GET, .scheme = STR("http")};
    fields_init(&h.fields, &arena);
    assert_int_equal(target_parse(&h, &arena, str_c(target)), FAULT_OK);
    assert_int_equal(authority_parse(STR("client.example:8080"), &arena, &h), FAULT_OK);
    return h;
}

/* Compiles c and applies it to target. */
static enum fault apply(const struct rewrite_conf *c, const char *target, const char *endpoint)
{
    char *why = NULL;
    struct rewrite *w = rewrite_new(c, &why);
    if (!w)
        fail_msg("%s", why ? why : "nothing to do");
    out = request(target);
    enum fault f = rewrite_apply(w, &out, &arena, str_c(endpoint));
    /* What was made must outlive nothing but the arena and the rewrite. */
    out.authority = arena_str(&arena, out.authority);
    out.host = arena_str(&arena, out.host);
    out.path = arena_str(&arena, out.path);
    out.query = arena_str(&arena, out.query);
    rewrite_free(w);
    return f;
}

/* The path (and query) after a rewrite, or the fault's name. */
static const char *path(struct rewrite_conf c, const char *target)
{
    enum fault f = apply(&c, target, "10.0.0.1:9000");
    if (f != FAULT_OK)
        return fault_name(f);
    assert_true(str_eq(out.authority, STR("client.example:8080")));
    return arena_printf(&arena, "%.*s%s%.*s", STR_ARG(out.path), out.has_query ? "?" : "",
                        STR_ARG(out.query))
        .p;
}

static void nothing_to_do(void **state)
{
    (void) state;
    char *why = (char *) 1;
    struct rewrite_conf none = {0};
    assert_null(rewrite_new(&none, &why));
    assert_null(why);
}

static void strip_prefix_ends_at_a_segment(void **state)
{
    (void) state;
    struct rewrite_conf c = {.strip_prefix = STR("/api")};
    assert_string_equal(path(c, "/api/x?q=1"), "/x?q=1");
    assert_string_equal(path(c, "/api"), "/");
    assert_string_equal(path(c, "/api/"), "/");
    assert_string_equal(path(c, "/apix"), "/apix");
    assert_string_equal(path(c, "/other"), "/other");
    assert_string_equal(path(c, "/api//x"), "//x");
    c.strip_prefix = STR("/api/");
    assert_string_equal(path(c, "/api/x"), "/x");
    assert_string_equal(path(c, "/api"), "/");
    c.strip_prefix = STR("/");
    assert_string_equal(path(c, "/api/x"), "/api/x");
    c.strip_prefix = STR("/%7eme");
    assert_string_equal(path(c, "/~me/x"), "/x");
}

static void add_prefix_joins_with_one_slash(void **state)
{
    (void) state;
    assert_string_equal(path((struct rewrite_conf){.add_prefix = STR("/v1")}, "/x"), "/v1/x");
    assert_string_equal(path((struct rewrite_conf){.add_prefix = STR("/v1/")}, "/x"), "/v1/x");
    assert_string_equal(path((struct rewrite_conf){.add_prefix = STR("/v1")}, "/a%2Fb"),
                        "/v1/a%2Fb");
    assert_string_equal(path((struct rewrite_conf){.add_prefix = STR("/v1")}, "/"), "/v1/");
    struct rewrite_conf both = {.strip_prefix = STR("/old"), .add_prefix = STR("/new")};
    assert_string_equal(path(both, "/old/x"), "/new/x");
}

static void regex_replaces_the_first_match(void **state)
{
    (void) state;
    struct rewrite_conf c = {.regex = STR("^/u/([a-z]+)/(\\d+)"), .replace = STR("/$2/${1}0$$")};
    assert_string_equal(path(c, "/u/bob/7/x"), "/7/bob0$/x");
    assert_string_equal(path(c, "/v/bob/7"), "/v/bob/7");
    c = (struct rewrite_conf){.regex = STR("a"), .replace = STR("[$0]")};
    assert_string_equal(path(c, "/xaa"), "/x%5Ba%5Da");
    c = (struct rewrite_conf){.regex = STR("^"), .replace = STR("/pre")};
    assert_string_equal(path(c, "/x"), "/pre/x");
    c = (struct rewrite_conf){.regex = STR("/x(y)?"), .replace = STR("/z$1")};
    assert_string_equal(path(c, "/x"), "/z");
    c = (struct rewrite_conf){.regex = STR("^/strip"), .replace = STR("")};
    assert_string_equal(path(c, "/strip/x"), "/x");
    c = (struct rewrite_conf){.strip_prefix = STR("/a"),
                              .add_prefix = STR("/b"),
                              .regex = STR("^/b/"),
                              .replace = STR("/c/")};
    assert_string_equal(path(c, "/a/x"), "/c/x");
}

static void a_question_mark_in_replace_begins_a_query(void **state)
{
    (void) state;
    struct rewrite_conf c = {.regex = STR("^/p/(.*)$"), .replace = STR("/page?id=$1")};
    assert_string_equal(path(c, "/p/7"), "/page?id=7");
    assert_string_equal(path(c, "/p/7?b=2"), "/page?id=7&b=2");
    c.replace = STR("/page?");
    assert_string_equal(path(c, "/p/7"), "/page?");
    assert_string_equal(path(c, "/p/7?b=2"), "/page?b=2");
}

static void results_that_are_no_target_are_faults(void **state)
{
    (void) state;
    struct rewrite_conf c = {.regex = STR("^/"), .replace = STR("")};
    assert_string_equal(path(c, "/x"), "rewrite_invalid");
    c.regex = STR("^.*$");
    assert_string_equal(path(c, "/x"), "rewrite_invalid");
    c.replace = STR("?only=query");
    assert_string_equal(path(c, "/x"), "rewrite_invalid");
    c = (struct rewrite_conf){.regex = STR("%2F.*"), .replace = STR("%2")};
    assert_string_equal(path(c, "/a%2Fb"), "rewrite_invalid");
    c = (struct rewrite_conf){.regex = STR("((a+)+)+$(?<!x)"), .replace = STR("/")};
    assert_string_equal(path(c, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!"),
                        "match_limit");
}

static void captured_dots_never_climb(void **state)
{
    (void) state;
    struct rewrite_conf c = {.regex = STR("^/f(.*)$"), .replace = STR("/files/$1")};
    assert_string_equal(path(c, "/fx/y"), "/files/x/y");
    assert_string_equal(path(c, "/f../secret"), "rewrite_invalid");
    assert_string_equal(path(c, "/f.."), "rewrite_invalid");
    c = (struct rewrite_conf){.regex = STR("^/f(.*)F(.*)$"), .replace = STR("/files/.$1e$2")};
    assert_string_equal(path(c, "/f%2F/secret"), "rewrite_invalid");
}

static void other_forms_have_no_path(void **state)
{
    (void) state;
    char *why;
    struct rewrite_conf c = {.add_prefix = STR("/v1")};
    struct rewrite *w = rewrite_new(&c, &why);
    struct head h = {.path = STR("*")};
    assert_int_equal(rewrite_apply(w, &h, &arena, STR("")), FAULT_OK);
    assert_true(str_eq(h.path, STR("*")));
    rewrite_free(w);
}

static void hosts(void **state)
{
    (void) state;
    struct rewrite_conf c = {.host = STR("upstream")};
    assert_int_equal(apply(&c, "/", "Origin.internal:9000"), FAULT_OK);
    assert_true(str_eq(out.authority, STR("origin.internal:9000")));
    assert_true(str_eq(out.host, STR("origin.internal")));
    assert_int_equal(out.port, 9000);
    assert_int_equal(apply(&c, "/", "[::1]:9000"), FAULT_OK);
    assert_true(str_eq(out.authority, STR("[::1]:9000")));
    assert_int_equal(apply(&c, "/", "unix:/run/x.sock"), FAULT_OK);
    assert_true(str_eq(out.authority, STR("localhost")));
    assert_int_equal(apply(&c, "/", "no host"), FAULT_REWRITE);
    c.host = STR("Other.example:81");
    assert_int_equal(apply(&c, "/", "10.0.0.1:9000"), FAULT_OK);
    assert_true(str_eq(out.authority, STR("other.example:81")));
    assert_int_equal(out.port, 81);
}

static void refuses(struct rewrite_conf c, const char *text)
{
    char *why = NULL;
    assert_null(rewrite_new(&c, &why));
    assert_non_null(why);
    if (!strstr(why, text))
        fail_msg("'%s' does not hold '%s'", why, text);
    mem_free(why);
}

static void bad_rewrites_are_told(void **state)
{
    (void) state;
    refuses((struct rewrite_conf){.strip_prefix = STR("api")}, "strip_prefix 'api'");
    refuses((struct rewrite_conf){.add_prefix = STR("/a?b")}, "add_prefix '/a?b'");
    refuses((struct rewrite_conf){.add_prefix = STR("/%zz")}, "add_prefix");
    refuses((struct rewrite_conf){.host = STR("a b")}, "host 'a b'");
    refuses((struct rewrite_conf){.regex = STR("(")}, "regex: ");
    refuses((struct rewrite_conf){.replace = STR("/x")}, "replace needs regex");
    refuses((struct rewrite_conf){.regex = STR("a"), .replace = STR("$1")}, "no group $1");
    refuses((struct rewrite_conf){.regex = STR("a"), .replace = STR("x$")}, "after '$'");
    refuses((struct rewrite_conf){.regex = STR("a"), .replace = STR("${0")}, "after '$'");
    refuses((struct rewrite_conf){.regex = STR("a"), .replace = STR("/a b")}, "%20");
    refuses((struct rewrite_conf){.regex = STR("a"), .replace = STR("/\r\n")}, "%0D");
}

/* The Location for a template; NULL: none. */
static const char *location(const char *to, const char *target)
{
    struct redirect_conf c = {.to = str_c(to)};
    struct head h = request(target);
    const char *why;
    if (!redirect_valid(c.to, &why))
        fail_msg("%s", why);
    struct str made;
    assert_int_equal(redirect_location(&c, &h, &arena, &made), FAULT_OK);
    return made.p;
}

static void redirects_fill_in(void **state)
{
    (void) state;
    assert_string_equal(location("https://{host}{uri}", "/a?b=1"), "https://client.example/a?b=1");
    assert_string_equal(location("https://{host}{uri}", "/a"), "https://client.example/a");
    assert_string_equal(location("{scheme}://{authority}/x?{query}", "/a?b=1"),
                        "http://client.example:8080/x?b=1");
    assert_string_equal(location("/new", "/a?b"), "/new");
    assert_string_equal(location("/new{path}", "/a"), "/new/a");
    assert_string_equal(location("{path}{path}", "/a"), "/a/a");
}

static void a_path_never_becomes_a_host(void **state)
{
    (void) state;
    assert_string_equal(location("{path}", "//evil.example/x"), "/evil.example/x");
    assert_string_equal(location("/{path}", "/evil.example/x"), "/evil.example/x");
    assert_string_equal(location("{uri}", "///evil.example"), "/evil.example");
    assert_string_equal(location("//cdn.example{path}", "//x"), "//cdn.example//x");
    assert_string_equal(location("https://a.example{path}", "//x"), "https://a.example//x");
    /* A head that did not come from a parser, as from the library. */
    struct redirect_conf c = {.to = STR("{path}")};
    struct head h = {.path = STR("/\\evil.example")};
    struct str to;
    assert_int_equal(redirect_location(&c, &h, &arena, &to), FAULT_OK);
    assert_string_equal(to.p, "/evil.example");
    h.path = STR("/a\r\nSet-Cookie: x");
    assert_int_equal(redirect_location(&c, &h, &arena, &to), FAULT_REWRITE);
    assert_null(to.p);
}

static void no_memory_is_no_bad_redirect(void **state)
{
    (void) state;
    struct head h = request("/a");
    struct redirect_conf c = {.to = STR("https://{host}{uri}")};
    struct arena none;
    struct str to;
    arena_init(&none, NULL, 0);
    assert_int_equal(redirect_location(&c, &h, &none, &to), FAULT_MEMORY);
    assert_null(to.p);
    arena_fini(&none);
}

static void bad_redirects_are_told(void **state)
{
    (void) state;
    const char *why = NULL;
    assert_false(redirect_valid(STR(""), &why));
    assert_false(redirect_valid(STR("/a{nothing}"), &why));
    assert_non_null(strstr(why, "unknown placeholder"));
    assert_false(redirect_valid(STR("/a{path"), &why));
    assert_non_null(strstr(why, "no '}'"));
    assert_false(redirect_valid(STR("/a\r\nb"), &why));
    assert_true(redirect_valid(STR("/{path}{query}"), &why));
}

static int setup(void **state)
{
    (void) state;
    arena_init(&arena, NULL, SIZE_MAX);
    return 0;
}

static int teardown(void **state)
{
    (void) state;
    arena_fini(&arena);
    return 0;
}

int main(void)
{
#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(nothing_to_do),
        CASE(strip_prefix_ends_at_a_segment),
        CASE(add_prefix_joins_with_one_slash),
        CASE(regex_replaces_the_first_match),
        CASE(a_question_mark_in_replace_begins_a_query),
        CASE(results_that_are_no_target_are_faults),
        CASE(captured_dots_never_climb),
        CASE(other_forms_have_no_path),
        CASE(hosts),
        CASE(bad_rewrites_are_told),
        CASE(redirects_fill_in),
        CASE(a_path_never_becomes_a_host),
        CASE(no_memory_is_no_bad_redirect),
        CASE(bad_redirects_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

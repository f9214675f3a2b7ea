/* SPDX-License-Identifier: Apache-2.0 */
/* Targets, authorities, paths and URLs: RFC 3986 sections 2, 3.2, 5.2.4, 6.2.2; RFC 9112 3.2. */
#include "http/url.h"

#include "base/mem.h"
#include "http/http_test.h"

#define TEXT(lit)                                                                                  \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }

/* A copy in a block of exactly that size. */
static struct str exact(struct arena *a, struct str text)
{
    if (text.n == 0)
        return text;
    struct str copy = mem_str(text);
    assert_true(arena_on_free(a, mem_free, (void *) copy.p));
    return copy;
}

static const struct {
    struct str raw;
    const char *normal; /* NULL: refused */
} path_rows[] = {
    {TEXT("/"), "/"},
    {TEXT("/a"), "/a"},
    {TEXT("/a/"), "/a/"},
    {TEXT("//"), "//"},
    {TEXT("//a"), "//a"},
    {TEXT("/a//b"), "/a//b"},
    {TEXT("/a/b/c/./../../g"), "/a/g"}, /* RFC 3986 5.2.4 */
    {TEXT("/mid/content=5/../6"), "/mid/6"},
    {TEXT("/."), "/"},
    {TEXT("/./"), "/"},
    {TEXT("/./a"), "/a"},
    {TEXT("/a/."), "/a/"},
    {TEXT("/a/./"), "/a/"},
    {TEXT("/a/./b"), "/a/b"},
    {TEXT("/.."), "/"},
    {TEXT("/../"), "/"},
    {TEXT("/../a"), "/a"},
    {TEXT("/../../a"), "/a"},
    {TEXT("/a/.."), "/"},
    {TEXT("/a/../"), "/"},
    {TEXT("/a/../b"), "/b"},
    {TEXT("/a/b/.."), "/a/"},
    {TEXT("/a/b/../"), "/a/"},
    {TEXT("/a//../b"), "/a/b"},
    {TEXT("/a/../../b"), "/b"},
    {TEXT("//../a"), "/a"},
    {TEXT("///../a"), "//a"},
    {TEXT("/..//a"), "//a"},
    {TEXT("/...."), "/...."},
    {TEXT("/..."), "/..."},
    {TEXT("/.../a"), "/.../a"},
    {TEXT("/.a"), "/.a"},
    {TEXT("/a."), "/a."},
    {TEXT("/a.."), "/a.."},
    {TEXT("/..a"), "/..a"},
    {TEXT("/.a/..b/c../d."), "/.a/..b/c../d."},
    {TEXT("/index.html"), "/index.html"},
    /* escaped dots are dots */
    {TEXT("/%2e"), "/"},
    {TEXT("/%2E%2e/a"), "/a"},
    {TEXT("/a/%2e%2e/b"), "/b"},
    {TEXT("/a/.%2e/b"), "/b"},
    {TEXT("/a/%2e./b"), "/b"},
    {TEXT("/a/%2e%2e"), "/"},
    {TEXT("/a%2e%2e/b"), "/a../b"},
    {TEXT("/%2e%2e%2fadmin"), "/..%2Fadmin"},
    {TEXT("/a/..%2fb"), "/a/..%2Fb"},
    {TEXT("/a/..;/b"), "/a/..;/b"},
    {TEXT("/a;x/b;y=1"), "/a;x/b;y=1"},
    /* escapes: unreserved decoded, others upper-cased, decoded once only */
    {TEXT("/%61%7E%2d%5f%30"), "/a~-_0"},
    {TEXT("/%41%5A%7a"), "/AZz"},
    {TEXT("/%2f"), "/%2F"},
    {TEXT("/%2F%5c%3f%23"), "/%2F%5C%3F%23"},
    {TEXT("/%25"), "/%25"},
    {TEXT("/%252e%252e/"), "/%252e%252e/"},
    {TEXT("/%25%32%65"), "/%252e"},
    {TEXT("/%c3%a9"), "/%C3%A9"},
    {TEXT("/%c0%ae%c0%ae/"), "/%C0%AE%C0%AE/"},
    {TEXT("/%ff%80"), "/%FF%80"},
    {TEXT("/%0d%0a"), "/%0D%0A"},
    {TEXT("/%01%7f%20"), "/%01%7F%20"},
    {TEXT("/%21%40%3a"), "/%21%40%3A"},
    /* sub-delims and the rest of pchar stay */
    {TEXT("/!$&'()*+,;=:@-._~"), "/!$&'()*+,;=:@-._~"},
    /* sent raw by browsers */
    {TEXT("/\"<>^`{|}[]"), "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"},
    {TEXT("/%22%3c"), "/%22%3C"},
    /* refused */
    {TEXT(""), NULL},
    {TEXT("a"), NULL},
    {TEXT("*"), NULL},
    {TEXT("?"), NULL},
    {TEXT("/\\"), NULL},
    {TEXT("/a\\..\\b"), NULL},
    {TEXT("/%"), NULL},
    {TEXT("/%2"), NULL},
    {TEXT("/%2g"), NULL},
    {TEXT("/%g2"), NULL},
    {TEXT("/%%32e"), NULL},
    {TEXT("/%u0041"), NULL},
    {TEXT("/%00"), NULL},
    {TEXT("/a%00b"), NULL},
    {TEXT("/%0"), NULL},
    {TEXT("/% 2e"), NULL},
    {TEXT("/a b"), NULL},
    {TEXT("/a\tb"), NULL},
    {TEXT("/a\0b"), NULL},
    {TEXT("/a\rb"), NULL},
    {TEXT("/a\nb"), NULL},
    {TEXT("/\x7f"), NULL},
    {TEXT("/\x80"), NULL},
    {TEXT("/\xc3\xa9"), NULL},
    {TEXT("/a#b"), NULL},
    {TEXT("/a?b"), NULL},
};

static void test_paths(void **state)
{
    (void) state;
    for (size_t i = 0; i < ROWS(path_rows); i++) {
        struct arena a;
        struct str out, again, raw = exact(test_arena(&a), path_rows[i].raw);
        enum fault f = path_normalise(raw, &a, &out);
        same_fault(f, path_rows[i].normal ? FAULT_OK : FAULT_REQ_TARGET, raw);
        if (!f) {
            same_str(out, path_rows[i].normal, "path", raw);
            same_fault(path_normalise(out, &a, &again), FAULT_OK, out);
            same_str(again, path_rows[i].normal, "twice", raw);
            assert_true(path_valid(out));
        }
        /* The fast way of a whole request target says the same. */
        struct head h = {.method_id = METHOD_GET};
        if (raw.n && raw.p[0] == '/' && !memchr(raw.p, '?', raw.n)) {
            same_fault(target_parse(&h, &a, raw), f, raw);
            if (!f)
                same_str(h.path, path_rows[i].normal, "target", raw);
        }
        arena_fini(&a);
    }
}

/* A path that needs no change is a view of the input, whatever the arena. */
static void test_no_copy(void **state)
{
    (void) state;
    struct arena a;
    arena_init(&a, NULL, 0);
    struct head h = {.method_id = METHOD_GET};
    struct str raw = STR("/a.b/c?d=%zz&\"<>\\^`{|}[];");
    same_fault(target_parse(&h, &a, raw), FAULT_OK, raw);
    assert_ptr_equal(h.path.p, raw.p);
    assert_int_equal(h.path.n, 6);
    same_str(h.query, "d=%zz&\"<>\\^`{|}[];", "query", raw);
    same_fault(target_parse(&h, &a, STR("/%61")), FAULT_MEMORY, raw);
    same_fault(target_parse(&h, &a, STR("http://A/")), FAULT_MEMORY, raw);
    arena_fini(&a);
}

static const struct {
    uint8_t method;
    struct str raw;
    const char *want; /* form scheme authority path?query; NULL: refused */
} target_rows[] = {
    {METHOD_GET, TEXT("/"), "0   /"},
    {METHOD_GET, TEXT("/?"), "0   /?"},
    {METHOD_GET, TEXT("/a?b?c/../d"), "0   /a?b?c/../d"},
    {METHOD_GET, TEXT("/?a=%"), "0   /?a=%"},
    {METHOD_GET, TEXT("/?a=%00"), "0   /?a=%00"},
    {METHOD_GET, TEXT("//b/c"), "0   //b/c"},
    {METHOD_GET, TEXT("http://b"), "1 http b /"},
    {METHOD_GET, TEXT("http://b/"), "1 http b /"},
    {METHOD_GET, TEXT("http://b?x"), "1 http b /?x"},
    {METHOD_GET, TEXT("http://b?"), "1 http b /?"},
    {METHOD_GET, TEXT("http://b:/"), "1 http b /"},
    {METHOD_GET, TEXT("hTTps://B:444/a/../c?d"), "1 https b:444 /c?d"},
    {METHOD_GET, TEXT("http://[::1]:8/"), "1 http [::1]:8 /"},
    {METHOD_OPTIONS, TEXT("http://b"), "1 http b *"},
    {METHOD_OPTIONS, TEXT("http://b?x"), "1 http b /?x"},
    {METHOD_OPTIONS, TEXT("http://b/"), "1 http b /"},
    {METHOD_OPTIONS, TEXT("*"), "3   *"},
    {METHOD_OPTIONS, TEXT("/"), "0   /"},
    {METHOD_CONNECT, TEXT("b:1"), "2  b:1 "},
    {METHOD_CONNECT, TEXT("B.c:65535"), "2  b.c:65535 "},
    {METHOD_CONNECT, TEXT("[::1]:1"), "2  [::1]:1 "},
    /* refused */
    {METHOD_GET, TEXT(""), NULL},
    {METHOD_GET, TEXT("*"), NULL},
    {METHOD_OPTIONS, TEXT("**"), NULL},
    {METHOD_OPTIONS, TEXT("*?a"), NULL},
    {METHOD_OPTIONS, TEXT("*/"), NULL},
    {METHOD_GET, TEXT("a"), NULL},
    {METHOD_GET, TEXT("a/b"), NULL},
    {METHOD_GET, TEXT("b:1"), NULL},
    {METHOD_GET, TEXT("?a"), NULL},
    {METHOD_GET, TEXT("http:"), NULL},
    {METHOD_GET, TEXT("http:/"), NULL},
    {METHOD_GET, TEXT("http://"), NULL},
    {METHOD_GET, TEXT("http:///a"), NULL},
    {METHOD_GET, TEXT("http:a"), NULL},
    {METHOD_GET, TEXT("http://?a"), NULL},
    {METHOD_GET, TEXT("http://:80/"), NULL},
    {METHOD_GET, TEXT("ftp://b/"), NULL},
    {METHOD_GET, TEXT("httpx://b/"), NULL},
    {METHOD_GET, TEXT("http://u@b/"), NULL},
    {METHOD_GET, TEXT("http://u:p@b/"), NULL},
    {METHOD_GET, TEXT("http://b#/a"), NULL},
    {METHOD_GET, TEXT("http://b/#"), NULL},
    {METHOD_GET, TEXT("http://b/a#b"), NULL},
    {METHOD_GET, TEXT("http://b?a#b"), NULL},
    {METHOD_GET, TEXT("http://b\\a/"), NULL},
    {METHOD_GET, TEXT("http://b%2fa/"), NULL},
    {METHOD_GET, TEXT("http://b:x/"), NULL},
    {METHOD_GET, TEXT("/a#"), NULL},
    {METHOD_GET, TEXT("/?a#b"), NULL},
    {METHOD_GET, TEXT("/?a b"), NULL},
    {METHOD_GET, TEXT("/?a\0b"), NULL},
    {METHOD_GET, TEXT("/?a\tb"), NULL},
    {METHOD_GET, TEXT("/?\x7f"), NULL},
    {METHOD_GET, TEXT("/?\xc3\xa9"), NULL},
    {METHOD_CONNECT, TEXT("/"), NULL},
    {METHOD_CONNECT, TEXT("b"), NULL},
    {METHOD_CONNECT, TEXT("b:"), NULL},
    {METHOD_CONNECT, TEXT("b:0"), NULL},
    {METHOD_CONNECT, TEXT("b:65536"), NULL},
    {METHOD_CONNECT, TEXT("http://b:1/"), NULL},
    {METHOD_CONNECT, TEXT("b:1/"), NULL},
    {METHOD_CONNECT, TEXT("u@b:1"), NULL},
    {METHOD_CONNECT, TEXT("*"), NULL},
    {METHOD_CONNECT, TEXT(":1"), NULL},
};

static void test_targets(void **state)
{
    (void) state;
    for (size_t i = 0; i < ROWS(target_rows); i++) {
        struct arena a;
        struct str raw = exact(test_arena(&a), target_rows[i].raw);
        struct head h = {.method_id = target_rows[i].method};
        enum fault f = target_parse(&h, &a, raw);
        same_fault(f, target_rows[i].want ? FAULT_OK : FAULT_REQ_TARGET, raw);
        if (!f)
            same_str(arena_printf(&a, "%u %.*s %.*s %.*s%s%.*s", h.target_form, STR_ARG(h.scheme),
                                  STR_ARG(h.authority), STR_ARG(h.path), h.has_query ? "?" : "",
                                  STR_ARG(h.query)),
                     target_rows[i].want, "target", raw);
        arena_fini(&a);
    }
}

static const struct {
    struct str raw;
    const char *want; /* authority host port; NULL: refused */
} authority_rows[] = {
    {TEXT("a"), "a a 0"},
    {TEXT("A.Example:80"), "a.example:80 a.example 80"},
    {TEXT("a.example."), "a.example. a.example 0"},
    {TEXT("A.:8"), "a.:8 a 8"},
    {TEXT("a:"), "a a 0"},
    {TEXT("a:1"), "a:1 a 1"},
    {TEXT("a:0080"), "a:0080 a 80"},
    {TEXT("a:65535"), "a:65535 a 65535"},
    {TEXT("127.0.0.1:8080"), "127.0.0.1:8080 127.0.0.1 8080"},
    {TEXT("a_b-c~d"), "a_b-c~d a_b-c~d 0"},
    {TEXT("a!$&'()*+;=b"), "a!$&'()*+;=b a!$&'()*+;=b 0"},
    {TEXT("a,b"), NULL},
    {TEXT("a, a"), NULL},
    {TEXT("caf%C3%A9.example"), "caf%c3%a9.example caf%c3%a9.example 0"},
    {TEXT("caf%c3%a9"), "caf%c3%a9 caf%c3%a9 0"},
    {TEXT("[::]"), "[::] [::] 0"},
    {TEXT("[::1]:80"), "[::1]:80 [::1] 80"},
    {TEXT("[2001:DB8::A]"), "[2001:db8::a] [2001:db8::a] 0"},
    {TEXT("[::ffff:1.2.3.4]"), "[::ffff:1.2.3.4] [::ffff:1.2.3.4] 0"},
    {TEXT("[::1]:"), "[::1] [::1] 0"},
    {TEXT("[v1.A:b]"), "[v1.a:b] [v1.a:b] 0"},
    {TEXT(""), NULL},
    {TEXT(":"), NULL},
    {TEXT(":80"), NULL},
    {TEXT("."), NULL},
    {TEXT(".:80"), NULL},
    {TEXT("a:0"), NULL},
    {TEXT("a:00"), NULL},
    {TEXT("a:65536"), NULL},
    {TEXT("a:99999999999999999999"), NULL},
    {TEXT("a:4294967376"), NULL},
    {TEXT("a:-1"), NULL},
    {TEXT("a:+1"), NULL},
    {TEXT("a:1x"), NULL},
    {TEXT("a:1:2"), NULL},
    {TEXT("a::1"), NULL},
    {TEXT("::1"), NULL},
    {TEXT("a b"), NULL},
    {TEXT(" a"), NULL},
    {TEXT("a@b"), NULL},
    {TEXT("a/b"), NULL},
    {TEXT("a?b"), NULL},
    {TEXT("a#b"), NULL},
    {TEXT("a\\b"), NULL},
    {TEXT("a\"b"), NULL},
    {TEXT("a<b>"), NULL},
    {TEXT("a{b}"), NULL},
    {TEXT("a|b"), NULL},
    {TEXT("a^b"), NULL},
    {TEXT("a`b"), NULL},
    {TEXT("a\0b"), NULL},
    {TEXT("a\tb"), NULL},
    {TEXT("a\x7f"), NULL},
    {TEXT("\xc3\xa9"), NULL},
    {TEXT("a%00"), NULL},
    {TEXT("a%2F"), NULL},
    {TEXT("%61"), NULL},
    {TEXT("a%40b"), NULL},
    {TEXT("a%"), NULL},
    {TEXT("a%c"), NULL},
    {TEXT("a%cx"), NULL},
    {TEXT("[]"), NULL},
    {TEXT("[::1"), NULL},
    {TEXT("::1]"), NULL},
    {TEXT("a[::1]"), NULL},
    {TEXT("[::1]a"), NULL},
    {TEXT("[::1]80"), NULL},
    {TEXT("[:::1]"), NULL},
    {TEXT("[1.2.3.4]"), NULL},
    {TEXT("[::1%25eth0]"), NULL},
    {TEXT("[::1%eth0]"), NULL},
    {TEXT("[::1\0]"), NULL},
    {TEXT("[fe80::1::2]"), NULL},
    {TEXT("[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]"), NULL},
    {TEXT("[v.a]"), NULL},
    {TEXT("[v1.]"), NULL},
    {TEXT("[v1.a/b]"), NULL},
    {TEXT("[vg.a]"), NULL},
};

static void test_authorities(void **state)
{
    (void) state;
    for (size_t i = 0; i < ROWS(authority_rows); i++) {
        struct arena a;
        struct str raw = exact(test_arena(&a), authority_rows[i].raw);
        struct head h = {.status = 0};
        enum fault f = authority_parse(raw, &a, &h);
        same_fault(f, authority_rows[i].want ? FAULT_OK : FAULT_REQ_HOST, raw);
        if (!f)
            same_str(
                arena_printf(&a, "%.*s %.*s %u", STR_ARG(h.authority), STR_ARG(h.host), h.port),
                authority_rows[i].want, "authority", raw);
        arena_fini(&a);
    }
}

static void test_urls(void **state)
{
    (void) state;
    static const struct {
        struct str raw;
        const char *want; /* scheme|authority|host|port|path?query, or a part of the reason */
        bool fine;
    } rows[] = {
        {TEXT("http://a"), "http|a|a|0|", true},
        {TEXT("HTTPS://A.b:8/"), "https|A.b:8|A.b|8|/", true},
        {TEXT("http://[::1]:9/base?x=1"), "http|[::1]:9|[::1]|9|/base?x=1", true},
        {TEXT("http://a?x"), "http|a|a|0|?x", true},
        {TEXT("http://a/%2F?"), "http|a|a|0|/%2F?", true},
        {TEXT("http://a:/b"), "http|a|a|0|/b", true},
        {TEXT("a:80"), "http://", false},
        {TEXT(""), "http://", false},
        {TEXT("unix:/x"), "http://", false},
        {TEXT("ftp://a"), "http://", false},
        {TEXT("http://u@a/"), "password", false},
        {TEXT("http://"), "host", false},
        {TEXT("http:///b"), "host", false},
        {TEXT("http://a:x"), "host", false},
        {TEXT("http://a/#f"), "fragment", false},
        {TEXT("http://a?b#f"), "fragment", false},
        {TEXT("http://a/?b c"), "query", false},
        {TEXT("http://a/b c"), "path", false},
        {TEXT("http://a/%zz"), "path", false},
        {TEXT("http://a/%00"), "path", false},
        {TEXT("http://a/{x}"), "path", false},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        struct url u;
        const char *why = "";
        struct str raw = exact(test_arena(&a), rows[i].raw);
        same_number(url_parse(raw, &u, &why), rows[i].fine, "fine", raw);
        if (rows[i].fine)
            same_str(arena_printf(&a, "%.*s|%.*s|%.*s|%u|%.*s%s%.*s", STR_ARG(u.scheme),
                                  STR_ARG(u.authority), STR_ARG(u.host), u.port, STR_ARG(u.path),
                                  u.has_query ? "?" : "", STR_ARG(u.query)),
                     rows[i].want, "url", raw);
        else
            assert_non_null(strstr(why, rows[i].want));
        arena_fini(&a);
    }
}

static void test_slashes(void **state)
{
    (void) state;
    static const struct {
        const char *path, *merged;
        bool rejected;
    } rows[] = {
        {"/", "/", false},
        {"/a/b", "/a/b", false},
        {"//", "/", true},
        {"///a//b/", "/a/b/", true},
        {"/a%2Fb", "/a%2Fb", true},
        {"/a%2F/", "/a%2F/", true},
        {"", "", false},
        {"*", "*", false},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        test_arena(&a);
        struct str text = str_c(rows[i].path), path = text;
        same_fault(path_slashes(&path, &a, SLASH_KEEP), FAULT_OK, text);
        same_str(path, rows[i].path, "kept", text);
        same_fault(path_slashes(&path, &a, SLASH_REJECT),
                   rows[i].rejected ? FAULT_REQ_TARGET : FAULT_OK, text);
        same_fault(path_slashes(&path, &a, SLASH_MERGE), FAULT_OK, text);
        same_str(path, rows[i].merged, "merged", text);
        arena_fini(&a);
    }
}

/* Go's TestSingleJoinSlash and TestJoinURLPath, in escaped form. */
static void test_joins(void **state)
{
    (void) state;
    static const char *const rows[][3] = {
        {"", "/", "/"},
        {"", "/a", "/a"},
        {"", "", "/"},
        {"", "favicon.ico", "/favicon.ico"},
        {"/", "/favicon.ico", "/favicon.ico"},
        {"/", "//a", "//a"},
        {"/a", "", "/a/"},
        {"/a", "/", "/a/"},
        {"/a/b", "/c", "/a/b/c"},
        {"/a/b/", "/c", "/a/b/c"},
        {"/a/b/", "c", "/a/b/c"},
        {"/a/b", "c", "/a/b/c"},
        {"/a%2Fb", "/c", "/a%2Fb/c"},
        {"/a%2Fb%2F", "c", "/a%2Fb%2F/c"},
        {"/a%2Fb/", "/c%2Fd", "/a%2Fb/c%2Fd"},
        {"/a", "//b", "/a//b"},
        {"/a", "*", "*"},
        {"", "*", "*"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        same_str(path_join(str_c(rows[i][0]), str_c(rows[i][1]), test_arena(&a)), rows[i][2],
                 "join", str_c(rows[i][1]));
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),   cmocka_unit_test(test_no_copy),
        cmocka_unit_test(test_targets), cmocka_unit_test(test_authorities),
        cmocka_unit_test(test_urls),    cmocka_unit_test(test_slashes),
        cmocka_unit_test(test_joins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

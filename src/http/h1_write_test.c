/* SPDX-License-Identifier: Apache-2.0 */
#include "http/h1_write.h"

#include <stdlib.h>

#include "base/mem.h"
#include "http/h1_parse.h"
#include "http/http_test.h"

static const struct h1_limits limits = {.head = 32768, .target = 8192, .fields = 100};

static size_t write(char *to, size_t room, const struct head *h, struct str connection,
                    const uint64_t *declared)
{
    return declared ? h1_write_response(to, room, h, connection, *declared)
                    : h1_write_request(to, room, h, connection);
}

/* Whatever the room, nothing is written outside of it, and enough of it is enough. */
static void check_rooms(const struct head *h, struct str connection, const uint64_t *declared)
{
    size_t n = 0, most = h1_head_size(h);
    for (size_t room = 0; room <= most; room++) {
        char *to = malloc(room);
        size_t before = n;
        n = write(to, room, h, connection, declared);
        assert_true(n <= room && n >= before);
        free(to);
    }
    assert_true(n > 0);
}

/* Writes into a block of exactly h1_head_size bytes, so that a sanitizer sees a broken bound. */
static enum fault written(struct arena *a, const struct head *h, struct str connection,
                          const uint64_t *declared, struct str *out)
{
    char *to = mem_new(h1_head_size(h));
    size_t n = write(to, h1_head_size(h), h, connection, declared);
    if (n)
        check_rooms(h, connection, declared);
    assert_true(n <= h1_head_size(h));
    assert_true(arena_on_free(a, mem_free, to));
    *out = str_of(to, n);
    return n ? FAULT_OK : FAULT_REWRITE;
}

static struct head request(struct arena *a)
{
    struct head h = {
        .method = STR("GET"), .method_id = METHOD_GET, .authority = STR("a:80"), .path = STR("/x")};
    fields_init(&h.fields, a);
    return h;
}

static struct head response(struct arena *a, uint16_t status)
{
    struct head h = {.status = status, .reason = STR("R")};
    fields_init(&h.fields, a);
    return h;
}

static void test_requests(void **state)
{
    (void) state;
    struct arena a;
    struct str out;
    struct head h = request(test_arena(&a));
    same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_OK, h.path);
    same_str(out, "GET /x HTTP/1.1\r\nHost: a:80\r\n\r\n", "request", h.path);

    h.has_query = true;
    h.query = STR("");
    h.authority = STR("");
    assert_true(fields_add(&h.fields, STR("X-y"), STR("")));
    assert_true(fields_add(&h.fields, STR("accept"), STR("a\tb \x80")));
    h.body = BODY_LENGTH;
    h.length = 1234567890;
    same_fault(written(&a, &h, STR("close"), NULL, &out), FAULT_OK, h.path);
    same_str(out,
             "GET /x? HTTP/1.1\r\nHost: \r\nX-y: \r\naccept: a\tb \x80\r\n"
             "Content-Length: 1234567890\r\nConnection: close\r\n\r\n",
             "request", h.path);

    h = request(&a);
    h.body = BODY_CHUNKED;
    h.method = STR("OPTIONS");
    h.method_id = METHOD_OPTIONS;
    h.path = STR("*");
    same_fault(written(&a, &h, STR("TE"), NULL, &out), FAULT_OK, h.path);
    same_str(out,
             "OPTIONS * HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n"
             "Connection: TE\r\n\r\n",
             "request", h.path);

    h = request(&a);
    h.method = STR("CONNECT");
    h.method_id = METHOD_CONNECT;
    h.target_form = TARGET_AUTHORITY;
    h.path = STR("");
    same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_OK, h.path);
    same_str(out, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", "request", h.path);
    char host[1000]; /* it stands there twice */
    memset(host, 'a', sizeof(host));
    h.authority = str_of(host, sizeof(host));
    same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_OK, h.path);
    assert_int_equal(out.n, strlen("CONNECT  HTTP/1.1\r\nHost: \r\n\r\n") + 2 * sizeof(host));
    arena_fini(&a);
}

static void test_responses(void **state)
{
    (void) state;
    static const struct {
        uint16_t status;
        uint8_t body;
        uint64_t length, declared;
        const char *framing;
    } rows[] = {
        {200, BODY_LENGTH, 0, LENGTH_NONE, "Content-Length: 0\r\n"},
        {200, BODY_LENGTH, UINT64_MAX, LENGTH_NONE, "Content-Length: 18446744073709551615\r\n"},
        {200, BODY_CHUNKED, 0, LENGTH_NONE, "Transfer-Encoding: chunked\r\n"},
        {200, BODY_CLOSE, 0, LENGTH_NONE, ""},
        {200, BODY_TUNNEL, 0, LENGTH_NONE, ""},
        {101, BODY_TUNNEL, 0, LENGTH_NONE, ""},
        {200, BODY_NONE, 0, LENGTH_NONE, "Content-Length: 0\r\n"},
        {200, BODY_NONE, 0, 17, "Content-Length: 17\r\n"},
        {200, BODY_NONE, 0, H1_LENGTH_UNSAID, ""},
        {304, BODY_NONE, 0, LENGTH_NONE, ""},
        {304, BODY_NONE, 0, 17, "Content-Length: 17\r\n"},
        {204, BODY_NONE, 0, LENGTH_NONE, ""},
        {204, BODY_NONE, 0, 17, ""},
        {103, BODY_NONE, 0, LENGTH_NONE, ""},
        {103, BODY_NONE, 0, 17, ""},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        struct str out;
        struct head h = response(test_arena(&a), rows[i].status);
        assert_true(fields_add_id(&h.fields, FIELD_SERVER, STR("s")));
        h.body = rows[i].body;
        h.length = rows[i].length;
        same_fault(written(&a, &h, STR("close"), &rows[i].declared, &out), FAULT_OK, h.reason);
        struct str want =
            arena_printf(&a, "HTTP/1.1 %u R\r\nServer: s\r\n%sConnection: close\r\n\r\n",
                         rows[i].status, rows[i].framing);
        assert_true(str_eq(out, want));
        arena_fini(&a);
    }
}

/* What a broken hook could try. Each text alone must make every writer refuse. */
static void test_refused(void **state)
{
    (void) state;
    static const struct str bad_values[] = {
        {"a\r\nb: c", 7},
        {"a\nb", 3},
        {"a\rb", 3},
        {"a\0b", 3},
        {"\x7f", 1},
        {"\x01", 1},
        {"01234567\r\n", 10},
        {"0123456\n", 8},
        {"\r234567", 7},
        {"012\n5", 5},
        {"0123456789abcdef\x1f", 17},
        {"\n123456789abcdef0", 17},
        {"\t\t\r", 3},
    };
    static const struct str bad_names[] = {
        {"", 0}, {"a b", 3}, {"a:", 2}, {"a\r", 2}, {"a\n", 2}, {"\x80", 1}, {"(a)", 3},
    };
    const uint64_t none = LENGTH_NONE;
    struct arena a;
    struct str out;
    test_arena(&a);
    for (size_t i = 0; i < ROWS(bad_values); i++) {
        struct str bad = bad_values[i];
        struct head h = request(&a), r = response(&a, 200);
        assert_true(fields_add(&h.fields, STR("a"), bad));
        assert_true(fields_add_id(&r.fields, FIELD_VIA, bad));
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, bad);
        same_fault(written(&a, &r, STR(""), &none, &out), FAULT_REWRITE, bad);
        char trailer[64];
        size_t n;
        same_fault(h1_write_trailers(trailer, &n, &h.fields), FAULT_REWRITE, bad);
        h = request(&a);
        h.path = arena_join(&a, (struct str[]){STR("/"), bad}, 2);
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, bad);
        h = request(&a);
        h.has_query = true;
        h.query = bad;
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, bad);
        h = request(&a);
        h.authority = bad;
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, bad);
        h = request(&a);
        same_fault(written(&a, &h, bad, NULL, &out), FAULT_REWRITE, bad);
        h.method = bad;
        h.method_id = METHOD_OTHER;
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, bad);
        r = response(&a, 200);
        r.reason = bad;
        same_fault(written(&a, &r, STR(""), &none, &out), FAULT_REWRITE, bad);
    }
    for (size_t i = 0; i < ROWS(bad_names); i++) {
        struct head h = request(&a), r = response(&a, 200);
        assert_true(fields_add(&h.fields, bad_names[i], STR("v")));
        assert_true(fields_add(&r.fields, bad_names[i], STR("v")));
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, bad_names[i]);
        same_fault(written(&a, &r, STR(""), &none, &out), FAULT_REWRITE, bad_names[i]);
        h = request(&a);
        h.method = bad_names[i];
        h.method_id = METHOD_OTHER;
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, bad_names[i]);
    }
    arena_fini(&a);
}

static void test_refused_targets(void **state)
{
    (void) state;
    struct arena a;
    struct str out;
    test_arena(&a);
    static const char *const bad_paths[] = {
        "", "x", "**", "*a", "/a b", "/\x80", "/\xc3\xa9xxxxxx"};
    for (size_t i = 0; i < ROWS(bad_paths); i++) {
        struct head h = request(&a);
        h.path = str_c(bad_paths[i]);
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, h.path);
    }
    struct head h = request(&a);
    h.target_form = TARGET_AUTHORITY;
    h.authority = STR("");
    same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, h.path);
    char longest[H1_CONNECTION_MAX + 1];
    memset(longest, 'x', sizeof(longest));
    h = request(&a);
    same_fault(written(&a, &h, str_of(longest, sizeof(longest) - 1), NULL, &out), FAULT_OK, h.path);
    same_fault(written(&a, &h, str_of(longest, sizeof(longest)), NULL, &out), FAULT_REWRITE,
               h.path);
    arena_fini(&a);
}

/* Framing is written from values; a field for it is refused. */
static void test_framing_fields(void **state)
{
    (void) state;
    static const enum field_id ids[] = {FIELD_HOST, FIELD_CONTENT_LENGTH, FIELD_TRANSFER_ENCODING,
                                        FIELD_CONNECTION};
    const uint64_t none = LENGTH_NONE;
    for (size_t i = 0; i < ROWS(ids); i++) {
        struct arena a;
        struct str out;
        struct head h = request(test_arena(&a)), r = response(&a, 200);
        assert_true(fields_add_id(&h.fields, ids[i], STR("1")));
        assert_true(fields_add_id(&r.fields, ids[i], STR("1")));
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_REWRITE, field_name(ids[i]));
        same_fault(written(&a, &r, STR(""), &none, &out),
                   ids[i] == FIELD_HOST ? FAULT_OK : FAULT_REWRITE, field_name(ids[i]));
        char to[128];
        size_t n;
        same_fault(h1_write_trailers(to, &n, &h.fields), FAULT_REWRITE, field_name(ids[i]));
        arena_fini(&a);
    }
    struct arena a;
    struct str out;
    struct head r = response(test_arena(&a), 99);
    same_fault(written(&a, &r, STR(""), &none, &out), FAULT_REWRITE, r.reason);
    arena_fini(&a);
}

static void test_trailers(void **state)
{
    (void) state;
    struct arena a;
    struct fields f;
    fields_init(&f, test_arena(&a));
    for (int i = 0; i < 3; i++) {
        static const char *const want[] = {"0\r\n\r\n", "0\r\na: b\r\n\r\n",
                                           "0\r\na: b\r\na: b\r\n\r\n"};
        char *to = mem_new(h1_trailers_size(&f));
        size_t n;
        same_fault(h1_write_trailers(to, &n, &f), FAULT_OK, STR(""));
        same_str(str_of(to, n), want[i], "trailers", STR(""));
        mem_free(to);
        assert_true(fields_add(&f, STR("a"), STR("b")));
    }
    arena_fini(&a);
}

/* Values of every length pass through all the word-wise ways of copying. */
static void test_lengths(void **state)
{
    (void) state;
    const char *letters = "/abcdefghijklmnopqrstuvwxyz0123456789ABCDEF";
    for (size_t n = 1; n <= strlen(letters); n++) {
        struct arena a;
        struct str out, text = str_of(letters, n);
        struct head h = request(test_arena(&a)), back;
        h.path = text;
        h.authority = str_of(letters + 1, n - 1 ? n - 1 : 1);
        h.authority.n = h.authority.n > 26 ? 26 : h.authority.n;
        assert_true(fields_add(&h.fields, STR("x"), text));
        same_fault(written(&a, &h, STR(""), NULL, &out), FAULT_OK, text);
        same_fault(h1_parse_request(&back, &a, out, STR("http"), &limits), FAULT_OK, out);
        assert_true(str_eq(back.path, h.path) && str_eq(back.authority, h.authority));
        assert_true(str_eq(fields_get(&back.fields, STR("x"))->value, text));
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),       cmocka_unit_test(test_responses),
        cmocka_unit_test(test_refused),        cmocka_unit_test(test_refused_targets),
        cmocka_unit_test(test_framing_fields), cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_lengths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 field sections: what becomes a head, what is malformed, and what is written. */
#include "http/h2_head.h"

#include "http/h1_write.h"
#include "http/http_test.h"

static const struct h1_limits limits = {.head = 4096, .target = 512, .fields = 20};

/* "name=value" lines become a section. '~' in a value stands for a NUL. */
static enum fault read_section(struct head *h, struct h2_reader *r, struct arena *a,
                               const char *text, bool end_stream)
{
    memset(h, 0, sizeof(*h));
    fields_init(&h->fields, a);
    h2_reader_init(r, &h->fields, a, &limits);
    while (*text) {
        size_t n = strcspn(text, "\n");
        size_t eq = 1 + strcspn(text + 1, "=");
        char value[256];
        size_t n_value = n - eq - 1;
        memcpy(value, text + eq + 1, n_value);
        for (size_t i = 0; i < n_value; i++)
            if (value[i] == '~')
                value[i] = '\0';
        h2_reader_add(r, str_of(text, eq), str_of(value, n_value));
        text += n + (text[n] == '\n');
    }
    return h2_request_end(r, h, STR("http"), end_stream);
}

#define GET ":method=GET\n:scheme=http\n:authority=a.example\n:path=/p?q\n"
#define REST "\n:scheme=http\n:authority=a\n:path=/"

static void judges_sections(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        enum fault fault;
    } rows[] = {
        {GET, FAULT_OK},
        {GET "x-a=1\nx-b= 2", FAULT_H2_MALFORMED},
        {GET "x-a=1 ", FAULT_H2_MALFORMED},
        {GET "x-a=a~b", FAULT_H2_MALFORMED},
        {GET "x-a=a\rb", FAULT_H2_MALFORMED},
        {GET "X-a=1", FAULT_H2_MALFORMED},
        {GET "x a=1", FAULT_H2_MALFORMED},
        {GET "x:a=1", FAULT_H2_MALFORMED},
        {GET "connection=close", FAULT_H2_MALFORMED},
        {GET "proxy-connection=close", FAULT_H2_MALFORMED},
        {GET "keep-alive=1", FAULT_H2_MALFORMED},
        {GET "transfer-encoding=chunked", FAULT_H2_MALFORMED},
        {GET "upgrade=h2c", FAULT_H2_MALFORMED},
        {GET "te=gzip", FAULT_H2_MALFORMED},
        {GET "te=trailers", FAULT_OK},
        {GET ":path=/again", FAULT_H2_MALFORMED},
        {GET "x-a=1\n:late=1", FAULT_H2_MALFORMED},
        {GET ":status=200", FAULT_H2_MALFORMED},
        {":method=GET\n:scheme=http\n:path=/", FAULT_REQ_HOST},
        {":method=GET\n:scheme=http\n:path=/\nhost=b", FAULT_OK},
        {GET "host=a.example", FAULT_OK},
        {GET "host=A.Example", FAULT_OK},
        {GET "host=b.example", FAULT_H2_MALFORMED},
        {GET "host=a.example\nhost=a.example", FAULT_REQ_HOST},
        {":method=GET\n:scheme=http\n:authority=u@a\n:path=/", FAULT_REQ_HOST},
        {":scheme=http\n:authority=a\n:path=/", FAULT_H2_MALFORMED},
        {":method=GET\n:authority=a\n:path=/", FAULT_H2_MALFORMED},
        {":method=GET\n:scheme=http\n:authority=a", FAULT_H2_MALFORMED},
        {":method=GET\n:scheme=http\n:authority=a\n:path=", FAULT_H2_MALFORMED},
        {":method=GET\n:scheme=http\n:authority=a\n:path=http://b/", FAULT_H2_MALFORMED},
        {":method=GET\n:scheme=http\n:authority=a\n:path=*", FAULT_REQ_TARGET},
        {":method=OPTIONS\n:scheme=http\n:authority=a\n:path=*", FAULT_OK},
        {":method=GET\n:scheme=http\n:authority=a\n:path=/%zz", FAULT_REQ_TARGET},
        {":method=GET\n:scheme=https\n:authority=a\n:path=/", FAULT_REQ_MISDIRECTED},
        {":method=G T" REST, FAULT_H2_MALFORMED},
        {":method=" REST, FAULT_H2_MALFORMED},
        {":method=CONNECT\n:authority=a:443", FAULT_OK},
        {":method=CONNECT\n:authority=a", FAULT_REQ_TARGET},
        {":method=CONNECT" REST, FAULT_H2_MALFORMED},
        {":method=CONNECT\n:protocol=websocket" REST, FAULT_OK},
        {":method=CONNECT\n:protocol=h2c" REST, FAULT_H2_EXTENDED},
        {":method=GET\n:protocol=websocket" REST, FAULT_H2_MALFORMED},
        {":method=CONNECT\n:protocol=websocket" REST "\ncontent-length=0", FAULT_H2_MALFORMED},
        {GET "content-length=0", FAULT_OK},
        {GET "content-length=1", FAULT_H2_LENGTH},
        {GET "content-length=1\ncontent-length=1", FAULT_REQ_LENGTH},
        {GET "content-length=x", FAULT_REQ_LENGTH},
        {GET "expect=100-continue", FAULT_OK},
        {GET "expect=tea", FAULT_REQ_EXPECT},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        struct head h;
        struct h2_reader r;
        enum fault f = read_section(&h, &r, test_arena(&a), rows[i].text, true);
        same_fault(f, rows[i].fault, str_c(rows[i].text));
        arena_fini(&a);
    }
}

static void fills_in_a_head(void **state)
{
    (void) state;
    struct arena a;
    struct head h;
    struct h2_reader r;
    const char *text = ":method=POST\n:scheme=http\n:authority=A.Example:80\n:path=/x/../p?q\n"
                       "cookie=a=1\nx-own=1\ncookie=b=2\nte=trailers\npriority=u=1, i\n"
                       "content-length=12";
    assert_int_equal(read_section(&h, &r, test_arena(&a), text, false), FAULT_OK);
    assert_int_equal(h.major, 2);
    assert_int_equal(h.method_id, METHOD_POST);
    assert_false(h.keep_alive);
    same_str(h.path, "/p", "path", str_c(text));
    same_str(h.query, "q", "query", str_c(text));
    same_str(h.authority, "a.example:80", "authority", str_c(text));
    same_str(fields_get_id(&h.fields, FIELD_HOST)->value, "a.example:80", "Host", str_c(text));
    same_str(fields_get_id(&h.fields, FIELD_COOKIE)->value, "a=1; b=2", "cookie", str_c(text));
    assert_int_equal(fields_count_id(&h.fields, FIELD_COOKIE), 1);
    assert_true(h.te_trailers);
    assert_int_equal(h.body, BODY_LENGTH);
    assert_int_equal(h.length, 12);
    assert_int_equal(r.urgency, 1);
    assert_true(r.incremental && r.prioritised);
    arena_fini(&a);
    assert_int_equal(read_section(&h, &r, test_arena(&a), GET, false), FAULT_OK);
    assert_int_equal(h.body, BODY_CHUNKED);
    arena_fini(&a);
    assert_int_equal(read_section(&h, &r, test_arena(&a), GET, true), FAULT_OK);
    assert_int_equal(h.body, BODY_NONE);
    arena_fini(&a);
    text = ":method=CONNECT\n:protocol=websocket" REST "w";
    assert_int_equal(read_section(&h, &r, test_arena(&a), text, false), FAULT_OK);
    same_str(h.method, "GET", "method", str_c(text));
    same_str(h.upgrade, "websocket", "upgrade", str_c(text));
    assert_int_equal(h.body, BODY_NONE);
    arena_fini(&a);
}

static void keeps_to_limits(void **state)
{
    (void) state;
    struct arena a;
    struct fields f;
    struct h2_reader r;
    test_arena(&a);
    fields_init(&f, &a);
    h2_reader_init(&r, &f, &a, &limits);
    for (uint32_t i = 0; i < limits.fields + 5; i++)
        h2_reader_add(&r, STR("cookie"), STR(""));
    assert_int_equal(r.fault, FAULT_OK);
    h2_reader_add(&r, STR("cookie"), STR(""));
    assert_int_equal(r.fault, FAULT_REQ_HEAD_LARGE);
    assert_false(h2_reader_bomb(&r));
    uint32_t kept = f.n;
    for (uint32_t i = 0; i < 4 * limits.fields; i++)
        h2_reader_add(&r, STR("cookie"), STR(""));
    assert_true(h2_reader_bomb(&r));
    assert_int_equal(f.n, kept);
    h2_reader_init(&r, &f, &a, &limits);
    r.trailers = true;
    h2_reader_add(&r, STR(":path"), STR("/"));
    assert_int_equal(r.fault, FAULT_H2_MALFORMED);
    arena_fini(&a);
}

static struct str listed(const nghttp2_nv *list, size_t n, struct arena *a)
{
    struct str all = STR("");
    for (size_t i = 0; i < n; i++) {
        struct str parts[] = {all, str_of((const char *) list[i].name, list[i].namelen), STR("="),
                              str_of((const char *) list[i].value, list[i].valuelen), STR("\n")};
        all = arena_join(a, parts, ROWS(parts));
    }
    return all;
}

static void writes_responses(void **state)
{
    (void) state;
    struct arena a;
    nghttp2_nv *list;
    size_t n;
    struct head h = {.status = 200, .body = BODY_LENGTH, .length = 5, .declared = LENGTH_NONE};
    fields_init(&h.fields, test_arena(&a));
    assert_true(fields_add_id(&h.fields, FIELD_CONTENT_TYPE, STR("a/b")));
    assert_true(fields_add(&h.fields, STR("X-Own"), STR("V")));
    assert_true(fields_add_id(&h.fields, FIELD_UPGRADE, STR("x")));
    assert_int_equal(h2_response_list(&h, &a, &list, &n), FAULT_OK);
    same_str(listed(list, n, &a), ":status=200\ncontent-type=a/b\nx-own=V\ncontent-length=5\n",
             "list", STR("200"));
    assert_true(fields_add(&h.fields, STR("X-Split"), STR("a\nb: c")));
    assert_int_equal(h2_response_list(&h, &a, &list, &n), FAULT_REWRITE);
    fields_init(&h.fields, &a);
    assert_true(fields_add_id(&h.fields, FIELD_CONNECTION, STR("close")));
    assert_int_equal(h2_response_list(&h, &a, &list, &n), FAULT_REWRITE);

    static const struct {
        uint16_t status;
        uint8_t body;
        uint64_t declared;
        const char *want;
    } rows[] = {
        {204, BODY_NONE, LENGTH_NONE, ":status=204\n"},
        {304, BODY_NONE, LENGTH_NONE, ":status=304\n"},
        {304, BODY_NONE, 7, ":status=304\ncontent-length=7\n"},
        {200, BODY_NONE, LENGTH_NONE, ":status=200\ncontent-length=0\n"},
        {200, BODY_NONE, H1_LENGTH_UNSAID, ":status=200\n"},
        {200, BODY_CHUNKED, LENGTH_NONE, ":status=200\n"},
        {103, BODY_NONE, LENGTH_NONE, ":status=103\n"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct head one = {
            .status = rows[i].status, .body = rows[i].body, .declared = rows[i].declared};
        fields_init(&one.fields, &a);
        assert_int_equal(h2_response_list(&one, &a, &list, &n), FAULT_OK);
        same_str(listed(list, n, &a), rows[i].want, "list", str_c(rows[i].want));
    }
    arena_fini(&a);
}

static void writes_trailers(void **state)
{
    (void) state;
    struct arena a;
    struct fields f;
    nghttp2_nv *list;
    size_t n;
    fields_init(&f, test_arena(&a));
    assert_true(fields_add(&f, STR("Grpc-Status"), STR("0")));
    assert_int_equal(h2_trailer_list(&f, &a, &list, &n), FAULT_OK);
    same_str(listed(list, n, &a), "grpc-status=0\n", "list", STR("trailers"));
    assert_true(fields_add_id(&f, FIELD_CONTENT_LENGTH, STR("1")));
    assert_int_equal(h2_trailer_list(&f, &a, &list, &n), FAULT_REWRITE);
    arena_fini(&a);
}

/* A response section like read_section's. */
static enum fault read_response(struct head *h, struct arena *a, const char *text, uint8_t method,
                                bool end_stream)
{
    struct h2_reader r;
    memset(h, 0, sizeof(*h));
    fields_init(&h->fields, a);
    h2_reader_init(&r, &h->fields, a, &limits);
    r.response = true;
    while (*text) {
        size_t n = strcspn(text, "\n"), eq = 1 + strcspn(text + 1, "=");
        h2_reader_add(&r, str_of(text, eq), str_of(text + eq + 1, n - eq - 1));
        text += n + (text[n] == '\n');
    }
    return h2_response_end(&r, h, method, end_stream);
}

static void judges_responses(void **state)
{
    (void) state;
    static const struct {
        const char *text;
        uint8_t method;
        bool end_stream;
        enum fault fault;
        uint8_t body;
    } rows[] = {
        {":status=200", METHOD_GET, false, FAULT_OK, BODY_CHUNKED},
        {":status=200", METHOD_GET, true, FAULT_OK, BODY_NONE},
        {":status=200\ncontent-length=5", METHOD_GET, false, FAULT_OK, BODY_LENGTH},
        {":status=200\ncontent-length=5", METHOD_GET, true, FAULT_UP_FRAMING, BODY_LENGTH},
        {":status=200\ncontent-length=5", METHOD_HEAD, true, FAULT_OK, BODY_NONE},
        {":status=304\ncontent-length=5", METHOD_GET, true, FAULT_OK, BODY_NONE},
        {":status=103", METHOD_GET, false, FAULT_OK, BODY_NONE},
        {":status=103", METHOD_GET, true, FAULT_H2_MALFORMED, BODY_NONE},
        {":status=101", METHOD_GET, false, FAULT_H2_MALFORMED, BODY_NONE},
        {":status=099", METHOD_GET, false, FAULT_H2_MALFORMED, BODY_NONE},
        {":status=20", METHOD_GET, false, FAULT_H2_MALFORMED, BODY_NONE},
        {":status=600", METHOD_GET, false, FAULT_H2_MALFORMED, BODY_NONE},
        {"a=b", METHOD_GET, false, FAULT_H2_MALFORMED, BODY_NONE},
        {":status=200\n:status=200", METHOD_GET, false, FAULT_H2_MALFORMED, BODY_NONE},
        {":status=200\n:path=/", METHOD_GET, false, FAULT_H2_MALFORMED, BODY_NONE},
        {":status=200\nconnection=close", METHOD_GET, false, FAULT_H2_MALFORMED, BODY_NONE},
        {":status=200", METHOD_CONNECT, false, FAULT_OK, BODY_TUNNEL},
        {":status=403", METHOD_CONNECT, false, FAULT_OK, BODY_CHUNKED},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct arena a;
        struct head h;
        arena_init(&a, NULL, 1u << 16);
        assert_int_equal(read_response(&h, &a, rows[i].text, rows[i].method, rows[i].end_stream),
                         rows[i].fault);
        if (rows[i].fault == FAULT_OK) {
            assert_int_equal(h.body, rows[i].body);
            assert_int_equal(h.major, 2);
        }
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_sections),  cmocka_unit_test(fills_in_a_head),
        cmocka_unit_test(keeps_to_limits),  cmocka_unit_test(writes_responses),
        cmocka_unit_test(judges_responses), cmocka_unit_test(writes_trailers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

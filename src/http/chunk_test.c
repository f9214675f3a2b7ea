/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked coding, row by row: RFC 9112 section 7.1. Every row is decoded whole, byte by
 * byte and split in two at every place, with the same data and verdict. */
#include "http/chunk.h"

#include "base/mem.h"
#include "http/http_test.h"

#define TEXT(lit)                                                                                  \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }

struct result {
    enum fault fault;
    uint8_t state;
    size_t used; /* bytes consumed */
    char data[256];
    size_t n;
    struct fields trailers;
};

/* Feeds text up to its byte to. */
static void feed(struct chunk_decoder *d, struct str text, size_t to, struct result *r)
{
    if (r->used >= to)
        return;
    struct str part = mem_str(str_sub(text, r->used, to)), in = part, data;
    while (in.n && d->state != CHUNK_END && !r->fault) {
        size_t before = in.n;
        r->fault = chunk_decode(d, &in, &data);
        assert_true(r->n + data.n <= sizeof(r->data));
        if (data.n)
            memcpy(r->data + r->n, data.p, data.n);
        r->n += data.n;
        assert_true(r->fault || in.n < before);
        r->used += before - in.n;
    }
    r->state = d->state;
    mem_free((void *) part.p);
}

static void decode(struct str text, size_t first, size_t step, struct arena *a, struct result *r)
{
    struct chunk_decoder d;
    *r = (struct result){.fault = FAULT_OK};
    fields_init(&r->trailers, a);
    chunk_decoder_init(&d, a, &r->trailers, FAULT_REQ_CHUNK, FAULT_REQ_TRAILER_LARGE);
    for (size_t to = first; !r->fault && d.state != CHUNK_END; to += step) {
        feed(&d, text, to < text.n ? to : text.n, r);
        if (to >= text.n)
            break;
    }
}

#define END "0\r\n\r\n"

static const struct {
    struct str text;
    const char *data;     /* NULL: refused */
    const char *trailers; /* "name=value;..." */
    size_t rest;          /* bytes behind the end */
} rows[] = {
    {TEXT(END), "", "", 0},
    {TEXT("5\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("5\r\nhello\r\n6\r\n world\r\n" END), "hello world", "", 0},
    {TEXT("1\r\n\r\r\n1\r\n\n\r\n" END), "\r\n", "", 0},
    {TEXT("a\r\n0123456789\r\n" END), "0123456789", "", 0},
    {TEXT("A\r\n0123456789\r\n" END), "0123456789", "", 0},
    {TEXT("0000000000000005\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("00\r\n\r\n"), "", "", 0},
    {TEXT("0000000000000000\r\n\r\n"), "", "", 0},
    {TEXT(END "GET / HTTP/1.1\r\n"), "", "", 16},
    {TEXT("1\r\na\r\n" END "\r\n"), "a", "", 2},
    /* extensions: 7.1.1 */
    {TEXT("5;a\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("5;a=b\r\nhello\r\n0;c=d\r\n\r\n"), "hello", "", 0},
    {TEXT("5;a=b;c;d=\"e\"\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("5 ; a = b ; c\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("5\t;\ta\t=\tb\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("5;a=\"\"\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("5;a=\"b c;d=\\\"\\\\\t\x80\"\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("5;a=\"b\" ;c\r\nhello\r\n" END), "hello", "", 0},
    {TEXT("5;!#$%&'*+-.^_`|~=x\r\nhello\r\n" END), "hello", "", 0},
    /* trailers: 7.1.2 */
    {TEXT("0\r\na: b\r\n\r\n"), "", "a=b;", 0},
    {TEXT("1\r\nx\r\n0\r\na: b\r\nC:\t d \r\nE:\r\n\r\nrest"), "x", "a=b;C=d;E=;", 4},
    /* sizes */
    {TEXT("\r\n"), NULL, "", 0},
    {TEXT("\n"), NULL, "", 0},
    {TEXT(";a\r\n"), NULL, "", 0},
    {TEXT(" 5\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5 \r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5\t\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("0x5\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("+5\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("-5\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5h\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("g\r\n"), NULL, "", 0},
    {TEXT("5,\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5_0\r\n"), NULL, "", 0},
    {TEXT("5\0\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("\"5\"\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("00000000000000005\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("8000000000000000\r\n"), NULL, "", 0},
    {TEXT("8000000000000000;a\r\n"), NULL, "", 0},
    {TEXT("ffffffffffffffff\r\n"), NULL, "", 0},
    {TEXT("FFFFFFFFFFFFFFFF0\r\n"), NULL, "", 0},
    {TEXT("10000000000000005\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("100000000000000000000000000000005\r\nhello\r\n" END), NULL, "", 0},
    /* line ends */
    {TEXT("5\nhello\r\n" END), NULL, "", 0},
    {TEXT("5\rhello\r\n" END), NULL, "", 0},
    {TEXT("5\r\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5\r\nhello\n" END), NULL, "", 0},
    {TEXT("5\r\nhello\r" END), NULL, "", 0},
    {TEXT("5\r\nhello" END), NULL, "", 0},
    {TEXT("5\r\nhello!\r\n" END), NULL, "", 0},
    {TEXT("5\r\nhello\r\n\r\n" END), NULL, "", 0},
    {TEXT("0\n\n"), NULL, "", 0},
    {TEXT("0\n\r\n"), NULL, "", 0},
    {TEXT("0\r\n\n"), NULL, "", 0},
    {TEXT("0\r\n\rX\r\n\r\n"), NULL, "", 0},
    {TEXT("0\r\n\r\r\n\r\n"), NULL, "", 0},
    /* extensions that are none */
    {TEXT("5;\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;;\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a;\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a \r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a= \r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;=b\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a==b\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=b=c\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a b\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=b c\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5 a\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5 5\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a\rhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=\"b\nc\"\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=\"b\rc\"\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=\"b\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=\"b\\\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=\"b\"c\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=\"b\0\"\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a\0b\r\nhello\r\n" END), NULL, "", 0},
    {TEXT("5;a=\x80\r\nhello\r\n" END), NULL, "", 0},
    /* trailers that are none */
    {TEXT("0\r\na\r\n\r\n"), NULL, "", 0},
    {TEXT("0\r\na : b\r\n\r\n"), NULL, "", 0},
    {TEXT("0\r\n: b\r\n\r\n"), NULL, "", 0},
    {TEXT("0\r\na: b\n\r\n"), NULL, "", 0},
    {TEXT("0\r\na: b\n\n"), NULL, "", 0},
    {TEXT("0\r\na: b\r\n\n"), NULL, "", 0},
    {TEXT("0\r\na: b\r\n c\r\n\r\n"), NULL, "", 0},
    {TEXT("0\r\n a: b\r\n\r\n"), NULL, "", 0},
    {TEXT("0\r\na: b\0\r\n\r\n"), NULL, "", 0},
    {TEXT("0\r\na: b\rc: d\r\n\r\n"), NULL, "", 0},
    {TEXT("0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), NULL, "", 0},
};

static void check(size_t row, const struct result *r)
{
    struct str text = rows[row].text;
    if (!rows[row].data) {
        same_fault(r->fault, FAULT_REQ_CHUNK, text);
        return;
    }
    same_fault(r->fault, FAULT_OK, text);
    same_number(r->state, CHUNK_END, "state", text);
    same_number(text.n - r->used, rows[row].rest, "rest", text);
    same_str(str_of(r->data, r->n), rows[row].data, "data", text);
    char trailers[256] = "";
    size_t n = 0;
    for (uint32_t i = 0; i < r->trailers.n; i++)
        n += (size_t) snprintf(trailers + n, sizeof(trailers) - n, "%.*s=%.*s;",
                               STR_ARG(r->trailers.v[i].name), STR_ARG(r->trailers.v[i].value));
    same_str(str_of(trailers, n), rows[row].trailers, "trailers", text);
}

static void test_rows(void **state)
{
    (void) state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct str text = rows[i].text;
        for (size_t split = 1; split <= text.n; split++) {
            struct arena a;
            struct result r;
            decode(text, split, text.n, test_arena(&a), &r);
            check(i, &r);
            decode(text, split, 1, &a, &r);
            check(i, &r);
            arena_fini(&a);
        }
    }
}

/* Nothing but a complete message is at its end. */
static void test_truncated(void **state)
{
    (void) state;
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct str text = rows[i].text;
        for (size_t n = 1; rows[i].data && n < text.n - rows[i].rest; n++) {
            struct arena a;
            struct result r;
            decode(str_sub(text, 0, n), n, 1, test_arena(&a), &r);
            same_fault(r.fault, FAULT_OK, text);
            assert_true(r.state != CHUNK_END);
            arena_fini(&a);
        }
    }
}

/* Decodes text again and again, up to times; returns how often it went well. */
static size_t repeat(struct str prefix, struct str text, size_t times, enum fault *fault)
{
    struct arena a;
    struct fields trailers;
    struct chunk_decoder d;
    size_t done = 0;
    fields_init(&trailers, test_arena(&a));
    chunk_decoder_init(&d, &a, &trailers, FAULT_REQ_CHUNK, FAULT_REQ_TRAILER_LARGE);
    *fault = FAULT_OK;
    for (size_t i = 0; i <= times; i++) {
        struct str in = i ? text : prefix, data;
        while (in.n && !*fault)
            *fault = chunk_decode(&d, &in, &data);
        if (*fault)
            break;
        done = i;
    }
    arena_fini(&a);
    return done;
}

static void test_floods(void **state)
{
    (void) state;
    enum fault f;
    /* a chunk a byte is what some senders do; nothing is held against it */
    assert_int_equal(repeat(STR(""), STR("1\r\nx\r\n"), 200000, &f), 200000);
    /* an extension now and then neither */
    assert_int_equal(repeat(STR(""), STR("1;a=b\r\nx\r\n"), 200000, &f), 200000);
    /* but much framing for little data is refused, early */
    assert_true(repeat(STR(""), STR("1;a=bcdefghijklmnopqrstuvwxyz0123456789\r\nx\r\n"), 200000,
                       &f) < 2000);
    assert_int_equal(f, FAULT_REQ_TRAILER_LARGE);
    /* one endless extension */
    assert_true(repeat(STR("5;a="), STR("bbbbbbbb"), 200000, &f) <= 2048);
    assert_int_equal(f, FAULT_REQ_TRAILER_LARGE);
    /* endless trailers, in many lines and in one */
    assert_true(repeat(STR("0\r\n"), STR("a: b\r\n"), 200000, &f) <= 8192 / 6);
    assert_int_equal(f, FAULT_REQ_TRAILER_LARGE);
    assert_true(repeat(STR("0\r\na: "), STR("bbbbbbbb"), 200000, &f) <= 1024);
    assert_int_equal(f, FAULT_REQ_TRAILER_LARGE);
    /* large chunks pay for their framing */
    assert_int_equal(repeat(STR(""),
                            STR("20;abcdefghijklmnopqrstuvwxyz0123456789abcdefghijkl\r\n"
                                "01234567890123456789012345678901\r\n"),
                            200000, &f),
                     200000);
}

static void test_memory(void **state)
{
    (void) state;
    struct arena a;
    struct fields trailers;
    struct chunk_decoder d;
    arena_init(&a, NULL, 0);
    fields_init(&trailers, &a);
    chunk_decoder_init(&d, &a, &trailers, FAULT_UP_CHUNK, FAULT_UP_CHUNK);
    struct str in = STR("0\r\na: b\r\n\r\n"), data;
    same_fault(chunk_decode(&d, &in, &data), FAULT_MEMORY, in);
    arena_fini(&a);
}

static bool bytes_of(struct str s, char c)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != c)
            return false;
    return true;
}

/* Trailers that grow piece by piece are gathered whole. */
static void test_long_trailers(void **state)
{
    (void) state;
    for (size_t piece = 1; piece < 1200; piece += 37) {
        struct arena a;
        struct fields trailers;
        struct chunk_decoder d;
        fields_init(&trailers, test_arena(&a));
        chunk_decoder_init(&d, &a, &trailers, FAULT_UP_CHUNK, FAULT_UP_CHUNK);
        char text[8192 + 3];
        memset(text, 'v', sizeof(text));
        memcpy(text, "0\r\nname:", 8);
        memcpy(text + sizeof(text) - 4, "\r\n\r\n", 4);
        for (size_t at = 0; at < sizeof(text); at += piece) {
            struct str in = str_sub(str_of(text, sizeof(text)), at, at + piece), data;
            while (in.n)
                same_fault(chunk_decode(&d, &in, &data), FAULT_OK, STR("trailer"));
        }
        assert_int_equal(d.state, CHUNK_END);
        assert_int_equal(trailers.n, 1);
        assert_int_equal(trailers.v[0].value.n, 8192 - 5 - 4);
        assert_true(bytes_of(trailers.v[0].value, 'v'));
        arena_fini(&a);
    }
}

static void test_size_line(void **state)
{
    (void) state;
    static const struct {
        uint64_t n;
        const char *text;
    } lines[] = {
        {1, "1\r\n"},
        {9, "9\r\n"},
        {10, "a\r\n"},
        {15, "f\r\n"},
        {16, "10\r\n"},
        {255, "ff\r\n"},
        {256, "100\r\n"},
        {4096, "1000\r\n"},
        {17408, "4400\r\n"},
        {0xfffff, "fffff\r\n"},
        {UINT64_C(0x123456789abcdef0), "123456789abcdef0\r\n"},
        {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < ROWS(lines); i++) {
        char out[CHUNK_SIZE_LINE_MAX];
        size_t n = chunk_size_line(out, lines[i].n);
        same_str(str_of(out, n), lines[i].text, "size line", STR(""));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_floods),        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_long_trailers), cmocka_unit_test(test_size_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

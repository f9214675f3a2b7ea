/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads, row by row: RFC 9112 sections 4, 5, 6 and 9.3; RFC 9110 sections 7.8, 8.6. */
#include "http/h1_parse.h"

#include "base/mem.h"
#include "http/http_test.h"

#define TEXT(lit)                                                                                  \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }
#define OK1 "HTTP/1.1 200 OK\r\n"
#define OK0 "HTTP/1.0 200 OK\r\n"
#define CL(n) "Content-Length: " #n "\r\n"
#define TE(value) "Transfer-Encoding: " value "\r\n"

static const struct h1_limits limits = {.head = 32768, .target = 8192, .fields = 100};

static enum fault parse(struct head *h, struct arena *a, struct str text, uint8_t method)
{
    struct str bytes = text.n ? mem_str(text) : text;
    assert_true(text.n == 0 || arena_on_free(a, mem_free, (void *) bytes.p));
    return h1_parse_response(h, a, bytes, method, &limits);
}

static const struct {
    struct str text;
    enum fault fault;
} refused[] = {
    /* status line: RFC 9112 4 */
    {TEXT(""), FAULT_UP_HEAD},
    {TEXT("\r\n"), FAULT_UP_HEAD},
    {TEXT("\r\n" OK1 "\r\n"), FAULT_UP_HEAD},
    {TEXT("hello\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("220 smtp.example ESMTP\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 \r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 2\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 20 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 2000 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 099 x\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 000 x\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 600 x\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 999 x\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 +20 x\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 -20 x\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 2x0 x\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1  200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1\t200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200\tOK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/2.0 200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/2 200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/0.9 200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.10 200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.x 200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("http/1.1 200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("ICY 200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(" HTTP/1.1 200 OK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200 O\0K\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200 O\x01K\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200 O\x7fK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200 O\rK\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200 OK\r\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200 OK\n\r\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200 OK\n\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200\n\n"), FAULT_UP_HEAD},
    {TEXT("HTTP/1.1 200 OK\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "\n"), FAULT_UP_HEAD},
    {TEXT(OK1 CL(1) "\r\nx\n"), FAULT_UP_HEAD},
    /* fields: 5, 5.1, 5.2 */
    {TEXT(OK1 "A: b\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A: b\rB: c\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A: b\r\n c\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A: b\r\n\tc\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 " A: b\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A : b\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A\t: b\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 ": b\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A B: c\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A: b\0\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A: b\x08\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "A\x80: b\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "Content-Length : 5\r\n\r\n"), FAULT_UP_HEAD},
    {TEXT(OK1 "Transfer-Encoding\x0b: chunked\r\n\r\n"), FAULT_UP_HEAD},
    /* Content-Length and Transfer-Encoding: 6 */
    {TEXT(OK1 "Content-Length:\r\n\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(+5) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(-1) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(5 5) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 "Content-Length: 5, 5\r\n\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 "Content-Length: 5,\r\n\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(0x5) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(5) CL(5) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(5) CL(6) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(9223372036854775808) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(18446744073709551616) "\r\n"), FAULT_UP_FRAMING},
    {TEXT("HTTP/1.1 304 x\r\n" CL(x) "\r\n"), FAULT_UP_FRAMING},
    {TEXT("HTTP/1.1 204 x\r\n" CL(x) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 CL(5) TE("chunked") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("chunked") CL(5) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK0 TE("chunked") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK0 TE("chunked") CL(5) "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("identity") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("gzip") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("gzip, chunked") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("chunked, gzip") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("chunked, chunked") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("chunked,") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("chunked;a=b") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("\"chunked\"") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("chunked") TE("chunked") "\r\n"), FAULT_UP_FRAMING},
    {TEXT(OK1 TE("chunked") TE("identity") "\r\n"), FAULT_UP_FRAMING},
};

static void test_refused(void **state)
{
    (void) state;
    for (size_t i = 0; i < ROWS(refused); i++) {
        struct arena a;
        struct head h;
        same_fault(parse(&h, test_arena(&a), refused[i].text, METHOD_GET), refused[i].fault,
                   refused[i].text);
        arena_fini(&a);
    }
}

/* status 'reason' body, declared length, flags */
static struct str story(const struct head *h, struct arena *a)
{
    static const char *const bodies[] = {"none", "length", "chunked", "close", "tunnel"};
    struct str declared = STR("");
    if (h->declared != LENGTH_NONE)
        declared = arena_printf(a, " said=%llu", (unsigned long long) h->declared);
    return arena_printf(a, "%u '%.*s' %s=%llu%.*s %s%s%.*s", h->status, STR_ARG(h->reason),
                        bodies[h->body], (unsigned long long) h->length, STR_ARG(declared),
                        h->keep_alive ? "keep" : "close", h->upgrade.n ? " upgrade=" : "",
                        STR_ARG(h->upgrade));
}

static const struct {
    uint8_t method;
    struct str text;
    const char *story;
} accepted[] = {
    /* status lines */
    {METHOD_GET, TEXT(OK1 CL(0) "\r\n"), "200 'OK' length=0 said=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 200 \r\n" CL(0) "\r\n"), "200 '' length=0 said=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 200\r\n" CL(0) "\r\n"), "200 '' length=0 said=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 599 a  b\tc \r\n" CL(0) "\r\n"),
     "599 'a  b\tc ' length=0 said=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 404 \xc3\xa9\r\n" CL(0) "\r\n"),
     "404 '\xc3\xa9' length=0 said=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.7 200 OK\r\n" CL(0) "\r\n"), "200 'OK' length=0 said=0 keep"},
    /* bodies: 6.3 */
    {METHOD_GET, TEXT(OK1 "\r\n"), "200 'OK' close=0 close"},
    {METHOD_GET, TEXT(OK0 "\r\n"), "200 'OK' close=0 close"},
    {METHOD_GET, TEXT(OK1 CL(5) "\r\n"), "200 'OK' length=5 said=5 keep"},
    {METHOD_GET, TEXT(OK1 CL(9223372036854775807) "\r\n"),
     "200 'OK' length=9223372036854775807 said=9223372036854775807 keep"},
    {METHOD_GET, TEXT(OK1 TE("chunked") "\r\n"), "200 'OK' chunked=0 keep"},
    {METHOD_GET, TEXT(OK1 TE("\tChunked ") "\r\n"), "200 'OK' chunked=0 keep"},
    {METHOD_HEAD, TEXT(OK1 CL(5) "\r\n"), "200 'OK' none=0 said=5 keep"},
    {METHOD_HEAD, TEXT(OK1 "\r\n"), "200 'OK' none=0 keep"},
    {METHOD_HEAD, TEXT(OK1 TE("chunked") "\r\n"), "200 'OK' none=0 keep"},
    {METHOD_HEAD, TEXT("HTTP/1.1 204 x\r\n" CL(5) "\r\n"), "204 'x' none=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 304 x\r\n" CL(5) "\r\n"), "304 'x' none=0 said=5 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 304 x\r\n\r\n"), "304 'x' none=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 304 x\r\n" TE("chunked") "\r\n"), "304 'x' none=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 204 x\r\n" CL(5) "\r\n"), "204 'x' none=0 close"},
    {METHOD_GET, TEXT("HTTP/1.1 204 x\r\n" CL(0) "\r\n"), "204 'x' none=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 204 x\r\n" TE("chunked") "\r\n"), "204 'x' none=0 close"},
    {METHOD_GET, TEXT("HTTP/1.1 100 x\r\n" CL(5) "\r\n"), "100 'x' none=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 103 x\r\nLink: y\r\n\r\n"), "103 'x' none=0 keep"},
    {METHOD_GET, TEXT("HTTP/1.1 205 x\r\n" CL(0) "\r\n"), "205 'x' length=0 said=0 keep"},
    /* CONNECT: only 2xx opens a tunnel */
    {METHOD_CONNECT, TEXT(OK1 "\r\n"), "200 'OK' tunnel=0 close"},
    {METHOD_CONNECT, TEXT(OK1 CL(5) "\r\n"), "200 'OK' tunnel=0 close"},
    {METHOD_CONNECT, TEXT(OK1 TE("chunked") "\r\n"), "200 'OK' tunnel=0 close"},
    {METHOD_CONNECT, TEXT("HTTP/1.1 403 x\r\n" CL(5) "\r\n"), "403 'x' length=5 said=5 keep"},
    /* 101 */
    {METHOD_GET, TEXT("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n"),
     "101 'x' tunnel=0 close upgrade=WebSocket"},
    {METHOD_GET, TEXT("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n"), "101 'x' tunnel=0 close"},
    {METHOD_GET, TEXT("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
     "101 'x' tunnel=0 close"},
    {METHOD_GET, TEXT("HTTP/1.0 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
     "101 'x' tunnel=0 close"},
    /* connections: 9.3 */
    {METHOD_GET, TEXT(OK1 CL(1) "Connection: close\r\n\r\n"), "200 'OK' length=1 said=1 close"},
    {METHOD_GET, TEXT(OK1 CL(1) "Connection: x, Close\r\n\r\n"), "200 'OK' length=1 said=1 close"},
    {METHOD_GET, TEXT(OK0 CL(1) "\r\n"), "200 'OK' length=1 said=1 close"},
    {METHOD_GET, TEXT(OK0 CL(1) "Connection: keep-alive\r\n\r\n"), "200 'OK' length=1 said=1 keep"},
    {METHOD_GET, TEXT(OK0 "Connection: keep-alive\r\n\r\n"), "200 'OK' close=0 close"},
    {METHOD_HEAD, TEXT(OK1 CL(1) "Connection: close\r\n\r\n"), "200 'OK' none=0 said=1 close"},
    /* what requests would be asked for */
    {METHOD_GET, TEXT(OK1 CL(1) "Host: a\r\nHost: b c\r\nExpect: x\r\n\r\n"),
     "200 'OK' length=1 said=1 keep"},
};

static void test_accepted(void **state)
{
    (void) state;
    for (size_t i = 0; i < ROWS(accepted); i++) {
        struct arena a;
        struct head h;
        struct str text = accepted[i].text;
        same_fault(parse(&h, test_arena(&a), text, accepted[i].method), FAULT_OK, text);
        same_str(story(&h, &a), accepted[i].story, "head", text);
        arena_fini(&a);
    }
}

/* Framing fields that mean nothing are gone; where they inform, they stay. */
static void test_dropped(void **state)
{
    (void) state;
    static const struct {
        uint8_t method;
        struct str text;
        bool stays;
    } rows[] = {
        {METHOD_GET, TEXT("HTTP/1.1 204 x\r\nA: b\r\n" CL(5) "\r\n"), false},
        {METHOD_GET, TEXT("HTTP/1.1 100 x\r\nA: b\r\n" CL(5) "\r\n"), false},
        {METHOD_CONNECT, TEXT("HTTP/1.1 200 x\r\nA: b\r\n" CL(5) "\r\n"), false},
        {METHOD_GET, TEXT("HTTP/1.1 304 x\r\nA: b\r\n" CL(5) "\r\n"), true},
        {METHOD_HEAD, TEXT("HTTP/1.1 200 x\r\nA: b\r\n" CL(5) "\r\n"), true},
        {METHOD_HEAD, TEXT("HTTP/1.1 103 x\r\nA: b\r\n" CL(5) "\r\n"), false},
        {METHOD_GET, TEXT("HTTP/1.1 200 x\r\nA: b\r\n" CL(5) "\r\n"), true},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        struct head h;
        same_fault(parse(&h, test_arena(&a), rows[i].text, rows[i].method), FAULT_OK, rows[i].text);
        same_number(fields_has(&h.fields, FIELD_CONTENT_LENGTH), rows[i].stays, "field",
                    rows[i].text);
        same_number(h.fields.n, rows[i].stays ? 2 : 1, "fields", rows[i].text);
        arena_fini(&a);
    }
}

static void test_limits(void **state)
{
    (void) state;
    struct arena a;
    struct head h;
    struct h1_limits small = {.head = 64, .target = 0, .fields = 2};
    test_arena(&a);
    struct str two = STR(OK1 "a: b\r\nc: d\r\n\r\n"),
               three = STR(OK1 "a: b\r\nc: d\r\ne: f\r\n\r\n");
    struct str large = STR(OK1 "a: 0123456789012345678901234567890123456789012345678\r\n\r\n");
    same_fault(h1_parse_response(&h, &a, two, METHOD_GET, &small), FAULT_OK, two);
    same_fault(h1_parse_response(&h, &a, three, METHOD_GET, &small), FAULT_UP_HEAD_LARGE, three);
    same_fault(h1_parse_response(&h, &a, large, METHOD_GET, &small), FAULT_UP_HEAD_LARGE, large);
    char options[202] = "", text[512]; /* each is "x," */
    memset(options, 'x', 201);
    for (size_t i = 1; i < 201; i += 2)
        options[i] = ',';
    small.head = sizeof text;
    for (int n = 100; n <= 101; n++) {
        snprintf(text, sizeof text, OK1 "Connection: %.*s\r\n\r\n", 2 * n - 1, options);
        same_fault(h1_parse_response(&h, &a, str_c(text), METHOD_GET, &small),
                   n > 100 ? FAULT_UP_HEAD_LARGE : FAULT_OK, str_c(text));
    }
    memset(options, ',', 100); /* empty ones take as long */
    for (int n = 99; n <= 100; n++) {
        snprintf(text, sizeof text, OK1 "Connection: x%.*s\r\n\r\n", n, options);
        same_fault(h1_parse_response(&h, &a, str_c(text), METHOD_GET, &small),
                   n > 99 ? FAULT_UP_HEAD_LARGE : FAULT_OK, str_c(text));
    }
    arena_fini(&a);
    arena_init(&a, NULL, 0);
    same_fault(h1_parse_response(&h, &a, two, METHOD_GET, &small), FAULT_MEMORY, two);
    arena_fini(&a);
}

static void test_trailers(void **state)
{
    (void) state;
    static const struct {
        struct str text;
        bool fine;
        uint32_t n;
    } rows[] = {
        {TEXT("\r\n"), true, 0},
        {TEXT("a: b\r\n\r\n"), true, 1},
        {TEXT("a:\r\nb:c\r\n\r\n"), true, 2},
        {TEXT(""), false, 0},
        {TEXT("\n"), false, 0},
        {TEXT("a: b\r\n"), false, 0},
        {TEXT("a: b\n\r\n"), false, 0},
        {TEXT("a: b\r\n c\r\n\r\n"), false, 0},
        {TEXT("a : b\r\n\r\n"), false, 0},
        {TEXT("a: b\r\n\r\nc"), false, 0},
        {TEXT("a\r\n\r\n"), false, 0},
        {TEXT("a:b\r\na:b\r\na:b\r\n\r\n"), true, 3},
        {TEXT("a:b\r\na:b\r\na:b\r\na:b\r\n\r\n"), false, 0},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct arena a;
        struct fields f;
        fields_init(&f, test_arena(&a));
        same_fault(h1_parse_fields(&f, rows[i].text, 3, FAULT_UP_CHUNK),
                   rows[i].fine ? FAULT_OK : FAULT_UP_CHUNK, rows[i].text);
        if (rows[i].fine)
            same_number(f.n, rows[i].n, "fields", rows[i].text);
        arena_fini(&a);
    }
}

static void test_status(void **state)
{
    (void) state;
    same_str(status_reason(404), "Not Found", "reason", STR("404"));
    same_str(status_reason(100), "Continue", "reason", STR("100"));
    same_str(status_reason(511), "Network Authentication Required", "reason", STR("511"));
    same_str(status_reason(418), "", "reason", STR("418"));
    same_str(status_reason(0), "", "reason", STR("0"));
    assert_true(status_bodyless(100) && status_bodyless(204) && status_bodyless(304));
    assert_false(status_bodyless(200) || status_bodyless(205) || status_bodyless(404));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_dropped),  cmocka_unit_test(test_limits),
        cmocka_unit_test(test_trailers), cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

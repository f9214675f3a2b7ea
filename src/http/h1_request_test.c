/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads, row by row: RFC 9112 sections 2, 3, 5, 6, 9.3 and 11; RFC 9110 sections 5,
 * 7.8, 10.1.1. Targets have rows of their own in url_test.c. */
#include "http/h1_parse.h"

#include "base/mem.h"
#include "http/http_test.h"

#define TEXT(lit)                                                                                  \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }
#define HOST "Host: a\r\n"

static const struct h1_limits limits = {.head = 32768, .target = 8192, .fields = 100};

/* Parses a copy that lies in a block of exactly that size, so that a sanitizer sees every byte
 * too far. */
static enum fault parse(struct head *h, struct arena *a, struct str text)
{
    struct str bytes = text.n ? mem_str(text) : text;
    assert_true(text.n == 0 || arena_on_free(a, mem_free, (void *) bytes.p));
    return h1_parse_request(h, a, bytes, STR("http"), &limits);
}

static const struct {
    struct str text;
    enum fault fault;
} refused[] = {
    /* request line: RFC 9112 3 */
    {TEXT("\r\n"), FAULT_REQ_LINE},
    {TEXT("\n"), FAULT_REQ_LINE_END},
    {TEXT("GET\r\n\r\n"), FAULT_REQ_LINE},
    {TEXT("GET \r\n\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT(" GET / HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_LINE},
    {TEXT("\tGET / HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_LINE},
    {TEXT("GET  / HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_LINE},
    {TEXT("GET /  HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_LINE},
    {TEXT("GET / HTTP/1.1 \r\n" HOST "\r\n"), FAULT_REQ_LINE},
    {TEXT("GET / HTTP/1.1\t\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET\t/ HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_METHOD},
    {TEXT("GET /\tHTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET /a b HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_LINE},
    {TEXT("GET /\x0bHTTP/1.1 HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_TARGET},
    {TEXT("G(T / HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_METHOD},
    {TEXT("G\0T / HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_METHOD},
    {TEXT("GET: / HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_METHOD},
    {TEXT("G\xc3T / HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_METHOD},
    {TEXT("\x16\x03\x01\x02\n"), FAULT_REQ_LINE},
    /* versions: 2.3, 3 */
    {TEXT("GET /\r\n\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET /\n\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / \r\n\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/0.9\r\n\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/2.0\r\n" HOST "\r\n"), FAULT_REQ_VERSION},
    {TEXT("PRI * HTTP/2.0\r\n\r\n"), FAULT_REQ_VERSION},
    {TEXT("GET / HTTP/3.0\r\n" HOST "\r\n"), FAULT_REQ_VERSION},
    {TEXT("GET / HTTP/9.9\r\n" HOST "\r\n"), FAULT_REQ_VERSION},
    {TEXT("GET / HTTP/2\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/1\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/1.\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/1.10\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/1.1x\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/01.1\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/+1.1\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/1,1\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / http/1.1\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP 1.1\r\n" HOST "\r\n"), FAULT_REQ_LINE},
    {TEXT("GET / HTTPS/1.1\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    {TEXT("GET / HTTP/1.1\0\r\n" HOST "\r\n"), FAULT_REQ_VERSION_SYNTAX},
    /* line ends: 2.2 */
    {TEXT("GET / HTTP/1.1\n" HOST "\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\nHost: a\n\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\nHost: a\n\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\nB: c\r\n\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\rB: c\r\n\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\r\r\n\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A\r: b\r\n\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A\n: b\r\n\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "\rA: b\r\n\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\r\n" HOST "\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r" HOST "\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET /\r HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_TARGET},
    {TEXT("GET\r / HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET\n/ HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "\r\nbehind\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n"), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST), FAULT_REQ_LINE_END},
    {TEXT("GET / HTTP/1.1\r\n" HOST "\r"), FAULT_REQ_LINE_END},
    {TEXT(""), FAULT_REQ_LINE_END},
    /* field lines: 5, 5.1, 5.2 */
    {TEXT("GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A\t: b\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\nHost : a\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n: b\r\n" HOST "\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A b\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A(b): c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A\0B: c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A\x01: c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A\x7f: c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "\xc3\xa9: c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "\"A\": c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A/B: c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\r\n\tc\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\r\n \r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n " HOST "\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\0c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: \0\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\x01\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\x0b"
          "c\r\n\r\n"),
     FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\x0c"
          "c\r\n\r\n"),
     FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\x1f\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\x7f\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("GET https://a/ HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_MISDIRECTED},
    {TEXT("GET ws://a/ HTTP/1.1\r\n" HOST "\r\n"), FAULT_REQ_TARGET},
    /* Host: 3.2 */
    {TEXT("GET / HTTP/1.1\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\nA: b\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET http://a/ HTTP/1.1\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\n" HOST HOST "\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\n" HOST "Host: b\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\n" HOST "A: b\r\nhOsT: b\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.0\r\n" HOST "Host: b\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET http://a/ HTTP/1.1\r\n" HOST HOST "\r\n"), FAULT_REQ_HOST},
    {TEXT("GET http://a/ HTTP/1.1\r\nHost: b c\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\nHost:\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.0\r\nHost:\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\nHost: a,b\xc3\xa9\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\nHost: a:x\r\n\r\n"), FAULT_REQ_HOST},
    {TEXT("GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"), FAULT_REQ_HOST},
    /* Content-Length: 6.2, 6.3 */
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: \r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: -0\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 0x5\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5.0\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5e0\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 1_000\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5 5\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5,\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: ,5\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5;x\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: \"5\"\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: five\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: \xd9\xa5\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775808\r\n\r\n"),
     FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n"),
     FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551621\r\n\r\n"),
     FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n"),
     FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
     FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\ncontent-length: 6\r\n\r\n"),
     FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.0\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"), FAULT_REQ_LENGTH},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\x0b\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\xa0\r\n\r\n"), FAULT_REQ_LENGTH},
    /* Transfer-Encoding with Content-Length: 6.1, 6.3 */
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
     FAULT_REQ_LENGTH_AND_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
     FAULT_REQ_LENGTH_AND_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\n"),
     FAULT_REQ_LENGTH_AND_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\nContent-Length: 5\r\n\r\n"),
     FAULT_REQ_LENGTH_AND_TE},
    {TEXT("POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
     FAULT_REQ_LENGTH_AND_TE},
    /* Transfer-Encoding: 6.1, 7 */
    {TEXT("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: ,\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunkedx\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunke\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;q=1\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked;\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: 'chunked'\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked,\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: ,chunked\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, identity\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip, chunked\r\n\r\n"),
     FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip;q=1, chunked\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked chunked\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: x chunked\r\n\r\n"), FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST
          "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
     FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST
          "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n"),
     FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST
          "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"),
     FAULT_REQ_TE},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
     FAULT_REQ_TE_UNSUPPORTED},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity, chunked\r\n\r\n"),
     FAULT_REQ_TE_UNSUPPORTED},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: a , b\t,Chunked\r\n\r\n"),
     FAULT_REQ_TE_UNSUPPORTED},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\x0b"
          "chunked\r\n\r\n"),
     FAULT_REQ_FIELD},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\x0c\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n chunked\r\n\r\n"), FAULT_REQ_FIELD},
    {TEXT("POST / HTTP/1.1\r\n" HOST "A: b\r\n Transfer-Encoding: chunked\r\n\r\n"),
     FAULT_REQ_FIELD},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\xa0\r\n\r\n"), FAULT_REQ_TE},
    /* Expect: RFC 9110 10.1.1 */
    {TEXT("POST / HTTP/1.1\r\n" HOST "Expect:\r\n\r\n"), FAULT_REQ_EXPECT},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Expect: 100\r\n\r\n"), FAULT_REQ_EXPECT},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue, x\r\n\r\n"), FAULT_REQ_EXPECT},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue, 100-continue\r\n\r\n"),
     FAULT_REQ_EXPECT},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Expect: y 100-continue\r\n\r\n"), FAULT_REQ_EXPECT},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nExpect: 100-continue\r\n\r\n"),
     FAULT_REQ_EXPECT},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Expect: 200-maybe\r\n\r\n"), FAULT_REQ_EXPECT},
};

static void test_refused(void **state)
{
    (void) state;
    for (size_t i = 0; i < ROWS(refused); i++) {
        struct arena a;
        struct head h;
        same_fault(parse(&h, test_arena(&a), refused[i].text), refused[i].fault, refused[i].text);
        arena_fini(&a);
    }
}

/* What was read, in words: method, target form, authority, host, port, path, query when there,
 * body, then the flags. */
static const char *story(const struct head *h, char *to, size_t n)
{
    static const char *const forms[] = {"origin", "absolute", "authority", "asterisk"};
    static const char *const bodies[] = {"none", "length", "chunked", "close", "tunnel"};
    size_t at = (size_t) snprintf(to, n, "%.*s %s %.*s %.*s %u %.*s", STR_ARG(h->method),
                                  forms[h->target_form], STR_ARG(h->authority), STR_ARG(h->host),
                                  h->port, STR_ARG(h->path));
    if (h->has_query)
        at += (size_t) snprintf(to + at, n - at, "?%.*s", STR_ARG(h->query));
    at += (size_t) snprintf(to + at, n - at, " %s", bodies[h->body]);
    if (h->body == BODY_LENGTH)
        at += (size_t) snprintf(to + at, n - at, "=%llu", (unsigned long long) h->length);
    snprintf(to + at, n - at, "%s%s%s%s%.*s", h->keep_alive ? " keep" : " close",
             h->expect_continue ? " expect" : "", h->te_trailers ? " trailers" : "",
             h->upgrade.n ? " upgrade=" : "", STR_ARG(h->upgrade));
    return to;
}

#define GET1 "GET / HTTP/1.1\r\n" HOST
#define GET0 "GET / HTTP/1.0\r\n"
#define PLAIN "GET origin a a 0 / none keep"

static const struct {
    struct str text;
    const char *story;
} accepted[] = {
    {TEXT(GET1 "\r\n"), PLAIN},
    {TEXT("GET / HTTP/1.1\r\nhOST:a\r\n\r\n"), PLAIN},
    {TEXT("GET / HTTP/1.1\r\nHost:\t a \t \r\n\r\n"), PLAIN},
    {TEXT("GET / HTTP/1.1\r\nHost: LocalHost:8080\r\n\r\n"),
     "GET origin localhost:8080 localhost 8080 / none keep"},
    {TEXT("GET / HTTP/1.1\r\nHost: a.\r\n\r\n"), "GET origin a. a 0 / none keep"},
    {TEXT("GET / HTTP/1.1\r\nHost: a:\r\n\r\n"), PLAIN},
    {TEXT("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"), "GET origin [::1]:80 [::1] 80 / none keep"},
    {TEXT("get / HTTP/1.1\r\n" HOST "\r\n"), "get origin a a 0 / none keep"},
    {TEXT("M-SEARCH / HTTP/1.1\r\n" HOST "\r\n"), "M-SEARCH origin a a 0 / none keep"},
    {TEXT("!#$%&'*+-.^_`|~ / HTTP/1.1\r\n" HOST "\r\n"),
     "!#$%&'*+-.^_`|~ origin a a 0 / none keep"},
    {TEXT("GET / HTTP/1.2\r\n" HOST "\r\n"), PLAIN},
    {TEXT("GET / HTTP/1.9\r\n" HOST "\r\n"), PLAIN},
    {TEXT("GET /a/../b?x=1;y HTTP/1.1\r\n" HOST "\r\n"), "GET origin a a 0 /b?x=1;y none keep"},
    {TEXT("OPTIONS * HTTP/1.1\r\n" HOST "\r\n"), "OPTIONS asterisk a a 0 * none keep"},
    {TEXT("CONNECT b:443 HTTP/1.1\r\n" HOST "\r\n"), "CONNECT authority b:443 b 443  none keep"},
    /* the target's authority replaces Host: 3.2.2 */
    {TEXT("GET http://B/x HTTP/1.1\r\n" HOST "\r\n"), "GET absolute b b 0 /x none keep"},
    {TEXT("GET HTTP://b:81 HTTP/1.1\r\n" HOST "\r\n"), "GET absolute b:81 b 81 / none keep"},
    {TEXT("GET http://b/ HTTP/1.0\r\n\r\n"), "GET absolute b b 0 / none close"},
    /* HTTP/1.0: Host is not needed, the connection closes unless asked: 9.3 */
    {TEXT(GET0 "\r\n"), "GET origin   0 / none close"},
    {TEXT(GET0 HOST "\r\n"), "GET origin a a 0 / none close"},
    {TEXT(GET0 "Connection: keep-alive\r\n\r\n"), "GET origin   0 / none keep"},
    {TEXT(GET0 "Connection: foo, Keep-Alive\r\n\r\n"), "GET origin   0 / none keep"},
    {TEXT(GET0 "Connection: keep-alive\r\nConnection: close\r\n\r\n"),
     "GET origin   0 / none close"},
    {TEXT(GET0 "Connection: close, keep-alive\r\n\r\n"), "GET origin   0 / none close"},
    {TEXT(GET0 "Proxy-Connection: keep-alive\r\n\r\n"), "GET origin   0 / none close"},
    {TEXT("POST / HTTP/1.0\r\nContent-Length: 3\r\n\r\n"), "POST origin   0 / length=3 close"},
    {TEXT(GET1 "Connection: close\r\n\r\n"), "GET origin a a 0 / none close"},
    {TEXT(GET1 "Connection: CLOSE\r\n\r\n"), "GET origin a a 0 / none close"},
    {TEXT(GET1 "Connection: x,, close ,y\r\n\r\n"), "GET origin a a 0 / none close"},
    {TEXT(GET1 "Connection: x\r\nConnection: close\r\n\r\n"), "GET origin a a 0 / none close"},
    {TEXT(GET1 "Connection:\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: keep-alive\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: closed\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: not-close\r\n\r\n"), PLAIN},
    /* bodies: 6.3 */
    {TEXT("POST / HTTP/1.1\r\n" HOST "\r\n"), "POST origin a a 0 / none keep"},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"),
     "POST origin a a 0 / length=0 keep"},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 0005\r\n\r\n"),
     "POST origin a a 0 / length=5 keep"},
    {TEXT("POST / HTTP/1.1\r\n" HOST "content-LENGTH:\t7\t\r\n\r\n"),
     "POST origin a a 0 / length=7 keep"},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 9223372036854775807\r\n\r\n"),
     "POST origin a a 0 / length=9223372036854775807 keep"},
    {TEXT("GET / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n"),
     "GET origin a a 0 / length=5 keep"},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"),
     "POST origin a a 0 / chunked keep"},
    {TEXT("POST / HTTP/1.1\r\n" HOST "transfer-encoding:\tCHUNKED \r\n\r\n"),
     "POST origin a a 0 / chunked keep"},
    {TEXT("POST / HTTP/1.1\r\n" HOST "Transfer_Encoding: x\r\nContent_Length: y\r\n\r\n"),
     "POST origin a a 0 / none keep"},
    /* Expect */
    {TEXT("POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: 100-Continue\r\n\r\n"),
     "POST origin a a 0 / length=1 keep expect"},
    {TEXT("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"),
     "POST origin   0 / length=1 close"},
    {TEXT("POST / HTTP/1.0\r\nExpect: whatever\r\n\r\n"), "POST origin   0 / none close"},
    /* TE: RFC 9110 10.1.4 */
    {TEXT(GET1 "TE: trailers\r\n\r\n"), PLAIN " trailers"},
    {TEXT(GET1 "TE: gzip;q=0.5, Trailers\r\n\r\n"), PLAIN " trailers"},
    {TEXT(GET1 "TE: gzip\r\nTE: trailers\r\n\r\n"), PLAIN " trailers"},
    {TEXT(GET1 "TE: xtrailers\r\n\r\n"), PLAIN},
    /* Upgrade: RFC 9110 7.8 */
    {TEXT(GET1 "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), PLAIN " upgrade=websocket"},
    {TEXT(GET1 "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n\r\n"),
     PLAIN " upgrade=WebSocket"},
    {TEXT(GET1 "Connection: upgrade\r\nUpgrade: foo/1.0\r\n\r\n"), PLAIN " upgrade=foo/1.0"},
    {TEXT(GET1 "Upgrade: websocket\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade\r\nUpgrade:\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade\r\nUpgrade: a, b\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade\r\nUpgrade: a/\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade\r\nUpgrade: /1\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade\r\nUpgrade: \xc3\xa9\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"), PLAIN},
    {TEXT(GET1 "Connection: Upgrade\r\nUpgrade: H2C\r\n\r\n"), PLAIN},
    {TEXT(GET0 "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"), "GET origin   0 / none close"},
    /* field values keep what RFC 9110 5.5 allows */
    {TEXT(GET1 "A: b\tc \x80\xff \"(),/:;<=>?@[\\]{}\r\n\r\n"), PLAIN},
    {TEXT(GET1 "A:\r\nB: \t\r\n!#$%&'*+-.^_`|~: x\r\n\r\n"), PLAIN},
};

static void test_accepted(void **state)
{
    (void) state;
    char text[512];
    for (size_t i = 0; i < ROWS(accepted); i++) {
        struct arena a;
        struct head h;
        same_fault(parse(&h, test_arena(&a), accepted[i].text), FAULT_OK, accepted[i].text);
        same_str(str_c(story(&h, text, sizeof(text))), accepted[i].story, "head", accepted[i].text);
        arena_fini(&a);
    }
}

/* Names, values and order are what was sent, trimmed; Host says what the target says. */
static void test_fields(void **state)
{
    (void) state;
    struct arena a;
    struct head h;
    struct str text = STR("GET http://Other:1/ HTTP/1.1\r\nX-a:  1\t\r\nHOST: Example.com\r\n"
                          "x-A: 2 3\r\nCookie:\r\n\r\n");
    same_fault(parse(&h, test_arena(&a), text), FAULT_OK, text);
    static const char *const want[][2] = {
        {"X-a", "1"}, {"HOST", "other:1"}, {"x-A", "2 3"}, {"Cookie", ""}};
    assert_int_equal(h.fields.n, ROWS(want));
    for (uint32_t i = 0; i < h.fields.n; i++) {
        same_str(h.fields.v[i].name, want[i][0], "name", text);
        same_str(h.fields.v[i].value, want[i][1], "value", text);
    }
    assert_true(h.fields.present == (1 | FIELD_BIT(HOST) | FIELD_BIT(COOKIE)));
    same_str(h.scheme, "http", "scheme", text);
    assert_int_equal(h.major, 1);
    assert_int_equal(h.minor, 1);
    arena_fini(&a);
}

static void test_methods(void **state)
{
    (void) state;
    static const struct {
        const char *name;
        enum method id;
        bool safe, idempotent;
    } rows[] = {
        {"GET", METHOD_GET, true, true},           {"HEAD", METHOD_HEAD, true, true},
        {"POST", METHOD_POST, false, false},       {"PUT", METHOD_PUT, false, true},
        {"DELETE", METHOD_DELETE, false, true},    {"PATCH", METHOD_PATCH, false, false},
        {"OPTIONS", METHOD_OPTIONS, true, true},   {"TRACE", METHOD_TRACE, true, true},
        {"CONNECT", METHOD_CONNECT, false, false}, {"get", METHOD_OTHER, false, false},
        {"GETS", METHOD_OTHER, false, false},      {"", METHOD_OTHER, false, false},
        {"QUERY", METHOD_OTHER, false, false},     {"PRI", METHOD_OTHER, false, false},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct str name = str_c(rows[i].name);
        same_number(method_id(name), rows[i].id, "method", name);
        same_number(method_safe((uint8_t) rows[i].id), rows[i].safe, "safe", name);
        same_number(method_idempotent((uint8_t) rows[i].id), rows[i].idempotent, "idempotent",
                    name);
    }
}

static size_t put(char *to, const char *text)
{
    memcpy(to, text, strlen(text));
    return strlen(text);
}

/* A head of fields lines, with a target of target bytes. */
static struct str build(struct arena *a, size_t target, unsigned fields)
{
    char *text = arena_alloc(a, target + fields * 16 + 64);
    size_t n = put(text, "GET /");
    memset(text + n, 'a', target - 1);
    n += target - 1;
    n += put(text + n, " HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 1; i < fields; i++)
        n += put(text + n, "x: y\r\n");
    n += put(text + n, "\r\n");
    return str_of(text, n);
}

static void test_limits(void **state)
{
    (void) state;
    struct arena a;
    struct head h;
    test_arena(&a);
    same_fault(parse(&h, &a, build(&a, 8192, 100)), FAULT_OK, STR("at the limits"));
    assert_int_equal(h.fields.n, 100);
    same_fault(parse(&h, &a, build(&a, 8193, 1)), FAULT_REQ_TARGET_LONG, STR("target"));
    same_fault(parse(&h, &a, build(&a, 1, 101)), FAULT_REQ_HEAD_LARGE, STR("fields"));
    same_fault(parse(&h, &a, build(&a, 1, 6000)), FAULT_REQ_HEAD_LARGE, STR("head"));
    same_fault(parse(&h, &a, build(&a, 33000, 1)), FAULT_REQ_TARGET_LONG, STR("both"));
    struct str part = build(&a, 40000, 1);
    same_fault(h1_head_overflow(str_sub(part, 0, 32768), &limits), FAULT_REQ_TARGET_LONG, part);
    same_fault(h1_head_overflow(str_sub(build(&a, 9, 9000), 0, 32768), &limits),
               FAULT_REQ_HEAD_LARGE, part);
    same_fault(h1_head_overflow(STR("GETTTTTTTTT"), &limits), FAULT_REQ_HEAD_LARGE, part);
    same_fault(h1_head_overflow(STR(""), &limits), FAULT_REQ_HEAD_LARGE, part);
    arena_fini(&a);
}

/* Every door to memory may refuse; the answer is MEMORY. */
static void test_memory(void **state)
{
    (void) state;
    struct str text = STR("GET /%7e HTTP/1.1\r\nHost: A\r\nx: y\r\n\r\n");
    struct head h;
    int refused_times = 0;
    for (size_t max = 0; max < 20000; max += 64) {
        struct arena a;
        arena_init(&a, NULL, max);
        enum fault f = h1_parse_request(&h, &a, text, STR("http"), &limits);
        assert_true(f == FAULT_OK || f == FAULT_MEMORY);
        refused_times += f == FAULT_MEMORY;
        arena_fini(&a);
    }
    assert_true(refused_times > 0);
}

/* A head that can become nothing good is known before it is complete; one that can is not. */
static void test_early(void **state)
{
    (void) state;
    static const struct {
        struct str text;
        enum fault fault;
    } rows[] = {
        {TEXT(""), FAULT_OK},
        {TEXT("\r"), FAULT_OK},
        {TEXT("GET"), FAULT_OK},
        {TEXT("GET / HTTP/1.1\r"), FAULT_OK},
        {TEXT("GET / HTTP/1.1\r\n"), FAULT_OK},
        {TEXT("GET / HTTP/1.0\r\nHost: a\r\n\r"), FAULT_OK},
        {TEXT("GET /\r\n"), FAULT_REQ_VERSION_SYNTAX},
        {TEXT("GET /\n"), FAULT_REQ_LINE_END},
        {TEXT("GET / HTTP/1.1\n"), FAULT_REQ_LINE_END},
        {TEXT("GET / HTTP/2.0\r\n"), FAULT_REQ_VERSION},
        {TEXT("PRI * HTTP/2.0\r\n"), FAULT_REQ_VERSION},
        {TEXT("GET\r\n"), FAULT_REQ_LINE},
        {TEXT("\x16\x03\x01"), FAULT_REQ_LINE},
        {TEXT(" GET"), FAULT_REQ_LINE},
    };
    for (size_t i = 0; i < ROWS(rows); i++)
        same_fault(h1_request_early(rows[i].text), rows[i].fault, rows[i].text);
    for (size_t i = 0; i < ROWS(accepted); i++)
        for (size_t n = 0; n <= accepted[i].text.n; n++)
            same_fault(h1_request_early(str_of(accepted[i].text.p, n)), FAULT_OK, accepted[i].text);
    same_fault(h1_response_early(STR("")), FAULT_OK, STR(""));
    same_fault(h1_response_early(STR("HTTP")), FAULT_OK, STR(""));
    same_fault(h1_response_early(STR("HTTP/1.1 200")), FAULT_OK, STR(""));
    same_fault(h1_response_early(STR("h")), FAULT_UP_HEAD, STR(""));
    same_fault(h1_response_early(STR("HTTP/2 200")), FAULT_UP_HEAD, STR(""));
    same_fault(h1_response_early(STR("220 smtp")), FAULT_UP_HEAD, STR(""));
}

static void test_head_end(void **state)
{
    (void) state;
    static const struct {
        struct str text;
        size_t skip, n;
    } rows[] = {
        {TEXT(""), 0, 0},
        {TEXT("\r"), 0, 0},
        {TEXT("\r\n"), 2, 0},
        {TEXT("\n"), 0, 1},
        {TEXT("GET / HTTP/1.1\r\n"), 0, 0},
        {TEXT("GET / HTTP/1.1\r\n\r"), 0, 0},
        {TEXT("A\r\n\r\n"), 0, 5},
        {TEXT("A\r\n\r\nB\r\n\r\n"), 0, 5},
        {TEXT("A\n\n"), 0, 3},
        {TEXT("A\n\r\n"), 0, 4},
        {TEXT("A\r\n\n"), 0, 4},
        {TEXT("A\r\nB\r\n\r\nC"), 0, 8},
        {TEXT("\r\n\r\nA\r\n\r\n"), 4, 5},
        {TEXT("\r\n\r\n\r\n\r\nA\r\n\r\n"), 8, 5},
        {TEXT("\r\n\r\n\r\n\r\n\r\nA\r\n\r\n"), 8, 2},
        {TEXT("\r\n\nA\r\n\r\n"), 2, 1},
        {TEXT("\r\rA\r\n\r\n"), 0, 7},
        {TEXT("A\r\n\r\r\n\r\n"), 0, 8},
        {TEXT("A\r\n \r\n\r\n"), 0, 8},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct str s = rows[i].text;
        size_t scan = 0, skip = 9;
        same_number(h1_head_end(s.p, s.n, &scan, &skip), rows[i].n, "whole", s);
        same_number(skip, rows[i].skip, "skip", s);
        /* Byte by byte it is found at the same place. */
        size_t found = 0, n = 0;
        scan = 0;
        while (n <= s.n && !(found = h1_head_end(s.p, n, &scan, &skip)))
            n++;
        same_number(found, rows[i].n, "bytewise", s);
        if (found)
            same_number(n, skip + found, "as soon as complete", s);
    }
    size_t scan = 0;
    assert_int_equal(h1_head_end("\r\nA", 3, &scan, NULL), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused), cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_fields),  cmocka_unit_test(test_methods),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_memory),
        cmocka_unit_test(test_early),   cmocka_unit_test(test_head_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

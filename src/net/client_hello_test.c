/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos, well-formed and not, in records and segments of any size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/client_hello.h"

/* A message being built. */
struct build {
    char bytes[70000];
    size_t n;
};

static void put(struct build *b, const char *bytes, size_t n)
{
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static void put_number(struct build *b, size_t v, unsigned width)
{
    for (unsigned i = width; i-- > 0;)
        b->bytes[b->n++] = (char) (v >> (8 * i));
}

/* An extension with that body. */
static void put_extension(struct build *b, unsigned type, const char *body, size_t n)
{
    put_number(b, type, 2);
    put_number(b, n, 2);
    put(b, body, n);
}

static void put_sni(struct build *b, const char *name)
{
    struct build body = {.n = 0};
    size_t n = strlen(name);
    put_number(&body, n + 3, 2);
    put_number(&body, 0, 1);
    put_number(&body, n, 2);
    put(&body, name, n);
    put_extension(b, 0, body.bytes, body.n);
}

#define PUT_EXTENSION(b, type, literal) put_extension(b, type, literal, sizeof(literal) - 1)

/* The hello with those extensions (NULL: none at all), in records of at most piece bytes. */
static void finish(struct build *out, const struct build *extensions, size_t piece)
{
    struct build m = {.n = 0};
    size_t body = 2 + 32 + 1 + 2 + 4 + 2 + (extensions ? 2 + extensions->n : 0);
    put_number(&m, 1, 1);
    put_number(&m, body, 3);
    put_number(&m, 0x0303, 2);
    for (int i = 0; i < 32; i++)
        put_number(&m, (size_t) i, 1);
    put_number(&m, 0, 1);
    put(&m, "\0\4\x13\1\x13\2\1\0", 8);
    if (extensions) {
        put_number(&m, extensions->n, 2);
        put(&m, extensions->bytes, extensions->n);
    }
    out->n = 0;
    for (size_t at = 0; at < m.n; at += piece) {
        size_t n = m.n - at < piece ? m.n - at : piece;
        put(out, "\x16\3\1", 3);
        put_number(out, n, 2);
        put(out, m.bytes + at, n);
    }
}

/* The answer, which no cut of the bytes may change or give too early. */
static enum hello_verdict parse(const struct build *b, struct client_hello *h)
{
    struct client_hello part;
    struct str all = str_of(b->bytes, b->n);
    enum hello_verdict v = client_hello_parse(all, h);
    for (size_t i = 0; i < b->n && i < 600; i++) {
        enum hello_verdict early = client_hello_parse(str_sub(all, 0, i), &part);
        assert_true(early == HELLO_MORE || early == v);
        assert_true(early != HELLO_WHOLE);
    }
    return v;
}

static void reads_what_matters(void **state)
{
    (void) state;
    struct build e = {.n = 0}, b;
    struct client_hello h;
    PUT_EXTENSION(&e, 10, "\0\2\0\x1d");
    put_sni(&e, "Shop.Example");
    PUT_EXTENSION(&e, 16, "\0\x0c\2h2\x08http/1.1");
    PUT_EXTENSION(&e, 43, "\6\x3a\x3a\3\4\3\3");
    static const size_t pieces[] = {16384, 100, 7, 3, 1};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        finish(&b, &e, pieces[i]);
        assert_int_equal(parse(&b, &h), HELLO_WHOLE);
        assert_true(str_eq(str_of(h.sni, h.sni_n), STR("shop.example")));
        struct str alpn = str_of(h.alpn, h.alpn_n);
        assert_true(client_hello_offers(alpn, STR("h2")));
        assert_true(client_hello_offers(alpn, STR("http/1.1")));
        assert_false(client_hello_offers(alpn, STR("http/1")));
        assert_false(client_hello_offers(alpn, STR("")));
        assert_int_equal(h.version, 0x0304);
        put(&b, "\x17\3\3", 3); /* what follows in other records does not count */
        assert_int_equal(client_hello_parse(str_of(b.bytes, b.n), &h), HELLO_WHOLE);
    }
}

static void reads_little(void **state)
{
    (void) state;
    struct build e = {.n = 0}, b;
    struct client_hello h;
    finish(&b, NULL, 16384);
    assert_int_equal(parse(&b, &h), HELLO_WHOLE);
    assert_true(h.sni_n == 0 && h.alpn_n == 0 && h.version == 0x0303);
    finish(&b, &e, 16384);
    assert_int_equal(parse(&b, &h), HELLO_WHOLE);
    assert_true(h.sni_n == 0);
}

static void judges_names(void **state)
{
    (void) state;
    char lengthy[300];
    struct client_hello h;
    struct build b;
    static const char *const good[] = {
        "a", "a.b", "x_1.example-2.com", "example.com.", "1.2.3.4", "xn--bcher-kva.example"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct build e = {.n = 0};
        put_sni(&e, good[i]);
        finish(&b, &e, 16384);
        assert_int_equal(parse(&b, &h), HELLO_WHOLE);
        assert_true(h.sni_n > 0 && h.sni[h.sni_n - 1] != '.');
    }
    const char *const bad[] = {"",     ".",        "a..b", ".a",    "a b",   "a/b", "*.example",
                               "a\nb", "\xc3\xa9", "::1",  "[::1]", "a:443", "a..", lengthy};
    memset(lengthy, 'a', sizeof lengthy - 1);
    lengthy[sizeof lengthy - 1] = '\0';
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct build e = {.n = 0};
        put_sni(&e, bad[i]);
        finish(&b, &e, 16384);
        assert_int_equal(parse(&b, &h), HELLO_INVALID);
    }
}

static void refuses_the_malformed(void **state)
{
    (void) state;
    struct client_hello h;
    struct build b;
    static const struct {
        unsigned type;
        const char *body;
        size_t n;
    } bad[] = {
        {0, "", 0},
        {0, "\0\0", 2},
        {0, "\0\5\1\0\2ab", 7},            /* another kind of name */
        {0, "\0\5\0\0\3ab", 7},            /* a name that does not fit */
        {0, "\0\x0a\0\0\2ab\0\0\2cd", 12}, /* two names */
        {0, "\0\5\0\0\2ab\0", 8},          /* something behind the list */
        {0, "\0\6\0\0\3a\0b", 8},          /* a NUL in the name */
        {0, "\0\5\0\0\2a\0", 7},           /* and at its end */
        {16, "\0\0", 2},                   /* no protocol */
        {16, "\0\1\0", 3},                 /* an empty one */
        {16, "\0\3\3h2", 5},               /* one that does not fit */
        {16, "\0\3\2h2x", 6},              /* something behind */
        {43, "\0", 1},                     /* no version */
        {43, "\3\3\4\3", 4},               /* half a version */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct build e = {.n = 0};
        put_extension(&e, bad[i].type, bad[i].body, bad[i].n);
        finish(&b, &e, 16384);
        assert_int_equal(parse(&b, &h), HELLO_INVALID);
    }
    struct build twice = {.n = 0};
    put_sni(&twice, "a");
    put_sni(&twice, "b");
    finish(&b, &twice, 16384);
    assert_int_equal(parse(&b, &h), HELLO_INVALID);
    struct build cut = {.n = 0};
    put_number(&cut, 5, 2); /* a type and no length */
    finish(&b, &cut, 16384);
    assert_int_equal(parse(&b, &h), HELLO_INVALID);
}

static void tells_other_things(void **state)
{
    (void) state;
    struct client_hello h;
    static const struct {
        const char *bytes;
        size_t n;
        enum hello_verdict v;
    } other[] = {
        {"GET / HTTP/1.1\r\n", 16, HELLO_NOT_TLS},
        {"\x80\x2e\1\3\1", 5, HELLO_NOT_TLS}, /* SSL 2 */
        {"\x16\2", 2, HELLO_NOT_TLS},
        {"\x17\3\3\0\1x", 6, HELLO_NOT_TLS},
        {"\x16\3\1\0\0", 5, HELLO_INVALID},                    /* an empty record (5.1) */
        {"\x16\3\1\x40\1", 5, HELLO_INVALID},                  /* one that is too long */
        {"\x16\3\1\0\4\2\0\0\0", 9, HELLO_INVALID},            /* a ServerHello */
        {"\x16\3\1\0\1\1\x15\3\1\0\2\2\0", 13, HELLO_INVALID}, /* an alert in between */
        {"\x16\3\1\0\5\1\0\0\0x", 10, HELLO_INVALID},          /* more than the hello */
        {"\x16\3\1\0\4\1\0\0\0", 9, HELLO_INVALID},            /* nothing in it */
        {"\x16\3\1\0\4\1\1\0\0", 9, HELLO_TOO_LARGE},          /* 64 KiB are promised */
        {"\x16\3\1\0\4\1\0\x40\0", 9, HELLO_TOO_LARGE},
    };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        enum hello_verdict v = client_hello_parse(str_of(other[i].bytes, other[i].n), &h);
        assert_int_equal(v, other[i].v);
    }
    assert_int_equal(client_hello_parse(STR(""), &h), HELLO_MORE);
}

/* Just within the bound, just beyond it, and beyond it by the headers of many records. */
static void keeps_its_bound(void **state)
{
    (void) state;
    static char padding[65000];
    struct client_hello h;
    static struct build e, b;
    const size_t around = 5 + 4 + 2 + 32 + 1 + 2 + 4 + 2 + 2 + 4;
    for (int more = 0; more < 2; more++) {
        e.n = 0;
        put_extension(&e, 21, padding, CLIENT_HELLO_MAX - around + (size_t) more);
        finish(&b, &e, 16384);
        assert_int_equal(client_hello_parse(str_of(b.bytes, b.n), &h),
                         more ? HELLO_TOO_LARGE : HELLO_WHOLE);
    }
    e.n = 0;
    put_extension(&e, 21, padding, 8000);
    finish(&b, &e, 1);
    assert_int_equal(client_hello_parse(str_of(b.bytes, b.n), &h), HELLO_TOO_LARGE);
    assert_int_equal(client_hello_parse(str_of(b.bytes, CLIENT_HELLO_MAX - 1), &h), HELLO_MORE);
    e.n = 0;
    put_extension(&e, 21, padding, 60000);
    finish(&b, &e, 16384);
    assert_int_equal(client_hello_parse(str_of(b.bytes, 9), &h), HELLO_TOO_LARGE);
    /* A list of protocols longer than what is kept. */
    char list[2 + 1000];
    for (int i = 0; i < 100; i++)
        memcpy(list + 2 + 10 * i,
               (const char[]){9, '0', '0', '0', '0', '0', '0', '0', (char) ('0' + i / 10),
                              (char) ('0' + i % 10)},
               10);
    list[0] = (char) (1000 >> 8);
    list[1] = (char) (1000 & 255);
    e.n = 0;
    put_extension(&e, 16, list, sizeof list);
    finish(&b, &e, 16384);
    assert_int_equal(client_hello_parse(str_of(b.bytes, b.n), &h), HELLO_WHOLE);
    assert_true(h.alpn_n == 250 && client_hello_offers(str_of(h.alpn, h.alpn_n), STR("000000024")));
}

static void writes_alerts(void **state)
{
    (void) state;
    char out[TLS_ALERT_BYTES];
    tls_alert_write(TLS_ALERT_UNRECOGNIZED_NAME, out);
    assert_memory_equal(out, "\x15\3\1\0\2\2\x70", TLS_ALERT_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_matters), cmocka_unit_test(reads_little),
        cmocka_unit_test(judges_names),       cmocka_unit_test(refuses_the_malformed),
        cmocka_unit_test(tells_other_things), cmocka_unit_test(keeps_its_bound),
        cmocka_unit_test(writes_alerts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

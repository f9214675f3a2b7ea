/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY protocol headers, both versions, both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/proxy_protocol.h"

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define BYTES(literal) str_of(literal, sizeof(literal) - 1)
/* 192.0.2.1:56324 to 198.51.100.2:443 */
#define INET_ADDRESSES "\xc0\x00\x02\x01\xc6\x33\x64\x02\xdc\x04\x01\xbb"

static enum proxy_verdict parse(struct str bytes, struct proxy_header *h, size_t *used)
{
    /* However the bytes are cut, the answer is the same, and none comes too early. */
    size_t part_used;
    enum proxy_verdict all = proxy_parse(bytes, h, used);
    for (size_t i = 0; i < bytes.n; i++) {
        struct proxy_header part;
        enum proxy_verdict v = proxy_parse(str_sub(bytes, 0, i), &part, &part_used);
        assert_true(v == PROXY_MORE || v == all);
        if (v == PROXY_WHOLE)
            assert_true(part_used == *used && i >= *used);
    }
    return all;
}

static void assert_ip(struct ip ip, const char *text)
{
    char out[46];
    ip_print(ip, out);
    assert_string_equal(out, text);
}

static void reads_version_1(void **state)
{
    (void) state;
    struct proxy_header h;
    size_t used;
    struct str line = STR("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n");
    assert_int_equal(
        parse(STR("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET / HTTP/1.1\r\n"), &h, &used),
        PROXY_WHOLE);
    assert_true(h.told && h.version == 1 && used == line.n);
    assert_ip(h.source, "192.0.2.1");
    assert_ip(h.destination, "198.51.100.2");
    assert_true(h.source_port == 56324 && h.destination_port == 443);
    assert_int_equal(parse(STR("PROXY TCP6 2001:db8::1 ::1 0 65535\r\n"), &h, &used), PROXY_WHOLE);
    assert_ip(h.source, "2001:db8::1");
    assert_int_equal(parse(STR("PROXY UNKNOWN\r\n"), &h, &used), PROXY_WHOLE);
    assert_false(h.told);
    assert_int_equal(
        parse(STR("PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n"), &h,
              &used),
        PROXY_WHOLE);
    assert_false(h.told);
}

static void refuses_version_1(void **state)
{
    (void) state;
    static const char *const bad[] = {
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
        "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
        "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        "PROXY TCP6 [::1] ::1 1 2\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 1 "
        "2\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r"
        "\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r\r"
        "\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct proxy_header h;
        size_t used;
        assert_int_equal(parse(str_c(bad[i]), &h, &used), PROXY_INVALID);
    }
    char lengthy[PROXY_V1_MAX + 8];
    memset(lengthy, 'x', sizeof lengthy);
    memcpy(lengthy, "PROXY UNKNOWN ", 14);
    struct proxy_header h;
    size_t used;
    assert_int_equal(parse(str_of(lengthy, sizeof lengthy), &h, &used), PROXY_INVALID);
}

static void tells_what_is_missing(void **state)
{
    (void) state;
    static const char *const other[] = {
        "GET / HTTP/1.1\r\n", "P\r\n",        "PROXY\tTCP4", "proxy TCP4",
        "\r\n\r\nGET /",      "\x16\x03\x01", "\r\nGET",     "\r\n\r\n\r\nQUIT"};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
        struct proxy_header h;
        size_t used;
        assert_int_equal(parse(str_c(other[i]), &h, &used), PROXY_MISSING);
    }
    struct proxy_header h;
    size_t used;
    assert_int_equal(parse(STR(""), &h, &used), PROXY_MORE);
    assert_int_equal(parse(STR("\r"), &h, &used), PROXY_MORE);
    assert_int_equal(parse(STR("PROX"), &h, &used), PROXY_MORE);
}

static void reads_version_2(void **state)
{
    (void) state;
    struct proxy_header h;
    size_t used;
    struct str v4 = BYTES(SIGNATURE "\x21\x11\x00\x0c" INET_ADDRESSES "rest");
    assert_int_equal(parse(v4, &h, &used), PROXY_WHOLE);
    assert_true(h.told && h.version == 2 && used == 28);
    assert_ip(h.source, "192.0.2.1");
    assert_ip(h.destination, "198.51.100.2");
    assert_true(h.source_port == 56324 && h.destination_port == 443);
    struct str local = BYTES(SIGNATURE "\x20\x00\x00\x00");
    assert_int_equal(parse(local, &h, &used), PROXY_WHOLE);
    assert_true(!h.told && used == 16);
    /* LOCAL: whatever stands in the block is discarded. */
    local = BYTES(SIGNATURE "\x20\x77\x00\x03"
                            "abc");
    assert_int_equal(parse(local, &h, &used), PROXY_WHOLE);
    assert_true(!h.told && used == 19);
    /* Datagrams, and no family, tell nothing. */
    assert_int_equal(parse(BYTES(SIGNATURE "\x21\x12\x00\x0c" INET_ADDRESSES), &h, &used),
                     PROXY_WHOLE);
    assert_false(h.told);
    assert_int_equal(parse(BYTES(SIGNATURE "\x21\x00\x00\x00"), &h, &used), PROXY_WHOLE);
    assert_false(h.told);
    char unix_header[16 + 216] = SIGNATURE "\x21\x31\x00\xd8";
    assert_int_equal(parse(str_of(unix_header, sizeof unix_header), &h, &used), PROXY_WHOLE);
    assert_true(!h.told && used == sizeof unix_header);
}

static void reads_tlvs(void **state)
{
    (void) state;
    struct proxy_header h;
    size_t used;
    struct str with = BYTES(SIGNATURE "\x21\x11\x00\x3d" INET_ADDRESSES "\x01\x00\x02h2"
                                      "\x02\x00\x0b"
                                      "example.org"
                                      "\x04\x00\x01\x00"
                                      "\x05\x00\x02\xff\x00"
                                      "\xee\x00\x00"
                                      "\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3");
    assert_int_equal(parse(with, &h, &used), PROXY_WHOLE);
    assert_true(used == with.n);
    assert_true(str_eq(h.alpn, STR("h2")));
    assert_true(str_eq(h.authority, STR("example.org")));
    assert_true(str_eq(h.unique_id, BYTES("\xff\x00")));
    assert_true(h.ssl.given && h.ssl.client == PROXY_SSL_TLS && h.ssl.verify == 0);
    assert_true(str_eq(h.ssl.version, STR("TLSv1.3")));
    assert_int_equal(h.ssl.cn.n, 0);
}

static void refuses_version_2(void **state)
{
    (void) state;
    static const struct {
        const char *bytes;
        size_t n;
    } bad[] = {
#define BAD(text) {SIGNATURE text, sizeof(SIGNATURE text) - 1}
        BAD("\x11\x11\x00\x0c" INET_ADDRESSES),                /* version 1 in here */
        BAD("\x31\x11\x00\x0c" INET_ADDRESSES),                /* version 3 */
        BAD("\x22\x11\x00\x0c" INET_ADDRESSES),                /* no such command */
        BAD("\x21\x41\x00\x0c" INET_ADDRESSES),                /* no such family */
        BAD("\x21\x13\x00\x0c" INET_ADDRESSES),                /* no such transport */
        BAD("\x21\x11\x00\x0b" INET_ADDRESSES),                /* addresses cut */
        BAD("\x21\x21\x00\x0c" INET_ADDRESSES),                /* IPv6 needs 36 bytes */
        BAD("\x21\x11\x00\x0e" INET_ADDRESSES "\x04\x00"),     /* half a TLV */
        BAD("\x21\x11\x00\x0f" INET_ADDRESSES "\x04\x00\x01"), /* a TLV that does not fit */
        BAD("\x21\x11\x00\x14" INET_ADDRESSES "\x02\x00\x01"
            "a\x02\x00\x01"
            "b"), /* two authorities */
        BAD("\x21\x11\x00\x12" INET_ADDRESSES "\x03\x00\x03"
            "abc"), /* a sum of 3 bytes */
        BAD("\x21\x11\x00\x13" INET_ADDRESSES "\x03\x00\x04\x00\x00\x00\x00"), /* a wrong sum */
        BAD("\x21\x11\x00\x13" INET_ADDRESSES "\x20\x00\x04\x00\x00\x00\x00"), /* too short */
        BAD("\x21\x11\x00\x16" INET_ADDRESSES "\x20\x00\x07\x01\x00\x00\x00\x00\x21\x00"),
        BAD("\x21\x11\xff\xff" INET_ADDRESSES), /* longer than any that is meant */
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct proxy_header h;
        size_t used;
        assert_int_equal(parse(str_of(bad[i].bytes, bad[i].n), &h, &used), PROXY_INVALID);
    }
}

/* What is written is read as the same, and a flipped bit is noticed. */
static void writes_what_it_reads(void **state)
{
    (void) state;
    struct proxy_header h = {.told = true, .source_port = 1, .destination_port = 65535}, again;
    char out[PROXY_HEADER_MAX];
    size_t used;
    assert_true(ip_parse(STR("192.0.2.1"), &h.source));
    assert_true(ip_parse(STR("2001:db8::2"), &h.destination));
    for (h.version = 1; h.version <= 2; h.version++) {
        size_t n = proxy_write(&h, out);
        assert_int_equal(parse(str_of(out, n), &again, &used), PROXY_WHOLE);
        assert_true(used == n && again.told && again.version == h.version);
        assert_memory_equal(&again.source, &h.source, sizeof h.source);
        assert_memory_equal(&again.destination, &h.destination, sizeof h.destination);
        assert_true(again.source_port == 1 && again.destination_port == 65535);
    }
    h.version = 2;
    h.destination = h.source;
    h.authority = STR("example.org");
    h.unique_id = STR("id-1");
    h.alpn = STR("http/1.1");
    h.ssl = (struct proxy_ssl){.given = true,
                               .client = PROXY_SSL_TLS | PROXY_SSL_CERT_SESS,
                               .verify = 7,
                               .version = STR("TLSv1.2"),
                               .cn = STR("someone")};
    size_t n = proxy_write(&h, out);
    assert_int_equal(parse(str_of(out, n), &again, &used), PROXY_WHOLE);
    assert_true(str_eq(again.authority, h.authority) && str_eq(again.unique_id, h.unique_id));
    assert_true(str_eq(again.alpn, h.alpn) && str_eq(again.ssl.version, h.ssl.version));
    assert_true(str_eq(again.ssl.cn, h.ssl.cn) && again.ssl.cipher.n == 0);
    assert_true(again.ssl.client == h.ssl.client && again.ssl.verify == 7);
    for (size_t i = 16; i < n; i++) {
        out[i] = (char) (out[i] ^ 1);
        enum proxy_verdict v = proxy_parse(str_of(out, n), &again, &used);
        /* What makes the sum a TLV of another type is not noticed: then there is no sum. */
        assert_true(v == PROXY_INVALID || i == n - 7);
        out[i] = (char) (out[i] ^ 1);
    }
}

static void writes_for_itself(void **state)
{
    (void) state;
    struct proxy_header h = {.version = 1}, again;
    char out[PROXY_HEADER_MAX];
    size_t used;
    assert_true(str_eq(str_of(out, proxy_write(&h, out)), STR("PROXY UNKNOWN\r\n")));
    h.version = 2;
    size_t n = proxy_write(&h, out);
    assert_int_equal(n, 16);
    assert_int_equal(parse(str_of(out, n), &again, &used), PROXY_WHOLE);
    assert_false(again.told);
}

static void sums(void **state)
{
    (void) state;
    char bytes[32] = {0};
    assert_int_equal(crc32c(0, STR("123456789")), 0xe3069283);
    assert_int_equal(crc32c(0, str_of(bytes, 32)), 0x8a9136aa); /* RFC 3720 B.4 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_version_1),
        cmocka_unit_test(refuses_version_1),
        cmocka_unit_test(tells_what_is_missing),
        cmocka_unit_test(reads_version_2),
        cmocka_unit_test(reads_tlvs),
        cmocka_unit_test(refuses_version_2),
        cmocka_unit_test(writes_what_it_reads),
        cmocka_unit_test(writes_for_itself),
        cmocka_unit_test(sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

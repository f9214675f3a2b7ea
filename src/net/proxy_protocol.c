/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_protocol.c: see proxy_protocol.h. Numbers in parentheses are sections of HAProxy's
 * proxy-protocol.txt. */
#include "net/proxy_protocol.h"

#include <stdio.h>

#include "base/panic.h"

#define V2_FIXED 16u /* signature, version and command, family, length */
#define V2_INET 12u
#define V2_INET6 36u
#define V2_UNIX 216u
#define TLV_TEXT_MAX 255u

static const char v2_signature[12] = "\r\n\r\n\0\r\nQUIT\n";

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_UNSPEC = 0, FAMILY_INET = 1, FAMILY_INET6 = 2, FAMILY_UNIX = 3 };
enum { TRANSPORT_UNSPEC = 0, TRANSPORT_STREAM = 1, TRANSPORT_DGRAM = 2 };

/* Types of TLVs (2.2). */
enum {
    TLV_ALPN = 0x01,
    TLV_AUTHORITY = 0x02,
    TLV_CRC32C = 0x03,
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22,
    TLV_SSL_CIPHER = 0x23,
};

uint32_t crc32c(uint32_t crc, struct str bytes)
{
    crc = ~crc;
    for (size_t i = 0; i < bytes.n; i++) {
        crc ^= (uint8_t) bytes.p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & (0u - (crc & 1)));
    }
    return ~crc;
}

static uint16_t get16(const char *p)
{
    return (uint16_t) ((uint8_t) p[0] << 8 | (uint8_t) p[1]);
}

static uint32_t get32(const char *p)
{
    return (uint32_t) get16(p) << 16 | get16(p + 2);
}

/* ---- version 1 (2.1) ------------------------------------------------------------------------ */

/* Takes the word up to the next single space off *rest; the last one goes to the end. */
static struct str take_word(struct str *rest)
{
    ptrdiff_t space = str_find(*rest, ' ');
    struct str word = space < 0 ? *rest : str_sub(*rest, 0, (size_t) space);
    *rest = space < 0 ? (struct str){0} : str_sub(*rest, (size_t) space + 1, rest->n);
    return word;
}

/* Decimal without leading zeros. */
static bool read_port(struct str text, uint16_t *out)
{
    uint64_t v;
    if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0') || !str_to_u64(text, &v) ||
        v > 65535)
        return false;
    *out = (uint16_t) v;
    return true;
}

/* An address of the family that the line names, in its own notation. */
static bool read_ip(struct str text, bool v6, struct ip *out)
{
    return (str_find(text, ':') >= 0) == v6 && ip_parse(text, out);
}

static enum proxy_verdict read_line(struct str line, struct proxy_header *out)
{
    struct str family = take_word(&line);
    if (str_eq(family, STR("UNKNOWN")))
        return PROXY_WHOLE; /* whatever follows is to be ignored */
    bool v6 = str_eq(family, STR("TCP6"));
    if (!v6 && !str_eq(family, STR("TCP4")))
        return PROXY_INVALID;
    struct str source = take_word(&line), destination = take_word(&line);
    struct str source_port = take_word(&line);
    if (!read_ip(source, v6, &out->source) || !read_ip(destination, v6, &out->destination) ||
        !read_port(source_port, &out->source_port) || !read_port(line, &out->destination_port))
        return PROXY_INVALID;
    out->told = true;
    return PROXY_WHOLE;
}

static enum proxy_verdict parse_v1(struct str bytes, struct proxy_header *out, size_t *used)
{
    size_t n = bytes.n < PROXY_V1_MAX ? bytes.n : PROXY_V1_MAX;
    const char *end = memchr(bytes.p, '\n', n);
    if (!end)
        return n < PROXY_V1_MAX ? PROXY_MORE : PROXY_INVALID;
    size_t line = (size_t) (end - bytes.p);
    if (bytes.p[line - 1] != '\r') /* there is a byte: the line begins with "PROXY " */
        return PROXY_INVALID;
    out->version = 1;
    *used = line + 1;
    return read_line(str_sub(bytes, 6, line - 1), out);
}

/* ---- version 2 (2.2) ------------------------------------------------------------------------ */

/* Takes one TLV off *rest; false: it does not fit. */
static bool take_tlv(struct str *rest, uint8_t *type, struct str *value)
{
    if (rest->n < 3)
        return false;
    size_t n = get16(rest->p + 1);
    if (rest->n - 3 < n)
        return false;
    *type = (uint8_t) rest->p[0];
    *value = str_sub(*rest, 3, 3 + n);
    *rest = str_sub(*rest, 3 + n, rest->n);
    return true;
}

/* Keeps a text that is given once. */
static bool keep(struct str *to, struct str value, size_t max)
{
    if (to->p || value.n > max)
        return false;
    *to = value;
    return true;
}

static bool read_ssl(struct str value, struct proxy_ssl *ssl)
{
    if (ssl->given || value.n < 5)
        return false;
    ssl->given = true;
    ssl->client = (uint8_t) value.p[0];
    ssl->verify = get32(value.p + 1);
    struct str rest = str_sub(value, 5, value.n), text;
    uint8_t type;
    while (rest.n > 0) {
        if (!take_tlv(&rest, &type, &text))
            return false;
        bool fine = type == TLV_SSL_VERSION  ? keep(&ssl->version, text, TLV_TEXT_MAX)
                    : type == TLV_SSL_CN     ? keep(&ssl->cn, text, TLV_TEXT_MAX)
                    : type == TLV_SSL_CIPHER ? keep(&ssl->cipher, text, TLV_TEXT_MAX)
                                             : true;
        if (!fine)
            return false;
    }
    return true;
}

/* The sum over the whole header with the sum's own bytes as zeros. */
static bool sum_right(struct str header, struct str sum)
{
    static const char zeros[4];
    size_t at = (size_t) (sum.p - header.p);
    uint32_t crc = crc32c(0, str_sub(header, 0, at));
    crc = crc32c(crc, str_of(zeros, 4));
    crc = crc32c(crc, str_sub(header, at + 4, header.n));
    return crc == get32(sum.p);
}

/* The TLVs behind the addresses of header. */
static enum proxy_verdict read_tlvs(struct str header, size_t at, struct proxy_header *out)
{
    struct str rest = str_sub(header, at, header.n), value, sum = {0};
    uint8_t type;
    while (rest.n > 0) {
        if (!take_tlv(&rest, &type, &value))
            return PROXY_INVALID;
        bool fine = true;
        if (type == TLV_ALPN)
            fine = keep(&out->alpn, value, TLV_TEXT_MAX);
        else if (type == TLV_AUTHORITY)
            fine = keep(&out->authority, value, TLV_TEXT_MAX);
        else if (type == TLV_UNIQUE_ID)
            fine = keep(&out->unique_id, value, PROXY_UNIQUE_ID_MAX);
        else if (type == TLV_SSL)
            fine = read_ssl(value, &out->ssl);
        else if (type == TLV_CRC32C)
            fine = value.n == 4 && keep(&sum, value, 4);
        if (!fine)
            return PROXY_INVALID;
    }
    return sum.p && !sum_right(header, sum) ? PROXY_INVALID : PROXY_WHOLE;
}

static struct ip ip_of_v4(const char *p)
{
    struct ip ip = {.b = {[10] = 0xff, [11] = 0xff}};
    memcpy(ip.b + 12, p, 4);
    return ip;
}

/* Addresses and TLVs of a header of the command PROXY. */
static enum proxy_verdict read_told(struct str header, uint8_t family, struct proxy_header *out)
{
    const char *p = header.p + V2_FIXED;
    if (family == FAMILY_INET) {
        out->source = ip_of_v4(p);
        out->destination = ip_of_v4(p + 4);
        p += 8;
    } else {
        memcpy(out->source.b, p, 16);
        memcpy(out->destination.b, p + 16, 16);
        p += 32;
    }
    out->source_port = get16(p);
    out->destination_port = get16(p + 2);
    out->told = true;
    return read_tlvs(header, (size_t) (p + 4 - header.p), out);
}

static enum proxy_verdict parse_v2(struct str bytes, struct proxy_header *out, size_t *used)
{
    if (bytes.n < V2_FIXED)
        return PROXY_MORE;
    uint8_t command = (uint8_t) bytes.p[12];
    uint8_t family = (uint8_t) bytes.p[13] >> 4, transport = bytes.p[13] & 15;
    size_t n = V2_FIXED + get16(bytes.p + 14);
    if (command != COMMAND_LOCAL && command != COMMAND_PROXY)
        return PROXY_INVALID;
    if (n > PROXY_HEADER_MAX)
        return PROXY_INVALID;
    if (bytes.n < n)
        return PROXY_MORE;
    out->version = 2;
    *used = n;
    if (command == COMMAND_LOCAL)
        return PROXY_WHOLE; /* its addresses and TLVs are to be discarded */
    static const size_t needs[] = {0, V2_INET, V2_INET6, V2_UNIX};
    if (family > FAMILY_UNIX || transport > TRANSPORT_DGRAM || n - V2_FIXED < needs[family])
        return PROXY_INVALID;
    if (transport != TRANSPORT_STREAM || (family != FAMILY_INET && family != FAMILY_INET6))
        return PROXY_WHOLE; /* valid, but nothing that came by here: as if unspecified */
    return read_told(str_sub(bytes, 0, n), family, out);
}

enum proxy_verdict proxy_parse(struct str bytes, struct proxy_header *out, size_t *used)
{
    struct str v1 = STR("PROXY "), v2 = str_of(v2_signature, sizeof v2_signature);
    *out = (struct proxy_header){0};
    *used = 0;
    if (str_starts(bytes, v1))
        return parse_v1(bytes, out, used);
    if (str_starts(bytes, v2))
        return parse_v2(bytes, out, used);
    return str_starts(v1, bytes) || str_starts(v2, bytes) ? PROXY_MORE : PROXY_MISSING;
}

/* ---- writing -------------------------------------------------------------------------------- */

static bool both_v4(const struct proxy_header *h)
{
    return ip_is_v4(h->source) && ip_is_v4(h->destination);
}

/* An address in IPv6 notation even when it is one of IPv4: both ends are of one family. */
static size_t print_v6(struct ip ip, char out[64])
{
    char text[46];
    size_t n = ip_print(ip, text);
    return (size_t) snprintf(out, 64, "%s%.*s", ip_is_v4(ip) ? "::ffff:" : "", (int) n, text);
}

static size_t write_v1(const struct proxy_header *h, char *out)
{
    char source[64], destination[64];
    if (!h->told)
        return (size_t) snprintf(out, PROXY_HEADER_MAX, "PROXY UNKNOWN\r\n");
    bool v4 = both_v4(h);
    if (v4) {
        ip_print(h->source, source);
        ip_print(h->destination, destination);
    } else {
        print_v6(h->source, source);
        print_v6(h->destination, destination);
    }
    int n = snprintf(out, PROXY_HEADER_MAX, "PROXY TCP%c %s %s %u %u\r\n", v4 ? '4' : '6', source,
                     destination, (unsigned) h->source_port, (unsigned) h->destination_port);
    must(n > 0 && (unsigned) n <= PROXY_V1_MAX);
    return (size_t) n;
}

static char *put16(char *at, size_t v)
{
    *at++ = (char) (v >> 8);
    *at++ = (char) v;
    return at;
}

static char *put32(char *at, uint32_t v)
{
    return put16(put16(at, v >> 16), v & 0xffff);
}

/* A TLV with that text, when there is one that may be sent. */
static char *put_text(char *at, uint8_t type, struct str text, size_t max)
{
    if (!text.n || text.n > max)
        return at;
    *at++ = (char) type;
    at = put16(at, text.n);
    return (char *) memcpy(at, text.p, text.n) + text.n;
}

static char *put_ssl(char *at, const struct proxy_ssl *ssl)
{
    char *start = at;
    *at = (char) TLV_SSL;
    at += 3;
    *at++ = (char) ssl->client;
    at = put32(at, ssl->verify);
    at = put_text(at, TLV_SSL_VERSION, ssl->version, TLV_TEXT_MAX);
    at = put_text(at, TLV_SSL_CN, ssl->cn, TLV_TEXT_MAX);
    at = put_text(at, TLV_SSL_CIPHER, ssl->cipher, TLV_TEXT_MAX);
    put16(start + 1, (size_t) (at - start - 3));
    return at;
}

static char *put_addresses(char *at, const struct proxy_header *h)
{
    bool v4 = both_v4(h);
    size_t from = v4 ? 12 : 0, n = v4 ? 4 : 16;
    memcpy(at, h->source.b + from, n);
    memcpy(at + n, h->destination.b + from, n);
    at = put16(at + 2 * n, h->source_port);
    return put16(at, h->destination_port);
}

static size_t write_v2(const struct proxy_header *h, char *out)
{
    char *at = (char *) memcpy(out, v2_signature, sizeof v2_signature) + sizeof v2_signature;
    uint8_t family = !h->told ? FAMILY_UNSPEC : both_v4(h) ? FAMILY_INET : FAMILY_INET6;
    *at++ = (char) (h->told ? COMMAND_PROXY : COMMAND_LOCAL);
    *at++ = (char) (h->told ? family << 4 | TRANSPORT_STREAM : 0);
    at += 2;
    if (h->told) {
        at = put_addresses(at, h);
        at = put_text(at, TLV_ALPN, h->alpn, TLV_TEXT_MAX);
        at = put_text(at, TLV_AUTHORITY, h->authority, TLV_TEXT_MAX);
        at = put_text(at, TLV_UNIQUE_ID, h->unique_id, PROXY_UNIQUE_ID_MAX);
        if (h->ssl.given)
            at = put_ssl(at, &h->ssl);
        *at++ = (char) TLV_CRC32C;
        at = put16(at, 4);
        at = put32(at, 0);
    }
    size_t n = (size_t) (at - out);
    put16(out + 14, n - V2_FIXED);
    if (h->told)
        put32(at - 4, crc32c(0, str_of(out, n)));
    return n;
}

size_t proxy_write(const struct proxy_header *h, char out[PROXY_HEADER_MAX])
{
    return h->version == 1 ? write_v1(h, out) : write_v2(h, out);
}

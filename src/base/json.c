/* SPDX-License-Identifier: Apache-2.0 */
/* json.c: see json.h. */
#include "base/json.h"

static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                            "25262728293031323334353637383940414243444546474849"
                            "50515253545556575859606162636465666768697071727374"
                            "75767778798081828384858687888990919293949596979899";
static const char digits[] = "0123456789abcdef";

char *json_two(char *at, unsigned v)
{
    return (char *) memcpy(at, pairs + 2 * v, 2) + 2;
}

char *json_u64(char *at, uint64_t v)
{
    if (v < 10) {
        *at = (char) ('0' + v);
        return at + 1;
    }
    if (v < 100)
        return json_two(at, (unsigned) v);
    if (v < 1000) {
        *at = (char) ('0' + v / 100);
        return json_two(at + 1, (unsigned) (v % 100));
    }
    if (v < 10000) {
        at = json_two(at, (unsigned) (v / 100));
        return json_two(at, (unsigned) (v % 100));
    }
    at = json_u64(at, v / 10000);
    unsigned low = (unsigned) (v % 10000);
    at = json_two(at, low / 100);
    return json_two(at, low % 100);
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Non-zero when one of the eight bytes may not stand in a string as it is. */
static inline uint64_t special(uint64_t x)
{
    uint64_t quote = x ^ EACH('"'), slash = x ^ EACH('\\'), del = x ^ EACH(0x7f);
    uint64_t zero = ((quote - EACH(1)) & ~quote) | ((slash - EACH(1)) & ~slash) |
                    ((del - EACH(1)) & ~del) | ((x - EACH(0x20)) & ~x);
    return (zero | x) & EACH(0x80);
}

/* Sixteen bytes at once; the compiler turns the comparisons into vector instructions. */
typedef signed char sixteen __attribute__((vector_size(16)));
typedef uint64_t two_words __attribute__((vector_size(16)));

/* As signed numbers, bytes from 0x80 on are below 0x20 too. */
static inline sixteen special16(sixteen x)
{
    return (sixteen) ((x < 0x20) | (x == 0x7f) | (x == '"') | (x == '\\'));
}

static inline bool none16(sixteen mask)
{
    two_words w = (two_words) mask;
    return (w[0] | w[1]) == 0;
}

/* 16 bytes or more: the last 16 are done twice where n is no multiple of it. */
static bool copy_long(char *at, const char *p, size_t n)
{
    sixteen x, bad;
    memcpy(&x, p + n - 16, 16);
    memcpy(at + n - 16, &x, 16);
    bad = special16(x);
    for (size_t i = 0; i + 16 < n; i += 16) {
        memcpy(&x, p + i, 16);
        memcpy(at + i, &x, 16);
        bad |= special16(x);
    }
    return none16(bad);
}

/* Copies n bytes. True: none of them needed an escape; false: what was copied is of no use. */
static bool copy_plain(char *at, const char *p, size_t n)
{
    if (n >= 16)
        return copy_long(at, p, n);
    if (n >= 8) {
        two_words both;
        uint64_t first, last;
        memcpy(&first, p, 8);
        memcpy(&last, p + n - 8, 8);
        memcpy(at, &first, 8);
        memcpy(at + n - 8, &last, 8);
        both = (two_words){first, last};
        return none16(special16((sixteen) both));
    }
    if (n >= 4) {
        uint32_t first, last;
        memcpy(&first, p, 4);
        memcpy(&last, p + n - 4, 4);
        memcpy(at, &first, 4);
        memcpy(at + n - 4, &last, 4);
        return special(first | ((uint64_t) last << 32)) == 0;
    }
    uint64_t all = EACH(' ');
    for (size_t i = 0; i < n; i++) {
        at[i] = p[i];
        all = (all << 8) | (unsigned char) p[i];
    }
    return special(all) == 0;
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Length of the valid UTF-8 sequence at s (RFC 3629 4) that is no C1 control, or 0. */
static size_t utf8_length(struct str s)
{
    unsigned char c = (unsigned char) s.p[0];
    size_t n = c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    if (n == 0 || s.n < n)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char) s.p[i] & 0xc0) != 0x80)
            return 0;
    }
    unsigned char d = (unsigned char) s.p[1];
    bool wrong = (c == 0xc2 && d < 0xa0) || (c == 0xe0 && d < 0xa0) || (c == 0xed && d > 0x9f) ||
                 (c == 0xf0 && d < 0x90) || (c == 0xf4 && d > 0x8f);
    return wrong ? 0 : n;
}

/* One byte below 0x80 that needs an escape. */
static char *escape(char *at, unsigned char c)
{
    static const char shorts[] = "\b\f\n\r\t\"\\";
    static const char letters[] = "bfnrt\"\\";
    *at++ = '\\';
    for (size_t i = 0; i < sizeof(letters) - 1; i++) {
        if (shorts[i] == (char) c) {
            *at++ = letters[i];
            return at;
        }
    }
    at = JSON_LIT(at, "u00");
    *at++ = digits[c >> 4];
    *at++ = digits[c & 15];
    return at;
}

/* Writes the character at the front of s; *used says how many bytes it had. */
static char *one(char *at, struct str s, size_t *used)
{
    unsigned char c = (unsigned char) s.p[0];
    *used = 1;
    if (plain(c)) {
        *at++ = (char) c;
        return at;
    }
    if (c < 0x80)
        return escape(at, c);
    size_t n = utf8_length(s);
    if (n > 0) {
        *used = n;
        return (char *) memcpy(at, s.p, n) + n;
    }
    at = JSON_LIT(at, "\\\\x");
    *at++ = digits[c >> 4];
    *at++ = digits[c & 15];
    return at;
}

char *json_text(char *at, struct str s, size_t room)
{
    if (s.n <= room && copy_plain(at, s.p, s.n))
        return at + s.n;
    char *end = at + room;
    const char *p = s.p, *stop = s.p + s.n;
    while (p < stop && (size_t) (end - at) >= JSON_BYTE_MAX) {
        size_t used;
        at = one(at, str_of(p, (size_t) (stop - p)), &used);
        p += used;
    }
    return at;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* json.c: see json.h. */
#include "base/json.h"

#include "base/bytes16.h"

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

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

bool json_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!plain((unsigned char) s.p[i]))
            return false;
    return s.n <= JSON_PLAIN_MAX;
}

/* 0xff in the place of each byte that may not stand in a string as it is. */
static inline bytes16 special(bytes16 v)
{
    return (bytes16) ((v < 0x20) | (v >= 0x7f) | (v == '"') | (v == '\\'));
}

/* Copies n bytes. True: none of them needed an escape; false: what was copied is of no use. */
static inline bool copy_plain(char *at, const char *p, size_t n)
{
    if (n < 4) {
        bool fine = true;
        for (size_t i = 0; i < n; i++) {
            at[i] = p[i];
            fine &= plain((unsigned char) p[i]);
        }
        return fine;
    }
    if (n < 16)
        return !bytes16_mask(special(bytes16_copy_short(at, p, n)));
    /* The last sixteen are done twice where n is no multiple of it. */
    bytes16 bad = special(bytes16_copy(at + n - 16, p + n - 16));
    for (size_t i = 0; i + 16 < n; i += 16)
        bad |= special(bytes16_copy(at + i, p + i));
    return !bytes16_mask(bad);
}

size_t json_utf8_length(struct str s)
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
    size_t n = json_utf8_length(s);
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

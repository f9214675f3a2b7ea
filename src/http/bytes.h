/* SPDX-License-Identifier: Apache-2.0 */
/* bytes: what the parsers and writers of this floor share: byte classes by table, and eight
 * bytes at a time where that pays. Private to http/. Constant, any thread, never allocates;
 * never reads outside the bytes it is given. */
#ifndef WEIR_HTTP_BYTES_H
#define WEIR_HTTP_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes16.h"
#include "base/str.h"

/* What a byte may be part of. */
enum byte_class {
    BYTE_TOKEN = 1,      /* tchar (RFC 9110 5.6.2) */
    BYTE_UNRESERVED = 2, /* RFC 3986 2.3 */
    BYTE_PATH = 4,       /* a path byte that stays as it is: pchar and '/', but not '%' and '.' */
    BYTE_ESCAPE = 8,     /* sent raw by browsers in a path; escaped when normalised */
    BYTE_QUERY = 16,     /* 0x21 to 0x7e but '#' */
    BYTE_HOST = 32,      /* a host byte that stays as it is: no upper case, '%', ':', ',' */
    BYTE_HEX = 64,
    BYTE_TEXT = 128, /* field-content: HTAB, SP, VCHAR, obs-text (RFC 9110 5.5) */
};

extern const uint8_t byte_classes[256];

/* c is in one of the classes of set. */
static inline bool byte_is(char c, unsigned set)
{
    return (byte_classes[(unsigned char) c] & set) != 0;
}

/* Value of a hex digit; c must be BYTE_HEX. */
static inline unsigned byte_hex(char c)
{
    return (unsigned) ((c & 0xf) + 9 * ((c >> 6) & 1));
}

/* Value of a decimal digit; above 9: c is none. */
static inline unsigned byte_digit(char c)
{
    return (unsigned) (unsigned char) c - '0';
}

/* All bytes of s are in set, looked at one by one. */
static inline bool bytes_are(struct str s, unsigned set)
{
    for (size_t i = 0; i < s.n; i++)
        if (!byte_is(s.p[i], set))
            return false;
    return true;
}

#define WORD_ONES UINT64_C(0x0101010101010101)
#define WORD_HIGH UINT64_C(0x8080808080808080)

/* Eight bytes at p. */
static inline uint64_t word_load(const char *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof(w));
    return w;
}

/* Nonzero when some byte of w is a control byte (HTAB too) or DEL. The lowest bit set marks
 * the lowest such byte exactly. */
static inline uint64_t word_controls(uint64_t w)
{
    uint64_t del = w ^ (WORD_ONES * 0x7f);
    return (((w - WORD_ONES * 0x20) & ~w) | ((del - WORD_ONES) & ~del)) & WORD_HIGH;
}

/* 0xff in the place of each byte that word_controls would mark. */
static inline bytes16 bytes16_controls(bytes16 v)
{
    return (bytes16) ((v < 0x20) | (v == 0x7f));
}
/* 0xff in the place of each byte that is not visible ASCII. */
static inline bytes16 bytes16_invisible(bytes16 v)
{
    return (bytes16) ((v < 0x21) | (v > 0x7e));
}

/* 0xff in the place of each byte that is no letter, digit or '-'. */
static inline bytes16 bytes16_unword(bytes16 v)
{
    bytes16 letter = (bytes16) ((bytes16) ((v | 0x20) - 'a') <= 'z' - 'a');
    bytes16 digit = (bytes16) ((bytes16) (v - '0') <= 9);
    return (bytes16) ~(letter | digit | (bytes16) (v == '-'));
}
/* 0xff in the place of each byte that is no lower case letter, digit, '-' or '.'. */
static inline bytes16 bytes16_unhost(bytes16 v)
{
    bytes16 letter = (bytes16) ((bytes16) (v - 'a') <= 'z' - 'a');
    bytes16 digit = (bytes16) ((bytes16) (v - '0') <= 9);
    return (bytes16) ~(letter | digit | (bytes16) (v == '-') | (bytes16) (v == '.'));
}

/* No byte of s is marked by odd. A text of fewer than four bytes is not looked at: false. */
__attribute__((always_inline)) static inline bool bytes16_none(struct str s,
                                                               bytes16 (*odd)(bytes16 v))
{
    if (s.n < 16)
        return s.n >= 4 && !bytes16_mask(odd(bytes16_load_short(s.p, s.n)));
    bytes16 marks = odd(bytes16_load(s.p + s.n - 16));
    for (size_t i = 0; i + 16 < s.n; i += 16)
        marks |= odd(bytes16_load(s.p + i));
    return !bytes16_mask(marks);
}

/* Index of the lowest byte marked in a word, on machines that keep it first in memory. */
static inline unsigned word_first(uint64_t marks)
{
    return (unsigned) __builtin_ctzll(marks) >> 3;
}
#define WORD_FIRST_IS_LOWEST (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)

/* control_find in fewer than sixteen bytes. */
static __attribute__((noinline, unused)) const char *control_find_few(const char *p,
                                                                      const char *end)
{
    if (WORD_FIRST_IS_LOWEST && end - p >= 8) {
        uint64_t hit = word_controls(word_load(p));
        if (hit)
            return p + word_first(hit);
        p += 8;
    }
    while (p < end && byte_is(*p, BYTE_TEXT) && *p != '\t')
        p++;
    return p;
}

/* The first byte in [p, end) that is a control byte, HTAB too, or DEL; end when there is none. */
static inline const char *control_find(const char *p, const char *end)
{
    for (; end - p >= 16; p += 16) {
        unsigned hit = bytes16_mask(bytes16_controls(bytes16_load(p)));
        if (hit)
            return p + bytes16_first(hit);
    }
    return control_find_few(p, end);
}

/* The first byte in [p, end) that cannot be in a field value (RFC 9110 5.5): a control byte
 * other than HTAB, or DEL; end when there is none. */
static inline const char *text_end(const char *p, const char *end)
{
    p = control_find(p, end);
    while (p < end && *p == '\t')
        p = control_find(p + 1, end);
    return p;
}

/* The first c in [p, end), or end. */
static inline const char *byte_find(const char *p, const char *end, char c)
{
    for (; end - p >= 16; p += 16) {
        unsigned hit = bytes16_mask((bytes16) (bytes16_load(p) == (uint8_t) c));
        if (hit)
            return p + bytes16_first(hit);
    }
    while (p < end && *p != c)
        p++;
    return p;
}

#endif

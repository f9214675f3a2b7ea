/* SPDX-License-Identifier: Apache-2.0 */
/* The class table is computed by the compiler from the grammar below; bytes_test.c compares
 * it with a second, slower reading of the RFCs. */
#include "http/bytes.h"

#define IN(c, from, to) ((c) >= (from) && (c) <= (to))
#define ALPHA(c) (IN(c, 'a', 'z') || IN(c, 'A', 'Z'))
#define DIGIT(c) IN(c, '0', '9')
#define UNRESERVED(c) (ALPHA(c) || DIGIT(c) || (c) == '-' || (c) == '.' || (c) == '_' || (c) == '~')
/* "!" / "$" / "&" / "'" / "(" / ")" / "*" / "+" / "," / ";" / "=" */
#define SUB_DELIM(c) ((c) == '!' || (c) == '$' || IN(c, '&', ',') || (c) == ';' || (c) == '=')
/* "!" / "#" / "$" / "%" / "&" / "'" / "*" / "+" / "-" / "." / "^" / "_" / "`" / "|" / "~" */
#define TOKEN(c)                                                                                   \
    (ALPHA(c) || DIGIT(c) || (c) == '!' || IN(c, '#', '\'') || (c) == '*' || (c) == '+' ||         \
     (c) == '-' || (c) == '.' || IN(c, '^', '`') || (c) == '|' || (c) == '~')
#define PATH(c)                                                                                    \
    ((UNRESERVED(c) || SUB_DELIM(c) || (c) == ':' || (c) == '@' || (c) == '/') && (c) != '.')
#define ESCAPE(c)                                                                                  \
    ((c) == '"' || (c) == '<' || (c) == '>' || (c) == '[' || (c) == ']' || (c) == '^' ||           \
     (c) == '`' || IN(c, '{', '}'))
#define QUERY(c) (IN(c, 0x21, 0x7e) && (c) != '#')
/* Without the comma: "a,b" is what two Host fields become when joined. */
#define HOST(c) ((UNRESERVED(c) || SUB_DELIM(c)) && (c) != ',' && !IN(c, 'A', 'Z'))
#define HEX(c) (DIGIT(c) || IN(c, 'a', 'f') || IN(c, 'A', 'F'))
#define TEXT(c) ((c) == '\t' || IN(c, 0x20, 0x7e) || (c) >= 0x80)

#define ONE(c)                                                                                     \
    ((TOKEN(c) ? BYTE_TOKEN : 0) | (UNRESERVED(c) ? BYTE_UNRESERVED : 0) |                         \
     (PATH(c) ? BYTE_PATH : 0) | (ESCAPE(c) ? BYTE_ESCAPE : 0) | (QUERY(c) ? BYTE_QUERY : 0) |     \
     (HOST(c) ? BYTE_HOST : 0) | (HEX(c) ? BYTE_HEX : 0) | (TEXT(c) ? BYTE_TEXT : 0))
#define FOUR(c) ONE(c), ONE((c) + 1), ONE((c) + 2), ONE((c) + 3)
#define ROW(c) FOUR(c), FOUR((c) + 4), FOUR((c) + 8), FOUR((c) + 12)

const uint8_t byte_classes[256] = {
    ROW(0x00), ROW(0x10), ROW(0x20), ROW(0x30), ROW(0x40), ROW(0x50), ROW(0x60), ROW(0x70),
    ROW(0x80), ROW(0x90), ROW(0xa0), ROW(0xb0), ROW(0xc0), ROW(0xd0), ROW(0xe0), ROW(0xf0),
};

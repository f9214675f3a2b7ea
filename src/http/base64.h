/* SPDX-License-Identifier: Apache-2.0 */
/* base64: RFC 4648 4, with padding, in pieces of three bytes and four characters. Sans-I/O, any
 * thread; the caller owns every buffer. Never allocates. */
#ifndef WEIR_HTTP_BASE64_H
#define WEIR_HTTP_BASE64_H

#include <stddef.h>

/* Characters that n bytes become. */
#define BASE64_SIZE(n) (((n) + 2) / 3 * 4)

/* Encodes n bytes; to has room for BASE64_SIZE(n) characters. */
void base64_encode(char *to, const void *from, size_t n);
/* Decodes four characters, of which the last one or two may be padding: how many bytes they are,
 * or -1. */
int base64_decode_four(const char in[4], char out[3]);

#endif

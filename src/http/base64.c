/* SPDX-License-Identifier: Apache-2.0 */
/* base64: see base64.h. Holds no state. */
#include "http/base64.h"

#include <stdint.h>

void base64_encode(char *to, const void *from, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = from;
    for (size_t i = 0; i < n; i += 3, to += 4) {
        unsigned three = (unsigned) p[i] << 16;
        if (i + 1 < n)
            three |= (unsigned) p[i + 1] << 8;
        if (i + 2 < n)
            three |= p[i + 2];
        to[0] = digits[three >> 18];
        to[1] = digits[three >> 12 & 63];
        to[2] = i + 1 < n ? digits[three >> 6 & 63] : '=';
        to[3] = i + 2 < n ? digits[three & 63] : '=';
    }
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode_four(const char in[4], char out[3])
{
    int pad = (in[3] == '=') + (in[2] == '=' && in[3] == '=');
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        int d = i >= 4 - pad ? 0 : digit_value(in[i]);
        if (d < 0)
            return -1;
        v = v << 6 | (uint32_t) d;
    }
    out[0] = (char) (v >> 16);
    out[1] = (char) (v >> 8);
    out[2] = (char) v;
    return 3 - pad;
}

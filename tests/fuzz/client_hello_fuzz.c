/* SPDX-License-Identifier: Apache-2.0 */
/* ClientHellos. Properties: no answer changes when more bytes come, but from "more"; a name is a
 * host name in lower case; the same hello in records of another size says the same. */
#include <stdlib.h>

#include "base/panic.h"
#include "net/client_hello.h"

static void check_name(const struct client_hello *h)
{
    must(h->sni_n < CLIENT_HELLO_NAME && h->alpn_n <= CLIENT_HELLO_ALPN);
    for (size_t i = 0; i < h->sni_n; i++) {
        char c = h->sni[i];
        must((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
             (c == '.' && i > 0 && i + 1 < h->sni_n && h->sni[i - 1] != '.'));
    }
    size_t at = 0;
    while (at < h->alpn_n)
        at += 1 + (uint8_t) h->alpn[at];
    must(at == h->alpn_n);
}

/* The hello at the front of bytes, in records of one byte. */
static void check_split(struct str bytes, const struct client_hello *h)
{
    char *out = malloc(6 * bytes.n);
    size_t at = 0, n = 0, need = 4, have = 0;
    must(out);
    while (have < need) {
        size_t size = (size_t) (uint8_t) bytes.p[at + 3] << 8 | (uint8_t) bytes.p[at + 4];
        for (size_t i = 0; i < size; i++) {
            const char record[] = {0x16, 3, 1, 0, 1, bytes.p[at + 5 + i]};
            memcpy(out + n, record, 6);
            n += 6;
            if (++have == 4) {
                const uint8_t *m = (const uint8_t *) out + 5;
                need += (size_t) m[6] << 16 | (size_t) m[12] << 8 | m[18];
            }
        }
        at += 5 + size;
    }
    struct client_hello again;
    enum hello_verdict v = client_hello_parse(str_of(out, n), &again);
    must(v == (n > CLIENT_HELLO_MAX ? HELLO_TOO_LARGE : HELLO_WHOLE));
    if (v == HELLO_WHOLE) {
        must(again.version == h->version);
        must(str_eq(str_of(again.sni, again.sni_n), str_of(h->sni, h->sni_n)));
        must(str_eq(str_of(again.alpn, again.alpn_n), str_of(h->alpn, h->alpn_n)));
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    struct str bytes = str_of((const char *) input, n);
    struct client_hello h, part, one = {0};
    if (client_hello_server_name(bytes, &one)) /* as OpenSSL hands it over, of its listeners */
        check_name(&one);
    enum hello_verdict all = client_hello_parse(bytes, &h);
    size_t step = n / 64 + 1;
    for (size_t i = 0; i < n; i += step) {
        enum hello_verdict v = client_hello_parse(str_sub(bytes, 0, i), &part);
        must(v == HELLO_MORE || v == all);
    }
    if (all != HELLO_WHOLE)
        return 0;
    check_name(&h);
    check_split(bytes, &h);
    return 0;
}

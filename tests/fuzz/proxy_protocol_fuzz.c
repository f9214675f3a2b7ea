/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY protocol headers. Properties: the answer is the same however the bytes are cut; nothing
 * behind the header counts; what is understood is written again and understood the same. */
#include "base/panic.h"
#include "net/proxy_protocol.h"

static void check_again(const struct proxy_header *h)
{
    char out[PROXY_HEADER_MAX];
    struct proxy_header again;
    size_t n = proxy_write(h, out), used;
    must(n > 0 && n <= sizeof out);
    must(proxy_parse(str_of(out, n), &again, &used) == PROXY_WHOLE && used == n);
    must(again.told == h->told && again.version == h->version);
    must(memcmp(&again.source, &h->source, sizeof h->source) == 0);
    must(memcmp(&again.destination, &h->destination, sizeof h->destination) == 0);
    must(again.source_port == h->source_port && again.destination_port == h->destination_port);
    must(str_eq(again.authority, h->authority) && str_eq(again.alpn, h->alpn));
    must(str_eq(again.unique_id, h->unique_id) && str_eq(again.ssl.cn, h->ssl.cn));
    must(again.ssl.given == h->ssl.given && again.ssl.client == h->ssl.client);
    must(again.ssl.verify == h->ssl.verify && str_eq(again.ssl.cipher, h->ssl.cipher));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    struct str bytes = str_of((const char *) input, n);
    struct proxy_header h, part;
    size_t used, part_used;
    enum proxy_verdict all = proxy_parse(bytes, &h, &used);
    for (size_t i = 0; i < n && i < 300; i++) {
        enum proxy_verdict v = proxy_parse(str_sub(bytes, 0, i), &part, &part_used);
        must(v == PROXY_MORE || (v == all && (v != PROXY_WHOLE || part_used == used)));
    }
    if (all != PROXY_WHOLE)
        return 0;
    must(used > 0 && used <= n && used <= PROXY_HEADER_MAX);
    must(proxy_parse(str_sub(bytes, 0, used), &part, &part_used) == PROXY_WHOLE);
    must(part_used == used);
    check_again(&h);
    return 0;
}

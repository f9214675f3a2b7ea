/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: the client's address from X-Forwarded-For or Forwarded. The first byte chooses the
 * field and how many lines the rest is split into (at '\n'). Whatever comes, the answer is the peer
 * or an address that stands in the text, and every hop to its right is trusted. */
#include <stdlib.h>

#include "base/arena.h"
#include "base/panic.h"
#include "proxy/client_ip.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* The text holds the address in one of the ways it can be written. */
static bool mentions(struct str text, struct ip ip)
{
    for (size_t from = 0; from < text.n; from++) {
        for (size_t to = from + 2; to <= text.n && to - from < 46; to++) {
            struct ip other;
            if (ip_parse(str_sub(text, from, to), &other) && memcmp(&other, &ip, sizeof(ip)) == 0)
                return true;
        }
    }
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n == 0 || n > 2000)
        return 0;
    struct cidr trusted;
    struct snapshot s = {.trusted = &trusted, .n_trusted = 1};
    struct arena a;
    struct fields f;
    struct ip peer;
    must(cidr_parse(STR("10.0.0.0/8"), &trusted) && ip_parse(STR("10.0.0.1"), &peer));
    arena_init(&a, NULL, 1u << 20);
    fields_init(&f, &a);
    enum field_id id = bytes[0] & 1 ? FIELD_FORWARDED : FIELD_X_FORWARDED_FOR;
    struct str text = str_of((const char *) bytes + 1, n - 1), rest = text;
    for (;;) {
        ptrdiff_t end = str_find(rest, '\n');
        struct str line = str_sub(rest, 0, end < 0 ? rest.n : (size_t) end);
        must(fields_add_id(&f, id, str_trim(line)));
        if (end < 0)
            break;
        rest = str_sub(rest, (size_t) end + 1, rest.n);
    }
    struct ip got = client_ip_derive(&s, peer, true, &f);
    must(memcmp(&got, &peer, sizeof(peer)) == 0 || mentions(text, got));
    struct ip untrusted = client_ip_derive(&s, peer, false, &f);
    must(memcmp(&untrusted, &peer, sizeof(peer)) == 0);
    arena_fini(&a);
    return 0;
}

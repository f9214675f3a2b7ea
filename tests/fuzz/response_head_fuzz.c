/* SPDX-License-Identifier: Apache-2.0 */
/* Response heads; the first byte chooses the request's method. Properties: what is accepted and
 * written again parses to the same values, and its lines are the ones meant; in one pass the same
 * heads are accepted as by finding the end first. */
#include <stdlib.h>

#include "base/panic.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"

static const struct h1_limits limits = {.head = 32768, .target = 8192, .fields = 100};

static void check_lines(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        must(text.p[i] != '\r' || (i + 1 < text.n && text.p[i + 1] == '\n'));
        must(text.p[i] != '\n' || (i > 0 && text.p[i - 1] == '\r'));
    }
    must(memmem(text.p, text.n, "\r\n\r\n", 4) == text.p + text.n - 4);
}

static void check_take(struct str text, struct arena *a, uint8_t method)
{
    struct head once = {.major = 0}, twice;
    size_t scan = 0;
    size_t whole = h1_head_end(text.p, text.n, &scan, NULL);
    size_t n = h1_take_response(&once, a, text, method, &limits);
    bool good =
        whole && h1_parse_response(&twice, a, str_of(text.p, whole), method, &limits) == FAULT_OK;
    must(n == (good ? whole : 0));
    must(!n || (once.fields.n == twice.fields.n && once.fields.present == twice.fields.present &&
                once.body == twice.body && once.declared == twice.declared));
}

static void check_again(struct head *h, struct arena *a, uint8_t method)
{
    const uint64_t framing =
        FIELD_BIT(CONTENT_LENGTH) | FIELD_BIT(TRANSFER_ENCODING) | FIELD_BIT(CONNECTION);
    uint64_t declared = h->declared == LENGTH_NONE ? H1_LENGTH_UNSAID : h->declared;
    struct str upgrade = h->upgrade;
    fields_remove_mask(&h->fields, framing);
    struct str connection = upgrade.n ? STR("upgrade") : STR("");
    size_t most = h1_head_size(h);
    char *to = malloc(most);
    struct head again;
    must(to);
    size_t n = h1_write_response(to, most, h, connection, declared);
    must(n && n <= most);
    char *tight = malloc(n);
    must(tight);
    size_t m = h1_write_response(tight, n, h, connection, declared);
    must(m == 0 || m == n);
    free(tight);
    check_lines(str_of(to, n));
    must(h1_parse_response(&again, a, str_of(to, n), method, &limits) == FAULT_OK);
    must(again.status == h->status && str_eq(again.reason, h->reason));
    must(again.body == h->body && again.length == h->length && again.declared == h->declared);
    must(str_eq(again.upgrade, upgrade));
    fields_remove_mask(&again.fields, framing);
    must(again.fields.n == h->fields.n && again.fields.present == h->fields.present);
    for (uint32_t i = 0; i < again.fields.n; i++) {
        must(str_eq(again.fields.v[i].name, h->fields.v[i].name));
        must(str_eq(again.fields.v[i].value, h->fields.v[i].value));
    }
    free(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    struct arena a;
    struct head h;
    if (n == 0)
        return 0;
    uint8_t method = input[0] % METHOD_COUNT;
    struct str text = str_of((const char *) input + 1, n - 1);
    arena_init(&a, NULL, 1u << 20);
    check_take(text, &a, method);
    enum fault f = h1_parse_response(&h, &a, text, method, &limits);
    must(f == FAULT_OK || f == FAULT_UP_HEAD || f == FAULT_UP_HEAD_LARGE || f == FAULT_UP_FRAMING);
    if (f == FAULT_OK) {
        must(h.status >= 100 && h.status <= 599);
        must(h.body != BODY_LENGTH || h.length == h.declared);
        must((h.body != BODY_CLOSE && h.body != BODY_TUNNEL) || !h.keep_alive);
        check_again(&h, &a, method);
    }
    arena_fini(&a);
    return 0;
}

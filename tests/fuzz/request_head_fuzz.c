/* SPDX-License-Identifier: Apache-2.0 */
/* Request heads. Properties: what is accepted and written again parses to the same values; no
 * written line but the ones meant; lines copied as they came are what would be written from values;
 * the end of the head is found the same way byte by byte, and by the parser in one pass. */
#include <stdlib.h>

#include "base/panic.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"

static const struct h1_limits limits = {.head = 32768, .target = 8192, .fields = 100};

static void check_end(const char *bytes, size_t n)
{
    size_t scan = 0, skip = 0, step_scan = 0, step_skip = 0, found = 0;
    size_t whole = h1_head_end(bytes, n, &scan, &skip);
    for (size_t i = 0; i <= n && !found; i++)
        found = h1_head_end(bytes, i, &step_scan, &step_skip);
    must(found == whole);
    must(skip + whole <= n && skip == step_skip);
}

/* Every CR is followed by LF, every LF comes behind CR, and there are lines of them. */
static void check_lines(struct str text, size_t lines)
{
    size_t seen = 0;
    for (size_t i = 0; i < text.n; i++) {
        must(text.p[i] != '\r' || (i + 1 < text.n && text.p[i + 1] == '\n'));
        must(text.p[i] != '\n' || (i > 0 && text.p[i - 1] == '\r'));
        seen += text.p[i] == '\n';
    }
    must(seen == lines);
}

/* In one pass the same heads are accepted, and read the same, as by finding the end first. */
static void check_take(struct str text, struct arena *a)
{
    struct head once = {.major = 0}, twice;
    size_t scan = 0, skip = 0;
    size_t whole = h1_head_end(text.p, text.n, &scan, &skip);
    size_t n = h1_take_request(&once, a, text, STR("http"), &limits);
    bool good = whole && h1_parse_request(&twice, a, str_sub(text, skip, skip + whole), STR("http"),
                                          &limits) == FAULT_OK;
    must(n == (good && skip == 0 ? whole : 0));
    if (!n)
        return;
    must(once.fields.n == twice.fields.n && once.fields.present == twice.fields.present);
    must(str_eq(once.path, twice.path) && str_eq(once.authority, twice.authority));
    must(once.body == twice.body && once.length == twice.length);
}

/* Writes the fields from their values, line for line, and compares with what is in text. */
static void check_values(struct head *h, struct str text)
{
    struct str connection = h->upgrade.n ? STR("Upgrade") : STR("");
    size_t most = h1_head_size(h);
    char *to = malloc(most), *tight = malloc(text.n);
    for (uint32_t i = 0; i < h->fields.n; i++)
        h->fields.v[i].line = 0;
    must(to && tight);
    must(str_eq(text, str_of(to, h1_write_request(to, most, h, connection))));
    size_t n = h1_write_request(tight, text.n, h, connection);
    must(n == 0 || n == text.n);
    free(tight);
    free(to);
}

static void check_again(struct head *h, struct arena *a)
{
    const uint64_t framing = FIELD_BIT(HOST) | FIELD_BIT(CONTENT_LENGTH) |
                             FIELD_BIT(TRANSFER_ENCODING) | FIELD_BIT(CONNECTION);
    struct str upgrade = h->upgrade;
    fields_remove_mask(&h->fields, framing);
    size_t most = h1_head_size(h);
    char *to = malloc(most);
    struct head again;
    must(to);
    size_t n = h1_write_request(to, most, h, upgrade.n ? STR("Upgrade") : STR(""));
    must(n && n <= most);
    check_lines(str_of(to, n), h->fields.n + 3 + (h->body != BODY_NONE) + (upgrade.n > 0));
    check_values(h, str_of(to, n));
    if (h->authority.n == 0) {
        free(to); /* HTTP/1.0 without Host; as 1.1 it would be refused */
        return;
    }
    must(h1_parse_request(&again, a, str_of(to, n), STR("http"), &limits) == FAULT_OK);
    must(str_eq(again.method, h->method) && again.method_id == h->method_id);
    must(str_eq(again.path, h->path) && str_eq(again.query, h->query));
    must(again.has_query == h->has_query);
    must(str_eq(again.authority, h->authority) && str_eq(again.host, h->host));
    must(again.port == h->port && again.body == h->body && again.length == h->length);
    must(str_eq(again.upgrade, upgrade) && again.te_trailers == h->te_trailers);
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
    struct str text = str_of((const char *) input, n);
    arena_init(&a, NULL, 1u << 20);
    check_end(text.p, n);
    check_take(text, &a);
    enum fault early = h1_request_early(text);
    if (h1_parse_request(&h, &a, text, STR("http"), &limits) == FAULT_OK) {
        must(early == FAULT_OK);
        must(h.major == 1 && h.minor <= 9);
        must(h.body != BODY_CLOSE && h.body != BODY_TUNNEL);
        must(!(fields_has(&h.fields, FIELD_CONTENT_LENGTH) &&
               fields_has(&h.fields, FIELD_TRANSFER_ENCODING)));
        must(h.minor == 0 || h.authority.n > 0);
        size_t scan = 0, skip = 0;
        must(h1_head_end(text.p, n, &scan, &skip) == n && skip == 0);
        bool expected = h.minor == 0; /* Expect is kept, and means something once it is 1.1 */
        if (!expected || !fields_has(&h.fields, FIELD_EXPECT))
            check_again(&h, &a);
    }
    arena_fini(&a);
    return 0;
}

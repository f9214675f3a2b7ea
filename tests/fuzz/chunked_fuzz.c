/* SPDX-License-Identifier: Apache-2.0 */
/* The chunked coding. The first byte seeds a split of the rest. Properties: any split gives the
 * same data, verdict, trailers and consumed bytes; accepted data written again as chunks decodes
 * to itself. */
#include <stdlib.h>

#include "base/panic.h"
#include "http/chunk.h"
#include "http/h1_write.h"

struct result {
    enum fault fault;
    uint8_t state;
    size_t used, n;
    char *data;
    struct fields trailers;
};

/* Decodes text in pieces of sizes drawn from seed; 0: in one. */
static void decode(struct str text, uint32_t seed, struct arena *a, struct result *r)
{
    struct chunk_decoder d;
    *r = (struct result){.data = malloc(text.n + 1)};
    fields_init(&r->trailers, a);
    chunk_decoder_init(&d, a, &r->trailers, FAULT_REQ_CHUNK, FAULT_REQ_TRAILER_LARGE);
    size_t end = 0;
    while (end < text.n && !r->fault && d.state != CHUNK_END) {
        seed = seed * 1103515245u + 12345u;
        size_t piece = seed >> 16 & 1 ? 1 : 1 + (seed >> 17) % 40;
        end = text.n - end < piece || seed == 12345u ? text.n : end + piece;
        struct str in = str_sub(text, r->used, end), data;
        while (in.n && !r->fault && d.state != CHUNK_END) {
            size_t before = in.n;
            r->fault = chunk_decode(&d, &in, &data);
            must(r->fault || in.n < before);
            must(data.n == 0 || (data.p >= text.p && data.p + data.n <= text.p + text.n));
            memcpy(r->data + r->n, data.p, data.n);
            r->n += data.n;
            r->used += before - in.n;
        }
    }
    r->state = d.state;
}

static void same(const struct result *x, const struct result *y)
{
    must(x->fault == y->fault);
    must(x->n == y->n && memcmp(x->data, y->data, x->n) == 0);
    if (x->fault)
        return;
    must(x->state == y->state && x->used == y->used);
    must(x->trailers.n == y->trailers.n && x->trailers.present == y->trailers.present);
    for (uint32_t i = 0; i < x->trailers.n; i++) {
        must(str_eq(x->trailers.v[i].name, y->trailers.v[i].name));
        must(str_eq(x->trailers.v[i].value, y->trailers.v[i].value));
    }
}

/* The data as one chunk, with the trailers. */
static void check_again(const struct result *r, struct arena *a)
{
    struct result again;
    char *text = malloc(CHUNK_SIZE_LINE_MAX + r->n + 2 + h1_trailers_size(&r->trailers));
    size_t n = 0, tail = 0;
    must(text);
    if (r->n) {
        n = chunk_size_line(text, r->n);
        memcpy(text + n, r->data, r->n);
        memcpy(text + n + r->n, "\r\n", 2);
        n += r->n + 2;
    }
    must(h1_write_trailers(text + n, &tail, &r->trailers) == FAULT_OK);
    must(tail <= h1_trailers_size(&r->trailers));
    decode(str_of(text, n + tail), 0, a, &again);
    must(again.used == n + tail);
    again.used = r->used;
    same(r, &again);
    free(again.data);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *input, size_t n)
{
    struct arena a;
    struct result whole, bytes, split;
    if (n == 0)
        return 0;
    struct str text = str_of((const char *) input + 1, n - 1);
    arena_init(&a, NULL, 64u << 20);
    decode(text, 0, &a, &whole);
    decode(text, 0x10000u + input[0], &a, &bytes);
    decode(text, 0x12345u * (input[0] + 1u), &a, &split);
    same(&whole, &bytes);
    same(&whole, &split);
    if (whole.state == CHUNK_END && !whole.fault) {
        fields_remove_mask(&whole.trailers, FIELDS_NOT_IN_TRAILERS);
        check_again(&whole, &a);
    }
    free(whole.data);
    free(bytes.data);
    free(split.data);
    arena_fini(&a);
    return 0;
}

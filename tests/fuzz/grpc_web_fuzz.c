/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: the feature grpc_web. The first byte says in what pieces the rest comes, which is a
 * request's body in base64, then an answer's body and the value of its trailer. Properties: pieces
 * say the same as the whole; what was encoded for a client, trailers included, decodes to what it
 * was. */
#include <string.h>

#include "base/panic.h"
#include "features/grpc_web.h"
#include "proxy/exchange_kit.h"

#define MOST 4096u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static struct {
    struct exchange_kit k;
    _Alignas(16) char slot[256]; /* the feature's, of one exchange */
} fuzz;

/* Another exchange with a request whose body is text. */
static void begin(void)
{
    must(feature_grpc_web.slot <= sizeof fuzz.slot);
    memset(fuzz.slot, 0, sizeof fuzz.slot);
    fuzz.k.x.pending = FAULT_OK;
    must(feature_grpc_web.on_access(&fuzz.k.x, fuzz.slot) == HOOK_PASS);
}

typedef enum hook (*data_hook)(struct exchange *, void *, struct chain *, struct chain *);

/* text through hook in pieces of size bytes; appends to out, which has at. False: it failed. */
static bool run(data_hook hook, struct str text, size_t size, char *out, size_t *at)
{
    struct buf_pool *bp = &fuzz.k.worker.buffers;
    bool good = true;
    for (size_t i = 0; i < text.n && good; i += size) {
        struct chain in = {0}, made = {0};
        must(chain_copy(&in, bp, str_sub(text, i, i + size < text.n ? i + size : text.n)));
        good = hook(&fuzz.k.x, fuzz.slot, &in, &made) == HOOK_PASS;
        for (const struct slice *s = made.head; s; s = s->next) {
            must(*at + s->n <= 4 * MOST);
            memcpy(out + *at, s->p, s->n);
            *at += s->n;
        }
        chain_clear(&in, bp);
        chain_clear(&made, bp);
    }
    must(good || fuzz.k.x.pending == FAULT_GRPC_WEB_BODY);
    return good;
}

static void check_request(struct str body, size_t size)
{
    static char whole[4 * MOST], pieces[4 * MOST];
    size_t n = 0, m = 0;
    begin();
    bool good = run(feature_grpc_web.on_request_data, body, body.n + 1, whole, &n);
    begin();
    must(run(feature_grpc_web.on_request_data, body, size, pieces, &m) == good);
    must(!good || (n == m && memcmp(whole, pieces, n) == 0));
}

static bool is_value(struct str s)
{
    return str_printable(s) && str_eq(str_trim(s), s);
}

static void check_answer(struct str body, size_t size)
{
    static char text[4 * MOST], back[4 * MOST];
    struct buf_pool *bp = &fuzz.k.worker.buffers;
    struct exchange *x = &fuzz.k.x;
    struct chain *tail = &x->response_pump.held;
    size_t n = 0, m = 0;
    struct fields t;
    begin();
    fields_init(&fuzz.k.response.fields, &x->arena);
    must(fields_add_id(&fuzz.k.response.fields, FIELD_CONTENT_TYPE, STR("application/grpc")));
    must(feature_grpc_web.on_response_head(x, fuzz.slot) == HOOK_PASS);
    must(run(feature_grpc_web.on_response_data, body, size, text, &n));
    fields_init(&t, &x->arena);
    struct str value = is_value(body) ? str_sub(body, 0, body.n < 500 ? body.n : 500) : STR("0");
    must(fields_add(&t, STR("Grpc-Status"), value));
    must(feature_grpc_web.on_trailers(x, fuzz.slot, DIR_RESPONSE, &t) == HOOK_PASS && !t.n);
    for (const struct slice *s = tail->head; s; s = s->next) {
        must(n + s->n <= sizeof text);
        memcpy(text + n, s->p, s->n);
        n += s->n;
    }
    chain_clear(tail, bp);
    must(n % 4 == 0);
    begin();
    must(run(feature_grpc_web.on_request_data, str_of(text, n), size, back, &m));
    static const char front[] = "grpc-status: ";
    size_t block = sizeof front - 1 + value.n + 2;
    must(m == body.n + 5 + block && str_eq(str_of(back, body.n), body));
    const uint8_t *frame = (const uint8_t *) back + body.n;
    must(frame[0] == 0x80 && ((size_t) frame[3] << 8 | frame[4]) == block);
    must(memcmp(frame + 5, front, sizeof front - 1) == 0);
    must(str_eq(str_of((const char *) frame + 5 + sizeof front - 1, value.n), value));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n < 1 || n > MOST)
        return 0;
    exchange_kit_open(&fuzz.k);
    must(fields_add_id(&fuzz.k.in.fields, FIELD_CONTENT_TYPE, STR("application/grpc-web-text")));
    fuzz.k.in.method = STR("POST");
    fuzz.k.in.method_id = METHOD_POST;
    struct str body = str_of((const char *) bytes + 1, n - 1);
    check_request(body, 1u + bytes[0]);
    check_answer(body, 1u + bytes[0]);
    exchange_kit_close(&fuzz.k);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_web.c: see grpc_web.h. Invariants:
 * 1. kind is GRPC_NONE for whatever is no gRPC-Web request: such bodies pass as they are.
 * 2. Text: in_carry holds fewer than four characters of base64, out_carry fewer than three bytes
 *    that are not encoded yet; padding is written at the very end only. What comes may be padded
 *    anywhere: clients encode message by message. */
#include "features/grpc_web.h"

#include "http/base64.h"
#include "http/grpc.h"
#include "proxy/exchange.h"
#include "proxy/worker.h"

#define TRAILER_FRAME 0x80 /* flag of the frame that holds trailers */
#define PIECE 768u         /* bytes encoded or decoded at a time: a multiple of 12 */

struct grpc_web {
    uint8_t kind; /* enum grpc_kind */
    bool answers; /* the answer is a gRPC one */
    uint8_t n_in, n_out;
    char in_carry[4], out_carry[3];
};

static enum hook failed(struct exchange *x, enum fault f)
{
    exchange_fail(x, f);
    return HOOK_FAIL;
}

static enum hook on_access(struct exchange *x, void *slot)
{
    struct grpc_web *g = slot;
    enum grpc_kind kind = grpc_kind(x->in, NULL);
    if (kind == GRPC_WEB || kind == GRPC_WEB_TEXT)
        g->kind = (uint8_t) kind;
    return HOOK_PASS;
}

/* Content-Type with another base and the same format. */
static bool set_type(struct exchange *x, struct fields *f, const char *base, struct str format)
{
    struct str parts[] = {str_c(base), format};
    struct str type = arena_join(&x->arena, parts, 2);
    fields_remove_id(f, FIELD_CONTENT_TYPE);
    return type.p && fields_add_id(f, FIELD_CONTENT_TYPE, type);
}

static enum hook on_send(struct exchange *x, void *slot, struct attempt *a)
{
    const struct grpc_web *g = slot;
    struct fields *f = &x->out->fields;
    struct str format;
    (void) a;
    if (g->kind == GRPC_NONE || grpc_kind(x->out, &format) != (enum grpc_kind) g->kind)
        return HOOK_PASS;
    bool ok = set_type(x, f, "application/grpc", format);
    if (ok && !fields_has(f, FIELD_TE))
        ok = fields_add_id(f, FIELD_TE, STR("trailers"));
    return ok ? HOOK_PASS : failed(x, FAULT_MEMORY);
}

/* Bytes of one slice through the decoder. */
static enum fault decode(struct grpc_web *g, struct str s, struct chain *out, struct buf_pool *bp)
{
    char piece[PIECE];
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        g->in_carry[g->n_in++] = s.p[i];
        if (g->n_in < 4)
            continue;
        int got = base64_decode_four(g->in_carry, piece + n);
        if (got < 0)
            return FAULT_GRPC_WEB_BODY;
        n += (size_t) got;
        g->n_in = 0;
        if (n + 3 > sizeof(piece)) {
            if (!chain_copy(out, bp, str_of(piece, n)))
                return FAULT_MEMORY;
            n = 0;
        }
    }
    return !n || chain_copy(out, bp, str_of(piece, n)) ? FAULT_OK : FAULT_MEMORY;
}

static enum fault encode(struct grpc_web *g, struct str s, struct chain *out, struct buf_pool *bp)
{
    char piece[PIECE];
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        g->out_carry[g->n_out++] = s.p[i];
        if (g->n_out < 3)
            continue;
        base64_encode(piece + n, g->out_carry, 3);
        n += 4;
        g->n_out = 0;
        if (n + 4 > sizeof(piece)) {
            if (!chain_copy(out, bp, str_of(piece, n)))
                return FAULT_MEMORY;
            n = 0;
        }
    }
    return !n || chain_copy(out, bp, str_of(piece, n)) ? FAULT_OK : FAULT_MEMORY;
}

static enum hook pass(struct exchange *x, struct chain *in, struct chain *out)
{
    size_t n = in->bytes;
    return chain_move(out, in, n, &x->worker->buffers) == n ? HOOK_PASS : failed(x, FAULT_MEMORY);
}

static enum hook on_request_data(struct exchange *x, void *slot, struct chain *in,
                                 struct chain *out)
{
    struct grpc_web *g = slot;
    if (g->kind != GRPC_WEB_TEXT)
        return pass(x, in, out);
    for (const struct slice *s = in->head; s; s = s->next) {
        enum fault f = decode(g, str_of(s->p, s->n), out, &x->worker->buffers);
        if (f != FAULT_OK)
            return failed(x, f);
    }
    return HOOK_PASS;
}

static enum hook on_response_head(struct exchange *x, void *slot)
{
    struct grpc_web *g = slot;
    struct fields *f = &x->response->fields;
    const struct field *type = fields_get_id(f, FIELD_CONTENT_TYPE);
    static const char call[] = "application/grpc";
    const size_t n = sizeof(call) - 1;
    if (g->kind == GRPC_NONE || x->from_weir || !type || type->value.n < n ||
        !str_ieq(str_of(type->value.p, n), str_of(call, n)))
        return HOOK_PASS;
    g->answers = true;
    struct str format = str_of(type->value.p + n, type->value.n - n);
    const char *base =
        g->kind == GRPC_WEB_TEXT ? "application/grpc-web-text" : "application/grpc-web";
    return set_type(x, f, base, format) ? HOOK_PASS : failed(x, FAULT_MEMORY);
}

static enum hook on_response_data(struct exchange *x, void *slot, struct chain *in,
                                  struct chain *out)
{
    struct grpc_web *g = slot;
    if (!g->answers || g->kind != GRPC_WEB_TEXT)
        return pass(x, in, out);
    for (const struct slice *s = in->head; s; s = s->next)
        if (encode(g, str_of(s->p, s->n), out, &x->worker->buffers) != FAULT_OK)
            return failed(x, FAULT_MEMORY);
    return HOOK_PASS;
}

/* Trailers as a block of header lines, with lower-case names, behind five bytes of a frame. */
static struct str trailer_frame(struct arena *a, const struct fields *t)
{
    size_t n = 5;
    for (uint32_t i = 0; i < t->n; i++)
        n += t->v[i].name.n + t->v[i].value.n + 4;
    char *frame = arena_alloc(a, n), *to = frame + 5;
    if (!frame)
        return (struct str){0};
    frame[0] = (char) TRAILER_FRAME;
    for (size_t i = 0; i < 4; i++)
        frame[1 + i] = (char) ((n - 5) >> (24 - 8 * i));
    for (uint32_t i = 0; i < t->n; i++) {
        struct str name = t->v[i].name, value = t->v[i].value;
        for (size_t k = 0; k < name.n; k++)
            *to++ = str_lower(name.p[k]);
        memcpy(to, ": ", 2);
        if (value.n)
            memcpy(to + 2, value.p, value.n);
        memcpy(to + 2 + value.n, "\r\n", 2);
        to += value.n + 4;
    }
    return str_of(frame, n);
}

static enum hook on_trailers(struct exchange *x, void *slot, enum direction dir, struct fields *t)
{
    struct grpc_web *g = slot;
    struct buf_pool *bp = &x->worker->buffers;
    struct chain *tail = &x->response_pump.held;
    if (dir != DIR_RESPONSE || !g->answers)
        return HOOK_PASS;
    struct str frame = trailer_frame(&x->arena, t);
    bool ok = frame.p != NULL;
    if (ok && g->kind == GRPC_WEB)
        ok = chain_copy(tail, bp, frame);
    else if (ok)
        ok = encode(g, frame, tail, bp) == FAULT_OK;
    if (ok && g->n_out) {
        char last[4];
        base64_encode(last, g->out_carry, g->n_out);
        ok = chain_copy(tail, bp, str_of(last, sizeof(last)));
    }
    fields_init(t, &x->arena);
    return ok ? HOOK_PASS : failed(x, FAULT_MEMORY);
}

static bool active(const void *route_conf)
{
    const struct grpc_web_conf *conf = route_conf;
    return conf->enabled;
}

const struct feature feature_grpc_web = {
    .name = "grpc_web",
    .purpose = "Lets browsers call gRPC services: gRPC-Web on this side, gRPC on the other.",
    .conf = &grpc_web_schema,
    .route_scope = true,
    .offline = true,
    .slot = sizeof(struct grpc_web),
    .active = active,
    .on_access = on_access,
    .on_send = on_send,
    .on_request_data = on_request_data,
    .on_response_head = on_response_head,
    .on_response_data = on_response_data,
    .on_trailers = on_trailers,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* phase: running the hooks of a route in order. A hook that answers WAIT is called again after
 * the next wake: x->hook_at remembers where. */
#include "proxy/phase.h"

#include "proxy/driver.h"

static enum hook call(struct exchange *x, enum hook_kind kind, const struct feature *f, void *slot)
{
    switch (kind) {
    case ON_ACCESS:
        return f->on_access(x, slot);
    case ON_LOOKUP:
        return f->on_lookup(x, slot);
    case ON_RESPONSE_HEAD:
        return f->on_response_head(x, slot);
    case ON_FAULT:
        return f->on_fault(x, slot, x->fault);
    default:
        return HOOK_PASS;
    }
}

/* The slots of a route that no request matched (the fallback) are made when its first hook runs. */
static bool have_slots(struct exchange *x)
{
    if (!x->plan->slots_bytes || x->slots)
        return true;
    x->slots = arena_zalloc(&x->arena, x->plan->slots_bytes);
    return x->slots != NULL;
}

enum hook hooks_run(struct exchange *x, enum hook_kind kind)
{
    const struct hook_list *l = &x->plan->hooks[kind];
    if (!l->n || !have_slots(x))
        return HOOK_PASS;
    for (uint32_t i = x->hook_at; i < l->n; i++) {
        const struct feature *f = l->v[i].feature;
        void *slot = x->slots + l->v[i].slot;
        enum hook h = call(x, kind, f, slot);
        if (h != HOOK_PASS) {
            x->hook_at = (uint8_t) i;
            return h;
        }
    }
    x->hook_at = 0;
    return HOOK_PASS;
}

void hooks_finish(struct exchange *x)
{
    const struct hook_list *l = &x->plan->hooks[ON_FINISH];
    if (!l->n || !have_slots(x))
        return;
    for (const struct hook_ref *r = l->v, *end = r + l->n; r < end; r++)
        r->feature->on_finish(x, x->slots + r->slot);
}

enum hook hooks_attempt(struct exchange *x, enum hook_kind kind, struct attempt *a)
{
    const struct hook_list *l = &x->plan->hooks[kind];
    for (const struct hook_ref *r = l->v, *end = r + l->n; r < end; r++) {
        const struct feature *f = r->feature;
        void *slot = x->slots + r->slot;
        enum hook h = HOOK_PASS;
        if (kind == ON_PICK)
            h = f->on_pick(x, slot, a);
        else if (kind == ON_SEND)
            h = f->on_send(x, slot, a);
        else
            f->on_attempt_end(x, slot, a, a->fault);
        if (h != HOOK_PASS)
            return h;
    }
    return HOOK_PASS;
}

enum hook hooks_data(struct exchange *x, enum direction dir, struct chain *in, struct chain *out)
{
    struct buf_pool *bp = &x->worker->buffers;
    const struct hook_list *l =
        &x->plan->hooks[dir == DIR_REQUEST ? ON_REQUEST_DATA : ON_RESPONSE_DATA];
    uint8_t *at = dir == DIR_REQUEST ? &x->request.hook_at : &x->response_pump.hook_at;
    for (uint32_t i = *at; i < l->n; i++) {
        const struct feature *f = l->v[i].feature;
        void *slot = x->slots + l->v[i].slot;
        struct chain next = {0};
        enum hook h = dir == DIR_REQUEST ? f->on_request_data(x, slot, in, &next)
                                         : f->on_response_data(x, slot, in, &next);
        if (h != HOOK_PASS) {
            chain_clear(&next, bp);
            *at = h == HOOK_WAIT ? (uint8_t) i : 0;
            return h;
        }
        chain_clear(in, bp);
        *in = next;
    }
    *at = 0;
    if (chain_move(out, in, in->bytes, bp), in->bytes)
        return HOOK_FAIL;
    return HOOK_PASS;
}

enum hook hooks_trailers(struct exchange *x, enum direction dir, struct fields *t)
{
    const struct hook_list *l = &x->plan->hooks[ON_TRAILERS];
    for (uint32_t i = 0; i < l->n; i++) {
        const struct feature *f = l->v[i].feature;
        void *slot = x->slots + l->v[i].slot;
        enum hook h = f->on_trailers(x, slot, dir, t);
        if (h != HOOK_PASS)
            return h;
    }
    return HOOK_PASS;
}

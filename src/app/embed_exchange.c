/* SPDX-License-Identifier: Apache-2.0 */
/* embed_exchange.c: what callbacks do with an exchange: values, suspension, bodies, replies. Worker
 * thread, but weir_resume. */
#include "app/embed.h"
#include "net/addr.h"
#include "proxy/driver.h"
#include "proxy/handler.h"

#define REPLY_MOST (512u * 1024) /* of an exchange's arena */

const char *weir_client_ip(weir_exchange *wx, char room[46])
{
    struct exchange *x = exchange_in(wx);
    room[0] = '\0';
    if (x->session && (!x->peer_unix || x->peer_trusted))
        ip_print(x->client_ip, room);
    return room;
}

void *weir_value(weir_exchange *x)
{
    return embed_slot_of(exchange_in(x))->value;
}

void weir_set_value(weir_exchange *x, void *value)
{
    embed_slot_of(exchange_in(x))->value = value;
}

void weir_on_finished(weir_exchange *x, void (*fn)(void *arg, weir_exchange *x, const char *reason),
                      void *arg)
{
    struct embed_slot *slot = embed_slot_of(exchange_in(x));
    slot->finished = fn;
    slot->finished_arg = arg;
}

weir_ticket *weir_suspend(weir_exchange *x)
{
    return (weir_ticket *) (void *) exchange_suspend(exchange_in(x));
}

void weir_resume(weir_ticket *t)
{
    if (t)
        exchange_resume((struct exchange_ticket *) (void *) t);
}

/* ---- the request's body -------------------------------------------------------------------- */

weir_result weir_read_body(weir_exchange *wx, void *to, size_t n, size_t *got)
{
    struct exchange *x = exchange_in(wx);
    *got = 0;
    if (!x->plan->handler) /* it is the upstream's: what is taken here it would not get */
        return WEIR_FAIL;
    if (n == 0)
        return x->request_done ? WEIR_END : WEIR_PASS;
    switch (handler_read(x, to, n, got)) {
    case IO_OK:
        return WEIR_PASS;
    case IO_AGAIN:
        embed_slot_of(x)->awaits_body = true;
        return WEIR_WAIT;
    case IO_EOF:
        return *got ? WEIR_PASS : WEIR_END;
    case IO_ERR:
        break;
    }
    return WEIR_FAIL;
}

/* ---- replies ------------------------------------------------------------------------------- */

/* Nothing that is refused leaves a reply behind: weir_reply_field and WEIR_REPLY tell of none. */
static bool begin(struct exchange *x, int status, const char *type)
{
    struct str given = str_trim(str_c(type)), t;
    if (x->head_sent) /* one is under way */
        return false;
    x->reply.status = 0;
    embed_slot_of(x)->waits = false;
    if (status < 200 || status > 599 || !field_value_valid(given))
        return false;
    reply_init(x, (uint16_t) status);
    if (!type)
        return true;
    t = arena_str(&x->arena, given);
    if (t.p && fields_add_id(&x->reply.fields, FIELD_CONTENT_TYPE, t))
        return true;
    x->reply.status = 0;
    exchange_fail(x, FAULT_MEMORY);
    return false;
}

weir_result weir_reply(weir_exchange *wx, int status, const char *type, const void *body, size_t n)
{
    struct exchange *x = exchange_in(wx);
    if (n > REPLY_MOST || !begin(x, status, type))
        return WEIR_FAIL;
    x->reply.body = arena_str(&x->arena, str_of(body, n));
    if (x->reply.body.p)
        return WEIR_REPLY;
    x->reply.status = 0;
    exchange_fail(x, FAULT_MEMORY);
    return WEIR_FAIL;
}

static enum io produce(struct exchange *x, void *arg, struct chain *out)
{
    struct embed_slot *slot = arg;
    if (embed_waits(x))
        return IO_AGAIN;
    slot->out = out;
    weir_result r = slot->produce(slot->produce_arg, exchange_out(x));
    slot->out = NULL;
    if (r == WEIR_WAIT && !embed_wait(x))
        r = WEIR_FAIL;
    switch (r) {
    case WEIR_PASS:
        if (out->bytes)
            return IO_OK;
        exchange_wake(x); /* nothing yet: others have their turn before it is called again */
        return IO_AGAIN;
    case WEIR_WAIT:
        return IO_AGAIN;
    case WEIR_END:
        return IO_EOF;
    default:
        exchange_fail(x, FAULT_HOOK);
        return IO_ERR;
    }
}

weir_result weir_reply_stream(weir_exchange *wx, int status, const char *type,
                              weir_result (*produce_more)(void *arg, weir_exchange *x), void *arg)
{
    struct exchange *x = exchange_in(wx);
    struct embed_slot *slot = embed_slot_of(x);
    if (!produce_more || !begin(x, status, type))
        return WEIR_FAIL;
    slot->produce = produce_more;
    slot->produce_arg = arg;
    x->reply.produce = produce;
    x->reply.arg = slot;
    return WEIR_REPLY;
}

static int add_to_reply(struct exchange *x, const char *name, weir_str value,
                        int (*add)(weir_head *to, const char *name, weir_str value))
{
    if (!x->reply.status || x->head_sent) /* none was begun, it was refused, or it is on its way */
        return 0;
    /* A head of that status alone decides what may be said in it. */
    struct head h = {.status = x->reply.status, .fields = x->reply.fields};
    int good = add((weir_head *) (void *) &h, name, value);
    x->reply.fields = h.fields;
    return good;
}

int weir_reply_field(weir_exchange *x, const char *name, weir_str value)
{
    return add_to_reply(exchange_in(x), name, value, weir_set_field);
}

int weir_reply_add_field(weir_exchange *x, const char *name, weir_str value)
{
    return add_to_reply(exchange_in(x), name, value, weir_add_field);
}

int weir_write(weir_exchange *wx, const void *p, size_t n)
{
    struct exchange *x = exchange_in(wx);
    struct embed_slot *slot = embed_slot_of(x);
    if (!slot->out)
        return 0;
    if (n == 0 || chain_copy(slot->out, &x->worker->buffers, str_of(p, n)))
        return 1;
    memory_wait(x);
    return 0;
}

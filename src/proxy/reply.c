/* SPDX-License-Identifier: Apache-2.0 */
/* reply: see reply.h. The body of a fault's reply is "CODE reason_code" and a sentence, so that
 * a person who sees it knows what to look for in the log. */
#include "proxy/reply.h"

#include "proxy/driver.h"

void reply_init(struct exchange *x, uint16_t status)
{
    x->reply = (struct reply){.status = status};
    fields_init(&x->reply.fields, &x->arena);
}

bool reply_text(struct exchange *x, uint16_t status, struct str type, struct str body)
{
    reply_init(x, status);
    x->reply.body = body;
    return fields_add_id(&x->reply.fields, FIELD_CONTENT_TYPE, type);
}

/* Retry-After of an open breaker, or where too many wait. False: memory. */
static bool say_when(struct exchange *x, enum fault f)
{
    const struct breaker *b = f == FAULT_BREAKER_OPEN ? x->plan->breaker : NULL;
    unsigned wait = b ? breaker_wait(b, loop_now(x->worker->loop)) : 1;
    struct str text = arena_printf(&x->arena, "%u", wait);
    return text.p && fields_add_id(&x->reply.fields, FIELD_RETRY_AFTER, text);
}

void reply_fault(struct exchange *x, enum fault f)
{
    const struct fault_row *row = fault_row(f);
    struct str reason = status_reason((uint16_t) row->status);
    struct str body =
        arena_printf(&x->arena, "%d %.*s: %s\n", row->status, STR_ARG(reason), row->name);
    if (!reply_text(x, (uint16_t) row->status, STR("text/plain; charset=utf-8"), body))
        reply_init(x, (uint16_t) row->status);
    /* RFC 9110 15.5.6; of what CONNECT names nothing is allowed. */
    struct str allow = x->allow.n ? x->allow : STR("");
    if (row->status == 405 && !fields_add_id(&x->reply.fields, FIELD_ALLOW, allow))
        reply_init(x, (uint16_t) row->status);
    if ((f == FAULT_BREAKER_OPEN || f == FAULT_QUEUE_FULL) && !say_when(x, f))
        reply_init(x, (uint16_t) row->status);
    if (row->side == FAULT_SIDE_CLIENT && f != FAULT_NO_ROUTE && f != FAULT_NO_METHOD &&
        f != FAULT_DENIED)
        x->reply.close = true;
}

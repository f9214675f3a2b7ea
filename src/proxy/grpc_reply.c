/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_reply: see grpc_reply.h. Holds no state of its own: x->response_pump.messages is in the
 * arena. */
#include "proxy/grpc_reply.h"

#include "http/h1_write.h"
#include "proxy/driver.h"

/* The status of f as fields. HTTP's status alone counts when there is no fault. */
static enum fault add_status(struct exchange *x, struct fields *fields, enum fault f, uint16_t http)
{
    struct str why = f ? str_c(fault_name(f)) : status_reason(http);
    struct str status = arena_printf(&x->arena, "%d", (int) grpc_status_of(f, http));
    struct str message = grpc_message(&x->arena, why);
    return status.p && message.p && fields_add(fields, STR("grpc-status"), status) &&
                   fields_add(fields, STR("grpc-message"), message)
               ? FAULT_OK
               : FAULT_MEMORY;
}

enum fault grpc_reply(struct exchange *x, struct head *h)
{
    static const char *const types[] = {"", "application/grpc", "application/grpc-web",
                                        "application/grpc-web-text"};
    struct str format;
    enum grpc_kind kind = grpc_kind(x->in, &format);
    if (kind == GRPC_NONE || h->status < 300)
        return FAULT_OK;
    struct str parts[] = {str_c(types[kind]), format};
    struct str type = arena_join(&x->arena, parts, 2);
    fields_remove_id(&h->fields, FIELD_CONTENT_TYPE);
    if (!type.p || !fields_add_id(&h->fields, FIELD_CONTENT_TYPE, type))
        return FAULT_MEMORY;
    enum fault f = add_status(x, &h->fields, x->fault, h->status);
    h->status = 200;
    h->reason = status_reason(200);
    h->body = BODY_NONE;
    h->length = 0;
    if (x->in->major == 2)
        h->declared = H1_LENGTH_UNSAID;
    return f;
}

/* What the Content-Type of the answer says. */
static enum grpc_kind answered(const struct exchange *x)
{
    const struct field *type = fields_get_id(&x->response->fields, FIELD_CONTENT_TYPE);
    return type && x->response->status == 200 ? grpc_type(type->value, NULL) : GRPC_NONE;
}

void grpc_follow(struct exchange *x)
{
    x->response_pump.messages = NULL;
    if (answered(x) == GRPC_CALL) /* without memory it is not followed */
        x->response_pump.messages = arena_zalloc(&x->arena, sizeof(struct grpc_frames));
}

/* Trailers reach this client: by HTTP/2, or as gRPC-Web's last message. */
static bool hears_trailers(const struct exchange *x)
{
    return x->response->body == BODY_CHUNKED && answered(x) == (enum grpc_kind) x->grpc &&
           (x->grpc != GRPC_CALL || x->in->major == 2);
}

/* All that came was written, and no message is begun. What a hook took and did not give back was
 * passed, but not written. */
static bool between_messages(const struct pump *p)
{
    return p->messages && grpc_frames_between(p->messages) && p->state == PUMP_COPY && !p->hooked &&
           !p->held.bytes && p->sink->fault == FAULT_OK;
}

bool grpc_end(struct exchange *x, enum fault f)
{
    struct pump *p = &x->response_pump;
    uint16_t status = (uint16_t) fault_row(f)->status;
    if (!status || f == FAULT_MEMORY_STALL || !between_messages(p) || !hears_trailers(x))
        return false;
    struct fields *trailers = arena_alloc(&x->arena, sizeof(*trailers));
    if (!trailers)
        return false;
    fields_init(trailers, &x->arena);
    if (add_status(x, trailers, f, status) != FAULT_OK)
        return false;
    attempt_end(x->attempt, false, f);
    pump_stop(&x->request, x);
    return pump_end(p, x, trailers) == PUMP_DONE;
}

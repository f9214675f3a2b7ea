/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h2_write: the writing half of a stream's leg: heads from values, body bytes in a chain from
 * which nghttp2 frames as much as the windows allow. Invariants: see leg_h2.c; nothing is submitted
 * for a stream behind its end. */
#include "base/panic.h"
#include "http/websocket.h"
#include "proxy/driver.h"
#include "proxy/h2_callbacks.h"
#include "proxy/leg_h2.h"

/* The stream is closed. */
static enum fault shut(const struct leg_h2 *h)
{
    if (!h->link)
        return FAULT_CLIENT_GONE;
    return h->leg.fault ? h->leg.fault : FAULT_UP_WRITE;
}

enum fault leg_h2_submitted(struct leg_h2 *h, int answer)
{
    if (answer == NGHTTP2_ERR_NOMEM)
        return FAULT_MEMORY;
    if (answer < 0)
        return shut(h);
    h2_conn_wrote(h->c);
    return FAULT_OK;
}

/* Before bytes are queued: what begins to wait now has not been waiting since the last write. */
static void begin_to_wait(struct leg_h2 *h)
{
    if (!h->leg.ops->queued(&h->leg))
        h->leg.last_out = loop_now(h->c->worker->loop);
}

enum fault leg_h2_write_interim(struct leg *l, const struct head *head)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    nghttp2_nv *list;
    size_t n;
    if (leg_h2_is_shut(h))
        return shut(h);
    enum fault f = h2_response_list(head, &l->x->arena, &list, &n);
    if (f != FAULT_OK)
        return f;
    begin_to_wait(h);
    f = leg_h2_submitted(
        h, nghttp2_submit_headers(h->c->ng, NGHTTP2_FLAG_NONE, h->id, NULL, list, n, NULL));
    h->unsent_heads += f == FAULT_OK;
    return f;
}

/* 101 to what came as an extended CONNECT: 200, without what only a handshake needs (RFC 8441 5),
 * which the client cannot look at: that is done here (RFC 6455 4.1). Another 2xx would look like
 * that to it. */
static enum fault switched(struct leg_h2 *h, const struct head *head, struct head *out)
{
    *out = *head;
    if (head->status / 100 == 2 && h->leg.x->in->upgrade.n)
        return FAULT_UP_UPGRADE;
    if (head->status != 101)
        return FAULT_OK;
    const struct field *key = fields_get_id(&h->leg.x->in->fields, FIELD_SEC_WEBSOCKET_KEY);
    const struct field *accept = fields_get(&head->fields, STR("Sec-WebSocket-Accept"));
    if (!key || !accept || !websocket_accepts(key->value, accept->value))
        return FAULT_UP_UPGRADE;
    fields_init(&out->fields, &h->leg.x->arena);
    if (!fields_copy(&out->fields, &head->fields))
        return FAULT_MEMORY;
    fields_remove(&out->fields, STR("Sec-WebSocket-Accept"));
    out->status = 200;
    return FAULT_OK;
}

enum fault leg_h2_write_head(struct leg *l, const struct head *head)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    must(h->writing == H2_HEAD);
    nghttp2_nv *list;
    size_t n;
    struct head out;
    if (leg_h2_is_shut(h))
        return shut(h);
    enum fault f = switched(h, head, &out);
    if (f == FAULT_OK)
        f = h2_response_list(&out, &l->x->arena, &list, &n);
    if (f != FAULT_OK)
        return f;
    h->body_out = head->body != BODY_NONE && !(head->body == BODY_LENGTH && !head->length);
    const nghttp2_data_provider body = {.read_callback = h2_read_body};
    begin_to_wait(h);
    f = leg_h2_submitted(
        h, nghttp2_submit_response(h->c->ng, h->id, list, n, h->body_out ? &body : NULL));
    if (f != FAULT_OK)
        return f;
    h->unsent_heads++;
    h->writing = head->body == BODY_TUNNEL ? H2_TUNNEL : h->body_out ? H2_BODY : H2_DONE;
    return FAULT_OK;
}

/* nghttp2 asks for the body again. */
static enum fault resume(struct leg_h2 *h)
{
    int answer = nghttp2_session_resume_data(h->c->ng, h->id);
    if (answer == NGHTTP2_ERR_INVALID_ARGUMENT)
        answer = 0; /* it was not waiting */
    return leg_h2_submitted(h, answer);
}

enum fault leg_h2_write_block(struct leg *l, struct chain *from)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    if (!from->bytes)
        return FAULT_OK;
    if (leg_h2_is_shut(h))
        return shut(h);
    if (h->writing != H2_BODY && h->writing != H2_TUNNEL) {
        chain_clear(from, &h->c->worker->buffers); /* no body may be sent: dropped */
        return FAULT_OK;
    }
    begin_to_wait(h);
    chain_move(&h->out, from, from->bytes, &h->c->worker->buffers);
    leg_h2_recount(h);
    return resume(h);
}

bool leg_h2_keep(struct leg *l, size_t bytes)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    struct h2_conn *c = h->c;
    if (!c || c->replays - h->kept + bytes > H2_REPLAYS)
        return false;
    c->replays += bytes - h->kept;
    h->kept = bytes;
    return true;
}

void leg_h2_recount(struct leg_h2 *h)
{
    if (h->link)
        return;
    size_t held = h->coming > h->out.bytes ? h->coming : h->out.bytes;
    size_t floor = h2_floor(h->c->max_streams);
    size_t excess = held > floor ? held - floor : 0;
    h->c->excess += excess - h->excess;
    h->excess = excess;
}

/* Beyond its floor a stream may have an nth of what there is for n of them and the next one to
 * come, as far as others have left it: those who came early may hold more. */
size_t leg_h2_share(struct leg *l, size_t ahead)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    if (!h->c)
        return SIZE_MAX; /* what is written fails */
    h->coming = ahead;
    leg_h2_recount(h);
    size_t left = H2_SHARED > h->c->excess ? H2_SHARED - h->c->excess : 0;
    size_t even = H2_SHARED / (h->c->n_streams + 1), part = h->excess + left;
    return h2_floor(h->c->max_streams) + (part < even ? part : even);
}

enum fault leg_h2_write_end(struct leg *l, const struct fields *trailers)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    if (h->writing != H2_BODY && h->writing != H2_TUNNEL)
        return FAULT_OK;
    if (leg_h2_is_shut(h))
        return shut(h);
    begin_to_wait(h);
    h->writing = H2_DONE;
    h->trailers_out = trailers && trailers->n ? trailers : NULL;
    return resume(h);
}

/* Trailers go out behind the last DATA. */
static bool queue_trailers(struct leg_h2 *h)
{
    nghttp2_nv *list;
    size_t n;
    if (h2_trailer_list(h->trailers_out, &h->leg.x->arena, &list, &n) != FAULT_OK ||
        nghttp2_submit_trailer(h->c->ng, h->id, list, n) != 0)
        return false;
    h->unsent_heads++;
    return true;
}

ssize_t leg_h2_body_length(struct leg_h2 *h, size_t max, uint32_t *flags)
{
    size_t n = h->out.bytes < max ? h->out.bytes : max;
    bool last = h->writing == H2_DONE && n == h->out.bytes;
    if (!n && !last)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (h->trailers_out) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            if (!queue_trailers(h)) {
                leg_h2_break(h, FAULT_MEMORY); /* before nghttp2 resets it: the peer did not */
                return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
            }
            h->trailers_out = NULL;
        }
    }
    return (ssize_t) n;
}

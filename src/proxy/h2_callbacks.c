/* SPDX-License-Identifier: Apache-2.0 */
/* h2_callbacks: see h2_callbacks.h. Invariant: a stream's user data is its leg until the leg is
 * closed, then NULL; frames of such a stream are counted and dropped. */
#include "proxy/h2_callbacks.h"

#include "proxy/driver.h"
#include "proxy/h2_conn.h"
#include "proxy/leg_h2.h"

#define UNREAD_MAX                                                                                 \
    (128u * 1024) /* of a head that is refused anyway, counted as RFC 9113 6.5.2 does */

static struct leg_h2 *stream_of(nghttp2_session *ng, int32_t id)
{
    return id ? nghttp2_session_get_stream_user_data(ng, id) : NULL;
}

/* Which budget a frame is charged to; H2_EVENTS: none. */
static enum h2_event event_of(const nghttp2_frame_hd *hd)
{
    switch (hd->type) {
    case NGHTTP2_DATA:
        return hd->length == 0 && !(hd->flags & NGHTTP2_FLAG_END_STREAM) ? H2_EMPTY_DATA
                                                                         : H2_EVENTS;
    case NGHTTP2_HEADERS:
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_GOAWAY:
        return H2_EVENTS;
    case NGHTTP2_SETTINGS:
        return H2_SETTINGS;
    case NGHTTP2_PING:
        return H2_PING;
    case NGHTTP2_PRIORITY:
    case NGHTTP2_PRIORITY_UPDATE:
        return H2_PRIORITY;
    case NGHTTP2_WINDOW_UPDATE:
        return H2_WINDOW;
    case NGHTTP2_CONTINUATION:
        return H2_CONTINUATION;
    default:
        return H2_OTHER;
    }
}

static void note_over(struct h2_conn *c, int32_t id)
{
    c->over[c->n_over++ % H2_OVER] = id;
}

/* The peer opens id: it may not open a smaller one any more. */
static void note_skipped(struct h2_conn *c, int32_t id)
{
    int32_t from = id - 2 * (int32_t) H2_OVER;
    if (from <= c->last_id)
        from = c->last_id ? c->last_id + 2 : 1;
    for (; from < id; from += 2)
        note_over(c, -from);
}

/* DATA or HEADERS where the peer itself has left no stream (RFC 9113 5.1, 5.1.1); for streams that
 * we reset they may still be on their way, and mean nothing. PRIORITY has a rule of its own, which
 * nghttp2 leaves out when it need not look at priorities of old (6.3). 0: nothing is wrong. */
static uint32_t misplaced(const struct h2_conn *c, const nghttp2_frame_hd *hd)
{
    if (hd->type == NGHTTP2_PRIORITY)
        return hd->stream_id ? 0 : NGHTTP2_PROTOCOL_ERROR;
    if ((hd->type != NGHTTP2_DATA && hd->type != NGHTTP2_HEADERS) || hd->stream_id > c->last_id ||
        nghttp2_session_find_stream(c->ng, hd->stream_id))
        return 0;
    for (uint32_t i = 0; i < H2_OVER; i++) {
        if (c->over[i] == hd->stream_id)
            return NGHTTP2_STREAM_CLOSED;
        if (c->over[i] == -hd->stream_id && hd->stream_id)
            return NGHTTP2_PROTOCOL_ERROR;
    }
    return 0;
}

bool h2_frame_begins(struct h2_conn *c, const nghttp2_frame_hd *hd)
{
    c->greeted = true;
    uint32_t wrong = misplaced(c, hd);
    if (wrong) {
        h2_conn_error(c, wrong);
        return false;
    }
    enum h2_event e = event_of(hd);
    if (hd->type == NGHTTP2_SETTINGS && (hd->flags & NGHTTP2_FLAG_ACK) && c->unacked)
        return true; /* we asked for it */
    return e == H2_EVENTS || h2_conn_charge(c, e);
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_conn *c = user;
    int32_t id = frame->hd.stream_id;
    struct leg_h2 *h = stream_of(ng, id);
    c->head_since = loop_now(c->worker->loop);
    c->unread = 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        note_skipped(c, id);
        c->last_id = id;
        h2_budget_repay(&c->budget, H2_PRIORITY, 2);
        h = c->ops->begin(c, id);
        if (h && nghttp2_session_set_stream_user_data(ng, id, h) != 0)
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (h)
        leg_h2_head_begins(h);
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t n_name, const uint8_t *value, size_t n_value, uint8_t flags, void *user)
{
    struct h2_conn *c = user;
    struct leg_h2 *h = stream_of(ng, frame->hd.stream_id);
    (void) flags;
    if (h) {
        h2_reader_add(&h->reader, str_of((const char *) name, n_name),
                      str_of((const char *) value, n_value));
    } else {
        c->unread += n_name + n_value + 32;
    }
    if (h ? !h2_reader_bomb(&h->reader) : c->unread < UNREAD_MAX)
        return 0;
    h2_conn_fail(c, FAULT_H2_HEADER_BOMB);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
}

static void headers_complete(struct h2_conn *c, const nghttp2_frame *frame, struct leg_h2 *h)
{
    c->head_since = 0;
    if (h) {
        h->leg.bytes_in += frame->hd.length + 9;
        leg_h2_head_ends(h, frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
    } else if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        c->ops->refused(c, frame->hd.stream_id);
    }
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_conn *c = user;
    struct leg_h2 *h = stream_of(ng, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        headers_complete(c, frame, h);
        break;
    case NGHTTP2_DATA:
        if (h && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
            leg_h2_ended(h);
        break;
    case NGHTTP2_RST_STREAM:
        if (h && !c->upstream) /* there the end of the stream tells more */
            leg_h2_break(h, FAULT_CLIENT_GONE);
        note_over(c, frame->hd.stream_id);
        if (!h2_conn_charge(c, H2_RESET))
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        break;
    default:
        if (frame->hd.type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK))
            h2_conn_acknowledged(c);
        if (c->ops->heard && !frame->hd.stream_id)
            c->ops->heard(c, frame);
        break;
    }
    return 0;
}

static int on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes, size_t n,
                   void *user)
{
    struct h2_conn *c = user;
    struct leg_h2 *h = stream_of(ng, id);
    (void) flags;
    if (h && h->c)
        leg_h2_data(h, c->in, (const char *) bytes, n);
    else
        h2_conn_credit(c);
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct h2_conn *c = user;
    struct leg_h2 *h = stream_of(ng, id);
    if (nghttp2_session_get_stream_remote_close(ng, id) == 1)
        note_over(c, id);
    if (!h)
        return 0;
    h->closed = true;
    if (h->link)
        leg_h2_up_closed(h, code);
    else if (h->end_sent && h->ended)
        h2_budget_repay(&c->budget, H2_RESET, 1);
    else
        leg_h2_break(h, FAULT_H2_STREAM);
    return 0;
}

/* The peer broke a rule that nghttp2 knows. What it is worth is told by the frame that follows. */
static int on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int why, void *user)
{
    struct h2_conn *c = user;
    struct leg_h2 *h = stream_of(ng, frame->hd.stream_id);
    (void) why;
    if (h && frame->hd.type != NGHTTP2_PUSH_PROMISE) /* which ends the connection, and says so */
        leg_h2_break(h, FAULT_H2_STREAM);
    return h2_conn_charge(c, H2_RESET_CAUSED) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_conn *c = user;
    struct leg_h2 *h = stream_of(ng, frame->hd.stream_id);
    if (h && (frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA))
        leg_h2_framed(h, frame->hd.type, frame->hd.flags, frame->hd.length);
    if (h && h->link && frame->hd.type == NGHTTP2_HEADERS &&
        frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        leg_h2_up_opened(h);
    /* A small frame because no more is there is a message that may be answered; one because the
     * window is small is not: an endpoint pays for that itself, a client would have us pay. */
    if (frame->hd.type == NGHTTP2_DATA &&
        (c->upstream || frame->hd.length >= 256 || (h && !h->out.bytes)))
        h2_budget_sent(&c->budget, 4);
    if (frame->hd.type == NGHTTP2_DATA) /* gRPC measures with a PING for what it reads */
        h2_budget_repay(&c->budget, H2_PING, 1);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR &&
        !c->ending) {
        c->ending = true; /* nghttp2's own verdict */
        c->fault = h2_conn_blame(c, FAULT_H2_PROTOCOL);
    }
    return 0;
}

ssize_t h2_read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
                     nghttp2_data_source *source, void *user)
{
    struct leg_h2 *h = stream_of(ng, id);
    (void) buf;
    (void) source;
    (void) user;
    return h && h->c ? leg_h2_body_length(h, max, flags) : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

/* Queues a DATA frame: nine bytes of front, then n bytes of the leg's chain as they are. */
static int send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *front, size_t n,
                     nghttp2_data_source *source, void *user)
{
    struct h2_conn *c = user;
    struct buf_pool *bp = &c->worker->buffers;
    struct leg_h2 *h = stream_of(ng, frame->hd.stream_id);
    struct chain piece = {0};
    (void) source;
    if (!h || !h->c)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (chain_move(&piece, &h->out, n, bp) == n &&
        chain_copy(&c->out, bp, str_of((const char *) front, 9))) {
        chain_move(&c->out, &piece, n, bp);
        return 0;
    }
    chain_move(&piece, &h->out, h->out.bytes, bp); /* whole slices: nothing is refused */
    h->out = piece;
    c->starved = true;
    return NGHTTP2_ERR_WOULDBLOCK;
}

void h2_callbacks_set(nghttp2_session_callbacks *calls)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(calls, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(calls, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(calls, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(calls, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(calls, on_stream_close);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(calls, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(calls, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(calls, send_data);
}

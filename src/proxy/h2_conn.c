/* SPDX-License-Identifier: Apache-2.0 */
/* h2_conn: see h2_conn.h: reading, writing and the end; what nghttp2 calls is in h2_callbacks.c.
 * Invariants:
 * 1. in is set only while nghttp2 is fed from it.
 * 2. nghttp2 is asked for frames only while out is below OUT_MARK, and nothing is read while out
 *    is at or above it: what a peer that does not read can make us hold is bounded.
 * 3. dead: every stream was told by leg_h2_break; ng is kept until h2_conn_fini.
 * 4. rest is the unqueued end of the last nghttp2_session_mem_send; no other is made before it is
 *    queued. */
#include "proxy/h2_conn.h"

#include "base/panic.h"
#include "proxy/h2_callbacks.h"
#include "proxy/leg_h2.h"

#define OUT_MARK (64u * 1024)
#define READS_A_RUN 8
#define UPSTREAM_WINDOW (2 * 1024 * 1024)
#define STREAM_WINDOW (32u * 1024)
#define NARROW_WINDOW (2u * 1024)
#define HPACK_TABLE 4096
#define CREDIT (H2_WINDOW_BYTES / 16) /* is given in portions of at least so many bytes */
#define PREFACE_BYTES 24u             /* RFC 9113 3.4 */

bool h2_conn_charge(struct h2_conn *c, enum h2_event e)
{
    if (c->upstream && (e == H2_RESET || e == H2_RESET_CAUSED || e == H2_STALL))
        return true; /* an endpoint may: its exchanges tell */
    enum fault f = h2_budget_take(&c->budget, e, loop_now(c->worker->loop));
    if (f == FAULT_OK)
        return true;
    h2_conn_fail(c, f);
    return false;
}

enum fault h2_conn_blame(const struct h2_conn *c, enum fault f)
{
    if (!c->upstream || fault_row(f)->side != FAULT_SIDE_CLIENT)
        return f;
    switch (f) {
    case FAULT_CLIENT_GONE:
        return FAULT_UP_CLOSED;
    case FAULT_H2_MALFORMED:
        return FAULT_UP_HEAD;
    case FAULT_H2_LENGTH:
        return FAULT_UP_FRAMING;
    case FAULT_H2_STREAM:
        return FAULT_UP_H2_STREAM;
    case FAULT_REQ_HEAD_LARGE:
    case FAULT_REQ_TRAILER_LARGE:
    case FAULT_H2_HEADER_BOMB:
        return FAULT_UP_HEAD_LARGE;
    case FAULT_H2_PROTOCOL:
        return FAULT_UP_H2_PROTOCOL;
    default:
        return FAULT_UP_H2_FLOOD;
    }
}

void h2_conn_wrote(struct h2_conn *c)
{
    if (!c->dead)
        loop_queue_late(c->worker->loop, &c->flush);
}

/* What ends the connection is counted with each exchange that it ends, or once if there is none;
 * that a client went away between its requests is no fault. An endpoint's answer that came whole
 * stays one, however soon its connection ends. */
static void break_streams(struct h2_conn *c, enum fault f)
{
    bool counted = c->told || c->upstream || f == FAULT_CLIENT_GONE || f == FAULT_SHUTDOWN;
    list_each_safe(node, &c->streams) {
        struct leg_h2 *h = list_entry(node, struct leg_h2, node);
        if (h->link && h->ended)
            exchange_wake(h->leg.x);
        else
            leg_h2_break(h, f);
        counted |= h->leg.fault == f;
    }
    if (!counted)
        counter_add(&c->worker->stats->faults[f], 1);
    c->told = true;
}

static void tell_of_end(struct h2_conn *c)
{
    if (c->ops->heard)
        c->ops->heard(c, NULL);
}

static void end(struct h2_conn *c, enum fault f, uint32_t code)
{
    if (c->ending || c->dead)
        return;
    f = h2_conn_blame(c, f);
    c->ending = true;
    c->fault = f;
    tell_of_end(c);
    if (nghttp2_session_terminate_session(c->ng, code) != 0)
        h2_conn_die(c, f);
    break_streams(c, f);
    h2_conn_wrote(c);
}

void h2_conn_fail(struct h2_conn *c, enum fault f)
{
    end(c, f, f == FAULT_MEMORY ? NGHTTP2_INTERNAL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM);
}

void h2_conn_error(struct h2_conn *c, uint32_t code)
{
    end(c, FAULT_H2_PROTOCOL, code);
}

void h2_conn_die(struct h2_conn *c, enum fault f)
{
    if (c->dead)
        return;
    c->dead = true;
    if (c->fault == FAULT_OK)
        c->fault = h2_conn_blame(c, f);
    tell_of_end(c);
    loop_unqueue(&c->again);
    chain_clear(&c->out, &c->worker->buffers);
    c->rest = (struct str){0};
    break_streams(c, c->fault);
    loop_queue_late(c->worker->loop, &c->flush); /* changed is told from there */
}

/* Not left to nghttp2, which would keep up to half of the window to itself: what others hold must
 * not be all of the rest. */
void h2_conn_credit(struct h2_conn *c)
{
    int32_t came = nghttp2_session_get_effective_recv_data_length(c->ng);
    int32_t owed = came - (int32_t) c->withheld;
    if (owed >= (int32_t) CREDIT &&
        nghttp2_submit_window_update(c->ng, NGHTTP2_FLAG_NONE, 0, owed) != 0)
        h2_conn_fail(c, FAULT_MEMORY);
}

void h2_conn_first_window(struct h2_conn *c, uint32_t bytes)
{
    const nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, bytes};
    if (c->ending || c->dead)
        return;
    if (nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, &entry, 1) != 0) {
        h2_conn_fail(c, FAULT_MEMORY);
        return;
    }
    c->unacked++;
    c->stream_bytes = bytes;
    h2_conn_wrote(c);
}

static void set_window(struct h2_conn *c, size_t bytes)
{
    if (nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, 0, (int32_t) bytes) != 0)
        h2_conn_fail(c, FAULT_MEMORY);
    h2_conn_wrote(c);
}

/* The spare part of the connection's window is there for narrow streams alone: it is given when
 * the client has heard of these, and taken back before the others come. */
void h2_conn_weigh(struct h2_conn *c)
{
    if (c->unacked || c->ending || c->dead)
        return;
    uint32_t even = H2_SPARE / c->max_streams;
    if (!c->narrow && c->windows > H2_WINDOW_BYTES - H2_SPARE) {
        c->narrow = true;
        h2_conn_first_window(c, even < NARROW_WINDOW ? even : NARROW_WINDOW);
    } else if (c->narrow && c->windows <= H2_WINDOWS / 2 &&
               c->n_uploads * STREAM_WINDOW <= H2_WINDOWS / 2) {
        c->narrow = false;
        set_window(c, H2_WINDOW_BYTES - H2_SPARE);
        h2_conn_first_window(c, STREAM_WINDOW);
    }
}

void h2_conn_acknowledged(struct h2_conn *c)
{
    c->unacked -= c->unacked > 0;
    list_each(node, &c->streams)
        leg_h2_window_changed(list_entry(node, struct leg_h2, node));
    if (c->upstream)
        return;
    if (c->narrow && !c->unacked)
        set_window(c, H2_WINDOW_BYTES);
    h2_conn_weigh(c);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void pass(struct h2_conn *c, const void *p, size_t n)
{
    ssize_t used = nghttp2_session_mem_recv(c->ng, p, n);
    if (used == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS)
        h2_conn_fail(c, FAULT_H2_CONTINUATION_FLOOD);
    else if (used < 0)
        h2_conn_error(c, NGHTTP2_PROTOCOL_ERROR);
}

/* A frame's front is complete. False: the connection ends. */
static bool frame_begins(struct h2_conn *c)
{
    const uint8_t *f = c->front;
    nghttp2_frame_hd hd = {
        .length = (size_t) f[0] << 16 | (size_t) f[1] << 8 | f[2], .type = f[3], .flags = f[4]};
    hd.stream_id = (int32_t) ((uint32_t) (f[5] & 0x7f) << 24 | (uint32_t) f[6] << 16 |
                              (uint32_t) f[7] << 8 | f[8]);
    c->n_front = 0;
    c->frame_left = hd.length;
    return h2_frame_begins(c, &hd);
}

/* Passes on what the n bytes at p hold of one frame; nghttp2 counts the pieces of a front as if
 * each were a frame, so it gets them whole. Returns the bytes used. */
static size_t feed_frame(struct h2_conn *c, const char *p, size_t n)
{
    size_t front = 0;
    if (!c->frame_left) {
        size_t missing = sizeof(c->front) - c->n_front;
        front = missing < n ? missing : n;
        memcpy(c->front + c->n_front, p, front);
        c->n_front = (uint8_t) (c->n_front + front);
        if (front < missing || !frame_begins(c))
            return n;
        if (front < sizeof(c->front)) {
            pass(c, c->front, sizeof(c->front));
            return front;
        }
    }
    size_t payload = c->frame_left < n - front ? c->frame_left : n - front;
    c->frame_left -= payload;
    pass(c, p, front + payload);
    return front + payload;
}

void h2_conn_feed(struct h2_conn *c, struct block *b, const char *p, size_t n)
{
    c->in = b;
    struct stats *stats = c->worker->stats;
    c->last_in = loop_now(c->worker->loop);
    counter_add(c->upstream ? &stats->bytes_upstream_in : &stats->bytes_client_in, n);
    while (n && !c->ending && !c->dead) {
        size_t k = feed_frame(c, p, n);
        p += k;
        n -= k;
    }
    c->in = NULL;
    h2_conn_wrote(c);
}

static bool may_read(const struct h2_conn *c)
{
    return !c->dead && !c->ending && !c->starved && c->out.bytes < OUT_MARK &&
           conn_readable(c->conn);
}

static void read_some(struct h2_conn *c)
{
    struct buf_pool *bp = &c->worker->buffers;
    struct block *b = NULL;
    for (int i = 0; i < READS_A_RUN && may_read(c); i++) {
        if (!b || b->refs > 1 || block_room(b) == 0) {
            block_unref(b);
            b = block_new(bp);
            if (!b) {
                c->starved = true;
                break;
            }
        }
        size_t n;
        enum io io = conn_read(c->conn, b->bytes + b->fill, block_room(b), &n);
        if (io == IO_AGAIN)
            break;
        if (io != IO_OK) {
            h2_conn_die(c, FAULT_CLIENT_GONE);
            break;
        }
        const char *p = b->bytes + b->fill;
        b->fill += (uint32_t) n;
        h2_conn_feed(c, b, p, n);
        if (b->refs == 1)
            b->fill = 0;
    }
    block_unref(b);
    if (may_read(c))
        loop_queue(c->worker->loop, &c->again);
    h2_conn_wrote(c);
}

static void read_again(struct task *t)
{
    read_some(list_entry(t, struct h2_conn, again));
}

void h2_conn_event(struct h2_conn *c, unsigned events)
{
    c->starved = false;
    if ((events & EV_WRITE) || !events)
        h2_conn_wrote(c);
    if (may_read(c))
        loop_queue(c->worker->loop, &c->again);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Our first SETTINGS as the peer gets it. nghttp2 ends the connection when a peer opens one stream
 * too many; RFC 9113 5.1.2 asks for a stream error. So nghttp2 is told of a limit that is never
 * reached, and the peer of the one that h2_session keeps to. */
static void say_max_streams(struct h2_conn *c, char *frame, size_t n)
{
    for (size_t at = 9; at + 6 <= n; at += 6) {
        if (frame[at] != 0 || frame[at + 1] != NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            continue;
        for (int i = 0; i < 4; i++)
            frame[at + 2 + (size_t) i] = (char) (c->max_streams >> (24 - 8 * i));
    }
}

static bool put_rest(struct h2_conn *c)
{
    char first[128];
    struct str text = c->rest;
    if (!c->settled && text.n <= sizeof(first)) {
        memcpy(first, text.p, text.n);
        say_max_streams(c, first, text.n);
        text.p = first;
    }
    if (text.n && !chain_copy(&c->out, &c->worker->buffers, text)) {
        c->starved = true;
        return false;
    }
    c->settled = true;
    c->rest = (struct str){0};
    return true;
}

/* Frames what there is, up to the mark. False: the connection cannot go on. */
static bool pull(struct h2_conn *c)
{
    if (c->rest.n && !put_rest(c))
        return true;
    while (c->out.bytes < OUT_MARK && !c->starved) {
        const uint8_t *p;
        ssize_t n = nghttp2_session_mem_send(c->ng, &p);
        if (n < 0)
            return false;
        if (n == 0)
            return true;
        c->rest = str_of((const char *) p, (size_t) n);
        if (!put_rest(c))
            return true;
    }
    return true;
}

uint64_t h2_conn_arrived(const struct h2_conn *c)
{
    return c->written - conn_under_way(c->conn);
}

/* Writes out. False: the kernel takes no more now, or the connection broke. */
static bool write_out(struct h2_conn *c)
{
    size_t n = c->out.bytes;
    enum io io = conn_send(c->conn, &c->out, &c->worker->buffers);
    if (io == IO_ERR)
        h2_conn_die(c, FAULT_CLIENT_GONE);
    if (io != IO_OK)
        return false;
    n -= c->out.bytes;
    c->last_out = loop_now(c->worker->loop);
    c->written += n;
    struct stats *stats = c->worker->stats;
    counter_add(c->upstream ? &stats->bytes_upstream_out : &stats->bytes_client_out, n);
    return true;
}

/* Late-queue task: one write for everything queued, more only when it does not fit. */
static void flush(struct task *t)
{
    struct h2_conn *c = list_entry(t, struct h2_conn, flush);
    while (!c->dead) {
        if (!c->out.bytes)
            c->last_out = loop_now(c->worker->loop);
        if (!pull(c))
            h2_conn_die(c, FAULT_MEMORY);
        if (!c->out.bytes || !write_out(c))
            break;
    }
    if (!c->dead && !c->out.bytes && !c->rest.n && !nghttp2_session_want_read(c->ng) &&
        !nghttp2_session_want_write(c->ng))
        h2_conn_die(c, c->fault ? c->fault : FAULT_CLIENT_GONE);
    if (!c->dead && !heap_settle(&c->heap, &c->worker->account))
        h2_conn_fail(c, FAULT_MEMORY);
    if (may_read(c))
        loop_queue(c->worker->loop, &c->again);
    c->ops->changed(c);
}

/* ---- birth and end --------------------------------------------------------------------------- */

static int new_session(struct h2_conn *c)
{
    nghttp2_session_callbacks *calls = NULL;
    nghttp2_option *o = NULL;
    nghttp2_mem mem = {&c->heap, heap_alloc, heap_free, heap_zalloc, heap_resize};
    int bad = nghttp2_session_callbacks_new(&calls);
    if (!bad)
        bad = nghttp2_option_new(&o);
    if (!bad) {
        h2_callbacks_set(calls);
        nghttp2_option_set_no_auto_window_update(o, 1);
        nghttp2_option_set_no_http_messaging(o, 1); /* h2_head.c is stricter, and says why */
        nghttp2_option_set_no_closed_streams(o, 1);
        nghttp2_option_set_max_deflate_dynamic_table_size(o, HPACK_TABLE);
        nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX); /* h2_budget does */
        nghttp2_option_set_builtin_recv_extension_type(o, NGHTTP2_PRIORITY_UPDATE);
        bad = c->upstream ? nghttp2_session_client_new3(&c->ng, calls, c, o, &mem)
                          : nghttp2_session_server_new3(&c->ng, calls, c, o, &mem);
    }
    nghttp2_option_del(o);
    nghttp2_session_callbacks_del(calls);
    return bad;
}

/* What both sides begin with; c's own fields are set. */
static bool begin(struct h2_conn *c, const nghttp2_settings_entry *settings, size_t n)
{
    int32_t window = c->upstream ? UPSTREAM_WINDOW : (int32_t) (H2_WINDOW_BYTES - H2_SPARE);
    c->stream_bytes = c->upstream ? c->worker->first_window : STREAM_WINDOW;
    c->unacked = 1;
    c->flush.run = flush;
    c->again.run = read_again;
    c->last_out = c->last_in = loop_now(c->worker->loop);
    list_init(&c->streams);
    if (new_session(c) != 0)
        return false;
    if (nghttp2_submit_settings(c->ng, NGHTTP2_FLAG_NONE, settings, n) != 0 ||
        nghttp2_session_set_local_window_size(c->ng, NGHTTP2_FLAG_NONE, 0, window) != 0 ||
        !heap_settle(&c->heap, &c->worker->account)) {
        nghttp2_session_del(c->ng);
        mem_credit(&c->worker->account, c->heap.charged);
        return false;
    }
    h2_conn_wrote(c);
    return true;
}

bool h2_conn_init(struct h2_conn *c, struct worker *w, struct conn *conn,
                  const struct h2_conn_ops *ops, uint32_t max_streams)
{
    *c = (struct h2_conn){.conn = conn, .worker = w, .ops = ops, .max_streams = max_streams};
    c->frame_left = PREFACE_BYTES;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, INT32_MAX}, /* see say_max_streams */
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, w->snapshot->request_limits.head},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    return begin(c, settings, sizeof(settings) / sizeof(settings[0]));
}

bool h2_conn_init_upstream(struct h2_conn *c, struct worker *w, struct conn *conn,
                           const struct h2_conn_ops *ops)
{
    *c = (struct h2_conn){.conn = conn, .worker = w, .ops = ops, .upstream = true};
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, w->first_window},
    };
    return begin(c, settings, sizeof(settings) / sizeof(settings[0]));
}

void h2_conn_leave(struct h2_conn *c)
{
    must(list_empty(&c->streams));
    bool said = !c->dead && !c->ending &&
                nghttp2_session_terminate_session(c->ng, NGHTTP2_NO_ERROR) == 0 && pull(c);
    while (said && c->out.bytes && write_out(c))
        continue;
    h2_conn_die(c, FAULT_SHUTDOWN);
}

void h2_conn_fini(struct h2_conn *c)
{
    must(list_empty(&c->streams));
    loop_unqueue(&c->flush);
    loop_unqueue(&c->again);
    chain_clear(&c->out, &c->worker->buffers);
    nghttp2_session_del(c->ng);
    c->ng = NULL;
    mem_credit(&c->worker->account, c->heap.charged);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h1_write: the writing half of the HTTP/1.1 leg: heads from values, bodies framed,
 * everything queued in one chain that leaves once, after the run queue, in one send.
 * Invariants: see leg_h1.c; with H1_LENGTH never more than write_left bytes are queued, and the
 * message is complete only when write_left is 0. */
#include "base/panic.h"
#include "http/h1_write.h"
#include "proxy/driver.h"
#include "proxy/hop.h"
#include "proxy/leg_h1.h"

#define BEHIND_MAX 2048u /* bytes of a body that is copied behind its head */

/* Before bytes are queued: what begins to wait now has not been waiting since the last write. */
static void begin_to_wait(struct leg_h1 *h)
{
    if (!h->out.bytes)
        h->leg.last_out = loop_now(h->worker->loop);
}

static struct str connection_field(struct leg_h1 *h, const struct head *head)
{
    struct exchange *x = h->leg.x;
    if (head->body == BODY_TUNNEL || (h->link && head->upgrade.n)) {
        if (h->link && head->te_trailers) /* both go on (RFC 9110 10.1.4) */
            return STR("TE, Upgrade");
        return head->upgrade.n ? STR("Upgrade") : (struct str){0};
    }
    if (h->link) {
        if (!x->worker->draining)
            return head->te_trailers ? STR("TE") : (struct str){0};
        return head->te_trailers ? STR("TE, close") : STR("close");
    }
    if (!x->client_keep || x->worker->draining || h->writing == H1_CLOSE) {
        h->said_close = true;
        return STR("close");
    }
    return x->in->minor == 0 ? STR("keep-alive") : (struct str){0};
}

/* How the body of head will be framed towards this peer. */
static void begin_body(struct leg_h1 *h, const struct head *head)
{
    static const uint8_t phases[] = {
        [BODY_NONE] = H1_DONE,   [BODY_LENGTH] = H1_LENGTH, [BODY_CHUNKED] = H1_CHUNKED,
        [BODY_CLOSE] = H1_CLOSE, [BODY_TUNNEL] = H1_TUNNEL,
    };
    h->writing = phases[head->body];
    h->write_left = head->body == BODY_LENGTH ? head->length : 0;
    h->behind = NULL;
    if (h->writing == H1_LENGTH && !h->write_left)
        h->writing = H1_DONE;
}

static size_t put_text(const struct leg_h1 *h, char *to, size_t room, const struct head *head,
                       struct str connection)
{
    return h->session ? h1_write_response(to, room, head, connection, head->declared)
                      : h1_write_request(to, room, head, connection);
}

/* A head that takes more than is left for it, into a block of its own. */
static enum fault put_large_head(struct leg_h1 *h, const struct head *head, struct str connection)
{
    struct buf_pool *bp = &h->worker->buffers;
    size_t max = h1_head_size(head);
    struct block *b = max > BLOCK_BYTES ? block_new_sized(bp, max) : block_new(bp);
    if (!b && max <= BLOCK_BYTES)
        b = memory_block(h->leg.x); /* what was reserved at the door */
    if (!b)
        return FAULT_MEMORY;
    size_t n = put_text(h, b->bytes, b->cap, head, connection);
    b->fill = (uint32_t) n;
    bool fine = n && chain_add(&h->out, bp, b, b->bytes, n);
    block_unref(b);
    return fine ? FAULT_OK : n ? FAULT_MEMORY : FAULT_REWRITE;
}

/* Queues the head of n bytes that was written into the rest of the arena, of room bytes; behind it
 * is where a small body will be. */
static enum fault keep_head(struct leg_h1 *h, size_t n, size_t room)
{
    size_t body = h->writing == H1_LENGTH ? h->write_left : 0;
    if (body > BEHIND_MAX || body > room - n)
        body = 0;
    char *text = arena_alloc(&h->leg.x->arena, n + body);
    if (body)
        h->behind = text + n;
    return chain_add_static(&h->out, &h->worker->buffers, str_of(text, n)) ? FAULT_OK
                                                                           : FAULT_MEMORY;
}

/* Most heads fit into the rest of the exchange's arena, which outlives the queue. */
static enum fault put_head(struct leg_h1 *h, const struct head *head, struct str connection)
{
    size_t room;
    char *to = arena_rest(&h->leg.x->arena, &room);
    begin_to_wait(h);
    size_t n = put_text(h, to, room, head, connection);
    enum fault f = n ? keep_head(h, n, room) : put_large_head(h, head, connection);
    if (f == FAULT_OK)
        loop_queue_late(h->worker->loop, &h->flush);
    return f;
}

enum fault leg_h1_write_interim(struct leg *l, const struct head *head)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    return put_head(h, head, (struct str){0});
}

enum fault leg_h1_write_head(struct leg *l, const struct head *head)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    must(h->writing == H1_HEAD);
    begin_body(h, head);
    enum fault f = put_head(h, head, connection_field(h, head));
    if (f != FAULT_OK)
        h->writing = H1_HEAD;
    return f;
}

static __attribute__((noinline)) enum fault put_chunk(struct leg_h1 *h, struct chain *from)
{
    struct buf_pool *bp = &h->worker->buffers;
    char line[CHUNK_SIZE_LINE_MAX];
    size_t n = chunk_size_line(line, from->bytes);
    if (!chain_copy(&h->out, bp, str_of(line, n)))
        return FAULT_MEMORY;
    size_t bytes = from->bytes;
    if (chain_move(&h->out, from, bytes, bp) != bytes ||
        !chain_add_static(&h->out, bp, STR("\r\n")))
        return FAULT_MEMORY;
    return FAULT_OK;
}

/* Some of a body of known length. While its head waits a small one goes behind it: what leaves is
 * one piece, and need not be joined for that. Neither way asks for memory. */
static void put_counted(struct leg_h1 *h, struct chain *from)
{
    struct buf_pool *bp = &h->worker->buffers;
    if (!h->behind || !h->out.bytes) {
        h->behind = NULL;
        chain_move(&h->out, from, from->bytes, bp);
        return;
    }
    size_t n = chain_peek(from, h->behind, from->bytes);
    must(chain_add_static(&h->out, bp, str_of(h->behind, n))); /* they join: no node is needed */
    h->behind += n;
    chain_clear(from, bp);
}

enum fault leg_h1_write_block(struct leg *l, struct chain *from)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    struct buf_pool *bp = &h->worker->buffers;
    if (!from->bytes)
        return FAULT_OK;
    begin_to_wait(h);
    enum fault f = FAULT_OK;
    switch ((enum h1_phase) h->writing) {
    case H1_CHUNKED:
        f = put_chunk(h, from);
        break;
    case H1_LENGTH:
        if (from->bytes > h->write_left)
            return FAULT_UP_FRAMING;
        h->write_left -= from->bytes;
        put_counted(h, from);
        break;
    case H1_CLOSE:
    case H1_TUNNEL:
        chain_move(&h->out, from, from->bytes, bp);
        break;
    case H1_HEAD:
    case H1_DONE:
    case H1_BROKEN:
        chain_clear(from, bp); /* no body may be sent: dropped (RFC 9112 6.3) */
        return FAULT_OK;
    }
    if (f == FAULT_OK)
        loop_queue_late(h->worker->loop, &h->flush);
    return f;
}

enum fault leg_h1_write_end(struct leg *l, const struct fields *trailers)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    struct buf_pool *bp = &h->worker->buffers;
    if (h->writing == H1_LENGTH && h->write_left)
        return FAULT_UP_TRUNCATED;
    if (h->writing == H1_CHUNKED) {
        bool ok;
        begin_to_wait(h);
        if (!trailers || !trailers->n) {
            ok = chain_add_static(&h->out, bp, STR("0\r\n\r\n"));
        } else {
            size_t max = h1_trailers_size(trailers);
            char *text = arena_alloc(&l->x->arena, max);
            size_t n = 0;
            if (!text)
                return FAULT_MEMORY;
            enum fault f = h1_write_trailers(text, &n, trailers);
            if (f != FAULT_OK)
                return f;
            ok = chain_copy(&h->out, bp, str_of(text, n));
        }
        if (!ok)
            return FAULT_MEMORY;
        loop_queue_late(h->worker->loop, &h->flush);
    }
    if (h->writing == H1_CLOSE)
        h->said_close = true;
    if (h->writing != H1_TUNNEL)
        h->writing = H1_DONE;
    return FAULT_OK;
}

/* Late-queue task: one send for everything queued, more only when it did not fit one. */
void leg_h1_flush(struct task *t)
{
    struct leg_h1 *h = list_entry(t, struct leg_h1, flush);
    while (h->out.bytes && h->conn && h->conn->may_write) {
        size_t n = h->out.bytes;
        enum io io = conn_send(h->conn, &h->out, &h->worker->buffers);
        if (io == IO_ERR) {
            chain_clear(&h->out, &h->worker->buffers);
            h->leg.fault = h->session ? FAULT_CLIENT_GONE : FAULT_UP_WRITE;
            h->writing = H1_BROKEN;
            exchange_wake(h->leg.x);
            return;
        }
        if (io != IO_OK)
            break;
        n -= h->out.bytes;
        h->leg.bytes_out += n;
        h->leg.last_out = loop_now(h->worker->loop);
        struct stats *stats = h->worker->stats;
        counter_add(h->session ? &stats->bytes_client_out : &stats->bytes_upstream_out, n);
    }
    if (h->shut && h->conn && !h->out.bytes && !h->conn->write_shut)
        conn_shutdown_write(h->conn);
    if (h->leg.want_drain && h->out.bytes <= h->leg.low) {
        h->leg.want_drain = false;
        exchange_wake(h->leg.x);
    }
}

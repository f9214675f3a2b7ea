/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h1_read: the reading half of the HTTP/1.1 leg: heads complete-then-parse, bodies as views
 * into the block that was read. Invariants: see leg_h1.c; reading only moves H1_HEAD -> body
 * phase -> H1_DONE (or H1_BROKEN), and back to H1_HEAD after an interim head. */
#include "base/panic.h"
#include "net/tls.h"
#include "proxy/driver.h"
#include "proxy/hop.h"
#include "proxy/leg_h1.h"

/* Fewest free bytes worth a read; else a fresh block is taken. */
#define READ_MIN 4096u
/* Read for a head alone: what comes with it is copied twice, where it could be spliced. */
#define HEAD_APART 2048u
/* With so much behind it a head has a body: it is copied, if it is not longer than this, and the
 * block is free for another, still warm, as soon as that has left. */
#define BODY_ALONG 4096u
#define HEAD_COPIED 1024u

static void unref_block(void *block)
{
    block_unref(block);
}

static enum io broken(struct leg_h1 *h, enum fault f)
{
    h->leg.fault = f;
    h->reading = H1_BROKEN;
    return IO_ERR;
}

static size_t unread(const struct leg_h1 *h)
{
    return h->in ? h->in->fill - h->in_at : 0;
}

/* The message is complete: bytes behind it are the next one's (the client's leg of that will count
 * them). Without any the block is done with. */
static void message_done(struct leg_h1 *h)
{
    h->reading = H1_DONE;
    if (!unread(h)) {
        block_unref(h->in);
        h->in = NULL;
    } else if (h->session) {
        h->leg.bytes_in -= unread(h);
    }
}

/* Goes on in fresh, into which what is unread is copied. */
static void move_unread(struct leg_h1 *h, struct block *fresh)
{
    size_t n = unread(h);
    must(n <= fresh->cap);
    memcpy(fresh->bytes, h->in->bytes + h->in_at, n);
    fresh->fill = (uint32_t) n;
    block_unref(h->in);
}

/* A block with room, keeping unread bytes (and, for a head, contiguity). False: memory. */
static bool make_room(struct leg_h1 *h, size_t keep_together)
{
    struct block *b = h->in;
    if (b && h->in_at == b->fill && b->refs == 1)
        b->fill = h->in_at = 0;
    if (b && block_room(b) >= READ_MIN && b->cap - h->in_at >= keep_together)
        return true;
    if (b && b->cap - h->in_at > unread(h) && keep_together && block_room(b) > 0 &&
        b->cap - h->in_at >= keep_together)
        return true;
    struct block *fresh = keep_together > BLOCK_BYTES
                              ? block_new_sized(&h->worker->buffers, keep_together)
                              : memory_block(h->leg.x);
    if (!fresh) {
        if (keep_together > BLOCK_BYTES)
            memory_wait(h->leg.x);
        return false;
    }
    if (b)
        move_unread(h, fresh);
    h->in = fresh;
    h->in_at = 0;
    return true;
}

/* One read into the block's room. */
static enum io fill(struct leg_h1 *h, size_t keep_together)
{
    if (!conn_readable(h->conn))
        return IO_AGAIN;
    if (!make_room(h, keep_together))
        return IO_AGAIN;
    size_t n, room = block_room(h->in);
    if (h->head_apart && h->reading == H1_HEAD && room > HEAD_APART)
        room = HEAD_APART;
    enum io io = conn_read(h->conn, h->in->bytes + h->in->fill, room, &n);
    if (io != IO_OK)
        return io;
    h->in->fill += (uint32_t) n;
    h->leg.bytes_in += n;
    h->leg.last_in = loop_now(h->worker->loop);
    struct stats *stats = h->worker->stats;
    counter_add(h->session ? &stats->bytes_client_in : &stats->bytes_upstream_in, n);
    return IO_OK;
}

/* The connection ended where a head should come. */
static enum io head_cut(struct leg_h1 *h, enum io io)
{
    if (h->session) {
        if (!unread(h))
            return IO_EOF; /* nothing was asked, however it ended */
        return broken(h, io == IO_EOF ? FAULT_CLIENT_TRUNCATED : FAULT_CLIENT_GONE);
    }
    if (unread(h) || h->leg.x->interims)
        return broken(h, FAULT_UP_TRUNCATED);
    if (conn_tls_alerted(h->conn))
        return broken(h, FAULT_UP_TLS_ALERT);
    return broken(h, h->conn->reset ? FAULT_UP_RESET : FAULT_UP_CLOSED);
}

/* Sets the phase that reads the body of the parsed head. */
static void begin_body(struct leg_h1 *h, const struct head *head)
{
    switch ((enum body_kind) head->body) {
    case BODY_NONE:
        message_done(h);
        break;
    case BODY_LENGTH:
        h->read_left = head->length;
        h->reading = H1_LENGTH;
        if (!head->length)
            message_done(h);
        break;
    case BODY_CHUNKED:
        h->reading = H1_CHUNKED;
        h->hop_names = head->names_none ? STR("") : fields_joined(&head->fields, FIELD_CONNECTION);
        fields_init(&h->trailer_fields, &h->leg.x->arena);
        chunk_decoder_init(&h->chunk, &h->leg.x->arena, &h->trailer_fields,
                           h->session ? FAULT_REQ_CHUNK : FAULT_UP_CHUNK,
                           h->session ? FAULT_REQ_TRAILER_LARGE : FAULT_UP_CHUNK);
        break;
    case BODY_CLOSE:
        h->reading = H1_CLOSE;
        break;
    case BODY_TUNNEL:
        h->reading = H1_TUNNEL;
        break;
    }
}

/* Passes over the n bytes of a head, the block of which is kept for the exchange's life: of the
 * first one a side in the exchange itself, of a later one (after an interim head, of another
 * attempt) by a clean-up. */
static enum fault pass_head(struct leg_h1 *h, size_t n)
{
    struct exchange *x = h->leg.x;
    struct block **first = h->session ? &x->in_block : &x->response_block;
    if (!*first)
        *first = block_ref(h->in);
    else if (*first != h->in && !arena_on_free(&x->arena, unref_block, block_ref(h->in)))
        return FAULT_MEMORY;
    h->in_at += (uint32_t) n;
    return FAULT_OK;
}

static enum io head_done(struct leg_h1 *h, const struct head *head)
{
    h->peer_10 = head->minor == 0;
    bool interim = !h->session && head->status < 200 && head->status != 101;
    if (!interim)
        begin_body(h, head);
    h->scan = 0;
    return IO_OK;
}

/* Most heads come whole, alone and are good: one pass is enough. The length; 0: look closer. */
static size_t take_head(struct leg_h1 *h, struct head *head, struct str bytes)
{
    struct exchange *x = h->leg.x;
    return h->session ? h1_take_request(head, &x->arena, bytes, x->scheme, h->limits)
                      : h1_take_response(head, &x->arena, bytes, h->peer_method, h->limits);
}

/* The same for one that is known to be whole: why it is no good. */
static enum fault parse_head(struct leg_h1 *h, struct head *head, struct str text)
{
    struct exchange *x = h->leg.x;
    return h->session ? h1_parse_request(head, &x->arena, text, x->scheme, h->limits)
                      : h1_parse_response(head, &x->arena, text, h->peer_method, h->limits);
}

/* A head that is too large: 414 when it is the target that is. */
static enum fault too_large(const struct leg_h1 *h)
{
    if (!h->session)
        return FAULT_UP_HEAD_LARGE;
    return h1_head_overflow(str_of(h->in->bytes + h->in_at, unread(h)), h->limits);
}

/* A head of n bytes at from was found: what it is parsed from. Its block is kept for it; but with a
 * good deal of its body behind it, it is copied. */
static struct str keep_head(struct leg_h1 *h, const char *from, size_t skip, size_t n)
{
    char *copy = NULL;
    if (unread(h) > BODY_ALONG && n <= HEAD_COPIED)
        copy = arena_alloc(&h->leg.x->arena, n);
    if (copy) {
        h->in_at += (uint32_t) (skip + n);
        return str_of(memcpy(copy, from, n), n);
    }
    return pass_head(h, skip + n) == FAULT_OK ? str_of(from, n) : (struct str){0};
}

/* Finds the end of a head, or why there will be none. IO_AGAIN: more bytes are needed. */
static __attribute__((noinline)) enum io find_head(struct leg_h1 *h, struct head *head)
{
    const char *from = h->in->bytes + h->in_at;
    size_t skip = 0;
    size_t n = h1_head_end(from, unread(h), &h->scan, h->session ? &skip : NULL);
    if (n > h->limits->head || (!n && unread(h) > h->limits->head))
        return broken(h, too_large(h));
    enum fault f = FAULT_MEMORY;
    if (!n) {
        struct str text = str_of(from + skip, unread(h) - skip);
        f = h->session ? h1_request_early(text) : h1_response_early(text);
    } else {
        struct str text = keep_head(h, from + skip, skip, n);
        if (text.n)
            f = parse_head(h, head, text);
    }
    if (f != FAULT_OK)
        return broken(h, f);
    return n ? head_done(h, head) : IO_AGAIN;
}

/* Looks for a head in what is unread. IO_AGAIN: more bytes are needed. */
static enum io next_head(struct leg_h1 *h, struct head *head)
{
    size_t n = 0;
    if (!h->scan && unread(h) <= BODY_ALONG)
        n = take_head(h, head, str_of(h->in->bytes + h->in_at, unread(h)));
    if (!n)
        return find_head(h, head);
    return pass_head(h, n) == FAULT_OK ? head_done(h, head) : broken(h, FAULT_MEMORY);
}

enum io leg_h1_read_head(struct leg *l, struct head *head)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    if (h->reading != H1_HEAD)
        return broken(h, l->fault ? l->fault : FAULT_SYSTEM);
    size_t want = 1;
    for (;;) {
        if (unread(h)) {
            enum io io = next_head(h, head);
            if (io != IO_AGAIN)
                return io;
            if (!block_room(h->in))
                want = unread(h) * 2;
        }
        enum io io = fill(h, want);
        if (io == IO_AGAIN)
            return io;
        if (io != IO_OK)
            return head_cut(h, io);
    }
}

/* The connection ended inside a body. */
static enum io body_cut(struct leg_h1 *h, enum io io)
{
    if (h->reading == H1_CLOSE || h->reading == H1_TUNNEL) {
        if (io == IO_EOF) {
            h->reading = H1_DONE;
            return IO_EOF;
        }
    }
    if (h->session)
        return broken(h, io == IO_EOF ? FAULT_CLIENT_TRUNCATED : FAULT_CLIENT_GONE);
    return broken(h, FAULT_UP_TRUNCATED);
}

/* Hands n unread bytes to into as a view. */
static bool take(struct leg_h1 *h, struct chain *into, size_t n)
{
    if (!chain_add(into, &h->worker->buffers, h->in, h->in->bytes + h->in_at, n))
        return false;
    h->in_at += (uint32_t) n;
    return true;
}

/* Decodes what is unread of a chunked body. IO_AGAIN: more bytes are needed. */
static __attribute__((noinline)) enum io take_chunked(struct leg_h1 *h, struct chain *into,
                                                      size_t max)
{
    bool got = false;
    while (unread(h) && h->chunk.state != CHUNK_END && max) {
        /* Data is never longer than what it is decoded from: that keeps to max. */
        struct str in = str_of(h->in->bytes + h->in_at, unread(h) < max ? unread(h) : max);
        struct str data = {0};
        size_t before = in.n;
        enum fault f = chunk_decode(&h->chunk, &in, &data);
        if (f != FAULT_OK)
            return broken(h, f);
        if (data.n && !chain_add(into, &h->worker->buffers, h->in, data.p, data.n))
            return broken(h, FAULT_MEMORY);
        h->in_at += (uint32_t) (before - in.n);
        got |= data.n > 0;
        max -= data.n < max ? data.n : max;
    }
    if (h->chunk.state != CHUNK_END)
        return got ? IO_OK : IO_AGAIN;
    message_done(h);
    if (h->trailer_fields.n && h->hop_names.n)
        hop_trailers_named(&h->trailer_fields, h->hop_names);
    if (h->trailer_fields.n)
        h->leg.trailers = &h->trailer_fields;
    return IO_EOF;
}

/* Takes what is unread of the body. IO_AGAIN: more bytes are needed. */
static enum io take_unread(struct leg_h1 *h, struct chain *into, size_t max)
{
    if (h->reading == H1_CHUNKED)
        return take_chunked(h, into, max);
    size_t n = unread(h);
    if (!n)
        return IO_AGAIN;
    if (n > max)
        n = max;
    if (h->reading == H1_LENGTH && n > h->read_left)
        n = (size_t) h->read_left;
    if (!take(h, into, n)) {
        memory_wait(h->leg.x); /* the bytes stay where they are */
        return IO_AGAIN;
    }
    if (h->reading != H1_LENGTH || (h->read_left -= n) > 0)
        return IO_OK;
    message_done(h);
    h->surplus = h->link && unread(h);
    return IO_EOF;
}

enum io leg_h1_read_block(struct leg *l, struct chain *into, size_t max)
{
    struct leg_h1 *h = (struct leg_h1 *) l;
    if (h->reading == H1_DONE) {
        if (h->link && unread(h))
            h->surplus = true;
        return IO_EOF;
    }
    if (h->reading == H1_BROKEN || h->reading == H1_HEAD)
        return IO_ERR;
    for (;;) {
        enum io io = take_unread(h, into, max);
        if (io != IO_AGAIN || list_linked(&l->x->memory_node))
            return io;
        io = fill(h, 0);
        if (io == IO_AGAIN)
            return io;
        if (io != IO_OK)
            return body_cut(h, io);
    }
}

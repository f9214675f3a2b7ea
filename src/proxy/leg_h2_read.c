/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h2_read: the reading half of a stream's leg: what the connection hands over waits in `in`
 * until the pump takes it. Invariants: see leg_h2.c; of a body with a length never more than
 * that is handed on, and its end only when all of it came. */
#include "base/clock.h"
#include "base/panic.h"
#include "http/websocket.h"
#include "proxy/driver.h"
#include "proxy/leg_h2.h"

#define VIEW_MIN (8u * 1024) /* smaller pieces are copied: a view holds a whole block */
#define WINDOW_MAX (1024u * 1024)
#define WINDOW_MAX_UPSTREAM (256u * 1024) /* near, and not held back by the connection's window */

/* n more bytes of a client's stream are on their way, or fewer. An endpoint gets its connection's
 * credit at once: a client that does not read must not hold up the others that share it; the
 * windows of streams bound that. */
static void withhold(struct leg_h2 *h, ptrdiff_t n)
{
    h->leg.uncredited += (size_t) n;
    if (!h->link)
        h->c->withheld += (size_t) n;
    h2_conn_credit(h->c);
}

/* Counts what a client's stream has of the connection's window, or may come to have. */
static void claim(struct leg_h2 *h, size_t bytes)
{
    struct h2_conn *c = h->c;
    if (bytes == h->claimed)
        return;
    c->n_uploads += (uint32_t) (bytes > 0) - (uint32_t) (h->claimed > 0);
    c->windows += bytes - h->claimed;
    h->claimed = bytes;
    h2_conn_weigh(c);
}

static void claim_anew(struct leg_h2 *h)
{
    size_t came = h->leg.uncredited;
    claim(h, h->ended || came > h->window ? came : h->window);
}

void leg_h2_window_changed(struct leg_h2 *h)
{
    int32_t n = nghttp2_session_get_stream_effective_local_window_size(h->c->ng, h->id);
    if (h->closed || n < 0)
        return;
    h->window = (uint32_t) n;
    (void) nghttp2_session_consume_stream(h->c->ng, h->id, 0); /* the least that it tells changed */
    if (h->link)
        h->leg.ahead = h->leg.ahead ? h->window : 0;
    else if (h->claimed)
        claim_anew(h);
}

void leg_h2_set_window(struct leg_h2 *h, uint32_t bytes)
{
    h->window = bytes;
    if (h->link)
        h->leg.ahead = bytes;
    (void) nghttp2_session_set_local_window_size(h->c->ng, NGHTTP2_FLAG_NONE, h->id,
                                                 (int32_t) bytes);
}

void leg_h2_forgive(struct leg_h2 *h)
{
    withhold(h, -(ptrdiff_t) h->leg.uncredited);
    claim(h, 0);
}

void leg_h2_head_begins(struct leg_h2 *h)
{
    struct exchange *x = h->leg.x;
    bool trailers = h->head_read;
    if (h->link && !trailers) {
        if (!leg_h2_up_begins(h))
            leg_h2_break(h, FAULT_MEMORY);
        return;
    }
    struct fields *into = trailers ? &h->trailer_fields : &x->in->fields;
    fields_init(into, &x->arena);
    h2_reader_init(&h->reader, into, &x->arena,
                   h->link ? &x->plan->settings->response_limits : &x->snapshot->request_limits);
    h->reader.trailers = trailers;
}

static void set_priority(struct leg_h2 *h)
{
    if (!h->reader.prioritised)
        return; /* PRIORITY_UPDATE may have come before */
    const nghttp2_extpri pri = {.urgency = h->reader.urgency, .inc = h->reader.incremental};
    (void) nghttp2_session_change_extpri_stream_priority(h->c->ng, h->id, &pri, 0);
}

/* The body that a good head announces. */
static void begin_body(struct leg_h2 *h, const struct head *head)
{
    h->left = head->body == BODY_LENGTH ? head->length : LENGTH_NONE;
    h->reading = head->body == BODY_NONE || !h->left ? H2_DONE : H2_BODY;
}

/* An HTTP/1 upstream wants a key with its handshake, of which an extended CONNECT has none
 * (RFC 6455 4.1, RFC 8441 5). */
static enum fault add_key(struct head *h, struct arena *a)
{
    if (fields_has(&h->fields, FIELD_SEC_WEBSOCKET_KEY))
        return FAULT_OK;
    uint64_t random[2] = {clock_random(), clock_random()};
    char key[WEBSOCKET_KEY];
    websocket_key(key, (const uint8_t *) random);
    struct str text = arena_str(a, str_of(key, sizeof(key)));
    return text.p && fields_add_id(&h->fields, FIELD_SEC_WEBSOCKET_KEY, text) ? FAULT_OK
                                                                              : FAULT_MEMORY;
}

/* A proxy that ends TLS, or does not know the scheme of its client, may say https where it speaks
 * in clear: HAProxy and Envoy do. h2_request_end looks at the scheme when all else is good. */
static bool may_say_scheme(const struct leg_h2 *h)
{
    struct str said = h->reader.scheme;
    return (str_ieq(said, STR("https")) || str_ieq(said, STR("http"))) &&
           exchange_peer_trusted(h->leg.x);
}

static void head_complete(struct leg_h2 *h, bool end_stream)
{
    struct exchange *x = h->leg.x;
    h->head_read = true;
    enum fault f = h2_request_end(&h->reader, x->in, x->scheme, end_stream);
    if (f == FAULT_REQ_MISDIRECTED && may_say_scheme(h))
        f = FAULT_OK;
    if (f == FAULT_OK && x->in->upgrade.n)
        f = add_key(x->in, &x->arena);
    if (f != FAULT_OK) {
        h->leg.fault = f; /* read_head tells */
    } else {
        begin_body(h, x->in);
        if (h->reading == H2_BODY)
            claim(h, h->window);
        set_priority(h);
    }
    exchange_wake(x);
}

static void trailers_complete(struct leg_h2 *h, bool end_stream)
{
    if (!end_stream || h->ended || h->reader.fault == FAULT_H2_MALFORMED) {
        leg_h2_break(h, FAULT_H2_MALFORMED);
        return;
    }
    if (h->reader.fault != FAULT_OK) {
        leg_h2_break(h, h->reader.fault);
        return;
    }
    if (h->trailer_fields.n)
        h->leg.trailers = &h->trailer_fields;
    leg_h2_ended(h);
}

void leg_h2_head_ends(struct leg_h2 *h, bool end_stream)
{
    if (!h->c || h->reading == H2_BROKEN)
        return;
    h->leg.last_in = loop_now(h->c->worker->loop);
    if (!h->head_read && h->link) {
        leg_h2_up_ends(h, end_stream);
    } else if (!h->head_read) {
        h->ended = end_stream;
        head_complete(h, end_stream);
    } else {
        trailers_complete(h, end_stream);
    }
}

/* DATA may come now. */
static bool wants_data(const struct leg_h2 *h)
{
    return h->reading == H2_BODY || h->reading == H2_TUNNEL ||
           (!h->link && h->reading == H2_DONE && !h->ended && h->leg.x->in->body == BODY_NONE);
}

void leg_h2_data(struct leg_h2 *h, struct block *b, const char *p, size_t n)
{
    struct buf_pool *bp = &h->c->worker->buffers;
    h->leg.bytes_in += n;
    h->leg.last_in = loop_now(h->c->worker->loop);
    bool excess = h->left != LENGTH_NONE && n > h->left;
    bool kept = h->reading != H2_BROKEN && !excess && wants_data(h);
    if (!kept) {
        h2_conn_credit(h->c);
        if (excess)
            leg_h2_break(h, FAULT_H2_LENGTH);
        return;
    }
    bool view = n >= VIEW_MIN;
    if (!(view ? chain_add(&h->in, bp, b, p, n) : chain_copy(&h->in, bp, str_of(p, n)))) {
        h2_conn_credit(h->c);
        leg_h2_break(h, FAULT_MEMORY);
        return;
    }
    if (h->left != LENGTH_NONE)
        h->left -= n;
    withhold(h, (ptrdiff_t) n);
    h->filled |= h->leg.uncredited >= h->window / 2;
    exchange_wake(h->leg.x);
}

void leg_h2_ended(struct leg_h2 *h)
{
    h->ended = true;
    h->leg.ahead = 0;
    if (h->link && h->c)
        h->c->longer = h->leg.bytes_in > h->c->stream_bytes;
    if (h->left != LENGTH_NONE && h->left > 0)
        leg_h2_break(h, FAULT_H2_LENGTH);
    else if (h->c)
        exchange_wake(h->leg.x);
}

enum io leg_h2_read_head(struct leg *l, struct head *head)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    (void) head; /* is x->in, filled by head_complete */
    if (!h->head_read)
        return IO_AGAIN;
    return l->fault == FAULT_OK ? IO_OK : IO_ERR;
}

/* A sender that had filled half of its window, most of which is now taken, may be further ahead: a
 * client as far as H2_WINDOWS goes, an endpoint within most, the share of its exchange. */
static void grow_window(struct leg_h2 *h, size_t most)
{
    struct h2_conn *c = h->c;
    size_t limit = h->link ? WINDOW_MAX_UPSTREAM : WINDOW_MAX;
    if (c->unacked) /* nghttp2 reckons with the first window of before */
        return;
    if (!h->filled || h->leg.uncredited > h->window / 4 || h->ended || h->closed)
        return;
    h->filled = false;
    if (2 * (size_t) h->window > (h->link && most < limit ? most : limit) ||
        (!h->link && c->windows + h->window > H2_WINDOWS))
        return;
    c->longer |= h->link != NULL;
    leg_h2_set_window(h, 2 * h->window);
}

void leg_h2_taken(struct leg *l, size_t waiting, size_t most)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    size_t held = h->in.bytes + waiting;
    if (!h->c || held >= h->leg.uncredited)
        return;
    size_t n = h->leg.uncredited - held;
    withhold(h, -(ptrdiff_t) n);
    if (!h->closed)
        (void) nghttp2_session_consume_stream(h->c->ng, h->id, n);
    grow_window(h, most);
    if (h->claimed)
        claim_anew(h);
    h2_conn_wrote(h->c);
}

enum io leg_h2_read_block(struct leg *l, struct chain *into, size_t max)
{
    struct leg_h2 *h = (struct leg_h2 *) l;
    if (!h->c || h->reading == H2_BROKEN || h->reading == H2_HEAD)
        return IO_ERR;
    size_t n = chain_move(into, &h->in, max, &h->c->worker->buffers);
    if (!h->in.bytes && h->ended) {
        h->reading = H2_DONE;
        return IO_EOF;
    }
    if (h->reading == H2_DONE)
        return IO_EOF;
    return n ? IO_OK : IO_AGAIN;
}

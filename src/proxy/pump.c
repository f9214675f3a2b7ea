/* SPDX-License-Identifier: Apache-2.0 */
/* pump: see pump.h. Invariants:
 * 1. Bytes held, queued at the sink and in the pipe never pass window.size (but for one read of at
 *    most a block).
 * 2. Nothing is read while bytes wait at or above the mark: that is the back-pressure.
 * 3. PUMP_SPLICE: held is empty; bytes are in the kernel or in the pipe, and leave it behind what
 *    the sink had queued before, which is nothing but for an answer: its head and what came with
 *    it.
 * 4. PUMP_FLUSH: the end was written to the sink, behind all of the source's message or, of a call
 *    that failed, behind the messages that came whole. */
#include "proxy/pump.h"

#include "base/panic.h"
#include "http/grpc.h"
#include "proxy/driver.h"
#include "proxy/field_rule.h"
#include "proxy/hop.h"
#include "proxy/retry.h"

#define READS_A_RUN 16 /* then the other exchanges get their turn */
#define SPLICED_A_RUN PIPE_LARGE
#define SPLICE_MIN 65536u /* smaller bodies are cheaper by copy */
#define READ_LEAST 2048u  /* a share that is nearly used up is not taken byte by byte */
#define NOT_WORTH 2048u   /* so few bytes of an ended message: credit before they have left */
#define AT_ONCE 4096u     /* so many bytes leave before those that others read take their place */

static enum pump_verdict end_message(struct pump *p, struct exchange *x);

/* Known to be cheaper by copy. */
static bool small_body(const struct head *h)
{
    return h->body == BODY_NONE || (h->body == BODY_LENGTH && h->length < SPLICE_MIN);
}

void pump_start(struct pump *p, struct exchange *x, enum direction dir, struct leg *source,
                struct leg *sink)
{
    p->source = source;
    p->sink = sink;
    p->direction = (uint8_t) dir;
    p->state = PUMP_COPY;
    p->complete = dir == DIR_REQUEST && x->request_done;
    p->held_up = p->unsettled = false;
    if (dir == DIR_REQUEST && x->replay.bytes)
        chain_move(&p->held, &x->replay, x->replay.bytes, &x->worker->buffers);
    /* A request without a body ends at once. A failure is the sink's, and is seen there. */
    if (x->step == STEP_ATTEMPT && p->complete && !p->held.bytes) {
        (void) end_message(p, x);
        return;
    }
    const struct head *h = dir == DIR_REQUEST ? x->in : x->response;
    p->no_splice = x->step != STEP_TUNNEL && small_body(h);
    p->one_block = p->no_splice && h->body == BODY_LENGTH && h->length <= BLOCK_BYTES &&
                   !sink->ops->share && !source->ops->taken;
    if (!p->one_block)
        window_init(&p->window, &x->plan->settings->buffer);
}

size_t pump_waiting(const struct pump *p)
{
    if (!p->sink)
        return 0;
    return p->held.bytes + p->sink->ops->queued(p->sink) + (p->pipe ? p->pipe->bytes : 0);
}

size_t pump_held(const struct pump *p)
{
    size_t waiting = pump_waiting(p);
    return p->source && p->source->uncredited > waiting ? p->source->uncredited : waiting;
}

/* Asks to be woken when low bytes are left. */
static void ask_for_word(struct pump *p, size_t low)
{
    p->sink->low = low;
    p->sink->want_drain = true;
}

static enum pump_verdict wait_for_sink(struct pump *p, size_t low)
{
    ask_for_word(p, low);
    p->held_up = true;
    return PUMP_WAIT;
}

/* A source that waits for credit is told when half of what waits has left. */
static enum pump_verdict wait_for_source(struct pump *p)
{
    size_t waiting = p->source->ops->taken ? p->sink->ops->queued(p->sink) : 0;
    if (waiting)
        ask_for_word(p, waiting / 2);
    return PUMP_WAIT;
}

/* The sink's share of its connection, which is told how far the source may be ahead. */
static size_t share_of(struct pump *p)
{
    return p->sink->ops->share ? p->sink->ops->share(p->sink, p->source->ahead) : SIZE_MAX;
}

/* How many bytes may wait; tells the source which do not wait any more. */
static size_t most_waiting(struct pump *p, size_t waiting)
{
    size_t share = share_of(p), ahead = p->source->ahead;
    leg_taken(p->source, waiting, share);
    if (p->source->ahead != ahead)
        share = share_of(p);
    return share < p->window.size ? share : p->window.size;
}

/* How much is to be read when most bytes may wait: a window leaves room for a block at least, a
 * share for no byte more. 0: too little to be worth it. */
static size_t room_for(const struct pump *p, size_t waiting, size_t most)
{
    size_t room = most > waiting ? most - waiting : 0;
    if (!room || most >= p->window.size)
        return room && room < BLOCK_BYTES ? BLOCK_BYTES : room;
    return room < READ_LEAST && room < most / 2 ? 0 : room;
}

/* How much is to be read now. 0: the sink has to take some before, and will say so. */
static size_t room_now(struct pump *p, const struct exchange *x)
{
    if (p->one_block)
        return BLOCK_BYTES;
    size_t waiting = pump_waiting(p);
    window_adapt(&p->window, &x->plan->settings->buffer, waiting, loop_now(x->worker->loop));
    size_t most = most_waiting(p, waiting);
    size_t room = room_for(p, waiting, most);
    if (room)
        return room;
    p->window.filled |= waiting >= p->window.size;
    (void) wait_for_sink(p, most / 2);
    return 0;
}

void pump_settle(struct pump *p)
{
    p->unsettled = false;
    if (!p->source->ops->taken)
        return;
    size_t waiting = pump_waiting(p);
    p->unsettled = waiting > NOT_WORTH;
    p->source->ops->taken(p->source, p->unsettled ? waiting : 0, 0);
    if (p->unsettled)
        ask_for_word(p, waiting / 2);
}

void exchange_forget_body(struct exchange *x)
{
    chain_clear(&x->replay, &x->worker->buffers);
    if (x->client && x->client->ops->keep)
        (void) x->client->ops->keep(x->client, 0);
}

/* The kept copy of a request body lets it be sent once more while the answer has not begun. */
static void remember(struct pump *p, struct exchange *x)
{
    struct attempt *a = x->attempt;
    const struct retry_conf *c = &x->plan->settings->retry;
    if (p->direction != DIR_REQUEST || !a || a->first_byte || !c->enabled)
        return;
    bool shared = a->link && a->link->shared; /* what was not processed is sent again */
    if (!a->kept && !shared && (c->tries < 2 || x->plan->upstream->n_endpoints < 2))
        return;
    struct buf_pool *bp = &x->worker->buffers;
    uint64_t n = p->bytes + p->held.bytes;
    bool (*keep)(struct leg *, size_t) = p->source->ops->keep;
    if (p->bytes != x->replay.bytes || n > c->buffer || (keep && !keep(p->source, (size_t) n)) ||
        !chain_share(&x->replay, &p->held, bp))
        exchange_forget_body(x);
}

static void follow(struct grpc_frames *g, const struct chain *held)
{
    for (const struct slice *s = held->head; s; s = s->next)
        grpc_frames_pass(g, str_of(s->p, s->n));
}

/* Bytes go to the sink. */
static enum pump_verdict pass_on(struct pump *p, struct chain *from)
{
    enum fault f = p->sink->ops->write_block(p->sink, from);
    if (f == FAULT_OK)
        return PUMP_DONE;
    p->sink->fault = f;
    return PUMP_SINK_ERR;
}

/* Bytes in held go through the hooks to the sink. */
static __attribute__((noinline)) enum pump_verdict pass_hooks(struct pump *p, struct exchange *x)
{
    struct chain out = {0};
    enum hook h = hooks_data(x, p->direction, &p->held, &out);
    p->hooked = h != HOOK_PASS;
    if (h == HOOK_FAIL && !x->pending)
        exchange_fail(x, FAULT_HOOK);
    enum pump_verdict v = p->hooked ? PUMP_HOOK : pass_on(p, &out);
    chain_clear(&out, &x->worker->buffers);
    return v;
}

static bool hooks_want(const struct pump *p, const struct exchange *x)
{
    return x->plan->hooks[p->direction == DIR_REQUEST ? ON_REQUEST_DATA : ON_RESPONSE_DATA].n > 0;
}

/* Bytes in held go to the sink, through the hooks if there are any. */
static enum pump_verdict forward(struct pump *p, struct exchange *x)
{
    if (!p->hooked) {
        remember(p, x);
        p->bytes += p->held.bytes;
        if (__builtin_expect(p->messages != NULL, 0))
            follow(p->messages, &p->held);
    }
    uint64_t limit = x->plan->settings->limits.body;
    if (p->direction == DIR_REQUEST && limit && p->bytes > limit && x->step != STEP_TUNNEL) {
        exchange_fail(x, FAULT_REQ_BODY_LARGE);
        return PUMP_HOOK;
    }
    return hooks_want(p, x) ? pass_hooks(p, x) : pass_on(p, &p->held);
}

/* A message that ended with trailers; false: a hook failed, and so does the exchange. */
static __attribute__((noinline)) bool take_trailers(struct pump *p, struct exchange *x,
                                                    struct fields *trailers)
{
    hop_trailers(trailers);
    struct str own = x->plan->settings->retry.deadline_header;
    if (own.n && p->direction == DIR_REQUEST)
        fields_remove_alias(trailers, own);
    if (hooks_trailers(x, p->direction, trailers) == HOOK_PASS)
        return true;
    if (!x->pending)
        exchange_fail(x, FAULT_HOOK);
    return false;
}

enum pump_verdict pump_end(struct pump *p, struct exchange *x, struct fields *trailers)
{
    if (trailers && !take_trailers(p, x, trailers))
        return PUMP_HOOK;
    if (p->direction == DIR_REQUEST)
        x->request_done = true;
    else
        x->response_done = true;
    enum fault f = FAULT_OK;
    if (p->held.bytes) /* what on_trailers put behind the body */
        f = p->sink->ops->write_block(p->sink, &p->held);
    if (f == FAULT_OK)
        f = p->sink->ops->write_end(p->sink, trailers);
    if (f != FAULT_OK) {
        p->sink->fault = f;
        return PUMP_SINK_ERR;
    }
    /* Nobody waits for the last byte of a request to leave: a failure shows in sink->fault. */
    p->state = p->direction == DIR_REQUEST ? PUMP_ENDED : PUMP_FLUSH;
    if (p->direction == DIR_REQUEST)
        pump_settle(p);
    else if (p->sink->ops->share)
        (void) p->sink->ops->share(p->sink, 0);
    return PUMP_DONE;
}

/* The source's message is complete. */
static enum pump_verdict end_message(struct pump *p, struct exchange *x)
{
    return pump_end(p, x, p->source->trailers);
}

/* A large plain body that no feature wants may go by splice. */
static __attribute__((noinline)) bool may_splice(struct pump *p, struct exchange *x)
{
    uint64_t raw = 0;
    if (hooks_want(p, x) || p->held.bytes || !p->source->ops->splice_source)
        return false;
    struct conn *from = p->source->ops->splice_source(p->source, &raw);
    if (!from || raw < SPLICE_MIN || !p->sink->ops->splice_sink || p->sink->copy_only)
        return false;
    /* Of a tunnel nobody knows how much will come: the last read tells, when it was a full one. */
    return raw != UINT64_MAX || (x->step == STEP_TUNNEL && p->bytes && !from->last_short);
}

/* What the sink has queued leaves before a byte is taken off the source: of a request, which may be
 * sent anew while none of it is in a pipe; of a tunnel, whose queue may be as large as the window.
 * An answer's head, and what came with it, goes in front of what is spliced. */
static bool queue_first(const struct pump *p, const struct exchange *x)
{
    return (p->direction == DIR_REQUEST || x->step == STEP_TUNNEL) &&
           p->sink->ops->queued(p->sink) > 0;
}

/* What the sink has queued (the head) leaves in front of what lies in the pipe. Bytes spliced into
 * the sink are counted as if they had been written. That more follows is never said of them: when
 * the source will send nobody knows, and until then, but for no more than 200 ms, the kernel would
 * keep the end of what it was given. */
static enum io splice_out(struct pump *p, struct exchange *x)
{
    struct stats *stats = x->worker->stats;
    if (p->sink->ops->queued(p->sink))
        p->sink->ops->flush(p->sink, true);
    if (p->sink->ops->queued(p->sink))
        return IO_AGAIN;
    struct conn *to = p->sink->ops->splice_sink(p->sink);
    size_t n = 0;
    if (!to)
        return IO_ERR;
    enum io io = conn_splice_out(to, p->pipe, &n);
    if (io == IO_OK) {
        p->sink->ops->spliced(p->sink, false, n);
        p->bytes += n;
        counter_add(&stats->spliced_bytes, n);
        counter_add(
            p->direction == DIR_REQUEST ? &stats->bytes_upstream_out : &stats->bytes_client_out, n);
    }
    return io;
}

static enum io splice_in(struct pump *p, struct exchange *x, struct conn *from, uint64_t raw)
{
    struct stats *stats = x->worker->stats;
    size_t n = 0;
    size_t room = p->pipe->cap; /* it is empty */
    enum io io = conn_splice_in(from, p->pipe, raw < room ? (size_t) raw : room, &n);
    if (io == IO_OK) {
        if (!p->sink->ops->queued(p->sink))
            p->sink->last_out = loop_now(x->worker->loop); /* what came in waits from now on */
        p->source->ops->spliced(p->source, true, n);
        counter_add(
            p->direction == DIR_REQUEST ? &stats->bytes_client_in : &stats->bytes_upstream_in, n);
    }
    return io;
}

static enum pump_verdict splice_pause(struct pump *p, struct exchange *x, enum pump_verdict v)
{
    if (p->pipe && !p->pipe->bytes) {
        pipe_park(&x->worker->pipes, p->pipe);
        p->pipe = NULL;
    }
    return v;
}

static enum pump_verdict splice_broken(struct pump *p, struct exchange *x, bool source)
{
    struct leg *l = source ? p->source : p->sink;
    bool client = (p->direction == DIR_REQUEST) == source;
    if (l->fault == FAULT_OK)
        l->fault = client ? (source ? FAULT_CLIENT_TRUNCATED : FAULT_CLIENT_GONE)
                          : (source ? FAULT_UP_TRUNCATED : FAULT_UP_WRITE);
    return splice_pause(p, x, source ? PUMP_SOURCE_ERR : PUMP_SINK_ERR);
}

/* A reader that keeps up gets a large pipe, as far as the route's buffer allows. */
static bool wants_large(const struct pump *p, const struct exchange *x, uint64_t raw)
{
    const struct buffer_conf *b = &x->plan->settings->buffer;
    return !p->stalled && raw > PIPE_SMALL && b->strategy != BUFFER_NONE &&
           (uint64_t) b->size >= PIPE_LARGE;
}

/* Moves bytes socket -> pipe -> socket while both sides let it. Back to COPY for the end. */
static __attribute__((noinline)) enum pump_verdict run_splice(struct pump *p, struct exchange *x)
{
    uint64_t until = p->bytes + SPLICED_A_RUN;
    for (int i = 0; i < READS_A_RUN && p->bytes < until; i++) {
        uint64_t raw = 0;
        struct conn *from = p->source->ops->splice_source(p->source, &raw);
        if (!from && !(p->pipe && p->pipe->bytes)) {
            p->state = PUMP_COPY;
            return splice_pause(p, x, PUMP_DONE);
        }
        if (!p->pipe && !(p->pipe = pipe_take(&x->worker->pipes, wants_large(p, x, raw)))) {
            p->state = PUMP_COPY; /* no pipe to be had: copy */
            p->no_splice = true;
            return PUMP_DONE;
        }
        enum io in = IO_AGAIN;
        if (from && !p->pipe->bytes)
            in = splice_in(p, x, from, raw);
        if (!p->pipe->bytes && in == IO_EOF && raw == UINT64_MAX) {
            p->state = PUMP_COPY; /* of a tunnel's direction: as for any other end */
            p->no_splice = true;
            return splice_pause(p, x, PUMP_DONE);
        }
        if (!p->pipe->bytes && (in == IO_EOF || in == IO_ERR))
            return splice_broken(p, x, true);
        if (!p->pipe->bytes)
            return splice_pause(p, x, PUMP_WAIT);
        enum io out = splice_out(p, x);
        if (out == IO_AGAIN) {
            p->window.filled = p->stalled = true;
            pipe_shrink(&x->worker->pipes, p->pipe);
            return wait_for_sink(p, 0);
        }
        if (out != IO_OK)
            return splice_broken(p, x, false);
    }
    exchange_wake(x);
    return splice_pause(p, x, PUMP_WAIT);
}

/* The end of a request with a body. One of a block leaves while the processor still has it at hand:
 * at the end of the turn it would be fetched from further away. What may not be sent twice is then
 * not kept. */
static __attribute__((noinline)) enum pump_verdict end_request(struct pump *p, struct exchange *x)
{
    enum pump_verdict v = end_message(p, x);
    struct leg *to = p->sink;
    if (v != PUMP_DONE || !p->one_block || to->ops->queued(to) < AT_ONCE || !to->ops->flush)
        return v;
    to->ops->flush(to, false);
    if (to->bytes_out && !retry_repeatable(x))
        exchange_forget_body(x);
    return v;
}

/* Moves blocks. PUMP_DONE: the state changed, look again. */
static enum pump_verdict run_copy(struct pump *p, struct exchange *x)
{
    for (int i = 0; i < READS_A_RUN; i++) {
        if (p->held.bytes) {
            enum pump_verdict v = forward(p, x);
            if (v != PUMP_DONE)
                return v;
        }
        if (p->complete)
            return p->direction == DIR_REQUEST ? end_request(p, x) : end_message(p, x);
        size_t room = room_now(p, x);
        if (!room)
            return PUMP_WAIT;
        if (!p->no_splice && may_splice(p, x)) {
            if (queue_first(p, x))
                return wait_for_sink(p, 0);
            p->state = PUMP_SPLICE;
            return PUMP_DONE;
        }
        enum io io = p->source->ops->read_block(p->source, &p->held, room);
        if (io == IO_AGAIN)
            return wait_for_source(p);
        if (io == IO_ERR)
            return PUMP_SOURCE_ERR;
        p->complete = io == IO_EOF;
    }
    exchange_wake(x);
    return PUMP_WAIT;
}

enum pump_verdict pump_run(struct pump *p, struct exchange *x)
{
    p->sink->want_drain = p->held_up = false; /* set again by whoever still waits for it */
    for (;;) {
        if (p->sink->fault != FAULT_OK)
            return PUMP_SINK_ERR;
        enum pump_verdict v = PUMP_DONE;
        switch ((enum pump_state) p->state) {
        case PUMP_COPY:
            v = run_copy(p, x);
            break;
        case PUMP_SPLICE:
            v = run_splice(p, x);
            break;
        case PUMP_FLUSH:
            /* Nothing will follow: what is queued need not wait for the end of the turn. */
            if (p->sink->ops->queued(p->sink) && p->sink->ops->flush)
                p->sink->ops->flush(p->sink, false);
            if (p->sink->fault != FAULT_OK)
                return PUMP_SINK_ERR;
            if (p->sink->ops->queued(p->sink))
                return wait_for_sink(p, 0);
            p->state = PUMP_ENDED;
            return PUMP_DONE;
        case PUMP_IDLE:
        case PUMP_ENDED:
            return PUMP_DONE;
        }
        if (v != PUMP_DONE)
            return v;
    }
}

void pump_stop(struct pump *p, struct exchange *x)
{
    if (p->state == PUMP_IDLE)
        return;
    chain_clear(&p->held, &x->worker->buffers);
    p->unsettled = false;
    if (p->pipe) {
        pipe_park(&x->worker->pipes, p->pipe);
        p->pipe = NULL;
    }
    p->state = PUMP_ENDED;
}

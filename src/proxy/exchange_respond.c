/* SPDX-License-Identifier: Apache-2.0 */
/* exchange_respond: the steps from the answer on: respond decides (forward, try again, fall
 * back, reply), stream, reply and tunnel move bytes, finish ends everything exactly once. */
#include "base/panic.h"
#include "http/h1_write.h"
#include "proxy/affinity.h"
#include "proxy/driver.h"
#include "proxy/grpc_reply.h"
#include "proxy/hop.h"
#include "proxy/retry.h"

#define DISCARD_MAX (64u * 1024)

/* An interim head (1xx) goes to the client at once, but never to one of HTTP/1.0 (RFC 9110
 * 15.2). */
static enum step_verdict forward_interim(struct exchange *x)
{
    struct head *h = x->response;
    if (++x->interims > (uint32_t) x->plan->settings->limits.interim)
        return step_fail(x, FAULT_UP_INTERIM_FLOOD);
    x->continues += h->status == 100;
    if (!head_is_10(x->in)) {
        enum fault f = hop_response(x, h);
        if (f == FAULT_OK)
            f = x->client->ops->write_interim(x->client, h);
        if (f != FAULT_OK)
            return step_fail(x, f);
    }
    memset(h, 0, sizeof(*h));
    attempt_await_again(x->attempt);
    return step_jump(x, STEP_ATTEMPT);
}

/* The hooks' word on the upstream's final head. STEP_NEXT: all passed. */
static enum step_verdict ask_hooks(struct exchange *x)
{
    if (!x->hook_at) {
        enum fault f = hop_response(x, x->response);
        if (f != FAULT_OK)
            return step_fail(x, f);
    }
    switch (hooks_run(x, ON_RESPONSE_HEAD)) {
    case HOOK_PASS:
        return STEP_NEXT;
    case HOOK_WAIT:
        return STEP_WAIT;
    case HOOK_REPLY:
        attempt_end(x->attempt, false, FAULT_OK);
        pump_stop(&x->request, x);
        return step_jump(x, STEP_REPLY);
    case HOOK_FAIL:
        break;
    }
    return step_fail(x, x->pending ? x->pending : FAULT_HOOK);
}

/* What follows a body that the client was never told to send cannot be told from it. */
static void end_unasked_body(struct exchange *x)
{
    if (!x->request_done && exchange_unasked(x))
        x->client_keep = false;
}

/* The upstream switched protocols: only to what was asked for (RFC 9110 7.8). */
static enum step_verdict forward_switch(struct exchange *x)
{
    struct head *h = x->response;
    if (h->status == 101 && (!x->out->upgrade.n || !str_ieq(h->upgrade, x->out->upgrade)))
        return step_fail(x, FAULT_UP_UPGRADE);
    enum step_verdict v = ask_hooks(x);
    if (v != STEP_NEXT)
        return v;
    h->body = BODY_TUNNEL;
    enum fault f = x->client->ops->write_head(x->client, h);
    if (f != FAULT_OK)
        return step_fail(x, f);
    x->head_sent = true;
    return step_jump(x, STEP_TUNNEL);
}

/* How the body goes to this client (RFC 9112 6.3, 7). */
static void choose_framing(struct exchange *x, struct head *h)
{
    bool edited = x->plan->hooks[ON_RESPONSE_DATA].n > 0;
    if (x->in->method_id == METHOD_HEAD || status_bodyless(h->status)) {
        if (h->declared == LENGTH_NONE || edited)
            h->declared = H1_LENGTH_UNSAID;
        h->body = BODY_NONE;
        return;
    }
    if (h->body == BODY_LENGTH && !edited)
        return;
    if (h->body == BODY_NONE) {
        if (h->major == 2 && x->in->major == 2 && h->declared == LENGTH_NONE)
            h->declared = H1_LENGTH_UNSAID; /* its end was said otherwise, and is again */
        return;
    }
    h->body = head_is_10(x->in) ? BODY_CLOSE : BODY_CHUNKED;
    if (h->body == BODY_CLOSE)
        x->client_keep = false;
}

/* Ends the attempt and begins the next one, after the pause. */
static enum step_verdict try_again(struct exchange *x, const struct retry_plan *plan)
{
    counter_add(&x->worker->stats->retries, 1);
    attempt_end(x->attempt, false, x->attempt->fault);
    pump_stop(&x->request, x);
    x->request = (struct pump){0};
    x->response = NULL;
    x->response_head = (struct head){0};
    enum fault f = attempt_begin(x);
    if (f != FAULT_OK)
        return step_fail(x, f);
    x->attempt->counted_retry = plan->counts;
    if (plan->counts)
        atomic_fetch_add_explicit(&x->plan->upstream->run->retrying, 1, memory_order_relaxed);
    if (plan->pause)
        x->attempt->not_before = x->now + plan->pause;
    return step_jump(x, STEP_ATTEMPT);
}

/* The attempt failed: once more, or give up. */
RARE static enum step_verdict after_fault(struct exchange *x)
{
    struct retry_plan plan;
    if (retry_wanted(x, &plan))
        return try_again(x, &plan);
    return step_fail(x, x->attempt->fault);
}

/* A status that says that somebody did not succeed: once more, where that is wanted. STEP_NEXT: it
 * is forwarded. */
static __attribute__((noinline)) enum step_verdict after_status(struct exchange *x)
{
    struct retry_plan plan;
    return retry_status(x) && retry_wanted(x, &plan) ? try_again(x, &plan) : STEP_NEXT;
}

/* We come here when the attempt has a head or a fault. We leave with the response head on its
 * way to the client, or for another attempt, a tunnel or a reply. The one place that decides. */
enum step_verdict step_respond(struct exchange *x)
{
    struct attempt *a = x->attempt;
    if (a->fault != FAULT_OK)
        return after_fault(x);
    if (x->kind == EXCHANGE_CONNECTION)
        return step_jump(x, STEP_TUNNEL);
    struct head *h = x->response;
    if (h->status < 200 && h->status != 101)
        return forward_interim(x);
    if (h->status == 101 || h->body == BODY_TUNNEL)
        return forward_switch(x);
    enum step_verdict v = STEP_NEXT;
    if (h->status >= 400 && !x->hook_at)
        v = after_status(x);
    if (v == STEP_NEXT && x->grpc != GRPC_NONE && !x->hook_at)
        grpc_follow(x);
    if (v == STEP_NEXT)
        v = ask_hooks(x);
    if (v != STEP_NEXT)
        return v;
    choose_framing(x, h);
    end_unasked_body(x);
    enum fault f = x->plan->upstream->marks_answers ? affinity_response(x) : FAULT_OK;
    if (f == FAULT_OK)
        f = x->client->ops->write_head(x->client, h);
    if (f != FAULT_OK)
        return step_fail(x, f);
    x->head_sent = true;
    if (__builtin_expect(a->breaker != NULL, 0))
        attempt_judge(a);
    exchange_forget_body(x);
    pump_start(&x->response_pump, x, DIR_RESPONSE, a->leg, x->client);
    return STEP_NEXT;
}

/* Reads and drops a request body that nobody wants, a little of it, so that the connection can
 * go on. True: nothing is left to do about it. */
static __attribute__((noinline)) bool discard_request(struct exchange *x)
{
    struct chain dropped = {0};
    while (!x->request_done && x->client_keep) {
        enum io io = x->client->ops->read_block(x->client, &dropped, BLOCK_BYTES);
        x->request.bytes += dropped.bytes;
        x->discarded += (uint32_t) dropped.bytes;
        chain_clear(&dropped, &x->worker->buffers);
        leg_taken(x->client, 0, 0);
        if (io == IO_AGAIN)
            return false;
        if (io == IO_EOF)
            x->request_done = true;
        else if (io == IO_ERR || x->discarded > DISCARD_MAX)
            x->client_keep = false;
    }
    return true;
}

/* The request pump beside the response. False: the client's upload broke, or x->pending says
 * why. */
static bool pump_request(struct exchange *x)
{
    if (x->request.unsettled)
        pump_settle(&x->request);
    if (x->request.state == PUMP_ENDED || x->request.state == PUMP_IDLE)
        return true;
    switch (pump_run(&x->request, x)) {
    case PUMP_SOURCE_ERR:
        return false;
    case PUMP_SINK_ERR:
        pump_stop(&x->request, x); /* the upstream wants no more of it; its answer still counts */
        return true;
    case PUMP_HOOK:
        return !x->pending;
    default:
        return true;
    }
}

/* The response pump did not come to the end of the body. */
static enum step_verdict stream_on(struct exchange *x, enum pump_verdict v)
{
    struct attempt *a = x->attempt;
    switch (v) {
    case PUMP_SOURCE_ERR:
        return step_fail(x, a->leg->fault);
    case PUMP_SINK_ERR:
        return step_fail(x, x->client->fault);
    case PUMP_HOOK:
        return x->pending ? step_fail(x, x->pending) : STEP_WAIT;
    case PUMP_WAIT:
    case PUMP_DONE:
        break;
    }
    if (x->response_done && x->request_done)
        attempt_end(a, true, FAULT_OK);
    return STEP_WAIT;
}

/* We come here with the response head queued. We leave when the body has reached the kernel
 * whole, or when either side broke: then the message must look broken to the client. */
enum step_verdict step_stream(struct exchange *x)
{
    struct attempt *a = x->attempt;
    if (!a->ended && !pump_request(x))
        return step_fail(x, x->pending ? x->pending : x->client->fault);
    enum pump_verdict v = pump_run(&x->response_pump, x);
    if (v != PUMP_DONE)
        return stream_on(x, v);
    attempt_end(a, x->request_done, FAULT_OK);
    if (x->request_done)
        return STEP_NEXT;
    pump_stop(&x->request, x);
    return discard_request(x) ? STEP_NEXT : STEP_WAIT;
}

/* Makes the head of x->reply. */
static enum fault make_reply_head(struct exchange *x)
{
    struct reply *r = &x->reply;
    struct head *h = arena_zalloc(&x->arena, sizeof(*h));
    if (!h)
        return FAULT_MEMORY;
    h->status = r->status;
    h->reason = status_reason(r->status);
    h->minor = 1;
    h->fields = r->fields;
    h->declared = LENGTH_NONE;
    bool bodyless = status_bodyless(r->status) || r->status == 205; /* RFC 9110 15.3.6 */
    h->length = r->produce || bodyless ? 0 : r->body.n;
    h->body = h->length ? BODY_LENGTH : BODY_NONE;
    if (r->produce && !bodyless)
        h->body = head_is_10(x->in) ? BODY_CLOSE : BODY_CHUNKED;
    x->response = h;
    enum fault f = grpc_reply(x, h);
    return f == FAULT_OK ? hop_response(x, h) : f;
}

/* Makes the reply's head and queues it. A hook may put another reply in its place, once: that one
 * they are not asked about. */
static enum step_verdict begin_reply(struct exchange *x)
{
    enum fault f = FAULT_OK;
    if (!x->from_weir) {
        x->from_weir = true;
        x->hook_at = 0;
        f = make_reply_head(x);
        if (f != FAULT_OK)
            return step_fail(x, f);
    }
    enum hook hook = hooks_run(x, ON_RESPONSE_HEAD);
    if (hook == HOOK_WAIT)
        return STEP_WAIT;
    if (hook == HOOK_FAIL) {
        enum fault why = x->pending ? x->pending : FAULT_HOOK;
        bool first = x->fault == FAULT_OK;
        step_fail(x, why); /* noted; there is still a reply to make */
        x->hook_at = 0;
        if (!first || hooks_run(x, ON_FAULT) != HOOK_REPLY)
            reply_fault(x, why);
    }
    if (hook != HOOK_PASS)
        f = make_reply_head(x);
    if (f != FAULT_OK)
        return step_fail(x, f);
    const struct reply *r = &x->reply;
    struct head *h = x->response;
    bool bodyless = status_bodyless(r->status);
    if (x->in->method_id == METHOD_HEAD || bodyless) {
        h->declared = r->produce || bodyless ? H1_LENGTH_UNSAID : h->length;
        h->body = BODY_NONE;
    }
    if (r->close || h->body == BODY_CLOSE)
        x->client_keep = false;
    end_unasked_body(x);
    f = x->client->ops->write_head(x->client, h);
    if (f != FAULT_OK)
        return step_fail(x, f);
    x->head_sent = true;
    return STEP_NEXT;
}

/* Queues more of the reply's body. IO_EOF: all of it is queued. */
static __attribute__((noinline)) enum io feed_reply(struct exchange *x)
{
    struct leg *c = x->client;
    struct chain out = {0};
    struct buf_pool *bp = &x->worker->buffers;
    enum io io = IO_EOF;
    if (x->response->body == BODY_NONE)
        return IO_EOF;
    if (x->reply.produce) {
        size_t share = c->ops->share ? c->ops->share(c, 0) : SIZE_MAX;
        size_t queued = c->ops->queued(c);
        if (queued >= x->plan->settings->buffer.size || queued >= share) {
            c->want_drain = true;
            c->low = 0;
            return IO_AGAIN;
        }
        io = x->reply.produce(x, x->reply.arg, &out);
    } else if (!chain_add_static(&out, bp, x->reply.body)) {
        memory_wait(x);
        return IO_AGAIN;
    }
    enum fault f = c->ops->write_block(c, &out);
    chain_clear(&out, bp);
    return f == FAULT_OK ? io : IO_ERR;
}

/* We come here with x->reply filled. We leave when it has reached the kernel and the unread
 * rest of the request is dealt with. */
enum step_verdict step_reply(struct exchange *x)
{
    struct leg *c = x->client;
    if (!x->head_sent) {
        enum step_verdict v = begin_reply(x);
        if (v != STEP_NEXT)
            return v;
    }
    while (!x->response_done) {
        enum io io = feed_reply(x);
        if (io == IO_AGAIN)
            return STEP_WAIT;
        if (io == IO_ERR || c->fault == FAULT_CLIENT_GONE)
            return step_fail(x, x->pending ? x->pending : FAULT_CLIENT_GONE);
        if (io != IO_EOF)
            continue;
        x->response_done = true;
        enum fault f = c->ops->write_end(c, NULL);
        if (f != FAULT_OK)
            return step_fail(x, f);
    }
    if (c->fault == FAULT_CLIENT_GONE)
        return step_fail(x, FAULT_CLIENT_GONE);
    bool settled = discard_request(x);
    if (settled && c->ops->queued(c) && c->ops->flush)
        c->ops->flush(c, false);
    if (c->fault == FAULT_CLIENT_GONE)
        return step_fail(x, FAULT_CLIENT_GONE);
    if (c->ops->queued(c)) {
        c->want_drain = true;
        c->low = 0;
        return STEP_WAIT;
    }
    return settled ? STEP_NEXT : STEP_WAIT;
}

/* Why a tunnel broke: nothing of HTTP is cut short there. */
static enum fault tunnel_fault(enum fault f)
{
    if (f == FAULT_UP_TRUNCATED || f == FAULT_UP_WRITE)
        return FAULT_TUNNEL_RESET;
    return f == FAULT_CLIENT_TRUNCATED ? FAULT_CLIENT_GONE : f;
}

/* One direction of a tunnel. A side that ended is passed on as a half-close. True: this
 * direction is over. */
static bool tunnel_way(struct exchange *x, struct pump *p)
{
    if (p->unsettled)
        pump_settle(p);
    if (p->state == PUMP_ENDED)
        return true;
    switch (pump_run(p, x)) {
    case PUMP_DONE:
        p->sink->ops->half_close(p->sink);
        return true;
    case PUMP_SOURCE_ERR:
        exchange_fail(x, tunnel_fault(p->source->fault));
        return true;
    case PUMP_SINK_ERR:
        /* What an endpoint said before it took no more is passed on; how that ends tells whether
         * it had said all. */
        if (p->direction == DIR_REQUEST)
            pump_stop(p, x);
        else
            exchange_fail(x, tunnel_fault(p->sink->fault));
        return true;
    case PUMP_HOOK:
        return x->pending != FAULT_OK;
    case PUMP_WAIT:
        break;
    }
    return false;
}

/* We come here with 101 (or 2xx to CONNECT) queued to the client. We leave when both directions
 * ended. A tunnel holds its route, never the whole snapshot. */
enum step_verdict step_tunnel(struct exchange *x)
{
    struct attempt *a = x->attempt;
    struct stats *stats = x->worker->stats;
    if (x->response_pump.state == PUMP_IDLE) {
        tunnel_begin(x);
        counter_add(&stats->tunnels_open, 1);
        counter_add(&stats->tunnels_total, 1);
    }
    bool up = tunnel_way(x, &x->request);
    bool back = tunnel_way(x, &x->response_pump);
    if (x->pending) {
        enum fault f = x->pending;
        return step_fail(x, f);
    }
    if (!up || !back)
        return STEP_WAIT;
    if (!a->leg->fault && a->leg->ops->queued(a->leg)) { /* the last of what the client sent */
        a->leg->want_drain = true;
        a->leg->low = 0;
        return STEP_WAIT;
    }
    attempt_end(a, false, FAULT_OK);
    return STEP_NEXT;
}

/* We come here from everywhere, exactly once. Log, figures, connections returned or closed;
 * then the exchange is gone. */
enum step_verdict step_finish(struct exchange *x)
{
    struct stats *stats = x->worker->stats;
    if (x->attempt && !x->attempt->ended)
        attempt_end(x->attempt, false, x->fault);
    if (x->request.state != PUMP_ENDED) /* then it holds nothing */
        pump_stop(&x->request, x);
    if (x->response_pump.state != PUMP_ENDED)
        pump_stop(&x->response_pump, x);
    if (!x->snapshot) /* tunnel_begin let it go */
        counter_sub(&stats->tunnels_open, 1);
    if (x->in->method.n || x->kind == EXCHANGE_CONNECTION ||
        x->fault != FAULT_OK) { /* else nothing was asked */
        counter_add(&stats->exchanges_total, 1);
        if (x->fault != FAULT_OK && x->client->ops->flush)
            x->client->ops->flush(x->client, false); /* a broken answer's bytes are counted, too */
        hooks_finish(x);
    }
    x->client->ops->close(x->client, x->client_keep && x->request_done, EVICT_ERROR);
    x->client = NULL;
    exchange_discard(x);
    return STEP_DONE;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* attempt: one try at one endpoint: its table of steps and its end. Invariants:
 * 1. link is non-NULL exactly between the loan and attempt_end; leg exists only after that loan.
 * 2. attempt_end runs once for every attempt (it is idempotent by step == ATTEMPT_DONE and leg ==
 *    NULL).
 * 3. sent is true as soon as the kernel took one byte of the request. */
#include "proxy/attempt.h"

#include "base/panic.h"
#include "http/grpc.h"
#include "proxy/announce.h"
#include "proxy/attempt_turn.h"
#include "proxy/driver.h"
#include "proxy/field_rule.h"
#include "proxy/h2_link.h"
#include "proxy/hop.h"
#include "proxy/leg_h1.h"
#include "proxy/leg_h2.h"

static enum step_verdict attempt_pick(struct attempt *a);
static enum step_verdict attempt_connect(struct attempt *a);
static enum step_verdict attempt_send_head(struct attempt *a);
static enum step_verdict attempt_await_head(struct attempt *a);

/* A row: the step and its function attempt_NAME. Each sets the next step by itself. */
#define ATTEMPT_ROWS(ROW)                                                                          \
    ROW(PICK, pick)                                                                                \
    ROW(CONNECT, connect)                                                                          \
    ROW(SEND_HEAD, send_head)                                                                      \
    ROW(AWAIT_HEAD, await_head)

const char *attempt_step_name(enum attempt_step s)
{
#define AS_NAME(id, name) [ATTEMPT_##id] = #name,
    static const char *const names[ATTEMPT_STEPS] = {ATTEMPT_ROWS(AS_NAME)[ATTEMPT_DONE] = "done"};
    return names[s];
}

static enum step_verdict failed(struct attempt *a, enum fault f)
{
    a->fault = f;
    a->step = ATTEMPT_DONE;
    return STEP_NEXT;
}

static void link_ready(struct link_wait *w, struct link *link, enum fault fault)
{
    struct attempt *a = list_entry(w, struct attempt, wait);
    a->link = link;
    a->fault = fault;
    exchange_wake(a->x);
}

enum fault attempt_begin(struct exchange *x)
{
    struct attempt *a = x->attempt ? arena_zalloc(&x->arena, sizeof(*a)) : &x->first_attempt;
    if (!a)
        return FAULT_MEMORY;
    a->x = x;
    a->prev = x->attempt;
    a->started = x->now;
    a->wait.ready = link_ready;
    x->attempt = a;
    x->n_attempts++;
    a->in_progress = &x->plan->upstream->run->workers[x->worker->index].active;
    counter_add(a->in_progress, 1);
    return FAULT_OK;
}

/* We come here with a new attempt. We leave when an endpoint is proposed, no hook objects and it is
 * our turn, or when there is none. */
static enum step_verdict attempt_pick(struct attempt *a)
{
    if (a->not_before > a->x->now)
        return STEP_WAIT;
    enum fault f = a->turn.ticket ? attempt_still_waits(a) : attempt_choose(a);
    if (f != FAULT_OK)
        return failed(a, f);
    if (!a->endpoint)
        return STEP_WAIT;
    a->step = ATTEMPT_CONNECT;
    return STEP_NEXT;
}

/* The link will not do, and is given back: another one is to be asked for. */
RARE static enum step_verdict other_link(struct attempt *a)
{
    if (a->link->shared)
        pool_release(a->link);
    else
        pool_evict(a->link, EVICT_NOT_KEPT, false);
    a->link = NULL;
    a->wait.since = 0;
    return STEP_NEXT;
}

/* A WebSocket, for an endpoint that takes none over HTTP/2. */
static bool needs_h1(const struct attempt *a)
{
    return a->link->shared && str_ieq(a->x->in->upgrade, STR("websocket")) &&
           !h2_link_extends(a->link);
}

/* Asks the pool for a link; what comes of it is as link_ready would note it. */
static enum acquire ask_pool(struct attempt *a)
{
    struct exchange *x = a->x;
    a->wait.must_peek = !method_idempotent(x->in->method_id);
    enum proxy_out version = x->plan->upstream->proxy_protocol;
    if (version && x->announce != ANNOUNCE_NOTHING)
        a->fault = announce_client(x, version, &a->wait.announce);
    if (a->fault != FAULT_OK)
        return ACQUIRE_FAULT;
    a->wait.since = x->now;
    enum acquire got =
        pool_acquire(&x->worker->upstream, a->endpoint, &a->wait, &a->link, &a->fault);
    if (got != ACQUIRE_FAULT)
        a->fault = FAULT_OK; /* which of the pool's tries failed meanwhile is its own affair */
    return got;
}

/* What link_ready has noted. */
static enum acquire pool_answered(const struct attempt *a)
{
    if (a->fault != FAULT_OK)
        return ACQUIRE_FAULT;
    return a->link ? ACQUIRE_READY : ACQUIRE_PENDING;
}

/* We come here with an endpoint. We leave with a lent link, or when the pool says why not. */
static enum step_verdict attempt_connect(struct attempt *a)
{
    struct exchange *x = a->x;
    enum acquire got = a->wait.since ? pool_answered(a) : ask_pool(a);
    if (got == ACQUIRE_PENDING)
        return STEP_WAIT;
    if (got == ACQUIRE_FAULT)
        return failed(a, a->fault);
    if (x->kind == EXCHANGE_CONNECTION && a->link->requests > 1) {
        /* It has carried requests, of a route that shares the upstream: not for other bytes. */
        a->wait.want_fresh = true;
        return other_link(a);
    }
    if (needs_h1(a)) {
        a->wait.want_h1 = true;
        enum step_verdict v = other_link(a);
        bool may = x->plan->upstream->protocol != PROTOCOL_H2;
        return may ? v : failed(a, FAULT_UP_NO_WEBSOCKET);
    }
    a->reused = a->link->requests > 1;
    a->kept = a->reused || a->link->opened < a->wait.since;
    a->http2 = a->link->shared != NULL;
    a->connected = x->now;
    a->leg = a->http2 ? leg_h2_upstream(x, a->link) : leg_h1_upstream(x, a->link);
    if (!a->leg) {
        pool_evict(a->link, EVICT_ERROR, false);
        a->link = NULL;
        return failed(a, FAULT_MEMORY);
    }
    a->step = ATTEMPT_SEND_HEAD;
    return STEP_NEXT;
}

/* The Host that a route's `rewrite: {host: upstream}` asks for. */
static struct str upstream_host(const struct exchange *x, const struct attempt *a)
{
    const struct upstream *u = x->plan->upstream;
    return u->host.n ? u->host : a->endpoint->address;
}

/* The milliseconds that are left of the whole, for the endpoint to know; where there is no such
 * limit no client may say it. */
static __attribute__((noinline)) enum fault tell_deadline(struct exchange *x)
{
    const struct settings_conf *c = x->plan->settings;
    usec_t gone = x->now - x->started;
    if (c->timeouts.exchange <= gone) {
        fields_remove_alias(&x->out->fields, c->retry.deadline_header);
        return FAULT_OK;
    }
    unsigned long long left = (c->timeouts.exchange - gone) / USEC_PER_MS;
    struct str text = arena_printf(&x->arena, "%llu", left);
    return text.p && fields_own(&x->out->fields, c->retry.deadline_header, text) ? FAULT_OK
                                                                                 : FAULT_MEMORY;
}

/* We come here with a leg. We leave when the outgoing head is made and queued and the
 * request pump is started. */
static enum step_verdict attempt_send_head(struct attempt *a)
{
    struct exchange *x = a->x;
    a->stats = &a->endpoint->stats[x->worker->index];
    if (x->kind == EXCHANGE_CONNECTION) { /* what is sent is between the client and the endpoint */
        counter_add(&a->stats->requests, 1);
        a->sent_at = x->now;
        a->status = 101; /* to breaker and ejection: as good as a tunnel that was granted */
        a->step = ATTEMPT_DONE;
        return STEP_NEXT;
    }
    enum fault f = hop_request(x);
    if (f == FAULT_OK && !x->out->authority.n)
        x->out->authority =
            a->endpoint->text.form == ADDR_UNIX ? STR("localhost") : a->endpoint->address;
    if (f == FAULT_OK && x->plan->rewrite)
        f = rewrite_apply(x->plan->rewrite, x->out, &x->arena, upstream_host(x, a));
    if (f == FAULT_OK && x->plan->settings->retry.deadline_header.n)
        f = tell_deadline(x);
    if (f == FAULT_OK && hooks_attempt(x, ON_SEND, a) != HOOK_PASS)
        f = x->pending ? x->pending : FAULT_HOOK;
    if (f == FAULT_OK && !a->link->shared && grpc_kind(x->out, NULL) == GRPC_CALL)
        f = FAULT_GRPC_NEEDS_H2;
    if (f == FAULT_OK)
        f = a->leg->ops->write_head(a->leg, x->out);
    if (f != FAULT_OK)
        return failed(a, f);
    counter_add(&a->stats->requests, 1);
    a->sent_at = x->now;
    pump_start(&x->request, x, DIR_REQUEST, x->client, a->leg);
    a->step = ATTEMPT_AWAIT_HEAD;
    return STEP_NEXT;
}

/* Nothing of an answer can be there, as is usual when the request was just queued: there is no need
 * to ask the leg. */
static bool no_answer_yet(const struct attempt *a)
{
    return !a->http2 && !a->leg->bytes_in && link_silent(a->link);
}

/* The upstream stopped taking the request: an early answer may still be there to read. */
static enum step_verdict read_answer(struct attempt *a)
{
    struct exchange *x = a->x;
    if (no_answer_yet(a))
        return STEP_WAIT;
    x->response = &x->response_head;
    switch (a->leg->ops->read_head(a->leg, x->response)) {
    case IO_OK:
        if (!a->first_byte)
            a->first_byte = x->now;
        a->status = x->response->status;
        a->step = ATTEMPT_DONE;
        return STEP_NEXT;
    case IO_AGAIN:
        return STEP_WAIT;
    default:
        return failed(a, a->leg->fault ? a->leg->fault : FAULT_UP_CLOSED);
    }
}

/* We come here when the head is queued. The request pump runs beside (answers may come before the
 * upload ends). We leave with a response head or a fault. */
static enum step_verdict attempt_await_head(struct attempt *a)
{
    struct exchange *x = a->x;
    enum pump_verdict v = PUMP_DONE;
    if (x->request.state != PUMP_ENDED)
        v = pump_run(&x->request, x);
    else if (x->request.unsettled)
        pump_settle(&x->request);
    a->sent = a->leg->bytes_out > 0;
    switch (v) {
    case PUMP_SOURCE_ERR:
        return failed(a, x->client->fault);
    case PUMP_HOOK:
        if (x->pending)
            return failed(a, x->pending);
        break;
    case PUMP_SINK_ERR:
    case PUMP_WAIT:
    case PUMP_DONE:
        break;
    }
    enum step_verdict r = read_answer(a);
    if (r == STEP_WAIT && (v == PUMP_SINK_ERR || a->leg->fault))
        return failed(a, a->leg->fault ? a->leg->fault : FAULT_UP_WRITE);
    return r;
}

enum step_verdict attempt_run(struct attempt *a)
{
    /* Mostly a step is followed by the next row's: then one pass does. */
#define RUN_ROW(id, name)                                                                          \
    if (a->step == ATTEMPT_##id && attempt_##name(a) == STEP_WAIT)                                 \
        return STEP_WAIT;
    do {
        ATTEMPT_ROWS(RUN_ROW)
    } while (a->step < ATTEMPT_DONE);
    must(a->step == ATTEMPT_DONE);
    return STEP_NEXT;
}

void attempt_await_again(struct attempt *a)
{
    a->step = ATTEMPT_AWAIT_HEAD;
    a->status = 0;
}

bool attempt_timed_out(struct exchange *x, enum fault f)
{
    struct attempt *a = x->attempt;
    if (!a || x->step != STEP_ATTEMPT || fault_row(f)->side != FAULT_SIDE_UPSTREAM)
        return false;
    a->fault = f;
    a->step = ATTEMPT_DONE;
    return true;
}

void attempt_end(struct attempt *a, bool keep, enum fault f)
{
    struct exchange *x = a->x;
    if (a->ended)
        return;
    a->ended = true;
    a->step = ATTEMPT_DONE;
    if (a->fault == FAULT_OK)
        a->fault = f;
    a->unproven =
        a->fault != FAULT_OK && a->kept && !(a->http2 && a->link && h2_link_proven(a->link));
    pool_cancel(&a->wait);
    counter_sub(a->in_progress, 1);
    if (a->counted_retry)
        atomic_fetch_sub_explicit(&x->plan->upstream->run->retrying, 1, memory_order_relaxed);
    if (a->leg) {
        bool may_keep = keep && x->response && x->response->keep_alive;
        bool orderly = (keep && !may_keep) || (x->step == STEP_TUNNEL && a->fault == FAULT_OK);
        a->leg->ops->close(a->leg, may_keep, orderly ? EVICT_NOT_KEPT : EVICT_ERROR);
    } else if (a->link) {
        pool_evict(a->link, EVICT_ERROR, false);
    }
    a->link = NULL;
    if (a->endpoint)
        attempt_leave(a);
    if (a->turn.upstream)
        turn_leave(&a->turn, &x->worker->upstream);
    if (x->plan->hooks[ON_ATTEMPT_END].n && a->endpoint)
        hooks_attempt(x, ON_ATTEMPT_END, a);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* deadline: the configured deadlines of the present step (the row in exchange.c says which),
 * and the minimum rates. One timer an exchange: armed for the earliest, it only makes the
 * driver look again. Invariant: a deadline that does not count at this moment is never armed in
 * the past. */
#include "http/grpc.h"
#include "proxy/attempt_turn.h"
#include "proxy/driver.h"

struct look {
    struct exchange *x;
    usec_t now;
    usec_t next;      /* earliest to arm */
    enum fault fault; /* first that has passed */
};

/* One deadline: at since + span; counts: a passed one is a fault, else it is only looked at
 * again. */
static void consider(struct look *k, enum deadline d, usec_t since, usec_t span, bool counts,
                     enum fault f)
{
    if (!span || !(step_deadlines(k->x->step) & (1u << d)))
        return;
    usec_t at = since + span;
    if (at <= k->now) {
        if (counts && k->fault == FAULT_OK)
            k->fault = f;
        at = k->now + span;
    }
    if (at < k->next)
        k->next = at;
}

static usec_t latest(usec_t a, usec_t b)
{
    return a > b ? a : b;
}

static uint64_t arrived(struct leg *l)
{
    return l->ops->arrived ? l->ops->arrived(l) : l->bytes_out;
}

/* When the peer last took a byte, while some wait: the kernel, which may hold megabytes of a slow
 * reader, takes the next only when a third of them have left. It is asked four times in span, so a
 * silence is seen that much late. */
static usec_t last_take(struct look *k, struct leg *l, usec_t since, usec_t span, bool waits)
{
    usec_t last = latest(since, l->last_arrival), from = last;
    if (!waits || !span || !l->ops->arrived)
        return last;
    if (k->now >= last + span / 4) {
        uint64_t has_arrived = arrived(l);
        if (!l->last_arrival || has_arrived != l->had_arrived)
            last = l->last_arrival = k->now;
        l->had_arrived = has_arrived;
        from = k->now;
    }
    if (from + span / 4 < k->next)
        k->next = from + span / 4;
    return last;
}

/* A call over HTTP/2: either side may keep silent, as long as not both do so for too long. A client
 * of HTTP/1 has to send its request all the same. */
static bool is_call(const struct exchange *x)
{
    return x->grpc != GRPC_NONE && x->attempt && x->attempt->leg && x->attempt->http2 &&
           (x->in->major == 2 || x->request_done);
}

static void look_at_call(struct look *k)
{
    struct exchange *x = k->x;
    const struct leg *c = x->client, *up = x->attempt->leg;
    usec_t last = latest(latest(c->last_in, c->last_out), latest(up->last_in, up->last_out));
    consider(k, DEADLINE_CALL_IDLE, latest(last, x->attempt->sent_at),
             x->plan->settings->timeouts.call_idle, true, FAULT_CALL_IDLE);
}

static void look_at_attempt(struct look *k)
{
    struct exchange *x = k->x;
    const struct timeouts_conf *t = &x->plan->settings->timeouts;
    struct attempt *a = x->attempt;
    if (!a)
        return;
    if (a->not_before > k->now && a->not_before < k->next)
        k->next = a->not_before;
    consider(k, DEADLINE_FIRST_BYTE, latest(a->started, a->not_before),
             x->plan->settings->retry.per_try, !a->turn.ticket, FAULT_TRY_TIMEOUT);
    if (__builtin_expect(a->turn.ticket != NULL, 0)) {
        usec_t again = attempt_looks_again(a);
        k->next = again < k->next ? again : k->next;
        consider(k, DEADLINE_POOL_WAIT, a->turn.since, t->pool_wait, true, FAULT_QUEUE_TIMEOUT);
        return;
    }
    if (a->step == ATTEMPT_CONNECT) {
        consider(k, DEADLINE_POOL_WAIT, a->wait.since, t->pool_wait,
                 a->wait.pool && !pool_opening(&a->wait), FAULT_POOL_TIMEOUT);
        return;
    }
    if (!a->leg)
        return;
    bool queued = pump_waiting(&x->request) > 0;
    bool uploading = !x->request_done && !exchange_unasked(x);
    usec_t sent = latest(a->leg->last_out, a->sent_at);
    consider(k, DEADLINE_UPSTREAM_SEND, last_take(k, a->leg, sent, t->upstream_send, queued),
             t->upstream_send, queued, FAULT_UP_SEND_TIMEOUT);
    if (is_call(x)) {
        look_at_call(k);
        return;
    }
    /* The client's turn began when its last bytes went on, or with an interim answer. */
    if (uploading)
        consider(k, DEADLINE_CLIENT_BODY,
                 latest(latest(x->client->last_in, x->client->last_out), sent), t->client_body,
                 !queued, FAULT_CLIENT_BODY_TIMEOUT);
    consider(k, DEADLINE_FIRST_BYTE, sent, t->first_byte, !queued && !uploading,
             FAULT_UP_HEAD_TIMEOUT);
}

/* The rest of the request is read, to go on or to keep the connection, and it is for the client to
 * send it. */
static bool awaits_body(const struct exchange *x)
{
    return !x->request_done && !exchange_unasked(x) &&
           (x->client_keep || x->request.state != PUMP_ENDED);
}

static void look_at_stream(struct look *k)
{
    struct exchange *x = k->x;
    const struct timeouts_conf *t = &x->plan->settings->timeouts;
    struct attempt *a = x->attempt;
    size_t waiting =
        x->response_pump.sink ? pump_waiting(&x->response_pump) : x->client->ops->queued(x->client);
    consider(k, DEADLINE_CLIENT_SEND,
             last_take(k, x->client, latest(x->client->last_out, x->step_since), t->client_send,
                       waiting > 0),
             t->client_send, waiting > 0, FAULT_CLIENT_SEND_TIMEOUT);
    bool call = is_call(x) && !x->response_done;
    if (call)
        look_at_call(k);
    else if (awaits_body(x))
        consider(k, DEADLINE_CLIENT_BODY, latest(x->client->last_in, x->step_since), t->client_body,
                 pump_waiting(&x->request) == 0, FAULT_CLIENT_BODY_TIMEOUT);
    if (!a || !a->leg || x->response_done)
        return;
    if (!call)
        consider(k, DEADLINE_RESPONSE_IDLE, latest(a->leg->last_in, x->client->last_out),
                 t->response_idle, waiting == 0, FAULT_UP_BODY_TIMEOUT);
    bool queued = !x->request_done && pump_waiting(&x->request) > 0;
    if (!x->request_done)
        consider(k, DEADLINE_UPSTREAM_SEND,
                 last_take(k, a->leg, a->leg->last_out, t->upstream_send, queued), t->upstream_send,
                 queued, FAULT_UP_SEND_TIMEOUT);
}

/* A direction must move rate bytes a second while bytes wait, after grace. */
static void look_at_rate(struct look *k, struct pump *p, uint64_t rate, uint64_t moved,
                         bool waiting, enum fault f)
{
    usec_t grace = k->x->plan->settings->min_rate.grace;
    if (!rate || !grace)
        return;
    if (!waiting) {
        p->waiting_since = 0;
        return;
    }
    if (!p->waiting_since) {
        p->waiting_since = k->now;
        p->rate_bytes = moved;
    }
    usec_t span = k->now - p->waiting_since;
    if (span >= grace) {
        if ((moved - p->rate_bytes) * USEC_PER_SEC < rate * span && k->fault == FAULT_OK)
            k->fault = f;
        p->waiting_since = k->now;
        p->rate_bytes = moved;
    }
    if (p->waiting_since + grace < k->next)
        k->next = p->waiting_since + grace;
}

/* The request pump could take more: neither the upstream nor memory holds it up. What it has just
 * queued leaves at the end of the turn and does not count. */
static bool awaits_client(const struct exchange *x)
{
    return !x->request_done && !exchange_unasked(x) && !x->request.held_up &&
           !list_linked(&x->memory_node);
}

static void look_at_rates(struct look *k)
{
    struct exchange *x = k->x;
    const struct min_rate_conf *r = &x->plan->settings->min_rate;
    struct pump *p = &x->response_pump;
    if (r->response && p->state != PUMP_IDLE) {
        bool judged = !p->waiting_since || k->now - p->waiting_since >= r->grace;
        bool waiting = pump_waiting(p) > 0;
        look_at_rate(k, p, r->response, waiting && judged ? arrived(x->client) : 0, waiting,
                     FAULT_CLIENT_SLOW_READ);
    }
    if (x->request.state == PUMP_COPY || x->request.state == PUMP_SPLICE)
        look_at_rate(k, &x->request, r->request, x->client->bytes_in, awaits_client(x),
                     FAULT_CLIENT_SLOW_SEND);
}

static void look(struct look *k)
{
    struct exchange *x = k->x;
    const struct timeouts_conf *t = &x->plan->settings->timeouts;
    switch ((enum step) x->step) {
    case STEP_READ_HEAD:
        consider(k, DEADLINE_CLIENT_HEAD, x->started, t->client_head, true,
                 FAULT_CLIENT_HEAD_TIMEOUT);
        return;
    case STEP_ATTEMPT:
        look_at_attempt(k);
        look_at_rates(k);
        break;
    case STEP_STREAM:
    case STEP_REPLY:
        look_at_stream(k);
        look_at_rates(k);
        break;
    case STEP_TUNNEL:
        consider(k, DEADLINE_TUNNEL_IDLE,
                 latest(latest(x->client->last_in, x->client->last_out),
                        x->attempt && x->attempt->leg
                            ? latest(x->attempt->leg->last_in, x->attempt->leg->last_out)
                            : 0),
                 t->tunnel_idle, true, FAULT_TUNNEL_IDLE);
        return;
    default:
        break;
    }
    /* What is said because the time is over may take its own: timeouts.client_send. */
    bool over = x->fault == FAULT_GRPC_DEADLINE || x->fault == FAULT_EXCHANGE_TIMEOUT;
    consider(k, DEADLINE_EXCHANGE, x->started, x->time_limit, !over, FAULT_GRPC_DEADLINE);
    consider(k, DEADLINE_EXCHANGE, x->started, t->exchange, !over, FAULT_EXCHANGE_TIMEOUT);
}

/* Most exchanges end before any deadline could pass: until then nothing is looked at. 0: what x
 * waits for may have a time of its own. */
static usec_t first_look(const struct exchange *x)
{
    const struct attempt *a = x->attempt;
    bool own = x->time_limit || (a && (a->not_before || a->turn.ticket));
    return own ? 0 : x->started + x->plan->settings->untimed;
}

__attribute__((noinline)) enum fault deadlines_expired(struct exchange *x)
{
    struct look k = {.x = x, .now = x->now, .next = USEC_NEVER};
    look(&k);
    x->deadline = k.next;
    return k.fault;
}

void deadlines_arm(struct exchange *x)
{
    x->deadline = first_look(x);
    enum fault f = x->deadline > x->now ? FAULT_OK : deadlines_expired(x);
    if (f != FAULT_OK) {
        exchange_fail(x, f);
        exchange_wake(x);
    } else if (x->deadline != USEC_NEVER && x->timer) {
        timer_set(x->worker->loop, x->timer, x->deadline);
    }
}

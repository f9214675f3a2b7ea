/* SPDX-License-Identifier: Apache-2.0 */
/* attempt_pick: whom an attempt asks, and what its end says of that endpoint. Invariant: an attempt
 * that has an endpoint is counted in endpoint.active, where the balancer wants it, exactly from
 * attempt_choose to attempt_leave. */
#include "proxy/affinity.h"
#include "proxy/attempt_turn.h"
#include "proxy/driver.h"
#include "upstream/eject.h"

enum fault attempt_nobody(const struct upstream *u)
{
    uint32_t unresolved = 0;
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        unresolved += !atomic_load(&u->endpoints[i]->addrs);
    return unresolved && unresolved == u->n_endpoints ? FAULT_RESOLVE : FAULT_NO_ENDPOINT;
}

/* A kept link broke before any answer. */
static bool stale(const struct attempt *a)
{
    return a->kept && fault_row(a->fault)->retry == FAULT_RETRY_REUSED;
}

static bool unprocessed(const struct attempt *a)
{
    return a && fault_row(a->fault)->retry == FAULT_RETRY_UNPROCESSED;
}

/* After a stale link that endpoint again, on a fresh one. Also after a stream that was not
 * processed: that is how connections are ended in order (RFC 9113 6.8). Twice in a row it has no
 * room: then another one, if there is any. */
static struct endpoint *same_again(struct attempt *a)
{
    const struct attempt *p = a->prev;
    if (unprocessed(p) && unprocessed(p->prev) && a->x->plan->upstream->n_endpoints > 1)
        return NULL;
    if (!unprocessed(p) && (!p || !stale(p) || p->wait.want_fresh))
        return NULL;
    a->wait.want_fresh = !unprocessed(p);
    return p->endpoint;
}

/* a may call by the rules of b; its end will be told. */
static bool pass_breaker(struct attempt *a, struct breaker *b)
{
    struct exchange *x = a->x;
    if (!breaker_ask(b, &x->plan->upstream->breaker, x->now, &a->ticket))
        return false;
    a->breaker = b;
    return true;
}

bool attempt_accepted(struct attempt *a, bool *refused)
{
    struct exchange *x = a->x;
    const struct breaker_conf *c = &x->plan->upstream->breaker;
    if (x->plan->hooks[ON_PICK].n && hooks_attempt(x, ON_PICK, a) != HOOK_PASS)
        return false;
    if (__builtin_expect(!c->enabled || c->scope != BREAKER_ENDPOINT, 1))
        return true;
    bool pass = pass_breaker(a, atomic_load(&a->endpoint->breaker));
    *refused |= !pass;
    return pass;
}

void attempt_tried(const struct attempt *a, struct pick *pick, struct endpoint **tried)
{
    pick->tried = tried;
    for (struct attempt *p = a->prev; p && pick->n_tried < ATTEMPTS_MAX; p = p->prev) {
        if (p->endpoint)
            tried[pick->n_tried++] = p->endpoint;
    }
    if (a->x->plan->upstream->key != KEY_NONE)
        pick->hash = affinity_hash(a->x);
}

struct endpoint *attempt_balance(const struct attempt *a, const struct pick *pick)
{
    struct upstream *u = a->x->plan->upstream;
    return u->balance->pick(u->balance_state, u, pick);
}

/* The balancer's choice, where nobody else has a say. */
static __attribute__((noinline)) enum fault ask_balancer(struct attempt *a)
{
    struct pick pick = {.worker = a->x->worker->index, .now = a->x->now};
    a->endpoint = attempt_balance(a, &pick);
    return a->endpoint ? FAULT_OK : attempt_nobody(a->x->plan->upstream);
}

/* The choice by cookie or by the balancer, until nobody objects. */
static enum fault ask_all(struct attempt *a)
{
    struct exchange *x = a->x;
    struct upstream *u = x->plan->upstream;
    struct endpoint *tried[2 * ATTEMPTS_MAX];
    struct pick pick = {.worker = x->worker->index, .now = x->now};
    attempt_tried(a, &pick, tried);
    if (__builtin_expect(u->limited, 0))
        return attempt_in_turn(a, &pick, tried);
    bool refused = false;
    struct endpoint *e = u->by_id ? affinity_sticky(x, &pick) : NULL;
    for (;;) {
        a->endpoint = e ? e : attempt_balance(a, &pick);
        if (!a->endpoint)
            return attempt_nobody(u);
        if (attempt_accepted(a, &refused))
            return FAULT_OK;
        e = NULL;
        tried[pick.n_tried++] = a->endpoint;
        a->endpoint = NULL;
        if (pick.n_tried == ATTEMPTS_MAX || pick.n_tried >= u->n_endpoints)
            return refused ? FAULT_BREAKER_OPEN : FAULT_NO_ENDPOINT;
    }
}

/* The choice where others have a say. */
static enum fault choose(struct attempt *a)
{
    struct exchange *x = a->x;
    if (x->forced_endpoint) {
        a->endpoint = x->forced_endpoint;
        a->wait.want_fresh = a->prev != NULL;
        return FAULT_OK;
    }
    struct endpoint *same = same_again(a);
    if (same && x->plan->upstream->limited)
        return attempt_same_in_turn(a, same);
    if (same) {
        a->endpoint = same;
        return FAULT_OK;
    }
    if (x->plan->breaker && !pass_breaker(a, x->plan->breaker))
        return FAULT_BREAKER_OPEN;
    return ask_all(a);
}

/* The same, counted. */
static __attribute__((noinline)) enum fault choose_and_count(struct attempt *a)
{
    const struct upstream *u = a->x->plan->upstream;
    enum fault f = choose(a);
    if (f != FAULT_OK)
        attempt_judge(a);
    else if (a->endpoint && u->balance->counts_active)
        atomic_fetch_add_explicit(&a->endpoint->active, 1, memory_order_relaxed);
    return f;
}

enum fault attempt_choose(struct attempt *a)
{
    const struct plan *p = a->x->plan;
    bool alone = p->upstream->balancer_alone && !p->hooks[ON_PICK].n;
    return alone && !a->prev && !a->x->forced_endpoint ? ask_balancer(a) : choose_and_count(a);
}

/* What the end says of the endpoint; statuses by RFC 9110 15.6. */
enum blame attempt_blame(const struct attempt *a)
{
    if (a->fault == FAULT_OK)
        return a->status >= 502 && a->status <= 504 ? BLAME_STATUS : BLAME_NONE;
    switch (a->fault) {
    case FAULT_RESOLVE:
    case FAULT_CONNECT_REFUSED:
    case FAULT_CONNECT_FAILED:
    case FAULT_CONNECT_TIMEOUT:
    case FAULT_UP_TLS_TIMEOUT:
    case FAULT_UP_TLS_FAILED:
    case FAULT_UP_TLS_CLOSED:
    case FAULT_UP_TLS_ALERT:
    case FAULT_UP_CERT_EXPIRED:
    case FAULT_UP_CERT_NOT_YET:
    case FAULT_UP_CERT_NAME:
    case FAULT_UP_CERT_CA:
    case FAULT_UP_CERT_REVOKED:
    case FAULT_UP_CERT_PIN:
    case FAULT_UP_CERT_INVALID:
        return BLAME_CONNECT;
    case FAULT_TRY_TIMEOUT:
    case FAULT_UP_HEAD_TIMEOUT:
    case FAULT_UP_BODY_TIMEOUT:
    case FAULT_UP_SEND_TIMEOUT:
    case FAULT_UP_H2_SILENT:
        return BLAME_TIMEOUT;
    case FAULT_UP_CLOSED:
    case FAULT_UP_RESET:
    case FAULT_UP_WRITE:
    case FAULT_UP_TRUNCATED:
    case FAULT_UP_H2_STREAM:
        return BLAME_RESET;
    case FAULT_UP_HEAD:
    case FAULT_UP_HEAD_LARGE:
    case FAULT_UP_FRAMING:
    case FAULT_UP_CHUNK:
    case FAULT_UP_INTERIM_FLOOD:
    case FAULT_UP_UPGRADE:
    case FAULT_UP_NO_H2:
    case FAULT_GRPC_NEEDS_H2:
    case FAULT_UP_H2_PROTOCOL:
    case FAULT_UP_H2_FLOOD:
        return BLAME_INVALID;
    default:
        return BLAME_NONE;
    }
}

/* An idle link may end at any time: that says nothing of its endpoint. One that others share, and
 * that was alive meanwhile, is another thing. */
static enum blame blame_of(const struct attempt *a)
{
    return a->unproven && stale(a) ? BLAME_NONE : attempt_blame(a);
}

static struct attempt_result result_of(const struct attempt *a)
{
    return (struct attempt_result){.fault = a->fault,
                                   .status = a->status,
                                   .blame = blame_of(a),
                                   .first_byte_us = a->first_byte ? a->first_byte - a->sent_at : 0,
                                   .now = a->x->now};
}

/* attempt_judge, where a breaker let a pass. */
static __attribute__((noinline)) void tell_breaker(struct attempt *a)
{
    const struct breaker_conf *c = &a->x->plan->upstream->breaker;
    struct attempt_result r = result_of(a);
    breaker_tell(a->breaker, c, r.now, a->ticket, breaker_end_of(c, &r));
    a->breaker = NULL;
}

void attempt_judge(struct attempt *a)
{
    if (__builtin_expect(a->breaker != NULL, 0))
        tell_breaker(a);
}

/* Tells who judges the endpoint by how the attempt ended. */
static __attribute__((noinline)) void tell_end(const struct attempt *a)
{
    const struct upstream *u = a->x->plan->upstream;
    struct attempt_result r = result_of(a);
    eject_attempt(a->endpoint, &r, a->x->worker->index);
    if (u->balance->attempt_end)
        u->balance->attempt_end(u->balance_state, a->endpoint, &r);
}

void attempt_leave(struct attempt *a)
{
    struct exchange *x = a->x;
    const struct upstream *u = x->plan->upstream;
    struct endpoint *e = a->endpoint;
    attempt_judge(a);
    if (u->balance->counts_active)
        atomic_fetch_sub_explicit(&e->active, 1, memory_order_relaxed);
    if (x->forced_endpoint)
        return; /* a check: its owner judges by itself */
    if (a->first_byte)
        histogram_add(&a->stats->latency, a->first_byte - a->sent_at);
    if (u->balance->attempt_end || eject_listens(e) || blame_of(a) != BLAME_NONE)
        tell_end(a);
}

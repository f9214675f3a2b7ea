/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. Nothing is sent twice that may not be: a request of a method that is not idempotent goes out
 *    again only if no byte of it left, the peer said that it did not process it, or the route says
 *    so.
 * 2. A retry goes to an endpoint that was not tried yet; only after a stale link the same endpoint
 *    is asked again, on a fresh one.
 * 3. run->retrying counts the attempts that have a->counted_retry, over all workers: those that
 *    repeat what an endpoint had been sent. What nobody had seen adds nothing to anyone's load. */
#include "proxy/retry.h"

#include "http/date.h"
#include "proxy/driver.h"

#define UNPROCESSED_MAX 4 /* attempts, while the endpoint says that it did nothing */

const char *retry_refused_name(enum retry_refused r)
{
    static const char *const names[] = {
        [RETRY_REFUSED_NOT] = "", [RETRY_REFUSED_BODY] = "body", [RETRY_REFUSED_BUDGET] = "budget"};
    return names[r];
}

bool retry_status(const struct exchange *x)
{
    const struct retry_conf *c = &x->plan->settings->retry;
    const int64_t *status = c->statuses.items;
    for (size_t i = 0; i < c->statuses.n; i++) {
        if (status[i] == x->response->status)
            return c->enabled;
    }
    return false;
}

/* The route retries what went wrong with a. */
static bool class_retried(const struct retry_conf *c, const struct attempt *a)
{
    switch (attempt_blame(a)) {
    case BLAME_CONNECT:
        return c->connect;
    case BLAME_TIMEOUT:
        return c->timeout;
    case BLAME_RESET:
        return c->reset;
    case BLAME_INVALID:
        return c->invalid;
    case BLAME_STATUS:
    case BLAME_NONE:
    case BLAMES:
        break;
    }
    return a->fault == FAULT_OK; /* a status, which was looked up before */
}

bool retry_repeatable(const struct exchange *x)
{
    const struct retry_conf *c = &x->plan->settings->retry;
    if (method_idempotent(x->in->method_id) || c->any_method)
        return true;
    return c->idempotency_key && fields_get(&x->in->fields, STR("Idempotency-Key"));
}

/* All that was read of the body is still here. What is in a pipe is not; what was read and not yet
 * forwarded is. */
static bool body_kept(struct exchange *x)
{
    struct pump *p = &x->request;
    if (p->pipe || p->bytes != x->replay.bytes)
        return false;
    size_t held = p->held.bytes;
    if (held == 0)
        return true;
    if (p->hooked || p->bytes + held > x->plan->settings->retry.buffer)
        return false;
    return chain_move(&x->replay, &p->held, held, &x->worker->buffers) == held;
}

static bool in_budget(const struct exchange *x, const struct retry_conf *c)
{
    struct upstream_run *run = x->plan->upstream->run;
    uint64_t now = atomic_load_explicit(&run->retrying, memory_order_relaxed);
    return now < (uint64_t) c->budget_least || now * 100 < (uint64_t) c->budget * run_active(run);
}

/* What would be retried is not, and the log will say why: false. */
static bool refuse(struct exchange *x, enum retry_refused why)
{
    x->retry_refused = (uint8_t) why;
    counter_add(&x->worker->stats->retries_refused[why], 1);
    return false;
}

static bool stale_link(const struct attempt *a, bool unsent)
{
    return fault_row(a->fault)->retry == FAULT_RETRY_REUSED && a->kept && !a->wait.want_fresh &&
           (unsent || retry_repeatable(a->x));
}

/* Endpoints that were asked, and of them the last attempts counted once a try. */
static uint32_t tries(const struct exchange *x)
{
    uint32_t n = 0;
    for (const struct attempt *a = x->attempt; a; a = a->prev)
        n += !a->wait.want_fresh;
    return n;
}

/* How long the answer asks to wait (RFC 9110 10.2.3); 0: it does not say so, or says what nobody
 * can read. */
static usec_t retry_after(const struct exchange *x)
{
    const struct field *f = x->response && x->attempt->fault == FAULT_OK
                                ? fields_get_id(&x->response->fields, FIELD_RETRY_AFTER)
                                : NULL;
    usec_t seconds = 0;
    int64_t date;
    if (f && date_read(f->value, &date)) {
        int64_t left = date * (int64_t) USEC_PER_SEC - clock_wall();
        return left > 0 ? (usec_t) left : 0;
    }
    for (size_t i = 0; f && i < f->value.n && seconds < 100000; i++) {
        if (f->value.p[i] < '0' || f->value.p[i] > '9')
            return 0;
        seconds = seconds * 10 + (usec_t) (f->value.p[i] - '0');
    }
    return seconds * USEC_PER_SEC;
}

/* Full jitter: anything from nothing to the present bound. */
static usec_t backoff(const struct retry_conf *c, uint32_t n)
{
    usec_t most = c->backoff << (n > 1 ? n - 1 : 0);
    most = most < c->max_backoff ? most : c->max_backoff;
    return most ? clock_random() % (most + 1) : 0;
}

bool retry_wanted(struct exchange *x, struct retry_plan *plan)
{
    struct attempt *a = x->attempt;
    const struct retry_conf *c = &x->plan->settings->retry;
    const struct upstream *u = x->plan->upstream;
    bool unsent = !a->leg || a->leg->bytes_out == 0;
    bool unprocessed = fault_row(a->fault)->retry == FAULT_RETRY_UNPROCESSED;
    uint32_t n = tries(x);
    *plan = (struct retry_plan){0};
    if (!c->enabled || x->head_sent || (x->interims && !head_is_10(x->in)) || !a->endpoint)
        return false;
    if (a->first_byte && a->fault != FAULT_OK)
        return false;
    if (stale_link(a, unsent))
        return body_kept(x) || refuse(x, RETRY_REFUSED_BODY);
    if (unprocessed) {
        plan->pause = x->n_attempts > 1 ? backoff(c, x->n_attempts) : 0;
        return x->n_attempts < UNPROCESSED_MAX && (body_kept(x) || refuse(x, RETRY_REFUSED_BODY));
    }
    if (n >= (uint32_t) c->tries || n >= u->n_endpoints || x->n_attempts >= ATTEMPTS_MAX)
        return false;
    if (!class_retried(c, a) || (!unsent && !retry_repeatable(x)))
        return false;
    usec_t asked = retry_after(x);
    if (asked > c->max_wait)
        return false;
    if (!body_kept(x))
        return refuse(x, RETRY_REFUSED_BODY);
    if (!unsent && !in_budget(x, c))
        return refuse(x, RETRY_REFUSED_BUDGET);
    plan->counts = !unsent;
    plan->pause = unsent ? 0 : backoff(c, n);
    plan->pause = plan->pause > asked ? plan->pause : asked;
    return true;
}

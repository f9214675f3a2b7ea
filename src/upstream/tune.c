/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. endpoint.share is the product of the three parts, never more than WHOLE, and 0 only when the
 *    endpoint itself reported 0.
 * 2. The registry's number is moved only when a share changed: a second without news costs workers
 *    nothing. */
#include "upstream/tune.h"

#include "base/log.h"
#include "upstream/eject.h"
#include "upstream/health.h"
#include "upstream/weigh.h"

#define WHOLE 1000u /* thousandths */
#define LEAST 100u  /* of slow start and of feedback */
#define FEEDBACK_EVERY (10 * USEC_PER_SEC)
#define FEEDBACK_ANSWERS 10u /* fewer say nothing */
#define REPORT_EXPIRES (180 * USEC_PER_SEC)

/* ---- the parts ----------------------------------------------------------------------------- */

static uint32_t slow_start(struct endpoint *e, usec_t window, usec_t now)
{
    usec_t since = e->tuning.returned;
    if (since == 0)
        return WHOLE;
    if (now - since >= window) {
        e->tuning.returned = 0;
        return WHOLE;
    }
    uint32_t part = (uint32_t) ((now - since) * WHOLE / window);
    return part > LEAST ? part : LEAST;
}

static uint32_t reported(struct endpoint *e, usec_t now)
{
    uint32_t news = atomic_exchange(&e->reported, 0);
    if (news) {
        e->tuning.said = news - 1;
        e->tuning.reported = now;
    } else if (e->tuning.said != WHOLE && now - e->tuning.reported > REPORT_EXPIRES) {
        e->tuning.said = WHOLE;
    }
    return e->tuning.said;
}

static void answers_of(const struct endpoint *e, uint64_t *answers, uint64_t *sum_us)
{
    *answers = *sum_us = 0;
    for (uint32_t w = 0; w < e->registry->n_workers; w++) {
        const struct histogram *h = &e->stats[w].latency;
        for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
            *answers += counter_get(&h->buckets[i]);
        *sum_us += counter_get(&h->sum_us);
    }
}

/* Half of the way to mean of all / own mean, which settles within some rounds. */
static void feedback_round(struct upstream *u)
{
    uint64_t all = 0, all_us = 0;
    struct {
        uint64_t answers, us;
    } *own = mem_new(u->n_endpoints * sizeof own[0] + 1);
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct endpoint_tuning *t = &u->endpoints[i]->tuning;
        uint64_t answers, us;
        answers_of(u->endpoints[i], &answers, &us);
        own[i].answers = answers - t->answers;
        own[i].us = us - t->sum_us;
        t->answers = answers;
        t->sum_us = us;
        all += own[i].answers;
        all_us += own[i].us;
    }
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct endpoint_tuning *t = &u->endpoints[i]->tuning;
        double part = WHOLE;
        if (own[i].answers >= FEEDBACK_ANSWERS && own[i].us > 0)
            part = (double) all_us / (double) all * (double) own[i].answers / (double) own[i].us *
                   WHOLE;
        part = part > WHOLE ? WHOLE : part < LEAST ? LEAST : part;
        t->feedback = (t->feedback + (uint32_t) part + 1) / 2;
    }
    mem_free(own);
}

/* ---- together ------------------------------------------------------------------------------ */

/* Its own word made an end to new requests, or to that. */
static void tell_drained(struct endpoint *e, bool drained)
{
    atomic_fetch_add(&e->changes[drained ? CHANGE_DRAINED : CHANGE_UNDRAINED], 1);
    if (drained)
        log_info(
            "endpoint.drained",
            "upstream %.*s: endpoint %.*s asked for no new requests: it said that it wants 0 %% "
            "of its weight, or answered a check with 404 where drain_404 is set",
            STR_ARG(e->upstream_name), STR_ARG(e->address));
    else
        log_info("endpoint.undrained",
                 "upstream %.*s: endpoint %.*s wants requests again, %u %% of its weight",
                 STR_ARG(e->upstream_name), STR_ARG(e->address),
                 (unsigned) (e->tuning.said / (WHOLE / 100)));
}

bool tune_upstream(struct upstream *u, usec_t now, bool feedback, bool changing)
{
    if (feedback && u->balance_conf.feedback)
        feedback_round(u);
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct endpoint *e = u->endpoints[i];
        uint64_t share = slow_start(e, u->balance_conf.slow_start, now);
        share = share * (u->balance_conf.feedback ? e->tuning.feedback : WHOLE) / WHOLE;
        uint32_t said = reported(e, now);
        share = said ? share * said / WHOLE : 0;
        share = said && share == 0 ? 1 : share;
        if (share == atomic_load_explicit(&e->share, memory_order_relaxed))
            continue;
        if (!changing)
            atomic_fetch_add(&u->registry->number, 1);
        changing = true;
        uint32_t was = atomic_exchange(&e->share, (uint32_t) share);
        if (!was != !share)
            tell_drained(e, !share);
    }
    return changing;
}

void tune_returned(struct endpoint *e, usec_t now)
{
    struct upstream *u = run_newest(e->run);
    if (!u || u->balance_conf.slow_start == 0)
        return;
    e->tuning.returned = now;
    atomic_store(&e->share, LEAST);
}

bool tune_reported(struct endpoint *e, struct str text)
{
    uint32_t percent = 0;
    if (text.n && text.p[text.n - 1] == '%')
        text = str_sub(text, 0, text.n - 1);
    if (text.n == 0 || text.n > 3)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        percent = percent * 10 + (uint32_t) (text.p[i] - '0');
    }
    if (percent > 100)
        return false;
    atomic_store_explicit(&e->reported, percent * (WHOLE / 100) + 1, memory_order_relaxed);
    return true;
}

static void look_at_panic(struct upstream *u)
{
    bool panic = upstream_in_panic(u);
    uint32_t wanted = 0, usable = 0;
    if (panic == atomic_load(&u->run->panic))
        return;
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        wanted += endpoint_wanted(u->endpoints[i]);
        usable += endpoint_usable(u->endpoints[i]);
    }
    atomic_store(&u->run->panic, panic);
    if (panic) {
        atomic_fetch_add(&u->run->panics, 1);
        log_warn("upstream.all_used",
                 "upstream %.*s: %u of its %u endpoints are usable, fewer than %d %% of a level: "
                 "requests go to all of them until more are; look at the endpoints",
                 STR_ARG(u->name), (unsigned) usable, (unsigned) wanted,
                 (int) u->balance_conf.panic_threshold);
    } else {
        log_info(
            "upstream.usable_again",
            "upstream %.*s: %u of its %u endpoints are usable: requests go to those only again",
            STR_ARG(u->name), (unsigned) usable, (unsigned) wanted);
    }
}

void upstream_registry_tick(struct upstream_registry *r, usec_t now)
{
    size_t at = 0;
    struct str name;
    void *value;
    bool changing = false;
    pthread_mutex_lock(&r->lock);
    bool feedback = now - r->feedback_last >= FEEDBACK_EVERY;
    if (feedback)
        r->feedback_last = now;
    while (map_next(&r->names, &at, &name, &value)) {
        struct upstream *u = run_newest(value);
        if (!u)
            continue;
        changing = eject_tick(u, now, changing);
        changing = tune_upstream(u, now, feedback, changing);
        look_at_panic(u);
    }
    if (changing)
        atomic_fetch_add(&r->number, 1);
    pthread_mutex_unlock(&r->lock);
    if (changing)
        turn_ring(r);
}

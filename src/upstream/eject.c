/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. endpoint.ejected changes under the registry's lock only, with its number odd; until and times
 *    belong to that lock too.
 * 2. Never more than max_ejected of an upstream's endpoints are ejected at a time, and never the
 *    only one.
 * 3. Every ejection and every return is one log line with its evidence, and one count. */
#include "upstream/eject.h"

#include <math.h>
#include <stdio.h>

#include "base/log.h"
#include "upstream/tune.h"

#define DEVIATION_ENDPOINTS 5  /* fewer have no spread to speak of */
#define DEVIATION_REQUESTS 100 /* of one endpoint in a sweep */
#define SHARE_REQUESTS 50
#define NOTABLE 5.0    /* percent of failures below which no deviation counts */
#define ROUNDING 0.001 /* percent: the mean of equal shares may come out a little above them */
#define SWEEP_EVERY (10 * USEC_PER_SEC)

static const char *const reason_names[EJECT_REASONS] = {
    [EJECT_IN_ROW] = "consecutive_failures",
    [EJECT_SHARE] = "failure_share",
    [EJECT_DEVIATION] = "success_rate",
};

const char *eject_reason_name(enum eject_reason r)
{
    return reason_names[r];
}

const char *blame_name(enum blame b)
{
    static const char *const names[BLAMES] = {
        [BLAME_NONE] = "none",   [BLAME_CONNECT] = "connect", [BLAME_TIMEOUT] = "timeout",
        [BLAME_RESET] = "reset", [BLAME_INVALID] = "invalid", [BLAME_STATUS] = "status",
    };
    return names[b];
}

/* ---- leaving out and coming back ----------------------------------------------------------- */

/* Another one of u may be left out. */
static bool has_room(const struct upstream *u, const struct ejection_conf *c)
{
    uint64_t ejected = 1;
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        ejected += atomic_load(&u->endpoints[i]->ejected);
    return u->n_endpoints > 1 && ejected * 100 <= (uint64_t) c->max_ejected * u->n_endpoints;
}

static usec_t time_out(const struct ejection_conf *c, uint32_t times)
{
    usec_t span = c->duration * times;
    span = span < c->max_duration ? span : c->max_duration;
    return span + clock_random() % (span / 10 + 1); /* so that a crowd does not return at once */
}

/* Lock held, number odd. evidence: what happened. False: it stays. */
static bool leave_out(struct upstream *u, struct endpoint *e, enum eject_reason why, usec_t now,
                      const char *evidence)
{
    const struct ejection_conf *c = &u->ejection;
    struct endpoint_passive *p = &e->passive;
    if (!c->enabled || atomic_load(&e->ejected) || !has_room(u, c))
        return false;
    usec_t span = time_out(c, ++p->times);
    p->until = now + span;
    atomic_store(&e->ejected, true);
    atomic_fetch_add(&p->ejections[why], 1);
    atomic_fetch_add(&e->changes[CHANGE_EJECTED], 1);
    log_warn("endpoint.ejected",
             "upstream %.*s: endpoint %.*s takes no requests for %llu s: %s (%s)",
             STR_ARG(e->upstream_name), STR_ARG(e->address),
             (unsigned long long) (span / USEC_PER_SEC), evidence, eject_reason_name(why));
    return true;
}

static void come_back(struct endpoint *e, usec_t now, const char *why)
{
    atomic_store(&e->passive.in_row, 0);
    atomic_store(&e->ejected, false);
    tune_returned(e, now);
    atomic_fetch_add(&e->changes[CHANGE_RETURNED], 1);
    log_info("endpoint.returned", "upstream %.*s: endpoint %.*s takes requests again: %s",
             STR_ARG(e->upstream_name), STR_ARG(e->address), why);
}

void eject_forgive(struct endpoint *e, usec_t now)
{
    atomic_store(&e->passive.in_row, 0);
    if (!atomic_load(&e->ejected))
        return;
    registry_change_begin(e->registry);
    if (atomic_load(&e->ejected))
        come_back(e, now, "a check passed");
    registry_change_end(e->registry);
}

bool eject_left_out(struct endpoint *e, usec_t *until, uint32_t *times)
{
    pthread_mutex_lock(&e->registry->lock);
    bool ejected = atomic_load(&e->ejected);
    *until = e->passive.until;
    *times = e->passive.times;
    pthread_mutex_unlock(&e->registry->lock);
    return ejected;
}

void eject_leave_out(struct endpoint *e, usec_t until, uint32_t times)
{
    usec_t now = clock_now();
    if (until <= now || atomic_load(&e->ejected))
        return;
    registry_change_begin(e->registry);
    const struct upstream *u = run_newest(e->run);
    if (u && u->ejection.enabled && has_room(u, &u->ejection)) {
        e->passive.until = until;
        e->passive.times = times;
        atomic_store(&e->ejected, true);
        atomic_fetch_add(&e->changes[CHANGE_EJECTED], 1);
        log_warn("endpoint.ejected",
                 "upstream %.*s: endpoint %.*s takes no requests for %llu s: the process before "
                 "this one had left it out",
                 STR_ARG(e->upstream_name), STR_ARG(e->address),
                 (unsigned long long) ((until - now) / USEC_PER_SEC));
    }
    registry_change_end(e->registry);
}

/* ---- failures in a row --------------------------------------------------------------------- */

static void row_complete(struct endpoint *e, const struct attempt_result *r, uint32_t in_row)
{
    char evidence[128];
    snprintf(evidence, sizeof evidence, "%u failures in a row, the last: %s", (unsigned) in_row,
             r->blame == BLAME_STATUS ? "a 502, 503 or 504" : fault_name(r->fault));
    registry_change_begin(e->registry);
    struct upstream *u = run_newest(e->run);
    if (u)
        leave_out(u, e, EJECT_IN_ROW, r->now, evidence);
    registry_change_end(e->registry);
}

void eject_attempt(struct endpoint *e, const struct attempt_result *r, uint32_t worker)
{
    struct endpoint_passive *p = &e->passive;
    if (r->blame == BLAME_NONE) {
        if (eject_listens(e) && r->status)
            atomic_store_explicit(&p->in_row, 0, memory_order_relaxed);
        return;
    }
    counter_add(&e->stats[worker].failures[r->blame], 1);
    uint32_t in_row = atomic_fetch_add(&p->in_row, 1) + 1;
    uint32_t most = atomic_load_explicit(&e->run->most_in_row, memory_order_relaxed);
    if (most && in_row >= most && in_row % most == 0 && !atomic_load(&e->ejected))
        row_complete(e, r, in_row);
}

/* ---- the sweep ----------------------------------------------------------------------------- */

static bool enough(const struct eject_sample *s, uint64_t least)
{
    return s->total >= least;
}

static double failed_percent(const struct eject_sample *s)
{
    return 100.0 * (double) s->failed / (double) s->total;
}

void eject_judge(const struct ejection_conf *c, const struct eject_sample *s, uint32_t n,
                 enum eject_reason *out, double *mean, double *limit)
{
    double sum = 0, squares = 0;
    uint32_t counted = 0;
    for (uint32_t i = 0; i < n; i++) {
        out[i] = EJECT_REASONS;
        if (!enough(&s[i], DEVIATION_REQUESTS))
            continue;
        double good = 100 - failed_percent(&s[i]);
        sum += good;
        squares += good * good;
        counted++;
    }
    *mean = counted ? sum / counted : 0;
    double variance = counted ? squares / counted - *mean * *mean : 0;
    *limit = *mean - c->deviation * sqrt(variance > 0 ? variance : 0);
    for (uint32_t i = 0; i < n; i++) {
        if (c->failure_share && enough(&s[i], SHARE_REQUESTS) &&
            failed_percent(&s[i]) >= (double) c->failure_share)
            out[i] = EJECT_SHARE;
        else if (c->deviation > 0 && counted >= DEVIATION_ENDPOINTS &&
                 enough(&s[i], DEVIATION_REQUESTS) && failed_percent(&s[i]) >= NOTABLE &&
                 100 - failed_percent(&s[i]) < *limit - ROUNDING)
            out[i] = EJECT_DEVIATION;
    }
}

/* What came since the last sweep. */
static struct eject_sample sample(struct endpoint *e)
{
    struct endpoint_passive *p = &e->passive;
    uint64_t total = 0, failed = 0;
    for (uint32_t w = 0; w < e->registry->n_workers; w++) {
        const struct endpoint_stats *s = &e->stats[w];
        total += counter_get(&s->requests) + counter_get(&s->failures[BLAME_CONNECT]);
        for (unsigned b = 0; b < BLAMES; b++)
            failed += counter_get(&s->failures[b]);
    }
    struct eject_sample out = {total - p->total, failed - p->failed};
    p->total = total;
    p->failed = failed;
    if (out.failed > out.total) /* a request of the sweep before */
        out.failed = out.total;
    return out;
}

static bool make_odd(struct upstream_registry *r, bool changing)
{
    if (!changing)
        atomic_fetch_add(&r->number, 1);
    return true;
}

static bool sweep(struct upstream *u, usec_t now, bool changing)
{
    struct eject_sample *s = mem_new((u->n_endpoints + 1) * sizeof s[0]);
    enum eject_reason *why = mem_new((u->n_endpoints + 1) * sizeof why[0]);
    double mean, limit;
    for (uint32_t i = 0; i < u->n_endpoints; i++)
        s[i] = sample(u->endpoints[i]);
    eject_judge(&u->ejection, s, u->n_endpoints, why, &mean, &limit);
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct endpoint *e = u->endpoints[i];
        if (why[i] == EJECT_REASONS) {
            if (!atomic_load(&e->ejected) && e->passive.times > 0)
                e->passive.times--; /* a good time makes up for a bad one */
            continue;
        }
        char evidence[160];
        int n = snprintf(evidence, sizeof evidence, "%llu of %llu requests failed",
                         (unsigned long long) s[i].failed, (unsigned long long) s[i].total);
        if (why[i] == EJECT_DEVIATION)
            snprintf(evidence + n, sizeof evidence - (size_t) n,
                     ", where %.1f %% succeed in the mean and %.1f %% would do", mean, limit);
        changing = make_odd(u->registry, changing);
        leave_out(u, e, why[i], now, evidence);
    }
    mem_free(s);
    mem_free(why);
    return changing;
}

bool eject_tick(struct upstream *u, usec_t now, bool changing)
{
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct endpoint *e = u->endpoints[i];
        if (!atomic_load(&e->ejected) || (now < e->passive.until && u->ejection.enabled))
            continue;
        changing = make_odd(u->registry, changing);
        come_back(e, now, "its time is over");
    }
    if (!u->ejection.enabled || now - u->run->swept < SWEEP_EVERY)
        return changing;
    u->run->swept = now;
    return sweep(u, now, changing);
}

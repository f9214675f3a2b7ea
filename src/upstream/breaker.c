/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. state, until, round and the counts of probes change under the lock only; each change of state
 *    moves round, so that what began before it is not taken for news.
 * 2. HALF_OPEN: ended <= begun <= probes. It ends when all probes have ended: the window is empty
 *    then, or the breaker is open for longer than before.
 * 3. A part of the window whose epoch is not within the last BREAKER_PARTS counts as empty. */
#include "upstream/breaker.h"

#include "base/log.h"
#include "base/panic.h"

void breaker_init(struct breaker *b, const char *name)
{
    b->name = mem_strdup(str_c(name));
    must(pthread_mutex_init(&b->lock, NULL) == 0);
}

void breaker_fini(struct breaker *b)
{
    pthread_mutex_destroy(&b->lock);
    mem_free(b->name);
}

struct breaker *breaker_new(char *name)
{
    struct breaker *b = mem_new(sizeof *b);
    breaker_init(b, name);
    mem_free(name);
    return b;
}

void breaker_free(struct breaker *b)
{
    if (!b)
        return;
    breaker_fini(b);
    mem_free(b);
}

/* ---- the window ---------------------------------------------------------------------------- */

static uint64_t epoch_at(const struct breaker_conf *c, usec_t now)
{
    usec_t width = c->window / BREAKER_PARTS;
    return now / (width ? width : 1) + 1;
}

/* The part of the present, emptied when it was of an earlier time. */
static struct breaker_part *part_now(struct breaker *b, uint64_t epoch)
{
    struct breaker_part *p = &b->parts[epoch % BREAKER_PARTS];
    if (__builtin_expect(atomic_load(&p->epoch) >= epoch, 1))
        return p;
    pthread_mutex_lock(&b->lock);
    if (atomic_load(&p->epoch) < epoch) {
        atomic_store(&p->calls, 0);
        atomic_store(&p->failed, 0);
        atomic_store(&p->slow, 0);
        atomic_store(&p->timeouts, 0);
        atomic_store(&p->errors, 0);
        atomic_store(&p->epoch, epoch);
    }
    pthread_mutex_unlock(&b->lock);
    return p;
}

struct breaker_counts breaker_sum(const struct breaker *b, const struct breaker_conf *c, usec_t now)
{
    struct breaker_counts sum = {0};
    uint64_t epoch = epoch_at(c, now);
    for (unsigned i = 0; i < BREAKER_PARTS; i++) {
        const struct breaker_part *p = &b->parts[i];
        uint64_t of = atomic_load(&p->epoch);
        if (of == 0 || of + BREAKER_PARTS <= epoch)
            continue;
        sum.calls += atomic_load(&p->calls);
        sum.failed += atomic_load(&p->failed);
        sum.slow += atomic_load(&p->slow);
        sum.timeouts += atomic_load(&p->timeouts);
        sum.errors += atomic_load(&p->errors);
    }
    return sum;
}

static void window_clear(struct breaker *b)
{
    for (unsigned i = 0; i < BREAKER_PARTS; i++)
        atomic_store(&b->parts[i].epoch, 0);
}

/* ---- changes of state; the lock is held ---------------------------------------------------- */

static void become(struct breaker *b, enum breaker_state state)
{
    atomic_store(&b->begun, 0);
    b->ended = b->bad = 0;
    atomic_fetch_add(&b->round, 1);
    atomic_store(&b->state, state);
}

static void open_up(struct breaker *b, const struct breaker_conf *c, usec_t now)
{
    usec_t span = c->open;
    for (uint32_t i = 0; i < b->times && span < c->max_open; i++)
        span *= 2;
    b->times++;
    atomic_store(&b->until, now + (span < c->max_open ? span : c->max_open));
    atomic_fetch_add(&b->opened, 1);
    become(b, BREAKER_OPEN);
}

static void close_down(struct breaker *b)
{
    b->times = 0;
    window_clear(b);
    become(b, BREAKER_CLOSED);
}

static unsigned span_seconds(const struct breaker *b, usec_t now)
{
    return (unsigned) ((atomic_load(&b->until) - now) / USEC_PER_SEC);
}

/* ---- asking -------------------------------------------------------------------------------- */

static bool refuse(struct breaker *b)
{
    atomic_fetch_add_explicit(&b->refused, 1, memory_order_relaxed);
    return false;
}

/* OPEN whose time is over, or HALF_OPEN with a probe to give. */
static bool ask_slowly(struct breaker *b, const struct breaker_conf *c, usec_t now,
                       struct breaker_ticket *t)
{
    bool pass = false, half = false;
    pthread_mutex_lock(&b->lock);
    if (atomic_load(&b->state) == BREAKER_OPEN && now >= atomic_load(&b->until)) {
        become(b, BREAKER_HALF_OPEN);
        half = true;
    }
    if (atomic_load(&b->state) == BREAKER_CLOSED) {
        pass = true;
    } else if (atomic_load(&b->state) == BREAKER_HALF_OPEN &&
               atomic_load(&b->begun) < (uint32_t) c->probes) {
        atomic_fetch_add(&b->begun, 1);
        pass = t->probe = true;
    }
    t->round = atomic_load(&b->round);
    pthread_mutex_unlock(&b->lock);
    if (half)
        log_info("breaker.half_open",
                 "%s: the breaker lets %d requests pass to see whether it may "
                 "close",
                 b->name, (int) c->probes);
    return pass ? true : refuse(b);
}

bool breaker_ask(struct breaker *b, const struct breaker_conf *c, usec_t now,
                 struct breaker_ticket *t)
{
    uint32_t force = atomic_load_explicit(&b->force, memory_order_relaxed);
    uint32_t state = atomic_load_explicit(&b->state, memory_order_acquire);
    *t = (struct breaker_ticket){.round = atomic_load_explicit(&b->round, memory_order_relaxed)};
    if (__builtin_expect(force != BREAKER_AUTO, 0))
        return force == BREAKER_FORCE_CLOSED ? true : refuse(b);
    if (__builtin_expect(state == BREAKER_CLOSED, 1))
        return true;
    if (state == BREAKER_OPEN && now < atomic_load(&b->until))
        return refuse(b);
    if (state == BREAKER_HALF_OPEN && atomic_load(&b->begun) >= (uint32_t) c->probes)
        return refuse(b);
    return ask_slowly(b, c, now, t);
}

/* ---- telling ------------------------------------------------------------------------------- */

static bool above(uint64_t part, uint64_t all, int64_t percent)
{
    return part * 100 >= all * (uint64_t) percent;
}

static bool must_open(const struct breaker_conf *c, const struct breaker_counts *s)
{
    if (s->calls < (uint64_t) c->minimum_calls || s->calls == 0)
        return false;
    return above(s->failed, s->calls, c->failure_rate) ||
           (c->slow_over && above(s->slow, s->calls, c->slow_rate));
}

static void look_whether_to_open(struct breaker *b, const struct breaker_conf *c, usec_t now,
                                 uint32_t round)
{
    struct breaker_counts s = breaker_sum(b, c, now);
    if (!must_open(c, &s))
        return;
    bool opened = false;
    pthread_mutex_lock(&b->lock);
    if (atomic_load(&b->round) == round && atomic_load(&b->force) == BREAKER_AUTO) {
        open_up(b, c, now);
        opened = true;
    }
    pthread_mutex_unlock(&b->lock);
    if (opened)
        log_warn("breaker.open",
                 "%s: the breaker opens for %u s: of %llu calls within %llu ms %llu failed and "
                 "%llu were slow",
                 b->name, span_seconds(b, now), (unsigned long long) s.calls,
                 (unsigned long long) (c->window / USEC_PER_MS), (unsigned long long) s.failed,
                 (unsigned long long) s.slow);
}

static void probe_ended(struct breaker *b, const struct breaker_conf *c, usec_t now,
                        struct breaker_ticket t, enum breaker_outcome o)
{
    uint32_t ended = 0, bad = 0;
    pthread_mutex_lock(&b->lock);
    if (atomic_load(&b->round) != t.round) {
        pthread_mutex_unlock(&b->lock);
        return;
    }
    if (o == OUTCOME_NONE) {
        atomic_fetch_sub(&b->begun, 1); /* another one will tell */
    } else {
        b->ended++;
        b->bad += o != OUTCOME_GOOD;
    }
    if (b->ended >= (uint32_t) c->probes) {
        ended = b->ended;
        bad = b->bad;
        if (above(bad, ended, c->close_rate))
            open_up(b, c, now);
        else
            close_down(b);
    }
    pthread_mutex_unlock(&b->lock);
    if (ended && above(bad, ended, c->close_rate))
        log_warn("breaker.open", "%s: the breaker opens for %u s again: %u of %u probes failed",
                 b->name, span_seconds(b, now), (unsigned) bad, (unsigned) ended);
    else if (ended)
        log_info("breaker.closed", "%s: the breaker closes: %u of %u probes failed", b->name,
                 (unsigned) bad, (unsigned) ended);
}

void breaker_tell(struct breaker *b, const struct breaker_conf *c, usec_t now,
                  struct breaker_ticket t, struct breaker_end end)
{
    enum breaker_outcome o = end.outcome;
    if (t.probe) {
        probe_ended(b, c, now, t, o);
        return;
    }
    if (o == OUTCOME_NONE || atomic_load_explicit(&b->round, memory_order_acquire) != t.round)
        return;
    struct breaker_part *p = part_now(b, epoch_at(c, now));
    atomic_fetch_add_explicit(&p->calls, 1, memory_order_relaxed);
    if (end.timed_out)
        atomic_fetch_add_explicit(&p->timeouts, 1, memory_order_relaxed);
    if (end.error)
        atomic_fetch_add_explicit(&p->errors, 1, memory_order_relaxed);
    if (o == OUTCOME_GOOD)
        return;
    atomic_fetch_add_explicit(o == OUTCOME_SLOW ? &p->slow : &p->failed, 1, memory_order_relaxed);
    if (atomic_load(&b->state) == BREAKER_CLOSED)
        look_whether_to_open(b, c, now, t.round);
}

static bool status_failed(const struct breaker_conf *c, uint16_t status)
{
    const int64_t *v = c->statuses.items;
    for (size_t i = 0; i < c->statuses.n; i++) {
        if (v[i] == status)
            return true;
    }
    return c->statuses.n == 0 && status >= 500;
}

static enum breaker_outcome outcome_of(const struct breaker_conf *c, const struct attempt_result *r)
{
    bool counts[BLAMES] = {[BLAME_CONNECT] = c->connect,
                           [BLAME_TIMEOUT] = c->timeout,
                           [BLAME_RESET] = c->reset,
                           [BLAME_INVALID] = c->invalid};
    if (counts[r->blame] || (r->status && status_failed(c, r->status)))
        return OUTCOME_FAILED;
    if (r->status == 0)
        return OUTCOME_NONE;
    return c->slow_over && r->first_byte_us > c->slow_over ? OUTCOME_SLOW : OUTCOME_GOOD;
}

struct breaker_end breaker_end_of(const struct breaker_conf *c, const struct attempt_result *r)
{
    return (struct breaker_end){outcome_of(c, r), r->blame == BLAME_TIMEOUT, r->status >= 500};
}

/* ---- by hand and to look at ---------------------------------------------------------------- */

void breaker_hold(struct breaker *b, enum breaker_force force)
{
    static const char *const words[] = {"finds its state by itself again", "is held open",
                                        "is held closed"};
    pthread_mutex_lock(&b->lock);
    atomic_store(&b->force, force);
    close_down(b);
    pthread_mutex_unlock(&b->lock);
    log_warn("breaker.held", "%s: the breaker %s", b->name, words[force]);
}

bool breaker_left(struct breaker *b, usec_t *until, uint32_t *times)
{
    pthread_mutex_lock(&b->lock);
    uint32_t state = atomic_load(&b->state);
    *until = state == BREAKER_OPEN ? atomic_load(&b->until) : 0;
    *times = b->times;
    bool left = state != BREAKER_CLOSED && atomic_load(&b->force) == BREAKER_AUTO;
    pthread_mutex_unlock(&b->lock);
    return left;
}

void breaker_follow(struct breaker *b, const struct breaker_conf *c, usec_t now, usec_t until,
                    uint32_t times)
{
    usec_t most = now + c->max_open;
    pthread_mutex_lock(&b->lock);
    bool taken = atomic_load(&b->state) == BREAKER_CLOSED && atomic_load(&b->force) == BREAKER_AUTO;
    if (taken) {
        b->times = times;
        atomic_store(&b->until, until < most ? until : most);
        become(b, BREAKER_OPEN);
    }
    pthread_mutex_unlock(&b->lock);
    if (taken)
        log_warn("breaker.open", "%s: the breaker is open, as the process before had opened it",
                 b->name);
}

unsigned breaker_wait(const struct breaker *b, usec_t now)
{
    usec_t until = atomic_load(&b->until);
    if (atomic_load(&b->state) != BREAKER_OPEN || until <= now)
        return 1;
    return (unsigned) ((until - now + USEC_PER_SEC - 1) / USEC_PER_SEC);
}

const char *breaker_state_name(const struct breaker *b)
{
    static const char *const names[] = {"closed", "open", "half_open"};
    uint32_t force = atomic_load(&b->force);
    if (force != BREAKER_AUTO)
        return force == BREAKER_FORCE_OPEN ? "open" : "closed";
    return names[atomic_load(&b->state)];
}

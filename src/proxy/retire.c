/* SPDX-License-Identifier: Apache-2.0 */
/* retire.c: see retire.h.
 * Invariants:
 * 1. Retirements stand in the order of their time; the timer is set for one of them at the latest.
 * 2. An exchange is ended only if it began before the change, and its route or listener is not in
 *    the snapshot that is in use when its time is over: what came back in between goes on. */
#include "proxy/retire.h"

#include "base/panic.h"
#include "proxy/driver.h"
#include "proxy/h2_session.h"
#include "proxy/listener.h"
#include "proxy/session.h"

#define RETIRE_GRACE (50 * USEC_PER_MS)
#define LOOKED_MOST 1000u /* exchanges, when a configuration is swapped */

struct retirement {
    struct list_node node;
    struct gone_routes *gone; /* one reference; NULL: listeners only */
    usec_t since, until;
};

struct gone_routes *gone_routes_new(struct map names)
{
    struct gone_routes *g = mem_new(sizeof(*g));
    atomic_store_explicit(&g->refs, 1, memory_order_relaxed);
    g->names = names;
    return g;
}

void gone_routes_unref(struct gone_routes *g)
{
    if (!g || atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) != 1)
        return;
    map_fini(&g->names);
    mem_free(g);
}

/* ---- what has to go ------------------------------------------------------------------------ */

static bool listener_in_use(const struct snapshot *s, struct str address)
{
    for (uint32_t i = 0; i < s->n_listeners; i++) {
        if (str_eq(s->listeners[i].conf.address, address))
            return true;
    }
    return false;
}

static bool must_end(const struct retirement *r, const struct exchange *x)
{
    const struct snapshot *now = x->worker->snapshot;
    if (x->started > r->since)
        return false;
    if (r->gone && x->route && map_get(&r->gone->names, x->route->name) &&
        !snapshot_named(now, x->route->name))
        return true;
    /* A tunnel has no listener any more: it belongs to its route. */
    return x->listener && !listener_in_use(now, x->listener->conf.address);
}

static bool is_idle(const struct session *s)
{
    return s->state == SESSION_IDLE || s->state == SESSION_SNIFF ||
           (s->state == SESSION_PREFACE && !s->begun);
}

static void end_all(struct worker *w, const struct retirement *r)
{
    list_each(node, &w->exchange_list) {
        struct exchange *x = list_entry(node, struct exchange, node);
        if (!must_end(r, x))
            continue;
        exchange_fail(x, FAULT_SHUTDOWN);
        exchange_wake(x);
    }
    list_each_safe(node, &w->session_list) {
        struct session *s = list_entry(node, struct session, node);
        if (!s->listener->closing)
            continue;
        if (is_idle(s))
            session_close(s, false);
        else if (s->state == SESSION_H2 && h2_session_is_idle(s->h2))
            h2_session_end(s->h2);
    }
}

/* ---- time ---------------------------------------------------------------------------------- */

static void drop(struct retirement *r)
{
    list_remove(&r->node);
    gone_routes_unref(r->gone);
    mem_free(r);
}

void retire_due(struct timer *t)
{
    struct worker *w = list_entry(t, struct worker, retire_timer);
    usec_t now = loop_now(w->loop), next = USEC_NEVER;
    list_each_safe(node, &w->retirements) {
        struct retirement *r = list_entry(node, struct retirement, node);
        if (r->until > now) {
            next = r->until < next ? r->until : next;
            continue;
        }
        end_all(w, r);
        drop(r);
    }
    if (next != USEC_NEVER)
        timer_set(w->loop, t, next);
}

/* Some exchange may have to end when time is over: one that has no route yet may still get one of
 * the old snapshot. Not all of many are looked at. */
static bool concerns_any(struct worker *w, const struct retirement *r)
{
    unsigned looked = 0;
    list_each(node, &w->exchange_list) {
        const struct exchange *x = list_entry(node, struct exchange, node);
        if (!x->route || must_end(r, x) || ++looked == LOOKED_MOST)
            return true;
    }
    return false;
}

void retire_begin(struct worker *w, bool listeners)
{
    struct gone_routes *gone = w->snapshot->gone;
    if ((!gone && !listeners) || w->draining)
        return;
    /* HTTP/1 clients are told by their next answer (admit), those of HTTP/2 at once. */
    if (listeners) {
        list_each(node, &w->session_list) {
            struct session *s = list_entry(node, struct session, node);
            if (s->listener->closing && s->state == SESSION_H2)
                h2_session_shutdown(s->h2);
        }
    }
    struct retirement one = {.gone = gone, .since = loop_now(w->loop)};
    if (!listeners && !concerns_any(w, &one))
        return; /* what begins from now on has no route that is gone */
    struct retirement *r = mem_new(sizeof(*r));
    *r = one;
    if (gone)
        atomic_fetch_add_explicit(&gone->refs, 1, memory_order_relaxed);
    r->until = r->since + (w->snapshot->drain ? w->snapshot->drain : RETIRE_GRACE);
    list_push_back(&w->retirements, &r->node);
    retire_due(&w->retire_timer);
}

void retire_stop(struct worker *w)
{
    timer_stop(&w->retire_timer);
    list_each_safe(node, &w->retirements)
        drop(list_entry(node, struct retirement, node));
}

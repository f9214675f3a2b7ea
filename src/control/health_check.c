/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. At most one check of an endpoint is under way: fetch, the watch's descriptor, a script or its
 *    turn; its end sets the timer for the next.
 * 2. A check holds a reference to its route (and by it to the upstream and its endpoints) until it
 *    is freed at the end of a turn. endpoint.checked.by names the one check of an endpoint.
 * 3. A mark (down) holds only as long as checks can be made: check_unmade takes it back. */
#include "control/health_check.h"

#include <stdio.h>

#include "base/log.h"
#include "base/panic.h"
#include "control/health_inside.h"
#include "net/sock.h"
#include "proxy/announce.h"
#include "upstream/eject.h"
#include "upstream/health.h"

/* ---- results ------------------------------------------------------------------------------- */

static void plan(struct check *c, usec_t pause)
{
    struct loop *loop = c->worker->loop;
    c->due = loop_now(loop) + pause;
    timer_set(loop, &c->timer, c->due);
}

static void plan_next(struct check *c, usec_t pause)
{
    usec_t spread = pause * (usec_t) c->conf->jitter / 100;
    plan(c, pause - spread + (spread ? clock_random() % (2 * spread + 1) : 0));
}

static void warn(struct check *c, enum check_warning w, bool on)
{
    struct endpoint_checked *k = &c->endpoint->checked;
    k->warned[w] = on;
    if (on)
        atomic_fetch_add_explicit(&k->warnings[w], 1, memory_order_relaxed);
    else
        log_info("health.settled", "upstream %.*s: checks of endpoint %.*s are no longer %s",
                 STR_ARG(c->endpoint->upstream_name), STR_ARG(c->endpoint->address),
                 check_warning_name(w));
}

/* The mean time to the first byte of its answers to requests, in ms; 0: there were none. */
static double requests_ms(const struct endpoint *e)
{
    uint64_t n = 0, us = 0;
    for (uint32_t w = 0; w < e->registry->n_workers; w++) {
        const struct histogram *h = &e->stats[w].latency;
        us += counter_get(&h->sum_us);
        for (unsigned i = 0; i <= HISTOGRAM_BUCKETS; i++)
            n += counter_get(&h->buckets[i]);
    }
    return n ? (double) us / (double) n / 1000 : 0;
}

static void look_at_time(struct check *c, usec_t took)
{
    const struct endpoint *e = c->endpoint;
    char requests[64] = "";
    if (!check_watch_time(&c->watched, c->conf, took))
        return;
    warn(c, CHECK_SLOW, c->watched.slow);
    if (!c->watched.slow)
        return;
    if (requests_ms(e) > 0)
        snprintf(requests, sizeof requests, " (its answers to requests begin after %.1f ms)",
                 requests_ms(e));
    log_warn(
        "health.slow",
        "upstream %.*s: %u checks of endpoint %.*s in a row passed, but took more than %llu ms, "
        "the last %llu ms%s: what they ask seems to do work of the application, such as a "
        "database call, and when that is slow all endpoints fail together; let it answer for "
        "the process alone (timeout %llu ms)",
        STR_ARG(e->upstream_name), SLOW_ROW, STR_ARG(e->address),
        (unsigned long long) (check_slow_over(c->conf) / USEC_PER_MS),
        (unsigned long long) (took / USEC_PER_MS), requests,
        (unsigned long long) (c->conf->timeout / USEC_PER_MS));
}

static void look_at_flapping(struct check *c, bool passed)
{
    const struct endpoint *e = c->endpoint;
    if (!check_watch_result(&c->watched, passed))
        return;
    warn(c, CHECK_FLAPPING, c->watched.flapping);
    if (!c->watched.flapping)
        return;
    uint32_t mask = (UINT32_C(1) << c->watched.n) - 1;
    log_warn(
        "health.flapping",
        "upstream %.*s: checks of endpoint %.*s pass and fail by turns: of the last %u results "
        "%u are failures, and the result changed %u times; look at the endpoint, or raise "
        "health.fall",
        STR_ARG(e->upstream_name), STR_ARG(e->address), (unsigned) c->watched.n,
        (unsigned) __builtin_popcount(~c->watched.results & mask),
        (unsigned) check_watch_changes(&c->watched));
}

/* For /status. */
static void keep_evidence(struct check *c, const char *evidence, struct str output)
{
    struct endpoint_checked *k = &c->endpoint->checked;
    mem_free(k->evidence);
    mem_free(k->output);
    k->evidence = mem_strdup(str_c(evidence));
    k->output = output.n ? mem_strdup(output) : NULL;
    k->at = loop_wall(c->worker->loop);
    k->row = c->state.row;
}

void check_ended(struct check *c, bool passed, const char *evidence, struct str output)
{
    struct endpoint *e = c->endpoint;
    struct endpoint_checked *k = &e->checked;
    usec_t now = loop_now(c->worker->loop), took = now > c->began ? now - c->began : 0;
    char why[512];
    atomic_fetch_add_explicit(&k->results[passed], 1, memory_order_relaxed);
    atomic_store_explicit(&k->last_us, (uint32_t) took, memory_order_relaxed);
    atomic_fetch_add_explicit(&k->all_us, took, memory_order_relaxed);
    c->state.known = now;
    bool changed = check_state_take(&c->state, c->conf, passed);
    keep_evidence(c, evidence, output);
    output = str_trim(str_sub(output, 0, 200));
    snprintf(why, sizeof why, "%s%s%.*s", evidence, output.n ? "; it wrote: " : "",
             STR_ARG(output));
    if (changed || atomic_load(&e->up) != c->state.up)
        endpoint_set_up(e, c->state.up, why);
    if (passed && c->state.up)
        eject_forgive(e, now);
    look_at_flapping(c, passed);
    if (passed)
        look_at_time(c, took);
    plan_next(c, check_state_pause(&c->state, c->conf));
}

void check_unmade(struct check *c, const char *why)
{
    struct endpoint *e = c->endpoint;
    char evidence[160];
    atomic_fetch_add_explicit(&e->checked.unmade, 1, memory_order_relaxed);
    if (check_state_expire(&c->state, c->conf, loop_now(c->worker->loop))) {
        snprintf(evidence, sizeof evidence,
                 "no check of it could be made for %llu s, the last time: %s",
                 (unsigned long long) (c->conf->expires / USEC_PER_SEC), why);
        endpoint_set_up(e, true, evidence);
    }
    plan_next(c, c->conf->interval);
}

/* ---- tcp ----------------------------------------------------------------------------------- */

/* An endpoint that wants a header would log a connection without one as broken. */
static enum fault tcp_made(const struct check *c, int fd)
{
    char bytes[PROXY_HEADER_MAX];
    enum proxy_out version = c->route->plan->upstream->proxy_protocol;
    if (version == PROXY_OUT_OFF || !c->conf->proxy_protocol)
        return FAULT_OK;
    size_t n = announce_self(version, bytes);
    return sock_preface(fd, str_of(bytes, n)) ? FAULT_OK : FAULT_CONNECT_FAILED;
}

static void tcp_end(struct check *c, enum fault f)
{
    char evidence[96];
    if (c->watch.fd >= 0) {
        int fd = c->watch.fd;
        loop_remove(c->worker->loop, &c->watch);
        sock_close(fd);
    }
    if (f != FAULT_OK && fault_row(f)->side == FAULT_SIDE_SELF) {
        check_unmade(c, fault_name(f));
        return;
    }
    snprintf(evidence, sizeof evidence, "check: %s",
             f == FAULT_OK ? "a connection was made" : fault_name(f));
    check_ended(c, f == FAULT_OK, evidence, STR(""));
}

static void tcp_event(struct watch *w, unsigned events)
{
    struct check *c = list_entry(w, struct check, watch);
    if (!(events & EV_WRITE))
        return;
    enum fault f = sock_connect_result(w->fd);
    tcp_end(c, f == FAULT_OK ? tcp_made(c, w->fd) : f);
}

static void tcp_begin(struct check *c)
{
    struct addr a;
    int fd = -1;
    bool done = false;
    enum fault f = endpoint_addr(c->endpoint, &a) ? FAULT_OK : FAULT_RESOLVE;
    if (f == FAULT_OK)
        f = sock_connect(&a, false, &fd, &done);
    if (f == FAULT_OK && !done && loop_add(c->worker->loop, &c->watch, fd)) {
        timer_set(c->worker->loop, &c->timer, c->began + c->conf->timeout);
        return;
    }
    if (f == FAULT_OK)
        f = done ? tcp_made(c, fd) : FAULT_SYSTEM;
    if (fd >= 0)
        sock_close(fd);
    tcp_end(c, f);
}

/* The next check is due, or one took too long. */
static void check_tick(struct timer *t)
{
    struct check *c = list_entry(t, struct check, timer);
    if (c->watch.fd >= 0) {
        tcp_end(c, FAULT_CONNECT_TIMEOUT);
        return;
    }
    if (c->script) {
        check_script_late(c);
        return;
    }
    if (list_linked(&c->turn)) {
        check_no_turn(c);
        return;
    }
    c->began = loop_now(c->worker->loop);
    atomic_store_explicit(&c->endpoint->checked.lag_us,
                          (uint32_t) (c->began > c->due ? c->began - c->due : 0),
                          memory_order_relaxed);
    switch (c->conf->type) {
    case HEALTH_TCP:
        tcp_begin(c);
        break;
    case HEALTH_SCRIPT:
        check_run_script(c);
        break;
    default:
        check_ask(c);
    }
}

/* ---- life ---------------------------------------------------------------------------------- */

static void check_route_free(struct route *r)
{
    pattern_free(((struct check_route *) (void *) r)->body);
    upstream_unref(r->plan->upstream);
    mem_free(r);
}

static struct route *check_route_new(struct upstream *u)
{
    struct check_route *c = mem_new(sizeof *c);
    struct route *r = &c->route;
    schema_defaults(&settings_schema, &c->settings);
    c->settings.retry.tries = 1;
    c->settings.via = false;
    c->settings.buffer.size = 65536;
    r->plan = &c->plan;
    r->index = ROUTE_OTHER;
    r->name = STR("_health");
    c->plan = (struct plan){
        .action = ROUTE_UPSTREAM,
        .upstream = upstream_ref(u),
        .settings = &c->settings,
        .hooks = c->hooks,
        .feature_conf = c->feature_conf,
        .slots = c->slots,
    };
    c->settings.response_limits = (struct h1_limits){
        .head = (uint32_t) c->settings.limits.response_head,
        .target = (uint32_t) c->settings.limits.target,
        .fields = (uint32_t) c->settings.limits.fields,
    };
    if (u->health.body.n) {
        char *why = NULL;
        c->body = pattern_new(u->health.body, false, &why);
        must(c->body); /* it was compiled when the configuration was read */
    }
    r->free = check_route_free;
    atomic_store(&r->refs, 1);
    return r;
}

/* What the endpoint's last check has learnt goes on. */
static void take_over(struct check *c, const struct check *before)
{
    c->state = before->state;
    c->watched = before->watched;
    c->drained = before->drained;
}

static void check_add(struct health_checks *h, struct route *r, struct endpoint *e)
{
    struct check *c = mem_new(sizeof *c);
    c->all = h;
    c->worker = h->worker;
    c->route = route_ref(r);
    c->endpoint = e;
    c->conf = &r->plan->upstream->health;
    c->watch = (struct watch){.fd = -1, .on_event = tcp_event};
    if (e->checked.by)
        take_over(c, e->checked.by);
    c->state.up = atomic_load(&e->up);
    if (c->conf->gate && !c->state.decided && !atomic_load(&e->checked.results[0]) &&
        !atomic_load(&e->checked.results[1])) {
        c->state.up = false;
        endpoint_set_up(e, false, "its first check has not passed yet");
    }
    e->checked.by = c;
    timer_init(&c->timer, check_tick);
    usec_t within = c->conf->gate ? c->conf->interval / 10 : c->conf->interval;
    plan(c, clock_random() % (within + 1));
    list_push_back(&h->list, &c->node);
}

static void check_free(void *p)
{
    mem_free(p);
}

static void check_end(struct check *c)
{
    list_remove(&c->node);
    timer_stop(&c->timer);
    if (c->fetch)
        fetch_cancel(c->fetch);
    check_drop_script(c);
    if (c->watch.fd >= 0) {
        int fd = c->watch.fd;
        loop_remove(c->worker->loop, &c->watch);
        sock_close(fd);
    }
    if (c->endpoint->checked.by == c)
        c->endpoint->checked.by = NULL;
    text_fini(&c->body);
    route_unref(c->route);
    loop_defer_free(c->worker->loop, check_free, c);
}

struct health_checks *health_checks_new(struct worker *w)
{
    struct health_checks *h = mem_new(sizeof *h);
    h->worker = w;
    list_init(&h->list);
    list_init(&h->scripts);
    list_init(&h->waiting);
    return h;
}

/* Nobody checks e any more: what the last check said of it is no longer known. */
static void forget_unchecked(void *arg, struct endpoint *e)
{
    (void) arg;
    if (!e->checked.by && !atomic_load(&e->up))
        endpoint_set_up(e, true, "it is no longer checked");
}

static void end_all(struct list *checks)
{
    list_each_safe(node, checks)
        check_end(list_entry(node, struct check, node));
}

/* Its checks go on as they are: the upstream is the same object as before. */
static bool go_on(struct health_checks *h, const struct upstream *u)
{
    if (u->n_endpoints == 0)
        return true;
    const struct check *first = u->endpoints[0]->checked.by;
    if (!first || first->route->plan->upstream != u)
        return false;
    for (uint32_t i = 0; i < u->n_endpoints; i++) {
        struct check *c = u->endpoints[i]->checked.by;
        list_remove(&c->node);
        list_push_back(&h->list, &c->node);
    }
    return true;
}

void health_checks_use(struct health_checks *h, struct upstream *const *upstreams, uint32_t n)
{
    struct list before;
    bool any = !list_empty(&h->list);
    list_init(&before);
    while (!list_empty(&h->list)) {
        struct list_node *node = h->list.root.next;
        list_remove(node);
        list_push_back(&before, node);
    }
    for (uint32_t i = 0; i < n; i++) {
        struct upstream *u = upstreams[i];
        if (!u->checked || go_on(h, u))
            continue;
        struct route *r = check_route_new(u);
        for (uint32_t k = 0; k < u->n_endpoints; k++)
            check_add(h, r, u->endpoints[k]);
        route_unref(r);
    }
    end_all(&before);
    if (any)
        upstream_registry_each(h->worker->upstream.registry, forget_unchecked, NULL);
}

void health_checks_stop(struct health_checks *h)
{
    while (!list_empty(&h->waiting)) /* nobody's turn comes any more */
        list_remove(h->waiting.root.next);
    end_all(&h->list);
}

void health_checks_free(struct health_checks *h)
{
    if (!h)
        return;
    must(list_empty(&h->list));
    scripts_finish(h);
    mem_free(h);
}

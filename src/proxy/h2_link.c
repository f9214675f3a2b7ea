/* SPDX-License-Identifier: Apache-2.0 */
/* h2_link: see h2_link.h. Invariants:
 * 1. link.shared is this exactly while link is that link; after end() both are gone, and the rest
 *    is freed at the end of the turn.
 * 2. What the parser hears stops new loans at once; the link is closed from changed() only: to do
 *    it from inside nghttp2 would pull the ground from under it.
 * 3. The link's timer is armed for the earliest of: the limit for the peer's first SETTINGS
 *    (pool.connect_timeout), the next PING, the limit for its answer, memory that was refused. */
#include "proxy/h2_link.h"

#include "base/panic.h"
#include "proxy/h2_conn.h"
#include "upstream/pool.h"

#define MEMORY_RETRY (20 * USEC_PER_MS)
#define LAST_STREAM (1 << 30) /* a new connection long before the numbers are used up */

struct h2_link {
    struct h2_conn h2; /* first */
    struct link *link; /* NULL: it is closed */
    struct worker *worker;
    usec_t pinged; /* a PING is out since then; 0: none is */
    bool settings; /* the peer's were heard */
};

static struct h2_link *of_conn(struct h2_conn *c)
{
    return (struct h2_link *) (void *) c;
}

struct h2_conn *h2_link_conn(const struct link *l)
{
    return l->shared;
}

bool h2_link_extends(const struct link *l)
{
    nghttp2_session *ng = h2_link_conn(l)->ng;
    return nghttp2_session_get_remote_settings(ng, NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

size_t h2_link_size(void)
{
    return sizeof(struct h2_link);
}

static usec_t now_of(const struct h2_link *h)
{
    return loop_now(h->worker->loop);
}

static enum evict_reason why_dead(const struct h2_conn *c)
{
    return c->fault == FAULT_UP_CLOSED ? EVICT_CLOSED : EVICT_ERROR;
}

static void heard(struct h2_conn *c, const nghttp2_frame *frame)
{
    struct h2_link *h = of_conn(c);
    if (!frame || frame->hd.type == NGHTTP2_GOAWAY) {
        if (frame)
            counter_add(&h->worker->stats->h2_goaways, 1);
        if (h->link)
            pool_share_stop(h->link, frame ? EVICT_GOAWAY : why_dead(c));
    } else if (frame->hd.type == NGHTTP2_SETTINGS && !(frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        h->settings = true;
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

/* When to look again. */
static usec_t due(const struct h2_link *h)
{
    const struct h2_conn *c = &h->h2;
    usec_t at = USEC_NEVER;
    struct link_pings p = pool_pings(h->link);
    if (c->starved)
        at = now_of(h) + MEMORY_RETRY;
    if (h->link->state == LINK_OPENING && h->link->give_up < at)
        return h->link->give_up;
    if (h->pinged && h->pinged + p.timeout < at)
        at = h->pinged + p.timeout;
    else if (!h->pinged && p.interval && c->n_streams && c->last_in + p.interval < at)
        at = c->last_in + p.interval;
    return at;
}

static void ping(struct h2_link *h)
{
    if (h->pinged || nghttp2_submit_ping(h->h2.ng, NGHTTP2_FLAG_NONE, NULL) != 0)
        return;
    h->pinged = now_of(h);
    h2_conn_wrote(&h->h2);
}

static void link_timer(struct link *l)
{
    struct h2_link *h = l->shared;
    struct h2_conn *c = &h->h2;
    struct link_pings p = pool_pings(l);
    usec_t now = now_of(h);
    if (h->pinged && c->last_in > h->pinged)
        h->pinged = 0;
    if (l->state == LINK_OPENING && now >= l->give_up)
        h2_conn_die(c, FAULT_CONNECT_TIMEOUT);
    else if (h->pinged && now >= h->pinged + p.timeout)
        h2_conn_die(c, FAULT_UP_H2_SILENT);
    else if (p.interval && c->n_streams && now >= c->last_in + p.interval)
        ping(h);
    h2_conn_event(c, 0);
}

bool h2_link_proven(const struct link *l)
{
    return h2_link_conn(l)->last_in > l->busy_since;
}

void h2_link_suspect(struct link *l)
{
    struct h2_link *h = l->shared;
    if (!h->h2.dead && !h->h2.ending)
        ping(h);
}

/* ---- what the connection says ---------------------------------------------------------------- */

static void arm(struct h2_link *h)
{
    usec_t at = due(h);
    if (at != USEC_NEVER)
        timer_set(h->worker->loop, &h->link->timer, at);
}

/* The first ones show that it is HTTP/2 that is spoken; then the link may be lent, unless they
 * allow no stream (RFC 9113 6.5.2: for a short time): then it is as good as not open yet. */
static void take_settings(struct h2_link *h)
{
    uint32_t n =
        nghttp2_session_get_remote_settings(h->h2.ng, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    h->settings = false;
    if (h->link->state != LINK_OPENING)
        pool_share_capacity(h->link, n);
    else if (n)
        pool_share_opened(h->link, n);
}

static void changed(struct h2_conn *c)
{
    struct h2_link *h = of_conn(c);
    if (!h->link)
        return;
    if (h->pinged && c->last_in > h->pinged)
        h->pinged = 0;
    bool leaving = c->dead || h->link->leaving != EVICT_REASONS;
    if (leaving && h->link->state == LINK_OPENING) {
        pool_share_failed(h->link, c->fault == FAULT_OK ? FAULT_UP_CLOSED : c->fault);
        return;
    }
    if (h->settings && !c->dead && !c->ending)
        take_settings(h);
    if (!h->link)
        return; /* nobody waits for it any more, and somebody else for its place */
    if (h->link->state == LINK_OPENING)
        return arm(h);
    if (nghttp2_session_get_next_stream_id(c->ng) >= LAST_STREAM)
        pool_share_stop(h->link, EVICT_REQUESTS);
    pool_share_settled(h->link);
    if (h->link && !c->dead)
        arm(h);
}

static const struct h2_conn_ops ops = {.changed = changed, .heard = heard};

/* ---- birth and end --------------------------------------------------------------------------- */

static bool begin(struct link *l)
{
    struct worker *w = list_entry(l->worker, struct worker, upstream);
    struct h2_link *h = pool_get(&w->h2_links);
    if (!h)
        return false;
    *h = (struct h2_link){.link = l, .worker = w};
    if (!h2_conn_init_upstream(&h->h2, w, &l->conn, &ops)) {
        pool_put(&w->h2_links, h);
        return false;
    }
    l->shared = h;
    h2_conn_event(&h->h2, EV_READ);
    return true;
}

static void free_link(void *p)
{
    struct h2_link *h = p;
    h2_conn_fini(&h->h2);
    pool_put(&h->worker->h2_links, h);
}

static void end(struct link *l)
{
    struct h2_link *h = l->shared;
    h->link = NULL;
    h2_conn_leave(&h->h2);
    loop_defer_free(h->worker->loop, free_link, h);
}

static void event(struct link *l, unsigned events)
{
    h2_conn_event(h2_link_conn(l), events);
}

const struct link_sharing h2_link_sharing = {
    .begin = begin, .event = event, .timer = link_timer, .end = end};

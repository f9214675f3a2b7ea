/* SPDX-License-Identifier: Apache-2.0 */
/* h2_session: see h2_session.h. Invariants:
 * 1. session->state is SESSION_H2 exactly while session->h2 is this.
 * 2. It is let go in changed() only, when h2.dead and no stream is left; freed at the end of that
 *    turn.
 * 3. The session's timer is armed for the earliest of: an incomplete header block, a peer that
 *    does not read, the idle time, the second GOAWAY, memory that was refused. */
#include "proxy/h2_session.h"

#include "base/log.h"
#include "base/panic.h"
#include "proxy/driver.h"
#include "proxy/h2_conn.h"
#include "proxy/leg_h2.h"
#include "proxy/listener.h"

#define MEMORY_RETRY (20 * USEC_PER_MS)
#define SHUTDOWN_GRACE USEC_PER_SEC /* for streams that were on their way with the first GOAWAY */

struct h2_session {
    struct h2_conn h2; /* first */
    struct session *s;
    usec_t idle_since;
    usec_t shutdown_at; /* of the second GOAWAY; 0: none is planned */
    bool shutting : 1;  /* GOAWAY was queued */
    bool last_said : 1; /* with the last stream's number */
    bool had_streams : 1;
};

static struct h2_session *session_of(struct h2_conn *c)
{
    return (struct h2_session *) (void *) c;
}

static usec_t now_of(const struct h2_session *h)
{
    return loop_now(h->s->worker->loop);
}

size_t h2_session_size(void)
{
    return sizeof(struct h2_session);
}

bool h2_session_is_idle(const struct h2_session *h)
{
    return h->h2.n_streams == 0;
}

/* ---- streams --------------------------------------------------------------------------------- */

static struct leg_h2 *begin(struct h2_conn *c, int32_t id)
{
    struct h2_session *h = session_of(c);
    struct worker *w = c->worker;
    if (c->n_streams >= c->max_streams || !w->snapshot)
        return NULL;
    if (h->s->listener->closing || w->draining)
        h2_session_shutdown(h);
    struct exchange *x = exchange_of(h->s);
    if (!x)
        return NULL;
    struct leg_h2 *leg = leg_h2_client(x, c, id);
    if (!leg)
        exchange_discard(x);
    return leg;
}

/* Nothing of it was looked at: the client may ask again at once (RFC 9113 8.7). */
static void refused(struct h2_conn *c, int32_t id)
{
    (void) nghttp2_submit_rst_stream(c->ng, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    if (c->n_streams >= c->max_streams)
        (void) h2_conn_charge(c, H2_REFUSED);
    else
        counter_add(&c->worker->stats->faults[FAULT_MEMORY], 1);
}

/* ---- time ------------------------------------------------------------------------------------ */

struct due {
    usec_t at;
    enum fault fault; /* FAULT_OK: nothing is wrong then */
};

static void sooner(struct due *d, usec_t since, usec_t span, enum fault f)
{
    if (span && since + span < d->at)
        *d = (struct due){since + span, f};
}

/* What is due first. */
static struct due look(const struct h2_session *h)
{
    const struct h2_conn *c = &h->h2;
    struct due d = {.at = USEC_NEVER};
    if (!c->worker->snapshot || c->dead)
        return d;
    const struct timeouts_conf *t = &c->worker->snapshot->settings.timeouts;
    if (c->head_since)
        sooner(&d, c->head_since, t->client_head, FAULT_CLIENT_HEAD_TIMEOUT);
    if (c->out.bytes) {
        sooner(&d, c->last_out, t->client_send, FAULT_CLIENT_SEND_TIMEOUT);
        sooner(&d, c->asked > c->last_out ? c->asked : c->last_out, t->client_send / 4, FAULT_OK);
    }
    if (!c->n_streams)
        sooner(&d, h->idle_since, c->greeted ? t->keepalive : t->client_head,
               c->greeted ? FAULT_CLIENT_IDLE_TIMEOUT : FAULT_CLIENT_HEAD_TIMEOUT);
    if (h->shutdown_at)
        sooner(&d, h->shutdown_at, 1, FAULT_OK);
    if (c->starved)
        sooner(&d, now_of(h), MEMORY_RETRY, FAULT_OK);
    return d;
}

void h2_session_end(struct h2_session *h)
{
    h->shutdown_at = 0;
    if (h->last_said || h->h2.dead)
        return;
    h->last_said = true;
    (void) nghttp2_submit_goaway(h->h2.ng, NGHTTP2_FLAG_NONE, h->h2.last_id, NGHTTP2_NO_ERROR, NULL,
                                 0);
    h2_conn_wrote(&h->h2);
}

/* The kernel takes nothing for long while it holds megabytes for a slow reader: see deadline.c. */
static void look_for_arrivals(struct h2_session *h)
{
    struct h2_conn *c = &h->h2;
    if (!c->out.bytes || !c->worker->snapshot || c->dead)
        return;
    usec_t pause = c->worker->snapshot->settings.timeouts.client_send / 4, now = now_of(h);
    if (!pause || now < c->last_out + pause || now < c->asked + pause)
        return;
    uint64_t arrived = h2_conn_arrived(c);
    if (arrived != c->arrived)
        c->last_out = now;
    c->arrived = arrived;
    c->asked = now;
}

void h2_session_timer(struct h2_session *h)
{
    struct h2_conn *c = &h->h2;
    look_for_arrivals(h);
    struct due d = look(h);
    if (d.at <= now_of(h) && d.fault != FAULT_OK) {
        if (d.fault == FAULT_CLIENT_IDLE_TIMEOUT) {
            counter_add(&c->worker->stats->faults[d.fault], 1);
            h2_session_end(h);
        } else {
            h2_conn_die(c, d.fault);
        }
    } else if (h->shutdown_at && h->shutdown_at < now_of(h)) {
        h2_session_end(h);
    }
    h2_conn_event(c, 0);
}

void h2_session_shutdown(struct h2_session *h)
{
    if (h->shutting || h->h2.dead)
        return;
    h->shutting = true;
    h->shutdown_at = now_of(h) + SHUTDOWN_GRACE;
    (void) nghttp2_submit_shutdown_notice(h->h2.ng);
    h2_conn_wrote(&h->h2);
}

void h2_session_abort(struct h2_session *h)
{
    h2_conn_die(&h->h2, FAULT_SHUTDOWN);
}

/* ---- birth and end --------------------------------------------------------------------------- */

static void free_session(void *p)
{
    struct h2_session *h = p;
    struct worker *w = h->h2.worker;
    h2_conn_fini(&h->h2);
    pool_put(&w->h2_sessions, h);
}

/* An abuse ends a connection, not an exchange: the access log may know nothing of it. */
static void tell(const struct session *s, enum fault f)
{
    char peer[46] = "unix";
    if (f < FAULT_H2_PROTOCOL || f > FAULT_H2_WINDOW_STALL)
        return;
    if (!s->peer_unix)
        ip_print(s->peer_ip, peer);
    log_warn("http2.ended", "%s: HTTP/2 connection of %s ended: %s: %s", s->listener->address.p,
             peer, fault_name(f), fault_row(f)->text);
}

static void let_go(struct h2_session *h)
{
    struct session *s = h->s;
    enum fault f = h->h2.fault;
    tell(s, f);
    s->h2 = NULL;
    s->state = SESSION_BUSY;
    loop_defer_free(s->worker->loop, free_session, h);
    if (f == FAULT_CLIENT_SEND_TIMEOUT || f == FAULT_CLIENT_HEAD_TIMEOUT || f == FAULT_SHUTDOWN)
        session_close(s, true);
    else
        session_resume(s, false); /* lingers, so that GOAWAY arrives */
}

static void changed(struct h2_conn *c)
{
    struct h2_session *h = session_of(c);
    if (c->dead && !c->n_streams) {
        if (h->s->h2 == h)
            let_go(h);
        return;
    }
    if (h->had_streams && !c->n_streams)
        h->idle_since = now_of(h);
    h->had_streams = c->n_streams > 0;
    struct due d = look(h);
    if (d.at == USEC_NEVER)
        timer_idle(&h->s->timer);
    else
        timer_set(c->worker->loop, &h->s->timer, d.at);
}

static const struct h2_conn_ops ops = {.begin = begin, .refused = refused, .changed = changed};

bool h2_session_open(struct session *s, struct block *block, struct str seen)
{
    struct worker *w = s->worker;
    struct h2_session *h = pool_get(&w->h2_sessions);
    if (!h)
        return false;
    *h = (struct h2_session){.s = s, .idle_since = loop_now(w->loop)};
    const struct listener_spec *l = s->listener->now ? s->listener->now : &s->listener->spec;
    uint32_t max = (uint32_t) l->conf.http2.max_streams;
    if (!w->snapshot || !h2_conn_init(&h->h2, w, &s->conn, &ops, max)) {
        pool_put(&w->h2_sessions, h);
        return false;
    }
    if (w->first_window > h2_floor(max))
        w->first_window = (uint32_t) h2_floor(max);
    s->state = SESSION_H2;
    s->h2 = h;
    if (seen.n)
        h2_conn_feed(&h->h2, block, seen.p, seen.n);
    h2_conn_event(&h->h2, EV_READ);
    return true;
}

void h2_session_event(struct h2_session *h, unsigned events)
{
    h2_conn_event(&h->h2, events);
}

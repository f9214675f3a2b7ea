/* SPDX-License-Identifier: Apache-2.0 */
/* session: see session.h. Invariants:
 * 1. SESSION_IDLE: x is NULL, in is NULL. SESSION_BUSY: x is the one exchange that has the
 *    connection.
 * 2. Every way out goes through session_close; the memory is freed at the end of that turn.
 * 3. in holds bytes only between session_resume or the first read and the next exchange's start,
 *    and while SESSION_SNIFF. */
#include "proxy/session.h"

#include "base/panic.h"
#include "net/sock.h"
#include "net/tls.h"
#include "proxy/driver.h"
#include "proxy/h2_session.h"
#include "proxy/handshake.h"
#include "proxy/leg_h1.h"
#include "proxy/listener.h"
#include "proxy/preface.h"

#define LINGER_BYTES (64u * 1024)
#define LINGER_TIME (2 * USEC_PER_SEC)
#define STOPPING_WAIT USEC_PER_SEC /* for a request that may be the last, when Weir stops */

static void session_free(void *p)
{
    struct session *s = p;
    struct worker *w = s->worker;
    s->magic = 0;
    mem_credit(&w->account, s->charged);
    listener_closed_one(s->listener);
    pool_put(&w->sessions, s);
}

void session_close(struct session *s, bool reset)
{
    must(s->magic == SESSION_MAGIC);
    if (s->state == SESSION_CLOSED)
        return;
    s->state = SESSION_CLOSED;
    handshake_end(s);
    timer_stop(&s->timer);
    list_remove(&s->node);
    block_unref(s->in);
    s->in = NULL;
    preface_forget(s);
    if (reset)
        conn_reset(&s->conn);
    else
        conn_close(&s->conn);
    counter_sub(&s->worker->stats->connections_open, 1);
    loop_defer_free(s->worker->loop, session_free, s);
    worker_check_drained(s->worker);
}

/* Reads and drops what the peer still sends after our close, so that no reset
 * overtakes the answer (RFC 9112 9.6): 64 KiB or 2 s at most. */
static void session_linger(struct session *s)
{
    char sink[4096];
    size_t n;
    for (;;) {
        enum io io = conn_read(&s->conn, sink, sizeof(sink), &n);
        if (io == IO_AGAIN)
            return;
        s->drained += (uint32_t) n;
        if (io != IO_OK || s->drained > LINGER_BYTES) {
            session_close(s, false);
            return;
        }
    }
}

/* The memory door is shut: this answer, and the end. */
RARE static void answer_no_memory(struct session *s)
{
    s->state = SESSION_BUSY; /* with this answer alone */
    counter_add(&s->worker->stats->faults[FAULT_MEMORY], 1);
    static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 14\r\n"
                               "Connection: close\r\n\r\nmemory_limit\r\n";
    struct iovec iov = {(void *) (uintptr_t) busy, sizeof(busy) - 1};
    size_t n;
    if (conn_writev(&s->conn, &iov, 1, &n) != IO_OK)
        session_close(s, true);
    else
        session_resume(s, false);
}

static void session_start_exchange(struct session *s)
{
    if (!s->worker->snapshot)
        session_close(s, false);
    else if (!exchange_open(s))
        answer_no_memory(s);
}

/* The first bytes of a connection on which HTTP/2 may be spoken without asking: the preface, or
 * the beginning of an HTTP/1 request, which is then read as any (RFC 9113 3.3). */
static void session_sniff(struct session *s)
{
    struct worker *w = s->worker;
    const struct str preface = STR(H2_PREFACE);
    if (!s->in && !(s->in = block_new(&w->buffers))) {
        session_close(s, true);
        return;
    }
    while (s->in->fill < preface.n) {
        size_t n;
        enum io io = conn_read(&s->conn, s->in->bytes + s->in->fill, block_room(s->in), &n);
        if (io == IO_AGAIN)
            break;
        if (io != IO_OK) {
            session_close(s, false);
            return;
        }
        s->in->fill += (uint32_t) n;
    }
    struct str seen = str_of(s->in->bytes, s->in->fill);
    size_t n = seen.n < preface.n ? seen.n : preface.n;
    if (n < preface.n && memcmp(seen.p, preface.p, n) == 0) {
        if (s->state != SESSION_SNIFF) {
            s->state = SESSION_SNIFF;
            usec_t limit = w->snapshot ? w->snapshot->settings.timeouts.client_head : 0;
            timer_set(w->loop, &s->timer, limit ? loop_now(w->loop) + limit : USEC_NEVER);
        }
        return;
    }
    s->sniff = false;
    if (memcmp(seen.p, preface.p, n) != 0) {
        session_start_exchange(s);
        return;
    }
    struct block *b = s->in;
    s->in = NULL;
    if (!h2_session_open(s, b, seen)) {
        counter_add(&w->stats->faults[FAULT_MEMORY], 1);
        session_close(s, true);
    }
    block_unref(b);
}

static void session_begin(struct session *s)
{
    if (s->sniff)
        session_sniff(s);
    else
        session_start_exchange(s);
}

/* Most clients' first request is there when their connection is: it is read without waiting to be
 * told of it. Who sends none is left as it was; an end or a break will be seen by its event. Where
 * more wait to be accepted, one wait tells of many; and who had to queue may have left, which the
 * event tells together with the request. */
static void session_first_read(struct session *s)
{
    size_t n;
    if (s->state != SESSION_IDLE || s->sniff || s->listener->batch > 1)
        return;
    s->in = block_new(&s->worker->buffers);
    if (!s->in)
        return;
    s->conn.may_read = true;
    if (conn_read(&s->conn, s->in->bytes, block_room(s->in), &n) == IO_OK) {
        s->in->fill = (uint32_t) n;
        s->in_at = 0;
        counter_add(&s->worker->stats->bytes_client_in, n);
        session_start_exchange(s);
        return;
    }
    block_unref(s->in);
    s->in = NULL;
}

static void session_event(struct watch *watch, unsigned events)
{
    struct session *s = (struct session *) (void *) watch;
    must(s->magic == SESSION_MAGIC);
    switch (s->state) {
    case SESSION_HANDSHAKE:
        handshake_event(s);
        break;
    case SESSION_BUSY:
        leg_h1_event(s->x->client, events);
        break;
    case SESSION_LINGER:
        session_linger(s);
        break;
    case SESSION_PREFACE:
        preface_event(s);
        break;
    case SESSION_H2:
        h2_session_event(s->h2, events);
        break;
    case SESSION_IDLE:
    case SESSION_SNIFF:
        if (events & (EV_READ | EV_HUP))
            session_begin(s);
        break;
    default:
        break;
    }
}

static void session_timer(struct timer *t)
{
    struct session *s = list_entry(t, struct session, timer);
    if (s->state == SESSION_BUSY) {
        exchange_wake(s->x);
        return;
    }
    if (s->state == SESSION_PREFACE) {
        preface_timeout(s);
        return;
    }
    if (s->state == SESSION_H2) {
        h2_session_timer(s->h2);
        return;
    }
    if (s->state == SESSION_HANDSHAKE) {
        handshake_timeout(s);
        return;
    }
    if (s->state == SESSION_SNIFF)
        counter_add(&s->worker->stats->faults[FAULT_CLIENT_HEAD_TIMEOUT], 1);
    if (s->state == SESSION_IDLE)
        counter_add(&s->worker->stats->faults[FAULT_CLIENT_IDLE_TIMEOUT], 1);
    session_close(s, false);
}

/* Waits for the next request: keeps nothing but the struct. */
static void session_idle(struct session *s)
{
    struct worker *w = s->worker;
    s->state = SESSION_IDLE;
    usec_t keep = w->snapshot ? w->snapshot->settings.timeouts.keepalive : 0;
    if (keep)
        timer_set(w->loop, &s->timer, loop_now(w->loop) + keep);
    else
        timer_idle(&s->timer);
}

/* Speaks TLS from now on: the handshake is next. more: some of it has come. */
static void session_secure(struct session *s, struct tls_server *tls, bool more)
{
    struct worker *w = s->worker;
    s->charged = mem_charge(&w->account, TLS_BYTES_OPENING) ? TLS_BYTES_OPENING : 0;
    s->conn.transport = s->charged ? tls_accept(tls) : NULL;
    if (!s->conn.transport) {
        counter_add(&w->stats->faults[FAULT_MEMORY], 1);
        session_close(s, false);
        return;
    }
    s->conn.ops = &conn_tls;
    if (!handshake_begin(s, tls_server_settings(tls)))
        session_close(s, false);
    else if (more)
        handshake_event(s);
}

void session_ready(struct session *s)
{
    struct worker *w = s->worker;
    must(s->state == SESSION_HANDSHAKE);
    mem_credit(&w->account, s->charged - TLS_BYTES_OPEN);
    s->charged = TLS_BYTES_OPEN;
    if (str_eq(conn_alpn(&s->conn), STR("h2"))) {
        if (h2_session_open(s, NULL, STR("")))
            return;
        counter_add(&w->stats->faults[FAULT_MEMORY], 1);
        session_close(s, true);
        return;
    }
    session_idle(s);
    if (w->draining && !w->succeeded) /* it was let in before the stop, and may ask once */
        timer_set(w->loop, &s->timer, loop_now(w->loop) + STOPPING_WAIT);
    if (conn_readable(&s->conn))
        session_start_exchange(s);
}

bool session_open(struct listener *l, int fd, const struct addr *peer)
{
    struct worker *w = l->worker;
    struct session *s = pool_get(&w->sessions);
    if (!s) {
        counter_add(&w->stats->faults[FAULT_MEMORY], 1);
        sock_close(fd);
        return false;
    }
    *s = (struct session){.magic = SESSION_MAGIC, .worker = w, .listener = l};
    s->conn.room_unasked = true;
    if (!conn_init(&s->conn, w->loop, fd, &conn_plain, session_event)) {
        pool_put(&w->sessions, s);
        return false;
    }
    listener_opened_one(l);
    s->peer_unix = !addr_ip(peer, &s->peer_ip);
    s->peer_port = addr_port(peer);
    timer_init(&s->timer, session_timer);
    list_push_back(&w->session_list, &s->node);
    counter_add(&w->stats->connections_open, 1);
    counter_add(&w->stats->connections_total, 1);
    if (!preface_begin(s)) {
        session_greeted(s, false);
        session_first_read(s);
    }
    return true;
}

void session_greeted(struct session *s, bool more)
{
    const struct listener_spec *l = s->listener->now;
    if (l && l->tls) {
        session_secure(s, l->tls, more);
        return;
    }
    s->sniff = l && l->conf.h2c;
    session_idle(s);
    if (more)
        session_begin(s);
}

void session_busy(struct session *s, struct exchange *x)
{
    timer_idle(&s->timer);
    s->state = SESSION_BUSY;
    s->x = x;
}

void session_refuse(struct session *s, enum fault f)
{
    if (s->worker->snapshot && exchange_open(s)) {
        exchange_fail(s->x, f);
        return;
    }
    counter_add(&s->worker->stats->faults[f], 1);
    session_close(s, true);
}

void session_resume(struct session *s, bool keep)
{
    must(s->magic == SESSION_MAGIC && s->state == SESSION_BUSY);
    struct worker *w = s->worker;
    s->x = NULL;
    /* One that is kept in a drain had its answer begun before, and was not told that it is the last
     * one: it may ask once more, and is told then. */
    if (keep && (!w->draining || loop_now(w->loop) < w->drain_until)) {
        session_idle(s);
        if (w->draining && !w->succeeded)
            timer_set(w->loop, &s->timer, loop_now(w->loop) + STOPPING_WAIT);
        if (s->in || conn_readable(&s->conn))
            session_start_exchange(s);
        return;
    }
    block_unref(s->in);
    s->in = NULL;
    if (s->conn.eof || s->conn.broken) {
        session_close(s, false);
        return;
    }
    s->state = SESSION_LINGER;
    s->drained = 0;
    conn_shutdown_write(&s->conn);
    timer_set(w->loop, &s->timer, loop_now(w->loop) + LINGER_TIME);
    session_linger(s);
}

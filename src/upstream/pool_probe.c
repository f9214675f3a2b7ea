/* SPDX-License-Identifier: Apache-2.0 */
/* Invariants:
 * 1. A link in state PROBING has a probe and is in pool.probing; it is lent to nobody.
 * 2. Only one whole, well-formed answer without a body and with nothing behind it, on a connection
 *    that the endpoint would keep, brings the link back to the idle list. */
#include "upstream/pool_probe.h"
#include "base/panic.h"
#include "http/h1_parse.h"
#include "http/h1_write.h"
#include "upstream/pool_inside.h"

#define PROBE_HEAD_MAX 8192u
#define PROBE_INTERIM_MAX 8u

struct link_probe {
    size_t n, scan;             /* bytes of the answer; how far they were searched */
    size_t size, sent;          /* of the request */
    uint32_t interim;           /* 1xx answers seen */
    char bytes[PROBE_HEAD_MAX]; /* first the request, then the answer */
};

void probe_free(struct link *l)
{
    mem_free(l->probe);
    l->probe = NULL;
}

/* Writes the request; false when it does not fit or cannot be written. */
static bool probe_text(const struct link_pool *p, struct link_probe *probe)
{
    const struct endpoint *e = p->endpoint;
    struct head h = {.method = STR("HEAD"),
                     .method_id = METHOD_HEAD,
                     .scheme = p->tls ? STR("https") : STR("http"),
                     .authority = e->address,
                     .path = p->conf.probe_path,
                     .target_form = TARGET_ORIGIN,
                     .body = BODY_NONE,
                     .major = 1,
                     .minor = 1};
    struct str agent = STR("weir-probe");
    struct field field = {.name = STR("User-Agent"), .value = agent, .id = FIELD_OTHER};
    if (e->text.form == ADDR_UNIX)
        h.authority = STR("localhost");
    field.id = (uint8_t) field_id(field.name);
    h.fields = (struct fields){.v = &field, .n = 1, .cap = 1};
    h.fields.present = UINT64_C(1) << field.id;
    probe->size = h1_write_request(probe->bytes, sizeof probe->bytes, &h, STR(""));
    return probe->size > 0;
}

/* Sends what is left of the request. */
static enum io probe_send(struct link *l)
{
    struct link_probe *probe = l->probe;
    enum io io = IO_OK;
    while (io == IO_OK && probe->sent < probe->size) {
        size_t n;
        struct iovec iov = {probe->bytes + probe->sent, probe->size - probe->sent};
        io = conn_writev(&l->conn, &iov, 1, &n);
        probe->sent += n;
    }
    return io;
}

void probe_start(struct link *l)
{
    struct link_pool *p = l->pool;
    if (!link_quiet(l, false)) {
        link_evict(l, EVICT_CLOSED, false);
        return;
    }
    idle_remove(l);
    list_push_back(&p->probing, &l->node);
    l->state = LINK_PROBING;
    l->probe = mem_new(sizeof *l->probe);
    l->requests++;
    l->fresh = false;
    if (!probe_text(p, l->probe) || probe_send(l) == IO_ERR) {
        link_evict(l, EVICT_PROBE, false);
        return;
    }
    timer_set(p->worker->loop, &l->timer, loop_now(p->worker->loop) + p->conf.connect_timeout);
}

/* The final answer has arrived and is acceptable. */
static void probe_passed(struct link *l)
{
    usec_t now = loop_now(l->worker->loop);
    timer_stop(&l->timer);
    probe_free(l);
    list_remove(&l->node);
    list_push_front(&l->pool->lent, &l->node);
    l->state = LINK_LENT;
    l->probed = now;
    l->released_turn = loop_turn_number(l->worker->loop);
    enum evict_reason reason = link_unfit(l, now);
    if (reason == EVICT_REASONS && conn_readable(&l->conn) && !conn_is_quiet(&l->conn))
        reason = EVICT_PROBE; /* more than a head came */
    if (reason != EVICT_REASONS)
        link_evict(l, reason, false);
    else
        pool_offer(l, false);
}

enum verdict { PROBE_MORE, PROBE_GOOD, PROBE_BAD };

/* Looks at what has come so far. */
static enum verdict probe_judge(struct link_probe *probe)
{
    const struct h1_limits limits = {.head = PROBE_HEAD_MAX, .target = 1024, .fields = 100};
    size_t skip = 0, end;
    while ((end = h1_head_end(probe->bytes, probe->n, &probe->scan, &skip))) {
        struct head h = {0};
        struct arena arena;
        arena_init(&arena, NULL, 64 * 1024);
        enum fault fault =
            skip ? FAULT_UP_HEAD
                 : h1_parse_response(&h, &arena, str_of(probe->bytes, end), METHOD_HEAD, &limits);
        arena_fini(&arena);
        if (fault != FAULT_OK || h.status == 101 || ++probe->interim > PROBE_INTERIM_MAX)
            return PROBE_BAD;
        if (h.status >= 200)
            return end == probe->n && h.keep_alive ? PROBE_GOOD : PROBE_BAD;
        probe->n -= end;
        probe->scan = 0;
        memmove(probe->bytes, probe->bytes + end, probe->n);
    }
    return probe->n < PROBE_HEAD_MAX ? PROBE_MORE : PROBE_BAD;
}

void probe_event(struct link *l)
{
    struct link_probe *probe = l->probe;
    enum verdict verdict = PROBE_MORE;
    enum io io = probe_send(l);
    while (verdict == PROBE_MORE && io == IO_OK) {
        size_t n;
        io = conn_read(&l->conn, probe->bytes + probe->n, PROBE_HEAD_MAX - probe->n, &n);
        if (io == IO_OK) {
            probe->n += n;
            verdict = probe_judge(probe);
        }
    }
    if (verdict == PROBE_GOOD)
        probe_passed(l);
    else if (verdict == PROBE_BAD || io == IO_EOF || io == IO_ERR)
        link_evict(l, EVICT_PROBE, false);
}

void probe_timeout(struct link *l)
{
    link_evict(l, EVICT_PROBE, false);
}

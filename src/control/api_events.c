/* SPDX-License-Identifier: Apache-2.0 */
/* api_events.c: what happens, as server-sent events. A reader that keeps up hears of each, however
 * many come at once; one that is slow misses what the ring could not keep, never more, and is told
 * how many those are. Last-Event-ID goes on behind what it has seen.
 * Invariants:
 * 1. seen is the id of the last event that was written or is in late.
 * 2. late holds events of one turn: a reader that does not read holds no more than one burst. */
#include <inttypes.h>

#include "base/clock.h"
#include "base/mem.h"
#include "control/api.h"
#include "control/events.h"
#include "net/loop.h"
#include "proxy/driver.h"

#define LATE_MOST (4u << 20) /* bytes: what a reload of ten thousand routes has to say */
#define LATE_PIECE 65536u    /* bytes written at a time */

struct reader {
    struct event_subscriber subscriber; /* first */
    struct exchange *x;
    struct events *events;
    uint64_t seen;
    struct chain late; /* what came in one turn, which the ring may not keep until it is written */
    usec_t late_turn;  /* loop_now of that */
    bool greeted;
    bool stranger; /* it goes on from an id that is none of ours, and was not told yet */
};

static void reader_drop(void *p)
{
    struct reader *r = p;
    events_leave(&r->subscriber);
    chain_clear(&r->late, &r->x->worker->buffers);
    mem_free(r);
}

/* The event's object, with what all of them have in front. */
static void put_event(const struct event *e, struct text *out)
{
    char time[32];
    clock_iso8601(e->wall_us, time);
    text_addf(out, "id: %" PRIu64 "\nevent: %s\ndata: {\"event\":\"%s\",\"time\":\"%s\",\"text\":",
              e->id, event_kind_name(e->kind), event_kind_name(e->kind), time);
    text_add_json(out, e->text);
    text_add(out, e->json.n > 2 ? STR(",") : STR(""));
    text_add(out, str_sub(e->json, 1, e->json.n));
    text_add(out, STR("\n\n"));
}

/* Without room for it the reader goes on from the ring. */
static void keep(struct reader *r, const struct event *e)
{
    struct worker *w = r->x->worker;
    struct text t = {0};
    put_event(e, &t);
    if (chain_copy(&r->late, &w->buffers, text_str(&t))) {
        r->seen = e->id;
        r->late_turn = loop_now(w->loop);
    }
    text_fini(&t);
}

static void tell(struct event_subscriber *s, const struct event *e)
{
    struct reader *r = (struct reader *) (void *) s;
    bool keeps_up = r->greeted && !r->stranger && e->id == r->seen + 1;
    bool burst = r->late.bytes == 0 || r->late_turn == loop_now(r->x->worker->loop);
    if (keeps_up && burst && r->late.bytes < LATE_MOST)
        keep(r, e);
    exchange_wake(r->x);
}

/* What was missed: so many, or, behind a number of an earlier process, nobody knows. */
static void put_gap(const struct reader *r, uint64_t lost, struct text *out)
{
    text_add(out, STR("event: gap\ndata: {\"event\":\"gap\",\"text\":"));
    if (r->stranger)
        text_add(out, STR("\"events were missed: this process did not give that id\"}\n\n"));
    else
        text_addf(out, "\"%" PRIu64 " events were missed\",\"lost\":%" PRIu64 "}\n\n", lost, lost);
}

static enum io put(struct exchange *x, void *arg, struct chain *out)
{
    struct reader *r = arg;
    if (r->late.bytes && chain_move(out, &r->late, LATE_PIECE, &x->worker->buffers))
        return IO_OK;
    if (r->late.bytes) {
        memory_wait(x);
        return IO_AGAIN;
    }
    const struct event *e = events_next(r->events, r->seen);
    struct text t = {0};
    uint64_t lost = e ? e->id - r->seen - 1 : 0;
    bool gap = r->greeted && (r->stranger || lost);
    if (!r->greeted)
        text_add(&t, STR(": events\n\n"));
    else if (gap)
        put_gap(r, lost, &t);
    else if (e)
        put_event(e, &t);
    bool good = t.n == 0 || chain_copy(out, &x->worker->buffers, text_str(&t));
    bool any = t.n > 0;
    text_fini(&t);
    if (!good) {
        memory_wait(x);
        return IO_AGAIN;
    }
    if (r->greeted && e)
        r->seen = gap ? e->id - 1 : e->id;
    r->stranger = r->stranger && !r->greeted;
    r->greeted = true;
    return any ? IO_OK : IO_AGAIN;
}

/* Where it begins: behind the id that the client has seen, else behind the newest. */
static void begin_at(struct reader *r, const struct field *last)
{
    uint64_t first = events_first(r->events);
    r->seen = events_last(r->events);
    if (!last)
        return;
    uint64_t id = 0;
    r->stranger = !str_to_u64(last->value, &id) || id + 1 < first || id > r->seen;
    r->seen = r->stranger ? first - 1 : id;
}

enum hook api_events(struct api_call *c)
{
    struct exchange *x = c->x;
    const struct field *last = fields_get(&x->in->fields, STR("Last-Event-ID"));
    if (!c->a->events)
        return api_problem(x, 404, "no-events", "there are no events here");
    struct reader *r = mem_new(sizeof *r);
    *r = (struct reader){.subscriber.tell = tell, .x = x, .events = c->a->events};
    begin_at(r, last);
    events_subscribe(r->events, &r->subscriber);
    if (!api_keep(x, reader_drop, r))
        return HOOK_FAIL;
    reply_init(x, 200);
    if (!fields_add_id(&x->reply.fields, FIELD_CONTENT_TYPE, STR("text/event-stream")) ||
        !fields_add_id(&x->reply.fields, FIELD_CACHE_CONTROL, STR("no-store"))) {
        exchange_fail(x, FAULT_MEMORY);
        return HOOK_FAIL;
    }
    x->reply.produce = put;
    x->reply.arg = r;
    return HOOK_REPLY;
}

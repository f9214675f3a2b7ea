/* SPDX-License-Identifier: Apache-2.0 */
/* api_events.c: what happens, as server-sent events. A reader that is slow misses what the ring
 * could not keep, never more; Last-Event-ID goes on behind what it has seen. */
#include <inttypes.h>

#include "base/mem.h"
#include "control/api.h"
#include "control/events.h"
#include "proxy/driver.h"

struct reader {
    struct event_subscriber subscriber; /* first */
    struct exchange *x;
    struct events *events;
    uint64_t seen; /* the id of the last one written */
    bool greeted;
};

static void reader_drop(void *p)
{
    struct reader *r = p;
    events_leave(&r->subscriber);
    mem_free(r);
}

static void tell(struct event_subscriber *s, const struct event *e)
{
    (void) e;
    exchange_wake(((struct reader *) (void *) s)->x);
}

static enum io put(struct exchange *x, void *arg, struct chain *out)
{
    struct reader *r = arg;
    const struct event *e = events_next(r->events, r->seen);
    struct text t = {0};
    if (!r->greeted)
        text_add(&t, STR(": events\n\n"));
    else if (e)
        text_addf(&t, "id: %" PRIu64 "\nevent: %s\ndata: %.*s\n\n", e->id, event_kind_name(e->kind),
                  STR_ARG(e->json));
    bool good = t.n == 0 || chain_copy(out, &x->worker->buffers, text_str(&t));
    bool any = t.n > 0;
    text_fini(&t);
    if (!good) {
        memory_wait(x);
        return IO_AGAIN;
    }
    if (r->greeted && e)
        r->seen = e->id;
    r->greeted = true;
    return any ? IO_OK : IO_AGAIN;
}

enum hook api_events(struct api_call *c)
{
    struct exchange *x = c->x;
    const struct field *last = fields_get(&x->in->fields, STR("Last-Event-ID"));
    uint64_t seen;
    if (!c->a->events)
        return api_problem(x, 404, "no-events", "there are no events here");
    if (!last || !str_to_u64(last->value, &seen) || seen > events_last(c->a->events))
        seen = last ? 0 : events_last(c->a->events);
    struct reader *r = mem_new(sizeof *r);
    *r = (struct reader){{.tell = tell}, x, c->a->events, seen, false};
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

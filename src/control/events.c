/* SPDX-License-Identifier: Apache-2.0 */
/* events.c: see events.h.
 * Invariants:
 * 1. Event number id lies in ring[id % EVENTS_KEPT], as long as no later one does. */
#include "control/events.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/panic.h"

struct events {
    uint64_t first, last;
    struct list subscribers;
    struct event ring[EVENTS_KEPT];
};

const char *event_kind_name(enum event_kind k)
{
    static const char *const names[EVENT_KINDS] = {
        [EVENT_CONFIG] = "config",     [EVENT_SETTINGS] = "settings", [EVENT_LISTENER] = "listener",
        [EVENT_UPSTREAM] = "upstream", [EVENT_ENDPOINT] = "endpoint", [EVENT_ROUTE] = "route",
        [EVENT_STATE] = "state",       [EVENT_SERVER] = "server",
    };
    return names[k];
}

struct events *events_new(uint64_t first)
{
    struct events *e = mem_new(sizeof *e);
    e->first = first;
    e->last = first - 1;
    list_init(&e->subscribers);
    return e;
}

static void forget(struct event *v)
{
    mem_free((void *) (uintptr_t) v->text.p);
    mem_free((void *) (uintptr_t) v->json.p);
    *v = (struct event){0};
}

void events_free(struct events *e)
{
    if (!e)
        return;
    must(list_empty(&e->subscribers));
    for (size_t i = 0; i < EVENTS_KEPT; i++)
        forget(&e->ring[i]);
    mem_free(e);
}

void events_add(struct events *e, enum event_kind kind, struct str text, struct str json)
{
    struct event *v = &e->ring[++e->last % EVENTS_KEPT];
    forget(v);
    *v = (struct event){.id = e->last,
                        .wall_us = clock_wall(),
                        .kind = kind,
                        .text = mem_str(text),
                        .json = mem_str(json)};
    list_each_safe(node, &e->subscribers) {
        struct event_subscriber *s = list_entry(node, struct event_subscriber, node);
        s->tell(s, v);
    }
}

void events_subscribe(struct events *e, struct event_subscriber *s)
{
    list_push_back(&e->subscribers, &s->node);
}

void events_leave(struct event_subscriber *s)
{
    list_remove(&s->node);
}

const struct event *events_next(const struct events *e, uint64_t after)
{
    bool full = e->last - e->first >= EVENTS_KEPT && e->last >= e->first;
    uint64_t oldest = full ? e->last - EVENTS_KEPT + 1 : e->first;
    uint64_t id = after + 1 > oldest ? after + 1 : oldest;
    return id <= e->last ? &e->ring[id % EVENTS_KEPT] : NULL;
}

uint64_t events_first(const struct events *e)
{
    return e->first;
}

uint64_t events_last(const struct events *e)
{
    return e->last;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* events.c: see events.h.
 * Invariants:
 * 1. Events oldest to last are kept; number id begins at bytes[at[id % EVENTS_KEPT]].
 * 2. They lie one behind the other in the order of their numbers, the newest right before head; one
 *    that the end of bytes would split begins at 0.
 * 3. Texts of more than LARGE bytes lie in a heap block of their own. */
#include "control/events.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/panic.h"

#define LARGE (EVENTS_BYTES / 8)

/* In front of the two texts. */
struct record {
    int64_t wall_us;
    char *own; /* where the texts are, when they are large; NULL: behind this */
    uint32_t text_n, json_n;
    enum event_kind kind;
};

struct events {
    uint64_t first, oldest, last;
    struct list subscribers;
    struct event shown; /* what events_next and subscribers were given last */
    uint32_t head;      /* where the next one goes */
    uint32_t at[EVENTS_KEPT];
    char *bytes;
};

const char *event_kind_name(enum event_kind k)
{
    static const char *const names[EVENT_KINDS] = {
        [EVENT_CONFIG] = "config",     [EVENT_SETTINGS] = "settings", [EVENT_LISTENER] = "listener",
        [EVENT_UPSTREAM] = "upstream", [EVENT_ENDPOINT] = "endpoint", [EVENT_ROUTE] = "route",
        [EVENT_STATE] = "state",
    };
    return names[k];
}

struct events *events_new(uint64_t first)
{
    struct events *e = mem_new(sizeof *e);
    e->first = e->oldest = first;
    e->last = first - 1;
    e->bytes = mem_new(EVENTS_BYTES);
    /* Touched at once: memory that grows by what happened would be taken for a leak. */
    memset(e->bytes, 0xff, EVENTS_BYTES);
    list_init(&e->subscribers);
    return e;
}

static struct record *record_of(const struct events *e, uint64_t id)
{
    return (struct record *) (void *) (e->bytes + e->at[id % EVENTS_KEPT]);
}

static void forget_oldest(struct events *e)
{
    mem_free(record_of(e, e->oldest++)->own);
}

void events_free(struct events *e)
{
    if (!e)
        return;
    must(list_empty(&e->subscribers));
    while (e->oldest <= e->last)
        forget_oldest(e);
    mem_free(e->bytes);
    mem_free(e);
}

/* Event id as its readers see it; valid until the next call. */
static const struct event *show(struct events *e, uint64_t id)
{
    const struct record *r = record_of(e, id);
    const char *texts = r->own ? r->own : (const char *) (r + 1);
    e->shown = (struct event){.id = id,
                              .wall_us = r->wall_us,
                              .kind = r->kind,
                              .text = str_of(texts, r->text_n),
                              .json = str_of(texts + r->text_n, r->json_n)};
    return &e->shown;
}

/* Room for n bytes at head: the oldest make way. */
static struct record *make_room(struct events *e, uint32_t n)
{
    if (e->last - e->oldest + 1 == EVENTS_KEPT)
        forget_oldest(e);
    bool around = e->head + n > EVENTS_BYTES;
    uint32_t from = e->head, to = around ? n : e->head + n;
    while (e->oldest <= e->last) {
        uint32_t tail = e->at[e->oldest % EVENTS_KEPT];
        bool free = around ? tail < from && tail >= to : tail < from || tail >= to;
        if (free)
            break;
        forget_oldest(e);
    }
    e->head = to;
    return (struct record *) (void *) (e->bytes + to - n);
}

void events_add(struct events *e, enum event_kind kind, struct str text, struct str json)
{
    size_t texts = text.n + json.n;
    char *own = texts > LARGE ? mem_new(texts) : NULL;
    size_t align = _Alignof(struct record);
    size_t n = sizeof(struct record) + (own ? 0 : (texts + align - 1) / align * align);
    struct record *r = make_room(e, (uint32_t) n);
    *r = (struct record){clock_wall(), own, (uint32_t) text.n, (uint32_t) json.n, kind};
    char *to = own ? own : (char *) (r + 1);
    if (text.n)
        memcpy(to, text.p, text.n);
    if (json.n)
        memcpy(to + text.n, json.p, json.n);
    e->at[++e->last % EVENTS_KEPT] = (uint32_t) ((char *) r - e->bytes);
    list_each_safe(node, &e->subscribers) {
        struct event_subscriber *s = list_entry(node, struct event_subscriber, node);
        s->tell(s, show(e, e->last));
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

const struct event *events_next(struct events *e, uint64_t after)
{
    uint64_t id = after + 1 > e->oldest ? after + 1 : e->oldest;
    return id <= e->last ? show(e, id) : NULL;
}

uint64_t events_first(const struct events *e)
{
    return e->first;
}

uint64_t events_last(const struct events *e)
{
    return e->last;
}

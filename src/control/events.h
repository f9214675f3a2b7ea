/* SPDX-License-Identifier: Apache-2.0 */
/* events: the last things that happened to the configuration and to endpoints, numbered, for who
 * wants to hear of them (the admin API's stream, the on_event of features and with it that of the
 * library). A ring of a fixed size: the oldest make room. Owned by the engine, main thread only. It
 * holds no request and no peer's byte. */
#ifndef WEIR_CONTROL_EVENTS_H
#define WEIR_CONTROL_EVENTS_H

#include "base/list.h"
#include "proxy/event.h"

#define EVENTS_KEPT 1024u           /* at most */
#define EVENTS_BYTES (160u * 1024u) /* in which they lie; a few large ones beside */

struct events;

/* Whoever is told of each event at once. */
struct event_subscriber {
    struct list_node node;
    void (*tell)(struct event_subscriber *s, const struct event *e); /* must not add or leave */
};

/* None yet. The first one's id will be `first`, above 0: above all that an earlier process gave. */
struct events *events_new(uint64_t first);
/* Frees; no subscriber may be left. */
void events_free(struct events *e);
/* Adds one; the texts are copied. */
void events_add(struct events *e, enum event_kind kind, struct str text, struct str json);
/* From the next event on. */
void events_subscribe(struct events *e, struct event_subscriber *s);
/* No longer. */
void events_leave(struct event_subscriber *s);
/* The oldest event that is kept with an id above after, or NULL; valid until the next call. */
const struct event *events_next(struct events *e, uint64_t after);
/* The id of the newest; one below the first: none yet. */
uint64_t events_last(const struct events *e);
/* The id of the first. */
uint64_t events_first(const struct events *e);
/* "config", "route" ...: the event field of the stream. */
const char *event_kind_name(enum event_kind k);

#endif

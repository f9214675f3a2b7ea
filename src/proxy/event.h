/* SPDX-License-Identifier: Apache-2.0 */
/* event: something that happened to the configuration or to an endpoint, as those who hear of it
 * are told: the on_event of features, the library's, the admin API's stream. A value on the main
 * thread; control/events.h numbers and keeps them. It holds no request and no peer's byte. */
#ifndef WEIR_PROXY_EVENT_H
#define WEIR_PROXY_EVENT_H

#include "base/str.h"

enum event_kind {
    EVENT_CONFIG,   /* loaded or refused */
    EVENT_SETTINGS, /* changed */
    EVENT_LISTENER, /* added, removed, changed; so are the next ones */
    EVENT_UPSTREAM,
    EVENT_ENDPOINT,
    EVENT_ROUTE,
    EVENT_STATE, /* of an endpoint: up, down, ejected, drained ... */
    EVENT_KINDS
};

struct event {
    uint64_t id;     /* above that of the one before it, by 1 */
    int64_t wall_us; /* when, since 1970 */
    enum event_kind kind;
    struct str text; /* in words, one line */
    struct str json; /* an object */
};

#endif

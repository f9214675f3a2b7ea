/* SPDX-License-Identifier: Apache-2.0 */
/* weir/event: what weir_options.on_event is told: routes, upstreams, endpoints and addresses that
 * weir_serve, weir_listen and weir_update_weights added, removed or changed, and endpoints that
 * went up, down or were left out. Part of weir.h, not to be included by itself. It belongs to the
 * library and is valid during the callback alone. */
#ifndef WEIR_EVENT_H
#define WEIR_EVENT_H

typedef enum weir_event_kind {
    WEIR_EVENT_CONFIG,   /* loaded or refused: of the weir program alone */
    WEIR_EVENT_SETTINGS, /* of the whole, such as the order of routes */
    WEIR_EVENT_LISTENER, /* an address that is served */
    WEIR_EVENT_UPSTREAM, /* named proxy-ID: a weir_proxy */
    WEIR_EVENT_ENDPOINT, /* added, removed, other weight, addresses: proxy-ID/ADDRESS */
    WEIR_EVENT_ROUTE,    /* named by its pattern */
    WEIR_EVENT_STATE     /* of an endpoint, at most a second old */
} weir_event_kind;

struct weir_event {
    size_t size;
    weir_event_kind kind;
    uint64_t id;     /* one more than that of the event before */
    int64_t time_us; /* since 1970 */
    weir_str text;   /* "route /api: added", "endpoint proxy-1/10.0.0.1:80: up -> down" */
    weir_str json;   /* the same as an object, as in the admin API's /v1/events */
};

#endif

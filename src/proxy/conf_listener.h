/* SPDX-License-Identifier: Apache-2.0 */
/* conf_listener: what a listener's configuration says, as plain structs; part of conf.h. Filled by
 * control/ from a file or by the library from C; constant once in a snapshot. Strings live as long
 * as the snapshot. Any thread may read. */
#ifndef WEIR_PROXY_CONF_LISTENER_H
#define WEIR_PROXY_CONF_LISTENER_H

#include "base/clock.h"
#include "base/schema.h"
#include "net/tls_conf.h"

/* listeners[].mode */
enum listener_mode { LISTENER_HTTP, LISTENER_PASSTHROUGH };

enum proxy_protocol_mode { PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_REQUIRE };

/* listeners[].proxy_protocol */
struct proxy_protocol_conf {
    int mode;                /* enum proxy_protocol_mode */
    struct schema_list from; /* struct str CIDR or "unix": of whom it is required; none: of all */
    usec_t timeout;          /* for the whole header, default 5 s */
    struct schema_pos pos;
};

/* listeners[].http2 */
struct http2_conf {
    int64_t max_streams; /* requests at a time on one connection, default 100 */
};

/* listeners[] */
struct listener_conf {
    struct str name;         /* default: the address */
    struct str address;      /* host:port, [::]:port, :port, unix:/path */
    int64_t backlog;         /* default 4096 */
    int64_t max_connections; /* over all workers, exact; 0: no limit */
    int mode;                /* enum listener_mode */
    struct proxy_protocol_conf proxy_protocol;
    bool h2c; /* HTTP/2 without TLS, by prior knowledge */
    struct http2_conf http2;
    struct tls_server_conf tls;
    bool tls_given;         /* clients must speak TLS */
    int64_t redirect_https; /* port that every request is sent to, by https; 0: none */
    struct schema_pos pos;
};

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_status: says in a Proxy-Status field (RFC 9209) why Weir answered in place of the upstream.
 * Off by default: it tells strangers about the inside. Constant; hooks run on the exchange's
 * worker; it never changes a status or a body. */
#ifndef WEIR_FEATURES_PROXY_STATUS_H
#define WEIR_FEATURES_PROXY_STATUS_H

#include "proxy/phase.h"

/* routes[].proxy_status */
struct proxy_status_conf {
    bool enabled;    /* default false */
    struct str name; /* this proxy's name in the field; default weir */
    bool details;    /* the reason code too; default true */
};

extern const struct schema_table proxy_status_schema;
extern const struct feature feature_proxy_status;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* forwarded: tells the upstream who asked: X-Forwarded-For, -Host, -Proto, X-Real-IP and RFC 7239
 * Forwarded. The engine has removed what an untrusted peer sent before; what a trusted one sent is
 * kept and extended. Constant; hooks run on the exchange's worker. */
#ifndef WEIR_FEATURES_FORWARDED_H
#define WEIR_FEATURES_FORWARDED_H

#include "proxy/phase.h"

/* What is done with the values that a trusted peer sent. */
enum forwarded_policy {
    FORWARDED_APPEND,  /* kept, this hop behind them */
    FORWARDED_REPLACE, /* dropped: the upstream sees what Weir itself derived and nothing else */
};

/* routes[].forwarded */
struct forwarded_conf {
    bool x_forwarded; /* X-Forwarded-For, -Host and -Proto; default true */
    bool x_real_ip;   /* default true */
    bool forwarded;   /* RFC 7239; default false */
    int policy;       /* enum forwarded_policy */
};

extern const struct schema_table forwarded_schema;
extern const struct feature feature_forwarded;

#endif

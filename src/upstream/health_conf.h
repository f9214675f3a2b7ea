/* SPDX-License-Identifier: Apache-2.0 */
/* health_conf: the settings of ejection (passive health) and of health (checks), with their schema
 * tables; ejection_conf.c and health_conf.c have the rows. Constant once in an upstream. Any thread
 * may read. */
#ifndef WEIR_UPSTREAM_HEALTH_CONF_H
#define WEIR_UPSTREAM_HEALTH_CONF_H

#include "base/clock.h"
#include "base/schema.h"

/* upstreams.NAME.ejection */
struct ejection_conf {
    bool enabled;
    int64_t consecutive;   /* failures in a row; 0: do not count them */
    int64_t failure_share; /* percent of the requests of a sweep; 0: off */
    double deviation;      /* standard deviations below the mean; 0: off */
    usec_t duration;       /* of the first ejection, grows with each */
    usec_t max_duration;
    int64_t max_ejected; /* percent of the endpoints */
};

enum health_type { HEALTH_HTTP, HEALTH_TCP, HEALTH_GRPC, HEALTH_SCRIPT };

/* upstreams.NAME.health */
struct health_conf {
    int type;                      /* enum health_type */
    struct str method, path, host; /* of http; host of grpc too */
    struct schema_list statuses;   /* of http: struct str, "204" or "200-299"; none: 200 to 399 */
    struct str body;            /* of http: a regex that the answer's body must match; empty: any */
    uint64_t body_bytes;        /* that are looked at */
    struct str service;         /* of grpc; empty: the server as a whole */
    struct schema_list command; /* of script: struct str, the program and its arguments */
    struct schema_map environment; /* of script: struct str, beside WEIR_* */
    bool drain_404, gate, proxy_protocol;
    usec_t interval, fast_interval, down_interval, timeout; /* 0: as interval */
    usec_t expires; /* how long a mark stays while no check can be made */
    usec_t slow;    /* checks that take longer are warned of; 0: off */
    int64_t rise, fall, jitter;
};

extern const struct schema_table ejection_schema, health_schema;

/* Statuses as configured hold that one. */
bool health_status_passes(const struct health_conf *c, unsigned status);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_health: the question and the answer of grpc.health.v1.Health/Check as bytes: a message of
 * gRPC with one message of Protocol Buffers in it. Any thread; plain values, no state. Never sees a
 * connection. */
#ifndef WEIR_HTTP_GRPC_HEALTH_H
#define WEIR_HTTP_GRPC_HEALTH_H

#include "base/str.h"

/* What a server says of a service (HealthCheckResponse.ServingStatus). */
enum grpc_serving {
    GRPC_SERVING_UNKNOWN,
    GRPC_SERVING,
    GRPC_NOT_SERVING,
    GRPC_SERVICE_UNKNOWN,
    GRPC_SERVING_OTHER,   /* a number that is none of these */
    GRPC_SERVING_GARBLED, /* not a message of this kind */
};

#define GRPC_HEALTH_SERVICE_MAX 127u /* bytes of a service's name */
#define GRPC_HEALTH_ASK_MAX (GRPC_HEALTH_SERVICE_MAX + 7u)

/* Writes the question for a service (empty: the server as a whole) of at most
 * GRPC_HEALTH_SERVICE_MAX bytes to out (GRPC_HEALTH_ASK_MAX bytes); returns its length. */
size_t grpc_health_ask(struct str service, char *out);
/* Reads a whole body: one message, not compressed. */
enum grpc_serving grpc_health_answer(struct str body);
/* The name that the protocol has for it ("NOT_SERVING"). */
const char *grpc_serving_name(enum grpc_serving s);

#endif

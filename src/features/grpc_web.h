/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_web: lets browsers call gRPC services: a gRPC-Web request becomes a gRPC one on the way to
 * the upstream, and trailers become the last frame of the body on the way back. Constant; hooks run
 * on the exchange's worker. Never answers a preflight: that is a route's own business. */
#ifndef WEIR_FEATURES_GRPC_WEB_H
#define WEIR_FEATURES_GRPC_WEB_H

#include "proxy/phase.h"

/* routes[].grpc_web */
struct grpc_web_conf {
    bool enabled; /* default false */
};

extern const struct schema_table grpc_web_schema;
extern const struct feature feature_grpc_web;

#endif

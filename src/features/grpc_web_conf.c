/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of the grpc_web feature. */
#include "features/grpc_web.h"

static const struct schema_field rows[] = {
    {.name = "enabled",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct grpc_web_conf, enabled),
     .def = "false",
     .reloadable = true,
     .since = "0.2",
     .doc = "Turn gRPC-Web requests (binary and text) into gRPC for the upstream, which must speak "
            "HTTP/2, and the answers back. Preflight requests are a route's own business.",
     .example = "true"},
};

const struct schema_table grpc_web_schema = {
    .name = "grpc_web",
    .doc = "Whether browsers may call the gRPC services behind a route.",
    .size = sizeof(struct grpc_web_conf),
    .fields = rows,
    .n_fields = SCHEMA_COUNT(rows),
    .short_form = "enabled",
};

/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of the forwarded feature. */
#include "features/forwarded.h"

static const char *const policies[] = {"append", "replace", NULL};

static const struct schema_field rows[] = {
    {.name = "x_forwarded",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct forwarded_conf, x_forwarded),
     .def = "true",
     .reloadable = true,
     .since = "0.1",
     .doc = "Send X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto to the upstream.",
     .example = "true"},
    {.name = "x_real_ip",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct forwarded_conf, x_real_ip),
     .def = "true",
     .reloadable = true,
     .since = "0.1",
     .doc = "Send X-Real-IP, the one address that was derived for the client.",
     .example = "true"},
    {.name = "forwarded",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct forwarded_conf, forwarded),
     .def = "false",
     .reloadable = true,
     .since = "0.1",
     .doc = "Send the standard Forwarded field (RFC 7239).",
     .example = "true"},
    {.name = "policy",
     .type = SCHEMA_ENUM,
     .offset = offsetof(struct forwarded_conf, policy),
     .def = "append",
     .choices = policies,
     .reloadable = true,
     .since = "0.1",
     .doc = "What a trusted proxy in front of Weir sent is extended (append) or dropped "
            "(replace); what others sent is always dropped.",
     .example = "append"},
};

const struct schema_table forwarded_schema = {
    .name = "forwarded",
    .doc = "What the upstream is told about the client.",
    .size = sizeof(struct forwarded_conf),
    .fields = rows,
    .n_fields = SCHEMA_COUNT(rows),
};

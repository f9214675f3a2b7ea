/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration rows of the client_certificate feature. */
#include "features/client_certificate.h"

static const struct schema_field rows[] = {
    {.name = "cert",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct client_certificate_conf, cert),
     .def = "false",
     .reloadable = true,
     .since = "0.2",
     .doc = "X-Client-Cert: the certificate, a byte sequence as RFC 9440 has it.",
     .example = "true"},
    {.name = "dn",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct client_certificate_conf, dn),
     .def = "false",
     .reloadable = true,
     .since = "0.2",
     .doc = "X-Client-DN: its subject, as RFC 4514 writes names.",
     .example = "true"},
    {.name = "san",
     .type = SCHEMA_BOOL,
     .offset = offsetof(struct client_certificate_conf, san),
     .def = "false",
     .reloadable = true,
     .since = "0.2",
     .doc = "X-Client-SAN: its alternative names, like DNS:a.example, URI:spiffe://example/b.",
     .example = "true"},
};

const struct schema_table client_certificate_schema = {
    .name = "client_certificate",
    .doc = "What the upstream is told of a client's verified certificate; a client cannot send "
           "these fields itself.",
    .size = sizeof(struct client_certificate_conf),
    .fields = rows,
    .n_fields = SCHEMA_COUNT(rows),
};

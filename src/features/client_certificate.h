/* SPDX-License-Identifier: Apache-2.0 */
/* client_certificate: tells the upstream who the client is by its verified TLS certificate. What a
 * client says under these names never goes on, whether this is used or not (proxy/hop.c). Constant;
 * hooks run on the exchange's worker; it decides nothing about access. */
#ifndef WEIR_FEATURES_CLIENT_CERTIFICATE_H
#define WEIR_FEATURES_CLIENT_CERTIFICATE_H

#include "proxy/phase.h"

/* routes[].client_certificate */
struct client_certificate_conf {
    bool cert; /* X-Client-Cert: the certificate as RFC 9440 writes it */
    bool dn;   /* X-Client-DN: the subject */
    bool san;  /* X-Client-SAN: its names */
};

extern const struct schema_table client_certificate_schema;
extern const struct feature feature_client_certificate;

#endif

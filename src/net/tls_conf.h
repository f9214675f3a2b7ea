/* SPDX-License-Identifier: Apache-2.0 */
/* tls_conf: what a configuration may say about TLS, as plain structs with their schema tables:
 * listeners[].tls and upstreams.NAME.tls. Filled by control/ or by C code; constant afterwards.
 * Any thread may read. Names files but never opens one. */
#ifndef WEIR_NET_TLS_CONF_H
#define WEIR_NET_TLS_CONF_H

#include "base/clock.h"
#include "base/schema.h"

/* listeners[].tls.certificates[] */
struct tls_cert_conf {
    struct str cert;          /* PEM: the certificate, then its intermediates */
    struct str key;           /* PEM: its private key */
    struct str ocsp;          /* DER: an OCSP response to staple; empty: none */
    struct schema_list names; /* struct str; empty: the names in the certificate */
    struct schema_pos pos;
};

enum tls_auth_mode { TLS_AUTH_OFF, TLS_AUTH_REQUEST, TLS_AUTH_REQUIRE };

/* client_auth.allow: each kind that is given must match by one of its entries */
struct tls_allow_conf {
    struct schema_list san, cn, spiffe, issuer; /* struct str */
};

/* listeners[].tls.client_auth and .sni.NAME.client_auth */
struct tls_auth_conf {
    int mode;             /* enum tls_auth_mode */
    struct str ca;        /* PEM: who signs clients' certificates */
    struct str crl;       /* PEM: lists of revoked ones; empty: none */
    int64_t verify_depth; /* intermediates allowed, default 3 */
    struct tls_allow_conf allow;
    struct schema_pos pos;
};

/* listeners[].tls.sni.NAME */
struct tls_sni_conf {
    struct tls_auth_conf client_auth;
    bool client_auth_given;
    struct schema_pos pos;
};

/* listeners[].tls.session_tickets */
struct tls_ticket_conf {
    bool enabled;            /* true */
    struct schema_list keys; /* struct str: files of 80 bytes; the first encrypts */
    usec_t rotate;           /* without files: a new key that often, default 12 h */
    usec_t lifetime;         /* how long a session may be resumed, default 24 h */
};

/* listeners[].tls.hsts */
struct hsts_conf {
    usec_t max_age; /* 0: no header */
    bool include_subdomains, preload;
};

enum tls_policy { TLS_INTERMEDIATE, TLS_MODERN };
enum tls_version { TLS_VERSION_POLICY, TLS_VERSION_12, TLS_VERSION_13 };

/* listeners[].tls */
struct tls_server_conf {
    struct schema_list certificates;  /* struct tls_cert_conf */
    int policy;                       /* enum tls_policy */
    int min_version, max_version;     /* enum tls_version */
    struct str ciphers, ciphersuites; /* OpenSSL lists; empty: the policy's */
    struct str groups;                /* the same */
    struct schema_list alpn;          /* struct str; empty: what Weir speaks */
    bool strict_sni;                  /* no or an unknown name: refused */
    struct tls_ticket_conf session_tickets;
    int64_t session_cache;         /* sessions kept in memory; 0: none */
    bool early_data;               /* 0-RTT, for safe methods */
    int64_t handshakes_per_source; /* at a time, 256; 0: no limit */
    struct hsts_conf hsts;
    struct tls_auth_conf client_auth;
    struct schema_map sni; /* name or *.wildcard -> struct tls_sni_conf */
    struct schema_pos pos;
};

enum tls_verify { TLS_VERIFY_FULL, TLS_VERIFY_CA, TLS_VERIFY_OFF };

/* upstreams.NAME.tls */
struct tls_client_conf {
    bool enabled;             /* true when the object is given */
    int verify;               /* enum tls_verify */
    struct str ca;            /* PEM; empty: the system's */
    struct str crl;           /* PEM; empty: none */
    struct str sni;           /* the name to ask for and to verify; empty: the endpoint's host */
    struct schema_list alpn;  /* struct str; empty: none is sent */
    struct str cert, key;     /* PEM: Weir's own certificate */
    int min_version;          /* enum tls_version; policy: 1.2 */
    struct schema_list pin;   /* struct str: base64 SHA-256 of public keys */
    usec_t handshake_timeout; /* 10 s */
    struct schema_pos pos;
};

extern const struct schema_table tls_cert_schema, tls_allow_schema, tls_auth_schema, tls_sni_schema,
    tls_ticket_schema, hsts_schema, tls_server_schema, tls_client_schema;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* client_hello: what the first message of a TLS client says in clear: the name that it asks for
 * (SNI), the protocols that it offers (ALPN), its versions. For choosing where a connection goes
 * before anybody speaks TLS. Sans-I/O: the bytes so far go in, each time from the first one. Any
 * thread. Never allocates, never looks behind the hello, and decides nothing. */
#ifndef WEIR_NET_CLIENT_HELLO_H
#define WEIR_NET_CLIENT_HELLO_H

#include <stdint.h>

#include "base/str.h"

#define CLIENT_HELLO_MAX 16384u /* bytes on the wire, record headers included */
#define CLIENT_HELLO_NAME 254u
#define CLIENT_HELLO_ALPN 256u

enum hello_verdict {
    HELLO_MORE,      /* a hello so far; more bytes are needed */
    HELLO_WHOLE,     /* *out is filled */
    HELLO_NOT_TLS,   /* the bytes begin with something else than a TLS handshake record */
    HELLO_INVALID,   /* TLS, but no well-formed ClientHello (RFC 8446 4.1.2) */
    HELLO_TOO_LARGE, /* it says itself that it is larger than CLIENT_HELLO_MAX, or has become so */
};

struct client_hello {
    uint16_t version;             /* the highest that is offered: 0x0303 is TLS 1.2 */
    uint16_t sni_n;               /* 0: no name is asked for */
    uint16_t alpn_n;              /* 0: none is offered */
    char sni[CLIENT_HELLO_NAME];  /* a host name in lower case, without a final dot */
    char alpn[CLIENT_HELLO_ALPN]; /* names, each behind its length (RFC 7301 3.1); of a longer
                                     * list the first that fit */
};

/* Looks at the bytes that have come so far. A hello may be spread over records and segments in any
 * way. More than one name, a name that is no host name (RFC 6066 3), a repeated extension and bytes
 * behind the hello in its record are invalid. */
enum hello_verdict client_hello_parse(struct str bytes, struct client_hello *out);
/* The body of a server_name extension (RFC 6066 3): one name, of the one kind that there is, into
 * out->sni, where none is yet. False: it is something else, and out->sni_n says nothing. */
bool client_hello_server_name(struct str body, struct client_hello *out);
/* Puts a host name, in lower case and without a dot at its end, into out->sni. False: it is none
 * that a hello can ask for. */
bool client_hello_host_name(struct str name, struct client_hello *out);
/* protocol is among those offered. */
bool client_hello_offers(struct str alpn, struct str protocol);

#define TLS_ALERT_BYTES 7u

/* Descriptions of fatal alerts (RFC 8446 6.2, RFC 6066 3). */
enum tls_alert {
    TLS_ALERT_DECODE_ERROR = 50,
    TLS_ALERT_INTERNAL_ERROR = 80,
    TLS_ALERT_MISSING_EXTENSION = 109,
    TLS_ALERT_UNRECOGNIZED_NAME = 112,
};

/* Writes a fatal alert record as a client understands it before any key is agreed on. */
void tls_alert_write(uint8_t description, char out[TLS_ALERT_BYTES]);

#endif

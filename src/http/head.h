/* SPDX-License-Identifier: Apache-2.0 */
/* head: a parsed request or response head, independent of protocol version. Values, not
 * text: what is forwarded is written again from these. Lives in an exchange arena; its views
 * point into the block that the head was read into or into the arena. One thread. */
#ifndef WEIR_HTTP_HEAD_H
#define WEIR_HTTP_HEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "http/field.h"

enum method {
    METHOD_OTHER,
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_PUT,
    METHOD_DELETE,
    METHOD_PATCH,
    METHOD_OPTIONS,
    METHOD_TRACE,
    METHOD_CONNECT,
    METHOD_COUNT
};

/* RFC 9112 3.2 */
enum target_form { TARGET_ORIGIN, TARGET_ABSOLUTE, TARGET_AUTHORITY, TARGET_ASTERISK };

/* head.declared when the message has no Content-Length. */
#define LENGTH_NONE UINT64_MAX

/* How the end of the body is known (RFC 9112 6.3). */
enum body_kind {
    BODY_NONE,    /* no body */
    BODY_LENGTH,  /* length bytes */
    BODY_CHUNKED, /* until the last chunk (h1), END_STREAM (h2) */
    BODY_CLOSE,   /* response: until the connection ends */
    BODY_TUNNEL,  /* after 101, or 2xx to CONNECT: bytes both ways */
};

struct head {
    struct fields fields;

    /* request */
    struct str method;
    struct str scheme;    /* "http" or "https"; from the target or the listener */
    struct str authority; /* host[:port], lower case host: the one host of this request */
    struct str host;      /* authority without port, IPv6 with brackets */
    struct str path;     /* normalised, begins with '/' ("*" for asterisk form, "" for authority) */
    struct str query;    /* without '?'; see has_query */
    uint16_t port;       /* 0: none given */
    uint8_t method_id;   /* enum method */
    uint8_t target_form; /* enum target_form */
    bool has_query : 1;
    bool expect_continue : 1; /* Expect: 100-continue, not on HTTP/1.0 */

    /* response */
    uint16_t status;
    struct str reason;

    /* both */
    uint8_t major, minor; /* version of the sender */
    uint8_t body;         /* enum body_kind */
    bool keep_alive : 1;  /* the sender would keep its connection */
    bool names_none : 1;  /* no Connection field, or one of close or keep-alive alone */
    bool te_trailers : 1; /* TE held the token trailers */
    bool early : 1;       /* it came before the TLS handshake was over (RFC 8470) */
    uint64_t length;      /* body bytes when BODY_LENGTH */
    uint64_t declared;    /* Content-Length as said, also where no body follows (HEAD, 304), or
                           * LENGTH_NONE */
    struct str sni, alpn; /* request: of the TLS connection it came by: the name asked for, in lower
                           * case, and the list offered (RFC 7301 3.1). Set by who read it */
    struct str upgrade;   /* the protocol offered or switched to; empty: none, or not acceptable */
};

/* The sender speaks HTTP/1.0: no 1xx, no chunks, no Expect. */
static inline bool head_is_10(const struct head *h)
{
    return h->major == 1 && h->minor == 0;
}
/* Method by name, case-sensitive. */
enum method method_id(struct str name);
/* Safe methods (RFC 9110 9.2.1). */
bool method_safe(uint8_t method);
/* Idempotent by definition (RFC 9110 9.2.2). */
bool method_idempotent(uint8_t method);
/* A status that never has a body: 1xx, 204, 304. */
static inline bool status_bodyless(uint16_t status)
{
    return status < 200 || status == 204 || status == 304;
}
/* "Not Found" for 404; "" when unknown. */
struct str status_reason(uint16_t status);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* proxy_protocol: the header that a load balancer puts in front of a connection's bytes to say
 * whose connection it is (HAProxy's proxy-protocol.txt, versions 1 and 2). Sans-I/O: bytes in,
 * values out, and back. Any thread. Never allocates, never reads behind the header, never guesses:
 * what is neither version's beginning is not a header. */
#ifndef WEIR_NET_PROXY_PROTOCOL_H
#define WEIR_NET_PROXY_PROTOCOL_H

#include "net/addr.h"

#define PROXY_V1_MAX 107u      /* bytes of a line, CRLF included (2.1) */
#define PROXY_HEADER_MAX 4096u /* bytes of a header that is accepted */
#define PROXY_UNIQUE_ID_MAX 128u

/* What parsing says. */
enum proxy_verdict {
    PROXY_MORE,    /* a header so far; more bytes are needed */
    PROXY_WHOLE,   /* *used bytes are the header */
    PROXY_MISSING, /* the bytes begin with something else */
    PROXY_INVALID, /* a header, but not one that can be understood in one way only */
};

/* What the PP2_TYPE_SSL TLV says of the client's own TLS (2.2.6). */
struct proxy_ssl {
    bool given;
    uint8_t client;  /* PROXY_SSL_... */
    uint32_t verify; /* 0: a certificate was presented and verified */
    struct str version, cn, cipher;
};

enum { PROXY_SSL_TLS = 1, PROXY_SSL_CERT_CONN = 2, PROXY_SSL_CERT_SESS = 4 };

struct proxy_header {
    uint8_t version; /* 1 or 2 */
    /* The source and destination are told. Else (LOCAL, UNKNOWN, a unix socket, datagrams) the
     * connection's own ends count, and nothing below is set. */
    bool told;
    struct ip source, destination;
    uint16_t source_port, destination_port;
    /* TLVs of version 2; empty: not given. Views into the bytes. */
    struct str authority; /* what the client named, as in SNI */
    struct str alpn;      /* the protocol that was agreed upon */
    struct str unique_id; /* opaque bytes */
    struct proxy_ssl ssl;
};

/* Reads the header at the front of bytes, of which more may follow. A checksum that is given must
 * be right (2.2.3); a TLV that is known and repeated is invalid, unknown ones are passed over. */
enum proxy_verdict proxy_parse(struct str bytes, struct proxy_header *out, size_t *used);

/* Writes h as its version says, at most PROXY_HEADER_MAX bytes: version 2 with a checksum, and with
 * the TLVs that are set. !told: LOCAL or UNKNOWN, which speaks for nobody but the sender (a health
 * check). Texts longer than a TLV may be (unique id: PROXY_UNIQUE_ID_MAX, others: 255 bytes) are
 * left out. Returns the bytes written. */
size_t proxy_write(const struct proxy_header *h, char out[PROXY_HEADER_MAX]);

/* The checksum of version 2 (Castagnoli, RFC 4960 appendix B), begun with crc 0. */
uint32_t crc32c(uint32_t crc, struct str bytes);

#endif

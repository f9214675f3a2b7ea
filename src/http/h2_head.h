/* SPDX-License-Identifier: Apache-2.0 */
/* h2_head: HTTP/2 field sections as values: what a decoder says field by field becomes the same
 * struct head as an HTTP/1 head does, by the same code for targets, hosts and framing, and as
 * strictly (RFC 9113 8); and heads as the list that an encoder takes. Sans-I/O; the caller owns
 * reader, head and arena. One thread. Never repairs: what is malformed is a fault. */
#ifndef WEIR_HTTP_H2_HEAD_H
#define WEIR_HTTP_H2_HEAD_H

#include <nghttp2/nghttp2.h>

#include "base/fault.h"
#include "http/h1_parse.h"
#include "http/head.h"

/* One field section while it comes. */
struct h2_reader {
    struct fields *fields;
    struct arena *arena;
    const struct h1_limits *limits;
    struct str method, scheme, authority, path, protocol, status; /* pseudo-header fields */
    uint64_t size;    /* as RFC 9113 6.5.2 counts: names, values, 32 a field */
    uint32_t n;       /* fields that came, each crumb of a cookie counted */
    uint8_t urgency;  /* of the Priority field (RFC 9218 4) */
    bool incremental; /* the same */
    bool prioritised; /* there is such a field */
    bool trailers;    /* no pseudo-header fields */
    bool response;    /* :status alone */
    bool regular;     /* a regular field came: no pseudo-header field may follow */
    enum fault fault; /* the first thing wrong; FAULT_OK */
};

/* A reader that adds to fields, copying into a. */
void h2_reader_init(struct h2_reader *r, struct fields *fields, struct arena *a,
                    const struct h1_limits *limits);
/* One decoded field; what is wrong with it is in r->fault. */
void h2_reader_add(struct h2_reader *r, struct str name, struct str value);
/* The section is so far beyond the limits that no honest peer made it: end the connection. */
bool h2_reader_bomb(const struct h2_reader *r);
/* Makes a request head of a complete section (h->fields is r->fields), like h1_parse_request.
 * Extended CONNECT (RFC 8441) becomes a GET with h->upgrade. end_stream: no body follows.
 * H2_MALFORMED, H2_LENGTH, H2_EXTENDED, REQ_HEAD_LARGE, REQ_TARGET, REQ_TARGET_LONG, REQ_HOST,
 * REQ_LENGTH, REQ_EXPECT, REQ_MISDIRECTED, MEMORY. */
enum fault h2_request_end(struct h2_reader *r, struct head *h, struct str scheme,
                          bool end_stream) FAULT_CHECKED;

/* Makes a response head to request_method, like h1_parse_response (interim ones, too).
 * H2_MALFORMED, REQ_HEAD_LARGE, UP_FRAMING, MEMORY. */
enum fault h2_response_end(struct h2_reader *r, struct head *h, uint8_t request_method,
                           bool end_stream) FAULT_CHECKED;

/* The fields of a request head, lower case, in a; scheme: of the connection. protocol: of an
 * extended CONNECT (RFC 8441 4); empty: none. */
enum fault h2_request_list(const struct head *h, struct arena *a, struct str scheme,
                           struct str protocol, nghttp2_nv **list, size_t *n) FAULT_CHECKED;
/* The fields of a response head with its status and framing, lower case, in a. */
enum fault h2_response_list(const struct head *h, struct arena *a, nghttp2_nv **list,
                            size_t *n) FAULT_CHECKED;
/* The fields of a trailer section. */
enum fault h2_trailer_list(const struct fields *f, struct arena *a, nghttp2_nv **list,
                           size_t *n) FAULT_CHECKED;

#endif

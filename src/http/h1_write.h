/* SPDX-License-Identifier: Apache-2.0 */
/* h1_write: heads written as HTTP/1.1 text from values. Sans-I/O, any thread. Refuses to write
 * a byte that could end a line: a broken hook cannot split a message. */
#ifndef WEIR_HTTP_H1_WRITE_H
#define WEIR_HTTP_H1_WRITE_H

#include <stddef.h>

#include "base/fault.h"
#include "http/head.h"

/* A declared_length that is not said at all: a HEAD answer whose length is not known. */
#define H1_LENGTH_UNSAID (UINT64_MAX - 1)
/* Most bytes of the connection argument; a longer one is refused. */
#define H1_CONNECTION_MAX 64u

/* Upper bound of the bytes that writing h takes, framing and connection fields included. */
size_t h1_head_size(const struct head *h);
/* Writes a request into room bytes at to: "METHOD target HTTP/1.1", Host first (from authority),
 * fields in order, then Content-Length or Transfer-Encoding from h->body. Fields must hold none of
 * Host, Content-Length, Transfer-Encoding, Connection; connection is written as the Connection
 * field when not empty ("close", "Upgrade", "TE"). The bytes written; 0: refused, because something
 * is not writable or all may not fit (h1_head_size(h) bytes are enough). */
size_t h1_write_request(char *to, size_t room, const struct head *h, struct str connection)
    __attribute__((warn_unused_result));
/* Writes a response in the same way: always "HTTP/1.1 status reason" (RFC 9110 2.5);
 * BODY_CLOSE, BODY_NONE and BODY_TUNNEL write no framing field, except that BODY_NONE writes
 * "Content-Length: 0" when the status may have a body and declared_length is LENGTH_NONE;
 * another declared_length is written as Content-Length for HEAD and 304 answers, and
 * H1_LENGTH_UNSAID writes none. */
size_t h1_write_response(char *to, size_t room, const struct head *h, struct str connection,
                         uint64_t declared_length) __attribute__((warn_unused_result));
/* Upper bound of the text of a trailer section with its last chunk: "0 CRLF fields CRLF". */
size_t h1_trailers_size(const struct fields *f);
/* Writes it; *n is the bytes written. FAULT_REWRITE when one of FIELDS_NOT_IN_TRAILERS is there,
 * or a name or value is not writable. */
enum fault h1_write_trailers(char *to, size_t *n, const struct fields *f) FAULT_CHECKED;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* framing: the one place that decides how long a message body is, and whether a connection
 * can be kept (RFC 9112 6, 9.3). Called by the parsers on a head whose fields are filled; the head
 * owns what it works on. Any thread. Never allocates, never looks at a byte of a body. */
#ifndef WEIR_HTTP_FRAMING_H
#define WEIR_HTTP_FRAMING_H

#include "base/fault.h"
#include "http/head.h"

/* Sets body, length, declared, keep_alive of a request head. Faults: REQ_LENGTH,
 * REQ_LENGTH_AND_TE, REQ_TE (also for HTTP/1.0), REQ_TE_UNSUPPORTED, REQ_HEAD_LARGE (options in
 * Connection). */
enum fault framing_request(struct head *h) FAULT_CHECKED;
/* Sets body, length, declared, keep_alive of a response head to request_method; removes framing
 * fields where they mean nothing (1xx, 204, 2xx to CONNECT). Faults: UP_FRAMING,
 * UP_HEAD_LARGE. */
enum fault framing_response(struct head *h, uint8_t request_method) FAULT_CHECKED;
/* Expect of a request that has the field (RFC 9110 10.1.1): one value is known, else REQ_EXPECT;
 * HTTP/1.0 never had any. */
enum fault expect_parse(struct head *h) FAULT_CHECKED;

#endif

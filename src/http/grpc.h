/* SPDX-License-Identifier: Apache-2.0 */
/* grpc: what gRPC says in HTTP's words: which requests are calls, how long they may take, and which
 * status a call gets where HTTP has another (the protocol of gRPC over HTTP/2, and its mapping of
 * HTTP statuses). Any thread; plain values. Never sees a body. */
#ifndef WEIR_HTTP_GRPC_H
#define WEIR_HTTP_GRPC_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/fault.h"
#include "http/head.h"

enum grpc_kind {
    GRPC_NONE,
    GRPC_CALL,     /* application/grpc */
    GRPC_WEB,      /* application/grpc-web */
    GRPC_WEB_TEXT, /* application/grpc-web-text: in base64 */
};

/* Statuses of gRPC that Weir itself gives. */
enum grpc_status {
    GRPC_UNKNOWN = 2,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16,
};

/* Where a body stands that is a row of messages, each behind a flag and its length. */
struct grpc_frames {
    uint32_t length; /* as far as n bytes of the prefix say it */
    uint32_t left;   /* bytes of the present message that are still to come */
    uint8_t n;       /* bytes of the prefix that came */
};

/* What a Content-Type says, else GRPC_NONE. *format: its subtype's rest, "+proto" or empty; may be
 * NULL. */
enum grpc_kind grpc_type(struct str value, struct str *format);
/* What the Content-Type of a POST says, else GRPC_NONE. *format: its subtype's rest, "+proto" or
 * empty; may be NULL. */
enum grpc_kind grpc_kind(const struct head *h, struct str *format);
/* grpc-timeout of a call; 0: none, or not well-formed. */
usec_t grpc_timeout(const struct head *h);
/* The status of a call that failed for f (FAULT_OK: by an answer of that HTTP status alone). */
enum grpc_status grpc_status_of(enum fault f, uint16_t http);
/* Passes the next bytes of the body. */
void grpc_frames_pass(struct grpc_frames *g, struct str s);
/* No message is begun and not whole. */
static inline bool grpc_frames_between(const struct grpc_frames *g)
{
    return !g->n && !g->left;
}
/* text as grpc-message has it: percent-encoded but for visible ASCII and spaces. p NULL: memory. */
struct str grpc_message(struct arena *a, struct str text);

#endif

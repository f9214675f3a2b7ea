/* SPDX-License-Identifier: Apache-2.0 */
/* h1_parse: HTTP/1.x heads, complete-then-parse: find the end of the head, bounded, then one
 * pass over it; or that pass alone, when it meets a whole head and nothing wrong. Sans-I/O; the
 * caller owns bytes, head and arena. Any thread. Strict (RFC 9112): what two parsers could read in
 * two ways is a fault, decided here and in framing.h and nowhere else. Never repairs, never reads
 * past the bytes it is given. */
#ifndef WEIR_HTTP_H1_PARSE_H
#define WEIR_HTTP_H1_PARSE_H

#include "base/fault.h"
#include "http/head.h"

struct h1_limits {
    uint32_t head;   /* bytes of the whole head, default 32 KiB */
    uint32_t target; /* bytes of the request target, default 8 KiB */
    uint32_t fields; /* number of fields, default 100 */
};

/* How the slashes of a path are treated (route and listener option). */
enum slash_policy { SLASH_KEEP, SLASH_MERGE, SLASH_REJECT };

/* Looks for the end of the head in bytes[0,n), beginning at *scan (0 at first; updated so that no
 * byte is looked at twice). *skip is set to the bytes of empty lines before a request line (at
 * most 4 lines, RFC 9112 2.2); skip is NULL for responses, which may have none. Returns the
 * head's length behind *skip, the empty line included, or 0 when not complete: the head is
 * bytes[*skip, *skip + result). A bare LF counts as a line end so that the parser refuses it. */
size_t h1_head_end(const char *bytes, size_t n, size_t *scan, size_t *skip);

/* Why a request head that has no end within limits->head is refused: REQ_TARGET_LONG when its
 * target alone is too long, else REQ_HEAD_LARGE. bytes: what came, skipped lines left out. */
enum fault h1_head_overflow(struct str bytes, const struct h1_limits *limits) FAULT_CHECKED;
/* For a request head that is not complete yet (h1_head_end gave 0; skipped lines left out): the
 * fault when what is there can become none, so that nobody waits for the rest: HTTP/0.9, a first
 * line with a bare LF or no version, or TLS on a cleartext port. OK says nothing. */
enum fault h1_request_early(struct str bytes) FAULT_CHECKED;
/* The same for a response head: UP_HEAD unless it begins with "HTTP/1.". */
enum fault h1_response_early(struct str bytes) FAULT_CHECKED;
/* Parses the request head bytes[0,n) (as found above, without the skipped lines) into h, whose
 * arena is used for rewritten paths and fields. Fills everything: method, target (normalised path,
 * query), authority and host (absolute form replaces Host, in the field too), framing, keep_alive,
 * expect, upgrade, te. scheme is the listener's; a target with the other one is
 * REQ_MISDIRECTED. MEMORY when the arena refuses. */
enum fault h1_parse_request(struct head *h, struct arena *a, struct str bytes, struct str scheme,
                            const struct h1_limits *limits) FAULT_CHECKED;
/* Parses a response head. request_method decides the body (HEAD, CONNECT). UP_HEAD, UP_HEAD_LARGE,
 * UP_FRAMING, MEMORY. */
enum fault h1_parse_response(struct head *h, struct arena *a, struct str bytes,
                             uint8_t request_method, const struct h1_limits *limits) FAULT_CHECKED;
/* The same when bytes begin with a whole head that is good, which nearly always is so: its length,
 * in one pass. Else 0, which says nothing (h is then empty): look for the end of the head. Before,
 * h was cleared or holds an earlier head. */
size_t h1_take_request(struct head *h, struct arena *a, struct str bytes, struct str scheme,
                       const struct h1_limits *limits) __attribute__((warn_unused_result));
/* The same for a response head. */
size_t h1_take_response(struct head *h, struct arena *a, struct str bytes, uint8_t request_method,
                        const struct h1_limits *limits) __attribute__((warn_unused_result));
/* Parses field lines (trailers) "name: value CRLF ... CRLF" into f. which: the fault to report. */
enum fault h1_parse_fields(struct fields *f, struct str bytes, uint32_t max_fields,
                           enum fault which) FAULT_CHECKED;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* handler: what a route's C function may do with the request beside filling a reply: read its body,
 * in pieces, without blocking. Used by the library's callbacks and the admin API, on the exchange's
 * worker. Keeps no state of its own. */
#ifndef WEIR_PROXY_HANDLER_H
#define WEIR_PROXY_HANDLER_H

#include "proxy/exchange.h"

/* Reads at most n (above 0) bytes of the request's body into `to`; *got says how many. A client
 * that waits for it is told to go on, once (RFC 9110 10.1.1). IO_AGAIN: answer HOOK_WAIT; IO_EOF:
 * that was all, also with *got above 0; IO_ERR: the exchange has failed (too large for limits.body,
 * gone, malformed): answer HOOK_FAIL. */
enum io handler_read(struct exchange *x, void *to, size_t n, size_t *got)
    __attribute__((warn_unused_result));

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* websocket: the two values of a WebSocket handshake over HTTP/1.1 (RFC 6455 4), for when the other
 * side of an exchange has none (RFC 8441). Sans-I/O, any thread; the caller owns every buffer. */
#ifndef WEIR_HTTP_WEBSOCKET_H
#define WEIR_HTTP_WEBSOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define WEBSOCKET_KEY 24u    /* characters of a Sec-WebSocket-Key */
#define WEBSOCKET_ACCEPT 28u /* characters of a Sec-WebSocket-Accept */

/* A key of 16 bytes that nobody needs to guess. */
void websocket_key(char key[WEBSOCKET_KEY], const uint8_t random[16]);
/* The answer to key; false: it is no key (RFC 6455 4.2.2). */
bool websocket_accept(struct str key, char accept[WEBSOCKET_ACCEPT]);
/* accept is the answer to key (RFC 6455 4.2.2). */
bool websocket_accepts(struct str key, struct str accept);

#endif

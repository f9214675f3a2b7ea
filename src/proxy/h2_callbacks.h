/* SPDX-License-Identifier: Apache-2.0 */
/* h2_callbacks: what nghttp2 calls while an h2_conn is fed or asked for frames. Part of h2_conn,
 * for its use only; worker thread. Never frees a stream and never calls back into nghttp2 but to
 * queue. */
#ifndef WEIR_PROXY_H2_CALLBACKS_H
#define WEIR_PROXY_H2_CALLBACKS_H

#include <stdbool.h>

#include <nghttp2/nghttp2.h>

struct h2_conn;

/* A frame of the peer's begins; before nghttp2 sees it, which passes some over in silence. False:
 * the connection ends. */
bool h2_frame_begins(struct h2_conn *c, const nghttp2_frame_hd *hd);
/* Fills in every callback; user data is the struct h2_conn. */
void h2_callbacks_set(nghttp2_session_callbacks *calls);
/* The body provider of responses; its source is not used. */
ssize_t h2_read_body(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
                     nghttp2_data_source *source, void *user);

#endif

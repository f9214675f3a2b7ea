/* SPDX-License-Identifier: Apache-2.0 */
/* grpc_reply: what Weir itself says to a gRPC call: its answers in gRPC's words, and the status
 * of a call whose answer has begun and cannot go on. For the steps of an exchange; worker thread.
 * Never changes what an endpoint answered. */
#ifndef WEIR_PROXY_GRPC_REPLY_H
#define WEIR_PROXY_GRPC_REPLY_H

#include "http/grpc.h"
#include "proxy/exchange.h"

/* Makes h, the head of an answer by Weir, one of gRPC: 200 with a status and a message, no body.
 * Answers that went well are left alone: they are no calls. */
enum fault grpc_reply(struct exchange *x, struct head *h) FAULT_CHECKED;
/* A call's answer came from an endpoint: its messages are followed from here on. */
void grpc_follow(struct exchange *x);
/* A call whose answer has begun failed for f: ends it with trailers that say so, where what the
 * client got so far is whole messages. True: the end is queued, and step stream waits for it to
 * leave. False: nothing was written; only a broken stream tells the truth. */
bool grpc_end(struct exchange *x, enum fault f);

#endif

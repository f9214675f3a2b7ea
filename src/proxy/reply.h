/* SPDX-License-Identifier: Apache-2.0 */
/* reply: an answer made by Weir itself: by a route (redirect, fixed reply, C function), a
 * feature, or a fault. Filled in an exchange, written by STEP_REPLY. Worker thread. */
#ifndef WEIR_PROXY_REPLY_H
#define WEIR_PROXY_REPLY_H

#include "base/io.h"
#include "http/head.h"

struct exchange;
struct chain;

struct reply {
    uint16_t status;
    struct fields fields; /* besides framing, Date and Connection */
    struct str body;      /* constant or arena bytes; used when produce is NULL */
    /* Streams the body: appends to out; IO_OK: more later in this run, IO_AGAIN: call me after
     * exchange_wake, IO_EOF: the end, IO_ERR: abort visibly. */
    enum io (*produce)(struct exchange *x, void *arg, struct chain *out);
    void *arg;
    bool close; /* the connection ends after it */
};

/* Starts an empty reply of that status in x. */
void reply_init(struct exchange *x, uint16_t status);
/* A complete text reply: type and body are constants or arena views. False: memory. */
bool reply_text(struct exchange *x, uint16_t status, struct str type, struct str body)
    __attribute__((warn_unused_result));
/* The reply that a fault is answered with: status, reason code in the body and in Proxy-Status. */
void reply_fault(struct exchange *x, enum fault f);

#endif

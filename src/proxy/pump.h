/* SPDX-License-Identifier: Apache-2.0 */
/* pump: body bytes from one leg to the other, with a high and a low mark: bytes, framing and a
 * verdict, nothing else. Two an exchange. Worker thread. Holds at most its mark of bytes (the
 * sink's queue included), and at most the sink's share of its connection. */
#ifndef WEIR_PROXY_PUMP_H
#define WEIR_PROXY_PUMP_H

#include "base/buf.h"
#include "net/conn.h"
#include "proxy/leg.h"
#include "proxy/window.h"

enum pump_verdict {
    PUMP_WAIT,       /* waits for either leg (or memory) */
    PUMP_DONE,       /* everything was read, queued and taken by the kernel */
    PUMP_SOURCE_ERR, /* source->fault */
    PUMP_SINK_ERR,   /* sink->fault */
    PUMP_HOOK,       /* a data hook waits or failed (x->fault) */
};

enum pump_state {
    PUMP_IDLE,   /* not started */
    PUMP_COPY,   /* moving blocks */
    PUMP_SPLICE, /* moving by splice(2) */
    PUMP_FLUSH,  /* source ended, end written, sink still holds bytes */
    PUMP_ENDED,
};

struct pump {
    struct leg *source, *sink;
    uint8_t state;          /* enum pump_state */
    uint8_t direction;      /* enum direction */
    uint8_t hook_at;        /* of the data hooks, which one waits */
    bool hooked;            /* held was counted, and a data hook waits with it */
    struct chain held;      /* read, not yet written (hooks may keep bytes here) */
    struct window window;   /* stop reading at so many bytes held and queued */
    uint64_t bytes;         /* body bytes moved */
    struct pipe_pair *pipe; /* only while bytes are in it */
    usec_t waiting_since;   /* bytes wait in the sink since then; 0: none (for min_rate) */
    uint64_t rate_bytes;    /* moved since the rate window began */
    bool no_splice;         /* a small body, or no pipe was to be had: copy */
    bool one_block;         /* a body that fits one block, between connections: needs no window */
    bool stalled;           /* the sink has left bytes in a pipe: no large ones for it */
    bool held_up;           /* nothing is read until the sink has taken some */
    bool unsettled;         /* the message ended; the source still waits for credit */
    bool complete;          /* the source has no more: the message ends behind held */
    /* where the body of a call's answer stands; NULL: it is not followed */
    struct grpc_frames *messages;
};

#endif

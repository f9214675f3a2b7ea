/* SPDX-License-Identifier: Apache-2.0 */
/* leg: one side of an exchange as the engine sees it: a small function table that joins a
 * connection to a codec. leg_h1.c serves both sides of HTTP/1.1, leg_fetch.c is a client that
 * is a piece of Weir itself. The exchange never sees a socket or a protocol version. Lives in
 * the exchange's arena; worker thread. Writes are queued and leave once, after the run queue.
 * Every event wakes the exchange, nothing else. */
#ifndef WEIR_PROXY_LEG_H
#define WEIR_PROXY_LEG_H

#include "base/buf.h"
#include "base/io.h"
#include "http/head.h"
#include "upstream/endpoint.h"

struct exchange;
struct leg;
struct conn;

struct leg_ops {
    const char *name;
    /* The next head. IO_OK: *h, which was cleared or holds the one before, is filled (an interim
     * response counts); IO_AGAIN; IO_EOF: the peer ended before the first byte; IO_ERR:
     * leg->fault. */
    enum io (*read_head)(struct leg *l, struct head *h);
    /* Body bytes, at most max, moved to the end of into. IO_OK: at least one; IO_AGAIN; IO_EOF:
     * the message is complete with what was moved, if anything (trailers in leg->trailers);
     * IO_ERR: leg->fault. */
    enum io (*read_block)(struct leg *l, struct chain *into, size_t max);
    /* Queues a 1xx head. */
    enum fault (*write_interim)(struct leg *l, const struct head *h);
    /* Queues the head; h->body says how the body will be framed. */
    enum fault (*write_head)(struct leg *l, const struct head *h);
    /* Queues all of from (emptied) as body bytes. */
    enum fault (*write_block)(struct leg *l, struct chain *from);
    /* Ends the message; trailers may be NULL or empty. */
    enum fault (*write_end)(struct leg *l, const struct fields *trailers);
    /* Bytes queued that the kernel has not taken. */
    size_t (*queued)(const struct leg *l);
    /* How many bytes the peer itself has taken, from any beginning: the kernel, which is asked, may
     * hold megabytes for it. NULL: bytes_out is all that is known. */
    uint64_t (*arrived)(struct leg *l);
    /* Writes what is queued now, not after the run queue; more: what is spliced behind it comes at
     * once, so that both may leave in one segment. NULL: nothing ever waits here. */
    void (*flush)(struct leg *l, bool more);
    /* From now on bytes are passed as they are, both ways. */
    void (*tunnel)(struct leg *l);
    /* Tunnel only: ends our sending side when everything queued has left. */
    void (*half_close)(struct leg *l);
    /* The peer's connection broke or, when half, it ended its sending side (looked at between
     * reads: client abort). */
    bool (*gone)(const struct leg *l, bool half);
    /* Lets go of the connection: kept for reuse when the message ended in order and keep is true,
     * else closed for the reason; a message in progress is broken visibly (reset). */
    void (*close)(struct leg *l, bool keep, enum evict_reason why);
    /* The plain connection for splice(2), or NULL; *raw is the number of body bytes that may be
     * taken off it as they are (UINT64_MAX: until close). */
    struct conn *(*splice_source)(struct leg *l, uint64_t *raw);
    /* The plain connection to splice into, or NULL while bytes are queued or framing is chunked. */
    struct conn *(*splice_sink)(struct leg *l);
    /* n body bytes went past the leg by splice, in the reading or writing direction. */
    void (*spliced)(struct leg *l, bool reading, size_t n);
    /* Of what read_block has handed on so many bytes still wait to be written: the rest is given
     * back to the peer as credit. Its window may grow up to most. NULL: TCP does that. */
    void (*taken)(struct leg *l, size_t waiting, size_t most);
    /* How many bytes of this exchange may wait for this leg, of which ahead come whatever is
     * said: its part of what its connection may hold. NULL: the connection is its own. */
    size_t (*share)(struct leg *l, size_t ahead);
    /* Of the request's body so many bytes are kept for one more attempt. False: not so many may be.
     * NULL: no limit but the exchange's own. */
    bool (*keep)(struct leg *l, size_t bytes);
};

/* Common front of every leg. */
struct leg {
    const struct leg_ops *ops;
    struct exchange *x;
    enum fault fault;             /* why IO_ERR */
    struct fields *trailers;      /* received, after IO_EOF of read_block; NULL: none */
    uint64_t bytes_in, bytes_out; /* wire bytes of this message */
    usec_t last_in, last_out;     /* when the last bytes moved */
    uint64_t had_arrived;         /* when that was last asked */
    usec_t last_arrival;          /* when it had changed; 0: never asked */
    size_t low;                   /* want_drain is answered at this many queued bytes */
    size_t ahead;                 /* bytes that the peer may send without being read */
    size_t uncredited;            /* bytes that came and were not given back by taken */
    bool copy_only;               /* its transport cannot splice(2) */
    bool want_drain;              /* wake the exchange once when queued() is at most low */
};

/* Of what was read from l so many bytes are still on their way; see leg_ops.taken. */
static inline void leg_taken(struct leg *l, size_t waiting, size_t most)
{
    if (l->ops->taken)
        l->ops->taken(l, waiting, most);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h2: one stream of an HTTP/2 connection as a leg. Body bytes come in as views of the blocks
 * that were read, and go out as the blocks that they came in: nghttp2 sees their lengths only.
 * Lives in its exchange's arena; worker thread. Credit for more DATA is given only as the other
 * side takes what came. Never touches the connection's socket. */
#ifndef WEIR_PROXY_LEG_H2_H
#define WEIR_PROXY_LEG_H2_H

#include "http/h2_head.h"
#include "proxy/exchange.h"
#include "proxy/h2_conn.h"

/* Where reading or writing of a message stands. */
enum h2_phase {
    H2_HEAD,   /* the head is next */
    H2_BODY,   /* DATA */
    H2_OFFER,  /* upstream side, writing: a tunnel was asked for; no end before the answer */
    H2_TUNNEL, /* DATA that is raw bytes */
    H2_DONE,   /* END_STREAM was read, or is queued */
    H2_BROKEN, /* leg.fault */
};

struct leg_h2 {
    struct leg leg;            /* first */
    struct h2_conn *c;         /* NULL after close */
    struct link *link;         /* upstream side; else NULL */
    struct h2_answer *answers; /* upstream side: heads that came and were not read yet */
    int32_t id;
    uint8_t reading, writing; /* enum h2_phase */
    bool head_read : 1;       /* the request's head is complete and taken apart */
    bool ended : 1;           /* the peer's END_STREAM came */
    bool closed : 1;          /* nghttp2 has no such stream any more */
    bool body_out : 1;        /* a body was announced to nghttp2 */
    bool end_sent : 1;        /* our END_STREAM was framed */
    bool extended : 1;        /* upstream side: asked for by extended CONNECT */
    bool filled : 1;          /* the peer used half of its window since it last grew */
    uint32_t unsent_heads;    /* HEADERS queued, not yet framed */
    uint32_t window;          /* bytes that the peer may be ahead of the other side */
    size_t claimed;           /* client side: what c->windows has of this leg */
    size_t kept;              /* client side: what c->replays has of this leg */
    size_t excess;            /* client side: what c->excess has of this leg */
    size_t coming;            /* client side: what the upstream may send without being read */
    uint64_t arrivals;        /* bytes of the connection that arrived while the stream had credit */
    uint64_t arrivals_seen;   /* of h2_conn_arrived when it was last asked */
    uint64_t left;            /* of Content-Length; LENGTH_NONE: not said */
    struct h2_reader reader;
    struct fields trailer_fields;
    const struct fields *trailers_out; /* to be sent behind out */
    struct chain in, out;
    struct timer timer; /* the exchange's deadlines */
    struct list_node node;
};

/* The client's side of x: stream id of c. Attached to c. NULL: memory. */
struct leg_h2 *leg_h2_client(struct exchange *x, struct h2_conn *c, int32_t id);

/* The upstream's side over a lent link that is shared. NULL: memory. */
__attribute__((noinline)) struct leg *leg_h2_upstream(struct exchange *x, struct link *link);
/* What nghttp2 says of the end of its stream: code of RFC 9113 7. */
void leg_h2_up_closed(struct leg_h2 *h, uint32_t code);
/* The two halves of the upstream's side where it differs. Begins to read a head; false: memory. */
bool leg_h2_up_begins(struct leg_h2 *h);
/* A head is complete: takes it apart. */
void leg_h2_up_ends(struct leg_h2 *h, bool end_stream);
/* The next head that came. */
enum io leg_h2_up_read_head(struct leg *l, struct head *head);
/* Opens the stream. */
enum fault leg_h2_up_write_head(struct leg *l, const struct head *head);
/* The request's head was framed: the endpoint knows of the stream. */
void leg_h2_up_opened(struct leg_h2 *h);
/* Nothing can be sent on the stream any more. */
static inline bool leg_h2_is_shut(const struct leg_h2 *h)
{
    return !h->c || h->closed || h->c->ending || h->c->dead;
}

/* What h2_conn passes on. A header block of this stream begins: the first, or trailers. */
void leg_h2_head_begins(struct leg_h2 *h);
/* It is complete. */
void leg_h2_head_ends(struct leg_h2 *h, bool end_stream);
/* DATA in block b. */
void leg_h2_data(struct leg_h2 *h, struct block *b, const char *p, size_t n);
/* END_STREAM on DATA. */
void leg_h2_ended(struct leg_h2 *h);
/* The stream is over before its time; f decides the exchange. */
void leg_h2_break(struct leg_h2 *h, enum fault f);
/* nghttp2 framed HEADERS or DATA of n bytes with these flags. */
void leg_h2_framed(struct leg_h2 *h, uint8_t type, uint8_t flags, size_t n);

/* What a submission to nghttp2 came to. */
enum fault leg_h2_submitted(struct leg_h2 *h, int answer) FAULT_CHECKED;
/* The two halves, for the table in leg_h2.c; promises as in leg.h. */
enum io leg_h2_read_head(struct leg *l, struct head *head);
/* Credit comes with leg_h2_taken. */
enum io leg_h2_read_block(struct leg *l, struct chain *into, size_t max);
/* Gives credit for what does not wait any more. */
void leg_h2_taken(struct leg *l, size_t waiting, size_t most);
/* The peer knows of another first window: nghttp2 has changed those of open streams. */
void leg_h2_window_changed(struct leg_h2 *h);
/* The stream's peer may be so many bytes ahead. */
void leg_h2_set_window(struct leg_h2 *h, uint32_t bytes);
/* The credit of the connection for what did not get any: the stream ends. */
void leg_h2_forgive(struct leg_h2 *h);
/* Queues a 1xx head. */
enum fault leg_h2_write_interim(struct leg *l, const struct head *head);
/* Queues the head. */
enum fault leg_h2_write_head(struct leg *l, const struct head *head);
/* Queues body bytes. */
enum fault leg_h2_write_block(struct leg *l, struct chain *from);
/* Queues the end of the message. */
enum fault leg_h2_write_end(struct leg *l, const struct fields *trailers);
/* The part of this stream in what its client's connection may hold. */
size_t leg_h2_share(struct leg *l, size_t ahead);
/* Of a request's body so many bytes are to be kept for one more attempt; false: too many. */
bool leg_h2_keep(struct leg *l, size_t bytes);
/* Counts what waits for the client anew. */
void leg_h2_recount(struct leg_h2 *h);
/* nghttp2's question how much of the body there is; may end it, trailers queued. */
ssize_t leg_h2_body_length(struct leg_h2 *h, size_t max, uint32_t *flags);

#endif

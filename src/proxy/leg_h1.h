/* SPDX-License-Identifier: Apache-2.0 */
/* leg_h1: the HTTP/1.1 leg, for either side: joins a net/conn to the h1 codec. Reads heads and
 * bodies as views into blocks, writes heads from values, queues output and writes it once,
 * after the run queue. Lives in the exchange's arena; worker thread. */
#ifndef WEIR_PROXY_LEG_H1_H
#define WEIR_PROXY_LEG_H1_H

#include "http/chunk.h"
#include "proxy/exchange.h"
#include "proxy/session.h"
#include "upstream/link.h"

/* Where reading or writing of a message stands. */
enum h1_phase {
    H1_HEAD,   /* the head is next (or an interim one) */
    H1_LENGTH, /* left bytes of a body */
    H1_CHUNKED,
    H1_CLOSE,  /* until the connection ends */
    H1_TUNNEL, /* raw */
    H1_DONE,   /* the message is complete */
    H1_BROKEN, /* no more of it: fault */
};

struct leg_h1 {
    struct leg leg;          /* first */
    struct session *session; /* client side; else NULL */
    struct link *link;       /* upstream side; else NULL */
    struct block *in;        /* being read; unread bytes are [in_at, in->fill) */
    uint32_t in_at;
    uint8_t reading, writing; /* enum h1_phase */
    uint8_t peer_method;      /* upstream side: the request's method, for the response's framing */
    bool peer_10;             /* the peer speaks HTTP/1.0 */
    bool said_close;          /* we wrote Connection: close */
    bool shut;                /* end our sending side once out is empty */
    bool surplus;             /* bytes came behind a complete answer */
    bool head_apart;          /* a large body is expected: little of it is read with the head */
    size_t scan;              /* h1_head_end's memory */
    struct chain out;
    struct task flush;

    /* set at birth */
    struct conn *conn; /* NULL after close */
    struct worker *worker;
    const struct h1_limits *limits;
    /* of a body of known length, and undefined before */
    uint64_t read_left, write_left;
    char *behind; /* room for write_left bytes of a small one, behind its head; NULL: none */
    /* of a body that comes chunked, and undefined before */
    struct chunk_decoder chunk;
    struct fields trailer_fields;
    struct str hop_names; /* what the head's Connection fields name: no trailer goes on either */
};

/* The client's side of x over session s, taking over bytes that s had read ahead. NULL: memory. */
struct leg *leg_h1_client(struct exchange *x, struct session *s);
/* The upstream's side over a lent link. NULL: memory. */
struct leg *leg_h1_upstream(struct exchange *x, struct link *link);
/* Events of the session's connection while an exchange has it. */
void leg_h1_event(struct leg *l, unsigned events);

/* The two halves, for the table in leg_h1.c; promises as in leg.h. Reads a head. */
enum io leg_h1_read_head(struct leg *l, struct head *h);
/* Reads body bytes as views into the block they were read into. */
enum io leg_h1_read_block(struct leg *l, struct chain *into, size_t max);
/* Queues a 1xx head. */
enum fault leg_h1_write_interim(struct leg *l, const struct head *h);
/* Queues the head and settles the framing of what follows. */
enum fault leg_h1_write_head(struct leg *l, const struct head *h);
/* Queues body bytes, framed. */
enum fault leg_h1_write_block(struct leg *l, struct chain *from);
/* Queues the end of the message. */
enum fault leg_h1_write_end(struct leg *l, const struct fields *trailers);
/* The late-queue task: writes what is queued. */
void leg_h1_flush(struct task *t);

#endif

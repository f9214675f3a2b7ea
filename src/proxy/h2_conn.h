/* SPDX-License-Identifier: Apache-2.0 */
/* h2_conn: one HTTP/2 connection over a net/conn, as a server or as a client: owns the nghttp2
 * session, feeds it what is read, queues what it frames, writes once a turn, and keeps the budgets.
 * Streams are legs (leg_h2.h), one exchange each. Embedded in its user (h2_session for clients,
 * h2_link for upstreams), who knows what the connection is for. Worker thread. Never runs an
 * exchange, never closes the conn. */
#ifndef WEIR_PROXY_H2_CONN_H
#define WEIR_PROXY_H2_CONN_H

#include <nghttp2/nghttp2.h>

#include "base/heap.h"
#include "http/h1_parse.h"
#include "http/h2_budget.h"
#include "net/conn.h"
#include "proxy/worker.h"

#define H2_OVER 32u

/* What is held for one client connection at most, 2 MiB. Half of it is what the client may send
 * ahead of the upstreams: the connection's window, which is opened again as they take the bytes.
 * H2_SPARE of it is given only when the windows of open uploads are more than the rest; then each
 * stream begins with an even part of it, so that none is without because others are stuck. */
#define H2_HELD (2u * 1024 * 1024)
#define H2_WINDOW_BYTES (H2_HELD / 2)
#define H2_SPARE (192u * 1024)
#define H2_WINDOWS (640u * 1024) /* windows of streams do not grow beyond, in all */
/* Half is what waits for the client: about 96 KiB of frames, bodies of requests that are kept for
 * one more attempt, and of each answer its floor and what leg_h2_share gives. */
#define H2_REPLAYS (128u * 1024)
#define H2_SHARED (352u * 1024) /* of answers beyond their floors */
#define H2_FLOORS (448u * 1024) /* split evenly over max_streams */

struct h2_conn;
struct leg_h2;

/* What the user of a connection is told. */
struct h2_conn_ops {
    /* The head of a new request begins: its stream, or NULL when it is not taken. */
    struct leg_h2 *(*begin)(struct h2_conn *c, int32_t id);
    /* The head of a request that was not taken is complete: answer or refuse it. */
    void (*refused)(struct h2_conn *c, int32_t id);
    /* Something changed: look at timers and at whether it is over (c->dead: every stream was told;
     * nothing is read or written any more). From the loop, never from inside a parser. */
    void (*changed)(struct h2_conn *c);
    /* A frame came that concerns the connection (SETTINGS, PING, GOAWAY), perhaps from inside the
     * parser: to be noted only. frame NULL: the connection ends. heard NULL: nothing is of
     * interest. */
    void (*heard)(struct h2_conn *c, const nghttp2_frame *frame);
};

struct h2_conn {
    struct conn *conn;
    struct worker *worker;
    const struct h2_conn_ops *ops;
    nghttp2_session *ng;
    struct heap heap;    /* what nghttp2 holds */
    struct list streams; /* struct leg_h2.node */
    uint32_t n_streams;
    uint32_t max_streams;  /* said to the peer and kept to here */
    uint32_t stream_bytes; /* window of a new stream */
    uint32_t unacked;      /* SETTINGS of ours that the peer has not acknowledged */
    uint32_t n_uploads;    /* request bodies that have a part in windows */
    size_t windows;        /* of all request bodies that are open, or what came of them if more */
    size_t replays;        /* bytes of request bodies kept for one more attempt */
    size_t withheld;       /* DATA of these that came and is on its way: no credit for it yet */
    size_t excess;         /* bytes beyond their floors that wait for a client, all streams */
    size_t frame_left;     /* bytes that are still to come of the preface or frame being read */
    uint8_t front[9];      /* the beginning of a frame's front */
    uint8_t n_front;
    struct block *in;  /* being fed: what callbacks are given lies in it */
    struct chain out;  /* framed, not yet taken by the kernel */
    struct str rest;   /* of nghttp2's last frame, when memory for it was refused */
    struct task flush; /* late queue: the one write of the turn */
    struct task again; /* read on after the others had their turn */
    struct h2_budget budget;
    enum fault fault;  /* why the connection ends by our will; FAULT_OK */
    uint64_t unread;   /* decoded bytes of a header block that no stream takes */
    usec_t head_since; /* a header block is incomplete since then; 0: none is */
    usec_t last_out;   /* when out was last empty or shrank, or bytes were seen to arrive */
    usec_t asked;      /* whether they do */
    uint64_t written;  /* bytes that the kernel was given */
    uint64_t arrived;  /* of these, when that was last asked */
    usec_t last_in;    /* when the last byte came */
    int32_t last_id;   /* highest stream that the peer opened */
    /* Streams on which the peer has nothing more to say, the latest of them, in a ring: those that
     * it ended or reset; as negative numbers those that it passed over. */
    int32_t over[H2_OVER];
    uint32_t n_over;
    bool upstream : 1; /* we are the client: the peer is an endpoint */
    bool longer : 1;   /* upstream: the last answer that ended was longer than stream_bytes */
    bool narrow : 1;   /* new streams begin with a part of H2_SPARE */
    bool settled : 1;  /* our first SETTINGS was framed */
    bool greeted : 1;  /* a frame of the peer's was read */
    bool starved : 1;  /* memory was refused: try again soon */
    bool ending : 1;   /* GOAWAY with an error was queued: nothing more is read */
    bool told : 1;     /* the streams, of the end; it is counted */
    bool dead : 1;
};

/* A server's side over conn, which the caller keeps and passes events of; queues SETTINGS.
 * False: memory. */
bool h2_conn_init(struct h2_conn *c, struct worker *w, struct conn *conn,
                  const struct h2_conn_ops *ops, uint32_t max_streams)
    __attribute__((warn_unused_result));
/* The client's side, to an endpoint. False: memory. */
bool h2_conn_init_upstream(struct h2_conn *c, struct worker *w, struct conn *conn,
                           const struct h2_conn_ops *ops) __attribute__((warn_unused_result));
/* What f, told of a client, is when the peer is an endpoint. */
enum fault h2_conn_blame(const struct h2_conn *c, enum fault f) FAULT_CHECKED;
/* Says GOAWAY, writes what the kernel takes now, and is dead. No stream may be left. */
void h2_conn_leave(struct h2_conn *c);
/* Frees what it owns; no stream may be left. At the end of a turn only. */
void h2_conn_fini(struct h2_conn *c);
/* Takes bytes that were read from conn before (block's reference stays the caller's). */
void h2_conn_feed(struct h2_conn *c, struct block *b, const char *p, size_t n);
/* Events of the conn; also to be called with 0 to try again after memory was refused. */
void h2_conn_event(struct h2_conn *c, unsigned events);
/* How many bytes the peer itself has taken (conn_under_way). */
uint64_t h2_conn_arrived(const struct h2_conn *c);
/* Something was queued: it leaves at the end of the turn. */
void h2_conn_wrote(struct h2_conn *c);
/* DATA came or was taken: gives the connection credit for what is not withheld. */
void h2_conn_credit(struct h2_conn *c);
/* The window of a new stream is to be so many bytes, and those of open ones differ by as much; the
 * peer knows it before it hears of a stream that is opened behind this. */
void h2_conn_first_window(struct h2_conn *c, uint32_t bytes);
/* The windows of uploads have changed: narrow or wide? */
void h2_conn_weigh(struct h2_conn *c);
/* The peer acknowledged SETTINGS. */
void h2_conn_acknowledged(struct h2_conn *c);
/* What each of max_streams answers may have waiting, whatever the others have. */
static inline size_t h2_floor(uint32_t max_streams)
{
    size_t n = H2_FLOORS / max_streams;
    return n ? n : 1;
}
/* Ends the connection with GOAWAY: code of f (ENHANCE_YOUR_CALM for floods); every stream fails. */
void h2_conn_fail(struct h2_conn *c, enum fault f);
/* The same for a rule that the peer broke, with an error code of RFC 9113 7. */
void h2_conn_error(struct h2_conn *c, uint32_t code);
/* Ends it at once: nothing can be written any more. */
void h2_conn_die(struct h2_conn *c, enum fault f);
/* One event of the budget; false: spent, the connection ends. */
bool h2_conn_charge(struct h2_conn *c, enum h2_event e);

#endif

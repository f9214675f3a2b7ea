/* SPDX-License-Identifier: Apache-2.0 */
/* conn: one byte-stream connection behind a vtable (plain, or TLS: net/tls.h), joined to a loop.
 * Embedded in its owner (session, link); owner's loop thread only. Keeps the edge-triggered
 * bookkeeping: may_read/may_write say whether a call could make progress, so that no probe
 * call is made after a short read or write. Knows no HTTP and never allocates. */
#ifndef WEIR_NET_CONN_H
#define WEIR_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/fault.h"
#include "base/io.h"
#include "base/panic.h"
#include "base/str.h"
#include "net/loop.h"

#define CONN_IOV_MAX 64 /* most pieces of one conn_writev */

struct conn;

/* The transport. All calls are non-blocking and answer enum io; *n is the bytes moved. read and
 * writev keep may_read, may_write, last_short, broken and reset; what is NULL is not needed. */
struct conn_ops {
    const char *name;
    enum io (*read)(struct conn *c, void *to, size_t max, size_t *n);
    enum io (*writev)(struct conn *c, const struct iovec *iov, int n_iov, size_t *n);
    bool (*pending)(const struct conn *c); /* decoded bytes wait inside the transport */
    enum io (*handshake)(struct conn *c, enum fault *fault);
    struct str (*alpn)(const struct conn *c);
    bool (*quiet)(struct conn *c); /* bytes came, but none of them is for the owner */
    void (*shutdown_write)(struct conn *c);
    void (*close)(struct conn *c); /* frees the transport's state; conn closes the fd. An orderly
                                    * end is said to the peer unless c is broken */
    bool splice; /* raw bytes are the message bytes: splice(2) may be used on fd */
};

extern const struct conn_ops conn_plain;

struct conn {
    struct watch watch; /* first: on_event gets &conn->watch; its own on_event updates the flags */
    void (*on_event)(struct watch *w, unsigned events); /* the owner's, called after that */
    struct loop *loop; /* NULL while detached (handed between workers) */
    const struct conn_ops *ops;
    void *transport;     /* of ops (TLS state) */
    bool may_read : 1;   /* EV_READ seen since the last IO_AGAIN or short read */
    bool may_write : 1;  /* no IO_AGAIN since the last EV_WRITE */
    bool hup : 1;        /* peer ended its sending side; bytes may still be unread */
    bool lost : 1;       /* both sides are over: nobody hears what is written */
    bool eof : 1;        /* IO_EOF was returned */
    bool broken : 1;     /* IO_ERR was returned */
    bool unread : 1;     /* a write failed: bytes that came before may still be read */
    bool torn : 1;       /* it was reset before the peer ended its side: no end is an orderly one */
    bool reset : 1;      /* it broke by a reset (or a write after the peer's close) */
    bool last_short : 1; /* last read returned less than asked for: the socket was empty then */
    bool write_shut : 1; /* shutdown_write was called */
    bool connecting : 1; /* connect(2) in progress */
    bool room_unasked : 1; /* the loop does not tell of EV_WRITE yet: see conn_filled */
    int more; /* MSG_MORE around a write behind which the owner writes again at once; else 0 */
};

/* Embeds fd (owned from now on, closed on failure) in c, registered with loop; on_event is called
 * after the flags above are updated. The caller zeroes c and sets connecting, may_read,
 * room_unasked and transport before; they are kept. may_write starts true unless connecting.
 * room_unasked spares one that is connected, and whose owner does not wait for EV_WRITE before the
 * first write, an event. */
bool conn_init(struct conn *c, struct loop *loop, int fd, const struct conn_ops *ops,
               void (*on_event)(struct watch *w, unsigned events))
    __attribute__((warn_unused_result));
/* Registers a connection that conn_detach took off another loop. */
bool conn_attach(struct conn *c, struct loop *loop) __attribute__((warn_unused_result));
/* Takes c off its loop, fd stays open: for handing it to another worker by loop_post. */
void conn_detach(struct conn *c);
/* Deregisters and closes; harmless twice. The memory must outlive the turn. */
void conn_close(struct conn *c);
/* After EV_WRITE on a connecting c: its end (sock_connect_result); connecting becomes false. */
enum fault conn_connected(struct conn *c) FAULT_CHECKED;
/* Closes with a reset (RST) instead of an orderly end. */
void conn_reset(struct conn *c);
/* Reads up to max bytes. IO_AGAIN at once when !may_read and nothing is pending. */
enum io conn_read(struct conn *c, void *to, size_t max, size_t *n);
/* Raw bytes that wait in the socket, at most max, left there: for what comes before a transport or
 * a message (PROXY header, ClientHello). IO_OK with *n of them, whether they are new or not;
 * IO_AGAIN: none; IO_EOF, IO_ERR. Events tell of more. */
enum io conn_peek(struct conn *c, void *to, size_t max, size_t *n);
/* Drops the first n bytes, which conn_peek has shown (0: none of them), and lets what is behind
 * them be read. False: broken. */
bool conn_skip(struct conn *c, size_t n) __attribute__((warn_unused_result));
/* For transports: a write found the socket full. may_write is false until EV_WRITE. */
RARE void conn_filled(struct conn *c);
/* Writes from iov (1 to CONN_IOV_MAX pieces). IO_OK with *n possibly short; IO_AGAIN when nothing
 * could be written. */
enum io conn_writev(struct conn *c, const struct iovec *iov, int n_iov, size_t *n);
/* Writes what it can of out, which is not empty, in one call, and drops that from out. IO_OK: some
 * of it; IO_AGAIN, IO_ERR: nothing. */
enum io conn_send(struct conn *c, struct chain *out, struct buf_pool *bp);
/* One step of making the connection ready to carry bytes, called again after events until it is
 * IO_OK (at once for plain). IO_ERR: *fault says why; close it. */
enum io conn_handshake(struct conn *c, enum fault *fault);
/* The protocol agreed on by ALPN (RFC 7301); empty: none. */
struct str conn_alpn(const struct conn *c);
/* How many of the bytes that the kernel was given it still holds: the peer has not taken them. */
size_t conn_under_way(const struct conn *c);
/* Ends the sending side. */
void conn_shutdown_write(struct conn *c);
/* One recv(MSG_PEEK): true when the socket is open and no byte waits that is for the owner. An end
 * that it saw is in c->hup. */
__attribute__((noinline)) bool conn_is_quiet(struct conn *c);
/* True when a read could make progress now. */
static inline bool conn_readable(const struct conn *c)
{
    return c->may_read || c->hup || c->broken || (c->ops->pending && c->ops->pending(c));
}
/* The fd, or -1. */
static inline int conn_fd(const struct conn *c)
{
    return c->watch.fd;
}

/* A kernel pipe for splice(2), pooled by the worker and charged to its account. */
struct pipe_pair {
    struct pipe_pair *next; /* of the owner's list of parked pipes */
    int rd, wr;
    size_t bytes; /* counted, so that EAGAIN is never misread */
    size_t cap;   /* bytes it can hold */
};
/* Opens a pipe of about cap bytes; false: no fds. */
bool pipe_open(struct pipe_pair *p, size_t cap) __attribute__((warn_unused_result));
/* Makes it hold about cap bytes; false: refused, or what is in it would not fit. */
bool pipe_resize(struct pipe_pair *p, size_t cap);
/* Closes both ends. */
void pipe_close(struct pipe_pair *p);
/* Socket to pipe, at most max bytes. IO_AGAIN with bytes in the pipe may mean a full pipe: drain it
 * and call again; with an empty one the socket has nothing. */
enum io conn_splice_in(struct conn *c, struct pipe_pair *p, size_t max, size_t *n);
/* Pipe to socket, what is in the pipe (something must be). */
enum io conn_splice_out(struct conn *c, struct pipe_pair *p, size_t *n);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c: a connection behind a vtable, and the plain transport. Invariants:
 * 1. watch.fd >= 0 and loop != NULL: registered. watch.fd >= 0 and loop == NULL: detached.
 *    watch.fd == -1: closed.
 * 2. may_read is false only when the kernel will report new bytes by an edge: after EAGAIN, or a
 *    short read of a socket whose end was not announced. may_write likewise: after EAGAIN, or a
 *    short write (the kernel then saw a full buffer and remembers to tell).
 *    room_unasked: no write found the socket full yet, and may_write is true.
 * 3. eof is final. broken is final for writing; after a failed write (unread) reads go on until
 *    they fail too: the peer's answer may have arrived before its reset. What it had not ended
 *    before that reset (torn) is never taken for complete.
 * 4. pipe_pair.bytes is what was spliced in and not yet out. */
#include "net/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/panic.h"
#include "base/test_hooks.h"
#include "net/sock.h"
#include "net/sys.h"

#define JOIN_MAX 4096u                /* bytes of a chain that are sent as one copy of it */
#define PIPE_DEFAULT_CAP (64u * 1024) /* what the kernel gives without asking */

void conn_filled(struct conn *c)
{
    c->may_write = false;
    if (c->room_unasked)
        loop_watch_write(c->loop, &c->watch);
    c->room_unasked = false;
}

/* Turns a failed call's error into an answer; the flags follow. */
static enum io fail(struct conn *c, int error)
{
    c->unread |= !c->broken;
    c->broken = true;
    c->reset = error == ECONNRESET || error == EPIPE;
    c->torn |= error == ECONNRESET; /* EPIPE: the peer's end had come before its reset */
    return IO_ERR;
}

/* A read found the end. The kernel tells of a reset once: when a write was told, reads see an end
 * like any other behind the bytes that came before. */
static enum io ended(struct conn *c)
{
    if (__builtin_expect(!c->torn, 1))
        return IO_EOF;
    c->unread = false;
    return IO_ERR;
}

/* recv, send and sendmsg without the C library's wrappers: as points of thread cancellation, which
 * nobody uses here, they cost more than the rest of a read. */

static enum io plain_read(struct conn *c, void *to, size_t max, size_t *n);
static enum io plain_writev(struct conn *c, const struct iovec *iov, int n_iov, size_t *n);

/* No byte was read: got is 0 or -errno. */
RARE static enum io not_read(struct conn *c, void *to, size_t max, size_t *n, ssize_t got)
{
    if (got == -EINTR)
        return plain_read(c, to, max, n);
    if (got == 0)
        return ended(c);
    if (got != -EAGAIN) {
        enum io r = fail(c, (int) -got);
        c->unread = false;
        return r;
    }
    c->last_short = true;
    c->may_read = false;
    return IO_AGAIN;
}

static enum io plain_read(struct conn *c, void *to, size_t max, size_t *n)
{
    ssize_t got = sys_raw(SYS_recvfrom, c->watch.fd, (long) to, (long) max, 0);
    if (got <= 0)
        return not_read(c, to, max, n, got);
    *n = (size_t) got;
    if (*n == max) {
        c->last_short = false;
    } else {
        c->last_short = true;
        if (!c->hup)
            c->may_read = false;
    }
    return IO_OK;
}

static __attribute__((noinline)) ssize_t send_list(int fd, const struct iovec *iov, int n_iov,
                                                   int flags)
{
    const struct msghdr msg = {.msg_iov = (struct iovec *) (uintptr_t) iov,
                               .msg_iovlen = (size_t) n_iov};
    return sys_raw(SYS_sendmsg, fd, (long) &msg, flags, 0);
}

/* Test hooks: the first max bytes of a gather list; 0: none, the call fails. */
RARE static ssize_t send_cut(int fd, const struct iovec *iov, int n_iov, size_t max)
{
    struct iovec cut[CONN_IOV_MAX];
    int n = 0;
    while (n < n_iov && max > 0) {
        cut[n] = iov[n];
        if (cut[n].iov_len > max)
            cut[n].iov_len = max;
        max -= cut[n++].iov_len;
    }
    return n ? send_list(fd, cut, n, MSG_NOSIGNAL) : -errno;
}

/* No byte was written: sent is -errno. */
RARE static enum io not_written(struct conn *c, const struct iovec *iov, int n_iov, size_t *n,
                                ssize_t sent)
{
    if (sent == -EINTR)
        return plain_writev(c, iov, n_iov, n);
    if (sent != -EAGAIN)
        return fail(c, (int) -sent);
    conn_filled(c);
    return IO_AGAIN;
}

static enum io plain_writev(struct conn *c, const struct iovec *iov, int n_iov, size_t *n)
{
    size_t total = iov->iov_len;
    for (int i = 1; i < n_iov; i++)
        total += iov[i].iov_len;
    size_t limit = test_call_fails(TEST_send) ? 0 : test_io_limit(total);
    const int flags = MSG_NOSIGNAL | c->more;
    ssize_t sent;
    if (limit < total)
        sent = send_cut(c->watch.fd, iov, n_iov, limit);
    else if (n_iov == 1)
        sent = sys_raw(SYS_sendto, c->watch.fd, (long) iov->iov_base, (long) total, flags);
    else
        sent = send_list(c->watch.fd, iov, n_iov, flags);
    if (sent < 0)
        return not_written(c, iov, n_iov, n, sent);
    *n = (size_t) sent;
    if (*n < limit)
        conn_filled(c);
    return IO_OK;
}

static void plain_shutdown_write(struct conn *c)
{
    (void) shutdown(c->watch.fd, SHUT_WR);
}

const struct conn_ops conn_plain = {
    .name = "plain",
    .read = plain_read,
    .writev = plain_writev,
    .shutdown_write = plain_shutdown_write,
    .splice = true,
};

static void conn_event(struct watch *w, unsigned events)
{
    struct conn *c = (struct conn *) w;
    if (events & EV_READ)
        c->may_read = true;
    if (events & EV_WRITE)
        c->may_write = true;
    if (events & EV_HUP) {
        c->hup = true;
        c->lost |= (events & EV_LOST) != 0;
    }
    c->on_event(w, events);
}

bool conn_init(struct conn *c, struct loop *loop, int fd, const struct conn_ops *ops,
               void (*on_event)(struct watch *w, unsigned events))
{
    *c = (struct conn){
        .watch = {.fd = -1, .on_event = conn_event},
        .loop = loop,
        .ops = ops,
        .transport = c->transport,
        .on_event = on_event,
        .may_read = c->may_read,
        .connecting = c->connecting,
        .may_write = !c->connecting,
        .room_unasked = c->room_unasked,
    };
    if (c->room_unasked ? loop_add_reader(loop, &c->watch, fd) : loop_add(loop, &c->watch, fd))
        return true;
    close(fd);
    return false;
}

bool conn_attach(struct conn *c, struct loop *loop)
{
    must(c->loop == NULL && c->watch.fd >= 0);
    int fd = c->watch.fd;
    if (!loop_add(loop, &c->watch, fd))
        return false;
    c->loop = loop;
    c->room_unasked = false;
    return true;
}

void conn_detach(struct conn *c)
{
    int fd = c->watch.fd;
    must(c->loop != NULL && fd >= 0);
    loop_remove(c->loop, &c->watch);
    c->watch.fd = fd;
    c->loop = NULL;
}

void conn_close(struct conn *c)
{
    int fd = c->watch.fd;
    if (fd < 0)
        return;
    if (c->ops->close)
        c->ops->close(c);
    if (c->loop)
        loop_remove(c->loop, &c->watch);
    c->watch.fd = -1;
    sys_close(fd);
}

void conn_reset(struct conn *c)
{
    if (c->watch.fd >= 0)
        sock_reset_on_close(c->watch.fd);
    c->broken = true; /* the transport says no orderly end */
    conn_close(c);
}

enum fault conn_connected(struct conn *c)
{
    enum fault f = sock_connect_result(c->watch.fd);
    c->connecting = false;
    c->broken = f != FAULT_OK;
    return f;
}

enum io conn_read(struct conn *c, void *to, size_t max, size_t *n)
{
    debug_must(max > 0);
    *n = 0;
    if (__builtin_expect(c->eof || (c->broken && !c->unread), 0))
        return c->eof ? IO_EOF : IO_ERR;
    if (!c->may_read && !c->unread && !c->hup && !(c->ops->pending && c->ops->pending(c)))
        return IO_AGAIN;
    enum io r = c->ops->read(c, to, test_io_limit(max), n);
    if (__builtin_expect(r == IO_EOF, 0))
        c->eof = true;
    return r;
}

/* recv until no signal interrupts it. */
static ssize_t receive(int fd, void *to, size_t max, int flags)
{
    ssize_t got;
    do {
        got = sys_call(SYS_recvfrom, fd, (long) to, (long) max, flags | MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    return got;
}

enum io conn_peek(struct conn *c, void *to, size_t max, size_t *n)
{
    *n = 0;
    if (c->eof || c->broken)
        return c->eof ? IO_EOF : IO_ERR;
    ssize_t got = receive(c->watch.fd, to, max, MSG_PEEK);
    c->may_read = false;
    if (got > 0) {
        *n = (size_t) got;
        return IO_OK;
    }
    if (got == 0) {
        c->eof = true;
        return IO_EOF;
    }
    return errno == EAGAIN ? IO_AGAIN : fail(c, errno);
}

bool conn_skip(struct conn *c, size_t n)
{
    char sink[512];
    c->may_read = true;
    while (n > 0) {
        ssize_t got = receive(c->watch.fd, sink, n < sizeof(sink) ? n : sizeof(sink), 0);
        if (got <= 0)
            return false;
        n -= (size_t) got;
    }
    return true;
}

enum io conn_writev(struct conn *c, const struct iovec *iov, int n_iov, size_t *n)
{
    debug_must(n_iov > 0 && n_iov <= CONN_IOV_MAX);
    *n = 0;
    if (__builtin_expect(c->broken, 0))
        return IO_ERR;
    if (!c->may_write)
        return IO_AGAIN;
    return c->ops->writev(c, iov, n_iov, n);
}

/* The kernel takes longer to be told of a list than to be given one run of bytes (150 ns on
 * loopback), and than a copy of a short list takes. */
static __attribute__((noinline)) enum io send_joined(struct conn *c, const struct chain *out,
                                                     size_t *n)
{
    char joined[JOIN_MAX];
    const struct iovec one = {joined, chain_peek(out, joined, sizeof joined)};
    return conn_writev(c, &one, 1, n);
}

static size_t iov_bytes(const struct iovec *iov, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

/* Of very many pieces the first ones may be less than a joined run was, which TLS would not take: a
 * record that is tried again must not be shorter. */
static __attribute__((noinline)) enum io send_pieces(struct conn *c, const struct chain *out,
                                                     size_t *n)
{
    struct iovec iov[CONN_IOV_MAX];
    int n_iov = chain_iov(out, iov, CONN_IOV_MAX);
    if (out->slices > CONN_IOV_MAX && iov_bytes(iov, n_iov) < JOIN_MAX)
        return send_joined(c, out, n);
    return conn_writev(c, iov, n_iov, n);
}

enum io conn_send(struct conn *c, struct chain *out, struct buf_pool *bp)
{
    size_t n;
    enum io io;
    if (out->slices == 1) {
        const struct iovec one = slice_iov(out->head);
        io = conn_writev(c, &one, 1, &n);
    } else if (out->bytes <= JOIN_MAX) {
        io = send_joined(c, out, &n);
    } else {
        io = send_pieces(c, out, &n);
    }
    chain_drop(out, bp, n);
    return io;
}

enum io conn_handshake(struct conn *c, enum fault *fault)
{
    return c->ops->handshake ? c->ops->handshake(c, fault) : IO_OK;
}

struct str conn_alpn(const struct conn *c)
{
    return c->ops->alpn ? c->ops->alpn(c) : STR("");
}

size_t conn_under_way(const struct conn *c)
{
    int n = 0;
    return c->watch.fd >= 0 && ioctl(c->watch.fd, SIOCOUTQ, &n) == 0 && n > 0 ? (size_t) n : 0;
}

void conn_shutdown_write(struct conn *c)
{
    if (c->watch.fd < 0 || c->write_shut)
        return;
    c->write_shut = true;
    c->ops->shutdown_write(c);
}

bool conn_is_quiet(struct conn *c)
{
    char byte;
    if (c->watch.fd < 0 || c->eof || c->broken || c->hup)
        return false;
    if (c->ops->pending && c->ops->pending(c))
        return false;
    ssize_t got = sys_call(SYS_recvfrom, c->watch.fd, (long) &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0 && c->ops->quiet)
        return c->ops->quiet(c);
    c->hup |= got == 0;
    if (got >= 0 || errno != EAGAIN)
        return false;
    c->may_read = false;
    c->last_short = true;
    return true;
}

/* ---- splice ---------------------------------------------------------------------------------- */

bool pipe_resize(struct pipe_pair *p, size_t cap)
{
    /* Refused beyond /proc/sys/fs/pipe-max-size or the user's quota. */
    int got = fcntl(p->wr, F_SETPIPE_SZ, (int) cap);
    if (got > 0)
        p->cap = (size_t) got;
    return got > 0;
}

bool pipe_open(struct pipe_pair *p, size_t cap)
{
    int fds[2];
    if (test_call_fails(TEST_pipe) || pipe2(fds, O_NONBLOCK | O_CLOEXEC) < 0)
        return false;
    *p = (struct pipe_pair){.rd = fds[0], .wr = fds[1], .cap = PIPE_DEFAULT_CAP};
    if (cap > p->cap)
        pipe_resize(p, cap);
    return true;
}

void pipe_close(struct pipe_pair *p)
{
    if (p->rd < 0)
        return;
    close(p->rd);
    close(p->wr);
    *p = (struct pipe_pair){.rd = -1, .wr = -1};
}

enum io conn_splice_in(struct conn *c, struct pipe_pair *p, size_t max, size_t *n)
{
    debug_must(c->ops->splice && max > 0);
    *n = 0;
    if (c->eof || (c->broken && !c->unread))
        return c->eof ? IO_EOF : IO_ERR;
    if (!c->may_read && !c->unread && !c->hup)
        return IO_AGAIN;
    ssize_t got = test_call_fails(TEST_splice)
                      ? -1
                      : splice(c->watch.fd, NULL, p->wr, NULL, test_io_limit(max),
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (got > 0) {
        *n = (size_t) got;
        p->bytes += *n;
        c->last_short = false;
        return IO_OK;
    }
    if (got == 0) {
        enum io r = ended(c);
        c->eof = r == IO_EOF;
        return r;
    }
    if (errno != EAGAIN && errno != EINTR) {
        enum io r = fail(c, errno);
        c->unread = false;
        return r;
    }
    /* With bytes in the pipe it may be the pipe that is full (it runs out of slots before it runs
     * out of bytes): the socket's state stays unknown until the pipe was drained. */
    if (errno == EAGAIN && p->bytes == 0) {
        c->may_read = false;
        c->last_short = true;
    }
    return IO_AGAIN;
}

enum io conn_splice_out(struct conn *c, struct pipe_pair *p, size_t *n)
{
    *n = 0;
    size_t want = test_io_limit(p->bytes);
    debug_must(c->ops->splice && want > 0);
    if (c->broken)
        return IO_ERR;
    if (!c->may_write || want == 0)
        return IO_AGAIN;
    ssize_t sent = test_call_fails(TEST_splice) ? -1
                                                : splice(p->rd, NULL, c->watch.fd, NULL, want,
                                                         SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (sent > 0) {
        *n = (size_t) sent;
        p->bytes -= *n;
        if (*n < want)
            conn_filled(c);
        return IO_OK;
    }
    if (sent < 0 && errno == EINTR)
        return IO_AGAIN;
    if (sent < 0 && errno != EAGAIN)
        return fail(c, errno);
    conn_filled(c);
    return IO_AGAIN;
}

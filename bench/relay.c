/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay --listen ADDR --to ADDR [--splice] [--buffer SIZE]
 *
 * The floor that Weir is measured against: a blind TCP relay, one thread, which knows no HTTP. Each
 * client connection is joined to one upstream connection; bytes are copied both ways. At
 * concurrency one a request costs six system calls: two epoll_wait, two reads, two writes.
 * With --splice the bytes from the upstream to the client go through a pipe instead.
 *
 * Invariants:
 * 1. Every fd is registered once, edge-triggered; `readable` stays set until a read said that
 *    nothing is left: EAGAIN, or a short read with no hang-up reported.
 * 2. What was read and could not be written waits in the receiving end (stash or pipe) and nothing
 *    more is read from its peer before it has left.
 * 3. An upstream end whose last bytes were an answer is kept for the next client when its client
 *    closes; a blind relay cannot know more, and the load generator closes only behind a complete
 *    answer.
 * 4. Ends are freed after the batch of events in which they were closed, never inside it.
 */
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 256
#define PIPE_SIZE (1024 * 1024)

struct end {
    int fd;
    int pipe[2];
    bool readable, hung_up, eof, is_upstream, spoke_last;
    struct end *peer; /* NULL for the listener and for upstream ends that wait in `idle` */
    char *stash;      /* bytes for this fd that did not fit */
    size_t stash_len, stash_off;
    size_t piped; /* bytes in the pipe, for this fd */
    struct end *next, *prev;
};

struct relay {
    int epoll;
    bool splice;
    char *buffer;
    size_t buffer_size;
    struct sockaddr_in upstream;
    struct end listener;
    struct end *idle; /* upstream ends without a client */
    struct end *dead; /* to be freed after the batch */
};

static struct end *end_open(struct relay *r, int fd, bool is_upstream)
{
    struct end *end = bench_zalloc(sizeof(*end));

    end->fd = fd;
    end->pipe[0] = end->pipe[1] = -1;
    end->is_upstream = is_upstream;
    if (r->splice && !is_upstream) {
        if (pipe2(end->pipe, O_NONBLOCK | O_CLOEXEC) != 0) {
            bench_die("pipe2");
        }
        fcntl(end->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
    }
    bench_watch(r->epoll, fd, end);
    return end;
}

static void idle_remove(struct relay *r, struct end *end)
{
    if (end->prev != NULL) {
        end->prev->next = end->next;
    } else if (r->idle == end) {
        r->idle = end->next;
    }
    if (end->next != NULL) {
        end->next->prev = end->prev;
    }
    end->next = end->prev = NULL;
}

static void idle_add(struct relay *r, struct end *end)
{
    end->peer = NULL;
    end->prev = NULL;
    end->next = r->idle;
    if (r->idle != NULL) {
        r->idle->prev = end;
    }
    r->idle = end;
}

static void end_close(struct relay *r, struct end *end)
{
    close(end->fd);
    end->fd = -1;
    if (end->pipe[0] >= 0) {
        close(end->pipe[0]);
        close(end->pipe[1]);
    }
    free(end->stash);
    end->stash = NULL;
    end->next = r->dead;
    r->dead = end;
}

/* Whether the upstream end has nothing left to say to the client end that closes. */
static bool peer_is_idle(const struct end *end, const struct end *peer)
{
    return peer->is_upstream && peer->spoke_last && !peer->hung_up && !peer->readable &&
           peer->stash_len == 0 && end->stash_len == 0 && end->piped == 0;
}

static void pair_close(struct relay *r, struct end *end)
{
    struct end *peer = end->peer;

    if (peer != NULL && peer_is_idle(end, peer)) {
        idle_add(r, peer);
    } else if (peer != NULL) {
        end_close(r, peer);
    }
    if (end->is_upstream && peer == NULL) {
        idle_remove(r, end);
    }
    end_close(r, end);
}

/* Writes what waits for `to`; false when the connection is broken. */
static bool flush_stash(struct end *to)
{
    while (to->stash_len > 0) {
        ssize_t n = write(to->fd, to->stash + to->stash_off, to->stash_len);
        if (n < 0) {
            return errno == EAGAIN;
        }
        to->stash_off += (size_t) n;
        to->stash_len -= (size_t) n;
    }
    free(to->stash);
    to->stash = NULL;
    to->stash_off = 0;
    return true;
}

/* Writes n bytes of the relay's buffer to `to` and keeps what did not fit. */
static bool write_or_stash(struct relay *r, struct end *to, size_t n)
{
    ssize_t done = write(to->fd, r->buffer, n);

    if (done < 0 && errno != EAGAIN) {
        return false;
    }
    size_t sent = done < 0 ? 0 : (size_t) done;
    if (sent < n) {
        to->stash = bench_zalloc(n - sent);
        to->stash_len = n - sent;
        to->stash_off = 0;
        memcpy(to->stash, r->buffer + sent, n - sent);
    }
    return true;
}

/* Copies until `from` is empty or `to` is full; false when one of them is broken. */
static bool pump_copy(struct relay *r, struct end *from, struct end *to)
{
    if (!flush_stash(to)) {
        return false;
    }
    while (from->readable && to->stash_len == 0) {
        ssize_t n = read(from->fd, r->buffer, r->buffer_size);
        if (n <= 0) {
            from->readable = false;
            from->eof = n == 0;
            return n == 0 || errno == EAGAIN;
        }
        if ((size_t) n < r->buffer_size && !from->hung_up) {
            from->readable = false;
        }
        from->spoke_last = true;
        to->spoke_last = false;
        if (!write_or_stash(r, to, (size_t) n)) {
            return false;
        }
    }
    return true;
}

/* As pump_copy, through the pipe of `to`, which is empty whenever `from` is read. */
static bool pump_splice(struct end *from, struct end *to)
{
    for (;;) {
        while (to->piped > 0) {
            ssize_t n = splice(to->pipe[0], NULL, to->fd, NULL, to->piped,
                               SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (n <= 0) {
                return n < 0 && errno == EAGAIN;
            }
            to->piped -= (size_t) n;
        }
        if (!from->readable) {
            return true;
        }
        ssize_t n =
            splice(from->fd, NULL, to->pipe[1], NULL, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n <= 0) {
            from->readable = false;
            from->eof = n == 0;
            return n == 0 || errno == EAGAIN;
        }
        to->piped += (size_t) n;
        from->spoke_last = true;
        to->spoke_last = false;
    }
}

static bool pump(struct relay *r, struct end *from, struct end *to)
{
    return r->splice && from->is_upstream ? pump_splice(from, to) : pump_copy(r, from, to);
}

static void on_accept(struct relay *r)
{
    int fd = bench_accept(r->listener.fd);

    if (fd < 0) {
        return;
    }
    struct end *upstream = r->idle;
    if (upstream != NULL) {
        idle_remove(r, upstream);
    } else {
        int up = bench_connect(&r->upstream, NULL);
        if (up < 0) {
            close(fd);
            return;
        }
        upstream = end_open(r, up, true);
    }
    struct end *client = end_open(r, fd, false);
    client->peer = upstream;
    upstream->peer = client;
}

static void on_event(struct relay *r, struct end *end, uint32_t events)
{
    if (end->fd < 0) {
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        end->readable = true;
    }
    if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        end->hung_up = true;
    }
    if (end->peer == NULL) {
        if (end->readable) {
            pair_close(r, end); /* an idle upstream that closed, or spoke out of turn */
        }
        return;
    }
    bool sound = true;
    if (end->readable) {
        sound = pump(r, end, end->peer);
    }
    bool waits = end->stash_len > 0 || end->piped > 0;
    if (sound && waits && (events & EPOLLOUT)) {
        sound = pump(r, end->peer, end);
    }
    bool drained = end->peer->stash_len == 0 && end->peer->piped == 0;
    if (!sound || (end->eof && drained)) {
        pair_close(r, end);
    } else if (end->peer->eof && end->stash_len == 0 && end->piped == 0) {
        pair_close(r, end->peer);
    }
}

static void free_dead(struct relay *r)
{
    while (r->dead != NULL) {
        struct end *end = r->dead;
        r->dead = end->next;
        free(end);
    }
}

static void run(struct relay *r)
{
    struct epoll_event events[BATCH];

    for (;;) {
        int n = epoll_wait(r->epoll, events, BATCH, -1);
        if (n < 0 && errno != EINTR) {
            bench_die("epoll_wait");
        }
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &r->listener) {
                on_accept(r);
            } else {
                on_event(r, events[i].data.ptr, events[i].events);
            }
        }
        free_dead(r);
    }
}

int main(int argc, char **argv)
{
    struct relay r = {.splice = bench_flag(argc, argv, "--splice")};

    bench_prepare();
    r.epoll = epoll_create1(EPOLL_CLOEXEC);
    r.buffer_size = (size_t) bench_parse_number(bench_option(argc, argv, "--buffer", "64k"));
    r.buffer = bench_zalloc(r.buffer_size);
    r.upstream = bench_parse_addr(bench_option(argc, argv, "--to", "127.0.0.1:9000"));
    r.listener.fd = bench_listen(bench_option(argc, argv, "--listen", "127.0.0.1:8080"));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &r.listener};
    if (epoll_ctl(r.epoll, EPOLL_CTL_ADD, r.listener.fd, &event) != 0) {
        bench_die("epoll_ctl");
    }
    run(&r);
    return 0;
}

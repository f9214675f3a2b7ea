/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origin --listen ADDR[,ADDR...] [--slow-ms N] [--all-slow] [--spin]
 *
 * The HTTP/1.1 origin behind every proxy that is measured: one thread, answers made once, as few
 * instructions as possible, so that the proxy and not the origin is what is seen. Connections are
 * always kept, `Connection: close` in a request included: how long an upstream connection lives is
 * then the proxy's choice alone. Targets: /size/N (k and m allowed) answers N bytes, /slow answers
 * 1 KiB after N ms (with --all-slow everything does), everything else 1 KiB. Bodies with a
 * Content-Length are swallowed. With --spin it polls and never sleeps, so that waking it costs the
 * proxy nothing.
 *
 * Invariants:
 * 1. A connection has at most one answer under way; input behind it stays unread or in `held`.
 * 2. `answer` is NULL exactly when nothing is to be written.
 * 3. Answers live for ever and are shared by all connections.
 */
#include "common.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define BATCH 256
#define HEAD_MAX 16384
#define PATTERN_SIZE (1024u * 1024u)
#define ANSWERS 32
#define LISTENERS 8

struct answer {
    size_t size; /* of the body; the key */
    size_t head_len;
    char *bytes; /* head, and the body too as far as it fits the pattern */
};

struct conn {
    int fd;
    bool readable, closed;
    char *held; /* the part of a request head that came so far */
    size_t held_len;
    uint64_t swallow; /* bytes of a request body still to come */
    const struct answer *answer;
    size_t sent;
    uint64_t due_ns; /* of a slow answer */
    struct conn *next;
};

struct origin {
    int epoll, listeners[LISTENERS], listener_count;
    bool spin, all_slow;
    uint64_t slow_ns;
    char *buffer; /* HEAD_MAX for what was held, and 64 KiB for a read */
    struct answer answers[ANSWERS];
    size_t answer_count;
    struct conn *slow_first, *slow_last; /* first in, first out: one delay for all */
    struct conn *dead;
};

#define READ_SIZE 65536u

static const struct answer *answer_for(struct origin *o, uint64_t size)
{
    char head[256];

    for (size_t i = 0; i < o->answer_count; i++) {
        if (o->answers[i].size == size) {
            return &o->answers[i];
        }
    }
    if (o->answer_count == ANSWERS) {
        return &o->answers[0];
    }
    int len =
        snprintf(head, sizeof(head),
                 "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\n"
                 "Content-Type: text/plain\r\nContent-Length: %llu\r\n\r\n",
                 (unsigned long long) size);
    struct answer *a = &o->answers[o->answer_count++];
    a->size = (size_t) size;
    a->head_len = (size_t) len;
    a->bytes = bench_zalloc(a->head_len + PATTERN_SIZE);
    memcpy(a->bytes, head, a->head_len);
    for (size_t i = 0; i < PATTERN_SIZE; i++) {
        a->bytes[a->head_len + i] = (char) (i % 64 == 63 ? '\n' : 'a' + (int) (i % 26));
    }
    return a;
}

static void conn_close(struct origin *o, struct conn *c)
{
    if (c->closed) {
        return;
    }
    close(c->fd);
    c->closed = true;
    if (c->due_ns == 0) {
        c->next = o->dead;
        o->dead = c;
    }
}

/* Writes on: true when the answer has left or waits for room, false when the peer is gone. */
static bool conn_write(struct conn *c)
{
    while (c->answer != NULL) {
        const struct answer *a = c->answer;
        size_t total = a->head_len + a->size;
        size_t body = c->sent > a->head_len ? c->sent - a->head_len : 0;
        size_t offset = c->sent < a->head_len ? c->sent : a->head_len + body % PATTERN_SIZE;
        size_t len = a->head_len + PATTERN_SIZE - offset;
        if (len > total - c->sent) {
            len = total - c->sent;
        }
        ssize_t n = write(c->fd, a->bytes + offset, len);
        if (n < 0) {
            return errno == EAGAIN;
        }
        c->sent += (size_t) n;
        if (c->sent == total) {
            c->answer = NULL;
        }
    }
    return true;
}

static void slow_add(struct origin *o, struct conn *c)
{
    c->due_ns = bench_now_ns() + o->slow_ns;
    c->next = NULL;
    if (o->slow_last != NULL) {
        o->slow_last->next = c;
    } else {
        o->slow_first = c;
    }
    o->slow_last = c;
}

/* Finds the length of the body in a complete head; false when it cannot be known. */
static bool body_length(const char *head, size_t len, uint64_t *length)
{
    const char *line = head;
    const char *end = head + len;

    *length = 0;
    while ((line = memchr(line, '\n', (size_t) (end - line))) != NULL && ++line < end) {
        if ((*line | 0x20) == 'c' && strncasecmp(line, "content-length:", 15) == 0) {
            *length = strtoull(line + 15, NULL, 10);
        } else if ((*line | 0x20) == 't' && strncasecmp(line, "transfer-encoding:", 18) == 0) {
            return false;
        }
    }
    return true;
}

static void start_answer(struct origin *o, struct conn *c, const char *head)
{
    const char *path = memchr(head, ' ', 16);
    uint64_t size = 1024;
    bool slow = o->all_slow;

    if (path != NULL && strncmp(path, " /size/", 7) == 0) {
        char *end = NULL;
        size = strtoull(path + 7, &end, 10);
        size *= *end == 'k' ? 1024u : *end == 'm' ? 1048576u : 1u;
    } else if (path != NULL && strncmp(path, " /slow", 6) == 0) {
        slow = true;
    }
    c->answer = answer_for(o, size);
    c->sent = 0;
    if (slow) {
        slow_add(o, c);
    }
}

/* Keeps the n bytes at `bytes` for the next read; false when a head grows too long. */
static bool hold(struct conn *c, const char *bytes, size_t n)
{
    if (n > HEAD_MAX) {
        return false;
    }
    if (n > 0 && c->held == NULL) {
        c->held = bench_zalloc(HEAD_MAX);
    }
    if (n > 0) {
        memcpy(c->held, bytes, n);
    }
    c->held_len = n;
    return true;
}

/* Takes requests from `bytes` until one cannot be answered at once; holds the rest. */
static bool take(struct origin *o, struct conn *c, const char *bytes, size_t n)
{
    while (n > 0) {
        if (c->swallow > 0) {
            size_t part = c->swallow < n ? (size_t) c->swallow : n;
            c->swallow -= part;
            bytes += part;
            n -= part;
            if (c->swallow > 0) {
                return hold(c, bytes, 0);
            }
        } else if (c->answer == NULL) {
            const char *end = memmem(bytes, n, "\r\n\r\n", 4);
            if (end == NULL) {
                return hold(c, bytes, n);
            }
            size_t len = (size_t) (end - bytes) + 4;
            if (!body_length(bytes, len, &c->swallow)) {
                return false;
            }
            start_answer(o, c, bytes);
            bytes += len;
            n -= len;
        }
        if (c->swallow == 0 && c->due_ns == 0 && !conn_write(c)) {
            return false;
        }
        if (c->swallow == 0 && c->answer != NULL) {
            return hold(c, bytes, n);
        }
    }
    return hold(c, bytes, 0);
}

/* Reads and answers until nothing is left or an answer waits for room. */
static bool conn_read(struct origin *o, struct conn *c)
{
    while (c->readable && (c->answer == NULL || c->swallow > 0)) {
        memcpy(o->buffer, c->held_len > 0 ? c->held : "", c->held_len);
        ssize_t n = read(c->fd, o->buffer + c->held_len, READ_SIZE);
        if (n <= 0) {
            c->readable = false;
            return n < 0 && errno == EAGAIN;
        }
        if (n < (ssize_t) READ_SIZE) {
            c->readable = false;
        }
        if (!take(o, c, o->buffer, c->held_len + (size_t) n)) {
            return false;
        }
    }
    return true;
}

/* Goes on with an answer that waited, then with the requests that were held behind it. */
static bool conn_resume(struct origin *o, struct conn *c)
{
    if (!conn_write(c)) {
        return false;
    }
    if (c->answer != NULL || c->held_len == 0) {
        return true;
    }
    size_t n = c->held_len;
    memcpy(o->buffer, c->held, n);
    return take(o, c, o->buffer, n);
}

static void on_event(struct origin *o, struct conn *c, uint32_t events)
{
    if (c->closed) {
        return;
    }
    if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        conn_close(o, c);
        return;
    }
    if (events & EPOLLIN) {
        c->readable = true;
    }
    bool waits = c->answer != NULL && c->due_ns == 0 && c->swallow == 0;
    if ((waits && (events & EPOLLOUT) && !conn_resume(o, c)) || !conn_read(o, c)) {
        conn_close(o, c);
    }
}

static void run_slow(struct origin *o)
{
    uint64_t now = bench_now_ns();

    while (o->slow_first != NULL && o->slow_first->due_ns <= now) {
        struct conn *c = o->slow_first;
        o->slow_first = c->next;
        if (o->slow_first == NULL) {
            o->slow_last = NULL;
        }
        c->due_ns = 0;
        if (c->closed) {
            c->next = o->dead;
            o->dead = c;
        } else if (c->swallow == 0 && (!conn_resume(o, c) || !conn_read(o, c))) {
            conn_close(o, c);
        }
    }
}

static void on_accept(struct origin *o)
{
    for (int i = 0; i < o->listener_count; i++) {
        int fd;
        while ((fd = bench_accept(o->listeners[i])) >= 0) {
            struct conn *c = bench_zalloc(sizeof(*c));
            c->fd = fd;
            bench_watch(o->epoll, fd, c);
        }
    }
}

/* Listens on each address of a list with commas. */
static void listen_on(struct origin *o, const char *list)
{
    char *copy = strdup(list), *rest = NULL;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = o};

    for (char *one = strtok_r(copy, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (o->listener_count == LISTENERS) {
            errno = 0;
            bench_die("more than %d addresses to listen on", LISTENERS);
        }
        int fd = bench_listen(one);
        o->listeners[o->listener_count++] = fd;
        if (epoll_ctl(o->epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
            bench_die("epoll_ctl");
        }
    }
    free(copy);
}

static void free_dead(struct origin *o)
{
    while (o->dead != NULL) {
        struct conn *c = o->dead;
        o->dead = c->next;
        free(c->held);
        free(c);
    }
}

/* How long nothing is due, in nanoseconds. */
static uint64_t slow_wait(const struct origin *o)
{
    uint64_t now = bench_now_ns();

    if (o->slow_first == NULL) {
        return UINT64_MAX;
    }
    return o->slow_first->due_ns > now ? o->slow_first->due_ns - now : 0;
}

static void run(struct origin *o)
{
    struct epoll_event events[BATCH];

    for (;;) {
        int n = bench_wait(o->epoll, events, BATCH, slow_wait(o), o->spin);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == o) {
                on_accept(o);
            } else {
                on_event(o, events[i].data.ptr, events[i].events);
            }
        }
        if (o->slow_first != NULL) {
            run_slow(o);
        }
        free_dead(o);
    }
}

int main(int argc, char **argv)
{
    struct origin o = {.epoll = epoll_create1(EPOLL_CLOEXEC)};

    bench_prepare();
    o.spin = bench_flag(argc, argv, "--spin");
    o.all_slow = bench_flag(argc, argv, "--all-slow");
    o.slow_ns = bench_parse_number(bench_option(argc, argv, "--slow-ms", "100")) * 1000000u;
    o.buffer = bench_zalloc(HEAD_MAX + READ_SIZE);
    answer_for(&o, 1024);
    listen_on(&o, bench_option(argc, argv, "--listen", "127.0.0.1:9000"));
    run(&o);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load --to ADDR [options]: the load generator. Prints one line of JSON.
 *
 *   --connections N    connections to keep (32)
 *   --in-flight N      requests under way at a time (as many as connections)
 *   --seconds N        stop asking after so long (5; 0.5 is allowed); or
 *   --requests N       after so many requests
 *   --rate N           so many requests a second, open loop; without it as fast as answers come
 *   --new-connection   each request on a connection of its own
 *   --path P           "%06u" in it becomes a random number below --numbers
 *   --numbers N        how many
 *   --head host|browser   Host alone, or 14 fields in 800 bytes
 *   --body SIZE        POST so many bytes
 *   --read-rate SIZE   slow readers: every connection asks once and reads so many bytes a second
 *   --hold             print, then keep all connections open until stdin ends
 *   --spin             poll and never sleep, so that waking the load costs the proxy nothing
 *
 * With --rate a latency counts from the moment at which the request was due, whether or not a
 * connection was free then: a proxy that stalls is charged for everyone who had to wait.
 *
 * Invariants:
 * 1. A connection is in exactly one place: the idle queue, or in flight (state above IDLE).
 * 2. issued = done + failed + in_flight.
 * 3. One answer is awaited at a time, so bytes behind an answer are an error.
 */
#include "common.h"
#include "hist.h"
#include "request.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 256
#define HEAD_MAX 4096
#define SECOND 1000000000u
#define SLOW_TICK (SECOND / 20)
#define SOURCES 64u

enum state { IDLE, SENDING, HEAD, BODY };

enum failure { FAIL_CONNECT, FAIL_CLOSED, FAIL_STATUS, FAIL_ANSWER, FAIL_TIMEOUT, FAILURES };

static const char *const failure_names[FAILURES] = {"connect", "closed", "status", "answer",
                                                    "timeout"};

struct conn {
    int fd; /* -1: to be opened at the next request */
    enum state state;
    size_t sent;
    char *held; /* the part of an answer's head that came so far */
    size_t held_len;
    uint64_t start_ns; /* due time, or when it was sent */
    uint64_t body_left, credit;
    bool closes;
    struct conn *next; /* in the idle queue */
};

struct load {
    int epoll;
    struct sockaddr_in to;
    struct request request;
    struct conn *conns;
    struct conn *idle_first, *idle_last;
    uint64_t connections, limit, duration_ns, rate, in_flight_max, read_rate, timeout_ns;
    bool new_connection, spin;
    uint64_t start_ns, issued, in_flight, done, bytes, opened;
    uint64_t failed[FAILURES];
    struct hist hist;
};

static void idle_add(struct load *l, struct conn *c)
{
    c->state = IDLE;
    c->next = NULL;
    if (l->idle_last != NULL) {
        l->idle_last->next = c;
    } else {
        l->idle_first = c;
    }
    l->idle_last = c;
}

static struct conn *idle_take(struct load *l)
{
    struct conn *c = l->idle_first;

    l->idle_first = c->next;
    if (l->idle_first == NULL) {
        l->idle_last = NULL;
    }
    return c;
}

static void conn_shut(struct conn *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->held_len = 0;
}

static void conn_fail(struct load *l, struct conn *c, enum failure why)
{
    l->failed[why]++;
    l->in_flight--;
    conn_shut(c);
    idle_add(l, c);
}

static void conn_done(struct load *l, struct conn *c)
{
    hist_add(&l->hist, bench_now_ns() - c->start_ns);
    l->done++;
    l->in_flight--;
    c->held_len = 0;
    if (l->new_connection || c->closes) {
        conn_shut(c);
    }
    idle_add(l, c);
}

static bool conn_open(struct load *l, struct conn *c)
{
    struct sockaddr_in from = {.sin_family = AF_INET};

    /* Many source addresses, so that 28,000 ports and TIME_WAIT are no limit. */
    from.sin_addr.s_addr = htonl(0x7f000001u + (uint32_t) (l->opened++ % SOURCES));
    c->fd = bench_connect(&l->to, &from);
    if (c->fd < 0) {
        return false;
    }
    bench_watch(l->epoll, c->fd, c);
    return true;
}

static void conn_send(struct load *l, struct conn *c)
{
    ssize_t n = write(c->fd, l->request.bytes + c->sent, l->request.len - c->sent);

    if (n < 0 && errno != EAGAIN) {
        conn_fail(l, c, c->sent == 0 && errno == ECONNREFUSED ? FAIL_CONNECT : FAIL_CLOSED);
        return;
    }
    c->sent += n > 0 ? (size_t) n : 0;
    if (c->sent == l->request.len) {
        c->state = HEAD;
    } else if (l->request.digits != NULL && c->sent > 0) {
        errno = 0;
        bench_die("a request with a varying path left in pieces");
    }
}

static void conn_start(struct load *l, struct conn *c, uint64_t start_ns)
{
    l->issued++;
    l->in_flight++;
    c->start_ns = start_ns;
    c->sent = 0;
    c->state = SENDING;
    if (c->fd < 0 && !conn_open(l, c)) {
        conn_fail(l, c, FAIL_CONNECT);
        return;
    }
    request_vary(&l->request);
    conn_send(l, c);
}

/* Takes n bytes of a body into account; they were discarded already. */
static void conn_body(struct load *l, struct conn *c, uint64_t n)
{
    l->bytes += n;
    if (n > c->body_left) {
        conn_fail(l, c, FAIL_ANSWER);
        return;
    }
    c->body_left -= n;
    if (c->body_left == 0) {
        conn_done(l, c);
    } else {
        c->state = BODY;
    }
}

/* Looks for the end of the head in what came so far. */
static void conn_head(struct load *l, struct conn *c, const char *bytes, size_t len)
{
    struct response response;
    const char *end = memmem(bytes, len, "\r\n\r\n", 4);

    if (end == NULL && len < HEAD_MAX) {
        if (c->held == NULL) {
            c->held = bench_zalloc(HEAD_MAX);
        }
        memcpy(c->held, bytes, len);
        c->held_len = len;
        return;
    }
    size_t head_len = end != NULL ? (size_t) (end - bytes) + 4 : 0;
    if (head_len == 0 || !response_parse(bytes, head_len, &response)) {
        conn_fail(l, c, FAIL_ANSWER);
    } else if (response.status < 200 || response.status > 399) {
        conn_fail(l, c, FAIL_STATUS);
    } else {
        l->bytes += head_len;
        c->closes = response.closes;
        c->body_left = response.body_size;
        c->held_len = 0;
        conn_body(l, c, len - head_len);
    }
}

/* Reads once, of a body at most `limit` bytes; true when there may be more to read at once. */
static bool conn_read(struct load *l, struct conn *c, uint64_t limit)
{
    char bytes[2 * HEAD_MAX];
    size_t room = HEAD_MAX;
    ssize_t n;

    if (c->state == BODY) {
        room = (size_t) (c->body_left < limit ? c->body_left : limit);
        n = recv(c->fd, NULL, room, MSG_TRUNC); /* TCP throws the bytes away, uncopied */
    } else {
        memcpy(bytes, c->held_len > 0 ? c->held : "", c->held_len);
        n = recv(c->fd, bytes + c->held_len, room, 0);
    }
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) {
            conn_fail(l, c, n < 0 && errno == ECONNREFUSED ? FAIL_CONNECT : FAIL_CLOSED);
        }
        return false;
    }
    if (c->state == BODY) {
        conn_body(l, c, (uint64_t) n);
    } else {
        conn_head(l, c, bytes, c->held_len + (size_t) n);
    }
    return (size_t) n == room;
}

static void on_event(struct load *l, struct conn *c, uint32_t events)
{
    if (c->state == IDLE) {
        if (c->fd >= 0 && (events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))) {
            conn_shut(c); /* an idle connection that the server closed; no request is lost */
        }
        return;
    }
    if (c->state == SENDING && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        conn_send(l, c);
    }
    if (c->state != IDLE && l->read_rate == 0 && (events & ~(uint32_t) EPOLLOUT)) {
        /* A hang-up behind the answer is a new edge; one in front of it is read as 0. */
        bool more = true;
        while (more && c->state != IDLE) {
            more = conn_read(l, c, UINT64_MAX) || (events & EPOLLRDHUP);
        }
    }
}

static bool may_issue(const struct load *l, uint64_t now, uint64_t *due)
{
    if (l->limit > 0 ? l->issued >= l->limit : now - l->start_ns >= l->duration_ns) {
        return false;
    }
    *due = now;
    if (l->rate > 0) {
        *due = l->start_ns + (uint64_t) ((double) l->issued * SECOND / (double) l->rate);
    }
    return *due <= now;
}

/* Starts what is due and says until when nothing more is (0: until an answer comes). */
static uint64_t issue(struct load *l, uint64_t now)
{
    uint64_t due = 0;

    while (l->idle_first != NULL && l->in_flight < l->in_flight_max && may_issue(l, now, &due)) {
        conn_start(l, idle_take(l), due);
    }
    return due > now ? due : 0;
}

static void time_out(struct load *l, uint64_t now)
{
    for (uint64_t i = 0; i < l->connections; i++) {
        struct conn *c = &l->conns[i];
        if (c->state != IDLE && now - c->start_ns > l->timeout_ns) {
            conn_fail(l, c, FAIL_TIMEOUT);
        }
    }
}

static bool is_over(const struct load *l, uint64_t now)
{
    bool enough = l->limit > 0 ? l->issued >= l->limit : now - l->start_ns >= l->duration_ns;

    return enough && l->in_flight == 0;
}

static void run(struct load *l)
{
    struct epoll_event events[BATCH];
    uint64_t now = bench_now_ns();
    uint64_t check_ns = now + SECOND / 10;

    l->start_ns = now;
    while (!is_over(l, now)) {
        uint64_t until = issue(l, now);
        if (until == 0 || until > check_ns) {
            until = check_ns;
        }
        uint64_t wait = until > now ? until - now : 0;
        struct timespec ts = {(time_t) (wait / SECOND), (long) (wait % SECOND)};
        int n = epoll_pwait2(l->epoll, events, BATCH, &ts, NULL);
        for (int i = 0; i < n; i++) {
            on_event(l, events[i].data.ptr, events[i].events);
        }
        now = bench_now_ns();
        if (now >= check_ns) {
            time_out(l, now);
            check_ns = now + SECOND / 10;
        }
    }
}

/* One connection's turn in the slow mode: it may read what its rate has earned since the last. */
static void slow_turn(struct load *l, struct conn *c)
{
    bool more = true;

    c->credit += l->read_rate / (SECOND / SLOW_TICK);
    if (c->state == SENDING) {
        conn_send(l, c);
    }
    while (more && c->credit > 0 && c->state > SENDING) {
        uint64_t before = l->bytes;
        more = conn_read(l, c, c->credit);
        uint64_t taken = l->bytes - before;
        c->credit -= taken < c->credit ? taken : c->credit;
    }
}

/* Every connection asks once; then all read slowly until the time is over. */
static void run_slow(struct load *l)
{
    l->start_ns = bench_now_ns();
    uint64_t next = l->start_ns;

    while (l->idle_first != NULL) {
        conn_start(l, idle_take(l), l->start_ns);
    }
    while (bench_now_ns() - l->start_ns < l->duration_ns) {
        for (uint64_t i = 0; i < l->connections; i++) {
            if (l->conns[i].state != IDLE) {
                slow_turn(l, &l->conns[i]);
            }
        }
        next += SLOW_TICK;
        uint64_t now = bench_now_ns();
        uint64_t wait = next > now ? next - now : 0;
        struct timespec ts = {(time_t) (wait / SECOND), (long) (wait % SECOND)};
        nanosleep(&ts, NULL);
    }
}

static void print(const struct load *l, double seconds)
{
    static const double percents[] = {50, 90, 99, 99.9, 100};
    uint64_t errors = 0;

    for (int i = 0; i < FAILURES; i++) {
        errors += l->failed[i];
    }
    printf("{\"requests\": %llu, \"done\": %llu, \"errors\": %llu, \"connections_opened\": %llu, "
           "\"bytes\": %llu, \"seconds\": %.6f, \"rate\": %.1f, \"failed\": {",
           (unsigned long long) l->issued, (unsigned long long) l->done,
           (unsigned long long) errors, (unsigned long long) l->opened,
           (unsigned long long) l->bytes, seconds, (double) l->done / seconds);
    for (int i = 0; i < FAILURES; i++) {
        printf("%s\"%s\": %llu", i > 0 ? ", " : "", failure_names[i],
               (unsigned long long) l->failed[i]);
    }
    printf("}, \"latency_us\": {");
    for (size_t i = 0; i < sizeof(percents) / sizeof(percents[0]); i++) {
        printf("%s\"p%g\": %.1f", i > 0 ? ", " : "", percents[i],
               (double) hist_at(&l->hist, percents[i]) / 1000.0);
    }
    printf("}}\n");
    fflush(stdout);
}

static uint64_t number(int argc, char **argv, const char *name, const char *fallback)
{
    return bench_parse_number(bench_option(argc, argv, name, fallback));
}

static struct load *load_new(int argc, char **argv)
{
    struct load *l = bench_zalloc(sizeof(*l));
    struct request_options options = {
        .path = bench_option(argc, argv, "--path", "/"),
        .head = bench_option(argc, argv, "--head", "host"),
        .body_size = number(argc, argv, "--body", "0"),
        .numbers = number(argc, argv, "--numbers", "0"),
        .wants_close = bench_flag(argc, argv, "--new-connection"),
    };

    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->to = bench_parse_addr(bench_option(argc, argv, "--to", "127.0.0.1:8080"));
    l->connections = number(argc, argv, "--connections", "32");
    l->in_flight_max =
        number(argc, argv, "--in-flight", bench_option(argc, argv, "--connections", "32"));
    l->limit = number(argc, argv, "--requests", "0");
    l->duration_ns = (uint64_t) (strtod(bench_option(argc, argv, "--seconds", "5"), NULL) * SECOND);
    l->rate = number(argc, argv, "--rate", "0");
    l->read_rate = number(argc, argv, "--read-rate", "0");
    l->timeout_ns = number(argc, argv, "--timeout", "10") * SECOND;
    l->spin = bench_flag(argc, argv, "--spin");
    l->new_connection = options.wants_close;
    request_init(&l->request, &options);
    l->conns = bench_zalloc((size_t) l->connections * sizeof(*l->conns));
    for (uint64_t i = 0; i < l->connections; i++) {
        l->conns[i].fd = -1;
        idle_add(l, &l->conns[i]);
    }
    return l;
}

int main(int argc, char **argv)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char scrap[64];

    bench_prepare();
    prctl(PR_SET_TIMERSLACK, 1000);
    struct load *l = load_new(argc, argv);
    if (l->read_rate > 0) {
        run_slow(l);
    } else {
        run(l);
    }
    print(l, (double) (bench_now_ns() - l->start_ns) / SECOND);
    while (bench_flag(argc, argv, "--hold")) {
        if (poll(&input, 1, -1) > 0 && read(0, scrap, sizeof(scrap)) <= 0) {
            break;
        }
    }
    return 0;
}

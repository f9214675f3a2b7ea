/* SPDX-License-Identifier: Apache-2.0 */
#include "common.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

void bench_die(const char *format, ...)
{
    int saved = errno;
    va_list args;

    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, saved != 0 ? ": %s\n" : "\n", strerror(saved));
    exit(2);
}

uint64_t bench_now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t) ts.tv_sec * 1000000000u + (uint64_t) ts.tv_nsec;
}

struct sockaddr_in bench_parse_addr(const char *text)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN] = "";
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t) (colon - text) : sizeof(host);

    errno = 0;
    if (len >= sizeof(host)) {
        bench_die("not an address: %s", text);
    }
    memcpy(host, text, len);
    uint64_t port = bench_parse_number(colon + 1);
    if (inet_pton(AF_INET, host, &in.sin_addr) != 1 || port == 0 || port > 65535) {
        bench_die("not an address: %s", text);
    }
    in.sin_port = htons((uint16_t) port);
    return in;
}

uint64_t bench_parse_number(const char *text)
{
    char *end = NULL;

    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (end == text || errno != 0) {
        bench_die("not a number: %s", text);
    }
    if (*end == 'k' || *end == 'm') {
        value *= *end == 'k' ? 1024u : 1048576u;
        end++;
    }
    if (*end != '\0') {
        bench_die("not a number: %s", text);
    }
    return value;
}

int bench_listen(const char *addr)
{
    struct sockaddr_in in = bench_parse_addr(addr);
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *) &in, sizeof(in)) != 0 || listen(fd, 4096) != 0) {
        bench_die("cannot listen on %s", addr);
    }
    return fd;
}

static void no_delay(int fd)
{
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int bench_accept(int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        no_delay(fd);
    }
    return fd;
}

int bench_connect(const struct sockaddr_in *to, const struct sockaddr_in *from)
{
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    no_delay(fd);
    if (from != NULL) {
        /* The port is chosen at connect, when the whole four-tuple is known. */
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
        if (bind(fd, (const struct sockaddr *) from, sizeof(*from)) != 0) {
            close(fd);
            return -1;
        }
    }
    if (connect(fd, (const struct sockaddr *) to, sizeof(*to)) != 0 && errno != EINPROGRESS) {
        close(fd);
        return -1;
    }
    return fd;
}

void bench_watch(int epoll, int fd, void *owner)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = owner};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        bench_die("epoll_ctl");
    }
}

void bench_prepare(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    signal(SIGPIPE, SIG_IGN);
}

const char *bench_option(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            if (i + 1 == argc) {
                errno = 0;
                bench_die("%s wants a value", name);
            }
            return argv[i + 1];
        }
    }
    return fallback;
}

bool bench_flag(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return true;
        }
    }
    return false;
}

int bench_wait(int epoll, struct epoll_event *events, int count, uint64_t wait_ns, bool spin)
{
    struct timespec ts = {(time_t) (wait_ns / 1000000000u), (long) (wait_ns % 1000000000u)};
    int n;

    if (spin) {
        n = epoll_wait(epoll, events, count, 0);
        if (n == 0) {
            sched_yield();
        }
    } else {
        n = epoll_pwait2(epoll, events, count, wait_ns == UINT64_MAX ? NULL : &ts, NULL);
    }
    if (n < 0 && errno != EINTR) {
        bench_die("epoll_wait");
    }
    return n;
}

void *bench_zalloc(size_t size)
{
    void *memory = calloc(1, size);

    if (memory == NULL) {
        bench_die("out of memory");
    }
    return memory;
}

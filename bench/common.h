/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers that the bench programs share: addresses, sockets, numbers, the clock. Owned by nobody
 * (no state); any thread may call any of them. Meant for programs that end on the first mistake:
 * what fails here prints a line on stderr and exits with 2; nothing of this is linked into Weir.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* Prints the message and errno's text when it is not 0, then exits with 2. */
_Noreturn void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t bench_now_ns(void);

/* Reads "127.0.0.1:8080"; exits when it is not an IPv4 address with a port. */
struct sockaddr_in bench_parse_addr(const char *text);

/* Reads a decimal number with an optional suffix k or m (1,024 and 1,048,576). */
uint64_t bench_parse_number(const char *text);

/* Opens a non-blocking listening socket on the address. */
int bench_listen(const char *addr);

/* Accepts one connection, non-blocking, without Nagle's delay; -1 when none waits. */
int bench_accept(int listener);

/* Starts a non-blocking connection; `from` (or NULL) is the source address. -1 on failure. */
int bench_connect(const struct sockaddr_in *to, const struct sockaddr_in *from);

/* Registers fd once with epoll, edge-triggered, for reading, writing and hang-ups. */
void bench_watch(int epoll, int fd, void *owner);

/* Raises the limit on open files to what the system allows; ignores SIGPIPE. */
void bench_prepare(void);

/* The value of `--name value`; the default when absent. Exits on an option without a value. */
const char *bench_option(int argc, char **argv, const char *name, const char *fallback);

/* Whether the bare option `--name` is there. */
bool bench_flag(int argc, char **argv, const char *name);

/*
 * Waits for events, at most wait_ns (UINT64_MAX: for ever). With `spin` it never sleeps: it asks,
 * yields the core to whoever shares it, and returns 0 when nothing is there.
 */
int bench_wait(int epoll, struct epoll_event *events, int count, uint64_t wait_ns, bool spin);

/* Memory that is set to zero, or the end of the program. */
void *bench_zalloc(size_t size);

#endif

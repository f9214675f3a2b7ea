/* SPDX-License-Identifier: Apache-2.0 */
/* test_hooks: forced bad luck for the scenario suite, process-wide, in debug builds only:
 * WEIR_IO_MAX=n limits every read, write and splice to n bytes; WEIR_MEM_FAIL=n refuses each
 * n-th charge of an account; WEIR_CALL_FAIL=name:n:errno makes the n-th such system call of the
 * process fail, once; WEIR_DNS=address:port is asked for host names; the file WEIR_WALL holds by
 * how many seconds the wall clock is wrong. Set once before threads start; any thread reads.
 * Release builds never look at the environment and pay nothing. */
#ifndef WEIR_BASE_TEST_HOOKS_H
#define WEIR_BASE_TEST_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/panic.h"

/* Reads the environment; called by the first loop_new, harmless twice. */
void test_hooks_init(void);
/* For unit tests of debug builds: 0 switches a hook off. Nothing in release builds. */
void test_hooks_set(size_t io_max, uint64_t mem_fail);
/* The limits in force, 0: none. */
size_t test_hooks_io_max(void);
/* See test_hooks_io_max. */
uint64_t test_hooks_mem_fail(void);

/* The system calls that WEIR_CALL_FAIL knows by the names behind TEST_. */
enum test_call {
    TEST_accept,
    TEST_socket,
    TEST_connect,
    TEST_epoll_ctl,
    TEST_pipe,
    TEST_splice,
    TEST_send,
    TEST_CALLS
};

/* Of the DNS server to ask; NULL: the system's. */
const char *test_hooks_dns(void);
/* Microseconds by which the wall clock is wrong now. */
int64_t test_hooks_wall(void);
/* This call is the one that is to fail: errno is set. */
bool test_hooks_call_fails(enum test_call call);

/* See test_hooks_call_fails; to be asked before the call, which is then left out. */
static inline bool test_call_fails(enum test_call call)
{
    return WEIR_DEBUG && test_hooks_call_fails(call);
}

/* n, or less when I/O is limited. */
static inline size_t test_io_limit(size_t n)
{
    size_t max = WEIR_DEBUG ? test_hooks_io_max() : 0;
    return max && n > max ? max : n;
}

#endif

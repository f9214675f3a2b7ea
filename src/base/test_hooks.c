/* SPDX-License-Identifier: Apache-2.0 */
/* test_hooks.c: see test_hooks.h.
 * Invariants:
 * 1. In a release build this file holds no state. */
#include "base/test_hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/str.h"

#if WEIR_DEBUG

static struct {
    _Atomic size_t io_max;
    _Atomic uint64_t mem_fail;
    _Atomic uint64_t call_left; /* until the one that fails; 0: none does */
    _Atomic int call, call_errno;
} test_hooks;

static const char *const call_names[TEST_CALLS] = {
    [TEST_accept] = "accept",       [TEST_socket] = "socket", [TEST_connect] = "connect",
    [TEST_epoll_ctl] = "epoll_ctl", [TEST_pipe] = "pipe",     [TEST_splice] = "splice",
    [TEST_send] = "send",
};

static uint64_t from_environment(const char *name)
{
    uint64_t n = 0;
    return str_to_u64(str_c(getenv(name)), &n) ? n : 0;
}

/* name:n:errno */
static void read_call_fail(struct str s)
{
    ptrdiff_t first = str_find(s, ':'), last = str_rfind(s, ':');
    uint64_t n = 0, number = 0;
    if (first < 0 || last <= first ||
        !str_to_u64(str_sub(s, (size_t) first + 1, (size_t) last), &n) ||
        !str_to_u64(str_sub(s, (size_t) last + 1, s.n), &number))
        return;
    for (int i = 0; i < TEST_CALLS; i++)
        if (str_eq(str_sub(s, 0, (size_t) first), str_c(call_names[i])))
            test_hooks.call = i;
    test_hooks.call_errno = (int) number;
    test_hooks.call_left = n;
}

void test_hooks_init(void)
{
    static _Atomic bool done;
    test_hooks_set(from_environment("WEIR_IO_MAX"), from_environment("WEIR_MEM_FAIL"));
    if (!atomic_exchange(&done, true))
        read_call_fail(str_c(getenv("WEIR_CALL_FAIL")));
}

int64_t test_hooks_wall(void)
{
    const char *path = getenv("WEIR_WALL");
    char text[32] = "";
    uint64_t seconds = 0;
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text);
    close(fd);
    struct str s = str_of(text, n > 0 ? (size_t) n : 0);
    bool back = str_starts(s, STR("-"));
    return str_to_u64(back ? str_sub(s, 1, s.n) : s, &seconds)
               ? (back ? -1 : 1) * (int64_t) seconds * 1000000
               : 0;
}

const char *test_hooks_dns(void)
{
    return getenv("WEIR_DNS");
}

bool test_hooks_call_fails(enum test_call call)
{
    if ((int) call != test_hooks.call || !test_hooks.call_left ||
        atomic_fetch_sub(&test_hooks.call_left, 1) != 1)
        return false;
    errno = test_hooks.call_errno;
    return true;
}

void test_hooks_set(size_t io_max, uint64_t mem_fail)
{
    test_hooks.io_max = io_max;
    test_hooks.mem_fail = mem_fail;
}

size_t test_hooks_io_max(void)
{
    return test_hooks.io_max;
}

uint64_t test_hooks_mem_fail(void)
{
    return test_hooks.mem_fail;
}

#else

void test_hooks_init(void)
{
}

void test_hooks_set(size_t io_max, uint64_t mem_fail)
{
    (void) io_max;
    (void) mem_fail;
}

size_t test_hooks_io_max(void)
{
    return 0;
}

uint64_t test_hooks_mem_fail(void)
{
    return 0;
}

int64_t test_hooks_wall(void)
{
    return 0;
}

const char *test_hooks_dns(void)
{
    return NULL;
}

bool test_hooks_call_fails(enum test_call call)
{
    (void) call;
    return false;
}

#endif

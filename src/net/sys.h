/* SPDX-License-Identifier: Apache-2.0 */
/* sys: system calls of the hot path without the C library's wrappers, which, as points of thread
 * cancellation that nobody uses here, cost more than all else that a read does in user space. Any
 * thread. Never retries. */
#ifndef WEIR_NET_SYS_H
#define WEIR_NET_SYS_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* True under ThreadSanitizer, which follows descriptors from accept4 to close: those two it
 * must see. */
#if defined(__SANITIZE_THREAD__)
#define SYS_WATCHED true
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SYS_WATCHED true
#endif
#endif
#ifndef SYS_WATCHED
#define SYS_WATCHED false
#endif

/* The system call number with four arguments, a fifth and sixth that are 0; what failed answers
 * -errno, and leaves errno as it was. */
static inline long sys_raw(long number, long a, long b, long c, long d)
{
#if defined(__x86_64__) && defined(__LP64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = 0;
    register long r9 __asm__("r9") = 0;
    long answer;
    __asm__ volatile("syscall"
                     : "=a"(answer)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return answer;
#else
    long answer = syscall(number, a, b, c, d, 0L, 0L);
    return answer < 0 ? -errno : answer;
#endif
}

/* The same; -1 with errno when it failed. */
static inline long sys_call(long number, long a, long b, long c, long d)
{
    long answer = sys_raw(number, a, b, c, d);
    if (__builtin_expect(answer < 0, 0)) {
        errno = (int) -answer;
        return -1;
    }
    return answer;
}

/* Closes fd. */
static inline void sys_close(int fd)
{
    if (SYS_WATCHED)
        (void) close(fd);
    else
        (void) sys_call(SYS_close, fd, 0, 0, 0);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* panic: what happens on a programmer error: one line with file, line and the running
 * step's name to stderr, a backtrace, abort. Any thread. Never for a peer's or user's error. */
#ifndef WEIR_BASE_PANIC_H
#define WEIR_BASE_PANIC_H

/* Prints and aborts. */
_Noreturn void panic_at(const char *file, int line, const char *format, ...)
    __attribute__((cold, format(printf, 3, 4)));
/* Notes what this thread works at: a panic asks name(of) for the running step. NULL: at nothing
 * that has one. Two stores. */
void panic_subject(const char *(*name)(const void *of), const void *of);

/* Marks functions that a request in good order never calls: they are kept out of the code around
 * them, and the way to them is taken for unlikely. */
#define RARE __attribute__((cold, noinline))

#define panic(...) panic_at(__FILE__, __LINE__, __VA_ARGS__)
/* Always on: invariants whose breach would corrupt memory or mix messages. */
#define must(cond)                                                                                 \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            panic("broken invariant: %s", #cond);                                                  \
    } while (0)

#ifndef WEIR_DEBUG
#define WEIR_DEBUG 0
#endif
/* Debug builds only (make asan, tsan, fuzz). */
#define debug_must(cond)                                                                           \
    do {                                                                                           \
        if (WEIR_DEBUG)                                                                            \
            must(cond);                                                                            \
    } while (0)

#endif

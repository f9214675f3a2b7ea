/* SPDX-License-Identifier: Apache-2.0 */
/* panic.c: the end of the process on a broken invariant. Uses no heap and no lock of its own. */
#include "base/panic.h"

#include <execinfo.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PANIC_FRAMES 32

static _Thread_local struct {
    const char *(*name)(const void *of);
    const void *of;
} panic_of;

void panic_subject(const char *(*name)(const void *of), const void *of)
{
    panic_of.name = name;
    panic_of.of = of;
}

void panic_at(const char *file, int line, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);

    char out[768];
    const char *step = panic_of.name ? panic_of.name(panic_of.of) : NULL;
    int n = snprintf(out, sizeof out, "weir: panic at %s:%d%s%s: %s\n", file, line,
                     step ? ", in step " : "", step ? step : "", text);
    size_t len = n < 0 ? 0 : (size_t) n < sizeof out ? (size_t) n : sizeof out - 1;
    if (write(STDERR_FILENO, out, len) >= 0) {
        void *frames[PANIC_FRAMES];
        backtrace_symbols_fd(frames, backtrace(frames, PANIC_FRAMES), STDERR_FILENO);
    }
    abort();
}

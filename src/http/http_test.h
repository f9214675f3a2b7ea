/* SPDX-License-Identifier: Apache-2.0 */
/* http_test: what the unit tests of this floor share. Included by *_test.c only; one thread;
 * never part of the product. */
#ifndef WEIR_HTTP_HTTP_TEST_H
#define WEIR_HTTP_HTTP_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/fault.h"
#include "base/str.h"

#define ROWS(rows) (sizeof(rows) / sizeof((rows)[0]))

/* The row that is being tested, for messages. */
#define SAY(format, ...) print_message(format "\n", __VA_ARGS__)

/* got must be want; what and the row's text are said when it is not. */
static inline void same_str(struct str got, const char *want, const char *what, struct str row)
{
    if (str_eq(got, str_c(want)))
        return;
    SAY("%s: got '%.*s', want '%s', input '%.*s'", what, STR_ARG(got), want, STR_ARG(row));
    fail();
}

/* The same for faults. */
static inline void same_fault(enum fault got, enum fault want, struct str row)
{
    if (got == want)
        return;
    SAY("got %s, want %s, input '%.*s'", fault_name(got), fault_name(want), STR_ARG(row));
    fail();
}

/* The same for numbers. */
static inline void same_number(uint64_t got, uint64_t want, const char *what, struct str row)
{
    if (got == want)
        return;
    SAY("%s: got %llu, want %llu, input '%.*s'", what, (unsigned long long) got,
        (unsigned long long) want, STR_ARG(row));
    fail();
}

/* An arena from the heap, with room for any test. */
static inline struct arena *test_arena(struct arena *a)
{
    arena_init(a, NULL, 16u << 20);
    return a;
}

#endif

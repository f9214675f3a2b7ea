/* SPDX-License-Identifier: Apache-2.0 */
/* test_hooks.c: see test_hooks.h.
 * Invariants:
 * 1. In a release build this file holds no state. */
#include "base/test_hooks.h"

#include <stdlib.h>

#include "base/str.h"

#if WEIR_DEBUG

static struct {
    _Atomic size_t io_max;
    _Atomic uint64_t mem_fail;
} test_hooks;

static uint64_t from_environment(const char *name)
{
    uint64_t n = 0;
    return str_to_u64(str_c(getenv(name)), &n) ? n : 0;
}

void test_hooks_init(void)
{
    test_hooks_set(from_environment("WEIR_IO_MAX"), from_environment("WEIR_MEM_FAIL"));
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

#endif

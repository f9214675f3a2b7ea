/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c: the heap that never says no, and the accounts that do.
 * Invariants:
 * 1. used <= leased in every account.
 * 2. The sum of leased over all accounts of a limit is limit->leased, which is never
 *    above max after a charge was granted. */
#include "base/mem.h"

#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/file_io.h"
#include "base/panic.h"
#include "base/test_hooks.h"

void *mem_new(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p)
        panic("out of memory (%zu bytes)", n);
    return p;
}

void *mem_new_aligned(size_t n, size_t align)
{
    void *p = NULL;
    if (posix_memalign(&p, align, n ? n : 1) != 0)
        panic("out of memory (%zu bytes)", n);
    return memset(p, 0, n);
}

#define LARGE_PAGE (2u << 20)

void *mem_new_large(size_t n)
{
    void *p = NULL;
    if (posix_memalign(&p, n < LARGE_PAGE ? 64 : LARGE_PAGE, n ? n : 1) != 0)
        panic("out of memory (%zu bytes)", n);
    if (n >= LARGE_PAGE)
        (void) madvise(p, n / LARGE_PAGE * LARGE_PAGE, MADV_HUGEPAGE);
    return p;
}

void *mem_resize(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q)
        panic("out of memory (%zu bytes)", n);
    return q;
}

void mem_trim(void)
{
    (void) malloc_trim(0);
}

void mem_free(void *p)
{
    free(p);
}

char *mem_strdup(struct str s)
{
    char *z = mem_new(s.n + 1);
    if (s.n)
        memcpy(z, s.p, s.n);
    return z;
}

struct str mem_str(struct str s)
{
    return (struct str){mem_strdup(s), s.n};
}

char *mem_printf(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *z = NULL;
    int n = vasprintf(&z, format, args);
    va_end(args);
    if (n < 0)
        panic("out of memory (printf)");
    return z;
}

/* Draws n bytes from the limit. */
static bool limit_take(struct mem_limit *l, uint64_t n)
{
    uint64_t now = l->leased;
    do {
        if (l->max && (n > l->max || now > l->max - n))
            return false;
    } while (!__atomic_compare_exchange_n((uint64_t *) &l->leased, &now, now + n, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return true;
}

static void limit_give(struct mem_limit *l, uint64_t n)
{
    __atomic_fetch_sub((uint64_t *) &l->leased, n, __ATOMIC_RELAXED);
}

/* Leases enough for n more bytes: a round lease, or exactly what is missing near the limit. */
static bool lease(struct mem_account *a, size_t n)
{
    uint64_t missing = a->used + n - a->leased;
    if (!a->limit) {
        a->leased += missing;
        return true;
    }
    uint64_t want = (missing + MEM_LEASE - 1) / MEM_LEASE * MEM_LEASE;
    if (!limit_take(a->limit, want)) {
        want = missing;
        if (!limit_take(a->limit, want))
            return false;
    }
    a->leased += want;
    return true;
}

/* The test harness's door: true when this charge is to fail. */
static bool forced_failure(struct mem_account *a)
{
    if (WEIR_DEBUG && a->fail_after == 0)
        a->fail_after = test_hooks_mem_fail();
    return a->fail_after && --a->fail_after == 0;
}

bool mem_charge_slow(struct mem_account *a, size_t n)
{
    bool short_of = a->leased - a->used < n;
    if (forced_failure(a) || (short_of && !lease(a, n))) {
        a->refused++;
        return false;
    }
    a->used += n;
    return true;
}

void mem_credit_slow(struct mem_account *a, size_t n)
{
    must(n <= a->used);
    a->used -= n;
    /* One lease stays as slack, so that a request at the edge touches no shared line. */
    if (a->leased - a->used >= 2 * MEM_LEASE) {
        uint64_t surplus = a->leased - a->used - MEM_LEASE;
        if (a->limit)
            limit_give(a->limit, surplus);
        a->leased -= surplus;
    }
}

void mem_account_fini(struct mem_account *a)
{
    must(a->used == 0);
    if (a->limit)
        limit_give(a->limit, a->leased);
    a->leased = 0;
}

/* The number at the start of a small file; UINT64_MAX when there is none ("max"). */
static uint64_t file_number(const char *path)
{
    size_t n;
    char *why = NULL;
    char *text = file_read(path, 4096, &n, &why);
    mem_free(why);
    if (!text)
        return UINT64_MAX;
    struct str s = str_of(text, n);
    size_t digits = 0;
    while (digits < s.n && s.p[digits] >= '0' && s.p[digits] <= '9')
        digits++;
    uint64_t v;
    if (!str_to_u64(str_sub(s, 0, digits), &v))
        v = UINT64_MAX;
    mem_free(text);
    return v;
}

/* The smallest memory.max from our cgroup up to the root (cgroup v2). */
static uint64_t cgroup2_limit(struct str group)
{
    uint64_t least = UINT64_MAX;
    for (;;) {
        char *path = mem_printf("/sys/fs/cgroup%.*s/memory.max", STR_ARG(group));
        uint64_t v = file_number(path);
        mem_free(path);
        if (v < least)
            least = v;
        ptrdiff_t slash = str_rfind(group, '/');
        if (slash < 0)
            return least;
        group.n = (size_t) slash;
    }
}

/* What the cgroup grants in bytes; UINT64_MAX when it sets no limit. */
static uint64_t cgroup_limit(void)
{
    uint64_t least = file_number("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    size_t n;
    char *why = NULL;
    char *text = file_read("/proc/self/cgroup", 65536, &n, &why);
    mem_free(why);
    struct str rest = str_of(text, text ? n : 0);
    while (rest.n) {
        ptrdiff_t end = str_find(rest, '\n');
        struct str line = str_sub(rest, 0, end < 0 ? rest.n : (size_t) end);
        if (str_starts(line, STR("0::/"))) {
            uint64_t v = cgroup2_limit(str_sub(line, 3, line.n));
            least = v < least ? v : least;
        }
        rest = str_sub(rest, line.n + 1, rest.n);
    }
    mem_free(text);
    return least;
}

uint64_t mem_default_limit(void)
{
    long pages = sysconf(_SC_PHYS_PAGES);
    long page = sysconf(_SC_PAGESIZE);
    uint64_t machine = pages > 0 && page > 0 ? (uint64_t) pages * (uint64_t) page : UINT64_MAX;
    uint64_t group = cgroup_limit();
    uint64_t least = group < machine ? group : machine;
    return least == UINT64_MAX ? 0 : least / 2;
}

uint64_t mem_heap(void)
{
    struct mallinfo2 all = mallinfo2();
    return all.uordblks + all.hblkhd;
}

uint64_t mem_resident(void)
{
    size_t n;
    char *why = NULL;
    char *text = file_read("/proc/self/statm", 4096, &n, &why);
    mem_free(why);
    struct str s = str_of(text, text ? n : 0);
    ptrdiff_t first = str_find(s, ' ');
    uint64_t pages = 0;
    if (first >= 0) {
        s = str_sub(s, (size_t) first + 1, s.n);
        ptrdiff_t second = str_find(s, ' ');
        if (second < 0 || !str_to_u64(str_sub(s, 0, (size_t) second), &pages))
            pages = 0;
    }
    mem_free(text);
    long page = sysconf(_SC_PAGESIZE);
    return page > 0 ? pages * (uint64_t) page : 0;
}

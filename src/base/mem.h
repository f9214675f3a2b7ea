/* SPDX-License-Identifier: Apache-2.0 */
/* mem: the only door to the heap for objects of process or snapshot lifetime,
 * and to the account that memory_limit is checked against.
 * Any thread. Out of heap panics: Weir bounds its memory by accounts, not by hoping. */
#ifndef WEIR_BASE_MEM_H
#define WEIR_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/panic.h"
#include "base/str.h"

/* True under AddressSanitizer: then pools park nothing and arenas give each allocation a heap block
 * of its own, so that every use after free and every overrun is seen. */
#if defined(__SANITIZE_ADDRESS__)
#define MEM_WATCHED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEM_WATCHED true
#endif
#endif
#ifndef MEM_WATCHED
#define MEM_WATCHED false
#endif

/* n zeroed bytes, owned by the caller, freed by mem_free. Never NULL. */
void *mem_new(size_t n);
/* The same at a multiple of align (a power of two): for what must not share a cache line. */
void *mem_new_aligned(size_t n, size_t align);
/* n bytes, not zeroed, at a multiple of 64; from 2 MiB on, on large pages where the system has
 * them: for what requests read here and there, where each page costs a walk of the page tables. */
void *mem_new_large(size_t n);
/* Grows or shrinks; new bytes are not zeroed. Never NULL for n > 0. */
void *mem_resize(void *p, size_t n);
/* Frees; NULL is allowed. */
void mem_free(void *p);
/* A NUL-terminated copy of s, owned by the caller. */
char *mem_strdup(struct str s);
/* A view of a fresh NUL-terminated copy of s; free with mem_free((void *) r.p). */
struct str mem_str(struct str s);
/* printf into a fresh NUL-terminated string, owned by the caller. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The process-wide ceiling for what traffic may hold (blocks, arenas, pipes,
 * spools, caches). One a process; worker accounts draw leases from it. */
struct mem_limit {
    _Atomic uint64_t leased; /* bytes leased to accounts */
    uint64_t max;            /* bytes; 0 = no limit */
};

/* A worker's account: single-threaded, leases MEM_LEASE bytes at a time so
 * that no shared cache line is touched by a request. */
struct mem_account {
    struct mem_limit *limit; /* borrowed */
    uint64_t leased;         /* bytes drawn from limit */
    uint64_t used;           /* bytes charged, <= leased */
    uint64_t fail_after;     /* test harness: fail the n-th charge from now; 0 = off */
    uint64_t refused;        /* charges refused so far */
};

#define MEM_LEASE (256u * 1024)

/* The rest of mem_charge: leases, refuses, fails on demand. */
RARE bool mem_charge_slow(struct mem_account *a, size_t n);
/* The rest of mem_credit: returns surplus leases. */
RARE void mem_credit_slow(struct mem_account *a, size_t n);
/* Charges n bytes; false when the limit would be passed (nothing charged). */
static inline bool mem_charge(struct mem_account *a, size_t n)
{
    if (WEIR_DEBUG || __builtin_expect(a->fail_after != 0 || a->leased - a->used < n, 0))
        return mem_charge_slow(a, n);
    a->used += n;
    return true;
}
/* Returns n charged bytes; surplus leases go back to the limit. */
static inline void mem_credit(struct mem_account *a, size_t n)
{
    uint64_t used = a->used - n;
    if (__builtin_expect(n > a->used || a->leased - used >= 2 * MEM_LEASE, 0))
        mem_credit_slow(a, n);
    else
        a->used = used;
}
/* Returns every lease; used must be 0. */
void mem_account_fini(struct mem_account *a);
/* Half of the memory that the cgroup or the machine grants, in bytes. */
uint64_t mem_default_limit(void);
/* Gives free pages of the heap back to the kernel, those between pieces in use too: after much was
 * freed at once. Takes milliseconds; any thread, not a worker. */
void mem_trim(void);
/* Bytes that are handed out by malloc, whoever asked, as it counts them; 0 when unknown. */
uint64_t mem_heap(void);
/* Resident set of this process, in bytes; 0 when unknown. */
uint64_t mem_resident(void);

#endif

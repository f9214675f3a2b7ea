/* SPDX-License-Identifier: Apache-2.0 */
/* heap: malloc and its kin for a library that brings its own objects (nghttp2), counted, so that
 * the owner can charge to its account what the library holds. Never refuses: such libraries are
 * tested where memory never ends. Embedded in its owner; the owner's thread only. Signatures as
 * nghttp2_mem wants them. Never for Weir's own objects: those have pools and arenas. */
#ifndef WEIR_BASE_HEAP_H
#define WEIR_BASE_HEAP_H

#include "base/mem.h"

struct heap {
    size_t used;    /* bytes handed out */
    size_t charged; /* bytes of that in an account: heap_settle */
};

/* n bytes of the struct heap at heap, not zeroed. */
void *heap_alloc(size_t n, void *heap);
/* n objects of size bytes, zeroed. */
void *heap_zalloc(size_t n, size_t size, void *heap);
/* Another size for p (NULL: a new one). */
void *heap_resize(void *p, size_t n, void *heap);
/* Frees p; NULL is allowed. */
void heap_free(void *p, void *heap);
/* Charges or credits account so that it holds about what is used, in steps. False: refused; the
 * owner is to let go of things. */
bool heap_settle(struct heap *h, struct mem_account *account) __attribute__((warn_unused_result));

#endif

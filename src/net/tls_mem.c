/* SPDX-License-Identifier: Apache-2.0 */
/* tls_mem.c: OpenSSL's memory from base/, so that the program has one door to the heap. Holds no
 * state. */
#include <openssl/crypto.h>

#include "net/tls_inside.h"

static void *get(size_t n, const char *file, int line)
{
    (void) file, (void) line;
    return mem_resize(NULL, n);
}

static void *resize(void *p, size_t n, const char *file, int line)
{
    (void) file, (void) line;
    return mem_resize(p, n);
}

static void release(void *p, const char *file, int line)
{
    (void) file, (void) line;
    mem_free(p);
}

void tls_use_base_memory(void)
{
    must(CRYPTO_set_mem_functions(get, resize, release) == 1);
}
